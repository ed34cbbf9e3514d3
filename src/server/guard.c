#include "server/guard.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/slice.h"
#include "server/conn_extra.h"
#include "server/guard_rates.h"

#include <string.h>

/* A client's bucket for one event, at the slot of the event's rate. */
struct event_bucket {
    uint64_t serial; /* of the rate that it belongs to; 0: of none */
    struct rate_bucket bucket;
};

/* A message that waits: a copy, since what was read is gone by then. */
struct held {
    struct timer timer;
    struct conn *conn;
    uint64_t ticket;
    uint64_t put_off_ns;
    uint32_t cost;
    struct wire wire; /* its slices lie in `bytes` */
    char bytes[];
};

/* What is asked of the limits. */
struct asked {
    struct conn *conn;
    struct conn_extra *extra;
    struct peal_event event;
    uint32_t cost;
    uint64_t now_ms;
    uint64_t retry_ms; /* of the limit that refused */
};

void guard_init(struct guard *guard)
{
    rate_table_init(&guard->addresses);
    pthread_mutex_init(&guard->lock, NULL);
    guard->newest = NULL;
}

void guard_fini(struct guard *guard)
{
    guard_rates_unref(guard->newest);
    pthread_mutex_destroy(&guard->lock);
    rate_table_fini(&guard->addresses);
}

void guard_start(struct seat *seat)
{
    const struct peal_server *server = seat->server;

    seat->is_guarded = seat->is_guarded ||
                         rate_is_on(&seat->config->options.client_rate) ||
                         rate_is_on(&seat->config->options.address_rate) ||
                         server->hooks.limit_message != NULL;
}

void guard_set_event_rates(struct seat *seat, struct event_rates *rates)
{
    guard_rates_unref(seat->event_rates);
    seat->event_rates = rates;
    seat->is_guarded = seat->is_guarded || rates != NULL;
}

int guard_set_rate(struct conn *conn, const struct peal_rate *rate)
{
    struct conn_extra *extra = conn_extra_of(conn);

    if (extra == NULL) {
        return PEAL_ENOMEM;
    }
    extra->has_own_rate = rate->capacity != 0;
    extra->own_rate = rate_resolve(*rate);
    extra->own = (struct rate_bucket){0};
    conn_seat(conn)->is_guarded = true;
    return 0;
}

/* --- Refusals ------------------------------------------------------------- */

/* What the application says to it, and whether the policy is to be applied. */
static bool ask_about_refusal(struct conn *conn,
                              const struct peal_rate_limited *limited)
{
    const struct peal_server *server = conn_seat(conn)->server;

    seat_count(conn_seat(conn), COUNT_REFUSED_MESSAGES);
    return (server->hooks.on_rate_limited == NULL ||
            server->hooks.on_rate_limited(conn->client, limited,
                                          conn_seat(conn)
                                              ->config->options.user)) &&
           conn_is_open(conn);
}

static void refuse(struct conn *conn, const struct wire *wire,
                   const struct peal_rate_limited *limited)
{
    struct seat *seat = conn_seat(conn);
    struct wire complaint = {.kind = WIRE_FAILURE};

    if (!ask_about_refusal(conn, limited)) {
        return;
    }
    switch (seat->config->options.rate_refusal) {
    case PEAL_REFUSE_ERROR:
        /* An answer of the client has an id of ours: that asks for nothing. */
        (void)dispatch_refuse(
            conn,
            wire->kind == WIRE_ANSWER || wire->kind == WIRE_FAILURE ? &complaint
                                                                    : wire,
            wire_failure_of(WIRE_RATE_LIMITED));
        break;
    case PEAL_REFUSE_DROP:
        break;
    case PEAL_REFUSE_CLOSE:
        seat_count(seat, COUNT_CLOSED_RATE);
        conn_fail(conn, WS_CLOSE_POLICY, "rate limit exceeded");
        break;
    }
}

/* --- Limits that know the answer ------------------------------------------ */

/* Whether this bucket lets it through; in `retry_ms` when, if not. */
static bool has(struct asked *asked, const struct rate_bucket *bucket,
                const struct peal_rate *rate)
{
    if (!rate_is_on(rate) ||
        rate_has(bucket, rate, asked->cost, asked->now_ms)) {
        return true;
    }
    asked->retry_ms = rate_wait_ms(bucket, rate, asked->cost, asked->now_ms);
    return false;
}

static void take(const struct asked *asked, struct rate_bucket *bucket,
                 const struct peal_rate *rate)
{
    if (rate_is_on(rate)) {
        rate_take(bucket, rate, asked->cost, asked->now_ms);
    }
}

/* This client's bucket for an event with a rate of its own; NULL: no memory. */
static struct rate_bucket *event_bucket_of(struct conn_extra *extra,
                                           const struct event_rate *rate)
{
    struct event_bucket *bucket;

    if (rate->slot >= extra->event_bucket_count) {
        struct event_bucket *more =
            mem_realloc(extra->event_buckets, (rate->slot + 1) * sizeof *more);

        if (more == NULL) {
            return NULL;
        }
        memset(more + extra->event_bucket_count, 0,
               (rate->slot + 1 - extra->event_bucket_count) * sizeof *more);
        extra->event_buckets = more;
        extra->event_bucket_count = rate->slot + 1;
    }
    bucket = &extra->event_buckets[rate->slot];
    if (bucket->serial != rate->serial) {
        *bucket = (struct event_bucket){.serial = rate->serial};
    }
    return &bucket->bucket;
}

/* The address's bucket, which is shared: looked at and drawn from in one. */
static bool take_address(struct asked *asked)
{
    struct peal_server *server = conn_seat(asked->conn)->server;
    const struct peal_server_options *options =
        &conn_seat(asked->conn)->config->options;
    const struct address_count *address = asked->conn->client->address;

    return !rate_is_on(&options->address_rate) || address == NULL ||
           rate_table_take(
               &server->guard.addresses, &options->address_rate,
               slice_make((const char *)address->key, address->size),
               asked->cost, asked->now_ms, &asked->retry_ms) == 0;
}

/* Takes what the message costs, from all or from none; false: `*limit`. */
static bool take_tokens(struct asked *asked, enum peal_rate_limit *limit)
{
    struct seat *seat = conn_seat(asked->conn);
    const struct peal_rate *common = &seat->config->options.client_rate;
    struct conn_extra *extra = asked->extra;
    const struct event_rate *event = NULL;
    struct rate_bucket *event_bucket = NULL;

    if (extra->has_own_rate) {
        *limit = PEAL_LIMIT_OWN;
        if (!has(asked, &extra->own, &extra->own_rate)) {
            return false;
        }
    } else {
        event = guard_rates_find(seat->event_rates, asked->event.name);
        event_bucket = event != NULL ? event_bucket_of(extra, event) : NULL;
        *limit = PEAL_LIMIT_EVENT;
        if (event != NULL &&
            (event_bucket == NULL || !has(asked, event_bucket, &event->rate))) {
            return false;
        }
        *limit = PEAL_LIMIT_CLIENT;
        if (!has(asked, &extra->bucket, common)) {
            return false;
        }
    }
    *limit = PEAL_LIMIT_ADDRESS;
    if (!take_address(asked)) {
        return false;
    }
    if (extra->has_own_rate) {
        take(asked, &extra->own, &extra->own_rate);
    } else {
        take(asked, &extra->bucket, common);
        if (event != NULL) {
            take(asked, event_bucket, &event->rate);
        }
    }
    return true;
}

/* --- The limiter that may answer later ------------------------------------ */

static struct peal_rate_limited limited_by(enum peal_rate_limit limit,
                                           const struct peal_event *event,
                                           uint32_t cost, uint64_t retry_ms)
{
    return (struct peal_rate_limited){
        .limit = limit,
        .event = event->name,
        .cost = cost,
        .retry_ms = retry_ms,
    };
}

/* What limits and the application see of a message. */
static struct peal_event event_of(const struct wire *wire)
{
    struct peal_event event = {
        .name = wire->name,
        .data = wire->data,
        .room = wire->room,
        .kind = wire->data_kind,
    };

    if (wire->kind == WIRE_JOIN) {
        event.name = SLICE("peal:join");
    } else if (wire->kind == WIRE_LEAVE) {
        event.name = SLICE("peal:leave");
    } else if (wire->kind != WIRE_EVENT) {
        event.name = slice_make(NULL, 0);
    }
    return event;
}

/* Takes the held message off its connection; the caller frees it. */
static struct held *release(struct conn *conn)
{
    struct held *held = conn->extra->held;

    conn->extra->held = NULL;
    conn->is_waiting = false;
    seat_uncount(conn_seat(conn), GAUGE_DECISIONS);
    timer_stop(&conn->stream.loop->timers, &held->timer);
    return held;
}

static void decide(struct conn *conn, enum peal_verdict verdict)
{
    struct held *held = release(conn);
    struct peal_event event = event_of(&held->wire);
    struct peal_rate_limited limited =
        limited_by(PEAL_LIMIT_CUSTOM, &event, held->cost, 0);

    measure_add(&conn_seat(conn)->measures.hooks[HOOK_MESSAGE],
                clock_monotonic_ns() - held->put_off_ns);
    conn->active_ms = conn->stream.loop->now_ms; /* it was not read so far */
    if (!conn_is_open(conn)) {
        /* It has been closed meanwhile. */
    } else if (verdict == PEAL_ALLOW) {
        dispatch_admitted(conn, &held->wire);
    } else {
        refuse(conn, &held->wire, &limited);
    }
    mem_free(held);
    conn_input_go_on(conn);
}

static void decision_is_late(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    decide(CONTAINER_OF(timer, struct held, timer)->conn, PEAL_REFUSE);
}

/* The slices of a wire that may lie in what was read. */
static size_t slices_of(struct wire *wire, struct peal_slice *slices[7])
{
    size_t count = 0;

    slices[count++] = &wire->name;
    slices[count++] = &wire->room;
    slices[count++] = &wire->data;
    slices[count++] = &wire->id;
    slices[count++] = &wire->ack;
    slices[count++] = &wire->failure.name;
    slices[count++] = &wire->failure.message;
    return count;
}

/* Keeps a copy of the message until it is decided. 0 or PEAL_ENOMEM. */
static int hold(const struct asked *asked, const struct wire *wire,
                uint64_t ticket)
{
    struct conn *conn = asked->conn;
    struct seat *seat = conn_seat(conn);
    uint32_t timeout_ms = seat->config->options.decision_timeout_ms;
    struct peal_slice *slices[7];
    struct wire copy;
    struct held *held;
    size_t size = 0;
    char *at;

    wire_begin(&copy, wire->kind);
    copy.data_kind = wire->data_kind;
    copy.name = wire->name;
    copy.room = wire->room;
    copy.data = wire->data;
    copy.id = wire->id;
    copy.ack = wire->ack;
    copy.wants_answer = wire->wants_answer;
    copy.is_event_too = wire->is_event_too;
    copy.failure = wire->failure;
    for (size_t i = slices_of(&copy, slices); i-- > 0;) {
        size += slices[i]->size;
    }
    held = mem_zalloc(sizeof *held + size);
    if (held == NULL) {
        return PEAL_ENOMEM;
    }
    held->conn = conn;
    held->ticket = ticket;
    held->put_off_ns = clock_monotonic_ns();
    held->cost = asked->cost;
    held->wire = copy;
    at = held->bytes;
    for (size_t i = slices_of(&held->wire, slices); i-- > 0;) {
        if (slices[i]->size > 0) {
            memcpy(at, slices[i]->data, slices[i]->size);
            slices[i]->data = at;
            at += slices[i]->size;
        }
    }
    timer_init(&held->timer, decision_is_late);
    if (timeout_ms != PEAL_OFF) {
        timer_start(&seat->worker->loop->timers, &held->timer,
                    seat->worker->loop->now_ms + timeout_ms);
    }
    asked->extra->held = held;
    conn->is_waiting = true;
    seat_count(seat, GAUGE_DECISIONS);
    return 0;
}

int guard_decide(struct conn *conn, uint64_t ticket, enum peal_verdict verdict)
{
    if (!conn_is_open(conn) || conn->extra == NULL ||
        conn->extra->held == NULL || conn->extra->held->ticket != ticket) {
        return PEAL_EGONE;
    }
    decide(conn, verdict);
    return 0;
}

void guard_forget(struct conn *conn)
{
    if (conn->extra != NULL && conn->extra->held != NULL) {
        mem_free(release(conn));
    }
}

static enum peal_verdict ask_limiter(const struct asked *asked,
                                     const struct wire *wire)
{
    struct seat *seat = conn_seat(asked->conn);
    const struct peal_server *server = seat->server;
    struct peal_ticket ticket = {
        .server = seat->server,
        .client = client_ref(asked->conn->client),
        .value = ++seat->worker->last_ticket,
    };
    enum peal_verdict verdict;

    if (server->hooks.limit_message == NULL) {
        return PEAL_ALLOW;
    }
    verdict =
        server->hooks.limit_message(asked->conn->client, &asked->event,
                                    asked->cost, ticket,
                                    seat->config->options.user);
    if (verdict == PEAL_LATER && conn_is_open(asked->conn) &&
        hold(asked, wire, ticket.value) < 0) {
        return PEAL_REFUSE;
    }
    return verdict;
}

/* --- Messages and heartbeats ---------------------------------------------- */

bool guard_admits(struct conn *conn, const struct wire *wire)
{
    struct seat *seat = conn_seat(conn);
    const struct peal_server *server = seat->server;
    struct asked asked = {
        .conn = conn,
        .event = event_of(wire),
        .cost = 1,
        .now_ms = seat->worker->loop->now_ms,
    };
    enum peal_rate_limit limit = PEAL_LIMIT_CLIENT;
    enum peal_verdict verdict = PEAL_REFUSE;
    struct peal_rate_limited limited;

    if (wire->kind == WIRE_PING || wire->kind == WIRE_PONG) {
        return true; /* see guard_admits_control */
    }
    if (server->hooks.message_cost != NULL) {
        asked.cost = server->hooks.message_cost(conn->client, &asked.event,
                                                seat->config->options.user);
        if (!conn_is_open(conn)) {
            return false;
        }
    }
    asked.extra = conn_extra_of(conn);
    if (asked.extra != NULL && take_tokens(&asked, &limit)) {
        limit = PEAL_LIMIT_CUSTOM;
        asked.retry_ms = 0;
        verdict = ask_limiter(&asked, wire);
    }
    if (verdict == PEAL_REFUSE && conn_is_open(conn)) {
        limited = limited_by(limit, &asked.event, asked.cost, asked.retry_ms);
        refuse(conn, wire, &limited);
    }
    return verdict == PEAL_ALLOW && conn_is_open(conn);
}

bool guard_admits_control(struct conn *conn)
{
    struct seat *seat = conn_seat(conn);
    const struct peal_rate *rate = &seat->config->options.control_rate;
    uint64_t now_ms = seat->worker->loop->now_ms;
    struct peal_rate_limited limited = {
        .limit = PEAL_LIMIT_CONTROL,
        .cost = 1,
    };
    struct conn_extra *extra;

    if (!rate_is_on(rate)) {
        return true;
    }
    extra = conn_extra_of(conn);
    if (extra != NULL && rate_has(&extra->control, rate, 1, now_ms)) {
        rate_take(&extra->control, rate, 1, now_ms);
        return true;
    }
    limited.retry_ms =
        extra != NULL ? rate_wait_ms(&extra->control, rate, 1, now_ms) : 0;
    if (ask_about_refusal(conn, &limited)) {
        seat_count(seat, COUNT_CLOSED_CONTROL_RATE);
        conn_fail(conn, WS_CLOSE_POLICY, "too many pings");
    }
    return false;
}

void guard_pong(struct conn *conn)
{
    conn->active_ms = conn->stream.loop->now_ms;
    if (conn->is_pinged) {
        conn->is_pinged = false;
    } else {
        (void)guard_admits_control(conn);
    }
}
