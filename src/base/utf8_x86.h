/* UTF-8 validation with the vector units of x86-64; see utf8_x86.c. */
#ifndef BASE_UTF8_X86_H
#define BASE_UTF8_X86_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef bool utf8_validator(const uint8_t *data, size_t size);

#if defined(__x86_64__)

/* The best one that this machine runs, or NULL. */
utf8_validator *utf8_x86_choose(void);

/* Each needs its instruction set and size >= 16. For utf8.c and the tests. */
bool utf8_x86_is_valid_sse41(const uint8_t *data, size_t size);
bool utf8_x86_is_valid_avx2(const uint8_t *data, size_t size);

#else

static inline utf8_validator *utf8_x86_choose(void)
{
    return NULL;
}

#endif

#endif
