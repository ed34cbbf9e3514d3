/*
 * What is read: bytes go from the loop's buffer straight to the function of the
 * connection's state. Only an incomplete tail is copied, and work that would
 * take this turn too long is left over for the next one.
 */
#include "server/conn.h"

#include "base/assert.h"
#include "base/mem.h"
#include "server/account.h"
#include "server/backlog.h"
#include "server/news.h"
#include "server/reply.h"

#include <string.h>

/* How many messages are handled between two looks at the clock. */
#define MESSAGES_PER_LOOK 16

static size_t drop(struct conn *conn, char *data, size_t size)
{
    (void)conn;
    (void)data;
    return size;
}

static size_t (*const readers[CONN_STATE_COUNT])(struct conn *, char *,
                                                 size_t) = {
    [CONN_PROXY] = conn_read_proxy,
    [CONN_TLS] = drop,
    [CONN_HEAD] = conn_read_head,
    [CONN_HTTP_BODY] = reply_read_body,
    [CONN_HTTP_ANSWER] = reply_read_nothing,
    [CONN_WS_OPEN] = conn_read_ws,
    [CONN_TCP_OPEN] = conn_read_tcp,
    [CONN_WS_CLOSING] = conn_read_ws_closing,
    [CONN_DRAINING] = drop,
    [CONN_CLOSED] = drop,
};

size_t conn_read(struct conn *conn, char *data, size_t size)
{
    return readers[conn->state](conn, data, size);
}

/* What a connection may have to keep: a head, a frame, and one read more. */
static size_t input_bytes_max(const struct conn *conn)
{
    const struct config *config = conn_seat(conn)->config;
    size_t most = worker_options(conn_worker(conn))->header_bytes_max;

    if (most < config->tcp_frame_bytes_max) {
        most = config->tcp_frame_bytes_max;
    }
    return most + 2 * LOOP_READ_BYTES;
}

static int make_input(struct conn *conn)
{
    struct conn_input *input = mem_zalloc(sizeof *input);

    if (input == NULL) {
        return PEAL_ENOMEM;
    }
    list_init(&input->link);
    input->conn = conn;
    buffer_init(&input->bytes, input_bytes_max(conn));
    conn->input = input;
    return 0;
}

void conn_input_refit(struct conn *conn)
{
    size_t most = input_bytes_max(conn);

    if (conn->input != NULL && conn->input->bytes.max < most) {
        conn->input->bytes.max = most;
    }
}

void conn_input_free(struct conn *conn)
{
    struct conn_input *input = conn->input;

    if (input != NULL) {
        list_remove(&input->link);
        buffer_fini(&input->bytes);
        mem_free(input);
        conn->input = NULL;
    }
}

/*
 * Whether the rest of the input should wait: the turn has been long, or another
 * loop is so far behind that more messages for it must not be read.
 */
static bool should_yield(struct conn *conn)
{
    return loop_is_over_budget(conn->stream.loop) ||
           worker_is_held_back(conn_worker(conn));
}

/* A client for whom more than this waits is not read. */
static size_t held_beyond(const struct conn *conn)
{
    return conn_seat(conn)->config->options.queue_bytes_max / 2;
}

/* Of what waits behind its stream, what may not be dropped. */
static size_t kept_bytes(const struct conn *conn)
{
    return backlog_waits(conn) ? backlog_kept_bytes(conn) : 0;
}

/*
 * Whether the client's own queue has filled up: then it is not read until that
 * has drained, so that what it asks for waits in its own socket instead of
 * being lost. A TCP or HTTP peer that pipelines without reading is bounded by
 * this.
 */
static bool should_hold(struct conn *conn)
{
    size_t most = held_beyond(conn);
    size_t waiting = kept_bytes(conn);

    if (stream_queued(&conn->stream) + waiting <= most) {
        return false;
    }
    stream_flush(&conn->stream);
    return stream_queued(&conn->stream) + waiting > most &&
           (conn_is_open(conn) || conn->state == CONN_HEAD);
}

/* Why work on some input stopped. */
enum stop {
    STOP_EMPTY, /* all is done */
    STOP_SHORT, /* the next message is not complete */
    STOP_WAIT,  /* the rest has to wait for a decision: guard.h, reply.h */
    STOP_YIELD, /* the rest has to wait for the next turn */
    STOP_HOLD   /* the rest has to wait until the queue has drained */
};

/* Works on `data`; `*done` is how much of it is done with. */
static enum stop work(struct conn *conn, char *data, size_t size, size_t *done)
{
    unsigned count = 0;

    *done = 0;
    /* Input that comes in small pieces never gets to the look below. */
    if (size > 0 && worker_is_held_back(conn_worker(conn))) {
        return STOP_YIELD;
    }
    while (*done < size) {
        size_t used = conn_read(conn, data + *done, size - *done);

        if (used == 0) {
            return STOP_SHORT;
        }
        *done += used;
        output_relieve(conn_worker(conn));
        if (conn->is_waiting) {
            return STOP_WAIT;
        }
        if (should_hold(conn)) {
            return STOP_HOLD;
        }
        if (++count % MESSAGES_PER_LOOK == 0 && *done < size &&
            should_yield(conn)) {
            return STOP_YIELD;
        }
    }
    return STOP_EMPTY;
}

/* Has the input worked on in the next turn. */
static void leave_over(struct conn *conn)
{
    list_remove(&conn->input->link);
    list_append(&conn_worker(conn)->leftover, &conn->input->link);
    loop_keep_awake(conn->stream.loop);
}

/* Arranges for the rest to be worked on later, and for no reading till then. */
static void wait_for_it(struct conn *conn, enum stop stop)
{
    if (stop == STOP_HOLD) {
        conn->is_held = true;
        stream_pause(&conn->stream);
    } else if (stop == STOP_WAIT) {
        stream_pause(&conn->stream);
    } else if (stop == STOP_YIELD) {
        stream_pause(&conn->stream);
        leave_over(conn);
    }
}

static void keep_failed(struct conn *conn)
{
    conn_fail(conn, WS_CLOSE_INTERNAL, "out of memory");
    if (conn->state == CONN_PROXY || conn->state == CONN_HEAD ||
        conn_owes_reply(conn)) {
        conn_cut(conn);
    }
}

/* Works on what is kept, after more was appended to it. */
static void work_kept(struct conn *conn)
{
    struct conn_input *input = conn->input;
    size_t done;
    enum stop stop = work(conn, buffer_head(&input->bytes),
                          buffer_size(&input->bytes), &done);

    if (conn->state == CONN_CLOSED) {
        return;
    }
    if (done > 0) {
        buffer_consume(&input->bytes, done);
        input->scanned = 0;
    }
    wait_for_it(conn, stop);
    if (buffer_size(&input->bytes) == 0) {
        conn_input_free(conn);
    }
}

static void on_data(struct stream *stream, char *data, size_t size)
{
    struct conn *conn = CONTAINER_OF(stream, struct conn, stream);
    enum stop stop;
    size_t done;

    seat_add(conn_seat(conn), COUNT_BYTES_IN, size);
    account_read(conn, size);
    if (!conn->lives_by_pongs) {
        conn->active_ms = stream->loop->now_ms;
    }
    if (conn->input != NULL) {
        if (buffer_append(&conn->input->bytes, data, size) < 0) {
            keep_failed(conn);
        } else {
            work_kept(conn);
        }
        return;
    }
    stop = work(conn, data, size, &done);
    if (conn->state == CONN_CLOSED) {
        return;
    }
    if (done < size &&
        (make_input(conn) < 0 ||
         buffer_append(&conn->input->bytes, data + done, size - done) < 0)) {
        keep_failed(conn);
        return;
    }
    wait_for_it(conn, stop);
}

void conn_input_resume(struct conn_input *input)
{
    struct conn *conn = input->conn;

    list_remove(&input->link);
    if (conn->state == CONN_CLOSED) {
        return;
    }
    stream_resume(&conn->stream);
    work_kept(conn);
}

/*
 * The peer sends no more. A TCP client may have ended its side after its last
 * message; a WebSocket client owes a close frame first (RFC 6455, 7.1.1).
 */
static void on_end(struct stream *stream)
{
    struct conn *conn = CONTAINER_OF(stream, struct conn, stream);
    struct peal_slice nothing = {NULL, 0};

    switch ((enum conn_state)conn->state) {
    case CONN_WS_OPEN:
        conn_closed_by_peer(conn, WS_CLOSE_ABNORMAL, nothing);
        break;
    case CONN_TCP_OPEN:
        conn_closed_by_peer(conn, WS_CLOSE_NO_STATUS, nothing);
        break;
    case CONN_HTTP_BODY:
    case CONN_HTTP_ANSWER:
        reply_ended(conn);
        break;
    case CONN_PROXY:
    case CONN_HEAD:
    case CONN_WS_CLOSING:
    case CONN_DRAINING:
        conn_finish(conn);
        break;
    case CONN_TLS:
    case CONN_CLOSED:
    case CONN_STATE_COUNT:
        UNREACHABLE();
    }
}

static void on_error(struct stream *stream, int error)
{
    struct conn *conn = CONTAINER_OF(stream, struct conn, stream);

    (void)error; /* what peers do to their sockets is not an error of ours */
    if (conn->state == CONN_TLS) {
        conn_tls_failed(conn);
    }
    conn_cut(conn);
}

static void on_secured(struct stream *stream)
{
    conn_secured(CONTAINER_OF(stream, struct conn, stream));
}

void conn_input_go_on(struct conn *conn)
{
    if (conn->state == CONN_CLOSED || conn->is_held || conn->is_waiting) {
        return;
    }
    if (conn->input != NULL) {
        leave_over(conn);
    } else {
        stream_resume(&conn->stream);
    }
}

static void on_drained(struct stream *stream)
{
    struct conn *conn = CONTAINER_OF(stream, struct conn, stream);

    /* It reads, so it lives; and while it was held its pongs were not seen. */
    if (!conn->lives_by_pongs || conn->is_held) {
        conn->active_ms = stream->loop->now_ms;
    }
    if (conn->state == CONN_DRAINING) {
        conn_finish(conn);
        return;
    }
    backlog_pump(conn);
    news_level(conn);
    /* The stream has drained; its backlog follows piece by piece. */
    if (conn->is_held && kept_bytes(conn) <= held_beyond(conn)) {
        conn->is_held = false;
        conn_input_go_on(conn);
    }
}

static void on_blocked(struct stream *stream)
{
    news_level(CONTAINER_OF(stream, struct conn, stream));
}

const struct stream_events conn_events = {
    .on_blocked = on_blocked,
    .on_data = on_data,
    .on_end = on_end,
    .on_error = on_error,
    .on_drained = on_drained,
    .on_secured = on_secured,
};
