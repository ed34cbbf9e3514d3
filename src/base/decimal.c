#include "base/decimal.h"

size_t decimal_size(int64_t value)
{
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    size_t size = value < 0 ? 2 : 1;

    while (rest >= 10) {
        rest /= 10;
        size++;
    }
    return size;
}

char *decimal_put(char *out, int64_t value)
{
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char *end = out + decimal_size(value);
    char *at = end;

    if (value < 0) {
        *out = '-';
    }
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    return end;
}
