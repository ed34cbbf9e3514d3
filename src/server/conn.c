/* The life of a connection: accept, heartbeat, close, end. */
#include "server/conn.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"
#include "base/utf8.h"
#include "hub/door.h"
#include "server/account.h"
#include "server/admission.h"
#include "server/arrival.h"
#include "server/backlog.h"
#include "server/conn_extra.h"
#include "server/deflate.h"
#include "server/news.h"
#include "server/reply.h"
#include "server/request.h"
#include "server/tracker.h"

#include <unistd.h>

const struct dialect *const conn_dialects[DIALECT_COUNT] = {
    &dialect_peal,
    &dialect_stelar,
    &dialect_raw,
};

const struct dialect *conn_dialect(const struct conn *conn)
{
    return conn_dialects[conn->form / FORMS_PER_DIALECT];
}

/* One connection more (1) or less (-1) on a worker. */
static void count_open(struct worker *worker, int change)
{
    uint64_t value =
        atomic_load_explicit(&worker->open_count, memory_order_relaxed);

    atomic_store_explicit(&worker->open_count, value + (uint64_t)change,
                          memory_order_relaxed);
}

void conn_move(struct conn *conn, const struct peal_server *server)
{
    ASSERT(conn->client == NULL);
    if (conn->space != server->number) {
        seat_uncount(conn_seat(conn), GAUGE_CONNECTIONS);
        conn->space = server->number;
        seat_count(conn_seat(conn), GAUGE_CONNECTIONS);
    }
}

void conn_set_form(struct conn *conn, const struct dialect *dialect,
                   enum transport transport)
{
    for (uint8_t i = 0; i < DIALECT_COUNT; i++) {
        if (conn_dialects[i] == dialect) {
            conn->form =
                (uint8_t)(i * FORMS_PER_DIALECT + (transport == TRANSPORT_TCP));
            return;
        }
    }
    UNREACHABLE();
}

void conn_set_deflate(struct conn *conn, bool is_shared)
{
    ASSERT(conn->form % FORMS_PER_DIALECT == FORM_WS);
    conn->form =
        (uint8_t)(conn->form + (is_shared ? FORM_WS_DEFLATE : FORM_WS_ALONE));
}

void conn_timer_in(struct conn *conn, uint32_t delay_ms)
{
    struct loop *loop = conn->stream.loop;

    if (delay_ms == PEAL_OFF) {
        timer_stop(&loop->timers, &conn->timer);
    } else {
        timer_start(&loop->timers, &conn->timer, loop->now_ms + delay_ms);
    }
}

/*
 * Lets the client go: it is told to the application in the next turn, so that
 * on_disconnect never comes in the middle of another callback.
 */
static void leave(struct conn *conn, int code, struct peal_slice reason,
                  bool by_peer)
{
    struct seat *seat = conn_seat(conn);
    size_t kind;

    if (conn->client == NULL || conn->is_leaving) {
        return;
    }
    conn->is_leaving = true;
    conn->is_closed_by_peer = by_peer;
    conn->close_code = (uint16_t)code;
    kind = measure_close_kind(code, reason, by_peer);
    loop_count(&seat->measures.closes[kind]);
    deflate_leave(conn);
    conn->of.reason =
        reason.size > 0 ? mem_copy(reason.data, reason.size) : NULL;
    list_remove(&conn->link);
    list_append(&seat->worker->leaving, &conn->link);
    loop_keep_awake(conn->stream.loop);
}

void conn_cut(struct conn *conn)
{
    struct worker *worker = conn_worker(conn);

    if (conn->state == CONN_CLOSED) {
        return;
    }
    if (conn_owes_reply(conn)) {
        reply_drop(conn);
    }
    leave(conn, WS_CLOSE_ABNORMAL, SLICE("the connection broke"), true);
    if (conn->state == CONN_TLS) {
        conn_tls_end(conn);
    }
    conn->state = CONN_CLOSED;
    arrival_end(conn);
    timer_stop(&conn->stream.loop->timers, &conn->timer);
    backlog_clear(conn);
    stream_close(&conn->stream);
    if (conn->client == NULL) {
        list_remove(&conn->link);
        list_append(&worker->dead, &conn->link);
    }
}

void conn_finish(struct conn *conn)
{
    if (conn->state == CONN_CLOSED) {
        return;
    }
    if (conn_owes_reply(conn)) {
        reply_drop(conn);
    }
    conn->state = CONN_DRAINING;
    conn->is_waiting = false; /* for nothing any more */
    stream_finish(&conn->stream);
    stream_flush(&conn->stream);
    if (!stream_is_open(&conn->stream)) {
        return; /* the flush found it broken, and it was cut */
    }
    if ((conn->stream.flags & STREAM_FINISHED) != 0 &&
        (conn->stream.flags & STREAM_ENDED) != 0) {
        conn_cut(conn);
        return;
    }
    if ((conn->stream.flags & STREAM_PAUSED) != 0) {
        stream_resume(&conn->stream); /* to see the end */
    }
    conn_timer_in(conn, conn_seat(conn)->config->options.close_timeout_ms);
}

static void send_close_frame(struct conn *conn, int code,
                             struct peal_slice reason)
{
    char payload[WS_CONTROL_MAX];
    size_t size = ws_close_write(payload, code, reason);

    /* Without memory for it, the end of the stream has to say it. */
    (void)output_control(conn, WS_OPCODE_CLOSE, slice_make(payload, size));
}

static void send_goodbye(struct conn *conn, int code, struct peal_slice reason)
{
    struct wire wire = {
        .kind = WIRE_GOODBYE,
        .failure = {.code = code,
                    .message = reason,
                    .retry_after_ms = conn_worker(conn)->retry_after_ms},
    };

    (void)output_wire(conn, &wire);
}

bool conn_may_say(int code, const char *reason)
{
    struct peal_slice text = peal_slice(reason);

    return ws_close_code_is_valid(code) && utf8_is_valid(text.data, text.size);
}

void conn_close(struct conn *conn, int code, const char *reason)
{
    struct peal_slice text = peal_slice(reason);

    if (conn->state == CONN_WS_OPEN) {
        backlog_finish(conn);
        if (conn->state == CONN_CLOSED) {
            return; /* no memory */
        }
        leave(conn, code, text, false);
        send_close_frame(conn, code, text);
        if (conn->state == CONN_CLOSED) {
            return; /* sending has found the connection broken */
        }
        conn->state = CONN_WS_CLOSING;
        if ((conn->stream.flags & STREAM_PAUSED) != 0) {
            stream_resume(&conn->stream); /* for the peer's close frame */
        }
        conn_timer_in(conn, conn_seat(conn)->config->options.close_timeout_ms);
    } else if (conn->state == CONN_TCP_OPEN) {
        conn_fail(conn, code, reason);
    }
}

void conn_fail(struct conn *conn, int code, const char *reason)
{
    struct peal_slice text = peal_slice(reason);

    if (!conn_is_open(conn)) {
        return;
    }
    backlog_finish(conn);
    if (conn->state == CONN_CLOSED) {
        return; /* no memory */
    }
    leave(conn, code, text, false);
    if (conn->state == CONN_WS_OPEN) {
        send_close_frame(conn, code, text);
    } else {
        send_goodbye(conn, code, text);
    }
    conn_finish(conn);
}

void conn_closed_by_peer(struct conn *conn, int code, struct peal_slice reason)
{
    backlog_finish(conn);
    if (conn->state == CONN_CLOSED) {
        return; /* no memory */
    }
    leave(conn, code, reason, true);
    if (conn->state == CONN_WS_OPEN && code != WS_CLOSE_ABNORMAL) {
        /* The answer repeats the code (RFC 6455, 5.5.1). Nothing may follow the
         * peer's close frame, so the server ends first (7.1.1). */
        send_close_frame(conn, code, slice_make(NULL, 0));
        stream_flush(&conn->stream);
        if (stream_queued(&conn->stream) == 0) {
            conn_cut(conn);
            return;
        }
    }
    conn_finish(conn);
}

/* --- Heartbeat and other deadlines --------------------------------------- */

static void send_ping(struct conn *conn)
{
    static const struct wire ping = {.kind = WIRE_PING};

    if (conn_transport(conn) == TRANSPORT_WS) {
        if (output_control(conn, WS_OPCODE_PING, slice_make(NULL, 0)) ==
            PEAL_ENOMEM) {
            conn_cut(conn); /* its silence could not be told from death */
        }
    } else {
        (void)output_wire(conn, &ping);
    }
}

const struct peal_heartbeat *conn_heartbeat(const struct conn *conn)
{
    return &conn_seat(conn)
                ->config->heartbeats[options_dialect_name(conn_dialect(conn))];
}

/* The timer of an open connection runs until its next ping. */
void conn_begin_heartbeat(struct conn *conn)
{
    const struct peal_heartbeat *heartbeat = conn_heartbeat(conn);
    struct timer_wheel *timers = &conn->stream.loop->timers;

    conn->is_pinged = false;
    conn->lives_by_pongs = heartbeat->alive_by == PEAL_ALIVE_BY_PONG;
    if (heartbeat->ping_interval_ms == PEAL_OFF) {
        timer_stop(timers, &conn->timer);
    } else {
        timer_start(timers, &conn->timer,
                    conn->active_ms + heartbeat->ping_interval_ms);
    }
}

/* The peer may have been silent for ping_interval_ms, or even longer. */
static void check_heartbeat(struct conn *conn, uint64_t now_ms)
{
    const struct peal_heartbeat *heartbeat = conn_heartbeat(conn);
    struct timer_wheel *timers = &conn->stream.loop->timers;
    uint64_t ping_due_ms = conn->active_ms + heartbeat->ping_interval_ms;
    bool is_dead = conn->is_pinged && !conn->is_waiting &&
                   heartbeat->ping_timeout_ms != PEAL_OFF &&
                   now_ms >= ping_due_ms + heartbeat->ping_timeout_ms;

    if (is_dead) {
        seat_count(conn_seat(conn), COUNT_CLOSED_PING_TIMEOUT);
        conn_fail(conn, WS_CLOSE_POLICY, "ping timeout");
    } else if (now_ms < ping_due_ms) {
        conn->is_pinged = false;
        timer_start(timers, &conn->timer, ping_due_ms);
    } else {
        conn->is_pinged = true;
        send_ping(conn);
        if (conn_is_open(conn)) {
            conn_timer_in(conn, heartbeat->ping_timeout_ms != PEAL_OFF
                               ? heartbeat->ping_timeout_ms
                               : heartbeat->ping_interval_ms);
        }
    }
}

void conn_refit(struct conn *conn)
{
    conn_input_refit(conn);
    if (conn_is_open(conn)) {
        conn_begin_heartbeat(conn);
    }
}

/*
 * Whether a connection whose time is up gets some more, because the peer goes
 * on taking what was sent before. Only those that are slow to take it have to
 * be remembered, so the first time is taken on trust.
 */
static bool is_draining_on(struct conn *conn, uint64_t now_ms, uint32_t step_ms)
{
    uint32_t most_ms = conn_seat(conn)->config->options.drain_timeout_ms;
    size_t unsent = stream_unsent(&conn->stream);
    struct conn_extra *extra = unsent > 0 ? conn_extra_of(conn) : NULL;
    bool is_going_on;

    if (extra == NULL) {
        return false;
    }
    if (extra->drain.unsent == 0) {
        extra->drain.began_ms = now_ms - step_ms;
    }
    is_going_on =
        (extra->drain.unsent == 0 || unsent < extra->drain.unsent) &&
        (most_ms == PEAL_OFF || now_ms < extra->drain.began_ms + most_ms);
    extra->drain.unsent = unsent;
    if (is_going_on) {
        conn_timer_in(conn, step_ms);
    } else {
        seat_count(conn_seat(conn), COUNT_CLOSED_DRAIN_TIMEOUT);
    }
    return is_going_on;
}

static void deadline(struct timer *timer, uint64_t now_ms)
{
    struct conn *conn = CONTAINER_OF(timer, struct conn, timer);
    const struct peal_server_options *options =
        &conn_seat(conn)->config->options;

    switch ((enum conn_state)conn->state) {
    case CONN_HEAD:
        if (is_draining_on(conn, now_ms, options->handshake_timeout_ms)) {
            break; /* it reads the answer to a former request */
        }
        seat_count(conn_seat(conn), COUNT_CLOSED_HANDSHAKE_TIMEOUT);
        conn_cut(conn);
        break;
    case CONN_PROXY:
    case CONN_TLS:
        seat_count(conn_seat(conn), COUNT_CLOSED_HANDSHAKE_TIMEOUT);
        conn_cut(conn);
        break;
    case CONN_HTTP_BODY:
    case CONN_HTTP_ANSWER:
        reply_timed_out(conn);
        break;
    case CONN_WS_OPEN:
    case CONN_TCP_OPEN:
        check_heartbeat(conn, now_ms);
        break;
    case CONN_WS_CLOSING:
    case CONN_DRAINING:
        if (!is_draining_on(conn, now_ms, options->close_timeout_ms)) {
            conn_cut(conn);
        }
        break;
    case CONN_CLOSED:
    case CONN_STATE_COUNT:
        UNREACHABLE();
    }
}

/* --- Beginning ----------------------------------------------------------- */

static void refuse_tcp(struct conn *conn, const char *address, int error,
                       int code, const char *reason)
{
    log_debug(&conn_worker(conn)->engine->log, "server", "client refused",
              "remote=%s error=%s", address, peal_error_name(error));
    send_goodbye(conn, code, peal_slice(reason));
    conn_finish(conn);
}

/* Lets a TCP client in, once all middleware has said yes. */
static void accept_tcp(struct conn *conn, const struct listener *listener,
                       const struct socket_address *peer,
                       const struct peal_denial *late_denial)
{
    char address[SOCKET_TEXT_SIZE];
    struct peal_tls_facts facts;
    struct peal_connect connect = {
        .transport = PEAL_TCP,
        .tls = conn_tls_facts(conn, &facts),
        .dialect = options_dialect_name(listener->dialect),
        .address = socket_address_format(peer, address),
    };
    struct admission_request request = {.connect = &connect, .peer = peer};
    struct peal_denial denial;
    enum peal_verdict verdict = PEAL_REFUSE;
    int status;
    int rc;

    conn_set_form(conn, listener->dialect, TRANSPORT_TCP);
    rc = conn_check_address(conn, &connect, peer, &status);
    if (rc < 0) {
        refuse_tcp(conn, address, rc,
                   rc == PEAL_EREFUSED ? WS_CLOSE_POLICY : WS_CLOSE_TRY_AGAIN,
                   peal_strerror(rc));
        return;
    }
    if (late_denial != NULL) {
        denial = *late_denial;
    } else {
        verdict = admission_ask(conn, &request, &denial);
    }
    if (verdict == PEAL_LATER) {
        return; /* the time for its handshake goes on */
    }
    if (verdict == PEAL_REFUSE) {
        seat_count(conn_seat(conn), COUNT_REFUSED_APPLICATION);
        refuse_tcp(conn, address, PEAL_EREFUSED,
                   denial.code != 0 ? denial.code
                   : denial.status == 503 || denial.status == 429
                       ? WS_CLOSE_TRY_AGAIN
                       : WS_CLOSE_POLICY,
                   denial.reason);
        return;
    }
    rc = conn_admit(conn, &connect, peer, slice_make(NULL, 0), &status);
    if (rc < 0) {
        refuse_tcp(conn, address, rc, WS_CLOSE_TRY_AGAIN, peal_strerror(rc));
    }
}

void conn_admit_later(struct conn *conn, struct peal_slice head,
                      const struct socket_address *peer,
                      const struct peal_denial *denial)
{
    if (head.size == 0) {
        accept_tcp(conn, conn->of.listener, peer, denial);
    } else {
        conn_upgrade_later(conn, head, denial);
    }
}

/* Turns a connection away before anything is done for it. */
static void turn_away(int fd)
{
    socket_reset_on_close(fd);
    close(fd);
}

/* A conn for the socket, which takes `arrival` over; NULL: no memory. */
static struct conn *make(struct worker *worker, const struct listener *listener,
                         int fd, struct address_count *arrival)
{
    struct conn *conn = mem_zalloc(sizeof *conn);

    if (conn == NULL ||
        stream_open(&conn->stream, worker->loop, fd, &conn_events) < 0) {
        if (arrival != NULL) {
            door_leave(&worker->engine->arrivals, arrival);
        }
        mem_free(conn);
        return NULL;
    }
    arrival_keep(conn, arrival);
    timer_init(&conn->timer, deadline);
    conn->state = CONN_PROXY;
    conn->of.listener = listener;
    conn->active_ms = worker->loop->now_ms;
    conn->space = listener->server->number;
    list_append(&worker->conns, &conn->link);
    seat_count(conn_seat(conn), GAUGE_CONNECTIONS);
    count_open(worker, 1);
    conn_set_form(conn, listener->dialect, listener->transport);
    return conn;
}

void conn_accept(struct worker *worker, const struct listener *listener, int fd,
                 const struct socket_address *peer)
{
    struct seat *seat = worker->seats[listener->server->number];
    enum proxy_expected expected = conn_proxy_expected(seat, listener, peer);
    uint64_t open = stats_open(worker->engine);
    struct address_count *arrival;
    struct conn *conn;

    if (open >=
        (uint64_t)worker_options(worker)->clients_max + HANDSHAKES_MAX) {
        seat_count(seat, COUNT_REFUSED_CLIENTS);
        turn_away(fd);
        return;
    }
    if (expected == PROXY_BARRED) {
        conn_proxy_refused(seat, peer, "not from a trusted proxy");
        turn_away(fd);
        return;
    }
    if (!arrival_take(seat, listener, peer, &arrival)) {
        turn_away(fd);
        return;
    }
    conn = make(worker, listener, fd, arrival);
    if (conn == NULL) {
        seat_count(seat, COUNT_ACCEPT_EXHAUSTED);
        close(fd);
        return;
    }
    conn_timer_in(conn, seat->config->options.handshake_timeout_ms);
    if (expected == PROXY_NOT_EXPECTED) {
        (void)conn_begin(conn, peer, NULL, 0);
    }
}

static void begin_tls(struct conn *conn, const char *data, size_t size)
{
    struct worker *worker = conn_worker(conn);

    if (conn_tls_is_full(worker, conn->of.listener)) {
        seat_count(worker->seats[0], COUNT_REFUSED_TLS_HANDSHAKES);
        socket_reset_on_close(conn->stream.fd);
        conn_cut(conn);
    } else if (conn_tls_begin(conn, data, size) < 0) {
        seat_count(conn_seat(conn), COUNT_ACCEPT_EXHAUSTED);
        conn_cut(conn);
    }
}

size_t conn_begin(struct conn *conn, const struct socket_address *peer,
                  char *data, size_t size)
{
    const struct listener *listener = conn->of.listener;

    if (listener->tls != NULL) {
        begin_tls(conn, data, size);
        return size;
    }
    conn->state = CONN_HEAD;
    if (listener->transport == TRANSPORT_TCP) {
        accept_tcp(conn, listener, peer, NULL);
    }
    return size > 0 && !conn->is_waiting ? conn_read(conn, data, size) : 0;
}

void conn_secured(struct conn *conn)
{
    const struct listener *listener = conn->of.listener;
    struct socket_address peer;

    conn_tls_done(conn);
    conn->state = CONN_HEAD; /* its time goes on */
    if (listener->transport != TRANSPORT_TCP) {
        return;
    }
    if (conn_peer(conn, &peer)) {
        accept_tcp(conn, listener, &peer, NULL);
    } else {
        conn_cut(conn); /* it has gone already */
    }
}

/* --- End ----------------------------------------------------------------- */

void conn_leave_now(struct conn *conn)
{
    struct worker *worker = conn_worker(conn);
    struct seat *seat = conn_seat(conn);
    const struct peal_server_options *options = &seat->config->options;
    struct peal_disconnect disconnect = {
        .code = conn->close_code,
        .reason = conn->of.reason != NULL ? conn->of.reason : "",
        .by_peer = conn->is_closed_by_peer,
    };

    guard_forget(conn);
    request_drop_all(conn);
    news_end(conn);
    if (options->on_disconnect != NULL) {
        options->on_disconnect(conn->client, &disconnect, options->user);
    }
    account_close(conn, &disconnect);
    seat_uncount(seat, conn_transport(conn) == TRANSPORT_WS
                           ? GAUGE_WS_CLIENTS
                           : GAUGE_TCP_CLIENTS);
    if (conn->is_tracked) {
        const struct address_count *address = conn->client->address;

        tracker_remove(seat, address->key, address->size);
        conn->is_tracked = false;
    }
    client_remove(conn->client);
    conn->client = NULL;
    mem_free(conn->of.reason);
    conn->of.reason = NULL;
    list_remove(&conn->link);
    list_append(conn->state == CONN_CLOSED ? &worker->dead : &worker->conns,
                &conn->link);
}

void conn_free(struct conn *conn)
{
    ASSERT(conn->state == CONN_CLOSED && conn->client == NULL);
    seat_uncount(conn_seat(conn), GAUGE_CONNECTIONS);
    count_open(conn_worker(conn), -1);
    list_remove(&conn->link);
    conn_input_free(conn);
    ws_parser_fini(&conn->parser);
    conn_extra_free(conn);
    mem_free(conn);
}
