/*
 * The framed TCP protocol, without I/O:
 *
 *     u32 total length (counts itself) | u8 type | u16 event length
 *     | event | payload
 *
 * Big endian; the smallest frame is the 7-byte header. What the types mean is
 * the dialect's business (peal: TCP_JSON and so on, stelar: its own numbers).
 */
#ifndef PROTO_TCP_FRAME_H
#define PROTO_TCP_FRAME_H

#include "peal/peal.h"

#define TCP_HEADER_SIZE 7
#define TCP_EVENT_MAX 256

/* Types of the peal and raw dialects; docs/protocol.md has their payloads. */
enum tcp_type {
    TCP_JSON = 0,
    TCP_BINARY = 1,
    TCP_PING = 2,
    TCP_PONG = 3,
    TCP_ACK_REQUEST = 4,
    TCP_ACK_RESPONSE = 5,
    TCP_CONNECT = 6,
    TCP_DISCONNECT = 7,
    TCP_JOIN = 8,
    TCP_LEAVE = 9,
    TCP_ERROR = 10,
    TCP_ENVELOPE = 16,       /* payload: what a WebSocket text would be */
    TCP_BINARY_ENVELOPE = 17 /* payload: what a WebSocket binary would be */
};

/* Slices of the bytes that were parsed. The payload may be written to. */
struct tcp_frame {
    uint8_t type;
    struct peal_slice event;
    char *payload;
    size_t payload_size;
};

/*
 * Reads one frame at the start of `data`. Returns > 0: its size, consumed;
 * 0: more is needed; < 0: refused, the stream has lost its sense:
 *
 *   PEAL_EPROTOCOL  total length below 7, or event length beyond 256 or the end
 *   PEAL_ETOOBIG    total length above `frame_bytes_max`
 *
 * Judged as soon as the 7 header bytes are there, and the length with 4.
 */
long tcp_frame_parse(struct tcp_frame *frame, char *data, size_t size,
                     size_t frame_bytes_max);

/* The event of a frame that may be incomplete; empty if not all of it is there,
 * or it is too long. */
struct peal_slice tcp_frame_event(const char *data, size_t size);

/* Writes header and event, returns where the payload goes. */
char *tcp_frame_write(char *out, uint8_t type, struct peal_slice event,
                      size_t payload_size);

static inline size_t tcp_frame_size(size_t event_size, size_t payload_size)
{
    return TCP_HEADER_SIZE + event_size + payload_size;
}

#endif
