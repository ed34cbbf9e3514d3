/*
 * The output queue of a stream: `first`, `rest` and `queued_bytes` of struct
 * stream, and the accounts of the segments they refer to. Part of stream.c; no
 * other file has to do with it.
 */
#ifndef NET_STREAM_QUEUE_H
#define NET_STREAM_QUEUE_H

#include "net/stream.h"

#include <sys/uio.h>

/*
 * Slices beyond the first, of which there is at least one. A small block that
 * is gone when the queue is down to one slice: the allocator hands the same one
 * out again and again.
 */
struct stream_queue {
    uint32_t head;
    uint32_t count;
    uint32_t capacity;
    uint32_t settled; /* how many stream_queue_unpin has looked at */
    uint32_t revisit; /* with how many it looks at all of them again */
    struct tape_slice slices[];
};

/* Adds at the end, to the last slice if that goes. 0 or PEAL_ENOMEM. */
int stream_queue_push(struct stream *stream, struct tape_slice slice);

/* Drops `size` bytes that were sent, at the front. */
void stream_queue_consume(struct stream *stream, size_t size);

/* Drops all. */
void stream_queue_clear(struct stream *stream);

/* Copies all of the queue; the room must be there. Returns the bytes. */
size_t stream_queue_copy(const struct stream *stream, char *out);

/* Copies the first `size` bytes, which must be there. */
void stream_queue_peek(const struct stream *stream, char *out, size_t size);

/*
 * Points `parts` at the first slices, at most `max`. Returns how many; `size`
 * is what they hold.
 */
size_t stream_queue_gather(const struct stream *stream, struct iovec *parts,
                           size_t max, size_t *size);

/*
 * For a stream that is blocked: copies out what it owes from segments that are
 * pinned by little, so that a slow reader costs about what it owes. Without
 * memory for the copies they stay pinned. Each call looks at the slices added
 * since the last one, and at all whenever their number has grown by a quarter:
 * a segment that many owed may be owed by this stream alone now. So the cost is
 * linear in what is queued, however long the stream stays blocked.
 */
void stream_queue_unpin(struct stream *stream);

#endif
