/*
 * Goal: a member that reads too slowly gets what the policy of its room says:
 * what arrives and what the gaps in its stream count is together everything
 * that was sent, in order. What was sent to it alone always arrives, and those
 * who keep up miss nothing.
 *
 * Method: numbered messages to a room, every fiftieth to the slow member alone,
 * over every transport and compression, while it does not read; a member that
 * keeps up reads each of them before the next is sent. Then the slow one reads,
 * and counts.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/http.h"
#include "support/link.h"
#include "support/member.h"
#include "support/reader.h"

#include <peal/policy.h>

#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define QUEUE_BYTES_MAX 300000
#define MESSAGE_BYTES 10000
#define DIRECT_EVERY 50
#define KEYS 7
#define DROPS_MIN 100

/* --- The server ----------------------------------------------------------- */

static struct host host;
static struct peal_tls *tls;
static _Atomic uint64_t newest_client;

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    (void)connect;
    (void)user;
    CHECK_EQUAL(peal_client_join(client, "feed:1"), 0);
    atomic_store(&newest_client, peal_client_ref(client).value);
}

static char folder[] = "/tmp/peal-pressure-XXXXXX";

static int make_certificate(void **state)
{
    char command[512];

    (void)state;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt "
             "ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -days 30 "
             "-keyout %s/key.pem -out %s/cert.pem 2>/dev/null",
             folder, folder);
    return system(command);
}

static int remove_certificate(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

static void set_policy(const char *pattern, enum peal_pressure pressure,
                       const char *conflate_by)
{
    struct peal_room_policy policy = {
        .size = sizeof policy,
        .pressure = pressure,
        .conflate_by = conflate_by,
    };

    CHECK_EQUAL(peal_server_set_room_policy(host.server, pattern, &policy), 0);
}

static void begin(enum reader_way way, struct peal_server_options options)
{
    struct peal_deflate_options deflate = {
        .size = sizeof deflate,
        .enabled = way == READER_DEFLATE || way == READER_TAKEOVER,
        .context_takeover = way == READER_TAKEOVER,
        .window_bits = 15,
    };

    options.queue_bytes_max = QUEUE_BYTES_MAX;
    options.on_connect = on_connect;
    options.deflate = &deflate;
    if (way == READER_TLS) {
        char certificate[64];
        char key[64];
        struct peal_tls_options of_tls = {
            .size = sizeof of_tls,
            .certificate_file = certificate,
            .key_file = key,
        };

        snprintf(certificate, sizeof certificate, "%s/cert.pem", folder);
        snprintf(key, sizeof key, "%s/key.pem", folder);
        CHECK_EQUAL(peal_tls_new(&tls, &of_tls, NULL, 0), 0);
        options.tls = tls;
    }
    host_start(&host, &options, NULL);
}

static void end(void)
{
    host_stop(&host);
    if (tls != NULL) {
        peal_tls_free(tls);
        tls = NULL;
    }
}

/* --- Sending -------------------------------------------------------------- */

/* Data that does not compress to nothing. */
static struct peal_event numbered(char name, int number)
{
    static char json[MESSAGE_BYTES + 100];
    static char text[2];
    uint64_t seed = (uint64_t)number + 1;
    int at =
        snprintf(json, sizeof json, "{\"n\":%d,\"key\":\"k%d\",\"fill\":\"",
                 number, number % KEYS);

    for (int i = 0; i < MESSAGE_BYTES - 60; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        json[at++] = (char)('A' + (seed >> 58) % 57 % 26);
    }
    strcpy(json + at, "\"}");
    text[0] = name;
    return peal_json(text, json);
}

static uint64_t dropped(void)
{
    struct peal_server_stats stats = host_stats(&host);

    return stats.dropped_oldest + stats.dropped_newest + stats.conflated;
}

/* Sends one: to the room, or to the slow one alone. */
static void send_one(struct peal_client_ref slow, int number)
{
    if (number % DIRECT_EVERY == DIRECT_EVERY - 1) {
        struct peal_event event = numbered('d', number);

        CHECK_SOON(peal_server_emit(host.server, slow, &event) == 0);
    } else {
        struct peal_event event = numbered('r', number);

        CHECK_SOON(
            peal_server_room_emit(host.server, "feed:1", &event, NULL, 0) == 0);
    }
}

static int number_of(json_t *message)
{
    return (int)json_integer_value(
        json_object_get(json_object_get(message, "data"), "n"));
}

static bool is_event(json_t *message, const char *name)
{
    return strcmp(json_string_value(json_object_get(message, "event")), name) ==
           0;
}

/* Hears what send_one has sent to the room, right after it was sent. */
static void follow(struct member *quick, int number)
{
    struct heard heard;
    json_t *json;

    if (number % DIRECT_EVERY == DIRECT_EVERY - 1) {
        return;
    }
    CHECK(member_hear(quick, &heard));
    json = json_loads(heard.json, 0, NULL);
    CHECK(is_event(json, "r"));
    CHECK_EQUAL(number_of(json), number);
    json_decref(json);
    heard_free(&heard);
}

/* --- Counting ------------------------------------------------------------- */

struct count {
    int received;
    int told; /* as missing */
    int gaps; /* in how many places */
    int last; /* number that was received */
    int last_of_key[KEYS];
};

static void count_gap(struct count *count, json_t *gap, const char *reason)
{
    json_t *data = json_object_get(gap, "data");
    const char *told = json_string_value(json_object_get(data, "reason"));
    int missing = (int)json_integer_value(json_object_get(data, "count"));

    CHECK(strcmp(json_string_value(json_object_get(gap, "room")), "feed:1") ==
          0);
    /* With more keys than the queue holds, the oldest of them go. */
    CHECK(
        reason == NULL || strcmp(told, reason) == 0 ||
        (strcmp(reason, "conflate") == 0 && strcmp(told, "drop_oldest") == 0));
    CHECK(missing > 0);
    count->told += missing;
    count->gaps++;
}

/* Reads until all is accounted for; NULL: for whatever reason. */
static void read_all(struct reader *slow, int total, const char *reason,
                     struct count *count)
{
    *count = (struct count){.last = -1};
    while (count->received + count->told < total) {
        json_t *message = reader_hear(slow);

        if (is_event(message, "peal:gap")) {
            count_gap(count, message, reason);
        } else if (!is_event(message, "peal:welcome")) {
            /* In its place: all before it were received or told as missing. */
            CHECK_EQUAL(number_of(message), count->received + count->told);
            count->last = number_of(message);
            count->last_of_key[count->last % KEYS] = count->last;
            CHECK(is_event(
                message,
                count->last % DIRECT_EVERY == DIRECT_EVERY - 1 ? "d" : "r"));
            count->received++;
        }
        json_decref(message);
    }
}

/*
 * Sends until enough was dropped, ending with one to the slow member alone.
 * Returns how many. What is queued stays bounded: a message that a context has
 * been compressed into may be too much once.
 */
static int flood(struct peal_client_ref slow, struct member *quick)
{
    int count = 0;

    while (dropped() < DROPS_MIN || count % DIRECT_EVERY != 0) {
        send_one(slow, count);
        if (quick != NULL) {
            follow(quick, count);
        }
        CHECK(host_stats(&host).queued_bytes <=
              QUEUE_BYTES_MAX + MESSAGE_BYTES);
        count++;
        CHECK(count < 10000 && "a queue without a bound");
    }
    return count;
}

/* The newest of each key were received: they fit by far. */
static void expect_newest_of_keys(const struct count *count, int total)
{
    for (int i = 0; i < KEYS; i++) {
        int newest = total - 1;

        while (newest % KEYS != i) {
            newest--;
        }
        CHECK_EQUAL(count->last_of_key[i], newest);
    }
}

static void follows(enum reader_way way, enum peal_pressure pressure,
                    const char *reason)
{
    struct peal_client_ref ref;
    struct reader slow;
    struct member quick;
    struct count count;
    bool has_quick =
        way != READER_TLS; /* there everybody has to be encrypted */
    int total;

    /* A short way to the loop: what is under way to it is little. */
    begin(way, (struct peal_server_options){.mailbox_bytes_max = 500000});
    set_policy("feed:*", pressure, "key");
    reader_open(&slow, &host, way);
    CHECK_SOON(atomic_load(&newest_client) != 0);
    ref.value = atomic_load(&newest_client);
    if (has_quick) {
        member_open(&quick, host_address(&host, false), false);
    }
    total = flood(ref, has_quick ? &quick : NULL);
    read_all(&slow, total, reason, &count);
    CHECK_EQUAL(count.last, total - 1); /* it was sent to it alone */
    CHECK_EQUAL(count.told, dropped());
    CHECK_EQUAL(host_stats(&host).gaps, count.gaps);
    CHECK_EQUAL(host_stats(&host).clients, has_quick ? 2 : 1);
    CHECK_EQUAL(host_stats(&host).closed_queue_bytes, 0);
    CHECK_SOON(host_stats(&host).queued_bytes == 0);
    if (pressure != PEAL_PRESSURE_DROP_NEWEST) {
        expect_newest_of_keys(&count, total);
    }

    /* And goes on as if nothing had been. */
    send_one(ref, 0);
    send_one(ref, DIRECT_EVERY - 1);
    for (int i = 0; i < 2; i++) {
        json_t *message = reader_hear(&slow);

        CHECK_EQUAL(number_of(message), i * (DIRECT_EVERY - 1));
        json_decref(message);
    }
    if (has_quick) {
        follow(&quick, 0);
        member_close(&quick);
    }
    reader_close(&slow);
    atomic_store(&newest_client, 0);
    end();
}

static void everywhere(enum peal_pressure pressure, const char *reason)
{
    for (enum reader_way way = 0; way < READER_WAYS; way++) {
        print_message("%s over %s\n", reason, reader_way_names[way]);
        follows(way, pressure, reason);
    }
}

static void the_oldest_go(void **state)
{
    (void)state;
    everywhere(PEAL_PRESSURE_DROP_OLDEST, "drop_oldest");
}

static void the_newest_go(void **state)
{
    (void)state;
    everywhere(PEAL_PRESSURE_DROP_NEWEST, "drop_newest");
}

static void newer_ones_replace_older_ones(void **state)
{
    (void)state;
    everywhere(PEAL_PRESSURE_CONFLATE, "conflate");
}

/* Without a policy of the room: what the options say, with their key. */
static void options_have_a_key_of_their_own(void **state)
{
    struct peal_client_ref ref;
    struct reader slow;
    struct count count;
    int total;

    (void)state;
    begin(READER_WS, (struct peal_server_options){
                         .pressure = PEAL_PRESSURE_CONFLATE,
                         .conflate_by = "key",
                         .mailbox_bytes_max = 500000,
                     });
    reader_open(&slow, &host, READER_WS);
    CHECK_SOON(atomic_load(&newest_client) != 0);
    ref.value = atomic_exchange(&newest_client, 0);
    total = flood(ref, NULL);
    read_all(&slow, total, "conflate", &count);
    expect_newest_of_keys(&count, total);
    reader_close(&slow);
    end();
}

/* --- What is never dropped ------------------------------------------------ */

static void say(struct reader *reader, const char *text)
{
    static char frame[256];

    reader_put(
        reader, frame,
        reader->way == READER_TCP
            ? tcp_make(frame, TCP_ENVELOPE_FRAME, NULL, text, strlen(text))
            : ws_make(frame, WS_TEXT_FRAME, text, strlen(text)));
}

/* It asks while it does not read, and its questions are all answered. */
static void answers_and_heartbeats_are_kept(void **state)
{
    (void)state;
    for (enum reader_way way = READER_WS; way <= READER_TCP; way++) {
        char frame[64];
        struct reader slow;
        int asked = 0;
        int answered = 0;
        bool is_ponged = false;

        begin(way, (struct peal_server_options){.pressure =
                                                    PEAL_PRESSURE_DROP_OLDEST});
        reader_open(&slow, &host, way);
        CHECK_SOON(host_stats(&host).clients == 1);
        for (int i = 0; dropped() < DROPS_MIN; i++) {
            struct peal_event event = numbered('r', i);
            uint64_t before = host_stats(&host).bytes_in;
            char text[64];

            CHECK_EQUAL(
                peal_server_room_emit(host.server, "feed:1", &event, NULL, 0),
                0);
            if (i % 5 == 0) {
                snprintf(text, sizeof text,
                         "{\"event\":\"peal:ping\",\"id\":%d}", asked++);
                say(&slow, text);
                CHECK_SOON(host_stats(&host).bytes_in > before);
            }
            CHECK(i < 10000 && "a queue without a bound");
        }
        reader_put(&slow, frame,
                   way == READER_TCP
                       ? tcp_make(frame, TCP_PING_FRAME, NULL, "x", 1)
                       : ws_make(frame, WS_PING_FRAME, "x", 1));
        say(&slow, "{\"event\":\"peal:ping\",\"id\":\"last\"}");
        while (answered <= asked) {
            int first = reader_hear_frame(&slow);
            json_t *message;

            if (first == (way == READER_TCP ? TCP_PONG_FRAME : WS_PONG_FRAME)) {
                is_ponged = true;
                continue;
            }
            message = json_loads(slow.text, 0, NULL);
            CHECK(message != NULL);
            if (way == READER_TCP ? first == TCP_ANSWER_FRAME
                                  : is_event(message, "peal:ok")) {
                json_t *id = json_object_get(message, "id");

                CHECK(answered == asked ? json_is_string(id)
                                        : json_integer_value(id) == answered);
                answered++;
            }
            json_decref(message);
        }
        CHECK(is_ponged);
        CHECK_EQUAL(host_stats(&host).closed_queue_bytes, 0);
        reader_close(&slow);
        end();
    }
}

/* What cannot be dropped closes the client when it alone is too much. */
static void too_much_of_that_closes(void **state)
{
    struct reader slow;
    struct peal_client_ref ref;

    (void)state;
    begin(READER_WS,
          (struct peal_server_options){.pressure = PEAL_PRESSURE_DROP_NEWEST});
    reader_open(&slow, &host, READER_WS);
    CHECK_SOON(atomic_load(&newest_client) != 0);
    ref.value = atomic_exchange(&newest_client, 0);
    for (int i = 0; dropped() < DROPS_MIN; i++) {
        struct peal_event event = numbered('r', i);

        CHECK_EQUAL(
            peal_server_room_emit(host.server, "feed:1", &event, NULL, 0), 0);
    }
    for (int i = 0; host_stats(&host).closed_queue_bytes == 0; i++) {
        struct peal_event event = numbered('d', i);

        (void)peal_server_emit(host.server, ref, &event);
        CHECK(i < 10000 && "a queue without a bound");
    }
    ws_await_close(&slow.peer, 1013);
    inflateEnd(&slow.window);
    end();
}

/* --- Policies ------------------------------------------------------------- */

/* The first pattern that matches counts, then the server's own. */
static void policies_change_while_running(void **state)
{
    struct peal_server_options options = {.size = sizeof options};
    struct peal_client_ref ref;
    struct reader slow;
    struct count seen;
    int count = 0;

    (void)state;
    begin(READER_WS, (struct peal_server_options){0});
    set_policy("other:*", PEAL_PRESSURE_CLOSE, NULL);
    set_policy("f*d:*", PEAL_PRESSURE_DROP_NEWEST, NULL);
    set_policy("feed:*", PEAL_PRESSURE_DROP_OLDEST, NULL);
    reader_open(&slow, &host, READER_WS);
    CHECK_SOON(atomic_load(&newest_client) != 0);
    ref.value = atomic_exchange(&newest_client, 0);
    while (host_stats(&host).dropped_newest == 0) {
        send_one(ref, count++);
    }
    CHECK_EQUAL(host_stats(&host).dropped_oldest, 0);
    read_all(&slow, count, "drop_newest", &seen);

    /* Without the first: the next. */
    CHECK_EQUAL(peal_server_set_room_policy(host.server, "f*d:*", NULL), 0);
    count = 0;
    while (host_stats(&host).dropped_oldest == 0) {
        send_one(ref, count++);
    }
    read_all(&slow, count, "drop_oldest", &seen);

    /* Without that, too: what the options say. */
    CHECK_EQUAL(peal_server_config(host.server, &options), 0);
    CHECK_EQUAL(options.pressure, PEAL_PRESSURE_CLOSE);
    options.pressure = PEAL_PRESSURE_CONFLATE;
    CHECK_EQUAL(peal_server_update(host.server, &options, NULL), 0);
    count = 0;
    send_one(ref, count++); /* when it has arrived, the options are in force */
    read_all(&slow, count, "none", &seen);
    CHECK_EQUAL(peal_server_set_room_policy(host.server, "feed:*", NULL), 0);
    count = 0;
    while (host_stats(&host).conflated == 0) {
        send_one(ref, count++);
    }
    read_all(&slow, count, "conflate", &seen);
    CHECK_EQUAL(host_stats(&host).closed_queue_bytes, 0);
    CHECK_EQUAL(peal_server_config(host.server, &options), 0); /* its texts */
    options.pressure = PEAL_PRESSURE_CLOSE;
    CHECK_EQUAL(peal_server_update(host.server, &options, NULL), 0);
    while (host_stats(&host).closed_queue_bytes == 0) {
        struct peal_event event = numbered('r', count++);

        CHECK_EQUAL(
            peal_server_room_emit(host.server, "feed:1", &event, NULL, 0), 0);
    }
    ws_await_close(&slow.peer, 1013);
    inflateEnd(&slow.window);
    end();
}

static void bad_policies_are_refused(void **state)
{
    struct peal_room_policy policy = {.size = sizeof policy};
    struct peal_server *server;
    char name[PEAL_ROOM_PATTERN_MAX + 2] = "";

    (void)state;
    begin(READER_WS, (struct peal_server_options){0});
    server = host.server;
    CHECK_EQUAL(peal_server_set_room_policy(server, "", &policy), PEAL_EINVAL);
    memset(name, 'a', sizeof name - 1);
    CHECK_EQUAL(peal_server_set_room_policy(server, name, &policy),
                PEAL_EINVAL);
    policy.pressure = (enum peal_pressure)17;
    CHECK_EQUAL(peal_server_set_room_policy(server, "a", &policy), PEAL_EINVAL);
    policy.pressure = PEAL_PRESSURE_CONFLATE;
    policy.size--;
    CHECK_EQUAL(peal_server_set_room_policy(server, "a", &policy), PEAL_EINVAL);
    policy.size++;
    CHECK_EQUAL(peal_server_set_room_policy(server, "none", NULL), 0);
    for (int i = 0; i < PEAL_ROOM_POLICIES_MAX; i++) {
        snprintf(name, sizeof name, "room %d", i);
        CHECK_EQUAL(peal_server_set_room_policy(server, name, &policy), 0);
    }
    CHECK_EQUAL(peal_server_set_room_policy(server, "more", &policy),
                PEAL_ELIMIT);
    CHECK_EQUAL(peal_server_set_room_policy(server, name, &policy), 0);
    end();
}

/* --- Dialects without a word for it --------------------------------------- */

static void raw_clients_are_only_counted(void **state)
{
    struct reader slow;
    int received = 0;
    int last = -1;
    int count = 0;

    (void)state;
    begin(READER_WS,
          (struct peal_server_options){.dialect = PEAL_DIALECT_RAW,
                                       .pressure = PEAL_PRESSURE_DROP_OLDEST});
    reader_open(&slow, &host, READER_WS);
    CHECK_SOON(host_stats(&host).clients == 1);
    while (dropped() < DROPS_MIN) {
        struct peal_event event = numbered('r', count++);

        CHECK_EQUAL(
            peal_server_room_emit(host.server, "feed:1", &event, NULL, 0), 0);
    }
    while (last != count - 1) {
        json_t *data = reader_hear(&slow);
        int number = (int)json_integer_value(json_object_get(data, "n"));

        CHECK(number > last);
        last = number;
        received++;
        json_decref(data);
    }
    CHECK_EQUAL(received + (int)dropped(), count);
    reader_close(&slow);
    end();
}

/* --- What the application is told ------------------------------------------
 */

static struct {
    _Atomic int highs;
    _Atomic int drains;
    _Atomic uint64_t dropped;
    _Atomic bool is_gone;
} told;

/* Not what it is by default, which is a quarter of the high mark. */
#define LOW_BYTES 5000

static void on_high_water(struct peal_client *client, size_t queued_bytes,
                          void *user)
{
    CHECK(user == &told);
    CHECK(queued_bytes > 0);
    CHECK_EQUAL(queued_bytes, peal_client_queued_bytes(client));
    CHECK_EQUAL(told.highs, told.drains);
    told.highs++;
}

static void on_drain(struct peal_client *client, size_t queued_bytes,
                     void *user)
{
    CHECK(user == &told);
    CHECK(queued_bytes <= LOW_BYTES);
    CHECK_EQUAL(queued_bytes, peal_client_queued_bytes(client));
    told.drains++;
    CHECK_EQUAL(told.highs, told.drains);
}

static void on_dropped(struct peal_client *client,
                       const struct peal_dropped *dropped, void *user)
{
    (void)client;
    CHECK(user == &told);
    CHECK(!told.is_gone);
    CHECK(peal_slice_equal(dropped->room, peal_slice("feed:1")));
    CHECK_EQUAL(dropped->reason, PEAL_PRESSURE_DROP_NEWEST);
    CHECK(dropped->count > 0);
    told.dropped += dropped->count;
}

static void on_disconnect(struct peal_client *client,
                          const struct peal_disconnect *disconnect, void *user)
{
    (void)client;
    (void)disconnect;
    (void)user;
    told.is_gone = true;
}

static void the_application_is_told(void **state)
{
    struct peal_hooks hooks = {
        .size = sizeof hooks,
        .on_high_water = on_high_water,
        .on_drain = on_drain,
        .on_dropped = on_dropped,
    };
    struct peal_server_options options = {.size = sizeof options};
    struct peal_client_ref ref;
    struct reader slow;
    struct count count;
    int total = 0;

    (void)state;
    begin(READER_WS, (struct peal_server_options){
                         .pressure = PEAL_PRESSURE_DROP_NEWEST,
                         .queue_high_bytes = 200000,
                         .queue_low_bytes = LOW_BYTES,
                         .hooks = &hooks,
                         .on_disconnect = on_disconnect,
                     });
    CHECK_EQUAL(peal_server_config(host.server, &options), 0);
    options.user = &told;
    CHECK_EQUAL(peal_server_update(host.server, &options, NULL), 0);
    reader_open(&slow, &host, READER_WS);
    CHECK_SOON(atomic_load(&newest_client) != 0);
    ref.value = atomic_exchange(&newest_client, 0);
    for (int round = 0; round < 2; round++) {
        uint64_t before = dropped();

        total = 0;
        while (dropped() < before + DROPS_MIN) {
            send_one(ref, total++);
            CHECK(total < 10000 && "a queue without a bound");
        }
        CHECK_SOON(told.highs == round + 1);
        CHECK_EQUAL(told.drains, round);
        read_all(&slow, total, "drop_newest", &count);
        CHECK_SOON(told.drains == round + 1);
        CHECK_SOON(told.dropped == dropped());
    }

    /* All that was dropped is told before the client is gone. */
    for (uint64_t before = dropped(); dropped() == before;) {
        send_one(ref, total++);
    }
    reader_close(&slow);
    CHECK_SOON(told.is_gone);
    CHECK_EQUAL(told.dropped, dropped());
    CHECK_EQUAL(told.highs, 3);
    end();
}

/* --- The C client -----------------------------------------------------------
 */

static void count_event(struct peal_link *link, const struct peal_event *event,
                        void *user)
{
    (void)link;
    (void)event;
    ++*(int *)user;
}

/* It is slow because nobody steps its loop. */
static void links_hear_of_gaps(void **state)
{
    struct link_notes notes = {0};
    struct peal_link_options options;
    struct peal_link_stats stats = {.size = sizeof stats};
    struct peal_loop *loop;
    struct peal_link *link;
    char url[160];
    int received = 0;
    int gaps = 0;
    int total = 0;

    (void)state;
    begin(READER_WS,
          (struct peal_server_options){.pressure = PEAL_PRESSURE_DROP_OLDEST,
                                       .metrics_path = "/metrics"});
    options = link_test_options(link_url(url, host.ws, false), &notes);
    CHECK_EQUAL(peal_loop_new(&loop, NULL), 0);
    CHECK_EQUAL(peal_link_new(&link, loop, &options), 0);
    CHECK_EQUAL(peal_link_on(link, "r", count_event, &received), 0);
    CHECK_EQUAL(peal_link_on(link, "peal:gap", count_event, &gaps), 0);
    CHECK_EQUAL(peal_link_open(link), 0);
    LINK_STEP_UNTIL(loop, notes.connects == 1);
    while (dropped() < DROPS_MIN) {
        struct peal_event event = numbered('r', total++);

        CHECK_EQUAL(
            peal_server_room_emit(host.server, "feed:1", &event, NULL, 0), 0);
        CHECK(total < 10000 && "a queue without a bound");
    }
    LINK_STEP_UNTIL(loop, peal_link_stats(link, &stats) == 0 &&
                              received + (int)stats.missed == total);
    CHECK_EQUAL(stats.missed, dropped());
    CHECK(gaps > 0);
    CHECK_EQUAL(stats.gaps, gaps);
    CHECK_EQUAL(http_metric(host.ws, "peal_gaps_total{reason=\"drop_oldest\"}"),
                gaps);
    peal_link_free(link);
    peal_loop_free(loop);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oldest_go),
        cmocka_unit_test(the_newest_go),
        cmocka_unit_test(newer_ones_replace_older_ones),
        cmocka_unit_test(options_have_a_key_of_their_own),
        cmocka_unit_test(answers_and_heartbeats_are_kept),
        cmocka_unit_test(too_much_of_that_closes),
        cmocka_unit_test(policies_change_while_running),
        cmocka_unit_test(bad_policies_are_refused),
        cmocka_unit_test(raw_clients_are_only_counted),
        cmocka_unit_test(the_application_is_told),
        cmocka_unit_test(links_hear_of_gaps),
    };

    return cmocka_run_group_tests(tests, make_certificate, remove_certificate);
}
