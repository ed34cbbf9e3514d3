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

static void bad_options_are_refused(void **state)
{
    struct peal_deflate_options bad = {.size = sizeof bad, .window_bits = 8};
    struct peal_server_options options = {.size = sizeof options,
                                          .deflate = &bad};
    struct peal_server *server;

    (void)state;
    CHECK_EQUAL(peal_server_new(&server, &options), PEAL_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_decide),
        cmocka_unit_test(one_compression_serves_all),
        cmocka_unit_test(takeover_costs_memory_while_it_lasts),
        cmocka_unit_test(bad_options_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
