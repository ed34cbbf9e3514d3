/* The writing half of ws_frame.h. */
#include <string.h>

#include "base/assert.h"
#include "proto/ws_frame.h"

#define FINAL 0x80
#define MASKED 0x80

bool ws_close_code_is_valid(int code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static char *header_write(char *out, enum ws_opcode opcode, size_t size,
                          unsigned masked)
{
    size_t length_size = ws_header_size(size) - 2;
    unsigned code = length_size == 2 ? 126 : 127;

    if (length_size == 0) {
        code = (unsigned)size;
    }
    out[0] = (char)(FINAL | opcode);
    out[1] = (char)(masked | code);
    out += 2;
    for (size_t left = length_size; left > 0; left--) {
        *out++ = (char)((uint64_t)size >> (left - 1) * 8 & 0xff);
    }
    return out;
}

char *ws_header_write(char *out, enum ws_opcode opcode, size_t size)
{
    return header_write(out, opcode, size, 0);
}

char *ws_header_write_masked(char *out, enum ws_opcode opcode, size_t size,
                             const uint8_t key[4])
{
    out = header_write(out, opcode, size, MASKED);
    memcpy(out, key, 4);
    return out + 4;
}

size_t ws_close_write(char out[WS_CONTROL_MAX], int code,
                      struct peal_slice reason)
{
    size_t size = reason.size;

    if (code == WS_CLOSE_NO_STATUS) {
        return 0;
    }
    ASSERT(ws_close_code_is_valid(code));
    if (size > WS_CONTROL_MAX - 2) {
        /* Not before a continuation byte: that would cut a character. */
        size = WS_CONTROL_MAX - 2;
        while (size > 0 && ((unsigned char)reason.data[size] & 0xc0) == 0x80) {
            size--;
        }
    }
    out[0] = (char)(code >> 8);
    out[1] = (char)(code & 0xff);
    if (size > 0) {
        memcpy(out + 2, reason.data, size);
    }
    return size + 2;
}
