#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/slice.h"
#include "peal/peal.h"

static void test_version(void **state)
{
    char expected[32];

    (void)state;
    snprintf(expected, sizeof expected, "%d.%d.%d", PEAL_VERSION_MAJOR,
             PEAL_VERSION_MINOR, PEAL_VERSION_PATCH);
    assert_string_equal(peal_version(), expected);
    assert_int_equal(peal_version_number(),
                     PEAL_VERSION_MAJOR * 1000000 + PEAL_VERSION_MINOR * 1000 +
                         PEAL_VERSION_PATCH);
}

static void test_errors(void **state)
{
    (void)state;
    assert_string_equal(peal_error_name(PEAL_OK), "ok");
    assert_string_equal(peal_error_name(PEAL_EGONE), "gone");
    assert_string_equal(peal_error_name(PEAL_EADDRINUSE), "addrinuse");
    for (int error = PEAL_OK; error >= PEAL_ETLS; error--) {
        const char *sentence = peal_strerror(error);

        assert_string_not_equal(peal_error_name(error), "unknown");
        assert_true(sentence[0] >= 'A' && sentence[0] <= 'Z');
        assert_int_not_equal(sentence[strlen(sentence) - 1], '.');
        for (int other = error + 1; other <= PEAL_OK; other++) {
            assert_string_not_equal(peal_error_name(error),
                                    peal_error_name(other));
            assert_string_not_equal(sentence, peal_strerror(other));
        }
    }
    assert_string_equal(peal_error_name(1), "unknown");
    assert_string_equal(peal_error_name(PEAL_ETLS - 1), "unknown");
    assert_string_equal(peal_strerror(INT32_MIN), "Unknown error");
    assert_string_equal(peal_strerror(INT32_MAX), "Unknown error");
}

static void test_slices(void **state)
{
    (void)state;
    assert_int_equal(peal_slice(NULL).size, 0);
    assert_int_equal(peal_slice("four").size, 4);
    assert_true(peal_slice_equal(peal_slice("a"), peal_slice("a")));
    assert_true(peal_slice_equal(peal_slice(NULL), peal_slice("")));
    assert_false(peal_slice_equal(peal_slice("a"), peal_slice("b")));
}

static void test_events(void **state)
{
    struct peal_event json = peal_json("greeting", "{}");
    struct peal_event bare = peal_json("ping", NULL);
    struct peal_event bytes = peal_bytes("image", "\0\1", 2);
    struct peal_event text = peal_text("hello");

    (void)state;
    assert_true(slice_equal(json.name, SLICE("greeting")));
    assert_true(slice_equal(json.data, SLICE("{}")));
    assert_int_equal(json.kind, PEAL_JSON);
    assert_int_equal(json.room.size, 0);
    assert_int_equal(bare.data.size, 0);
    assert_true(slice_equal(bytes.data, SLICE("\0\1")));
    assert_int_equal(bytes.kind, PEAL_BYTES);
    assert_true(slice_equal(text.data, SLICE("hello")));
    assert_int_equal(text.name.size, 0);
    assert_int_equal(text.kind, PEAL_TEXT);
}

static void test_level_names(void **state)
{
    (void)state;
    assert_string_equal(peal_log_level_name(PEAL_LOG_TRACE), "trace");
    assert_string_equal(peal_log_level_name(PEAL_LOG_DEBUG), "debug");
    assert_string_equal(peal_log_level_name(PEAL_LOG_INFO), "info");
    assert_string_equal(peal_log_level_name(PEAL_LOG_WARN), "warn");
    assert_string_equal(peal_log_level_name(PEAL_LOG_ERROR), "error");
    assert_string_equal(peal_log_level_name(PEAL_LOG_OFF), "off");
}

/* What one call writes to standard error. */
static void log_line(char *line, size_t size, const char *message,
                     const char *fields)
{
    int ends[2];
    int saved = dup(STDERR_FILENO);

    assert_true(saved >= 0);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    peal_log_to_stderr(PEAL_LOG_WARN, "net", message, fields, NULL);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);

    ssize_t got = read(ends[0], line, size - 1);

    assert_true(got > 0);
    line[got] = '\0';
    close(ends[0]);
}

static void test_log_to_stderr(void **state)
{
    char line[5000];
    char fields[5000];
    const char *rest = line + sizeof "ts=2026-11-21T01:28:21.598Z" - 1;

    (void)state;
    log_line(line, sizeof line, "client connected", "remote=[::1]:4711 n=1");
    assert_memory_equal(line, "ts=20", 5);
    assert_string_equal(rest, " level=warn component=net"
                              " msg=\"client connected\""
                              " remote=[::1]:4711 n=1\n");
    log_line(line, sizeof line, "started", "");
    assert_string_equal(rest, " level=warn component=net msg=started\n");
    log_line(line, sizeof line, "started", NULL);
    assert_string_equal(rest, " level=warn component=net msg=started\n");

    memset(fields, 'x', sizeof fields);
    fields[sizeof fields - 1] = '\0';
    log_line(line, sizeof line, "long", fields);
    assert_string_equal(rest, " level=warn component=net msg=long "
                              "truncated=true\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_level_names),
        cmocka_unit_test(test_log_to_stderr),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
