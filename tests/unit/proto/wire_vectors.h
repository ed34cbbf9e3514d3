/*
 * Runs the vectors of a dialect. Cases with a setting `kind` are messages to be
 * written, from the settings; all others are messages to be read.
 */
#ifndef TESTS_WIRE_VECTORS_H
#define TESTS_WIRE_VECTORS_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../wire_check.h"
#include "vectors.h"

static const char *const wire_kind_names[] = {
    [WIRE_EVENT] = "event",     [WIRE_ANSWER] = "answer",
    [WIRE_FAILURE] = "failure", [WIRE_PING] = "ping",
    [WIRE_PONG] = "pong",       [WIRE_JOIN] = "join",
    [WIRE_LEAVE] = "leave",     [WIRE_IGNORED] = "ignored",
    [WIRE_INVALID] = "invalid", [WIRE_WELCOME] = "welcome",
    [WIRE_JOINED] = "joined",   [WIRE_LEFT] = "left",
    [WIRE_GOODBYE] = "goodbye", [WIRE_GAP] = "gap",
};

static void wire_log_slice(struct vector_log *log, const char *what,
                           struct peal_slice slice)
{
    if (slice.size > 0) {
        vector_log_add(log, "%s", what);
        vector_log_bytes(log, slice.data, slice.size);
        vector_log_end(log);
    }
}

static void wire_log_line(struct vector_log *log, const char *line)
{
    vector_log_add(log, "%s", line);
    vector_log_end(log);
}

static void wire_log_failure(struct vector_log *log,
                             const struct wire_failure *failure)
{
    vector_log_add(log, "code %d%s", failure->code,
                   failure->temporary ? " temporary" : "");
    vector_log_end(log);
    wire_log_slice(log, "code-name", failure->name);
    wire_log_slice(log, "message", failure->message);
}

static void wire_log_data(struct vector_log *log, const struct wire *wire)
{
    if (wire->data_kind == PEAL_JSON) {
        wire_log_slice(log, "json", wire->data);
        return;
    }
    vector_log_add(log, wire->data_kind == PEAL_TEXT ? "text" : "bytes");
    vector_log_bytes(log, wire->data.data, wire->data.size);
    vector_log_end(log);
}

static void wire_log_read(struct vector_log *log, const struct wire *wire)
{
    wire_log_line(log, wire_kind_names[wire->kind]);
    if (wire->kind == WIRE_IGNORED) {
        return;
    }
    if (wire->kind == WIRE_INVALID) {
        vector_log_add(log, "code %d", wire->failure.code);
        vector_log_end(log);
    } else {
        wire_log_slice(log, "name", wire->name);
        wire_log_slice(log, "room", wire->room);
    }
    wire_log_slice(log, "id", wire->id);
    if (wire->kind != WIRE_INVALID) {
        wire_log_slice(log, "ack", wire->ack);
        if (wire->kind == WIRE_FAILURE || wire->kind == WIRE_GOODBYE) {
            wire_log_failure(log, &wire->failure);
        }
        wire_log_data(log, wire);
    }
    if (wire->wants_answer) {
        wire_log_line(log, "wants an answer");
    }
    if (wire->is_event_too && wire->kind != WIRE_INVALID) {
        wire_log_line(log, "is an event too");
    }
}

/* Finds the one frame of the input as its pieces arrive. */
static void wire_parse_frame(const struct vector *vector,
                             const struct vector_pieces *pieces,
                             struct tcp_frame *frame)
{
    size_t size = 0;
    long rc = 0;

    for (size_t i = 0; i < pieces->count; i++) {
        assert_int_equal(rc, 0);
        size += pieces->cuts[i];
        rc = tcp_frame_parse(frame, vectors_guard(vector->in, size), size,
                             (size_t)1 << 20);
    }
    assert_int_equal(rc, vector->in_size);
}

static void wire_run_read(const struct dialect *dialect,
                          const struct vector *vector,
                          const struct vector_pieces *pieces,
                          struct vector_log *log)
{
    const char *over = vector_get(vector, "over", "text");
    struct wire wire;

    if (strcmp(over, "tcp") == 0) {
        struct tcp_frame frame;

        wire_parse_frame(vector, pieces, &frame);
        dialect->read_tcp(&wire, &frame);
    } else {
        dialect->read_ws(&wire, strcmp(over, "binary") == 0,
                         vectors_guard(vector->in, vector->in_size),
                         vector->in_size);
    }
    wire_log_read(log, &wire);
    wire_check_sound(&wire);
    if (wire.kind == WIRE_EVENT) {
        wire_check_event(&wire);
    }
}

static struct peal_slice wire_setting(const struct vector *vector,
                                      const char *name)
{
    return peal_slice(vector_get(vector, name, NULL));
}

static void wire_build(const struct vector *vector, struct wire *wire)
{
    struct wire_failure *failure = &wire->failure;
    struct peal_slice kind = wire_setting(vector, "kind");

    *wire = (struct wire){
        .name = wire_setting(vector, "name"),
        .room = wire_setting(vector, "room"),
        .data = wire_setting(vector, "data"),
        .id = wire_setting(vector, "id"),
        .ack = wire_setting(vector, "ack"),
        .welcome.client_id = wire_setting(vector, "client"),
        .welcome.message_bytes_max =
            (uint64_t)vector_get_number(vector, "message-bytes", 0),
        .welcome.rooms_max = (uint64_t)vector_get_number(vector, "rooms", 0),
        .welcome.ping_interval_ms =
            (uint32_t)vector_get_number(vector, "interval", 0),
        .welcome.ping_timeout_ms =
            (uint32_t)vector_get_number(vector, "timeout", 0),
        .gap.count = (uint64_t)vector_get_number(vector, "count", 0),
        .gap.reason = wire_setting(vector, "reason"),
    };
    wire->wants_answer = slice_equal(kind, SLICE("request"));
    for (size_t i = 0; i < sizeof wire_kind_names / sizeof(char *); i++) {
        if (slice_equal(kind, peal_slice(wire_kind_names[i]))) {
            wire->kind = (enum wire_kind)i;
        }
    }
    if (vector_get(vector, "bytes", NULL) != NULL) {
        wire->data_kind = PEAL_BYTES;
        wire->data = wire_setting(vector, "bytes");
    }
    if (vector_get(vector, "text", NULL) != NULL ||
        vector_get(vector, "empty", NULL) != NULL) {
        wire->data_kind = PEAL_TEXT;
        wire->data = wire_setting(vector, "text");
    }
    failure->code = (int)vector_get_number(vector, "code", 0);
    if (failure->code >= WIRE_BAD_MESSAGE && failure->code <= WIRE_BUSY) {
        *failure = wire_failure_of((enum wire_code)failure->code);
    }
    if (vector_get(vector, "message", NULL) != NULL) {
        failure->name = wire_setting(vector, "code-name");
        failure->message = wire_setting(vector, "message");
        failure->temporary = vector_get(vector, "temporary", NULL) != NULL;
        failure->retry_after_ms =
            (uint32_t)vector_get_number(vector, "retry-after", 0);
    }
}

static void wire_run_write(const struct dialect *dialect,
                           const struct vector *vector, struct vector_log *log)
{
    struct wire wire;

    wire_build(vector, &wire);
    for (int i = 0; i < 2; i++) {
        enum transport transport = i == 0 ? TRANSPORT_WS : TRANSPORT_TCP;
        struct wire_plan plan;
        char *out = wire_check_write(dialect, &wire, transport, &plan);

        vector_log_add(log, i == 0 ? "ws" : "tcp");
        if (out == NULL) {
            vector_log_add(log, " -");
        } else {
            vector_log_add(log, i == 0 && plan.is_binary ? " binary" : "");
            vector_log_bytes(log, out, plan.size);
        }
        vector_log_end(log);
        free(out);
    }
    if (wire.kind == WIRE_EVENT) {
        wire_check_event(&wire);
    }
}

static void wire_run(const struct dialect *dialect, const struct vector *vector,
                     const struct vector_pieces *pieces, struct vector_log *log)
{
    if (vector_get(vector, "kind", NULL) != NULL) {
        wire_run_write(dialect, vector, log);
    } else {
        wire_run_read(dialect, vector, pieces, log);
    }
}

#endif
