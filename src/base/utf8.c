#include "base/utf8.h"

#include <stdatomic.h>
#include <string.h>

#include "base/utf8_x86.h"

/* Below this the vector code has nothing to gain and may not be called. */
#define UTF8_VECTOR_SIZE_MIN 16

static bool utf8_resolve(const uint8_t *data, size_t size);

/* [a] The first call puts the machine's best one here. */
static _Atomic(utf8_validator *) utf8_chosen = utf8_resolve;

/* Notes what must follow a first byte that is not ASCII (RFC 3629, 4). */
static bool utf8_lead(struct utf8 *state, uint8_t byte)
{
    if (byte < 0xc2 || byte > 0xf4) {
        return false;
    }
    state->need = (uint8_t)(1 + (byte >= 0xe0) + (byte >= 0xf0));
    state->lower = 0x80;
    state->upper = 0xbf;
    switch (byte) {
    case 0xe0:
        state->lower = 0xa0;
        break;
    case 0xed:
        state->upper = 0x9f;
        break;
    case 0xf0:
        state->lower = 0x90;
        break;
    case 0xf4:
        state->upper = 0x8f;
        break;
    default:
        break;
    }
    return true;
}

static bool utf8_continue(struct utf8 *state, uint8_t byte)
{
    if (byte < state->lower || byte > state->upper) {
        return false;
    }
    state->need--;
    state->lower = 0x80;
    state->upper = 0xbf;
    return true;
}

/* How many bytes at the start are ASCII, in steps of eight. */
static size_t utf8_skip_ascii(const uint8_t *data, size_t size)
{
    size_t i = 0;

    for (; size - i >= 8; i += 8) {
        uint64_t word;

        memcpy(&word, data + i, sizeof word);
        if ((word & 0x8080808080808080) != 0) {
            break;
        }
    }
    return i;
}

/* The whole of utf8_feed for machines without vectors, and for short ends. */
static bool utf8_feed_scalar(struct utf8 *state, const uint8_t *data,
                             size_t size)
{
    struct utf8 now = *state;
    size_t i = 0;

    while (i < size) {
        if (now.need > 0) {
            if (!utf8_continue(&now, data[i])) {
                return false;
            }
            i++;
        } else if (data[i] < 0x80) {
            size_t skipped = utf8_skip_ascii(data + i, size - i);

            i += skipped > 0 ? skipped : 1;
        } else if (utf8_lead(&now, data[i])) {
            i++;
        } else {
            return false;
        }
    }
    *state = now;
    return true;
}

static bool utf8_is_valid_scalar(const uint8_t *data, size_t size)
{
    struct utf8 state = {0};

    return utf8_feed_scalar(&state, data, size) && utf8_is_complete(&state);
}

static bool utf8_resolve(const uint8_t *data, size_t size)
{
    utf8_validator *best = utf8_x86_choose();

    if (best == NULL) {
        best = utf8_is_valid_scalar;
    }
    atomic_store_explicit(&utf8_chosen, best, memory_order_relaxed);
    return best(data, size);
}

bool utf8_is_valid(const void *data, size_t size)
{
    if (size < UTF8_VECTOR_SIZE_MIN) {
        return utf8_is_valid_scalar(data, size);
    }
    return atomic_load_explicit(&utf8_chosen, memory_order_relaxed)(data, size);
}

/*
 * Where the last character begins if it may be cut off, else the size. That
 * can only be within three bytes of the end.
 */
static size_t utf8_last_boundary(const uint8_t *data, size_t size)
{
    for (size_t back = 1; back <= 3 && back <= size; back++) {
        uint8_t byte = data[size - back];

        if (byte >= 0xc0) {
            return size - back;
        }
        if (byte < 0x80) {
            break;
        }
    }
    return size;
}

bool utf8_feed(struct utf8 *state, const void *data, size_t size)
{
    const uint8_t *at = data;
    size_t due = state->need < size ? state->need : size;

    if (due > 0) {
        if (!utf8_feed_scalar(state, at, due)) {
            return false;
        }
        at += due;
        size -= due;
    }
    if (size < UTF8_VECTOR_SIZE_MIN) {
        return utf8_feed_scalar(state, at, size);
    }

    size_t whole = utf8_last_boundary(at, size);

    return utf8_is_valid(at, whole) &&
           utf8_feed_scalar(state, at + whole, size - whole);
}
