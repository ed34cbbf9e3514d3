#include "server/backlog.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"
#include "proto/json.h"
#include "server/account.h"
#include "server/backlog_list.h"
#include "server/deflate.h"
#include "server/room_policy.h"

#include <string.h>

/* How much a stream is handed at a time; beyond it nothing can be dropped. */
#define IN_FLIGHT_BYTES 16384

/* A frame this long is not copied for each reader. */
#define SHARED_BYTES 8192

/* The fan-out, as far as slow readers need it. */
struct pressing {
    struct peal_room_policy policy;
    struct peal_slice key;                    /* of the event, in its data */
    struct tape_segment *parcels[FORM_COUNT]; /* NULL: not made yet */
};

/* --- One client's -------------------------------------------------------- */

static struct backlog *find(const struct conn *conn)
{
    return conn->extra != NULL ? conn->extra->backlog : NULL;
}

bool backlog_is_behind(const struct conn *conn)
{
    const struct backlog *backlog = find(conn);

    return backlog != NULL && !list_is_empty(&backlog->items);
}

size_t backlog_bytes(const struct conn *conn)
{
    const struct backlog *backlog = find(conn);

    return backlog != NULL ? backlog->bytes : 0;
}

size_t backlog_cost_bytes(const struct conn *conn)
{
    const struct backlog *backlog = find(conn);

    return backlog != NULL ? backlog->cost : 0;
}

size_t backlog_kept_bytes(const struct conn *conn)
{
    const struct backlog *backlog = find(conn);

    return backlog != NULL ? backlog->kept_bytes : 0;
}

void backlog_clear(struct conn *conn)
{
    struct backlog *backlog = find(conn);

    if (backlog == NULL) {
        return;
    }
    while (!list_is_empty(&backlog->items)) {
        backlog_list_remove(backlog, backlog_list_first(backlog));
    }
    map_fini(&backlog->latest);
    mem_free(backlog);
    conn->extra->backlog = NULL;
}

/* --- The fan-out --------------------------------------------------------- */

void backlog_rewind(struct worker *worker)
{
    struct pressing *pressing = worker->pressing;

    worker->fanout.is_pressing = false;
    if (pressing == NULL) {
        return;
    }
    for (size_t i = 0; i < FORM_COUNT; i++) {
        if (pressing->parcels[i] != NULL) {
            tape_segment_unref(pressing->parcels[i]);
            pressing->parcels[i] = NULL;
        }
    }
}

void backlog_close(struct worker *worker)
{
    backlog_rewind(worker);
    mem_free(worker->pressing);
    worker->pressing = NULL;
}

/* What the policy conflates an event by, as it stands in its data. */
static struct peal_slice find_key(const struct wire *wire,
                                  const struct peal_room_policy *policy)
{
    struct peal_slice name = peal_slice(policy->conflate_by);
    struct json_value value;

    if (policy->pressure != PEAL_PRESSURE_CONFLATE || name.size == 0 ||
        wire->data_kind != PEAL_JSON || wire->data.size == 0 ||
        json_scan(wire->data.data, wire->data.size, &name, 1, &value) < 0 ||
        value.type == JSON_TYPE_ABSENT) {
        return slice_make(NULL, 0);
    }
    return value.raw;
}

/* The fan-out's facts; NULL without memory. */
static struct pressing *press(const struct conn *conn)
{
    struct worker *worker = conn_worker(conn);
    struct pressing *pressing = worker->pressing;
    const struct wire *wire = &worker->fanout.wire;

    if (worker->fanout.is_pressing) {
        return pressing;
    }
    if (pressing == NULL) {
        pressing = mem_zalloc(sizeof *pressing);
        if (pressing == NULL) {
            return NULL;
        }
        worker->pressing = pressing;
    }
    backlog_rewind(worker);
    pressing->policy = room_policy_of(conn_seat(conn), wire->room);
    pressing->key = find_key(wire, &pressing->policy);
    worker->fanout.is_pressing = true;
    return pressing;
}

bool backlog_may_drop(const struct conn *conn)
{
    const struct pressing *pressing = press(conn);

    return pressing != NULL && pressing->policy.pressure != PEAL_PRESSURE_CLOSE;
}

/* 0 with the event's parcel for this client; PEAL_ENOTSUP; PEAL_ENOMEM. */
static int fanout_parcel(struct conn *conn, struct tape_segment **parcel)
{
    struct pressing *pressing = conn_worker(conn)->pressing;
    const struct wire *wire = &conn_worker(conn)->fanout.wire;
    struct backlog_label label = {wire->room, wire->name, pressing->key};
    struct tape_segment **place = &pressing->parcels[conn->form];

    if (*place == NULL && conn->form % FORMS_PER_DIALECT == FORM_WS_ALONE) {
        struct wire_plan plan;

        if (!conn_dialect(conn)->plan(&plan, wire, TRANSPORT_WS)) {
            return PEAL_ENOTSUP;
        }
        *place = backlog_parcel_encode(conn, &label, wire, &plan);
    } else if (*place == NULL) {
        struct tape_slice frame;
        int rc = output_fanout_frame(conn, &frame);

        if (rc < 0) {
            return rc;
        }
        *place = backlog_parcel_copy(&label, &frame);
    }
    *parcel = *place;
    return *parcel != NULL ? 0 : PEAL_ENOMEM;
}

/* The client cannot be kept without a gap that it does not know of. */
static void give_up(struct conn *conn, int rc)
{
    if (rc == PEAL_EFULL) {
        output_overflow(conn);
    } else {
        conn_cut(conn);
    }
}

bool backlog_deliver(struct conn *conn)
{
    bool is_behind = backlog_is_behind(conn);
    struct pressing *pressing = press(conn);
    struct tape_segment *parcel;
    struct backlog *backlog;
    int rc;

    if (pressing == NULL) {
        conn_cut(conn);
        return true;
    }
    if (!is_behind && pressing->policy.pressure == PEAL_PRESSURE_CLOSE) {
        return false;
    }
    rc = fanout_parcel(conn, &parcel);
    if (rc == PEAL_ENOTSUP) {
        seat_count(conn_seat(conn), COUNT_MESSAGES_UNSAYABLE);
        account_dropped(conn);
        return true;
    }
    backlog = rc == 0 ? backlog_list_of(conn) : NULL;
    rc = backlog != NULL
             ? backlog_list_take(backlog, parcel, pressing->policy.pressure)
             : PEAL_ENOMEM;
    if (rc < 0) {
        give_up(conn, rc);
    }
    return true;
}

int backlog_wire(struct conn *conn, const struct wire *wire,
                 const struct wire_plan *plan)
{
    struct backlog *backlog = find(conn);
    struct backlog_label label = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    struct tape_segment *parcel =
        backlog_parcel_encode(conn, &label, wire, plan);
    int rc = parcel != NULL
                 ? backlog_list_take(backlog, parcel, PEAL_PRESSURE_CLOSE)
                 : PEAL_ENOMEM;

    if (parcel != NULL) {
        tape_segment_unref(parcel);
    }
    if (rc < 0) {
        give_up(conn, rc);
    }
    return rc;
}

/* --- Handing on ---------------------------------------------------------- */

static int hand_on_gap(struct conn *conn, const struct backlog_item *gap)
{
    enum transport transport = conn_transport(conn);
    struct wire_plan plan;
    struct wire wire;
    size_t size;
    char *out;

    backlog_list_gap(&wire, gap);
    if (!conn_dialect(conn)->plan(&plan, &wire, transport)) {
        UNREACHABLE(); /* there are none where they cannot be told */
    }
    size = output_frame_size(&plan, transport);
    out = output_reserve(conn, size);
    if (out == NULL) {
        return PEAL_ENOMEM;
    }
    output_frame_write(out, conn_dialect(conn), &plan, &wire, transport);
    seat_count(conn_seat(conn), COUNT_GAPS_DROP_OLDEST +
                                    (gap->reason - PEAL_PRESSURE_DROP_OLDEST));
    return output_commit(conn, size);
}

static int hand_on_message(struct conn *conn, struct tape_segment *segment)
{
    const struct backlog_parcel *parcel = backlog_parcel_of(segment);
    size_t size = backlog_parcel_bytes(segment);
    const char *frame = segment->data + parcel->frame_at;
    char *out;

    if (parcel->payload_at != 0) {
        struct peal_slice payload =
            slice_make(segment->data + parcel->payload_at,
                       segment->capacity - parcel->payload_at);
        struct peal_slice packed;

        if (deflate_pack_payload(conn, payload, &packed)) {
            return output_packed(conn, packed, parcel->is_binary);
        }
    }
    if (size >= SHARED_BYTES) {
        return output_slice(conn, (struct tape_slice){segment, parcel->frame_at,
                                                      (uint32_t)size});
    }
    out = output_reserve(conn, size);
    if (out == NULL) {
        return PEAL_ENOMEM;
    }
    memcpy(out, frame, size);
    return output_commit(conn, size);
}

/* Hands on the first; false when the connection was cut over it. */
static bool hand_on(struct conn *conn, struct backlog *backlog)
{
    struct backlog_item *item = backlog_list_first(backlog);
    int rc;

    if (item->parcel == NULL) {
        rc = hand_on_gap(conn, item);
    } else {
        if (backlog_parcel_of(item->parcel)->is_message) {
            seat_count(conn_seat(conn), COUNT_MESSAGES_OUT);
            account_message_out(conn);
        }
        rc = hand_on_message(conn, item->parcel);
    }
    if (conn->state == CONN_CLOSED) {
        return false; /* and the backlog is gone */
    }
    if (rc < 0) {
        conn_cut(conn);
        return false;
    }
    backlog_list_remove(backlog, item);
    return true;
}

void backlog_pump(struct conn *conn)
{
    struct backlog *backlog = find(conn);

    if (backlog == NULL) {
        return;
    }
    while (!list_is_empty(&backlog->items)) {
        while (!list_is_empty(&backlog->items) &&
               stream_queued(&conn->stream) < IN_FLIGHT_BYTES) {
            if (!hand_on(conn, backlog)) {
                return;
            }
        }
        stream_flush(&conn->stream);
        if (conn->state == CONN_CLOSED ||
            (conn->stream.flags & STREAM_BLOCKED) != 0) {
            return;
        }
    }
    backlog_clear(conn);
}

void backlog_finish(struct conn *conn)
{
    struct backlog *backlog = find(conn);

    if (backlog == NULL) {
        return;
    }
    while (!list_is_empty(&backlog->items)) {
        if (!hand_on(conn, backlog)) {
            return;
        }
    }
    backlog_clear(conn);
}
