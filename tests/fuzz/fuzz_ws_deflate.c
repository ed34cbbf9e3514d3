/*
 * Payloads of permessage-deflate. The first byte chooses a window, a level, a
 * memory level and whether there is takeover. The rest is inflated, as several
 * messages, which must end within their limit whatever it is; then it is
 * compressed, as the same messages, and must come back.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "base/utf8.h"
#include "proto/ws_deflate.h"

#define MESSAGE_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct codecs {
    struct ws_deflater *deflater;
    struct ws_inflater *inflater;
    struct ws_inflate_limits limits;
    struct buffer packed;
    struct buffer out;
};

/* False: refused. */
static bool read_one(struct codecs *codecs, struct peal_slice packed)
{
    const char *problem = NULL;
    int rc;

    buffer_clear(&codecs->out);
    rc = ws_inflater_run(codecs->inflater, packed, &codecs->limits,
                         &codecs->out, &problem);
    if (rc < 0) {
        assert(rc == -1007 || rc == -1009);
        assert(problem != NULL);
        assert(buffer_size(&codecs->out) <= MESSAGE_MAX + 1);
        return false;
    }
    assert(buffer_size(&codecs->out) <= MESSAGE_MAX);
    assert(!codecs->limits.is_text ||
           utf8_is_valid(buffer_head(&codecs->out), buffer_size(&codecs->out)));
    return true;
}

static void round_trip(struct codecs *codecs, struct peal_slice message)
{
    buffer_clear(&codecs->packed);
    assert(ws_deflater_run(codecs->deflater, message, codecs->limits.takeover,
                           &codecs->packed) == 0);
    codecs->limits.is_text = utf8_is_valid(message.data, message.size);
    assert(read_one(codecs, slice_make(buffer_head(&codecs->packed),
                                       buffer_size(&codecs->packed))));
    assert(buffer_size(&codecs->out) == message.size);
    assert(message.size == 0 ||
           memcmp(buffer_head(&codecs->out), message.data, message.size) == 0);
}

/* Calls for each message of the input: a byte of length, its payload. */
static void run(struct codecs *codecs, const char *data, size_t size,
                bool is_packed)
{
    for (size_t at = 0; at < size;) {
        size_t length = (size_t)(uint8_t)data[at] * 4;
        struct peal_slice piece;

        at++;
        if (length > size - at) {
            length = size - at;
        }
        piece = slice_make(data + at, length);
        at += length;
        if (!is_packed) {
            round_trip(codecs, piece);
        } else if (!read_one(codecs, piece)) {
            return;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct codecs codecs = {
        .limits = {.message_bytes_max = MESSAGE_MAX},
    };
    struct ws_deflater_options options;

    if (size == 0) {
        return 0;
    }
    options = (struct ws_deflater_options){
        .bits = 9 + data[0] % 7,
        .level = 1 + data[0] % 9,
        .memory_level = 1 + data[0] / 9 % 9,
    };
    codecs.limits.takeover = data[0] % 2 == 1;
    codecs.limits.is_text = data[0] % 4 > 1;
    assert(ws_deflater_new(&codecs.deflater, &options) == 0);
    assert(ws_inflater_new(&codecs.inflater, options.bits) == 0);
    buffer_init(&codecs.packed, 1 << 20);
    buffer_init(&codecs.out, MESSAGE_MAX + 1);
    run(&codecs, (const char *)data + 1, size - 1, true);
    ws_inflater_free(codecs.inflater);
    assert(ws_inflater_new(&codecs.inflater, options.bits) == 0);
    run(&codecs, (const char *)data + 1, size - 1, false);
    ws_deflater_free(codecs.deflater);
    ws_inflater_free(codecs.inflater);
    buffer_fini(&codecs.packed);
    buffer_fini(&codecs.out);
    return 0;
}
