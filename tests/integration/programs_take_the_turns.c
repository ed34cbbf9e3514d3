/*
 * A server without a thread: the program polls its descriptor and takes its
 * steps. Goal: everything that works on loops of our own works there, nothing
 * is missed between two steps, and misuse is refused. Method: the test's main
 * thread is the program with its poll loop, a second thread is the peers.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/member.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static struct host host;
static int status_inside; /* what a step inside of a callback returned */

static void on_chat(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)user;
    (void)peal_client_emit(from, event);
}

static void on_misuse(struct peal_client *from, const struct peal_event *event,
                      void *user)
{
    (void)user;
    status_inside = peal_server_step(host.server, 0);
    CHECK_EQUAL(peal_server_fd(host.server), PEAL_ESTATE);
    CHECK_EQUAL(peal_server_timeout_ms(host.server), PEAL_ESTATE);
    CHECK_EQUAL(peal_server_wait(host.server), PEAL_ESTATE);
    (void)peal_client_emit(from, event);
}

static void make(struct peal_server_options options)
{
    options.size = sizeof options;
    options.ws_listen = "127.0.0.1:0";
    options.tcp_listen = "127.0.0.1:0";
    options.log = peal_log_to_stderr;
    options.log_level = PEAL_LOG_ERROR;
    CHECK_EQUAL(peal_server_new(&host.server, &options), 0);
    CHECK_EQUAL(peal_server_on(host.server, "chat", on_chat, NULL), 0);
    CHECK_EQUAL(peal_server_on(host.server, "misuse", on_misuse, NULL), 0);
    CHECK_EQUAL(peal_server_address(host.server, 0, host.ws), 0);
    CHECK_EQUAL(peal_server_address(host.server, 1, host.tcp), 0);
}

static void attach(void)
{
    CHECK_EQUAL(peal_server_attach(host.server), 0);
}

/* Takes steps, as long as there are some, while `peers` runs beside it. */
static void run_beside(void *(*peers)(void *))
{
    struct pollfd polled = {.fd = peal_server_fd(host.server),
                            .events = POLLIN};
    pthread_t thread;
    int rc;

    CHECK(polled.fd >= 0);
    CHECK_EQUAL(pthread_create(&thread, NULL, peers, NULL), 0);
    do {
        CHECK(poll(&polled, 1, peal_server_timeout_ms(host.server)) >= 0);
        rc = peal_server_step(host.server, 0);
    } while (rc > 0);
    CHECK_EQUAL(rc, 0);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    CHECK_EQUAL(peal_server_step(host.server, 0), PEAL_ESTATE);
    CHECK_EQUAL(peal_server_fd(host.server), PEAL_ESTATE);
    peal_server_free(host.server);
}

/* --- What works ---------------------------------------------------------- */

static void *talk(void *argument)
{
    struct peal_event event = peal_json("all", "1");
    struct member members[2];

    member_open(&members[0], host.ws, false);
    member_open(&members[1], host.tcp, true);
    for (int i = 0; i < 100; i++) {
        struct member *member = &members[i % 2];

        member_say(member, "{'event':'chat','data':%d}", i);
        member_expect(member, "{'event':'chat','data':%d}", i);
        CHECK_EQUAL(peal_server_broadcast(host.server, &event, NULL, 0), 0);
        member_expect(&members[0], "{'event':'all','data':1}");
        member_expect(&members[1], "{'event':'all','data':1}");
    }
    peal_server_stop(host.server);
    member_expect_close(&members[0], 1001);
    member_expect_close(&members[1], 1001);
    return argument;
}

static void clients_are_served(void **state)
{
    (void)state;
    make((struct peal_server_options){.loops = 1});
    attach();
    run_beside(talk);
}

/* A silent client: only the timeout can make the program take a step. */
static void *be_silent(void *argument)
{
    struct ws_received received;
    struct peer peer;

    ws_open(&peer, host.ws, "/");
    CHECK(ws_read(&peer, &received)); /* the welcome */
    CHECK(ws_read(&peer, &received));
    CHECK_EQUAL(received.first, WS_PING_FRAME);
    peal_server_stop(host.server);
    peer_drain(&peer);
    peer_close(&peer);
    return argument;
}

static void timers_are_due_in_time(void **state)
{
    (void)state;
    make((struct peal_server_options){.ping_interval_ms = 20,
                                      .close_timeout_ms = 100});
    attach();
    run_beside(be_silent);
}

static void what_comes_between_steps_is_seen(void **state)
{
    struct peal_event event = peal_json("all", "1");
    struct peal_server_options options = {.size = sizeof options};
    struct pollfd polled = {.events = POLLIN};
    struct peer peer;

    (void)state;
    make((struct peal_server_options){0});
    attach();
    polled.fd = peal_server_fd(host.server);
    while (peal_server_timeout_ms(host.server) == 0 ||
           poll(&polled, 1, 0) > 0) {
        CHECK_EQUAL(peal_server_step(host.server, 0), 1);
    }
    CHECK_EQUAL(peal_server_timeout_ms(host.server), -1);

    /* A step that waits, waits no longer than it was told. */
    CHECK_EQUAL(peal_server_step(host.server, 1), 1);

    /* Mail from this very thread, to itself. */
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(peal_server_broadcast(host.server, &event, NULL, 0), 0);
        CHECK_EQUAL(poll(&polled, 1, 10000), 1);
        CHECK_EQUAL(peal_server_step(host.server, 0), 1);
        CHECK_EQUAL(poll(&polled, 1, 0), 0);
    }

    /* Other options. */
    CHECK_EQUAL(peal_server_config(host.server, &options), 0);
    options.rooms_max = 7;
    CHECK_EQUAL(peal_server_update(host.server, &options, NULL), 0);
    CHECK_EQUAL(poll(&polled, 1, 10000), 1);
    CHECK_EQUAL(peal_server_step(host.server, 0), 1);
    CHECK_EQUAL(poll(&polled, 1, 0), 0);

    /* A connection; from then on there is a timer. */
    peer_dial(&peer, host.ws);
    CHECK_EQUAL(poll(&polled, 1, 10000), 1);
    while (host_stats(&host).connections == 0) {
        CHECK_EQUAL(peal_server_step(host.server, -1), 1);
    }
    CHECK(peal_server_timeout_ms(host.server) >= 0);

    peal_server_stop(host.server);
    CHECK_EQUAL(poll(&polled, 1, 10000), 1);
    peer_close(&peer);
    CHECK_EQUAL(peal_server_wait(host.server), 0);
    CHECK_EQUAL(peal_server_wait(host.server), PEAL_ESTATE);
    peal_server_free(host.server);
}

static void *call_later(void *argument)
{
    struct peal_event event = peal_json("all", "1");

    for (int i = 0; i < 3; i++) {
        /* Until it waits: it has been told nothing for so long. */
        for (int k = 0; k < 20; k++) {
            check_breathe();
        }
        CHECK_EQUAL(peal_server_broadcast(host.server, &event, NULL, 0), 0);
    }
    peal_server_stop(host.server);
    return argument;
}

/* A step with a negative time does nothing until there is something to do. */
static void steps_may_wait_without_end(void **state)
{
    pthread_t thread;
    int steps = 0;

    (void)state;
    make((struct peal_server_options){0});
    attach();
    CHECK_EQUAL(pthread_create(&thread, NULL, call_later, NULL), 0);
    while (peal_server_step(host.server, -1) > 0) {
        steps++;
    }
    CHECK(steps < 20);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    peal_server_free(host.server);
}

/* --- Several ------------------------------------------------------------- */

#define SERVERS 5

static struct {
    struct peal_server *server;
    char address[PEAL_ADDRESS_MAX];
} several[SERVERS];

/* Tells the next server's clients, and has it take a step of its own. */
static void on_pass(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    size_t next = ((size_t)(uintptr_t)user + 1) % SERVERS;

    CHECK(peal_client_server(from) == several[(uintptr_t)user].server);
    CHECK_EQUAL(
        peal_server_broadcast(several[next].server, event, NULL, 0), 0);
    CHECK_EQUAL(peal_server_step(several[(uintptr_t)user].server, 0),
                PEAL_ESTATE);
    CHECK_EQUAL(peal_server_step(several[next].server, 0), 1);
}

static void *talk_to_all(void *argument)
{
    struct member members[SERVERS];

    for (int i = 0; i < SERVERS; i++) {
        member_open(&members[i], several[i].address, i % 2 == 1);
    }
    for (int i = 0; i < 50; i++) {
        int next = (i + 1) % SERVERS;

        member_say(&members[i % SERVERS], "{'event':'pass','data':%d}", i);
        member_expect(&members[next], "{'event':'pass','data':%d}", i);
    }
    for (int i = 0; i < SERVERS; i++) {
        peal_server_stop(several[i].server);
        member_expect_close(&members[i], 1001);
    }
    return argument;
}

/* One thread drives them all, and each is at home in the others' callbacks. */
static void many_servers_share_a_loop(void **state)
{
    struct pollfd polled[SERVERS];
    pthread_t thread;
    int left = SERVERS;

    (void)state;
    for (size_t i = 0; i < SERVERS; i++) {
        make((struct peal_server_options){.ping_interval_ms = 50});
        CHECK_EQUAL(peal_server_on(host.server, "pass", on_pass,
                                   (void *)(uintptr_t)i),
                    0);
        CHECK_EQUAL(peal_server_attach(host.server), 0);
        several[i].server = host.server;
        memcpy(several[i].address, i % 2 == 1 ? host.tcp : host.ws,
               sizeof host.ws);
        polled[i].fd = peal_server_fd(host.server);
        polled[i].events = POLLIN;
    }
    CHECK_EQUAL(pthread_create(&thread, NULL, talk_to_all, NULL), 0);
    while (left > 0) {
        int wait_ms = -1;

        for (int i = 0; i < SERVERS; i++) {
            int due_ms = polled[i].fd < 0
                             ? -1
                             : peal_server_timeout_ms(several[i].server);

            if (due_ms >= 0 && (wait_ms < 0 || due_ms < wait_ms)) {
                wait_ms = due_ms;
            }
        }
        CHECK(poll(polled, SERVERS, wait_ms) >= 0);
        for (int i = 0; i < SERVERS; i++) {
            if (polled[i].fd >= 0 &&
                peal_server_step(several[i].server, 0) == 0) {
                polled[i].fd = -1;
                left--;
            }
        }
    }
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    for (int i = 0; i < SERVERS; i++) {
        peal_server_free(several[i].server);
    }
}

/* Nothing is left over of one that comes and goes. */
static void it_may_be_done_again(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        make((struct peal_server_options){0});
        if (i % 2 == 0) {
            attach();
            peal_server_stop(host.server);
            CHECK_EQUAL(peal_server_wait(host.server), 0);
        }
        peal_server_free(host.server);
    }
}

/* --- What does not ------------------------------------------------------- */

static void *misuse(void *argument)
{
    struct member member;

    member_open(&member, host.ws, false);
    member_say(&member, "{'event':'misuse'}");
    member_expect(&member, "{'event':'misuse'}");
    peal_server_stop(host.server);
    member_expect_close(&member, 1001);
    return argument;
}

static void misuse_is_refused(void **state)
{
    (void)state;
    make((struct peal_server_options){.loops = 2});
    CHECK_EQUAL(peal_server_attach(host.server), PEAL_EINVAL);
    peal_server_free(host.server);

    make((struct peal_server_options){0});
    CHECK_EQUAL(peal_server_fd(host.server), PEAL_ESTATE);
    CHECK_EQUAL(peal_server_timeout_ms(host.server), PEAL_ESTATE);
    CHECK_EQUAL(peal_server_step(host.server, 0), PEAL_ESTATE);
    CHECK_EQUAL(peal_server_start(host.server), 0);
    CHECK_EQUAL(peal_server_attach(host.server), PEAL_ESTATE);
    CHECK_EQUAL(peal_server_step(host.server, 0), PEAL_ESTATE);
    host_stop(&host);

    make((struct peal_server_options){0});
    attach();
    CHECK_EQUAL(peal_server_attach(host.server), PEAL_ESTATE);
    CHECK_EQUAL(peal_server_start(host.server), PEAL_ESTATE);
    CHECK_EQUAL(peal_server_run(host.server), PEAL_ESTATE);
    status_inside = 1;
    run_beside(misuse);
    CHECK_EQUAL(status_inside, PEAL_ESTATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_are_served),
        cmocka_unit_test(timers_are_due_in_time),
        cmocka_unit_test(what_comes_between_steps_is_seen),
        cmocka_unit_test(steps_may_wait_without_end),
        cmocka_unit_test(many_servers_share_a_loop),
        cmocka_unit_test(it_may_be_done_again),
        cmocka_unit_test(misuse_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
