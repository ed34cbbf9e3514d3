/*
 * Goal: as out_of_memory_is_survived.c, for what that session leaves out: hooks
 * and middleware that decide later, rates, HTTP handlers, compression, TLS,
 * connections handed over, options that change while the server runs. No failed
 * allocation crashes, leaks or hangs, and whoever asked is answered, refused or
 * closed.
 *
 * Method: a short session for each feature is run again and again; in each run
 * the next allocation fails, until one has passed without a failure. After each
 * the same session must pass on the same server with memory back.
 */
#include "support/suite.h"

#include "support/certificates.h"
#include "support/guest.h"
#include "support/handlers.h"
#include "support/scarce.h"

#include <peal/http.h>
#include <peal/policy.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Runs of a session: a test that never ends is none. */
#define RUNS_MAX 2000

/* --- What works and what does not ---------------------------------------- */

/* Counts what has not worked, and says what it was if nothing may fail. */
static int failures;

static void expect_good(bool is_good, const char *what)
{
    if (!is_good) {
        failures++;
        if (scarce_is_plenty()) {
            fprintf(stderr, "with memory for all, this failed: %s\n", what);
        }
    }
}

static void expect_done(int rc, const char *what)
{
    CHECK(rc == 0 || rc == PEAL_ENOMEM || rc == PEAL_EGONE);
    expect_good(rc == 0, what);
}

/* --- What all sessions have ---------------------------------------------- */

struct session {
    const char *name;
    struct peal_server_options options;
    int (*set_up)(struct peal_server *server);
    void (*visit)(struct peal_server *server);
    long allocations_min; /* fewer: it was not this that was tested */
};

static _Atomic int connects;
static _Atomic int disconnects;

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    (void)client;
    (void)connect;
    (void)user;
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

/* --- Hooks and middleware ------------------------------------------------ */

static struct peal_admission admission;
static struct peal_ticket ticket;
static _Atomic bool is_admission_due;
static _Atomic bool is_ticket_due;

static enum peal_verdict later_at_the_door(const struct peal_connect *connect,
                                           struct peal_admission due,
                                           struct peal_denial *denial,
                                           void *user)
{
    (void)connect;
    (void)user;
    if (peal_admission_set(due, "key", "value") < 0) {
        denial->status = 503;
        denial->code = 1013;
        return PEAL_REFUSE;
    }
    admission = due;
    atomic_store(&is_admission_due, true);
    return PEAL_LATER;
}

static enum peal_verdict before_message(struct peal_client *client,
                                        const struct peal_event *event,
                                        struct peal_failure *failure,
                                        void *user)
{
    (void)client;
    (void)event;
    (void)failure;
    (void)user;
    return PEAL_ALLOW;
}

static enum peal_verdict limit_message(struct peal_client *client,
                                       const struct peal_event *event,
                                       uint32_t cost, struct peal_ticket due,
                                       void *user)
{
    (void)client;
    (void)cost;
    (void)user;
    if (!peal_slice_equal(event->name, peal_slice("echo"))) {
        return PEAL_ALLOW;
    }
    ticket = due;
    atomic_store(&is_ticket_due, true);
    return PEAL_LATER;
}

static int before_broadcast(struct peal_server *server,
                            struct peal_client *from,
                            const struct peal_event *event,
                            const struct peal_client_ref *except,
                            size_t except_count, void *user)
{
    (void)server;
    (void)from;
    (void)event;
    (void)except;
    (void)except_count;
    (void)user;
    return 0;
}

static int before_emit(struct peal_client *client,
                       const struct peal_event *event, void *user)
{
    (void)client;
    (void)event;
    (void)user;
    return 0;
}

static int allow(struct peal_client *client, struct peal_slice room, void *user)
{
    (void)client;
    (void)room;
    (void)user;
    return 0;
}

static long make_id(const struct peal_connect *connect, char *id, void *user)
{
    static _Atomic int last;

    (void)connect;
    (void)user;
    return snprintf(id, PEAL_ID_MAX, "guest-%d", atomic_fetch_add(&last, 1));
}

static const struct peal_hooks hooks = {
    .size = sizeof hooks,
    .before_message = before_message,
    .limit_message = limit_message,
    .before_broadcast = before_broadcast,
    .before_emit = before_emit,
    .on_leave = allow,
};

/* Does what is due while the guest waits; the loop is another thread. */
static void *decide(void *over)
{
    while (!atomic_load((_Atomic bool *)over)) {
        int rc = 0;

        if (atomic_exchange(&is_admission_due, false)) {
            do {
                rc = peal_admission_decide(admission, PEAL_ALLOW, NULL);
            } while (rc == PEAL_ENOMEM);
        }
        CHECK(rc == 0 || rc == PEAL_EGONE);
        if (atomic_exchange(&is_ticket_due, false)) {
            do {
                rc = peal_ticket_decide(ticket, PEAL_ALLOW);
            } while (rc == PEAL_ENOMEM);
        }
        CHECK(rc == 0 || rc == PEAL_EGONE);
        check_breathe();
    }
    return NULL;
}

static int set_up_hooks(struct peal_server *server)
{
    return peal_server_use(server, later_at_the_door, NULL);
}

static void visit_with_hooks(struct peal_server *server)
{
    _Atomic bool is_over = false;
    struct peal_event event = peal_json("hello", "1");
    struct peal_client_ref first;
    pthread_t thread;

    CHECK_EQUAL(pthread_create(&thread, NULL, decide, &is_over), 0);
    for (int i = 0; i < 2; i++) {
        struct guest guest;

        guest_open(&guest, server, i == 1, NULL, "");
        expect_good(guest.is_in, "come in");
        expect_good(guest_join(&guest) == GUEST_GOOD, "join");
        expect_good(guest_ask(&guest, "echo", "\"event\":\"echo\"") ==
                        GUEST_GOOD,
                    "echo");
        if (guest.is_in && peal_server_clients(server, &first, 1) == 1) {
            expect_done(peal_server_emit(server, first, &event), "emit");
        }
        expect_good(guest_ask(&guest, "leave",
                              "\"event\":\"peal:leave\",\"data\":{\"room\":"
                              "\"room\"}") == GUEST_GOOD,
                    "leave");
        line_close(&guest.line, false);
    }
    atomic_store(&is_over, true);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
}

/* --- Rates --------------------------------------------------------------- */

static void visit_with_rates(struct peal_server *server)
{
    const struct peal_rate rate = {.capacity = 50};
    struct peal_client_ref first;
    struct guest guest;

    expect_done(peal_server_set_event_rate(server, "echo", &rate),
                "event rate");
    guest_open(&guest, server, false, NULL, "");
    expect_good(guest.is_in, "come in");
    expect_good(guest_ask(&guest, "1", "\"event\":\"echo\"") == GUEST_GOOD,
                "echo");
    expect_done(peal_server_set_event_rate(server, "else", &rate), "another");
    expect_good(guest_ask(&guest, "2", "\"event\":\"echo\"") == GUEST_GOOD,
                "echo");
    if (guest.is_in && peal_server_clients(server, &first, 1) == 1) {
        expect_done(peal_server_set_rate(server, first, &rate), "own rate");
    }
    expect_good(guest_ask(&guest, "3", "\"event\":\"echo\"") == GUEST_GOOD,
                "echo");
    expect_done(peal_server_set_event_rate(server, "echo", NULL), "no rate");
    expect_good(guest_ask(&guest, "4", "\"event\":\"peal:ping\"") == GUEST_GOOD,
                "ping");
    line_close(&guest.line, false);
}

/* --- HTTP ---------------------------------------------------------------- */

static int respond(struct peal_http_reply reply, struct peal_slice body)
{
    const struct peal_http_field field = {"X-Kind", "test"};
    struct peal_http_response response = {
        .size = sizeof response,
        .type = "text/plain",
        .body = body,
        .fields = &field,
        .field_count = 1,
    };

    return peal_http_respond(reply, &response);
}

static void on_hook(const struct peal_http_request *request,
                    struct peal_http_reply reply, void *user)
{
    (void)user;
    if (respond(reply, request->body) == PEAL_ENOMEM) {
        CHECK_EQUAL(respond(reply, request->body), 0);
    }
}

static struct peal_http_reply owed;
static _Atomic bool is_owed;

static void on_later(const struct peal_http_request *request,
                     struct peal_http_reply reply, void *user)
{
    (void)request;
    (void)user;
    owed = reply;
    atomic_store(&is_owed, true);
}

static int set_up_http(struct peal_server *server)
{
    int rc = peal_server_http(server, "POST", "/hook/:name", on_hook, NULL);

    return rc < 0 ? rc
                  : peal_server_http(server, "GET", "/later", on_later, NULL);
}

/* Writes a request in two pieces, and waits for an answer or the end. */
static void visit_page(struct peal_server *server, const char *request,
                       const char *expected)
{
    uint64_t until_ms = check_now_ms() + check_patience_ms();
    struct guest guest = {.is_in = false};
    size_t half = strlen(request) - 4;
    bool is_open = true;

    line_open(&guest.line, 1, guest_port(server, false), false, NULL, 0);
    atomic_store(&is_owed, false);
    line_write(&guest.line, request, half);
    is_open = guest_step(&guest, until_ms);
    line_write(&guest.line, request + half, 4);
    while (is_open && !guest_holds(&guest, expected) &&
           !guest_holds(&guest, "HTTP/1.1 5")) {
        is_open = guest_step(&guest, until_ms);
        if (atomic_exchange(&is_owed, false)) {
            int rc;

            do {
                rc = respond(owed, peal_slice("=later"));
            } while (rc == PEAL_ENOMEM);
            CHECK(rc == 0 || rc == PEAL_EGONE);
        }
    }
    expect_good(guest_holds(&guest, expected), expected);
    line_close(&guest.line, false);
}

static void visit_pages(struct peal_server *server)
{
    visit_page(server,
               "POST /hook/a HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n"
               "=length",
               "=length");
    visit_page(server,
               "POST /hook/b HTTP/1.1\r\nHost: x\r\n"
               "Transfer-Encoding: chunked\r\n\r\n"
               "5\r\n=chun\r\n3\r\nked\r\n0\r\n\r\n",
               "=chunked");
    visit_page(server, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n", "=later");
}

/* --- Proxies ------------------------------------------------------------- */

static const char *const here[] = {"127.0.0.1", NULL};

/* What the header tells is kept, until its client is in and after. */
static void visit_by_proxy(struct peal_server *server)
{
    visit_page(server,
               "PROXY TCP4 192.0.2.1 192.0.2.2 3 4\r\n"
               "POST /hook/a HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n"
               "=length",
               "=length");
    visit_page(server,
               "PROXY TCP6 2001:db8::1 ::1 3 4\r\n"
               "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
               "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
               "HTTP/1.1 101");
}

/* --- Compression --------------------------------------------------------- */

static const struct peal_deflate_options with_takeover = {
    .size = sizeof with_takeover,
    .enabled = true,
    .context_takeover = true,
    .threshold_bytes = 1,
};

static void visit_with_compression(struct peal_server *server)
{
    static const char *const offers[] = {
        "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; "
        "server_no_context_takeover; client_no_context_takeover\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; "
        "server_no_context_takeover; server_max_window_bits=10\r\n"};
    struct peal_event event = peal_json("all", "\"xxxxxxxxxxxxxxxxxxxxxxx\"");
    struct guest guests[3];

    for (int i = 0; i < 3; i++) {
        guest_open(&guests[i], server, false, NULL, offers[i]);
        expect_good(guests[i].is_in && guests[i].line.is_deflated, "come in");
        expect_good(guest_join(&guests[i]) == GUEST_GOOD, "join");
    }
    expect_done(peal_server_room_emit(server, "room", &event, NULL, 0), "emit");
    for (int i = 0; i < 3; i++) {
        expect_good(
            guest_ask(&guests[i], "echo",
                      "\"event\":\"echo\",\"data\":\"abababababababab\"") ==
                GUEST_GOOD,
            "echo");
        line_close(&guests[i].line, false);
    }
}

/* --- TLS ----------------------------------------------------------------- */

static struct peal_tls *tls;
static SSL_CTX *trusting;

static void visit_with_tls(struct peal_server *server)
{
    for (int i = 0; i < 2; i++) {
        struct guest guest;

        guest_open(&guest, server, i == 1, trusting, "");
        expect_good(guest.is_in, "come in");
        expect_good(guest_ask(&guest, "echo", "\"event\":\"echo\"") ==
                        GUEST_GOOD,
                    "echo");
        expect_done(peal_tls_reload(tls, NULL, 0), "reload");
        expect_good(guest_ask(&guest, "again", "\"event\":\"echo\"") ==
                        GUEST_GOOD,
                    "echo");
        line_close(&guest.line, false);
    }
}

static int make_tls(void)
{
    const struct peal_tls_options options = {
        .size = sizeof options,
        .certificate_file = certificates_path("scarce.crt"),
        .key_file = certificates_path("scarce.key"),
    };

    tls = NULL;
    return peal_tls_new(&tls, &options, NULL, 0);
}

/* --- Handed over --------------------------------------------------------- */

static void visit_by_adoption(struct peal_server *server)
{
    static const char head[] =
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct peal_adopt adopt = {
        .size = sizeof adopt, .head = head, .head_size = sizeof head - 1};
    struct guest guest = {.is_in = false};
    int ends[2];
    int rc;

    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    adopt.fd = ends[1];
    rc = peal_server_adopt(server, &adopt);
    expect_done(rc, "adopt");
    if (rc < 0) {
        close(ends[1]); /* it is still ours */
    }
    line_take(&guest.line, ends[0]);
    guest_enter(&guest);
    expect_good(guest.is_in, "come in");
    expect_good(guest_ask(&guest, "echo", "\"event\":\"echo\"") == GUEST_GOOD,
                "echo");
    line_close(&guest.line, false);
}

/* --- Options that change ------------------------------------------------- */

static void visit_with_updates(struct peal_server *server)
{
    const char *const origins[] = {"https://example.com", "", NULL};
    const char *const proxies[] = {"10.0.0.0/8", "::1", NULL};
    const char *const protocols[] = {"peal", NULL};
    struct peal_server_options options = {.size = sizeof options};
    struct guest guest;
    int rc;

    guest_open(&guest, server, false, NULL, "");
    expect_good(guest.is_in, "come in");
    for (uint32_t i = 0; i < 2; i++) {
        CHECK_EQUAL(peal_server_config(server, &options), 0);
        options.clients_max = 100 + i;
        options.origins = i == 0 ? origins : NULL;
        options.trusted_proxies = i == 0 ? proxies : NULL;
        options.protocols = protocols;
        rc = peal_server_update(server, &options, NULL);
        expect_done(rc, "update");
        CHECK_EQUAL(peal_server_config(server, &options), 0);
        CHECK(rc < 0 || options.clients_max == 100 + i);
        expect_good(guest_ask(&guest, "echo", "\"event\":\"echo\"") ==
                        GUEST_GOOD,
                    "echo");
    }
    line_close(&guest.line, false);
}

/* --- Again and again ----------------------------------------------------- */

static int begin(const struct session *session, struct peal_server **server)
{
    struct peal_server_options options = session->options;
    int rc = 0;

    options.size = sizeof options;
    options.loops = 1;
    options.ws_listen = "127.0.0.1:0";
    options.tcp_listen = "127.0.0.1:0";
    options.clients_may_join = true;
    options.on_connect = on_connect;
    options.on_disconnect = on_disconnect;
    *server = NULL;
    if (session->visit == visit_with_tls) {
        rc = make_tls();
        options.tls = tls;
    }
    if (rc == 0) {
        rc = peal_server_new(server, &options);
    }
    if (rc == 0) {
        rc = peal_server_on_request(*server, "echo", handlers_echo, NULL);
    }
    if (rc == 0 && session->set_up != NULL) {
        rc = session->set_up(*server);
    }
    if (rc == 0) {
        rc = peal_server_start(*server);
    }
    return rc;
}

static void end(struct peal_server *server)
{
    peal_server_free(server);
    peal_tls_free(tls);
    tls = NULL;
    CHECK_EQUAL(scarce_live(), 0);
}

static void await_nobody(struct peal_server *server)
{
    struct peal_server_stats stats = {.size = sizeof stats};

    CHECK_SOON(peal_server_stats(server, &stats) == 0 &&
               stats.connections == 0);
}

/* Returns whether an allocation has failed. */
static bool run(const struct session *session, long at)
{
    struct peal_server *server;
    bool has_failed;
    int rc;

    failures = 0;
    scarce_arm(at);
    rc = begin(session, &server);
    if (rc < 0) {
        CHECK_EQUAL(rc, PEAL_ENOMEM);
        end(server);
        return true;
    }
    session->visit(server);
    has_failed = scarce_has_failed();
    CHECK(failures == 0 || has_failed);
    await_nobody(server);

    /* Memory is back, and so is the server. */
    scarce_arm(0);
    failures = 0;
    session->visit(server);
    CHECK_EQUAL(failures, 0);
    await_nobody(server);
    peal_server_stop(server);
    CHECK_EQUAL(peal_server_wait(server), 0);
    CHECK_EQUAL(atomic_load(&connects), atomic_load(&disconnects));
    end(server);
    return has_failed;
}

static void run_all(void **state)
{
    const struct session *session = *state;
    long at = 1;

    while (run(session, at)) {
        at++;
        CHECK(at < RUNS_MAX);
    }
    CHECK(at > session->allocations_min);
}

static int prepare(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); /* of OpenSSL's own writes */
    certificates_open();
    certificates_make(&(struct certificate){
        .name = "scarce", .names = "IP:127.0.0.1", .from_day = -1});
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
    static struct session sessions[] = {
        {"hooks and middleware",
         {.hooks = &hooks, .on_join = allow, .make_id = make_id},
         set_up_hooks,
         visit_with_hooks,
         50},
        {"rates",
         {.client_rate = {.capacity = 1000},
          .address_rate = {.capacity = 1000}},
         NULL,
         visit_with_rates,
         35},
        {"HTTP handlers", {.size = 0}, set_up_http, visit_pages, 35},
        {"proxies",
         {.proxy_protocol = PEAL_PROXY_REQUIRED, .trusted_proxies = here},
         set_up_http,
         visit_by_proxy,
         35},
        {"compression",
         {.deflate = &with_takeover},
         NULL,
         visit_with_compression,
         60},
        {"TLS", {.size = 0}, NULL, visit_with_tls, 30},
        {"adoption", {.size = 0}, NULL, visit_by_adoption, 22},
        {"updates", {.size = 0}, NULL, visit_with_updates, 25},
    };
    struct CMUnitTest tests[ARRAY_SIZE(sessions)];

    for (size_t i = 0; i < ARRAY_SIZE(sessions); i++) {
        tests[i] = (struct CMUnitTest){.name = sessions[i].name,
                                       .test_func = run_all,
                                       .initial_state = &sessions[i]};
    }
    scarce_install();
    return cmocka_run_group_tests(tests, prepare, finish);
}
