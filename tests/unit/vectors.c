#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <assert.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vectors.h"

#define GUARDED_SIZE ((size_t)1 << 20)

/* Inputs up to this size are cut at every place, longer ones near their ends:
 * each cut costs a whole run. */
#define ALL_CUTS_SIZE_MAX 2048
#define END_CUTS 64

/* Larger inputs make poor seeds. */
#define SEED_SIZE_MAX 4096

const char *vector_get(const struct vector *vector, const char *name,
                       const char *otherwise)
{
    for (size_t i = 0; i < vector->setting_count; i++) {
        if (strcmp(vector->settings[i].name, name) == 0) {
            return vector->settings[i].value;
        }
    }
    return otherwise;
}

long vector_get_number(const struct vector *vector, const char *name,
                       long otherwise)
{
    const char *value = vector_get(vector, name, NULL);

    return value == NULL ? otherwise : strtol(value, NULL, 10);
}

static void log_put(struct vector_log *log, const char *data, size_t size)
{
    if (log->capacity - log->size < size + 1) {
        log->capacity = (log->size + size + 1) * 2;
        log->text = realloc(log->text, log->capacity);
        assert(log->text != NULL);
    }
    memcpy(log->text + log->size, data, size);
    log->size += size;
    log->text[log->size] = '\0';
}

void vector_log_add(struct vector_log *log, const char *format, ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    assert(size >= 0 && (size_t)size < sizeof text);
    log_put(log, text, (size_t)size);
}

static void log_hex(struct vector_log *log, const unsigned char *data,
                    size_t size)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < size; i++) {
        char pair[2] = {digits[data[i] >> 4], digits[data[i] & 15]};

        log_put(log, pair, sizeof pair);
    }
}

void vector_log_bytes(struct vector_log *log, const void *data, size_t size)
{
    log_put(log, " ", 1);
    log_hex(log, data, size);
}

void vector_log_end(struct vector_log *log)
{
    while (log->size > 0 && log->text[log->size - 1] == ' ') {
        log->size--;
    }
    log_put(log, "\n", 1);
}

char *vectors_guard(const void *data, size_t size)
{
    static char *end;

    assert(size <= GUARDED_SIZE);
    if (end == NULL) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        char *start = mmap(NULL, GUARDED_SIZE + page, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        assert(start != MAP_FAILED);
        end = start + GUARDED_SIZE;
        int rc = mprotect(end, page, PROT_NONE);
        assert(rc == 0);
    }
    if (size > 0) {
        memcpy(end - size, data, size);
    }
    return end - size;
}

static _Noreturn void syntax_error(const struct vector *vector, int line,
                                   const char *what)
{
    fprintf(stderr, "%s:%d: %s\n", vector->file, line, what);
    abort();
}

static int hex_value(char c)
{
    const char *digits = "0123456789abcdef0123456789ABCDEF";
    const char *found = c == '\0' ? NULL : strchr(digits, c);

    return found == NULL ? -1 : (int)((found - digits) % 16);
}

/* Reads one of \r \n \t \\ \" \xNN behind the backslash; NULL: none of them. */
static const char *read_escape(const char *at, char *out)
{
    static const char names[] = "rnt\\\"";
    static const char values[] = "\r\n\t\\\"";
    const char *found = *at == '\0' ? NULL : strchr(names, *at);

    if (found != NULL) {
        *out = values[found - names];
        return at + 1;
    }
    if (at[0] != 'x' || hex_value(at[1]) < 0 || hex_value(at[2]) < 0) {
        return NULL;
    }
    *out = (char)(hex_value(at[1]) * 16 + hex_value(at[2]));
    return at + 3;
}

static const char *read_quoted(const char *at, struct vector_log *bytes)
{
    while (*at != '"') {
        char c = *at++;

        if (c == '\0') {
            return NULL;
        }
        if (c == '\\') {
            at = read_escape(at, &c);
            if (at == NULL) {
                return NULL;
            }
        }
        log_put(bytes, &c, 1);
    }
    return at + 1;
}

static const char *read_hex(const char *at, struct vector_log *bytes)
{
    while (*at != ']') {
        if (*at == ' ') {
            at++;
            continue;
        }
        if (hex_value(at[0]) < 0 || hex_value(at[1]) < 0) {
            return NULL;
        }
        char c = (char)(hex_value(at[0]) * 16 + hex_value(at[1]));

        log_put(bytes, &c, 1);
        at += 2;
    }
    return at + 1;
}

/* Between apostrophes all stands for itself. */
static const char *read_raw(const char *at, struct vector_log *bytes)
{
    const char *end = strchr(at, '\'');

    if (end == NULL) {
        return NULL;
    }
    log_put(bytes, at, (size_t)(end - at));
    return end + 1;
}

/* Reads one stretch of bytes with its *N; NULL: malformed. */
static const char *read_bytes(const char *at, struct vector_log *bytes)
{
    size_t start = bytes->size;

    if (*at == '\'') {
        at = read_raw(at + 1, bytes);
    } else {
        at = *at == '"' ? read_quoted(at + 1, bytes) : read_hex(at + 1, bytes);
    }
    if (at == NULL || *at != '*') {
        return at;
    }
    char *after;
    long times = strtol(at + 1, &after, 10);
    size_t size = bytes->size - start;
    char *once = malloc(size + 1);

    assert(once != NULL && times > 0);
    memcpy(once, bytes->text + start, size);
    for (long i = 1; i < times; i++) {
        log_put(bytes, once, size);
    }
    free(once);
    return after;
}

static bool begins_bytes(char c)
{
    return c == '"' || c == '\'' || c == '[';
}

static void parse_in(struct vector *vector, int line, const char *at,
                     struct vector_log *in)
{
    while (*at != '\0') {
        if (*at == ' ') {
            at++;
        } else if (begins_bytes(*at)) {
            at = read_bytes(at, in);
        } else {
            at = NULL;
        }
        if (at == NULL) {
            syntax_error(vector, line, "these are no bytes");
        }
    }
}

static void parse_out(struct vector *vector, int line, const char *at,
                      struct vector_log *out)
{
    while (*at != '\0') {
        if (!begins_bytes(*at)) {
            log_put(out, at++, 1);
            continue;
        }
        struct vector_log bytes = {0};

        at = read_bytes(at, &bytes);
        if (at == NULL) {
            syntax_error(vector, line, "these are no bytes");
        }
        log_hex(out, (const unsigned char *)bytes.text, bytes.size);
        free(bytes.text);
        /* Stretches that follow one another are one. */
        if (*at == ' ' && begins_bytes(at[1])) {
            at++;
        }
    }
    vector_log_end(out);
}

static char *copy(const char *text)
{
    char *fresh = strdup(text);

    assert(fresh != NULL);
    return fresh;
}

static void parse_setting(struct vector *vector, int line, char *text)
{
    char *blank = strchr(text, ' ');

    if (blank == NULL || vector->setting_count == 8) {
        syntax_error(vector, line, "a setting without value, or too many");
    }
    *blank = '\0';
    vector->settings[vector->setting_count++] =
        (struct vector_setting){copy(text), copy(blank + 1)};
}

/* The sums over all cases of a folder. */
struct tally {
    vector_run *run;
    size_t cases;
    size_t failures;
};

/* Runs one case in one cut; false, and a word about it, when it fails. */
static bool run_once(const struct tally *tally, const struct vector *vector,
                     const size_t *cuts, size_t count)
{
    struct vector_pieces pieces = {cuts, count};
    struct vector_log log = {0};

    log_put(&log, "", 0);
    tally->run(vector, &pieces, &log);
    bool is_right = strcmp(log.text, vector->out) == 0;

    if (!is_right) {
        fprintf(stderr, "%s:%d: %s, %zu pieces, first %zu\nwanted:\n%sgot:\n%s",
                vector->file, vector->line, vector->name, count,
                count > 0 ? cuts[0] : 0, vector->out, log.text);
    }
    free(log.text);
    return is_right;
}

static bool run_cut(const struct tally *tally, const struct vector *vector)
{
    size_t size = vector->in_size;
    size_t *cuts = malloc((size + 1) * sizeof *cuts);

    assert(cuts != NULL);
    for (size_t i = 0; i < size; i++) {
        cuts[i] = 1;
    }
    bool is_right = run_once(tally, vector, cuts, size);

    cuts[0] = size;
    is_right = is_right && run_once(tally, vector, cuts, size > 0);
    for (size_t at = 1; at < size && is_right; at++) {
        if (size > ALL_CUTS_SIZE_MAX && at > END_CUTS && size - at > END_CUTS) {
            at = size - END_CUTS;
        }
        cuts[0] = at;
        cuts[1] = size - at;
        is_right = run_once(tally, vector, cuts, 2);
    }
    free(cuts);
    return is_right;
}

static void write_seed(const struct vector *vector)
{
    const char *folder = getenv("VECTORS_SEEDS");
    const char *base = strrchr(vector->file, '/');
    char path[512];

    if (folder == NULL || vector->in_size > SEED_SIZE_MAX) {
        return;
    }
    base = base == NULL ? vector->file : base + 1;
    snprintf(path, sizeof path, "%s/%.*s-%d", folder, (int)strcspn(base, "."),
             base, vector->line);
    FILE *file = fopen(path, "wb");

    assert(file != NULL);
    fwrite(vector->in, 1, vector->in_size, file);
    fclose(file);
}

static void finish_case(struct tally *tally, struct vector *vector,
                        struct vector_log *in, struct vector_log *out)
{
    if (vector->name != NULL) {
        log_put(in, "", 0);
        log_put(out, "", 0);
        vector->in = in->text;
        vector->in_size = in->size;
        vector->out = out->text;
        write_seed(vector);
        tally->cases++;
        tally->failures += !run_cut(tally, vector);
    }
    for (size_t i = 0; i < vector->setting_count; i++) {
        free(vector->settings[i].name);
        free(vector->settings[i].value);
    }
    free(in->text);
    free(out->text);
    free(vector->name);
    *in = *out = (struct vector_log){0};
    *vector = (struct vector){.file = vector->file};
}

static void parse_line(struct vector *vector, int number, char *line,
                       struct vector_log *in, struct vector_log *out)
{
    if (strncmp(line, "case ", 5) == 0 && vector->name == NULL) {
        vector->name = copy(line + 5);
        vector->line = number;
    } else if (vector->name == NULL) {
        syntax_error(vector, number, "a case must begin with its name");
    } else if (strncmp(line, "set ", 4) == 0) {
        parse_setting(vector, number, line + 4);
    } else if (strncmp(line, "in ", 3) == 0) {
        parse_in(vector, number, line + 3, in);
    } else if (strncmp(line, "out ", 4) == 0) {
        parse_out(vector, number, line + 4, out);
    } else {
        syntax_error(vector, number, "neither case, set, in nor out");
    }
}

static void check_file(struct tally *tally, const char *path)
{
    struct vector vector = {.file = path};
    struct vector_log in = {0}, out = {0};
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t capacity = 0;

    assert(file != NULL);
    for (int number = 1; getline(&line, &capacity, file) >= 0; number++) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '\0') {
            finish_case(tally, &vector, &in, &out);
        } else if (line[0] != '#') {
            parse_line(&vector, number, line, &in, &out);
        }
    }
    finish_case(tally, &vector, &in, &out);
    free(line);
    fclose(file);
}

void vectors_check(const char *folder, vector_run *run)
{
    struct tally tally = {.run = run};
    const char *root = getenv("PEAL_SOURCE");
    struct dirent **entries;
    char path[512];

    root = root == NULL ? "." : root;
    snprintf(path, sizeof path, "%s/tests/vectors/%s", root, folder);
    int count = scandir(path, &entries, NULL, alphasort);

    if (count < 0) {
        fail_msg("%s cannot be read", path);
    }
    for (int i = 0; i < count; i++) {
        if (strstr(entries[i]->d_name, ".txt") != NULL) {
            snprintf(path, sizeof path, "%s/tests/vectors/%s/%s", root, folder,
                     entries[i]->d_name);
            check_file(&tally, path);
        }
        free(entries[i]);
    }
    free(entries);
    assert_true(tally.cases > 0);
    assert_int_equal(tally.failures, 0);
}
