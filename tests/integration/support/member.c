#define _GNU_SOURCE /* vasprintf */
#include "support/member.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DUMP (JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY)

static char *format_json(const char *format, va_list arguments)
{
    char *text;

    CHECK(vasprintf(&text, format, arguments) >= 0);
    for (char *at = text; *at != '\0'; at++) {
        if (*at == '\'') {
            *at = '"';
        }
    }
    return text;
}

static json_t *parse(const char *data, size_t size)
{
    json_error_t error;
    json_t *json =
        json_loadb(data, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);

    if (json == NULL) {
        fprintf(stderr, "not JSON (%s): %.*s\n", error.text, (int)size, data);
        CHECK(!"the server has sent what is not JSON");
    }
    return json;
}

/* Members sorted, without blanks: equal values are equal texts then. */
static char *normal(const char *text)
{
    json_t *json = parse(text, strlen(text));
    char *out = json_dumps(json, DUMP);

    json_decref(json);
    return out;
}

/* --- Saying -------------------------------------------------------------- */

static void say(struct member *member, const char *text)
{
    if (member->is_tcp) {
        tcp_send_text(&member->peer, TCP_ENVELOPE_FRAME, NULL, text);
    } else {
        ws_send_text(&member->peer, text);
    }
}

void member_say(struct member *member, const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = format_json(format, arguments);
    va_end(arguments);
    say(member, text);
    free(text);
}

void member_say_bytes(struct member *member, const char *header,
                      const void *data, size_t size)
{
    size_t head = strlen(header);
    char *message = malloc(4 + head + size);

    CHECK(message != NULL);
    for (int i = 0; i < 4; i++) {
        message[i] = (char)(head >> (8 * (3 - i)));
    }
    for (size_t i = 0; i < head; i++) {
        message[4 + i] = header[i] == '\'' ? '"' : header[i];
    }
    memcpy(message + 4 + head, data, size);
    if (member->is_tcp) {
        tcp_send(&member->peer, TCP_BINARY_ENVELOPE_FRAME, NULL, message,
                 4 + head + size);
    } else {
        ws_send(&member->peer, WS_BINARY_FRAME, message, 4 + head + size);
    }
    free(message);
}

/* --- Hearing ------------------------------------------------------------- */

static void hear_json(struct heard *heard, json_t *json)
{
    heard->json = json_dumps(json, DUMP);
    json_decref(json);
}

static void hear_bytes(struct heard *heard, const char *data, size_t size)
{
    heard->bytes = malloc(size + 1);
    CHECK(heard->bytes != NULL);
    memcpy(heard->bytes, data, size);
    heard->bytes[size] = '\0';
    heard->size = size;
}

static void hear_binary_envelope(struct heard *heard, const char *data,
                                 size_t size)
{
    size_t head = 0;

    CHECK(size >= 4);
    for (int i = 0; i < 4; i++) {
        head = head << 8 | (unsigned char)data[i];
    }
    CHECK(head <= size - 4);
    hear_json(heard, parse(data + 4, head));
    hear_bytes(heard, data + 4 + head, size - 4 - head);
}

static json_t *envelope(const char *event, json_t *data)
{
    json_t *json = json_pack("{s:s}", "event", event);

    if (data != NULL) {
        json_object_set_new(json, "data", data);
    }
    return json;
}

/* Moves a member that a frame keeps inside of its payload to the envelope. */
static void lift(json_t *from, json_t *to, const char *name)
{
    json_t *value = json_object_get(from, name);

    if (value != NULL) {
        json_object_set(to, name, value);
        json_object_del(from, name);
    }
}

/* Frames whose payload is {"id","data"}. */
static void hear_tied(struct heard *heard, const char *event,
                      const struct tcp_received *received)
{
    json_t *payload = parse(received->data, received->size);
    json_t *json = envelope(event, NULL);

    lift(payload, json, "id");
    lift(payload, json, "data");
    CHECK_EQUAL(json_object_size(payload), 0);
    json_decref(payload);
    hear_json(heard, json);
}

static void hear_failure(struct heard *heard,
                         const struct tcp_received *received)
{
    json_t *payload = parse(received->data, received->size);
    json_t *json = envelope("peal:error", NULL);

    lift(payload, json, "id");
    json_object_set_new(json, "data", payload);
    hear_json(heard, json);
}

static void hear_goodbye(struct heard *heard, const char *data, size_t size)
{
    json_t *payload = parse(data, size);

    hear_json(heard,
              json_pack("{s:O}", "close", json_object_get(payload, "code")));
    json_decref(payload);
}

static void hear_frame(struct heard *heard, const struct tcp_received *received)
{
    const char *data = received->data;
    size_t size = received->size;

    switch (received->type) {
    case TCP_CONNECT_FRAME:
        hear_json(heard, envelope("peal:welcome", parse(data, size)));
        break;
    case TCP_JSON_FRAME:
        hear_json(heard, envelope(received->event,
                                  size > 0 ? parse(data, size) : NULL));
        break;
    case TCP_BINARY_FRAME:
        hear_json(heard, envelope(received->event, NULL));
        hear_bytes(heard, data, size);
        break;
    case TCP_ENVELOPE_FRAME:
        hear_json(heard, parse(data, size));
        break;
    case TCP_BINARY_ENVELOPE_FRAME:
        hear_binary_envelope(heard, data, size);
        break;
    case TCP_REQUEST_FRAME:
        hear_tied(heard, received->event, received);
        break;
    case TCP_ANSWER_FRAME:
        hear_tied(heard, "peal:ok", received);
        break;
    case TCP_ERROR_FRAME:
        hear_failure(heard, received);
        break;
    case TCP_DISCONNECT_FRAME:
        hear_goodbye(heard, data, size);
        break;
    default:
        CHECK(!"a frame that nobody sends to clients");
    }
}

static bool hear_tcp(struct member *member, struct heard *heard)
{
    struct tcp_received received;

    do {
        if (!tcp_read(&member->peer, &received)) {
            return false;
        }
        if (received.type == TCP_PING_FRAME) {
            tcp_send(&member->peer, TCP_PONG_FRAME, NULL, received.data,
                     received.size);
        }
    } while (received.type == TCP_PING_FRAME);
    hear_frame(heard, &received);
    return true;
}

static bool hear_ws(struct member *member, struct heard *heard)
{
    struct ws_received received;

    do {
        if (!ws_read(&member->peer, &received)) {
            return false;
        }
        if (received.first == WS_PING_FRAME) {
            ws_send(&member->peer, WS_PONG_FRAME, received.data, received.size);
        }
    } while (received.first == WS_PING_FRAME);
    switch (received.first) {
    case WS_TEXT_FRAME:
        hear_json(heard, parse(received.data, received.size));
        break;
    case WS_BINARY_FRAME:
        hear_binary_envelope(heard, received.data, received.size);
        break;
    case WS_CLOSE_FRAME:
        hear_json(heard, json_pack("{s:i}", "close",
                                   received.size < 2
                                       ? 0
                                       : (unsigned char)received.data[0] << 8 |
                                             (unsigned char)received.data[1]));
        break;
    default:
        CHECK(!"a frame that nobody has asked for");
    }
    return true;
}

bool member_hear(struct member *member, struct heard *heard)
{
    *heard = (struct heard){.json = NULL};
    return member->is_tcp ? hear_tcp(member, heard) : hear_ws(member, heard);
}

void heard_free(struct heard *heard)
{
    free(heard->json);
    free(heard->bytes);
}

/* --- Expecting ----------------------------------------------------------- */

static void expect(struct member *member, const char *text, const void *data,
                   size_t size)
{
    char *expected = normal(text);
    struct heard heard;

    if (!member_hear(member, &heard)) {
        fprintf(stderr, "expected %s\n", expected);
        CHECK(!"the stream has ended");
    }
    if (strcmp(heard.json, expected) != 0) {
        fprintf(stderr, "expected %s\nheard    %s\n", expected, heard.json);
        CHECK(!"another message than expected");
    }
    CHECK((heard.bytes != NULL) == (data != NULL));
    if (data != NULL) {
        CHECK_EQUAL(heard.size, size);
        CHECK(memcmp(heard.bytes, data, size) == 0);
    }
    heard_free(&heard);
    free(expected);
}

void member_expect(struct member *member, const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = format_json(format, arguments);
    va_end(arguments);
    expect(member, text, NULL, 0);
    free(text);
}

void member_expect_bytes(struct member *member, const char *header,
                         const void *data, size_t size)
{
    char *text = strdup(header);

    CHECK(text != NULL);
    for (char *at = text; *at != '\0'; at++) {
        if (*at == '\'') {
            *at = '"';
        }
    }
    expect(member, text, data, size);
    free(text);
}

void member_expect_failure(struct member *member, const char *id, int code)
{
    struct heard heard;
    json_t *json;
    json_t *data;
    char *heard_id;

    CHECK(member_hear(member, &heard) && "the stream has ended");
    json = parse(heard.json, strlen(heard.json));
    if (strcmp(json_string_value(json_object_get(json, "event")),
               "peal:error") != 0) {
        fprintf(stderr, "heard %s\n", heard.json);
        CHECK(!"not an error");
    }
    data = json_object_get(json, "data");
    CHECK_EQUAL(json_integer_value(json_object_get(data, "code")), code);
    CHECK(json_is_string(json_object_get(data, "name")));
    CHECK(json_is_string(json_object_get(data, "message")));
    CHECK(json_is_boolean(json_object_get(data, "temporary")));
    CHECK_EQUAL(json_object_size(data), 4);
    if (id == NULL) {
        CHECK(json_object_get(json, "id") == NULL);
    } else {
        heard_id = json_dumps(json_object_get(json, "id"), DUMP);
        CHECK(heard_id != NULL && strcmp(heard_id, id) == 0);
        free(heard_id);
    }
    json_decref(json);
    heard_free(&heard);
}

void member_ask(struct member *member, const char *event, int id)
{
    member_say(member, "{'event':'%s','id':%d}", event, id);
    member_expect(member, "{'event':'peal:ok','id':%d}", id);
}

void member_ask_too_much(struct member *member, const char *event, int id)
{
    char text[16];

    snprintf(text, sizeof text, "%d", id);
    member_say(member, "{'event':'%s','id':%d}", event, id);
    member_expect_failure(member, text, 110);
}

void member_expect_silence(struct member *member)
{
    member_say(member, "{'event':'peal:ping','id':'silence'}");
    member_expect(member, "{'event':'peal:ok','id':'silence'}");
}

void member_join(struct member *member, const char *room)
{
    member_say(member, "{'event':'peal:join','id':'join','data':{'room':'%s'}}",
               room);
    member_expect(member, "{'event':'peal:ok','id':'join'}");
}

/* --- Coming and going ---------------------------------------------------- */

void member_welcome(struct member *member)
{
    struct heard heard;
    const char *id;
    json_t *json;

    CHECK(member_hear(member, &heard) && "the stream has ended");
    json = parse(heard.json, strlen(heard.json));
    CHECK(strcmp(json_string_value(json_object_get(json, "event")),
                 "peal:welcome") == 0);
    id =
        json_string_value(json_object_get(json_object_get(json, "data"), "id"));
    CHECK(id != NULL && id[0] != '\0' && strlen(id) < sizeof member->id);
    strcpy(member->id, id);
    json_decref(json);
    heard_free(&heard);
}

void member_open(struct member *member, const char *address, bool is_tcp)
{
    *member = (struct member){.is_tcp = is_tcp};
    if (is_tcp) {
        peer_dial(&member->peer, address);
    } else {
        ws_open(&member->peer, address, "/");
    }
    member_welcome(member);
}

void member_expect_close(struct member *member, int code)
{
    char frame[32];
    char payload[2] = {(char)(code >> 8), (char)code};

    member_expect(member, "{'close':%d}", code);
    if (!member->is_tcp) {
        peer_send_if_open(&member->peer, frame,
                          ws_make(frame, WS_CLOSE_FRAME, payload, 2));
    }
    peer_finish(&member->peer);
    peer_expect_end(&member->peer);
    peer_close(&member->peer);
}

void member_close(struct member *member)
{
    if (member->is_tcp) {
        peer_finish(&member->peer);
        peer_drain(&member->peer);
        peer_close(&member->peer);
    } else {
        ws_goodbye(&member->peer);
    }
}
