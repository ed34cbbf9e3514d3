/* Delays stay within their bounds and use all of the range. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/backoff.h"

static const struct backoff_bounds bounds = {50, 1000, 30000};

static void test_the_ceiling_doubles_up_to_the_bound(void **state)
{
    static const uint32_t expected[] = {1000, 2000, 4000, 8000, 16000, 30000};

    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(backoff_ceiling_ms(&bounds, i + 1), expected[i]);
    }
    assert_int_equal(backoff_ceiling_ms(&bounds, UINT32_MAX), 30000);
}

static void test_the_whole_range_is_used(void **state)
{
    uint32_t low = UINT32_MAX;
    uint32_t high = 0;

    (void)state;
    for (int i = 0; i < 10000; i++) {
        uint32_t delay = backoff_delay_ms(&bounds, 1);

        assert_in_range(delay, 50, 1000);
        low = delay < low ? delay : low;
        high = delay > high ? delay : high;
    }
    assert_in_range(low, 50, 100);
    assert_in_range(high, 950, 1000);
}

static void test_odd_bounds_hold(void **state)
{
    const struct backoff_bounds fixed = {20, 5, 20};
    const struct backoff_bounds widest = {0, UINT32_MAX, UINT32_MAX};

    (void)state;
    assert_int_equal(backoff_delay_ms(&fixed, 1), 20);
    assert_int_equal(backoff_delay_ms(&fixed, 9), 20);
    assert_int_equal(backoff_ceiling_ms(&widest, 40), UINT32_MAX);
    backoff_delay_ms(&widest, 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_ceiling_doubles_up_to_the_bound),
        cmocka_unit_test(test_the_whole_range_is_used),
        cmocka_unit_test(test_odd_bounds_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
