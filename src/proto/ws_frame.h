/*
 * WebSocket frames (RFC 6455, 5), both roles, without I/O.
 *
 * Reading is a stream: give ws_parse whatever arrived, get back one item at a
 * time. A frame that is whole in the bytes given is unmasked and validated
 * where it lies, nothing is copied or allocated. Only a message that arrives in
 * pieces gets memory, and gives it back when it is complete.
 */
#ifndef PROTO_WS_FRAME_H
#define PROTO_WS_FRAME_H

#include "peal/peal.h"

/* Largest control payload (RFC 6455, 5.5). */
#define WS_CONTROL_MAX 125

/* Largest header that this side ever writes: a client's, with 64-bit length. */
#define WS_HEADER_MAX 14

enum ws_opcode {
    WS_OPCODE_CONTINUATION = 0x0,
    WS_OPCODE_TEXT = 0x1,
    WS_OPCODE_BINARY = 0x2,
    WS_OPCODE_CLOSE = 0x8,
    WS_OPCODE_PING = 0x9,
    WS_OPCODE_PONG = 0xa
};

/* Close codes (RFC 6455, 7.4.1, and the IANA registry) that are used. */
enum ws_close {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_GOING_AWAY = 1001,
    WS_CLOSE_PROTOCOL = 1002,
    WS_CLOSE_NO_STATUS = 1005, /* never on the wire */
    WS_CLOSE_ABNORMAL = 1006,  /* never on the wire */
    WS_CLOSE_INVALID_DATA = 1007,
    WS_CLOSE_POLICY = 1008,
    WS_CLOSE_TOO_BIG = 1009,
    WS_CLOSE_INTERNAL = 1011,
    WS_CLOSE_TRY_AGAIN = 1013
};

/*
 * Whether an endpoint may put this code into a close frame: 1000-1003,
 * 1007-1014, 3000-4999.
 */
bool ws_close_code_is_valid(int code);

enum ws_role {
    WS_SERVER, /* reads masked frames, writes unmasked ones */
    WS_CLIENT  /* the reverse */
};

/* What a parser is told of limits. Shared by many parsers. */
struct ws_limits {
    enum ws_role role;
    size_t frame_bytes_max;   /* payload of one frame */
    size_t message_bytes_max; /* payload of one message, all fragments */
    /*
     * permessage-deflate was agreed on: data messages may be compressed
     * (RFC 7692, 6), and then exceed the two limits by WS_COMPRESSED_SLACK.
     */
    bool may_be_compressed;
};

/*
 * What does not compress becomes longer: by this much at most, in the worst of
 * zlib's modes (deflateBound).
 */
#define WS_COMPRESSED_SLACK(size) ((size) / 8 + (size) / 64 + 16)

enum ws_item_kind {
    WS_NOTHING, /* all that was given is consumed, nothing is complete */
    WS_TEXT,    /* valid UTF-8, once it is inflated if need be */
    WS_BINARY,
    WS_PING,
    WS_PONG,
    WS_CLOSED /* code and reason are set; nothing may follow */
};

struct ws_item {
    enum ws_item_kind kind;
    char *data; /* the payload, or the reason of a close; may be written to */
    size_t size;
    int code; /* WS_CLOSED: the peer's, WS_CLOSE_NO_STATUS when it sent none */
    bool is_compressed; /* a message, to be inflated; not checked for UTF-8 */
};

struct ws_partial;

/* 8 bytes: this is in every connection. Zero-initialise. */
struct ws_parser {
    struct ws_partial *partial; /* NULL between messages */
};

/* Frees everything; the parser is as new. */
void ws_parser_fini(struct ws_parser *parser);

/* Whether a frame or a fragmented message has begun and is not complete. */
bool ws_parser_is_midway(const struct ws_parser *parser);

/*
 * Reads from `data`, which it may change (unmasking in place), until one item
 * is complete or the bytes run out. Returns > 0: how many bytes were consumed,
 * and `item` tells what they completed. `size` > 0.
 *
 * Item data lie in `data` or in the parser: they live until the next call and
 * until ws_parser_release, which frees what the item lived in and is to be
 * called when the item is done with.
 *
 * Returns < 0: a refusal, and -n is the close code to send: 1002 protocol, 1007
 * not UTF-8 (as soon as it is certain), 1009 too big (from the header alone),
 * 1011 out of memory. Items before it have been returned by earlier calls.
 * `*problem` then says in a few words what was wrong; static storage.
 */
long ws_parse(struct ws_parser *parser, const struct ws_limits *limits,
              char *data, size_t size, struct ws_item *item,
              const char **problem);

/* For ws_parser_release. */
void ws_parser_release_partial(struct ws_parser *parser);

static inline void ws_parser_release(struct ws_parser *parser)
{
    if (parser->partial != NULL) {
        ws_parser_release_partial(parser);
    }
}

/* Bytes of an unmasked header for a payload of `size`. 2, 4 or 10. */
static inline size_t ws_header_size(size_t size)
{
    return size < 126 ? 2 : size <= 0xffff ? 4 : 10;
}

/*
 * Writes the header of a final, unmasked frame; returns the end. `out` has room
 * for ws_header_size(size).
 */
char *ws_header_write(char *out, enum ws_opcode opcode, size_t size);

/* Marks a frame whose header begins at `header` as compressed. */
static inline void ws_header_set_compressed(char *header)
{
    header[0] = (char)(header[0] | 0x40); /* RSV1 (RFC 7692, 6) */
}

/*
 * The same for a client's frame: the header ends with the mask key, to be
 * applied to the payload with ws_mask. Room for ws_header_size(size) + 4.
 */
char *ws_header_write_masked(char *out, enum ws_opcode opcode, size_t size,
                             const uint8_t key[4]);

/*
 * XORs with the key, beginning at key[offset % 4] (RFC 6455, 5.3). Returns
 * whether all that it has made is ASCII.
 */
bool ws_mask(char *data, size_t size, const uint8_t key[4], size_t offset);

/*
 * The payload of a close frame: code and a reason that is cut to fit at a
 * character boundary. WS_CLOSE_NO_STATUS gives an empty payload. Returns its
 * size, at most WS_CONTROL_MAX.
 */
size_t ws_close_write(char out[WS_CONTROL_MAX], int code,
                      struct peal_slice reason);

#endif
