/* The framed TCP protocol, written for the tests from docs/protocol.md alone.
 */
#ifndef SUPPORT_TCP_H
#define SUPPORT_TCP_H

#include "support/peer.h"

/* Types of frames in the peal and raw dialects. */
enum {
    TCP_JSON_FRAME = 0,
    TCP_BINARY_FRAME = 1,
    TCP_PING_FRAME = 2,
    TCP_PONG_FRAME = 3,
    TCP_REQUEST_FRAME = 4,
    TCP_ANSWER_FRAME = 5,
    TCP_CONNECT_FRAME = 6,
    TCP_DISCONNECT_FRAME = 7,
    TCP_JOIN_FRAME = 8,
    TCP_LEAVE_FRAME = 9,
    TCP_ERROR_FRAME = 10,
    TCP_ENVELOPE_FRAME = 16,
    TCP_BINARY_ENVELOPE_FRAME = 17
};

#define TCP_HEAD_SIZE 7

struct tcp_received {
    int type;
    char event[257];  /* with a zero byte */
    const char *data; /* lives until the next call for this peer */
    size_t size;
};

/* Writes a frame; returns its size. `event` may be NULL. */
size_t tcp_make(char *out, int type, const char *event, const void *data,
                size_t size);

/* Sends such a frame. If the server has closed, reading will show it. */
void tcp_send(struct peer *peer, int type, const char *event, const void *data,
              size_t size);
void tcp_send_text(struct peer *peer, int type, const char *event,
                   const char *text);

/* Reads one frame; false at the end of the stream. */
bool tcp_read(struct peer *peer, struct tcp_received *received);

/* The next frame is this one. */
void tcp_expect(struct peer *peer, int type, const char *event,
                const void *data, size_t size);
void tcp_expect_text(struct peer *peer, int type, const char *event,
                     const char *text);

#endif
