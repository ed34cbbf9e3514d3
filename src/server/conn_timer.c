/* Heartbeats, and the other times that a connection waits for. */
#include "server/conn.h"

#include "base/assert.h"
#include "base/slice.h"
#include "server/conn_extra.h"
#include "server/reply.h"

void conn_timer_in(struct conn *conn, uint32_t delay_ms)
{
    struct loop *loop = conn->stream.loop;

    if (delay_ms == PEAL_OFF) {
        timer_stop(&loop->timers, &conn->timer);
    } else {
        timer_start(&loop->timers, &conn->timer, loop->now_ms + delay_ms);
    }
}

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

/* When to look again at a peer that has been pinged: it is pinged at every
 * interval, and dead when its time to answer is over. */
static uint64_t next_look(const struct conn *conn, uint64_t now_ms)
{
    const struct peal_heartbeat *heartbeat = conn_heartbeat(conn);
    uint64_t next_ms = now_ms + heartbeat->ping_interval_ms;
    uint64_t dead_ms = conn->active_ms + heartbeat->ping_interval_ms +
                       heartbeat->ping_timeout_ms;

    return heartbeat->ping_timeout_ms != PEAL_OFF && dead_ms > now_ms &&
                   dead_ms < next_ms
               ? dead_ms
               : next_ms;
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
        if (!conn->is_pinged) {
            conn->is_pinged = true;
            /* Its time to answer begins now, should this be late. */
            conn->active_ms = now_ms - heartbeat->ping_interval_ms;
        }
        send_ping(conn);
        if (conn_is_open(conn)) {
            timer_start(timers, &conn->timer, next_look(conn, now_ms));
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

void conn_deadline(struct timer *timer, uint64_t now_ms)
{
    struct conn *conn = CONTAINER_OF(timer, struct conn, timer);
    const struct peal_server_options *options =
        &conn_seat(conn)->config->options;

    switch ((enum conn_state)conn->state) {
    case CONN_HEAD:
        if (conn->has_answered &&
            is_draining_on(conn, now_ms, options->handshake_timeout_ms)) {
            break; /* it reads that answer */
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
