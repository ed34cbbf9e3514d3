/*
 * Goal: what a server with peal_tls_options.ktls sends arrives as without, also
 * at the ends of connections, and it is told who encrypts it: the kernel, where
 * it knows how to, else OpenSSL.
 *
 * Method: OpenSSL as the client. The same tests are for both cases: which one
 * it is, is asked of the kernel, and kernel_takes_tls_in_a_guest.mjs boots one
 * that must say yes.
 */
#include "support/suite.h"

#include <peal/server.h>

#include "support/certificates.h"
#include "support/host.h"
#include "support/peer.h"
#include "support/tcp.h"
#include "support/tls.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool has_kernel;

/* --- The server ------------------------------------------------------------
 */

#define FLOOD_MESSAGES 16
#define FLOOD_BYTES 65536

static struct host host;
static char flood[4 * FLOOD_BYTES];
static _Atomic int last_code; /* that a client left with */

/* Warnings of the server. */
static struct {
    pthread_mutex_t lock;
    unsigned count;
    char fields[256];
} warned = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_log(enum peal_log_level level, const char *component,
                   const char *message, const char *fields, void *user)
{
    (void)user;
    CHECK(level <= PEAL_LOG_WARN);
    CHECK(strcmp(component, "tls") == 0);
    CHECK(strcmp(message, "no kernel tls") == 0);
    pthread_mutex_lock(&warned.lock);
    warned.count++;
    snprintf(warned.fields, sizeof warned.fields, "%s", fields);
    pthread_mutex_unlock(&warned.lock);
}

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    (void)user;
    CHECK(connect->tls != NULL);
    CHECK_EQUAL(peal_client_join(client, "all"), 0);
}

static void on_disconnect(struct peal_client *client,
                          const struct peal_disconnect *disconnect, void *user)
{
    (void)client;
    (void)user;
    last_code = disconnect->code;
}

/* Says this much, and closes. */
static void pour(struct peal_client *to, int count, size_t size)
{
    const struct peal_event event = {
        .name = {"", 0},
        .data = {flood, size},
        .kind = PEAL_BYTES,
    };

    for (int i = 0; i < count; i++) {
        CHECK_EQUAL(peal_client_emit(to, &event), 0);
    }
    CHECK_EQUAL(peal_client_close(to, 4001, "that was all"), 0);
}

/* An echo, but for "all" and what follows it, and "pour COUNT SIZE". */
static void on_any(struct peal_client *from, const struct peal_event *event,
                   void *user)
{
    char text[32] = "";
    size_t size;
    int count;

    (void)user;
    if (event->data.size < sizeof text) {
        memcpy(text, event->data.data, event->data.size);
    }
    if (sscanf(text, "pour %d %zu", &count, &size) == 2) {
        pour(from, count, size);
    } else if (event->data.size > 3 &&
               memcmp(event->data.data, "all", 3) == 0) {
        CHECK_EQUAL(peal_room_emit(from, "all", event), 0);
    } else {
        CHECK_EQUAL(peal_client_emit(from, event), 0);
    }
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on_any(server, on_any, NULL), 0);
}

static void begin(const char *ciphersuites)
{
    const struct peal_tls_options options = {
        .size = sizeof options,
        .certificate_file = certificates_path("main.crt"),
        .key_file = certificates_path("main.key"),
        .ciphersuites = ciphersuites,
        .ktls = true,
    };
    struct peal_tls *tls;

    CHECK_EQUAL(peal_tls_new(&tls, &options, NULL, 0), 0);
    warned.count = 0;
    host_start(&host,
               &(struct peal_server_options){
                   .tls = tls,
                   .dialect = PEAL_DIALECT_RAW,
                   .queue_bytes_max = 64 * 1024 * 1024,
                   .on_connect = on_connect,
                   .on_disconnect = on_disconnect,
                   .log = on_log,
                   .log_level = PEAL_LOG_WARN,
               },
               setup);
    peal_tls_free(tls);
}

static void end(void)
{
    host_await_empty(&host);
    CHECK_EQUAL(host_stats(&host).ktls_sending, 0);
    host_stop(&host);
}

/* How many sockets the kernel has encrypted for so far; 0: it cannot. */
static long kernel_count(void)
{
    FILE *file = fopen("/proc/net/tls_stat", "r");
    char line[128];
    long count = 0;

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "TlsTxSw %ld", &count) == 1) {
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return count;
}

static int make_all(void **state)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t size = sizeof address;

    (void)state;
    signal(SIGPIPE, SIG_IGN); /* of OpenSSL's own writes */
    CHECK_EQUAL(bind(listener, (struct sockaddr *)&address, size), 0);
    CHECK_EQUAL(listen(listener, 1), 0);
    CHECK_EQUAL(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    CHECK_EQUAL(connect(fd, (struct sockaddr *)&address, size), 0);
    has_kernel = setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 4) == 0;
    close(fd);
    close(listener);
    printf("the kernel %s TLS\n", has_kernel ? "has" : "does not have");
    CHECK(has_kernel || getenv("PEAL_TEST_KTLS") == NULL);
    certificates_open();
    certificates_make(&(struct certificate){.name = "main",
                                            .names = "DNS:localhost"});
    for (size_t i = 0; i < sizeof flood; i++) {
        flood[i] = (char)(i * 2654435761u >> 13);
    }
    return 0;
}

static int remove_all(void **state)
{
    (void)state;
    certificates_close();
    return 0;
}

/* --- The client ------------------------------------------------------------
 */

static const struct cipher {
    int version;
    const char *name;
} ciphers[] = {
    {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305"},
    {TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256"},
    {TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384"},
    {TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256"},
};

static void dial(struct tls_peer *client, struct cipher cipher, bool is_tcp,
                 int buffer_bytes)
{
    const struct tls_wish wish = {
        .version = cipher.version,
        .cipher = cipher.name,
        .buffer_bytes = buffer_bytes,
    };

    CHECK(tls_dial(client, host_address(&host, is_tcp), &wish));
    CHECK(cipher.name == NULL ||
          strcmp(SSL_get_cipher(client->ssl), cipher.name) == 0);
}

static void say(struct tls_peer *client, const void *data, size_t size)
{
    char *frame = malloc(size + 16);

    tls_write(client, frame, tcp_make(frame, TCP_BINARY_FRAME, NULL, data,
                                      size));
    free(frame);
}

/* The next frame is this one. */
static void expect_frame(struct tls_peer *client, int type, const void *data,
                         size_t size)
{
    char *frame = malloc(size + 16);
    char *got = malloc(size + 16);
    size_t frame_size = tcp_make(frame, type, NULL, data, size);

    tls_read(client, got, frame_size);
    CHECK(memcmp(got, frame, frame_size) == 0);
    free(frame);
    free(got);
}

static void expect(struct tls_peer *client, const void *data, size_t size)
{
    expect_frame(client, TCP_BINARY_FRAME, data, size);
}

static void echo(struct tls_peer *client, size_t size)
{
    char *data = malloc(size);

    for (size_t i = 0; i < size; i++) {
        data[i] = (char)((size + i) * 2654435761u >> 11);
    }
    say(client, data, size);
    expect(client, data, size);
    free(data);
}

/* Has the server say much, and close. */
static void ask_to_pour(struct tls_peer *client, int count, size_t size)
{
    char text[32];

    say(client, text,
        (size_t)snprintf(text, sizeof text, "pour %d %zu", count, size));
}

/* Our end, and the server's answer to it. */
static void leave(struct tls_peer *client)
{
    CHECK(SSL_shutdown(client->ssl) >= 0);
    tls_expect_end(client);
    tls_hang_up(client);
}

/* --- Tests -----------------------------------------------------------------
 */

/* Around the size of a record, and of what a socket takes at once. */
static void every_cipher_is_taken(void **state)
{
    static const size_t sizes[] = {1,     100,   16376, 16377, 16378,
                                   16384, 50000, 300000};
    long before = kernel_count();
    struct peal_server_stats stats;

    (void)state;
    begin(NULL);
    for (size_t i = 0; i < ARRAY_SIZE(ciphers); i++) {
        struct tls_peer client;

        dial(&client, ciphers[i], true, 0);
        for (size_t j = 0; j < ARRAY_SIZE(sizes); j++) {
            echo(&client, sizes[j]);
        }
        CHECK_EQUAL(host_stats(&host).ktls_sending, has_kernel ? 1 : 0);
        leave(&client);
        CHECK_SOON(last_code == 1005);
        host_await_empty(&host);
        CHECK_EQUAL(host_stats(&host).ktls_sending, 0);
    }
    stats = host_stats(&host);
    CHECK_EQUAL(stats.ktls_handshakes, has_kernel ? ARRAY_SIZE(ciphers) : 0);
    CHECK_EQUAL(stats.ktls_fallbacks, has_kernel ? 0 : ARRAY_SIZE(ciphers));
    CHECK_EQUAL(kernel_count() - before, stats.ktls_handshakes);
    CHECK_EQUAL(warned.count, has_kernel ? 0 : 1);
    CHECK(has_kernel ||
          strcmp(warned.fields, "reason=\"the kernel has no TLS: modprobe tls\""
                                " version=TLSv1.2"
                                " cipher=ECDHE-ECDSA-AES128-GCM-SHA256") == 0);
    end();
}

/* A cipher that OpenSSL keeps to itself, told once; and smaller records. */
static void others_go_on_without(void **state)
{
    const struct cipher ccm = {TLS1_3_VERSION, "TLS_AES_128_CCM_SHA256"};
    struct tls_peer client;

    (void)state;
    begin(ccm.name);
    for (int i = 0; i < 3; i++) {
        dial(&client, ccm, true, 0);
        echo(&client, 40000);
        leave(&client);
    }
    CHECK_EQUAL(host_stats(&host).ktls_fallbacks, 3);
    CHECK_EQUAL(host_stats(&host).ktls_handshakes, 0);
    CHECK_EQUAL(warned.count, 1);
    CHECK(strcmp(warned.fields,
                 "reason=\"OpenSSL does not hand over such keys\""
                 " version=TLSv1.3 cipher=TLS_AES_128_CCM_SHA256") == 0);
    end();

    begin(NULL);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        const struct tls_wish wish = {
            .version = version,
            .fragments = TLSEXT_max_fragment_length_1024,
        };

        CHECK(tls_dial(&client, host_address(&host, true), &wish));
        echo(&client, 40000);
        leave(&client);
    }
    CHECK_EQUAL(host_stats(&host).ktls_fallbacks, 2);
    end();
}

#define MEMBERS 12
#define ROUNDS 30

/* Members with all ciphers hear the same, many messages to one send. */
static void rooms_are_reached(void **state)
{
    struct tls_peer members[MEMBERS];
    char text[20000] = "all";

    (void)state;
    begin(NULL);
    for (size_t i = 0; i < MEMBERS; i++) {
        dial(&members[i], ciphers[i % ARRAY_SIZE(ciphers)], true, 0);
        echo(&members[i], 10);
    }
    memset(text + 3, 'x', sizeof text - 3);
    for (size_t i = 0; i < ROUNDS; i++) {
        snprintf(text + 3, sizeof text - 3, "%02zu", i);
        say(&members[0], text, 6 + i * (sizeof text - 6) / ROUNDS);
    }
    for (size_t i = 0; i < ROUNDS; i++) {
        snprintf(text + 3, sizeof text - 3, "%02zu", i);
        for (size_t j = 1; j < MEMBERS; j++) {
            expect(&members[j], text, 6 + i * (sizeof text - 6) / ROUNDS);
        }
    }
    for (size_t i = 0; i < MEMBERS; i++) {
        leave(&members[i]);
    }
    end();
}

/* Much, and the end behind it; the client sees it late, in small pieces. */
static void all_is_sent_before_the_end(void **state)
{
    struct tls_peer client;

    (void)state;
    begin(NULL);
    for (size_t i = 0; i < ARRAY_SIZE(ciphers); i += 2) {
        for (int is_ours = 0; is_ours < 2; is_ours++) {
            dial(&client, ciphers[i], true, 4096);
            if (is_ours == 1) {
                for (int j = 0; j < FLOOD_MESSAGES; j++) {
                    say(&client, flood, FLOOD_BYTES);
                }
                SSL_shutdown(client.ssl);
            } else {
                ask_to_pour(&client, FLOOD_MESSAGES, FLOOD_BYTES);
            }
            CHECK_SOON(host_stats(&host).clients == 0);
            for (int j = 0; j < FLOOD_MESSAGES; j++) {
                expect(&client, flood, FLOOD_BYTES);
            }
            if (is_ours == 0) {
                expect_frame(&client, TCP_DISCONNECT_FRAME, "that was all", 12);
            }
            tls_expect_end(&client);
            CHECK_EQUAL(last_code, is_ours == 1 ? 1005 : 4001);
            tls_hang_up(&client);
            host_await_empty(&host);
        }
    }
    CHECK_EQUAL(host_stats(&host).closed_drain_timeout, 0);
    end();
}

/*
 * As much as its socket just takes or does not: a kernel may have taken a
 * record that its TCP had no room for, which must not be lost with the end.
 * Where sockets take much (net.ipv4.tcp_wmem), none of them is full.
 */
static void full_sockets_are_emptied(void **state)
{
    struct tls_peer client;

    (void)state;
    begin(NULL);
    for (size_t size = 20000; size < sizeof flood; size += 13007) {
        dial(&client, ciphers[size % ARRAY_SIZE(ciphers)], true, 4096);
        ask_to_pour(&client, 1, size);
        CHECK_SOON(host_stats(&host).clients == 0);
        expect(&client, flood, size);
        expect_frame(&client, TCP_DISCONNECT_FRAME, "that was all", 12);
        tls_expect_end(&client);
        tls_hang_up(&client);
    }
    end();
}

/* WebSocket's own end comes before that of TLS. */
static void closes_have_their_codes(void **state)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    static const char pour_frame[] = "\x82\x8c\0\0\0\0pour 4 65536";
    static const char close_frame[] = "\x88\x82\0\0\0\0\x0f\xa1";
    static const char head[] = {'\x82', 127, 0, 0, 0, 0, 0, 1, 0, 0};
    static char got[FLOOD_BYTES];

    (void)state;
    begin(NULL);
    for (size_t i = 0; i < ARRAY_SIZE(ciphers); i++) {
        struct tls_peer client;
        size_t size = 0;

        dial(&client, ciphers[i], false, 0);
        tls_write(&client, request, sizeof request - 1);
        while (size < 4 || memcmp(got + size - 4, "\r\n\r\n", 4) != 0) {
            tls_read(&client, got + size++, 1);
        }
        tls_write(&client, pour_frame, sizeof pour_frame - 1);
        for (int j = 0; j < 4; j++) {
            tls_read(&client, got, sizeof head);
            CHECK(memcmp(got, head, sizeof head) == 0);
            tls_read(&client, got, sizeof got);
            CHECK(memcmp(got, flood, sizeof got) == 0);
        }
        tls_read(&client, got, 4 + 12);
        CHECK(memcmp(got, "\x88\x0e\x0f\xa1that was all", 4 + 12) == 0);
        tls_write(&client, close_frame, sizeof close_frame - 1);
        tls_expect_end(&client);
        CHECK_EQUAL(last_code, 4001);
        tls_hang_up(&client);
    }
    end();
}

/*
 * The client may change its own keys. When it wants that of the kernel as well,
 * which cannot, it has read all before that and then the end, and nothing that
 * it could not make sense of.
 */
static void new_keys_are_an_end_or_none(void **state)
{
    const struct cipher any = {.version = TLS1_3_VERSION};
    struct tls_peer client;

    (void)state;
    begin(NULL);
    dial(&client, any, true, 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(SSL_key_update(client.ssl, SSL_KEY_UPDATE_NOT_REQUESTED),
                    1);
        echo(&client, 30000);
    }
    last_code = 0;
    say(&client, "before", 6);
    CHECK_EQUAL(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    if (has_kernel) {
        CHECK_EQUAL(SSL_do_handshake(client.ssl), 1);
        expect(&client, "before", 6);
        tls_expect_end(&client);
        CHECK_SOON(last_code == 1006);
        tls_hang_up(&client);
    } else {
        expect(&client, "before", 6);
        echo(&client, 30000);
        leave(&client);
    }

    /* In one segment with what is said before and behind it. */
    dial(&client, any, true, 0);
    tls_cork(&client, true);
    say(&client, "before", 6);
    CHECK_EQUAL(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    say(&client, "behind", 6);
    tls_cork(&client, false);
    expect(&client, "before", 6);
    expect(&client, "behind", 6);
    if (has_kernel) {
        tls_expect_end(&client);
        tls_hang_up(&client);
    } else {
        leave(&client);
    }
    end();
}

/* What is no record of TLS at all gets an alert that can be read. */
static void nonsense_is_answered_with_an_alert(void **state)
{
    struct tls_peer client;
    char byte;
    size_t part;

    (void)state;
    begin(NULL);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        const struct cipher any = {.version = version};

        dial(&client, any, true, 0);
        echo(&client, 100);
        peer_send(&client.peer, "\x17\x03\x03\0\x20nonsense nonsense nonsense "
                                "nonsense", 5 + 32);
        CHECK_EQUAL(SSL_read_ex(client.ssl, &byte, 1, &part), 0);
        CHECK_EQUAL(SSL_get_error(client.ssl, 0), SSL_ERROR_SSL);
        CHECK_EQUAL(ERR_GET_REASON(ERR_get_error()),
                    SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
        ERR_clear_error();
        CHECK_SOON(last_code == 1006);
        tls_hang_up(&client);
    }
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cipher_is_taken),
        cmocka_unit_test(others_go_on_without),
        cmocka_unit_test(rooms_are_reached),
        cmocka_unit_test(all_is_sent_before_the_end),
        cmocka_unit_test(full_sockets_are_emptied),
        cmocka_unit_test(closes_have_their_codes),
        cmocka_unit_test(new_keys_are_an_end_or_none),
        cmocka_unit_test(nonsense_is_answered_with_an_alert),
    };

    return cmocka_run_group_tests(tests, make_all, remove_all);
}
