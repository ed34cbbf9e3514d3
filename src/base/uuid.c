#include "base/uuid.h"

#include <stddef.h>

#include "base/random.h"

struct uuid uuid_make(void)
{
    struct uuid uuid;

    random_bytes(uuid.bytes, sizeof uuid.bytes);
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x40);
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
    return uuid;
}

void uuid_format(struct uuid uuid, char out[UUID_TEXT_SIZE + 1])
{
    static const char digits[] = "0123456789abcdef";
    /* Where each byte's two digits go: 8-4-4-4-12. */
    static const uint8_t places[16] = {
        0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34,
    };

    for (size_t i = 0; i < sizeof uuid.bytes; i++) {
        out[places[i]] = digits[uuid.bytes[i] >> 4];
        out[places[i] + 1] = digits[uuid.bytes[i] & 0x0f];
    }
    out[8] = '-';
    out[13] = '-';
    out[18] = '-';
    out[23] = '-';
    out[UUID_TEXT_SIZE] = '\0';
}
