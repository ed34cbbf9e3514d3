#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "hub/limit.h"

#define THREADS 4
#define ROUNDS 20000
#define MAX 3 /* fewer than threads, so that some are refused */

struct race {
    _Atomic uint32_t count;
    _Atomic uint32_t inside;
    _Atomic uint32_t inside_most;
    _Atomic uint32_t taken;
};

static void *race(void *arg)
{
    struct race *shared = arg;

    for (int i = 0; i < ROUNDS; i++) {
        if (limit_take(&shared->count, MAX)) {
            uint32_t inside = atomic_fetch_add(&shared->inside, 1) + 1;
            uint32_t most = atomic_load(&shared->inside_most);

            while (inside > most && !atomic_compare_exchange_weak(
                                        &shared->inside_most, &most, inside)) {
            }
            atomic_fetch_add(&shared->taken, 1);
            atomic_fetch_sub(&shared->inside, 1);
            limit_give(&shared->count);
        }
    }
    return NULL;
}

static void racing_takers_never_pass_the_limit(void **state)
{
    struct race shared = {0};
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, race, &shared), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_true(atomic_load(&shared.inside_most) <= MAX);
    assert_true(atomic_load(&shared.taken) > 0);
    assert_int_equal(atomic_load(&shared.count), 0);
}

static void the_limit_is_exact(void **state)
{
    _Atomic uint32_t count = 0;

    (void)state;
    assert_false(limit_take(&count, 0));
    assert_true(limit_take(&count, 2));
    assert_true(limit_take(&count, 2));
    assert_false(limit_take(&count, 2));
    limit_give(&count);
    assert_true(limit_take(&count, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_is_exact),
        cmocka_unit_test(racing_takers_never_pass_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
