/*
 * Goal: options change while the server runs, all of an update or nothing, on
 * every loop, without disturbing the clients that are in.
 *
 * Method: clients of both transports on two loops see the limit, the ping, the
 * path or the handler of the newest update; refused updates leave no trace;
 * threads update at once while clients talk.
 */
#include "support/suite.h"

#include <peal/http.h>
#include <peal/policy.h>

#include "support/handlers.h"
#include <peal/policy.h>

#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static void handlers(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on_request(server, "echo", handlers_echo, NULL), 0);
}

/* Members on both loops: as many as make that all but certain. */
#define MEMBERS 12

static void open_members(const struct host *host, struct member *members)
{
    for (int i = 0; i < MEMBERS; i++) {
        bool is_tcp = i % 2 == 1;

        member_open(&members[i], host_address(host, is_tcp), is_tcp);
    }
}

static void close_members(struct member *members)
{
    for (int i = 0; i < MEMBERS; i++) {
        member_close(&members[i]);
    }
}

/* What an update has posted to a loop is done when the loop has answered. */
static void let_loops_turn(struct member *members)
{
    for (int i = 0; i < MEMBERS; i++) {
        member_expect_silence(&members[i]);
    }
}

static void test_nothing_of_a_bad_update(void **state)
{
    struct peal_server_options given = {
        .clients_max = 77, .metrics_path = "/metrics"};
    struct peal_server_options options;
    struct {
        struct peal_server_options options;
        char more[64];
    } larger;
    const char *problem = "";
    struct host host;

    (void)state;
    host_start(&host, &given, NULL);
    options = host_config(&host);
    CHECK_EQUAL(options.clients_max, 77);
    CHECK_EQUAL(options.rooms_max, 100000);
    CHECK(strcmp(options.ws_listen, "127.0.0.1:0") == 0);

    options.clients_max = 5;
    options.loops = 2;
    CHECK_EQUAL(peal_server_update(host.server, &options, &problem),
                PEAL_ENOTSUP);
    assert_string_equal(problem, "loops");
    options.loops = 1;
    options.ws_listen = "127.0.0.1:1";
    CHECK_EQUAL(peal_server_update(host.server, &options, &problem),
                PEAL_ENOTSUP);
    assert_string_equal(problem, "ws_listen");
    options.ws_listen = "127.0.0.1:0";
    options.health_path = "nowhere";
    CHECK_EQUAL(peal_server_update(host.server, &options, &problem),
                PEAL_EINVAL);
    assert_string_equal(problem, "health_path");
    options.health_path = NULL;
    options.size = sizeof options + 1;
    CHECK_EQUAL(peal_server_update(host.server, &options, NULL), PEAL_EINVAL);
    CHECK_EQUAL(host_config(&host).clients_max, 77);

    /* A caller that knows less of the struct changes less of it. */
    options = host_config(&host);
    options.size = offsetof(struct peal_server_options, rooms_max);
    options.clients_max = 0;
    options.rooms_max = 1;
    host_update(&host, &options);
    CHECK_EQUAL(host_config(&host).clients_max, 100000);
    CHECK_EQUAL(host_config(&host).rooms_max, 100000);
    options.size = 0;
    CHECK_EQUAL(peal_server_config(host.server, &options), PEAL_EINVAL);

    /* One that knows more of it is told how much there is. */
    memset(&larger, 'x', sizeof larger);
    larger.options.size = sizeof larger;
    CHECK_EQUAL(peal_server_config(host.server, &larger.options), 0);
    CHECK_EQUAL(larger.options.size, sizeof options);
    CHECK_EQUAL(larger.more[0], 'x');
    CHECK_EQUAL(http_metric(host.ws,
                            "peal_config_reloads_total{result=\"ok\"}"),
                1);
    CHECK_EQUAL(http_metric(host.ws,
                            "peal_config_reloads_total{result=\"refused\"}"),
                4);
    host_stop(&host);
}

/* Each option that needs a restart is refused by its name, and nothing else
 * is. */
static void test_what_needs_a_restart(void **state)
{
    static const struct peal_hooks hooks = {.size = sizeof hooks};
    static const struct peal_deflate_options deflate = {
        .size = sizeof deflate};
    static const struct peal_address_tracker tracker = {
        .size = sizeof tracker};
    static char anything;
    struct peal_server_options options[16];
    size_t count = 0;
    struct host host;
    bool can_change;

    (void)state;
    host_start(&host, NULL, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        options[i] = host_config(&host);
    }
    options[count++].ws_listen = NULL;
    options[count++].tcp_listen = "127.0.0.1:1";
    options[count++].dialect = PEAL_DIALECT_RAW;
    options[count++].loops = 2;
    options[count++].backlog = 7;
    options[count++].log = NULL;
    options[count++].log_user = &anything;
    options[count++].internal_listen = "127.0.0.1:0";
    options[count++].hooks = &hooks;
    options[count++].deflate = &deflate;
    options[count++].handle_signals = true;
    options[count++].tls = (struct peal_tls *)&anything;
    options[count++].address_tracker = &tracker;
    options[count++].io_backend = PEAL_IO_EPOLL;
    for (size_t i = 0, fixed = 0; i < count; i++, fixed++) {
        const char *name = peal_server_option(fixed, &can_change);
        const char *problem = NULL;

        while (name != NULL && can_change) {
            name = peal_server_option(++fixed, &can_change);
        }
        CHECK_EQUAL(peal_server_update(host.server, &options[i], &problem),
                    PEAL_ENOTSUP);
        assert_string_equal(problem, name);
        if (i == count - 1) {
            while (peal_server_option(++fixed, &can_change) != NULL) {
                CHECK(can_change);
            }
        }
    }
    host_stop(&host);
}

static void test_limits_and_permissions(void **state)
{
    struct peal_server_options given = {.loops = 2, .clients_may_join = true};
    struct member members[MEMBERS];
    struct peal_server_options options;
    struct host host;

    (void)state;
    host_start(&host, &given, handlers);
    open_members(&host, members);
    for (int i = 0; i < MEMBERS; i++) {
        member_join(&members[i], "one");
    }
    options = host_config(&host);
    options.rooms_per_client_max = 1;
    options.clients_max = MEMBERS;
    host_update(&host, &options);
    let_loops_turn(members);
    for (int i = 0; i < MEMBERS; i++) {
        member_say(&members[i],
                   "{'event':'peal:join','data':{'room':'two'},'id':1}");
        member_expect_failure(&members[i], "1", 105);
    }
    CHECK_EQUAL(ws_try(host.ws, "/", ""), 503);

    options.rooms_per_client_max = 0;
    options.clients_max = 0;
    options.clients_may_join = false;
    options.message_bytes_max = 200;
    host_update(&host, &options);
    let_loops_turn(members);
    CHECK_EQUAL(host_config(&host).frame_bytes_max, 200);
    for (int i = 0; i < MEMBERS; i++) {
        member_say(&members[i],
                   "{'event':'peal:join','data':{'room':'two'},'id':1}");
        member_expect_failure(&members[i], "1", 102);
    }
    CHECK_EQUAL(ws_try(host.ws, "/", ""), 101);
    for (int i = 0; i < MEMBERS; i++) {
        member_say(&members[i], "{'event':'echo','id':1,'data':'%0250d'}", 1);
        member_expect_close(&members[i], 1009);
    }
    host_await_empty(&host);
    host_stop(&host);
}

/* What is not set follows what it is derived from; what is set stays. */
static void test_water_marks_follow_the_queue(void **state)
{
    struct peal_server_options given = {.queue_bytes_max = 1000000};
    struct peal_server_options options;
    struct host host;

    (void)state;
    host_start(&host, &given, NULL);
    options = host_config(&host);
    CHECK_EQUAL(options.queue_high_bytes, 500000);
    CHECK_EQUAL(options.queue_low_bytes, 125000);
    options.queue_bytes_max = 400000;
    host_update(&host, &options);
    options = host_config(&host);
    CHECK_EQUAL(options.queue_high_bytes, 200000);
    CHECK_EQUAL(options.queue_low_bytes, 50000);

    options.queue_high_bytes = 100000;
    host_update(&host, &options);
    options = host_config(&host);
    CHECK_EQUAL(options.queue_high_bytes, 100000);
    CHECK_EQUAL(options.queue_low_bytes, 25000);
    options.queue_low_bytes = 10000;
    host_update(&host, &options);
    options = host_config(&host);
    options.queue_bytes_max = 300000;
    host_update(&host, &options);
    options = host_config(&host);
    CHECK_EQUAL(options.queue_high_bytes, 100000);
    CHECK_EQUAL(options.queue_low_bytes, 10000);
    host_stop(&host);
}

/* Who is in is counted on, and who has said too much has said it. */
static void test_counts_survive_updates(void **state)
{
    struct peal_server_options given = {
        .clients_per_address_max = 4,
        .client_rate = {.capacity = 2, .refill = 1, .refill_ms = 2592000000u},
    };
    struct member members[5];
    struct peal_server_options options;
    struct host host;

    (void)state;
    host_start(&host, &given, handlers);
    for (int i = 0; i < 3; i++) {
        member_open(&members[i], host_address(&host, i % 2), i % 2);
    }
    options = host_config(&host);
    for (int k = 0; k < 2; k++) {
        member_say(&members[0], "{'event':'echo','id':1}");
        member_expect(&members[0], "{'event':'peal:ok','id':1}");
    }
    options.clients_per_address_max = 3;
    host_update(&host, &options);
    CHECK_EQUAL(ws_try(host.ws, "/", ""), 429);
    options.clients_per_address_max = 5;
    host_update(&host, &options);
    for (int i = 3; i < 5; i++) {
        member_open(&members[i], host_address(&host, i % 2), i % 2);
    }
    CHECK_EQUAL(ws_try(host.ws, "/", ""), 429);
    member_say(&members[0], "{'event':'echo','id':3}");
    member_expect_failure(&members[0], "3", 110);
    for (int i = 0; i < 5; i++) {
        member_close(&members[i]);
    }
    host_stop(&host);
}

/* A frame of which a part has come may be as large as the update says. */
static void test_a_frame_in_pieces_grows_with_its_limit(void **state)
{
    static char data[400002];
    static char frame[400100];
    struct peal_server_options given = {.message_bytes_max = 300000};
    struct peal_server_options options;
    struct tcp_received received;
    struct member member;
    struct host host;
    size_t size;

    (void)state;
    host_start(&host, &given, handlers);
    member_open(&member, host.tcp, true);
    size = tcp_make(frame, TCP_ENVELOPE_FRAME, NULL, data,
                    (size_t)snprintf(data, sizeof data,
                                     "{\"event\":\"echo\",\"id\":1,\"data\":"
                                     "\"%0399000d\"}",
                                     1));
    peer_send(&member.peer, frame, 3); /* not even its length */
    options = host_config(&host);
    options.message_bytes_max = 400000;
    CHECK_SOON(host_stats(&host).bytes_in >= 3);
    host_update(&host, &options);
    CHECK_SOON(host_config(&host).message_bytes_max == 400000);
    peer_send(&member.peer, frame + 3, 100000);
    peer_send(&member.peer, frame + 100003, size - 100003);
    CHECK(tcp_read(&member.peer, &received));
    CHECK_EQUAL(received.type, TCP_ANSWER_FRAME);
    member_close(&member);
    host_await_empty(&host);
    host_stop(&host);
}

static void test_pings_begin_and_end(void **state)
{
    struct peal_server_options given = {
        .loops = 2,
        .ping_interval_ms = PEAL_OFF,
        .clients_may_join = true,
    };
    struct peal_server_options options;
    struct ws_received received;
    struct member member;
    struct host host;

    (void)state;
    host_start(&host, &given, handlers);
    member_open(&member, host.ws, false);
    options = host_config(&host);
    options.ping_interval_ms = 30;
    options.ping_timeout_ms = 60;
    host_update(&host, &options);
    CHECK(ws_read(&member.peer, &received));
    CHECK_EQUAL(received.first, WS_PING_FRAME);
    options.ping_interval_ms = PEAL_OFF;
    host_update(&host, &options);
    member_expect_silence(&member);
    CHECK(!peer_has_input(&member.peer, 200));
    member_close(&member);
    host_await_empty(&host);
    host_stop(&host);
}

static void on_silence(const struct peal_http_request *request,
                       struct peal_http_reply reply, void *user)
{
    (void)request;
    (void)reply;
    (void)user;
}

static enum peal_verdict decide_never(struct peal_client *client,
                                      const struct peal_event *event,
                                      uint32_t cost, struct peal_ticket ticket,
                                      void *user)
{
    (void)client;
    (void)cost;
    (void)ticket;
    (void)user;
    return peal_slice_equal(event->name, peal_slice("undecided")) ? PEAL_LATER
                                                                  : PEAL_ALLOW;
}

static void never(struct peal_server *server)
{
    CHECK_EQUAL(
        peal_server_on_request(server, "never", handlers_never, NULL), 0);
    CHECK_EQUAL(peal_server_http(server, "GET", "/never", on_silence, NULL),
                0);
}

/* What began without an end keeps that; what begins after it has one. */
static void test_times_begin_to_matter(void **state)
{
    static const char get[] = "GET /never HTTP/1.1\r\nHost: x\r\n\r\n";
    const struct peal_hooks hooks = {.size = sizeof hooks,
                                     .limit_message = decide_never};
    struct peal_server_options given = {
        .handshake_timeout_ms = PEAL_OFF,
        .request_timeout_ms = PEAL_OFF,
        .http_timeout_ms = PEAL_OFF,
        .decision_timeout_ms = PEAL_OFF,
        .close_timeout_ms = PEAL_OFF,
        .ping_interval_ms = PEAL_OFF,
        .stop_timeout_ms = PEAL_OFF,
        .hooks = &hooks,
    };
    struct peal_server_options options;
    struct http_reply reply;
    struct member member;
    struct peer closing;
    struct peer asking;
    struct host host;

    (void)state;
    host_start(&host, &given, never);
    member_open(&member, host.ws, false);
    ws_open(&closing, host.ws, "/");
    peer_dial(&asking, host.ws);
    CHECK_SOON(host_stats(&host).connections == 3);
    options = host_config(&host);
    options.handshake_timeout_ms = 20;
    options.request_timeout_ms = 20;
    options.http_timeout_ms = 20;
    options.decision_timeout_ms = 20;
    options.stop_timeout_ms = 20;
    host_update(&host, &options);

    member_say(&member, "{'event':'never','id':1}");
    member_expect_failure(&member, "1", 106);
    member_say(&member, "{'event':'undecided','id':2}");
    member_expect_failure(&member, "2", 110);
    /* It had all the time there is until it asked. */
    http_ask(host.ws, get, &reply);
    CHECK_EQUAL(reply.status, 503);
    CHECK(!peer_has_input(&asking, 50));
    peer_send(&asking, get, sizeof get - 1);
    http_read(&asking, &reply, true);
    CHECK_EQUAL(reply.status, 503);
    peer_close(&asking);

    /* Who does not answer the close is cut. */
    peal_server_stop(host.server);
    member_expect_close(&member, 1001);
    peer_drain(&closing);
    peer_close(&closing);
    host_stop(&host);
}

static void page(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_page(server, "/page", "a/b", "page", 4), 0);
}

/* Also that between two requests, which begins with each answer. */
static void test_the_time_between_requests(void **state)
{
    static const char get[] = "GET /page HTTP/1.1\r\nHost: x\r\n\r\n";
    struct peal_server_options given = {.handshake_timeout_ms = PEAL_OFF};
    struct peal_server_options options;
    struct http_reply reply;
    struct host host;
    struct peer peer;

    (void)state;
    host_start(&host, &given, page);
    peer_dial(&peer, host.ws);
    peer_send(&peer, get, strlen(get));
    http_read(&peer, &reply, true);
    CHECK(!peer_has_input(&peer, 50));
    options = host_config(&host);
    options.handshake_timeout_ms = 20;
    host_update(&host, &options);
    peer_send(&peer, get, strlen(get));
    http_read(&peer, &reply, true);
    CHECK_EQUAL(reply.status, 200);
    peer_expect_end(&peer);
    peer_close(&peer);
    CHECK_EQUAL(host_stats(&host).closed_handshake_timeout, 1);
    host_stop(&host);
}

/* How much of an IPv6 address counts. */
static void test_addresses_are_cut_anew(void **state)
{
    static const char *const proxies[] = {"127.0.0.1", NULL};
    struct peal_server_options given = {
        .trusted_proxies = proxies, .clients_per_address_max = 1};
    struct peal_server_options options;
    struct member member = {.is_tcp = false};
    struct host host;

    (void)state;
    host_start(&host, &given, NULL);
    peer_dial(&member.peer, host.ws);
    ws_ask(&member.peer, "/", "X-Forwarded-For: 2001:db8::1\r\n");
    ws_expect_open(&member.peer);
    member_welcome(&member);
    CHECK_EQUAL(ws_try(host.ws, "/", "X-Forwarded-For: 2001:db8::2\r\n"),
                429);
    options = host_config(&host);
    options.ipv6_prefix_bits = 128;
    host_update(&host, &options);
    CHECK_EQUAL(ws_try(host.ws, "/", "X-Forwarded-For: 2001:db8::2\r\n"),
                101);
    member_close(&member);
    host_await_empty(&host);
    host_stop(&host);
}

static _Atomic int first_calls;
static _Atomic int second_calls;

static void on_first(struct peal_client *client,
                     const struct peal_connect *connect, void *user)
{
    (void)client;
    (void)connect;
    CHECK(user == &first_calls);
    atomic_fetch_add(&first_calls, 1);
}

static void on_second(struct peal_client *client,
                      const struct peal_connect *connect, void *user)
{
    (void)client;
    (void)connect;
    CHECK(user == &second_calls);
    atomic_fetch_add(&second_calls, 1);
}

static void test_texts_and_callbacks(void **state)
{
    struct peal_server_options given = {
        .on_connect = on_first,
        .user = &first_calls,
    };
    char path[] = "/state";
    char name[] = "chat.v2";
    char listen[] = "127.0.0.1:0";
    const char *protocols[] = {"chat.v1", name, NULL};
    struct peal_server_options options;
    static struct http_reply reply;
    struct host host;
    struct peer peer;
    char value[64];

    (void)state;
    host_start(&host, &given, NULL);
    CHECK_EQUAL(ws_try(host.ws, "/", ""), 101);
    options = host_config(&host);
    options.ws_listen = listen; /* the same, elsewhere */
    options.health_path = path;
    options.protocols = protocols;
    options.on_connect = on_second;
    options.user = &second_calls;
    host_update(&host, &options);
    memset(path, 'x', sizeof path - 1); /* it has been copied */
    memset(name, 'x', sizeof name - 1);
    memset(listen, 'x', sizeof listen - 1);
    protocols[0] = NULL;

    http_ask(host.ws, "GET /state HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    CHECK_EQUAL(reply.status, 200);
    peer_dial(&peer, host.ws);
    ws_ask(&peer, "/", "Sec-WebSocket-Protocol: chat.v2\r\n");
    http_read(&peer, &reply, false);
    CHECK_EQUAL(reply.status, 101);
    CHECK(http_header(&reply, "Sec-WebSocket-Protocol", value, sizeof value));
    assert_string_equal(value, "chat.v2");
    peer_close(&peer);
    CHECK_EQUAL(atomic_load(&first_calls), 1);
    CHECK_EQUAL(atomic_load(&second_calls), 1);

    options = host_config(&host);
    assert_string_equal(options.ws_listen, "127.0.0.1:0");
    assert_string_equal(options.health_path, "/state");
    assert_string_equal(options.protocols[0], "chat.v1");
    assert_string_equal(options.protocols[1], "chat.v2");
    CHECK(options.protocols[2] == NULL);
    host_await_empty(&host);
    host_stop(&host);
}

/* One struct for many updates: what none of them replaces is still there. */
static void test_texts_that_stay_live_on(void **state)
{
    static const char *const origins[] = {"https://example.com", NULL};
    struct peal_server_options given = {
        .origins = origins, .health_path = "/health"};
    struct peal_server_options options;
    struct http_reply reply;
    struct member member;
    struct host host;

    (void)state;
    host_start(&host, &given, handlers);
    member_open(&member, host.tcp, true);
    options = host_config(&host);
    options.livez_path = "/livez";
    host_update(&host, &options); /* from here on they are an update's own */
    options = host_config(&host);
    for (uint32_t i = 0; i < 5; i++) {
        options.rooms_max = 100 + i;
        options.readyz_path = i % 2 == 0 ? "/readyz" : "/ready";
        host_update(&host, &options);
        member_expect_silence(&member); /* the loop has taken it over */
    }
    assert_string_equal(options.livez_path, "/livez");
    assert_string_equal(options.health_path, "/health");
    assert_string_equal(options.origins[0], "https://example.com");
    CHECK(options.origins[1] == NULL);
    CHECK_EQUAL(ws_try(host.ws, "/", "Origin: https://example.org\r\n"), 403);
    http_ask(host.ws, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    CHECK_EQUAL(reply.status, 200);
    member_close(&member);
    host_stop(&host);
}

static _Atomic bool is_over;

static void *keep_updating(void *argument)
{
    const struct host *host = argument;
    uint32_t round = 0;

    while (!atomic_load(&is_over)) {
        struct peal_server_options options = {.size = sizeof options};

        CHECK_EQUAL(peal_server_config(host->server, &options), 0);
        options.size = offsetof(struct peal_server_options, health_path);
        options.protocols = NULL;
        round++;
        options.rooms_max = 1000 + round % 100;
        options.ping_interval_ms = 20000 + round % 3;
        options.message_bytes_max = 100000 + round % 1000;
        options.frame_bytes_max = 0;
        CHECK_EQUAL(peal_server_update(host->server, &options, NULL), 0);
    }
    return NULL;
}

static void test_any_thread(void **state)
{
    struct peal_server_options given = {.loops = 2, .clients_may_join = true};
    struct member members[MEMBERS];
    pthread_t threads[2];
    struct host host;

    (void)state;
    host_start(&host, &given, handlers);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, keep_updating, &host), 0);
    }
    for (int round = 0; round < 10; round++) {
        open_members(&host, members);
        for (int i = 0; i < MEMBERS; i++) {
            member_join(&members[i], "room");
            member_say(&members[i], "{'event':'echo','id':1,'data':'%01000d'}",
                       i);
            member_expect(&members[i],
                          "{'event':'peal:ok','id':1,'data':'%01000d'}", i);
        }
        close_members(members);
    }
    atomic_store(&is_over, true);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    }
    host_await_empty(&host);
    host_stop(&host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_of_a_bad_update),
        cmocka_unit_test(test_what_needs_a_restart),
        cmocka_unit_test(test_limits_and_permissions),
        cmocka_unit_test(test_water_marks_follow_the_queue),
        cmocka_unit_test(test_counts_survive_updates),
        cmocka_unit_test(test_a_frame_in_pieces_grows_with_its_limit),
        cmocka_unit_test(test_pings_begin_and_end),
        cmocka_unit_test(test_times_begin_to_matter),
        cmocka_unit_test(test_the_time_between_requests),
        cmocka_unit_test(test_addresses_are_cut_anew),
        cmocka_unit_test(test_texts_and_callbacks),
        cmocka_unit_test(test_texts_that_stay_live_on),
        cmocka_unit_test(test_any_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
