/*
 * UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
 * SIMD where the machine has it, chosen at run time; the same answers
 * everywhere.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool utf8_is_valid(const void *data, size_t size);

/*
 * The incremental form, for text that arrives in pieces. Zero-initialise.
 * utf8_feed returns false as soon as no continuation could make the text valid
 * (fails fast, RFC 6455, 8.1) and must not be called again after that.
 * utf8_is_complete tells whether the text may end here.
 */
struct utf8 {
    uint8_t need;  /* continuation bytes still due */
    uint8_t lower; /* bounds of the next one */
    uint8_t upper;
};

bool utf8_feed(struct utf8 *state, const void *data, size_t size);

static inline bool utf8_is_complete(const struct utf8 *state)
{
    return state->need == 0;
}

#endif
