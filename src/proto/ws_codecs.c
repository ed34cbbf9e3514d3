#include "proto/ws_codecs.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"
#include "proto/ws_frame.h"

/* Buffers larger than this are given back when the message is done with. */
#define KEPT_BYTES (64 * 1024)

struct ws_codecs *ws_codecs_new(void)
{
    struct ws_codecs *codecs = mem_zalloc(sizeof *codecs);

    if (codecs != NULL) {
        buffer_init(&codecs->plain, WS_CODECS_BYTES_MAX);
        buffer_init(&codecs->packed, WS_CODECS_BYTES_MAX);
        buffer_init(&codecs->inflated, WS_CODECS_BYTES_MAX);
    }
    return codecs;
}

static void free_deflater(struct ws_codecs *codecs,
                          struct ws_deflater *deflater)
{
    if (deflater != NULL) {
        codecs->memory -= ws_deflater_memory(deflater);
        ws_deflater_free(deflater);
    }
}

static void free_inflater(struct ws_codecs *codecs,
                          struct ws_inflater *inflater)
{
    if (inflater != NULL) {
        codecs->memory -= ws_inflater_memory(inflater);
        ws_inflater_free(inflater);
    }
}

void ws_codecs_drop_deflater(struct ws_codecs *codecs,
                             struct ws_codecs_own *own)
{
    free_deflater(codecs, own->deflater);
    own->deflater = NULL;
}

void ws_codecs_drop(struct ws_codecs *codecs, struct ws_codecs_own *own)
{
    ws_codecs_drop_deflater(codecs, own);
    free_inflater(codecs, own->inflater);
    own->inflater = NULL;
}

void ws_codecs_free(struct ws_codecs *codecs)
{
    if (codecs == NULL) {
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(codecs->deflaters); i++) {
        free_deflater(codecs, codecs->deflaters[i]);
    }
    free_inflater(codecs, codecs->inflater);
    buffer_fini(&codecs->plain);
    buffer_fini(&codecs->packed);
    buffer_fini(&codecs->inflated);
    mem_free(codecs);
}

/* Empties a buffer, and gives back what a large message took. */
static void release(struct buffer *buffer)
{
    if (buffer->capacity > KEPT_BYTES) {
        buffer_fini(buffer);
    } else {
        buffer_clear(buffer);
    }
}

char *ws_codecs_reserve(struct ws_codecs *codecs, size_t size)
{
    return buffer_reserve(&codecs->plain, size) < 0
               ? NULL
               : buffer_head(&codecs->plain);
}

bool ws_codecs_pack(struct ws_codecs *codecs, struct ws_codecs_own *own,
                    const struct ws_deflater_options *options, size_t size,
                    struct peal_slice *packed)
{
    struct ws_deflater **place =
        own != NULL ? &own->deflater
                    : &codecs->deflaters[options->bits - WS_DEFLATE_BITS_MIN];
    struct buffer *out = &codecs->packed;
    int rc = 0;

    if (*place == NULL) {
        rc = ws_deflater_new(place, options);
        if (rc == 0) {
            codecs->memory += ws_deflater_memory(*place);
        }
    }
    if (rc == 0) {
        release(out);
        rc = ws_deflater_run(*place,
                             slice_make(buffer_head(&codecs->plain), size),
                             own != NULL, out);
    }
    release(&codecs->plain);
    /* With takeover the window has taken the message in, so that the peer's
     * must, too, whatever its size. */
    if (rc < 0 || (own == NULL && buffer_size(out) >= size)) {
        return false;
    }
    *packed = slice_make(buffer_head(out), buffer_size(out));
    return true;
}

/* The limit may have changed. One more tells what is too big from what fits. */
static void set_inflated_max(struct ws_codecs *codecs, size_t max)
{
    if (codecs->inflated.capacity > max) {
        buffer_fini(&codecs->inflated);
    }
    codecs->inflated.max = max + 1;
}

int ws_codecs_unpack(struct ws_codecs *codecs, struct ws_codecs_own *own,
                     int bits, const struct ws_inflate_limits *limits,
                     struct peal_slice *message, const char **problem)
{
    struct ws_inflater **place =
        own != NULL ? &own->inflater : &codecs->inflater;
    size_t before;
    int rc;

    if (*place == NULL) {
        if (ws_inflater_new(place, own != NULL ? bits : WS_DEFLATE_BITS_MAX) <
            0) {
            *problem = "out of memory";
            return -WS_CLOSE_INTERNAL;
        }
        codecs->memory += ws_inflater_memory(*place);
    }
    set_inflated_max(codecs, limits->message_bytes_max);
    before = ws_inflater_memory(*place);
    rc = ws_inflater_run(*place, *message, limits, &codecs->inflated, problem);
    codecs->memory += ws_inflater_memory(*place) - before;
    *message = slice_make(buffer_head(&codecs->inflated),
                          buffer_size(&codecs->inflated));
    return rc;
}

void ws_codecs_release(struct ws_codecs *codecs)
{
    release(&codecs->inflated);
}
