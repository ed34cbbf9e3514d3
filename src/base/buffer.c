#include "base/buffer.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "peal/peal.h"

#define BUFFER_CAPACITY_MIN 64

void buffer_init(struct buffer *buffer, size_t max)
{
    ASSERT(max > 0);
    *buffer = (struct buffer){.max = max};
}

void buffer_fini(struct buffer *buffer)
{
    mem_free(buffer->data);
    buffer_init(buffer, buffer->max);
}

/* The capacity to grow to for `needed` bytes, needed <= max. */
static size_t buffer_grown_capacity(const struct buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity;

    if (capacity < BUFFER_CAPACITY_MIN) {
        capacity = BUFFER_CAPACITY_MIN;
    }
    while (capacity < needed && capacity <= buffer->max / 2) {
        capacity *= 2;
    }
    if (capacity < needed || capacity > buffer->max) {
        capacity = buffer->max;
    }
    return capacity;
}

static int buffer_move(struct buffer *buffer, size_t capacity)
{
    size_t used = buffer_size(buffer);
    char *data = mem_alloc(capacity);

    if (data == NULL) {
        return PEAL_ENOMEM;
    }
    if (used > 0) {
        memcpy(data, buffer_head(buffer), used);
    }
    mem_free(buffer->data);
    buffer->data = data;
    buffer->start = 0;
    buffer->end = used;
    buffer->capacity = capacity;
    return 0;
}

int buffer_reserve(struct buffer *buffer, size_t size)
{
    size_t used = buffer_size(buffer);

    if (size <= buffer->capacity - buffer->end) {
        return 0;
    }
    if (size > buffer->max - used) {
        return PEAL_EFULL;
    }

    /*
     * Moving the bytes to the front pays only when at least as many have been
     * consumed since the last move: then each byte consumed has paid for at
     * most one that moves. Otherwise the storage grows as long as it may.
     */
    bool fits = used + size <= buffer->capacity;
    bool is_cheap = buffer->start >= used;

    if (fits && (is_cheap || buffer->capacity == buffer->max)) {
        memmove(buffer->data, buffer_head(buffer), used);
        buffer->start = 0;
        buffer->end = used;
        return 0;
    }

    size_t needed = used + size;

    if (fits) {
        needed = buffer->capacity + 1;
    }
    return buffer_move(buffer, buffer_grown_capacity(buffer, needed));
}

int buffer_append(struct buffer *buffer, const void *data, size_t size)
{
    int rc = buffer_reserve(buffer, size);

    if (rc < 0) {
        return rc;
    }
    if (size > 0) {
        memcpy(buffer->data + buffer->end, data, size);
        buffer->end += size;
    }
    return 0;
}

void buffer_consume(struct buffer *buffer, size_t size)
{
    ASSERT(size <= buffer_size(buffer));
    buffer->start += size;
    if (buffer->start == buffer->end) {
        buffer_clear(buffer);
    }
}

void buffer_clear(struct buffer *buffer)
{
    buffer->start = 0;
    buffer->end = 0;
}
