/*
 * Goal: who may speak TLS with the server, in which ciphers, for how long a
 * session lasts, which certificates count, and which options are none.
 *
 * Method: OpenSSL as a client that offers one thing at a time, and looks at
 * what the server has chosen, asked for or refused; certificates made on the
 * spot.
 */
#define _GNU_SOURCE /* posix_openpt */
#include "support/suite.h"

#include "support/certificates.h"
#include "support/guest.h"
#include "support/host.h"
#include "support/peer.h"
#include "support/ws.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *in_folder(const char *name)
{
    return certificates_path(name);
}

static int make_all(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); /* of OpenSSL's own writes */
    certificates_open();
    certificates_make(&(struct certificate){
        .name = "main", .names = "DNS:localhost"});
    certificates_make(&(struct certificate){
        .name = "exact", .names = "DNS:a.example.com"});
    certificates_make(&(struct certificate){
        .name = "wild", .names = "DNS:*.example.com"});
    certificates_make(&(struct certificate){.name = "nameless"});
    certificates_make(&(struct certificate){
        .name = "client", .names = "DNS:client"});
    certificates_make(&(struct certificate){
        .name = "stranger", .names = "DNS:client"});
    certificates_make(&(struct certificate){.name = "wordy", .units = 10});
    return 0;
}

static int remove_all(void **state)
{
    (void)state;
    certificates_close();
    return 0;
}

/* --- The server ----------------------------------------------------------- */

static struct host host;
static struct peal_tls *tls;
static struct peal_tls_facts seen; /* of the client that came last */
static _Atomic int seen_count;

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    (void)client;
    (void)user;
    CHECK(connect->tls != NULL);
    seen = *connect->tls;
    atomic_fetch_add(&seen_count, 1);
}

static struct peal_tls_options plain_options(void)
{
    return (struct peal_tls_options){
        .size = sizeof(struct peal_tls_options),
        .certificate_file = in_folder("main.crt"),
        .key_file = in_folder("main.key"),
    };
}

static struct peal_tls *load(const struct peal_tls_options *options)
{
    char why[PEAL_TLS_ERROR_SIZE] = "";
    struct peal_tls *loaded = NULL;

    if (peal_tls_new(&loaded, options, why, sizeof why) < 0) {
        fprintf(stderr, "%s\n", why);
        CHECK(!"TLS options");
    }
    return loaded;
}

static void begin(const struct peal_tls_options *options)
{
    tls = load(options);
    host_start(&host,
               &(struct peal_server_options){
                   .tls = tls,
                   .dialect = PEAL_DIALECT_RAW,
                   .on_connect = on_connect,
               },
               NULL);
}

static void end(void)
{
    host_stop(&host);
    peal_tls_free(tls);
}

/* --- The client ----------------------------------------------------------- */

struct wish {
    int version;         /* the only one; 0: any */
    const char *name;    /* of the server */
    const char *ciphers; /* of TLS 1.2 */
    const char *identity;
    const char *alpn; /* with its length before it */
    bool is_ws;
};

static SSL_CTX *context_of(const struct wish *wish)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    char path[64];

    CHECK(context != NULL);
    if (wish->version != 0) {
        SSL_CTX_set_min_proto_version(context, wish->version);
        SSL_CTX_set_max_proto_version(context, wish->version);
    }
    if (wish->ciphers != NULL) {
        CHECK_EQUAL(SSL_CTX_set_cipher_list(context, wish->ciphers), 1);
    }
    if (wish->identity != NULL) {
        snprintf(path, sizeof path, "%s.crt", wish->identity);
        CHECK_EQUAL(SSL_CTX_use_certificate_file(context, in_folder(path),
                                                 SSL_FILETYPE_PEM),
                    1);
        snprintf(path, sizeof path, "%s.key", wish->identity);
        CHECK_EQUAL(SSL_CTX_use_PrivateKey_file(context, in_folder(path),
                                                SSL_FILETYPE_PEM),
                    1);
    }
    if (wish->alpn != NULL) {
        SSL_CTX_set_alpn_protos(context, (const unsigned char *)wish->alpn,
                                (unsigned)strlen(wish->alpn));
    }
    return context;
}

static void step(struct line *line)
{
    struct pollfd polled = {.fd = line->fd, .events = line_events(line)};

    poll(&polled, 1, 100);
    line_move(line);
}

/*
 * Connects over TCP, whose clients are in at once. Whether the server takes
 * the client: with TLS 1.3 it refuses after the client's handshake is done.
 */
static bool dial(struct line *line, struct wish wish)
{
    uint64_t until_ms = check_now_ms() + check_patience_ms();
    int before = atomic_load(&seen_count);
    SSL_CTX *context = context_of(&wish);

    line_open(line, 1, guest_port(host.server, !wish.is_ws), !wish.is_ws,
              context, 0);
    SSL_CTX_free(context); /* the line holds it */
    if (wish.name != NULL) {
        SSL_set_tlsext_host_name(line->ssl, wish.name);
    }
    while (!line->is_ended && atomic_load(&seen_count) == before) {
        if (wish.is_ws && SSL_is_init_finished(line->ssl)) {
            break;
        }
        CHECK(check_now_ms() < until_ms);
        step(line);
    }
    return !line->is_ended;
}

static bool works(struct wish wish)
{
    struct line line;
    bool is_good = dial(&line, wish);

    line_close(&line, false);
    return is_good;
}

/* --- Certificates by name ------------------------------------------------- */

static void expect_shown(const char *name, const char *expected)
{
    char text[64] = "";
    struct line line;
    X509 *certificate;

    CHECK(dial(&line, (struct wish){.name = name}));
    certificate = SSL_get1_peer_certificate(line.ssl);
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate),
                              NID_commonName, text, sizeof text);
    assert_string_equal(text, expected);
    X509_free(certificate);
    line_close(&line, false);
}

/* Whichever comes first; and names that are given stand for all others. */
static void exact_names_go_before_wildcards(void **state)
{
    static const char *const given[] = {"given.org", NULL};
    const struct peal_tls_identity exact = {in_folder("exact.crt"),
                                            in_folder("exact.key"), NULL};
    const struct peal_tls_identity wild = {in_folder("wild.crt"),
                                           in_folder("wild.key"), NULL};
    const struct peal_tls_identity other = {in_folder("client.crt"),
                                            in_folder("client.key"), given};
    const struct peal_tls_identity orders[][3] = {{exact, wild, other},
                                                  {other, wild, exact}};
    struct peal_tls_options options = plain_options();

    (void)state;
    options.identity_count = 3;
    for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
        options.identities = orders[i];
        begin(&options);
        expect_shown("a.example.com", "exact");
        expect_shown("b.example.com", "wild");
        expect_shown("given.org", "client");
        expect_shown("client", "main");
        end();
    }
}

/* --- Protocols and ciphers ------------------------------------------------ */

static void only_authenticated_ciphers_are_spoken(void **state)
{
    static const char *const taken[] = {
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    };
    static const char *const refused[] = {
        "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384",
        "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-CCM",
    };
    struct peal_tls_options options = plain_options();

    (void)state;
    begin(&options);
    for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
        CHECK(works((struct wish){.version = TLS1_2_VERSION,
                                  .ciphers = taken[i]}));
        assert_string_equal(seen.cipher, taken[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        CHECK(!works((struct wish){.version = TLS1_2_VERSION,
                                   .ciphers = refused[i]}));
    }
    /* The server chooses, and AES-128 is what it likes best. OpenSSL's clients
     * begin with AES-256. */
    CHECK(works((struct wish){
        .version = TLS1_2_VERSION,
        .ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384:"
                   "ECDHE-ECDSA-AES128-GCM-SHA256"}));
    assert_string_equal(seen.cipher, "ECDHE-ECDSA-AES128-GCM-SHA256");
    CHECK(works((struct wish){.version = TLS1_3_VERSION}));
    assert_string_equal(seen.cipher, "TLS_AES_128_GCM_SHA256");
    /* Who likes ChaCha20 best has no hardware for AES. */
    CHECK(works((struct wish){
        .version = TLS1_2_VERSION,
        .ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305:"
                   "ECDHE-ECDSA-AES256-GCM-SHA384"}));
    assert_string_equal(seen.cipher, "ECDHE-ECDSA-CHACHA20-POLY1305");
    CHECK_EQUAL(host_stats(&host).tls_failed, ARRAY_SIZE(refused));
    end();

    /* Not even ciphers that would do for it bring TLS 1.1 back. */
    options.ciphers = "ALL:@SECLEVEL=0";
    begin(&options);
    CHECK(!works((struct wish){.version = TLS1_1_VERSION,
                               .ciphers = "ALL:@SECLEVEL=0"}));
    CHECK(works((struct wish){.version = TLS1_2_VERSION,
                              .ciphers = "ALL:@SECLEVEL=0"}));
    end();
}

static void handshakes_are_not_repeated(void **state)
{
    const struct peal_tls_options options = plain_options();
    uint64_t until_ms = check_now_ms() + check_patience_ms();
    struct line line;

    (void)state;
    begin(&options);
    CHECK(dial(&line, (struct wish){.version = TLS1_2_VERSION}));
    CHECK_EQUAL(SSL_renegotiate(line.ssl), 1);
    ERR_clear_error();
    (void)SSL_do_handshake(line.ssl);
    while (!line.is_ended) {
        CHECK(check_now_ms() < until_ms);
        CHECK(!SSL_is_init_finished(line.ssl));
        step(&line);
    }
    CHECK(line.is_reset);
    line_close(&line, false);
    end();
}

/* A TCP client may offer what it likes: nothing is agreed on. */
static void protocols_matter_to_websockets_alone(void **state)
{
    const struct peal_tls_options options = plain_options();

    (void)state;
    begin(&options);
    CHECK(works((struct wish){.alpn = "\2h2"}));
    assert_string_equal(seen.protocol, "");
    CHECK(works((struct wish){.alpn = "\10http/1.1"}));
    assert_string_equal(seen.protocol, "");
    CHECK(!works((struct wish){.alpn = "\2h2", .is_ws = true}));
    CHECK(works((struct wish){.alpn = "\2h2\10http/1.1", .is_ws = true}));
    end();
}

/* --- Sessions ------------------------------------------------------------- */

static void expect_lifetime(int version, unsigned long lifetime_s)
{
    uint64_t until_ms = check_now_ms() + check_patience_ms();
    SSL_SESSION *session = NULL;
    struct line line;

    CHECK(dial(&line, (struct wish){.version = version}));
    /* With TLS 1.3 the ticket comes behind the handshake. */
    while ((session = SSL_get1_session(line.ssl)) != NULL &&
           SSL_SESSION_has_ticket(session) == 0) {
        SSL_SESSION_free(session);
        CHECK(check_now_ms() < until_ms && !line.is_ended);
        step(&line);
    }
    CHECK(session != NULL);
    CHECK_EQUAL(SSL_SESSION_get_ticket_lifetime_hint(session), lifetime_s);
    SSL_SESSION_free(session);
    line_close(&line, false);
}

static void sessions_last_as_long_as_the_options_say(void **state)
{
    struct peal_tls_options options = plain_options();

    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        options.session_lifetime_s = 0;
        begin(&options);
        expect_lifetime(version, 7200);
        end();
        options.session_lifetime_s = 77;
        begin(&options);
        expect_lifetime(version, 77);
        end();
    }
}

/* --- Clients' certificates ------------------------------------------------ */

/* Also for clients that another certificate was shown to. */
static void every_identity_verifies(void **state)
{
    const struct peal_tls_identity exact = {in_folder("exact.crt"),
                                            in_folder("exact.key"), NULL};
    struct peal_tls_options options = plain_options();

    (void)state;
    options.identities = &exact;
    options.identity_count = 1;
    options.verify = PEAL_TLS_VERIFY_REQUIRED;
    options.ca_file = in_folder("client.crt");
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct wish wish = {.version = version, .name = "a.example.com"};

        begin(&options);
        CHECK(!works(wish));
        wish.identity = "stranger";
        CHECK(!works(wish));
        wish.identity = "client";
        CHECK(works(wish));
        CHECK(strlen(seen.peer_fingerprint) == 64);
        end();
    }
}

static void clients_hear_whom_the_server_trusts(void **state)
{
    struct peal_tls_options options = plain_options();
    const STACK_OF(X509_NAME) * names;
    char text[256];
    struct line line;

    (void)state;
    options.ca_file = in_folder("client.crt");
    options.verify = PEAL_TLS_VERIFY_OPTIONAL;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        begin(&options);
        CHECK(dial(&line, (struct wish){.version = version}));
        names = SSL_get0_peer_CA_list(line.ssl);
        CHECK_EQUAL(sk_X509_NAME_num(names), 1);
        X509_NAME_oneline(sk_X509_NAME_value(names, 0), text, sizeof text);
        CHECK(strstr(text, "CN=client") != NULL);
        line_close(&line, false);
        end();
    }
}

/* The fingerprint is that of the file; a subject that is too long is none. */
static void identities_are_told_exactly(void **state)
{
    static const char *const names[] = {"client", "wordy"};
    struct peal_tls_options options = plain_options();

    (void)state;
    options.verify = PEAL_TLS_VERIFY_REQUIRED;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        unsigned char digest[32];
        char expected[65] = "";
        char path[32];
        X509 *certificate;
        FILE *file;

        snprintf(path, sizeof path, "%s.crt", names[i]);
        file = fopen(in_folder(path), "r");
        CHECK(file != NULL);
        certificate = PEM_read_X509(file, NULL, NULL, NULL);
        fclose(file);
        CHECK(X509_digest(certificate, EVP_sha256(), digest, NULL) == 1);
        X509_free(certificate);
        for (size_t k = 0; k < sizeof digest; k++) {
            snprintf(expected + 2 * k, 3, "%02x", digest[k]);
        }
        options.ca_file = in_folder(path);
        begin(&options);
        CHECK(works((struct wish){.identity = names[i]}));
        assert_string_equal(seen.peer_fingerprint, expected);
        assert_string_equal(seen.peer_subject,
                            i == 0 ? "CN=client,O=peal\\, test" : "");
        end();
    }
}

/* --- Times and listeners -------------------------------------------------- */

/*
 * The time for a handshake is that of TLS and the request together. The second
 * half of the hello comes when two thirds of it have passed.
 */
static void one_time_covers_tls_and_the_request(void **state)
{
    const uint32_t timeout_ms = 1500;
    const struct peal_tls_options options = plain_options();
    uint64_t began_ms;
    uint64_t took_ms = 0;
    struct line line;

    (void)state;
    tls = load(&options);
    host_start(&host,
               &(struct peal_server_options){
                   .tls = tls, .handshake_timeout_ms = timeout_ms},
               NULL);
    began_ms = check_now_ms();
    line_open(&line, 1, guest_port(host.server, false), false,
              context_of(&(struct wish){.version = 0}), 0);
    while (check_now_ms() < began_ms + timeout_ms * 2 / 3) {
        check_breathe();
    }
    while (!line.is_ended) {
        step(&line);
        took_ms = check_now_ms() - began_ms;
        CHECK(took_ms < check_patience_ms());
    }
    CHECK(took_ms >= timeout_ms);
    CHECK(took_ms < timeout_ms * 3 / 2);
    CHECK_EQUAL(host_stats(&host).tls_handshakes, 1);
    CHECK_EQUAL(host_stats(&host).closed_handshake_timeout, 1);
    SSL_CTX_free(SSL_get_SSL_CTX(line.ssl));
    line_close(&line, false);
    end();
}

static void add_listeners(struct peal_server *server)
{
    for (int i = 0; i < 4; i++) {
        CHECK_EQUAL(peal_server_listen(
                        server,
                        &(struct peal_listen){
                            .size = sizeof(struct peal_listen),
                            .address = "127.0.0.1:0",
                            .transport = i % 2 == 1 ? PEAL_TCP : PEAL_WS,
                            .tls = i < 2 ? tls : NULL,
                        }),
                    0);
    }
}

/* Some with TLS, some without, each nothing else. */
static void listeners_have_their_own(void **state)
{
    const struct peal_tls_options options = plain_options();
    const struct wish any = {.version = 0};

    (void)state;
    tls = load(&options);
    host_start(&host,
               &(struct peal_server_options){.dialect = PEAL_DIALECT_RAW},
               add_listeners);
    peal_tls_free(tls); /* the listeners hold it */
    for (size_t i = 2; i < 6; i++) {
        char address[PEAL_ADDRESS_MAX];
        SSL_CTX *context = context_of(&any);
        uint64_t until_ms = check_now_ms() + check_patience_ms();
        struct line line;
        bool is_secure = i < 4;

        CHECK_EQUAL(peal_server_address(host.server, i, address), 0);
        line_open(&line, 1, atoi(strrchr(address, ':') + 1), i % 2 == 1,
                  context, 0);
        while (!line.is_ended && !SSL_is_init_finished(line.ssl)) {
            CHECK(check_now_ms() < until_ms);
            step(&line);
        }
        CHECK_EQUAL(!line.is_ended, is_secure);
        line_close(&line, false);
        SSL_CTX_free(context);
        if (i % 2 == 0) {
            struct peer peer;

            peer_dial(&peer, address);
            ws_ask(&peer, "/", "");
            if (is_secure) {
                peer_drain(&peer);
                peer_close(&peer);
            } else {
                ws_expect_open(&peer);
                ws_goodbye(&peer);
            }
        }
    }
    host_stop(&host);
}

/* --- What is no option ---------------------------------------------------- */

static void refuse(const struct peal_tls_options *options, int status,
                   const char *what)
{
    char why[PEAL_TLS_ERROR_SIZE] = "";

    CHECK_EQUAL(peal_tls_new(&tls, options, why, sizeof why), status);
    if (strstr(why, what) == NULL) {
        fprintf(stderr, "expected %s in: %s\n", what, why);
        CHECK(!"the problem is named");
    }
}

static void problems_are_named(void **state)
{
    char long_name[257];
    const char *names[] = {"fine.org", NULL, NULL};
    struct peal_tls_identity identity = {in_folder("nameless.crt"),
                                         in_folder("nameless.key"), NULL};
    struct peal_tls_options options = plain_options();

    (void)state;
    options.size--;
    refuse(&options, PEAL_EINVAL, "size");
    options = plain_options();
    options.verify = (enum peal_tls_verify)4;
    refuse(&options, PEAL_EINVAL, "verify is out of range");
    options = plain_options();
    options.version_min = (enum peal_tls_version)3;
    refuse(&options, PEAL_EINVAL, "version_min");
    options = plain_options();
    options.verify = PEAL_TLS_VERIFY_OPTIONAL;
    refuse(&options, PEAL_EINVAL, "ca_file");
    options.ca_file = in_folder("none.crt");
    refuse(&options, PEAL_ENOTFOUND, "none.crt");
    options = plain_options();
    options.certificate_file = NULL;
    refuse(&options, PEAL_EINVAL, "certificate_file");

    options = plain_options();
    options.identities = &identity;
    options.identity_count = 1;
    refuse(&options, PEAL_ETLS, "nameless.crt is for no DNS name");
    identity.names = names;
    names[1] = "";
    refuse(&options, PEAL_EINVAL, "name \"\"");
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    names[1] = long_name;
    refuse(&options, PEAL_EINVAL, "name \"xxx");
    names[1] = NULL;
    identity.key_file = in_folder("main.key");
    refuse(&options, PEAL_ETLS, "main.key");
    identity.certificate_file = NULL;
    refuse(&options, PEAL_EINVAL, "identity 0");
}

static char log_line[512];

static void keep_line(enum peal_log_level level, const char *component,
                      const char *message, const char *fields, void *user)
{
    (void)level;
    (void)component;
    (void)user;
    snprintf(log_line, sizeof log_line, "%s %s", message, fields);
}

/* That of a client is nothing for a server: it does not go on without. */
static void servers_need_a_servers_tls(void **state)
{
    const struct peal_tls_client_options options = {.size = sizeof options};
    struct peal_server_options server_options = {
        .size = sizeof server_options,
        .ws_listen = "127.0.0.1:0",
        .log = keep_line,
    };
    struct peal_server *server = NULL;

    (void)state;
    CHECK_EQUAL(peal_tls_client_new(&server_options.tls, &options, NULL, 0),
                0);
    CHECK_EQUAL(peal_server_new(&server, &server_options), PEAL_EINVAL);
    CHECK(server == NULL);
    CHECK(strstr(log_line, "bad option option=tls") != NULL);
    peal_tls_free(server_options.tls);
}

/* In a child whose terminal nobody reads or writes. OpenSSL's own question
 * would take every signal that can be taken. */
static void ask_for_nothing(void)
{
    struct peal_tls_options options = plain_options();
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);

    CHECK(setsid() > 0);
    CHECK(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    CHECK(open(ptsname(terminal), O_RDWR) >= 0);
    options.certificate_file = in_folder("locked.crt");
    options.key_file = in_folder("locked.key");
    refuse(&options, PEAL_ETLS, "locked.key");
    _exit(0);
}

/* A key with a passphrase is an error, and no question on the terminal. */
static void passphrases_are_not_asked_for(void **state)
{
    EVP_PKEY *key;
    FILE *file;
    uint64_t until_ms;
    pid_t child;
    int status;

    (void)state;
    certificates_make(&(struct certificate){.name = "locked"});
    file = fopen(in_folder("locked.key"), "r+");
    CHECK(file != NULL);
    key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    CHECK(key != NULL);
    rewind(file);
    CHECK_EQUAL(PEM_write_PrivateKey(file, key, EVP_aes_256_cbc(),
                                     (const unsigned char *)"secret", 6, NULL,
                                     NULL),
                1);
    fclose(file);
    EVP_PKEY_free(key);

    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        ask_for_nothing();
    }
    until_ms = check_now_ms() + check_patience_ms();
    while (waitpid(child, &status, WNOHANG) == 0) {
        if (check_now_ms() > until_ms) {
            kill(child, SIGKILL);
        }
        check_breathe();
    }
    CHECK_EQUAL(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_names_go_before_wildcards),
        cmocka_unit_test(only_authenticated_ciphers_are_spoken),
        cmocka_unit_test(handshakes_are_not_repeated),
        cmocka_unit_test(protocols_matter_to_websockets_alone),
        cmocka_unit_test(sessions_last_as_long_as_the_options_say),
        cmocka_unit_test(every_identity_verifies),
        cmocka_unit_test(clients_hear_whom_the_server_trusts),
        cmocka_unit_test(identities_are_told_exactly),
        cmocka_unit_test(one_time_covers_tls_and_the_request),
        cmocka_unit_test(listeners_have_their_own),
        cmocka_unit_test(problems_are_named),
        cmocka_unit_test(servers_need_a_servers_tls),
        cmocka_unit_test(passphrases_are_not_asked_for),
    };

    return cmocka_run_group_tests(tests, make_all, remove_all);
}
