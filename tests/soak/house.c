#include "house.h"

#include "chance.h"
#include "support/check.h"

#include <peal/http.h>
#include <peal/policy.h>

#include <dirent.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* How many of each kind may wait for the application's thread. */
#define WAITING_MAX 1024

/* A little more than a worker waits before it trims its tapes. */
#define QUIET_MS 12000

#define FLOOD_BYTES 16384
#define FLOOD_MESSAGES 512

/* --- Memory -------------------------------------------------------------- */

static _Atomic uint64_t live_blocks;
static _Atomic uint64_t live_bytes;

static void count(void *block)
{
    if (block != NULL) {
        atomic_fetch_add(&live_blocks, 1);
        atomic_fetch_add(&live_bytes, malloc_usable_size(block));
    }
}

static void uncount(void *block)
{
    if (block != NULL) {
        atomic_fetch_sub(&live_blocks, 1);
        atomic_fetch_sub(&live_bytes, malloc_usable_size(block));
    }
}

static void *allocate(size_t size, void *user)
{
    void *block = malloc(size);

    (void)user;
    count(block);
    return block;
}

static void *reallocate(void *block, size_t size, void *user)
{
    size_t before = block != NULL ? malloc_usable_size(block) : 0;
    void *moved = realloc(block, size);

    (void)user;
    if (moved != NULL) {
        atomic_fetch_add(&live_blocks, block == NULL);
        atomic_fetch_add(&live_bytes, malloc_usable_size(moved) - before);
    }
    return moved;
}

static void release(void *block, void *user)
{
    (void)user;
    uncount(block);
    free(block);
}

/* --- What waits for the application's thread ----------------------------- */

enum duty_kind { DUTY_ADMISSION, DUTY_REQUEST, DUTY_REPLY, DUTY_TICKET };

struct duty {
    enum duty_kind kind;
    bool is_refusal;
    union {
        struct peal_admission admission;
        struct peal_request request;
        struct peal_http_reply reply;
        struct peal_ticket ticket;
    } to;
};

static struct {
    pthread_mutex_t lock;
    struct duty all[WAITING_MAX];
    size_t count;
} duties = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool put_off(struct duty duty)
{
    bool is_taken;

    pthread_mutex_lock(&duties.lock);
    is_taken = duties.count < WAITING_MAX;
    if (is_taken) {
        duties.all[duties.count++] = duty;
    }
    pthread_mutex_unlock(&duties.lock);
    return is_taken;
}

/* Whoever has gone, or whose time was up, needs no answer any more. */
static void expect_answered(int rc)
{
    CHECK(rc == 0 || rc == PEAL_EGONE || rc == PEAL_EFULL);
}

static void do_duty(const struct duty *duty)
{
    static const struct peal_denial denial = {.status = 401};
    enum peal_verdict verdict = duty->is_refusal ? PEAL_REFUSE : PEAL_ALLOW;

    switch (duty->kind) {
    case DUTY_ADMISSION:
        expect_answered(
            peal_admission_set(duty->to.admission, "door", "later"));
        expect_answered(
            peal_admission_decide(duty->to.admission, verdict, &denial));
        break;
    case DUTY_REQUEST:
        expect_answered(peal_request_answer(duty->to.request, "\"later\""));
        break;
    case DUTY_REPLY: {
        struct peal_http_response response = {
            .size = sizeof response,
            .type = "text/plain",
            .body = peal_slice("later"),
        };

        expect_answered(peal_http_respond(duty->to.reply, &response));
        break;
    }
    case DUTY_TICKET:
        expect_answered(peal_ticket_decide(duty->to.ticket, verdict));
        break;
    }
}

static void do_some_duties(struct chance *chance)
{
    struct duty some[16];
    size_t taken = 0;

    pthread_mutex_lock(&duties.lock);
    while (taken < 16 && duties.count > 0) {
        size_t at = chance_below(chance, (unsigned)duties.count);

        some[taken++] = duties.all[at];
        duties.all[at] = duties.all[--duties.count];
    }
    pthread_mutex_unlock(&duties.lock);
    for (size_t i = 0; i < taken; i++) {
        do_duty(&some[i]);
    }
}

/* --- The application on the loops ---------------------------------------- */

static struct house_deeds deeds; /* of the application's thread, mostly */
static _Atomic uint64_t connects;
static _Atomic uint64_t disconnects;
static _Atomic uint64_t admissions;
static _Atomic uint64_t questions;
static _Atomic uint64_t outcomes;
static _Atomic uint64_t emits;
static _Atomic uint64_t emitted;
static _Atomic uint64_t turns; /* to do something every so often */
static char flood[FLOOD_BYTES + 1];

static bool now_and_then(unsigned cases)
{
    return atomic_fetch_add(&turns, 1) % cases == cases - 1;
}

/* What a client has of the application's: freed when it leaves, once. */
struct mark {
    uint64_t flooded;
};

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    struct mark *mark = calloc(1, sizeof *mark);
    char room[64];

    (void)user;
    CHECK(mark != NULL && peal_client_user(client) == NULL);
    peal_client_set_user(client, mark);
    atomic_fetch_add(&connects, 1);
    CHECK_EQUAL(peal_client_set(client, "seen", "yes"), 0);
    if (peal_connect_param(connect, "room_id", room, sizeof room) > 0) {
        CHECK_EQUAL(peal_client_set(client, "room", room), 0);
    }
}

static void on_disconnect(struct peal_client *client,
                          const struct peal_disconnect *disconnect, void *user)
{
    (void)user;
    CHECK(disconnect->code >= 1000 && disconnect->code < 5000);
    CHECK(strcmp(peal_client_get(client, "seen"), "yes") == 0);
    free(peal_client_user(client));
    peal_client_set_user(client, NULL);
    atomic_fetch_add(&disconnects, 1);
}

static enum peal_verdict ask_at_the_door(const struct peal_connect *connect,
                                         struct peal_admission admission,
                                         struct peal_denial *denial, void *user)
{
    char door[16] = "";
    struct duty duty = {.kind = DUTY_ADMISSION, .to.admission = admission};

    (void)user;
    atomic_fetch_add(&admissions, 1);
    if (connect->transport == PEAL_TCP) {
        if (now_and_then(3)) {
            return put_off(duty) ? PEAL_LATER : PEAL_REFUSE;
        }
        return PEAL_ALLOW;
    }
    if (peal_connect_query(connect, "door", door, sizeof door) < 0) {
        return PEAL_ALLOW;
    }
    duty.is_refusal = strcmp(door, "notlater") == 0;
    if (duty.is_refusal || strcmp(door, "later") == 0) {
        return put_off(duty) ? PEAL_LATER : PEAL_REFUSE;
    }
    denial->status = strcmp(door, "no") == 0 ? 403 : 0;
    denial->code = 4003;
    return PEAL_REFUSE;
}

static enum peal_verdict ask_again(const struct peal_connect *connect,
                                   struct peal_admission admission,
                                   struct peal_denial *denial, void *user)
{
    (void)connect;
    (void)denial;
    (void)user;
    CHECK_EQUAL(peal_admission_set(admission, "asked", "twice"), 0);
    return PEAL_ALLOW;
}

static void fail(struct peal_request request, int rc)
{
    struct peal_failure failure = {1000, peal_error_name(rc), peal_strerror(rc),
                                   true};

    expect_answered(peal_request_fail(request, &failure));
}

static void on_echo(struct peal_client *from, const struct peal_event *event,
                    struct peal_request request, void *user)
{
    (void)from;
    (void)user;
    expect_answered(peal_request_answer_event(request, event));
}

static void on_later(struct peal_client *from, const struct peal_event *event,
                     struct peal_request request, void *user)
{
    struct duty duty = {.kind = DUTY_REQUEST, .to.request = request};

    (void)from;
    (void)event;
    (void)user;
    if (!put_off(duty)) {
        fail(request, PEAL_EFULL);
    }
}

/* {"r":2,...}: to the others in that room. */
static void on_relay(struct peal_client *from, const struct peal_event *event,
                     struct peal_request request, void *user)
{
    struct peal_event said = *event;
    struct peal_slice value;
    double number;
    char room[16];
    int rc;

    (void)user;
    CHECK_EQUAL(peal_json_get(event->data, "r", &value), 0);
    CHECK_EQUAL(peal_json_number(value, &number), 0);
    snprintf(room, sizeof room, "room%d", (int)number);
    said.name = peal_slice("said");
    rc = peal_room_emit(from, room, &said);
    if (rc == 0) {
        expect_answered(peal_request_answer(request, NULL));
    } else {
        fail(request, rc);
    }
}

/* More than anybody takes who does not read. */
static void on_flood(struct peal_client *from, const struct peal_event *event,
                     struct peal_request request, void *user)
{
    struct mark *mark = peal_client_user(from);
    char json[FLOOD_BYTES + 64];
    int rc = 0;

    (void)event;
    (void)user;
    expect_answered(peal_request_answer(request, NULL));
    for (int i = 0; i < FLOOD_MESSAGES && (rc == 0 || rc == PEAL_EREFUSED);
         i++) {
        struct peal_event drop;

        snprintf(json, sizeof json, "{\"s\":%d,\"n\":%llu,\"pad\":\"%s\"}",
                 HOUSE_ROOMS, (unsigned long long)mark->flooded, flood);
        drop = peal_json("drop", json);
        rc = peal_client_emit(from, &drop);
        mark->flooded += rc == 0;
    }
    CHECK(rc == 0 || rc == PEAL_EFULL || rc == PEAL_EGONE ||
          rc == PEAL_EREFUSED);
}

static void on_any(struct peal_client *from, const struct peal_event *event,
                   void *user)
{
    (void)user;
    if (now_and_then(5)) {
        const char *rooms[4];

        peal_client_rooms(from, rooms, 4);
        CHECK(peal_client_queued_bytes(from) < (size_t)1 << 30);
    }
    if (peal_slice_equal(event->name, peal_slice("bytes"))) {
        peal_client_emit(from, event);
    }
}

/* --- Hooks --------------------------------------------------------------- */

static bool on_rate_limited(struct peal_client *client,
                            const struct peal_rate_limited *limited, void *user)
{
    (void)client;
    (void)user;
    /* Only what nobody waits for may be dropped in silence. */
    return !peal_slice_equal(limited->event, peal_slice("noise"));
}

static enum peal_verdict before_message(struct peal_client *client,
                                        const struct peal_event *event,
                                        struct peal_failure *failure,
                                        void *user)
{
    (void)client;
    (void)event;
    (void)user;
    failure->code = 1001;
    return now_and_then(50) ? PEAL_REFUSE : PEAL_ALLOW;
}

static uint32_t message_cost(struct peal_client *client,
                             const struct peal_event *event, void *user)
{
    (void)client;
    (void)user;
    return event->data.size > 4096 ? 2 : 1;
}

static enum peal_verdict limit_message(struct peal_client *client,
                                       const struct peal_event *event,
                                       uint32_t cost, struct peal_ticket ticket,
                                       void *user)
{
    struct duty duty = {.kind = DUTY_TICKET, .to.ticket = ticket};

    (void)client;
    (void)event;
    (void)user;
    CHECK(cost == 1 || cost == 2);
    duty.is_refusal = now_and_then(7);
    if (now_and_then(20)) {
        return put_off(duty) ? PEAL_LATER : PEAL_REFUSE;
    }
    return PEAL_ALLOW;
}

static int on_leave(struct peal_client *client, struct peal_slice room,
                    void *user)
{
    (void)client;
    (void)room;
    (void)user;
    return now_and_then(30) ? PEAL_EREFUSED : 0;
}

static int on_join(struct peal_client *client, struct peal_slice room,
                   void *user)
{
    (void)client;
    (void)room;
    (void)user;
    return now_and_then(30) ? PEAL_EREFUSED : 0;
}

static int on_publish(struct peal_client *client,
                      const struct peal_event *event, void *user)
{
    (void)client;
    (void)event;
    (void)user;
    return now_and_then(30) ? PEAL_EREFUSED : 0;
}

static int before_broadcast(struct peal_server *server,
                            struct peal_client *from,
                            const struct peal_event *event,
                            const struct peal_client_ref *except,
                            size_t except_count, void *user)
{
    (void)server;
    (void)from;
    (void)event;
    (void)except;
    (void)except_count;
    (void)user;
    return now_and_then(40) ? PEAL_EREFUSED : 0;
}

/* What is vetoed here is not numbered, so it leaves no gap. */
static int before_emit(struct peal_client *client,
                       const struct peal_event *event, void *user)
{
    (void)client;
    (void)event;
    (void)user;
    atomic_fetch_add(&emits, 1);
    return now_and_then(40) ? PEAL_EREFUSED : 0;
}

static void after_emit(struct peal_client *client,
                       const struct peal_event *event, int status, void *user)
{
    (void)client;
    (void)event;
    (void)user;
    CHECK(status <= 0);
    atomic_fetch_add(&emitted, 1);
}

static void on_max_connections(struct peal_server *server,
                               const struct peal_connections_limited *limited,
                               void *user)
{
    (void)server;
    (void)user;
    CHECK(limited->max > 0 && limited->connect != NULL);
}

static void on_max_rooms(struct peal_client *client,
                         const struct peal_rooms_limited *limited, void *user)
{
    (void)client;
    (void)user;
    CHECK(limited->max > 0);
}

static void on_too_large(struct peal_client *client,
                         const struct peal_too_large *message, void *user)
{
    (void)client;
    (void)user;
    CHECK(message->max > 0);
}

static void on_invalid(struct peal_client *client,
                       const struct peal_failure *failure, void *user)
{
    (void)client;
    (void)user;
    CHECK(failure->code > 0);
}

/* --- HTTP ---------------------------------------------------------------- */

static void respond(struct peal_http_reply reply, struct peal_slice body)
{
    struct peal_http_response response = {
        .size = sizeof response,
        .type = "text/plain",
        .body = body,
    };

    CHECK_EQUAL(peal_http_respond(reply, &response), 0);
}

static void on_hello(const struct peal_http_request *request,
                     struct peal_http_reply reply, void *user)
{
    char name[64];
    long size = peal_http_param(request, "name", name, sizeof name);

    (void)user;
    CHECK(size > 0);
    respond(reply, (struct peal_slice){name, (size_t)size});
}

static void on_hook(const struct peal_http_request *request,
                    struct peal_http_reply reply, void *user)
{
    (void)user;
    respond(reply, request->body);
}

static void on_http_later(const struct peal_http_request *request,
                          struct peal_http_reply reply, void *user)
{
    struct duty duty = {.kind = DUTY_REPLY, .to.reply = reply};

    (void)request;
    (void)user;
    if (!put_off(duty)) {
        respond(reply, peal_slice("later"));
    }
}

/* --- Making it ----------------------------------------------------------- */

static struct peal_server *server;
static struct peal_tls *tls;
static struct peal_server_options first; /* as it began */

static void ignore_log(enum peal_log_level level, const char *component,
                       const char *message, const char *fields, void *user)
{
    (void)component;
    (void)fields;
    (void)user;
    /* Nothing that a client does is an error of the server's. */
    if (level >= PEAL_LOG_ERROR) {
        fprintf(stderr, "soak: the server logged an error: %s %s\n", message,
                fields);
        abort();
    }
}

static void listen_with_tls(enum peal_transport transport)
{
    struct peal_listen listen = {
        .size = sizeof listen,
        .address = "127.0.0.1:0",
        .transport = transport,
        .tls = tls,
    };

    CHECK_EQUAL(peal_server_listen(server, &listen), 0);
}

static void route(const char *path, enum peal_deflate deflate)
{
    struct peal_route made = {
        .size = sizeof made, .path = path, .deflate = deflate};

    CHECK_EQUAL(peal_server_route(server, &made), 0);
}

static void make(const char *certificate, const char *key)
{
    static const struct peal_deflate_options deflate = {
        .size = sizeof deflate, .enabled = true, .context_takeover = true};
    static const struct peal_hooks hooks = {
        .size = sizeof hooks,
        .on_rate_limited = on_rate_limited,
        .before_message = before_message,
        .message_cost = message_cost,
        .limit_message = limit_message,
        .on_max_connections = on_max_connections,
        .on_max_rooms = on_max_rooms,
        .on_max_rooms_per_client = on_max_rooms,
        .on_too_large = on_too_large,
        .on_invalid = on_invalid,
        .on_leave = on_leave,
        .before_broadcast = before_broadcast,
        .before_emit = before_emit,
        .after_emit = after_emit,
    };
    const struct peal_tls_options tls_options = {
        .size = sizeof tls_options,
        .certificate_file = certificate,
        .key_file = key,
    };
    char why[PEAL_TLS_ERROR_SIZE];

    CHECK_EQUAL(peal_tls_new(&tls, &tls_options, why, sizeof why), 0);
    first = (struct peal_server_options){
        .size = sizeof first,
        .ws_listen = "127.0.0.1:0",
        .tcp_listen = "127.0.0.1:0",
        .internal_listen = "127.0.0.1:0",
        .health_path = "/health",
        .loops = 2,
        .message_bytes_max = 256 * 1024,
        .queue_bytes_max = 256 * 1024,
        .http_body_bytes_max = 16 * 1024,
        .handshake_timeout_ms = 2000,
        .ping_interval_ms = 1000,
        .ping_timeout_ms = 10000,
        .close_timeout_ms = 1000,
        .request_timeout_ms = 2000,
        .clients_may_join = true,
        .clients_may_publish = true,
        .on_join = on_join,
        .on_publish = on_publish,
        .on_connect = on_connect,
        .on_disconnect = on_disconnect,
        .client_rate = {.capacity = 400, .refill = 400},
        .address_rate = {.capacity = 4000, .refill = 4000},
        .hooks = &hooks,
        .deflate = &deflate,
        .log = ignore_log,
        .log_level = PEAL_LOG_DEBUG,
    };
    CHECK_EQUAL(peal_server_new(&server, &first), 0);
    listen_with_tls(PEAL_WS);
    listen_with_tls(PEAL_TCP);
    route("/", PEAL_DEFLATE_DEFAULT);
    route("/rooms/:room_id/chat", PEAL_DEFLATE_ON);
    route("/plain", PEAL_DEFLATE_OFF);
    CHECK_EQUAL(peal_server_use(server, ask_at_the_door, NULL), 0);
    CHECK_EQUAL(peal_server_use(server, ask_again, NULL), 0);
    CHECK_EQUAL(peal_server_on_request(server, "echo", on_echo, NULL), 0);
    CHECK_EQUAL(peal_server_on_request(server, "later", on_later, NULL), 0);
    CHECK_EQUAL(peal_server_on_request(server, "relay", on_relay, NULL), 0);
    CHECK_EQUAL(peal_server_on_request(server, "flood", on_flood, NULL), 0);
    CHECK_EQUAL(peal_server_on_any(server, on_any, NULL), 0);
    CHECK_EQUAL(peal_server_page(server, "/page", "text/plain", "page", 4), 0);
    CHECK_EQUAL(peal_server_http(server, "GET", "/hello/:name", on_hello, NULL),
                0);
    CHECK_EQUAL(peal_server_http(server, "POST", "/hook", on_hook, NULL), 0);
    CHECK_EQUAL(peal_server_http(server, "GET", "/later", on_http_later, NULL),
                0);
    CHECK_EQUAL(peal_server_start(server), 0);
}

/* --- What the application's thread does by itself ------------------------ */

static uint64_t ticks[HOUSE_ROOMS];

/* One more message to a room, mostly small. */
static void tick(struct chance *chance)
{
    unsigned r = chance_below(chance, HOUSE_ROOMS);
    unsigned pad = chance_one_in(chance, 20) ? chance_below(chance, 8000) : 10;
    char json[8192];
    char room[16];
    struct peal_event event;
    int rc;

    snprintf(room, sizeof room, "room%u", r);
    snprintf(json, sizeof json, "{\"s\":%u,\"n\":%llu,\"pad\":\"%.*s\"}", r,
             (unsigned long long)ticks[r], (int)pad, flood);
    event = peal_json("tick", json);
    rc = peal_server_room_emit(server, room, &event, NULL, 0);
    CHECK(rc == 0 || rc == PEAL_EFULL || rc == PEAL_EREFUSED);
    ticks[r] += rc == 0;
    deeds.ticks++;
}

static void update_well(struct chance *chance)
{
    static const char *const health_paths[] = {"/health", "/how-are-you"};
    struct peal_server_options options = {.size = sizeof options};
    const char *problem;

    CHECK_EQUAL(peal_server_config(server, &options), 0);
    switch (chance_below(chance, 9)) {
    case 0:
        options.queue_bytes_max = 65536u << chance_below(chance, 3);
        break;
    case 1:
        options.message_bytes_max = 65536u << chance_below(chance, 3);
        options.frame_bytes_max = options.message_bytes_max;
        break;
    case 2:
        options.client_rate.capacity = 5u << chance_below(chance, 7);
        options.client_rate.refill = options.client_rate.capacity;
        break;
    case 3:
        options.rate_refusal =
            chance_one_in(chance, 3) ? PEAL_REFUSE_CLOSE : PEAL_REFUSE_ERROR;
        break;
    case 4:
        options.clients_max = chance_one_in(chance, 3) ? 60 : 100000;
        options.refuse_by = (enum peal_refuse_by)chance_below(
            chance, PEAL_REFUSE_BY_HANGUP + 1);
        break;
    case 5:
        options.clients_per_address_max = chance_one_in(chance, 3) ? 5 : 10000;
        break;
    case 6:
        options.rooms_max = chance_one_in(chance, 3) ? 3 : 1000;
        options.rooms_per_client_max = 1 + chance_below(chance, 4);
        break;
    case 7:
        options.health_path = health_paths[chance_below(chance, 2)];
        options.ping_interval_ms = 200 + chance_below(chance, 2000);
        break;
    default:
        options.requests_per_client_max = 1 + chance_below(chance, 8);
        options.request_timeout_ms = 100 + chance_below(chance, 3000);
        options.decision_timeout_ms = 100 + chance_below(chance, 5000);
    }
    CHECK_EQUAL(peal_server_update(server, &options, &problem), 0);
    deeds.updates++;
}

/* Refused as a whole, and by name. */
static void update_badly(struct chance *chance)
{
    struct peal_server_options before = {.size = sizeof before};
    struct peal_server_options options;
    const char *expected;
    const char *problem = NULL;

    CHECK_EQUAL(peal_server_config(server, &before), 0);
    options = before;
    options.clients_max = 1;
    switch (chance_below(chance, 4)) {
    case 0:
        options.loops = 7;
        expected = "loops";
        break;
    case 1:
        options.message_bytes_max = (size_t)1 << 40;
        expected = "message_bytes_max";
        break;
    case 2:
        options.health_path = "no slash";
        expected = "health_path";
        break;
    default:
        options.tls = tls;
        expected = "tls";
    }
    CHECK(peal_server_update(server, &options, &problem) < 0);
    CHECK(problem != NULL && strcmp(problem, expected) == 0);
    options = (struct peal_server_options){.size = sizeof options};
    CHECK_EQUAL(peal_server_config(server, &options), 0);
    CHECK_EQUAL(options.clients_max, before.clients_max);
    deeds.refused_updates++;
}

static void on_outcome(struct peal_client *client,
                       const struct peal_answer *answer, void *user)
{
    (void)user;
    CHECK(client != NULL || answer->status < 0);
    atomic_fetch_add(&outcomes, 1);
}

static bool see_room(const char *room, size_t members, void *user)
{
    CHECK(strncmp(room, "room", 4) == 0 && members > 0);
    ++*(size_t *)user;
    return true;
}

/* Some client that is in, if there is one. */
static struct peal_client_ref somebody(struct chance *chance)
{
    struct peal_client_ref all[256];
    size_t found = peal_server_clients(server, all, 256);

    if (found == 0) {
        return (struct peal_client_ref){0};
    }
    return all[chance_below(chance, found < 256 ? (unsigned)found : 256)];
}

static void ask_somebody(struct chance *chance)
{
    struct peal_event event = peal_json("question", "1");
    int rc =
        peal_server_request(server, somebody(chance), &event,
                            50 + chance_below(chance, 1000), on_outcome, NULL);

    CHECK(rc == 0 || rc == PEAL_EGONE || rc == PEAL_EFULL);
    atomic_fetch_add(&questions, rc == 0);
}

static void do_something(struct chance *chance)
{
    struct peal_client_ref somewho = somebody(chance);
    struct peal_event noise = peal_json("noise", "\"all\"");
    struct peal_rate rate = {.capacity = 10u + chance_below(chance, 500)};
    char id[PEAL_ID_MAX + 1];
    size_t rooms = 0;
    int rc = 0;

    switch (chance_below(chance, 12)) {
    case 0:
        rc = peal_server_close(server, somewho, 4000, "kicked");
        deeds.kicks += rc == 0;
        break;
    case 1:
        rc = peal_server_emit(server, somewho, &noise);
        break;
    case 2:
        rc = peal_server_broadcast(server, &noise, &somewho, 1);
        rc = rc == PEAL_EREFUSED ? 0 : rc;
        break;
    case 3:
        if (peal_server_client_id(server, somewho, id) > 0) {
            struct peal_client_ref found = peal_server_find(server, id);

            CHECK(found.value == 0 || found.value == somewho.value);
        }
        break;
    case 4:
        CHECK_EQUAL(peal_server_rooms(server, see_room, &rooms), 0);
        break;
    case 5:
        CHECK_EQUAL(peal_tls_reload(tls, NULL, 0), 0);
        deeds.reloads++;
        break;
    case 6:
        rc = peal_server_set_rate(server, somewho,
                                  chance_one_in(chance, 2) ? &rate : NULL);
        break;
    case 7:
        CHECK_EQUAL(peal_server_set_event_rate(
                        server, chance_one_in(chance, 2) ? "echo" : "noise",
                        chance_one_in(chance, 2) ? &rate : NULL),
                    0);
        break;
    case 8:
        update_badly(chance);
        break;
    case 9:
        update_well(chance);
        break;
    default:
        ask_somebody(chance);
    }
    CHECK(rc == 0 || rc == PEAL_EGONE || rc == PEAL_EFULL);
}

/* --- Being asked --------------------------------------------------------- */

static uint64_t descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    uint64_t entries = 0;

    CHECK(folder != NULL);
    while (readdir(folder) != NULL) {
        entries++;
    }
    closedir(folder);
    return entries;
}

static uint64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long total;
    unsigned long resident;

    CHECK(file != NULL);
    CHECK_EQUAL(fscanf(file, "%lu %lu", &total, &resident), 2);
    fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static struct peal_server_stats stats_now(void)
{
    struct peal_server_stats stats = {.size = sizeof stats};

    CHECK_EQUAL(peal_server_stats(server, &stats), 0);
    return stats;
}

static struct house_figures look(void)
{
    struct peal_server_stats stats = stats_now();
    struct mallinfo2 heap = mallinfo2();

    return (struct house_figures){
        .rss_bytes = resident_bytes(),
        .blocks = atomic_load(&live_blocks),
        .bytes = atomic_load(&live_bytes),
        .heap_bytes = heap.uordblks + heap.hblkhd,
        .descriptors = descriptors(),
        .gauges = stats.clients + stats.ws_clients + stats.tcp_clients +
                  stats.connections + stats.rooms + stats.queued_bytes +
                  stats.requests_pending + stats.tls_handshaking,
    };
}

static struct house_figures settle(struct chance *chance, bool in_full)
{
    uint64_t quiet_ms = check_now_ms() + (in_full ? QUIET_MS : 0);

    CHECK_EQUAL(peal_server_update(server, &first, NULL), 0);
    CHECK_EQUAL(peal_server_set_event_rate(server, "echo", NULL), 0);
    CHECK_EQUAL(peal_server_set_event_rate(server, "noise", NULL), 0);
    CHECK_SOON(stats_now().connections == 0);
    /* What nobody waits for any more is done all the same: it must not harm. */
    while (duties.count > 0) {
        do_some_duties(chance);
    }
    CHECK_SOON(look().gauges == 0);
    CHECK_SOON(atomic_load(&outcomes) == atomic_load(&questions));
    CHECK_EQUAL(atomic_load(&connects), atomic_load(&disconnects));
    CHECK_EQUAL(atomic_load(&emits) >= atomic_load(&emitted), true);
    while (check_now_ms() < quiet_ms) {
        poll(NULL, 0, 100);
    }
    malloc_trim(0);
    return look();
}

static void answer(int control, const void *data, size_t size)
{
    CHECK_EQUAL(write(control, data, size), (long)size);
}

static void tell_ports(int control)
{
    int ports[HOUSE_DOORS];

    for (size_t i = 0; i < HOUSE_DOORS; i++) {
        char address[PEAL_ADDRESS_MAX];

        CHECK_EQUAL(peal_server_address(server, i, address), 0);
        ports[i] = atoi(strrchr(address, ':') + 1);
    }
    answer(control, ports, sizeof ports);
}

/* Does what it is told by a letter; false in the end. */
static bool obey(int control, struct chance *chance)
{
    struct house_figures figures;
    char order;

    if (read(control, &order, 1) != 1) {
        exit(2); /* whoever started it has died */
    }
    if (order == 'q') {
        return false;
    }
    figures = order == 'l' ? look() : settle(chance, order == 'S');
    answer(control, &figures, sizeof figures);
    return true;
}

static void serve(int control, uint64_t seed, const char *certificate,
                  const char *key)
{
    const struct peal_memory memory = {
        .allocate = allocate, .reallocate = reallocate, .release = release};
    struct chance chance = {seed};
    struct pollfd polled = {.fd = control, .events = POLLIN};
    bool goes_on = true;

    for (size_t i = 0; i < FLOOD_BYTES; i++) {
        flood[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV"
                   "WXYZ-_"[chance_below(&chance, 64)];
    }
    peal_memory_set(&memory);
    make(certificate, key);
    tell_ports(control);
    while (goes_on) {
        if (poll(&polled, 1, 2) > 0) {
            goes_on = obey(control, &chance);
        }
        do_some_duties(&chance);
        tick(&chance);
        if (chance_one_in(&chance, 8)) {
            do_something(&chance);
        }
    }
    peal_server_stop(server);
    CHECK_EQUAL(peal_server_wait(server), 0);
    peal_server_free(server);
    peal_tls_free(tls);
    CHECK_EQUAL(atomic_load(&live_blocks), 0);
    CHECK_EQUAL(atomic_load(&live_bytes), 0);
    CHECK_EQUAL(atomic_load(&connects), atomic_load(&disconnects));
    deeds.questions = atomic_load(&questions);
    deeds.admissions = atomic_load(&admissions);
    answer(control, &deeds, sizeof deeds);
}

/* --- From outside -------------------------------------------------------- */

static void take(const struct house *house, void *out, size_t size)
{
    CHECK_EQUAL(recv(house->control, out, size, MSG_WAITALL), (long)size);
}

void house_start(struct house *house, uint64_t seed, const char *certificate,
                 const char *key)
{
    int ends[2];

    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    house->pid = fork();
    CHECK(house->pid >= 0);
    if (house->pid == 0) {
        close(ends[0]);
        signal(SIGPIPE, SIG_IGN);
        serve(ends[1], seed, certificate, key);
        exit(0);
    }
    close(ends[1]);
    house->control = ends[0];
    take(house, house->ports, sizeof house->ports);
}

static struct house_figures order(const struct house *house, char what)
{
    struct house_figures figures;

    CHECK_EQUAL(send(house->control, &what, 1, MSG_NOSIGNAL), 1);
    take(house, &figures, sizeof figures);
    return figures;
}

struct house_figures house_look(const struct house *house)
{
    return order(house, 'l');
}

struct house_figures house_settle(const struct house *house, bool in_full)
{
    return order(house, in_full ? 'S' : 's');
}

struct house_deeds house_stop(struct house *house)
{
    struct house_deeds done;
    int status;

    CHECK_EQUAL(send(house->control, "q", 1, MSG_NOSIGNAL), 1);
    take(house, &done, sizeof done);
    CHECK_EQUAL(waitpid(house->pid, &status, 0), house->pid);
    CHECK_EQUAL(status, 0);
    close(house->control);
    return done;
}
