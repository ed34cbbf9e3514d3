/*
 * What is compressed, for whom, how often, and what that costs: told by the
 * answers of handshakes, by the frames of members that agreed and of members
 * that did not, and by the server's statistics.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/http.h"
#include "support/tcp.h"
#include "support/ws.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define OFFER "Sec-WebSocket-Extensions: permessage-deflate\r\n"
#define NARROW                                                                 \
    "Sec-WebSocket-Extensions: permessage-deflate; "                           \
    "server_max_window_bits=10\r\n"
#define COMPRESSED_TEXT 0xc1
#define SIZE 3000

static char message[SIZE + 1];

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    (void)connect;
    (void)user;
    CHECK_EQUAL(peal_client_join(client, "all"), 0);
}

/* Back to who sent it, and to all others. */
static void on_message(struct peal_client *from, const struct peal_event *event,
                       void *user)
{
    (void)user;
    CHECK_EQUAL(peal_client_emit(from, event), 0);
    CHECK_EQUAL(peal_room_emit(from, "all", event), 0);
}

static void add(struct peal_server *server, const char *path,
                enum peal_dialect dialect, enum peal_deflate deflate, int rc)
{
    struct peal_route route = {.size = sizeof route,
                               .path = path,
                               .dialect = dialect,
                               .deflate = deflate};

    CHECK_EQUAL(peal_server_route(server, &route), rc);
}

static void setup(struct peal_server *server)
{
    add(server, "/as", 0, PEAL_DEFLATE_DEFAULT, 0);
    add(server, "/on", 0, PEAL_DEFLATE_ON, 0);
    add(server, "/off", 0, PEAL_DEFLATE_OFF, 0);
    add(server, "/json", PEAL_DIALECT_PEAL, PEAL_DEFLATE_ON, 0);
    add(server, "/stelar", PEAL_DIALECT_STELAR, PEAL_DEFLATE_ON, 0);
    add(server, "/x", 0, (enum peal_deflate)99, PEAL_EINVAL);
    CHECK_EQUAL(peal_server_on_any(server, on_message, NULL), 0);
    for (size_t i = 0; i < SIZE; i++) {
        message[i] = (char)('a' + i * i % 7);
    }
}

static void start(struct host *host, const struct peal_deflate_options *deflate)
{
    struct peal_server_options options = {
        .dialect = PEAL_DIALECT_RAW,
        .on_connect = on_connect,
        .deflate = deflate,
        .metrics_path = "/metrics",
    };

    host_start(host, &options, setup);
}

/* Opens a client and returns whether the server agreed to its offer. */
static bool open_with(struct peer *peer, const struct host *host,
                      const char *target, const char *offer)
{
    struct http_reply reply;
    char value[256];

    peer_dial(peer, host->ws);
    ws_ask(peer, target, offer);
    http_read(peer, &reply, false);
    CHECK_EQUAL(reply.status, 101);
    return http_header(&reply, "Sec-WebSocket-Extensions", value, sizeof value);
}

static void agrees(const struct host *host, const char *target, bool expected)
{
    struct peer peer;

    CHECK_EQUAL(open_with(&peer, host, target, OFFER), expected);
    peer_close(&peer);
}

static void routes_decide(void **state)
{
    struct peal_deflate_options on = {.size = sizeof on, .enabled = true};
    struct peal_deflate_options off = {.size = sizeof off};
    const struct peal_deflate_options *all[] = {&on, &off, NULL};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        struct host host;

        start(&host, all[i]);
        agrees(&host, "/as", i == 0);
        agrees(&host, "/on", true);
        agrees(&host, "/off", false);
        agrees(&host, "/json", true);
        agrees(&host, "/stelar", false);
        host_stop(&host);
    }
}

/* The next frame holds the message, compressed if that was agreed on. */
static void expect_message(struct peer *peer, bool is_compressed)
{
    unsigned char head[4];
    char out[SIZE + 1];
    char packed[SIZE];
    z_stream stream = {0};
    size_t size;

    if (!is_compressed) {
        ws_expect(peer, WS_TEXT_FRAME, message, SIZE);
        return;
    }
    memcpy(head, peer_take(peer, 2), 2);
    CHECK_EQUAL(head[0], COMPRESSED_TEXT);
    size = head[1];
    if (size == 126) {
        memcpy(head + 2, peer_take(peer, 2), 2);
        size = (size_t)head[2] << 8 | head[3];
    }
    CHECK(size < SIZE / 2);
    memcpy(packed, peer_take(peer, size), size);
    memcpy(packed + size, "\x00\x00\xff\xff", 4);
    CHECK(inflateInit2(&stream, -15) == Z_OK);
    stream.next_in = (unsigned char *)packed;
    stream.avail_in = (unsigned)size + 4;
    stream.next_out = (unsigned char *)out;
    stream.avail_out = sizeof out;
    CHECK(inflate(&stream, Z_SYNC_FLUSH) == Z_OK);
    CHECK_EQUAL(stream.total_out, SIZE);
    CHECK(memcmp(out, message, SIZE) == 0);
    inflateEnd(&stream);
}

/* Four who agreed, two of them to a small window, one who did not, and TCP. */
static void one_compression_serves_all(void **state)
{
    static const char *const offers[] = {OFFER, NARROW, "", OFFER, NARROW};
    struct peal_deflate_options on = {.size = sizeof on, .enabled = true};
    struct peer peers[ARRAY_SIZE(offers)];
    struct peal_server_stats stats;
    struct tcp_received received;
    struct peer tcp;
    struct host host;

    (void)state;
    start(&host, &on);
    for (size_t i = 0; i < ARRAY_SIZE(offers); i++) {
        CHECK_EQUAL(open_with(&peers[i], &host, "/as", offers[i]),
                    offers[i][0] != '\0');
    }
    peer_dial(&tcp, host.tcp);
    CHECK_SOON(host_stats(&host).clients == ARRAY_SIZE(offers) + 1);
    ws_send(&peers[2], WS_TEXT_FRAME, message, SIZE);
    for (size_t i = 0; i < ARRAY_SIZE(offers); i++) {
        expect_message(&peers[i], offers[i][0] != '\0');
    }
    CHECK(tcp_read(&tcp, &received));
    CHECK_EQUAL(received.size, SIZE);
    CHECK(memcmp(received.data, message, SIZE) == 0);

    stats = host_stats(&host);
    CHECK_EQUAL(stats.deflated_messages, 2); /* one for each window */
    CHECK_EQUAL(stats.deflated_bytes, 2 * SIZE);
    CHECK(stats.deflated_wire_bytes > 0 && stats.deflated_wire_bytes < SIZE);
    CHECK(stats.deflate_ns > 0);
    CHECK_EQUAL(stats.inflated_messages, 0);
    CHECK(stats.deflate_state_bytes > 0);

    /* Small ones are not worth it, and nobody needs to have been told. */
    ws_send_text(&peers[2], "hi");
    for (size_t i = 0; i < ARRAY_SIZE(offers); i++) {
        ws_expect_text(&peers[i], "hi");
    }
    CHECK(tcp_read(&tcp, &received));
    CHECK_EQUAL(host_stats(&host).deflated_messages, 2);

    /* The first sends it compressed: inflated once, answered compressed. */
    ws_send(&peers[0], COMPRESSED_TEXT, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    ws_expect_text(&peers[0], "Hello");
    stats = host_stats(&host);
    CHECK_EQUAL(stats.inflated_messages, 1);
    CHECK_EQUAL(stats.inflated_wire_bytes, 7);
    CHECK_EQUAL(stats.inflated_bytes, 5);
    CHECK(stats.inflate_ns > 0);
#define METRIC(name) http_metric(host.ws, "peal_" name)
    CHECK(METRIC("deflate_messages_total{direction=\"out\"}") == 2);
    CHECK(METRIC("deflate_messages_total{direction=\"in\"}") == 1);
    CHECK(METRIC("deflate_plain_bytes_total{direction=\"out\"}") == 2 * SIZE);
    CHECK(METRIC("deflate_plain_bytes_total{direction=\"in\"}") == 5);
    CHECK(METRIC("deflate_wire_bytes_total{direction=\"out\"}") ==
          (double)stats.deflated_wire_bytes);
    CHECK(METRIC("deflate_wire_bytes_total{direction=\"in\"}") == 7);
    CHECK(METRIC("deflate_seconds_total") > 0);
    CHECK(METRIC("inflate_seconds_total") > 0);
    CHECK(METRIC("deflate_state_bytes") == (double)stats.deflate_state_bytes);
#undef METRIC

    for (size_t i = 0; i < ARRAY_SIZE(offers); i++) {
        peer_close(&peers[i]);
    }
    peer_close(&tcp);
    host_stop(&host);
}

/* With takeover each has a state of its own, from its first need to its end. */
static void takeover_costs_memory_while_it_lasts(void **state)
{
    struct peal_deflate_options on = {
        .size = sizeof on,
        .enabled = true,
        .context_takeover = true,
    };
    struct peer peers[3];
    struct peal_server_stats stats;
    struct host host;

    (void)state;
    start(&host, &on);
    for (int i = 0; i < 3; i++) {
        CHECK(open_with(&peers[i], &host, "/as", OFFER));
    }
    CHECK_SOON(host_stats(&host).clients == 3);
    CHECK_EQUAL(host_stats(&host).deflate_state_bytes, 0);
    ws_send(&peers[0], WS_TEXT_FRAME, message, SIZE);
    for (int i = 0; i < 3; i++) {
        expect_message(&peers[i], true);
    }
    stats = host_stats(&host);
    CHECK_EQUAL(stats.deflated_messages, 3);
    CHECK(stats.deflate_state_bytes > 3 * 30000);
    CHECK(stats.deflate_state_bytes < 3 * 50000);
    for (int i = 0; i < 3; i++) {
        peer_close(&peers[i]);
    }
    CHECK_SOON(host_stats(&host).deflate_state_bytes == 0);
    host_stop(&host);
}

/* --- The options ---------------------------------------------------------- */

/* What a server with these options does for one client with this offer. */
static struct peal_server_stats told(const struct peal_deflate_options *options,
                                     const char *offer, size_t size)
{
    bool is_packed = size >= options->threshold_bytes;
    struct peal_server_stats stats;
    struct peer peer;
    struct host host;

    start(&host, options);
    CHECK(open_with(&peer, &host, "/as", offer));
    ws_send(&peer, WS_TEXT_FRAME, message, size);
    CHECK_EQUAL((unsigned char)peer_take(&peer, 1)[0],
                is_packed ? COMPRESSED_TEXT : WS_TEXT_FRAME);
    stats = host_stats(&host);
    CHECK_EQUAL(stats.deflated_messages, is_packed);
    peer_close(&peer);
    host_stop(&host);
    return stats;
}

static void the_threshold_is_exact(void **state)
{
    struct peal_deflate_options on = {.size = sizeof on, .enabled = true};

    (void)state;
    on.threshold_bytes = 1024;
    (void)told(&on, OFFER, 1023);
    (void)told(&on, OFFER, 1024);
    on.threshold_bytes = 200;
    (void)told(&on, OFFER, 199);
    (void)told(&on, OFFER, 200);
    on.threshold_bytes = SIZE + 1;
    (void)told(&on, OFFER, SIZE);
}

/* zlib's own account of what they take is (1 << (window + 2)) + (1 << (memory
 * + 9)), and the same more for all. */
static void window_and_memory_are_as_wanted(void **state)
{
    struct peal_deflate_options on = {.size = sizeof on,
                                      .enabled = true,
                                      .threshold_bytes = 1};
    uint64_t most;

    (void)state;
    on.window_bits = 15;
    on.memory_level = 9;
    most = told(&on, OFFER, SIZE).deflate_state_bytes;
    on.memory_level = 1;
    CHECK_EQUAL(most - told(&on, OFFER, SIZE).deflate_state_bytes,
                (1 << 18) - (1 << 10));
    on.memory_level = 9;
    on.window_bits = 10;
    CHECK_EQUAL(most - told(&on, OFFER, SIZE).deflate_state_bytes,
                (1 << 17) - (1 << 12));
    on.window_bits = 15;
    CHECK_EQUAL(most - told(&on, NARROW, SIZE).deflate_state_bytes,
                (1 << 17) - (1 << 12));
}

static void a_higher_level_makes_less_of_it(void **state)
{
    struct peal_deflate_options on = {.size = sizeof on, .enabled = true};
    unsigned value = 1;
    uint64_t fast;

    (void)state;
    /* Words that a longer search finds again. */
    for (size_t i = 0; i < SIZE; i++) {
        value = value * 1103515245u + 12345u;
        message[i] = i % 97 < 60 && i > 600 ? message[i - 389 - i % 3]
                                           : (char)('a' + (value >> 16) % 9);
    }
    on.level = 1;
    on.threshold_bytes = 1;
    fast = told(&on, OFFER, SIZE).deflated_wire_bytes;
    on.level = 9;
    CHECK(told(&on, OFFER, SIZE).deflated_wire_bytes < fast);
}

/* "Hello", seven bytes when it is compressed. */
static void send_hello(struct peer *peer)
{
    ws_send(peer, COMPRESSED_TEXT, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    ws_expect_text(peer, "Hello");
}

/* The memory to inflate with counts, too, and fits what was agreed on. */
static void windows_of_clients_are_as_agreed(void **state)
{
    static const char *const offers[] = {
        OFFER, "Sec-WebSocket-Extensions: permessage-deflate; "
               "client_max_window_bits=9\r\n"};
    struct peal_deflate_options on = {.size = sizeof on,
                                      .enabled = true,
                                      .context_takeover = true,
                                      .window_bits = 15};
    uint64_t bytes[ARRAY_SIZE(offers)];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(offers); i++) {
        struct peer peer;
        struct host host;

        start(&host, &on);
        CHECK(open_with(&peer, &host, "/as", offers[i]));
        CHECK_EQUAL(host_stats(&host).deflate_state_bytes, 0);
        send_hello(&peer);
        bytes[i] = host_stats(&host).deflate_state_bytes;
        CHECK(bytes[i] > 5000);
        peer_close(&peer);
        CHECK_SOON(host_stats(&host).deflate_state_bytes == 0);
        host_stop(&host);
    }
    CHECK_EQUAL(bytes[0] - bytes[1], (1 << 15) - (1 << 9));
}

/* --- Bombs ---------------------------------------------------------------- */

#define BOMB_LIMIT 65536u

/* A thousand times as many zeros; returns the size of the bomb. */
static size_t make_bomb(char *out, size_t size, size_t zeros)
{
    static const char nothing[4096];
    z_stream stream = {0};

    CHECK(deflateInit2(&stream, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY) ==
          Z_OK);
    stream.next_out = (unsigned char *)out;
    stream.avail_out = (unsigned)size;
    for (size_t i = 0; i < zeros; i += sizeof nothing) {
        stream.next_in = (unsigned char *)nothing;
        stream.avail_in = sizeof nothing;
        CHECK(deflate(&stream, Z_NO_FLUSH) == Z_OK);
    }
    CHECK(deflate(&stream, Z_SYNC_FLUSH) == Z_OK && stream.avail_out > 0);
    size = stream.total_out - 4;
    deflateEnd(&stream);
    return size;
}

/* Refused with no more inflated than the limit and one byte. */
static void bombs_cost_no_more_than_a_message(void **state)
{
    static char bomb[BOMB_LIMIT];
    struct peal_deflate_options on = {.size = sizeof on, .enabled = true};
    struct peal_server_options options = {
        .dialect = PEAL_DIALECT_RAW,
        .deflate = &on,
        .message_bytes_max = BOMB_LIMIT,
    };
    size_t size = make_bomb(bomb, sizeof bomb, 1000 * 60000);
    struct host host;

    (void)state;
    CHECK(size < BOMB_LIMIT && size * 1000 < 61u * 1000 * 1000);
    host_start(&host, &options, setup);
    for (int pieces = 1; pieces <= 2; pieces++) {
        uint64_t before = host_stats(&host).inflated_bytes;
        struct peer peer;

        CHECK(open_with(&peer, &host, "/as", OFFER));
        if (pieces == 1) {
            ws_send(&peer, 0xc2, bomb, size);
        } else {
            ws_send(&peer, 0x42, bomb, size / 2);
            ws_send(&peer, 0x80, bomb + size / 2, size - size / 2);
        }
        ws_await_close(&peer, 1009);
        CHECK_EQUAL(host_stats(&host).inflated_bytes - before, BOMB_LIMIT + 1);
        CHECK_EQUAL(host_stats(&host).closed_message_bytes, pieces);
    }
    host_stop(&host);
}

/* --- What is no option ---------------------------------------------------- */

static char log_line[256];

static void keep_line(enum peal_log_level level, const char *component,
                      const char *text, const char *fields, void *user)
{
    (void)level;
    (void)component;
    (void)user;
    snprintf(log_line, sizeof log_line, "%s %s", text, fields);
}

static void refuse(const char *name, struct peal_deflate_options bad)
{
    struct peal_server_options options = {
        .size = sizeof options, .deflate = &bad, .log = keep_line};
    struct peal_server *server;
    char expected[64];

    CHECK_EQUAL(peal_server_new(&server, &options), PEAL_EINVAL);
    snprintf(expected, sizeof expected, "bad option option=deflate.%s", name);
    assert_string_equal(log_line, expected);
}

static void bad_options_are_named(void **state)
{
    size_t size = sizeof(struct peal_deflate_options);

    (void)state;
    refuse("size", (struct peal_deflate_options){.size = size - 1});
    refuse("level", (struct peal_deflate_options){.size = size, .level = 10});
    refuse("window_bits",
           (struct peal_deflate_options){.size = size, .window_bits = 8});
    refuse("memory_level",
           (struct peal_deflate_options){.size = size, .memory_level = 10});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_decide),
        cmocka_unit_test(one_compression_serves_all),
        cmocka_unit_test(takeover_costs_memory_while_it_lasts),
        cmocka_unit_test(the_threshold_is_exact),
        cmocka_unit_test(window_and_memory_are_as_wanted),
        cmocka_unit_test(windows_of_clients_are_as_agreed),
        cmocka_unit_test(bombs_cost_no_more_than_a_message),
        cmocka_unit_test(bad_options_are_named),
        cmocka_unit_test(a_higher_level_makes_less_of_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
