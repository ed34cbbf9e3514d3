#include "base/base64.h"


#include "peal/peal.h"

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

/* The six bits of a letter, or -1. */
static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '+') {
        return 62;
    }
    return c == '/' ? 63 : -1;
}

/* Reads `letters` (2 to 4) of one group; returns the 24 bits or -1. */
static long base64_group(const char *text, int letters)
{
    long bits = 0;

    for (int i = 0; i < 4; i++) {
        int value = i < letters ? base64_value(text[i]) : 0;

        if (value < 0) {
            return -1;
        }
        bits = bits << 6 | value;
    }
    return bits;
}

long base64_decode(void *out, const char *text, size_t size)
{
    uint8_t *to = out;

    if (size % 4 != 0) {
        return PEAL_EINVAL;
    }
    for (size_t i = 0; i < size; i += 4) {
        int letters = 4;

        if (i + 4 == size && text[i + 3] == '=') {
            letters = text[i + 2] == '=' ? 2 : 3;
        }

        long bits = base64_group(text + i, letters);

        /* Two letters carry 8 bits of 12, three 16 of 18: the rest is 0. */
        if (bits < 0 || (letters == 2 && (bits & 0xffff) != 0) ||
            (letters == 3 && (bits & 0xff) != 0)) {
            return PEAL_EINVAL;
        }
        for (int k = 0; k < letters - 1; k++) {
            *to++ = (uint8_t)(bits >> (16 - 8 * k));
        }
    }
    return (long)(to - (uint8_t *)out);
}
