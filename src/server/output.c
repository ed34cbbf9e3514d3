/*
 * What is written: a message is encoded once, at its place on a tape, and
 * queued as a slice of it. Frames for one client lie on the worker's `direct`
 * tape, frames for many on a tape of their form, so that what a member gets in
 * one turn lies in one piece.
 */
#include "server/conn.h"

#include "base/assert.h"
#include "base/slice.h"
#include "server/account.h"
#include "server/backlog.h"
#include "server/deflate.h"
#include "server/news.h"

#include <string.h>

/*
 * Whether `size` more bytes fit the client's queue. An empty queue takes one
 * message of any size, so that the limits of messages and queues need not be
 * tuned to each other.
 */
static inline bool fits(struct conn *conn, size_t size, size_t most)
{
    size_t queued = stream_queued(&conn->stream);

    if (queued == 0 || queued + size <= most) {
        return true;
    }
    stream_flush(&conn->stream);
    queued = stream_queued(&conn->stream);
    return queued == 0 || queued + size <= most;
}

void output_overflow(struct conn *conn)
{
    seat_count(conn_seat(conn), COUNT_CLOSED_QUEUE_BYTES);
    conn_fail(conn, WS_CLOSE_TRY_AGAIN, "queue is full");
}

/* Makes sure that `size` bytes of a message may be queued. */
static int admit(struct conn *conn, size_t size)
{
    struct seat *seat = conn_seat(conn);

    if (fits(conn, size, seat->config->options.queue_bytes_max)) {
        return conn->state == CONN_CLOSED ? PEAL_EGONE : 0;
    }
    output_overflow(conn);
    return PEAL_EFULL;
}

/* Queues a slice that admit() has let through. */
static inline int queue(struct seat *seat, struct conn *conn,
                        struct tape_slice slice)
{
    int rc = stream_send(&conn->stream, slice);

    if (rc < 0) {
        /* A client that misses a message must know: it is closed. */
        conn_cut(conn);
        return rc;
    }
    seat_add(seat, COUNT_BYTES_OUT, slice.size);
    if ((conn->stream.flags & STREAM_BLOCKED) != 0) {
        news_level(conn);
    }
    account_written(conn, slice.size);
    return 0;
}

size_t output_frame_size(const struct wire_plan *plan, enum transport transport)
{
    return transport == TRANSPORT_WS ? ws_header_size(plan->size) + plan->size
                                     : plan->size;
}

void output_frame_write(char *out, const struct dialect *dialect,
                        const struct wire_plan *plan, const struct wire *wire,
                        enum transport transport)
{
    if (transport == TRANSPORT_WS) {
        out = ws_header_write(
            out, plan->is_binary ? WS_OPCODE_BINARY : WS_OPCODE_TEXT,
            plan->size);
    }
    dialect->write(out, plan, wire, transport);
}

/* What a compressed message takes on a tape, and laying it there. */
static size_t packed_size(struct peal_slice packed)
{
    return ws_header_size(packed.size) + packed.size;
}

static void write_packed(char *out, bool is_binary, struct peal_slice packed)
{
    char *payload = ws_header_write(
        out, is_binary ? WS_OPCODE_BINARY : WS_OPCODE_TEXT, packed.size);

    ws_header_set_compressed(out);
    memcpy(payload, packed.data, packed.size);
}

bool output_is_message(enum wire_kind kind)
{
    return kind == WIRE_EVENT || kind == WIRE_ANSWER || kind == WIRE_FAILURE;
}

/* What needs no place among the messages: it may overtake them, and has the
 * reserve for control frames. */
static bool is_heartbeat(enum wire_kind kind)
{
    return kind == WIRE_PING || kind == WIRE_PONG;
}

/* As admit(), for a message that may also be a heartbeat or the last one. */
static int admit_wire(struct conn *conn, enum wire_kind kind, size_t size)
{
    if (kind == WIRE_GOODBYE) {
        return 0;
    }
    if (!is_heartbeat(kind)) {
        return admit(conn, size);
    }
    if (!fits(conn, size,
              conn_seat(conn)->config->options.queue_bytes_max +
                  CONTROL_RESERVE_BYTES)) {
        return PEAL_EFULL; /* as output_control: it is left out */
    }
    return conn->state == CONN_CLOSED ? PEAL_EGONE : 0;
}

int output_wire(struct conn *conn, const struct wire *wire)
{
    const struct dialect *dialect = conn_dialect(conn);
    enum transport transport = conn_transport(conn);
    struct seat *seat = conn_seat(conn);
    struct worker *worker = seat->worker;
    struct peal_slice packed;
    struct wire_plan plan;
    bool is_packed;
    size_t size;
    char *out;
    int rc;

    if (!conn_is_open(conn) && conn->state != CONN_HEAD) {
        return PEAL_EGONE;
    }
    if (!dialect->plan(&plan, wire, transport)) {
        return PEAL_ENOTSUP;
    }
    if (backlog_waits(conn) && !is_heartbeat(wire->kind)) {
        return backlog_wire(conn, wire, &plan);
    }
    is_packed = conn->is_deflated && deflate_pack(conn, &plan, wire, &packed);
    size =
        is_packed ? packed_size(packed) : output_frame_size(&plan, transport);
    rc = admit_wire(conn, wire->kind, size);
    if (rc < 0) {
        return rc;
    }
    out = tape_reserve(&worker->direct, size);
    if (out == NULL) {
        /* As in queue(); a goodbye is said by the end of the stream as well. */
        if (wire->kind != WIRE_GOODBYE) {
            conn_cut(conn);
        }
        return PEAL_ENOMEM;
    }
    if (is_packed) {
        write_packed(out, plan.is_binary, packed);
    } else {
        output_frame_write(out, dialect, &plan, wire, transport);
    }
    worker->unflushed_bytes += size;
    if (output_is_message(wire->kind)) {
        seat_count(seat, COUNT_MESSAGES_OUT);
        account_message_out(conn);
    }
    return queue(seat, conn, tape_commit(&worker->direct, size));
}

char *output_reserve(struct conn *conn, size_t size)
{
    return tape_reserve(&conn_worker(conn)->direct, size);
}

int output_commit(struct conn *conn, size_t size)
{
    struct worker *worker = conn_worker(conn);

    worker->unflushed_bytes += size;
    return queue(conn_seat(conn), conn, tape_commit(&worker->direct, size));
}

int output_slice(struct conn *conn, struct tape_slice slice)
{
    return queue(conn_seat(conn), conn, slice);
}

int output_packed(struct conn *conn, struct peal_slice packed, bool is_binary)
{
    size_t size = packed_size(packed);
    char *out = output_reserve(conn, size);

    if (out == NULL) {
        return PEAL_ENOMEM;
    }
    write_packed(out, is_binary, packed);
    return output_commit(conn, size);
}

int output_bytes(struct conn *conn, struct peal_slice head,
                 struct peal_slice body)
{
    struct worker *worker = conn_worker(conn);
    size_t size = head.size + body.size;
    char *out = tape_reserve(&worker->direct, size);

    if (out == NULL) {
        conn_cut(conn); /* as in queue() */
        return PEAL_ENOMEM;
    }
    memcpy(out, head.data, head.size);
    if (body.size > 0) {
        memcpy(out + head.size, body.data, body.size);
    }
    return queue(conn_seat(conn), conn, tape_commit(&worker->direct, size));
}

int output_control(struct conn *conn, enum ws_opcode opcode,
                   struct peal_slice payload)
{
    struct worker *worker = conn_worker(conn);
    size_t size = ws_header_size(payload.size) + payload.size;
    char *out;

    /* Why it ends is said in any case. */
    if (opcode != WS_OPCODE_CLOSE &&
        !fits(conn, size,
              conn_seat(conn)->config->options.queue_bytes_max +
                  CONTROL_RESERVE_BYTES)) {
        return PEAL_EFULL;
    }
    if (conn->state == CONN_CLOSED) {
        return PEAL_EGONE;
    }
    out = tape_reserve(&worker->direct, size);
    if (out == NULL) {
        return PEAL_ENOMEM;
    }
    out = ws_header_write(out, opcode, payload.size);
    if (payload.size > 0) {
        memcpy(out, payload.data, payload.size);
    }
    return queue(conn_seat(conn), conn, tape_commit(&worker->direct, size));
}

void output_event(struct wire *wire, const struct peal_event *event)
{
    wire_begin(wire, WIRE_EVENT);
    wire->data_kind = event->kind;
    wire->name = event->name;
    wire->room = event->room;
    wire->data = event->data;
}

/* --- Fan-out ------------------------------------------------------------- */

void output_begin(struct worker *worker, const struct peal_event *event)
{
    struct fanout *fanout = &worker->fanout;

    output_event(&fanout->wire, event);
    memset(fanout->frames, 0, sizeof fanout->frames);
    memset(fanout->is_unsayable, 0, sizeof fanout->is_unsayable);
    fanout->narrow_count = 0;
    fanout->is_pressing = false;
}

/* The frame for clients that share no form, but a small window; or NULL. */
static const struct tape_slice *narrow_frame(const struct fanout *fanout,
                                             const struct conn *conn)
{
    for (size_t i = 0; i < fanout->narrow_count; i++) {
        if (fanout->narrow[i].form == conn->form &&
            fanout->narrow[i].window == conn->window_out) {
            return &fanout->narrow[i].frame;
        }
    }
    return NULL;
}

/* Keeps a frame for those who get the same. What is plain is so for all. */
static void keep_frame(struct fanout *fanout, const struct conn *conn,
                       bool is_packed, struct tape_slice frame)
{
    if (!is_packed || conn->form % FORMS_PER_DIALECT != FORM_WS_ALONE) {
        fanout->frames[conn->form] = frame;
    } else if (!conn->takes_over_out && fanout->narrow_count < NARROW_FRAMES) {
        fanout->narrow[fanout->narrow_count].form = conn->form;
        fanout->narrow[fanout->narrow_count].window = conn->window_out;
        fanout->narrow[fanout->narrow_count].frame = frame;
        fanout->narrow_count++;
    }
}

/* Encodes the event for one form; false when it cannot be said there. */
static bool encode(struct worker *worker, struct conn *conn,
                   struct tape_slice *frame)
{
    struct fanout *fanout = &worker->fanout;
    const struct dialect *dialect = conn_dialect(conn);
    enum transport transport = conn_transport(conn);
    struct tape *tape = &worker->tapes[conn->form];
    const struct tape_slice *narrow =
        conn->takes_over_out ? NULL : narrow_frame(fanout, conn);
    struct peal_slice packed;
    struct wire_plan plan;
    bool is_packed;
    size_t size;
    char *out;

    if (narrow != NULL) {
        *frame = *narrow;
        return true;
    }
    if (!dialect->plan(&plan, &fanout->wire, transport)) {
        fanout->is_unsayable[conn->form] = true;
        return false;
    }
    is_packed = conn->is_deflated &&
                deflate_pack(conn, &plan, &fanout->wire, &packed);
    size =
        is_packed ? packed_size(packed) : output_frame_size(&plan, transport);
    out = tape_reserve(tape, size);
    if (out == NULL) {
        return false;
    }
    if (is_packed) {
        write_packed(out, plan.is_binary, packed);
    } else {
        output_frame_write(out, dialect, &plan, &fanout->wire, transport);
    }
    *frame = tape_commit(tape, size);
    worker->tapes_used |= UINT32_C(1) << conn->form;
    keep_frame(fanout, conn, is_packed, *frame);
    worker->unflushed_bytes += size;
    return true;
}

int output_fanout_frame(struct conn *conn, struct tape_slice *frame)
{
    struct worker *worker = conn_worker(conn);
    const struct fanout *fanout = &worker->fanout;

    *frame = fanout->frames[conn->form];
    if (frame->size == 0 && !fanout->is_unsayable[conn->form] &&
        encode(worker, conn, frame)) {
        return 0;
    }
    return fanout->is_unsayable[conn->form] ? PEAL_ENOTSUP
           : frame->size == 0               ? PEAL_ENOMEM
                                            : 0;
}

/*
 * Whether the frame is to be queued for the client. When its queue turns out to
 * be full, that is up to the policy. A frame that the peer's window needs must
 * go in any case: then the queue is a little too long, once.
 */
static bool admit_delivery(const struct seat *seat, struct conn *conn,
                           size_t size)
{
    if (fits(conn, size, seat->config->options.queue_bytes_max)) {
        return conn->state != CONN_CLOSED;
    }
    if (conn->takes_over_out && backlog_may_drop(conn)) {
        return true;
    }
    if (conn->takes_over_out || !backlog_deliver(conn)) {
        output_overflow(conn);
    }
    return false;
}

/* The frame of the first client of a form, or of one that has its own. False:
 * there is none, which has been seen to. */
static bool make_frame(struct seat *seat, struct conn *conn,
                       struct tape_slice *frame)
{
    struct worker *worker = seat->worker;
    const struct fanout *fanout = &worker->fanout;

    if (!fanout->is_unsayable[conn->form] && encode(worker, conn, frame)) {
        return true;
    }
    if (fanout->is_unsayable[conn->form]) {
        seat_count(seat, COUNT_MESSAGES_UNSAYABLE);
        account_dropped(conn);
    } else {
        conn_cut(conn); /* no memory: it would miss this in silence */
    }
    return false;
}

void output_deliver(struct seat *seat, struct conn *conn)
{
    struct tape_slice frame = seat->worker->fanout.frames[conn->form];

    if (!conn_is_open(conn)) {
        return;
    }
    if ((conn->stream.flags & STREAM_BLOCKED) != 0 && backlog_deliver(conn)) {
        return;
    }
    if (frame.size == 0 && !make_frame(seat, conn, &frame)) {
        return;
    }
    if (admit_delivery(seat, conn, frame.size) &&
        queue(seat, conn, frame) == 0) {
        seat_count(seat, COUNT_MESSAGES_OUT);
        account_message_out(conn);
    }
}

_Static_assert(FORM_COUNT <= 32, "tapes_used has a bit for each");

void output_rewind(struct worker *worker)
{
    worker->unflushed_bytes = 0;
    backlog_rewind(worker);
    tape_rewind(&worker->direct);
    while (worker->tapes_used != 0) {
        tape_rewind(&worker->tapes[__builtin_ctz(worker->tapes_used)]);
        worker->tapes_used &= worker->tapes_used - 1;
    }
}

void output_trim(struct worker *worker)
{
    tape_trim(&worker->direct);
    for (size_t i = 0; i < FORM_COUNT; i++) {
        tape_trim(&worker->tapes[i]);
    }
}

void output_relieve(struct worker *worker)
{
    if (worker->unflushed_bytes > FLUSH_BYTES) {
        loop_flush(worker->loop);
        output_rewind(worker);
    }
}
