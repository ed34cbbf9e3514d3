/*
 * Goal: a message that a slow reader should have had is received, or told as
 * missing in its place, or its connection is closed with a reason: over every
 * transport, whatever policies its rooms have, also while these and the limits
 * change, and when the server stops before all is read.
 *
 * Method: members of all kinds that read when they like, and numbered messages
 * to their rooms, to everybody and to each alone, by random choices that a seed
 * repeats. For each member and room what was received and what gaps have told
 * is together what was sent, in order; and all gaps together are what the
 * counters and the application were told.
 */
#include "support/suite.h"

#include "support/certificates.h"
#include "support/host.h"
#include "support/line.h"
#include "support/tcp.h"

#include <peal/policy.h>

#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS 28
#define ROOMS 6             /* whose messages may be dropped */
#define EVERYBODY ROOMS     /* the stream of broadcasts */
#define CLOSING (ROOMS + 1) /* of the room whose slow members are closed */
#define STREAMS (ROOMS + 2)
#define DIRECT_MAX 40 /* sent to one member: these have to fit */
#define REASONS 3
#define MESSAGES 5000
#define DROPS_MIN 100 /* of each kind */

enum way {
    OVER_WS,
    OVER_TCP,
    OVER_WSS,
    OVER_TLS,
    OVER_DEFLATE,
    OVER_OWN, /* compressed for each one by one */
    WAYS
};

static const char *const reason_names[REASONS] = {"drop_oldest", "drop_newest",
                                                  "conflate"};

struct member_of_rooms {
    struct line line;
    enum way way;
    bool is_closing; /* only in the room that closes */
    bool is_upgraded;
    bool is_welcome;
    bool is_over; /* it has been told that, and why */
    bool reads_all;
    struct peal_client_ref ref;
    int deaf_turns; /* it reads again after so many */
    uint64_t due[STREAMS]; /* received and told as missing */
    uint64_t direct_due;
    uint64_t direct_sent;
    uint64_t told[STREAMS][REASONS];
};

static struct host host;
static struct peal_tls *tls;
static SSL_CTX *context;
static struct member_of_rooms members[MEMBERS];
static uint64_t sent[STREAMS];
static _Atomic uint64_t told_to_application[STREAMS][REASONS];

static unsigned below(unsigned bound)
{
    return (unsigned)rand() % bound;
}

static void room_name(char name[32], int stream)
{
    snprintf(name, 32, stream == CLOSING ? "closing" : "room:%d", stream);
}

/* --- The server ----------------------------------------------------------- */

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    char kind[8] = "";
    char room[32];

    (void)user;
    if (connect->transport == PEAL_WS) {
        (void)peal_connect_query(connect, "kind", kind, sizeof kind);
    }
    if (strcmp(kind, "closing") == 0) {
        CHECK_EQUAL(peal_client_join(client, "closing"), 0);
        return;
    }
    for (int i = 0; i < ROOMS; i++) {
        room_name(room, i);
        CHECK_EQUAL(peal_client_join(client, room), 0);
    }
}

static void on_dropped(struct peal_client *client,
                       const struct peal_dropped *dropped, void *user)
{
    int stream = EVERYBODY;
    int which = dropped->reason == PEAL_PRESSURE_DROP_OLDEST   ? 0
                : dropped->reason == PEAL_PRESSURE_DROP_NEWEST ? 1
                                                               : 2;

    (void)client;
    (void)user;
    if (dropped->room.size > 0) {
        CHECK_EQUAL(dropped->room.size, strlen("room:0"));
        stream = dropped->room.data[dropped->room.size - 1] - '0';
    }
    told_to_application[stream][which] += dropped->count;
}

static void listen_with_tls(struct peal_server *server,
                            enum peal_transport transport)
{
    struct peal_listen listen = {
        .size = sizeof listen,
        .address = "127.0.0.1:0",
        .transport = transport,
        .tls = tls,
    };

    CHECK_EQUAL(peal_server_listen(server, &listen), 0);
}

static void setup(struct peal_server *server)
{
    struct peal_room_policy policy = {.size = sizeof policy};

    listen_with_tls(server, PEAL_WS);
    listen_with_tls(server, PEAL_TCP);
    policy.pressure = PEAL_PRESSURE_CLOSE;
    CHECK_EQUAL(peal_server_set_room_policy(server, "clos*", &policy), 0);
}

static int make_certificate(void **state)
{
    struct peal_tls_options options = {.size = sizeof options};

    (void)state;
    certificates_open();
    certificates_make(&(struct certificate){
        .name = "silence", .names = "IP:127.0.0.1", .from_day = -1});
    options.certificate_file = certificates_path("silence.crt");
    options.key_file = certificates_path("silence.key");
    CHECK_EQUAL(peal_tls_new(&tls, &options, NULL, 0), 0);
    context = SSL_CTX_new(TLS_client_method());
    CHECK(context != NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return 0;
}

static int remove_certificate(void **state)
{
    (void)state;
    SSL_CTX_free(context);
    peal_tls_free(tls);
    certificates_close();
    return 0;
}

/* --- Members -------------------------------------------------------------- */

static int port_of(enum way way)
{
    char address[PEAL_ADDRESS_MAX];
    size_t number = way == OVER_TCP   ? 1
                    : way == OVER_WSS ? 2
                    : way == OVER_TLS ? 3
                                      : 0;

    CHECK_EQUAL(peal_server_address(host.server, number, address), 0);
    return atoi(strrchr(address, ':') + 1);
}

static bool is_tcp(const struct member_of_rooms *member)
{
    return member->way == OVER_TCP || member->way == OVER_TLS;
}

static void come(struct member_of_rooms *member, int number)
{
    bool is_secure;
    char head[512];

    memset(member, 0, sizeof *member);
    member->way = (enum way)(number % WAYS);
    member->is_closing = number >= MEMBERS - WAYS && !is_tcp(member);
    is_secure = member->way == OVER_WSS || member->way == OVER_TLS;
    line_open(&member->line, 1, port_of(member->way), is_tcp(member),
              is_secure ? context : NULL, number % 4 == 3 ? 0 : 8192);
    if (!is_tcp(member)) {
        int size = snprintf(
            head, sizeof head,
            "GET /?kind=%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
            member->is_closing ? "closing" : "",
            member->way == OVER_OWN
                ? "Sec-WebSocket-Extensions: permessage-deflate\r\n"
            : member->way == OVER_DEFLATE
                ? "Sec-WebSocket-Extensions: permessage-deflate; "
                  "server_no_context_takeover\r\n"
                : "");

        line_write(&member->line, head, (size_t)size);
    }
}

static void read_head(struct member_of_rooms *member)
{
    struct line_bytes *in = &member->line.in;
    char head[1024] = "";
    size_t size = in->end - in->start;
    char *end;

    memcpy(head, in->data + in->start,
           size < sizeof head - 1 ? size : sizeof head - 1);
    end = strstr(head, "\r\n\r\n");
    if (end != NULL) {
        in->start += (size_t)(end - head) + 4;
        *end = '\0';
        CHECK(strncmp(head, "HTTP/1.1 101 ", 13) == 0);
        line_agree(&member->line, head);
        CHECK_EQUAL(member->line.is_deflated, member->way >= OVER_DEFLATE);
        member->is_upgraded = true;
    }
}

static void hear_welcome(struct member_of_rooms *member, json_t *json)
{
    json_t *data = json_object_get(json, "data");
    const char *id = json_string_value(
        json_object_get(data != NULL ? data : json, "id"));

    CHECK(id != NULL);
    member->ref = peal_server_find(host.server, id);
    CHECK(member->ref.value != 0);
    member->is_welcome = true;
}

/* Which stream a room's name, or NULL, stands for. */
static int stream_of(const char *room)
{
    int stream = EVERYBODY;

    if (room != NULL && strncmp(room, "closing", 7) == 0) {
        return CLOSING;
    }
    CHECK(room == NULL || sscanf(room, "room:%d", &stream) == 1);
    return stream;
}

static void hear_gap(struct member_of_rooms *member, json_t *json)
{
    json_t *data = json_object_get(json, "data");
    const char *reason = json_string_value(json_object_get(data, "reason"));
    json_int_t count = json_integer_value(json_object_get(data, "count"));
    int stream = stream_of(json_string_value(json_object_get(json, "room")));
    int which = 0;

    while (strcmp(reason_names[which], reason) != 0) {
        which++;
        CHECK(which < REASONS);
    }
    CHECK(count > 0);
    member->told[stream][which] += (uint64_t)count;
    member->due[stream] += (uint64_t)count;
}

/* A numbered event: the next one of its stream. Its head is enough. */
static void hear_event(struct member_of_rooms *member,
                       const struct line_message *message)
{
    bool is_short = message->type == TCP_JSON_FRAME;
    uint64_t *due = &member->direct_due;
    char head[128];
    const char *at;

    snprintf(head, sizeof head, "%.*s",
             (int)(message->size < sizeof head ? message->size : sizeof head),
             message->data);
    if (is_short ? message->event[0] != 'd'
                 : strstr(head, "\"event\":\"direct\"") == NULL) {
        at = strstr(head, "\"room\":\"");
        due = &member->due[stream_of(at != NULL ? at + 8 : NULL)];
    }
    at = strstr(head, "\"n\":");
    CHECK(at != NULL);
    CHECK_EQUAL(strtoull(at + 4, NULL, 10), *due);
    ++*due;
}

static void hear_text(struct member_of_rooms *member,
                      const struct line_message *message)
{
    static const char own[] = "{\"event\":\"peal:";
    json_t *json;

    if (message->type != TCP_CONNECT_FRAME &&
        (message->size < sizeof own ||
         memcmp(message->data, own, sizeof own - 1) != 0)) {
        hear_event(member, message);
        return;
    }
    json = json_loadb(message->data, message->size, 0, NULL);
    CHECK(json != NULL);
    if (member->is_welcome) {
        CHECK(strcmp(json_string_value(json_object_get(json, "event")),
                     "peal:gap") == 0);
        hear_gap(member, json);
    } else {
        hear_welcome(member, json);
    }
    json_decref(json);
}

static void hear_close(struct member_of_rooms *member,
                       const struct line_message *message)
{
    int code = 0;

    if (is_tcp(member)) {
        char text[128];

        snprintf(text, sizeof text, "%.*s", (int)message->size, message->data);
        CHECK(sscanf(text, "{\"code\":%d", &code) == 1);
    } else {
        CHECK(message->size >= 2);
        code = (unsigned char)message->data[0] << 8 |
               (unsigned char)message->data[1];
        line_say(&member->line, 8, message->data, 2);
        line_move(&member->line);
    }
    CHECK(code == 1001 || (code == 1013 && member->is_closing));
    member->is_over = true;
}

/* What has come, as far as it is there. */
static void hear(struct member_of_rooms *member)
{
    struct line_message message;

    line_move(&member->line);
    if (!is_tcp(member) && !member->is_upgraded) {
        read_head(member);
    }
    while ((is_tcp(member) || member->is_upgraded) && !member->is_over &&
           line_hear(&member->line, &message)) {
        if (message.kind == LINE_TEXT) {
            hear_text(member, &message);
        } else if (message.kind == LINE_CLOSE) {
            hear_close(member, &message);
        } else {
            CHECK(message.kind == LINE_PING);
        }
    }
    if (member->line.is_ended && !member->is_over) {
        /* Who reads nothing for so long is cut, and knows it by that. */
        CHECK(member->is_closing && host_stats(&host).closed_queue_bytes > 0);
        member->is_over = true;
    }
}

static void wait_and_hear(void)
{
    struct pollfd polled[MEMBERS];
    nfds_t count = 0;

    for (int i = 0; i < MEMBERS; i++) {
        struct member_of_rooms *member = &members[i];

        if (!member->is_over) {
            member->line.is_deaf = member->deaf_turns > 0;
            member->deaf_turns -= member->line.is_deaf;
            polled[count++] = (struct pollfd){
                .fd = member->line.fd, .events = line_events(&member->line)};
        }
    }
    poll(polled, count, 1);
    for (int i = 0; i < MEMBERS; i++) {
        if (!members[i].is_over && !members[i].line.is_deaf) {
            hear(&members[i]);
        }
    }
}

static bool all_are_welcome(void)
{
    for (int i = 0; i < MEMBERS; i++) {
        if (!members[i].is_welcome) {
            return false;
        }
    }
    return true;
}

static bool all_are_over(void)
{
    for (int i = 0; i < MEMBERS; i++) {
        if (!members[i].is_over) {
            return false;
        }
    }
    return true;
}

/* --- What is sent --------------------------------------------------------- */

/* An event with a number, sometimes with a key, and more or less long. */
static struct peal_event numbered(const char *name, uint64_t number)
{
    static char json[80000];
    static const char *const keys[] = {"\"a\"", "\"b\"", "17", "[1,2]", "null"};
    unsigned luck = below(100);
    unsigned size = luck < 60   ? below(300)
                    : luck < 95 ? below(5000)
                    : luck < 99 ? below(9000)
                                : below(16000);
    int at = snprintf(json, sizeof json, "{\"n\":%llu,",
                      (unsigned long long)number);

    if (below(5) > 0) {
        at += snprintf(json + at, sizeof json - (size_t)at, "\"key\":%s,",
                       keys[below(ARRAY_SIZE(keys))]);
    }
    at += snprintf(json + at, sizeof json - (size_t)at, "\"pad\":\"");
    for (unsigned i = 0; i < size; i++) {
        json[at++] = (char)('a' + below(26));
    }
    strcpy(json + at, "\"}");
    return peal_json(name, json);
}

static void publish(void)
{
    /* Sockets take much before they block. */
    int luck = (int)below(2 * STREAMS);
    int stream = luck < STREAMS ? luck : CLOSING;
    struct peal_event event =
        numbered(below(3) > 0 ? "news" : "more", sent[stream]);
    struct peal_client_ref others[MEMBERS];
    size_t count = 0;
    char room[32];
    int rc;

    if (stream == EVERYBODY) {
        for (int i = 0; i < MEMBERS; i++) {
            if (members[i].is_closing) {
                others[count++] = members[i].ref;
            }
        }
        rc = peal_server_broadcast(host.server, &event, others, count);
    } else {
        room_name(room, stream);
        rc = peal_server_room_emit(host.server, room, &event, NULL, 0);
    }
    CHECK(rc == 0 || rc == PEAL_EFULL);
    sent[stream] += rc == 0;
}

static void send_to_one(void)
{
    struct member_of_rooms *member = &members[below(MEMBERS)];
    struct peal_event event;
    char json[32];
    int rc;

    if (member->is_closing || member->direct_sent == DIRECT_MAX) {
        return;
    }
    snprintf(json, sizeof json, "{\"n\":%llu}",
             (unsigned long long)member->direct_sent);
    event = peal_json("direct", json);
    rc = peal_server_emit(host.server, member->ref, &event);
    CHECK(rc == 0 || rc == PEAL_EFULL);
    member->direct_sent += rc == 0;
}

static void change_something(void)
{
    static const enum peal_pressure pressures[] = {PEAL_PRESSURE_DROP_OLDEST,
                                                   PEAL_PRESSURE_DROP_NEWEST,
                                                   PEAL_PRESSURE_CONFLATE};
    struct peal_room_policy policy = {
        .size = sizeof policy,
        .pressure = pressures[below(3)],
        .conflate_by = below(2) > 0 ? "key" : NULL,
    };
    struct peal_server_options options = {.size = sizeof options};
    char pattern[16];

    if (below(3) > 0) {
        snprintf(pattern, sizeof pattern, "r*:%u", below(ROOMS));
        CHECK_EQUAL(peal_server_set_room_policy(host.server, pattern,
                                                below(4) > 0 ? &policy : NULL),
                    0);
        return;
    }
    CHECK_EQUAL(peal_server_config(host.server, &options), 0);
    options.pressure = policy.pressure;
    options.conflate_by = policy.conflate_by;
    options.queue_bytes_max = 65536u << below(3);
    CHECK_EQUAL(peal_server_update(host.server, &options, NULL), 0);
}

/* --- The tests ------------------------------------------------------------ */

static void begin(void)
{
    static const struct peal_hooks hooks = {.size = sizeof hooks,
                                            .on_dropped = on_dropped};
    static const struct peal_deflate_options deflate = {
        .size = sizeof deflate,
        .enabled = true,
        .context_takeover = true,
        .threshold_bytes = 100,
    };

    memset(sent, 0, sizeof sent);
    memset(told_to_application, 0, sizeof told_to_application);
    host_start(&host,
               &(struct peal_server_options){
                   .loops = 2,
                   .queue_bytes_max = 65536,
                   .pressure = PEAL_PRESSURE_DROP_OLDEST,
                   .ping_interval_ms = PEAL_OFF,
                   .close_timeout_ms = 60000,
                   .stop_timeout_ms = 60000,
                   .deflate = &deflate,
                   .hooks = &hooks,
                   .on_connect = on_connect,
               },
               setup);
    for (int i = 0; i < MEMBERS; i++) {
        come(&members[i], i);
    }
    CHECK_SOON((wait_and_hear(), all_are_welcome()));
}

static uint64_t sent_in_all(void)
{
    uint64_t sum = 0;

    for (int i = 0; i < STREAMS; i++) {
        sum += sent[i];
    }
    return sum;
}

static bool has_dropped_everywhere(void)
{
    struct peal_server_stats stats = host_stats(&host);

    return stats.dropped_oldest > DROPS_MIN &&
           stats.dropped_newest > DROPS_MIN && stats.conflated > DROPS_MIN &&
           stats.closed_queue_bytes > 0;
}

/* What each member has heard of each stream, and of all that is missing. */
static void expect_all_heard(void)
{
    uint64_t told[STREAMS][REASONS] = {0};

    for (int i = 0; i < MEMBERS; i++) {
        const struct member_of_rooms *member = &members[i];

        if (member->is_closing) {
            CHECK(member->due[CLOSING] <= sent[CLOSING]);
            continue;
        }
        CHECK_EQUAL(member->direct_due, member->direct_sent);
        for (int stream = 0; stream <= EVERYBODY; stream++) {
            CHECK_EQUAL(member->due[stream], sent[stream]);
            for (int k = 0; k < REASONS; k++) {
                told[stream][k] += member->told[stream][k];
            }
        }
    }
    for (int k = 0; k < REASONS; k++) {
        struct peal_server_stats stats = host_stats(&host);
        uint64_t dropped = k == 0   ? stats.dropped_oldest
                           : k == 1 ? stats.dropped_newest
                                    : stats.conflated;
        uint64_t sum = 0;

        for (int stream = 0; stream <= EVERYBODY; stream++) {
            CHECK_EQUAL(told_to_application[stream][k], told[stream][k]);
            sum += told[stream][k];
        }
        print_message("%s: %llu\n", reason_names[k], (unsigned long long)sum);
        CHECK_EQUAL(sum, dropped);
    }
}

static void everything_is_received_or_told(void **state)
{
    (void)state;
    check_seed();
    begin();
    for (int i = 0; i < MEMBERS; i++) {
        if (i < WAYS || members[i].is_closing) {
            members[i].deaf_turns = INT_MAX;
        }
    }
    while (sent_in_all() < MESSAGES || !has_dropped_everywhere()) {
        struct member_of_rooms *member = &members[below(MEMBERS)];

        for (unsigned i = below(20); i > 0; i--) {
            publish();
        }
        if (below(3) == 0) {
            send_to_one();
        }
        if (below(10) == 0) {
            change_something();
        }
        if (member->deaf_turns == 0) {
            member->deaf_turns = (int)below(50);
        }
        wait_and_hear();
        CHECK(sent_in_all() < 100 * MESSAGES && "queues without a bound");
    }
    print_message("sent: %llu\n", (unsigned long long)sent_in_all());

    /* What waits for those who are behind is sent before the end. */
    CHECK(host_stats(&host).queued_bytes > 0);
    peal_server_stop(host.server);
    for (int i = 0; i < MEMBERS; i++) {
        members[i].deaf_turns = 0;
    }
    CHECK_SOON((wait_and_hear(), all_are_over()));
    for (int i = 0; i < MEMBERS; i++) {
        line_close(&members[i].line, false);
    }
    CHECK_EQUAL(peal_server_wait(host.server), 0);
    expect_all_heard();
    CHECK_EQUAL(host_stats(&host).messages_unsayable, 0);
    peal_server_free(host.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_received_or_told),
    };

    return cmocka_run_group_tests(tests, make_certificate, remove_certificate);
}
