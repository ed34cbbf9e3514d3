/*
 * Goal: whatever a callback does to the client that it is about, be it closing
 * it, sending to it, or joining and leaving rooms, is done, once; nothing of
 * what the callback was asked about comes after a close; and it may stop the
 * server.
 *
 * Method: each callback in turn does what the test has set, when the client
 * does the one thing that calls it, on both transports. Somebody else sees what
 * of it goes out. A close frame whose answer is not read would be waited for
 * without end.
 */
#include "support/suite.h"

#include <peal/policy.h>

#include "support/host.h"
#include "support/member.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum callback {
    ON_CONNECT,
    ON_JOIN,
    ON_LEAVE,
    ON_PUBLISH,
    ON_RATE_LIMITED,
    ON_RATE_LIMITED_PINGS,
    MESSAGE_COST,
    LIMIT_MESSAGE,
    BEFORE_MESSAGE,
    BEFORE_EMIT,
    BEFORE_BROADCAST,
    ON_INVALID,
    ON_TOO_LARGE,
    ON_MAX_ROOMS,
    ON_MAX_ROOMS_PER_CLIENT,
    CALLBACKS
};

enum deed { CLOSES, EMITS, JOINS, STOPS, CUTS };

/* What a test wants. */
static struct {
    enum callback callback;
    enum deed deed;
    enum peal_verdict verdict; /* of LIMIT_MESSAGE and BEFORE_MESSAGE */
} now;

static struct host host;
static _Atomic bool is_armed; /* the next call does it */
static _Atomic int handled;
static _Atomic int emitted; /* what became of "back" */
static _Atomic int left;
static _Atomic int rooms_at_the_end;

/* --- The application ------------------------------------------------------ */

/* The callback does its deed, if it is its turn. */
static void act(enum callback callback, struct peal_client *client)
{
    struct peal_event hello = peal_json("hello", "1");

    if (callback != now.callback || !atomic_exchange(&is_armed, false)) {
        return;
    }
    switch (now.deed) {
    case CLOSES:
        CHECK_EQUAL(peal_client_close(client, 4000, "enough"), 0);
        CHECK_EQUAL(peal_client_close(client, 4001, "again"), 0);
        CHECK_EQUAL(peal_client_join(client, "late"), PEAL_EGONE);
        break;
    case EMITS:
        CHECK_EQUAL(peal_client_emit(client, &hello), 0);
        break;
    case JOINS:
        CHECK_EQUAL(peal_client_join(client, "side"), 0);
        CHECK_EQUAL(peal_client_leave(client, "side"), 0);
        break;
    case STOPS:
        peal_server_stop(peal_client_server(client));
        break;
    case CUTS:
        peal_server_cut(peal_client_server(client));
        break;
    }
}

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    char *mine = malloc(8);

    (void)connect;
    (void)user;
    CHECK(mine != NULL);
    memcpy(mine, "of mine", 8);
    peal_client_set_user(client, mine);
    CHECK_EQUAL(peal_client_set(client, "key", "value"), 0);
    act(ON_CONNECT, client);
}

/*
 * Everything about the client can still be asked, but nothing said to it, and
 * others can be told; what the application has of it is freed.
 */
static void on_disconnect(struct peal_client *client,
                          const struct peal_disconnect *disconnect, void *user)
{
    struct peal_event bye = peal_json("bye", NULL);
    char address[PEAL_ADDRESS_MAX];
    const char *rooms[4];

    (void)disconnect;
    (void)user;
    peal_client_address(client, address);
    CHECK(strncmp(address, "127.0.0.1", 9) == 0);
    CHECK(peal_server_find(host.server, peal_client_id(client)).value ==
          peal_client_ref(client).value);
    CHECK(strcmp(peal_client_get(client, "key"), "value") == 0);
    CHECK(strcmp(peal_client_user(client), "of mine") == 0);
    atomic_store(&rooms_at_the_end, (int)peal_client_rooms(client, rooms, 4));
    CHECK_EQUAL(peal_client_emit(client, &bye), PEAL_EGONE);
    CHECK_EQUAL(peal_client_join(client, "late"), PEAL_EGONE);
    CHECK_EQUAL(peal_client_close(client, 4001, "again"), 0);
    CHECK_EQUAL(peal_broadcast(client, &bye), 0);
    free(peal_client_user(client));
    peal_client_set_user(client, NULL);
    atomic_fetch_add(&left, 1);
}

static int on_join(struct peal_client *client, struct peal_slice room,
                   void *user)
{
    (void)room;
    (void)user;
    act(ON_JOIN, client);
    return 0;
}

static int on_publish(struct peal_client *client,
                      const struct peal_event *event, void *user)
{
    (void)event;
    (void)user;
    act(ON_PUBLISH, client);
    return 0;
}

static int on_leave(struct peal_client *client, struct peal_slice room,
                    void *user)
{
    (void)user;
    CHECK(peal_slice_equal(room, peal_slice("room")));
    act(ON_LEAVE, client);
    return 0;
}

static bool on_rate_limited(struct peal_client *client,
                            const struct peal_rate_limited *limited, void *user)
{
    (void)user;
    act(limited->limit == PEAL_LIMIT_CONTROL ? ON_RATE_LIMITED_PINGS
                                             : ON_RATE_LIMITED,
        client);
    return true;
}

static uint32_t message_cost(struct peal_client *client,
                             const struct peal_event *event, void *user)
{
    (void)user;
    if (peal_slice_equal(event->name, peal_slice("x"))) {
        act(MESSAGE_COST, client);
    }
    return 1;
}

static enum peal_verdict limit_message(struct peal_client *client,
                                       const struct peal_event *event,
                                       uint32_t cost, struct peal_ticket ticket,
                                       void *user)
{
    (void)cost;
    (void)ticket;
    (void)user;
    if (peal_slice_equal(event->name, peal_slice("dear"))) {
        return PEAL_REFUSE;
    }
    if (now.callback != LIMIT_MESSAGE ||
        !peal_slice_equal(event->name, peal_slice("x"))) {
        return PEAL_ALLOW;
    }
    act(LIMIT_MESSAGE, client);
    return now.verdict;
}

static enum peal_verdict before_message(struct peal_client *client,
                                        const struct peal_event *event,
                                        struct peal_failure *failure,
                                        void *user)
{
    (void)event;
    (void)failure;
    (void)user;
    act(BEFORE_MESSAGE, client);
    return now.callback == BEFORE_MESSAGE ? now.verdict : PEAL_ALLOW;
}

static int before_emit(struct peal_client *client,
                       const struct peal_event *event, void *user)
{
    (void)event;
    (void)user;
    act(BEFORE_EMIT, client);
    return 0;
}

static void after_emit(struct peal_client *client,
                       const struct peal_event *event, int status, void *user)
{
    (void)client;
    (void)user;
    if (peal_slice_equal(event->name, peal_slice("back"))) {
        atomic_store(&emitted, status);
    }
}

static int before_broadcast(struct peal_server *server,
                            struct peal_client *from,
                            const struct peal_event *event,
                            const struct peal_client_ref *except,
                            size_t except_count, void *user)
{
    (void)server;
    (void)user;
    CHECK(from != NULL && except_count == 1);
    CHECK_EQUAL(except[0].value, peal_client_ref(from).value);
    if (peal_slice_equal(event->name, peal_slice("news"))) {
        CHECK(peal_slice_equal(event->data, peal_slice("[5]")));
        CHECK_EQUAL(event->kind, PEAL_JSON);
        act(BEFORE_BROADCAST, from);
    }
    return 0;
}

static void on_invalid(struct peal_client *client,
                       const struct peal_failure *failure, void *user)
{
    (void)user;
    CHECK_EQUAL(failure->code, 100);
    CHECK(strcmp(failure->message, "The message cannot be understood") == 0);
    CHECK(!failure->temporary);
    act(ON_INVALID, client);
}

static void on_too_large(struct peal_client *client,
                         const struct peal_too_large *message, void *user)
{
    (void)message;
    (void)user;
    act(ON_TOO_LARGE, client);
}

static void on_max_rooms(struct peal_client *client,
                         const struct peal_rooms_limited *limited, void *user)
{
    (void)limited;
    (void)user;
    act(ON_MAX_ROOMS, client);
}

static void on_max_rooms_per_client(struct peal_client *client,
                                    const struct peal_rooms_limited *limited,
                                    void *user)
{
    (void)limited;
    (void)user;
    act(ON_MAX_ROOMS_PER_CLIENT, client);
}

static void on_back(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)user;
    (void)peal_client_emit(from, event);
}

static void on_x(struct peal_client *from, const struct peal_event *event,
                 void *user)
{
    (void)from;
    (void)event;
    (void)user;
    atomic_fetch_add(&handled, 1);
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on(server, "back", on_back, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "x", on_x, NULL), 0);
}

static void begin(enum callback callback, enum deed deed,
                  enum peal_verdict verdict)
{
    /* It would stop what has been closed before it. */
    const struct peal_hooks hooks = {
        .size = sizeof hooks,
        .on_rate_limited = on_rate_limited,
        .before_message = callback == BEFORE_MESSAGE ? before_message : NULL,
        .message_cost = message_cost,
        .limit_message = limit_message,
        .on_max_rooms = on_max_rooms,
        .on_max_rooms_per_client = on_max_rooms_per_client,
        .on_too_large = on_too_large,
        .on_invalid = on_invalid,
        .on_leave = on_leave,
        .before_broadcast = before_broadcast,
        .before_emit = before_emit,
        .after_emit = after_emit,
    };
    const struct peal_server_options options = {
        .on_connect = on_connect,
        .on_disconnect = on_disconnect,
        .on_join = on_join,
        .on_publish = on_publish,
        .control_rate = {2, 1, 1000000},
        .rate_refusal = PEAL_REFUSE_CLOSE,
        .rooms_max = 2,
        .rooms_per_client_max = 2,
        .message_bytes_max = 4096,
        .close_timeout_ms = PEAL_OFF,
        .stop_timeout_ms = 50,
        .hooks = &hooks,
    };

    now.callback = callback;
    now.deed = deed;
    now.verdict = verdict;
    atomic_store(&is_armed, false);
    atomic_store(&handled, 0);
    atomic_store(&emitted, 1);
    atomic_store(&left, 0);
    host_start(&host, &options, setup);
}

/* --- What calls each of them, and what then comes ------------------------- */

static void ping(struct member *member)
{
    if (member->is_tcp) {
        tcp_send(&member->peer, TCP_PING_FRAME, NULL, "", 0);
    } else {
        ws_send(&member->peer, WS_PING_FRAME, "", 0);
    }
}

static void expect_pong(struct member *member)
{
    if (member->is_tcp) {
        tcp_expect(&member->peer, TCP_PONG_FRAME, "", "", 0);
    } else {
        ws_expect(&member->peer, WS_PONG_FRAME, "", 0);
    }
}

/* Does what calls the callback, which is armed just before. */
static void provoke(struct member *member)
{
    static const char large[5000];

    atomic_store(&is_armed, true);
    switch (now.callback) {
    case ON_CONNECT:
        member_open(member, host_address(&host, member->is_tcp),
                    member->is_tcp);
        break;
    case ON_JOIN:
        member_say(member,
                   "{'event':'peal:join','id':1,'data':{'room':'side'}}");
        break;
    case ON_MAX_ROOMS:
    case ON_MAX_ROOMS_PER_CLIENT:
        member_say(member,
                   "{'event':'peal:join','id':1,'data':{'room':'third'}}");
        break;
    case ON_LEAVE:
        member_say(member,
                   "{'event':'peal:leave','id':1,'data':{'room':'room'}}");
        break;
    case ON_PUBLISH:
    case BEFORE_BROADCAST:
        member_say(member, "{'event':'news','id':1,'room':'room',"
                           "'data':[5]}");
        break;
    case ON_RATE_LIMITED:
        member_say(member, "{'event':'dear','id':1}");
        break;
    case ON_RATE_LIMITED_PINGS:
        for (int i = 0; i < 3; i++) {
            ping(member);
        }
        break;
    case BEFORE_EMIT:
        member_say(member, "{'event':'back','id':1}");
        break;
    case ON_INVALID:
        member_say(member, "null");
        break;
    case ON_TOO_LARGE:
        if (member->is_tcp) {
            tcp_send(&member->peer, TCP_BINARY_FRAME, "b", large, sizeof large);
        } else {
            ws_send(&member->peer, WS_BINARY_FRAME, large, sizeof large);
        }
        break;
    case MESSAGE_COST:
    case LIMIT_MESSAGE:
    case BEFORE_MESSAGE:
        member_say(member, "{'event':'x','id':1}");
        break;
    case CALLBACKS:
        CHECK(!"a callback");
    }
}

/* A member, and another that sees what goes out, in the rooms it takes. */
static void open_both(struct member *member, struct member *other, bool is_tcp)
{
    *member = (struct member){.is_tcp = is_tcp};
    member_open(other, host_address(&host, !is_tcp), !is_tcp);
    member_join(other, "room");
    if (now.callback == ON_CONNECT) {
        return;
    }
    member_open(member, host_address(&host, is_tcp), is_tcp);
    member_join(member, "room");
    if (now.callback == ON_MAX_ROOMS) {
        member_join(other, "second");
    } else if (now.callback == ON_MAX_ROOMS_PER_CLIENT) {
        member_join(member, "second");
    }
}

static void end(struct member *other)
{
    member_close(other);
    host_await_empty(&host);
    CHECK_EQUAL(host_stats(&host).rooms, 0);
    host_stop(&host);
}

/* --- Closing -------------------------------------------------------------- */

static void expect_closed(enum callback callback, enum peal_verdict verdict,
                          bool is_tcp)
{
    struct member member;
    struct member other;

    begin(callback, CLOSES, verdict);
    open_both(&member, &other, is_tcp);
    provoke(&member);
    for (int i = 0; i < 2 && callback == ON_RATE_LIMITED_PINGS; i++) {
        expect_pong(&member);
    }
    member_expect_close(&member, 4000); /* and nothing before */
    CHECK_SOON(atomic_load(&left) == 1);
    CHECK_EQUAL(atomic_load(&rooms_at_the_end),
                callback == ON_CONNECT                ? 0
                : callback == ON_MAX_ROOMS_PER_CLIENT ? 2
                                                      : 1);
    if (callback == BEFORE_BROADCAST) {
        /* It has let that one pass. */
        member_expect(&other, "{'event':'news','room':'room','data':[5]}");
    }
    member_expect(&other, "{'event':'bye'}");
    CHECK_EQUAL(atomic_load(&handled), 0);
    CHECK_EQUAL(atomic_load(&emitted),
                callback == BEFORE_EMIT ? PEAL_EGONE : 1);
    CHECK_EQUAL(host_stats(&host).closed_rate, 0);
    CHECK_EQUAL(host_stats(&host).closed_control_rate, 0);
    end(&other);
}

static void closing_is_the_end_of_it(void **state)
{
    (void)state;
    for (int callback = 0; callback < CALLBACKS; callback++) {
        for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
            expect_closed((enum callback)callback, PEAL_ALLOW, is_tcp);
        }
    }
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        expect_closed(LIMIT_MESSAGE, PEAL_REFUSE, is_tcp);
        expect_closed(LIMIT_MESSAGE, PEAL_LATER, is_tcp);
        expect_closed(BEFORE_MESSAGE, PEAL_REFUSE, is_tcp);
        expect_closed(BEFORE_MESSAGE, PEAL_LATER, is_tcp);
    }
}

/* --- Doing something else ------------------------------------------------- */

/* What comes of it when the callback has nothing against it. */
static void expect_outcome(struct member *member)
{
    switch (now.callback) {
    case ON_CONNECT:
        member_close(member);
        break;
    case BEFORE_EMIT:
        member_expect(member, "{'event':'back'}");
        member_expect(member, "{'event':'peal:ok','id':1}");
        member_close(member);
        break;
    case ON_RATE_LIMITED:
    case ON_RATE_LIMITED_PINGS:
        member_expect_close(member, 1008);
        break;
    case ON_TOO_LARGE:
        member_expect_close(member, 1009);
        break;
    case ON_INVALID:
        member_expect_failure(member, NULL, 100);
        member_close(member);
        break;
    case ON_MAX_ROOMS:
    case ON_MAX_ROOMS_PER_CLIENT:
        member_expect_failure(member, "1", 105);
        member_close(member);
        break;
    case ON_JOIN:
    case ON_LEAVE:
    case ON_PUBLISH:
    case BEFORE_BROADCAST:
    case MESSAGE_COST:
    case LIMIT_MESSAGE:
    case BEFORE_MESSAGE:
        member_expect(member, "{'event':'peal:ok','id':1}");
        member_close(member);
        break;
    case CALLBACKS:
        CHECK(!"a callback");
    }
}

static void acting_changes_nothing_else(void **state)
{
    struct member member;
    struct member other;

    (void)state;
    for (int callback = 0; callback < CALLBACKS; callback++) {
        bool is_full =
            callback == ON_MAX_ROOMS || callback == ON_MAX_ROOMS_PER_CLIENT;

        for (int deed = EMITS; deed <= (is_full ? EMITS : JOINS); deed++) {
            for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
                begin((enum callback)callback, (enum deed)deed, PEAL_ALLOW);
                open_both(&member, &other, is_tcp);
                provoke(&member);
                for (int i = 0; i < 2 && callback == ON_RATE_LIMITED_PINGS;
                     i++) {
                    expect_pong(&member);
                }
                if (deed == EMITS) {
                    member_expect(&member, "{'event':'hello','data':1}");
                }
                expect_outcome(&member);
                if (callback == ON_PUBLISH || callback == BEFORE_BROADCAST) {
                    member_expect(&other,
                                  "{'event':'news','room':'room','data':[5]}");
                }
                member_expect(&other, "{'event':'bye'}");
                end(&other);
            }
        }
    }
}

/* --- Ending --------------------------------------------------------------- */

static void the_server_may_be_stopped(void **state)
{
    struct member member;
    struct member other;

    (void)state;
    for (int callback = ON_JOIN; callback < CALLBACKS; callback++) {
        for (int deed = STOPS; deed <= CUTS; deed++) {
            bool is_tcp = callback % 2 == 0;

            begin((enum callback)callback, (enum deed)deed, PEAL_ALLOW);
            open_both(&member, &other, is_tcp);
            provoke(&member);
            peer_drain(&member.peer);
            peer_drain(&other.peer);
            peer_close(&member.peer);
            peer_close(&other.peer);
            CHECK_EQUAL(peal_server_wait(host.server), 0);
            CHECK_EQUAL(atomic_load(&left), 2);
            peal_server_free(host.server);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closing_is_the_end_of_it),
        cmocka_unit_test(acting_changes_nothing_else),
        cmocka_unit_test(the_server_may_be_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
