/*
 * Random bytes from the kernel, in batches: each thread draws 512 at a time.
 * Fit for ids, mask keys and salts. After fork the child starts a new batch.
 */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *out, size_t size);

/* Uniform over all 2^32 values. */
uint32_t random_u32(void);

/* Uniform in 0 .. bound - 1, without modulo bias. `bound` > 0. */
uint32_t random_below(uint32_t bound);

#endif
