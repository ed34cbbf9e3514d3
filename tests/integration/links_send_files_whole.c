/*
 * Goal: a file that a link sends stands in one frame. What comes up meanwhile
 * (the answer to a ping, a join, a message) comes after it, in its order, and a
 * file that ends too early ends the connection with a reason instead of filling
 * the frame with something else.
 *
 * Method: a server of the test's own, which takes nothing in while the link
 * sends more than the kernel keeps, and then reads frame by frame.
 */
#define _GNU_SOURCE /* accept4, memmem */
#include "support/suite.h"

#include "support/link.h"
#include "support/listener.h"
#include "support/tcp.h"
#include "support/ws.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FILE_BYTES (15 << 20) /* far beyond what the kernel keeps */
#define WELCOME                                                                \
    "{\"event\":\"peal:welcome\",\"data\":{\"id\":\"x\",\"protocol\":1}}"
#define TCP_WELCOME "{\"id\":\"x\",\"protocol\":1}"

static char path[] = "/tmp/peal-file-XXXXXX";

/* The server's side of the only connection. */
struct side {
    bool is_tcp;
    int listener;
    int fd;
    char *bytes; /* that have come and are not taken yet */
    size_t size;
};

/* A frame that has come whole. */
struct frame {
    int type; /* the first byte over WebSocket */
    char *data;
    size_t size;
    size_t whole; /* with its head */
};

struct scene {
    struct side side;
    struct peal_loop *loop;
    struct peal_link *link;
    struct link_notes notes;
    uint64_t progress;
    int done;
    int status;
};

static void open_side(struct side *side, char *address, size_t size)
{
    int small = 65536;

    side->fd = -1;
    side->listener = listener_open(address, size);
    CHECK(fcntl(side->listener, F_SETFL, O_NONBLOCK) == 0);
    CHECK(setsockopt(side->listener, SOL_SOCKET, SO_RCVBUF, &small,
                     sizeof small) == 0);
    side->bytes = malloc(FILE_BYTES + (1 << 20));
    CHECK(side->bytes != NULL);
}

static bool has_accepted(struct side *side)
{
    side->fd = accept4(side->listener, NULL, NULL, SOCK_NONBLOCK);
    return side->fd >= 0;
}

/* Takes in what has come; false when the link has closed. */
static bool hear(struct side *side)
{
    for (;;) {
        size_t room = FILE_BYTES + (1 << 20) - side->size;
        ssize_t got;

        CHECK(room > 0);
        got = recv(side->fd, side->bytes + side->size, room, 0);
        if (got <= 0) {
            return got < 0;
        }
        side->size += (size_t)got;
    }
}

static void take(struct side *side, size_t size)
{
    side->size -= size;
    memmove(side->bytes, side->bytes + size, side->size);
}

static bool has_request(struct side *side)
{
    hear(side);
    side->bytes[side->size] = '\0';
    if (strstr(side->bytes, "\r\n\r\n") == NULL) {
        return false;
    }
    take(side, side->size);
    return true;
}

static uint64_t number(const char *bytes, size_t size)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++) {
        value = value << 8 | (unsigned char)bytes[i];
    }
    return value;
}

/* A frame of a client: always masked (RFC 6455, 5.3). */
static bool parse_ws(struct side *side, struct frame *frame)
{
    const char *bytes = side->bytes;
    size_t head = 2;
    uint64_t size;

    if (side->size < head) {
        return false;
    }
    CHECK((bytes[1] & 0x80) != 0);
    size = bytes[1] & 0x7f;
    if (size >= 126) {
        head += size == 126 ? 2 : 8;
        if (side->size < head) {
            return false;
        }
        size = number(bytes + 2, head - 2);
    }
    head += 4;
    if (side->size < head + size) {
        return false;
    }
    frame->type = (unsigned char)bytes[0];
    frame->data = side->bytes + head;
    frame->size = (size_t)size;
    frame->whole = head + (size_t)size;
    for (size_t i = 0; i < size; i++) {
        frame->data[i] ^= bytes[head - 4 + (i & 3)];
    }
    return true;
}

static bool parse_tcp(struct side *side, struct frame *frame)
{
    uint64_t size;

    if (side->size < TCP_HEAD_SIZE) {
        return false;
    }
    size = number(side->bytes, 4); /* counts its head, too */
    if (side->size < size) {
        return false;
    }
    frame->type = (unsigned char)side->bytes[4];
    frame->data = side->bytes + TCP_HEAD_SIZE;
    frame->whole = (size_t)size;
    frame->size = frame->whole - TCP_HEAD_SIZE;
    return true;
}

/* Whether the next frame has come whole. */
static bool has_frame(struct side *side, struct frame *frame)
{
    hear(side);
    return side->is_tcp ? parse_tcp(side, frame) : parse_ws(side, frame);
}

static void say(struct side *side, const void *bytes, size_t size)
{
    CHECK_EQUAL(send(side->fd, bytes, size, MSG_NOSIGNAL), size);
}

static void say_ws(struct side *side, int type, const char *data)
{
    char frame[256] = {(char)type, (char)strlen(data)};

    memcpy(frame + 2, data, strlen(data));
    say(side, frame, strlen(data) + 2);
}

static void say_tcp(struct side *side, int type, const char *data)
{
    char frame[256];

    say(side, frame, tcp_make(frame, type, NULL, data, strlen(data)));
}

static void ping(struct side *side, const char *data)
{
    if (side->is_tcp) {
        say_tcp(side, TCP_PING_FRAME, data);
    } else {
        say_ws(side, WS_PING_FRAME, data);
    }
}

static void on_progress(struct peal_link *link, uint64_t sent, uint64_t total,
                        void *user)
{
    struct scene *scene = user;

    (void)link;
    CHECK_EQUAL(total, FILE_BYTES);
    scene->progress = sent;
}

static void on_done(struct peal_link *link, int status, void *user)
{
    struct scene *scene = user;

    (void)link;
    scene->done++;
    scene->status = status;
}

/* The next frame is of this type and has this text somewhere in it. */
static void expect_frame(struct scene *scene, int type, const char *text)
{
    struct frame frame = {.type = 0};

    LINK_STEP_UNTIL(scene->loop, has_frame(&scene->side, &frame));
    CHECK_EQUAL(frame.type, type);
    CHECK(memmem(frame.data, frame.size, text, strlen(text)) != NULL);
    take(&scene->side, frame.whole);
}

static void open_scene(struct scene *scene, bool is_tcp)
{
    static const char answer[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
    struct peal_link_options options;
    char address[64];
    char url[160];

    memset(scene, 0, sizeof *scene);
    scene->side.is_tcp = is_tcp;
    open_side(&scene->side, address, sizeof address);
    options = link_test_options(link_url(url, address, is_tcp), &scene->notes);
    options.accept_any_key = true;
    options.reconnect_attempts = PEAL_OFF;
    CHECK_EQUAL(peal_loop_new(&scene->loop, NULL), 0);
    CHECK_EQUAL(peal_link_new(&scene->link, scene->loop, &options), 0);
    CHECK_EQUAL(peal_link_open(scene->link), 0);
    LINK_STEP_UNTIL(scene->loop, has_accepted(&scene->side));
    if (is_tcp) {
        say_tcp(&scene->side, TCP_CONNECT_FRAME, TCP_WELCOME);
    } else {
        LINK_STEP_UNTIL(scene->loop, has_request(&scene->side));
        say(&scene->side, answer, sizeof answer - 1);
        say_ws(&scene->side, WS_TEXT_FRAME, WELCOME);
    }
    LINK_STEP_UNTIL(scene->loop, scene->notes.connects == 1);
    /* It measures the round trip first. */
    expect_frame(scene, is_tcp ? TCP_PING_FRAME : WS_PING_FRAME, "");
}

static void close_scene(struct scene *scene)
{
    peal_link_free(scene->link);
    peal_loop_free(scene->loop);
    close(scene->side.fd);
    close(scene->side.listener);
    free(scene->side.bytes);
}

static int send_file(struct scene *scene, const char *of)
{
    return peal_link_send_file(scene->link,
                               &(struct peal_file){
                                   .size = sizeof(struct peal_file),
                                   .name = "big",
                                   .path = of,
                                   .on_progress = on_progress,
                                   .on_done = on_done,
                                   .user = scene,
                               });
}

static char byte_at(size_t index)
{
    return (char)(index * 7 + index / 251);
}

static void make_file(void)
{
    char piece[1 << 16];
    int fd = open(path, O_WRONLY | O_TRUNC);

    CHECK(fd >= 0);
    for (size_t at = 0; at < FILE_BYTES; at += sizeof piece) {
        for (size_t i = 0; i < sizeof piece; i++) {
            piece[i] = byte_at(at + i);
        }
        CHECK_EQUAL(write(fd, piece, sizeof piece), sizeof piece);
    }
    close(fd);
}

/* Steps until the kernel takes no more. */
static void send_until_full(struct scene *scene)
{
    uint64_t before;

    make_file();
    CHECK_EQUAL(send_file(scene, path), 0);
    LINK_STEP_UNTIL(scene->loop, scene->progress > 0);
    do {
        before = scene->progress;
        CHECK_EQUAL(peal_loop_step(scene->loop, 50), 0);
    } while (scene->progress > before);
    CHECK(scene->progress < FILE_BYTES);
}

static uint64_t bytes_in(struct scene *scene)
{
    struct peal_link_stats stats = {.size = sizeof stats};

    CHECK_EQUAL(peal_link_stats(scene->link, &stats), 0);
    return stats.bytes_in;
}

static void expect_file(struct scene *scene)
{
    struct frame frame = {.type = 0};
    const char *data;

    LINK_STEP_UNTIL(scene->loop, has_frame(&scene->side, &frame));
    CHECK(frame.size >= FILE_BYTES);
    data = frame.data + (frame.size - FILE_BYTES);
    for (size_t i = 0; i < FILE_BYTES; i++) {
        if (data[i] != byte_at(i)) {
            CHECK_EQUAL(data[i], byte_at(i));
        }
    }
    take(&scene->side, frame.whole);
}

static void run_meanwhile(bool is_tcp)
{
    struct peal_event event = peal_json("after", NULL);
    struct scene scene;
    uint64_t before;

    open_scene(&scene, is_tcp);
    send_until_full(&scene);
    before = bytes_in(&scene);
    ping(&scene.side, "first");
    ping(&scene.side, "last!");
    LINK_STEP_UNTIL(scene.loop,
                    bytes_in(&scene) == before + 2 * (is_tcp ? 12U : 7U));
    CHECK_EQUAL(peal_link_join(scene.link, "lobby", NULL, NULL), 0);
    CHECK_EQUAL(peal_link_emit(scene.link, &event), 0);

    expect_file(&scene);
    LINK_STEP_UNTIL(scene.loop, scene.done == 1);
    CHECK_EQUAL(scene.status, 0);
    /* Only the last ping has to be answered (RFC 6455, 5.5.3). */
    expect_frame(&scene, is_tcp ? TCP_PONG_FRAME : WS_PONG_FRAME, "last!");
    expect_frame(&scene, is_tcp ? TCP_ENVELOPE_FRAME : WS_TEXT_FRAME, "lobby");
    expect_frame(&scene, is_tcp ? TCP_JSON_FRAME : WS_TEXT_FRAME, "after");

    ping(&scene.side, "at once");
    expect_frame(&scene, is_tcp ? TCP_PONG_FRAME : WS_PONG_FRAME, "at once");
    close_scene(&scene);
}

static void test_what_comes_up_meanwhile_comes_after_it(void **state)
{
    (void)state;
    run_meanwhile(false);
    run_meanwhile(true);
}

static bool has_ended(struct side *side)
{
    side->size = 0;
    return !hear(side);
}

static void run_shorter(bool is_tcp)
{
    struct scene scene;

    open_scene(&scene, is_tcp);
    send_until_full(&scene);
    CHECK(truncate(path, (off_t)scene.progress) == 0);
    LINK_STEP_UNTIL(scene.loop, has_ended(&scene.side));
    LINK_STEP_UNTIL(scene.loop, scene.done == 1);
    CHECK_EQUAL(scene.status, PEAL_ESYSTEM);
    CHECK_EQUAL(scene.notes.state, PEAL_LINK_DISCONNECTED);
    CHECK_EQUAL(scene.notes.last.error, PEAL_ESYSTEM);
    CHECK_EQUAL(scene.notes.last.code, 1006);
    CHECK(strstr(scene.notes.reason, "file") != NULL);
    close_scene(&scene);
}

static void test_a_file_that_becomes_shorter_ends_the_connection(void **state)
{
    (void)state;
    run_shorter(false);
    run_shorter(true);
}

static void expect_refusal(const char *of, int status)
{
    struct peal_event event = peal_json("after", NULL);
    struct scene scene;

    open_scene(&scene, false);
    CHECK_EQUAL(send_file(&scene, of), 0);
    CHECK_EQUAL(peal_link_emit(scene.link, &event), 0);
    LINK_STEP_UNTIL(scene.loop, scene.done == 1);
    CHECK_EQUAL(scene.status, status);
    expect_frame(&scene, WS_TEXT_FRAME, "after"); /* no byte of the file */
    CHECK_EQUAL(scene.notes.state, PEAL_LINK_CONNECTED);
    close_scene(&scene);
}

static void test_what_cannot_be_read_is_told_and_nothing_is_sent(void **state)
{
    char loop[sizeof path + 8];

    (void)state;
    snprintf(loop, sizeof loop, "%s.link", path);
    CHECK(symlink(loop, loop) == 0);
    expect_refusal("/nowhere/at-all", PEAL_ENOTFOUND);
    expect_refusal("/dev/null/x", PEAL_ENOTFOUND);
    expect_refusal("/tmp", PEAL_EINVAL);
    expect_refusal("/dev/zero", PEAL_EINVAL);
    expect_refusal(loop, PEAL_ESYSTEM);
    CHECK(unlink(loop) == 0);
}

static int make_path(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    CHECK(fd >= 0);
    close(fd);
    return 0;
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_comes_up_meanwhile_comes_after_it),
        cmocka_unit_test(test_a_file_that_becomes_shorter_ends_the_connection),
        cmocka_unit_test(test_what_cannot_be_read_is_told_and_nothing_is_sent),
    };

    return cmocka_run_group_tests(tests, make_path, remove_path);
}
