/*
 * The tape: where a loop lays the frames of one turn one after another. A frame
 * is encoded here once, and every connection that is to get it queues a slice
 * of the tape; a slice that follows the connection's last one only makes that
 * one longer. So a member who gets sixteen messages in a turn costs one slice
 * and one send.
 *
 * Segments are bump-allocated and counted by reference, on one loop only: no
 * atomics. When nobody refers to the current segment any more, it starts over
 * at its beginning, so that an ordinary turn reuses warm memory.
 *
 * A slice is good until the next tape_rewind, whether it is queued or not:
 * segments that are full stay until then. Queues keep what they hold beyond it.
 *
 * All [L]: loop only.
 */
#ifndef NET_TAPE_H
#define NET_TAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAPE_SEGMENT_BYTES 65536

struct tape_segment {
    uint32_t references; /* the tape's own, and one per slice in a queue */
    uint32_t capacity;
    uint32_t used;
    bool is_private; /* one stream's copy of what it owes, on no tape */
    /*
     * Bytes that queues still have to send from here, over all queues. A
     * segment pinned by little is copied out (stream_queue.c).
     */
    uint64_t owed_bytes;
    struct tape_segment *next; /* in one of the tape's two lists */
    char data[];
};

struct tape {
    struct tape_segment *current; /* NULL until needed */
    struct tape_segment *full;    /* of this turn */
    struct tape_segment *spares;  /* empty, for the next burst */
    size_t spare_count;
    size_t segment_bytes;
};

struct tape_slice {
    struct tape_segment *segment;
    uint32_t offset;
    uint32_t size;
};

void tape_init(struct tape *tape, size_t segment_bytes);

/* Lets go of all segments; queues may still hold slices of them. */
void tape_fini(struct tape *tape);

/*
 * Room for `size` bytes in one piece, at the end of the tape; NULL when there
 * is no memory. A piece larger than a segment gets one of its own. The room is
 * kept only by tape_commit.
 */
char *tape_reserve(struct tape *tape, size_t size);

/* Keeps the first `size` bytes of the last reserve and returns their slice. */
struct tape_slice tape_commit(struct tape *tape, size_t size);

/*
 * Starts over where no queue holds a slice any more; slices that are not queued
 * end here. At the end of a turn, or after a loop_flush in a long one. O(1) but
 * for segments that have filled up since the last time.
 */
void tape_rewind(struct tape *tape);

/*
 * Rewinds and lets go of memory that is not in use: for a loop that goes idle,
 * so that what a burst took is not kept for ever.
 */
void tape_trim(struct tape *tape);

static inline char *tape_slice_data(const struct tape_slice *slice)
{
    return slice->segment->data + slice->offset;
}

/* Makes a queued slice longer by `next`; false: that does not lie behind it. */
static inline bool tape_slice_join(struct tape_slice *last,
                                   struct tape_slice next)
{
    if (last->segment != next.segment ||
        last->offset + last->size != next.offset) {
        return false;
    }
    last->size += next.size;
    next.segment->owed_bytes += next.size;
    return true;
}

/* A segment on no tape, with one reference, the caller's; or NULL. */
struct tape_segment *tape_segment_new(size_t capacity);

/* For tape_segment_unref. */
void tape_segment_free(struct tape_segment *segment);

static inline void tape_segment_ref(struct tape_segment *segment)
{
    segment->references++;
}

static inline void tape_segment_unref(struct tape_segment *segment)
{
    if (--segment->references == 0) {
        tape_segment_free(segment);
    }
}

#endif
