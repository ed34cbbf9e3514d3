/*
 * What a message of a client does: to a handler, to a room, to whoever waits
 * for an answer. Whoever asked gets exactly one answer, here or in request.c.
 */
#include "server/conn.h"

#include "base/assert.h"
#include "base/slice.h"
#include "base/utf8.h"
#include "proto/json.h"
#include "server/account.h"
#include "server/request.h"

void dispatch_count_limit(struct seat *seat, const char *limit)
{
    static const struct {
        const char *name;
        enum counter counter;
    } limits[] = {
        {"clients_max", COUNT_REFUSED_CLIENTS},
        {"memory_bytes_max", COUNT_REFUSED_MEMORY},
        {"clients_per_address_max", COUNT_REFUSED_CLIENTS_PER_ADDRESS},
        {"rooms_max", COUNT_REFUSED_ROOMS},
        {"rooms_per_client_max", COUNT_REFUSED_ROOMS_PER_CLIENT},
    };

    for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
        if (strcmp(limit, limits[i].name) == 0) {
            seat_count(seat, limits[i].counter);
            return;
        }
    }
    UNREACHABLE();
}

/* Whether both are the same bytes at the same place. */
static bool is_same(struct peal_slice a, struct peal_slice b)
{
    return a.data == b.data && a.size == b.size;
}

static bool is_name(struct peal_slice name)
{
    return name.size <= TCP_EVENT_MAX &&
           !slice_has_prefix(name, SLICE("peal:")) &&
           utf8_is_valid(name.data, name.size);
}

int dispatch_check(const struct worker *worker, const struct peal_event *event,
                   bool is_named)
{
    if (event->name.size == 0 ? is_named
                              : (worker == NULL ||
                                 !is_same(event->name, worker->checked_name)) &&
                                    !is_name(event->name)) {
        return PEAL_EINVAL;
    }
    if (event->data.size == 0 ||
        (worker != NULL && is_same(event->data, worker->checked_data) &&
         event->kind == worker->checked_kind)) {
        return 0;
    }
    switch (event->kind) {
    case PEAL_JSON:
        return utf8_is_valid(event->data.data, event->data.size) &&
                       json_check(event->data.data, event->data.size) >= 0
                   ? 0
                   : PEAL_EINVAL;
    case PEAL_TEXT:
        return utf8_is_valid(event->data.data, event->data.size) ? 0
                                                                 : PEAL_EINVAL;
    case PEAL_BYTES:
        return 0;
    }
    return PEAL_EINVAL;
}

int dispatch_answer(struct conn *conn, const struct wire *asked,
                    const struct peal_event *event)
{
    struct wire wire;

    wire_begin(&wire, WIRE_ANSWER);
    wire.id = asked->id;
    wire.ack = asked->ack;
    if (event != NULL) {
        wire.data = event->data;
        wire.data_kind = event->kind;
    }
    return output_wire(conn, &wire);
}

int dispatch_refuse(struct conn *conn, const struct wire *asked,
                    struct wire_failure failure)
{
    struct wire wire = {
        .kind = WIRE_FAILURE,
        .id = asked->id,
        .ack = asked->ack,
        .failure = failure,
    };

    return output_wire(conn, &wire);
}

static void refuse_code(struct conn *conn, const struct wire *asked,
                        enum wire_code code)
{
    (void)dispatch_refuse(conn, asked, wire_failure_of(code));
}

/* The code that tells a client about an error of ours or the application's. */
static enum wire_code code_of(int error, const char *limit)
{
    switch (error) {
    case PEAL_EINVAL:
        return WIRE_BAD_ROOM;
    case PEAL_ELIMIT:
        return limit != NULL ? WIRE_ROOM_LIMIT : WIRE_BUSY;
    case PEAL_EREFUSED:
        return WIRE_REFUSED;
    case PEAL_EACCESS:
        return WIRE_NOT_ALLOWED;
    case PEAL_EFULL:
        return WIRE_BUSY;
    default:
        return WIRE_INTERNAL;
    }
}

/* --- Events -------------------------------------------------------------- */

static struct peal_event event_of(const struct wire *wire)
{
    return (struct peal_event){
        .name = wire->name,
        .data = wire->data,
        .room = wire->room,
        .kind = wire->data_kind,
    };
}

/* Hands a request to the application, which owes the answer from now on. */
static void ask_application(struct conn *conn, const struct wire *wire,
                            const struct handler *handler)
{
    struct seat *seat = conn_seat(conn);
    struct peal_event event = event_of(wire);
    struct peal_request request = {
        .server = seat->server,
        .client = client_ref(conn->client),
    };
    int rc = request_open(conn, wire, handler->method, &request.value);

    if (rc < 0) {
        if (rc == PEAL_ELIMIT) {
            seat_count(seat, COUNT_REFUSED_REQUESTS);
        }
        refuse_code(conn, wire, rc == PEAL_ELIMIT ? WIRE_BUSY : WIRE_INTERNAL);
        return;
    }
    handler->on_request(conn->client, &event, request, handler->request_user);
}

/* The handler of this name, or NULL. */
static const struct handler *find_handler(struct seat *seat,
                                          struct peal_slice name)
{
    const struct handler *last = seat->last_handler;
    const struct handler *found;

    if (last != NULL &&
        slice_equal(name, slice_make(last->name, last->name_size))) {
        return last;
    }
    found = map_get(&seat->server->handlers, name);
    if (found != NULL) {
        seat->last_handler = found;
    }
    return found;
}

static void on_event(struct conn *conn, const struct wire *wire)
{
    struct seat *seat = conn_seat(conn);
    const struct peal_server *server = seat->server;
    bool is_request = wire->ack.size > 0;
    const struct handler *handler =
        find_handler(seat, is_request ? wire->ack : wire->name);
    struct peal_event event;

    if (wire->wants_answer && handler != NULL && handler->on_request != NULL) {
        ask_application(conn, wire, handler);
        return;
    }
    if (is_request) {
        if (!wire->is_event_too) {
            return; /* as the dialect has it: nobody answers to this name */
        }
        handler = find_handler(seat, wire->name);
    }
    event = event_of(wire);
    if (handler != NULL && handler->on_event != NULL) {
        handler->on_event(conn->client, &event, handler->event_user);
    } else if (server->any == NULL) {
        refuse_code(conn, wire, WIRE_UNKNOWN_EVENT);
        return;
    }
    if (server->any != NULL && conn_is_open(conn)) {
        server->any->on_event(conn->client, &event, server->any->event_user);
    }
    if (wire->wants_answer && !is_request) {
        (void)dispatch_answer(conn, wire, NULL);
    }
}

/* --- Rooms --------------------------------------------------------------- */

static int may_join(struct conn *conn, struct peal_slice room)
{
    const struct peal_server_options *options =
        &conn_seat(conn)->config->options;

    if (options->on_join != NULL) {
        return options->on_join(conn->client, room, options->user);
    }
    return options->clients_may_join ? 0 : PEAL_EACCESS;
}

static int may_publish(struct conn *conn, const struct peal_event *event)
{
    const struct peal_server_options *options =
        &conn_seat(conn)->config->options;

    if (options->on_publish != NULL) {
        return options->on_publish(conn->client, event, options->user);
    }
    return options->clients_may_publish && room_has(conn->client, event->room)
               ? 0
               : PEAL_EACCESS;
}

static void confirm_room(struct conn *conn, const struct wire *wire,
                         enum wire_kind kind)
{
    struct wire confirmation = {.kind = kind, .room = wire->room};

    (void)output_wire(conn, &confirmation);
    if (wire->wants_answer) {
        (void)dispatch_answer(conn, wire, NULL);
    }
}

int dispatch_join(struct conn *conn, struct peal_slice room,
                  const char **limit)
{
    int rc = room_join(conn->client, room, limit);

    if (rc == PEAL_EINVAL) {
        seat_count(conn_seat(conn), COUNT_REFUSED_ROOM_NAMES);
    } else if (rc < 0 && *limit != NULL) {
        dispatch_count_limit(conn_seat(conn), *limit);
        hooks_room_limited(conn->client, *limit, room);
    }
    return rc < 0 ? rc : 0;
}

static void on_join(struct conn *conn, const struct wire *wire)
{
    const char *limit = NULL;
    int rc = may_join(conn, wire->room);

    if (!conn_is_open(conn)) {
        return; /* the application has closed it instead */
    }
    if (rc == 0) {
        rc = dispatch_join(conn, wire->room, &limit);
    }
    if (rc == 0) {
        confirm_room(conn, wire, WIRE_JOINED);
    } else {
        refuse_code(conn, wire, code_of(rc, limit));
    }
}

static void on_leave(struct conn *conn, const struct wire *wire)
{
    const struct seat *seat = conn_seat(conn);
    int rc = seat->server->hooks.on_leave == NULL
                 ? 0
                 : seat->server->hooks.on_leave(conn->client, wire->room,
                                                seat->config->options.user);

    if (!conn_is_open(conn)) {
        return; /* the application has closed it instead */
    }
    if (rc < 0) {
        refuse_code(conn, wire, code_of(rc, NULL));
        return;
    }
    (void)room_leave(conn->client, wire->room);
    confirm_room(conn, wire, WIRE_LEFT);
}

static void on_publish(struct conn *conn, const struct wire *wire)
{
    struct peal_event event = event_of(wire);
    struct peal_client_ref self = client_ref(conn->client);
    int rc = may_publish(conn, &event);

    if (!conn_is_open(conn)) {
        return; /* the application has closed it instead */
    }
    if (rc == 0) {
        rc = hooks_publish(conn_seat(conn)->server, conn->client, &event,
                           &self, 1);
    }
    if (!conn_is_open(conn)) {
        return;
    }
    if (rc < 0) {
        refuse_code(conn, wire, code_of(rc, NULL));
    } else if (wire->wants_answer) {
        (void)dispatch_answer(conn, wire, NULL);
    }
}

/* --- The rest ------------------------------------------------------------ */

static void on_ping(struct conn *conn, const struct wire *wire)
{
    struct wire pong = {.kind = WIRE_PONG, .data = wire->data};
    struct peal_event event = event_of(wire);

    if (wire->wants_answer) {
        (void)dispatch_answer(conn, wire, &event);
    } else {
        (void)output_wire(conn, &pong);
    }
}

static void on_message(struct conn *conn, const struct wire *wire)
{
    struct worker *worker = conn_worker(conn);

    seat_count(conn_seat(conn),
               wire->room.size > 0  ? COUNT_PUBLISHES_IN
               : wire->wants_answer ? COUNT_REQUESTS_IN
                                    : COUNT_EVENTS_IN);
    account_message_in(conn);
    if (conn_dialect(conn) == &dialect_peal) {
        /* The others let names through that no application may send. */
        worker->checked_name = wire->name;
    }
    worker->checked_data = wire->data;
    worker->checked_kind = wire->data_kind;
    if (wire->room.size > 0) {
        on_publish(conn, wire);
    } else {
        on_event(conn, wire);
    }
    worker->checked_name = (struct peal_slice){NULL, 0};
    worker->checked_data = (struct peal_slice){NULL, 0};
}

void dispatch(struct conn *conn, struct wire *wire)
{
    if (!conn_seat(conn)->is_guarded || guard_admits(conn, wire)) {
        dispatch_admitted(conn, wire);
    }
}

void dispatch_admitted(struct conn *conn, const struct wire *wire)
{
    struct seat *seat = conn_seat(conn);

    switch (wire->kind) {
    case WIRE_EVENT:
        if (seat->server->hooks.before_message == NULL ||
            hooks_admit_message(conn, wire)) {
            on_message(conn, wire);
        }
        break;
    case WIRE_ANSWER:
    case WIRE_FAILURE:
        seat_count(seat, COUNT_ANSWERS_IN);
        account_message_in(conn);
        if (!request_answered(conn, wire)) {
            seat_count(seat, COUNT_MESSAGES_INVALID);
        }
        break;
    case WIRE_JOIN:
        on_join(conn, wire);
        break;
    case WIRE_LEAVE:
        on_leave(conn, wire);
        break;
    case WIRE_PING:
        if (guard_admits_control(conn)) {
            on_ping(conn, wire);
        }
        break;
    case WIRE_INVALID:
        seat_count(seat, COUNT_INVALID_IN);
        account_message_in(conn);
        seat_count(seat, COUNT_MESSAGES_INVALID);
        hooks_invalid(conn->client, &wire->failure);
        (void)dispatch_refuse(conn, wire, wire->failure);
        break;
    case WIRE_PONG:
        guard_pong(conn);
        break;
    case WIRE_IGNORED:
        break;
    case WIRE_WELCOME:
    case WIRE_JOINED:
    case WIRE_LEFT:
    case WIRE_GOODBYE:
    case WIRE_GAP:
        UNREACHABLE(); /* no dialect reads these from a client */
    }
}
