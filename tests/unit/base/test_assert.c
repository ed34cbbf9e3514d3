#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"

/* Runs `program` in a child and returns its status and what it printed. */
static int run_in_child(void (*program)(void), char *text, size_t size)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);

    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        /* cmocka catches SIGABRT by itself. */
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        program();
        _exit(0);
    }
    close(ends[1]);

    size_t length = 0;
    ssize_t got;

    while ((got = read(ends[0], text + length, size - 1 - length)) > 0) {
        length += (size_t)got;
    }
    text[length] = '\0';
    close(ends[0]);

    int status;

    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void fail_condition(void)
{
    ASSERT(2 + 2 == 5);
}

static void fail_unreachable(void)
{
    UNREACHABLE();
}

static void pass_condition(void)
{
    ASSERT(2 + 2 == 4);
}

static void test_failure_prints_and_aborts(void **state)
{
    char text[256];
    int status = run_in_child(fail_condition, text, sizeof text);

    (void)state;
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "2 + 2 == 5"));
    assert_non_null(strstr(text, "test_assert.c:"));

    status = run_in_child(fail_unreachable, text, sizeof text);
    assert_true(WIFSIGNALED(status));
    assert_non_null(strstr(text, "unreachable"));
}

static void test_truth_passes(void **state)
{
    char text[256];
    int status = run_in_child(pass_condition, text, sizeof text);

    (void)state;
    assert_true(WIFEXITED(status));
    assert_string_equal(text, "");
}

static void test_container_of(void **state)
{
    struct outer {
        int before;
        int inner;
    } outer;

    (void)state;
    assert_ptr_equal(CONTAINER_OF(&outer.inner, struct outer, inner), &outer);
    assert_int_equal(ARRAY_SIZE(((int[]){1, 2, 3})), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure_prints_and_aborts),
        cmocka_unit_test(test_truth_passes),
        cmocka_unit_test(test_container_of),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
