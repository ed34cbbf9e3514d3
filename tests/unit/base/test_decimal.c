#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>

#include "base/decimal.h"

static void test_numbers(void **state)
{
    static const int64_t numbers[] = {
        0,   9,    10,         99,         100,       -1,        -10,
        123, 4711, UINT32_MAX, 1000000000, INT64_MAX, INT64_MIN,
    };

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char wanted[32];
        char out[32];
        int size = snprintf(wanted, sizeof wanted, "%" PRId64, numbers[i]);

        assert_int_equal(decimal_size(numbers[i]), size);
        assert_ptr_equal(decimal_put(out, numbers[i]), out + size);
        assert_memory_equal(out, wanted, (size_t)size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
