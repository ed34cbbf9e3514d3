#include "server/backlog.h"

#include "base/assert.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/slice.h"
#include "proto/json.h"
#include "server/account.h"
#include "server/deflate.h"
#include "server/news.h"
#include "server/room_policy.h"

#include <string.h>

/* How much a stream is handed at a time; beyond it nothing can be dropped. */
#define IN_FLIGHT_BYTES 16384

/* A frame this long is not copied for each reader. */
#define SHARED_BYTES 8192

/* --- What waits ---------------------------------------------------------- */

/*
 * A message, at the beginning of a segment of its own, shared by all who wait
 * for it. Its key, by which a newer one is found to replace it, reaches from
 * `room_size` to the end of the texts.
 */
struct parcel {
    uint32_t frame_at;   /* the frame reaches from here to the end */
    uint32_t payload_at; /* not 0: the payload from here is to be compressed */
    uint32_t key_size;
    bool is_binary;
    bool is_message; /* counted in messages_out when it is handed on */
    uint32_t room_size;
    uint32_t name_size;
    char texts[]; /* room, name, and what the policy conflates by */
};

/* A place in a client's backlog: a message, or the gap that some have left. */
struct item {
    struct list link;            /* in backlog->items */
    struct list rank;            /* in backlog->oldest or newest, or in none */
    struct tape_segment *parcel; /* NULL: a gap */
    uint64_t count;              /* of messages that are missing */
    enum peal_pressure reason;   /* of the gap, or the policy of the message */
    bool is_latest;              /* in backlog->latest */
    uint32_t room_size;          /* of a gap */
    char room[];
};

struct backlog {
    struct conn *conn;
    struct list items;  /* as they will be sent */
    struct list oldest; /* that make room for newer ones, oldest first */
    struct list newest; /* that only make room for what cannot wait */
    struct map latest;  /* to be replaced, by key */
    size_t bytes;       /* of frames */
    size_t kept_bytes;  /* of these, of those that may not be dropped */
    size_t cost;        /* of items, beside their frames */
};

/* The fan-out, as far as slow readers need it. */
struct pressing {
    struct peal_room_policy policy;
    struct peal_slice key;                    /* of the event, in its data */
    struct tape_segment *parcels[FORM_COUNT]; /* NULL: not made yet */
};

static const char *const reasons[] = {
    [PEAL_PRESSURE_DROP_OLDEST] = "drop_oldest",
    [PEAL_PRESSURE_DROP_NEWEST] = "drop_newest",
    [PEAL_PRESSURE_CONFLATE] = "conflate",
};

static const enum counter counters[] = {
    [PEAL_PRESSURE_DROP_OLDEST] = COUNT_DROPPED_OLDEST,
    [PEAL_PRESSURE_DROP_NEWEST] = COUNT_DROPPED_NEWEST,
    [PEAL_PRESSURE_CONFLATE] = COUNT_CONFLATED,
};

static struct parcel *parcel_of(const struct item *item)
{
    return (struct parcel *)(void *)item->parcel->data;
}

static size_t frame_bytes(const struct tape_segment *segment)
{
    const struct parcel *parcel = (const void *)segment->data;

    return segment->capacity - parcel->frame_at;
}

static struct peal_slice item_key(const void *value)
{
    const struct parcel *parcel = parcel_of(value);

    return slice_make((const char *)&parcel->room_size, parcel->key_size);
}

static struct peal_slice room_of(const struct item *item)
{
    return item->parcel != NULL
               ? slice_make(parcel_of(item)->texts, parcel_of(item)->room_size)
               : slice_make(item->room, item->room_size);
}

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

/* NULL: no memory. */
static struct backlog *make(struct conn *conn)
{
    struct conn_extra *extra = conn_extra_of(conn);
    struct backlog *backlog;

    if (extra == NULL || extra->backlog != NULL) {
        return extra != NULL ? extra->backlog : NULL;
    }
    backlog = mem_zalloc(sizeof *backlog);
    if (backlog != NULL) {
        backlog->conn = conn;
        list_init(&backlog->items);
        list_init(&backlog->oldest);
        list_init(&backlog->newest);
        map_init(&backlog->latest, item_key);
        extra->backlog = backlog;
    }
    return backlog;
}

static struct item *item_at(struct list *link)
{
    return CONTAINER_OF(link, struct item, link);
}

/* Adds to the accounts, or, for -1, takes away. */
static void count(struct backlog *backlog, const struct item *item, int sign)
{
    size_t bytes = item->parcel != NULL ? frame_bytes(item->parcel) : 0;
    size_t cost = sizeof *item + item->room_size;

    bytes = sign < 0 ? 0 - bytes : bytes;
    backlog->bytes += bytes;
    if (item->reason == PEAL_PRESSURE_CLOSE) {
        backlog->kept_bytes += bytes;
    }
    backlog->cost += sign < 0 ? 0 - cost : cost;
    seat_add(conn_seat(backlog->conn), GAUGE_BACKLOG_BYTES, bytes);
}

static void item_free(struct backlog *backlog, struct item *item)
{
    count(backlog, item, -1);
    if (item->is_latest) {
        map_remove(&backlog->latest, item_key(item));
    }
    list_remove(&item->link);
    list_remove(&item->rank);
    if (item->parcel != NULL) {
        tape_segment_unref(item->parcel);
    }
    mem_free(item);
}

void backlog_clear(struct conn *conn)
{
    struct backlog *backlog = find(conn);

    if (backlog == NULL) {
        return;
    }
    while (!list_is_empty(&backlog->items)) {
        item_free(backlog, item_at(backlog->items.next));
    }
    map_fini(&backlog->latest);
    mem_free(backlog);
    conn->extra->backlog = NULL;
}

/* --- Gaps ---------------------------------------------------------------- */

static void gap_wire(struct wire *wire, const struct item *gap)
{
    wire_begin(wire, WIRE_GAP);
    wire->room = room_of(gap);
    wire->gap.count = gap->count;
    wire->gap.reason = peal_slice(reasons[gap->reason]);
}

/* Whether the client's dialect has a way to tell of gaps. */
static bool tells_gaps(const struct conn *conn)
{
    struct wire wire;
    struct wire_plan plan;

    wire_begin(&wire, WIRE_GAP);
    wire.gap.count = 1;
    wire.gap.reason = peal_slice(reasons[PEAL_PRESSURE_CONFLATE]);
    return conn_dialect(conn)->plan(&plan, &wire, conn_transport(conn));
}

static bool is_gap(const struct backlog *backlog, const struct list *link)
{
    return link != &backlog->items &&
           CONTAINER_OF(link, const struct item, link)->parcel == NULL;
}

static bool is_same_gap(const struct item *gap, struct peal_slice room,
                        enum peal_pressure reason)
{
    return gap->reason == reason && slice_equal(room_of(gap), room);
}

/* The gap of this kind among those in a row before `end`, or NULL. */
static struct item *find_gap(struct backlog *backlog, struct list *end,
                             struct peal_slice room, enum peal_pressure reason)
{
    struct list *link = end->previous;

    while (is_gap(backlog, link)) {
        if (is_same_gap(item_at(link), room, reason)) {
            return item_at(link);
        }
        link = link->previous;
    }
    return NULL;
}

/*
 * What was between `end` and the gaps before it is gone: those from `end` on
 * are now in one row with them, and each kind of gap is told once in a row. So
 * there are never more gaps than what waits and the rooms allow.
 */
static void join_gaps(struct backlog *backlog, struct list *end)
{
    struct list *link = end;

    if (!is_gap(backlog, end->previous)) {
        return;
    }
    while (is_gap(backlog, link)) {
        struct item *gap = item_at(link);
        struct item *same = find_gap(backlog, end, room_of(gap), gap->reason);

        link = link->next;
        if (same != NULL) {
            same->count += gap->count;
            if (&gap->link == end) {
                end = link;
            }
            item_free(backlog, gap);
        }
    }
}

/* Notes that one message of the room is missing before `at`. */
static int add_gap(struct backlog *backlog, struct list *at,
                   struct peal_slice room, enum peal_pressure reason)
{
    struct item *gap = find_gap(backlog, at, room, reason);

    if (gap == NULL) {
        gap = mem_zalloc(sizeof *gap + room.size);
        if (gap == NULL) {
            return PEAL_ENOMEM;
        }
        gap->reason = reason;
        gap->room_size = (uint32_t)room.size;
        if (room.size > 0) {
            memcpy(gap->room, room.data, room.size);
        }
        list_init(&gap->rank);
        list_append(at, &gap->link);
        count(backlog, gap, 1);
    }
    gap->count++;
    return 0;
}

/* One message of the room will not be sent; it would have been before `at`. */
static int lose(struct backlog *backlog, struct list *at,
                struct peal_slice room, enum peal_pressure reason)
{
    seat_count(conn_seat(backlog->conn), counters[reason]);
    account_dropped(backlog->conn);
    news_dropped(backlog->conn, room, reason);
    return tells_gaps(backlog->conn) ? add_gap(backlog, at, room, reason) : 0;
}

/* The same for one that waits. */
static int drop(struct backlog *backlog, struct item *item,
                enum peal_pressure reason)
{
    struct list *next = item->link.next;
    int rc = lose(backlog, &item->link, room_of(item), reason);

    item_free(backlog, item);
    join_gaps(backlog, next);
    return rc;
}

/* --- Taking in ----------------------------------------------------------- */

static size_t queue_bytes_max_of(const struct backlog *backlog)
{
    return conn_seat(backlog->conn)->config->options.queue_bytes_max;
}

static bool has_room(const struct backlog *backlog, size_t size)
{
    return stream_queued(&backlog->conn->stream) + backlog->bytes +
               backlog->cost + size + sizeof(struct item) <=
           queue_bytes_max_of(backlog);
}

/* Whether there is room when all is dropped that may be. */
static bool could_fit(const struct backlog *backlog, size_t size)
{
    return stream_queued(&backlog->conn->stream) + backlog->kept_bytes + size +
               sizeof(struct item) <=
           queue_bytes_max_of(backlog);
}

/* The next one that makes room for a message of this policy, or NULL. */
static struct item *victim_for(struct backlog *backlog,
                               enum peal_pressure policy)
{
    if (policy == PEAL_PRESSURE_DROP_NEWEST) {
        return NULL;
    }
    if (!list_is_empty(&backlog->oldest)) {
        return CONTAINER_OF(backlog->oldest.next, struct item, rank);
    }
    if (policy == PEAL_PRESSURE_CLOSE && !list_is_empty(&backlog->newest)) {
        return CONTAINER_OF(backlog->newest.previous, struct item, rank);
    }
    return NULL;
}

/* 0; PEAL_EFULL when there is no room, whatever is dropped; PEAL_ENOMEM. */
static int make_room(struct backlog *backlog, size_t size,
                     enum peal_pressure policy)
{
    if (policy != PEAL_PRESSURE_CLOSE && !could_fit(backlog, size)) {
        return PEAL_EFULL;
    }
    while (!has_room(backlog, size)) {
        struct item *victim = victim_for(backlog, policy);
        int rc;

        if (victim == NULL) {
            return PEAL_EFULL;
        }
        rc = drop(backlog, victim,
                  victim->reason == PEAL_PRESSURE_DROP_NEWEST
                      ? PEAL_PRESSURE_DROP_NEWEST
                      : PEAL_PRESSURE_DROP_OLDEST);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int append(struct backlog *backlog, struct tape_segment *parcel,
                  enum peal_pressure policy)
{
    struct item *item = mem_zalloc(sizeof *item);

    ASSERT((backlog->conn->stream.flags & STREAM_BLOCKED) != 0);
    if (item == NULL) {
        return PEAL_ENOMEM;
    }
    item->parcel = parcel;
    tape_segment_ref(parcel);
    item->reason = policy;
    list_append(&backlog->items, &item->link);
    list_init(&item->rank);
    if (policy == PEAL_PRESSURE_DROP_NEWEST) {
        list_append(&backlog->newest, &item->rank);
    } else if (policy != PEAL_PRESSURE_CLOSE) {
        list_append(&backlog->oldest, &item->rank);
    }
    /* Without memory it is one that cannot be replaced, only dropped. */
    item->is_latest = policy == PEAL_PRESSURE_CONFLATE &&
                      map_add(&backlog->latest, item) == 0;
    count(backlog, item, 1);
    news_level(backlog->conn);
    return 0;
}

/* 0, also when it was dropped; PEAL_EFULL: it may not be; PEAL_ENOMEM. */
static int take(struct backlog *backlog, struct tape_segment *parcel,
                enum peal_pressure policy)
{
    struct item fresh = {.parcel = parcel};
    int rc = 0;

    if (policy == PEAL_PRESSURE_CONFLATE) {
        struct item *old = map_get(&backlog->latest, item_key(&fresh));

        if (old != NULL) {
            rc = drop(backlog, old, PEAL_PRESSURE_CONFLATE);
        }
    }
    if (rc == 0) {
        rc = make_room(backlog, frame_bytes(parcel), policy);
    }
    if (rc == 0) {
        return append(backlog, parcel, policy);
    }
    if (rc == PEAL_EFULL && policy != PEAL_PRESSURE_CLOSE) {
        return lose(backlog, &backlog->items, room_of(&fresh),
                    policy == PEAL_PRESSURE_DROP_NEWEST
                        ? PEAL_PRESSURE_DROP_NEWEST
                        : PEAL_PRESSURE_DROP_OLDEST);
    }
    return rc;
}

/* --- Making parcels ------------------------------------------------------ */

/* What of a message stands before its frame. */
struct label {
    struct peal_slice room;
    struct peal_slice name;
    struct peal_slice key;
};

/* A segment with everything but the frame, for which there is room. */
static struct tape_segment *parcel_new(const struct label *label,
                                       size_t frame_size)
{
    size_t texts = label->room.size + label->name.size + label->key.size;
    size_t head = sizeof(struct parcel) + texts;
    struct tape_segment *segment = tape_segment_new(head + frame_size);
    struct parcel *parcel;
    char *at;

    if (segment == NULL) {
        return NULL;
    }
    segment->used = segment->capacity;
    parcel = (struct parcel *)(void *)segment->data;
    *parcel = (struct parcel){
        .frame_at = (uint32_t)head,
        .is_message = true,
        .key_size = (uint32_t)(2 * sizeof(uint32_t) + texts),
        .room_size = (uint32_t)label->room.size,
        .name_size = (uint32_t)label->name.size,
    };
    at = parcel->texts;
    for (size_t i = 0; i < 3; i++) {
        const struct peal_slice *text = i == 0   ? &label->room
                                        : i == 1 ? &label->name
                                                 : &label->key;

        if (text->size > 0) {
            memcpy(at, text->data, text->size);
        }
        at += text->size;
    }
    return segment;
}

/* The message as this client's form has it, compressed later if need be. */
static struct tape_segment *parcel_encode(const struct conn *conn,
                                          const struct label *label,
                                          const struct wire *wire,
                                          const struct wire_plan *plan)
{
    enum transport transport = conn_transport(conn);
    struct tape_segment *segment =
        parcel_new(label, output_frame_size(plan, transport));
    struct parcel *parcel;

    if (segment == NULL) {
        return NULL;
    }
    parcel = (struct parcel *)(void *)segment->data;
    output_frame_write(segment->data + parcel->frame_at, conn_dialect(conn),
                       plan, wire, transport);
    parcel->is_message = output_is_message(wire->kind);
    if (conn->is_deflated) {
        parcel->payload_at = segment->capacity - (uint32_t)plan->size;
        parcel->is_binary = plan->is_binary;
    }
    return segment;
}

static struct tape_segment *parcel_copy(const struct label *label,
                                        const struct tape_slice *frame)
{
    struct tape_segment *segment = parcel_new(label, frame->size);

    if (segment != NULL) {
        const struct parcel *parcel = (const void *)segment->data;

        memcpy(segment->data + parcel->frame_at, tape_slice_data(frame),
               frame->size);
    }
    return segment;
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
    struct label label = {wire->room, wire->name, pressing->key};
    struct tape_segment **place = &pressing->parcels[conn->form];

    if (*place == NULL && conn->form % FORMS_PER_DIALECT == FORM_WS_ALONE) {
        struct wire_plan plan;

        if (!conn_dialect(conn)->plan(&plan, wire, TRANSPORT_WS)) {
            return PEAL_ENOTSUP;
        }
        *place = parcel_encode(conn, &label, wire, &plan);
    } else if (*place == NULL) {
        struct tape_slice frame;
        int rc = output_fanout_frame(conn, &frame);

        if (rc < 0) {
            return rc;
        }
        *place = parcel_copy(&label, &frame);
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
    backlog = rc == 0 ? make(conn) : NULL;
    rc = backlog != NULL ? take(backlog, parcel, pressing->policy.pressure)
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
    struct label label = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    struct tape_segment *parcel = parcel_encode(conn, &label, wire, plan);
    int rc = parcel != NULL ? take(backlog, parcel, PEAL_PRESSURE_CLOSE)
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

static int hand_on_gap(struct conn *conn, const struct item *gap)
{
    enum transport transport = conn_transport(conn);
    struct wire_plan plan;
    struct wire wire;
    size_t size;
    char *out;

    gap_wire(&wire, gap);
    if (!conn_dialect(conn)->plan(&plan, &wire, transport)) {
        UNREACHABLE(); /* there are none where they cannot be told */
    }
    size = output_frame_size(&plan, transport);
    out = output_reserve(conn, size);
    if (out == NULL) {
        return PEAL_ENOMEM;
    }
    output_frame_write(out, conn_dialect(conn), &plan, &wire, transport);
    return output_commit(conn, size);
}

static int hand_on_message(struct conn *conn, struct tape_segment *segment)
{
    const struct parcel *parcel = (const void *)segment->data;
    size_t size = frame_bytes(segment);
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
    struct item *item = item_at(backlog->items.next);
    int rc;

    if (item->parcel == NULL) {
        rc = hand_on_gap(conn, item);
    } else {
        if (parcel_of(item)->is_message) {
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
    item_free(backlog, item);
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
