/* Base64 (RFC 4648, 4), with padding. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include <stddef.h>
#include <stdint.h>

#define BASE64_SIZE(size) (((size) + 2) / 3 * 4)

/* Writes BASE64_SIZE(size) characters, no zero byte; returns how many. */
size_t base64_encode(char *out, const void *data, size_t size);

/*
 * Strict: padding due, no blanks, no bits left over. `out` has room for
 * size / 4 * 3 bytes. Returns the bytes written or PEAL_EINVAL.
 */
long base64_decode(void *out, const char *text, size_t size);

#endif
