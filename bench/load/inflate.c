/*
 * Compressed messages (permessage-deflate without context takeover). Each
 * distinct frame is inflated and checked once; that it is the same one which
 * the other subscribers get is then a comparison of bytes, so that the
 * generator spends no more on it than on a plain one.
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

static void prepare(const struct template *in)
{
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
    size_t head = in->length < 128 ? 2 : in->length < 65540 ? 4 : 10;
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
    if (plain == NULL) {
        prepare(in);
    }
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
