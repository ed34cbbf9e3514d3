#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>

#include "base/clock.h"

static void check_format(uint64_t wall_ms, const char *expected)
{
    char text[CLOCK_TEXT_SIZE + 1];

    clock_format(wall_ms, text);
    assert_string_equal(text, expected);
}

static void test_format(void **state)
{
    (void)state;
    check_format(0, "1970-01-01T00:00:00.000Z");
    check_format(999, "1970-01-01T00:00:00.999Z");
    check_format(951782399999, "2000-02-28T23:59:59.999Z");
    check_format(951782400000, "2000-02-29T00:00:00.000Z");
    check_format(1795224501598, "2026-11-21T01:28:21.598Z");
    check_format(4107542400000, "2100-03-01T00:00:00.000Z");
    check_format(253402300799999, "9999-12-31T23:59:59.999Z");
    check_format(UINT64_MAX, "9999-12-31T23:59:59.999Z");
}

static void test_monotonic_never_goes_back(void **state)
{
    uint64_t before = clock_monotonic_ns();

    (void)state;
    for (int i = 0; i < 10000; i++) {
        uint64_t now = clock_monotonic_ns();

        assert_true(now >= before);
        before = now;
    }

    uint64_t ms = clock_monotonic_ms();

    assert_true(ms >= before / 1000000);
    assert_true(ms <= clock_monotonic_ns() / 1000000);
}

static void test_wall_is_the_systems(void **state)
{
    uint64_t before = (uint64_t)time(NULL);
    uint64_t now_ms = clock_wall_ms();

    (void)state;
    /* time() may lag by a tick. */
    assert_true(now_ms / 1000 >= before);
    assert_true(now_ms / 1000 <= (uint64_t)time(NULL) + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_monotonic_never_goes_back),
        cmocka_unit_test(test_wall_is_the_systems),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
