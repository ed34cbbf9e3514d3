/*
 * Goal: what TLS promises: the versions, the certificate that fits the name,
 * clients' certificates and what is known of them, sessions taken up again,
 * reloads that drop nobody, clear errors, and messages that arrive whole.
 *
 * Method: OpenSSL as the client, on blocking sockets, against a server in this
 * process; certificates made on the spot.
 */
#include "support/suite.h"

#include <peal/http.h>
#include <peal/policy.h>

#include "support/certificates.h"
#include "support/host.h"
#include "support/http.h"
#include "support/peer.h"
#include "support/tcp.h"
#include "support/tls.h"
#include "support/ws.h"

#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* --- Certificates ----------------------------------------------------------
 */

static const char *in_folder(const char *name)
{
    return certificates_path(name);
}

/* NAME.crt and NAME.key: signed by itself, for these names, for these days. */
static void make(const char *name, const char *common_name, const char *names,
                 long from_day, long to_day)
{
    certificates_make(&(struct certificate){
        .name = name,
        .common_name = common_name,
        .names = names,
        .from_day = from_day,
        .to_day = to_day,
    });
}

static int make_all(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); /* of OpenSSL's own writes */
    certificates_open();
    make("main", "main", "DNS:localhost", -1, 30);
    make("exact", "exact", "DNS:a.example.com", -1, 30);
    make("wild", "wild", "DNS:*.example.com", -1, 30);
    make("expired", "expired", "DNS:localhost", -30, -1);
    make("soon", "soon", "DNS:soon.example.com", -1, 3);
    make("client", "J\303\266rg", "DNS:client", -1, 30);
    make("stranger", "stranger", "DNS:client", -1, 30);
    return 0;
}

static int remove_all(void **state)
{
    (void)state;
    certificates_close();
    return 0;
}

/* --- The server ------------------------------------------------------------
 */

static struct host host;
static struct peal_tls *tls;
static struct peal_tls_facts seen;
static bool has_facts;
static char seen_address[PEAL_ADDRESS_MAX];

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    struct peal_tls_facts again;

    (void)user;
    has_facts = connect->tls != NULL;
    peal_client_address(client, seen_address);
    CHECK(strcmp(seen_address, connect->address) == 0);
    CHECK_EQUAL(peal_client_tls(client, &again),
                has_facts ? 0 : PEAL_ENOTFOUND);
    if (has_facts) {
        seen = *connect->tls;
        CHECK(memcmp(&seen, &again, sizeof seen) == 0);
    }
}

static void on_any(struct peal_client *from, const struct peal_event *event,
                   void *user)
{
    (void)user;
    peal_client_emit(from, event);
}

/* What was put off, by a middleware or a handler: one at a time. */
static struct {
    pthread_mutex_t lock;
    bool wanted; /* of the middleware */
    bool is_there;
    struct peal_admission admission;
    struct peal_http_reply reply;
    struct peal_tls_facts facts;
} put_off = {.lock = PTHREAD_MUTEX_INITIALIZER};

static enum peal_verdict ask(const struct peal_connect *connect,
                             struct peal_admission admission,
                             struct peal_denial *denial, void *user)
{
    enum peal_verdict verdict = PEAL_ALLOW;

    (void)denial;
    (void)user;
    pthread_mutex_lock(&put_off.lock);
    if (put_off.wanted) {
        CHECK(connect->tls != NULL);
        put_off.facts = *connect->tls;
        put_off.admission = admission;
        put_off.is_there = true;
        put_off.wanted = false;
        verdict = PEAL_LATER;
    }
    pthread_mutex_unlock(&put_off.lock);
    return verdict;
}

/* Whether something waits; has the middleware put off the next client. */
static bool is_put_off(void)
{
    bool is_there;

    pthread_mutex_lock(&put_off.lock);
    is_there = put_off.is_there;
    pthread_mutex_unlock(&put_off.lock);
    return is_there;
}

static void put_off_next(bool is_client)
{
    pthread_mutex_lock(&put_off.lock);
    put_off.wanted = is_client;
    put_off.is_there = false;
    pthread_mutex_unlock(&put_off.lock);
}

static void answer_with(struct peal_http_reply reply, const char *body,
                        size_t size)
{
    struct peal_http_response response = {
        .size = sizeof response,
        .body = {body, size},
    };

    CHECK_EQUAL(peal_http_respond(reply, &response), 0);
}

/* Answers with the body, or later. */
static void on_post(const struct peal_http_request *request,
                    struct peal_http_reply reply, void *user)
{
    (void)user;
    if (request->body.size > 0) {
        answer_with(reply, request->body.data, request->body.size);
        return;
    }
    pthread_mutex_lock(&put_off.lock);
    put_off.reply = reply;
    put_off.is_there = true;
    pthread_mutex_unlock(&put_off.lock);
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on_any(server, on_any, NULL), 0);
    CHECK_EQUAL(peal_server_http(server, "POST", "/post", on_post, NULL), 0);
    CHECK_EQUAL(peal_server_use(server, ask, NULL), 0);
}

/* The whole of it is done again where the kernel can take over. */
static bool is_ktls(void)
{
    return getenv("PEAL_TEST_KTLS") != NULL;
}

static struct peal_tls_options plain_options(void)
{
    return (struct peal_tls_options){
        .size = sizeof(struct peal_tls_options),
        .certificate_file = in_folder("main.crt"),
        .key_file = in_folder("main.key"),
        .ktls = is_ktls(),
    };
}

static void begin_with(const struct peal_tls_options *options,
                       struct peal_server_options server)
{
    char why[PEAL_TLS_ERROR_SIZE] = "";

    if (peal_tls_new(&tls, options, why, sizeof why) < 0) {
        fprintf(stderr, "%s\n", why);
        CHECK(!"TLS options");
    }
    memset(&seen, 0, sizeof seen);
    server.tls = tls;
    server.internal_listen = "127.0.0.1:0";
    server.dialect = PEAL_DIALECT_RAW;
    server.on_connect = on_connect;
    host_start(&host, &server, setup);
}

static void begin(const struct peal_tls_options *options)
{
    begin_with(options, (struct peal_server_options){.size = 0});
}

static void end(void)
{
    host_stop(&host);
    peal_tls_free(tls);
}

/* --- The client ------------------------------------------------------------
 */

static bool dial(struct tls_peer *client, struct tls_wish wish)
{
    return tls_dial(client, host_address(&host, wish.is_tcp), &wish);
}

/* Becomes a WebSocket. */
static void upgrade(struct tls_peer *client)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    char answer[12];

    tls_write(client, request, sizeof request - 1);
    tls_read(client, answer, sizeof answer);
    CHECK(memcmp(answer, "HTTP/1.1 101", sizeof answer) == 0);
}

/* One message there and back over TCP, after what the server says first. */
static bool echoes(struct tls_peer *client)
{
    char sent[64];
    char got[64];
    size_t size = tcp_make(sent, TCP_BINARY_FRAME, NULL, "hello", 5);
    size_t part;

    if (SSL_write_ex(client->ssl, sent, size, &part) != 1) {
        return false;
    }
    for (size_t done = 0; done < size; done += part) {
        if (SSL_read_ex(client->ssl, got + done, size - done, &part) != 1) {
            return false;
        }
    }
    return memcmp(sent, got, size) == 0;
}

/* The common name of the server's certificate. */
static const char *server_shown(struct tls_peer *client)
{
    static char name[64];
    X509 *certificate = SSL_get1_peer_certificate(client->ssl);

    CHECK(certificate != NULL);
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate),
                              NID_commonName, name, sizeof name);
    X509_free(certificate);
    return name;
}

/* Connects to TCP, echoes, and leaves. */
static bool works(struct tls_wish wish)
{
    struct tls_peer client;
    bool is_good;

    wish.is_tcp = true;
    is_good = dial(&client, wish) && echoes(&client);
    tls_hang_up(&client);
    return is_good;
}

/* --- Tests -----------------------------------------------------------------
 */

static void both_versions_on_both_transports(void **state)
{
    const struct peal_tls_options options = plain_options();
    struct tls_peer client;

    (void)state;
    begin(&options);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        CHECK(works((struct tls_wish){.version = version,
                                      .name = "localhost"}));
        CHECK(has_facts);
        CHECK(strcmp(seen.version, version == TLS1_2_VERSION ? "TLSv1.2"
                                                             : "TLSv1.3") == 0);
        CHECK(strcmp(seen.server_name, "localhost") == 0);
        CHECK(strstr(seen.cipher, "AES") != NULL ||
              strstr(seen.cipher, "CHACHA") != NULL);
        CHECK(seen.peer_subject[0] == '\0' && seen.protocol[0] == '\0');

        CHECK(dial(&client, (struct tls_wish){.version = version,
                                              .alpn = "\2h2\10http/1.1"}));
        upgrade(&client);
        CHECK_SOON(host_stats(&host).ws_clients == 1);
        CHECK(strcmp(seen.protocol, "http/1.1") == 0);
        tls_hang_up(&client);
        CHECK_SOON(host_stats(&host).ws_clients == 0);
    }
    CHECK(!works((struct tls_wish){.version = TLS1_1_VERSION}));
    CHECK(!dial(&client, (struct tls_wish){.alpn = "\2h2"}));
    tls_hang_up(&client);
    CHECK_SOON(host_stats(&host).tls_failed == 2);
    CHECK_EQUAL(host_stats(&host).tls_handshakes, 4);
    CHECK_SOON(host_stats(&host).tls_handshaking == 0);
    end();
}

static void clients_see_bad_certificates(void **state)
{
    struct peal_tls_options options = plain_options();

    (void)state;
    begin(&options);
    CHECK(works((struct tls_wish){.authority = "main", .name = "localhost"}));
    CHECK(!works((struct tls_wish){.authority = "main", .name = "other.host"}));
    CHECK(!works((struct tls_wish){.authority = "wild", .name = "localhost"}));
    end();
    options.certificate_file = in_folder("expired.crt");
    options.key_file = in_folder("expired.key");
    begin(&options);
    CHECK(!works((struct tls_wish){.authority = "expired",
                                   .name = "localhost"}));
    CHECK(works((struct tls_wish){.name = "localhost"}));
    end();
}

static void the_name_chooses_the_certificate(void **state)
{
    static const char *const given[] = {"*.given.net", "given.org", NULL};
    static const char *const names[][2] = {
        {"a.example.com", "exact"}, {"A.EXAMPLE.com", "exact"},
        {"b.example.com", "wild"},  {"x.b.example.com", "main"},
        {"example.com", "main"},    {".example.com", "main"},
        {"x.given.net", "client"},  {"given.org", "client"},
        {"localhost", "main"},      {NULL, "main"},
    };
    struct peal_tls_identity identities[] = {
        {in_folder("wild.crt"), in_folder("wild.key"), NULL},
        {in_folder("exact.crt"), in_folder("exact.key"), NULL},
        {in_folder("client.crt"), in_folder("client.key"), given},
    };
    struct peal_tls_options options = plain_options();

    (void)state;
    options.identities = identities;
    options.identity_count = ARRAY_SIZE(identities);
    begin(&options);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *expected =
            strcmp(names[i][1], "client") == 0 ? "J\303\266rg" : names[i][1];
        struct tls_peer client;

        CHECK(dial(&client, (struct tls_wish){.name = names[i][0],
                                              .is_tcp = true}));
        if (strcmp(server_shown(&client), expected) != 0 &&
            strcmp(expected, "J\303\266rg") != 0) {
            fprintf(stderr, "%s got %s\n", names[i][0], server_shown(&client));
            CHECK(!"the wrong certificate");
        }
        CHECK(echoes(&client));
        CHECK(strcmp(seen.server_name,
                     names[i][0] != NULL ? names[i][0] : "") == 0);
        tls_hang_up(&client);
    }
    end();
}

static void clients_may_or_must_show_who_they_are(void **state)
{
    struct peal_tls_options options = plain_options();

    (void)state;
    options.ca_file = in_folder("client.crt");
    begin(&options);
    CHECK(works((struct tls_wish){.identity = "client"}));
    CHECK(seen.peer_fingerprint[0] == '\0');
    end();
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        options.verify = PEAL_TLS_VERIFY_OPTIONAL;
        begin(&options);
        CHECK(works((struct tls_wish){.version = version}));
        CHECK(seen.peer_fingerprint[0] == '\0');
        CHECK(!works((struct tls_wish){.version = version,
                                       .identity = "stranger"}));
        CHECK(works((struct tls_wish){.version = version,
                                      .identity = "client"}));
        CHECK_EQUAL(strlen(seen.peer_fingerprint), 64);
        end();
        options.verify = PEAL_TLS_VERIFY_REQUIRED;
        begin(&options);
        CHECK(!works((struct tls_wish){.version = version}));
        CHECK(!works((struct tls_wish){.version = version,
                                       .identity = "stranger"}));
        CHECK_EQUAL(host_stats(&host).clients_total, 0);
        CHECK(works((struct tls_wish){.version = version,
                                      .identity = "client"}));
        CHECK(strstr(seen.peer_subject, "O=peal\\, test") != NULL);
        CHECK(strstr(seen.peer_subject, "CN=J") != NULL);
        end();
    }
}

/* Connects twice, the second time with the session of the first. */
static bool resumes(int version, const char *identity, bool reload_between)
{
    struct tls_wish wish = {
        .version = version, .identity = identity, .is_tcp = true};
    struct tls_peer first;
    struct tls_peer second;
    bool is_reused;

    CHECK(dial(&first, wish) && echoes(&first));
    wish.session = SSL_get1_session(first.ssl);
    SSL_shutdown(first.ssl);
    tls_hang_up(&first);
    if (reload_between) {
        CHECK_EQUAL(peal_tls_reload(tls, NULL, 0), 0);
    }
    CHECK(dial(&second, wish) && echoes(&second));
    is_reused = SSL_session_reused(second.ssl) == 1;
    CHECK_EQUAL(seen.is_resumed, is_reused);
    CHECK(identity == NULL || strlen(seen.peer_fingerprint) == 64);
    tls_hang_up(&second);
    SSL_SESSION_free(wish.session);
    return is_reused;
}

static void sessions_are_taken_up_again(void **state)
{
    struct peal_tls_options options = plain_options();

    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        options.ca_file = in_folder("client.crt");
        options.verify = PEAL_TLS_VERIFY_OPTIONAL;
        options.session_lifetime_s = 0;
        begin(&options);
        CHECK(resumes(version, NULL, false));
        CHECK(resumes(version, "client", false));
        CHECK_EQUAL(host_stats(&host).tls_resumed, 2);
        CHECK(!resumes(version, NULL, true));
        CHECK(resumes(version, NULL, false));
        end();
        options.session_lifetime_s = PEAL_TLS_NO_RESUMPTION;
        begin(&options);
        CHECK(!resumes(version, NULL, false));
        end();
    }
}

static double metric(const char *name)
{
    char address[PEAL_ADDRESS_MAX];

    CHECK_EQUAL(peal_server_address(host.server, 2, address), 0);
    return http_metric(address, name);
}

/* Handshakes by outcome, and when the first certificate expires: of all names,
 * as they are loaded now. */
static void metrics_tell_of_it(void **state)
{
    struct peal_tls_options options = plain_options();
    const struct peal_tls_identity soon = {
        .certificate_file = in_folder("soon.crt"),
        .key_file = in_folder("soon.key"),
    };
    static const char expiry[] =
        "peal_tls_certificate_expiry_timestamp_seconds";
    double now_s = (double)time(NULL);
    struct peer peer;

    (void)state;
    begin(&options);
    CHECK(fabs(metric(expiry) - now_s - 30 * 86400) < 600);
    CHECK(!resumes(TLS1_3_VERSION, NULL, true));
    CHECK(resumes(TLS1_3_VERSION, NULL, false));
    peer_dial(&peer, host.tcp);
    CHECK_SOON(metric("peal_tls_handshakes_pending") == 1);
    peer_close(&peer);
    CHECK_SOON(metric("peal_tls_failures_total") == 1);
    CHECK(metric("peal_tls_handshakes_total") == 4);
    CHECK(metric("peal_tls_resumptions_total") == 1);
    CHECK(metric("peal_tls_handshakes_pending") == 0);
    CHECK(metric("peal_ktls_handshakes_total") == (is_ktls() ? 4 : 0));
    CHECK(metric("peal_ktls_fallbacks_total") == 0);
    CHECK(metric("peal_ktls_connections") == 0);
    end();

    options.identities = &soon;
    options.identity_count = 1;
    begin(&options);
    CHECK(fabs(metric(expiry) - now_s - 3 * 86400) < 600);
    CHECK(metric(expiry) == (double)peal_tls_expiry(tls));
    end();
}

static void copy_file(const char *from, const char *to)
{
    char command[300];

    snprintf(command, sizeof command, "cp '%s' '%s'", in_folder(from),
             in_folder(to));
    CHECK_EQUAL(system(command), 0);
}

static void reloads_drop_nobody(void **state)
{
    struct peal_tls_options options = plain_options();
    char why[PEAL_TLS_ERROR_SIZE];
    struct tls_peer old;
    struct tls_peer young;

    (void)state;
    copy_file("main.crt", "live.crt");
    copy_file("main.key", "live.key");
    options.certificate_file = in_folder("live.crt");
    options.key_file = in_folder("live.key");
    begin(&options);
    CHECK(dial(&old, (struct tls_wish){.is_tcp = true}) && echoes(&old));

    /* A half-done renewal changes nothing. */
    copy_file("exact.crt", "live.crt");
    CHECK_EQUAL(peal_tls_reload(tls, why, sizeof why), PEAL_ETLS);
    CHECK(strstr(why, "live.key") != NULL);
    CHECK(dial(&young, (struct tls_wish){.is_tcp = true}) && echoes(&young));
    CHECK(strcmp(server_shown(&young), "main") == 0);
    tls_hang_up(&young);

    copy_file("exact.key", "live.key");
    CHECK_EQUAL(peal_tls_reload(tls, why, sizeof why), 0);
    CHECK(dial(&young, (struct tls_wish){.is_tcp = true}) && echoes(&young));
    CHECK(strcmp(server_shown(&young), "exact") == 0);
    CHECK(echoes(&old));
    /* New keys on the old connection, asked for by the client. */
    CHECK_EQUAL(SSL_key_update(old.ssl, is_ktls() ? SSL_KEY_UPDATE_NOT_REQUESTED
                                                  : SSL_KEY_UPDATE_REQUESTED),
                1);
    CHECK(echoes(&old) && echoes(&old));
    tls_hang_up(&young);
    tls_hang_up(&old);
    end();
}

static void bad_files_are_errors_at_start(void **state)
{
    struct peal_tls_options options = plain_options();
    char why[PEAL_TLS_ERROR_SIZE];

    (void)state;
    options.key_file = in_folder("wild.key");
    CHECK_EQUAL(peal_tls_new(&tls, &options, why, sizeof why), PEAL_ETLS);
    CHECK(strstr(why, "wild.key") != NULL);
    CHECK_EQUAL(peal_tls_new(&tls, &options, NULL, 0), PEAL_ETLS);
    options.key_file = in_folder("none.key");
    CHECK_EQUAL(peal_tls_new(&tls, &options, why, sizeof why), PEAL_ENOTFOUND);
    CHECK(strstr(why, "none.key") != NULL);
    options = plain_options();
    options.certificate_file = in_folder("main.key");
    CHECK_EQUAL(peal_tls_new(&tls, &options, why, sizeof why), PEAL_ETLS);
    CHECK(strstr(why, "main.key") != NULL);
    options = plain_options();
    options.ciphers = "NONSENSE";
    CHECK_EQUAL(peal_tls_new(&tls, &options, why, sizeof why), PEAL_ETLS);
    CHECK(strstr(why, "NONSENSE") != NULL);
    options = plain_options();
    options.ciphersuites = "NONSENSE";
    CHECK_EQUAL(peal_tls_new(&tls, &options, why, sizeof why), PEAL_ETLS);
    options = plain_options();
    options.verify = PEAL_TLS_VERIFY_REQUIRED;
    CHECK_EQUAL(peal_tls_new(&tls, &options, why, sizeof why), PEAL_EINVAL);
    options.ca_file = in_folder("main.key");
    CHECK_EQUAL(peal_tls_new(&tls, &options, why, sizeof why), PEAL_ETLS);
    CHECK(strstr(why, "main.key") != NULL);
    options = plain_options();
    options.certificate_file = NULL;
    CHECK_EQUAL(peal_tls_new(&tls, &options, why, sizeof why), PEAL_EINVAL);
    options.size = 1;
    CHECK_EQUAL(peal_tls_new(&tls, &options, why, sizeof why), PEAL_EINVAL);
}

static void only_what_is_allowed_is_spoken(void **state)
{
    struct peal_tls_options options = plain_options();

    (void)state;
    options.version_min = PEAL_TLS_1_3;
    options.ciphersuites = "TLS_CHACHA20_POLY1305_SHA256";
    begin(&options);
    CHECK(!works((struct tls_wish){.version = TLS1_2_VERSION}));
    CHECK(works((struct tls_wish){.version = TLS1_3_VERSION}));
    CHECK(strcmp(seen.cipher, "TLS_CHACHA20_POLY1305_SHA256") == 0);
    end();
    options = plain_options();
    options.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384";
    begin(&options);
    CHECK(works((struct tls_wish){.version = TLS1_2_VERSION}));
    CHECK(strcmp(seen.cipher, "ECDHE-ECDSA-AES256-GCM-SHA384") == 0);
    end();
}

static void strangers_to_tls_are_turned_away(void **state)
{
    const struct peal_tls_options options = plain_options();
    struct tls_peer client;
    struct peer peer;

    (void)state;
    begin_with(&options, (struct peal_server_options){
                             .handshake_timeout_ms = 100,
                             .tls_handshakes_max = 1,
                         });
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        peer_dial(&peer, host_address(&host, is_tcp == 1));
        peer_send(&peer, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
        peer_drain(&peer);
        peer_close(&peer);
        /* Nothing at all is cut by the timeout; meanwhile nobody else may. */
        peer_dial(&peer, host_address(&host, is_tcp == 1));
        CHECK_SOON(host_stats(&host).tls_handshaking == 1);
        CHECK(!dial(&client, (struct tls_wish){.is_tcp = true}));
        tls_hang_up(&client);
        peer_expect_end(&peer);
        peer_close(&peer);
    }
    CHECK_EQUAL(host_stats(&host).closed_handshake_timeout, 2);
    CHECK_EQUAL(host_stats(&host).refused_tls_handshakes, 2);
    CHECK_EQUAL(host_stats(&host).tls_failed, 2);
    CHECK_EQUAL(host_stats(&host).clients_total, 0);
    end();

    /* And TLS where none is spoken. */
    host_start(&host, NULL, NULL);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        CHECK(!dial(&client, (struct tls_wish){.is_tcp = is_tcp == 1}));
        tls_hang_up(&client);
    }
    host_stop(&host);
}

/* --- With all else that comes in ------------------------------------------
 */

#define BODY_SIZE 60000 /* some records */

/* Reads an answer whose body is this. */
static void expect_body(struct tls_peer *client, const char *body, size_t size)
{
    char head[1024];
    size_t used = 0;
    char *got = malloc(size);
    char length[64];

    while (used < 4 || memcmp(head + used - 4, "\r\n\r\n", 4) != 0) {
        CHECK(used < sizeof head - 1);
        tls_read(client, head + used++, 1);
    }
    head[used] = '\0';
    CHECK(memcmp(head, "HTTP/1.1 200", 12) == 0);
    snprintf(length, sizeof length, "Content-Length: %zu\r\n", size);
    CHECK(strstr(head, length) != NULL);
    tls_read(client, got, size);
    CHECK(memcmp(got, body, size) == 0);
    free(got);
}

/* Requests for handlers: a long one, in pieces, and one answered later. */
static void handlers_are_reached(void **state)
{
    static const char late[] = "POST /post HTTP/1.1\r\nHost: x\r\n\r\n";
    const struct peal_tls_options options = plain_options();
    char *body = malloc(BODY_SIZE);
    char head[128];
    struct tls_peer client;
    int size;

    (void)state;
    for (size_t i = 0; i < BODY_SIZE; i++) {
        body[i] = (char)('a' + i % 26);
    }
    begin(&options);
    CHECK(dial(&client, (struct tls_wish){.alpn = "\10http/1.1"}));
    size = snprintf(head, sizeof head,
                    "POST /post HTTP/1.1\r\nHost: x\r\n"
                    "Content-Length: %d\r\n\r\n",
                    BODY_SIZE);
    for (int i = 0; i < 2; i++) {
        tls_write(&client, head, (size_t)size);
        for (size_t at = 0; at < BODY_SIZE; at += BODY_SIZE / 5) {
            tls_write(&client, body + at, BODY_SIZE / 5);
        }
        expect_body(&client, body, BODY_SIZE);
        put_off_next(false);
        tls_write(&client, late, sizeof late - 1);
        CHECK_SOON(is_put_off());
        answer_with(put_off.reply, "late", 4);
        expect_body(&client, "late", 4);
    }
    tls_hang_up(&client);
    CHECK_EQUAL(host_stats(&host).http_requests, 4);
    host_await_empty(&host);
    end();
    free(body);
}

/* The middleware sees the facts, and decides from another thread. */
static void middleware_may_decide_later(void **state)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    const struct peal_tls_options options = plain_options();
    const struct peal_denial denial = {.status = 402};
    char answer[12];
    struct tls_peer client;
    size_t part;

    (void)state;
    begin(&options);
    for (int i = 0; i < 4; i++) {
        bool is_tcp = i % 2 == 1;
        bool is_refused = i / 2 == 1;
        char frame[32];
        size_t size =
            is_tcp ? tcp_make(frame, TCP_BINARY_FRAME, NULL, "hello", 5)
                   : 0;

        put_off_next(true);
        CHECK(dial(&client, (struct tls_wish){.name = "localhost",
                                              .is_tcp = is_tcp,
                                              .is_joined = true}));
        /* What it says meanwhile waits. */
        tls_write(&client, is_tcp ? frame : request,
                  is_tcp ? size : sizeof request - 1);
        tls_cork(&client, false);
        CHECK_SOON(is_put_off());
        CHECK(strcmp(put_off.facts.server_name, "localhost") == 0);
        CHECK_EQUAL(host_stats(&host).clients, 0);
        CHECK_EQUAL(peal_admission_decide(put_off.admission,
                                          is_refused ? PEAL_REFUSE : PEAL_ALLOW,
                                          &denial),
                    0);
        if (is_refused && is_tcp) {
            while (SSL_read_ex(client.ssl, answer, 1, &part) == 1) {
            }
            CHECK_EQUAL(SSL_get_error(client.ssl, 0), SSL_ERROR_ZERO_RETURN);
        } else if (is_tcp) {
            tls_read(&client, answer, sizeof answer);
            CHECK(memcmp(answer, frame, sizeof answer) == 0);
        } else {
            tls_read(&client, answer, sizeof answer);
            CHECK(memcmp(answer, is_refused ? "HTTP/1.1 402" : "HTTP/1.1 101",
                         sizeof answer) == 0);
        }
        CHECK(is_refused || (has_facts && strcmp(seen.server_name,
                                                 "localhost") == 0));
        tls_hang_up(&client);
        host_await_empty(&host);
    }
    CHECK_EQUAL(host_stats(&host).clients_total, 2);
    end();
}

/* Connections that the program hands over are as it says, beside those. */
static void adopted_sockets_stay_as_they_are(void **state)
{
    static const char head[] =
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    const struct peal_tls_options options = plain_options();
    struct peer peer = {.fd = -1};
    int fds[2];

    (void)state;
    begin(&options);
    CHECK(works((struct tls_wish){.is_tcp = true}));
    CHECK(has_facts);
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    CHECK_EQUAL(peal_server_adopt(host.server,
                                  &(struct peal_adopt){
                                      .size = sizeof(struct peal_adopt),
                                      .fd = fds[0],
                                      .head = head,
                                      .head_size = sizeof head - 1,
                                  }),
                0);
    peer.fd = fds[1];
    ws_expect_open(&peer);
    ws_send_text(&peer, "plain");
    ws_expect_text(&peer, "plain");
    CHECK(!has_facts);
    CHECK(works((struct tls_wish){.is_tcp = true}));
    CHECK(has_facts);
    ws_goodbye(&peer);
    CHECK_EQUAL(host_stats(&host).tls_handshakes, 2);
    host_await_empty(&host);
    end();
}

/* The header of a proxy comes before the hello, and is not encrypted. */
static void proxies_tell_addresses(void **state)
{
    static const char *const here[] = {"127.0.0.1", NULL};
    static const char *const elsewhere[] = {"10.0.0.1", NULL};
    const struct peal_tls_options options = plain_options();
    struct tls_wish wish = {.header = "PROXY TCP4 192.0.2.1 192.0.2.2 3 4\r\n"};
    struct tls_peer client;

    (void)state;
    begin_with(&options, (struct peal_server_options){
                             .proxy_protocol = PEAL_PROXY_REQUIRED,
                             .trusted_proxies = here,
                         });
    for (int i = 0; i < 4; i++) {
        wish.is_tcp = i % 2 == 1;
        wish.is_joined = i / 2 == 1;
        CHECK(dial(&client, wish));
        if (!wish.is_tcp) {
            upgrade(&client);
        }
        CHECK(wish.is_tcp ? echoes(&client) : true);
        CHECK(strcmp(seen_address, "192.0.2.1:3") == 0);
        tls_hang_up(&client);
    }
    CHECK(!dial(&client, (struct tls_wish){.is_tcp = true}));
    tls_hang_up(&client);
    CHECK_EQUAL(host_stats(&host).refused_proxy_protocol, 1);
    CHECK_EQUAL(host_stats(&host).tls_handshakes, 4);
    CHECK_EQUAL(host_stats(&host).tls_failed, 0);
    end();

    begin_with(&options, (struct peal_server_options){
                             .proxy_protocol = PEAL_PROXY_OPTIONAL,
                             .trusted_proxies = elsewhere,
                         });
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        wish.is_tcp = is_tcp == 1;
        CHECK(!dial(&client, wish));
        tls_hang_up(&client);
    }
    CHECK_EQUAL(host_stats(&host).refused_proxy_protocol, 2);
    CHECK(works((struct tls_wish){.is_tcp = true}));
    end();
}

#define BIG (1024 * 1024 - 64)
#define BIG_COUNT 8

/* Both ways at once, through sockets that are full all the time. */
static void large_messages_arrive_whole(void **state)
{
    const struct peal_tls_options options = plain_options();
    char *frame = malloc(BIG + 64);
    char *got = malloc(BIG + 64);
    char *data = malloc(BIG);

    (void)state;
    begin(&options);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct tls_peer client;
        size_t written = 0;
        size_t read = 0;
        size_t size;
        int small = 4096;

        CHECK(dial(&client, (struct tls_wish){.version = version,
                                              .is_tcp = true,
                                              .buffer_bytes = 4096}));
        setsockopt(client.peer.fd, SOL_SOCKET, SO_SNDBUF, &small,
                   sizeof small);
        fcntl(client.peer.fd, F_SETFL, O_NONBLOCK);
        SSL_set_mode(client.ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        for (size_t i = 0; i < BIG; i++) {
            data[i] = (char)(i * 2654435761u >> 13);
        }
        size = tcp_make(frame, TCP_BINARY_FRAME, NULL, data, BIG);
        while (read < BIG_COUNT * size) {
            size_t at = written % size;
            size_t part;
            bool has_moved = false;

            if (written < BIG_COUNT * size &&
                SSL_write_ex(client.ssl, frame + at, size - at, &part) == 1) {
                written += part;
                has_moved = true;
            }
            at = read % size;
            if (SSL_read_ex(client.ssl, got + at, size - at, &part) == 1) {
                has_moved = true;
                read += part;
                CHECK(read % size != 0 || memcmp(got, frame, size) == 0);
            }
            if (!has_moved) {
                check_breathe();
            }
        }
        tls_hang_up(&client);
    }
    end();
    free(data);
    free(got);
    free(frame);
}

static _Atomic int last_code; /* that a client left with */

static void on_disconnect(struct peal_client *client,
                          const struct peal_disconnect *disconnect, void *user)
{
    (void)client;
    (void)user;
    last_code = disconnect->code;
}

static void ends_are_told_from_cuts(void **state)
{
    const struct peal_tls_options options = plain_options();
    char frame[64];
    char got[64];
    size_t size = tcp_make(frame, TCP_BINARY_FRAME, NULL, "last", 4);
    struct tls_peer client;
    size_t part;

    (void)state;
    begin_with(&options,
               (struct peal_server_options){.on_disconnect = on_disconnect});
    /* Our side ends, the other answers what came before and ends, too. */
    CHECK(dial(&client, (struct tls_wish){.is_tcp = true}));
    for (int i = 0; i < 1000; i++) {
        tls_write(&client, frame, size);
    }
    SSL_shutdown(client.ssl);
    for (int i = 0; i < 1000; i++) {
        tls_read(&client, got, size);
        CHECK(memcmp(frame, got, size) == 0);
    }
    tls_expect_end(&client);
    tls_hang_up(&client);
    CHECK_SOON(last_code == 1005);

    /* A FIN alone may be anybody's. */
    CHECK(dial(&client, (struct tls_wish){.is_tcp = true}) && echoes(&client));
    peer_finish(&client.peer);
    CHECK_SOON(last_code == 1006);
    tls_hang_up(&client);

    /* A server that stops says so. */
    CHECK(dial(&client, (struct tls_wish){.is_tcp = true}) && echoes(&client));
    peal_server_stop(host.server);
    while (SSL_read_ex(client.ssl, got, sizeof got, &part) == 1) {
    }
    CHECK_EQUAL(SSL_get_error(client.ssl, 0), SSL_ERROR_ZERO_RETURN);
    tls_hang_up(&client);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_versions_on_both_transports),
        cmocka_unit_test(clients_see_bad_certificates),
        cmocka_unit_test(metrics_tell_of_it),
        cmocka_unit_test(the_name_chooses_the_certificate),
        cmocka_unit_test(clients_may_or_must_show_who_they_are),
        cmocka_unit_test(sessions_are_taken_up_again),
        cmocka_unit_test(reloads_drop_nobody),
        cmocka_unit_test(bad_files_are_errors_at_start),
        cmocka_unit_test(only_what_is_allowed_is_spoken),
        cmocka_unit_test(strangers_to_tls_are_turned_away),
        cmocka_unit_test(handlers_are_reached),
        cmocka_unit_test(middleware_may_decide_later),
        cmocka_unit_test(adopted_sockets_stay_as_they_are),
        cmocka_unit_test(proxies_tell_addresses),
        cmocka_unit_test(large_messages_arrive_whole),
        cmocka_unit_test(ends_are_told_from_cuts),
    };

    return cmocka_run_group_tests(tests, make_all, remove_all);
}
