/*
 * Goal: nothing of a client is served before all middleware has said yes, be it
 * at once or later from another thread; a no is told in the application's
 * words; whoever never decides refuses.
 *
 * Method: middleware that does what the client's path says, and clients that
 * send their first message together with their request.
 */
#define _GNU_SOURCE /* memmem */
#include "support/suite.h"

#include <peal/policy.h>

#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct host host;
static _Atomic int handled;
static _Atomic int connected;

static struct {
    pthread_mutex_t lock;
    struct peal_admission admissions[16];
    int count;
    int asked[2]; /* of each middleware */
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void put_off(struct peal_admission admission)
{
    pthread_mutex_lock(&seen.lock);
    CHECK(seen.count < 16);
    seen.admissions[seen.count++] = admission;
    pthread_mutex_unlock(&seen.lock);
}

static int seen_count(void)
{
    int count;

    pthread_mutex_lock(&seen.lock);
    count = seen.count;
    pthread_mutex_unlock(&seen.lock);
    return count;
}

static struct peal_admission seen_admission(int index)
{
    struct peal_admission admission;

    CHECK_SOON(seen_count() > index);
    pthread_mutex_lock(&seen.lock);
    admission = seen.admissions[index];
    pthread_mutex_unlock(&seen.lock);
    return admission;
}

static int seen_asked(int which)
{
    int count;

    pthread_mutex_lock(&seen.lock);
    count = seen.asked[which];
    pthread_mutex_unlock(&seen.lock);
    return count;
}

static bool is_path(const struct peal_connect *connect, const char *path)
{
    return peal_slice_equal(connect->path, peal_slice(path));
}

static enum peal_verdict first(const struct peal_connect *connect,
                               struct peal_admission admission,
                               struct peal_denial *denial, void *user)
{
    struct peal_slice token = peal_connect_header(connect, "X-Token");
    char text[64];

    CHECK(user == &host && admission.value != 0);
    CHECK(strncmp(connect->address, "127.0.0.1:", 10) == 0);
    pthread_mutex_lock(&seen.lock);
    seen.asked[0]++;
    pthread_mutex_unlock(&seen.lock);
    snprintf(text, sizeof text, "%.*s?%.*s", (int)token.size,
             token.data != NULL ? token.data : "", (int)connect->query.size,
             connect->query.size > 0 ? connect->query.data : "");
    CHECK_EQUAL(peal_admission_set(admission, "token", text), 0);
    CHECK_EQUAL(peal_admission_set(admission, "gone", text), 0);
    CHECK_EQUAL(peal_admission_set(admission, "gone", NULL), 0);
    CHECK_EQUAL(peal_admission_set(admission, "gone", NULL), 0);
    CHECK_EQUAL(peal_admission_set(admission, "", text), PEAL_EINVAL);
    CHECK_EQUAL(peal_admission_decide(admission, PEAL_ALLOW, NULL), PEAL_EGONE);
    if (is_path(connect, "/status")) {
        denial->status = 402;
        return PEAL_REFUSE;
    }
    if (is_path(connect, "/close")) {
        denial->code = 4001;
        denial->reason = "not you";
        return PEAL_REFUSE;
    }
    if (is_path(connect, "/bad")) {
        denial->code = 4003;
        denial->reason = "\xff not a text";
        return PEAL_REFUSE;
    }
    if (is_path(connect, "/plain")) {
        return PEAL_REFUSE;
    }
    if (is_path(connect, "/later") || is_path(connect, "/twice")) {
        put_off(admission);
        return PEAL_LATER;
    }
    return PEAL_ALLOW;
}

static enum peal_verdict second(const struct peal_connect *connect,
                                struct peal_admission admission,
                                struct peal_denial *denial, void *user)
{
    (void)denial;
    (void)user;
    pthread_mutex_lock(&seen.lock);
    seen.asked[1]++;
    pthread_mutex_unlock(&seen.lock);
    if (is_path(connect, "/twice") || connect->transport == PEAL_TCP) {
        put_off(admission);
        return PEAL_LATER;
    }
    return PEAL_ALLOW;
}

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    (void)connect;
    (void)user;
    CHECK(peal_client_get(client, "token") != NULL);
    CHECK(peal_client_get(client, "gone") == NULL);
    atomic_fetch_add(&connected, 1);
}

static void on_any(struct peal_client *from, const struct peal_event *event,
                   void *user)
{
    char json[128];
    struct peal_event answer;

    (void)event;
    (void)user;
    snprintf(json, sizeof json, "\"%s\"", peal_client_get(from, "token"));
    answer = peal_json("token", json);
    CHECK_EQUAL(peal_client_emit(from, &answer), 0);
    atomic_fetch_add(&handled, 1);
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_use(server, NULL, NULL), PEAL_EINVAL);
    CHECK_EQUAL(peal_server_use(server, first, &host), 0);
    CHECK_EQUAL(peal_server_use(server, second, NULL), 0);
    CHECK_EQUAL(peal_server_on_any(server, on_any, NULL), 0);
}

static void begin(struct peal_server_options options)
{
    atomic_store(&handled, 0);
    atomic_store(&connected, 0);
    seen.count = 0;
    memset(seen.asked, 0, sizeof seen.asked);
    options.on_connect = on_connect;
    options.loops = 2;
    options.metrics_path = "/metrics";
    host_start(&host, &options, setup);
    CHECK_EQUAL(peal_server_use(host.server, first, NULL), PEAL_ESTATE);
}

/* Asks for an upgrade, and says something in the same breath. */
static void ask_and_talk(struct peer *peer, const char *target)
{
    static const char text[] = "{\"event\":\"x\"}";
    char frame[64];
    char request[512];
    size_t size = ws_make(frame, WS_TEXT_FRAME, text, sizeof text - 1);
    int head = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                        "X-Token: t1\r\n\r\n",
                        target);

    memcpy(request + head, frame, size);
    peer_dial(peer, host.ws);
    peer_send(peer, request, (size_t)head + size);
}

/* Takes the 101 and its head. */
static void expect_upgraded(struct peer *peer)
{
    CHECK(peer_wait(peer, 12));
    CHECK(memcmp(peer_take(peer, 12), "HTTP/1.1 101", 12) == 0);
    for (char last[4] = ""; memcmp(last, "\r\n\r\n", 4) != 0;) {
        memmove(last, last + 1, 3);
        last[3] = *peer_take(peer, 1);
    }
}

static void expect_served(struct peer *peer, const char *token)
{
    struct member member = {.peer = *peer};

    expect_upgraded(&member.peer);
    member_welcome(&member);
    member_expect(&member, "{'event':'token','data':'%s'}", token);
    member_close(&member);
}

static void test_yes_and_no_at_once(void **state)
{
    struct peer peer;

    (void)state;
    begin((struct peal_server_options){.size = 0});
    ask_and_talk(&peer, "/?a=b");
    expect_served(&peer, "t1?a=b");
    CHECK_EQUAL(seen_asked(1), 1);
    CHECK_EQUAL(ws_try(host.ws, "/status", ""), 402);
    CHECK_EQUAL(ws_try(host.ws, "/plain", ""), 403);
    peer_dial(&peer, host.ws);
    ws_ask(&peer, "/close", "");
    ws_expect_open(&peer);
    {
        char reason[128];

        ws_expect_close_reason(&peer, 4001, reason, sizeof reason);
        CHECK(strcmp(reason, "not you") == 0);
    }
    peer_close(&peer);
    CHECK_EQUAL(seen_asked(0), 4);
    CHECK_EQUAL(seen_asked(1), 1); /* not after a no */
    CHECK_EQUAL(atomic_load(&connected), 1);
    CHECK_EQUAL(host_stats(&host).clients_total, 1);
    host_stop(&host);
}

#define DECIDED(part, labels)                                                  \
    "peal_hook_duration_seconds" part "{event=\"" labels "}"

static void test_yes_later(void **state)
{
    struct peer peer;

    (void)state;
    begin((struct peal_server_options){.size = 0});
    ask_and_talk(&peer, "/twice?q");
    (void)seen_admission(0);
    CHECK(!peer_has_input(&peer, 20));
    CHECK_EQUAL(atomic_load(&connected), 0);
    CHECK_SOON(host_stats(&host).decisions_pending == 1);
    CHECK_EQUAL(http_metric(host.ws, "peal_hook_queue_length"), 1);
    CHECK_EQUAL(peal_admission_set(seen_admission(0), "token", "late"), 0);
    CHECK_EQUAL(peal_admission_set(seen_admission(0), "gone", "x"), 0);
    CHECK_EQUAL(peal_admission_set(seen_admission(0), "gone", NULL), 0);
    CHECK_EQUAL(peal_admission_decide(seen_admission(0), PEAL_LATER, NULL),
                PEAL_EINVAL);
    CHECK_EQUAL(peal_admission_decide(seen_admission(0), PEAL_ALLOW, NULL), 0);
    /* The other one is asked now. A second yes to the first is not for it. */
    (void)seen_admission(1);
    (void)peal_admission_decide(seen_admission(0), PEAL_ALLOW, NULL);
    CHECK(!peer_has_input(&peer, 20));
    CHECK_EQUAL(seen_asked(0), 1);
    CHECK_EQUAL(atomic_load(&handled), 0);
    CHECK_EQUAL(peal_admission_decide(seen_admission(1), PEAL_ALLOW, NULL), 0);
    expect_served(&peer, "late");
    CHECK_EQUAL(seen_asked(0), 1);
    CHECK_EQUAL(seen_asked(1), 1);
    CHECK_EQUAL(atomic_load(&handled), 1);
    CHECK_EQUAL(host_stats(&host).decisions_pending, 0);
    /* The first one waited for 20 ms at least. */
    CHECK_EQUAL(http_metric(host.ws, DECIDED("_count", "connect\"")), 2);
    CHECK(http_metric(host.ws, DECIDED("_sum", "connect\"")) >= 0.02);
    CHECK_EQUAL(http_metric(host.ws, DECIDED("_count", "message\"")), 0);
    host_stop(&host);
}

static void test_no_later(void **state)
{
    struct peal_denial denial = {.status = 429};
    struct peer peer;

    (void)state;
    begin((struct peal_server_options){.size = 0});
    ask_and_talk(&peer, "/later");
    CHECK_EQUAL(peal_admission_decide(seen_admission(0), PEAL_REFUSE, &denial),
                0);
    CHECK(peer_wait(&peer, 12));
    CHECK(memcmp(peer_take(&peer, 12), "HTTP/1.1 429", 12) == 0);
    peer_drain(&peer);
    peer_close(&peer);
    CHECK_EQUAL(atomic_load(&connected), 0);
    CHECK_EQUAL(atomic_load(&handled), 0);
    host_await_empty(&host);
    host_stop(&host);
}

static void test_tcp(void **state)
{
    static const char text[] = "{\"event\":\"x\"}";
    struct peal_denial denial = {.code = 4002, .reason = "no"};
    struct member member;

    (void)state;
    begin((struct peal_server_options){.size = 0});
    memset(&member, 0, sizeof member);
    member.is_tcp = true;
    peer_dial(&member.peer, host.tcp);
    tcp_send_text(&member.peer, TCP_ENVELOPE_FRAME, NULL, text);
    (void)seen_admission(0);
    CHECK(!peer_has_input(&member.peer, 20));
    CHECK_EQUAL(peal_admission_decide(seen_admission(0), PEAL_ALLOW, NULL), 0);
    member_welcome(&member);
    member_expect(&member, "{'event':'token','data':'?'}");
    member_close(&member);

    memset(&member, 0, sizeof member);
    member.is_tcp = true;
    peer_dial(&member.peer, host.tcp);
    tcp_send_text(&member.peer, TCP_ENVELOPE_FRAME, NULL, text);
    CHECK_EQUAL(peal_admission_decide(seen_admission(1), PEAL_REFUSE, &denial),
                0);
    member_expect_close(&member, 4002);
    CHECK_EQUAL(atomic_load(&connected), 1);
    CHECK_EQUAL(atomic_load(&handled), 1);
    host_stop(&host);
}

/* What may not be said is left out, at once and later, on both transports. */
static void test_what_may_not_be_said(void **state)
{
    const struct peal_denial denials[] = {
        {.code = 4003, .reason = "\xff not a text"},
        {.code = 99999, .reason = "a text"},
    };
    static const int codes[] = {4003, 1008};
    char reason[128] = "x";
    struct peer peer;

    (void)state;
    begin((struct peal_server_options){.size = 0});
    for (int i = 0; i < 2; i++) {
        struct member member = {.is_tcp = true};

        peer_dial(&peer, host.ws);
        ws_ask(&peer, i == 0 ? "/bad" : "/later", "");
        if (i == 1) {
            CHECK_EQUAL(peal_admission_decide(seen_admission(1), PEAL_REFUSE,
                                              &denials[0]),
                        0);
        }
        ws_expect_open(&peer);
        ws_expect_close_reason(&peer, 4003, reason, sizeof reason);
        CHECK(reason[0] == '\0');
        peer_close(&peer);
        /* Its goodbye is JSON, which has to be UTF-8. */
        peer_dial(&member.peer, host.tcp);
        CHECK_EQUAL(peal_admission_decide(seen_admission(2 * i), PEAL_REFUSE,
                                          &denials[i]),
                    0);
        member_expect_close(&member, codes[i]);
    }
    host_stop(&host);
}

/* --- What it sees, and may do --------------------------------------------- */

static _Atomic int looked;

/* Sees all that a client has brought, before it is in. */
static enum peal_verdict look(const struct peal_connect *connect,
                              struct peal_admission admission,
                              struct peal_denial *denial, void *user)
{
    char text[32];

    (void)denial;
    CHECK(user == &looked);
    CHECK_EQUAL(atomic_load(&connected), atomic_load(&looked));
    CHECK(connect->tls == NULL);
    CHECK(strncmp(connect->address, "127.0.0.1:", 10) == 0);
    if (connect->transport == PEAL_TCP) {
        CHECK_EQUAL(connect->dialect, PEAL_DIALECT_PEAL);
        CHECK_EQUAL(connect->path.size + connect->query.size +
                        connect->protocol.size,
                    0);
        CHECK(peal_connect_header(connect, "Host").data == NULL);
    } else {
        CHECK_EQUAL(connect->transport, PEAL_WS);
        CHECK_EQUAL(connect->dialect, PEAL_DIALECT_RAW);
        CHECK(is_path(connect, "/rooms/a%20b"));
        CHECK(strcmp(connect->pattern, "/rooms/:room") == 0);
        CHECK(peal_slice_equal(connect->query, peal_slice("x=1&y=%32")));
        CHECK(peal_slice_equal(connect->origin, peal_slice("https://a.b")));
        CHECK(peal_slice_equal(connect->protocol, peal_slice("chat.v1")));
        CHECK(peal_slice_equal(peal_connect_header(connect, "x-token"),
                               peal_slice("t1")));
        CHECK_EQUAL(peal_connect_param(connect, "room", text, sizeof text), 3);
        CHECK(strcmp(text, "a b") == 0);
        CHECK_EQUAL(peal_connect_query(connect, "y", text, sizeof text), 1);
        CHECK(strcmp(text, "2") == 0);
    }
    /* What it sets is bounded, and what is beyond that is not kept. */
    CHECK_EQUAL(peal_admission_set(admission, "token", "kept"), 0);
    CHECK_EQUAL(peal_admission_set(admission, "more", "0123456789"),
                PEAL_ELIMIT);
    CHECK_EQUAL(peal_admission_set(admission, "last", "0123456"), 0);
    /* Set again it takes the place of what was. */
    CHECK_EQUAL(peal_admission_set(admission, "token", "KEPT"), 0);
    CHECK_EQUAL(peal_admission_set(admission, "token", "longer"), PEAL_ELIMIT);
    CHECK_EQUAL(peal_admission_set(admission, "last", NULL), 0);
    CHECK_EQUAL(peal_admission_set(admission, "token", "longer"), 0);
    CHECK_EQUAL(peal_admission_set(admission, "token", "kept"), 0);
    CHECK_EQUAL(peal_admission_set(admission, "last", "0123456"), 0);
    atomic_fetch_add(&looked, 1);
    return PEAL_ALLOW;
}

static void on_seen(struct peal_client *client,
                    const struct peal_connect *connect, void *user)
{
    (void)connect;
    (void)user;
    CHECK_EQUAL(atomic_load(&looked), atomic_load(&connected) + 1);
    CHECK(strcmp(peal_client_get(client, "token"), "kept") == 0);
    CHECK(peal_client_get(client, "more") == NULL);
    CHECK(strcmp(peal_client_get(client, "last"), "0123456") == 0);
    atomic_fetch_add(&connected, 1);
}

static void setup_look(struct peal_server *server)
{
    const struct peal_route route = {
        .size = sizeof route,
        .path = "/rooms/:room",
        .dialect = PEAL_DIALECT_RAW,
    };

    CHECK_EQUAL(peal_server_route(server, &route), 0);
    CHECK_EQUAL(peal_server_use(server, look, &looked), 0);
}

static void test_what_it_sees(void **state)
{
    static const char *const protocols[] = {"chat.v1", NULL};
    struct peal_server_options options = {
        .on_connect = on_seen,
        .protocols = protocols,
        .metadata_bytes_max = 20, /* "token" "kept", "last" "0123456" */
    };
    struct member member;
    struct peer peer;

    (void)state;
    atomic_store(&connected, 0);
    atomic_store(&looked, 0);
    host_start(&host, &options, setup_look);
    peer_dial(&peer, host.ws);
    ws_ask(&peer, "/rooms/a%20b?x=1&y=%32",
           "Origin: https://a.b\r\nX-Token: t1\r\n"
           "Sec-WebSocket-Protocol: chat.v2, chat.v1\r\n");
    CHECK(peer_wait(&peer, 12));
    CHECK(memcmp(peer_take(&peer, 12), "HTTP/1.1 101", 12) == 0);
    member_open(&member, host.tcp, true);
    CHECK_EQUAL(atomic_load(&connected), 2);
    peer_close(&peer);
    member_close(&member);
    host_stop(&host);
}

/* A status is told in the way that the options want, a code by a close. */
static void test_refused_otherwise(void **state)
{
    struct peer peer;

    (void)state;
    begin((struct peal_server_options){.refuse_by = PEAL_REFUSE_BY_CLOSE});
    peer_dial(&peer, host.ws);
    ws_ask(&peer, "/status", "");
    ws_expect_open(&peer);
    ws_expect_close(&peer, 1008);
    peer_close(&peer);
    host_stop(&host);
    begin((struct peal_server_options){.refuse_by = PEAL_REFUSE_BY_HANGUP});
    peer_dial(&peer, host.ws);
    ws_ask(&peer, "/status", "");
    peer_expect_end(&peer);
    peer_close(&peer);
    CHECK_EQUAL(atomic_load(&connected), 0);
    host_stop(&host);
}

/* A goodbye over TCP has the code and the reason. */
static void test_reason_over_tcp(void **state)
{
    const struct peal_denial denial = {.code = 4002, .reason = "not today"};
    struct tcp_received received;
    struct peer peer;

    (void)state;
    begin((struct peal_server_options){.size = 0});
    peer_dial(&peer, host.tcp);
    CHECK_EQUAL(peal_admission_decide(seen_admission(0), PEAL_REFUSE, &denial),
                0);
    CHECK(tcp_read(&peer, &received));
    CHECK_EQUAL(received.type, TCP_DISCONNECT_FRAME);
    CHECK(memmem(received.data, received.size, "4002", 4) != NULL);
    CHECK(memmem(received.data, received.size, "\"not today\"", 11) != NULL);
    peer_drain(&peer);
    peer_close(&peer);
    host_stop(&host);
}

/* Of all the time that a handshake may take, a decision is a part. */
static void test_handshake_timeout(void **state)
{
    struct peer peer;

    (void)state;
    begin((struct peal_server_options){
        .decision_timeout_ms = PEAL_OFF,
        .handshake_timeout_ms = 50,
    });
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        peer_dial(&peer, host_address(&host, is_tcp));
        if (!is_tcp) {
            ws_ask(&peer, "/later", "");
        }
        (void)seen_admission(is_tcp);
        peer_expect_end(&peer);
        peer_close(&peer);
    }
    CHECK_EQUAL(host_stats(&host).closed_handshake_timeout, 2);
    (void)peal_admission_decide(seen_admission(0), PEAL_ALLOW, NULL);
    host_await_empty(&host);
    CHECK_EQUAL(atomic_load(&connected), 0);
    CHECK_EQUAL(atomic_load(&handled), 0);
    host_stop(&host);
}

/* Who waits for a decision is no client yet, and counts as one who comes. */
static void test_waiting_counts_as_coming(void **state)
{
    struct peer peer;
    struct peer late;

    (void)state;
    begin((struct peal_server_options){
        .handshakes_per_address_max = 1,
        .clients_max = 1,
    });
    ask_and_talk(&peer, "/later");
    (void)seen_admission(0);
    peer_dial(&late, host.ws);
    peer_expect_end(&late);
    peer_close(&late);
    CHECK_EQUAL(host_stats(&host).refused_handshakes_per_address, 1);
    CHECK_EQUAL(host_stats(&host).clients, 0);
    CHECK_EQUAL(peal_admission_decide(seen_admission(0), PEAL_ALLOW, NULL), 0);
    expect_served(&peer, "t1?");
    host_await_empty(&host);
    host_stop(&host);
}

/* Nobody decides: the deadline does, if there is one. */
static void test_no_decision(void **state)
{
    struct peal_server_options options;
    struct member member;
    struct peer peer;

    (void)state;
    begin((struct peal_server_options){.decision_timeout_ms = PEAL_OFF});
    ask_and_talk(&peer, "/later");
    (void)seen_admission(0);
    CHECK(!peer_has_input(&peer, 50));
    options = host_config(&host);
    options.decision_timeout_ms = 20;
    host_update(&host, &options);
    CHECK_EQUAL(peal_admission_decide(seen_admission(0), PEAL_ALLOW, NULL), 0);
    expect_served(&peer, "t1?");
    CHECK_EQUAL(ws_try(host.ws, "/later", ""), 503);
    host_stop(&host);

    begin((struct peal_server_options){.decision_timeout_ms = 20});
    CHECK_EQUAL(ws_try(host.ws, "/later", ""), 503);
    memset(&member, 0, sizeof member);
    member.is_tcp = true;
    peer_dial(&member.peer, host.tcp);
    member_expect_close(&member, 1013);
    (void)peal_admission_decide(seen_admission(0), PEAL_ALLOW, NULL);
    host_await_empty(&host);
    CHECK_EQUAL(atomic_load(&connected), 0);
    host_stop(&host);
}

/* Whoever leaves, or is there at a stop, while it waits. */
static void test_leaving_while_waiting(void **state)
{
    struct peer peer;

    (void)state;
    begin((struct peal_server_options){.size = 0});
    ask_and_talk(&peer, "/later");
    (void)seen_admission(0);
    peer_reset(&peer);
    host_await_empty(&host);
    CHECK_SOON(host_stats(&host).decisions_pending == 0);
    CHECK_EQUAL(peal_admission_decide(seen_admission(0), PEAL_ALLOW, NULL), 0);
    ask_and_talk(&peer, "/later");
    (void)seen_admission(1);
    peal_server_stop(host.server);
    peer_drain(&peer);
    peer_close(&peer);
    host_stop(&host);
    CHECK_EQUAL(atomic_load(&connected), 0);
    CHECK_EQUAL(atomic_load(&handled), 0);
}

/* --- Messages ------------------------------------------------------------- */

/* Read when what it is about has been answered. */
static char last_message[128];

/* Writes down what it sees, and does as the name says. */
static enum peal_verdict before_message(struct peal_client *client,
                                        const struct peal_event *event,
                                        struct peal_failure *failure,
                                        void *user)
{
    CHECK(client != NULL && user == &host);
    CHECK_EQUAL(failure->code, 108);
    snprintf(last_message, sizeof last_message, "%.*s '%.*s' %d",
             (int)event->room.size, event->room.data, (int)event->data.size,
             event->data.data, event->kind);
    if (peal_slice_equal(event->name, peal_slice("sold"))) {
        *failure = (struct peal_failure){1000, "sold_out", "Too late", true};
        return PEAL_REFUSE;
    }
    if (peal_slice_equal(event->name, peal_slice("kick"))) {
        CHECK_EQUAL(peal_client_close(client, 4000, "kicked"), 0);
    }
    return peal_slice_equal(event->name, peal_slice("no"))      ? PEAL_REFUSE
           : peal_slice_equal(event->name, peal_slice("later")) ? PEAL_LATER
                                                                : PEAL_ALLOW;
}

static void setup_messages(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on_any(server, on_any, NULL), 0);
}

static void tag(struct peal_client *client, const struct peal_connect *connect,
                void *user)
{
    (void)connect;
    (void)user;
    CHECK_EQUAL(peal_client_set(client, "token", "t"), 0);
}

static void test_messages(void **state)
{
    struct peal_hooks hooks = {
        .size = sizeof hooks,
        .before_message = before_message,
    };
    struct peal_server_options options = {
        .hooks = &hooks,
        .user = &host,
        .on_connect = tag,
        .clients_may_join = true,
        .clients_may_publish = true,
    };
    struct member member;
    struct member other;

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        atomic_store(&handled, 0);
        host_start(&host, &options, setup_messages);
        member_open(&member, host_address(&host, is_tcp), is_tcp);
        member_open(&other, host_address(&host, is_tcp), is_tcp);
        member_join(&member, "a");
        member_join(&other, "a");
        member_say(&member, "{'event':'no','id':1}");
        member_expect_failure(&member, "1", 108);
        member_say(&member, "{'event':'sold','id':2}");
        member_expect(&member, "{'event':'peal:error','id':2,'data':{"
                               "'code':1000,'name':'sold_out',"
                               "'message':'Too late','temporary':true}}");
        member_say(&member, "{'event':'no','room':'a','id':3,'data':[1]}");
        member_expect_failure(&member, "3", 108);
        CHECK(strcmp(last_message, "a '[1]' 0") == 0);
        member_say(&member, "{'event':'later','id':3}");
        member_expect_failure(&member, "3", 108);
        member_say_bytes(&member, "{'event':'no','id':3}", "xyz", 3);
        member_expect_failure(&member, "3", 108);
        CHECK(strcmp(last_message, " 'xyz' 1") == 0);
        CHECK_EQUAL(atomic_load(&handled), 0);
        member_say(&member, "{'event':'yes','id':4}");
        member_expect(&member, "{'event':'token','data':'t'}");
        member_expect(&member, "{'event':'peal:ok','id':4}");
        /* Allowed, but it is not there any more. */
        member_say(&member, "{'event':'kick','id':5}");
        member_expect_close(&member, 4000);
        CHECK_EQUAL(atomic_load(&handled), 1);
        member_expect_silence(&other);
        member_close(&other);
        host_stop(&host);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yes_and_no_at_once),
        cmocka_unit_test(test_yes_later),
        cmocka_unit_test(test_no_later),
        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_what_may_not_be_said),
        cmocka_unit_test(test_what_it_sees),
        cmocka_unit_test(test_refused_otherwise),
        cmocka_unit_test(test_reason_over_tcp),
        cmocka_unit_test(test_handshake_timeout),
        cmocka_unit_test(test_waiting_counts_as_coming),
        cmocka_unit_test(test_no_decision),
        cmocka_unit_test(test_leaving_while_waiting),
        cmocka_unit_test(test_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
