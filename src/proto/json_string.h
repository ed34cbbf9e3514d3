/* What scanning and decoding of JSON strings share. For json*.c only. */
#ifndef PROTO_JSON_STRING_H
#define PROTO_JSON_STRING_H

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <string.h>

#include "proto/json.h"

/* For what every message goes through, so that it is one piece of code. */
#define JSON_INLINE static inline __attribute__((always_inline))

static inline bool json_is_special(char byte)
{
    return byte == '"' || byte == '\\' || (unsigned char)byte < 0x20;
}

/*
 * The first byte that cannot stand in a string as it is: a quote, a backslash
 * or a control character. `end` when there is none.
 */
#if defined(__x86_64__)

/* The same for strings that are not short: json_string.c. */
const char *json_find_special_far(const char *at, const char *end);

/* One bit for each byte that is special. */
JSON_INLINE unsigned json_special_mask(__m128i bytes)
{
    /* min(byte, 0x1f) is the byte itself just for control characters. */
    __m128i found = _mm_or_si128(
        _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')),
                     _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))),
        _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes));

    return (unsigned)_mm_movemask_epi8(found);
}

/*
 * Fewer than 16 bytes: the first and the last four or eight of them side by
 * side; they may overlap.
 */
static inline const char *json_find_special_short(const char *at,
                                                  const char *end)
{
    unsigned part = end - at >= 8 ? 8 : 4;
    uint64_t first = 0;
    uint64_t last = 0;
    unsigned mask;
    unsigned index;

    if (end - at < 4) {
        while (at < end && !json_is_special(*at)) {
            at++;
        }
        return at;
    }
    if (part == 8) {
        memcpy(&first, at, 8);
        memcpy(&last, end - 8, 8);
    } else {
        memcpy(&first, at, 4);
        memcpy(&last, end - 4, 4);
        first |= last << 32;
        last = UINT64_MAX; /* no byte of it is special */
    }
    mask = json_special_mask(_mm_set_epi64x((long long)last, (long long)first));
    if (mask == 0) {
        return end;
    }
    index = (unsigned)__builtin_ctz(mask);
    return index < part ? at + index : end - (2 * part - index);
}

JSON_INLINE const char *json_find_special(const char *at, const char *end)
{
    unsigned mask;

    if (end - at < 16) {
        return json_find_special_short(at, end);
    }
    mask = json_special_mask(_mm_loadu_si128((const __m128i *)at));
    return mask != 0 ? at + __builtin_ctz(mask)
                     : json_find_special_far(at + 16, end);
}

#else

static inline const char *json_find_special(const char *at, const char *end)
{
    while (at < end && !json_is_special(*at)) {
        at++;
    }
    return at;
}

#endif

/* -1 for what is no hexadecimal digit. */
static inline int json_hex_value(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    /* Lower case by one bit; no other character becomes a letter by it. */
    digit = (char)(digit | 0x20);
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* Whether a valid key (without its quotes), decoded, is `name`. */
bool json_key_equals(struct peal_slice key, struct peal_slice name);

#endif
