#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/slice.h"

static void test_equal(void **state)
{
    (void)state;
    assert_true(slice_equal(SLICE("room"), SLICE("room")));
    assert_false(slice_equal(SLICE("room"), SLICE("rooM")));
    assert_false(slice_equal(SLICE("room"), SLICE("rooms")));
    assert_true(slice_equal(slice_make(NULL, 0), SLICE("")));
    assert_false(slice_equal(SLICE("a\0b"), SLICE("a\0c")));
}

static void test_prefix(void **state)
{
    (void)state;
    assert_true(slice_has_prefix(SLICE("peal:x"), SLICE("peal:")));
    assert_true(slice_has_prefix(SLICE("peal:"), SLICE("peal:")));
    assert_true(slice_has_prefix(slice_make(NULL, 0), slice_make(NULL, 0)));
    assert_false(slice_has_prefix(SLICE("peal"), SLICE("peal:")));
    assert_false(slice_has_prefix(SLICE("Peal:x"), SLICE("peal:")));
}

static void test_nocase(void **state)
{
    (void)state;
    assert_true(slice_equal_nocase(SLICE("Keep-Alive"), SLICE("kEEP-aLIVE")));
    assert_true(slice_equal_nocase(slice_make(NULL, 0), SLICE("")));
    assert_false(slice_equal_nocase(SLICE("keep"), SLICE("keep-alive")));
    /* Only letters differ by that one bit and are still equal. */
    assert_false(slice_equal_nocase(SLICE("@"), SLICE("`")));
    assert_false(slice_equal_nocase(SLICE("["), SLICE("{")));
    assert_false(slice_equal_nocase(SLICE("\xc1"), SLICE("\xe1")));
    for (int c = 0; c < 256; c++) {
        char upper = (char)c;
        char lower = c >= 'A' && c <= 'Z' ? (char)(c + 32) : (char)c;

        assert_true(slice_equal_nocase(slice_make(&upper, 1),
                                       slice_make(&lower, 1)));
    }
}

/* Each pair of bytes at each place of texts that are words and pieces. */
static void test_nocase_of_words(void **state)
{
    (void)state;
    for (size_t at = 0; at < 19; at++) {
        for (int one = 0; one < 256; one++) {
            for (int other = 0; other < 256; other++) {
                char a[20] = "Sec-WebSocket-Key-X";
                char b[20] = "sEC-wEBSOCKET-kEY-x";
                bool is_letter = (one | 32) >= 'a' && (one | 32) <= 'z';

                a[at] = (char)one;
                b[at] = (char)other;
                assert_int_equal(
                    slice_equal_nocase(slice_make(a, 19), slice_make(b, 19)),
                    one == other || (is_letter && one == (other ^ 32)));
            }
        }
    }
}

static void test_trim(void **state)
{
    (void)state;
    assert_true(slice_equal(slice_trim(SLICE(" \t a b\t ")), SLICE("a b")));
    assert_true(slice_equal(slice_trim(SLICE("ab")), SLICE("ab")));
    assert_true(slice_equal(slice_trim(SLICE("\r\n")), SLICE("\r\n")));
    assert_int_equal(slice_trim(SLICE(" \t ")).size, 0);
    assert_int_equal(slice_trim(slice_make(NULL, 0)).size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_nocase),
        cmocka_unit_test(test_nocase_of_words),
        cmocka_unit_test(test_trim),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
