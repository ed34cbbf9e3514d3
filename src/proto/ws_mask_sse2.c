/*
 * ws_mask with SSE2, which every x86-64 has; ws_mask_words.c is for the others.
 * Wider vectors gain nothing at the sizes of messages: their ends cost more.
 */
#if defined(__SSE2__)

#include <emmintrin.h>
#include <string.h>

#include "proto/ws_frame.h"

/* The key as it meets the byte `by` further on. x86 is little endian. */
static uint32_t turn(uint32_t key, size_t by)
{
    return (uint32_t)(((uint64_t)key << 32 | key) >> (by & 3) * 8);
}

/*
 * Fewer than 16 bytes, in two words that may overlap: both are loaded before
 * one is stored. `first` and `last` are the key as it meets each of them.
 */
static void mask_short(char *data, size_t size, uint32_t first, uint32_t last)
{
    if (size >= 8) {
        uint64_t head, tail;

        memcpy(&head, data, 8);
        memcpy(&tail, data + size - 8, 8);
        head ^= (uint64_t)first << 32 | first;
        tail ^= (uint64_t)last << 32 | last;
        memcpy(data, &head, 8);
        memcpy(data + size - 8, &tail, 8);
    } else if (size >= 4) {
        uint32_t head, tail;

        memcpy(&head, data, 4);
        memcpy(&tail, data + size - 4, 4);
        head ^= first;
        tail ^= last;
        memcpy(data, &head, 4);
        memcpy(data + size - 4, &tail, 4);
    } else {
        for (size_t i = 0; i < size; i++) {
            data[i] = (char)(data[i] ^ (char)(first >> i * 8));
        }
    }
}

/*
 * The last 16 bytes are loaded before the loop changes them and stored over
 * what it wrote, which is the same: so the end costs one step, not a loop.
 */
void ws_mask(char *data, size_t size, const uint8_t key[4], size_t offset)
{
    uint32_t first, last;

    memcpy(&first, key, sizeof first);
    first = turn(first, offset);
    /* The last word begins at size - 4, size - 8 or size - 16. */
    last = turn(first, size);
    if (size < 16) {
        mask_short(data, size, first, last);
        return;
    }

    char *end = data + size - 16;
    __m128i mask = _mm_set1_epi32((int)first);
    __m128i tail = _mm_xor_si128(_mm_loadu_si128((const __m128i *)end),
                                 _mm_set1_epi32((int)last));

    for (; data < end; data += 16) {
        _mm_storeu_si128(
            (__m128i *)data,
            _mm_xor_si128(_mm_loadu_si128((const __m128i *)data), mask));
    }
    _mm_storeu_si128((__m128i *)end, tail);
}

#endif
