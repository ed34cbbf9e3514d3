/*
 * A socket of a client, with a deadline on everything: no call blocks for
 * longer than check_patience_ms(), and none sleeps.
 */
#ifndef SUPPORT_PEER_H
#define SUPPORT_PEER_H

#include "support/check.h"

struct peer {
    int fd;
    bool is_ended; /* the other side has ended its stream, or reset it */
    bool is_reset;
    char *in; /* received and not yet taken */
    size_t start;
    size_t end;
    size_t capacity;
};

/* Connects to "127.0.0.1:80", "[::1]:80" or "unix:/path". */
void peer_dial(struct peer *peer, const char *address);

/*
 * The same with a receive buffer of about this many bytes, for a reader that is
 * soon in arrears; 0 for the system's own.
 */
void peer_dial_narrow(struct peer *peer, const char *address,
                      int receive_bytes);

/* Sends all of it. */
void peer_send(struct peer *peer, const void *data, size_t size);

/*
 * The same where the other side may have had enough before the end: returns
 * false when it does not take everything.
 */
bool peer_send_if_open(struct peer *peer, const void *data, size_t size);

/*
 * Sends as much as goes without waiting, and returns how much that was; 0 also
 * when the connection is broken.
 */
size_t peer_send_now(struct peer *peer, const void *data, size_t size);

/* Whether anything, or the end, can be read within this time. */
bool peer_has_input(struct peer *peer, int timeout_ms);

/* Waits until `size` bytes are there. False when the stream ends before. */
bool peer_wait(struct peer *peer, size_t size);

/*
 * Waits for `size` bytes and takes them. They live until the next call for this
 * peer.
 */
char *peer_take(struct peer *peer, size_t size);

/* What is there already, without taking it. */
const char *peer_peek(const struct peer *peer, size_t *size);

/* The stream ends, and nothing comes before that. */
void peer_expect_end(struct peer *peer);

/* The stream ends; what comes before that does not matter. */
void peer_drain(struct peer *peer);

/* Ends our side; the other may go on. */
void peer_finish(struct peer *peer);

/* Frees everything. */
void peer_close(struct peer *peer);

/* The same with a reset instead of a proper end. */
void peer_reset(struct peer *peer);

#endif
