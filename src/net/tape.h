/*
 * The tape: where a loop lays the frames of one turn one after another. A frame
 * is encoded here once, and every connection that is to get it queues a slice of
 * the tape; a slice that follows the connection's last one only makes that one
 * longer. So a member who gets sixteen messages in a turn costs one slice and
 * one send.
 *
 * Segments are bump-allocated and counted by reference, on one loop only: no
 * atomics. When nobody refers to the current segment any more, it starts over
 * at its beginning, so that an ordinary turn reuses warm memory.
 *
 * All [L]: loop only.
 */
#ifndef NET_TAPE_H
#define NET_TAPE_H

#include <stddef.h>
#include <stdint.h>

#define TAPE_SEGMENT_BYTES 65536

struct tape_segment {
    uint32_t references; /* the tape's own, and one per slice in a queue */
    uint32_t capacity;
    uint32_t used;
    /*
     * Bytes that queues still have to send from here, over all queues. A
     * segment pinned by little is copied out (stream.c).
     */
    uint64_t owed_bytes;
    char data[];
};

struct tape {
    struct tape_segment *current; /* NULL until needed */
    size_t segment_bytes;
};

struct tape_slice {
    struct tape_segment *segment;
    uint32_t offset;
    uint32_t size;
};

void tape_init(struct tape *tape, size_t segment_bytes);

/* Lets go of the current segment. */
void tape_fini(struct tape *tape);

/*
 * Room for `size` bytes in one piece, at the end of the tape; NULL when there is
 * no memory. A piece larger than a segment gets one of its own. The room is
 * kept only by tape_commit.
 */
char *tape_reserve(struct tape *tape, size_t size);

/* Keeps the first `size` bytes of the last reserve and returns their slice. */
struct tape_slice tape_commit(struct tape *tape, size_t size);

/* Starts over, when no slice is in use any more; see above. End of a turn. */
void tape_rewind(struct tape *tape);

/*
 * Lets go of memory that is not in use: for a loop that goes idle, so that what
 * a burst took is not kept for ever.
 */
void tape_trim(struct tape *tape);

void tape_segment_ref(struct tape_segment *segment);
void tape_segment_unref(struct tape_segment *segment);

#endif
