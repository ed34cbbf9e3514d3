/*
 * The memory seam: every allocation of libpeal goes through here, so that a
 * program can bring its own allocator (peal_memory_set) and the tests can make
 * the n-th allocation fail.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

/* Returns NULL when there is none. `size` must not be 0. */
void *mem_alloc(size_t size);

/* As mem_alloc, filled with zeros. */
void *mem_zalloc(size_t size);

/* As realloc: on NULL the old block is as it was. `size` must not be 0. */
void *mem_realloc(void *block, size_t size);

/* A copy of `size` bytes with a zero byte after it, or NULL. */
char *mem_copy(const void *data, size_t size);

/* NULL is allowed. */
void mem_free(void *block);

#endif
