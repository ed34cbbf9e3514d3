/*
 * What a link could not send at once: parcels in the order in which they were
 * handed in, bounded by number and bytes.
 */
#ifndef CLIENT_OUTBOX_H
#define CLIENT_OUTBOX_H

#include "base/list.h"
#include "peal/peal.h"

struct request;
struct file_job;

/* One event, request or file, with copies of all it needs. */
struct parcel {
    struct list link;
    struct request *request; /* NULL: no answer is wanted */
    struct file_job *file;   /* NULL: it is an event */
    enum peal_data data_kind;
    uint32_t name_size;
    uint32_t room_size;
    size_t data_size;
    char bytes[]; /* name, room, data */
};

struct outbox {
    struct list parcels;
    uint32_t count;
    size_t bytes;
};

/* A copy of an event; NULL when there is no memory. */
struct parcel *outbox_parcel_new(const struct peal_event *event);

/* Frees it, but neither a request nor a file. */
void outbox_parcel_free(struct parcel *parcel);

/* The event in it. */
struct peal_event outbox_parcel_event(const struct parcel *parcel);

/* What it counts against a limit on bytes. */
size_t outbox_parcel_bytes(const struct parcel *parcel);

/* Allocates nothing. */
void outbox_init(struct outbox *outbox);

static inline bool outbox_is_empty(const struct outbox *outbox)
{
    return outbox->count == 0;
}

/* Whether one more of `bytes` fits. */
bool outbox_fits(const struct outbox *outbox, size_t bytes, uint32_t count_max,
                 size_t bytes_max);

/* At the end. */
void outbox_push(struct outbox *outbox, struct parcel *parcel);

/* Takes out the oldest, or NULL. */
struct parcel *outbox_pop(struct outbox *outbox);

/* Takes out one that is in it. */
void outbox_remove(struct outbox *outbox, struct parcel *parcel);

#endif
