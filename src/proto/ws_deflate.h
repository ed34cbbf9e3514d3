/*
 * permessage-deflate (RFC 7692), both roles, without I/O: what is agreed on in
 * the handshake, and the payloads of messages.
 *
 * "Takeover" is what the RFC calls context takeover: a side that does it goes
 * on with the window of its last message, so both sides keep memory for as long
 * as the connection lives. Without it one codec serves any number of
 * connections in turn.
 */
#ifndef PROTO_WS_DEFLATE_H
#define PROTO_WS_DEFLATE_H

#include "base/buffer.h"
#include "proto/http.h"

/*
 * Window sizes as powers of two. The RFC begins at 8, but zlib's raw deflate
 * cannot have less than 9 (deflateInit2), so 8 is never offered, and an offer
 * that leaves the server no more is declined.
 */
#define WS_DEFLATE_BITS_MIN 9
#define WS_DEFLATE_BITS_MAX 15

/* What two sides have agreed on. */
struct ws_deflate_terms {
    int server_bits; /* of the window that the server compresses with */
    int client_bits;
    bool server_takeover;
    bool client_takeover;
};

/* --- The handshake: ws_deflate_terms.c ----------------------------------- */

/* What a side wants. */
struct ws_deflate_wish {
    int bits;      /* windows no larger than this, 9 to 15, either way */
    bool takeover; /* either way, if the other side wants it too */
};

/* Room for the header line that agrees or offers, with CRLF and zero byte. */
#define WS_DEFLATE_LINE_MAX 192

/*
 * A server's side: reads all offers of a request, in the client's order of
 * preference, and takes the first that it can hold to (RFC 7692, 5.1 and 7.1).
 * An offer with an unknown, doubled or ill-valued parameter is declined, as are
 * other extensions.
 *
 * Returns 1: `terms` holds, and `line` is the complete header line of the
 * answer. 0: nothing is agreed on, `line` is "". PEAL_EPROTOCOL: a
 * Sec-WebSocket-Extensions line is malformed, which must fail the handshake
 * (RFC 6455, 9.1).
 */
int ws_deflate_agree(struct ws_deflate_terms *terms,
                     char line[WS_DEFLATE_LINE_MAX],
                     const struct http_request *request,
                     const struct ws_deflate_wish *wish);

/* A client's side: writes the header line that offers what is wished for. */
void ws_deflate_offer_write(char line[WS_DEFLATE_LINE_MAX],
                            const struct ws_deflate_wish *wish);

/*
 * A client's side: reads the answer to that offer. 1: `terms` holds. 0: the
 * server has declined. PEAL_EPROTOCOL: it agrees to what was not offered, or to
 * something else besides; the connection must fail (RFC 7692, 7.1).
 *
 * A server may leave the client a window of 8 bits: then ws_deflater_new has
 * none to give, and the client sends its messages as they are, which is always
 * allowed.
 */
int ws_deflate_check(struct ws_deflate_terms *terms,
                     const struct http_response *response,
                     const struct ws_deflate_wish *wish);

/* --- Messages: ws_deflate.c ---------------------------------------------- */

/* One direction's compression. */
struct ws_deflater;

struct ws_deflater_options {
    int bits;         /* 9 to 15 */
    int level;        /* 1, fast, to 9, small */
    int memory_level; /* 1 to 9 */
};

/* 0, PEAL_ENOMEM, or PEAL_ENOTSUP for a window that zlib does not have. */
int ws_deflater_new(struct ws_deflater **deflater,
                    const struct ws_deflater_options *options);
void ws_deflater_free(struct ws_deflater *deflater);

/*
 * Appends the compressed payload of one message to `out` (RFC 7692, 7.2.1).
 * `takeover` false starts with an empty window. 0; PEAL_EFULL when out->max is
 * too small, or PEAL_ENOMEM: then the window is as after no message at all, and
 * the peer need not be told.
 */
int ws_deflater_run(struct ws_deflater *deflater, struct peal_slice message,
                    bool takeover, struct buffer *out);

/* The other way. */
struct ws_inflater;

/* `bits` as agreed, 8 to 15. 0 or PEAL_ENOMEM. */
int ws_inflater_new(struct ws_inflater **inflater, int bits);
void ws_inflater_free(struct ws_inflater *inflater);

/* What a message must be, to be inflated. */
struct ws_inflate_limits {
    size_t message_bytes_max;
    bool is_text; /* must be UTF-8 */
    bool takeover;
};

/*
 * Appends the payload that `packed` stands for to `out`, which is empty
 * (RFC 7692, 7.2.2). Output comes in steps, each checked before the next is
 * made: memory follows what has come out, never what is claimed, and a message
 * that grows beyond its limit ends there.
 *
 * Returns 0, or a refusal, and -n is the close code: 1007 no deflate data, or
 * not UTF-8; 1009 too big; 1011 out of memory. The inflater of a takeover is of
 * no use after a refusal. `*problem` says in a few words what was wrong.
 */
int ws_inflater_run(struct ws_inflater *inflater, struct peal_slice packed,
                    const struct ws_inflate_limits *limits, struct buffer *out,
                    const char **problem);

/* What they hold of memory at the moment, in bytes. */
size_t ws_deflater_memory(const struct ws_deflater *deflater);
size_t ws_inflater_memory(const struct ws_inflater *inflater);

#endif
