#include "base/mem.h"

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

static const struct peal_memory mem_default = {
    .allocate = mem_default_allocate,
    .reallocate = mem_default_reallocate,
    .release = mem_default_release,
};

/* [I] Set before anything else runs, as peal_memory_set demands. */
static struct peal_memory mem_current = {
    .allocate = mem_default_allocate,
    .reallocate = mem_default_reallocate,
    .release = mem_default_release,
};

void peal_memory_set(const struct peal_memory *memory)
{
    mem_current = memory != NULL ? *memory : mem_default;
}

void *mem_alloc(size_t size)
{
    ASSERT(size > 0);
    return mem_current.allocate(size, mem_current.user);
}

void *mem_zalloc(size_t size)
{
    void *block = mem_alloc(size);

    if (block != NULL) {
        memset(block, 0, size);
    }
    return block;
}

void *mem_realloc(void *block, size_t size)
{
    ASSERT(size > 0);
    return mem_current.reallocate(block, size, mem_current.user);
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

void mem_free(void *block)
{
    if (block != NULL) {
        mem_current.release(block, mem_current.user);
    }
}
