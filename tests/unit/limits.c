#include "limits.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t limits_value(const struct limit *limit, const void *options)
{
    const char *field = (const char *)options + limit->offset;
    uint32_t number;
    size_t size;

    if (limit->is_size) {
        memcpy(&size, field, sizeof size);
        return size;
    }
    memcpy(&number, field, sizeof number);
    return number;
}

void limits_set(const struct limit *limit, void *options, uint32_t value)
{
    char *field = (char *)options + limit->offset;
    size_t size = value;

    if (limit->is_size) {
        memcpy(field, &size, sizeof size);
    } else {
        memcpy(field, &value, sizeof value);
    }
}

char *limits_read_file(const char *path)
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

void limits_check_document(const struct limit *limits, size_t count,
                           const char *section, const void *defaults)
{
    char *document = limits_read_file("docs/limits.md");
    const char *rows = strstr(document, section);

    assert_non_null(rows);
    for (size_t i = 0; i < count; i++) {
        char number[32];
        char row[128];

        format(limits_value(&limits[i], defaults), number, sizeof number);
        snprintf(row, sizeof row, "| `%s` | %s |", limits[i].name,
                 limits[i].note != NULL ? limits[i].note : number);
        if (strstr(rows, row) == NULL) {
            fail_msg("docs/limits.md has no row that begins: %s", row);
        }
    }
    free(document);
}

static bool ends_like_a_limit(const char *name)
{
    return strstr(name, "_max") != NULL || strstr(name, "_ms") != NULL;
}

static bool is_known(const char *name, const struct limit *limits, size_t count,
                     const char *const *others)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, limits[i].name) == 0) {
            return true;
        }
    }
    for (size_t i = 0; others[i] != NULL; i++) {
        if (strcmp(name, others[i]) == 0) {
            return true;
        }
    }
    return false;
}

void limits_check_header(const struct limit *limits, size_t count,
                         const char *const *others, const char *header,
                         const char *type)
{
    char *text = limits_read_file(header);
    char *begin = strstr(text, type);
    size_t expected = 0;
    size_t found = 0;
    char *end;

    assert_non_null(begin);
    end = strstr(begin, "\n};");
    assert_non_null(end);
    *end = '\0';
    for (char *line = strtok(begin, "\n"); line != NULL;
         line = strtok(NULL, "\n")) {
        char word[16];
        char name[64];
        char mark[2];

        if (sscanf(line, " %15[a-z0-9_] %63[a-z_]%1[;]", word, name, mark) ==
                3 &&
            ends_like_a_limit(name)) {
            if (!is_known(name, limits, count, others)) {
                fail_msg("%s is a limit that this test does not know", name);
            }
            found++;
        }
    }
    for (size_t i = 0; i < count; i++) {
        expected += ends_like_a_limit(limits[i].name);
    }
    for (size_t i = 0; others[i] != NULL; i++) {
        expected += ends_like_a_limit(others[i]);
    }
    assert_int_equal(found, expected);
    free(text);
}
