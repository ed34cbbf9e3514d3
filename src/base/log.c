#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

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

void log_write(const struct log *log, enum peal_log_level level,
               const char *component, const char *message, const char *format,
               ...)
{
    static const char mark[] = " truncated=true";
    char fields[LOG_FIELDS_SIZE + sizeof mark];
    va_list args;

    if (!log_enabled(log, level)) {
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

static bool log_is_bare(struct peal_slice value)
{
    for (size_t i = 0; i < value.size; i++) {
        unsigned char byte = (unsigned char)value.data[i];

        if (byte <= ' ' || byte >= 0x7f || byte == '"' || byte == '=' ||
            byte == '\\') {
            return false;
        }
    }
    return value.size > 0;
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
