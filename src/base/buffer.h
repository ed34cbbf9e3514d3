/*
 * A growable byte buffer that cannot be made without a maximum: anything sized
 * by a peer lives in one of these. Bytes are appended at the end and consumed
 * at the front; consuming is O(1), and space at the front is reclaimed when
 * room is needed, so that appending and consuming n bytes costs O(n) in all
 * while the buffer holds at most half of its maximum. Fuller than that, a call
 * that needs room may move all bytes: that is the price of never exceeding it.
 *
 * Invariants: start <= end <= capacity <= max (capacity may be 0, data NULL).
 */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stddef.h>

struct buffer {
    char *data;
    size_t start;
    size_t end;
    size_t capacity;
    size_t max;
};

/* Allocates nothing. `max` > 0. */
void buffer_init(struct buffer *buffer, size_t max);

/* Frees the storage; the buffer is empty and usable again. */
void buffer_fini(struct buffer *buffer);

static inline size_t buffer_size(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}

/* The first unconsumed byte. Valid until the next call that may grow. */
static inline char *buffer_head(const struct buffer *buffer)
{
    return buffer->data + buffer->start;
}

/*
 * Makes room for `size` more bytes at the end: 0, PEAL_EFULL when that would
 * exceed the maximum, PEAL_ENOMEM. On failure nothing has changed. Grows by
 * doubling, never beyond the maximum.
 */
int buffer_reserve(struct buffer *buffer, size_t size);

/* Appends; errors as buffer_reserve. */
int buffer_append(struct buffer *buffer, const void *data, size_t size);

/* Drops `size` bytes at the front; size <= buffer_size. */
void buffer_consume(struct buffer *buffer, size_t size);

/* Drops all bytes and keeps the storage. */
void buffer_clear(struct buffer *buffer);

#endif
