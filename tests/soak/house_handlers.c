/* What the application does on the loops: handlers, middleware, hooks. */
#include "house_inside.h"

#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLOOD_MESSAGES 512

static _Atomic uint64_t turns; /* to do something every so often */

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
    atomic_fetch_add(&inside.connects, 1);
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
    atomic_fetch_add(&inside.disconnects, 1);
}

static enum peal_verdict ask_at_the_door(const struct peal_connect *connect,
                                         struct peal_admission admission,
                                         struct peal_denial *denial, void *user)
{
    char door[16] = "";
    struct duty duty = {.kind = DUTY_ADMISSION, .to.admission = admission};

    (void)user;
    atomic_fetch_add(&inside.admissions, 1);
    if (connect->transport == PEAL_TCP) {
        if (now_and_then(3)) {
            return house_put_off(duty) ? PEAL_LATER : PEAL_REFUSE;
        }
        return PEAL_ALLOW;
    }
    if (peal_connect_query(connect, "door", door, sizeof door) < 0) {
        return PEAL_ALLOW;
    }
    duty.is_refusal = strcmp(door, "notlater") == 0;
    if (duty.is_refusal || strcmp(door, "later") == 0) {
        return house_put_off(duty) ? PEAL_LATER : PEAL_REFUSE;
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

    house_expect_answered(peal_request_fail(request, &failure));
}

static void on_echo(struct peal_client *from, const struct peal_event *event,
                    struct peal_request request, void *user)
{
    (void)from;
    (void)user;
    house_expect_answered(peal_request_answer_event(request, event));
}

static void on_later(struct peal_client *from, const struct peal_event *event,
                     struct peal_request request, void *user)
{
    struct duty duty = {.kind = DUTY_REQUEST, .to.request = request};

    (void)from;
    (void)event;
    (void)user;
    if (!house_put_off(duty)) {
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
        house_expect_answered(peal_request_answer(request, NULL));
    } else {
        fail(request, rc);
    }
}

/* More than anybody takes who does not read. */
static void on_flood(struct peal_client *from, const struct peal_event *event,
                     struct peal_request request, void *user)
{
    struct mark *mark = peal_client_user(from);
    char json[HOUSE_FLOOD_BYTES + 64];
    int rc = 0;

    (void)event;
    (void)user;
    house_expect_answered(peal_request_answer(request, NULL));
    for (int i = 0; i < FLOOD_MESSAGES && (rc == 0 || rc == PEAL_EREFUSED);
         i++) {
        struct peal_event drop;

        snprintf(json, sizeof json, "{\"s\":%d,\"n\":%llu,\"pad\":\"%s\"}",
                 HOUSE_ROOMS, (unsigned long long)mark->flooded, inside.flood);
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
        return house_put_off(duty) ? PEAL_LATER : PEAL_REFUSE;
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
    atomic_fetch_add(&inside.emits, 1);
    return now_and_then(40) ? PEAL_EREFUSED : 0;
}

static void after_emit(struct peal_client *client,
                       const struct peal_event *event, int status, void *user)
{
    (void)client;
    (void)event;
    (void)user;
    CHECK(status <= 0);
    atomic_fetch_add(&inside.emitted, 1);
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

const struct peal_hooks house_hooks = {
    .size = sizeof house_hooks,
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
    if (!house_put_off(duty)) {
        respond(reply, peal_slice("later"));
    }
}

/* --- Adding them ---------------------------------------------------------- */

void house_set_callbacks(struct peal_server_options *options)
{
    options->on_join = on_join;
    options->on_publish = on_publish;
    options->on_connect = on_connect;
    options->on_disconnect = on_disconnect;
}

void house_add_handlers(struct peal_server *server)
{
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
}
