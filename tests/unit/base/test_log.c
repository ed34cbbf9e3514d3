#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/slice.h"

struct seen {
    int lines;
    enum peal_log_level level;
    char component[32];
    char message[64];
    char fields[2048];
};

static void keep_line(enum peal_log_level level, const char *component,
                      const char *message, const char *fields, void *user)
{
    struct seen *seen = user;

    assert_true(strlen(fields) < sizeof seen->fields);
    seen->lines++;
    seen->level = level;
    strcpy(seen->component, component);
    strcpy(seen->message, message);
    strcpy(seen->fields, fields);
}

static void test_line(void **state)
{
    struct seen seen = {0};
    struct log log = {keep_line, &seen, PEAL_LOG_INFO};

    (void)state;
    log_info(&log, "server", "listening", "port=%d host=%s", 80, "::1");
    assert_int_equal(seen.lines, 1);
    assert_int_equal(seen.level, PEAL_LOG_INFO);
    assert_string_equal(seen.component, "server");
    assert_string_equal(seen.message, "listening");
    assert_string_equal(seen.fields, "port=80 host=::1");
}

static int evaluations;

static int evaluate(void)
{
    return ++evaluations;
}

static void test_levels(void **state)
{
    struct seen seen = {0};
    struct log log = {keep_line, &seen, PEAL_LOG_WARN};
    struct log none = {NULL, NULL, PEAL_LOG_TRACE};

    (void)state;
    log_debug(&log, "c", "m", "n=%d", evaluate());
    log_info(&log, "c", "m", "n=%d", evaluate());
    log_error(&none, "c", "m", "n=%d", evaluate());
    log_write(&log, PEAL_LOG_INFO, "c", "m", "n=%d", 1);
    assert_int_equal(seen.lines, 0);
    assert_int_equal(evaluations, 0);
    log_warn(&log, "c", "m", "n=%d", evaluate());
    log_error(&log, "c", "m", "n=%d", evaluate());
    assert_int_equal(seen.lines, 2);
    assert_int_equal(seen.level, PEAL_LOG_ERROR);
    log.level = PEAL_LOG_OFF;
    log_error(&log, "c", "m", "n=%d", evaluate());
    assert_int_equal(seen.lines, 2);
}

/* Only whole fields are left, at every length around the limit. */
static void test_long_fields_are_cut(void **state)
{
    struct seen seen = {0};
    struct log log = {keep_line, &seen, PEAL_LOG_DEBUG};
    char value[1500];

    (void)state;
    for (size_t size = 990; size < sizeof value; size++) {
        memset(value, 'x', size);
        value[size - 1] = '\0';
        log_debug(&log, "c", "m", "a=1 q=\"b \\\" %s d\" e=2", value);
        if (strlen(value) + sizeof "a=1 q=\"b \\\"  d\" e=2" <= 1024) {
            assert_null(strstr(seen.fields, "truncated"));
        } else if (strstr(seen.fields, "q=") != NULL) {
            assert_non_null(strstr(seen.fields, "x d\" truncated=true"));
        } else {
            assert_string_equal(seen.fields, "a=1 truncated=true");
        }
        log_debug(&log, "c", "m", "%s", value);
        assert_string_equal(seen.fields,
                            size <= 1024 ? value : "truncated=true");
    }
}

static void check_quote(struct peal_slice value, const char *expected)
{
    char out[64];

    assert_ptr_equal(log_quote(out, sizeof out, value), out);
    assert_string_equal(out, expected);
}

static void test_quote(void **state)
{
    (void)state;
    check_quote(SLICE("plain/value:1"), "plain/value:1");
    check_quote(SLICE(""), "\"\"");
    check_quote(slice_make(NULL, 0), "\"\"");
    check_quote(SLICE("two words"), "\"two words\"");
    check_quote(SLICE("a=b"), "\"a=b\"");
    check_quote(SLICE("12"), "\"12\"");
    check_quote(SLICE("-12"), "\"-12\"");
    check_quote(SLICE("true"), "\"true\"");
    check_quote(SLICE("012"), "012");
    check_quote(SLICE("1.5"), "1.5");
    check_quote(SLICE("1234567890123456"), "1234567890123456");
    check_quote(SLICE("-"), "-");
    check_quote(SLICE("say \"hi\" \\"), "\"say \\\"hi\\\" \\\\\"");
    check_quote(SLICE("a\nb\r\0\x1b\x7f\xc3\xa9"),
                "\"a\\nb\\x0d\\x00\\x1b\\x7f\\xc3\\xa9\"");
}

/* However small the room: terminated, quotes closed, no escape cut in two. */
static void test_quote_cuts_to_fit(void **state)
{
    char out[40];

    (void)state;
    for (size_t size = 3; size < sizeof out; size++) {
        memset(out, '!', sizeof out);
        log_quote(out, size, SLICE("\x01\"\n ab\x02"));

        size_t length = strlen(out);

        assert_true(length < size);
        assert_int_equal(out[size], '!');
        assert_int_equal(out[0], '"');
        assert_int_equal(out[length - 1], '"');
        assert_memory_equal(out, "\"\\x01\\\"\\n ab\\x02\"", length - 1);

        memset(out, '!', sizeof out);
        log_quote(out, size, SLICE("0123456789"));
        assert_int_equal(strlen(out), size <= 10 ? size - 1 : 10);
        assert_int_equal(out[size], '!');
    }
}

/* Of a name, a second has ten lines; what was left out is told once. */
static void test_repeated_lines_are_counted(void **state)
{
    struct seen seen = {0};
    struct seen others = {0};
    struct log log = {keep_line, &seen, PEAL_LOG_DEBUG};
    struct log other = {keep_line, &others, PEAL_LOG_DEBUG};
    uint64_t began_ms = clock_monotonic_ms();

    (void)state;
    for (int i = 0; i < 100; i++) {
        log_warn(&log, "c", "flood", "n=%d", i);
    }
    log_warn(&log, "c", "another", "n=1");
    log_warn(&log, "d", "flood", "n=1");
    log_warn(&other, "c", "flood", "n=1");
    for (int i = 0; i < 100; i++) {
        log_debug(&log, "c", "asked for", "n=%d", i);
    }
    log_tell(&log);
    if (clock_monotonic_ms() - began_ms < 1000) {
        assert_int_equal(seen.lines, LOG_LINES_PER_SECOND + 2 + 100);
        assert_int_equal(others.lines, 1);
        assert_true(log_has_left_out());
        assert_int_equal(log_left_out, 90);
        while (seen.lines == LOG_LINES_PER_SECOND + 2 + 100) {
            log_tell(&log);
            assert_true(clock_monotonic_ms() - began_ms < 10000);
        }
        assert_true(clock_monotonic_ms() - began_ms >= 1000);
        assert_string_equal(seen.message, "flood");
        assert_string_equal(seen.component, "c");
        assert_string_equal(seen.fields, "repeated=90");
        assert_int_equal(seen.level, PEAL_LOG_WARN);
    }
    assert_false(log_has_left_out());
    log_forget(&log);
    log_forget(&other);
}

/* The next line of the name comes behind the count of those left out. */
static void test_next_line_tells_the_count(void **state)
{
    struct seen seen = {0};
    struct log log = {keep_line, &seen, PEAL_LOG_INFO};
    uint64_t began_ms = clock_monotonic_ms();
    int made = 0;

    (void)state;
    while (seen.lines <= LOG_LINES_PER_SECOND) {
        made++;
        log_info(&log, "c", "flood", "n=%d", made);
        assert_true(clock_monotonic_ms() - began_ms < 10000);
    }
    assert_true(clock_monotonic_ms() - began_ms >= 1000);
    assert_true(made > 100);
    /* The count, and the line that made it be told. */
    assert_int_equal(seen.lines, LOG_LINES_PER_SECOND + 2);
    assert_int_equal(atoi(seen.fields + 2), made);
    assert_false(log_has_left_out());
    log_forget(&log);
}

/* However many names: all that was left out is told, also of those that make
 * room for others. */
static void test_many_names(void **state)
{
    static char names[40][16];
    struct seen seen = {0};
    struct log log = {keep_line, &seen, PEAL_LOG_INFO};

    (void)state;
    for (int i = 0; i < 40; i++) {
        snprintf(names[i], sizeof names[i], "m%d", i);
        for (int k = 0; k < LOG_LINES_PER_SECOND + 5; k++) {
            log_error(&log, "c", names[i], "k=%d", k);
        }
    }
    log_forget(&log);
    assert_false(log_has_left_out());
    assert_int_equal(seen.lines, 40 * (LOG_LINES_PER_SECOND + 1));
    assert_string_equal(seen.fields, "repeated=5");
}

/* What a log has left out that is no more is not told, and does no harm. */
static void test_forgotten_logs(void **state)
{
    static char names[20][16];
    struct seen seen = {0};
    struct log log = {keep_line, &seen, PEAL_LOG_INFO};
    struct log gone = {keep_line, NULL, PEAL_LOG_INFO};

    (void)state;
    gone.user = &seen;
    for (int k = 0; k < LOG_LINES_PER_SECOND + 5; k++) {
        log_error(&gone, "c", "m", "k=%d", k);
    }
    memset(&gone, 0xff, sizeof gone);
    seen.lines = 0;
    for (int i = 0; i < 20; i++) {
        snprintf(names[i], sizeof names[i], "n%d", i);
        log_error(&log, "c", names[i], "i=%d", i);
    }
    assert_int_equal(seen.lines, 20);
    assert_false(log_has_left_out());
    log_forget(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_long_fields_are_cut),
        cmocka_unit_test(test_quote),
        cmocka_unit_test(test_quote_cuts_to_fit),
        cmocka_unit_test(test_repeated_lines_are_counted),
        cmocka_unit_test(test_next_line_tells_the_count),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_forgotten_logs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
