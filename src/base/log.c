#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/slice.h"

/* Longer fields are cut: a log line must not cost an allocation. */
#define LOG_FIELDS_SIZE 1024

/* The end of the last field that lies whole in the first `size` bytes. */
static size_t log_whole_fields(const char *fields, size_t size)
{
    bool is_quoted = false;
    size_t whole = 0;

    for (size_t i = 0; i < size; i++) {
        if (is_quoted && fields[i] == '\\') {
            i++;
        } else if (fields[i] == '"') {
            is_quoted = !is_quoted;
        } else if (!is_quoted && fields[i] == ' ') {
            whole = i;
        }
    }
    return whole;
}

/* --- What is repeated ----------------------------------------------------- */

/* Names of lines that a thread remembers at a time. */
#define LOG_NAMES 16

#define LOG_WINDOW_MS 1000

/* One name in the second that began with its first line. */
struct log_name {
    const struct log *log; /* NULL: unused; else compared, but not followed */
    enum peal_log_level level;
    const char *component;
    const char *message;
    uint64_t began_ms;
    uint32_t lines;
    uint32_t left_out;
};

static _Thread_local struct log_name log_names[LOG_NAMES];
_Thread_local uint32_t log_left_out;

static void log_name_tell(struct log_name *name, const struct log *log)
{
    char fields[32];

    if (name->left_out > 0 && log_enabled(log, name->level)) {
        snprintf(fields, sizeof fields, "repeated=%u", name->left_out);
        log->function(name->level, name->component, name->message, fields,
                      log->user);
    }
    log_left_out -= name->left_out;
    name->left_out = 0;
}

/* The name's entry; another makes room for it if need be, the oldest one. */
static struct log_name *log_name_of(const struct log *log,
                                    enum peal_log_level level,
                                    const char *component, const char *message)
{
    struct log_name *oldest = &log_names[0];

    for (size_t i = 0; i < LOG_NAMES; i++) {
        struct log_name *name = &log_names[i];

        if (name->log == log && strcmp(name->message, message) == 0 &&
            strcmp(name->component, component) == 0) {
            return name;
        }
        if (oldest->log != NULL &&
            (name->log == NULL || name->began_ms < oldest->began_ms)) {
            oldest = name;
        }
    }
    if (oldest->log == log) {
        log_name_tell(oldest, log);
    }
    log_left_out -= oldest->left_out; /* of a log that may be no more */
    *oldest = (struct log_name){
        .log = log,
        .level = level,
        .component = component,
        .message = message,
    };
    return oldest;
}

/* Whether one more line of that name may be made. */
static bool log_may_repeat(const struct log *log, enum peal_log_level level,
                           const char *component, const char *message)
{
    struct log_name *name;
    uint64_t now_ms;

    if (level < PEAL_LOG_INFO) {
        return true;
    }
    name = log_name_of(log, level, component, message);
    now_ms = clock_monotonic_ms();
    if (name->lines == 0 || now_ms - name->began_ms >= LOG_WINDOW_MS) {
        log_name_tell(name, log);
        name->level = level;
        name->began_ms = now_ms;
        name->lines = 0;
    }
    if (name->lines == LOG_LINES_PER_SECOND) {
        name->left_out++;
        log_left_out++;
        return false;
    }
    name->lines++;
    return true;
}

void log_tell(const struct log *log)
{
    uint64_t now_ms = clock_monotonic_ms();

    for (size_t i = 0; i < LOG_NAMES; i++) {
        if (log_names[i].log == log &&
            now_ms - log_names[i].began_ms >= LOG_WINDOW_MS) {
            log_name_tell(&log_names[i], log);
        }
    }
}

void log_forget(const struct log *log)
{
    for (size_t i = 0; i < LOG_NAMES; i++) {
        if (log_names[i].log == log) {
            log_name_tell(&log_names[i], log);
            log_names[i].log = NULL;
        }
    }
}

/* --- Lines ---------------------------------------------------------------- */

void log_write(const struct log *log, enum peal_log_level level,
               const char *component, const char *message, const char *format,
               ...)
{
    static const char mark[] = " truncated=true";
    char fields[LOG_FIELDS_SIZE + sizeof mark];
    va_list args;

    if (!log_enabled(log, level) ||
        !log_may_repeat(log, level, component, message)) {
        return;
    }
    va_start(args, format);
    int size = vsnprintf(fields, LOG_FIELDS_SIZE, format, args);
    va_end(args);

    if (size < 0) {
        fields[0] = '\0';
    } else if (size >= LOG_FIELDS_SIZE) {
        size_t whole = log_whole_fields(fields, LOG_FIELDS_SIZE - 1);

        /* Without any whole field the mark stands alone, without its blank. */
        if (whole > 0) {
            memcpy(fields + whole, mark, sizeof mark);
        } else {
            memcpy(fields, mark + 1, sizeof mark - 1);
        }
    }
    log->function(level, component, message, fields, log->user);
}

bool log_is_literal(struct peal_slice value)
{
    size_t sign = value.size > 0 && value.data[0] == '-' ? 1 : 0;
    size_t digits = value.size - sign;

    if (slice_equal(value, SLICE("true")) ||
        slice_equal(value, SLICE("false"))) {
        return true;
    }
    if (digits == 0 || digits > 15 ||
        (digits > 1 && value.data[sign] == '0')) {
        return false;
    }
    for (size_t i = sign; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9') {
            return false;
        }
    }
    return true;
}

static bool log_is_bare(struct peal_slice value)
{
    for (size_t i = 0; i < value.size; i++) {
        unsigned char byte = (unsigned char)value.data[i];

        if (byte <= ' ' || byte >= 0x7f || byte == '"' || byte == '=' ||
            byte == '\\') {
            return false;
        }
    }
    return value.size > 0 && !log_is_literal(value);
}

/* Writes the form of one byte inside quotes; returns its size, at most 4. */
static size_t log_escape(char out[4], unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";

    out[0] = '\\';
    if (byte == '"' || byte == '\\') {
        out[1] = (char)byte;
        return 2;
    }
    if (byte == '\n') {
        out[1] = 'n';
        return 2;
    }
    if (byte >= ' ' && byte < 0x7f) {
        out[0] = (char)byte;
        return 1;
    }
    out[1] = 'x';
    out[2] = digits[byte >> 4];
    out[3] = digits[byte & 0x0f];
    return 4;
}

char *log_quote(char *out, size_t size, struct peal_slice value)
{
    /* Two quotes and the zero byte always fit. */
    ASSERT(size >= 3);
    if (log_is_bare(value)) {
        size_t fits = value.size < size ? value.size : size - 1;

        memcpy(out, value.data, fits);
        out[fits] = '\0';
        return out;
    }

    size_t at = 0;

    out[at++] = '"';
    for (size_t i = 0; i < value.size; i++) {
        char escaped[4];
        size_t length = log_escape(escaped, (unsigned char)value.data[i]);

        if (length > size - at - 2) {
            break;
        }
        memcpy(out + at, escaped, length);
        at += length;
    }
    out[at++] = '"';
    out[at] = '\0';
    return out;
}
