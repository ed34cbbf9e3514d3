/* Small helpers on struct peal_slice that are worth inlining. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <string.h>

#include "peal/peal.h"

/* The slice of a string literal, without strlen. */
#define SLICE(literal)                                                         \
    ((struct peal_slice){(literal), sizeof(literal) - 1})

static inline struct peal_slice slice_make(const char *data, size_t size)
{
    return (struct peal_slice){data, size};
}

static inline bool slice_equal(struct peal_slice a, struct peal_slice b)
{
    return a.size == b.size &&
           (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool slice_has_prefix(struct peal_slice a,
                                    struct peal_slice prefix)
{
    return a.size >= prefix.size &&
           (prefix.size == 0 || memcmp(a.data, prefix.data, prefix.size) == 0);
}

/* ASCII letters compare without case, as HTTP's tokens do (RFC 9110, 5.1). */
bool slice_equal_nocase(struct peal_slice a, struct peal_slice b);

/* Without blanks and tabs at both ends (OWS of RFC 9110, 5.6.3). */
struct peal_slice slice_trim(struct peal_slice a);

#endif
