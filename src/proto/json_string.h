/* What scanning and decoding of JSON strings share. For json*.c only. */
#ifndef PROTO_JSON_STRING_H
#define PROTO_JSON_STRING_H

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "proto/json.h"

static inline bool json_is_special(char byte)
{
    return byte == '"' || byte == '\\' || (unsigned char)byte < 0x20;
}

/*
 * The first byte that cannot stand in a string as it is: a quote, a backslash
 * or a control character. `end` when there is none.
 */
#if defined(__SSE2__)

static inline const char *json_find_special(const char *at, const char *end)
{
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    const __m128i control_max = _mm_set1_epi8(0x1f);

    while (end - at >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        /* min(byte, 0x1f) is the byte itself just for control characters. */
        __m128i found = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(bytes, quote),
                         _mm_cmpeq_epi8(bytes, backslash)),
            _mm_cmpeq_epi8(_mm_min_epu8(bytes, control_max), bytes));
        int mask = _mm_movemask_epi8(found);

        if (mask != 0) {
            return at + __builtin_ctz((unsigned)mask);
        }
        at += 16;
    }
    while (at < end && !json_is_special(*at)) {
        at++;
    }
    return at;
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
