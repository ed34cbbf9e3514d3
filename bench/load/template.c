#include "load.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

/* One key for all frames: masking then costs the client nothing, and a server
 * cannot tell, since it has to unmask whatever the key is. */
static const unsigned char MASK[4] = {0x37, 0xfa, 0x21, 0x3d};

/*
 * Eight letters A to P for 32 bits, four bits each: text, valid inside a JSON
 * string, of fixed length, and made without a loop.
 */
static uint64_t letters_of(uint32_t number)
{
    uint64_t x = number;

    x = (x | x << 16) & 0x0000ffff0000ffffull;
    x = (x | x << 8) & 0x00ff00ff00ff00ffull;
    x = (x | x << 4) & 0x0f0f0f0f0f0f0f0full;
    return htole64(x + 0x4141414141414141ull);
}

static bool number_of(uint64_t letters, uint32_t *number)
{
    uint64_t x = le64toh(letters) - 0x4141414141414141ull;

    if ((x & 0xf0f0f0f0f0f0f0f0ull) != 0) {
        return false;
    }
    x = (x | x >> 4) & 0x00ff00ff00ff00ffull;
    x = (x | x >> 8) & 0x0000ffff0000ffffull;
    *number = (uint32_t)(x | x >> 16);
    return true;
}

/* Text in which every stretch differs from the next, so that a payload shifted
 * by some bytes does not pass for the right one. */
static void fill_payload(unsigned char *to, size_t length)
{
    uint32_t state = 1;

    for (size_t i = 0; i < length; i++) {
        state = state * 1664525u + 1013904223u;
        to[i] = (unsigned char)('a' + (state >> 24) % 26);
    }
}

static void mask_template(struct template *template, size_t payload_at)
{
    unsigned char stamp_mask[STAMP_BYTES];
    unsigned char *payload = template->bytes + payload_at;
    size_t stamp_at = template->stamp_at - payload_at;

    for (size_t i = 0; i < template->length - payload_at; i++) {
        payload[i] ^= MASK[i % 4];
    }
    for (size_t i = 0; i < STAMP_BYTES; i++) {
        stamp_mask[i] = MASK[(stamp_at + i) % 4];
    }
    memcpy(&template->sequence_mask, stamp_mask, 8);
    memcpy(&template->sender_mask, stamp_mask + 8, 8);
}

static void init(struct template *template,
                 const struct load_options *options, const char *pattern,
                 bool is_client)
{
    struct message message;
    const unsigned char *mask =
        is_client && options->wire == WIRE_WS ? MASK : NULL;

    message_parse(&message, options, pattern);

    const char *hole = strchr(message.payload, '%');

    if (hole == NULL) {
        die("no %% in the message %s", pattern);
    }
    size_t before = (size_t)(hole - message.payload);
    size_t after = strlen(hole + 1);
    size_t length = before + options->size + after;
    unsigned char *at = malloc(length + FRAME_HEAD_MAX);

    if (at == NULL) {
        die("out of memory");
    }
    template->bytes = at;
    at += options->wire == WIRE_WS
        ? frame_ws_head(at, (uint8_t)message.type, mask, length)
        : frame_tcp_head(at, (uint8_t)message.type, message.event, length);
    template->length = (size_t)(at - template->bytes) + length;
    template->stamp_at = template->length - length + before;
    template->sequence_mask = 0;
    template->sender_mask = 0;
    memcpy(at, message.payload, before);
    fill_payload(at + before, options->size);
    memcpy(at + before + options->size, hole + 1, after);
    if (mask != NULL) {
        mask_template(template, template->length - length);
    }
}

void template_init_out(struct template *template,
                       const struct load_options *options)
{
    init(template, options, options->send, true);
}

void template_init_in(struct template *template,
                      const struct load_options *options)
{
    init(template, options, options->expect, false);
}

void template_fini(struct template *template)
{
    free(template->bytes);
    template->bytes = NULL;
}

void template_stamp(const struct template *template, unsigned char *to,
                    uint32_t sender, uint32_t sequence)
{
    uint64_t first = letters_of(sequence) ^ template->sequence_mask;
    uint64_t second = letters_of(sender) ^ template->sender_mask;

    memcpy(to, template->bytes, template->length);
    memcpy(to + template->stamp_at, &first, sizeof first);
    memcpy(to + template->stamp_at + 8, &second, sizeof second);
}

bool template_match(const struct template *template,
                    const unsigned char *from, uint32_t *sender,
                    uint32_t *sequence)
{
    size_t rest = template->stamp_at + STAMP_BYTES;
    uint64_t first;
    uint64_t second;

    memcpy(&first, from + template->stamp_at, sizeof first);
    memcpy(&second, from + template->stamp_at + 8, sizeof second);
    return memcmp(from, template->bytes, template->stamp_at) == 0
        && number_of(first, sequence) && number_of(second, sender)
        && memcmp(from + rest, template->bytes + rest,
                  template->length - rest) == 0;
}
