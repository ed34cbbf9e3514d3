#include "support/scarce.h"

#include <peal/peal.h>

#include <stdatomic.h>
#include <stdlib.h>

static _Atomic long allocations; /* since it was armed */
static _Atomic long fail_at;
static _Atomic long live;

static bool must_fail(void)
{
    return atomic_fetch_add(&allocations, 1) + 1 == atomic_load(&fail_at);
}

static void *allocate(size_t size, void *user)
{
    void *block = must_fail() ? NULL : malloc(size);

    (void)user;
    if (block != NULL) {
        atomic_fetch_add(&live, 1);
    }
    return block;
}

static void *reallocate(void *block, size_t size, void *user)
{
    void *moved = must_fail() ? NULL : realloc(block, size);

    (void)user;
    if (block == NULL && moved != NULL) {
        atomic_fetch_add(&live, 1);
    }
    return moved;
}

static void release(void *block, void *user)
{
    (void)user;
    if (block != NULL) {
        atomic_fetch_sub(&live, 1);
    }
    free(block);
}

void scarce_install(void)
{
    const struct peal_memory memory = {
        .allocate = allocate,
        .reallocate = reallocate,
        .release = release,
    };

    peal_memory_set(&memory);
}

void scarce_arm(long at)
{
    atomic_store(&fail_at, 0);
    atomic_store(&allocations, 0);
    atomic_store(&fail_at, at);
}

bool scarce_has_failed(void)
{
    long at = atomic_load(&fail_at);

    return at > 0 && atomic_load(&allocations) >= at;
}

bool scarce_is_plenty(void)
{
    return atomic_load(&fail_at) == 0;
}

long scarce_live(void)
{
    return atomic_load(&live);
}
