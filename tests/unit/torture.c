#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "peal/peal.h"
#include "torture.h"

struct torture {
    atomic_long calls; /* allocations asked for in this run */
    atomic_long alive; /* blocks not yet released */
    atomic_bool has_failed;
    long fail_at;      /* the first call that fails */
    bool all_after_it; /* and whether the later ones fail too */
};

static struct torture torture;

static bool torture_must_fail(struct torture *t)
{
    long call = atomic_fetch_add(&t->calls, 1) + 1;

    if (call == t->fail_at || (t->all_after_it && call > t->fail_at)) {
        atomic_store(&t->has_failed, true);
        return true;
    }
    return false;
}

static void *torture_allocate(size_t size, void *user)
{
    struct torture *t = user;

    if (torture_must_fail(t)) {
        return NULL;
    }
    atomic_fetch_add(&t->alive, 1);
    return malloc(size);
}

static void *torture_reallocate(void *block, size_t size, void *user)
{
    struct torture *t = user;

    if (torture_must_fail(t)) {
        return NULL;
    }
    if (block == NULL) {
        atomic_fetch_add(&t->alive, 1);
    }
    return realloc(block, size);
}

static void torture_release(void *block, void *user)
{
    struct torture *t = user;

    if (block != NULL) {
        atomic_fetch_sub(&t->alive, 1);
        free(block);
    }
}

static void torture_series(void (*scenario)(void *arg), void *arg,
                           bool all_after_it)
{
    bool has_failed = true;

    torture.all_after_it = all_after_it;
    for (long fail_at = 1; has_failed; fail_at++) {
        torture.fail_at = fail_at;
        atomic_store(&torture.calls, 0);
        atomic_store(&torture.has_failed, false);
        scenario(arg);
        assert_int_equal(atomic_load(&torture.alive), 0);
        has_failed = atomic_load(&torture.has_failed);
    }
}

void torture_run(void (*scenario)(void *arg), void *arg)
{
    struct peal_memory memory = {
        .allocate = torture_allocate,
        .reallocate = torture_reallocate,
        .release = torture_release,
        .user = &torture,
    };

    atomic_store(&torture.alive, 0);
    peal_memory_set(&memory);
    torture_series(scenario, arg, false);
    torture_series(scenario, arg, true);
    peal_memory_set(NULL);
}

bool torture_failed(void)
{
    return atomic_load(&torture.has_failed);
}
