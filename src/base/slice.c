#include "base/slice.h"

#include <stdint.h>
#include <string.h>

static unsigned char slice_lower(char c)
{
    unsigned char byte = (unsigned char)c;

    return byte >= 'A' && byte <= 'Z' ? (unsigned char)(byte | 0x20) : byte;
}

/* The same for the eight bytes of a word, of which each stays within its own:
 * the sums of seven bits set the eighth from 'A' on, and from behind 'Z' on. */
static uint64_t slice_lower_word(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t low = word & (0x7f * ones);
    uint64_t from_a = low + (0x80 - 'A') * ones;
    uint64_t behind_z = low + (0x7f - 'Z') * ones;
    uint64_t upper = (from_a ^ behind_z) & ~word & (0x80 * ones);

    return word | upper >> 2;
}

static bool slice_word_differs(const char *a, const char *b)
{
    uint64_t one;
    uint64_t other;

    memcpy(&one, a, sizeof one);
    memcpy(&other, b, sizeof other);
    return one != other && slice_lower_word(one) != slice_lower_word(other);
}

bool slice_equal_nocase(struct peal_slice a, struct peal_slice b)
{
    size_t i = 0;

    if (a.size != b.size) {
        return false;
    }
    for (; a.size - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
        if (slice_word_differs(a.data + i, b.data + i)) {
            return false;
        }
    }
    for (; i < a.size; i++) {
        if (slice_lower(a.data[i]) != slice_lower(b.data[i])) {
            return false;
        }
    }
    return true;
}

static bool slice_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct peal_slice slice_trim(struct peal_slice a)
{
    while (a.size > 0 && slice_is_blank(a.data[0])) {
        a.data++;
        a.size--;
    }
    while (a.size > 0 && slice_is_blank(a.data[a.size - 1])) {
        a.size--;
    }
    return a;
}
