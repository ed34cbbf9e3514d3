/*
 * Goal: what TLS takes of memory is in the accounts, within a tenth of what the
 * allocator has given, in whatever state its connections are: to the byte where
 * the program has asked for it (peal_tls_count_memory), estimated elsewhere.
 * The budget goes by it. And buffers are given back when they are empty.
 *
 * Method: clients of both versions in a process of their own, OpenSSL's, are
 * brought into each state and kept there; the allocator's account of this
 * process, before and after. All of it once in each way, again in processes of
 * their own, because for either OpenSSL must not have been used.
 */
#include "support/suite.h"

#include "support/certificates.h"
#include "support/host.h"
#include "support/link.h"
#include "support/peer.h"
#include "support/tcp.h"

#include <malloc.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLIENTS 100 /* of a kind */
#define MESSAGE_BYTES 16000

/* --- The crowd -------------------------------------------------------------
 */

enum situation {
    CONNECTED, /* nothing was said */
    GREETED,   /* the server waits for the rest of the handshake */
    SECURED,   /* nothing was said since */
    ECHOED,    /* a message of 16 KB went there and back */
    HEADED,    /* of such a message the first bytes were sent: 5, a record's
                  head (RFC 8446, 5.1) */
    PARTIAL    /* half of it was */
};

/* What the crowd is asked for. `count` 0: that all leave. */
struct order {
    enum situation situation;
    int version;
    int count;
    bool has_certificate;
    char address[PEAL_ADDRESS_MAX];
};

struct client {
    struct peer peer;
    SSL *ssl;
    BIO *out; /* what it has to say and has not sent */
};

static void send_some(struct client *client, size_t size)
{
    char *data;
    size_t there = (size_t)BIO_get_mem_data(client->out, &data);

    peer_send(&client->peer, data, size < there ? size : there);
    (void)BIO_reset(client->out);
}

/* After a call that has returned `rc`: whether it is to be made again. */
static bool goes_on(struct client *client, int rc)
{
    bool is_done = rc == 1;

    CHECK(is_done || SSL_get_error(client->ssl, rc) == SSL_ERROR_WANT_READ);
    send_some(client, SIZE_MAX);
    CHECK(is_done ||
          peer_has_input(&client->peer, (int)check_patience_ms()));
    return !is_done;
}

static void say(struct client *client, enum situation situation)
{
    static char message[MESSAGE_BYTES];
    static char frame[MESSAGE_BYTES + 64];
    static char echo[sizeof frame];
    size_t size =
        tcp_make(frame, TCP_BINARY_FRAME, NULL, message, sizeof message);
    size_t got = 0;
    size_t part;

    CHECK_EQUAL(SSL_write_ex(client->ssl, frame, size, &part), 1);
    send_some(client, situation == HEADED    ? 5
                      : situation == PARTIAL ? size / 2
                                             : SIZE_MAX);
    while (situation == ECHOED && got < size) {
        while (goes_on(client, SSL_read_ex(client->ssl, echo + got, size - got,
                                           &part))) {
        }
        got += part;
    }
}

static void enter(struct client *client, SSL_CTX *context,
                  const struct order *order)
{
    peer_dial(&client->peer, order->address);
    client->ssl = SSL_new(context);
    client->out = BIO_new(BIO_s_mem());
    SSL_set0_rbio(client->ssl, BIO_new_socket(client->peer.fd, BIO_NOCLOSE));
    SSL_set0_wbio(client->ssl, client->out);
    if (order->situation == CONNECTED) {
        return;
    }
    while (goes_on(client, SSL_connect(client->ssl)) &&
           order->situation != GREETED) {
    }
    if (order->situation >= ECHOED) {
        say(client, order->situation);
    }
}

static SSL_CTX *make_context(const struct order *order)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_min_proto_version(context, order->version);
    SSL_CTX_set_max_proto_version(context, order->version);
    if (order->has_certificate) {
        CHECK_EQUAL(SSL_CTX_use_certificate_file(
                        context, certificates_path("client.crt"),
                        SSL_FILETYPE_PEM),
                    1);
        CHECK_EQUAL(SSL_CTX_use_PrivateKey_file(
                        context, certificates_path("client.key"),
                        SSL_FILETYPE_PEM),
                    1);
    }
    return context;
}

static void leave(struct client *client)
{
    SSL_free(client->ssl);
    peer_close(&client->peer);
}

/* Does what comes through the socket, until its end. */
static _Noreturn void be_crowd(int socket)
{
    static struct client clients[32 * CLIENTS];
    struct order order;
    int count = 0;

    while (read(socket, &order, sizeof order) == sizeof order) {
        SSL_CTX *context = make_context(&order);

        while (order.count == 0 && count > 0) {
            leave(&clients[--count]);
        }
        for (int i = 0; i < order.count; i++) {
            CHECK(count < (int)ARRAY_SIZE(clients));
            enter(&clients[count++], context, &order);
        }
        SSL_CTX_free(context);
        CHECK_EQUAL(write(socket, "", 1), 1);
    }
    exit(0);
}

static int crowd = -1; /* a socket to it */
static pid_t crowd_pid;

static void start_crowd(void)
{
    int pair[2];

    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    crowd_pid = fork();
    CHECK(crowd_pid >= 0);
    if (crowd_pid == 0) {
        close(pair[0]);
        be_crowd(pair[1]);
    }
    close(pair[1]);
    crowd = pair[0];
}

static void end_crowd(void)
{
    int status;

    close(crowd);
    CHECK_EQUAL(waitpid(crowd_pid, &status, 0), crowd_pid);
    CHECK_EQUAL(status, 0);
}

static void ask_crowd(const struct order *order)
{
    char done;

    CHECK_EQUAL(write(crowd, order, sizeof *order), sizeof *order);
    CHECK_EQUAL(read(crowd, &done, 1), 1);
}

/* --- The server ------------------------------------------------------------
 */

static struct host host;

static void on_any(struct peal_client *from, const struct peal_event *event,
                   void *user)
{
    (void)user;
    peal_client_emit(from, event);
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on_any(server, on_any, NULL), 0);
}

static void start_with(enum peal_dialect dialect)
{
    struct peal_tls_options options = {
        .size = sizeof options,
        .certificate_file = certificates_path("server.crt"),
        .key_file = certificates_path("server.key"),
        .verify = PEAL_TLS_VERIFY_OPTIONAL,
        .ca_file = certificates_path("root.crt"),
    };
    struct peal_server_options server = {
        .dialect = dialect,
        .handshake_timeout_ms = PEAL_OFF,
        .ping_interval_ms = PEAL_OFF,
    };
    char why[PEAL_TLS_ERROR_SIZE];

    CHECK_EQUAL(peal_tls_new(&server.tls, &options, why, sizeof why), 0);
    host_start(&host, &server, setup);
    peal_tls_free(server.tls);
}

static int start_raw(void **state)
{
    (void)state;
    start_with(PEAL_DIALECT_RAW);
    return 0;
}

static int start_peal(void **state)
{
    (void)state;
    start_with(PEAL_DIALECT_PEAL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    host_stop(&host);
    return 0;
}

/* --- Accounts --------------------------------------------------------------
 */

static int64_t given(void)
{
    struct mallinfo2 info = mallinfo2();

    return (int64_t)(info.uordblks + info.hblkhd);
}

static int64_t used(void)
{
    return (int64_t)host_stats(&host).memory_used_bytes;
}

static bool agree(int64_t given_bytes, int64_t used_bytes)
{
    return llabs(given_bytes - used_bytes) <= given_bytes / 10;
}

static const struct {
    const char *name;
    enum situation situation;
    bool has_certificate;
    int bytes_min; /* what one has of the allocator, about */
    int bytes_max;
} kinds[] = {
    {"connected", CONNECTED, false, 7000, 11000},
    {"greeted", GREETED, false, 20000, 46000},
    {"secured", SECURED, false, 10000, 16000},
    {"with a certificate", SECURED, true, 12000, 22000},
    {"echoed", ECHOED, false, 10000, 16000},
    {"at a message", HEADED, false, 26000, 34000},
    {"in a message", PARTIAL, false, 26000, 34000},
};

/* Each kind once, so that what is made once is made. */
static void warm_up(struct order *order)
{
    for (size_t i = 0; i < 2 * ARRAY_SIZE(kinds); i++) {
        order->situation = kinds[i / 2].situation;
        order->has_certificate = kinds[i / 2].has_certificate;
        order->version = i % 2 == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
        order->count = 1;
        ask_crowd(order);
    }
    order->count = 0;
    ask_crowd(order);
    host_await_empty(&host);
}

static void accounts_agree_with_the_allocator(void **state)
{
    struct order order = {.count = 0};
    uint64_t connections = 0;
    int64_t given_first;
    int64_t used_first;
    bool is_counted;

    (void)state;
    snprintf(order.address, sizeof order.address, "%s", host.tcp);
    warm_up(&order);
    given_first = given();
    used_first = used();
    is_counted = given_first > 0; /* sanitizers have allocators of their own */
    for (size_t i = 0; i < 2 * ARRAY_SIZE(kinds); i++) {
        int64_t given_before = given();
        int64_t used_before = used();
        int64_t given_min = (int64_t)kinds[i / 2].bytes_min * CLIENTS;
        int64_t given_max = (int64_t)kinds[i / 2].bytes_max * CLIENTS;

        order.situation = kinds[i / 2].situation;
        order.has_certificate = kinds[i / 2].has_certificate;
        order.version = i % 2 == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
        order.count = CLIENTS;
        ask_crowd(&order);
        connections += CLIENTS;
        CHECK_SOON(host_stats(&host).connections == connections);
        CHECK_SOON(!is_counted || given() - given_before > given_min);
        print_message("TLS 1.%d, %s: allocator %lld each, accounts %lld\n",
                      i % 2 == 0 ? 2 : 3, kinds[i / 2].name,
                      (long long)(given() - given_before) / CLIENTS,
                      (long long)(used() - used_before) / CLIENTS);
        CHECK_SOON(!is_counted ||
                   agree(given() - given_before, used() - used_before));
        CHECK(given() - given_before < given_max);
    }
    if (is_counted) {
        CHECK(agree(given() - given_first, used() - used_first));
    }
    order.count = 0;
    ask_crowd(&order);
    host_await_empty(&host);
    CHECK_SOON(llabs(used() - used_first) < 200 * 1000);
}

/* --- The budget -------------------------------------------------------------
 */

static void open_clients(enum situation situation, int count)
{
    struct order order = {
        .situation = situation,
        .version = TLS1_3_VERSION,
        .count = count,
    };

    snprintf(order.address, sizeof order.address, "%s", host.tcp);
    ask_crowd(&order);
}

/* Lowers the budget so that some must go, and waits until there is enough. */
static void take_away(int64_t bytes)
{
    int64_t budget = used() - bytes;

    host_set_budget(&host, (uint64_t)budget);
    CHECK_SOON(used() <= budget);
    host_set_budget(&host, 0);
}

static void clients_with_tls_cost_what_it_takes(void **state)
{
    enum { SHAKING = 20, IDLE = 40 };
    struct order none = {.version = TLS1_3_VERSION};
    struct peal_server_stats stats;
    int64_t none_bytes = used();
    int64_t idle_bytes;    /* of a client */
    int64_t shaking_bytes; /* of a handshake */

    (void)state;
    open_clients(SECURED, IDLE);
    CHECK_SOON(host_stats(&host).clients == IDLE);
    idle_bytes = (used() - none_bytes) / IDLE;
    open_clients(GREETED, SHAKING);
    CHECK_SOON(host_stats(&host).tls_handshaking == SHAKING);
    shaking_bytes = (used() - none_bytes - IDLE * idle_bytes) / SHAKING;

    /* A handshake costs three times what a client does, so they go first. */
    take_away(SHAKING / 2 * shaking_bytes);
    stats = host_stats(&host);
    CHECK_EQUAL(stats.closed_memory, 0);
    CHECK(stats.refused_memory >= SHAKING / 2 - 1);
    CHECK(stats.refused_memory <= SHAKING / 2 + 1);
    take_away((SHAKING - (int64_t)stats.refused_memory) * shaking_bytes +
              IDLE / 4 * idle_bytes);
    stats = host_stats(&host);
    CHECK_EQUAL(stats.refused_memory, SHAKING);
    CHECK(stats.closed_memory >= IDLE / 4 - 2);
    CHECK(stats.closed_memory <= IDLE / 4 + 2);
    CHECK_EQUAL(stats.clients, IDLE - stats.closed_memory);
    ask_crowd(&none);
    host_await_empty(&host);
}

/* --- Links -----------------------------------------------------------------
 */

static void links_are_counted(void **state)
{
    static struct peal_link *links[CLIENTS];
    struct peal_tls_client_options options = {
        .size = sizeof options,
        .ca_file = certificates_path("root.crt"),
    };
    struct link_notes notes = {0};
    struct peal_link_options wish;
    struct peal_loop *loop;
    struct peal_tls *tls;
    char url[160];
    char why[PEAL_TLS_ERROR_SIZE];
    int64_t given_before;
    int64_t used_before;

    (void)state;
    CHECK_EQUAL(peal_tls_client_new(&tls, &options, why, sizeof why), 0);
    CHECK_EQUAL(peal_loop_new(&loop,
                              &(struct peal_loop_options){
                                  .size = sizeof(struct peal_loop_options)}),
                0);
    snprintf(url, sizeof url, "tls://localhost%s", strrchr(host.tcp, ':'));
    wish = link_test_options(url, &notes);
    wish.tls = tls;
    wish.ping_interval_ms = PEAL_OFF;
    given_before = given();
    used_before = used();
    for (int i = 0; i < CLIENTS; i++) {
        CHECK_EQUAL(peal_link_new(&links[i], loop, &wish), 0);
        CHECK_EQUAL(peal_link_open(links[i]), 0);
        LINK_STEP_UNTIL(loop, notes.connects > i);
        if (i == 0) { /* the rest of what is made once */
            given_before = given();
            used_before = used();
        }
    }
    LINK_STEP_UNTIL(loop, host_stats(&host).clients == CLIENTS);
    print_message("a link and its client: allocator %lld each, accounts %lld\n",
                  (long long)(given() - given_before) / (CLIENTS - 1),
                  (long long)(used() - used_before) / (CLIENTS - 1));
    if (given_before > 0) {
        CHECK(given() - given_before > 30000 * (CLIENTS - 1));
        CHECK(agree(given() - given_before, used() - used_before));
    }
    for (int i = 0; i < CLIENTS; i++) {
        peal_link_free(links[i]);
    }
    peal_loop_free(loop);
    peal_tls_free(tls);
    host_await_empty(&host);
}

/* --- Both ways -------------------------------------------------------------
 */

static int run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(accounts_agree_with_the_allocator,
                                        start_raw, stop),
        cmocka_unit_test_setup_teardown(clients_with_tls_cost_what_it_takes,
                                        start_raw, stop),
        cmocka_unit_test_setup_teardown(links_are_counted, start_peal, stop),
    };
    int failed;

    start_crowd();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    end_crowd();
    return failed;
}

static int run_apart(bool is_counted)
{
    int status;
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        if (is_counted) {
            CHECK_EQUAL(peal_tls_count_memory(), 0);
            CHECK_EQUAL(peal_tls_count_memory(), 0);
        }
        exit(run());
    }
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    return status;
}

/* By a process of its own, so that OpenSSL is not used in this one. */
static void make_certificates(void)
{
    const struct certificate all[] = {
        {.name = "root", .is_authority = true},
        {.name = "server", .names = "DNS:localhost", .issuer = "root"},
        {.name = "client", .issuer = "root"},
    };
    int status;
    pid_t pid;

    certificates_open();
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
            certificates_make(&all[i]);
        }
        exit(0);
    }
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    CHECK_EQUAL(status, 0);
}

int main(void)
{
    int failed = 0;

    signal(SIGPIPE, SIG_IGN);
    make_certificates();
    failed |= run_apart(true);
    failed |= run_apart(false);
    SSL_CTX_free(SSL_CTX_new(TLS_method()));
    CHECK_EQUAL(peal_tls_count_memory(), PEAL_ESTATE); /* it is too late */
    certificates_close();
    return failed != 0;
}
