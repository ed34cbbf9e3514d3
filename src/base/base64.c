#include "base/base64.h"

#include <stdint.h>

size_t base64_encode(char *out, const void *data, size_t size)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *at = data;
    char *to = out;

    for (; size >= 3; size -= 3, at += 3, to += 4) {
        to[0] = letters[at[0] >> 2];
        to[1] = letters[(at[0] & 0x03) << 4 | at[1] >> 4];
        to[2] = letters[(at[1] & 0x0f) << 2 | at[2] >> 6];
        to[3] = letters[at[2] & 0x3f];
    }
    if (size > 0) {
        uint8_t second = size == 2 ? at[1] : 0;

        to[0] = letters[at[0] >> 2];
        to[1] = letters[(at[0] & 0x03) << 4 | second >> 4];
        to[2] = size == 2 ? letters[(second & 0x0f) << 2] : '=';
        to[3] = '=';
        to += 4;
    }
    return (size_t)(to - out);
}
