/*
 * Goal: whatever a server does, a link ends the connection with a reason that
 * fits, and does not hang, crash or believe it.
 *
 * Method: a server of the test's own says fixed bytes and then keeps silent, or
 * closes; each time also through TLS.
 */
#include "support/suite.h"

#include "support/certificates.h"
#include "support/link.h"
#include "support/listener.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <zlib.h>

#define SWITCH                                                                 \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"               \
    "Connection: Upgrade\r\n"
#define ANY SWITCH "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
#define WELCOME                                                                \
    "{\"event\":\"peal:welcome\",\"data\":{\"id\":\"x\",\"protocol\":1,"       \
    "\"ping_interval_ms\":20,\"ping_timeout_ms\":30}}"

#define DEFLATE(parameters)                                                    \
    SWITCH "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"            \
           "Sec-WebSocket-Extensions: permessage-deflate" parameters "\r\n\r\n"

struct attack {
    const char *name;
    const char *bytes;
    size_t size;
    size_t repeats;  /* further times; the last bytes after the first */
    bool is_tcp;     /* says them at once, not after a request */
    bool is_closing; /* right after them */
    bool is_lax;     /* accept_any_key */
    bool deflates;   /* the link has offered permessage-deflate */
    bool gets_in;    /* the link is connected for a while */
    bool has_tls;
    int error;
    int code;
    int http_status;
};

#define BYTES(text) (text), sizeof(text) - 1

static const struct attack attacks[] = {
    {"a wrong accept value", BYTES(ANY), .error = PEAL_EPROTOCOL},
    {"no accept value", BYTES(SWITCH "\r\n"), .error = PEAL_EPROTOCOL},
    {"an extension that was not offered",
     BYTES(SWITCH "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
     .is_lax = true, .error = PEAL_EPROTOCOL},
    {"no upgrade", BYTES("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
     .is_lax = true, .error = PEAL_EPROTOCOL},
    {"a refusal",
     BYTES("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
     .error = PEAL_EREFUSED, .http_status = 503},
    {"no HTTP", BYTES("220 smtp\r\n\r\n"), .error = PEAL_EPROTOCOL},
    {"endless headers", BYTES("HTTP/1.1 101 X\r\nA: 1234567890\r\n"),
     .repeats = 5000, .error = PEAL_EPROTOCOL},
    {"an endless line", BYTES("HTTP/1.1 101 XXXXXXXXXXXXX"), .repeats = 5000,
     .error = PEAL_EPROTOCOL},
    {"nothing, then the end", BYTES(""), .is_closing = true,
     .error = PEAL_EGONE, .code = 1006},
    {"half an answer", BYTES("HTTP/1.1 101 Swit"), .is_closing = true,
     .error = PEAL_EGONE, .code = 1006},
    {"silence before the answer", BYTES(""), .error = PEAL_ETIMEOUT},
    {"silence before the welcome", BYTES(ANY), .is_lax = true,
     .error = PEAL_ETIMEOUT},
    {"a masked frame", BYTES(ANY "\x81\x81\1\2\3\4\5"), .is_lax = true,
     .error = PEAL_EPROTOCOL, .code = 1002},
    {"a reserved opcode", BYTES(ANY "\x83\x01x"), .is_lax = true,
     .error = PEAL_EPROTOCOL, .code = 1002},
    {"a compressed frame", BYTES(ANY "\xc1\x01x"), .is_lax = true,
     .error = PEAL_EPROTOCOL, .code = 1002},
    {"a larger window than was asked for",
     BYTES(DEFLATE("; server_no_context_takeover; client_no_context_takeover"
                   "; client_max_window_bits=16")),
     .is_lax = true, .deflates = true, .error = PEAL_EPROTOCOL},
    {"takeover that was declined", BYTES(DEFLATE("")), .is_lax = true,
     .deflates = true, .error = PEAL_EPROTOCOL},
    {"an unknown parameter",
     BYTES(DEFLATE("; server_no_context_takeover; x=1")), .is_lax = true,
     .deflates = true, .error = PEAL_EPROTOCOL},
    {"two extensions",
     BYTES(DEFLATE("; server_no_context_takeover, other")), .is_lax = true,
     .deflates = true, .error = PEAL_EPROTOCOL},
    {"no deflate data",
     BYTES(DEFLATE("; server_no_context_takeover") "\xc1\x03\xff\xff\xff"),
     .is_lax = true, .deflates = true, .error = PEAL_EPROTOCOL, .code = 1007},
    {"compressed text that is no UTF-8", /* \xff, as a stored block */
     BYTES(DEFLATE("; server_no_context_takeover")
           "\xc1\x07\x00\x01\x00\xfe\xff\xff\x00"),
     .is_lax = true, .deflates = true, .error = PEAL_EPROTOCOL, .code = 1007},
    {"a compressed ping",
     BYTES(DEFLATE("; server_no_context_takeover") "\xc9\x00"),
     .is_lax = true, .deflates = true, .error = PEAL_EPROTOCOL, .code = 1002},
    {"half a compressed frame",
     BYTES(DEFLATE("; server_no_context_takeover") "\xc1\x05\xf2"),
     .is_lax = true, .deflates = true, .is_closing = true, .error = PEAL_EGONE,
     .code = 1006},
    {"a bomb", BYTES(ANY "\x82\x7f\0\0\1\0\0\0\0\0"), .is_lax = true,
     .error = PEAL_EPROTOCOL, .code = 1009},
    {"a bomb in pieces", BYTES(ANY "\x02\x7e\xff\xff"), .repeats = 6000,
     .is_lax = true, .error = PEAL_EPROTOCOL},
    {"text that is no UTF-8", BYTES(ANY "\x81\x02\xc3\x28"), .is_lax = true,
     .error = PEAL_EPROTOCOL, .code = 1007},
    {"half a frame", BYTES(ANY "\x81\x05he"), .is_lax = true,
     .is_closing = true, .error = PEAL_EGONE, .code = 1006},
    {"a goodbye", BYTES(ANY "\x88\x06\x0f\xa1kick"), .is_lax = true,
     .error = PEAL_EGONE, .code = 4001},
    {"silence after the welcome", BYTES(ANY "\x81\x62" WELCOME), .is_lax = true,
     .gets_in = true, .error = PEAL_ETIMEOUT, .code = 1006},
    {"a frame that is too short", BYTES("\0\0\0\3"), .is_tcp = true,
     .error = PEAL_EPROTOCOL, .code = 1002},
    {"a frame that is too long", BYTES("\x7f\0\0\0"), .is_tcp = true,
     .error = PEAL_EPROTOCOL, .code = 1009},
    {"half a welcome", BYTES("\0\0\0\x60\6\0\0{"), .is_tcp = true,
     .is_closing = true, .error = PEAL_EGONE, .code = 1006},
    {"no welcome", BYTES("\0\0\0\7\3\0\0"), .is_tcp = true,
     .error = PEAL_ETIMEOUT},
};

static int listener = -1;
static SSL_CTX *server_tls;
static struct peal_tls *link_tls;

/* A server's side of a connection. */
struct side {
    int fd;
    SSL *ssl; /* NULL: not encrypted */
};
static char address[64];

static struct side accept_side(bool has_tls)
{
    struct side side = {.fd = accept(listener, NULL, NULL)};

    CHECK(side.fd >= 0);
    if (has_tls) {
        side.ssl = SSL_new(server_tls);
        SSL_set_fd(side.ssl, side.fd);
        CHECK_EQUAL(SSL_accept(side.ssl), 1);
    }
    return side;
}

static ssize_t hear(const struct side *side, char *bytes, size_t size)
{
    return side->ssl != NULL ? SSL_read(side->ssl, bytes, (int)size)
                             : recv(side->fd, bytes, size, 0);
}

/* Until the link has gone. */
static void close_side(struct side *side)
{
    char rest[4096];

    while (hear(side, rest, sizeof rest) > 0) {
    }
    SSL_free(side->ssl);
    close(side->fd);
}

/* Reads up to a blank line. */
static void read_request(const struct side *side)
{
    char request[4096] = "";
    size_t size = 0;

    while (strstr(request, "\r\n\r\n") == NULL) {
        ssize_t got = hear(side, request + size, sizeof request - 1 - size);

        CHECK(got > 0);
        size += (size_t)got;
        request[size] = '\0';
    }
}

static void say(const struct side *side, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = side->ssl != NULL
                           ? SSL_write(side->ssl, bytes, (int)size)
                           : send(side->fd, bytes, size, MSG_NOSIGNAL);

        if (sent <= 0) {
            return; /* it has had enough */
        }
        bytes += sent;
        size -= (size_t)sent;
    }
}

static void *serve(void *argument)
{
    const struct attack *attack = argument;
    struct side side = accept_side(attack->has_tls);

    if (!attack->is_tcp) {
        read_request(&side);
    }
    say(&side, attack->bytes, attack->size);
    for (size_t i = 0; i < attack->repeats; i++) {
        say(&side, "A: 1234567890\r\n", 15);
    }
    if (attack->is_closing) {
        shutdown(side.fd, SHUT_WR);
    }
    close_side(&side);
    return NULL;
}

static void run_attack(const struct attack *attack)
{
    struct peal_link_options options;
    struct link_notes notes;
    struct peal_loop *loop;
    struct peal_link *link;
    pthread_t thread;
    char url[160];

    print_message("%s%s\n", attack->name, attack->has_tls ? " in TLS" : "");
    CHECK(pthread_create(&thread, NULL, serve, (void *)attack) == 0);
    link_url(url, address, attack->is_tcp);
    if (attack->has_tls) {
        snprintf(url, sizeof url, "%s://%s", attack->is_tcp ? "tls" : "wss",
                 address);
    }
    options = link_test_options(url, &notes);
    options.tls = link_tls;
    options.accept_any_key = attack->is_lax;
    options.deflate = attack->deflates;
    options.reconnect_attempts = PEAL_OFF;
    if (attack->error == PEAL_ETIMEOUT && !attack->gets_in) {
        options.connect_timeout_ms = attack->has_tls ? 1000 : 100;
    }
    CHECK_EQUAL(peal_loop_new(&loop, NULL), 0);
    CHECK_EQUAL(peal_link_new(&link, loop, &options), 0);
    CHECK_EQUAL(peal_link_open(link), 0);
    LINK_STEP_UNTIL(loop,
                    notes.changes > 1 && notes.state == PEAL_LINK_DISCONNECTED);
    CHECK_EQUAL(notes.last.error, attack->error);
    CHECK_EQUAL(notes.connects, attack->gets_in);
    CHECK_EQUAL(notes.errors, 1);
    CHECK_EQUAL(notes.error, attack->error);
    if (attack->code != 0) {
        CHECK_EQUAL(notes.last.code, attack->code);
    }
    CHECK(attack->http_status == 0 ||
          notes.last.http_status == attack->http_status);
    peal_link_free(link);
    peal_loop_free(loop);
    pthread_join(thread, NULL);
}

static void test_every_attack_ends_with_a_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(attacks); i++) {
        struct attack attack = attacks[i];

        run_attack(&attack);
        attack.has_tls = true;
        run_attack(&attack);
    }
}

static void test_compressed_bombs_are_cut_short(void **state)
{
    static const char head[] = DEFLATE("; server_no_context_takeover");
    static char zeros[1 << 20];
    size_t packed_max = (size_t)4 << 20;
    char *bytes = malloc(sizeof head + 10 + packed_max);
    struct attack bomb = {"a compressed bomb", .bytes = bytes, .is_lax = true,
                          .deflates = true, .error = PEAL_EPROTOCOL,
                          .code = 1009};
    z_stream stream = {.next_out = (Bytef *)bytes + sizeof head - 1 + 10,
                       .avail_out = (uInt)packed_max};
    size_t packed;

    (void)state;
    memcpy(bytes, head, sizeof head - 1);
    CHECK(deflateInit2(&stream, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) ==
          Z_OK);
    /* 200 times as much as a message may have, in a fifth of that. */
    for (int i = 0; i < 200; i++) {
        stream.next_in = (Bytef *)zeros;
        stream.avail_in = sizeof zeros;
        CHECK(deflate(&stream, Z_NO_FLUSH) == Z_OK);
    }
    CHECK(deflate(&stream, Z_SYNC_FLUSH) == Z_OK);
    packed = stream.total_out - 4;
    deflateEnd(&stream);
    memcpy(bytes + sizeof head - 1, "\xc2\x7f\0\0\0\0", 6);
    for (size_t i = 0; i < 4; i++) {
        bytes[sizeof head - 1 + 6 + i] = (char)(packed >> (24 - 8 * i));
    }
    bomb.size = sizeof head - 1 + 10 + packed;
    run_attack(&bomb);
    free(bytes);
}

/* An original server of stelar-time-real proves nothing. */
static void test_a_wrong_accept_value_is_tolerated_on_request(void **state)
{
    static const struct attack original = {
        "a stelar server",
        BYTES(ANY "\x81\x1b{\"event\":\"echo\",\"data\":\"x\"}"),
        .is_lax = true};
    struct peal_link_options options;
    struct link_notes notes;
    struct peal_loop *loop;
    struct peal_link *link;
    pthread_t thread;
    char url[160];

    (void)state;
    CHECK(pthread_create(&thread, NULL, serve, (void *)&original) == 0);
    options = link_test_options(link_url(url, address, false), &notes);
    options.accept_any_key = true;
    options.dialect = PEAL_DIALECT_STELAR;
    CHECK_EQUAL(peal_loop_new(&loop, NULL), 0);
    CHECK_EQUAL(peal_link_new(&link, loop, &options), 0);
    CHECK_EQUAL(peal_link_on(link, "echo", link_note_event, &notes), 0);
    CHECK_EQUAL(peal_link_open(link), 0);
    LINK_STEP_UNTIL(loop, notes.events == 1);
    CHECK_EQUAL(notes.state, PEAL_LINK_CONNECTED);
    peal_link_free(link);
    peal_loop_free(loop);
    pthread_join(thread, NULL);
}

/* Lets pings go unanswered while it says other things, then answers one. */
static void *serve_late_pong(void *argument)
{
    struct side side = accept_side(false);
    struct timeval pause = {.tv_usec = 15000};
    char rest[4096];

    (void)argument;
    read_request(&side);
    say(&side, BYTES(ANY "\x81\x62" WELCOME));
    CHECK(setsockopt(side.fd, SOL_SOCKET, SO_RCVTIMEO, &pause, sizeof pause) ==
          0);
    for (int i = 0; i < 12; i++) {
        say(&side, BYTES("\x81\x10{\"event\":\"tick\"}"));
        while (hear(&side, rest, sizeof rest) > 0) {
        }
    }
    say(&side, BYTES("\x8a\0"));
    shutdown(side.fd, SHUT_WR);
    close_side(&side);
    return NULL;
}

/* A pong proves what was written before its own ping, and no more. */
static void test_a_late_pong_proves_nothing_later(void **state)
{
    struct peal_event event = peal_json("later", NULL);
    struct peal_link_options options;
    struct link_notes notes;
    struct peal_loop *loop;
    struct peal_link *link;
    pthread_t thread;
    char url[160];

    (void)state;
    CHECK(pthread_create(&thread, NULL, serve_late_pong, NULL) == 0);
    options = link_test_options(link_url(url, address, false), &notes);
    options.accept_any_key = true;
    options.reconnect_attempts = PEAL_OFF;
    options.ping_timeout_ms = 10000;
    CHECK_EQUAL(peal_loop_new(&loop, NULL), 0);
    CHECK_EQUAL(peal_link_new(&link, loop, &options), 0);
    CHECK_EQUAL(peal_link_open(link), 0);
    LINK_STEP_UNTIL(loop, notes.connects == 1);
    CHECK_EQUAL(peal_link_emit(link, &event), 0);
    LINK_STEP_UNTIL(loop, notes.state == PEAL_LINK_DISCONNECTED);
    CHECK_EQUAL(notes.last.error, PEAL_EGONE);
    CHECK_EQUAL(notes.last.unproven, 1);
    peal_link_free(link);
    peal_loop_free(loop);
    pthread_join(thread, NULL);
}

/* How long a link waits after what a server has said. */
static uint32_t wait_after(const struct attack *attack)
{
    struct peal_link_options options;
    struct link_notes notes;
    struct peal_loop *loop;
    struct peal_link *link;
    pthread_t thread;
    uint32_t wait_ms;
    char url[160];

    CHECK(pthread_create(&thread, NULL, serve, (void *)attack) == 0);
    options = link_test_options(link_url(url, address, attack->is_tcp), &notes);
    options.accept_any_key = true;
    CHECK_EQUAL(peal_loop_new(&loop, NULL), 0);
    CHECK_EQUAL(peal_link_new(&link, loop, &options), 0);
    CHECK_EQUAL(peal_link_open(link), 0);
    LINK_STEP_UNTIL(loop, notes.state == PEAL_LINK_RECONNECTING);
    wait_ms = notes.last.retry_in_ms;
    CHECK(attack->code == 0 || notes.last.code == attack->code);
    peal_link_free(link);
    peal_loop_free(loop);
    pthread_join(thread, NULL);
    return wait_ms;
}

#define GOODBYE(time)                                                          \
    "{\"event\":\"peal:goodbye\",\"data\":{\"code\":1001,"                   \
    "\"retry_after_ms\":" time "}}"

static void test_links_come_back_when_they_are_told(void **state)
{
    static const struct attack goodbye = {
        "a goodbye and a close frame",
        BYTES(ANY "\x81\x62" WELCOME "\x81\x43" GOODBYE("1733")
                  "\x88\x02\x03\xe9"),
        .code = 1001};
    static const struct attack distant = {
        "a goodbye for too long",
        BYTES(ANY "\x81\x62" WELCOME "\x81\x48" GOODBYE("900000000")),
        .is_closing = true, .code = 1001};
    static const struct attack frame = {
        "a DISCONNECT",
        BYTES("\0\0\0\x11\6\0\0{\"id\":\"x\"}"
              "\0\0\0\x2a\7\0\0{\"code\":1001,\"retry_after_ms\":1733}"),
        .is_tcp = true, .is_closing = true, .code = 1001};
    static const struct attack busy = {
        "Retry-After",
        BYTES("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n\r\n"),
        .code = 0};
    uint32_t wait_ms;

    (void)state;
    CHECK_EQUAL(wait_after(&goodbye), 1733);
    CHECK_EQUAL(wait_after(&distant), 3600000);
    CHECK_EQUAL(wait_after(&frame), 1733);
    wait_ms = wait_after(&busy); /* and up to 10 of its own */
    CHECK(wait_ms >= 7000 && wait_ms <= 7010);
}

static int set_up_tls(void **state)
{
    struct peal_tls_client_options options = {.size = sizeof options};

    (void)state;
    signal(SIGPIPE, SIG_IGN); /* of OpenSSL's own writes */
    certificates_open();
    certificates_make(
        &(struct certificate){.name = "main", .names = "IP:127.0.0.1"});
    server_tls = SSL_CTX_new(TLS_server_method());
    CHECK_EQUAL(SSL_CTX_use_certificate_file(server_tls,
                                             certificates_path("main.crt"),
                                             SSL_FILETYPE_PEM),
                1);
    CHECK_EQUAL(SSL_CTX_use_PrivateKey_file(server_tls,
                                            certificates_path("main.key"),
                                            SSL_FILETYPE_PEM),
                1);
    options.ca_file = certificates_path("main.crt");
    CHECK_EQUAL(peal_tls_client_new(&link_tls, &options, NULL, 0), 0);
    return 0;
}

static int tear_down_tls(void **state)
{
    (void)state;
    peal_tls_free(link_tls);
    SSL_CTX_free(server_tls);
    certificates_close();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_attack_ends_with_a_reason),
        cmocka_unit_test(test_compressed_bombs_are_cut_short),
        cmocka_unit_test(test_a_wrong_accept_value_is_tolerated_on_request),
        cmocka_unit_test(test_a_late_pong_proves_nothing_later),
        cmocka_unit_test(test_links_come_back_when_they_are_told),
    };

    listener = listener_open(address, sizeof address);
    return cmocka_run_group_tests(tests, set_up_tls, tear_down_tls);
}
