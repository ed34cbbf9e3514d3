/* A connection closes, and its client leaves. */
#include "server/conn.h"

#include "base/mem.h"
#include "base/slice.h"
#include "base/utf8.h"
#include "server/account.h"
#include "server/arrival.h"
#include "server/backlog.h"
#include "server/deflate.h"
#include "server/news.h"
#include "server/reply.h"
#include "server/request.h"
#include "server/tracker.h"

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
    conn_tls_end(conn);
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
    if ((conn->stream.flags & (STREAM_ENDED | STREAM_TLS)) == STREAM_ENDED &&
        stream_queued(&conn->stream) == 0) {
        conn_cut(conn); /* closing says the end as well */
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

void conn_goodbye(struct conn *conn, int code, struct peal_slice reason)
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
        conn_goodbye(conn, code, text);
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
        if (stream_is_open(&conn->stream)) {
            stream_finish(&conn->stream);
            stream_flush(&conn->stream);
        }
        if (!stream_is_open(&conn->stream) ||
            (conn->stream.flags & STREAM_FINISHED) != 0) {
            conn_cut(conn);
            return;
        }
    }
    conn_finish(conn);
}

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
