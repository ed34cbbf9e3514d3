#include "net/stream_queue.h"

#include "base/assert.h"
#include "base/mem.h"

#include <string.h>

#define STREAM_QUEUE_CAPACITY_MIN 6

/* Fewer new slices than this are no reason to look at the old ones again. */
#define STREAM_QUEUE_GROWTH_MIN 32

/* Slices are copied out into segments of at most this, if they are smaller. */
#define STREAM_QUEUE_COPY_BYTES TAPE_SEGMENT_BYTES

static uint32_t stream_queue_count(const struct stream *stream)
{
    if (stream->first.segment == NULL) {
        return 0;
    }
    return stream->rest == NULL ? 1 : 1 + stream->rest->count;
}

static struct tape_slice *stream_queue_at(struct stream *stream, uint32_t index)
{
    struct stream_queue *rest = stream->rest;

    return index == 0 ? &stream->first : &rest->slices[rest->head + index - 1];
}

/* Makes room for one more slice in `rest`. */
static int stream_queue_grow(struct stream *stream)
{
    struct stream_queue *rest = stream->rest;

    if (rest != NULL && rest->head + rest->count < rest->capacity) {
        return PEAL_OK;
    }
    if (rest != NULL && rest->head > rest->count) {
        /* More than half is free, so moving down is paid for. */
        memcpy(rest->slices, rest->slices + rest->head,
               rest->count * sizeof(rest->slices[0]));
        rest->head = 0;
        return PEAL_OK;
    }

    uint32_t capacity =
        rest == NULL ? STREAM_QUEUE_CAPACITY_MIN : 2 * rest->capacity;
    struct stream_queue *grown =
        mem_realloc(rest, sizeof(*rest) + capacity * sizeof(rest->slices[0]));

    if (grown == NULL) {
        return PEAL_ENOMEM;
    }
    if (rest == NULL) {
        *grown = (struct stream_queue){0};
    }
    grown->capacity = capacity;
    stream->rest = grown;
    return PEAL_OK;
}

int stream_queue_push(struct stream *stream, struct tape_slice slice)
{
    struct stream_queue *rest = stream->rest;
    struct tape_slice *last = rest == NULL
                                  ? &stream->first
                                  : &rest->slices[rest->head + rest->count - 1];

    ASSERT(slice.segment != NULL);
    stream->queued_bytes += slice.size;
    if (tape_slice_join(last, slice)) {
        return PEAL_OK;
    }
    if (last->segment == NULL) {
        *last = slice;
    } else {
        int rc = stream_queue_grow(stream);

        if (rc < 0) {
            stream->queued_bytes -= slice.size;
            return rc;
        }
        rest = stream->rest;
        rest->slices[rest->head + rest->count++] = slice;
    }
    tape_segment_ref(slice.segment);
    slice.segment->owed_bytes += slice.size;
    return PEAL_OK;
}

/* Takes over the first of the rest, or leaves the queue empty. */
static void stream_queue_shift(struct stream *stream)
{
    struct stream_queue *rest = stream->rest;

    tape_segment_unref(stream->first.segment);
    if (rest == NULL) {
        stream->first = (struct tape_slice){0};
        return;
    }
    stream->first = rest->slices[rest->head];
    rest->head++;
    rest->count--;
    if (rest->settled > 0) {
        rest->settled--;
    }
    if (rest->count == 0) {
        mem_free(rest);
        stream->rest = NULL;
    }
}

void stream_queue_consume(struct stream *stream, size_t size)
{
    ASSERT(size <= stream->queued_bytes);
    stream->queued_bytes -= size;

    while (size > 0) {
        struct tape_slice *first = &stream->first;
        uint32_t part = size < first->size ? (uint32_t)size : first->size;

        ASSERT(first->segment != NULL);
        first->segment->owed_bytes -= part;
        first->offset += part;
        first->size -= part;
        size -= part;
        if (first->size == 0) {
            stream_queue_shift(stream);
        }
    }
}

void stream_queue_clear(struct stream *stream)
{
    stream_queue_consume(stream, stream->queued_bytes);
}

size_t stream_queue_copy(const struct stream *stream, char *out)
{
    const struct stream_queue *rest = stream->rest;
    size_t size = stream->first.size;

    memcpy(out, tape_slice_data(&stream->first), size);
    for (uint32_t i = 0; rest != NULL && i < rest->count; i++) {
        const struct tape_slice *slice = &rest->slices[rest->head + i];

        memcpy(out + size, tape_slice_data(slice), slice->size);
        size += slice->size;
    }
    return size;
}

void stream_queue_peek(const struct stream *stream, char *out, size_t size)
{
    const struct stream_queue *rest = stream->rest;
    const struct tape_slice *slice = &stream->first;

    for (uint32_t i = 0; size > 0; i++) {
        size_t part = size < slice->size ? size : slice->size;

        memcpy(out, tape_slice_data(slice), part);
        out += part;
        size -= part;
        if (size > 0) {
            ASSERT(rest != NULL && i < rest->count);
            slice = &rest->slices[rest->head + i];
        }
    }
}

size_t stream_queue_gather(const struct stream *stream, struct iovec *parts,
                           size_t max, size_t *size)
{
    const struct stream_queue *rest = stream->rest;
    const struct tape_slice *slice = &stream->first;
    size_t count = 0;

    *size = 0;
    for (;;) {
        parts[count].iov_base = tape_slice_data(slice);
        parts[count].iov_len = slice->size;
        *size += slice->size;
        count++;
        if (count == max || rest == NULL || count > rest->count) {
            return count;
        }
        slice = &rest->slices[rest->head + count - 1];
    }
}

/* --- Copying out ---------------------------------------------------------- */

static bool stream_queue_pins(const struct tape_slice *slice)
{
    const struct tape_segment *segment = slice->segment;

    return !segment->is_private && segment->owed_bytes < segment->capacity / 2;
}

/* Copies `from` to the end of `to`, a slice of a private segment with room. */
static void stream_queue_move(struct tape_slice *to, struct tape_slice from)
{
    struct tape_segment *segment = to->segment;

    memcpy(segment->data + segment->used, tape_slice_data(&from), from.size);
    segment->used += from.size;
    segment->owed_bytes += from.size;
    to->size += from.size;
    from.segment->owed_bytes -= from.size;
    tape_segment_unref(from.segment);
}

static struct tape_slice stream_queue_private(size_t capacity)
{
    struct tape_slice slice = {.segment = tape_segment_new(capacity)};

    if (slice.segment != NULL) {
        slice.segment->is_private = true;
    }
    return slice;
}

/* Small copies of single messages are joined when they have neighbours. */
static bool stream_queue_is_crumb(const struct tape_slice *slice)
{
    return slice->segment->is_private &&
           slice->segment->capacity < STREAM_QUEUE_COPY_BYTES / 4;
}

/*
 * How many slices from `index` on are worth copying into one segment; their
 * bytes are added up in `size`.
 */
static uint32_t stream_queue_run(struct stream *stream, uint32_t index,
                                 uint32_t count, size_t *size)
{
    uint32_t run = 0;

    *size = 0;
    while (index + run < count) {
        const struct tape_slice *slice = stream_queue_at(stream, index + run);

        if (!(stream_queue_pins(slice) || stream_queue_is_crumb(slice)) ||
            (run > 0 && *size + slice->size > STREAM_QUEUE_COPY_BYTES)) {
            break;
        }
        *size += slice->size;
        run++;
    }
    if (run == 1 && stream_queue_is_crumb(stream_queue_at(stream, index))) {
        return 0;
    }
    return run;
}

/*
 * Where the next `size` bytes after slice `end - 1` are copied to: that slice
 * itself, if it is private and its segment has room, or a new one. A stream
 * that stays blocked gets larger and larger segments, so that many small
 * messages do not end up in as many blocks. False without memory.
 */
static bool stream_queue_make_room(struct stream *stream, uint32_t end,
                                   size_t size, struct tape_slice *copy)
{
    size_t capacity = size;

    if (end > 0) {
        const struct tape_segment *last =
            stream_queue_at(stream, end - 1)->segment;

        if (last->is_private) {
            size_t doubled = 2 * (size_t)last->capacity;

            if (size <= last->capacity - last->used) {
                copy->segment = NULL;
                return true;
            }
            if (doubled > STREAM_QUEUE_COPY_BYTES) {
                doubled = STREAM_QUEUE_COPY_BYTES;
            }
            capacity = size > doubled ? size : doubled;
        }
    }
    *copy = stream_queue_private(capacity);
    return copy->segment != NULL;
}

/* Copies out what pins much, from slice `index` to the end. */
static void stream_queue_unpin_from(struct stream *stream, uint32_t index)
{
    uint32_t count = stream_queue_count(stream);
    uint32_t end = index; /* of what has been gone through, closing up */

    while (index < count) {
        struct tape_slice copy;
        size_t size;
        uint32_t run = stream_queue_run(stream, index, count, &size);

        if (run == 0 || !stream_queue_make_room(stream, end, size, &copy)) {
            *stream_queue_at(stream, end++) = *stream_queue_at(stream, index++);
            continue;
        }

        struct tape_slice *to =
            copy.segment != NULL ? &copy : stream_queue_at(stream, end - 1);

        for (; run > 0; run--) {
            stream_queue_move(to, *stream_queue_at(stream, index++));
        }
        if (to == &copy) {
            *stream_queue_at(stream, end++) = copy;
        }
    }
    if (stream->rest != NULL) {
        stream->rest->count = end - 1;
        if (end == 1) {
            mem_free(stream->rest);
            stream->rest = NULL;
        }
    }
}

void stream_queue_unpin(struct stream *stream)
{
    const struct stream_queue *rest = stream->rest;

    if (stream->first.segment == NULL) {
        return;
    }
    if (rest == NULL || rest->count >= rest->revisit) {
        stream_queue_unpin_from(stream, 0);
        if (stream->rest != NULL) {
            uint32_t count = stream->rest->count;
            uint32_t growth = count / 4;

            stream->rest->revisit =
                count + (growth > STREAM_QUEUE_GROWTH_MIN
                             ? growth
                             : STREAM_QUEUE_GROWTH_MIN);
        }
    } else {
        stream_queue_unpin_from(stream, 1 + rest->settled);
    }
    if (stream->rest != NULL) {
        stream->rest->settled = stream->rest->count;
    }
}
