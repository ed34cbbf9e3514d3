/*
 * A stream of TCP frames. Checked besides memory: a part of a frame is never
 * judged otherwise than the whole, and a frame written anew is the same bytes.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/tcp_frame.h"

#define FRAME_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Parses a copy of exactly this size, so that a byte too far is seen. */
static long parse_copy(const char *data, size_t size)
{
    struct tcp_frame frame;
    char *copy = malloc(size);

    assert(copy != NULL);
    memcpy(copy, data, size);
    long rc = tcp_frame_parse(&frame, copy, size, FRAME_MAX);

    free(copy);
    return rc;
}

/* The shorter inputs are undecided or decided alike. */
static void check_prefixes(const char *data, size_t size, long whole)
{
    /* All is decided by the header, and by the last byte of the frame. */
    for (size_t n = 1; n < size && n <= TCP_HEADER_SIZE + 1; n++) {
        long rc = parse_copy(data, n);

        assert(rc == 0 || rc == whole);
    }
    if (whole > 1) {
        assert(parse_copy(data, (size_t)whole - 1) == 0);
        assert(parse_copy(data, (size_t)whole) == whole);
    }
}

static void check_written(const struct tcp_frame *frame, const char *data,
                          size_t size)
{
    char out[FRAME_MAX];
    char *payload =
        tcp_frame_write(out, frame->type, frame->event, frame->payload_size);

    if (frame->payload_size > 0) {
        memcpy(payload, frame->payload, frame->payload_size);
    }
    assert((size_t)(payload - out) + frame->payload_size == size);
    assert(memcmp(out, data, size) == 0);
    assert(tcp_frame_size(frame->event.size, frame->payload_size) == size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);
    size_t used = 0;

    assert(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    while (used < size) {
        struct tcp_frame frame;
        long rc = tcp_frame_parse(&frame, copy + used, size - used, FRAME_MAX);

        assert(rc == PEAL_EPROTOCOL || rc == PEAL_ETOOBIG ||
               (rc >= 0 && (size_t)rc <= size - used));
        check_prefixes(copy + used, size - used, rc);
        if (rc <= 0) {
            break;
        }
        check_written(&frame, copy + used, (size_t)rc);
        used += (size_t)rc;
    }
    free(copy);
    return 0;
}
