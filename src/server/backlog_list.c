#include "server/backlog_list.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"
#include "server/account.h"
#include "server/news.h"

#include <string.h>

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

static struct peal_slice item_key(const void *value)
{
    const struct backlog_item *item = value;

    return backlog_parcel_key(item->parcel);
}

static struct peal_slice room_of(const struct backlog_item *item)
{
    return item->parcel != NULL ? backlog_parcel_room(item->parcel)
                                : slice_make(item->room, item->room_size);
}

struct backlog *backlog_list_of(struct conn *conn)
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

static struct backlog_item *item_at(struct list *link)
{
    return CONTAINER_OF(link, struct backlog_item, link);
}

/* Adds to the accounts, or, for -1, takes away. */
static void count(struct backlog *backlog, const struct backlog_item *item,
                  int sign)
{
    size_t bytes =
        item->parcel != NULL ? backlog_parcel_bytes(item->parcel) : 0;
    size_t cost = sizeof *item + item->room_size;

    bytes = sign < 0 ? 0 - bytes : bytes;
    backlog->bytes += bytes;
    if (item->reason == PEAL_PRESSURE_CLOSE) {
        backlog->kept_bytes += bytes;
    }
    backlog->cost += sign < 0 ? 0 - cost : cost;
    seat_add(conn_seat(backlog->conn), GAUGE_BACKLOG_BYTES, bytes);
}

void backlog_list_remove(struct backlog *backlog, struct backlog_item *item)
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

/* --- Gaps ---------------------------------------------------------------- */

void backlog_list_gap(struct wire *wire, const struct backlog_item *gap)
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
           CONTAINER_OF(link, const struct backlog_item, link)->parcel == NULL;
}

static bool is_same_gap(const struct backlog_item *gap, struct peal_slice room,
                        enum peal_pressure reason)
{
    return gap->reason == reason && slice_equal(room_of(gap), room);
}

/* The gap of this kind among those in a row before `end`, or NULL. */
static struct backlog_item *find_gap(struct backlog *backlog, struct list *end,
                                     struct peal_slice room,
                                     enum peal_pressure reason)
{
    struct list *link = end->previous;

    ASSERT(link != NULL);
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
        struct backlog_item *gap = item_at(link);
        struct backlog_item *same =
            find_gap(backlog, end, room_of(gap), gap->reason);

        link = link->next;
        if (same != NULL) {
            same->count += gap->count;
            if (&gap->link == end) {
                end = link;
            }
            backlog_list_remove(backlog, gap);
        }
    }
}

/* Notes that one message of the room is missing before `at`. */
static int add_gap(struct backlog *backlog, struct list *at,
                   struct peal_slice room, enum peal_pressure reason)
{
    struct backlog_item *gap = find_gap(backlog, at, room, reason);

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
static int drop(struct backlog *backlog, struct backlog_item *item,
                enum peal_pressure reason)
{
    struct list *next = item->link.next;
    int rc = lose(backlog, &item->link, room_of(item), reason);

    backlog_list_remove(backlog, item);
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
               backlog->cost + size + sizeof(struct backlog_item) <=
           queue_bytes_max_of(backlog);
}

/* Whether there is room when all is dropped that may be. */
static bool could_fit(const struct backlog *backlog, size_t size)
{
    return stream_queued(&backlog->conn->stream) + backlog->kept_bytes + size +
               sizeof(struct backlog_item) <=
           queue_bytes_max_of(backlog);
}

/* The next one that makes room for a message of this policy, or NULL. */
static struct backlog_item *victim_for(struct backlog *backlog,
                                       enum peal_pressure policy)
{
    if (policy == PEAL_PRESSURE_DROP_NEWEST) {
        return NULL;
    }
    if (!list_is_empty(&backlog->oldest)) {
        return CONTAINER_OF(backlog->oldest.next, struct backlog_item, rank);
    }
    if (policy == PEAL_PRESSURE_CLOSE && !list_is_empty(&backlog->newest)) {
        return CONTAINER_OF(backlog->newest.previous, struct backlog_item,
                            rank);
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
        struct backlog_item *victim = victim_for(backlog, policy);
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
    struct backlog_item *item = mem_zalloc(sizeof *item);

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

int backlog_list_take(struct backlog *backlog, struct tape_segment *parcel,
                      enum peal_pressure policy)
{
    struct backlog_item fresh = {.parcel = parcel};
    int rc = 0;

    if (policy == PEAL_PRESSURE_CONFLATE) {
        struct backlog_item *old = map_get(&backlog->latest, item_key(&fresh));

        if (old != NULL) {
            rc = drop(backlog, old, PEAL_PRESSURE_CONFLATE);
        }
    }
    if (rc == 0) {
        rc = make_room(backlog, backlog_parcel_bytes(parcel), policy);
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
