#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "server/deflate.h"

static void test_defaults(void **state)
{
    struct peal_deflate_options given = {.size = sizeof given};
    struct peal_deflate_options out;

    (void)state;
    assert_null(deflate_resolve(&out, NULL));
    assert_false(out.enabled);
    assert_false(out.context_takeover);
    assert_int_equal(out.threshold_bytes, 1024);
    assert_int_equal(out.level, 1);
    assert_int_equal(out.window_bits, 15);
    assert_int_equal(out.memory_level, 8);

    given.context_takeover = true;
    assert_null(deflate_resolve(&out, &given));
    assert_int_equal(out.window_bits, 12);
    assert_int_equal(out.memory_level, 5);
}

static void test_given_values_are_kept(void **state)
{
    struct peal_deflate_options given = {
        .size = sizeof given,
        .enabled = true,
        .threshold_bytes = 7,
        .level = 9,
        .window_bits = 9,
        .memory_level = 1,
    };
    struct peal_deflate_options out;

    (void)state;
    assert_null(deflate_resolve(&out, &given));
    assert_memory_equal(&out, &given, sizeof out);
}

static void refuse(const char *expected, struct peal_deflate_options given)
{
    struct peal_deflate_options out;
    const char *problem = deflate_resolve(&out, &given);

    assert_non_null(problem);
    assert_string_equal(problem, expected);
}

static void test_nonsense_is_refused_by_name(void **state)
{
    size_t size = sizeof(struct peal_deflate_options);

    (void)state;
    refuse("deflate.size", (struct peal_deflate_options){.size = 0});
    refuse("deflate.level",
           (struct peal_deflate_options){.size = size, .level = 10});
    refuse("deflate.level",
           (struct peal_deflate_options){.size = size, .level = -1});
    refuse("deflate.window_bits",
           (struct peal_deflate_options){.size = size, .window_bits = 8});
    refuse("deflate.window_bits",
           (struct peal_deflate_options){.size = size, .window_bits = 16});
    refuse("deflate.memory_level",
           (struct peal_deflate_options){.size = size, .memory_level = 10});
}

/* A connection must not become larger: 168 bytes share an allocation class. */
static void test_size_of_a_connection(void **state)
{
    (void)state;
    assert_true(sizeof(struct conn) <= 168);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_given_values_are_kept),
        cmocka_unit_test(test_nonsense_is_refused_by_name),
        cmocka_unit_test(test_size_of_a_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
