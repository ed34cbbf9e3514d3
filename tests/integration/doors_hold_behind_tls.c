/*
 * Goal: what guards the way in holds with TLS as it does without: one deadline
 * for all of it, bounds for each address before and after the handshake, and
 * refusals that say what is meant. Whoever ends a handshake ends nothing else.
 *
 * Method: connections that say nothing, say it late, or say it byte by byte. No
 * test measures how long anything takes: who came before is cut before.
 */
#include "support/suite.h"

#include <peal/policy.h>

#include "support/certificates.h"
#include "support/guest.h"
#include "support/host.h"
#include "support/member.h"
#include "support/tls.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const char *const here[] = {"127.0.0.1", NULL};

static struct host host;
static struct peal_tls *tls;
static SSL_CTX *context; /* of clients */

static int make_all(void **state)
{
    const struct certificate certificate = {
        .name = "main", .names = "DNS:localhost", .from_day = -1};

    (void)state;
    signal(SIGPIPE, SIG_IGN); /* of OpenSSL's own writes */
    certificates_open();
    certificates_make(&certificate);
    context = line_context();
    return 0;
}

static int remove_all(void **state)
{
    (void)state;
    SSL_CTX_free(context);
    certificates_close();
    return 0;
}

/* Puts everybody off whose path, or transport, is the one to wait. */
static enum peal_verdict ask(const struct peal_connect *connect,
                             struct peal_admission admission,
                             struct peal_denial *denial, void *user)
{
    (void)admission;
    (void)denial;
    (void)user;
    return peal_slice_equal(connect->path, peal_slice("/later")) ? PEAL_LATER
                                                                 : PEAL_ALLOW;
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_use(server, ask, NULL), 0);
}

static void begin(struct peal_server_options options)
{
    const struct peal_tls_options tls_options = {
        .size = sizeof tls_options,
        .certificate_file = certificates_path("main.crt"),
        .key_file = certificates_path("main.key"),
    };
    char why[PEAL_TLS_ERROR_SIZE] = "";

    CHECK_EQUAL(peal_tls_new(&tls, &tls_options, why, sizeof why), 0);
    options.tls = tls;
    host_start(&host, &options, setup);
}

static void end(void)
{
    host_await_empty(&host);
    host_stop(&host);
    peal_tls_free(tls);
}

/* --- One deadline --------------------------------------------------------- */

static void await_connections(uint64_t count)
{
    CHECK_SOON(host_stats(&host).connections == count);
}

/* Moves on until TLS is there; false: until the end. */
static bool secure(struct guest *guest)
{
    uint64_t until_ms = check_now_ms() + check_patience_ms();

    while (!SSL_is_init_finished(guest->line.ssl)) {
        if (!guest_step(guest, until_ms)) {
            return false;
        }
    }
    return true;
}

static void await_end(struct guest *guest)
{
    uint64_t until_ms = check_now_ms() + check_patience_ms();

    while (guest_step(guest, until_ms)) {
    }
    CHECK(check_now_ms() < until_ms);
    line_close(&guest->line, false);
}

enum step { THE_HEADER, THE_HANDSHAKE, THE_REQUEST };

static bool take(enum step step, struct guest *late)
{
    static const char header[] = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
    static const char request[] =
        "GET /later HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

    switch (step) {
    case THE_HEADER:
        line_write(&late->line, header, sizeof header - 1);
        break;
    case THE_HANDSHAKE:
        return secure(late);
    case THE_REQUEST:
        line_write(&late->line, request, sizeof request - 1);
        break;
    }
    line_move(&late->line);
    return !late->line.is_ended;
}

/*
 * One takes this step late, but in time, and is cut when its time is up all the
 * same: before somebody who came meanwhile, but before the step was taken.
 * False when this machine was too slow to have it in time.
 */
static bool has_one_deadline(enum step step, int way_in_ms)
{
    bool is_proxy = step == THE_HEADER;
    struct guest late = {.is_in = false};
    bool is_in_time = true;
    struct peer early;
    struct peer silent;

    begin((struct peal_server_options){
        .handshake_timeout_ms = (uint32_t)way_in_ms,
        .decision_timeout_ms = PEAL_OFF,
        .trusted_proxies = is_proxy ? here : NULL,
        .proxy_protocol = is_proxy ? PEAL_PROXY_REQUIRED : PEAL_PROXY_OFF,
    });
    line_open(&late.line, 1, guest_port(host.server, false), false,
              is_proxy ? NULL : context, 0);
    peer_dial(&early, host.ws);
    await_connections(2);
    if (step == THE_REQUEST) {
        is_in_time = take(THE_HANDSHAKE, &late);
    }
    (void)peer_has_input(&early, way_in_ms / 2);
    peer_dial(&silent, host.ws);
    CHECK_SOON(host_stats(&host).connections +
                   host_stats(&host).closed_handshake_timeout >=
               3);
    (void)peer_has_input(&early, way_in_ms / 4);
    is_in_time = is_in_time && take(step, &late) &&
                 host_stats(&host).closed_handshake_timeout == 0;
    peer_expect_end(&silent);
    CHECK(!is_in_time || host_stats(&host).closed_handshake_timeout == 3);
    peer_expect_end(&early);
    peer_close(&early);
    peer_close(&silent);
    await_end(&late);
    end();
    return is_in_time;
}

static void one_deadline_covers_it_all(void **state)
{
    (void)state;
    for (int step = THE_HEADER; step <= THE_REQUEST; step++) {
        int way_in_ms = 400;

        while (!has_one_deadline((enum step)step, way_in_ms)) {
            way_in_ms *= 2;
            CHECK(way_in_ms < (int)check_patience_ms());
        }
    }
}

/* Whoever goes on saying something, a byte at a time, has no longer either. */
static void bytes_buy_no_time(void **state)
{
    static const char beginnings[][32] = {
        "PROXY TCP4 ", "\x16\x03\x01\x10\x01\x01\x10\xfd\x03\x03",
        "GET / HTTP/1.1\r\nHost: "};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++) {
        uint64_t until_ms = check_now_ms() + check_patience_ms();
        struct peal_server_options options = {
            .handshake_timeout_ms = 150,
            .trusted_proxies = here,
            .proxy_protocol = i == 0 ? PEAL_PROXY_REQUIRED : PEAL_PROXY_OFF,
            .header_bytes_max = 1 << 20,
        };
        struct peer peer;

        if (i < 2) {
            begin(options);
        } else {
            host_start(&host, &options, setup);
        }
        peer_dial(&peer, host.ws);
        peer_send(&peer, beginnings[i], strlen(beginnings[i]));
        while (!peer_has_input(&peer, 5)) {
            CHECK(check_now_ms() < until_ms && "cut in time");
            (void)peer_send_now(&peer, "1", 1);
        }
        peer_expect_end(&peer);
        peer_close(&peer);
        CHECK_EQUAL(host_stats(&host).closed_handshake_timeout, 1);
        if (i < 2) {
            end();
        } else {
            host_await_empty(&host);
            host_stop(&host);
        }
    }
}

/* --- Handshakes that are ended -------------------------------------------- */

/* A client's first words, as they stand on the wire. Returns their size. */
static size_t make_hello(int version, char *out, size_t size)
{
    SSL_CTX *own = SSL_CTX_new(TLS_client_method());
    BIO *said = BIO_new(BIO_s_mem());
    SSL *ssl;
    int got;

    CHECK(own != NULL && said != NULL);
    CHECK(SSL_CTX_set_min_proto_version(own, version) == 1);
    CHECK(SSL_CTX_set_max_proto_version(own, version) == 1);
    ssl = SSL_new(own);
    CHECK(ssl != NULL);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), said);
    CHECK(SSL_connect(ssl) < 0);
    got = BIO_read(said, out, (int)size);
    CHECK(got > 0);
    SSL_free(ssl);
    SSL_CTX_free(own);
    return (size_t)got;
}

/* A close_notify in the clear, where the handshake should go on. */
static void end_a_handshake(int version, bool is_tcp, const char *header,
                            bool has_hello)
{
    static const char close_notify[] = "\x15\x03\x03\x00\x02\x01";
    char said[2048];
    size_t size = strlen(header);
    struct peer peer;

    memcpy(said, header, size);
    if (has_hello) {
        size += make_hello(version, said + size, sizeof said - size - 7);
    }
    memcpy(said + size, close_notify, 7);
    peer_dial(&peer, host_address(&host, is_tcp));
    (void)peer_send_if_open(&peer, said, size + 7);
    peer_drain(&peer);
    peer_close(&peer);
}

static void handshakes_may_be_ended(void **state)
{
    static const char proxied[] = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";

    (void)state;
    for (int i = 0; i < 16; i++) {
        bool is_proxy = (i & 8) != 0;
        struct tls_wish wish = {.name = "localhost",
                                .header = is_proxy ? proxied : NULL};
        struct tls_peer client;

        begin((struct peal_server_options){
            .trusted_proxies = is_proxy ? here : NULL,
            .proxy_protocol = is_proxy ? PEAL_PROXY_REQUIRED : PEAL_PROXY_OFF,
        });
        end_a_handshake((i & 1) != 0 ? TLS1_3_VERSION : TLS1_2_VERSION,
                        (i & 2) != 0, is_proxy ? proxied : "", (i & 4) != 0);
        CHECK_SOON(host_stats(&host).tls_failed == 1);
        CHECK(tls_dial(&client, host.tcp, &wish));
        CHECK_SOON(host_stats(&host).clients == 1);
        tls_hang_up(&client);
        end();
    }
}

/* --- Addresses ------------------------------------------------------------ */

static void handshakes_count_by_address(void **state)
{
    struct tls_wish wish = {.name = "localhost"};
    struct tls_peer secured;
    struct tls_peer client;
    struct peer silent;

    (void)state;
    begin((struct peal_server_options){.handshakes_per_address_max = 2});
    /* In the handshake, and behind it, but no client yet. */
    peer_dial(&silent, host.ws);
    CHECK(tls_dial(&secured, host.ws, &wish));
    await_connections(2);
    CHECK(!tls_dial(&client, host.tcp, &wish));
    tls_hang_up(&client);
    CHECK_EQUAL(host_stats(&host).refused_handshakes_per_address, 1);
    CHECK_EQUAL(host_stats(&host).tls_failed, 0);
    peer_close(&silent);
    await_connections(1);
    /* Over TCP a client is in when its handshake is done. */
    for (int i = 0; i < 2; i++) {
        CHECK(tls_dial(&client, host.tcp, &wish));
        CHECK_SOON(host_stats(&host).clients == 1);
        tls_hang_up(&client);
        CHECK_SOON(host_stats(&host).clients == 0);
    }
    tls_hang_up(&secured);
    end();
}

/* Asks for an upgrade over TLS, and reads the beginning of the answer. */
static void ask_securely(struct tls_peer *client, char *out, size_t size)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

    CHECK(tls_dial(client, host.ws, &(struct tls_wish){.name = "localhost"}));
    tls_write(client, request, sizeof request - 1);
    tls_read(client, out, size);
    out[size] = '\0';
}

static void clients_count_by_address(void **state)
{
    struct tls_wish wish = {.name = "localhost"};
    struct tls_peer first;
    struct tls_peer second;
    char goodbye[64] = "";
    char answer[16];

    (void)state;
    begin((struct peal_server_options){.clients_per_address_max = 1});
    ask_securely(&first, answer, 12);
    CHECK(strcmp(answer, "HTTP/1.1 101") == 0);
    ask_securely(&second, answer, 12);
    CHECK(strcmp(answer, "HTTP/1.1 429") == 0);
    tls_hang_up(&second);
    CHECK(tls_dial(&second, host.tcp, &wish));
    tls_read(&second, goodbye, 7); /* a frame's head */
    CHECK_EQUAL(goodbye[4], TCP_DISCONNECT_FRAME);
    tls_read(&second, goodbye, (size_t)(unsigned char)goodbye[3] - 7);
    CHECK(strstr(goodbye, "1013") != NULL);
    tls_expect_end(&second);
    tls_hang_up(&second);
    CHECK_EQUAL(host_stats(&host).refused_clients_per_address, 2);
    tls_hang_up(&first);
    CHECK_SOON(host_stats(&host).clients == 0);
    ask_securely(&second, answer, 12);
    CHECK(strcmp(answer, "HTTP/1.1 101") == 0);
    tls_hang_up(&second);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_deadline_covers_it_all),
        cmocka_unit_test(bytes_buy_no_time),
        cmocka_unit_test(handshakes_may_be_ended),
        cmocka_unit_test(handshakes_count_by_address),
        cmocka_unit_test(clients_count_by_address),
    };

    return cmocka_run_group_tests(tests, make_all, remove_all);
}
