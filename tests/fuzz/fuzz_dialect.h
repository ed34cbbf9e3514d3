/*
 * What the fuzzers of the dialects share. The first byte of an input says how
 * the rest came in: t text, b binary, all others TCP frames.
 */
#ifndef TESTS_FUZZ_DIALECT_H
#define TESTS_FUZZ_DIALECT_H

#include "../wire_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_check(const struct wire *wire)
{
    wire_check_sound(wire);
    if (wire->kind == WIRE_EVENT) {
        wire_check_event(wire);
    }
}

/* Reading writes to what it reads, hence the copy, of exactly that size. */
static inline char *fuzz_copy(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + (size == 0));

    assert(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

static inline void fuzz_frames(const struct dialect *dialect, char *data,
                               size_t size)
{
    struct tcp_frame frame;
    struct wire wire;
    long used;

    for (size_t at = 0; at < size; at += (size_t)used) {
        used = tcp_frame_parse(&frame, data + at, size - at, 1 << 20);
        if (used <= 0) {
            return;
        }
        dialect->read_tcp(&wire, &frame);
        fuzz_check(&wire);
    }
}

static inline void fuzz_dialect(const struct dialect *dialect,
                                const uint8_t *data, size_t size)
{
    struct wire wire;
    char *copy;

    if (size == 0) {
        return;
    }
    copy = fuzz_copy(data + 1, size - 1);
    if (data[0] == 'b') {
        dialect->read_ws(&wire, true, copy, size - 1);
        fuzz_check(&wire);
    } else if (data[0] != 't') {
        fuzz_frames(dialect, copy, size - 1);
    } else if (utf8_is_valid(copy, size - 1)) {
        dialect->read_ws(&wire, false, copy, size - 1);
        fuzz_check(&wire);
    }
    free(copy);
}

#endif
