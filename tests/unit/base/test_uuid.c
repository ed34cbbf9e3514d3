#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/uuid.h"

static void test_form(void **state)
{
    (void)state;
    for (int round = 0; round < 1000; round++) {
        struct uuid uuid = uuid_make();
        char text[UUID_TEXT_SIZE + 1];

        uuid_format(uuid, text);
        assert_int_equal(strlen(text), UUID_TEXT_SIZE);
        for (size_t i = 0; i < UUID_TEXT_SIZE; i++) {
            if (i == 8 || i == 13 || i == 18 || i == 23) {
                assert_int_equal(text[i], '-');
            } else {
                assert_non_null(strchr("0123456789abcdef", text[i]));
            }
        }
        /* Version and variant (RFC 9562, 4.1 and 4.2). */
        assert_int_equal(text[14], '4');
        assert_non_null(strchr("89ab", text[19]));
    }
}

static void test_bytes_in_order(void **state)
{
    struct uuid uuid = {{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe,
                         0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10}};
    char text[UUID_TEXT_SIZE + 1];

    (void)state;
    uuid_format(uuid, text);
    assert_string_equal(text, "01234567-89ab-cdef-fedc-ba9876543210");
}

static void test_no_two_alike(void **state)
{
    static struct uuid uuids[2000];

    (void)state;
    for (size_t i = 0; i < 2000; i++) {
        uuids[i] = uuid_make();
        for (size_t k = 0; k < i; k++) {
            assert_memory_not_equal(&uuids[i], &uuids[k], sizeof uuids[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),
        cmocka_unit_test(test_bytes_in_order),
        cmocka_unit_test(test_no_two_alike),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
