/*
 * Compressed messages: without context takeover, or the first ones with it,
 * which is the same. Each distinct frame is inflated and checked once; that it
 * is the same one which the other subscribers get is then a comparison of
 * bytes, so that the generator spends no more on it than on a plain one.
 */
#include "load.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define SEEN_MAX 4096u

/* A frame that was checked. */
struct seen {
    unsigned char *bytes;
    size_t length;
    uint32_t sender;
    uint32_t sequence;
};

static struct seen all_seen[SEEN_MAX];
static unsigned char *plain;
static z_stream stream;

/* By its last bytes, which depend on all before them: Huffman codes. */
static struct seen *place_of(const unsigned char *from, size_t length)
{
    uint64_t hash = length;

    for (size_t i = length < 64 ? 0 : length - 64; i < length; i++) {
        hash = (hash ^ from[i]) * 0x100000001b3ull;
    }
    return &all_seen[(hash ^ hash >> 32) % SEEN_MAX];
}

static size_t head_of(const struct template *in)
{
    return in->length < 128 ? 2 : in->length < 65540 ? 4 : 10;
}

static void prepare(const struct template *in)
{
    if (plain != NULL) {
        return;
    }
    plain = malloc(in->length + FRAME_HEAD_MAX + 1);
    if (plain == NULL || inflateInit2(&stream, -15) != Z_OK) {
        die("out of memory");
    }
}

/* Whether the payload, inflated, is an expected message. */
static bool check(const struct template *in, uint8_t opcode,
                  const struct frame *frame, struct seen *seen)
{
    static const unsigned char TAIL[] = {0x00, 0x00, 0xff, 0xff};
    size_t head = head_of(in);
    size_t payload = in->length - head;

    inflateReset(&stream);
    stream.next_out = plain + head;
    stream.avail_out = (unsigned)payload + 1;
    stream.next_in = (unsigned char *)frame->payload;
    stream.avail_in = (unsigned)frame->length;
    if (inflate(&stream, Z_SYNC_FLUSH) < Z_OK) {
        return false;
    }
    stream.next_in = (unsigned char *)TAIL;
    stream.avail_in = sizeof TAIL;
    if (inflate(&stream, Z_SYNC_FLUSH) < Z_BUF_ERROR
        || stream.avail_out != 1) {
        return false;
    }
    return frame_ws_head(plain, opcode, NULL, payload) == head
        && template_match(in, plain, &seen->sender, &seen->sequence);
}

ssize_t inflate_match(const struct template *in, const unsigned char *from,
                      size_t length, uint32_t *sender, uint32_t *sequence)
{
    struct frame frame;
    struct seen *seen;
    ssize_t taken = frame_parse_compressed(from, length, &frame);

    if (taken <= 0) {
        return taken;
    }
    prepare(in);
    seen = place_of(from, (size_t)taken);
    if (seen->length != (size_t)taken
        || memcmp(seen->bytes, from, seen->length) != 0) {
        free(seen->bytes);
        *seen = (struct seen){.bytes = malloc((size_t)taken)};
        if (seen->bytes == NULL) {
            die("out of memory");
        }
        if (!check(in, from[0] & 0x0f, &frame, seen)) {
            return -1;
        }
        memcpy(seen->bytes, from, (size_t)taken);
        seen->length = (size_t)taken;
    }
    *sender = seen->sender;
    *sequence = seen->sequence;
    return taken;
}

size_t deflate_message(const struct template *in, uint32_t sender,
                       unsigned char *to)
{
    static const unsigned char MASK[4] = {0x5a, 0xc3, 0x17, 0x8e};
    static z_stream deflater;
    size_t head = head_of(in);
    unsigned char *packed;
    size_t length;

    prepare(in);
    /* Distances of 2 KiB at the most, which every window allows. */
    if (deflater.state == NULL
        && deflateInit2(&deflater, 1, Z_DEFLATED, -11, 8,
                        Z_DEFAULT_STRATEGY) != Z_OK) {
        die("out of memory");
    }
    packed = malloc(in->length + FRAME_HEAD_MAX);
    if (packed == NULL) {
        die("out of memory");
    }
    template_stamp(in, plain, sender, 0);
    deflateReset(&deflater);
    deflater.next_in = plain + head;
    deflater.avail_in = (unsigned)(in->length - head);
    deflater.next_out = packed;
    deflater.avail_out = (unsigned)(in->length + FRAME_HEAD_MAX);
    if (deflate(&deflater, Z_SYNC_FLUSH) != Z_OK || deflater.avail_out == 0) {
        die("a message grew when it was compressed");
    }
    /* Without the last 00 00 ff ff (RFC 7692, 7.2.1). */
    length = (size_t)(deflater.next_out - packed) - 4;
    head = frame_ws_head(to, (plain[0] & 0x0f) | 0x40, MASK, length);
    for (size_t i = 0; i < length; i++) {
        to[head + i] = packed[i] ^ MASK[i % 4];
    }
    free(packed);
    return head + length;
}
