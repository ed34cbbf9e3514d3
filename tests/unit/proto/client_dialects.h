/*
 * What the tests of the client's sides of dialects share: one side writes a
 * message, the other one reads it.
 */
#ifndef TESTS_CLIENT_DIALECTS_H
#define TESTS_CLIENT_DIALECTS_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../wire_check.h"

#define assert_slice(slice, text)                                              \
    assert_true(slice_equal((slice), peal_slice(text)))

/* `got` lies in the block returned, which the caller frees. */
static inline char *pass(const struct dialect *writer,
                         const struct dialect *reader, const struct wire *wire,
                         enum transport transport, struct wire *got)
{
    struct wire_plan plan;
    char *out = wire_check_write(writer, wire, transport, &plan);

    assert_non_null(out);
    wire_check_read(reader, out, &plan, transport, got);
    return out;
}

/* Reads a text message, of which `copy` keeps the bytes. */
static inline void read_text(const struct dialect *reader, const char *text,
                             char *copy, struct wire *got)
{
    strcpy(copy, text);
    reader->read_ws(got, false, copy, strlen(copy));
}

/* What is written over WebSocket is this text. */
static inline void check_text(const struct dialect *writer,
                              const struct wire *wire, const char *text)
{
    struct wire_plan plan;
    char *out = wire_check_write(writer, wire, TRANSPORT_WS, &plan);

    assert_non_null(out);
    assert_true(slice_equal(slice_make(out, plan.size), peal_slice(text)));
    free(out);
}

#endif
