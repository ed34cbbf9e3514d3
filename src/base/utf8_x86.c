/*
 * UTF-8 validation by table lookup (Keiser and Lemire, "Validating UTF-8 in
 * less than one instruction per byte", 2021).
 *
 * Every error but one shows in two bytes that follow each other: three lookups,
 * by the high and the low half of the first byte and the high half of the
 * second, give sets of errors that are still possible, and an error that is in
 * all three sets has happened. The exception is a third or fourth byte that is
 * missing or is one too many: whether a continuation byte must come after a
 * continuation byte is told by the lead two or three bytes before.
 */
#include "base/utf8_x86.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#define SHORT (1 << 0)      /* a lead, then no continuation */
#define LONG (1 << 1)       /* ASCII, then a continuation */
#define OVERLONG_3 (1 << 2) /* e0, then 80..9f */
#define LARGE (1 << 3)      /* f4, then 90..bf, or f5..ff, then 90..bf */
#define SURROGATE (1 << 4)  /* ed, then a0..bf */
#define OVERLONG_2 (1 << 5) /* c0 or c1, then a continuation */
#define OVERLONG_4 (1 << 6) /* f0, then 80..8f */
#define LARGE_8X (1 << 6)   /* f5..ff, then 80..8f; shares a bit: no clash */
#define TWO (1 << 7)        /* two continuations: an error unless due */

/* These errors do not depend on the low half of the first byte. */
#define ANY_LOW (SHORT | LONG | TWO)
#define HIGH_F_8 (LONG | OVERLONG_2 | TWO | OVERLONG_3 | LARGE_8X | OVERLONG_4)
#define HIGH_F_9 (LONG | OVERLONG_2 | TWO | OVERLONG_3 | LARGE)
#define HIGH_F_AB (LONG | OVERLONG_2 | TWO | SURROGATE | LARGE)
#define LOW_F5_UP (ANY_LOW | LARGE | LARGE_8X)

static const uint8_t utf8_first_high[16] = {
    LONG,
    LONG,
    LONG,
    LONG,
    LONG,
    LONG,
    LONG,
    LONG,
    TWO,
    TWO,
    TWO,
    TWO,
    SHORT | OVERLONG_2,
    SHORT,
    SHORT | OVERLONG_3 | SURROGATE,
    SHORT | LARGE | LARGE_8X | OVERLONG_4,
};

static const uint8_t utf8_first_low[16] = {
    ANY_LOW | OVERLONG_3 | OVERLONG_2 | OVERLONG_4,
    ANY_LOW | OVERLONG_2,
    ANY_LOW,
    ANY_LOW,
    ANY_LOW | LARGE,
    LOW_F5_UP,
    LOW_F5_UP,
    LOW_F5_UP,
    LOW_F5_UP,
    LOW_F5_UP,
    LOW_F5_UP,
    LOW_F5_UP,
    LOW_F5_UP,
    LOW_F5_UP | SURROGATE,
    LOW_F5_UP,
    LOW_F5_UP,
};

static const uint8_t utf8_second_high[16] = {
    SHORT,    SHORT,    SHORT,     SHORT,     SHORT, SHORT, SHORT, SHORT,
    HIGH_F_8, HIGH_F_9, HIGH_F_AB, HIGH_F_AB, SHORT, SHORT, SHORT, SHORT,
};

/* How many bytes at the start are surely ASCII; size >= 16. */
static size_t utf8_skip_ascii(const uint8_t *data, size_t size)
{
    size_t i = 0;

    for (; size - i >= 32; i += 32) {
        __m128i a = _mm_loadu_si128((const __m128i *)(data + i));
        __m128i b = _mm_loadu_si128((const __m128i *)(data + i + 16));

        if (_mm_movemask_epi8(_mm_or_si128(a, b)) != 0) {
            return i;
        }
    }
    if (size - i >= 16) {
        __m128i a = _mm_loadu_si128((const __m128i *)(data + i));

        if (_mm_movemask_epi8(a) != 0) {
            return i;
        }
    }

    /* The last 16 bytes may overlap those before, which does no harm. */
    __m128i last = _mm_loadu_si128((const __m128i *)(data + size - 16));

    return _mm_movemask_epi8(last) == 0 ? size : i;
}

/* The errors of one block; `previous` is the block before it. */
__attribute__((target("sse4.1"))) static inline __m128i
utf8_errors_sse41(__m128i block, __m128i previous)
{
    const __m128i half = _mm_set1_epi8(0x0f);
    __m128i first = _mm_alignr_epi8(block, previous, 15);
    __m128i high = _mm_shuffle_epi8(
        _mm_loadu_si128((const __m128i *)utf8_first_high),
        _mm_and_si128(_mm_srli_epi16(first, 4), half));
    __m128i low =
        _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)utf8_first_low),
                         _mm_and_si128(first, half));
    __m128i second = _mm_shuffle_epi8(
        _mm_loadu_si128((const __m128i *)utf8_second_high),
        _mm_and_si128(_mm_srli_epi16(block, 4), half));
    __m128i pair = _mm_and_si128(_mm_and_si128(high, low), second);

    /* The top bit is set where a lead e0.. is two or f0.. three bytes back. */
    __m128i third = _mm_subs_epu8(_mm_alignr_epi8(block, previous, 14),
                                  _mm_set1_epi8(0xe0 - 0x80));
    __m128i fourth = _mm_subs_epu8(_mm_alignr_epi8(block, previous, 13),
                                   _mm_set1_epi8(0xf0 - 0x80));
    __m128i due = _mm_and_si128(_mm_or_si128(third, fourth),
                                _mm_set1_epi8((char)TWO));

    return _mm_xor_si128(pair, due);
}

__attribute__((target("sse4.1"))) bool
utf8_x86_is_valid_sse41(const uint8_t *data, size_t size)
{
    size_t i = utf8_skip_ascii(data, size);
    bool was_ascii = true;
    __m128i previous = _mm_setzero_si128();
    __m128i errors = _mm_setzero_si128();

    for (; size - i >= 16; i += 16) {
        __m128i block = _mm_loadu_si128((const __m128i *)(data + i));
        bool is_ascii = _mm_movemask_epi8(block) == 0;

        /* After ASCII nothing is due, so ASCII is right without a look. */
        if (!is_ascii || !was_ascii) {
            errors =
                _mm_or_si128(errors, utf8_errors_sse41(block, previous));
        }
        previous = block;
        was_ascii = is_ascii;
    }

    /* A rest filled up with zeros: what is cut off at the end shows as SHORT,
     * also when there is no rest. */
    if (i < size || !was_ascii) {
        uint8_t rest[16] = {0};

        memcpy(rest, data + i, size - i);
        errors = _mm_or_si128(
            errors, utf8_errors_sse41(
                        _mm_loadu_si128((const __m128i *)rest), previous));
    }
    return _mm_testz_si128(errors, errors) != 0;
}

__attribute__((target("avx2"))) static inline __m256i
utf8_table_avx2(const uint8_t table[16])
{
    return _mm256_broadcastsi128_si256(
        _mm_loadu_si128((const __m128i *)table));
}

__attribute__((target("avx2"))) static inline __m256i
utf8_errors_avx2(__m256i block, __m256i previous)
{
    const __m256i half = _mm256_set1_epi8(0x0f);
    /* alignr works on halves of 16: give each half the one before it. */
    __m256i before = _mm256_permute2x128_si256(previous, block, 0x21);
    __m256i first = _mm256_alignr_epi8(block, before, 15);
    __m256i high = _mm256_shuffle_epi8(
        utf8_table_avx2(utf8_first_high),
        _mm256_and_si256(_mm256_srli_epi16(first, 4), half));
    __m256i low = _mm256_shuffle_epi8(utf8_table_avx2(utf8_first_low),
                                      _mm256_and_si256(first, half));
    __m256i second = _mm256_shuffle_epi8(
        utf8_table_avx2(utf8_second_high),
        _mm256_and_si256(_mm256_srli_epi16(block, 4), half));
    __m256i pair = _mm256_and_si256(_mm256_and_si256(high, low), second);
    __m256i third = _mm256_subs_epu8(_mm256_alignr_epi8(block, before, 14),
                                     _mm256_set1_epi8(0xe0 - 0x80));
    __m256i fourth = _mm256_subs_epu8(_mm256_alignr_epi8(block, before, 13),
                                      _mm256_set1_epi8(0xf0 - 0x80));
    __m256i due = _mm256_and_si256(_mm256_or_si256(third, fourth),
                                   _mm256_set1_epi8((char)TWO));

    return _mm256_xor_si256(pair, due);
}

/* As utf8_skip_ascii, in larger steps. */
__attribute__((target("avx2"))) static size_t
utf8_skip_ascii_avx2(const uint8_t *data, size_t size)
{
    size_t i = 0;

    for (; size - i >= 128; i += 128) {
        const __m256i *at = (const __m256i *)(data + i);
        __m256i all = _mm256_or_si256(
            _mm256_or_si256(_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)),
            _mm256_or_si256(_mm256_loadu_si256(at + 2),
                            _mm256_loadu_si256(at + 3)));

        if (_mm256_movemask_epi8(all) != 0) {
            break;
        }
    }
    if (size - i < 16) {
        i = size - 16;
    }
    return i + utf8_skip_ascii(data + i, size - i);
}

/* As the one above, with blocks of 32. */
__attribute__((target("avx2"))) bool
utf8_x86_is_valid_avx2(const uint8_t *data, size_t size)
{
    size_t i = utf8_skip_ascii_avx2(data, size);
    bool was_ascii = true;
    __m256i previous = _mm256_setzero_si256();
    __m256i errors = _mm256_setzero_si256();

    for (; size - i >= 32; i += 32) {
        __m256i block = _mm256_loadu_si256((const __m256i *)(data + i));
        bool is_ascii = _mm256_movemask_epi8(block) == 0;

        if (!is_ascii || !was_ascii) {
            errors =
                _mm256_or_si256(errors, utf8_errors_avx2(block, previous));
        }
        previous = block;
        was_ascii = is_ascii;
    }
    if (i < size || !was_ascii) {
        uint8_t rest[32] = {0};

        memcpy(rest, data + i, size - i);
        errors = _mm256_or_si256(
            errors, utf8_errors_avx2(
                        _mm256_loadu_si256((const __m256i *)rest), previous));
    }
    return _mm256_testz_si256(errors, errors) != 0;
}

utf8_validator *utf8_x86_choose(void)
{
    if (__builtin_cpu_supports("avx2")) {
        return utf8_x86_is_valid_avx2;
    }
    if (__builtin_cpu_supports("sse4.1")) {
        return utf8_x86_is_valid_sse41;
    }
    return NULL;
}

#endif
