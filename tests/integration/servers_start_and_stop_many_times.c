/*
 * Goal: a process may start and stop servers for as long as it likes: each
 * gives back all that it had, memory, descriptors and threads.
 *
 * Method: a hundred servers one after another, every other one beside a second,
 * with TLS, compression, middleware, HTTP handlers and clients that are in when
 * it ends: by a graceful stop, by a cut, or step by step in the program's own
 * loop. What the process holds after the last is what it held after the first
 * few.
 */
#include "support/suite.h"

#include "support/certificates.h"
#include "support/guest.h"
#include "support/handlers.h"
#include "support/scarce.h"

#include <peal/http.h>
#include <peal/policy.h>

#include <dirent.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define ROUNDS 100
#define FIRST 20 /* until everything that is kept for good is there */

/*
 * What malloc counts as used of all that is not ours, mostly OpenSSL's, varies
 * by what the caches of its threads hold.
 */
#define HEAP_BOUND (64 * 1024)

static struct peal_tls *tls;
static SSL_CTX *trusting;
static _Atomic int connects;
static _Atomic int disconnects;

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    (void)connect;
    (void)user;
    CHECK_EQUAL(peal_client_set(client, "key", "value"), 0);
    atomic_fetch_add(&connects, 1);
}

static void on_disconnect(struct peal_client *client,
                          const struct peal_disconnect *disconnect, void *user)
{
    (void)client;
    (void)disconnect;
    (void)user;
    atomic_fetch_add(&disconnects, 1);
}

static void on_page(const struct peal_http_request *request,
                    struct peal_http_reply reply, void *user)
{
    struct peal_http_response response = {.size = sizeof response,
                                          .body = request->path};

    (void)user;
    CHECK_EQUAL(peal_http_respond(reply, &response), 0);
}

static enum peal_verdict at_the_door(const struct peal_connect *connect,
                                     struct peal_admission admission,
                                     struct peal_denial *denial, void *user)
{
    (void)connect;
    (void)denial;
    (void)user;
    CHECK_EQUAL(peal_admission_set(admission, "door", "front"), 0);
    return PEAL_ALLOW;
}

static struct peal_server *make(int loops)
{
    static const struct peal_deflate_options deflate = {
        .size = sizeof deflate,
        .enabled = true,
        .context_takeover = true,
        .threshold_bytes = 1,
    };
    struct peal_server_options options = {
        .size = sizeof options,
        .ws_listen = "127.0.0.1:0",
        .tcp_listen = "127.0.0.1:0",
        .internal_listen = "127.0.0.1:0",
        .loops = loops,
        .clients_may_join = true,
        .client_rate = {.capacity = 1000},
        .address_rate = {.capacity = 1000},
        .deflate = &deflate,
        .tls = tls,
        .on_connect = on_connect,
        .on_disconnect = on_disconnect,
        .handle_signals = true,
    };
    const struct peal_rate rate = {.capacity = 100};
    const struct peal_route route = {.size = sizeof route, .path = "/"};
    struct peal_server *server;

    CHECK_EQUAL(peal_server_new(&server, &options), 0);
    CHECK_EQUAL(peal_server_use(server, at_the_door, NULL), 0);
    CHECK_EQUAL(peal_server_route(server, &route), 0);
    CHECK_EQUAL(peal_server_on_request(server, "echo", handlers_echo, NULL), 0);
    CHECK_EQUAL(
        peal_server_on_request(server, "never", handlers_never, NULL), 0);
    CHECK_EQUAL(peal_server_http(server, "GET", "/x/:y", on_page, NULL), 0);
    CHECK_EQUAL(peal_server_page(server, "/page", "a/b", "page", 4), 0);
    CHECK_EQUAL(peal_server_set_event_rate(server, "echo", &rate), 0);
    return server;
}

/* Clients of all kinds, who stay. */
#define GUESTS 4

static void come(struct guest *guests, const struct peal_server *server)
{
    static const char never[] = "{\"event\":\"never\",\"id\":\"n\"}";

    for (int i = 0; i < GUESTS; i++) {
        guest_open(&guests[i], server, i == 3, trusting,
                   i == 0   ? ""
                   : i == 1 ? "Sec-WebSocket-Extensions: permessage-deflate\r\n"
                            : "Sec-WebSocket-Extensions: permessage-deflate; "
                              "server_no_context_takeover\r\n");
        CHECK(guests[i].is_in);
        CHECK_EQUAL(guest_join(&guests[i]), GUEST_GOOD);
        CHECK_EQUAL(guest_ask(&guests[i], "1",
                              "\"event\":\"echo\","
                              "\"data\":\"abcabcabcabc\""),
                    GUEST_GOOD);
        if (i < 3) {
            line_say(&guests[i].line, 1, never, sizeof never - 1);
            line_move(&guests[i].line);
        }
    }
}

static void visit_page(const struct peal_server *server)
{
    static const char request[] = "GET /x/y HTTP/1.1\r\nHost: x\r\n\r\n";
    uint64_t until_ms = check_now_ms() + check_patience_ms();
    struct guest guest = {.is_in = false};

    line_open(&guest.line, 1, guest_port(server, false), false, trusting, 0);
    line_write(&guest.line, request, sizeof request - 1);
    while (!guest_holds(&guest, "\r\n\r\n/x/y")) {
        CHECK(guest_step(&guest, until_ms));
    }
    line_close(&guest.line, false);
}

static void part(struct guest *guests, bool are_told)
{
    for (int i = 0; i < GUESTS; i++) {
        if (are_told) {
            CHECK_EQUAL(guest_await(&guests[i], "never said"), GUEST_GONE);
        }
        line_close(&guests[i].line, false);
    }
}

/* On threads of its own, beside another, until a stop or a cut. */
static void run_on_threads(bool is_cut, bool has_company)
{
    struct guest guests[2][GUESTS];
    struct peal_server *servers[2];
    int count = has_company ? 2 : 1;

    for (int i = 0; i < count; i++) {
        servers[i] = make(2 - i);
        CHECK_EQUAL(peal_server_start(servers[i]), 0);
    }
    for (int i = 0; i < count; i++) {
        come(guests[i], servers[i]);
        visit_page(servers[i]);
    }
    for (int i = 0; i < count; i++) {
        is_cut ? peal_server_cut(servers[i]) : peal_server_stop(servers[i]);
        part(guests[i], !is_cut);
        CHECK_EQUAL(peal_server_wait(servers[i]), 0);
        peal_server_free(servers[i]);
    }
}

/* In the program's own loop, with a client that only begins to come in. */
static void run_by_steps(void)
{
    struct peal_server *server = make(1);
    struct peal_server_stats stats = {.size = sizeof stats};
    uint64_t until_ms = check_now_ms() + check_patience_ms();
    struct guest guest = {.is_in = false};

    CHECK_EQUAL(peal_server_attach(server), 0);
    line_open(&guest.line, 1, guest_port(server, false), false, trusting, 0);
    do {
        line_move(&guest.line);
        CHECK_EQUAL(peal_server_step(server, 1), 1);
        CHECK_EQUAL(peal_server_stats(server, &stats), 0);
        CHECK(check_now_ms() < until_ms);
    } while (stats.tls_handshakes == 0);
    peal_server_stop(server);
    CHECK_EQUAL(peal_server_step(server, 0), 1);
    line_close(&guest.line, false);
    while (peal_server_step(server, 10) > 0) {
        CHECK(check_now_ms() < until_ms);
    }
    peal_server_free(server);
}

/* Entries of a folder of /proc/self: descriptors, or threads. */
static size_t entries(const char *path)
{
    DIR *folder = opendir(path);
    size_t count = 0;

    CHECK(folder != NULL);
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

static void nothing_is_left(void **state)
{
    size_t descriptors = 0;
    size_t threads = 0;
    size_t heap = 0;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        const struct peal_tls_options options = {
            .size = sizeof options,
            .certificate_file = certificates_path("many.crt"),
            .key_file = certificates_path("many.key"),
        };
        struct mallinfo2 info;

        CHECK_EQUAL(peal_tls_new(&tls, &options, NULL, 0), 0);
        if (round % 4 == 3) {
            run_by_steps();
        } else {
            run_on_threads(round % 4 == 1, round % 4 == 2);
        }
        peal_tls_free(tls);
        CHECK_EQUAL(scarce_live(), 0);
        CHECK_EQUAL(atomic_load(&connects), atomic_load(&disconnects));
        info = mallinfo2();
        if (round == FIRST) {
            descriptors = entries("/proc/self/fd");
            threads = entries("/proc/self/task");
            heap = info.uordblks + info.hblkhd;
        }
        if (round == ROUNDS - 1) {
            CHECK_EQUAL(entries("/proc/self/fd"), descriptors);
            CHECK_EQUAL(entries("/proc/self/task"), threads);
            CHECK(info.uordblks + info.hblkhd < heap + HEAP_BOUND);
        }
    }
    CHECK(atomic_load(&connects) >= ROUNDS * GUESTS * 3 / 4);
}

static int prepare(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); /* of OpenSSL's own writes */
    certificates_open();
    certificates_make(&(struct certificate){
        .name = "many", .names = "IP:127.0.0.1", .from_day = -1});
    trusting = line_context();
    return 0;
}

static int finish(void **state)
{
    (void)state;
    SSL_CTX_free(trusting);
    certificates_close();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_left),
    };

    scarce_install();
    return cmocka_run_group_tests(tests, prepare, finish);
}
