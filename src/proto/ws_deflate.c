#include "proto/ws_deflate.h"

/* For the input pointers of zlib, which are not changed through. */
#define ZLIB_CONST
#include <limits.h>
#include <zlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "proto/ws_frame.h"

/* Output is made in steps of this much at first, later by doubling. */
#define STEP_BYTES 1024

/* Room that is made at once for the compressed form of a small message. */
#define ROOM_BYTES_MAX 65536

/*
 * What a flush adds to deflateBound, and the least room that zlib must find,
 * lest it flush again and again.
 */
#define FLUSH_BYTES 16

/* What a sender takes off the end of each message (RFC 7692, 7.2.1). */
static const unsigned char tail[] = {0x00, 0x00, 0xff, 0xff};

struct ws_deflater {
    z_stream stream;
    size_t memory;
};

struct ws_inflater {
    z_stream stream;
    size_t memory;
};

/* zlib frees only when a codec ends, so adding up is all there is to it. */
static void *allocate(void *memory, unsigned count, unsigned size)
{
    size_t *total = memory;
    void *block = mem_alloc_in(MEM_DEFLATE, (size_t)count * size);

    if (block != NULL) {
        *total += (size_t)count * size;
    }
    return block;
}

static void release(void *memory, void *block)
{
    (void)memory;
    mem_free_in(MEM_DEFLATE, block);
}

/* --- Compressing --------------------------------------------------------- */

int ws_deflater_new(struct ws_deflater **out,
                    const struct ws_deflater_options *options)
{
    struct ws_deflater *deflater;

    ASSERT(options->level >= 1 && options->level <= 9);
    ASSERT(options->memory_level >= 1 && options->memory_level <= 9);
    if (options->bits < WS_DEFLATE_BITS_MIN) {
        return PEAL_ENOTSUP;
    }
    ASSERT(options->bits <= WS_DEFLATE_BITS_MAX);
    deflater = mem_zalloc(sizeof *deflater);
    if (deflater == NULL) {
        return PEAL_ENOMEM;
    }
    deflater->memory = sizeof *deflater;
    deflater->stream.zalloc = allocate;
    deflater->stream.zfree = release;
    deflater->stream.opaque = &deflater->memory;
    if (deflateInit2(&deflater->stream, options->level, Z_DEFLATED,
                     -options->bits, options->memory_level,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        mem_free(deflater);
        return PEAL_ENOMEM;
    }
    *out = deflater;
    return 0;
}

void ws_deflater_free(struct ws_deflater *deflater)
{
    if (deflater != NULL) {
        deflateEnd(&deflater->stream);
        mem_free(deflater);
    }
}

size_t ws_deflater_memory(const struct ws_deflater *deflater)
{
    return deflater->memory;
}

/* At least `least` bytes of room; when it must grow, to double its size. */
static int make_room(struct buffer *out, size_t least)
{
    size_t size = buffer_size(out);
    size_t step = size < STEP_BYTES ? STEP_BYTES : size;

    if (out->capacity - out->end >= least) {
        return 0;
    }
    if (step > out->max - size) {
        step = out->max - size;
    }
    return buffer_reserve(out, step < least ? least : step);
}

/* Points zlib to the room behind what the buffer holds. */
static void point_to_room(z_stream *stream, const struct buffer *out)
{
    size_t room = out->capacity - out->end;

    stream->next_out = (unsigned char *)out->data + out->end;
    stream->avail_out = room > UINT_MAX ? UINT_MAX : (unsigned)room;
}

static void keep_output(const z_stream *stream, struct buffer *out)
{
    out->end = (size_t)((char *)stream->next_out - out->data);
}

static int compress_all(z_stream *stream, struct buffer *out)
{
    size_t bound = deflateBound(stream, stream->avail_in) + FLUSH_BYTES;
    bool is_small =
        bound <= ROOM_BYTES_MAX && bound <= out->max - buffer_size(out);
    int rc = make_room(out, is_small ? bound : FLUSH_BYTES);

    while (rc == 0) {
        point_to_room(stream, out);
        rc = deflate(stream, Z_SYNC_FLUSH);
        ASSERT(rc == Z_OK || rc == Z_BUF_ERROR);
        keep_output(stream, out);
        if (stream->avail_out > 0) {
            return 0;
        }
        rc = make_room(out, FLUSH_BYTES);
    }
    return rc;
}

int ws_deflater_run(struct ws_deflater *deflater, struct peal_slice message,
                    bool takeover, struct buffer *out)
{
    z_stream *stream = &deflater->stream;
    size_t before = buffer_size(out);
    int rc;

    if (message.size > UINT_MAX) {
        return PEAL_EFULL;
    }
    if (!takeover) {
        deflateReset(stream);
    }
    if (message.size == 0) {
        /* zlib adds nothing to a flush; this is an empty block (7.2.3.6). */
        return buffer_append(out, "", 1);
    }
    stream->next_in = (const unsigned char *)message.data;
    stream->avail_in = (unsigned)message.size;
    rc = compress_all(stream, out);
    if (rc < 0) {
        out->end = out->start + before;
        deflateReset(stream);
        return rc;
    }
    ASSERT(stream->avail_in == 0 && buffer_size(out) > before + sizeof tail);
    out->end -= sizeof tail;
    return 0;
}

/* --- Inflating ----------------------------------------------------------- */

int ws_inflater_new(struct ws_inflater **out, int bits)
{
    struct ws_inflater *inflater = mem_zalloc(sizeof *inflater);

    if (inflater == NULL) {
        return PEAL_ENOMEM;
    }
    /* A peer that was left 8 bits may use 9 for want of better: see above. */
    if (bits < WS_DEFLATE_BITS_MIN) {
        bits = WS_DEFLATE_BITS_MIN;
    }
    ASSERT(bits <= WS_DEFLATE_BITS_MAX);
    inflater->memory = sizeof *inflater;
    inflater->stream.zalloc = allocate;
    inflater->stream.zfree = release;
    inflater->stream.opaque = &inflater->memory;
    if (inflateInit2(&inflater->stream, -bits) != Z_OK) {
        mem_free(inflater);
        return PEAL_ENOMEM;
    }
    *out = inflater;
    return 0;
}

void ws_inflater_free(struct ws_inflater *inflater)
{
    if (inflater != NULL) {
        inflateEnd(&inflater->stream);
        mem_free(inflater);
    }
}

size_t ws_inflater_memory(const struct ws_inflater *inflater)
{
    return inflater->memory;
}

/* One message on its way through an inflater. */
struct inflation {
    z_stream *stream;
    const struct ws_inflate_limits *limits;
    struct buffer *out;
    struct utf8 utf8;
    const char **problem;
    bool has_ended; /* the last block was marked as the final one */
};

static int refuse(const struct inflation *in, enum ws_close code,
                  const char *problem)
{
    *in->problem = problem;
    return -(int)code;
}

/* One step: some output, of which not more than the limit and one is made. */
static int inflate_step(struct inflation *in)
{
    struct buffer *out = in->out;
    size_t before = buffer_size(out);
    size_t most = in->limits->message_bytes_max + 1 - before;
    int rc;

    if (make_room(out, 1) < 0) {
        return refuse(in, WS_CLOSE_INTERNAL, "out of memory");
    }
    point_to_room(in->stream, out);
    if (in->stream->avail_out > most) {
        in->stream->avail_out = (unsigned)most;
    }
    rc = inflate(in->stream, Z_SYNC_FLUSH);
    keep_output(in->stream, out);
    if (rc == Z_MEM_ERROR) {
        return refuse(in, WS_CLOSE_INTERNAL, "out of memory");
    }
    if (rc == Z_DATA_ERROR || rc == Z_NEED_DICT || rc == Z_STREAM_ERROR) {
        return refuse(in, WS_CLOSE_INVALID_DATA, "no deflate data");
    }
    in->has_ended = rc == Z_STREAM_END;
    if (buffer_size(out) > in->limits->message_bytes_max) {
        return refuse(in, WS_CLOSE_TOO_BIG, "message too big");
    }
    if (in->limits->is_text && !utf8_feed(&in->utf8, buffer_head(out) + before,
                                          buffer_size(out) - before)) {
        return refuse(in, WS_CLOSE_INVALID_DATA, "text not UTF-8");
    }
    return 0;
}

/* Inflates all of `bytes`. */
static int inflate_all(struct inflation *in, const void *bytes, size_t size)
{
    in->stream->next_in = bytes;
    in->stream->avail_in = (unsigned)size;
    do {
        if (in->has_ended) {
            /* More blocks may follow a final one (7.2.3.4), and may refer to
             * what came before it: unlike inflateReset, this keeps the window.
             */
            inflateResetKeep(in->stream);
        }
        int rc = inflate_step(in);

        if (rc < 0) {
            return rc;
        }
    } while (in->stream->avail_in > 0 ||
             (in->stream->avail_out == 0 && !in->has_ended));
    return 0;
}

/*
 * Whether the data have ended where a message may: behind a block, at the
 * beginning of a byte (zlib's data_type: see inflate() in zlib.h).
 */
static bool is_whole(const struct inflation *in)
{
    return in->has_ended || (in->stream->data_type & (128 | 7)) == 128;
}

int ws_inflater_run(struct ws_inflater *inflater, struct peal_slice packed,
                    const struct ws_inflate_limits *limits, struct buffer *out,
                    const char **problem)
{
    struct inflation in = {
        .stream = &inflater->stream,
        .limits = limits,
        .out = out,
        .problem = problem,
    };
    int rc = 0;

    ASSERT(buffer_size(out) == 0 && out->max > limits->message_bytes_max);
    if (packed.size > UINT_MAX) {
        return refuse(&in, WS_CLOSE_TOO_BIG, "message too big");
    }
    if (!limits->takeover) {
        inflateReset(in.stream);
    }
    if (packed.size > 0) {
        rc = inflate_all(&in, packed.data, packed.size);
    }
    if (rc == 0 && !in.has_ended) {
        rc = inflate_all(&in, tail, sizeof tail);
    }
    if (rc < 0) {
        return rc;
    }
    if (!is_whole(&in)) {
        return refuse(&in, WS_CLOSE_INVALID_DATA, "deflate data cut off");
    }
    if (limits->is_text && !utf8_is_complete(&in.utf8)) {
        return refuse(&in, WS_CLOSE_INVALID_DATA, "text not UTF-8");
    }
    if (in.has_ended) {
        inflateResetKeep(in.stream);
    }
    return 0;
}
