/*
 * Goal: whoever refuses a client, be it middleware, ids, the address tracker, a
 * limit or the origin, it is told by the right status, close code or goodbye,
 * in the way that the options want, and counted.
 *
 * Method: a table of reasons to refuse; for each a server that does, asked over
 * WebSocket in each of the ways there are, and over TCP.
 */
#include "support/suite.h"

#include <peal/policy.h>

#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum cause {
    MIDDLEWARE,
    MIDDLEWARE_LATER,
    ID_REFUSED,
    ID_IN_USE,
    TRACKER_CHECK,
    TRACKER_ADD,
    TRACKER_LIMIT,
    TRACKER_FAILS,
    CLIENTS,
    CLIENTS_OF_ADDRESS,
    ORIGIN
};

/* How it is told; `status` 0: always by a close. */
struct telling {
    int status;
    int code;
    const char *reason;
};

struct refusal {
    enum cause cause;
    bool is_by_application;    /* counted so */
    struct peal_denial denial; /* of middleware */
    struct telling told;
    int tcp_code; /* 0: nobody is refused there */
};

static struct host host;
static struct refusal now; /* what the server does; set before it starts */
static struct peal_admission waiting;
static _Atomic bool is_waiting;

static enum peal_verdict ask(const struct peal_connect *connect,
                             struct peal_admission admission,
                             struct peal_denial *denial, void *user)
{
    (void)connect;
    (void)user;
    if (now.cause == MIDDLEWARE_LATER) {
        waiting = admission;
        atomic_store(&is_waiting, true);
        return PEAL_LATER;
    }
    *denial = now.denial;
    return now.cause == MIDDLEWARE ? PEAL_REFUSE : PEAL_ALLOW;
}

static long make_id(const struct peal_connect *connect, char *id, void *user)
{
    (void)connect;
    (void)user;
    memcpy(id, "same", 4);
    return now.cause == ID_IN_USE ? 4 : PEAL_EREFUSED;
}

static int check_address(const char *address, void *user)
{
    (void)address;
    (void)user;
    return now.cause == TRACKER_CHECK ? PEAL_EREFUSED : 0;
}

static int add_address(const char *address, void *user)
{
    (void)address;
    (void)user;
    return now.cause == TRACKER_ADD     ? PEAL_EREFUSED
           : now.cause == TRACKER_LIMIT ? PEAL_ELIMIT
                                        : PEAL_ETIMEOUT;
}

static void remove_address(const char *address, void *user)
{
    (void)address;
    (void)user;
    CHECK(!"one that was added");
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_use(server, ask, NULL), 0);
}

/* A server that refuses for this cause, and who is in it already. */
static void begin(enum peal_refuse_by refuse_by, struct member *inside)
{
    static const char *const origins[] = {"https://a.b", NULL};
    static const struct peal_address_tracker tracker = {
        .size = sizeof tracker,
        .check = check_address,
        .add = add_address,
        .remove = remove_address,
        .refuse_on_error = true,
    };
    struct peal_server_options options = {
        .refuse_by = refuse_by,
        .metrics_path = "/metrics",
    };

    atomic_store(&is_waiting, false);
    switch (now.cause) {
    case MIDDLEWARE:
    case MIDDLEWARE_LATER:
        break;
    case ID_REFUSED:
    case ID_IN_USE:
        options.make_id = make_id;
        break;
    case TRACKER_CHECK:
    case TRACKER_ADD:
    case TRACKER_LIMIT:
    case TRACKER_FAILS:
        options.address_tracker = &tracker;
        break;
    case CLIENTS:
        options.clients_max = 1;
        break;
    case CLIENTS_OF_ADDRESS:
        options.clients_per_address_max = 1;
        break;
    case ORIGIN:
        options.origins = origins;
        break;
    }
    host_start(&host, &options, setup);
    if (now.cause == ID_IN_USE || now.cause == CLIENTS ||
        now.cause == CLIENTS_OF_ADDRESS) {
        member_open(inside, host.tcp, true);
    }
}

static void end(struct member *inside, int refused)
{
    static const char name[] =
        "\npeal_connections_rejected_total{reason=\"application\"} ";
    static struct http_reply reply;
    const char *line;

    http_ask(host.ws, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    line = strstr(reply.body, name);
    CHECK(line != NULL);
    CHECK_EQUAL(strtol(line + sizeof name - 1, NULL, 10),
                now.is_by_application ? refused : 0);
    if (inside->peer.in != NULL) {
        member_expect_silence(inside);
        member_close(inside);
    }
    host_await_empty(&host);
    host_stop(&host);
}

/* Whom the middleware has put off gets the decision now. */
static void decide(void)
{
    if (now.cause == MIDDLEWARE_LATER) {
        CHECK_SOON(atomic_load(&is_waiting));
        atomic_store(&is_waiting, false);
        CHECK_EQUAL(peal_admission_decide(waiting, PEAL_REFUSE, &now.denial),
                    0);
    }
}

static void expect_status(struct peer *peer)
{
    bool is_temporary = now.told.status == 429 || now.told.status == 503;
    static struct http_reply reply;
    char value[32];

    http_read(peer, &reply, true);
    CHECK_EQUAL(reply.status, now.told.status);
    CHECK_EQUAL(http_header(&reply, "Retry-After", value, sizeof value),
                is_temporary);
}

static void expect_close(struct peer *peer)
{
    char reason[128];

    ws_expect_open(peer);
    ws_expect_close_reason(peer, now.told.code, reason, sizeof reason);
    CHECK(strcmp(reason, now.told.reason) == 0);
}

static void expect_refusal(enum peal_refuse_by refuse_by)
{
    struct member inside = {.is_tcp = true};
    struct member refused = {.is_tcp = true};
    struct peer peer;

    begin(refuse_by, &inside);
    peer_dial(&peer, host.ws);
    ws_ask(&peer, "/", "");
    decide();
    if (now.told.status == 0 || refuse_by == PEAL_REFUSE_BY_CLOSE) {
        expect_close(&peer);
    } else if (refuse_by == PEAL_REFUSE_BY_STATUS) {
        expect_status(&peer);
    } else {
        peer_expect_end(&peer);
    }
    peer_close(&peer);
    if (now.tcp_code != 0) {
        peer_dial(&refused.peer, host.tcp);
        decide();
        member_expect_close(&refused, now.tcp_code);
    }
    end(&inside, 2);
}

#define FORBIDDEN {403, 1008, "Forbidden"}
#define TOO_MANY {429, 1013, "Too Many Requests"}
#define UNAVAILABLE {503, 1013, "Service Unavailable"}

static const struct refusal refusals[] = {
    {MIDDLEWARE, true, {.status = 401}, {401, 1008, "Unauthorized"}, 1008},
    {MIDDLEWARE, true, {.status = 429}, TOO_MANY, 1013},
    {MIDDLEWARE, true, {.status = 503}, UNAVAILABLE, 1013},
    {MIDDLEWARE, true, {.status = 0}, FORBIDDEN, 1008},
    /* Statuses that refuse nobody. */
    {MIDDLEWARE, true, {.status = 399}, FORBIDDEN, 1008},
    {MIDDLEWARE, true, {.status = 600}, FORBIDDEN, 1008},
    {MIDDLEWARE, true, {0, 4001, "not you"}, {0, 4001, "not you"}, 4001},
    /* A status goes first, where there is one. */
    {MIDDLEWARE, true, {401, 4001, "x"}, {401, 1008, "Unauthorized"}, 4001},
    {MIDDLEWARE_LATER, true, {.status = 429}, TOO_MANY, 1013},
    {MIDDLEWARE_LATER, true, {0, 4001, "late"}, {0, 4001, "late"}, 4001},
    {ID_REFUSED, true, {0}, FORBIDDEN, 1008},
    {ID_IN_USE, true, {0}, {409, 1008, "Conflict"}, 1008},
    {TRACKER_CHECK, true, {0}, FORBIDDEN, 1008},
    {TRACKER_ADD, true, {0}, FORBIDDEN, 1008},
    {TRACKER_LIMIT, false, {0}, TOO_MANY, 1013},
    {TRACKER_FAILS, false, {0}, UNAVAILABLE, 1013},
    {CLIENTS, false, {0}, UNAVAILABLE, 1013},
    {CLIENTS_OF_ADDRESS, false, {0}, TOO_MANY, 1013},
    {ORIGIN, false, {0}, FORBIDDEN, 0},
};

static void each_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        for (int by = PEAL_REFUSE_BY_STATUS; by <= PEAL_REFUSE_BY_HANGUP;
             by++) {
            now = refusals[i];
            expect_refusal((enum peal_refuse_by)by);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
