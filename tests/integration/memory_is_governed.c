/*
 * Goal: what the statistics say of memory is what the allocator has given;
 * beyond memory_bytes_max the longest queue goes first and nobody else, new
 * clients are turned away, and /readyz says no, until there is enough again.
 *
 * Method: clients that do not read, and are sent messages of their own; the
 * allocator's account of the whole process, before and after.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_BYTES 65536
#define NARROW_BYTES 4096
#define MIB ((uint64_t)1024 * 1024)

static struct host host;
static _Atomic uint64_t newest;
static _Atomic uint64_t closed_ref;
static _Atomic int closed_code;
static _Atomic int closed_count;

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    (void)connect;
    (void)user;
    atomic_store(&newest, peal_client_ref(client).value);
}

static void on_disconnect(struct peal_client *client,
                          const struct peal_disconnect *disconnect, void *user)
{
    (void)user;
    atomic_store(&closed_ref, peal_client_ref(client).value);
    atomic_store(&closed_code, disconnect->code);
    atomic_fetch_add(&closed_count, 1);
}

static int start(void **state)
{
    struct peal_server_options options = {
        .queue_bytes_max = 256 * MIB,
        .dialect = PEAL_DIALECT_RAW,
        .readyz_path = "/readyz",
        .metrics_path = "/metrics",
        .on_connect = on_connect,
        .on_disconnect = on_disconnect,
    };

    (void)state;
    atomic_store(&newest, 0);
    atomic_store(&closed_count, 0);
    host_start(&host, &options, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    host_stop(&host);
    return 0;
}

/* A client that will not read. */
static struct peal_client_ref open_slow(struct peer *peer)
{
    struct peal_client_ref ref;

    atomic_store(&newest, 0);
    peer_dial_narrow(peer, host.tcp, NARROW_BYTES);
    CHECK_SOON(atomic_load(&newest) != 0);
    ref.value = atomic_load(&newest);
    return ref;
}

/*
 * Sends one message to it and waits until its loop has taken that, or someone
 * has been closed.
 */
static void send_to(struct peal_client_ref ref, int closed_before)
{
    static char data[MESSAGE_BYTES];
    struct peal_event event = peal_bytes("x", data, sizeof data);
    struct peal_server_stats before = host_stats(&host);

    CHECK_EQUAL(peal_server_emit(host.server, ref, &event), 0);
    CHECK_SOON(host_stats(&host).messages_out > before.messages_out ||
               atomic_load(&closed_count) > closed_before);
}

static void send_until_closed(struct peal_client_ref ref)
{
    int closed_before = atomic_load(&closed_count);

    while (atomic_load(&closed_count) == closed_before) {
        send_to(ref, closed_before);
    }
}

static void fill(struct peal_client_ref ref, uint64_t bytes)
{
    uint64_t before = host_stats(&host).queued_bytes;

    while (host_stats(&host).queued_bytes < before + bytes) {
        send_to(ref, 0);
    }
}

static int status_of(const char *target)
{
    struct http_reply reply;
    char request[128];

    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n",
             target);
    http_ask(host.ws, request, &reply);
    return reply.status;
}

/* --- Accounts --------------------------------------------------------------
 */

static uint64_t given(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static void accounts_agree_with_the_allocator(void **state)
{
    enum { CLIENTS = 300, QUEUED_MIB = 24 };
    static struct peer peers[CLIENTS];
    struct peal_client_ref ref = {0};
    uint64_t given_before;
    uint64_t used_before;
    int64_t given_now;
    int64_t used_now;

    (void)state;
    CHECK(status_of("/readyz") == 200); /* whatever is made once, is made */
    given_before = given();
    used_before = host_stats(&host).memory_used_bytes;
    CHECK(used_before > 0);
    for (int i = 0; i < CLIENTS; i++) {
        ref = open_slow(&peers[i]);
        if (i % 10 == 0) {
            fill(ref, QUEUED_MIB * MIB / (CLIENTS / 10));
        }
    }
    given_now = (int64_t)(given() - given_before);
    used_now = (int64_t)(host_stats(&host).memory_used_bytes - used_before);
    print_message("allocator %lld, accounts %lld\n", (long long)given_now,
                  (long long)used_now);
    CHECK(used_now > (int64_t)(QUEUED_MIB * MIB));
    if (given_now != 0) { /* sanitizers have allocators of their own */
        CHECK(llabs(given_now - used_now) <= given_now / 10);
    }
    for (int i = 0; i < CLIENTS; i++) {
        peer_close(&peers[i]);
    }
    host_await_empty(&host);
    CHECK_SOON(host_stats(&host).memory_used_bytes < used_before + MIB);
}

/* --- The budget -------------------------------------------------------------
 */

static void the_longest_queue_goes_first(void **state)
{
    struct peer worst;
    struct peer slow;
    struct peer idle;
    struct peer late;
    struct peal_client_ref worst_ref;

    (void)state;
    (void)open_slow(&idle);
    fill(open_slow(&slow), 2 * MIB);
    worst_ref = open_slow(&worst);
    fill(worst_ref, 4 * MIB);
    host_set_budget(&host, host_stats(&host).memory_used_bytes + 4 * MIB);
    send_until_closed(worst_ref);
    CHECK_EQUAL(atomic_load(&closed_ref), worst_ref.value);
    CHECK_EQUAL(atomic_load(&closed_code), 1013);
    CHECK_EQUAL(host_stats(&host).closed_memory, 1);

    /* It never takes its close; its memory is had nevertheless. */
    CHECK_SOON(status_of("/readyz") == 200);
    (void)open_slow(&late);
    CHECK_EQUAL(atomic_load(&closed_count), 1);
    CHECK_EQUAL(host_stats(&host).closed_memory, 1);
    CHECK_EQUAL(host_stats(&host).clients, 3);
    peer_close(&worst);
    peer_close(&slow);
    peer_close(&idle);
    peer_close(&late);
}

/* Many small messages take more than they are long. */
static void small_messages_count_as_what_they_take(void **state)
{
    enum { MESSAGES = 20000 };
    struct peal_event small = peal_bytes("x", "abcd", 4);
    struct peal_server_options options = {.size = sizeof options};
    struct peal_client_ref large_ref;
    struct peal_client_ref small_ref;
    struct peer large;
    struct peer many;
    uint64_t before;

    (void)state;
    CHECK_EQUAL(peal_server_config(host.server, &options), 0);
    options.pressure = PEAL_PRESSURE_DROP_OLDEST;
    CHECK_EQUAL(peal_server_update(host.server, &options, NULL), 0);
    large_ref = open_slow(&large);
    fill(large_ref, MIB / 2);
    small_ref = open_slow(&many);
    fill(small_ref, 1);
    before = host_stats(&host).queued_bytes;
    for (int i = 0; i < MESSAGES; i++) {
        CHECK_EQUAL(peal_server_broadcast(host.server, &small, &large_ref, 1),
                    0);
    }
    CHECK_SOON(host_stats(&host).queued_bytes >= before + 4 * MESSAGES);
    CHECK(host_stats(&host).queued_bytes < before + MIB / 4);
    host_set_budget(&host, host_stats(&host).memory_used_bytes - MIB / 2);
    CHECK_SOON(atomic_load(&closed_count) > 0);
    CHECK_EQUAL(atomic_load(&closed_ref), small_ref.value);
    CHECK_SOON(status_of("/readyz") == 200);
    CHECK_EQUAL(host_stats(&host).closed_memory, 1);
    peer_close(&large);
    peer_close(&many);
}

/* One after another, so that there never was half a second without a close. */
static void who_takes_no_close_is_cut(void **state)
{
    enum { CLIENTS = 60 }; /* one is closed at a look, ten times a second */
    static struct peer peers[CLIENTS];
    struct peal_server_options options = {.size = sizeof options};
    struct peal_client_ref refs[CLIENTS];

    (void)state;
    for (int i = 0; i < CLIENTS; i++) {
        refs[i] = open_slow(&peers[i]);
    }
    CHECK_EQUAL(peal_server_config(host.server, &options), 0);
    options.close_timeout_ms = 60000;
    options.memory_bytes_max = host_stats(&host).memory_used_bytes + MIB;
    CHECK_EQUAL(peal_server_update(host.server, &options, NULL), 0);
    for (int i = 0; host_stats(&host).connections == CLIENTS; i++) {
        CHECK(i < CLIENTS && "closed, but never cut");
        send_until_closed(refs[i]);
    }
    CHECK(host_stats(&host).closed_memory > 1);
    for (int i = 0; i < CLIENTS; i++) {
        peer_close(&peers[i]);
    }
    host_await_empty(&host);
}

/* The worst of all loops, not that of each. */
static void loops_compare_their_worst(void **state)
{
    enum { OTHERS = 10 };
    struct peal_server_options options = {
        .loops = 2,
        .queue_bytes_max = 256 * MIB,
        .dialect = PEAL_DIALECT_RAW,
        .readyz_path = "/readyz",
        .on_connect = on_connect,
        .on_disconnect = on_disconnect,
    };
    struct peal_client_ref worst_ref;
    struct peer others[OTHERS];
    struct peer worst;

    (void)state;
    atomic_store(&closed_count, 0);
    host_start(&host, &options, NULL);
    for (int i = 0; i < OTHERS; i++) {
        fill(open_slow(&others[i]), MIB);
    }
    worst_ref = open_slow(&worst);
    fill(worst_ref, 4 * MIB);
    host_set_budget(&host, host_stats(&host).memory_used_bytes - MIB);
    CHECK_SOON(atomic_load(&closed_count) > 0);
    CHECK_EQUAL(atomic_load(&closed_ref), worst_ref.value);
    CHECK_SOON(status_of("/readyz") == 200);
    CHECK_EQUAL(host_stats(&host).closed_memory, 1);
    CHECK_EQUAL(host_stats(&host).clients, OTHERS);
    peer_close(&worst);
    for (int i = 0; i < OTHERS; i++) {
        peer_close(&others[i]);
    }
    host_stop(&host);
}

/* Who is closed has half a second to take what it is owed. */
static void who_is_closed_has_its_time(void **state)
{
    struct peer slow;
    uint64_t closed_ms;

    (void)state;
    fill(open_slow(&slow), 4 * MIB);
    host_set_budget(&host, host_stats(&host).memory_used_bytes - MIB);
    closed_ms = check_now_ms();
    CHECK_SOON(host_stats(&host).closed_memory == 1);
    CHECK_SOON(host_stats(&host).connections == 0);
    CHECK(check_now_ms() - closed_ms >= 490);
    peer_close(&slow);
}

/* What those who are going owe is as good as given back: only for what is
 * missing beyond that the next one goes. */
static void only_as_many_as_need_be_go(void **state)
{
    struct peal_client_ref refs[3];
    struct peer peers[3];
    uint64_t used;

    (void)state;
    for (int i = 0; i < 3; i++) {
        refs[i] = open_slow(&peers[i]);
        fill(refs[i], (uint64_t)(6 - 2 * i) * MIB);
    }
    used = host_stats(&host).memory_used_bytes;
    host_set_budget(&host, used - MIB);
    CHECK_SOON(host_stats(&host).closed_memory == 1);
    host_set_budget(&host, used - 7 * MIB);
    CHECK_SOON(status_of("/readyz") == 200);
    CHECK_EQUAL(host_stats(&host).closed_memory, 2);
    CHECK_EQUAL(atomic_load(&closed_ref), refs[1].value);
    for (int i = 0; i < 3; i++) {
        peer_close(&peers[i]);
    }
}

/* Clients come in again only when there is some room. */
static void a_tenth_has_to_be_free(void **state)
{
    uint64_t until_ms;
    uint64_t used;

    (void)state;
    host_set_budget(&host, 1);
    CHECK_SOON(status_of("/readyz") == 503);
    used = host_stats(&host).memory_used_bytes;
    host_set_budget(&host, used + used / 20);
    until_ms = check_now_ms() + 400; /* some looks later */
    while (check_now_ms() < until_ms) {
        CHECK_EQUAL(status_of("/readyz"), 503);
    }
    CHECK(host_stats(&host).memory_used_bytes < used + used / 20);
    host_set_budget(&host, 2 * used);
    CHECK_SOON(status_of("/readyz") == 200);
}

/* A backlog is memory that can be had at once. */
static void backlogs_are_given_up(void **state)
{
    enum { MESSAGES = 200 };
    static char data[MESSAGE_BYTES];
    struct peal_event event = peal_bytes("x", data, sizeof data);
    struct peal_server_options options = {.size = sizeof options};
    struct tcp_received frame;
    struct peer slow;
    uint64_t used;
    int heard = 0;

    (void)state;
    CHECK_EQUAL(peal_server_config(host.server, &options), 0);
    options.pressure = PEAL_PRESSURE_DROP_OLDEST;
    CHECK_EQUAL(peal_server_update(host.server, &options, NULL), 0);
    fill(open_slow(&slow), 1);
    for (int i = 0; i < MESSAGES; i++) {
        CHECK_EQUAL(peal_server_broadcast(host.server, &event, NULL, 0), 0);
    }
    CHECK_SOON(host_stats(&host).queued_bytes >
               (uint64_t)MESSAGES * MESSAGE_BYTES);
    used = host_stats(&host).memory_used_bytes;
    host_set_budget(&host, used - MIB);
    CHECK_SOON(host_stats(&host).closed_memory == 1);
    host_set_budget(&host, 0); /* so that it is not cut */
    CHECK_SOON(host_stats(&host).memory_used_bytes < used - 8 * MIB);
    do {
        CHECK(tcp_read(&slow, &frame));
        heard += frame.type == TCP_BINARY_FRAME;
    } while (frame.type != TCP_DISCONNECT_FRAME);
    CHECK_EQUAL(atomic_load(&closed_code), 1013);
    CHECK(heard < MESSAGES);
    peer_expect_end(&slow);
    peer_close(&slow);
}

/* The last one that a stopping server waits for is cut for its memory: that is
 * given back, too. */
static void a_stop_leaves_nothing_of_them(void **state)
{
    struct peal_server_options options = {.size = sizeof options};
    struct host observer;
    struct peer slow;
    uint64_t before;

    (void)state;
    host_start(&observer, NULL, NULL);
    before = host_stats(&observer).memory_used_bytes;
    (void)start(NULL);
    CHECK_EQUAL(peal_server_config(host.server, &options), 0);
    options.close_timeout_ms = PEAL_OFF;
    options.stop_timeout_ms = PEAL_OFF;
    CHECK_EQUAL(peal_server_update(host.server, &options, NULL), 0);
    fill(open_slow(&slow), 4 * MIB);
    host_set_budget(&host, host_stats(&host).memory_used_bytes - MIB);
    CHECK_SOON(host_stats(&host).closed_memory == 1);
    host_stop(&host);
    CHECK_EQUAL(host_stats(&observer).memory_used_bytes, before);
    peer_close(&slow);
    host_stop(&observer);
}

static void nobody_new_without_memory(void **state)
{
    struct peer idle;
    struct peer other;

    (void)state;
    (void)open_slow(&idle);
    host_set_budget(&host, 1);
    CHECK_SOON(status_of("/readyz") == 503);
    CHECK_EQUAL(ws_try(host.ws, "/", ""), 503);
    peer_dial(&other, host.tcp);
    peer_drain(&other);
    peer_close(&other);
    CHECK_EQUAL(host_stats(&host).refused_memory, 2);
    CHECK_EQUAL(
        http_metric(
            host.ws,
            "peal_connections_rejected_total{reason=\"memory_bytes_max\"}"),
        2);
    CHECK_EQUAL(http_metric(host.ws, "peal_memory_budget_bytes"), 1);
    CHECK_EQUAL(http_metric(host.ws, "peal_ready"), 0);

    /* Who owes nothing has nothing to fear. */
    CHECK_EQUAL(host_stats(&host).clients, 1);
    CHECK_EQUAL(host_stats(&host).closed_memory, 0);
    host_set_budget(&host, 0);
    CHECK_SOON(status_of("/readyz") == 200);
    CHECK_EQUAL(ws_try(host.ws, "/", ""), 101);
    peer_close(&idle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(accounts_agree_with_the_allocator,
                                        start, stop),
        cmocka_unit_test_setup_teardown(the_longest_queue_goes_first, start,
                                        stop),
        cmocka_unit_test_setup_teardown(small_messages_count_as_what_they_take,
                                        start, stop),
        cmocka_unit_test_setup_teardown(who_takes_no_close_is_cut, start, stop),
        cmocka_unit_test(loops_compare_their_worst),
        cmocka_unit_test_setup_teardown(who_is_closed_has_its_time, start,
                                        stop),
        cmocka_unit_test_setup_teardown(only_as_many_as_need_be_go, start,
                                        stop),
        cmocka_unit_test_setup_teardown(a_tenth_has_to_be_free, start, stop),
        cmocka_unit_test_setup_teardown(backlogs_are_given_up, start, stop),
        cmocka_unit_test(a_stop_leaves_nothing_of_them),
        cmocka_unit_test_setup_teardown(nobody_new_without_memory, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
