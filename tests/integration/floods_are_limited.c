/*
 * Goal: what a client may send is limited by token buckets: of the client, of
 * the event, of the address, by the application's own limiter, and for
 * heartbeats; each refusal is told as the policy says, and counted; others
 * notice nothing.
 *
 * Method: rates that never refill within a test, so that every message beyond
 * the capacity is refused, on both transports; limits are changed from the
 * test's thread while the server runs.
 */
#include "support/suite.h"

#include <peal/policy.h>

#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RATE_LIMITED 110

/* So many, and no more for the next month. */
#define ONLY(count)                                                            \
    (struct peal_rate)                                                         \
    {                                                                          \
        .capacity = (count), .refill = 1, .refill_ms = 2592000000u             \
    }

static struct host host;
static _Atomic int handled;

static void on_any(struct peal_client *from, const struct peal_event *event,
                   void *user)
{
    (void)from;
    (void)event;
    (void)user;
    atomic_fetch_add(&handled, 1);
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on_any(server, on_any, NULL), 0);
}

static void begin(const struct peal_server_options *options)
{
    atomic_store(&handled, 0);
    host_start(&host, options, setup);
}

/* --- What happens at a limit ---------------------------------------------- */

static void test_errors(void **state)
{
    struct peal_server_options options = {.client_rate = ONLY(5)};
    struct member member;
    struct member other;

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        begin(&options);
        member_open(&member, host_address(&host, is_tcp), is_tcp);
        member_open(&other, host_address(&host, !is_tcp), !is_tcp);
        /* One message costs one token, on either transport. */
        for (int i = 0; i < 5; i++) {
            member_ask(&member, "x", i);
        }
        member_ask_too_much(&member, "x", 5);
        member_ask_too_much(&member, "y", 6);
        CHECK_EQUAL(atomic_load(&handled), 5);
        CHECK_EQUAL(host_stats(&host).refused_messages, 2);
        CHECK_EQUAL(host_stats(&host).closed_rate, 0);
        member_ask(&other, "x", 1);
        member_close(&member);
        member_close(&other);
        host_stop(&host);
    }
}

/* Junk, joins, bytes and answers cost as much as events. */
static void test_everything_counts(void **state)
{
    struct peal_server_options options = {
        .client_rate = ONLY(4),
        .clients_may_join = true,
    };
    struct member member;

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        begin(&options);
        member_open(&member, host_address(&host, is_tcp), is_tcp);
        member_say(&member, "null");
        member_expect_failure(&member, NULL, 100);
        member_join(&member, "room");
        member_say_bytes(&member, "{'event':'b'}", "123", 3);
        member_say(&member, "{'event':'peal:answer','id':1}");
        member_say(&member, "{'event':'peal:join','id':9,'data':{'room':'q'}}");
        member_expect_failure(&member, "9", RATE_LIMITED);
        member_say(&member, "{'event':'peal:leave','id':8,"
                            "'data':{'room':'room'}}");
        member_expect_failure(&member, "8", RATE_LIMITED);
        member_say(&member, "null");
        member_expect_failure(&member, NULL, RATE_LIMITED);
        /* The complaint about an answer must not look like an answer. */
        member_say(&member, "{'event':'peal:answer','id':1}");
        member_expect_failure(&member, NULL, RATE_LIMITED);
        CHECK_EQUAL(atomic_load(&handled), 1);
        CHECK_EQUAL(host_stats(&host).rooms, 1);
        CHECK_EQUAL(host_stats(&host).refused_messages, 4);
        member_close(&member);
        host_stop(&host);
    }
}

static void test_drop(void **state)
{
    struct peal_server_options options = {
        .client_rate = ONLY(2),
        .rate_refusal = PEAL_REFUSE_DROP,
    };
    struct member member;

    (void)state;
    begin(&options);
    member_open(&member, host.ws, false);
    member_ask(&member, "x", 1);
    member_ask(&member, "x", 2);
    member_say(&member, "{'event':'x','id':3}");
    member_expect_silence(&member);
    CHECK_EQUAL(host_stats(&host).refused_messages, 1);
    member_close(&member);
    host_stop(&host);
}

static void test_close(void **state)
{
    struct peal_server_options options = {
        .client_rate = ONLY(1),
        .rate_refusal = PEAL_REFUSE_CLOSE,
    };
    struct member member;

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        begin(&options);
        member_open(&member, host_address(&host, is_tcp), is_tcp);
        member_ask(&member, "x", 1);
        member_say(&member, "{'event':'x','id':2}");
        member_expect_close(&member, 1008);
        CHECK_EQUAL(host_stats(&host).closed_rate, 1);
        CHECK_EQUAL(host_stats(&host).refused_messages, 1);
        host_stop(&host);
    }
}

/* The reason tells which of the two it was. */
static void test_reasons(void **state)
{
    struct peal_server_options options = {
        .client_rate = ONLY(1),
        .control_rate = ONLY(1),
        .rate_refusal = PEAL_REFUSE_CLOSE,
    };
    struct member member;
    char reason[128];

    (void)state;
    begin(&options);
    member_open(&member, host.ws, false);
    member_ask(&member, "x", 1);
    member_say(&member, "{'event':'x'}");
    ws_expect_close_reason(&member.peer, 1008, reason, sizeof reason);
    CHECK(strcmp(reason, "rate limit exceeded") == 0);
    peer_close(&member.peer);
    member_open(&member, host.ws, false);
    ws_send(&member.peer, WS_PING_FRAME, "", 0);
    ws_expect(&member.peer, WS_PONG_FRAME, "", 0);
    ws_send(&member.peer, WS_PING_FRAME, "", 0);
    ws_expect_close_reason(&member.peer, 1008, reason, sizeof reason);
    CHECK(strcmp(reason, "too many pings") == 0);
    peer_close(&member.peer);
    host_await_empty(&host);
    host_stop(&host);
}

/* --- Hook and cost -------------------------------------------------------- */

static struct {
    _Atomic int calls;
    enum peal_rate_limit limit;
    char event[64];
    uint32_t cost;
    uint64_t retry_ms;
} limited;

static bool on_rate_limited(struct peal_client *client,
                            const struct peal_rate_limited *given, void *user)
{
    CHECK(client != NULL && user == &host);
    limited.limit = given->limit;
    CHECK(given->event.size < sizeof limited.event);
    if (given->event.size > 0) {
        memcpy(limited.event, given->event.data, given->event.size);
    }
    limited.event[given->event.size] = '\0';
    limited.cost = given->cost;
    limited.retry_ms = given->retry_ms;
    atomic_fetch_add(&limited.calls, 1);
    return strcmp(limited.event, "forgiven") != 0;
}

static bool forgive(struct peal_client *client,
                    const struct peal_rate_limited *given, void *user)
{
    (void)on_rate_limited(client, given, user);
    return false;
}

static uint32_t message_cost(struct peal_client *client,
                             const struct peal_event *event, void *user)
{
    CHECK(client != NULL && user == &host);
    return peal_slice_equal(event->name, peal_slice("dear"))   ? 3
           : peal_slice_equal(event->name, peal_slice("free")) ? 0
                                                               : 1;
}

static void test_hook_and_cost(void **state)
{
    struct peal_hooks hooks = {
        .size = sizeof hooks,
        .on_rate_limited = on_rate_limited,
        .message_cost = message_cost,
    };
    struct peal_server_options options = {
        .client_rate = {.capacity = 4, .refill = 1, .refill_ms = 3600000},
        .rate_refusal = PEAL_REFUSE_CLOSE,
        .hooks = &hooks,
        .user = &host,
    };
    struct member member;

    (void)state;
    memset(&limited, 0, sizeof limited);
    begin(&options);
    member_open(&member, host.ws, false);
    member_ask(&member, "dear", 1);
    member_ask(&member, "x", 2);
    member_ask(&member, "free", 3);
    /* False: dropped, and the client stays, whatever the policy says. */
    member_say(&member, "{'event':'forgiven','id':4}");
    member_expect_silence(&member);
    CHECK_EQUAL(atomic_load(&limited.calls), 1);
    CHECK_EQUAL(limited.limit, PEAL_LIMIT_CLIENT);
    CHECK_EQUAL(limited.cost, 1);
    CHECK(limited.retry_ms > 3000000 && limited.retry_ms <= 3600000);
    /* True: the policy. */
    member_say(&member, "{'event':'dear','id':5}");
    member_expect_close(&member, 1008);
    CHECK_EQUAL(limited.cost, 3);
    CHECK(strcmp(limited.event, "dear") == 0);
    host_stop(&host);
}

static enum peal_verdict limit_by_name(struct peal_client *client,
                                       const struct peal_event *event,
                                       uint32_t cost, struct peal_ticket ticket,
                                       void *user)
{
    (void)ticket;
    CHECK_EQUAL(cost, message_cost(client, event, user));
    return peal_slice_equal(event->name, peal_slice("custom")) ? PEAL_REFUSE
                                                               : PEAL_ALLOW;
}

/* One was refused, and the hook was told this. */
static void expect_told(int call, enum peal_rate_limit limit, const char *event,
                        uint32_t cost)
{
    CHECK_EQUAL(atomic_load(&limited.calls), call);
    CHECK_EQUAL(limited.limit, limit);
    CHECK(strcmp(limited.event, event) == 0);
    CHECK_EQUAL(limited.cost, cost);
}

/* Costs are those of every limit; the time is that of the one that refused. */
static void test_what_the_hook_is_told(void **state)
{
    struct peal_hooks hooks = {
        .size = sizeof hooks,
        .on_rate_limited = on_rate_limited,
        .message_cost = message_cost,
        .limit_message = limit_by_name,
    };
    struct peal_server_options options = {
        .address_rate = {.capacity = 5, .refill = 1, .refill_ms = 3600000},
        .hooks = &hooks,
        .user = &host,
    };
    struct peal_rate seven = ONLY(7);
    struct peal_rate four = ONLY(4);
    struct member member;

    (void)state;
    memset(&limited, 0, sizeof limited);
    begin(&options);
    member_open(&member, host.tcp, true);
    member_ask_too_much(&member, "custom", 1); /* costs the address one */
    expect_told(1, PEAL_LIMIT_CUSTOM, "custom", 1);
    CHECK_EQUAL(limited.retry_ms, 0);
    member_ask(&member, "dear", 2);
    member_ask_too_much(&member, "dear", 3);
    expect_told(2, PEAL_LIMIT_ADDRESS, "dear", 3);
    CHECK(limited.retry_ms > 7000000 && limited.retry_ms <= 7200000);
    member_ask(&member, "x", 4);
    /* What has no name, and what has one in every dialect. */
    member_say(&member, "null");
    member_expect_failure(&member, NULL, RATE_LIMITED);
    expect_told(3, PEAL_LIMIT_ADDRESS, "", 1);
    member_say(&member, "{'event':'peal:answer','id':1}");
    member_expect_failure(&member, NULL, RATE_LIMITED);
    expect_told(4, PEAL_LIMIT_ADDRESS, "", 1);
    member_say(&member, "{'event':'peal:join','id':5,'data':{'room':'a'}}");
    member_expect_failure(&member, "5", RATE_LIMITED);
    expect_told(5, PEAL_LIMIT_ADDRESS, "peal:join", 1);
    member_say(&member, "{'event':'peal:leave','id':6,'data':{'room':'a'}}");
    member_expect_failure(&member, "6", RATE_LIMITED);
    expect_told(6, PEAL_LIMIT_ADDRESS, "peal:leave", 1);
    member_close(&member);
    host_stop(&host);

    memset(&limited, 0, sizeof limited);
    options.address_rate.capacity = PEAL_OFF;
    begin(&options);
    CHECK_EQUAL(peal_server_set_event_rate(host.server, "dear", &four), 0);
    member_open(&member, host.ws, false);
    member_expect_silence(&member); /* a turn has passed */
    member_ask(&member, "dear", 1);
    member_ask_too_much(&member, "dear", 2);
    expect_told(1, PEAL_LIMIT_EVENT, "dear", 3);
    CHECK_EQUAL(peal_server_set_rate(
                    host.server, peal_server_find(host.server, member.id),
                    &seven),
                0);
    member_expect_silence(&member);
    member_ask(&member, "x", 3);
    member_ask(&member, "dear", 4);
    member_ask(&member, "dear", 5);
    member_ask_too_much(&member, "dear", 6);
    expect_told(2, PEAL_LIMIT_OWN, "dear", 3);
    member_close(&member);
    host_stop(&host);
}

/* --- Limits that change --------------------------------------------------- */

static void test_event_rates_come_and_go(void **state)
{
    struct peal_server_options options = {.loops = 2};
    struct peal_rate two = ONLY(2);
    struct peal_rate one = ONLY(1);
    struct member members[4];
    char name[258] = "";

    (void)state;
    begin(&options);
    /* None is guarded so far. */
    for (int i = 0; i < 4; i++) {
        member_open(&members[i], host_address(&host, i % 2), i % 2);
        for (int k = 0; k < 10; k++) {
            member_ask(&members[i], "x", k);
        }
    }
    CHECK_EQUAL(peal_server_set_event_rate(host.server, "x", &two), 0);
    CHECK_EQUAL(peal_server_set_event_rate(host.server, "y", &one), 0);
    for (int i = 0; i < 4; i++) {
        member_expect_silence(&members[i]); /* a turn has passed */
        member_ask(&members[i], "x", 1);
        member_ask(&members[i], "x", 2);
        member_ask(&members[i], "y", 3);
        member_ask_too_much(&members[i], "x", 4);
        member_ask_too_much(&members[i], "y", 5);
        member_ask(&members[i], "z", 6);
    }
    CHECK_EQUAL(peal_server_set_event_rate(host.server, "x", NULL), 0);
    CHECK_EQUAL(peal_server_set_event_rate(host.server, "w", &one), 0);
    for (int i = 0; i < 4; i++) {
        member_expect_silence(&members[i]);
        member_ask(&members[i], "x", 7);
        member_ask_too_much(&members[i], "y", 8);
        /* Takes the slot of "x", but not its bucket. */
        member_ask(&members[i], "w", 9);
        member_ask_too_much(&members[i], "w", 10);
        member_close(&members[i]);
    }
    CHECK_EQUAL(peal_server_set_event_rate(host.server, "", &one), PEAL_EINVAL);
    CHECK_EQUAL(peal_server_set_event_rate(host.server, NULL, &one),
                PEAL_EINVAL);
    memset(name, 'n', 257);
    CHECK_EQUAL(peal_server_set_event_rate(host.server, name, &one),
                PEAL_EINVAL);
    name[256] = '\0';
    CHECK_EQUAL(peal_server_set_event_rate(host.server, name, &one), 0);
    peal_server_stop(host.server);
    CHECK_EQUAL(peal_server_wait(host.server), 0);
    CHECK_EQUAL(peal_server_set_event_rate(host.server, "x", &one),
                PEAL_ESTATE);
    peal_server_free(host.server);
}

/* A rate that is changed goes on from where it was; one's own is a new one. */
static void test_levels(void **state)
{
    struct peal_server_options options = {.loops = 1};
    struct peal_rate two = ONLY(2);
    struct peal_rate three = ONLY(3);
    struct peal_client_ref ref;
    struct member member;

    (void)state;
    begin(&options);
    CHECK_EQUAL(peal_server_set_event_rate(host.server, "x", &two), 0);
    member_open(&member, host.ws, false);
    ref = peal_server_find(host.server, member.id);
    member_expect_silence(&member); /* a turn has passed */
    member_ask(&member, "x", 1);
    member_ask(&member, "x", 2);
    CHECK_EQUAL(peal_server_set_event_rate(host.server, "x", &three), 0);
    member_expect_silence(&member);
    member_ask_too_much(&member, "x", 3);
    for (int i = 0; i < 2; i++) {
        CHECK_EQUAL(peal_server_set_rate(host.server, ref, &two), 0);
        member_expect_silence(&member);
        member_ask(&member, "x", 4);
        member_ask(&member, "x", 5);
        member_ask_too_much(&member, "x", 6);
    }
    member_close(&member);
    host_stop(&host);
}

static void test_event_rates_are_bounded(void **state)
{
    struct peal_server_options options = {
        .size = sizeof options,
        .ws_listen = "127.0.0.1:0",
    };
    struct peal_rate one = ONLY(1);
    struct peal_server *server;
    char name[32];

    (void)state;
    /* Also on a server that never starts. */
    CHECK_EQUAL(peal_server_new(&server, &options), 0);
    for (int i = 0; i < PEAL_EVENT_RATES_MAX; i++) {
        snprintf(name, sizeof name, "event-%d", i);
        CHECK_EQUAL(peal_server_set_event_rate(server, name, &one), 0);
    }
    CHECK_EQUAL(peal_server_set_event_rate(server, "more", &one), PEAL_ELIMIT);
    CHECK_EQUAL(peal_server_set_event_rate(server, "event-7", &one), 0);
    CHECK_EQUAL(peal_server_set_event_rate(server, "event-7", NULL), 0);
    CHECK_EQUAL(peal_server_set_event_rate(server, "more", &one), 0);
    peal_server_free(server);
}

static void test_joins_can_have_a_rate(void **state)
{
    struct peal_server_options options = {.clients_may_join = true};
    struct peal_rate one = ONLY(1);
    struct member member;

    (void)state;
    begin(&options);
    CHECK_EQUAL(peal_server_set_event_rate(host.server, "peal:join", &one), 0);
    member_open(&member, host.tcp, true);
    member_join(&member, "a");
    member_say(&member, "{'event':'peal:join','id':1,'data':{'room':'b'}}");
    member_expect_failure(&member, "1", RATE_LIMITED);
    member_ask(&member, "x", 2);
    member_close(&member);
    host_stop(&host);
}

static void test_a_client_with_a_rate_of_its_own(void **state)
{
    struct peal_server_options options = {
        .client_rate = ONLY(3),
        .loops = 2,
    };
    struct peal_rate one = ONLY(1);
    struct peal_rate off = {.capacity = PEAL_OFF};
    struct peal_client_ref ref;
    struct member member;
    struct member other;

    (void)state;
    begin(&options);
    CHECK_EQUAL(peal_server_set_event_rate(host.server, "x", &one), 0);
    member_open(&member, host.ws, false);
    member_open(&other, host.tcp, true);
    ref = peal_server_find(host.server, member.id);
    CHECK(ref.value != 0);
    member_ask(&member, "x", 1);
    member_ask_too_much(&member, "x", 2);
    /* Its own decides alone: neither the event's nor the common one. */
    CHECK_EQUAL(peal_server_set_rate(host.server, ref, &off), 0);
    member_expect_silence(&member); /* a turn has passed */
    for (int i = 0; i < 20; i++) {
        member_ask(&member, "x", i);
    }
    CHECK_EQUAL(peal_server_set_rate(host.server, ref, &one), 0);
    member_expect_silence(&member);
    member_ask(&member, "x", 1);
    member_ask_too_much(&member, "z", 2);
    CHECK_EQUAL(peal_server_set_rate(host.server, ref, NULL), 0);
    member_expect_silence(&member);
    member_ask_too_much(&member, "x", 3);
    member_ask(&member, "z", 4);
    member_ask(&member, "z", 5);
    member_ask_too_much(&member, "z", 6);
    member_ask(&other, "x", 1);
    member_close(&member);
    CHECK_SOON(host_stats(&host).clients == 1);
    CHECK_EQUAL(
        peal_server_set_rate(host.server, (struct peal_client_ref){0}, &one),
        PEAL_EGONE);
    member_close(&other);
    host_stop(&host);
}

static void expect_limit(struct member *member, const char *event,
                         enum peal_rate_limit limit)
{
    int before = atomic_load(&limited.calls);

    member_ask_too_much(member, event, 1);
    CHECK_EQUAL(atomic_load(&limited.calls), before + 1);
    CHECK_EQUAL(limited.limit, limit);
}

/*
 * Client's own, else event and client_rate; address_rate; the custom one. What
 * an earlier one refuses costs no token of any.
 */
static void test_limits_are_asked_in_order(void **state)
{
    struct peal_hooks hooks = {
        .size = sizeof hooks,
        .on_rate_limited = on_rate_limited,
        .limit_message = limit_by_name,
    };
    struct peal_server_options options = {
        .client_rate = ONLY(3),
        .address_rate = ONLY(8),
        .hooks = &hooks,
        .user = &host,
    };
    struct peal_rate one = ONLY(1);
    struct peal_rate two = ONLY(2);
    struct member members[2];

    (void)state;
    memset(&limited, 0, sizeof limited);
    begin(&options);
    CHECK_EQUAL(peal_server_set_event_rate(host.server, "x", &one), 0);
    for (int i = 0; i < 2; i++) {
        member_open(&members[i], host_address(&host, i == 1), i == 1);
        member_ask(&members[i], "x", 1);
        expect_limit(&members[i], "x", PEAL_LIMIT_EVENT);
        member_ask(&members[i], "y", 1);
        expect_limit(&members[i], "custom", PEAL_LIMIT_CUSTOM);
        /* That was asked last, and so has cost the third token. */
        expect_limit(&members[i], "custom", PEAL_LIMIT_CLIENT);
        expect_limit(&members[i], "x", PEAL_LIMIT_EVENT);
    }
    /* Its own goes before both; six tokens of the address are gone by now. */
    CHECK_EQUAL(peal_server_set_rate(
                    host.server, peal_server_find(host.server, members[0].id),
                    &two),
                0);
    member_expect_silence(&members[0]);
    member_ask(&members[0], "x", 1);
    member_ask(&members[0], "x", 2);
    expect_limit(&members[0], "custom", PEAL_LIMIT_OWN);
    CHECK_EQUAL(
        peal_server_set_rate(host.server,
                             peal_server_find(host.server, members[1].id),
                             &two),
        0);
    member_expect_silence(&members[1]);
    expect_limit(&members[1], "custom", PEAL_LIMIT_ADDRESS);
    for (int i = 0; i < 2; i++) {
        member_close(&members[i]);
    }
    host_stop(&host);
}

static void test_addresses_share_and_remember(void **state)
{
    struct peal_server_options options = {
        .address_rate = ONLY(5),
        .loops = 2,
        .health_path = "/health",
    };
    struct http_reply reply;
    struct member member;

    (void)state;
    begin(&options);
    http_ask(host.ws, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    CHECK(strstr(reply.body, "\"rateLimiterEntries\":0}") != NULL);
    for (int i = 0; i < 5; i++) {
        member_open(&member, host_address(&host, i % 2), i % 2);
        member_ask(&member, "x", i);
        member_close(&member);
        host_await_empty(&host);
    }
    for (int i = 0; i < 4; i++) {
        member_open(&member, host_address(&host, i % 2), i % 2);
        member_ask_too_much(&member, "x", i);
        member_close(&member);
    }
    CHECK_EQUAL(host_stats(&host).refused_messages, 4);
    http_ask(host.ws, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    CHECK(strstr(reply.body, "\"rateLimiterEntries\":1}") != NULL);
    host_stop(&host);
}

/* --- Heartbeats ----------------------------------------------------------- */

static void flood_ws(struct peer *peer, int first, int count)
{
    for (int i = 0; i < count; i++) {
        char frame[16];
        size_t size = ws_make(frame, (unsigned)first, "", 0);

        if (!peer_send_if_open(peer, frame, size)) {
            return;
        }
    }
}

static void test_pings_are_limited(void **state)
{
    struct peal_server_options options = {
        .control_rate = ONLY(10),
        .client_rate = ONLY(1),
    };
    struct peer peer;
    struct member member;

    (void)state;
    for (int is_pong = 0; is_pong < 2; is_pong++) {
        begin(&options);
        ws_open(&peer, host.ws, "/");
        flood_ws(&peer, is_pong ? WS_PONG_FRAME : WS_PING_FRAME, 11);
        ws_await_close(&peer, 1008);
        CHECK_EQUAL(host_stats(&host).closed_control_rate, 1);
        host_stop(&host);
    }
    begin(&options);
    member_open(&member, host.tcp, true);
    for (int i = 0; i < 11; i++) {
        tcp_send(&member.peer, TCP_PING_FRAME, NULL, "", 0);
    }
    for (int i = 0; i < 10; i++) {
        tcp_expect(&member.peer, TCP_PONG_FRAME, "", "", 0);
    }
    member_expect_close(&member, 1008);
    CHECK_EQUAL(host_stats(&host).closed_control_rate, 1);
    CHECK_EQUAL(host_stats(&host).closed_rate, 0);
    host_stop(&host);
}

/* False: it is not answered, and the client stays. */
static void test_pings_can_be_forgiven(void **state)
{
    struct peal_hooks hooks = {
        .size = sizeof hooks,
        .on_rate_limited = forgive,
    };
    struct peal_server_options options = {
        .control_rate = {.capacity = 2, .refill = 1, .refill_ms = 3600000},
        .hooks = &hooks,
        .user = &host,
    };
    struct member member;

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        memset(&limited, 0, sizeof limited);
        begin(&options);
        member_open(&member, host_address(&host, is_tcp), is_tcp);
        for (int i = 0; i < 4; i++) {
            if (is_tcp) {
                tcp_send(&member.peer, TCP_PING_FRAME, NULL, "", 0);
            } else {
                ws_send(&member.peer, WS_PING_FRAME, "", 0);
            }
        }
        for (int i = 0; i < 2; i++) {
            if (is_tcp) {
                tcp_expect(&member.peer, TCP_PONG_FRAME, "", "", 0);
            } else {
                ws_expect(&member.peer, WS_PONG_FRAME, "", 0);
            }
        }
        member_ask(&member, "x", 1);
        expect_told(2, PEAL_LIMIT_CONTROL, "", 1);
        CHECK(limited.retry_ms > 3500000 && limited.retry_ms <= 3600000);
        CHECK_EQUAL(host_stats(&host).refused_messages, 2);
        CHECK_EQUAL(host_stats(&host).closed_control_rate, 0);
        member_close(&member);
        host_stop(&host);
    }
}

/* Pongs that the server asked for are free. */
static void test_a_heartbeat_is_free(void **state)
{
    struct peal_server_options options = {
        .control_rate = ONLY(1),
        .ping_interval_ms = 10,
        .ping_timeout_ms = PEAL_OFF,
    };
    struct ws_received received;
    struct peer peer;

    (void)state;
    begin(&options);
    ws_open(&peer, host.ws, "/");
    for (int pings = 0; pings < 10;) {
        CHECK(ws_read(&peer, &received));
        if (received.first == WS_PING_FRAME) {
            ws_send(&peer, WS_PONG_FRAME, "", 0);
            pings++;
        }
    }
    CHECK_EQUAL(host_stats(&host).closed_control_rate, 0);
    ws_goodbye(&peer);
    host_stop(&host);
}

/* One pong for each ping; further ones nobody has asked for. */
static void test_a_heartbeat_is_free_once(void **state)
{
    struct peal_server_options options = {
        .control_rate = ONLY(3),
        .ping_interval_ms = 200,
        .ping_timeout_ms = PEAL_OFF,
    };
    struct ws_received received;
    char pongs[5 * 16];
    size_t size = 0;
    struct peer peer;

    (void)state;
    begin(&options);
    ws_open(&peer, host.ws, "/");
    do {
        CHECK(ws_read(&peer, &received));
    } while (received.first != WS_PING_FRAME);
    for (int i = 0; i < 5; i++) {
        size += ws_make(pongs + size, WS_PONG_FRAME, "", 0);
    }
    peer_send(&peer, pongs, size);
    ws_await_close(&peer, 1008);
    CHECK_EQUAL(host_stats(&host).closed_control_rate, 1);
    host_stop(&host);
}

static void test_honest_pings_are_not(void **state)
{
    struct peer peer;

    (void)state;
    begin(NULL);
    ws_open(&peer, host.ws, "/");
    flood_ws(&peer, WS_PING_FRAME, 200);
    flood_ws(&peer, WS_PING_FRAME, 2000);
    ws_await_close(&peer, 1008);
    CHECK_EQUAL(host_stats(&host).closed_control_rate, 1);
    host_stop(&host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_everything_counts),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_hook_and_cost),
        cmocka_unit_test(test_what_the_hook_is_told),
        cmocka_unit_test(test_event_rates_come_and_go),
        cmocka_unit_test(test_event_rates_are_bounded),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_joins_can_have_a_rate),
        cmocka_unit_test(test_a_client_with_a_rate_of_its_own),
        cmocka_unit_test(test_limits_are_asked_in_order),
        cmocka_unit_test(test_addresses_share_and_remember),
        cmocka_unit_test(test_pings_are_limited),
        cmocka_unit_test(test_pings_can_be_forgiven),
        cmocka_unit_test(test_a_heartbeat_is_free),
        cmocka_unit_test(test_a_heartbeat_is_free_once),
        cmocka_unit_test(test_honest_pings_are_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
