/*
 * Goal: no failed allocation crashes, leaks, hangs or leaves a peer in silence:
 * whoever asked is answered, refused or closed, and the server works on.
 *
 * Method: a session that uses nearly everything, on both transports, is run
 * again and again; the first time its first allocation fails, then its second,
 * until one has passed without a failure. After each, with memory back, a whole
 * session must pass on the same server, and in the end all memory is given
 * back.
 */
#include "support/suite.h"

#include <peal/policy.h>

#include "support/handlers.h"
#include "support/host.h"
#include "support/http.h"
#include "support/member.h"
#include "support/scarce.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Waited for at the most that often: a test that never ends is none. */
#define RUNS_MAX 2000

/* --- The application ----------------------------------------------------- */

static struct peal_request left;
static _Atomic bool is_left;
static _Atomic int connects;
static _Atomic int disconnects;
static _Atomic int outcomes;

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    (void)connect;
    (void)user;
    (void)peal_client_set(client, "key", "value");
    (void)peal_client_set(client, "key", "another");
    atomic_fetch_add(&connects, 1);
}

static void on_disconnect(struct peal_client *client,
                          const struct peal_disconnect *disconnect, void *user)
{
    (void)client;
    (void)user;
    CHECK(disconnect->code >= 1000);
    atomic_fetch_add(&disconnects, 1);
}

static void on_later(struct peal_client *from, const struct peal_event *event,
                     struct peal_request request, void *user)
{
    (void)from;
    (void)event;
    (void)user;
    left = request;
    atomic_store(&is_left, true);
}

static void on_outcome(struct peal_client *client,
                       const struct peal_answer *answer, void *user)
{
    (void)user;
    CHECK(client != NULL || answer->status < 0);
    atomic_fetch_add(&outcomes, 1);
}

/* A namespace with what it can have; the same. */
static int add_space(struct peal_server *server)
{
    static const char *const origins[] = {"https://example.com", NULL};
    struct peal_server_options options = {
        .size = sizeof options, .origins = origins};
    struct peal_route route = {.size = sizeof route, .path = "/space"};
    struct peal_rate rate = {.capacity = 5};
    struct peal_server *space = NULL;
    int rc = peal_server_space(server, "space", &options, &space);

    if (rc < 0) {
        CHECK(space == NULL);
        return rc;
    }
    rc = peal_server_route(space, &route);
    if (rc == 0) {
        rc = peal_server_on_request(space, "echo", handlers_echo, NULL);
    }
    return rc == 0 ? peal_server_set_event_rate(space, "echo", &rate) : rc;
}

/* 0, or the first error of many calls. */
static int set_up(struct peal_server *server)
{
    int rc = peal_server_on_request(server, "echo", handlers_echo, NULL);

    if (rc == 0) {
        rc = peal_server_on_request(server, "later", on_later, NULL);
    }
    if (rc == 0) {
        rc = peal_server_page(server, "/page", "text/plain", "hello", 5);
    }
    if (rc == 0) {
        struct peal_route route = {.size = sizeof route, .path = "/"};

        rc = peal_server_route(server, &route);
    }
    if (rc == 0) {
        rc = add_space(server);
    }
    if (rc == 0) {
        rc = peal_server_start(server);
    }
    return rc;
}

/* --- A session ----------------------------------------------------------- */

enum outcome { GONE, GOOD, REFUSED, PENDING };

/* The serial of this session, in its messages: old ones may come late. */
static int visits;

struct visitor {
    struct member member;
    bool is_in;
    int heard; /* messages to the room */
};

/* Answers a request of the server: its id follows "id": in the envelope. */
static void answer(struct member *member, const char *json)
{
    const char *id = strstr(json, "\"id\":");

    CHECK(id != NULL);
    member_say(member, "{'event':'peal:answer','id':%.*s}",
               (int)strcspn(id + 5, ",}"), id + 5);
}

/* Hears one message: PENDING when it was not the answer to `id`. */
static enum outcome hear(struct visitor *visitor, const char *id)
{
    enum outcome outcome = PENDING;
    struct heard heard;
    char pattern[64];
    int number;

    snprintf(pattern, sizeof pattern, "\"id\":\"%s\"", id);
    if (!visitor->is_in || !member_hear(&visitor->member, &heard)) {
        visitor->is_in = false;
        return GONE;
    }
    if (strstr(heard.json, pattern) != NULL) {
        outcome = strstr(heard.json, "peal:ok") != NULL ? GOOD : REFUSED;
    } else if (strstr(heard.json, "\"close\"") != NULL) {
        visitor->is_in = false;
        outcome = GONE;
    } else if (strstr(heard.json, "\"question\"") != NULL) {
        answer(&visitor->member, heard.json);
    } else if (sscanf(heard.json, "{\"data\":%d,\"event\":\"n\"", &number) ==
               1) {
        visitor->heard += number == visits;
    }
    heard_free(&heard);
    return outcome;
}

/*
 * Listens until the answer to `id` has come. Whoever is closed instead has been
 * told; silence ends the test by its deadline.
 */
static enum outcome await_answer(struct visitor *visitor, const char *id)
{
    enum outcome outcome;

    do {
        outcome = hear(visitor, id);
    } while (outcome == PENDING);
    return outcome;
}

static enum outcome ask(struct visitor *visitor, const char *id,
                        const char *rest)
{
    if (!visitor->is_in) {
        return GONE;
    }
    member_say(&visitor->member, "{'id':'%s',%s}", id, rest);
    return await_answer(visitor, id);
}

/* Comes in, or is told that it cannot. */
static void come_in(struct visitor *visitor, const char *address, bool is_tcp)
{
    struct heard heard;

    *visitor = (struct visitor){.member.is_tcp = is_tcp};
    peer_dial(&visitor->member.peer, address);
    if (!is_tcp) {
        size_t size;
        const char *head;

        ws_ask(&visitor->member.peer, "/", "");
        if (!peer_wait(&visitor->member.peer, 12)) {
            return;
        }
        head = peer_peek(&visitor->member.peer, &size);
        if (memcmp(head, "HTTP/1.1 101", 12) != 0) {
            if (memcmp(head, "HTTP/1.1 5", 10) != 0) {
                fprintf(stderr, "answered: %.*s\n", (int)size, head);
                CHECK(!"neither open nor a server's error");
            }
            return;
        }
        ws_expect_open(&visitor->member.peer);
    }
    if (member_hear(&visitor->member, &heard)) {
        visitor->is_in = sscanf(heard.json, "{\"data\":{\"id\":\"%128[^\"]",
                                visitor->member.id) == 1;
        heard_free(&heard);
    }
}

/* A message in two pieces, with a wait in between that shows it was read. */
static enum outcome ask_in_pieces(struct visitor *visitor,
                                  struct peal_server *server)
{
    static const char text[] = "{\"id\":\"pieces\",\"event\":\"echo\"}";
    struct peal_server_stats stats = {.size = sizeof stats};
    uint64_t before;
    char frame[128];
    size_t size;

    if (!visitor->is_in) {
        return GONE;
    }
    size =
        visitor->member.is_tcp
            ? tcp_make(frame, TCP_ENVELOPE_FRAME, NULL, text, sizeof text - 1)
            : ws_make(frame, WS_TEXT_FRAME, text, sizeof text - 1);
    peal_server_stats(server, &stats);
    before = stats.bytes_in;
    peer_send_if_open(&visitor->member.peer, frame, 20);
    CHECK_SOON(peal_server_stats(server, &stats) == 0 &&
               stats.bytes_in >= before + 20);
    peer_send_if_open(&visitor->member.peer, frame + 20, size - 20);
    return await_answer(visitor, "pieces");
}

/* Answers the request that was left, from this thread. */
static void answer_left(void)
{
    int rc;

    do {
        rc = peal_request_answer(left, "true");
        CHECK(rc == 0 || rc == PEAL_ENOMEM || rc == PEAL_EGONE);
    } while (rc == PEAL_ENOMEM);
}

static enum outcome ask_for_later(struct visitor *visitor)
{
    if (!visitor->is_in) {
        return GONE;
    }
    atomic_store(&is_left, false);
    member_say(&visitor->member, "{'id':'later','event':'later'}");
    /* It may also be refused at once, or closed. */
    while (!atomic_load(&is_left)) {
        if (peer_has_input(&visitor->member.peer, 1)) {
            enum outcome outcome = hear(visitor, "later");

            if (outcome != PENDING) {
                return outcome;
            }
        }
    }
    answer_left();
    return await_answer(visitor, "later");
}

/* A message to the room: heard by the other if it was taken. */
static void publish(struct visitor *from, struct visitor *to,
                    bool to_is_in_room)
{
    uint64_t until_ms = check_now_ms() + check_patience_ms();
    int before = to->heard;
    enum outcome outcome;
    char rest[64];

    snprintf(rest, sizeof rest, "'event':'n','room':'room','data':%d", visits);
    outcome = ask(from, "publish", rest);
    if (!to_is_in_room || ask(to, "fence", "'event':'echo'") != GOOD) {
        return;
    }
    if (outcome == REFUSED) {
        CHECK_EQUAL(to->heard, before);
    }
    /* From loop to loop it may take a while. */
    while (outcome == GOOD && to->heard == before) {
        if (ask(to, "fence", "'event':'echo'") != GOOD) {
            return;
        }
        CHECK(check_now_ms() < until_ms && "taken, and lost without a word");
    }
}

static bool see_room(const char *room, size_t members, void *user)
{
    (void)room;
    (void)members;
    (void)user;
    return true;
}

/* What an application asks of the server from a thread of its own. */
static void command(struct peal_server *server, struct visitor *visitor)
{
    struct peal_client_ref ref = peal_server_find(server, visitor->member.id);
    struct peal_event event = peal_json("question", "1");
    struct peal_event all = peal_json("all", "\"x\"");
    int rc = peal_server_rooms(server, see_room, NULL);

    CHECK(rc == 0 || rc == PEAL_ENOMEM);
    rc = peal_server_broadcast(server, &all, NULL, 0);
    CHECK(rc == 0 || rc == PEAL_ENOMEM);
    atomic_store(&outcomes, 0);
    rc = peal_server_request(server, ref, &event, 200, on_outcome, NULL);
    CHECK(rc == 0 || rc == PEAL_ENOMEM || rc == PEAL_EGONE);
    /* It answers as it listens; or it is gone, which is an outcome as well. */
    while (rc == 0 && atomic_load(&outcomes) == 0 &&
           ask(visitor, "fence", "'event':'echo'") == GOOD) {
    }
    CHECK_SOON(rc < 0 || atomic_load(&outcomes) == 1);
}

static void get_page(const char *address)
{
    static const char request[] = "GET /page HTTP/1.1\r\nHost: x\r\n\r\n";
    struct http_reply reply;
    struct peer peer;

    peer_dial(&peer, address);
    peer_send_if_open(&peer, request, sizeof request - 1);
    if (peer_wait(&peer, 1)) {
        http_read(&peer, &reply, true);
        CHECK(reply.status == 200 || reply.status >= 500);
    }
    peer_close(&peer);
}

/* Counts what has not worked, and says what it was if nothing may fail. */
static void expect_good(int *failures, bool is_good, const char *what)
{
    if (!is_good) {
        (*failures)++;
        if (scarce_is_plenty()) {
            fprintf(stderr, "with memory for all, this failed: %s\n", what);
        }
    }
}

/* Returns how much has not worked. */
static int visit(struct peal_server *server, const char *const *addresses)
{
    struct visitor visitors[2];
    bool is_in_room[2];
    int failures = 0;

    visits++;
    for (int i = 0; i < 2; i++) {
        come_in(&visitors[i], addresses[i], i == 1);
        expect_good(&failures, visitors[i].is_in, "come in");
    }
    for (int i = 0; i < 2; i++) {
        is_in_room[i] =
            ask(&visitors[i], "join",
                "'event':'peal:join','data':{'room':'room'}") == GOOD;
        expect_good(&failures, is_in_room[i], "join");
        expect_good(&failures,
                    ask(&visitors[i], "echo", "'event':'echo','data':{}") ==
                        GOOD,
                    "request");
        expect_good(&failures, ask_in_pieces(&visitors[i], server) == GOOD,
                    "message in pieces");
        expect_good(&failures, ask_for_later(&visitors[i]) == GOOD,
                    "later answer");
    }
    publish(&visitors[0], &visitors[1], is_in_room[1]);
    publish(&visitors[1], &visitors[0], is_in_room[0]);
    command(server, &visitors[0]);
    get_page(addresses[0]);
    for (int i = 0; i < 2; i++) {
        expect_good(&failures,
                    ask(&visitors[i], "end", "'event':'peal:ping'") == GOOD,
                    "stay");
        expect_good(&failures, visitors[i].heard == 1, "hear");
        peer_close(&visitors[i].member.peer);
    }
    return failures;
}

/* --- Again and again ----------------------------------------------------- */

static void await_no_clients(struct peal_server *server)
{
    struct peal_server_stats stats = {.size = sizeof stats};

    CHECK_SOON(peal_server_stats(server, &stats) == 0 &&
               stats.connections == 0);
}

/* Returns whether an allocation has failed. */
static bool run(int loops, long at)
{
    struct peal_server_options options = {
        .size = sizeof options,
        .loops = loops,
        .ws_listen = "127.0.0.1:0",
        .tcp_listen = "127.0.0.1:0",
        .clients_may_join = true,
        .clients_may_publish = true,
        .on_connect = on_connect,
        .on_disconnect = on_disconnect,
        .stop_timeout_ms = 2000,
    };
    struct peal_server *server = NULL;
    char texts[2][PEAL_ADDRESS_MAX];
    const char *const addresses[] = {texts[0], texts[1]};
    bool has_failed;
    int failures;
    int rc;

    atomic_store(&connects, 0);
    atomic_store(&disconnects, 0);
    scarce_arm(at);
    rc = peal_server_new(&server, &options);
    if (rc == 0) {
        rc = set_up(server);
    }
    if (rc < 0) {
        CHECK_EQUAL(rc, PEAL_ENOMEM);
        peal_server_free(server);
        CHECK_EQUAL(scarce_live(), 0);
        return true;
    }
    for (size_t i = 0; i < 2; i++) {
        CHECK_EQUAL(peal_server_address(server, i, texts[i]), 0);
    }
    failures = visit(server, addresses);
    has_failed = scarce_has_failed();
    CHECK(failures == 0 || has_failed);
    await_no_clients(server);

    /* Memory is back, and so is the server. */
    scarce_arm(0);
    CHECK_EQUAL(visit(server, addresses), 0);
    peal_server_stop(server);
    CHECK_EQUAL(peal_server_wait(server), 0);
    CHECK_EQUAL(atomic_load(&connects), atomic_load(&disconnects));
    peal_server_free(server);
    CHECK_EQUAL(scarce_live(), 0);
    return has_failed;
}

static void run_all(int loops)
{
    long at = 1;

    while (run(loops, at)) {
        at++;
        CHECK(at < RUNS_MAX);
    }
    /* Otherwise it was not this memory that was used. */
    CHECK(at > 20);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    run_all(1);
}

static void each_allocation_may_fail_on_several_loops(void **state)
{
    (void)state;
    run_all(3);
}

/* The stop itself, with clients that are in. */
static void a_stop_needs_no_memory(void **state)
{
    struct peal_server_options options = {.clients_may_join = true};
    struct member members[2];
    struct host host;

    (void)state;
    host_start(&host, &options, NULL);
    for (int i = 0; i < 2; i++) {
        member_open(&members[i], host_address(&host, i == 1), i == 1);
        member_join(&members[i], "room");
    }
    scarce_arm(1);
    peal_server_stop(host.server);
    for (int i = 0; i < 2; i++) {
        peer_drain(&members[i].peer);
        peer_close(&members[i].peer);
    }
    CHECK_EQUAL(peal_server_wait(host.server), 0);
    scarce_arm(0);
    peal_server_free(host.server);
    CHECK_EQUAL(scarce_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(each_allocation_may_fail_on_several_loops),
        cmocka_unit_test(a_stop_needs_no_memory),
    };

    scarce_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
