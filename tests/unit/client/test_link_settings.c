/* The defaults of a link, and that docs/limits.md and the header agree. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/link.h"

#define FIELD(name)                                                            \
    {                                                                          \
        #name, offsetof(struct peal_link_options, name),                       \
            sizeof(((struct peal_link_options *)0)->name) == sizeof(size_t)    \
    }

static const struct {
    const char *name;
    size_t offset;
    bool is_size;
} limits[] = {
    FIELD(message_bytes_max),   FIELD(queue_bytes_max),
    FIELD(outbox_count_max),    FIELD(outbox_bytes_max),
    FIELD(outbox_rate),         FIELD(requests_max),
    FIELD(connect_timeout_ms),  FIELD(request_timeout_ms),
    FIELD(close_timeout_ms),    FIELD(reconnect_min_ms),
    FIELD(reconnect_first_ms),  FIELD(reconnect_max_ms),
    FIELD(reconnect_stable_ms), FIELD(deflate_threshold_bytes),
};

#define LIMIT_COUNT (sizeof limits / sizeof *limits)

/* Without defaults of their own: the server's welcome tells. */
static const char *const others[] = {"ping_interval_ms", "ping_timeout_ms"};

static uint64_t value_of(const struct peal_link_options *options, size_t i)
{
    const char *field = (const char *)options + limits[i].offset;
    uint32_t number;
    size_t size;

    if (limits[i].is_size) {
        memcpy(&size, field, sizeof size);
        return size;
    }
    memcpy(&number, field, sizeof number);
    return number;
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 200000);

    assert_non_null(file);
    assert_non_null(text);
    assert_true(fread(text, 1, 199999, file) > 0);
    fclose(file);
    return text;
}

/* The number as the document writes it: "1 MiB", "10,000", "50". */
static void format(uint64_t value, char *out, size_t size)
{
    unsigned long long number = value;

    if (number >= 1 << 20 && number % (1 << 20) == 0) {
        snprintf(out, size, "%llu MiB", number >> 20);
    } else if (number >= 1024 && number % 1024 == 0) {
        snprintf(out, size, "%llu KiB", number >> 10);
    } else if (number >= 1000) {
        snprintf(out, size, "%llu,%03llu", number / 1000, number % 1000);
    } else {
        snprintf(out, size, "%llu", number);
    }
}

static void test_document_has_every_default(void **state)
{
    const struct peal_link_options given = {.size = sizeof given,
                                            .url = "ws://a"};
    char *document = read_file("docs/limits.md");
    const char *section = strstr(document, "\n## Links\n");
    struct link_settings *settings;
    struct peal_loop *loop;

    (void)state;
    assert_non_null(section);
    assert_int_equal(peal_loop_new(&loop, NULL), 0);
    assert_int_equal(link_settings_new(&settings, &given, loop), 0);
    for (size_t i = 0; i < LIMIT_COUNT; i++) {
        char number[32];
        char row[128];

        format(value_of(&settings->options, i), number, sizeof number);
        snprintf(row, sizeof row, "| `%s` | %s |", limits[i].name, number);
        if (strstr(section, row) == NULL) {
            fail_msg("docs/limits.md has no row that begins: %s", row);
        }
    }
    link_settings_free(settings);
    peal_loop_free(loop);
    free(document);
}

static bool is_known(const char *name)
{
    for (size_t i = 0; i < LIMIT_COUNT; i++) {
        if (strcmp(name, limits[i].name) == 0) {
            return true;
        }
    }
    return strcmp(name, others[0]) == 0 || strcmp(name, others[1]) == 0;
}

/* A field whose name ends like a limit must be one of those above. */
static void test_header_has_no_other_limits(void **state)
{
    char *header = read_file("include/peal/client.h");
    char *begin = strstr(header, "struct peal_link_options {");
    char *end;
    size_t found = 0;

    (void)state;
    assert_non_null(begin);
    end = strstr(begin, "\n};");
    assert_non_null(end);
    *end = '\0';
    for (char *line = strtok(begin, "\n"); line != NULL;
         line = strtok(NULL, "\n")) {
        char type[16];
        char name[64];
        char mark[2];

        if (sscanf(line, " %15[a-z0-9_] %63[a-z_]%1[;]", type, name, mark) ==
                3 &&
            (strstr(name, "_max") != NULL || strstr(name, "_ms") != NULL)) {
            if (!is_known(name)) {
                fail_msg("%s is a limit that this test does not know", name);
            }
            found++;
        }
    }
    /* outbox_rate and deflate_threshold_bytes have other ends. */
    assert_int_equal(found,
                     LIMIT_COUNT - 2 + sizeof others / sizeof *others);
    free(header);
}

static void test_nonsense_is_refused(void **state)
{
    const struct peal_link_options good = {.size = sizeof good,
                                           .url = "wss://a"};
    struct peal_link_options bad[10];
    struct link_settings *settings;
    struct peal_loop *loop;

    (void)state;
    for (size_t i = 0; i < 10; i++) {
        bad[i] = good;
    }
    bad[0].size = 0;
    bad[1].url = NULL;
    bad[2].message_bytes_max = (size_t)2 << 30;
    bad[3].request_timeout_ms = PEAL_OFF;
    bad[4].dialect = PEAL_DIALECT_RAW;
    bad[5].reconnect_min_ms = 60000;
    bad[6].headers = "no colon, no end";
    bad[7].origin = "a\r\nX: y";
    bad[8].tls_server_name = "";
    bad[9].deflate_window_bits = 8;
    assert_int_equal(peal_loop_new(&loop, NULL), 0);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(link_settings_new(&settings, &bad[i], loop),
                         PEAL_EINVAL);
    }
    assert_int_equal(link_settings_new(&settings, &good, loop), 0);
    assert_non_null(settings->tls);
    link_settings_free(settings);
    peal_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document_has_every_default),
        cmocka_unit_test(test_header_has_no_other_limits),
        cmocka_unit_test(test_nonsense_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
