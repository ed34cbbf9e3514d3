/* Base64 (RFC 4648, 4), with padding. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include <stddef.h>

/* Writes (size + 2) / 3 * 4 characters, no zero byte; returns how many. */
size_t base64_encode(char *out, const void *data, size_t size);

#endif
