#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "peal/peal.h"
#include "torture.h"

struct counts {
    int allocated;
    int reallocated;
    int released;
};

static void *count_allocate(size_t size, void *user)
{
    struct counts *counts = user;
    void *block = malloc(size);

    counts->allocated++;
    if (block != NULL) {
        memset(block, 0xaa, size);
    }
    return block;
}

static void *count_reallocate(void *block, size_t size, void *user)
{
    struct counts *counts = user;

    counts->reallocated++;
    return realloc(block, size);
}

static void count_release(void *block, void *user)
{
    struct counts *counts = user;

    counts->released++;
    free(block);
}

static void test_default_allocator(void **state)
{
    char *block = mem_alloc(10);

    (void)state;
    assert_non_null(block);
    memset(block, 1, 10);
    block = mem_realloc(block, 1000);
    assert_non_null(block);
    assert_int_equal(block[9], 1);
    mem_free(block);
    mem_free(NULL);
}

static void test_hooks_see_everything(void **state)
{
    struct counts counts = {0};
    struct peal_memory memory = {
        .allocate = count_allocate,
        .reallocate = count_reallocate,
        .release = count_release,
        .user = &counts,
    };

    (void)state;
    peal_memory_set(&memory);

    unsigned char *zeros = mem_zalloc(100);

    for (int i = 0; i < 100; i++) {
        assert_int_equal(zeros[i], 0);
    }

    char *copy = mem_copy("a\0b", 3);
    char *empty = mem_copy(NULL, 0);
    char *grown = mem_realloc(NULL, 5);

    assert_memory_equal(copy, "a\0b", 4);
    assert_string_equal(empty, "");
    mem_free(zeros);
    mem_free(copy);
    mem_free(empty);
    mem_free(grown);
    mem_free(NULL);
    peal_memory_set(NULL);

    mem_free(mem_alloc(1));
    assert_int_equal(counts.allocated, 3);
    assert_int_equal(counts.reallocated, 1);
    assert_int_equal(counts.released, 4);
}

static void allocate_each_way(void *arg)
{
    int *runs = arg;
    void *zeros = mem_zalloc(1);
    char *copy = mem_copy("x", 1);
    void *block = mem_alloc(1);
    void *grown = mem_realloc(block, 2);

    (*runs)++;
    assert_int_equal(zeros == NULL || copy == NULL || block == NULL ||
                         grown == NULL,
                     torture_failed());
    mem_free(zeros);
    mem_free(copy);
    mem_free(grown != NULL ? grown : block);
}

static void test_torture_fails_each_allocation_once(void **state)
{
    int runs = 0;

    (void)state;
    torture_run(allocate_each_way, &runs);
    /* Four allocations and a run without a failure, in both series. */
    assert_int_equal(runs, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_allocator),
        cmocka_unit_test(test_hooks_see_everything),
        cmocka_unit_test(test_torture_fails_each_allocation_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
