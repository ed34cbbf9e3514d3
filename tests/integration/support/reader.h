/*
 * A client of the peal dialect that can be slow on every kind of connection: it
 * reads when it is told to, and has small buffers.
 */
#ifndef SUPPORT_READER_H
#define SUPPORT_READER_H

#include "support/host.h"
#include "support/peer.h"

#include <jansson.h>
#include <openssl/ssl.h>
#include <zlib.h>

/* The longest message that it understands. */
#define READER_BYTES_MAX 20000

enum reader_way {
    READER_WS,
    READER_TCP,
    READER_TLS,
    READER_DEFLATE,
    READER_TAKEOVER,
    READER_WAYS
};

extern const char *const reader_way_names[READER_WAYS];

struct reader {
    enum reader_way way;
    struct peer peer;
    SSL_CTX *context; /* NULL: not encrypted */
    SSL *ssl;
    z_stream window; /* of what the server compresses */
    char text[READER_BYTES_MAX];
};

/* Connects, over TLS when the host has it, and upgrades. */
void reader_open(struct reader *reader, const struct host *host,
                 enum reader_way way);
void reader_close(struct reader *reader);

/* Sends bytes as they are. */
void reader_put(struct reader *reader, const void *data, size_t size);

/* One frame: its first byte, or its type; its payload is in `text`. */
int reader_hear_frame(struct reader *reader);

/* The next message that is an envelope; pings and the like are passed over. */
json_t *reader_hear(struct reader *reader);

#endif
