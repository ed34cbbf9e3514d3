/*
 * Goal: the example stelar_interop holds what clients of stelar-time-real and
 * its contract expect, byte by byte, and shrugs off hostile peers.
 *
 * Method: the example as a process, raw sockets on both of its ports. Layouts
 * are those that the unmodified client sends and understands.
 */
#include "support/suite.h"

#include "support/child.h"
#include "support/http.h"
#include "support/stelar.h"
#include "support/tcp.h"
#include "support/ws.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_BYTES_MAX 10485760

static struct child child;
static char ws_address[128];
static char tcp_address[128];

/* --- Coming and going ---------------------------------------------------- */

static void open_client(struct stelar *client, bool is_tcp)
{
    stelar_open(client, is_tcp ? tcp_address : ws_address, is_tcp);
}

static void close_client(struct stelar *client)
{
    stelar_expect_silence(client);
    peer_close(&client->peer);
}

/* Two of each transport. */
#define CLIENTS 4

static void open_clients(struct stelar *clients)
{
    for (int i = 0; i < CLIENTS; i++) {
        open_client(&clients[i], i % 2 == 1);
    }
}

static void close_clients(struct stelar *clients)
{
    for (int i = 0; i < CLIENTS; i++) {
        close_client(&clients[i]);
    }
}

/* The number in the state that the server tells. */
static long health(const char *name)
{
    struct http_reply reply;
    json_t *json;
    long number;

    http_ask(ws_address, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    CHECK_EQUAL(reply.status, 200);
    json = json_loads(reply.body, 0, NULL);
    CHECK(json_is_number(json_object_get(json, name)));
    number = (long)json_number_value(json_object_get(json, name));
    json_decref(json);
    return number;
}

static int start_with(const char *const *arguments)
{
    child_start_example(&child, "stelar_interop", arguments);
    child_ready_value(&child, "ws", ws_address, sizeof ws_address);
    child_ready_value(&child, "tcp", tcp_address, sizeof tcp_address);
    return 0;
}

static int start(void **state)
{
    static const char *const arguments[] = {"0", "0", NULL};

    (void)state;
    return start_with(arguments);
}

static int start_with_heartbeat(void **state)
{
    static const char *const arguments[] = {"0", "0", "200", "600", NULL};

    (void)state;
    return start_with(arguments);
}

static int stop(void **state)
{
    (void)state;
    CHECK_SOON(health("activeConnections") == 0);
    CHECK_EQUAL(health("totalRooms"), 0);
    child_stop(&child);
    return 0;
}

/* --- Events -------------------------------------------------------------- */

static void echoes_are_exact(void **state)
{
    static const char *const data[] = {
        "null",
        "\"\"",
        "0",
        "false",
        "-0.1e-7",
        "12345678901234567890",
        "1e400",
        "0.30000000000000004",
        "[[],{}]",
        "\"\\u0000\xc3\xa9\xf0\x9f\x98\x80\\ud83d\\ude00\"",
        "{\"__proto__\":{\"constructor\":1},\"\":[]}"};
    struct stelar clients[CLIENTS];

    (void)state;
    open_clients(clients);
    for (int i = 0; i < CLIENTS; i++) {
        for (size_t k = 0; k < ARRAY_SIZE(data); k++) {
            stelar_say(&clients[i], "echo", data[k]);
            stelar_expect(&clients[i], "echo", data[k]);
        }
    }
    close_clients(clients);
}

static void others_hear_chat(void **state)
{
    struct stelar clients[CLIENTS];

    (void)state;
    open_clients(clients);
    for (int from = 0; from < CLIENTS; from++) {
        stelar_say(&clients[from], "chat", "{\"text\":\"hi\"}");
        for (int to = 0; to < CLIENTS; to++) {
            if (to != from) {
                stelar_expect(&clients[to], "chat", "{\"text\":\"hi\"}");
            }
        }
    }
    close_clients(clients);
}

static void rooms_are_joined_and_left(void **state)
{
    struct stelar clients[CLIENTS];

    (void)state;
    open_clients(clients);
    /* By event, and by frame; twice is one membership. */
    for (int i = 0; i < 3; i++) {
        stelar_say(&clients[i], "join-room", "\"r\"");
        stelar_expect(&clients[i], "joined-room", "\"r\"");
    }
    tcp_send_text(&clients[1].peer, STELAR_JOIN_FRAME, NULL, "r");
    stelar_expect(&clients[1], "joined-room", "\"r\"");
    stelar_say(&clients[1], "rooms", "null");
    stelar_expect(&clients[1], "rooms", "[\"r\"]");

    /* The sender need not be in it. */
    stelar_say(&clients[3], "room",
               "{\"room\":\"r\",\"event\":\"news\",\"data\":[1]}");
    for (int i = 0; i < 3; i++) {
        stelar_expect(&clients[i], "news", "[1]");
    }
    stelar_say(&clients[0], "room",
               "{\"room\":\"r\",\"event\":\"news\",\"data\":null}");
    stelar_expect(&clients[1], "news", "null");
    stelar_expect(&clients[2], "news", "null");

    stelar_say(&clients[1], "leave-room", "\"r\"");
    stelar_expect(&clients[1], "left-room", "\"r\"");
    tcp_send_text(&clients[3].peer, STELAR_LEAVE_FRAME, NULL, "r");
    stelar_expect(&clients[3], "left-room", "\"r\"");
    stelar_say(&clients[1], "rooms", "0");
    stelar_expect(&clients[1], "rooms", "[]");
    stelar_say(&clients[3], "room",
               "{\"room\":\"r\",\"event\":\"news\",\"data\":2}");
    stelar_expect(&clients[0], "news", "2");
    stelar_expect(&clients[2], "news", "2");

    /* Nothing comes of these. */
    stelar_say(&clients[0], "join-room", "\"\"");
    stelar_say(&clients[0], "leave-room", "\"\"");
    tcp_send_text(&clients[1].peer, STELAR_JOIN_FRAME, NULL, "");
    tcp_send_text(&clients[1].peer, STELAR_LEAVE_FRAME, NULL, "");
    stelar_say(&clients[0], "room",
               "{\"room\":\"none\",\"event\":\"x\",\"data\":1}");
    stelar_say(&clients[0], "room", "{\"event\":\"x\",\"data\":1}");
    /* Clients would take these for something of their connection. */
    stelar_say(&clients[1], "room", "{\"room\":\"r\",\"event\":\"connect\"}");
    stelar_say(&clients[1], "room",
               "{\"room\":\"r\",\"event\":\"disconnect\"}");
    stelar_say(&clients[1], "room", "{\"room\":\"r\",\"event\":\"error\"}");
    stelar_say(&clients[0], "room", "7");
    close_clients(clients);
}

static void a_hundred_rooms(void **state)
{
    struct stelar client;
    char room[32];

    (void)state;
    open_client(&client, true);
    for (int i = 0; i < 100; i++) {
        snprintf(room, sizeof room, "\"room %d\"", i);
        stelar_say(&client, "join-room", room);
        stelar_expect(&client, "joined-room", room);
    }
    CHECK_EQUAL(health("totalRooms"), 100);
    close_client(&client);
}

static void whispers_reach_one(void **state)
{
    struct stelar clients[CLIENTS];
    char data[256];

    (void)state;
    open_clients(clients);
    for (int to = 0; to < CLIENTS; to++) {
        snprintf(data, sizeof data, "{\"id\":\"%s\",\"data\":{\"to\":%d}}",
                 clients[to].id, to);
        stelar_say(&clients[0], "whisper", data);
        snprintf(data, sizeof data, "{\"to\":%d}", to);
        stelar_expect(&clients[to], "whisper", data);
    }
    stelar_say(&clients[0], "whisper", "{\"id\":\"nobody\",\"data\":1}");
    stelar_say(&clients[0], "whisper", "{\"data\":1}");
    close_clients(clients);
}

static void metadata_belongs_to_a_connection(void **state)
{
    struct stelar clients[CLIENTS];

    (void)state;
    open_clients(clients);
    for (int i = 0; i < CLIENTS; i++) {
        stelar_say(&clients[i], "meta", "{\"k\":\"key\",\"v\":{\"x\":[1]}}");
        stelar_expect(&clients[i], "meta", "{\"x\":[1]}");
        stelar_say(&clients[i], "meta", "{\"k\":\"__proto__\",\"v\":2}");
        stelar_expect(&clients[i], "meta", "2");
        stelar_say(&clients[i], "meta", "{\"k\":\"\",\"v\":3}");
        stelar_expect(&clients[i], "meta", "3");
        stelar_say(&clients[i], "meta", "{\"k\":\"key\"}");
        stelar_expect(&clients[i], "meta", "{\"x\":[1]}");
    }
    close_clients(clients);

    /* Who comes again is somebody else. */
    open_clients(clients);
    for (int i = 0; i < CLIENTS; i++) {
        stelar_say(&clients[i], "meta", "{\"k\":\"key\",\"v\":null}");
        stelar_expect(&clients[i], "meta", "null");
    }
    close_clients(clients);
}

static void bytes_come_back_and_go_around(void **state)
{
    struct stelar clients[CLIENTS];

    (void)state;
    open_clients(clients);
    for (int from = 0; from < CLIENTS; from++) {
        stelar_say_bytes(&clients[from], "bin", "\0\xff\n", 3);
        stelar_expect_bytes(&clients[from], "bin", "\0\xff\n", 3);
        stelar_say_bytes(&clients[from], "bin", "", 0);
        stelar_expect_bytes(&clients[from], "bin", "", 0);
        stelar_say_bytes(&clients[from], "binall", "abc", 3);
        for (int to = 0; to < CLIENTS; to++) {
            if (to != from) {
                stelar_expect_bytes(&clients[to], "binall", "abc", 3);
            }
        }
    }
    close_clients(clients);
}

static void the_largest_message_passes(void **state)
{
    size_t ws_size = MESSAGE_BYTES_MAX - 4 - strlen("{\"event\":\"bin\"}");
    size_t tcp_size = MESSAGE_BYTES_MAX - TCP_HEAD_SIZE - 3;
    char *data = calloc(1, MESSAGE_BYTES_MAX);
    struct stelar clients[2];

    (void)state;
    CHECK(data != NULL);
    for (int i = 0; i < 2; i++) {
        size_t size = i == 1 ? tcp_size : ws_size;

        open_client(&clients[i], i == 1);
        stelar_say_bytes(&clients[i], "bin", data, size);
        stelar_expect_bytes(&clients[i], "bin", data, size);
        close_client(&clients[i]);
    }
    free(data);
}

static void answers_come_in_order(void **state)
{
    struct stelar client;
    char data[32];

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        open_client(&client, is_tcp == 1);
        for (int i = 0; i < 200; i++) {
            snprintf(data, sizeof data, "%d", i);
            if (i % 2 == 0) {
                stelar_say(&client, "echo", data);
            } else {
                stelar_say_bytes(&client, "bin", data, strlen(data));
            }
        }
        for (int i = 0; i < 200; i++) {
            snprintf(data, sizeof data, "%d", i);
            if (i % 2 == 0) {
                stelar_expect(&client, "echo", data);
            } else {
                stelar_expect_bytes(&client, "bin", data, strlen(data));
            }
        }
        close_client(&client);
    }
}

/* --- Requests ------------------------------------------------------------ */

static void sums_are_answered(void **state)
{
    struct stelar clients[CLIENTS];

    (void)state;
    open_clients(clients);
    for (int i = 0; i < CLIENTS; i++) {
        stelar_ask(&clients[i], "whatever", "sum", "\"c-1\"",
                   "{\"a\":1,\"b\":2.5}");
        stelar_expect_answer(&clients[i], "sum", "\"c-1\"", "{\"sum\":3.5}");
        stelar_ask(&clients[i], "echo", "sum", NULL, "{\"b\":-1,\"a\":1}");
        stelar_expect_answer(&clients[i], "sum", NULL, "{\"sum\":0}");
        stelar_ask(&clients[i], "x", "sum", "\"c-2\"",
                   "{\"a\":1e308,\"b\":1e308}");
        stelar_expect_answer(&clients[i], "sum", "\"c-2\"", "{\"sum\":null}");
    }
    close_clients(clients);
}

static void failures_are_silent(void **state)
{
    struct stelar clients[CLIENTS];

    (void)state;
    open_clients(clients);
    for (int i = 0; i < CLIENTS; i++) {
        stelar_ask(&clients[i], "x", "fail", "\"1\"", "{}");
        stelar_ask(&clients[i], "x", "slow", "\"2\"", "{}");
        stelar_expect_silence(&clients[i]);
        /* Another name: nothing over TCP, the plain event over WebSocket. */
        stelar_ask(&clients[i], "echo", "unheard", "\"3\"", "7");
        if (!clients[i].is_tcp) {
            stelar_expect(&clients[i], "echo", "7");
        }
        stelar_expect_silence(&clients[i]);
    }
    close_clients(clients);
}

/* --- Silence ------------------------------------------------------------- */

static void what_nobody_handles_is_ignored(void **state)
{
    static const char *const texts[] = {"{\"event\":\"nothing\",\"data\":1}",
                                        "{\"event\":\"\",\"data\":1}",
                                        "{\"event\":\"pong\",\"data\":123}",
                                        "{\"data\":1}",
                                        "{\"event\":5}",
                                        "{}",
                                        "[]",
                                        "nonsense",
                                        "",
                                        "{\"event\":\"connect\"}",
                                        "{\"event\":\"error\",\"data\":\"x\"}"};
    struct stelar clients[CLIENTS];

    (void)state;
    open_clients(clients);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        ws_send_text(&clients[0].peer, texts[i]);
        ws_send(&clients[0].peer, WS_BINARY_FRAME, texts[i], strlen(texts[i]));
        tcp_send_text(&clients[1].peer, STELAR_JSON_FRAME, "echo",
                      i > 5 ? texts[i] : "{");
        tcp_send_text(&clients[1].peer, STELAR_ACK_REQUEST_FRAME, "sum",
                      texts[i]);
        tcp_send_text(&clients[1].peer, STELAR_JSON_FRAME, "nothing", "1");
        tcp_send_text(&clients[1].peer, STELAR_BINARY_FRAME, "nothing",
                      texts[i]);
        tcp_send_text(&clients[1].peer, STELAR_BINARY_FRAME, NULL, texts[i]);
    }
    close_client(&clients[0]);
    for (int i = 2; i < CLIENTS; i++) {
        close_client(&clients[i]);
    }
    peer_close(&clients[1].peer);
}

static void pings_are_answered(void **state)
{
    struct stelar client;

    (void)state;
    open_client(&client, true);
    tcp_send_text(&client.peer, STELAR_PING_FRAME, NULL, "");
    tcp_expect_text(&client.peer, STELAR_PONG_FRAME, "", "");
    tcp_send_text(&client.peer, STELAR_PONG_FRAME, NULL, "");
    close_client(&client);
    open_client(&client, false);
    ws_send(&client.peer, WS_PING_FRAME, "x", 1);
    ws_expect(&client.peer, WS_PONG_FRAME, "x", 1);
    close_client(&client);
}

/* Clients answer a ping with an empty pong; and who does not is let go. */
static void silent_clients_are_let_go(void **state)
{
    struct tcp_received frame;
    struct stelar ws;
    struct stelar tcp;

    (void)state;
    open_client(&ws, false);
    open_client(&tcp, true);
    for (int i = 0; i < 5; i++) {
        ws_expect(&ws.peer, WS_PING_FRAME, "", 0);
        ws_send(&ws.peer, WS_PONG_FRAME, "", 0);
        CHECK(tcp_read(&tcp.peer, &frame));
        CHECK_EQUAL(frame.type, STELAR_PING_FRAME);
        CHECK_EQUAL(frame.size, 0);
        tcp_send_text(&tcp.peer, STELAR_PONG_FRAME, NULL, "");
    }
    peer_drain(&ws.peer);
    peer_drain(&tcp.peer);
    peer_close(&ws.peer);
    peer_close(&tcp.peer);
}

/* --- Hostile peers ------------------------------------------------------- */

static void bad_frames_get_an_error(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } frames[] = {
        {"\0\0\0\0", 4},         {"\0\0\0\6\1\0\0", 7},
        {"\0\xa0\0\1", 4},       {"\xff\xff\xff\xff", 4},
        {"\0\0\1\x10\1\1\1", 7}, {"\0\0\0\x0a\1\0\4abc", 10},
    };
    struct stelar bystander;

    (void)state;
    open_client(&bystander, true);
    for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
        struct tcp_received frame;
        struct stelar client;

        open_client(&client, true);
        peer_send(&client.peer, frames[i].bytes, frames[i].size);
        CHECK(tcp_read(&client.peer, &frame));
        CHECK_EQUAL(frame.type, STELAR_ERROR_FRAME);
        CHECK(strcmp(frame.event, "error") == 0);
        CHECK(frame.size > 0);
        peer_finish(&client.peer);
        peer_expect_end(&client.peer);
        peer_close(&client.peer);
    }
    close_client(&bystander);
}

static void bad_websockets_get_a_code(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        int code;
    } frames[] = {
        {"\x81\x01x", 3, 1002},
        {"\xc1\x80\0\0\0\0", 6, 1002},
        {"\x81\x81\0\0\0\0\xff", 7, 1007},
        {"\x82\xff\0\0\0\0\0\xa0\0\1\0\0\0\0", 14, 1009},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
        struct stelar client;

        open_client(&client, false);
        peer_send(&client.peer, frames[i].bytes, frames[i].size);
        ws_await_close(&client.peer, frames[i].code);
    }
}

/*
 * What ends the original server, without a login: names that are objects, paths
 * that are no paths, and what nobody agreed to inflate.
 */
static void what_kills_the_original_does_not(void **state)
{
    static const char *const texts[] = {
        "null",
        "{\"event\":{\"toString\":1}}",
        "{\"event\":\"x\",\"_ackName\":{\"toString\":1}}",
        "{\"event\":\"x\",\"_ackName\":\"sum\","
        "\"_correlationId\":{\"toString\":1}}",
        "{\"event\":\"join-room\",\"data\":{\"toString\":1}}",
        "{\"event\":\"leave-room\",\"data\":[null]}",
        "{\"event\":\"whisper\",\"data\":null}",
        "{\"event\":\"room\",\"data\":{\"room\":{\"toString\":1}}}",
        "{\"event\":\"meta\",\"data\":{\"k\":{\"toString\":1}}}"};
    static const char *const targets[] = {"//",     "http://", "http://x/",
                                          "//x//?", "/%00",    "*"};
    struct stelar clients[2];

    (void)state;
    open_client(&clients[0], false);
    open_client(&clients[1], true);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct stelar hostile;

        open_client(&hostile, false);
        ws_send_text(&hostile.peer, texts[i]);
        peer_close(&hostile.peer);
        open_client(&hostile, true);
        tcp_send_text(&hostile.peer, STELAR_JSON_FRAME, "join-room", texts[i]);
        tcp_send_text(&hostile.peer, STELAR_JSON_FRAME, "x", texts[i]);
        tcp_send_text(&hostile.peer, STELAR_ACK_REQUEST_FRAME, "sum", texts[i]);
        peer_close(&hostile.peer);
    }
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        int status = ws_try(ws_address, targets[i], "");

        CHECK(status == 101 || status == 400);
    }
    CHECK(health("activeConnections") >= 2);
    for (int i = 0; i < 2; i++) {
        close_client(&clients[i]);
    }
}

/* --- The rest ------------------------------------------------------------ */

/* The first message may follow the upgrade in the same segment. */
static void the_first_message_may_follow_at_once(void **state)
{
    char bytes[1024];
    struct ws_received received;
    struct peer peer;
    int size;

    (void)state;
    size = snprintf(bytes, sizeof bytes,
                    "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Extensions: permessage-deflate\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    size += (int)ws_make(bytes + size, WS_TEXT_FRAME,
                         "{\"event\":\"echo\",\"data\":1}", 25);
    peer_dial(&peer, ws_address);
    peer_send(&peer, bytes, (size_t)size);
    ws_expect_open(&peer);
    CHECK(ws_read(&peer, &received)); /* welcome */
    ws_expect_text(&peer, "{\"event\":\"echo\",\"data\":1}");
    peer_close(&peer);
}

/* As many at once as the contract wants, of both transports. */
static void three_hundred_at_once(void **state)
{
    struct stelar clients[300];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
        open_client(&clients[i], i % 2 == 1);
    }
    CHECK_EQUAL(health("activeConnections"), ARRAY_SIZE(clients));
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
        close_client(&clients[i]);
    }
}

static void the_state_is_told(void **state)
{
    struct stelar clients[CLIENTS];
    struct http_reply reply;
    char value[128];
    long received;
    long sent;

    (void)state;
    open_clients(clients);
    CHECK_EQUAL(health("activeConnections"), CLIENTS);
    CHECK_EQUAL(health("wsConnections"), CLIENTS / 2);
    CHECK_EQUAL(health("tcpConnections"), CLIENTS / 2);
    received = health("totalMessagesReceived");
    sent = health("totalMessagesSent");
    stelar_say(&clients[0], "chat", "1");
    for (int to = 1; to < CLIENTS; to++) {
        stelar_expect(&clients[to], "chat", "1");
    }
    CHECK_EQUAL(health("totalMessagesReceived"), received + 1);
    CHECK_EQUAL(health("totalMessagesSent"), sent + CLIENTS - 1);
    http_ask(ws_address,
             "OPTIONS /health HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\n\r\n",
             &reply);
    CHECK_EQUAL(reply.status, 204);
    CHECK(http_header(&reply, "Access-Control-Allow-Methods", value,
                      sizeof value));
    CHECK(strstr(value, "GET") != NULL);
    http_ask(ws_address,
             "GET /health HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\n\r\n",
             &reply);
    CHECK(http_header(&reply, "Content-Type", value, sizeof value));
    CHECK(strcmp(value, "application/json") == 0);
    CHECK(http_header(&reply, "Access-Control-Allow-Origin", value,
                      sizeof value));
    CHECK(strcmp(value, "http://a") == 0);
    close_clients(clients);
}

static void a_stop_is_told(void **state)
{
    struct stelar ws;
    struct stelar tcp;

    (void)state;
    open_client(&ws, false);
    open_client(&tcp, true);
    CHECK_EQUAL(kill(child.pid, SIGTERM), 0);
    ws_expect_close(&ws.peer, 1001);
    tcp_expect_text(&tcp.peer, STELAR_DISCONNECT_FRAME, "", "");
    peer_close(&ws.peer);
    peer_close(&tcp.peer);
    CHECK_EQUAL(child_wait(&child), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(echoes_are_exact, start, stop),
        cmocka_unit_test_setup_teardown(others_hear_chat, start, stop),
        cmocka_unit_test_setup_teardown(rooms_are_joined_and_left, start, stop),
        cmocka_unit_test_setup_teardown(a_hundred_rooms, start, stop),
        cmocka_unit_test_setup_teardown(whispers_reach_one, start, stop),
        cmocka_unit_test_setup_teardown(metadata_belongs_to_a_connection, start,
                                        stop),
        cmocka_unit_test_setup_teardown(bytes_come_back_and_go_around, start,
                                        stop),
        cmocka_unit_test_setup_teardown(the_largest_message_passes, start,
                                        stop),
        cmocka_unit_test_setup_teardown(answers_come_in_order, start, stop),
        cmocka_unit_test_setup_teardown(sums_are_answered, start, stop),
        cmocka_unit_test_setup_teardown(failures_are_silent, start, stop),
        cmocka_unit_test_setup_teardown(what_nobody_handles_is_ignored, start,
                                        stop),
        cmocka_unit_test_setup_teardown(pings_are_answered, start, stop),
        cmocka_unit_test_setup_teardown(silent_clients_are_let_go,
                                        start_with_heartbeat, stop),
        cmocka_unit_test_setup_teardown(bad_frames_get_an_error, start, stop),
        cmocka_unit_test_setup_teardown(bad_websockets_get_a_code, start, stop),
        cmocka_unit_test_setup_teardown(what_kills_the_original_does_not, start,
                                        stop),
        cmocka_unit_test_setup_teardown(the_first_message_may_follow_at_once,
                                        start, stop),
        cmocka_unit_test_setup_teardown(three_hundred_at_once, start, stop),
        cmocka_unit_test_setup_teardown(the_state_is_told, start, stop),
        cmocka_unit_test_setup(a_stop_is_told, start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
