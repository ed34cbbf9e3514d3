/*
 * The backlog of one client as a list: what waits, in the order in which it
 * will be sent, and the gaps where messages had to make room or were replaced.
 * For backlog.c alone. All [L].
 */
#ifndef SERVER_BACKLOG_LIST_H
#define SERVER_BACKLOG_LIST_H

#include "base/assert.h"
#include "base/list.h"
#include "base/map.h"
#include "server/backlog_parcel.h"
#include "server/conn_extra.h"

/* A place in it: a message, or the gap that some have left. */
struct backlog_item {
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

/* Of one that is not empty. */
static inline struct backlog_item *
backlog_list_first(const struct backlog *backlog)
{
    return CONTAINER_OF(backlog->items.next, struct backlog_item, link);
}

/* The connection's, made when it has none. NULL: no memory. */
struct backlog *backlog_list_of(struct conn *conn);

/*
 * Takes a message in, in whose place a gap may come to be. 0, also when it was
 * dropped; PEAL_EFULL: it may not be, and there is no room; PEAL_ENOMEM.
 */
int backlog_list_take(struct backlog *backlog, struct tape_segment *parcel,
                      enum peal_pressure policy);

/* Takes an item out and frees it. */
void backlog_list_remove(struct backlog *backlog, struct backlog_item *item);

/* How a client is told of a gap. */
void backlog_list_gap(struct wire *wire, const struct backlog_item *gap);

#endif
