/*
 * The client side of WebSocket, written for the tests from RFC 6455 alone, so
 * that a mistake in the server's codec cannot cancel out here.
 */
#ifndef SUPPORT_WS_H
#define SUPPORT_WS_H

#include "support/peer.h"

/* First bytes of frames: FIN and the opcode. */
enum {
    WS_FIN = 0x80,
    WS_TEXT_FRAME = 0x81,
    WS_BINARY_FRAME = 0x82,
    WS_CLOSE_FRAME = 0x88,
    WS_PING_FRAME = 0x89,
    WS_PONG_FRAME = 0x8a
};

struct ws_received {
    unsigned char first;
    const char *data; /* lives until the next call for this peer */
    size_t size;
};

/* Opens a WebSocket at `target`, such as "/chat?x=1". */
void ws_open(struct peer *peer, const char *address, const char *target);

/*
 * The upgrade request, with further header lines or "". If the server has
 * closed, reading will show it.
 */
void ws_ask(struct peer *peer, const char *target, const char *headers);

/* Asks for an upgrade on a connection of its own; returns the status. */
int ws_try(const char *address, const char *target, const char *headers);

/* Reads the answer to ws_ask and checks that it is a proper 101. */
void ws_expect_open(struct peer *peer);

/*
 * Writes a frame with this first byte, masked, with the shortest length.
 * Returns its size; `out` has room for size + 14.
 */
size_t ws_make(char *out, unsigned first, const void *data, size_t size);

/* Sends such a frame. If the server has closed, reading will show it. */
void ws_send(struct peer *peer, unsigned first, const void *data, size_t size);
void ws_send_text(struct peer *peer, const char *text);

/* Sends a close frame with this code, or without any for 0. */
void ws_send_close(struct peer *peer, int code, const char *reason);

/*
 * Reads one frame; false at the end of the stream. Frames of the server must be
 * unmasked, final, and with the shortest length.
 */
bool ws_read(struct peer *peer, struct ws_received *received);

/* The next frame is this one. */
void ws_expect(struct peer *peer, unsigned first, const void *data,
               size_t size);
void ws_expect_text(struct peer *peer, const char *text);

/* The next frame closes with this code (0: none); copies the reason. */
void ws_expect_close_reason(struct peer *peer, int code, char *reason,
                            size_t size);
void ws_expect_close(struct peer *peer, int code);

/*
 * The server closes with this code, sooner or later; messages before that do
 * not matter. Answers it and sees the end of the stream; frees the peer.
 */
void ws_await_close(struct peer *peer, int code);

/* Closes in good order with 1000; frees the peer. */
void ws_goodbye(struct peer *peer);

#endif
