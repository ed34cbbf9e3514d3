/*
 * The memory seam: every allocation of libpeal goes through here, so that a
 * program can bring its own allocator (peal_memory_set) and the tests can make
 * the n-th allocation fail.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What memory is for, in the accounts. */
enum mem_pool {
    MEM_OTHER,
    MEM_OUTPUT,  /* frames: tapes, queues' copies, backlogs */
    MEM_DEFLATE, /* zlib's state */
    MEM_TLS,     /* OpenSSL's, as far as it is known: net/tls_memory.h */
    MEM_POOLS
};

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

/* The same for another pool than MEM_OTHER; freed with the same one. */
void *mem_alloc_in(enum mem_pool pool, size_t size);
void *mem_realloc_in(enum mem_pool pool, void *block, size_t size);
void mem_free_in(enum mem_pool pool, void *block);

/*
 * Bytes that a block has from the allocator, with what that rounds up to and
 * keeps for itself; 0 when it cannot tell, and for NULL.
 */
size_t mem_size(void *block);

/* Counts for the pool what somebody else has taken, or given back if < 0. */
void mem_count(enum mem_pool pool, int64_t bytes);

/*
 * Bytes that the pool, and all of them, have from the allocator now, with what
 * it rounds up to and keeps for itself. Of the whole process. Any thread.
 */
uint64_t mem_used_in(enum mem_pool pool);
uint64_t mem_used(void);

/* False when the program's own allocator cannot tell the sizes of blocks. */
bool mem_is_counted(void);

#endif
