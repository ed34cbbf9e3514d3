/*
 * What a service needs to take part, in any language. A frame is
 *
 *     u32 total length | u8 type | u16 event length | event | payload
 *
 * and a request's payload is {"id":1,"data":...}, which the answer repeats.
 */
#include "send.h"

#include <peal/peal.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER_SIZE 7
#define EVENT_MAX 256
#define FRAME_MAX (16 * 1024 * 1024)
#define LINE_MAX_BYTES 2000

/* The types that are used here; docs/protocol.md has all of them. */
enum frame_type {
    PING = 2,
    PONG = 3,
    REQUEST = 4,
    ANSWER = 5,
    GOODBYE = 7,
    ERROR = 10,
    ENVELOPE = 16 /* an event in a room: {"event":...,"room":...,"data":...} */
};

/* A frame that was read. Its event is of no use to us. */
struct frame {
    int type;
    char *payload; /* ends with a zero byte, which is not part of it */
    size_t payload_size;
};

static bool write_frame(int fd, int type, const char *event,
                        const char *payload, size_t payload_size)
{
    size_t event_size = strlen(event);
    size_t size = HEADER_SIZE + event_size + payload_size;
    uint32_t total = htonl((uint32_t)size);
    uint16_t short_size = htons((uint16_t)event_size);
    char *bytes = malloc(size);
    bool is_sent;

    if (bytes == NULL) {
        return false;
    }
    memcpy(bytes, &total, 4);
    bytes[4] = (char)type;
    memcpy(bytes + 5, &short_size, 2);
    memcpy(bytes + HEADER_SIZE, event, event_size);
    memcpy(bytes + HEADER_SIZE + event_size, payload, payload_size);
    is_sent = send(fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size;
    free(bytes);
    return is_sent;
}

static bool read_all(int fd, void *out, size_t size)
{
    return size == 0 || recv(fd, out, size, MSG_WAITALL) == (ssize_t)size;
}

static bool read_frame(int fd, struct frame *frame)
{
    unsigned char header[HEADER_SIZE];
    char event[EVENT_MAX];
    uint32_t total;
    uint16_t event_size;

    if (!read_all(fd, header, sizeof header)) {
        return false;
    }
    memcpy(&total, header, 4);
    memcpy(&event_size, header + 5, 2);
    total = ntohl(total);
    event_size = ntohs(event_size);
    if (event_size > EVENT_MAX || total > FRAME_MAX ||
        total < HEADER_SIZE + (uint32_t)event_size) {
        return false;
    }
    frame->type = header[4];
    frame->payload_size = total - HEADER_SIZE - event_size;
    frame->payload = malloc(frame->payload_size + 1);
    if (frame->payload == NULL) {
        return false;
    }
    frame->payload[frame->payload_size] = '\0';
    if (read_all(fd, event, event_size) &&
        read_all(fd, frame->payload, frame->payload_size)) {
        return true;
    }
    free(frame->payload);
    return false;
}

/* A member of an object as text; "" when there is none. */
static const char *get_text(struct peal_slice json, const char *member,
                            char *out, size_t size)
{
    struct peal_slice value;

    if (peal_json_get(json, member, &value) < 0 ||
        peal_json_text(value, out, size) < 0) {
        out[0] = '\0';
    }
    return out;
}

/* Prints what somebody says in the room. */
static void print_said(struct peal_slice envelope)
{
    char text[LINE_MAX_BYTES + 1];
    char name[256];
    struct peal_slice data;

    if (strcmp(get_text(envelope, "event", name, sizeof name), "said") == 0 &&
        peal_json_get(envelope, "data", &data) == 0) {
        printf("%s: %s\n", get_text(data, "name", name, sizeof name),
               get_text(data, "text", text, sizeof text));
    }
}

/* Does what a frame asks for. False when it says that this is the end. */
static bool handle(int fd, const struct frame *frame)
{
    switch (frame->type) {
    case PING:
        return write_frame(fd, PONG, "", frame->payload, frame->payload_size);
    case GOODBYE:
        fprintf(stderr, "the server says goodbye: %s\n", frame->payload);
        return false;
    case ENVELOPE:
        print_said((struct peal_slice){frame->payload, frame->payload_size});
        return true;
    default:
        return true;
    }
}

/* Sends a request and waits for its answer. False unless that is a yes. */
static bool ask(int fd, const char *event, const char *data)
{
    char payload[8 * LINE_MAX_BYTES];
    int size =
        snprintf(payload, sizeof payload, "{\"id\":1,\"data\":%s}", data);
    struct frame frame;
    bool is_waiting = true;
    bool is_yes = false;

    if (size < 0 || (size_t)size >= sizeof payload ||
        !write_frame(fd, REQUEST, event, payload, (size_t)size)) {
        fprintf(stderr, "cannot send %s\n", event);
        return false;
    }
    while (is_waiting) {
        if (!read_frame(fd, &frame)) {
            fprintf(stderr, "the server has gone\n");
            return false;
        }
        if (frame.type == ANSWER) {
            is_yes = true;
            is_waiting = false;
        } else if (frame.type == ERROR) {
            fprintf(stderr, "refused: %s\n", frame.payload);
            is_waiting = false;
        } else {
            is_waiting = handle(fd, &frame);
        }
        free(frame.payload);
    }
    return is_yes;
}

static bool enter(int fd, const char *room, const char *name)
{
    char quoted[2][LINE_MAX_BYTES];
    char data[2 * LINE_MAX_BYTES + 32];

    if (peal_json_quote(quoted[0], sizeof quoted[0], peal_slice(room)) < 0 ||
        peal_json_quote(quoted[1], sizeof quoted[1], peal_slice(name)) < 0) {
        fprintf(stderr, "a room and a name have at most 40 bytes\n");
        return false;
    }
    snprintf(data, sizeof data, "{\"room\":%s,\"name\":%s}", quoted[0],
             quoted[1]);
    return ask(fd, "enter", data);
}

static bool say(int fd, const char *text)
{
    char quoted[6 * LINE_MAX_BYTES + 3];
    char data[sizeof quoted + 16];

    if (peal_json_quote(quoted, sizeof quoted, peal_slice(text)) < 0) {
        fprintf(stderr, "a text is UTF-8 and has at most 2000 bytes\n");
        return false;
    }
    snprintf(data, sizeof data, "{\"text\":%s}", quoted);
    return ask(fd, "say", data);
}

/* Says each line, and prints what comes in between, until one side ends. */
static void talk(int fd)
{
    struct pollfd ready[] = {{STDIN_FILENO, POLLIN, 0}, {fd, POLLIN, 0}};
    char line[LINE_MAX_BYTES + 1];
    bool is_on = true;

    /* Lines that stdio has read ahead would be invisible to poll. */
    setvbuf(stdin, NULL, _IONBF, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (is_on && poll(ready, 2, -1) > 0) {
        if (ready[1].revents != 0) {
            struct frame frame;

            is_on = read_frame(fd, &frame);
            if (is_on) {
                is_on = handle(fd, &frame);
                free(frame.payload);
            }
        } else if (fgets(line, sizeof line, stdin) == NULL) {
            is_on = false;
        } else {
            line[strcspn(line, "\n")] = '\0';
            if (line[0] != '\0') {
                say(fd, line);
            }
        }
    }
}

int send_to_room(int port, const char *room, const char *name, const char *text)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool is_done = false;

    if (fd < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        fprintf(stderr,
                "nobody listens on TCP port %d; is the demo running? "
                "(--tcp-port N)\n",
                port);
    } else if (enter(fd, room, name)) {
        is_done = true;
        if (text != NULL) {
            is_done = say(fd, text);
        } else {
            talk(fd);
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return is_done ? 0 : 1;
}
