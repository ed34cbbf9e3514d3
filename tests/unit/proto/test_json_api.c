/* The public functions on JSON, as peal.h describes them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "peal/peal.h"

static void test_get(void **state)
{
    struct peal_slice object =
        peal_slice(" {\"a\":1,\"b\":\" x \",\"c\":{\"a\":2},\"d\":null} ");
    struct peal_slice value;

    (void)state;
    assert_int_equal(peal_json_get(object, "a", &value), 0);
    assert_true(peal_slice_equal(value, peal_slice("1")));
    assert_int_equal(peal_json_get(object, "b", &value), 0);
    assert_true(peal_slice_equal(value, peal_slice("\" x \"")));
    assert_int_equal(peal_json_get(object, "c", &value), 0);
    assert_true(peal_slice_equal(value, peal_slice("{\"a\":2}")));
    assert_int_equal(peal_json_get(object, "d", &value), 0);
    assert_true(peal_slice_equal(value, peal_slice("null")));
    assert_int_equal(peal_json_get(object, "e", &value), PEAL_ENOTFOUND);
    assert_int_equal(peal_json_get(peal_slice("[1]"), "a", &value),
                     PEAL_EINVAL);
    assert_int_equal(peal_json_get(peal_slice("{\"a\":1"), "a", &value),
                     PEAL_EINVAL);
    assert_int_equal(
        peal_json_get(peal_slice("{\"a\":1,\"a\":2}"), "a", &value),
        PEAL_EINVAL);
    assert_int_equal(peal_json_get(peal_slice(NULL), "a", &value), PEAL_EINVAL);
}

static void test_text(void **state)
{
    char out[16];

    (void)state;
    assert_int_equal(peal_json_text(peal_slice(" \"a\\n\\u00e9\" "), out, 16),
                     4);
    assert_string_equal(out, "a\n\xc3\xa9");
    assert_int_equal(peal_json_text(peal_slice("\"\""), out, 1), 0);
    assert_string_equal(out, "");
    assert_int_equal(peal_json_text(peal_slice("\"abc\""), out, 4), 3);
    assert_int_equal(peal_json_text(peal_slice("\"abc\""), out, 3),
                     PEAL_ETOOBIG);
    assert_int_equal(peal_json_text(peal_slice("1"), out, 16), PEAL_EINVAL);
    assert_int_equal(peal_json_text(peal_slice("\"a"), out, 16), PEAL_EINVAL);
    assert_int_equal(peal_json_text(peal_slice("\"\\ud800\""), out, 16),
                     PEAL_EINVAL);
    assert_int_equal(peal_json_text(peal_slice("\"a\\u0000\""), out, 16),
                     PEAL_EINVAL);
}

static void test_number(void **state)
{
    double number = 7;

    (void)state;
    assert_int_equal(peal_json_number(peal_slice(" -1.5e3 "), &number), 0);
    assert_true(fabs(number + 1500) < 1e-9);
    assert_int_equal(peal_json_number(peal_slice("\"1\""), &number),
                     PEAL_EINVAL);
    assert_int_equal(peal_json_number(peal_slice("01"), &number), PEAL_EINVAL);
    assert_int_equal(peal_json_number(peal_slice("1 2"), &number), PEAL_EINVAL);
    assert_int_equal(peal_json_number(peal_slice(""), &number), PEAL_EINVAL);
}

static void test_quote(void **state)
{
    char out[16];

    (void)state;
    assert_int_equal(peal_json_quote(out, 16, peal_slice("a\"\n\xc3\xa9")), 9);
    assert_string_equal(out, "\"a\\\"\\n\xc3\xa9\"");
    assert_int_equal(peal_json_quote(out, 3, peal_slice("")), 2);
    assert_string_equal(out, "\"\"");
    assert_int_equal(peal_json_quote(out, 2, peal_slice("")), PEAL_ETOOBIG);
    assert_int_equal(peal_json_quote(out, 16, peal_slice("\xff")), PEAL_EINVAL);
    assert_int_equal(peal_json_quote(out, 16, (struct peal_slice){"a\0b", 3}),
                     10);
    assert_string_equal(out, "\"a\\u0000b\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_number),
        cmocka_unit_test(test_quote),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
