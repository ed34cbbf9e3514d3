/*
 * Goal: a stop gives balancers their delay, tells clients at its pace and when
 * to come back, and can be cut short; signals do it only when asked to; and
 * starting and stopping again and again leaves nothing behind.
 *
 * Method: clients of both transports that watch the clock while the server
 * stops; real signals to this process; a counting allocator under it all.
 */
#include "support/suite.h"

#include "support/certificates.h"
#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <peal/tls.h>

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int readiness(const struct host *host)
{
    static struct http_reply reply;

    http_ask(host->ws, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    return reply.status;
}

static void end(struct host *host)
{
    CHECK_EQUAL(peal_server_wait(host->server), 0);
    peal_server_free(host->server);
}

static void test_balancers_get_their_delay(void **state)
{
    struct peal_server_options options = {
        .readyz_path = "/readyz",
        .stop_delay_ms = 400,
    };
    struct member early;
    struct member late;
    struct host host;
    uint64_t began_ms;

    (void)state;
    host_start(&host, &options, NULL);
    member_open(&early, host.ws, false);
    CHECK_EQUAL(readiness(&host), 200);
    began_ms = check_now_ms();
    peal_server_stop(host.server);
    peal_server_stop(host.server); /* once is enough, twice is the same */
    CHECK_EQUAL(readiness(&host), 503);
    member_open(&late, host.tcp, true);
    member_expect_silence(&early); /* it is still served */
    member_expect_close(&early, 1001);
    CHECK(check_now_ms() - began_ms >= 390);
    member_expect_close(&late, 1001);
    end(&host);
}

#define CROWD 20

static void test_clients_are_told_at_a_pace(void **state)
{
    struct peal_server_options options = {
        .stop_clients_per_second = 100,
        .return_spread_ms = 100000,
    };
    struct member members[CROWD];
    struct heard heard;
    struct host host;
    uint64_t began_ms;
    unsigned first = 0;
    bool differ = false;

    (void)state;
    host_start(&host, &options, NULL);
    for (int i = 0; i < CROWD; i++) {
        member_open(&members[i], host_address(&host, i % 2), i % 2);
    }
    began_ms = check_now_ms();
    peal_server_stop(host.server);
    member_expect_silence(&members[CROWD - 1]); /* its turn has not come */
    for (int i = 0; i < CROWD; i++) {
        unsigned retry_ms = 0;
        const char *at;

        if (i % 2 == 0) {
            CHECK(member_hear(&members[i], &heard));
            CHECK(strstr(heard.json, "\"peal:goodbye\"") != NULL);
            at = strstr(heard.json, "\"retry_after_ms\":");
            CHECK(at != NULL && sscanf(at + 17, "%u", &retry_ms) == 1);
            CHECK(strstr(heard.json, "\"code\":1001") != NULL);
            heard_free(&heard);
            member_expect_close(&members[i], 1001);
        } else {
            struct tcp_received frame;

            CHECK(tcp_read(&members[i].peer, &frame));
            CHECK_EQUAL(frame.type, TCP_DISCONNECT_FRAME);
            CHECK(sscanf(frame.data,
                         "{\"code\":1001,\"reason\":\"server is stopping\","
                         "\"retry_after_ms\":%u}",
                         &retry_ms) == 1);
            peer_expect_end(&members[i].peer);
            peer_close(&members[i].peer);
        }
        CHECK(retry_ms >= 1 && retry_ms <= 100000);
        differ = differ || (first != 0 && retry_ms != first);
        first = retry_ms;
    }
    CHECK(differ);
    CHECK(check_now_ms() - began_ms >= (CROWD - 2) * 10);
    end(&host);
}

/* The pace is that of all loops together; and the deadline, which is shorter
 * than the whole, begins when the last one has been told. */
static void test_the_pace_is_for_all_loops(void **state)
{
    struct peal_server_options options = {
        .loops = 2,
        .stop_clients_per_second = 100,
        .stop_timeout_ms = 50,
        .close_timeout_ms = PEAL_OFF,
    };
    struct member members[CROWD];
    struct host host;
    uint64_t began_ms;

    (void)state;
    host_start(&host, &options, NULL);
    for (int i = 0; i < CROWD; i++) {
        member_open(&members[i], host_address(&host, i % 2), i % 2);
    }
    began_ms = check_now_ms();
    peal_server_stop(host.server);
    for (int i = 0; i < CROWD; i++) {
        member_expect(&members[i], "{'close':1001}");
    }
    CHECK(check_now_ms() - began_ms >= (CROWD - 2 * 2) * 10);
    end(&host);
    for (int i = 0; i < CROWD; i++) {
        peer_close(&members[i].peer);
    }
}

/* --- Who is not in ------------------------------------------------------- */

/* Whether nobody listens there. */
static bool is_refused(const char *address)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        .sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1)),
    };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool is_open;

    CHECK(fd >= 0);
    is_open = connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
    CHECK(is_open || errno == ECONNREFUSED);
    close(fd);
    return !is_open;
}

static struct peal_tls *tls;

/* Where no header of a proxy is awaited: plain, and with TLS. */
static void listen_without_headers(struct peal_server *server)
{
    struct peal_listen listen = {
        .size = sizeof listen,
        .address = "127.0.0.1:0",
        .transport = PEAL_WS,
        .proxy_protocol = PEAL_PROXY_OFF,
    };

    CHECK_EQUAL(peal_server_listen(server, &listen), 0);
    listen.tls = tls;
    CHECK_EQUAL(peal_server_listen(server, &listen), 0);
}

/* Who has not even said for whom it comes, or is in the middle of its TLS
 * handshake, is not waited for; and nobody else gets in. */
static void test_strangers_are_not_waited_for(void **state)
{
    static const char *const proxies[] = {"127.0.0.0/8", NULL};
    struct peal_server_options options = {
        .handshake_timeout_ms = PEAL_OFF,
        .close_timeout_ms = PEAL_OFF,
        .stop_timeout_ms = PEAL_OFF,
        .trusted_proxies = proxies,
        .proxy_protocol = PEAL_PROXY_REQUIRED,
    };
    struct peal_tls_options of_tls = {.size = sizeof of_tls};
    struct member member;
    struct peer strangers[2];
    char address[PEAL_ADDRESS_MAX];
    struct host host;

    (void)state;
    certificates_open();
    certificates_make(&(struct certificate){
        .name = "stop", .names = "IP:127.0.0.1", .from_day = -1});
    of_tls.certificate_file = certificates_path("stop.crt");
    of_tls.key_file = certificates_path("stop.key");
    CHECK_EQUAL(peal_tls_new(&tls, &of_tls, NULL, 0), 0);
    host_start(&host, &options, listen_without_headers);
    CHECK(!is_refused(host.ws));
    host_await_empty(&host);
    CHECK_EQUAL(peal_server_address(host.server, 2, address), 0);
    member_open(&member, address, false);
    peer_dial(&strangers[0], host.ws);
    peer_send(&strangers[0], "PROXY", 5);
    CHECK_EQUAL(peal_server_address(host.server, 3, address), 0);
    peer_dial(&strangers[1], address);
    peer_send(&strangers[1], "\x16\x03\x01", 3);
    CHECK_SOON(host_stats(&host).connections == 3);
    peal_server_stop(host.server);
    for (size_t i = 0; i < 2; i++) {
        peer_drain(&strangers[i]);
        peer_close(&strangers[i]);
    }

    /* It waits for the answer of the one who is in. */
    member_expect(&member, "{'close':1001}");
    CHECK(is_refused(host.ws));
    CHECK(is_refused(host.tcp));
    CHECK_SOON(host_stats(&host).connections == 1);
    ws_send_close(&member.peer, 1001, "");
    peer_expect_end(&member.peer);
    peer_close(&member.peer);
    end(&host);
    peal_tls_free(tls);
    certificates_close();
}

static void test_other_dialects_hear_a_plain_close(void **state)
{
    struct peal_server_options options = {
        .dialect = PEAL_DIALECT_RAW,
        .return_spread_ms = 1000,
    };
    struct host host;
    struct peer peer;

    (void)state;
    host_start(&host, &options, NULL);
    ws_open(&peer, host.ws, "/");
    CHECK_SOON(host_stats(&host).clients == 1);
    peal_server_stop(host.server);
    ws_expect_close(&peer, 1001);
    peer_close(&peer);
    end(&host);
}

static void test_a_stop_can_be_cut_short(void **state)
{
    struct peal_server_options options = {
        .stop_delay_ms = 600000,
        .stop_timeout_ms = 600000,
        .loops = 2,
    };
    struct member members[4];
    struct host host;

    (void)state;
    for (int turn = 0; turn < 2; turn++) {
        host_start(&host, &options, NULL);
        for (int i = 0; i < 4; i++) {
            member_open(&members[i], host_address(&host, i % 2), i % 2);
        }
        if (turn == 0) {
            peal_server_stop(host.server);
            member_expect_silence(&members[0]);
        }
        peal_server_cut(host.server);
        end(&host);
        for (int i = 0; i < 4; i++) {
            peer_drain(&members[i].peer);
            peer_close(&members[i].peer);
        }
    }
}

static void start_with_the_deaf(struct host *host, int loops,
                                uint32_t timeout_ms, struct peer peers[16])
{
    struct peal_server_options options = {
        .loops = loops,
        .stop_timeout_ms = timeout_ms,
        .close_timeout_ms = 600000,
    };

    host_start(host, &options, NULL);
    for (int i = 0; i < 16; i++) {
        peer_dial(&peers[i], host->ws);
        ws_ask(&peers[i], "/", "");
        ws_expect_open(&peers[i]);
    }
}

/* However many loops there are: who has nearly twice the time is cut later. */
static void test_the_deadline_is_one_for_all_loops(void **state)
{
    struct peer short_of[16];
    struct peer patient[16];
    struct host quick;
    struct host slow;

    (void)state;
    start_with_the_deaf(&quick, 4, 1000, short_of);
    start_with_the_deaf(&slow, 1, 1900, patient);
    peal_server_stop(quick.server);
    peal_server_stop(slow.server);
    CHECK_EQUAL(peal_server_wait(quick.server), 0);
    CHECK_EQUAL(host_stats(&slow).connections, 16);
    CHECK_EQUAL(peal_server_wait(slow.server), 0);
    peal_server_free(quick.server);
    peal_server_free(slow.server);
    for (int i = 0; i < 16; i++) {
        peer_close(&short_of[i]);
        peer_close(&patient[i]);
    }
}

/* --- Signals ------------------------------------------------------------- */

static _Atomic int own_signals;

static void on_own_signal(int number)
{
    (void)number;
    atomic_fetch_add(&own_signals, 1);
}

static void test_signals_only_when_asked(void **state)
{
    struct peal_server_options options = {
        .handle_signals = true,
        .stop_timeout_ms = 600000,
        .close_timeout_ms = 600000,
    };
    struct host deaf;
    struct host host;
    struct member member;

    (void)state;
    CHECK(signal(SIGTERM, on_own_signal) != SIG_ERR);
    CHECK(signal(SIGINT, on_own_signal) != SIG_ERR);
    host_start(&deaf, NULL, NULL);
    raise(SIGTERM);
    CHECK_EQUAL(atomic_load(&own_signals), 1);

    host_start(&host, &options, NULL);
    member_open(&member, host.ws, false);
    raise(SIGTERM);
    CHECK_EQUAL(atomic_load(&own_signals), 1);
    member_expect_close(&member, 1001);
    end(&host);
    raise(SIGTERM); /* it is the program's again */
    CHECK_EQUAL(atomic_load(&own_signals), 2);

    host_start(&host, &options, NULL);
    member_open(&member, host.ws, false);
    raise(SIGINT);
    CHECK(peer_has_input(&member.peer, (int)check_patience_ms()));
    raise(SIGINT); /* the close frame is never answered: cut */
    end(&host);
    peer_drain(&member.peer);
    peer_close(&member.peer);

    raise(SIGINT);
    CHECK_EQUAL(atomic_load(&own_signals), 3);
    CHECK_EQUAL(host_stats(&deaf).clients, 0);
    host_stop(&deaf);
    CHECK(signal(SIGTERM, SIG_DFL) == on_own_signal);
    CHECK(signal(SIGINT, SIG_DFL) == on_own_signal);
}

/* --- Again and again ----------------------------------------------------- */

static _Atomic long blocks;

static void *allocate(size_t size, void *user)
{
    (void)user;
    atomic_fetch_add(&blocks, 1);
    return malloc(size);
}

static void *reallocate(void *block, size_t size, void *user)
{
    (void)user;
    if (block == NULL) {
        atomic_fetch_add(&blocks, 1);
    }
    return realloc(block, size);
}

static void release(void *block, void *user)
{
    (void)user;
    if (block != NULL) {
        atomic_fetch_sub(&blocks, 1);
    }
    free(block);
}

static int descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;

    CHECK(folder != NULL);
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

static void test_nothing_is_left_behind(void **state)
{
    struct peal_server_options options = {
        .loops = 2,
        .handle_signals = true,
        .internal_listen = "127.0.0.1:0",
        .close_timeout_ms = 20, /* nobody answers close frames here */
        .clients_may_join = true,
    };
    int open = descriptors();

    (void)state;
    CHECK_EQUAL(atomic_load(&blocks), 0);
    for (int round = 0; round < 30; round++) {
        struct member members[4];
        struct host host;

        host_start(&host, &options, NULL);
        for (int i = 0; i < 4; i++) {
            member_open(&members[i], host_address(&host, i % 2), i % 2);
            member_join(&members[i], "room");
        }
        if (round % 3 == 0) {
            peal_server_cut(host.server);
        } else {
            peal_server_stop(host.server);
        }
        for (int i = 0; i < 4; i++) {
            peer_drain(&members[i].peer);
            peer_close(&members[i].peer);
        }
        end(&host);
        CHECK_EQUAL(atomic_load(&blocks), 0);
        CHECK_EQUAL(descriptors(), open);
    }
}

int main(void)
{
    static const struct peal_memory memory = {
        .allocate = allocate,
        .reallocate = reallocate,
        .release = release,
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_balancers_get_their_delay),
        cmocka_unit_test(test_clients_are_told_at_a_pace),
        cmocka_unit_test(test_the_pace_is_for_all_loops),
        cmocka_unit_test(test_strangers_are_not_waited_for),
        cmocka_unit_test(test_other_dialects_hear_a_plain_close),
        cmocka_unit_test(test_a_stop_can_be_cut_short),
        cmocka_unit_test(test_the_deadline_is_one_for_all_loops),
        cmocka_unit_test(test_signals_only_when_asked),
        cmocka_unit_test(test_nothing_is_left_behind),
    };

    peal_memory_set(&memory);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
