#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/glob.h"

static bool matches(const char *pattern, const char *text)
{
    return glob_matches(peal_slice(pattern), peal_slice(text));
}

static void test_plain_names(void **state)
{
    (void)state;
    assert_true(matches("lobby", "lobby"));
    assert_false(matches("lobby", "lobb"));
    assert_false(matches("lobb", "lobby"));
    assert_false(matches("lobby", "Lobby"));
    assert_false(matches("", "a"));
    assert_true(matches("", ""));
    assert_false(matches("a?c", "abc"));
}

static void test_stars(void **state)
{
    (void)state;
    assert_true(matches("*", ""));
    assert_true(matches("*", "anything"));
    assert_true(matches("prices:*", "prices:"));
    assert_true(matches("prices:*", "prices:eur:usd"));
    assert_false(matches("prices:*", "price:eur"));
    assert_true(matches("*:eur", "prices:eur"));
    assert_false(matches("*:eur", "prices:eur:x"));
    assert_true(matches("a*b*c", "abc"));
    assert_true(matches("a*b*c", "aXbYbZc"));
    assert_false(matches("a*b*c", "acb"));
    assert_true(matches("**a**", "a"));
    assert_true(matches("*ab", "aab"));
    assert_true(matches("*aab", "aaaab"));
}

/* What would take exponential time with plain recursion. */
static void test_many_stars(void **state)
{
    char pattern[201];
    char text[2000];

    (void)state;
    for (size_t i = 0; i < 100; i++) {
        pattern[2 * i] = '*';
        pattern[2 * i + 1] = 'a';
    }
    pattern[200] = '\0';
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_true(matches(pattern, text));
    text[sizeof text - 2] = 'b';
    assert_false(matches(pattern, text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_names),
        cmocka_unit_test(test_stars),
        cmocka_unit_test(test_many_stars),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
