/*
 * What must hold of every message that a dialect has read, for the unit tests
 * and the fuzzers: its slices are sound, and as an event it can be written by
 * each dialect and be read back as the same.
 */
#ifndef TESTS_WIRE_CHECK_H
#define TESTS_WIRE_CHECK_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "base/utf8.h"
#include "proto/dialect.h"
#include "proto/json.h"

static inline void wire_check_slice(struct peal_slice slice)
{
    volatile char sum = 0;

    /* Touches every byte, so that a sanitizer sees a slice that is none. */
    for (size_t i = 0; i < slice.size; i++) {
        sum = (char)(sum ^ slice.data[i]);
    }
}

/* Kinds, types, sizes and encodings that the rest of the server relies on. */
static inline void wire_check_sound(const struct wire *wire)
{
    /* Other kinds have none: what is there is not even set. */
    if (wire->kind == WIRE_INVALID || wire->kind == WIRE_FAILURE ||
        wire->kind == WIRE_GOODBYE) {
        wire_check_slice(wire->failure.name);
        wire_check_slice(wire->failure.message);
    }
    wire_check_slice(wire->id);
    assert(wire->id.size <= WIRE_ID_MAX);
    assert(wire->id.size == 0 || json_check(wire->id.data, wire->id.size) > 0);
    if (wire->kind == WIRE_INVALID || wire->kind == WIRE_IGNORED) {
        return;
    }
    wire_check_slice(wire->data);
    assert(wire->name.size <= 256 && wire->room.size <= 256);
    assert(wire->ack.size <= 256);
    assert(utf8_is_valid(wire->name.data, wire->name.size));
    assert(utf8_is_valid(wire->room.data, wire->room.size));
    assert(utf8_is_valid(wire->ack.data, wire->ack.size));
    if (wire->kind == WIRE_JOIN || wire->kind == WIRE_LEAVE) {
        assert(wire->room.size > 0);
    }
    if (wire->kind == WIRE_ANSWER) {
        assert(wire->id.size > 0 || wire->ack.size > 0);
    }
    if (wire->kind == WIRE_ANSWER || wire->kind == WIRE_FAILURE) {
        assert(!wire->wants_answer);
    }
    if (wire->data_kind == PEAL_JSON && wire->data.size > 0) {
        assert(json_check(wire->data.data, wire->data.size) > 0);
    }
    if (wire->data_kind != PEAL_BYTES) {
        assert(utf8_is_valid(wire->data.data, wire->data.size));
    }
}

/*
 * Writes a wire into memory of exactly the planned size. NULL when the dialect
 * cannot say it.
 */
static inline char *wire_check_write(const struct dialect *dialect,
                                     const struct wire *wire,
                                     enum transport transport,
                                     struct wire_plan *plan)
{
    char *out;

    if (!dialect->plan(plan, wire, transport)) {
        return NULL;
    }
    out = malloc(plan->size + (plan->size == 0));
    assert(out != NULL);
    dialect->write(out, plan, wire, transport);
    return out;
}

/* Reads what was written for `transport`. */
static inline void wire_check_read(const struct dialect *dialect, char *data,
                                   const struct wire_plan *plan,
                                   enum transport transport, struct wire *wire)
{
    struct tcp_frame frame;

    if (transport == TRANSPORT_WS) {
        if (!plan->is_binary) {
            assert(utf8_is_valid(data, plan->size));
        }
        dialect->read_ws(wire, plan->is_binary, data, plan->size);
        return;
    }
    assert(tcp_frame_parse(&frame, data, plan->size, plan->size) ==
           (long)plan->size);
    dialect->read_tcp(wire, &frame);
}

/* Without the blanks around it, which need not survive. */
static inline struct peal_slice wire_check_trim(struct peal_slice json)
{
    while (json.size > 0 && strchr(" \t\r\n", json.data[0]) != NULL) {
        json.data++;
        json.size--;
    }
    while (json.size > 0 && strchr(" \t\r\n", json.data[json.size - 1])) {
        json.size--;
    }
    return json;
}

/* The data of an event: the same bytes, or what the dialect has for none. */
static inline void wire_check_data(const struct dialect *dialect,
                                   const struct wire *sent,
                                   const struct wire *got)
{
    if (dialect == &dialect_raw) {
        enum peal_data kind =
            sent->data_kind == PEAL_BYTES ? PEAL_BYTES : PEAL_TEXT;

        assert(got->data_kind == kind);
        assert(slice_equal(got->data, sent->data));
        return;
    }
    if (sent->data_kind == PEAL_TEXT) {
        char *text = malloc(got->data.size);

        assert(text != NULL && got->data_kind == PEAL_JSON);
        long size = json_decode(got->data, text);

        assert(size >= 0 &&
               slice_equal(slice_make(text, (size_t)size), sent->data));
        free(text);
        return;
    }
    assert(got->data_kind == sent->data_kind);
    if (sent->data_kind == PEAL_JSON && sent->data.size == 0) {
        assert(got->data.size == 0 || slice_equal(got->data, SLICE("null")));
    } else if (sent->data_kind == PEAL_JSON) {
        assert(slice_equal(wire_check_trim(got->data),
                           wire_check_trim(sent->data)));
    } else {
        assert(slice_equal(got->data, sent->data));
    }
}

/* Events that mean something else when stelar clients say them. */
static inline bool wire_check_is_builtin(const struct wire *wire)
{
    return wire->data_kind != PEAL_BYTES &&
           (slice_equal(wire->name, SLICE("pong")) ||
            slice_equal(wire->name, SLICE("join-room")) ||
            slice_equal(wire->name, SLICE("leave-room")));
}

static inline void wire_check_event_by(const struct dialect *dialect,
                                       const struct wire *wire,
                                       enum transport transport)
{
    struct wire_plan plan;
    struct wire got;
    char *out = wire_check_write(dialect, wire, transport, &plan);

    if (out == NULL) {
        /* No names to write it with, or a name that is not for events. */
        assert(dialect != &dialect_raw);
        return;
    }
    wire_check_read(dialect, out, &plan, transport, &got);
    if (dialect != &dialect_stelar || !wire_check_is_builtin(wire)) {
        assert(got.kind == WIRE_EVENT);
        wire_check_data(dialect, wire, &got);
        assert(slice_equal(got.name, wire->name) ||
               (dialect == &dialect_raw && transport == TRANSPORT_WS));
    }
    if (dialect == &dialect_peal) {
        assert(slice_equal(got.room, wire->room));
        assert(got.wants_answer == wire->wants_answer);
        assert(!wire->wants_answer || slice_equal(got.id, wire->id));
    }
    free(out);
}

/* An event that some dialect has read, as it would be passed on. */
static inline void wire_check_event(const struct wire *read)
{
    static const struct dialect *const dialects[] = {
        &dialect_peal, &dialect_stelar, &dialect_raw};

    assert(read->kind == WIRE_EVENT);
    for (size_t i = 0; i < 3; i++) {
        struct wire wire = *read;

        /* A request of the server has an id of the server's, which is short;
         * stelar clients have longer ones, or just an ack. */
        wire.wants_answer = dialects[i]->has_requests && read->wants_answer &&
                            read->id.size > 0 && read->id.size <= 64;
        wire_check_event_by(dialects[i], &wire, TRANSPORT_WS);
        wire_check_event_by(dialects[i], &wire, TRANSPORT_TCP);
    }
}

#endif
