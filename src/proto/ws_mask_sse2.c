/*
 * ws_mask with SSE2, which every x86-64 has; ws_mask_words.c is for the others.
 * Wider vectors gain nothing at the sizes of messages: their ends cost more.
 */
#if defined(__SSE2__)

#include <emmintrin.h>
#include <string.h>

#include "proto/ws_frame.h"

/* Fewer than 16 bytes, in two words that overlap; `key` is turned already. */
static void mask_short(char *data, size_t size, uint32_t key)
{
    uint64_t wide = (uint64_t)key << 32 | key;

    if (size >= 8) {
        uint64_t first, last;

        memcpy(&first, data, 8);
        memcpy(&last, data + size - 8, 8);
        first ^= wide;
        /* x86 is little endian: byte n of the key is at bit 8 * n. */
        last ^= wide >> (size & 3) * 8 |
                wide << (32 - (size & 3) * 8);
        memcpy(data, &first, 8);
        memcpy(data + size - 8, &last, 8);
    } else if (size >= 4) {
        uint32_t first, last;

        memcpy(&first, data, 4);
        memcpy(&last, data + size - 4, 4);
        first ^= key;
        last ^= (uint32_t)(wide >> (size & 3) * 8);
        memcpy(data, &first, 4);
        memcpy(data + size - 4, &last, 4);
    } else {
        for (size_t i = 0; i < size; i++) {
            data[i] = (char)(data[i] ^ (char)(key >> i * 8));
        }
    }
}

/*
 * The last 16 bytes are loaded before the loop changes them and stored over
 * what it wrote, which is the same: so the end costs one step, not a loop.
 */
void ws_mask(char *data, size_t size, const uint8_t key[4], size_t offset)
{
    uint32_t start, end;

    memcpy(&start, key, sizeof start);
    start = (uint32_t)(((uint64_t)start << 32 | start) >> (offset & 3) * 8);
    if (size < 16) {
        mask_short(data, size, start);
        return;
    }
    end = (uint32_t)(((uint64_t)start << 32 | start) >> (size & 3) * 8);

    char *tail = data + size - 16;
    __m128i mask = _mm_set1_epi32((int)start);
    __m128i last = _mm_xor_si128(_mm_loadu_si128((const __m128i *)tail),
                                 _mm_set1_epi32((int)end));

    for (; data < tail; data += 16) {
        _mm_storeu_si128(
            (__m128i *)data,
            _mm_xor_si128(_mm_loadu_si128((const __m128i *)data), mask));
    }
    _mm_storeu_si128((__m128i *)tail, last);
}

#endif
