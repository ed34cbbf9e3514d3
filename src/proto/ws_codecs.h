/*
 * The codecs of permessage-deflate that a thread has for all its connections.
 *
 * Connections without context takeover share them, one after another. Those
 * with takeover get their own when they first need them: each pointer to a
 * struct ws_codecs_own below is NULL for a direction without takeover.
 */
#ifndef PROTO_WS_CODECS_H
#define PROTO_WS_CODECS_H

#include "proto/ws_deflate.h"

/* Frames beyond this do not fit a tape. */
#define WS_CODECS_BYTES_MAX (1024u * 1024u * 1024u)

struct ws_codecs {
    /* By window bits. */
    struct ws_deflater
        *deflaters[WS_DEFLATE_BITS_MAX - WS_DEFLATE_BITS_MIN + 1];
    struct ws_inflater *inflater; /* of the largest window */
    struct buffer plain;          /* to be compressed */
    struct buffer packed;
    struct buffer inflated;
    size_t memory; /* of all codecs, shared and own, in bytes */
};

/* What a connection with context takeover has of its own. Begins as zeros. */
struct ws_codecs_own {
    struct ws_deflater *deflater; /* NULL: not needed yet */
    struct ws_inflater *inflater; /* the same */
};

/* NULL without memory. */
struct ws_codecs *ws_codecs_new(void);

/* Frees everything that is shared. NULL is allowed. */
void ws_codecs_free(struct ws_codecs *codecs);

/*
 * Frees what a connection alone has, or the half of it that compresses: what
 * was compressed and will not be sent, the next message must not refer to.
 */
void ws_codecs_drop(struct ws_codecs *codecs, struct ws_codecs_own *own);
void ws_codecs_drop_deflater(struct ws_codecs *codecs,
                             struct ws_codecs_own *own);

/* Where to lay a message that is to be compressed. NULL without memory. */
char *ws_codecs_reserve(struct ws_codecs *codecs, size_t size);

/*
 * Compresses the message that has been laid there. All who share have the same
 * level and memory level. False: it is to be sent as it is, because it does not
 * become smaller, or for want of memory. `packed` lives until the next call.
 */
bool ws_codecs_pack(struct ws_codecs *codecs, struct ws_codecs_own *own,
                    const struct ws_deflater_options *options, size_t size,
                    struct peal_slice *packed);

/*
 * Inflates a message; `bits` is the window that was agreed on. What comes out
 * lives until ws_codecs_release. 0, or a refusal as ws_inflater_run.
 */
int ws_codecs_unpack(struct ws_codecs *codecs, struct ws_codecs_own *own,
                     int bits, const struct ws_inflate_limits *limits,
                     struct peal_slice *message, const char **problem);
void ws_codecs_release(struct ws_codecs *codecs);

#endif
