#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/slice.h"
#include "server/router.h"
#include "torture.h"

static struct router router;

static int setup(void **state)
{
    (void)state;
    router_init(&router);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    router_fini(&router, NULL);
    return 0;
}

static int add(const char *pattern)
{
    struct router_entry *entry;

    return router_add(&router, pattern, &entry);
}

/* The pattern that a path belongs to, or the error. */
static const char *find(const char *path)
{
    const struct router_entry *entry;
    char *copy = malloc(strlen(path) + 1); /* no byte more is read */
    int rc;

    assert_non_null(copy);
    memcpy(copy, path, strlen(path));
    rc = router_find(&router, slice_make(copy, strlen(path)), &entry);
    free(copy);
    return rc == 0 ? entry->pattern : peal_error_name(rc);
}

static const char *param(const char *pattern, const char *path,
                         const char *name)
{
    static char out[64];
    long size = router_param(pattern, peal_slice(path), name, out, sizeof out);

    if (size < 0) {
        return peal_error_name((int)size);
    }
    assert_int_equal(strlen(out), size);
    return out;
}

/* --- Patterns ------------------------------------------------------------ */

static void test_patterns(void **state)
{
    static const char *const good[] = {
        "/", "/a", "/a/", "/:a", "/:a/:b", "/:a/", "/a/:b/c", "/:a/:b*",
        "/a:b", "/a*", "/*", "/\xc3\xa4", "/a b", "/:a_1/:a_2/x",
    };
    static const char *const bad[] = {
        "", "a", ":a", "//", "/a//b", "//a", "/:", "/:*", "/:a*/b", "/:a-b",
        "/:a*b", "/:a/:a", "/:a/b/:a*", "/a?b", "/a#b", "/a%20b", "/:a**",
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(add(good[i]), 0);
        assert_int_equal(add(good[i]), PEAL_EEXIST);
        assert_int_equal(router.count, i + 1);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(add(bad[i]), PEAL_EINVAL);
    }
    assert_int_equal(add(NULL), PEAL_EINVAL);
}

static void test_conflicts(void **state)
{
    struct router_entry *first;
    struct router_entry *entry;

    (void)state;
    assert_int_equal(router_add(&router, "/rooms/:room/chat", &first), 0);
    assert_int_equal(router_add(&router, "/rooms/:other/chat", &entry),
                     PEAL_EEXIST);
    assert_ptr_equal(entry, first);
    assert_int_equal(add("/rooms/:other/info"), 0);
    assert_int_equal(add("/:a*"), 0);
    assert_int_equal(add("/:b*"), PEAL_EEXIST);
    assert_int_equal(add("/:b"), 0);
}

static void test_bounds(void **state)
{
    char pattern[ROUTER_PATTERN_MAX + 2] = "/";

    (void)state;
    memset(pattern + 1, 'a', ROUTER_SEGMENT_BYTES_MAX);
    assert_int_equal(add(pattern), 0);
    assert_string_equal(find(pattern), pattern);
    pattern[1 + ROUTER_SEGMENT_BYTES_MAX] = 'a';
    assert_int_equal(add(pattern), PEAL_EINVAL);
    assert_string_equal(find(pattern), "notfound");

    memset(pattern, 0, sizeof pattern);
    for (int i = 0; i < ROUTER_SEGMENTS_MAX; i++) {
        memcpy(pattern + 2 * i, "/b", 2);
    }
    assert_int_equal(add(pattern), 0);
    memcpy(pattern + 2 * ROUTER_SEGMENTS_MAX, "/b", 2);
    assert_int_equal(add(pattern), PEAL_EINVAL);

    memset(pattern, 0, sizeof pattern);
    for (size_t i = 0; i < ROUTER_PATTERN_MAX + 1; i++) {
        pattern[i] = i % 100 == 0 ? '/' : 'c';
    }
    assert_int_equal(add(pattern), PEAL_EINVAL);
    pattern[ROUTER_PATTERN_MAX] = '\0';
    assert_int_equal(add(pattern), 0);
}

/* --- Paths --------------------------------------------------------------- */

static void test_nothing_is_found_in_nothing(void **state)
{
    (void)state;
    assert_string_equal(find("/"), "notfound");
    assert_string_equal(find(""), "notfound");
    assert_string_equal(find("*"), "notfound");
    assert_string_equal(find("/%"), "inval");
}

static void test_who_wins(void **state)
{
    static const char *const patterns[] = {
        "/",           "/rooms",       "/rooms/",        "/rooms/all",
        "/rooms/:id",  "/rooms/:id/x", "/rooms/all/y",
        "/:a/:b/:c",   "/files/:path*", "/files/special", "/caf\xc3\xa9",
        "/a b/:x",     "/:a/:b/:c/:d*",
    };
    static const char *const expected[][2] = {
        {"/", "/"},
        {"//", "notfound"},
        {"/rooms", "/rooms"},
        {"/rooms/", "/rooms/"},
        {"/rooms//", "notfound"},
        {"/Rooms", "notfound"},
        {"/rooms/all", "/rooms/all"},
        {"/rooms/al", "/rooms/:id"},
        {"/rooms/all/", "notfound"},
        {"/rooms/7", "/rooms/:id"},
        {"/rooms/7/", "notfound"},
        {"/rooms/7/x", "/rooms/:id/x"},
        {"/rooms/all/y", "/rooms/all/y"},
        /* The literal leads nowhere. */
        {"/rooms/all/x", "/rooms/:id/x"},
        {"/rooms/all/q", "/:a/:b/:c"},
        {"/rooms/all/x/", "/:a/:b/:c/:d*"},
        {"/rooms/7/y", "/:a/:b/:c"},
        {"/q/w/e", "/:a/:b/:c"},
        {"/q//e", "notfound"},
        {"/q/w/e/r/t//", "/:a/:b/:c/:d*"},
        {"/files", "notfound"},
        {"/files/", "/files/:path*"},
        {"/files/a", "/files/:path*"},
        {"/files/a/../b", "/files/:path*"},
        {"/files/special", "/files/special"},
        {"/files/special/", "/files/:path*"},
        /* Encoded. */
        {"/caf%C3%a9", "/caf\xc3\xa9"},
        {"/r%6foms", "/rooms"},
        {"/rooms%2fall", "notfound"},
        {"/rooms/a%2fb", "/rooms/:id"},
        {"/a%20b/c", "/a b/:x"},
        {"/a+b/c", "notfound"},
        {"/rooms/%", "inval"},
        {"/rooms/%4", "inval"},
        {"/rooms/%4/x", "inval"},
        {"/rooms/%zz", "inval"},
        {"/rooms/%00", "inval"},
        {"/nowhere/%00", "inval"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        assert_int_equal(add(patterns[i]), 0);
    }
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        if (strcmp(find(expected[i][0]), expected[i][1]) != 0) {
            fail_msg("%s: found %s, expected %s", expected[i][0],
                     find(expected[i][0]), expected[i][1]);
        }
    }
}

static void test_everything_else(void **state)
{
    (void)state;
    assert_int_equal(add("/:rest*"), 0);
    assert_int_equal(add("/a"), 0);
    assert_string_equal(find("/a"), "/a");
    assert_string_equal(find("/"), "/:rest*");
    assert_string_equal(find("/a/"), "/:rest*");
    assert_string_equal(find("//"), "/:rest*");
    assert_string_equal(find("/b/c"), "/:rest*");
    assert_string_equal(find("*"), "notfound");
}

/* A path of many segments, and patterns that overlap in every way. */
static void test_look_ups_end(void **state)
{
    static char path[200001];

    (void)state;
    for (int bits = 0; bits < 256; bits++) {
        char pattern[64] = "";

        for (int i = 0; i < 8; i++) {
            char segment[16];

            snprintf(segment, sizeof segment, "/%s%d",
                     bits >> i & 1 ? "" : ":p", i);
            strcat(pattern, segment);
        }
        assert_int_equal(add(pattern), 0);
    }
    for (size_t i = 0; i + 2 < sizeof path; i += 2) {
        memcpy(path + i, "/0", 2);
    }
    assert_string_equal(find(path), "notfound");
    assert_string_equal(find("/0/1/2/3/4/5/6/7/x"), "notfound");
    assert_string_equal(find("/0/x/2/3/4/5/6/7"), "/0/:p1/2/3/4/5/6/7");
}

/* --- Parameters ---------------------------------------------------------- */

static void test_params(void **state)
{
    char small[3];

    (void)state;
    assert_string_equal(param("/rooms/:id/:x", "/rooms/a/b", "id"), "a");
    assert_string_equal(param("/rooms/:id/:x", "/rooms/a/b", "x"), "b");
    assert_string_equal(param("/rooms/:id/:x", "/rooms/a/b", "y"), "notfound");
    assert_string_equal(param("/rooms/:id", "/rooms/a", ":id"), "notfound");
    assert_string_equal(param("/rooms/:id", "/rooms/a", "rooms"), "notfound");
    assert_string_equal(param("/rooms/:id", "/rooms/a%2F%c3%A9+", "id"),
                        "a/\xc3\xa9+");
    assert_string_equal(param("/f/:p*", "/f/a/b%20/", "p"), "a/b /");
    assert_string_equal(param("/f/:p*", "/f/", "p"), "");
    assert_string_equal(param("/:p*", "/", "p"), "");
    assert_string_equal(param("/:p*", "//x", "p"), "/x");
    assert_string_equal(param("/:a/:b", "/x", "b"), "notfound");

    assert_int_equal(router_param("/:a", peal_slice("/%20y"), "a", small, 3),
                     2);
    assert_string_equal(small, " y");
    assert_int_equal(router_param("/:a", peal_slice("/xyz"), "a", small, 3),
                     PEAL_ETOOBIG);
    assert_int_equal(router_param("/:a", peal_slice("/x"), "a", small, 0),
                     PEAL_ETOOBIG);
}

static void use(void *arg)
{
    static const char *const patterns[] = {"/a/b", "/a/:c", "/a/:c/d",
                                           "/:r*"};
    struct router own;

    (void)arg;
    router_init(&own);
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        const struct router_entry *found;
        struct router_entry *entry;
        int rc = router_add(&own, patterns[i], &entry);

        if (rc < 0) {
            assert_int_equal(rc, PEAL_ENOMEM);
            assert_true(torture_failed());
            if (router_find(&own, SLICE("/a/x"), &found) == 0) {
                assert_non_null(found->pattern);
            }
        } else {
            entry->value = mem_copy("value", 5);
        }
    }
    router_fini(&own, mem_free);
}

static void test_without_memory(void **state)
{
    (void)state;
    torture_run(use, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_patterns),
        TEST(test_conflicts),
        TEST(test_bounds),
        TEST(test_nothing_is_found_in_nothing),
        TEST(test_who_wins),
        TEST(test_everything_else),
        TEST(test_look_ups_end),
        TEST(test_params),
        cmocka_unit_test(test_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
