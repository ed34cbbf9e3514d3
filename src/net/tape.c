#include "net/tape.h"

#include "base/assert.h"
#include "base/mem.h"

/* A burst this long is repeated without going to the allocator. */
#define TAPE_SPARES_MAX 4

void tape_init(struct tape *tape, size_t segment_bytes)
{
    ASSERT(segment_bytes > 0 && segment_bytes <= UINT32_MAX / 2);
    *tape = (struct tape){.segment_bytes = segment_bytes};
}

struct tape_segment *tape_segment_new(size_t capacity)
{
    struct tape_segment *segment;

    if (capacity > UINT32_MAX / 2) {
        return NULL;
    }
    segment = mem_alloc_in(MEM_OUTPUT, sizeof(*segment) + capacity);
    if (segment == NULL) {
        return NULL;
    }
    segment->references = 1;
    segment->capacity = (uint32_t)capacity;
    segment->used = 0;
    segment->is_private = false;
    segment->owed_bytes = 0;
    segment->next = NULL;
    return segment;
}

void tape_segment_free(struct tape_segment *segment)
{
    ASSERT(segment->owed_bytes == 0);
    mem_free_in(MEM_OUTPUT, segment);
}

/* Ends the tape's hold on a segment, which it keeps as a spare if it can. */
static void tape_release(struct tape *tape, struct tape_segment *segment)
{
    if (segment->references == 1 && tape->spare_count < TAPE_SPARES_MAX &&
        segment->capacity == tape->segment_bytes) {
        segment->used = 0;
        segment->next = tape->spares;
        tape->spares = segment;
        tape->spare_count++;
        return;
    }
    segment->next = NULL;
    tape_segment_unref(segment);
}

static void tape_release_full(struct tape *tape)
{
    while (tape->full != NULL) {
        struct tape_segment *segment = tape->full;

        tape->full = segment->next;
        tape_release(tape, segment);
    }
}

static void tape_free_spares(struct tape *tape)
{
    while (tape->spares != NULL) {
        struct tape_segment *segment = tape->spares;

        tape->spares = segment->next;
        tape_segment_unref(segment);
    }
    tape->spare_count = 0;
}

void tape_fini(struct tape *tape)
{
    tape_release_full(tape);
    tape_free_spares(tape);
    if (tape->current != NULL) {
        tape_segment_unref(tape->current);
        tape->current = NULL;
    }
}

static struct tape_segment *tape_next_segment(struct tape *tape, size_t size)
{
    struct tape_segment *segment = tape->spares;

    if (segment != NULL && size <= segment->capacity) {
        tape->spares = segment->next;
        tape->spare_count--;
        segment->next = NULL;
        return segment;
    }
    return tape_segment_new(size > tape->segment_bytes ? size
                                                       : tape->segment_bytes);
}

char *tape_reserve(struct tape *tape, size_t size)
{
    struct tape_segment *segment = tape->current;

    if (segment == NULL || size > segment->capacity - segment->used) {
        segment = tape_next_segment(tape, size);
        if (segment == NULL) {
            return NULL;
        }
        if (tape->current != NULL) {
            tape->current->next = tape->full;
            tape->full = tape->current;
        }
        tape->current = segment;
    }
    return segment->data + segment->used;
}

struct tape_slice tape_commit(struct tape *tape, size_t size)
{
    struct tape_segment *segment = tape->current;

    ASSERT(size <= segment->capacity - segment->used);

    struct tape_slice slice = {segment, segment->used, (uint32_t)size};

    segment->used += (uint32_t)size;
    return slice;
}

void tape_rewind(struct tape *tape)
{
    struct tape_segment *segment = tape->current;

    if (tape->full != NULL) {
        tape_release_full(tape);
    }
    if (segment == NULL || segment->used == 0) {
        return;
    }
    if (segment->capacity != tape->segment_bytes) {
        /* Made for one large piece. */
        tape->current = NULL;
        tape_segment_unref(segment);
    } else if (segment->references == 1) {
        segment->used = 0;
    }
}

void tape_trim(struct tape *tape)
{
    tape_rewind(tape);
    tape_free_spares(tape);
    if (tape->current != NULL && tape->current->references == 1) {
        tape_segment_unref(tape->current);
        tape->current = NULL;
    }
}
