/* What both halves of the stelar dialect know. */
#ifndef PROTO_DIALECT_STELAR_H
#define PROTO_DIALECT_STELAR_H

#include "proto/dialect.h"

/* Types of frames. They begin at 1, unlike those of the peal dialect. */
enum stelar_type {
    STELAR_JSON = 1,
    STELAR_BINARY = 2,
    STELAR_PING = 3,
    STELAR_PONG = 4,
    STELAR_ACK_REQUEST = 5,
    STELAR_ACK_RESPONSE = 6,
    STELAR_CONNECT = 7,
    STELAR_DISCONNECT = 8,
    STELAR_JOIN = 9,
    STELAR_LEAVE = 10,
    STELAR_ERROR = 11
};

/* The reading half, for the table in dialect_stelar.c. */
void dialect_stelar_read_ws(struct wire *wire, bool is_binary, char *data,
                            size_t size);
void dialect_stelar_read_tcp(struct wire *wire, struct tcp_frame *frame);

#endif
