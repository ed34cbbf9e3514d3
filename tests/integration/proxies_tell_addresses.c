/*
 * Goal: a trusted proxy tells by the PROXY protocol whom it speaks for, on both
 * transports, however its header is cut; nobody else can, and what is no header
 * is turned away and counted.
 *
 * Method: this machine is the proxy, trusted or not, and writes headers byte by
 * byte as HAProxy's proxy-protocol.txt has them; what on_connect is told comes
 * back as an event. And HAProxy itself, where it is installed.
 */
#include "support/suite.h"

#include <peal/http.h>
#include <peal/policy.h>

#include "support/handlers.h"
#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define BYTES(literal) (literal), sizeof(literal) - 1

static const char *const here[] = {"127.0.0.0/8", NULL};
static const char *const elsewhere[] = {"10.0.0.0/8", NULL};

static struct host host;
static _Atomic int warnings; /* about headers */

static void count_log(enum peal_log_level level, const char *component,
                      const char *message, const char *fields, void *user)
{
    (void)component;
    (void)user;
    if (strcmp(message, "proxy header refused") == 0 &&
        level == PEAL_LOG_WARN) {
        CHECK(strstr(fields, "remote=127.0.0.1:") != NULL);
        CHECK(strstr(fields, "reason=\"") != NULL);
        atomic_fetch_add(&warnings, 1);
    }
}

static void on_page(const struct peal_http_request *request,
                    struct peal_http_reply reply, void *user)
{
    struct peal_http_response response = {
        .size = sizeof response,
        .body = peal_slice(request->address),
    };

    (void)user;
    CHECK_EQUAL(peal_http_respond(reply, &response), 0);
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on_any(server, handlers_tell_address, NULL), 0);
    CHECK_EQUAL(peal_server_http(server, "GET", "/me", on_page, NULL), 0);
}

static void begin_with(struct peal_server_options options)
{
    atomic_store(&warnings, 0);
    options.on_connect = handlers_keep_address;
    options.log = count_log;
    options.log_level = PEAL_LOG_WARN;
    host_start(&host, &options, setup);
}

static void begin(enum peal_proxy_protocol mode, const char *const *trusted)
{
    begin_with((struct peal_server_options){
        .proxy_protocol = mode,
        .trusted_proxies = trusted,
    });
}

/* --- What may come -------------------------------------------------------- */

static const struct {
    const char *header;
    size_t size;
    const char *address; /* NULL: the socket's own */
} good[] = {
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"),
     "192.0.2.1:56324"},
    {BYTES("PROXY TCP6 2001:db8::1 ::1 1 443\r\n"), "[2001:db8::1]:1"},
    {BYTES("PROXY UNKNOWN\r\n"), NULL},
    {BYTES("PROXY UNKNOWN ::1 ::1 1 2\r\n"), NULL},
    {BYTES(V2 "\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb"),
     "192.0.2.1:56324"},
    /* With two TLVs. */
    {BYTES(V2 "\x21\x11\0\x14\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb"
              "\x02\0\x01x\x04\0\x01y"),
     "192.0.2.1:56324"},
    {BYTES(V2 "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
              "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\x01\xbb"),
     "[2001:db8::1]:1"},
    {BYTES(V2 "\x20\0\0\0"), NULL},
    {BYTES(V2 "\x21\0\0\x02zz"), NULL},
};

/* The address of our end of the connection. */
static void own_address(const struct peer *peer, char out[PEAL_ADDRESS_MAX])
{
    struct sockaddr_in own;
    socklen_t size = sizeof own;

    CHECK_EQUAL(getsockname(peer->fd, (struct sockaddr *)&own, &size), 0);
    snprintf(out, PEAL_ADDRESS_MAX, "127.0.0.1:%d", ntohs(own.sin_port));
}

/* What a client says first, so that it can come together with the header. */
static size_t first_words(bool is_tcp, char out[1024])
{
    static const char who[] = "{\"event\":\"who\"}";
    size_t size = 0;

    if (is_tcp) {
        return tcp_make(out, TCP_ENVELOPE_FRAME, NULL, who, sizeof who - 1);
    }
    size = (size_t)sprintf(out, "GET / HTTP/1.1\r\nHost: x\r\n"
                                "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Version: 13\r\n"
                                "Sec-WebSocket-Key: "
                                "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    return size + ws_make(out + size, WS_TEXT_FRAME, who, sizeof who - 1);
}

/* Sends all but the last `step` bytes one by one, or all at once for 0. */
static void send_cut(struct peer *peer, const char *data, size_t size,
                     size_t step)
{
    if (step == 0) {
        peer_send(peer, data, size);
        return;
    }
    for (size_t i = 0; i < size; i += step) {
        peer_send(peer, data + i, i + step < size ? step : size - i);
    }
}

/* Takes the answer to the request, the welcome, and the address. */
static void expect_address(struct member *member, const char *address)
{
    char own[PEAL_ADDRESS_MAX];

    if (!member->is_tcp) {
        CHECK(peer_wait(&member->peer, 12));
        CHECK(memcmp(peer_take(&member->peer, 12), "HTTP/1.1 101", 12) == 0);
        for (char last[4] = ""; memcmp(last, "\r\n\r\n", 4) != 0;) {
            memmove(last, last + 1, 3);
            last[3] = *peer_take(&member->peer, 1);
        }
    }
    member_welcome(member);
    own_address(&member->peer, own);
    member_expect(member, "{'event':'you','data':'%s'}",
                  address != NULL ? address : own);
}

/* Comes in behind a header, all of it in one piece or cut. */
static void come_in(struct member *member, bool is_tcp, const char *header,
                    size_t header_size, size_t step)
{
    char bytes[2048];

    memset(member, 0, sizeof *member);
    member->is_tcp = is_tcp;
    CHECK(header_size < 1024);
    memcpy(bytes, header, header_size);
    peer_dial(&member->peer, host_address(&host, is_tcp));
    send_cut(&member->peer, bytes,
             header_size + first_words(is_tcp, bytes + header_size), step);
}

static void test_addresses(void **state)
{
    static const enum peal_proxy_protocol modes[] = {PEAL_PROXY_REQUIRED,
                                                     PEAL_PROXY_OPTIONAL};
    struct member member;

    (void)state;
    for (size_t m = 0; m < ARRAY_SIZE(modes); m++) {
        begin(modes[m], here);
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
            for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
                for (size_t step = 0; step < 8; step += step + 1) {
                    come_in(&member, is_tcp, good[i].header, good[i].size,
                            step);
                    expect_address(&member, good[i].address);
                    member_close(&member);
                }
            }
        }
        CHECK_EQUAL(host_stats(&host).refused_proxy_protocol, 0);
        host_await_empty(&host);
        host_stop(&host);
    }
}

/* A unix socket's client has no address to count it by. */
static void test_unix(void **state)
{
    char header[16 + 216] = V2 "\x21\x31\0\xd8";
    struct member members[2];

    (void)state;
    begin_with((struct peal_server_options){
        .proxy_protocol = PEAL_PROXY_REQUIRED,
        .trusted_proxies = here,
        .clients_per_address_max = 1,
        .address_rate = {.capacity = 1, .refill = 1, .refill_ms = 1000000},
    });
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        come_in(&members[is_tcp], is_tcp, header, sizeof header, 0);
        expect_address(&members[is_tcp], "unix:");
    }
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        member_close(&members[is_tcp]);
    }
    host_stop(&host);
}

static void say(struct peer *peer, bool is_tcp, const char *bytes, size_t size)
{
    peer_dial(peer, host_address(&host, is_tcp));
    (void)peer_send_if_open(peer, bytes, size);
}

/* A client that says this is turned away without a word. */
static void expect_refused(bool is_tcp, const char *bytes, size_t size)
{
    uint64_t before = host_stats(&host).refused_proxy_protocol;
    struct peer peer;

    say(&peer, is_tcp, bytes, size);
    peer_expect_end(&peer);
    peer_close(&peer);
    CHECK_SOON(host_stats(&host).refused_proxy_protocol == before + 1);
}

static void test_garbage(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } bad[] = {
        {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n")},
        {BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n")},
        {BYTES("PROXY \r\n")},
        {BYTES(V2 "\x22\0\0\0")},
        {BYTES(V2 "\x21\x11\0\x04\0\0\0\0")},
        {BYTES(V2 "\x21\x11\xff\xff")}, /* beyond header_bytes_max */
    };

    (void)state;
    for (int mode = PEAL_PROXY_OPTIONAL; mode <= PEAL_PROXY_REQUIRED; mode++) {
        begin((enum peal_proxy_protocol)mode, here);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
            expect_refused(i % 2 == 0, bad[i].bytes, bad[i].size);
        }
        CHECK_EQUAL(atomic_load(&warnings), ARRAY_SIZE(bad));
        CHECK_EQUAL(host_stats(&host).closed_handshake_timeout, 0);
        host_await_empty(&host);
        host_stop(&host);
    }
}

static void test_none_where_one_is_due(void **state)
{
    char words[1024];

    (void)state;
    begin(PEAL_PROXY_REQUIRED, here);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        expect_refused(is_tcp, words, first_words(is_tcp, words));
    }
    CHECK_EQUAL(atomic_load(&warnings), 2);
    host_stop(&host);
}

static void test_none_where_one_may_be(void **state)
{
    struct member member;

    (void)state;
    begin(PEAL_PROXY_OPTIONAL, here);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        for (size_t step = 0; step < 2; step++) {
            come_in(&member, is_tcp, "", 0, step);
            expect_address(&member, NULL);
            member_close(&member);
        }
    }
    CHECK_EQUAL(host_stats(&host).refused_proxy_protocol, 0);
    host_stop(&host);
}

/* --- Who may send one ----------------------------------------------------- */

static void test_strangers(void **state)
{
    struct member member;
    struct peer peer;

    (void)state;
    begin(PEAL_PROXY_OPTIONAL, elsewhere);
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        expect_refused(false, good[i].header, good[i].size);
    }
    /* Whoever waits for the welcome gets it, and no header later. */
    for (size_t i = 0; i < ARRAY_SIZE(good); i += 4) {
        member_open(&member, host.tcp, true);
        peer_send(&member.peer, good[i].header, good[i].size);
        member_expect_close(&member, 1002);
    }
    CHECK_EQUAL(host_stats(&host).refused_proxy_protocol,
                ARRAY_SIZE(good) + 3);
    CHECK_EQUAL(atomic_load(&warnings), 0);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        come_in(&member, is_tcp, "", 0, 0);
        expect_address(&member, NULL);
        member_close(&member);
    }
    host_await_empty(&host);
    host_stop(&host);

    begin(PEAL_PROXY_REQUIRED, elsewhere);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        say(&peer, is_tcp, good[0].header, good[0].size);
        peer_drain(&peer);
        peer_close(&peer);
        CHECK_SOON(host_stats(&host).refused_proxy_protocol ==
                   (uint64_t)is_tcp + 1);
    }
    CHECK_EQUAL(host_stats(&host).connections, 0);
    host_stop(&host);
}

/* Where none is understood it is told apart from other garbage. */
static void test_off(void **state)
{
    struct http_reply reply;
    struct member member;

    (void)state;
    begin(PEAL_PROXY_OFF, here);
    http_ask(host.ws, "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n\r\n", &reply);
    CHECK_EQUAL(reply.status, 400);
    CHECK_EQUAL(host_stats(&host).refused_proxy_protocol, 1);
    member_open(&member, host.tcp, true);
    peer_send(&member.peer, good[4].header, good[4].size);
    member_expect_close(&member, 1002);
    CHECK_EQUAL(host_stats(&host).refused_proxy_protocol, 2);
    CHECK_EQUAL(host_stats(&host).closed_message_bytes, 0);
    CHECK_EQUAL(atomic_load(&warnings), 2);
    host_stop(&host);
}

/* --- What it is good for -------------------------------------------------- */

/* Limits, rates and forwarded headers go by what the header says. */
static void test_what_counts(void **state)
{
    static const char of_2[] = "PROXY TCP4 192.0.2.2 127.0.0.1 7 1\r\n";
    static const char of_proxy[] = "PROXY TCP4 127.0.0.9 127.0.0.1 7 1\r\n";
    struct member members[2];
    struct member member;
    struct peer peer;

    (void)state;
    begin_with((struct peal_server_options){
        .proxy_protocol = PEAL_PROXY_REQUIRED,
        .trusted_proxies = here,
        .clients_per_address_max = 2,
    });
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        come_in(&members[is_tcp], is_tcp, good[0].header, good[0].size, 0);
        expect_address(&members[is_tcp], good[0].address);
    }
    /* The third of that address, told by the other version. */
    memset(&member, 0, sizeof member);
    come_in(&member, true, good[4].header, good[4].size, 0);
    member_expect_close(&member, 1013);
    say(&peer, false, good[4].header, good[4].size);
    ws_ask(&peer, "/", "");
    CHECK(peer_wait(&peer, 12));
    CHECK(memcmp(peer_take(&peer, 12), "HTTP/1.1 429", 12) == 0);
    peer_drain(&peer);
    peer_close(&peer);
    CHECK_EQUAL(host_stats(&host).refused_clients_per_address, 2);
    come_in(&member, true, of_2, sizeof of_2 - 1, 0);
    expect_address(&member, "192.0.2.2:7");
    member_close(&member);

    /* Behind two proxies: the header tells of the first, which forwards. */
    memset(&member, 0, sizeof member);
    say(&member.peer, false, of_proxy, sizeof of_proxy - 1);
    ws_ask(&member.peer, "/", "X-Forwarded-For: 192.0.2.3\r\n");
    ws_expect_open(&member.peer);
    member_welcome(&member);
    member_say(&member, "{'event':'who'}");
    member_expect(&member, "{'event':'you','data':'192.0.2.3:0'}");
    member_close(&member);
    /* Who is not one of them is not believed. */
    memset(&member, 0, sizeof member);
    say(&member.peer, false, of_2, sizeof of_2 - 1);
    ws_ask(&member.peer, "/", "X-Forwarded-For: 192.0.2.3\r\n");
    ws_expect_open(&member.peer);
    member_welcome(&member);
    member_say(&member, "{'event':'who'}");
    member_expect(&member, "{'event':'you','data':'192.0.2.2:7'}");
    member_close(&member);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        member_close(&members[is_tcp]);
    }
    host_await_empty(&host);
    host_stop(&host);
}

/* The proxy may have any number of connections, whom it speaks for may not. */
static void expect_arrivals(uint32_t prefix_bits, const char *same)
{
    struct peer silent[4];
    struct peer late;

    begin_with((struct peal_server_options){
        .proxy_protocol = PEAL_PROXY_REQUIRED,
        .trusted_proxies = here,
        .handshakes_per_address_max = 2,
        .ipv6_prefix_bits = prefix_bits,
    });
    for (int i = 0; i < 4; i++) {
        say(&silent[i], false, good[1].header, i < 2 ? good[1].size : 3);
    }
    CHECK_SOON(host_stats(&host).connections == 4);
    /* Of the same network, and counted as one. */
    say(&late, false, same, strlen(same));
    peer_expect_end(&late);
    peer_close(&late);
    CHECK_EQUAL(host_stats(&host).refused_handshakes_per_address, 1);
    for (int i = 0; i < 4; i++) {
        peer_close(&silent[i]);
    }
    host_await_empty(&host);
    host_stop(&host);
}

static void test_arrivals(void **state)
{
    (void)state;
    expect_arrivals(0, "PROXY TCP6 2001:db8::7 ::1 5 6\r\n");
    expect_arrivals(48, "PROXY TCP6 2001:db8:0:9::7 ::1 5 6\r\n");
}

/* Handlers see it, for each request of a connection. */
static void test_http(void **state)
{
    static const char request[] = "GET /me HTTP/1.1\r\nHost: x\r\n\r\n";
    struct http_reply reply;
    struct peer peer;

    (void)state;
    begin(PEAL_PROXY_REQUIRED, here);
    say(&peer, false, good[0].header, good[0].size);
    for (int i = 0; i < 2; i++) {
        peer_send(&peer, request, sizeof request - 1);
        http_read(&peer, &reply, true);
        CHECK(strcmp(reply.body, good[0].address) == 0);
    }
    peer_close(&peer);
    host_stop(&host);
}

static struct {
    pthread_mutex_t lock;
    struct peal_admission admission;
    char address[2][PEAL_ADDRESS_MAX]; /* as each of the two was told */
    int count;
} asked = {.lock = PTHREAD_MUTEX_INITIALIZER};

static enum peal_verdict put_off(const struct peal_connect *connect,
                                 struct peal_admission admission,
                                 struct peal_denial *denial, void *user)
{
    const int *which = user;

    (void)denial;
    pthread_mutex_lock(&asked.lock);
    snprintf(asked.address[*which], PEAL_ADDRESS_MAX, "%s", connect->address);
    asked.admission = admission;
    asked.count++;
    pthread_mutex_unlock(&asked.lock);
    return *which == 0 ? PEAL_LATER : PEAL_ALLOW;
}

/* How often so far; `is_over` begins anew. */
static int asked_count(bool is_over)
{
    int count;

    pthread_mutex_lock(&asked.lock);
    count = asked.count;
    asked.count = is_over ? 0 : count;
    pthread_mutex_unlock(&asked.lock);
    return count;
}

static void setup_middleware(struct peal_server *server)
{
    static int first = 0;
    static int second = 1;

    setup(server);
    CHECK_EQUAL(peal_server_use(server, put_off, &first), 0);
    CHECK_EQUAL(peal_server_use(server, put_off, &second), 0);
}

/* It is the same before and after a decision that came later. */
static void test_middleware(void **state)
{
    struct peal_server_options options = {
        .proxy_protocol = PEAL_PROXY_REQUIRED,
        .trusted_proxies = here,
        .on_connect = handlers_keep_address,
    };
    struct member member;

    (void)state;
    host_start(&host, &options, setup_middleware);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        come_in(&member, is_tcp, good[0].header, good[0].size, 0);
        CHECK_SOON(asked_count(false) == 1);
        CHECK_EQUAL(
            peal_admission_decide(asked.admission, PEAL_ALLOW, NULL), 0);
        expect_address(&member, good[0].address);
        CHECK_EQUAL(asked_count(true), 2);
        for (int i = 0; i < 2; i++) {
            CHECK(strcmp(asked.address[i], good[0].address) == 0);
        }
        member_close(&member);
    }
    host_stop(&host);
}

/* --- Times, listeners, options -------------------------------------------- */

static void test_half_a_header(void **state)
{
    struct peer peer;

    (void)state;
    begin_with((struct peal_server_options){
        .proxy_protocol = PEAL_PROXY_REQUIRED,
        .trusted_proxies = here,
        .handshake_timeout_ms = 30,
    });
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        say(&peer, is_tcp, good[0].header, good[0].size - 1);
        peer_expect_end(&peer);
        peer_close(&peer);
    }
    CHECK_EQUAL(host_stats(&host).closed_handshake_timeout, 2);
    CHECK_EQUAL(host_stats(&host).refused_proxy_protocol, 0);
    host_stop(&host);

    /* Whoever ends, or is there at a stop, in the middle of one. */
    begin(PEAL_PROXY_REQUIRED, here);
    say(&peer, false, good[0].header, 3);
    peer_finish(&peer);
    peer_expect_end(&peer);
    peer_close(&peer);
    host_await_empty(&host);
    say(&peer, false, good[0].header, 3);
    CHECK_SOON(host_stats(&host).connections == 1);
    peal_server_stop(host.server);
    peer_expect_end(&peer);
    peer_close(&peer);
    host_stop(&host);
}

/* A listener may differ from the others; internal ones do. */
static void test_listeners(void **state)
{
    struct peal_server_options options = {
        .size = sizeof options,
        .ws_listen = "127.0.0.1:0",
        .internal_listen = "127.0.0.1:0",
        .proxy_protocol = PEAL_PROXY_REQUIRED,
        .trusted_proxies = here,
        .on_connect = handlers_keep_address,
    };
    struct peal_listen plain = {
        .size = sizeof plain,
        .address = "127.0.0.1:0",
        .proxy_protocol = PEAL_PROXY_OFF,
    };
    char internal[PEAL_ADDRESS_MAX];
    struct http_reply reply;

    (void)state;
    CHECK_EQUAL(peal_server_new(&host.server, &options), 0);
    CHECK_EQUAL(peal_server_listen(host.server, &plain), 0);
    CHECK_EQUAL(peal_server_start(host.server), 0);
    CHECK_EQUAL(peal_server_address(host.server, 0, host.ws), 0);
    expect_refused(false, BYTES("GET / HTTP/1.1\r\n\r\n"));
    CHECK_EQUAL(peal_server_address(host.server, 1, internal), 0);
    http_ask(internal, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    CHECK_EQUAL(reply.status, 200);
    CHECK_EQUAL(peal_server_address(host.server, 2, host.ws), 0);
    CHECK_EQUAL(ws_try(host.ws, "/", ""), 101);
    host_stop(&host);
}

/* Whether a client without a header gets no answer. */
static bool is_turned_away(void)
{
    struct peer peer;
    bool is_answered;

    say(&peer, false, BYTES("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    is_answered = peer_wait(&peer, 1);
    peer_close(&peer);
    return !is_answered;
}

static void test_options(void **state)
{
    struct peal_server_options options = {
        .size = sizeof options,
        .ws_listen = "127.0.0.1:0",
        .proxy_protocol = PEAL_PROXY_OPTIONAL,
    };
    struct peal_listen listen = {
        .size = sizeof listen,
        .address = "127.0.0.1:0",
        .proxy_protocol = PEAL_PROXY_REQUIRED,
    };
    const char *problem;
    struct peal_server *server;

    (void)state;
    CHECK_EQUAL(peal_server_new(&server, &options), PEAL_EINVAL);
    options.proxy_protocol = PEAL_PROXY_REQUIRED + 1;
    options.trusted_proxies = here;
    CHECK_EQUAL(peal_server_new(&server, &options), PEAL_EINVAL);
    options.proxy_protocol = PEAL_PROXY_DEFAULT;
    options.trusted_proxies = NULL;
    CHECK_EQUAL(peal_server_new(&server, &options), 0);
    CHECK_EQUAL(peal_server_listen(server, &listen), PEAL_EINVAL);
    peal_server_free(server);

    /* It can be switched on while the server runs. */
    begin(PEAL_PROXY_OFF, here);
    options = (struct peal_server_options){.size = sizeof options};
    CHECK_EQUAL(peal_server_config(host.server, &options), 0);
    options.proxy_protocol = PEAL_PROXY_REQUIRED;
    CHECK_EQUAL(peal_server_update(host.server, &options, &problem), 0);
    CHECK_SOON(is_turned_away());
    host_stop(&host);
}

/* --- HAProxy itself ------------------------------------------------------- */

/* A listening socket that a child inherits; its address in `out`. */
static int listen_for_child(char out[PEAL_ADDRESS_MAX])
{
    struct sockaddr_in own = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t size = sizeof own;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(fd >= 0);
    CHECK_EQUAL(bind(fd, (struct sockaddr *)&own, size), 0);
    CHECK_EQUAL(listen(fd, 16), 0);
    CHECK_EQUAL(getsockname(fd, (struct sockaddr *)&own, &size), 0);
    snprintf(out, PEAL_ADDRESS_MAX, "127.0.0.1:%d", ntohs(own.sin_port));
    return fd;
}

static pid_t start_haproxy(const char *program, const char *path)
{
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        execl(program, program, "-db", "-q", "-f", path, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void test_haproxy(void **state)
{
    const char *program = getenv("PEAL_HAPROXY");
    static const char *const ways[] = {"send-proxy", "send-proxy-v2"};
    char path[] = "/tmp/peal-haproxy-XXXXXX";
    char fronts[4][PEAL_ADDRESS_MAX];
    int fds[4];
    FILE *file;
    pid_t pid;

    (void)state;
    if (program == NULL) {
        skip();
    }
    begin(PEAL_PROXY_REQUIRED, here);
    file = fdopen(mkstemp(path), "w");
    CHECK(file != NULL);
    fprintf(file, "global\n  nbthread 1\ndefaults\n  mode tcp\n"
                  "  timeout connect 60s\n  timeout client 60s\n"
                  "  timeout server 60s\n");
    for (int i = 0; i < 4; i++) {
        fds[i] = listen_for_child(fronts[i]);
        fprintf(file, "listen l%d\n  bind fd@%d\n  server s %s %s\n", i, fds[i],
                host_address(&host, i % 2 == 1), ways[i / 2]);
    }
    CHECK_EQUAL(fclose(file), 0);
    pid = start_haproxy(program, path);
    for (int i = 0; i < 4; i++) {
        struct member member = {.is_tcp = i % 2 == 1};
        char words[1024];

        CHECK_EQUAL(close(fds[i]), 0);
        peer_dial(&member.peer, fronts[i]);
        peer_send(&member.peer, words, first_words(member.is_tcp, words));
        expect_address(&member, NULL); /* ours, and not the proxy's */
        member_close(&member);
    }
    CHECK_EQUAL(kill(pid, SIGKILL), 0);
    CHECK_EQUAL(waitpid(pid, NULL, 0), pid);
    CHECK_EQUAL(unlink(path), 0);
    host_stop(&host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_unix),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_none_where_one_is_due),
        cmocka_unit_test(test_none_where_one_may_be),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_what_counts),
        cmocka_unit_test(test_arrivals),
        cmocka_unit_test(test_http),
        cmocka_unit_test(test_middleware),
        cmocka_unit_test(test_half_a_header),
        cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_haproxy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
