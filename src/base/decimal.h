/* Whole numbers as decimal text, without a zero byte behind it. */
#ifndef BASE_DECIMAL_H
#define BASE_DECIMAL_H

#include <stddef.h>
#include <stdint.h>

/* The bytes that a number takes. */
size_t decimal_size(int64_t value);

/* Writes a number and returns where it ends. */
char *decimal_put(char *out, int64_t value);

#endif
