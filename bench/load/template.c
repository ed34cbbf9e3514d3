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

static size_t put_ws_head(unsigned char *to, bool is_binary, bool is_masked,
                          size_t length)
{
    unsigned char mask_bit = is_masked ? 0x80 : 0;
    size_t at = 2;

    to[0] = is_binary ? 0x82 : 0x81;
    if (length < 126) {
        to[1] = (unsigned char)(mask_bit | length);
    } else if (length <= UINT16_MAX) {
        uint16_t value = htobe16((uint16_t)length);

        to[1] = mask_bit | 126;
        memcpy(to + 2, &value, sizeof value);
        at += sizeof value;
    } else {
        uint64_t value = htobe64(length);

        to[1] = mask_bit | 127;
        memcpy(to + 2, &value, sizeof value);
        at += sizeof value;
    }
    if (is_masked) {
        memcpy(to + at, MASK, sizeof MASK);
        at += sizeof MASK;
    }
    return at;
}

static size_t put_tcp_head(unsigned char *to, bool is_binary,
                           const char *event, size_t length)
{
    size_t event_length = strlen(event);
    uint32_t total = htobe32((uint32_t)(7 + event_length + length));
    uint16_t event_field = htobe16((uint16_t)event_length);

    memcpy(to, &total, sizeof total);
    to[4] = is_binary ? 1 : 0;
    memcpy(to + 5, &event_field, sizeof event_field);
    memcpy(to + 7, event, event_length);
    return 7 + event_length;
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
    const char *hole = strchr(pattern, '%');

    if (hole == NULL) {
        die("no %% in the message %s", pattern);
    }
    size_t before = (size_t)(hole - pattern);
    size_t after = strlen(hole + 1);
    size_t length = before + options->size + after;
    bool is_masked = is_client && options->wire == WIRE_WS;
    size_t head;

    template->bytes = malloc(length + FRAME_HEAD_MAX);
    if (template->bytes == NULL) {
        die("out of memory");
    }
    if (options->wire == WIRE_WS) {
        head = put_ws_head(template->bytes, options->is_binary, is_masked,
                           length);
    } else {
        head = put_tcp_head(template->bytes, options->is_binary,
                            options->event, length);
    }
    template->length = head + length;
    template->stamp_at = head + before;
    template->sequence_mask = 0;
    template->sender_mask = 0;
    memcpy(template->bytes + head, pattern, before);
    fill_payload(template->bytes + head + before, options->size);
    memcpy(template->bytes + head + before + options->size, hole + 1, after);
    if (is_masked) {
        mask_template(template, head);
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
