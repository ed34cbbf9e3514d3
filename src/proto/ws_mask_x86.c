/*
 * ws_mask with the vectors of x86-64: SSE2, which every one has, and AVX2 for
 * long payloads. ws_mask_words.c is for other machines.
 */
#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "proto/ws_frame.h"

/* Below this the ends of wider vectors cost more than they gain. */
#define AVX2_SIZE_MIN 256

/* The key as it meets the byte `by` further on. x86 is little endian. */
static uint32_t turn(uint32_t key, size_t by)
{
    return (uint32_t)(((uint64_t)key << 32 | key) >> (by & 3) * 8);
}

static bool has_high_bit(uint64_t bytes)
{
    return (bytes & 0x8080808080808080) != 0;
}

/*
 * Fewer than 16 bytes, in two words that may overlap: both are loaded before
 * one is stored. `first` and `last` are the key as it meets each of them.
 */
static bool mask_short(char *data, size_t size, uint32_t first, uint32_t last)
{
    if (size >= 8) {
        uint64_t head, tail;

        memcpy(&head, data, 8);
        memcpy(&tail, data + size - 8, 8);
        head ^= (uint64_t)first << 32 | first;
        tail ^= (uint64_t)last << 32 | last;
        memcpy(data, &head, 8);
        memcpy(data + size - 8, &tail, 8);
        return !has_high_bit(head | tail);
    }
    if (size >= 4) {
        uint32_t head, tail;

        memcpy(&head, data, 4);
        memcpy(&tail, data + size - 4, 4);
        head ^= first;
        tail ^= last;
        memcpy(data, &head, 4);
        memcpy(data + size - 4, &tail, 4);
        return !has_high_bit(head | tail);
    }

    unsigned all = 0;

    for (size_t i = 0; i < size; i++) {
        data[i] = (char)(data[i] ^ (char)(first >> i * 8));
        all |= (unsigned char)data[i];
    }
    return !has_high_bit(all);
}

/* As many steps of 128 bytes as there are. Returns their bytes in one. */
__attribute__((target("avx2"))) static __m128i
mask_avx2(char *data, const char *end, uint32_t key)
{
    const __m256i mask = _mm256_set1_epi32((int)key);
    __m256i all = _mm256_setzero_si256();

    for (; end - data >= 128; data += 128) {
        __m256i *at = (__m256i *)data;
        __m256i a = _mm256_xor_si256(_mm256_loadu_si256(at), mask);
        __m256i b = _mm256_xor_si256(_mm256_loadu_si256(at + 1), mask);
        __m256i c = _mm256_xor_si256(_mm256_loadu_si256(at + 2), mask);
        __m256i d = _mm256_xor_si256(_mm256_loadu_si256(at + 3), mask);

        _mm256_storeu_si256(at, a);
        _mm256_storeu_si256(at + 1, b);
        _mm256_storeu_si256(at + 2, c);
        _mm256_storeu_si256(at + 3, d);
        all = _mm256_or_si256(all, _mm256_or_si256(_mm256_or_si256(a, b),
                                                   _mm256_or_si256(c, d)));
    }
    return _mm_or_si128(_mm256_castsi256_si128(all),
                        _mm256_extracti128_si256(all, 1));
}

/*
 * The last 16 bytes are loaded before the loops change them and stored over
 * what these wrote, which is the same: so the end costs one step, not a loop.
 */
bool ws_mask(char *data, size_t size, const uint8_t key[4], size_t offset)
{
    uint32_t first, last;

    memcpy(&first, key, sizeof first);
    first = turn(first, offset);
    /* The last word begins at size - 4, size - 8 or size - 16. */
    last = turn(first, size);
    if (size < 16) {
        return mask_short(data, size, first, last);
    }

    char *end = data + size - 16;
    __m128i mask = _mm_set1_epi32((int)first);
    __m128i tail = _mm_xor_si128(_mm_loadu_si128((const __m128i *)end),
                                 _mm_set1_epi32((int)last));
    __m128i all = tail;

    if (size >= AVX2_SIZE_MIN && __builtin_cpu_supports("avx2")) {
        all = _mm_or_si128(all, mask_avx2(data, end, first));
        data += (size_t)(end - data) / 128 * 128;
    }
    for (; data < end; data += 16) {
        __m128i block =
            _mm_xor_si128(_mm_loadu_si128((const __m128i *)data), mask);

        _mm_storeu_si128((__m128i *)data, block);
        all = _mm_or_si128(all, block);
    }
    _mm_storeu_si128((__m128i *)end, tail);
    return _mm_movemask_epi8(all) == 0;
}

#endif
