#include "support/stelar.h"

#include "support/tcp.h"
#include "support/ws.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void stelar_open(struct stelar *client, const char *address, bool is_tcp)
{
    struct tcp_received frame;
    char welcome[256];

    *client = (struct stelar){.is_tcp = is_tcp};
    if (is_tcp) {
        peer_dial(&client->peer, address);
        CHECK(tcp_read(&client->peer, &frame));
        CHECK_EQUAL(frame.type, STELAR_CONNECT_FRAME);
        CHECK(strcmp(frame.event, "connect") == 0);
        CHECK(frame.size > 0 && frame.size < sizeof client->id);
        memcpy(client->id, frame.data, frame.size);
        snprintf(welcome, sizeof welcome,
                 "{\"id\":\"%s\",\"protocol\":\"tcp\"}", client->id);
        stelar_expect(client, "welcome", welcome);
    } else {
        struct ws_received received;

        ws_open(&client->peer, address, "/any/path?token=x");
        CHECK(ws_read(&client->peer, &received));
        CHECK_EQUAL(
            sscanf(received.data,
                   "{\"event\":\"welcome\",\"data\":{\"id\":\"%127[^\"]\","
                   "\"protocol\":\"ws\"}}",
                   client->id),
            1);
    }
}

void stelar_say(struct stelar *client, const char *event, const char *data)
{
    char text[4096];

    if (client->is_tcp) {
        tcp_send_text(&client->peer, STELAR_JSON_FRAME, event, data);
        return;
    }
    snprintf(text, sizeof text, "{\"data\":%s,\"x\":[],\"event\":\"%s\"}", data,
             event);
    ws_send_text(&client->peer, text);
}

void stelar_expect(struct stelar *client, const char *event, const char *data)
{
    char text[4096];

    if (client->is_tcp) {
        tcp_expect_text(&client->peer, STELAR_JSON_FRAME, event, data);
        return;
    }
    snprintf(text, sizeof text, "{\"event\":\"%s\",\"data\":%s}", event, data);
    ws_expect_text(&client->peer, text);
}

static size_t put_binary(char *out, const char *event, const void *data,
                         size_t size)
{
    int head = sprintf(out + 4, "{\"event\":\"%s\"}", event);

    for (int i = 0; i < 4; i++) {
        out[i] = (char)(head >> (8 * (3 - i)));
    }
    memcpy(out + 4 + head, data, size);
    return 4 + (size_t)head + size;
}

void stelar_say_bytes(struct stelar *client, const char *event,
                      const void *data, size_t size)
{
    char *message;

    if (client->is_tcp) {
        tcp_send(&client->peer, STELAR_BINARY_FRAME, event, data, size);
        return;
    }
    message = malloc(size + 512);
    CHECK(message != NULL);
    ws_send(&client->peer, WS_BINARY_FRAME, message,
            put_binary(message, event, data, size));
    free(message);
}

void stelar_expect_bytes(struct stelar *client, const char *event,
                         const void *data, size_t size)
{
    char *message;

    if (client->is_tcp) {
        tcp_expect(&client->peer, STELAR_BINARY_FRAME, event, data, size);
        return;
    }
    message = malloc(size + 512);
    CHECK(message != NULL);
    ws_expect(&client->peer, WS_BINARY_FRAME, message,
              put_binary(message, event, data, size));
    free(message);
}

void stelar_expect_silence(struct stelar *client)
{
    stelar_say(client, "echo", "\"silence\"");
    stelar_expect(client, "echo", "\"silence\"");
}

void stelar_ask(struct stelar *client, const char *event, const char *ack,
                const char *id, const char *data)
{
    char text[1024];
    char tail[256] = "";

    if (id != NULL) {
        snprintf(tail, sizeof tail, ",\"_correlationId\":%s", id);
    }
    if (client->is_tcp) {
        snprintf(text, sizeof text, "{\"event\":\"%s\",\"data\":%s%s}", event,
                 data, tail);
        tcp_send_text(&client->peer, STELAR_ACK_REQUEST_FRAME, ack, text);
    } else {
        snprintf(text, sizeof text,
                 "{\"event\":\"%s\",\"data\":%s,\"_ackName\":\"%s\"%s}", event,
                 data, ack, tail);
        ws_send_text(&client->peer, text);
    }
}

/* The next message has these members, and no others. */
static void expect_json(const char *data, size_t size, json_t *expected)
{
    json_t *json = json_loadb(data, size, JSON_DECODE_ANY, NULL);

    if (json == NULL || !json_equal(json, expected)) {
        fprintf(stderr, "heard %.*s\n", (int)size, data);
        CHECK(!"another answer than expected");
    }
    json_decref(json);
    json_decref(expected);
}

void stelar_expect_answer(struct stelar *client, const char *ack,
                          const char *id, const char *data)
{
    json_t *expected = json_object();
    json_t *result = json_loads(data, JSON_DECODE_ANY, NULL);

    if (client->is_tcp && id == NULL) {
        struct tcp_received frame;

        CHECK(tcp_read(&client->peer, &frame));
        CHECK_EQUAL(frame.type, STELAR_ACK_ANSWER_FRAME);
        CHECK(strcmp(frame.event, ack) == 0);
        json_decref(expected);
        if (strncmp(frame.data, "{\"data\":", 8) == 0) {
            result = json_pack("{s:o}", "data", result);
        }
        expect_json(frame.data, frame.size, result);
        return;
    }
    json_object_set_new(expected, "data", result);
    if (id != NULL) {
        json_object_set_new(expected, "_correlationId",
                            json_loads(id, JSON_DECODE_ANY, NULL));
    }
    if (client->is_tcp) {
        struct tcp_received frame;

        CHECK(tcp_read(&client->peer, &frame));
        CHECK_EQUAL(frame.type, STELAR_ACK_ANSWER_FRAME);
        CHECK(strcmp(frame.event, ack) == 0);
        expect_json(frame.data, frame.size, expected);
    } else {
        struct ws_received frame;

        json_object_set_new(expected, "event", json_string(ack));
        json_object_set_new(expected, "_isAck", json_true());
        CHECK(ws_read(&client->peer, &frame));
        CHECK_EQUAL(frame.first, WS_TEXT_FRAME);
        expect_json(frame.data, frame.size, expected);
    }
}
