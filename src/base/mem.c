#include "base/mem.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "peal/peal.h"

static void *mem_default_allocate(size_t size, void *user)
{
    (void)user;
    return malloc(size);
}

static void *mem_default_reallocate(void *block, size_t size, void *user)
{
    (void)user;
    return realloc(block, size);
}

static void mem_default_release(void *block, void *user)
{
    (void)user;
    free(block);
}

/* The C library keeps the size of a block in the word before it. */
static size_t mem_default_size_of(void *block, void *user)
{
    (void)user;
    return malloc_usable_size(block) + sizeof(size_t);
}

static const struct peal_memory mem_default = {
    .allocate = mem_default_allocate,
    .reallocate = mem_default_reallocate,
    .release = mem_default_release,
    .size_of = mem_default_size_of,
};

/* [I] Set before anything else runs, as peal_memory_set demands. */
static struct peal_memory mem_current = {
    .allocate = mem_default_allocate,
    .reallocate = mem_default_reallocate,
    .release = mem_default_release,
    .size_of = mem_default_size_of,
};

/*
 * Accounts, one for each thread up to a number, so that loops do not write to
 * each other's cache lines; threads beyond share. A block may be freed on
 * another account than its own: only the sum of all means something.
 */
#define MEM_ACCOUNTS 64

struct mem_account {
    _Alignas(64) _Atomic int64_t bytes[MEM_POOLS];
};

static struct mem_account mem_accounts[MEM_ACCOUNTS];
static _Atomic unsigned mem_threads;
static _Thread_local struct mem_account *mem_mine;

void mem_count(enum mem_pool pool, int64_t bytes)
{
    if (mem_mine == NULL) {
        mem_mine =
            &mem_accounts[atomic_fetch_add(&mem_threads, 1) % MEM_ACCOUNTS];
    }
    atomic_fetch_add_explicit(&mem_mine->bytes[pool], bytes,
                              memory_order_relaxed);
}

size_t mem_size(void *block)
{
    return block != NULL && mem_current.size_of != NULL
               ? mem_current.size_of(block, mem_current.user)
               : 0;
}

uint64_t mem_used_in(enum mem_pool pool)
{
    int64_t sum = 0;

    for (size_t i = 0; i < MEM_ACCOUNTS; i++) {
        sum += atomic_load_explicit(&mem_accounts[i].bytes[pool],
                                    memory_order_relaxed);
    }
    return sum > 0 ? (uint64_t)sum : 0;
}

uint64_t mem_used(void)
{
    uint64_t sum = 0;

    for (enum mem_pool pool = 0; pool < MEM_POOLS; pool++) {
        sum += mem_used_in(pool);
    }
    return sum;
}

bool mem_is_counted(void)
{
    return mem_current.size_of != NULL;
}

void peal_memory_set(const struct peal_memory *memory)
{
    mem_current = memory != NULL ? *memory : mem_default;
}

void *mem_alloc_in(enum mem_pool pool, size_t size)
{
    ASSERT(size > 0);

    void *block = mem_current.allocate(size, mem_current.user);

    if (block != NULL) {
        mem_count(pool, (int64_t)mem_size(block));
    }
    return block;
}

void *mem_alloc(size_t size)
{
    return mem_alloc_in(MEM_OTHER, size);
}

void *mem_zalloc(size_t size)
{
    void *block = mem_alloc(size);

    if (block != NULL) {
        memset(block, 0, size);
    }
    return block;
}

void *mem_realloc_in(enum mem_pool pool, void *block, size_t size)
{
    ASSERT(size > 0);

    size_t before = mem_size(block);
    void *moved = mem_current.reallocate(block, size, mem_current.user);

    if (moved != NULL) {
        mem_count(pool, (int64_t)mem_size(moved) - (int64_t)before);
    }
    return moved;
}

void *mem_realloc(void *block, size_t size)
{
    return mem_realloc_in(MEM_OTHER, block, size);
}

char *mem_copy(const void *data, size_t size)
{
    ASSERT(size < SIZE_MAX);

    char *copy = mem_alloc(size + 1);

    if (copy == NULL) {
        return NULL;
    }
    if (size > 0) {
        memcpy(copy, data, size);
    }
    copy[size] = '\0';
    return copy;
}

void mem_free_in(enum mem_pool pool, void *block)
{
    if (block != NULL) {
        mem_count(pool, -(int64_t)mem_size(block));
        mem_current.release(block, mem_current.user);
    }
}

void mem_free(void *block)
{
    mem_free_in(MEM_OTHER, block);
}
