#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/ip.h"
#include "base/slice.h"

static void test_v4(void **state)
{
    static const uint8_t wanted[] = {192, 0, 2, 255};
    uint8_t ip[IP_V6_SIZE];

    (void)state;
    assert_int_equal(ip_parse(ip, SLICE("192.0.2.255")), IP_V4_SIZE);
    assert_memory_equal(ip, wanted, sizeof wanted);
    /* Only as much as the slice has. */
    assert_int_equal(ip_parse(ip, slice_make("192.0.2.25 5", 10)), IP_V4_SIZE);
    assert_int_equal(ip[3], 25);
}

static void test_v6(void **state)
{
    uint8_t wanted[IP_V6_SIZE] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    uint8_t ip[IP_V6_SIZE];

    (void)state;
    assert_int_equal(ip_parse(ip, SLICE("2001:db8::1")), IP_V6_SIZE);
    assert_memory_equal(ip, wanted, sizeof wanted);
    assert_int_equal(ip_parse(ip, SLICE("::ffff:192.0.2.1")), IP_V6_SIZE);
    assert_int_equal(ip[12], 192);
}

static void test_others(void **state)
{
    static const struct peal_slice others[] = {
        {"", 0},
        {"192.0.2.1\0", 10},
        {"192.0.2.1 ", 10},
        {"192.0.2.256", 11},
        {"192.0.2.01", 10},
        {"192.0.2", 7},
        {"::1%lo", 6},
        {"[::1]", 5},
        {"1:2:3:4:5:6:7:8:9", 17},
        {"localhost", 9},
    };
    uint8_t ip[IP_V6_SIZE];
    char text[100];

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_int_equal(ip_parse(ip, others[i]), 0);
    }
    memset(text, '0', sizeof text);
    assert_int_equal(ip_parse(ip, slice_make(text, sizeof text)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v4),
        cmocka_unit_test(test_v6),
        cmocka_unit_test(test_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
