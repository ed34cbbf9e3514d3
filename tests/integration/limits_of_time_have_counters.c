/*
 * Goal: each deadline passes when it should and not before, counts what it
 * ended, and can be switched off.
 *
 * Method: servers with short deadlines, and peers that keep them waiting. No
 * test measures how long anything takes: a deadline shows by what it does, and
 * by what a peer that keeps it does not suffer.
 */
#include "support/suite.h"

#include "support/handlers.h"
#include "support/host.h"
#include "support/http.h"
#include "support/member.h"
#include "support/stelar.h"

#include <stdlib.h>
#include <string.h>

#define FAST_MS 100

static struct host host;

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(
        peal_server_on_request(server, "never", handlers_never, NULL), 0);
}

/* --- Handshakes ---------------------------------------------------------- */

static void handshake_timeout(void **state)
{
    struct peal_server_options options = {
        .handshake_timeout_ms = FAST_MS,
        .health_path = "/health",
    };
    static const char get[] = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    struct http_reply reply;
    struct member quick;
    struct member tcp;
    struct peer peers[3];

    (void)state;
    host_start(&host, &options, setup);
    member_open(&quick, host.ws, false);
    member_open(&tcp, host.tcp, true);
    for (int i = 0; i < 3; i++) {
        peer_dial(&peers[i], host.ws);
    }
    peer_send(&peers[1], get, 20);
    /* After an answer the next request has as long. */
    peer_send(&peers[2], get, sizeof get - 1);
    http_read(&peers[2], &reply, true);
    CHECK_EQUAL(reply.status, 200);
    for (int i = 0; i < 3; i++) {
        peer_expect_end(&peers[i]);
        peer_close(&peers[i]);
    }
    CHECK_EQUAL(host_stats(&host).closed_handshake_timeout, 3);

    /* Who is in has kept it. */
    member_expect_silence(&quick);
    member_expect_silence(&tcp);
    member_close(&quick);
    member_close(&tcp);
    host_await_empty(&host);
    host_stop(&host);
}

static void no_handshake_timeout(void **state)
{
    struct peal_server_options options = {.handshake_timeout_ms = PEAL_OFF};
    struct peer peer;

    (void)state;
    host_start(&host, &options, setup);
    peer_dial(&peer, host.ws);
    CHECK(!peer_has_input(&peer, 3 * FAST_MS));
    ws_ask(&peer, "/", "");
    ws_expect_open(&peer);
    peer_close(&peer);
    host_await_empty(&host);
    CHECK_EQUAL(host_stats(&host).closed_handshake_timeout, 0);
    host_stop(&host);
}

/* --- Heartbeats ---------------------------------------------------------- */

/* Reads frames until `count` pings have come, and answers them. */
static void answer_pings(struct member *member, int count)
{
    while (count > 0) {
        if (member->is_tcp) {
            struct tcp_received frame;

            CHECK(tcp_read(&member->peer, &frame));
            CHECK_EQUAL(frame.type, TCP_PING_FRAME);
            tcp_send(&member->peer, TCP_PONG_FRAME, NULL, frame.data,
                     frame.size);
        } else {
            struct ws_received frame;

            CHECK(ws_read(&member->peer, &frame));
            CHECK_EQUAL(frame.first, WS_PING_FRAME);
            ws_send(&member->peer, WS_PONG_FRAME, frame.data, frame.size);
        }
        count--;
    }
}

/* Shortens the time to answer a ping, which until now nobody can miss. */
static void be_impatient(void)
{
    struct peal_server_options options = host_config(&host);

    options.ping_timeout_ms = FAST_MS;
    host_update(&host, &options);
}

/* Who answers stays for many intervals; who falls silent then is closed. */
static void pings(void **state)
{
    struct peal_server_options options = {
        .ping_interval_ms = FAST_MS,
        .ping_timeout_ms = 600000,
    };

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        struct member member;
        struct heard heard;

        host_start(&host, &options, setup);
        member_open(&member, host_address(&host, is_tcp == 1), is_tcp == 1);
        answer_pings(&member, 5);
        CHECK_EQUAL(host_stats(&host).closed_ping_timeout, 0);
        be_impatient();
        CHECK_SOON(host_stats(&host).closed_ping_timeout == 1);
        /* member_hear() answers the pings, too late. */
        CHECK(member_hear(&member, &heard));
        CHECK(strcmp(heard.json, "{\"close\":1008}") == 0);
        heard_free(&heard);
        peer_drain(&member.peer);
        peer_close(&member.peer);
        host_await_empty(&host);
        host_stop(&host);
    }
}

/* Whoever talks need not be asked whether it lives. */
static void traffic_is_a_sign_of_life(void **state)
{
    struct peal_server_options options = {
        .ping_interval_ms = 10 * FAST_MS,
        .ping_timeout_ms = FAST_MS,
    };
    struct member members[2];
    uint64_t until_ms;

    (void)state;
    host_start(&host, &options, setup);
    for (int i = 0; i < 2; i++) {
        member_open(&members[i], host_address(&host, i == 1), i == 1);
    }
    until_ms = check_now_ms() + 20 * FAST_MS;
    while (check_now_ms() < until_ms) {
        for (int i = 0; i < 2; i++) {
            /* No ping in between: the answer is the very next frame. */
            if (i == 1) {
                tcp_send(&members[i].peer, TCP_PING_FRAME, NULL, "x", 1);
                tcp_expect(&members[i].peer, TCP_PONG_FRAME, "", "x", 1);
            } else {
                ws_send(&members[i].peer, WS_PING_FRAME, "x", 1);
                ws_expect(&members[i].peer, WS_PONG_FRAME, "x", 1);
            }
        }
        CHECK(!peer_has_input(&members[0].peer, FAST_MS / 10));
    }
    CHECK_EQUAL(host_stats(&host).closed_ping_timeout, 0);
    for (int i = 0; i < 2; i++) {
        member_close(&members[i]);
    }
    host_stop(&host);
}

/* With pongs only, whoever talks and does not answer is closed like anybody
 * who is silent; who answers stays, though it says nothing else. */
static void only_pongs_are_a_sign_of_life(void **state)
{
    struct peal_server_options options = {
        .ping_interval_ms = FAST_MS,
        .ping_timeout_ms = 600000,
        .alive_by = PEAL_ALIVE_BY_PONG,
    };

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        struct member quiet;
        struct member talker;

        host_start(&host, &options, setup);
        member_open(&quiet, host_address(&host, is_tcp == 1), is_tcp == 1);
        answer_pings(&quiet, 5);
        CHECK_EQUAL(host_stats(&host).closed_ping_timeout, 0);
        peer_close(&quiet.peer);
        host_await_empty(&host);

        member_open(&talker, host_address(&host, is_tcp == 1), is_tcp == 1);
        be_impatient();
        CHECK_SOON((member_say(&talker, "{'event':'chat'}"),
                    host_stats(&host).closed_ping_timeout == 1));
        CHECK(host_stats(&host).messages_in > 0);
        peer_drain(&talker.peer);
        peer_close(&talker.peer);
        host_await_empty(&host);
        host_stop(&host);
    }
}

static struct peal_listen stelar_tcp = {
    .size = sizeof stelar_tcp,
    .address = "127.0.0.1:0",
    .transport = PEAL_TCP,
    .dialect = PEAL_DIALECT_STELAR,
};

static void setup_dialects(struct peal_server *server)
{
    const struct peal_route routes[] = {
        {.size = sizeof routes[0], .path = "/"},
        {.size = sizeof routes[0],
         .path = "/s",
         .dialect = PEAL_DIALECT_STELAR},
    };

    CHECK_EQUAL(peal_server_listen(server, &stelar_tcp), 0);
    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        CHECK_EQUAL(peal_server_route(server, &routes[i]), 0);
    }
}

static void say_stelar(struct peer *peer, bool is_tcp)
{
    static const char text[] = "{\"event\":\"chat\",\"data\":1}";

    if (is_tcp) {
        tcp_send_text(peer, STELAR_JSON_FRAME, "chat", "1");
    } else {
        ws_send(peer, WS_TEXT_FRAME, text, sizeof text - 1);
    }
}

/* Dialects have heartbeats of their own: stelar's clients have to answer
 * quickly, and others are not even asked. The server takes new ones over while
 * it runs. */
static void heartbeats_are_by_dialect(void **state)
{
    static const char pong[] = "{\"event\":\"pong\",\"data\":1795224062715}";
    struct peal_server_options options = {
        .ping_interval_ms = 3600 * 1000,
        .heartbeats[PEAL_DIALECT_STELAR] = {
            .ping_interval_ms = FAST_MS,
            .ping_timeout_ms = 10 * FAST_MS,
            .alive_by = PEAL_ALIVE_BY_PONG,
        },
    };
    struct member other;
    struct peer peers[2];
    char address[PEAL_ADDRESS_MAX];
    uint64_t until_ms;

    (void)state;
    host_start(&host, &options, setup_dialects);
    CHECK_EQUAL(peal_server_address(host.server, 2, address), 0);
    member_open(&other, host.ws, false);
    ws_open(&peers[0], host.ws, "/s");
    peer_dial(&peers[1], address);

    /* The text "pong" of these clients is one. */
    until_ms = check_now_ms() + 25 * FAST_MS;
    while (check_now_ms() < until_ms) {
        CHECK(!peer_has_input(&other.peer, FAST_MS / 2));
        ws_send(&peers[0], WS_TEXT_FRAME, pong, sizeof pong - 1);
        tcp_send_text(&peers[1], STELAR_PONG_FRAME, NULL, "");
    }
    CHECK_EQUAL(host_stats(&host).closed_ping_timeout, 0);
    CHECK_EQUAL(host_stats(&host).clients, 3);

    options.size = sizeof options;
    CHECK_EQUAL(peal_server_config(host.server, &options), 0);
    CHECK_EQUAL(options.heartbeats[PEAL_DIALECT_STELAR].ping_interval_ms,
                FAST_MS);
    options.heartbeats[PEAL_DIALECT_STELAR].ping_timeout_ms = FAST_MS;
    CHECK_EQUAL(peal_server_update(host.server, &options, NULL), 0);
    CHECK_SOON((say_stelar(&peers[0], false), say_stelar(&peers[1], true),
                host_stats(&host).closed_ping_timeout == 2));
    CHECK(!peer_has_input(&other.peer, 0));
    member_close(&other);
    for (int i = 0; i < 2; i++) {
        peer_drain(&peers[i]);
        peer_close(&peers[i]);
    }
    host_stop(&host);
}

static void no_pings(void **state)
{
    struct peal_server_options options = {
        .ping_interval_ms = PEAL_OFF,
        .ping_timeout_ms = 1,
    };
    struct member members[2];

    (void)state;
    host_start(&host, &options, setup);
    for (int i = 0; i < 2; i++) {
        member_open(&members[i], host_address(&host, i == 1), i == 1);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(!peer_has_input(&members[i].peer, 3 * FAST_MS));
        member_expect_silence(&members[i]);
        member_close(&members[i]);
    }
    host_stop(&host);
}

/* --- Closing ------------------------------------------------------------- */

/* Peers that neither answer a close nor end their side are cut off. */
static void close_timeout(void **state)
{
    struct peal_server_options options = {.close_timeout_ms = FAST_MS};
    struct member members[2];
    struct peer refused;

    (void)state;
    host_start(&host, &options, setup);
    for (int i = 0; i < 2; i++) {
        member_open(&members[i], host_address(&host, i == 1), i == 1);
        CHECK_EQUAL(peal_server_close(
                        host.server,
                        peal_server_find(host.server, members[i].id), 4000, ""),
                    0);
    }
    peer_dial(&refused, host.ws);
    peer_send(&refused, "nonsense\r\n\r\n", 12);
    host_await_empty(&host);
    for (int i = 0; i < 2; i++) {
        peer_drain(&members[i].peer);
        peer_close(&members[i].peer);
    }
    peer_close(&refused);
    host_stop(&host);
}

#define PAGE_SIZE (768 * 1024)
#define STEP_MS 400

/* How a large answer or message ends for a slow reader. */
enum { BY_CLOSE, BY_GOODBYE, BY_LAST_ANSWER, BY_KEPT_ANSWER, ENDS };

static char *page;

static void setup_page(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_page(server, "/page", "text/plain", page,
                                 PAGE_SIZE),
                0);
}

/* Has something large sent to a reader with a small buffer. */
static void begin_end(struct host *at, struct member *member, int end)
{
    struct peal_event event = {
        .name = peal_slice("page"),
        .data = {page, PAGE_SIZE},
        .kind = PEAL_BYTES,
    };
    struct peal_client_ref ref;

    memset(member, 0, sizeof *member);
    member->is_tcp = end == BY_GOODBYE;
    peer_dial_narrow(&member->peer, host_address(at, member->is_tcp), 4096);
    if (end == BY_LAST_ANSWER || end == BY_KEPT_ANSWER) {
        const char *request = end == BY_KEPT_ANSWER
                                  ? "GET /page HTTP/1.1\r\nHost: x\r\n\r\n"
                                  : "GET /page HTTP/1.1\r\nHost: x\r\n"
                                    "Connection: close\r\n\r\n";

        peer_send(&member->peer, request, strlen(request));
        CHECK(peer_wait(&member->peer, 1));
        return;
    }
    if (end == BY_CLOSE) {
        ws_ask(&member->peer, "/", "");
        ws_expect_open(&member->peer);
    }
    member_welcome(member);
    ref = peal_server_find(at->server, member->id);
    CHECK_EQUAL(peal_server_emit(at->server, ref, &event), 0);
    CHECK_EQUAL(peal_server_close(at->server, ref, 4000, ""), 0);
}

/* Reads so much a second until all is there, or the server has done with it;
 * returns how much came. */
static size_t read_slowly(struct peer *peer, size_t a_second)
{
    uint64_t began_ms = check_now_ms();
    size_t total = 0;

    while (total < PAGE_SIZE && host_stats(&host).connections > 0) {
        size_t due = a_second * (check_now_ms() - began_ms) / 1000;
        size_t there;

        if (total >= due) {
            check_breathe();
        } else if (!peer_wait(peer, 1)) {
            break;
        } else {
            (void)peer_peek(peer, &there);
            total += there;
            (void)peer_take(peer, there);
        }
    }
    return total;
}

static void start_with_page(struct peal_server_options options)
{
    page = malloc(PAGE_SIZE);
    CHECK(page != NULL);
    memset(page, 'p', PAGE_SIZE);
    options.close_timeout_ms = STEP_MS;
    options.handshake_timeout_ms = STEP_MS;
    host_start(&host, &options, setup_page);
}

/* Who goes on reading gets everything, however long it takes. */
static void slow_readers_get_all(void **state)
{
    struct member members[ENDS];

    (void)state;
    start_with_page((struct peal_server_options){.size = 0});
    for (int end = 0; end < ENDS; end++) {
        uint64_t began_ms = check_now_ms();

        begin_end(&host, &members[end], end);
        CHECK(read_slowly(&members[end].peer, PAGE_SIZE / 2) >= PAGE_SIZE);
        CHECK(check_now_ms() - began_ms > 3 * STEP_MS);
        peer_drain(&members[end].peer);
        peer_close(&members[end].peer);
    }
    CHECK_EQUAL(host_stats(&host).closed_drain_timeout, 0);
    host_await_empty(&host);
    host_stop(&host);
    free(page);
}

static void who_stands_still_is_cut(void **state)
{
    struct member members[ENDS];

    (void)state;
    start_with_page((struct peal_server_options){.size = 0});
    for (int end = 0; end < ENDS; end++) {
        begin_end(&host, &members[end], end);
    }
    host_await_empty(&host);
    CHECK_EQUAL(host_stats(&host).closed_drain_timeout, ENDS);
    for (int end = 0; end < ENDS; end++) {
        peer_close(&members[end].peer);
    }
    host_stop(&host);
    free(page);
}

static void drain_timeout(void **state)
{
    struct member members[ENDS];

    (void)state;
    start_with_page((struct peal_server_options){.drain_timeout_ms = STEP_MS});
    for (int end = 0; end < ENDS; end++) {
        begin_end(&host, &members[end], end);
        /* What had been sent before it was cut may still arrive later. */
        CHECK(read_slowly(&members[end].peer, PAGE_SIZE / 4) < PAGE_SIZE);
        peer_close(&members[end].peer);
    }
    CHECK_EQUAL(host_stats(&host).closed_drain_timeout, ENDS);
    host_stop(&host);
    free(page);
}

static void stop_timeout(void **state)
{
    struct peal_server_options options = {
        .close_timeout_ms = PEAL_OFF,
        .stop_timeout_ms = FAST_MS,
    };
    struct member members[2];
    struct peer half;

    (void)state;
    host_start(&host, &options, setup);
    for (int i = 0; i < 2; i++) {
        member_open(&members[i], host_address(&host, i == 1), i == 1);
    }
    peer_dial(&half, host.ws);
    peer_send(&half, "GET / HTTP/1.1\r\n", 16);
    CHECK_SOON(host_stats(&host).connections == 3);
    /* Nobody reads, answers or leaves; and yet it stops. */
    host_stop(&host);
    for (int i = 0; i < 2; i++) {
        member_expect(&members[i], "{'close':1001}");
        peer_close(&members[i].peer);
    }
    peer_close(&half);
}

/* --- Requests ------------------------------------------------------------ */

static void request_timeout(void **state)
{
    struct peal_server_options options = {.request_timeout_ms = FAST_MS};
    struct member member;

    (void)state;
    host_start(&host, &options, setup);
    member_open(&member, host.ws, false);
    member_say(&member, "{'event':'never','id':1}");
    member_expect_failure(&member, "1", 106);
    CHECK_EQUAL(host_stats(&host).requests_timed_out, 1);
    member_close(&member);
    host_stop(&host);
}

static void no_request_timeout(void **state)
{
    struct peal_server_options options = {.request_timeout_ms = PEAL_OFF};
    struct member member;

    (void)state;
    host_start(&host, &options, setup);
    member_open(&member, host.ws, false);
    member_say(&member, "{'event':'never','id':1}");
    CHECK(!peer_has_input(&member.peer, 3 * FAST_MS));
    CHECK_EQUAL(host_stats(&host).requests_pending, 1);
    member_close(&member);
    CHECK_SOON(host_stats(&host).requests_pending == 0);
    host_stop(&host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshake_timeout),
        cmocka_unit_test(no_handshake_timeout),
        cmocka_unit_test(pings),
        cmocka_unit_test(traffic_is_a_sign_of_life),
        cmocka_unit_test(only_pongs_are_a_sign_of_life),
        cmocka_unit_test(heartbeats_are_by_dialect),
        cmocka_unit_test(no_pings),
        cmocka_unit_test(close_timeout),
        cmocka_unit_test(slow_readers_get_all),
        cmocka_unit_test(who_stands_still_is_cut),
        cmocka_unit_test(drain_timeout),
        cmocka_unit_test(stop_timeout),
        cmocka_unit_test(request_timeout),
        cmocka_unit_test(no_request_timeout),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
