/*
 * Goal: each limit on how many there may be refuses the next one in its own
 * way, counts that, and lets in again when there is room; who was there before
 * notices nothing.
 *
 * Method: servers with small limits, filled up to each and one beyond.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define FEW 3

static struct host host;

static void start(struct peal_server_options options)
{
    options.clients_may_join = true;
    host_start(&host, &options, NULL);
}

static void open_some(struct member *members, int count)
{
    for (int i = 0; i < count; i++) {
        member_open(&members[i], host_address(&host, i % 2 == 1), i % 2 == 1);
    }
}

static void close_all(struct member *members, int count)
{
    for (int i = 0; i < count; i++) {
        member_expect_silence(&members[i]);
        member_close(&members[i]);
    }
}

/* A TCP client is refused with a goodbye that says to try again. */
static void expect_tcp_refusal(void)
{
    struct member member = {.is_tcp = true};

    peer_dial(&member.peer, host.tcp);
    member_expect_close(&member, 1013);
}

static void set_descriptors(rlim_t most)
{
    struct rlimit limit;

    CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = most;
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* --- Clients ------------------------------------------------------------- */

static void clients_max(void **state)
{
    struct peal_server_options options = {.clients_max = FEW,
                                          .metrics_path = "/metrics"};
    struct member members[FEW];
    struct http_reply reply;
    struct peer peer;

    (void)state;
    start(options);
    open_some(members, FEW);
    peer_dial(&peer, host.ws);
    ws_ask(&peer, "/", "");
    http_read(&peer, &reply, true);
    CHECK_EQUAL(reply.status, 503);
    CHECK(http_header(&reply, "Retry-After", reply.body, sizeof reply.body));
    peer_close(&peer);
    expect_tcp_refusal();
    CHECK_EQUAL(host_stats(&host).refused_clients, 2);
    CHECK_EQUAL(
        http_metric(
            host.ws,
            "peal_connections_rejected_total{reason=\"clients_max\"}"),
        2);
    CHECK_EQUAL(host_stats(&host).refused_clients_per_address, 0);
    CHECK_EQUAL(host_stats(&host).clients, FEW);

    /* Whoever leaves makes room. */
    member_close(&members[0]);
    CHECK_SOON(host_stats(&host).clients == FEW - 1);
    open_some(members, 1);
    close_all(members, FEW);
    host_await_empty(&host);
    host_stop(&host);
}

static void clients_per_address_max(void **state)
{
    struct peal_server_options options = {.clients_per_address_max = FEW,
                                          .ws_listen = "*:0"};
    struct member members[FEW];
    struct member elsewhere;
    char port[16];
    char v6[32];

    (void)state;
    start(options);
    snprintf(port, sizeof port, "%s", strrchr(host.ws, ':') + 1);
    snprintf(host.ws, sizeof host.ws, "127.0.0.1:%s", port);
    snprintf(v6, sizeof v6, "[::1]:%s", port);
    open_some(members, FEW);
    CHECK_EQUAL(ws_try(host.ws, "/", ""), 429);
    expect_tcp_refusal();
    CHECK_EQUAL(host_stats(&host).refused_clients_per_address, 2);
    CHECK_EQUAL(host_stats(&host).refused_clients, 0);

    /* Another address counts for itself. */
    member_open(&elsewhere, v6, false);
    member_close(&elsewhere);

    member_close(&members[1]);
    CHECK_SOON(host_stats(&host).clients == FEW - 1);
    member_open(&members[1], host.tcp, true);
    close_all(members, FEW);
    host_await_empty(&host);
    host_stop(&host);
}

/* Connections that never become clients. */
static void handshakes_per_address_max(void **state)
{
    static const char page[] = "GET /none HTTP/1.1\r\nHost: x\r\n\r\n";
    struct peal_server_options options = {
        .handshakes_per_address_max = FEW,
        .internal_listen = "127.0.0.1:0",
        .close_timeout_ms = PEAL_OFF,
    };
    struct member members[2 * FEW];
    struct http_reply reply;
    struct peer silent[FEW];
    struct peer late;
    char internal[PEAL_ADDRESS_MAX];

    (void)state;
    start(options);
    CHECK_EQUAL(peal_server_address(host.server, 2, internal), 0);
    open_some(members, 2 * FEW); /* clients are none of them */
    for (int i = 0; i < FEW; i++) {
        peer_dial(&silent[i], host.ws);
    }
    CHECK_SOON(host_stats(&host).connections == 3 * FEW);
    for (int i = 0; i < 2; i++) {
        peer_dial(&late, i == 0 ? host.ws : host.tcp);
        peer_expect_end(&late);
        peer_close(&late);
    }
    CHECK_EQUAL(host_stats(&host).refused_handshakes_per_address, 2);
    CHECK_EQUAL(host_stats(&host).refused_clients, 0);
    http_ask(internal, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    CHECK_EQUAL(reply.status, 200);

    /* A request is not the end of it; becoming a client is, or going. */
    peer_send(&silent[0], page, sizeof page - 1);
    http_read(&silent[0], &reply, true);
    CHECK_EQUAL(reply.status, 426);
    peer_dial(&late, host.ws);
    peer_expect_end(&late);
    peer_close(&late);
    ws_ask(&silent[1], "/", "");
    ws_expect_open(&silent[1]);
    peer_close(&silent[2]);
    CHECK_SOON(host_stats(&host).connections == 2 * FEW + 2);
    for (int i = 0; i < 2; i++) {
        CHECK_EQUAL(ws_try(host.ws, "/", ""), 101);
        CHECK_SOON(host_stats(&host).connections == 2 * FEW + 2);
    }
    CHECK_EQUAL(host_stats(&host).refused_handshakes_per_address, 3);
    for (int i = 0; i < 2; i++) {
        peer_close(&silent[i]);
    }
    close_all(members, 2 * FEW);
    host_await_empty(&host);
    host_stop(&host);
}

/* Of a server that is full; beyond what clients_max leaves for them. */
static void handshakes_of_a_full_server(void **state)
{
    enum { MOST = 1 + 4096 };
    struct peal_server_options options = {
        .clients_max = 1,
        .handshakes_per_address_max = PEAL_OFF,
    };
    struct peer *silent = test_calloc(MOST, sizeof *silent);
    struct rlimit before;
    struct peer late;

    (void)state;
    CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    if (before.rlim_max < 2 * MOST + 100) {
        test_free(silent);
        skip();
    }
    set_descriptors(2 * MOST + 100);
    start(options);
    for (int i = 0; i < MOST; i++) {
        peer_dial(&silent[i], host.ws);
    }
    CHECK_SOON(host_stats(&host).connections == MOST);
    CHECK_EQUAL(host_stats(&host).refused_clients, 0);
    for (int i = 0; i < 2; i++) {
        peer_dial(&late, host_address(&host, i == 1));
        peer_expect_end(&late);
        CHECK(late.is_reset);
        peer_close(&late);
    }
    CHECK_EQUAL(host_stats(&host).refused_clients, 2);
    ws_ask(&silent[0], "/", "");
    ws_expect_open(&silent[0]);
    for (int i = 0; i < MOST; i++) {
        peer_close(&silent[i]);
    }
    host_await_empty(&host);
    host_stop(&host);
    set_descriptors(before.rlim_cur);
    test_free(silent);
}

static void handshakes_without_bound(void **state)
{
    struct peal_server_options options = {
        .handshakes_per_address_max = PEAL_OFF,
    };
    struct peer silent[FEW];

    (void)state;
    start(options);
    for (int i = 0; i < FEW; i++) {
        peer_dial(&silent[i], host.ws);
    }
    CHECK_SOON(host_stats(&host).connections == FEW);
    for (int i = 0; i < FEW; i++) {
        peer_close(&silent[i]);
    }
    host_await_empty(&host);
    host_stop(&host);
}

/* --- Rooms --------------------------------------------------------------- */

static void ask_to_join(struct member *member, const char *room)
{
    member_say(member, "{'event':'peal:join','id':1,'data':{'room':'%s'}}",
               room);
}

static void rooms_per_client_max(void **state)
{
    struct peal_server_options options = {.rooms_per_client_max = FEW};
    struct member members[2];
    char room[16];

    (void)state;
    start(options);
    open_some(members, 2);
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < FEW; k++) {
            snprintf(room, sizeof room, "%d", k);
            member_join(&members[i], room);
        }
        ask_to_join(&members[i], "more");
        member_expect_failure(&members[i], "1", 105);
        /* One that it is in already is none more. */
        member_join(&members[i], "0");
        CHECK_EQUAL(host_stats(&host).refused_rooms_per_client, i + 1);
    }
    CHECK_EQUAL(host_stats(&host).refused_rooms, 0);
    member_say(&members[0],
               "{'event':'peal:leave','id':2,'data':{'room':'1'}}");
    member_expect(&members[0], "{'event':'peal:ok','id':2}");
    member_join(&members[0], "more");
    close_all(members, 2);
    host_stop(&host);
}

static void rooms_max(void **state)
{
    struct peal_server_options options = {.rooms_max = FEW};
    struct member members[2];
    char room[16];

    (void)state;
    for (int loops = 1; loops <= 2; loops++) {
        options.loops = loops;
        start(options);
        open_some(members, 2);
        for (int k = 0; k < FEW; k++) {
            snprintf(room, sizeof room, "%d", k);
            member_join(&members[0], room);
        }
        ask_to_join(&members[0], "more");
        member_expect_failure(&members[0], "1", 105);
        ask_to_join(&members[1], "more");
        member_expect_failure(&members[1], "1", 105);
        CHECK_EQUAL(host_stats(&host).refused_rooms, 2);
        CHECK_EQUAL(host_stats(&host).refused_rooms_per_client, 0);
        CHECK_EQUAL(host_stats(&host).rooms, FEW);

        /* A room with members is none more; an empty one makes room. */
        member_join(&members[1], "0");
        member_close(&members[0]);
        CHECK_SOON(host_stats(&host).rooms == 1);
        member_join(&members[1], "more");
        close_all(&members[1], 1);
        host_stop(&host);
    }
}

static void room_name_bytes_max(void **state)
{
    struct peal_server_options options = {.room_name_bytes_max = 8};
    struct member members[2];

    (void)state;
    start(options);
    open_some(members, 2);
    for (int i = 0; i < 2; i++) {
        member_join(&members[i], "12345678");
        ask_to_join(&members[i], "123456789");
        member_expect_failure(&members[i], "1", 104);
        /* Bytes count, not characters. */
        ask_to_join(&members[i], "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9x");
        member_expect_failure(&members[i], "1", 104);
    }
    CHECK_EQUAL(host_stats(&host).refused_room_names, 4);
    close_all(members, 2);
    host_stop(&host);
}

/* --- Descriptors --------------------------------------------------------- */

static double cpu_seconds(void)
{
    struct timespec used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec * 1e-9;
}

/* Makes room for one descriptor at a time until none is free. */
static int use_up_descriptors(int *fds, int max)
{
    int count = 0;

    while (count < max && (fds[count] = dup(STDERR_FILENO)) >= 0) {
        count++;
    }
    return count;
}

/*
 * Connects until it is let in: who comes while the listener is still turning
 * away those who waited is turned away, too; and so is who comes again at once,
 * which a busy machine may have happen for as long as that lasts.
 */
static void open_at_last(struct peer *peer)
{
    uint64_t until_ms = check_now_ms() + check_patience_ms();

    peer_dial(peer, host.ws);
    ws_ask(peer, "/", "");
    while (!peer_wait(peer, 1)) {
        CHECK(check_now_ms() < until_ms);
        peer_close(peer);
        peer_dial(peer, host.ws);
        ws_ask(peer, "/", "");
    }
    ws_expect_open(peer);
}

/*
 * The process has no descriptor left: who comes is turned away instead of being
 * left to wait, the server does not spin, and then all is well again.
 */
static void descriptors(void **state)
{
    struct member members[2];
    struct rlimit before;
    struct peer late;
    int fds[256];
    double cpu;
    int count;

    (void)state;
    CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    start((struct peal_server_options){.size = 0});
    open_some(members, 2);
    set_descriptors(128);
    count = use_up_descriptors(fds, 256);
    CHECK(count > 0 && count < 256);

    /* The one that is given back is the client's own. */
    for (int i = 0; i < FEW; i++) {
        close(fds[--count]);
        peer_dial(&late, host.ws);
        peer_expect_end(&late);
        peer_close(&late);
        fds[count++] = dup(STDERR_FILENO);
    }
    /* It is counted when those who waited are gone. */
    CHECK_SOON(host_stats(&host).accept_exhausted > 0);
    cpu = cpu_seconds();
    member_expect_silence(&members[0]);
    member_expect_silence(&members[1]);
    close(fds[--count]);
    peer_dial(&late, host.ws);
    peer_expect_end(&late);
    peer_close(&late);
    CHECK(cpu_seconds() - cpu < 1.0);

    while (count > 0) {
        close(fds[--count]);
    }
    set_descriptors(before.rlim_cur);
    open_at_last(&late);
    peer_close(&late);
    close_all(members, 2);
    host_await_empty(&host);
    host_stop(&host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_max),
        cmocka_unit_test(clients_per_address_max),
        cmocka_unit_test(handshakes_per_address_max),
        cmocka_unit_test(handshakes_of_a_full_server),
        cmocka_unit_test(handshakes_without_bound),
        cmocka_unit_test(rooms_per_client_max),
        cmocka_unit_test(rooms_max),
        cmocka_unit_test(room_name_bytes_max),
        cmocka_unit_test(descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
