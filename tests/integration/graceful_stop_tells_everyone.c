/*
 * Goal: a server that stops takes in nobody more, sends what is queued, tells
 * everyone, waits for them only so long, and leaves nothing behind; as often as
 * it is started anew.
 *
 * Method: stops from other threads, from callbacks and from signal handlers,
 * with one loop and with several, while clients are idle, in a handshake, in
 * arrears, or flooding the server.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/member.h"

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CLIENTS 12
#define MESSAGES 200
#define ROOMS 8
#define FAST_MS 200

static _Atomic int connects;
static _Atomic int disconnects;

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    (void)connect;
    (void)user;
    CHECK_EQUAL(peal_client_join(client, "room"), 0);
    atomic_fetch_add(&connects, 1);
}

/* Keeps its loop busy at the beginning of a turn until it may go on. */
static _Atomic bool must_hold;
static sem_t is_held;
static sem_t go_on;

static void on_disconnect(struct peal_client *client,
                          const struct peal_disconnect *disconnect, void *user)
{
    (void)client;
    (void)disconnect;
    (void)user;
    if (atomic_exchange(&must_hold, false)) {
        sem_post(&is_held);
        sem_wait(&go_on);
    }
    atomic_fetch_add(&disconnects, 1);
}

/* Queues messages to its sender and stops the server at once. */
static void on_stop(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    struct peal_event part = peal_json("part", NULL);

    (void)user;
    (void)event;
    for (int i = 0; i < MESSAGES; i++) {
        CHECK_EQUAL(peal_client_emit(from, &part), 0);
    }
    CHECK_EQUAL(peal_server_wait(peal_client_server(from)), PEAL_ESTATE);
    peal_server_stop(peal_client_server(from));
    peal_server_stop(peal_client_server(from));
}

static void on_flood(struct peal_client *from, const struct peal_event *event,
                     void *user)
{
    (void)user;
    (void)peal_client_emit(from, event);
    (void)peal_room_emit(from, "room", event);
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on(server, "stop", on_stop, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "flood", on_flood, NULL), 0);
}

static struct peal_server_options options_of(int loops)
{
    atomic_store(&connects, 0);
    atomic_store(&disconnects, 0);
    return (struct peal_server_options){
        .loops = loops,
        .on_connect = on_connect,
        .on_disconnect = on_disconnect,
        .clients_may_publish = true,
    };
}

static void open_all(const struct host *host, struct member *members, int count)
{
    for (int i = 0; i < count; i++) {
        member_open(&members[i], host_address(host, i % 2 == 1), i % 2 == 1);
    }
}

/* --- Telling ------------------------------------------------------------- */

static void all_are_told(void **state)
{
    (void)state;
    for (int loops = 1; loops <= 3; loops += 2) {
        struct peal_server_options options = options_of(loops);
        struct member members[CLIENTS];
        struct host host;

        host_start(&host, &options, setup);
        open_all(&host, members, CLIENTS);
        peal_server_stop(host.server);
        for (int i = 0; i < CLIENTS; i++) {
            member_expect_close(&members[i], 1001);
        }
        CHECK_EQUAL(peal_server_wait(host.server), 0);
        CHECK_EQUAL(atomic_load(&connects), CLIENTS);
        CHECK_EQUAL(atomic_load(&disconnects), CLIENTS);
        CHECK_EQUAL(host_stats(&host).clients, 0);
        CHECK_EQUAL(host_stats(&host).connections, 0);
        CHECK_EQUAL(peal_server_wait(host.server), PEAL_ESTATE);
        CHECK_EQUAL(peal_server_start(host.server), PEAL_ESTATE);
        CHECK_EQUAL(peal_server_run(host.server), PEAL_ESTATE);
        peal_server_free(host.server);
    }
}

static void what_is_queued_is_sent(void **state)
{
    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        struct peal_server_options options = options_of(1);
        struct member member;
        struct host host;

        host_start(&host, &options, setup);
        member_open(&member, host_address(&host, is_tcp == 1), is_tcp == 1);
        member_say(&member, "{'event':'stop'}");
        for (int i = 0; i < MESSAGES; i++) {
            member_expect(&member, "{'event':'part'}");
        }
        member_expect_close(&member, 1001);
        CHECK_EQUAL(peal_server_wait(host.server), 0);
        peal_server_free(host.server);
    }
}

/* Reads to the close: all messages to all rooms, each room's in order. */
static void expect_messages_of_rooms(struct member *member)
{
    int next[ROOMS] = {0};
    struct heard heard;

    for (int i = 0; i < ROOMS * MESSAGES; i++) {
        int number = -1;
        int room = -1;

        CHECK(member_hear(member, &heard));
        CHECK_EQUAL(
            sscanf(heard.json,
                   "{\"data\":%d,\"event\":\"n\",\"room\":\"%d\"}", &number,
                   &room),
            2);
        CHECK(room >= 0 && room < ROOMS);
        CHECK_EQUAL(number, next[room]++);
        heard_free(&heard);
    }
    member_expect_close(member, 1001);
}

static void join_rooms(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    char room[16];

    (void)connect;
    (void)user;
    for (int i = 0; i < ROOMS; i++) {
        snprintf(room, sizeof room, "%d", i);
        CHECK_EQUAL(peal_client_join(client, room), 0);
    }
}

/* Has one of the loops do nothing until go_on is posted. */
static void hold_a_loop(struct member *member)
{
    CHECK_EQUAL(sem_init(&is_held, 0, 0), 0);
    CHECK_EQUAL(sem_init(&go_on, 0, 0), 0);
    atomic_store(&must_hold, true);
    peer_close(&member->peer);
    sem_wait(&is_held);
}

/*
 * Messages that another thread has sent before the stop are not forgotten, also
 * when the loop that has to pass them on to the others gets to that late. It is
 * busy until both have been asked of it; with several loops it is at home to
 * some of the rooms.
 */
static void what_was_published_before_is_sent(void **state)
{
    (void)state;
    for (int loops = 1; loops <= 3; loops += 2) {
        struct peal_server_options options = options_of(loops);
        struct member members[CLIENTS];
        struct host host;

        options.on_connect = join_rooms;
        host_start(&host, &options, setup);
        open_all(&host, members, CLIENTS);
        hold_a_loop(&members[0]);
        for (int i = 0; i < ROOMS * MESSAGES; i++) {
            char number[16];
            char room[8];
            struct peal_event event;

            snprintf(number, sizeof number, "%d", i / ROOMS);
            snprintf(room, sizeof room, "%d", i % ROOMS);
            event = peal_json("n", number);
            CHECK_EQUAL(
                peal_server_room_emit(host.server, room, &event, NULL, 0), 0);
        }
        peal_server_stop(host.server);
        sem_post(&go_on);
        for (int i = 1; i < CLIENTS; i++) {
            expect_messages_of_rooms(&members[i]);
        }
        CHECK_EQUAL(peal_server_wait(host.server), 0);
        peal_server_free(host.server);
    }
}

/* --- Not waiting for ever ------------------------------------------------ */

static void nobody_is_waited_for_too_long(void **state)
{
    struct peal_server_options options = options_of(2);
    struct member members[CLIENTS];
    struct peer halves[3];
    struct host host;

    (void)state;
    options.stop_timeout_ms = FAST_MS;
    options.close_timeout_ms = PEAL_OFF;
    host_start(&host, &options, setup);
    open_all(&host, members, CLIENTS);
    for (int i = 0; i < 3; i++) {
        peer_dial(&halves[i], host.ws);
        peer_send(&halves[i], "GET / HTTP/1.1\r\n", (size_t)i * 8);
    }
    CHECK_SOON(host_stats(&host).connections == CLIENTS + 3);
    host_stop(&host);
    CHECK_EQUAL(atomic_load(&disconnects), CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        member_expect(&members[i], "{'close':1001}");
        peer_expect_end(&members[i].peer);
        peer_close(&members[i].peer);
    }
    for (int i = 0; i < 3; i++) {
        peer_expect_end(&halves[i]);
        peer_close(&halves[i]);
    }
}

static bool has_any_input(struct member *members)
{
    for (int i = 1; i < CLIENTS; i++) {
        if (peer_has_input(&members[i].peer, 0)) {
            return true;
        }
    }
    return false;
}

/* Nor is a loop that does not turn: the clients of the others are told. */
static void a_stuck_loop_holds_up_nobody(void **state)
{
    struct peal_server_options options = options_of(2);
    struct member members[CLIENTS];
    struct host host;

    (void)state;
    options.stop_timeout_ms = FAST_MS;
    host_start(&host, &options, setup);
    open_all(&host, members, CLIENTS);
    hold_a_loop(&members[0]);
    peal_server_stop(host.server);
    CHECK_SOON(has_any_input(members));
    sem_post(&go_on);
    CHECK_EQUAL(peal_server_wait(host.server), 0);
    for (int i = 1; i < CLIENTS; i++) {
        member_expect(&members[i], "{'close':1001}");
        peer_close(&members[i].peer);
    }
    peal_server_free(host.server);
}

static void nobody_comes_in_any_more(void **state)
{
    struct peal_server_options options = options_of(1);
    struct member member;
    struct host host;
    struct peer late;

    (void)state;
    host_start(&host, &options, setup);
    member_open(&member, host.ws, false);
    /* In a handshake when the stop comes: it is not finished any more. */
    peer_dial(&late, host.ws);
    peer_send(&late, "GET / HTTP/1.1\r\n", 16);
    CHECK_SOON(host_stats(&host).connections == 2);
    peal_server_stop(host.server);
    member_expect(&member, "{'close':1001}");
    peer_send_if_open(&late, "Host: x\r\n\r\n", 11);
    peer_expect_end(&late);
    peer_close(&late);
    peer_close(&member.peer);
    CHECK_EQUAL(peal_server_wait(host.server), 0);
    CHECK_EQUAL(atomic_load(&connects), 1);
    peal_server_free(host.server);
}

/* --- Under load ---------------------------------------------------------- */

/* Talks until the connection is closed. */
static void *flood(void *argument)
{
    struct member *member = argument;
    static const char text[] = "{\"event\":\"flood\",\"data\":[1,2,3]}";
    char frame[128];
    size_t size =
        member->is_tcp
            ? tcp_make(frame, TCP_ENVELOPE_FRAME, NULL, text, sizeof text - 1)
            : ws_make(frame, WS_TEXT_FRAME, text, sizeof text - 1);

    do {
        while (peer_has_input(&member->peer, 0) && !member->peer.is_ended) {
            struct heard heard;

            if (!member_hear(member, &heard)) {
                return NULL;
            }
            heard_free(&heard);
        }
        for (int i = 0; i < 10; i++) {
            if (!peer_send_if_open(&member->peer, frame, size)) {
                return NULL;
            }
        }
    } while (!member->peer.is_ended);
    return NULL;
}

static void under_load(void **state)
{
    (void)state;
    for (int loops = 1; loops <= 4; loops++) {
        struct peal_server_options options = options_of(loops);
        struct member members[CLIENTS];
        pthread_t threads[CLIENTS];
        struct host host;

        /* Enough for a busy machine: who is cut sees half a frame. */
        host_start(&host, &options, setup);
        open_all(&host, members, CLIENTS);
        for (int i = 0; i < CLIENTS; i++) {
            CHECK_EQUAL(pthread_create(&threads[i], NULL, flood, &members[i]),
                        0);
        }
        CHECK_SOON(host_stats(&host).messages_in > 100);
        host_stop(&host);
        CHECK_EQUAL(atomic_load(&disconnects), CLIENTS);
        for (int i = 0; i < CLIENTS; i++) {
            pthread_join(threads[i], NULL);
            peer_close(&members[i].peer);
        }
    }
}

/* --- Again and again ----------------------------------------------------- */

static int open_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 1024; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static void again_and_again(void **state)
{
    int before = open_descriptors();

    (void)state;
    for (int i = 0; i < 20; i++) {
        struct peal_server_options options = options_of(1 + i % 4);
        struct member members[2];
        struct host host;

        host_start(&host, &options, setup);
        open_all(&host, members, 2);
        member_close(&members[0]);
        peer_close(&members[1].peer);
        host_stop(&host);
        CHECK_EQUAL(open_descriptors(), before);
    }
}

/* Several servers at once, in one process. */
static void side_by_side(void **state)
{
    struct peal_server_options options = options_of(1);
    struct member members[2];
    struct host hosts[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        host_start(&hosts[i], &options, setup);
        member_open(&members[i], hosts[i].ws, false);
    }
    CHECK_EQUAL(peal_server_find(hosts[0].server, members[1].id).value, 0);
    peal_server_stop(hosts[0].server);
    member_expect_close(&members[0], 1001);
    CHECK_EQUAL(peal_server_wait(hosts[0].server), 0);
    peal_server_free(hosts[0].server);
    member_expect_silence(&members[1]);
    member_close(&members[1]);
    host_stop(&hosts[1]);
}

static struct host relays[2];
static _Atomic bool is_relayed;

/* Hands the event on to both of the other servers. */
static void on_relay(struct peal_client *from, const struct peal_event *event,
                     void *user)
{
    (void)from;
    (void)user;
    for (int i = 0; i < 2; i++) {
        CHECK_EQUAL(peal_server_broadcast(relays[i].server, event, NULL, 0), 0);
    }
    atomic_store(&is_relayed, true);
}

static void set_up_relay(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on(server, "relay", on_relay, NULL), 0);
}

/* A callback of one server reaches all others, though they are asleep. */
static void one_calls_the_others(void **state)
{
    struct peal_server_options options = options_of(1);
    struct member members[2];
    struct member caller;
    struct host host;

    (void)state;
    host_start(&host, &options, set_up_relay);
    member_open(&caller, host.ws, false);
    for (int i = 0; i < 2; i++) {
        host_start(&relays[i], &options, NULL);
        member_open(&members[i], relays[i].ws, false);
    }
    member_say(&caller, "{'event':'relay','data':1}");
    CHECK_SOON(atomic_load(&is_relayed)); /* no call is under way any more */
    for (int i = 0; i < 2; i++) {
        member_expect(&members[i], "{'event':'relay','data':1}");
        member_close(&members[i]);
        host_stop(&relays[i]);
    }
    member_close(&caller);
    host_stop(&host);
}

/* --- Waiting ------------------------------------------------------------- */

struct waiter {
    struct peal_server *server;
    bool runs; /* instead of waiting */
    _Atomic int result;
};

static void *wait_or_run(void *argument)
{
    struct waiter *waiter = argument;

    atomic_store(&waiter->result, waiter->runs
                                      ? peal_server_run(waiter->server)
                                      : peal_server_wait(waiter->server));
    return NULL;
}

/* Of two threads that wait for one server, one is refused at once. */
static void one_waits_at_a_time(void **state)
{
    struct peal_event event = peal_json("x", "1");
    struct waiter waiters[2];
    struct host host;
    pthread_t threads[2];

    (void)state;
    for (int loops = 1; loops <= 2; loops++) {
        struct peal_server_options options = {.loops = loops};
        int refused = 0;

        host_start(&host, &options, NULL);
        for (int i = 0; i < 2; i++) {
            waiters[i] = (struct waiter){.server = host.server, .result = 1};
            CHECK_EQUAL(pthread_create(&threads[i], NULL, wait_or_run,
                                       &waiters[i]),
                        0);
        }
        CHECK_SOON(atomic_load(&waiters[0].result) == PEAL_ESTATE ||
                   atomic_load(&waiters[1].result) == PEAL_ESTATE);
        peal_server_stop(host.server);
        for (int i = 0; i < 2; i++) {
            pthread_join(threads[i], NULL);
            refused += waiters[i].result == PEAL_ESTATE;
            CHECK(waiters[i].result == PEAL_ESTATE || waiters[i].result == 0);
        }
        CHECK_EQUAL(refused, 1);
        /* It has stopped: nothing can be sent, but much be asked. */
        CHECK_EQUAL(peal_server_wait(host.server), PEAL_ESTATE);
        CHECK_EQUAL(
            peal_server_room_emit(host.server, "a", &event, NULL, 0),
            PEAL_ESTATE);
        CHECK_EQUAL(peal_server_broadcast(host.server, &event, NULL, 0),
                    PEAL_ESTATE);
        CHECK_EQUAL(host_stats(&host).clients, 0);
        peal_server_free(host.server);
    }
}

static void nobody_waits_for_what_is_run(void **state)
{
    struct peal_server_options options = {
        .size = sizeof options,
        .ws_listen = "127.0.0.1:0",
    };
    struct waiter runner = {.runs = true, .result = 1};
    char address[PEAL_ADDRESS_MAX];
    pthread_t thread;

    (void)state;
    CHECK_EQUAL(peal_server_new(&runner.server, &options), 0);
    CHECK_EQUAL(peal_server_address(runner.server, 0, address), 0);
    CHECK_EQUAL(pthread_create(&thread, NULL, wait_or_run, &runner), 0);
    CHECK_EQUAL(ws_try(address, "/", ""), 101); /* so it runs */
    CHECK_EQUAL(peal_server_wait(runner.server), PEAL_ESTATE);
    CHECK_EQUAL(atomic_load(&runner.result), 1);
    peal_server_stop(runner.server);
    pthread_join(thread, NULL);
    CHECK_EQUAL(runner.result, 0);
    peal_server_free(runner.server);
}

static int logged;

static void expect_size(enum peal_log_level level, const char *component,
                        const char *message, const char *fields, void *user)
{
    char wanted[64];

    (void)component;
    (void)user;
    snprintf(wanted, sizeof wanted, "option=size given=0 expected=%zu",
             sizeof(struct peal_server_options));
    CHECK_EQUAL(level, PEAL_LOG_ERROR);
    CHECK(strcmp(message, "bad option") == 0);
    CHECK(strcmp(fields, wanted) == 0);
    logged++;
}

/* What everybody forgets once. */
static void a_forgotten_size_is_told(void **state)
{
    struct peal_server_options options = {
        .ws_listen = "127.0.0.1:0",
        .log = expect_size,
    };
    struct peal_server *server;

    (void)state;
    logged = 0;
    CHECK_EQUAL(peal_server_new(&server, &options), PEAL_EINVAL);
    CHECK_EQUAL(logged, 1);
    options.log = NULL;
    CHECK_EQUAL(peal_server_new(&server, &options), PEAL_EINVAL);
}

static void never_started(void **state)
{
    struct peal_server_options options = options_of(3);
    struct peal_server *server;

    (void)state;
    options.size = sizeof options;
    options.ws_listen = "127.0.0.1:0";
    CHECK_EQUAL(peal_server_new(&server, &options), 0);
    setup(server);
    CHECK_EQUAL(peal_server_wait(server), PEAL_ESTATE);
    peal_server_free(server);
    peal_server_free(NULL);

    /* Stopped before it runs: then it does not run for long. */
    CHECK_EQUAL(peal_server_new(&server, &options), 0);
    peal_server_stop(server);
    CHECK_EQUAL(peal_server_run(server), 0);
    peal_server_free(server);
}

/* Calls what goes to every loop, once it has heard that its client is gone. */
static void on_outcome(struct peal_client *client,
                       const struct peal_answer *answer, void *user)
{
    struct peal_server_stats stats = {.size = sizeof stats};
    struct peal_event event = peal_json("n", "1");
    struct peal_server *server = user;
    char room[] = "room 0";

    CHECK(client == NULL);
    CHECK_EQUAL(answer->status, PEAL_EGONE);
    for (; room[5] <= '9'; room[5]++) {
        (void)peal_server_room_emit(server, room, &event, NULL, 0);
    }
    (void)peal_server_broadcast(server, &event, NULL, 0);
    CHECK_EQUAL(peal_server_stats(server, &stats), 0);
    peal_server_stop(server);
    atomic_fetch_add(&disconnects, 1);
}

/* What was asked of loops that do not run any more still has its outcome. */
static void outcomes_come_at_the_end(void **state)
{
    struct peal_server_options options = options_of(3);
    struct peal_event event = peal_json("question", NULL);
    struct peal_server *server;

    (void)state;
    options.size = sizeof options;
    CHECK_EQUAL(peal_server_new(&server, &options), 0);
    for (uint64_t i = 0; i < 3; i++) {
        /* As references look like inside: the first client of each loop. */
        struct peal_client_ref client = {i << 58 | 1};

        CHECK_EQUAL(
            peal_server_request(server, client, &event, 0, on_outcome, server),
            0);
    }
    peal_server_free(server);
    CHECK_EQUAL(atomic_load(&disconnects), 3);
}

/* --- On the calling thread ----------------------------------------------- */

static struct peal_server *run_server;

static void on_signal(int number)
{
    (void)number;
    peal_server_stop(run_server);
}

static void *visit_and_signal(void *argument)
{
    struct member member;

    member_open(&member, argument, false);
    kill(getpid(), SIGUSR1);
    member_expect_close(&member, 1001);
    return NULL;
}

static void run_until_a_signal(void **state)
{
    (void)state;
    for (int loops = 1; loops <= 3; loops += 2) {
        struct peal_server_options options = options_of(loops);
        char address[PEAL_ADDRESS_MAX];
        pthread_t thread;

        options.size = sizeof options;
        options.ws_listen = "127.0.0.1:0";
        CHECK_EQUAL(peal_server_new(&run_server, &options), 0);
        CHECK_EQUAL(peal_server_address(run_server, 0, address), 0);
        signal(SIGUSR1, on_signal);
        CHECK_EQUAL(pthread_create(&thread, NULL, visit_and_signal, address),
                    0);
        CHECK_EQUAL(peal_server_run(run_server), 0);
        pthread_join(thread, NULL);
        CHECK_EQUAL(atomic_load(&disconnects), 1);
        peal_server_free(run_server);
        signal(SIGUSR1, SIG_DFL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_told),
        cmocka_unit_test(what_is_queued_is_sent),
        cmocka_unit_test(what_was_published_before_is_sent),
        cmocka_unit_test(nobody_is_waited_for_too_long),
        cmocka_unit_test(a_stuck_loop_holds_up_nobody),
        cmocka_unit_test(nobody_comes_in_any_more),
        cmocka_unit_test(under_load),
        cmocka_unit_test(again_and_again),
        cmocka_unit_test(side_by_side),
        cmocka_unit_test(one_calls_the_others),
        cmocka_unit_test(one_waits_at_a_time),
        cmocka_unit_test(nobody_waits_for_what_is_run),
        cmocka_unit_test(a_forgotten_size_is_told),
        cmocka_unit_test(never_started),
        cmocka_unit_test(outcomes_come_at_the_end),
        cmocka_unit_test(run_until_a_signal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
