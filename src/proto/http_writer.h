/*
 * Writes text into a block of fixed size. What does not fit is left out, and
 * http_writer_finish tells so: the callers need no check after each piece.
 */
#ifndef PROTO_HTTP_WRITER_H
#define PROTO_HTTP_WRITER_H

#include <string.h>

#include "peal/peal.h"

struct http_writer {
    char *out;
    size_t size;
    size_t used; /* <= size */
    bool is_full;
};

static inline void http_writer_put(struct http_writer *writer, const char *data,
                                   size_t size)
{
    if (writer->is_full || size > writer->size - writer->used) {
        writer->is_full = true;
        return;
    }
    if (size > 0) {
        memcpy(writer->out + writer->used, data, size);
        writer->used += size;
    }
}

static inline void http_writer_text(struct http_writer *writer,
                                    const char *text)
{
    http_writer_put(writer, text, strlen(text));
}

/* A header line. */
static inline void http_writer_field(struct http_writer *writer,
                                     const char *name, const char *value)
{
    http_writer_text(writer, name);
    http_writer_put(writer, ": ", 2);
    http_writer_text(writer, value);
    http_writer_put(writer, "\r\n", 2);
}

/* The bytes written, or PEAL_EFULL. */
static inline long http_writer_finish(const struct http_writer *writer)
{
    return writer->is_full ? PEAL_EFULL : (long)writer->used;
}

#endif
