/*
 * Goal: what waits for a slow reader is dropped, replaced, told and sent as
 * the policies of its rooms and the limits say, message by message; heartbeats
 * overtake it, closes come behind it, and the application and the statistics
 * know of it.
 *
 * Method: a member that does not read until its socket is full, and from then
 * on known messages in a known order; then it reads, and hears exactly what the
 * rules leave. No test depends on how much a socket takes.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <peal/policy.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILL_BYTES 16384
#define QUEUED_MIN 65536 /* so the socket is full for good */
#define LONG 20000       /* a message of which few fit */

#define DROPPED(reason)                                                        \
    "peal_messages_dropped_total{reason=\"" reason "\"}"

static struct host host;
static struct member slow;
static struct peal_client_ref slow_ref;
static int fills; /* that come before all else */
static _Atomic uint64_t newest;

/* --- The server ----------------------------------------------------------- */

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    static const char *const rooms[] = {"a", "b", "oldest", "newest"};

    (void)connect;
    (void)user;
    for (size_t i = 0; i < ARRAY_SIZE(rooms); i++) {
        CHECK_EQUAL(peal_client_join(client, rooms[i]), 0);
    }
    atomic_store(&newest, peal_client_ref(client).value);
}

/* A text of so many bytes. */
static void on_text(struct peal_client *from, const struct peal_event *event,
                    struct peal_request request, void *user)
{
    static char text[8 << 20];
    double size;

    (void)from;
    (void)user;
    CHECK_EQUAL(peal_json_number(event->data, &size), 0);
    memset(text, 'x', sizeof text);
    text[0] = text[(size_t)size - 1] = '"';
    text[(size_t)size] = '\0';
    CHECK_EQUAL(peal_request_answer(request, text), 0);
}

static void set_policy(const char *pattern, enum peal_pressure pressure)
{
    struct peal_room_policy policy = {.size = sizeof policy,
                                      .pressure = pressure};

    CHECK_EQUAL(peal_server_set_room_policy(host.server, pattern, &policy), 0);
}

static void setup(struct peal_server *server)
{
    host.server = server;
    set_policy("oldest", PEAL_PRESSURE_DROP_OLDEST);
    set_policy("newest", PEAL_PRESSURE_DROP_NEWEST);
    CHECK_EQUAL(peal_server_on_request(server, "text", on_text, NULL), 0);
}

static void set_queue_bytes(size_t bytes)
{
    struct peal_server_options options = {.size = sizeof options};

    CHECK_EQUAL(peal_server_config(host.server, &options), 0);
    options.queue_bytes_max = bytes;
    CHECK_EQUAL(peal_server_update(host.server, &options, NULL), 0);
}

static uint64_t queued(void)
{
    return host_stats(&host).queued_bytes;
}

/* --- The slow member ------------------------------------------------------ */

/* Sends to it alone until its socket is full and something is queued. */
static void fill(void)
{
    static char text[FILL_BYTES];
    struct peal_event event;

    memset(text, 'f', sizeof text - 1);
    text[0] = text[sizeof text - 2] = '"';
    event = peal_json("fill", text);
    fills = 0;
    while (queued() < QUEUED_MIN) {
        uint64_t before = host_stats(&host).messages_out;

        CHECK_EQUAL(peal_server_emit(host.server, slow_ref, &event), 0);
        CHECK_SOON(host_stats(&host).messages_out > before);
        fills++;
    }
}

static void dial(bool is_tcp)
{
    atomic_store(&newest, 0);
    memset(&slow, 0, sizeof slow);
    slow.is_tcp = is_tcp;
    peer_dial_narrow(&slow.peer, host_address(&host, is_tcp), 4096);
    if (!is_tcp) {
        ws_ask(&slow.peer, "/", "");
        ws_expect_open(&slow.peer);
    }
    CHECK_SOON(atomic_load(&newest) != 0);
    slow_ref.value = atomic_load(&newest);
}

/* One that is behind, with nothing in its backlog yet. */
static void begin(struct peal_server_options options, bool is_tcp)
{
    options.on_connect = on_connect;
    options.metrics_path = "/metrics";
    if (options.queue_bytes_max == 0) {
        options.queue_bytes_max = 64 << 20;
    }
    host_start(&host, &options, setup);
    dial(is_tcp);
    if (options.dialect == PEAL_DIALECT_DEFAULT) {
        member_welcome(&slow);
    }
    fill();
}

static void hear_fills(void)
{
    struct heard heard;

    for (; fills > 0; fills--) {
        CHECK(member_hear(&slow, &heard));
        CHECK(strstr(heard.json, "\"event\":\"fill\"") != NULL);
        heard_free(&heard);
    }
}

static void expect_gap(const char *room, int count, const char *reason)
{
    if (room == NULL) {
        member_expect(&slow,
                      "{'event':'peal:gap','data':{'count':%d,'reason':'%s'}}",
                      count, reason);
    } else {
        member_expect(&slow,
                      "{'event':'peal:gap','room':'%s',"
                      "'data':{'count':%d,'reason':'%s'}}",
                      room, count, reason);
    }
}

/* --- Messages ------------------------------------------------------------- */

/* Room NULL: to everybody; "": to the slow member alone. */
static void send_event(const char *room, const struct peal_event *event)
{
    if (room == NULL) {
        CHECK_EQUAL(peal_server_broadcast(host.server, event, NULL, 0), 0);
    } else if (room[0] == '\0') {
        CHECK_EQUAL(peal_server_emit(host.server, slow_ref, event), 0);
    } else {
        CHECK_EQUAL(peal_server_room_emit(host.server, room, event, NULL, 0),
                    0);
    }
}

static void send_json(const char *room, const char *name, const char *json)
{
    struct peal_event event = peal_json(name, json);

    send_event(room, &event);
}

/* A long one, of a name of three letters. */
static void send_long(const char *room, const char *name)
{
    static char json[LONG + 1];

    memset(json, 'x', LONG);
    json[0] = json[LONG - 1] = '"';
    send_json(room, name, json);
}

static void expect_long(const char *name)
{
    struct heard heard;
    char wanted[32];

    CHECK(member_hear(&slow, &heard));
    snprintf(wanted, sizeof wanted, "\"event\":\"%s\"", name);
    if (strstr(heard.json, wanted) == NULL) {
        fprintf(stderr, "expected %s, heard %.120s\n", wanted, heard.json);
        CHECK(!"another message than expected");
    }
    heard_free(&heard);
}

static void on_settled(struct peal_client *client,
                       const struct peal_answer *answer, void *user)
{
    (void)client;
    CHECK_EQUAL(answer->status, PEAL_EGONE);
    atomic_store((_Atomic bool *)user, true);
}

/* The loop has done all that it was asked until now: mail comes in order, and
 * this is about a client that there never was. */
static void settle(void)
{
    static _Atomic bool is_settled;
    struct peal_client_ref nobody = {1 << 20};
    struct peal_event event = peal_json("question", NULL);

    atomic_store(&is_settled, false);
    CHECK_EQUAL(peal_server_request(host.server, nobody, &event, 0, on_settled,
                                    &is_settled),
                0);
    CHECK_SOON(atomic_load(&is_settled));
}

static uint64_t dropped(void)
{
    struct peal_server_stats stats = host_stats(&host);

    return stats.dropped_oldest + stats.dropped_newest + stats.conflated;
}

/* --- Gaps ----------------------------------------------------------------- */

static const struct peal_server_options conflating = {
    .pressure = PEAL_PRESSURE_CONFLATE,
    .conflate_by = "k",
};

/* Of two gaps with nothing between them any more one is told. */
static void gaps_in_a_row_are_one(void **state)
{
    static const char *const keys[] = {"1", "2", "3", "2", "1"};
    char json[32];

    (void)state;
    begin(conflating, false);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        snprintf(json, sizeof json, "{\"k\":%s}", keys[i]);
        send_json("a", "price", json);
    }
    settle();
    CHECK_EQUAL(host_stats(&host).conflated, 2);
    hear_fills();
    expect_gap("a", 2, "conflate");
    for (size_t i = 2; i < ARRAY_SIZE(keys); i++) {
        member_expect(&slow, "{'event':'price','room':'a','data':{'k':%s}}",
                      keys[i]);
    }
    member_close(&slow);
    host_stop(&host);
}

/* What makes two messages the same: room, event, and the key as it is written;
 * a member's name may be written with escapes. */
static void keys_are_told_apart(void **state)
{
    static const struct {
        const char *room;
        const char *name;
        const char *json; /* NULL: bytes */
        const char *again;
    } cases[] = {
        {"a", "price", "{\"k\":\"x\"}", "{\"\\u006b\":\"x\",\"n\":1}"},
        {"a", "price", "{\"k\":\"\\u0078\"}", "{\"k\": \"\\u0078\" ,\"n\":1}"},
        {"a", "price", "{\"k\":1}", "{\"n\":1,\"k\":1}"},
        {"a", "price", "{\"k\":1.0}", "{\"k\":1.0,\"n\":1}"},
        {"a", "price", "{\"k\":null}", "{\"k\":null,\"n\":1}"},
        {"a", "price", "{\"k\":{\"x\":1}}", "{\"k\":{\"x\":1},\"n\":1}"},
        {"a", "price", "{\"j\":\"x\"}", "[\"no object\"]"},
        {"a", "other", "{\"k\":\"x\"}", "{\"k\":\"x\",\"n\":1}"},
        {"b", "price", "{\"k\":\"x\"}", "{\"k\":\"x\",\"n\":1}"},
        {NULL, "price", "{\"k\":\"x\"}", "{\"k\":\"x\",\"n\":1}"},
        {"a", "bytes", NULL, NULL},
    };
    const size_t count = ARRAY_SIZE(cases);

    (void)state;
    begin(conflating, false);
    for (size_t i = 0; i < 2 * count; i++) {
        const char *json =
            i < count ? cases[i].json : cases[i - count].again;
        const char *name = cases[i % count].name;
        struct peal_event event = json != NULL
                                      ? peal_json(name, json)
                                      : peal_bytes(name, i < count ? "0" : "1",
                                                   1);

        send_event(cases[i % count].room, &event);
        if (i + 1 == count) {
            settle();
            CHECK_EQUAL(dropped(), 0);
        }
    }
    settle();
    CHECK_EQUAL(host_stats(&host).conflated, count);
    CHECK_EQUAL(dropped(), count);
    CHECK_EQUAL(http_metric(host.ws, DROPPED("conflate")), count);
    hear_fills();
    expect_gap("a", (int)count - 2, "conflate");
    expect_gap("b", 1, "conflate");
    expect_gap(NULL, 1, "conflate");
    for (size_t i = 0; i < count - 1; i++) {
        if (cases[i].room != NULL) {
            member_expect(&slow,
                          "{\"event\":\"%s\",\"room\":\"%s\",\"data\":%s}",
                          cases[i].name, cases[i].room, cases[i].again);
        } else {
            member_expect(&slow, "{\"event\":\"%s\",\"data\":%s}",
                          cases[i].name, cases[i].again);
        }
    }
    member_expect_bytes(&slow, "{'event':'bytes','room':'a'}", "1", 1);
    member_close(&slow);
    host_stop(&host);
}

/* --- Making room ---------------------------------------------------------- */

/* From now on so many long ones fit, and half of one. */
static void leave_room_for(int count)
{
    set_queue_bytes(queued() + (size_t)count * (LONG + 200) + LONG / 2);
}

/* Who has to make room for whom. */
static void each_policy_has_its_victims(void **state)
{
    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        begin((struct peal_server_options){0}, is_tcp == 1);
        leave_room_for(4);
        send_long("newest", "n-0");
        send_long("newest", "n-1");
        send_long("oldest", "o-0");
        send_long("oldest", "o-1");
        settle();
        CHECK_EQUAL(dropped(), 0);
        CHECK(queued() >= 4 * LONG + QUEUED_MIN);

        send_long("newest", "n-2"); /* goes itself */
        settle();
        CHECK_EQUAL(host_stats(&host).dropped_newest, 1);
        CHECK_EQUAL(dropped(), 1);
        send_long("", "d-0"); /* for o-0 */
        send_long("", "d-1"); /* for o-1 */
        settle();
        CHECK_EQUAL(host_stats(&host).dropped_oldest, 2);
        CHECK_EQUAL(dropped(), 3);
        send_long("", "d-2"); /* for n-1, the newest */
        settle();
        CHECK_EQUAL(host_stats(&host).dropped_newest, 2);
        send_long("oldest", "o-2"); /* finds none of its kind */
        settle();
        CHECK_EQUAL(host_stats(&host).dropped_oldest, 3);
        CHECK_EQUAL(dropped(), 5);
        CHECK_EQUAL(http_metric(host.ws, DROPPED("drop_oldest")), 3);
        CHECK_EQUAL(http_metric(host.ws, DROPPED("drop_newest")), 2);
        CHECK_EQUAL(http_metric(host.ws, DROPPED("conflate")), 0);

        hear_fills();
        expect_long("n-0");
        expect_gap("newest", 2, "drop_newest");
        expect_gap("oldest", 2, "drop_oldest");
        expect_long("d-0");
        expect_long("d-1");
        expect_long("d-2");
        expect_gap("oldest", 1, "drop_oldest");
        CHECK_EQUAL(host_stats(&host).closed_queue_bytes, 0);
        member_close(&slow);
        host_stop(&host);
    }
}

/* Nothing is dropped for a message that does not fit in any case; and what
 * waits is not counted as sent. */
static void nothing_makes_room_for_too_much(void **state)
{
    static char json[6 * LONG];
    uint64_t before;

    (void)state;
    begin((struct peal_server_options){0}, false);
    leave_room_for(4);
    before = host_stats(&host).messages_out;
    send_long("oldest", "o-0");
    send_long("oldest", "o-1");
    memset(json, 'x', sizeof json - 1);
    json[0] = json[sizeof json - 2] = '"';
    send_json("oldest", "big", json);
    settle();
    CHECK_EQUAL(host_stats(&host).messages_out, before);
    CHECK_EQUAL(host_stats(&host).dropped_oldest, 1);
    hear_fills();
    expect_long("o-0");
    expect_long("o-1");
    expect_gap("oldest", 1, "drop_oldest");
    CHECK_SOON(host_stats(&host).messages_out == before + 2);
    member_close(&slow);
    host_stop(&host);
}

/* Patterns are about rooms: what is for everybody follows the options. */
static void broadcasts_have_no_pattern(void **state)
{
    (void)state;
    begin((struct peal_server_options){.pressure = PEAL_PRESSURE_DROP_OLDEST},
          false);
    set_policy("*", PEAL_PRESSURE_DROP_NEWEST);
    leave_room_for(2);
    send_long(NULL, "b-0");
    send_long(NULL, "b-1");
    send_long(NULL, "b-2");
    hear_fills();
    expect_gap(NULL, 1, "drop_oldest");
    expect_long("b-1");
    expect_long("b-2");
    member_close(&slow);
    host_stop(&host);
}

/* Many small messages count as what they take; the log knows how many were
 * dropped for whom, and how many were sent. */
static char left[512];

static void keep_the_end(enum peal_log_level level, const char *component,
                         const char *message, const char *fields, void *user)
{
    (void)level;
    (void)component;
    (void)user;
    if (strcmp(message, "client left") == 0) {
        snprintf(left, sizeof left, "%s", fields);
    }
}

static void small_messages_take_more(void **state)
{
    enum { ALL = 1000, BYTES = 10000, EACH = 72 };
    unsigned long long sent = 0;
    unsigned long long lost = 0;
    uint64_t first;
    uint64_t stay;
    const char *at;

    (void)state;
    begin((struct peal_server_options){.log = keep_the_end,
                                       .log_level = PEAL_LOG_DEBUG},
          false);
    first = (uint64_t)fills;
    set_queue_bytes(queued() + BYTES);
    for (int i = 0; i < ALL; i++) {
        send_json("oldest", "s", "1");
    }
    settle();
    CHECK(dropped() >= ALL - BYTES / EACH);
    CHECK(dropped() < ALL);
    stay = ALL - dropped();
    hear_fills();
    expect_gap("oldest", ALL - (int)stay, "drop_oldest");
    for (uint64_t i = 0; i < stay; i++) {
        member_expect(&slow, "{'event':'s','room':'oldest','data':1}");
    }
    member_close(&slow);
    host_await_empty(&host);
    host_stop(&host);
    at = strstr(left, " messages_out=");
    CHECK(at != NULL && sscanf(at, " messages_out=%llu dropped=%llu", &sent,
                               &lost) == 2);
    CHECK_EQUAL(sent, first + stay);
    CHECK_EQUAL(lost, ALL - stay);
}

/* --- Holding -------------------------------------------------------------- */

static void ask(int id, int answer_bytes)
{
    member_say(&slow, "{'event':'text','id':%d,'data':%d}", id, answer_bytes);
}

/* Whether it is read: a moment is enough for what is not held. */
static bool is_read(uint64_t before)
{
    for (int i = 0; i < 100 && host_stats(&host).messages_in == before; i++) {
        check_breathe();
    }
    return host_stats(&host).messages_in > before;
}

/* Its questions are not read while half of its queue are answers, and one by
 * one when less is: so none of them is lost, and nobody is closed. */
static void who_asks_without_reading_is_held(void **state)
{
    /* A socket takes less at a time than a large one is long. */
    enum { SMALL = 200000, LARGE = 8000000, LARGES = 3, QUEUE = 32000000 };

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        int asked = 0;
        uint64_t before;
        uint64_t sent;

        begin((struct peal_server_options){0}, is_tcp == 1);
        set_queue_bytes(QUEUE);
        send_json("oldest", "o", "1"); /* so that it has a backlog */
        settle();
        do {
            before = host_stats(&host).messages_in;
            ask(asked++, SMALL);
            CHECK(is_read(before));
        } while (queued() < QUEUE / 2 - 2 * SMALL);
        ask(asked++, LARGE);
        CHECK_SOON(queued() > QUEUE / 2 + LARGE / 2);
        before = host_stats(&host).messages_in;
        for (int i = 0; i < LARGES; i++) {
            ask(asked++, LARGE);
        }
        CHECK(!is_read(before));

        /* Nor when some of that has been sent, and too much is left. */
        sent = host_stats(&host).messages_out;
        while (host_stats(&host).messages_out == sent) {
            struct heard heard;

            CHECK(member_hear(&slow, &heard));
            fills -= strstr(heard.json, "\"fill\"") != NULL;
            heard_free(&heard);
            settle();
        }
        CHECK(queued() > QUEUE / 2 && !is_read(before));
        hear_fills();
        member_expect(&slow, "{'event':'o','room':'oldest','data':1}");
        for (int i = 0; i < asked; i++) {
            struct heard heard;
            char id[32];

            CHECK(member_hear(&slow, &heard));
            snprintf(id, sizeof id, "\"id\":%d}", i);
            CHECK(strstr(heard.json, "\"event\":\"peal:ok\"") != NULL);
            CHECK(strstr(heard.json, id) != NULL);
            heard_free(&heard);
        }
        CHECK_EQUAL(host_stats(&host).closed_queue_bytes, 0);
        member_close(&slow);
        host_stop(&host);
    }
}

/* --- Sending on ----------------------------------------------------------- */

/* What is handed to the socket is little, so that the rest can still be
 * replaced when some of it has been sent. */
static void the_rest_can_still_be_replaced(void **state)
{
    enum { KEYS = 400, PAD = 10000 };
    static char json[PAD + 64];
    uint64_t before;
    uint64_t replaced;

    (void)state;
    begin(conflating, false);
    before = host_stats(&host).messages_out;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < KEYS; i++) {
            int head = snprintf(json, sizeof json, "{\"k\":%d,\"pad\":\"", i);

            memset(json + head, 'p', PAD);
            strcpy(json + head + PAD, "\"}");
            send_json("a", "price", json);
        }
        settle();
        if (round == 0) {
            CHECK_EQUAL(dropped(), 0);
            while (host_stats(&host).messages_out == before) {
                struct heard heard;

                CHECK(member_hear(&slow, &heard));
                fills -= strstr(heard.json, "\"fill\"") != NULL;
                heard_free(&heard);
            }
        }
    }
    replaced = host_stats(&host).conflated;
    CHECK(replaced > KEYS / 2 && replaced < KEYS);
    peer_close(&slow.peer);
    host_await_empty(&host);
    host_stop(&host);
}

/* Pings do not wait behind messages to rooms. */
static void heartbeats_overtake(void **state)
{
    struct tcp_received frame;
    uint64_t before;

    (void)state;
    begin((struct peal_server_options){.ping_interval_ms = 300,
                                       .ping_timeout_ms = 600000},
          true);
    send_long("oldest", "o-0");
    settle();
    before = host_stats(&host).bytes_out;
    CHECK_SOON(host_stats(&host).bytes_out > before);
    do {
        CHECK(tcp_read(&slow.peer, &frame));
    } while (frame.type == TCP_JSON_FRAME); /* those that fill its socket */
    CHECK_EQUAL(frame.type, TCP_PING_FRAME);
    CHECK(tcp_read(&slow.peer, &frame));
    CHECK_EQUAL(frame.type, TCP_ENVELOPE_FRAME);
    peer_close(&slow.peer);
    host_await_empty(&host);
    host_stop(&host);
}

/* However it ends, and whoever ends it: what waits comes first. */
static void what_waits_is_sent_before_the_end(void **state)
{
    (void)state;
    for (int end = 0; end < 4; end++) {
        bool is_tcp = end % 2 == 1;

        begin((struct peal_server_options){0}, is_tcp);
        send_long("oldest", "o-0");
        send_long("newest", "n-0");
        settle();
        /* The close finds no room at all. */
        set_queue_bytes(1000);
        if (end < 2) {
            CHECK_EQUAL(peal_server_close(host.server, slow_ref, 4000, ""), 0);
        } else if (is_tcp) {
            tcp_send_text(&slow.peer, TCP_DISCONNECT_FRAME, NULL,
                          "{\"code\":1000}");
        } else {
            ws_send_close(&slow.peer, 4000, "");
        }
        CHECK_SOON(host_stats(&host).clients == 0);
        hear_fills();
        expect_long("o-0");
        expect_long("n-0");
        if (end < 3) {
            member_expect(&slow, "{'close':4000}");
        }
        if (end == 0) {
            ws_send_close(&slow.peer, 4000, "");
        }
        peer_expect_end(&slow.peer);
        peer_close(&slow.peer);
        host_await_empty(&host);
        host_stop(&host);
    }
}

/* --- Who is told ---------------------------------------------------------- */

static struct {
    _Atomic int highs;
    _Atomic int drains;
    _Atomic size_t drained_at;
    _Atomic uint64_t dropped;
    _Atomic bool is_gone;
} told;

static void on_high_water(struct peal_client *client, size_t queued_bytes,
                          void *user)
{
    (void)user;
    CHECK_EQUAL(queued_bytes, peal_client_queued_bytes(client));
    atomic_fetch_add(&told.highs, 1);
}

static void on_drain(struct peal_client *client, size_t queued_bytes,
                     void *user)
{
    (void)client;
    (void)user;
    atomic_store(&told.drained_at, queued_bytes);
    atomic_fetch_add(&told.drains, 1);
}

static const struct peal_hooks levels = {
    .size = sizeof levels,
    .on_high_water = on_high_water,
    .on_drain = on_drain,
};

/* Whatever it is that waits: the rest of one message, more messages behind it
 * that may not be dropped, or a backlog. */
static void every_high_water_is_told(void **state)
{
    static char json[16 << 20];
    struct peal_server_options options = {
        .hooks = &levels,
        .queue_bytes_max = 64 << 20,
        .queue_high_bytes = 100000,
        .queue_low_bytes = 50000,
        .on_connect = on_connect,
    };

    (void)state;
    memset(&told, 0, sizeof told);
    memset(json, 'x', sizeof json - 1);
    json[0] = json[sizeof json - 2] = '"';

    /* Of one message the rest waits, which no socket takes as a whole. */
    host_start(&host, &options, setup);
    dial(false);
    member_welcome(&slow);
    send_json("", "all", json);
    CHECK_SOON(atomic_load(&told.highs) == 1);
    CHECK_EQUAL(host_stats(&host).messages_out, 1);
    peer_close(&slow.peer);
    host_await_empty(&host);
    host_stop(&host);

    for (int kind = 0; kind < 2; kind++) {
        memset(&told, 0, sizeof told);
        options.queue_high_bytes = 6000000;
        options.queue_low_bytes = 100000;
        begin(options, kind == 1);
        settle();
        CHECK_EQUAL(atomic_load(&told.highs), 0);
        for (int i = 0; i < 400; i++) {
            send_long(kind == 0 ? "" : "oldest", "m-0");
        }
        CHECK_SOON(atomic_load(&told.highs) == 1);
        settle();
        CHECK_EQUAL(atomic_load(&told.drains), 0);
        hear_fills();
        for (int i = 0; i < 400; i++) {
            expect_long("m-0");
        }
        CHECK_SOON(atomic_load(&told.drains) == 1);
        CHECK(atomic_load(&told.drained_at) <= 100000);
        CHECK_EQUAL(atomic_load(&told.highs), 1);
        member_close(&slow);
        host_stop(&host);
    }
}

/* The first news of it brings about more, and its end. */
static void on_dropped(struct peal_client *client,
                       const struct peal_dropped *lost, void *user)
{
    (void)user;
    CHECK(!atomic_load(&told.is_gone));
    if (atomic_fetch_add(&told.dropped, lost->count) == 0) {
        send_long("oldest", "o-2");
        peal_client_close(client, 4000, "");
    }
}

static void on_disconnect(struct peal_client *client,
                          const struct peal_disconnect *disconnect, void *user)
{
    (void)client;
    (void)disconnect;
    (void)user;
    atomic_store(&told.is_gone, true);
}

/* Nothing is told of a client that has gone, and everything before. */
static void all_is_told_before_the_end(void **state)
{
    static const struct peal_hooks hooks = {.size = sizeof hooks,
                                            .on_dropped = on_dropped};

    (void)state;
    memset(&told, 0, sizeof told);
    begin((struct peal_server_options){.hooks = &hooks,
                                       .on_disconnect = on_disconnect},
          false);
    leave_room_for(1);
    send_long("oldest", "o-0");
    send_long("oldest", "o-1");
    CHECK_SOON(atomic_load(&told.is_gone));
    CHECK_EQUAL(dropped(), 2);
    CHECK_EQUAL(atomic_load(&told.dropped), 2);
    hear_fills();
    expect_gap("oldest", 2, "drop_oldest");
    expect_long("o-2");
    member_expect_close(&slow, 4000);
    host_stop(&host);
}

/* Dialects that cannot say an event miss it, slow or not, and it is counted. */
static void what_cannot_be_said_is_counted(void **state)
{
    (void)state;
    begin((struct peal_server_options){.dialect = PEAL_DIALECT_STELAR}, false);
    send_json("oldest", "said", "1");
    send_json("oldest", "connect", "1");
    settle();
    CHECK_EQUAL(host_stats(&host).messages_unsayable, 1);
    CHECK_EQUAL(http_metric(host.ws, DROPPED("unsayable")), 1);
    CHECK_EQUAL(dropped(), 0);
    peer_close(&slow.peer);
    host_await_empty(&host);
    host_stop(&host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gaps_in_a_row_are_one),
        cmocka_unit_test(keys_are_told_apart),
        cmocka_unit_test(each_policy_has_its_victims),
        cmocka_unit_test(nothing_makes_room_for_too_much),
        cmocka_unit_test(broadcasts_have_no_pattern),
        cmocka_unit_test(small_messages_take_more),
        cmocka_unit_test(who_asks_without_reading_is_held),
        cmocka_unit_test(the_rest_can_still_be_replaced),
        cmocka_unit_test(heartbeats_overtake),
        cmocka_unit_test(what_waits_is_sent_before_the_end),
        cmocka_unit_test(every_high_water_is_told),
        cmocka_unit_test(all_is_told_before_the_end),
        cmocka_unit_test(what_cannot_be_said_is_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
