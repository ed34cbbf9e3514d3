/* Token buckets: exact over years, and by address from several threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/slice.h"
#include "hub/rate.h"
#include "hub/rate_table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static bool take(struct rate_bucket *bucket, const struct peal_rate *rate,
                 uint32_t cost, uint64_t now_ms)
{
    if (!rate_has(bucket, rate, cost, now_ms)) {
        return false;
    }
    rate_take(bucket, rate, cost, now_ms);
    return true;
}

static void test_defaults(void **state)
{
    struct peal_rate rate = rate_resolve((struct peal_rate){.capacity = 7});

    (void)state;
    assert_int_equal(rate.refill, 7);
    assert_int_equal(rate.refill_ms, 1000);
    assert_true(rate_is_on(&rate));
    rate = rate_resolve((struct peal_rate){.capacity = PEAL_OFF, .refill = 3});
    assert_false(rate_is_on(&rate));
    /* It is told from one that was not set. */
    assert_int_equal(rate.capacity, PEAL_OFF);
    assert_int_equal(rate.refill, 0);
    rate = rate_resolve((struct peal_rate){.refill = 3});
    assert_false(rate_is_on(&rate));
}

static void test_a_burst_and_then_the_refill(void **state)
{
    struct peal_rate rate = {.capacity = 5, .refill = 2, .refill_ms = 1000};
    struct rate_bucket bucket = {0};
    uint64_t now_ms = 1000;

    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_true(take(&bucket, &rate, 1, now_ms));
    }
    assert_false(take(&bucket, &rate, 1, now_ms));
    assert_int_equal(rate_wait_ms(&bucket, &rate, 1, now_ms), 500);
    assert_int_equal(rate_wait_ms(&bucket, &rate, 2, now_ms), 1000);
    assert_false(take(&bucket, &rate, 1, now_ms + 499));
    assert_true(take(&bucket, &rate, 1, now_ms + 500));
    assert_false(take(&bucket, &rate, 1, now_ms + 999));
    assert_true(take(&bucket, &rate, 1, now_ms + 1000));
    /* Never more than the capacity. */
    assert_true(rate_is_full(&bucket, &rate, now_ms + 1000000));
    for (int i = 0; i < 5; i++) {
        assert_true(take(&bucket, &rate, 1, now_ms + 1000000));
    }
    assert_false(take(&bucket, &rate, 1, now_ms + 1000000));
}

/* A fixed window lets twice its points through at its edge. */
static void test_no_window_has_more_than_burst_and_refill(void **state)
{
    struct peal_rate rate = {.capacity = 10, .refill = 10, .refill_ms = 1000};
    struct rate_bucket bucket = {0};
    int passed = 0;

    (void)state;
    for (uint64_t now_ms = 500; now_ms < 1500; now_ms++) {
        passed += take(&bucket, &rate, 1, now_ms);
        passed += take(&bucket, &rate, 1, now_ms);
    }
    assert_int_equal(passed, 19); /* 10, and 9.99 that came back */
}

/* 1 token in 3 ms, drawn at odd times for a day: not one more or less. */
static void test_nothing_drifts(void **state)
{
    struct peal_rate rate = {.capacity = 1, .refill = 1, .refill_ms = 3};
    struct rate_bucket bucket = {0};
    uint64_t day_ms = 24u * 3600 * 1000;
    uint64_t passed = 0;

    (void)state;
    for (uint64_t now_ms = 1; now_ms <= day_ms; now_ms++) {
        passed += take(&bucket, &rate, 1, now_ms);
    }
    assert_int_equal(passed, day_ms / 3);
}

static void test_costs(void **state)
{
    struct peal_rate rate = {.capacity = 10, .refill = 1, .refill_ms = 1};
    struct rate_bucket bucket = {0};

    (void)state;
    assert_true(take(&bucket, &rate, 0, 1));
    assert_true(take(&bucket, &rate, 7, 1));
    assert_false(take(&bucket, &rate, 4, 1));
    assert_true(take(&bucket, &rate, 3, 1));
    /* More than it holds takes a full one. */
    assert_false(take(&bucket, &rate, 1000, 10));
    assert_true(take(&bucket, &rate, 1000, 11));
    assert_false(take(&bucket, &rate, 1, 11));
}

/* What a smaller bucket cannot hold is lost. */
static void test_a_rate_that_shrinks(void **state)
{
    struct peal_rate rate = {.capacity = 10, .refill = 1, .refill_ms = 1000};
    struct rate_bucket bucket = {0};

    (void)state;
    assert_true(take(&bucket, &rate, 1, 5000));
    rate.capacity = 3;
    assert_true(rate_is_full(&bucket, &rate, 5000));
    assert_true(take(&bucket, &rate, 3, 5000));
    assert_false(take(&bucket, &rate, 1, 5000));
    assert_int_equal(rate_wait_ms(&bucket, &rate, 1, 5000), 1000);
}

static void test_extremes(void **state)
{
    struct peal_rate rate = {UINT32_MAX - 1, UINT32_MAX, UINT32_MAX};
    struct rate_bucket bucket = {0};

    (void)state;
    rate_take(&bucket, &rate, UINT32_MAX, 1);
    assert_false(rate_has(&bucket, &rate, 2, 2));
    assert_true(rate_has(&bucket, &rate, 1, 2));
    assert_true(rate_is_full(&bucket, &rate, UINT64_MAX));
    /* A clock that goes back gives nothing and takes nothing. */
    rate_take(&bucket, &rate, 0, UINT64_MAX);
    rate_take(&bucket, &rate, UINT32_MAX, 5);
    assert_false(rate_has(&bucket, &rate, 1, 5));
    assert_false(rate_has(&bucket, &rate, 1, UINT64_MAX));
}

static void test_addresses(void **state)
{
    struct peal_rate rate = {.capacity = 2, .refill = 2, .refill_ms = 1000};
    struct rate_table table;
    uint64_t wait_ms = 0;

    (void)state;
    rate_table_init(&table);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            rate_table_take(&table, &rate, peal_slice("a"), 1, 1, &wait_ms), 0);
    }
    assert_int_equal(
        rate_table_take(&table, &rate, peal_slice("a"), 1, 1, &wait_ms),
        PEAL_ELIMIT);
    assert_int_equal(wait_ms, 500);
    assert_int_equal(
        rate_table_take(&table, &rate, peal_slice("b"), 1, 1, &wait_ms), 0);
    assert_int_equal(rate_table_count(&table), 2);
    rate_table_fini(&table);
}

/* Those that are full again make room: the table stays small. */
static void test_full_buckets_are_forgotten(void **state)
{
    struct peal_rate rate = {.capacity = 1, .refill = 1, .refill_ms = 1};
    struct rate_table table;
    uint64_t wait_ms;

    (void)state;
    rate_table_init(&table);
    for (uint32_t i = 1; i <= 100000; i++) {
        uint32_t key[4] = {i, 0, 0, 0};

        assert_int_equal(
            rate_table_take(&table, &rate,
                            slice_make((const char *)key, sizeof key), 1, i,
                            &wait_ms),
            0);
    }
    assert_true(rate_table_count(&table) <= 2 * RATE_TABLE_SHARDS);
    rate_table_fini(&table);
}

/* Also when none is full again: those of one shard stand for all. */
static void test_addresses_are_bounded(void **state)
{
    struct peal_rate rate = {
        .capacity = 1, .refill = 1, .refill_ms = UINT32_MAX};
    size_t most = RATE_TABLE_MAX / RATE_TABLE_SHARDS;
    uint32_t key[4] = {0};
    struct peal_slice address = slice_make((const char *)key, sizeof key);
    struct rate_table table;
    uint64_t wait_ms;

    (void)state;
    rate_table_init(&table);
    for (size_t added = 0; added < most + 1000;) {
        key[0]++;
        if ((hash_bytes(address.data, address.size) >> 32 &
             (RATE_TABLE_SHARDS - 1)) == 0) {
            assert_int_equal(
                rate_table_take(&table, &rate, address, 1, 1, &wait_ms), 0);
            added++;
        }
    }
    assert_true(rate_table_count(&table) <= most);
    assert_true(rate_table_count(&table) > most - 10);
    rate_table_fini(&table);
}

static struct rate_table shared;
static _Atomic int shared_passed;

static void *draw(void *argument)
{
    struct peal_rate rate = {
        .capacity = 1000, .refill = 1, .refill_ms = UINT32_MAX};
    uint64_t wait_ms;

    (void)argument;
    for (int i = 0; i < 1000; i++) {
        if (rate_table_take(&shared, &rate, peal_slice("x"), 1, 1, &wait_ms) ==
            0) {
            atomic_fetch_add(&shared_passed, 1);
        }
    }
    return NULL;
}

static void test_threads_share_a_bucket(void **state)
{
    pthread_t threads[4];

    (void)state;
    rate_table_init(&shared);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, draw, NULL), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(shared_passed, 1000);
    rate_table_fini(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_a_burst_and_then_the_refill),
        cmocka_unit_test(test_no_window_has_more_than_burst_and_refill),
        cmocka_unit_test(test_nothing_drifts),
        cmocka_unit_test(test_costs),
        cmocka_unit_test(test_a_rate_that_shrinks),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_full_buckets_are_forgotten),
        cmocka_unit_test(test_addresses_are_bounded),
        cmocka_unit_test(test_threads_share_a_bucket),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
