/* Log lines for people, for logfmt and for JSON: include/peal/peal.h. */
#include "base/log.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/slice.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_SINK_LINE_SIZE 4096

/* Longer values are cut; log_write makes none. */
#define LOG_SINK_VALUE_SIZE 2048

/* Kept free for the end of a line that is cut: ,"truncated":true}\n */
#define LOG_SINK_RESERVE 24

struct log_line {
    char text[LOG_SINK_LINE_SIZE];
    size_t size;
    bool is_full; /* what came last did not fit */
};

static void log_line_put(struct log_line *line, const char *data, size_t size)
{
    if (line->is_full ||
        size > sizeof line->text - LOG_SINK_RESERVE - line->size) {
        line->is_full = true;
        return;
    }
    memcpy(line->text + line->size, data, size);
    line->size += size;
}

static void log_line_print(struct log_line *line, const char *text)
{
    log_line_put(line, text, strlen(text));
}

/* What the reserve is for. */
static void log_line_end(struct log_line *line, const char *text)
{
    memcpy(line->text + line->size, text, strlen(text));
    line->size += strlen(text);
}

/* --- Fields --------------------------------------------------------------- */

struct log_field {
    struct peal_slice key;
    struct peal_slice value; /* as it stands, with its quotes */
    bool is_quoted;
};

/* Takes the next field off `fields`; false when there is none. */
static bool log_field_next(const char **fields, struct log_field *field)
{
    const char *at = *fields + strspn(*fields, " ");
    size_t size = strcspn(at, " =");

    if (*at == '\0') {
        return false;
    }
    field->key = slice_make(at, size);
    at += size;
    at += *at == '=';
    field->is_quoted = *at == '"';
    size = strcspn(at, " ");
    if (field->is_quoted) {
        for (size = 1; at[size] != '\0' && at[size] != '"'; size++) {
            size += at[size] == '\\' && at[size + 1] != '\0';
        }
        size += at[size] == '"';
    }
    field->value = slice_make(at, size);
    *fields = at + size;
    return true;
}

static int log_hex(char digit)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = digit != '\0' ? strchr(digits, digit) : NULL;

    return at != NULL ? (int)(at - digits) : -1;
}

/* The bytes that a quoted value stands for: what log_quote was given. */
static struct peal_slice log_unquote(struct peal_slice value,
                                     char out[LOG_SINK_VALUE_SIZE])
{
    const char *in = value.data;
    size_t size = 0;

    for (size_t i = 1; i < value.size && size < LOG_SINK_VALUE_SIZE; i++) {
        char byte = in[i];

        if (byte == '"') {
            break;
        }
        if (byte == '\\' && i + 1 < value.size) {
            byte = in[++i];
            if (byte == 'n') {
                byte = '\n';
            } else if (byte == 'x' && i + 2 < value.size &&
                       log_hex(in[i + 1]) >= 0 && log_hex(in[i + 2]) >= 0) {
                byte = (char)(log_hex(in[i + 1]) * 16 + log_hex(in[i + 2]));
                i += 2;
            }
        }
        out[size++] = byte;
    }
    return slice_make(out, size);
}

/* --- JSON ----------------------------------------------------------------- */

/* How many bytes at the beginning of `text` are one character; 0: none is. */
static size_t log_character(struct peal_slice text)
{
    for (size_t size = 1; size <= 4 && size <= text.size; size++) {
        if (utf8_is_valid(text.data, size)) {
            return size;
        }
    }
    return 0;
}

static void log_json_string(struct log_line *line, struct peal_slice text)
{
    log_line_print(line, "\"");
    while (text.size > 0) {
        unsigned char byte = (unsigned char)text.data[0];
        size_t size = log_character(text);
        char escape[8];

        if (size == 0) {
            log_line_print(line, "\xef\xbf\xbd"); /* U+FFFD */
            size = 1;
        } else if (byte < ' ' || byte == 0x7f) {
            snprintf(escape, sizeof escape, "\\u%04x", byte);
            log_line_print(line, escape);
        } else if (byte == '"' || byte == '\\') {
            log_line_print(line, "\\");
            log_line_put(line, text.data, 1);
        } else {
            log_line_put(line, text.data, size);
        }
        text = slice_make(text.data + size, text.size - size);
    }
    log_line_print(line, "\"");
}

static void log_json_member(struct log_line *line, const char *key,
                            const char *value)
{
    log_json_string(line, peal_slice(key));
    log_line_print(line, ":");
    log_json_string(line, peal_slice(value));
}

static void log_json_field(struct log_line *line, const struct log_field *field)
{
    char bytes[LOG_SINK_VALUE_SIZE];

    log_line_print(line, ",");
    log_json_string(line, field->key);
    log_line_print(line, ":");
    if (field->is_quoted) {
        log_json_string(line, log_unquote(field->value, bytes));
    } else if (log_is_literal(field->value)) {
        log_line_put(line, field->value.data, field->value.size);
    } else {
        log_json_string(line, field->value);
    }
}

static void log_write_json(struct log_line *line, const char *time,
                           const char *level, const char *component,
                           const char *message, const char *fields)
{
    struct log_field field;
    size_t whole;

    log_line_print(line, "{");
    log_json_member(line, "ts", time);
    log_line_print(line, ",");
    log_json_member(line, "level", level);
    log_line_print(line, ",");
    log_json_member(line, "component", component);
    log_line_print(line, ",");
    log_json_member(line, "msg", message);
    whole = line->size;
    while (!line->is_full && log_field_next(&fields, &field)) {
        log_json_field(line, &field);
        whole = line->is_full ? whole : line->size;
    }
    line->size = whole;
    log_line_end(line, line->is_full ? ",\"truncated\":true}\n" : "}\n");
}

/* --- Text ----------------------------------------------------------------- */

static void log_write_text(struct log_line *line, enum peal_log_format format,
                           const char *const parts[4], const char *fields)
{
    static const char *const text[] = {"", " ", " ", ": "};
    static const char *const logfmt[] = {"ts=", " level=", " component=",
                                         " msg="};
    bool is_text = format == PEAL_LOG_TEXT;
    struct log_field field;
    size_t whole;

    for (size_t i = 0; i < ARRAY_SIZE(text); i++) {
        char quoted[256];

        log_line_print(line, is_text ? text[i] : logfmt[i]);
        log_line_print(line, i == 3 && !is_text
                                 ? log_quote(quoted, sizeof quoted,
                                             peal_slice(parts[i]))
                                 : parts[i]);
        if (is_text && i == 1 && strlen(parts[i]) < 5) {
            log_line_print(line, " "); /* components stand below each other */
        }
    }
    whole = line->size;
    while (!line->is_full && log_field_next(&fields, &field)) {
        const char *end = field.value.data + field.value.size;

        log_line_print(line, " ");
        log_line_put(line, field.key.data, (size_t)(end - field.key.data));
        whole = line->is_full ? whole : line->size;
    }
    line->size = whole;
    log_line_end(line, line->is_full ? " truncated=true\n" : "\n");
}

/* --- Sinks ---------------------------------------------------------------- */

/* Whether systemd has connected this descriptor to the journal. */
static bool log_is_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char expected[64];
    struct stat facts;

    if (stream == NULL || fstat(fd, &facts) < 0) {
        return false;
    }
    snprintf(expected, sizeof expected, "%llu:%llu",
             (unsigned long long)facts.st_dev,
             (unsigned long long)facts.st_ino);
    return strcmp(stream, expected) == 0;
}

/* As syslog(3) numbers it. */
static const char *log_priority(enum peal_log_level level)
{
    switch (level) {
    case PEAL_LOG_ERROR:
        return "<3>";
    case PEAL_LOG_WARN:
        return "<4>";
    case PEAL_LOG_DEFAULT:
    case PEAL_LOG_INFO:
        return "<6>";
    case PEAL_LOG_TRACE:
    case PEAL_LOG_DEBUG:
    case PEAL_LOG_OFF:
        break;
    }
    return "<7>";
}

void peal_log_to_sink(enum peal_log_level level, const char *component,
                      const char *message, const char *fields, void *user)
{
    const struct peal_log_sink *sink = user;
    int fd = sink != NULL && sink->fd != 0 ? sink->fd : STDERR_FILENO;
    enum peal_log_format format =
        sink != NULL ? sink->format : PEAL_LOG_FORMAT_DEFAULT;
    struct log_line line = {.size = 0};
    char time[CLOCK_TEXT_SIZE + 1];
    ssize_t written;

    clock_format(clock_wall_ms(), time);
    fields = fields != NULL ? fields : "";
    if (format == PEAL_LOG_FORMAT_DEFAULT) {
        format = isatty(fd) == 1 ? PEAL_LOG_TEXT : PEAL_LOG_LOGFMT;
    }
    if (log_is_journal(fd)) {
        log_line_print(&line, log_priority(level));
    }
    if (format == PEAL_LOG_JSON) {
        log_write_json(&line, time, peal_log_level_name(level), component,
                       message, fields);
    } else {
        const char *const parts[] = {time, peal_log_level_name(level),
                                     component, message};

        log_write_text(&line, format, parts, fields);
    }

    /* One write, so that lines of several threads and processes stay whole.
     * There is nobody to tell when it fails. */
    do {
        written = write(fd, line.text, line.size);
    } while (written < 0 && errno == EINTR);
}

void peal_log_to_stderr(enum peal_log_level level, const char *component,
                        const char *message, const char *fields, void *user)
{
    struct peal_log_sink sink = {
        .size = sizeof sink,
        .fd = STDERR_FILENO,
        .format = PEAL_LOG_LOGFMT,
    };

    (void)user;
    peal_log_to_sink(level, component, message, fields, &sink);
}
