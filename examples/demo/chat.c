/*
 * The rules of the demo's chat. Each of these is a request and gets an answer:
 *
 *     enter {"room":"lobby","name":"Ada"}   into this room, out of the last one
 *     say   {"text":"hello"}                everybody in the room hears `said`
 *     image <bytes>                         the others in the room get `image`
 *     time                                  what the server's clock says
 */
#include "chat.h"

#include "people.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEXT_MAX 2000

enum { BAD_ROOM = 1000, BAD_NAME, BAD_TEXT, BAD_IMAGE, NOWHERE, NO_ROOM_LEFT };

static void refuse(struct peal_request request, int code, const char *name,
                   const char *message)
{
    struct peal_failure failure = {code, name, message, false};

    peal_request_fail(request, &failure);
}

static void refuse_temporarily(struct peal_request request)
{
    struct peal_failure failure = {NO_ROOM_LEFT, "no_room_left",
                                   "The server has no room for this now", true};

    peal_request_fail(request, &failure);
}

/* A member of the data as text. False unless it has 1 to `size` - 1 bytes. */
static bool get_text(const struct peal_event *event, const char *member,
                     char *out, size_t size)
{
    struct peal_slice value;

    return event->kind == PEAL_JSON &&
           peal_json_get(event->data, member, &value) == 0 &&
           peal_json_text(value, out, size) > 0;
}

/* The same for what is shown as one line. */
static bool get_label(const struct peal_event *event, const char *member,
                      char *out)
{
    if (!get_text(event, member, out, LABEL_MAX + 1)) {
        return false;
    }
    for (const char *at = out; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 127) {
            return false;
        }
    }
    return true;
}

/* --- Coming and going ---------------------------------------------------- */

/* Moves a client that may be in another room already. */
static int move(struct peal_client *client, const char *room, const char *name,
                struct chat *chat)
{
    struct peal_server *server = peal_client_server(client);
    const char *now = peal_client_get(client, "room");
    char before[LABEL_MAX + 1];
    int rc;

    snprintf(before, sizeof before, "%s", now != NULL ? now : room);
    rc = peal_client_join(client, room);
    if (rc < 0) {
        return rc;
    }
    if (peal_client_set(client, "name", name) < 0 ||
        peal_client_set(client, "room", room) < 0 ||
        !people_put(chat->people, client, room, name)) {
        return PEAL_ENOMEM;
    }
    if (strcmp(before, room) != 0) {
        peal_client_leave(client, before);
        people_tell(chat->people, server, before);
    }
    people_tell(chat->people, server, room);
    return 0;
}

static void on_enter(struct peal_client *from, const struct peal_event *event,
                     struct peal_request request, void *user)
{
    char room[LABEL_MAX + 1];
    char name[LABEL_MAX + 1];

    if (!get_label(event, "room", room)) {
        refuse(request, BAD_ROOM, "bad_room",
               "A room is one line of 1 to 40 bytes");
    } else if (!get_label(event, "name", name)) {
        refuse(request, BAD_NAME, "bad_name",
               "A name is one line of 1 to 40 bytes");
    } else if (move(from, room, name, user) < 0) {
        refuse_temporarily(request);
    } else {
        peal_request_answer(request, NULL);
    }
}

/*
 * A page of another site may reach a server on this machine through the user's
 * browser, which then says where that page is from.
 */
static bool is_from_elsewhere(const struct peal_connect *connect)
{
    struct peal_slice host = peal_connect_header(connect, "Host");
    struct peal_slice origin = connect->origin;
    size_t scheme = strlen("http://");

    if (origin.size == 0) {
        return false; /* no browser */
    }
    return origin.size != scheme + host.size ||
           memcmp(origin.data, "http://", scheme) != 0 ||
           memcmp(origin.data + scheme, host.data, host.size) != 0;
}

void chat_on_connect(struct peal_client *client,
                     const struct peal_connect *connect, void *user)
{
    struct chat *chat = user;
    struct peal_event about = peal_json("about", chat->about);

    if (connect->transport != PEAL_WS) {
        return;
    }
    if (is_from_elsewhere(connect)) {
        peal_client_close(client, 1008, "not from this page");
    } else {
        peal_client_emit(client, &about);
    }
}

void chat_on_disconnect(struct peal_client *client,
                        const struct peal_disconnect *disconnect, void *user)
{
    const char *room = peal_client_get(client, "room");
    struct chat *chat = user;

    (void)disconnect;
    people_remove(chat->people, client);
    if (room != NULL) {
        people_tell(chat->people, peal_client_server(client), room);
    }
}

/* --- Talking ------------------------------------------------------------- */

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The event `said`, to everybody in the room: the sender sees it in order. */
static int tell_room(struct peal_client *from, const char *room,
                     const char *text)
{
    bool is_tcp = peal_client_transport(from) == PEAL_TCP;
    char name_json[6 * LABEL_MAX + 3];
    char text_json[6 * TEXT_MAX + 3];
    char json[sizeof name_json + sizeof text_json + PEAL_ID_MAX + 100];
    struct peal_event said;

    peal_json_quote(name_json, sizeof name_json,
                    peal_slice(peal_client_get(from, "name")));
    peal_json_quote(text_json, sizeof text_json, peal_slice(text));
    snprintf(json, sizeof json,
             "{\"id\":\"%s\",\"name\":%s,\"via\":\"%s\",\"time_ms\":%lld,"
             "\"text\":%s}",
             peal_client_id(from), name_json, is_tcp ? "tcp" : "ws", now_ms(),
             text_json);
    said = peal_json("said", json);
    return peal_server_room_emit(peal_client_server(from), room, &said, NULL,
                                 0);
}

static void on_say(struct peal_client *from, const struct peal_event *event,
                   struct peal_request request, void *user)
{
    const char *room = peal_client_get(from, "room");
    char text[TEXT_MAX + 1];

    (void)user;
    if (room == NULL) {
        refuse(request, NOWHERE, "nowhere", "Enter a room first");
    } else if (!get_text(event, "text", text, sizeof text)) {
        refuse(request, BAD_TEXT, "bad_text", "A text has 1 to 2000 bytes");
    } else if (tell_room(from, room, text) < 0) {
        refuse_temporarily(request);
    } else {
        peal_request_answer(request, NULL);
    }
}

/* The bytes that others get begin with who sent them: u8 size | name. */
static int pass_on(struct peal_client *from, const char *room,
                   struct peal_slice image)
{
    const char *name = peal_client_get(from, "name");
    size_t size = strlen(name);
    char *bytes = malloc(1 + size + image.size);
    struct peal_event event;
    int rc;

    if (bytes == NULL) {
        return PEAL_ENOMEM;
    }
    bytes[0] = (char)size;
    memcpy(bytes + 1, name, size);
    memcpy(bytes + 1 + size, image.data, image.size);
    event = peal_bytes("image", bytes, 1 + size + image.size);
    rc = peal_room_emit(from, room, &event);
    free(bytes);
    return rc;
}

static void on_image(struct peal_client *from, const struct peal_event *event,
                     struct peal_request request, void *user)
{
    const char *room = peal_client_get(from, "room");

    (void)user;
    if (room == NULL) {
        refuse(request, NOWHERE, "nowhere", "Enter a room first");
    } else if (event->kind != PEAL_BYTES || event->data.size == 0) {
        refuse(request, BAD_IMAGE, "bad_image", "An image is sent as bytes");
    } else if (pass_on(from, room, event->data) < 0) {
        refuse_temporarily(request);
    } else {
        peal_request_answer(request, NULL);
    }
}

static void on_time(struct peal_client *from, const struct peal_event *event,
                    struct peal_request request, void *user)
{
    char json[64];

    (void)from;
    (void)event;
    (void)user;
    snprintf(json, sizeof json, "{\"time_ms\":%lld}", now_ms());
    peal_request_answer(request, json);
}

int chat_add_handlers(struct peal_server *server, struct chat *chat)
{
    static const struct {
        const char *name;
        peal_request_function *handler;
    } requests[] = {{"enter", on_enter},
                    {"say", on_say},
                    {"image", on_image},
                    {"time", on_time}};
    int rc = 0;

    for (size_t i = 0; i < sizeof requests / sizeof *requests && rc == 0; i++) {
        rc = peal_server_on_request(server, requests[i].name,
                                    requests[i].handler, chat);
    }
    return rc;
}
