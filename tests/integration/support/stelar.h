/*
 * A client of the stelar dialect, over either transport, which says and takes
 * exactly what the unmodified client sends and understands.
 */
#ifndef SUPPORT_STELAR_H
#define SUPPORT_STELAR_H

#include "support/peer.h"

/* Types of its frames over TCP. */
enum {
    STELAR_JSON_FRAME = 1,
    STELAR_BINARY_FRAME,
    STELAR_PING_FRAME,
    STELAR_PONG_FRAME,
    STELAR_ACK_REQUEST_FRAME,
    STELAR_ACK_ANSWER_FRAME,
    STELAR_CONNECT_FRAME,
    STELAR_DISCONNECT_FRAME,
    STELAR_JOIN_FRAME,
    STELAR_LEAVE_FRAME,
    STELAR_ERROR_FRAME
};

struct stelar {
    struct peer peer;
    bool is_tcp;
    char id[128];
};

/* Connects and takes the welcome. */
void stelar_open(struct stelar *client, const char *address, bool is_tcp);

/* Events; `data` is JSON. */
void stelar_say(struct stelar *client, const char *event, const char *data);
void stelar_expect(struct stelar *client, const char *event, const char *data);

void stelar_say_bytes(struct stelar *client, const char *event,
                      const void *data, size_t size);
void stelar_expect_bytes(struct stelar *client, const char *event,
                         const void *data, size_t size);

/* Everything that was sent to this client before has been seen. */
void stelar_expect_silence(struct stelar *client);

/* Sends a request, whose answer is found by `ack`; `id` is raw JSON or NULL. */
void stelar_ask(struct stelar *client, const char *event, const char *ack,
                const char *id, const char *data);
void stelar_expect_answer(struct stelar *client, const char *ack,
                          const char *id, const char *data);

#endif
