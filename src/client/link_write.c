#include "client/link.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/slice.h"

/* Between two looks at an outbox that is paced. */
#define PACE_MS 10

/* What goes out without the loop getting a turn in between. */
#define BURST 256

int link_write_bytes(struct peal_link *link, const char *data, size_t size)
{
    struct tape *tape = &link->runner->tape;
    char *out = tape_reserve(tape, size);
    int rc;

    if (out == NULL) {
        return PEAL_ENOMEM;
    }
    memcpy(out, data, size);
    rc = stream_send(&link->stream, tape_commit(tape, size));
    if (rc == PEAL_OK) {
        link_add(&link->counters.bytes_out, size);
    }
    return rc;
}

int link_write_control(struct peal_link *link, enum ws_opcode opcode,
                       const char *data, size_t size)
{
    char frame[WS_HEADER_MAX + WS_CONTROL_MAX];
    uint8_t key[4];
    char *payload;

    ASSERT(size <= WS_CONTROL_MAX);
    random_bytes(key, sizeof key);
    payload = ws_header_write_masked(frame, opcode, size, key);
    if (size > 0) {
        memcpy(payload, data, size);
        ws_mask(payload, size, key, 0);
    }
    return link_write_bytes(link, frame, (size_t)(payload - frame) + size);
}

/* Whether the server would take a message of this size. */
static bool is_too_big(const struct peal_link *link,
                       const struct wire_plan *plan)
{
    return plan->size > UINT32_MAX - WS_HEADER_MAX ||
           (link->message_bytes_max > 0 &&
            plan->size > link->message_bytes_max);
}

/* Sends what has been written between the two. */
static int send_written(struct peal_link *link, const char *start,
                        const char *end)
{
    size_t size = (size_t)(end - start);
    int rc = stream_send(&link->stream, tape_commit(&link->runner->tape, size));

    if (rc == PEAL_OK) {
        link_add(&link->counters.bytes_out, size);
    }
    return rc;
}

static int write_frame(struct peal_link *link, const struct wire_plan *plan,
                       const struct wire *wire)
{
    char *start = tape_reserve(&link->runner->tape, plan->size);

    if (start == NULL) {
        return PEAL_ENOMEM;
    }
    link->settings->dialect->write(start, plan, wire, TRANSPORT_TCP);
    return send_written(link, start, start + plan->size);
}

/* `packed` is what the message has been compressed to, or NULL. */
static int write_message(struct peal_link *link, const struct wire_plan *plan,
                         const struct wire *wire,
                         const struct peal_slice *packed)
{
    size_t size = packed != NULL ? packed->size : plan->size;
    char *start = tape_reserve(&link->runner->tape, size + WS_HEADER_MAX);
    uint8_t key[4];
    char *payload;

    if (start == NULL) {
        return PEAL_ENOMEM;
    }
    random_bytes(key, sizeof key);
    payload = ws_header_write_masked(
        start, plan->is_binary ? WS_OPCODE_BINARY : WS_OPCODE_TEXT, size, key);
    if (packed != NULL) {
        ws_header_set_compressed(start);
        memcpy(payload, packed->data, size);
    } else {
        link->settings->dialect->write(payload, plan, wire, TRANSPORT_WS);
    }
    ws_mask(payload, size, key, 0);
    return send_written(link, start, payload + size);
}

int link_write(struct peal_link *link, const struct wire *wire)
{
    enum transport transport = link_transport(link);
    struct peal_slice packed;
    struct wire_plan plan;
    int rc;

    if (!link->settings->dialect->plan(&plan, wire, transport)) {
        return PEAL_ENOTSUP;
    }
    if (is_too_big(link, &plan)) {
        return PEAL_ETOOBIG;
    }
    if (transport == TRANSPORT_TCP) {
        return write_frame(link, &plan, wire);
    }
    if (link->deflate == NULL ||
        !link_deflate_pack(link, &plan, wire, &packed)) {
        return write_message(link, &plan, wire, NULL);
    }
    rc = write_message(link, &plan, wire, &packed);
    if (rc < 0) {
        link_deflate_forget(link);
    }
    return rc;
}

/* --- Heartbeat ------------------------------------------------------------ */

void link_write_ping(struct peal_link *link)
{
    link->pinged_at_ms = link_now_ms(link);
    if (link->file != NULL || link->is_pinged) {
        /*
         * It cannot stand within the frame of a file, whose acceptance shows
         * that the server lives. And while a pong is due, another ping would
         * make it seem to prove what was written after the first one.
         */
        return;
    }
    link->pinged_at_ns = link->runner->loop->turn_began_ns;
    link->events_marked = link->events_written;
    link->is_pinged = true;
    if (link_transport(link) == TRANSPORT_WS) {
        link_write_control(link, WS_OPCODE_PING, NULL, 0);
    } else {
        struct wire wire;

        wire_begin(&wire, WIRE_PING);
        wire.data_kind = PEAL_BYTES;
        link_write(link, &wire);
    }
}

static void write_pong(struct peal_link *link, const char *data, size_t size)
{
    if (link_transport(link) == TRANSPORT_WS) {
        link_write_control(link, WS_OPCODE_PONG, data, size);
    } else {
        struct wire wire;

        wire_begin(&wire, WIRE_PONG);
        wire.data_kind = PEAL_BYTES;
        wire.data = slice_make(data, size);
        link_write(link, &wire);
    }
}

void link_write_pong(struct peal_link *link, const char *data, size_t size)
{
    if (link->phase == LINK_CLOSING || size > LINK_HEAD_BYTES_MAX) {
        return;
    }
    if (link->file == NULL) {
        write_pong(link, data, size);
        return;
    }
    /* Only the last ping has to be answered (RFC 6455, 5.5.3). */
    mem_free(link->pong);
    link->pong = mem_copy(data != NULL ? data : "", size);
    link->pong_size = size;
}

/* What could not stand within the frame of a file. */
static void write_late(struct peal_link *link)
{
    if (link->pong != NULL) {
        write_pong(link, link->pong, link->pong_size);
        mem_free(link->pong);
        link->pong = NULL;
    }
    link_room_write_memberships(link);
    link_ask_write_kept(link);
}

/* --- Events --------------------------------------------------------------- */

void link_count_outbox(struct peal_link *link)
{
    atomic_store_explicit(&link->counters.outbox_count, link->outbox.count,
                          memory_order_relaxed);
    atomic_store_explicit(&link->counters.outbox_bytes, link->outbox.bytes,
                          memory_order_relaxed);
}

void link_tell_dropped(struct peal_link *link, const struct peal_event *event,
                       int error)
{
    const struct peal_link_options *options = link_options(link);

    link_add(&link->counters.dropped, 1);
    if (options->on_dropped != NULL && !link->is_freed) {
        options->on_dropped(link, event, error, options->user);
    }
}

void link_drop(struct peal_link *link, struct parcel *parcel, int error)
{
    link_count_outbox(link);
    if (parcel->request != NULL) {
        parcel->request->parcel = NULL;
        link_add(&link->counters.dropped, 1);
        link_request_fail(parcel->request, error);
    } else if (parcel->file != NULL) {
        link_add(&link->counters.dropped, 1);
        link_file_end(link, parcel->file, error);
    } else {
        struct peal_event event = outbox_parcel_event(parcel);

        link_tell_dropped(link, &event, error);
    }
    outbox_parcel_free(parcel);
}

static void begin_event(struct wire *wire, const struct peal_event *event,
                        const struct request *request)
{
    wire_begin(wire, WIRE_EVENT);
    wire->name = event->name;
    wire->room = event->room;
    wire->data = event->data;
    wire->data_kind = event->kind;
    if (request != NULL) {
        wire->id = slice_make(request->id, request->id_size);
        wire->wants_answer = true;
    }
}

static int write_event(struct peal_link *link, const struct peal_event *event,
                       struct request *request)
{
    struct wire wire;
    int rc;

    begin_event(&wire, event, request);
    rc = link_write(link, &wire);
    if (rc == PEAL_OK) {
        link_add(&link->counters.sent, 1);
        link->events_written += request == NULL;
        if (request != NULL) {
            request->is_written = true;
        }
    }
    return rc;
}

/* Whether one more may be written; what the socket takes is given to it. */
static bool has_room(struct peal_link *link)
{
    if (link->phase != LINK_OPEN || link->file != NULL) {
        return false;
    }
    if (stream_queued(&link->stream) >= link_options(link)->queue_bytes_max) {
        stream_flush(&link->stream);
    }
    return link->phase == LINK_OPEN &&
           stream_queued(&link->stream) < link_options(link)->queue_bytes_max;
}

/* Puts it into the outbox, at the cost of older ones if need be. */
static int enqueue(struct peal_link *link, const struct peal_event *event,
                   struct request *request, struct file_job *file)
{
    const struct peal_link_options *options = link_options(link);
    struct parcel *parcel = outbox_parcel_new(event);
    size_t bytes;

    if (parcel == NULL) {
        return PEAL_ENOMEM;
    }
    bytes = outbox_parcel_bytes(parcel);
    while (!outbox_fits(&link->outbox, bytes, options->outbox_count_max,
                        options->outbox_bytes_max)) {
        if (options->outbox_policy == PEAL_OUTBOX_REFUSE ||
            outbox_is_empty(&link->outbox) || link->is_freed) {
            outbox_parcel_free(parcel);
            return PEAL_EFULL;
        }
        link_drop(link, outbox_pop(&link->outbox), PEAL_EFULL);
        options = link_options(link);
    }
    parcel->request = request;
    parcel->file = file;
    if (request != NULL) {
        request->parcel = parcel;
    }
    outbox_push(&link->outbox, parcel);
    link_count_outbox(link);
    link_add(&link->counters.queued, 1);
    if (options->on_queued != NULL && !link->is_freed) {
        options->on_queued(link, event, link->outbox.count, options->user);
    }
    return PEAL_OK;
}

int link_submit(struct peal_link *link, const struct peal_event *event,
                struct request *request, struct file_job *file)
{
    struct wire_plan plan;
    struct wire wire;

    if (file == NULL && outbox_is_empty(&link->outbox) && has_room(link)) {
        return write_event(link, event, request);
    }

    /* What can never be said does not wait for its turn. */
    begin_event(&wire, event, request);
    if (!link->settings->dialect->plan(&plan, &wire, link_transport(link))) {
        return PEAL_ENOTSUP;
    }
    int rc = enqueue(link, event, request, file);

    if (rc == PEAL_OK && file != NULL && link->phase == LINK_OPEN &&
        !link->is_draining) {
        /* In a turn of its own, so that nothing is told before the return. */
        timer_start(&link->runner->loop->timers, &link->pump,
                    link_now_ms(link));
    }
    return rc;
}

/* --- The outbox ----------------------------------------------------------- */

/* Writes the oldest parcel, or begins with its file. */
static void send_parcel(struct peal_link *link, struct parcel *parcel)
{
    struct peal_event event = outbox_parcel_event(parcel);
    int rc;

    if (parcel->file != NULL) {
        struct file_job *job = parcel->file;

        outbox_parcel_free(parcel);
        link->drained += link_file_start(link, job);
        return;
    }
    rc = write_event(link, &event, parcel->request);
    if (rc < 0) {
        link_drop(link, parcel, rc);
        return;
    }
    if (parcel->request != NULL) {
        parcel->request->parcel = NULL;
    }
    outbox_parcel_free(parcel);
    link->drained++;
}

/* How many may go now, and when to look again. */
static uint32_t allowance(const struct peal_link *link, uint32_t *pause_ms)
{
    uint32_t rate = link_options(link)->outbox_rate;

    *pause_ms = 1;
    if (!link->is_draining || rate == PEAL_OFF) {
        return BURST;
    }
    if (rate < 1000 / PACE_MS) {
        *pause_ms = 1000 / rate;
        return 1;
    }
    *pause_ms = PACE_MS;
    return rate / (1000 / PACE_MS);
}

static void tell_drained(struct peal_link *link)
{
    const struct peal_link_options *options = link_options(link);
    size_t count = link->drained;

    link->is_draining = false;
    link->drained = 0;
    if (count > 0 && options->on_drained != NULL && !link->is_freed) {
        options->on_drained(link, count, options->user);
    }
}

void link_pump(struct peal_link *link)
{
    uint32_t generation = link->generation;
    uint32_t pause_ms;
    uint32_t left;

    if (link->phase != LINK_OPEN || timer_is_running(&link->pump)) {
        return;
    }
    if (link->file != NULL) {
        if (!link_file_pump(link) || link->generation != generation ||
            link->phase != LINK_OPEN) {
            return;
        }
        write_late(link);
    }
    left = allowance(link, &pause_ms);
    while (!outbox_is_empty(&link->outbox) && left > 0 && has_room(link)) {
        struct parcel *parcel = outbox_pop(&link->outbox);

        link_count_outbox(link);
        left--;
        send_parcel(link, parcel);
        if (link->generation != generation || link->phase != LINK_OPEN) {
            return;
        }
    }
    if (link->generation != generation || link->phase != LINK_OPEN) {
        return;
    }
    if (outbox_is_empty(&link->outbox)) {
        if (link->file == NULL) {
            tell_drained(link);
        }
    } else if (left == 0) {
        timer_start(&link->runner->loop->timers, &link->pump,
                    link_now_ms(link) + pause_ms);
    }
    if (link->generation == generation && link->file != NULL &&
        !timer_is_running(&link->pump)) {
        timer_start(&link->runner->loop->timers, &link->pump,
                    link_now_ms(link) + 1);
    }
}
