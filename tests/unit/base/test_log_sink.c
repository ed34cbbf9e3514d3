/* For pseudo-terminals. */
#define _GNU_SOURCE

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/slice.h"

#define TIME_SIZE (sizeof "2026-11-21T01:28:21.598Z" - 1)

static char line[8192];

/* What one call writes into a pipe. */
static const char *written(enum peal_log_format format, const char *fields)
{
    struct peal_log_sink sink = {.size = sizeof sink, .format = format};
    int ends[2];
    ssize_t got;

    assert_int_equal(pipe(ends), 0);
    sink.fd = ends[1];
    peal_log_to_sink(PEAL_LOG_INFO, "server", "two words", fields, &sink);
    close(ends[1]);
    got = read(ends[0], line, sizeof line - 1);
    assert_true(got > 0);
    line[got] = '\0';
    assert_ptr_equal(strchr(line, '\n'), line + got - 1);
    close(ends[0]);
    return line;
}

static json_t *parsed(const char *fields)
{
    json_error_t error;
    json_t *object = json_loads(written(PEAL_LOG_JSON, fields),
                                JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
                                &error);

    if (object == NULL) {
        print_error("%s: %s\n", error.text, line);
    }
    assert_non_null(object);
    assert_true(json_is_object(object));
    return object;
}

static void test_logfmt(void **state)
{
    (void)state;
    written(PEAL_LOG_LOGFMT, "a=1 b=\"x \\\" y\"");
    assert_memory_equal(line, "ts=20", 5);
    assert_string_equal(line + 3 + TIME_SIZE,
                        " level=info component=server msg=\"two words\""
                        " a=1 b=\"x \\\" y\"\n");
    /* A pipe is no terminal. */
    written(PEAL_LOG_FORMAT_DEFAULT, NULL);
    assert_string_equal(line + 3 + TIME_SIZE,
                        " level=info component=server msg=\"two words\"\n");
}

static void test_text(void **state)
{
    (void)state;
    written(PEAL_LOG_TEXT, "a=1 b=\"x y\"");
    assert_memory_equal(line, "20", 2);
    assert_string_equal(line + TIME_SIZE,
                        " info  server: two words a=1 b=\"x y\"\n");
}

static void test_terminals_get_text(void **state)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    struct peal_log_sink sink = {.size = sizeof sink};
    ssize_t got;

    (void)state;
    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0) {
        skip();
    }
    sink.fd = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(sink.fd >= 0);
    peal_log_to_sink(PEAL_LOG_WARN, "net", "m", "a=1", &sink);
    got = read(master, line, sizeof line - 1);
    assert_true(got > 0);
    line[got] = '\0';
    assert_string_equal(line + TIME_SIZE, " warn  net: m a=1\r\n");
    close(sink.fd);
    close(master);
}

static void test_json_has_types(void **state)
{
    json_t *object = parsed("code=1001 big=999999999999999 below=-5 yes=true "
                            "no=false text=12x id=\"12\" address=1.2.3.4:5 "
                            "zero=0 octal=007 empty=\"\" flag");

    (void)state;
    assert_string_equal(json_string_value(json_object_get(object, "level")),
                        "info");
    assert_string_equal(json_string_value(json_object_get(object, "component")),
                        "server");
    assert_string_equal(json_string_value(json_object_get(object, "msg")),
                        "two words");
    assert_int_equal(
        json_string_length(json_object_get(object, "ts")), TIME_SIZE);
    assert_int_equal(json_integer_value(json_object_get(object, "code")), 1001);
    assert_int_equal(json_integer_value(json_object_get(object, "big")),
                     999999999999999);
    assert_int_equal(json_integer_value(json_object_get(object, "below")), -5);
    assert_true(json_is_true(json_object_get(object, "yes")));
    assert_true(json_is_false(json_object_get(object, "no")));
    assert_true(json_is_integer(json_object_get(object, "zero")));
    assert_string_equal(json_string_value(json_object_get(object, "text")),
                        "12x");
    assert_string_equal(json_string_value(json_object_get(object, "id")), "12");
    assert_string_equal(json_string_value(json_object_get(object, "address")),
                        "1.2.3.4:5");
    assert_string_equal(json_string_value(json_object_get(object, "octal")),
                        "007");
    assert_string_equal(json_string_value(json_object_get(object, "empty")),
                        "");
    assert_string_equal(json_string_value(json_object_get(object, "flag")), "");
    json_decref(object);
}

/* Every byte, by itself and among others, comes back as it was, or as U+FFFD
 * where it is no UTF-8. */
static void test_json_is_valid_whatever_comes(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        char raw[] = {'a', (char)byte, 'z'};
        char quoted[64];
        char fields[128];
        json_t *object;
        const json_t *value;

        log_quote(quoted, sizeof quoted, slice_make(raw, sizeof raw));
        snprintf(fields, sizeof fields, "reason=%s n=1", quoted);
        object = parsed(fields);
        value = json_object_get(object, "reason");
        if (byte < 0x80) {
            assert_int_equal(json_string_length(value), 3);
            assert_memory_equal(json_string_value(value), raw, 3);
        } else {
            assert_string_equal(json_string_value(value), "a\xef\xbf\xbdz");
        }
        assert_int_equal(json_integer_value(json_object_get(object, "n")), 1);
        json_decref(object);
    }
}

static void test_json_keeps_utf8(void **state)
{
    static const char text[] = "\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x94";
    char quoted[128];
    char fields[256];
    json_t *object;

    (void)state;
    log_quote(quoted, sizeof quoted, SLICE("\xc3\xa9\xe2\x82\xac"
                                           "\xf0\x9f\x94\x94"
                                           "\xf0\x9f"));
    snprintf(fields, sizeof fields, "a=%s", quoted);
    object = parsed(fields);
    assert_int_equal(json_string_length(json_object_get(object, "a")),
                     sizeof text - 1 + 6);
    assert_memory_equal(json_string_value(json_object_get(object, "a")), text,
                        sizeof text - 1);
    json_decref(object);
}

/* At every length around the limit: valid, in one line, and honest. */
static void test_long_lines_are_cut(void **state)
{
    static const enum peal_log_format formats[] = {
        PEAL_LOG_JSON, PEAL_LOG_LOGFMT, PEAL_LOG_TEXT};
    static char fields[5000];

    (void)state;
    for (size_t size = 3900; size < sizeof fields - 100; size++) {
        memcpy(fields, "a=1 b=", 6);
        memset(fields + 6, 'x', size);
        strcpy(fields + 6 + size, " c=3");
        for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
            bool is_whole;
            json_t *object;

            assert_true(strlen(written(formats[i], fields)) <= 4096);
            is_whole = strstr(line, "truncated") == NULL;
            assert_int_equal(is_whole,
                             strstr(line, formats[i] == PEAL_LOG_JSON
                                              ? "\"c\":3}\n"
                                              : " c=3\n") != NULL);
            if (formats[i] == PEAL_LOG_JSON) {
                object = parsed(fields);
                assert_int_equal(
                    json_is_true(json_object_get(object, "truncated")),
                    !is_whole);
                json_decref(object);
            }
        }
    }
}

/* The journal takes the level from the beginning of the line. */
static void test_journal(void **state)
{
    static const struct {
        enum peal_log_level level;
        const char *priority;
    } levels[] = {
        {PEAL_LOG_TRACE, "<7>20"}, {PEAL_LOG_DEBUG, "<7>20"},
        {PEAL_LOG_INFO, "<6>20"},  {PEAL_LOG_WARN, "<4>20"},
        {PEAL_LOG_ERROR, "<3>20"},
    };
    struct peal_log_sink sink = {.size = sizeof sink, .format = PEAL_LOG_TEXT};
    struct stat facts;
    char stream[64];
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    sink.fd = ends[1];
    assert_int_equal(fstat(ends[1], &facts), 0);
    snprintf(stream, sizeof stream, "%llu:%llu",
             (unsigned long long)facts.st_dev,
             (unsigned long long)facts.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
        peal_log_to_sink(levels[i].level, "c", "m", "", &sink);
        assert_true(read(ends[0], line, sizeof line) > 10);
        assert_memory_equal(line, levels[i].priority, 5);
    }
    setenv("JOURNAL_STREAM", "1:1", 1); /* this is not the journal */
    peal_log_to_sink(PEAL_LOG_WARN, "c", "m", "", &sink);
    assert_true(read(ends[0], line, sizeof line) > 10);
    assert_memory_equal(line, "20", 2);
    unsetenv("JOURNAL_STREAM");
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logfmt),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_terminals_get_text),
        cmocka_unit_test(test_json_has_types),
        cmocka_unit_test(test_json_is_valid_whatever_comes),
        cmocka_unit_test(test_json_keeps_utf8),
        cmocka_unit_test(test_long_lines_are_cut),
        cmocka_unit_test(test_journal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
