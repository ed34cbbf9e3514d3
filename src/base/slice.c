#include "base/slice.h"

static unsigned char slice_lower(char c)
{
    unsigned char byte = (unsigned char)c;

    return byte >= 'A' && byte <= 'Z' ? (unsigned char)(byte | 0x20) : byte;
}

bool slice_equal_nocase(struct peal_slice a, struct peal_slice b)
{
    if (a.size != b.size) {
        return false;
    }
    for (size_t i = 0; i < a.size; i++) {
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
