#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

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
    struct log log = {keep_line, &seen, PEAL_LOG_INFO};
    char value[1500];

    (void)state;
    for (size_t size = 990; size < sizeof value; size++) {
        memset(value, 'x', size);
        value[size - 1] = '\0';
        log_info(&log, "c", "m", "a=1 q=\"b \\\" %s d\" e=2", value);
        if (strlen(value) + sizeof "a=1 q=\"b \\\"  d\" e=2" <= 1024) {
            assert_null(strstr(seen.fields, "truncated"));
        } else if (strstr(seen.fields, "q=") != NULL) {
            assert_non_null(strstr(seen.fields, "x d\" truncated=true"));
        } else {
            assert_string_equal(seen.fields, "a=1 truncated=true");
        }
        log_info(&log, "c", "m", "%s", value);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_long_fields_are_cut),
        cmocka_unit_test(test_quote),
        cmocka_unit_test(test_quote_cuts_to_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
