/*
 * The body of a request, by its length or in chunks (RFC 9112, 6 and 7.1),
 * without I/O: bytes in, pieces of content out.
 *
 * Strict: a chunk's size has at most 15 hexadecimal digits, lines end with CRLF
 * only, trailer fields are fields. Chunk extensions and trailers are read over,
 * and together bounded.
 */
#ifndef PROTO_HTTP_BODY_H
#define PROTO_HTTP_BODY_H

#include "peal/peal.h"

/* Bytes of extensions and trailers in one body. */
#define HTTP_BODY_EXTRA_MAX 4096

struct http_body {
    uint64_t left;  /* of the body or of this chunk */
    uint16_t extra; /* bytes of extensions and trailers so far */
    uint8_t digits; /* of this chunk's size */
    uint8_t state;  /* see http_body.c */
};

/* A body of `length` bytes, or a chunked one. */
void http_body_init(struct http_body *body, uint64_t length, bool is_chunked);

/* Whether all of it has been read; nothing more may be fed then. */
bool http_body_is_done(const struct http_body *body);

/*
 * Reads from `data` (size > 0) up to the end of the next piece of content,
 * which lies in `data`, or of all. Returns the bytes consumed, above 0;
 * `*content` may be empty. PEAL_EPROTOCOL when it is malformed.
 */
long http_body_read(struct http_body *body, const char *data, size_t size,
                    struct peal_slice *content);

#endif
