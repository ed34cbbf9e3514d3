#include "load.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

/* Opcodes (RFC 6455, 5.2). */
enum {
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10,
};

/* Types of the framed TCP protocol that are not a message. */
enum {
    TCP_PING = 2,
    TCP_PONG = 3,
    TCP_CONNECT = 6,
    TCP_DISCONNECT = 7,
    TCP_ERROR = 10,
    TCP_ENVELOPE = 16,
};

static const char SYSTEM_MARK[] = "{\"event\":\"peal:";

static enum frame_kind kind_of_text(const unsigned char *text, size_t length)
{
    size_t mark = sizeof SYSTEM_MARK - 1;

    if (length >= mark && memcmp(text, SYSTEM_MARK, mark) == 0) {
        return FRAME_SYSTEM;
    }
    return FRAME_MESSAGE;
}

/* `compressed` is RSV1 where it may be set (RFC 7692, 6), else 0. */
static ssize_t parse_ws(const unsigned char *from, size_t length,
                        int compressed, struct frame *frame)
{
    uint64_t payload = from[1];
    size_t head = 2;

    if (payload > 127) {
        return -1;  /* a server must not mask (RFC 6455, 5.1) */
    }
    if (payload == 126) {
        uint16_t value;

        head = 4;
        if (length < head) {
            return 0;
        }
        memcpy(&value, from + 2, sizeof value);
        payload = be16toh(value);
    } else if (payload == 127) {
        uint64_t value;

        head = 10;
        if (length < head) {
            return 0;
        }
        memcpy(&value, from + 2, sizeof value);
        payload = be64toh(value);
    }
    if (length - head < payload) {
        return 0;
    }
    frame->payload = from + head;
    frame->length = (size_t)payload;
    switch (from[0] & ~compressed) {
    case 0x80 | WS_TEXT:
        frame->kind = kind_of_text(frame->payload, frame->length);
        break;
    case 0x80 | WS_BINARY:
        frame->kind = FRAME_MESSAGE;
        break;
    case 0x80 | WS_CLOSE:
        frame->kind = FRAME_CLOSE;
        break;
    case 0x80 | WS_PING:
        frame->kind = FRAME_PING;
        break;
    case 0x80 | WS_PONG:
        frame->kind = FRAME_PONG;
        break;
    default:
        return -1;
    }
    return (ssize_t)(head + payload);
}

static ssize_t parse_tcp(const unsigned char *from, size_t length,
                         struct frame *frame)
{
    static const char SYSTEM_EVENT[] = "peal:";
    uint32_t total;
    uint16_t event;

    if (length < 7) {
        return 0;
    }
    memcpy(&total, from, sizeof total);
    memcpy(&event, from + 5, sizeof event);
    total = be32toh(total);
    event = be16toh(event);
    if (total < 7u + event) {
        return -1;
    }
    if (length < total) {
        return 0;
    }
    frame->payload = from + 7 + event;
    frame->length = total - 7u - event;
    frame->kind = FRAME_MESSAGE;
    if (from[4] == TCP_PING) {
        frame->kind = FRAME_PING;
    } else if (from[4] == TCP_PONG) {
        frame->kind = FRAME_PONG;
    } else if (from[4] == TCP_DISCONNECT || from[4] == TCP_ERROR) {
        frame->kind = FRAME_CLOSE;
    } else if (from[4] == TCP_CONNECT
               || (event >= sizeof SYSTEM_EVENT - 1
                   && memcmp(from + 7, SYSTEM_EVENT,
                             sizeof SYSTEM_EVENT - 1) == 0)) {
        frame->kind = FRAME_SYSTEM;
    } else if (from[4] == TCP_ENVELOPE) {
        frame->kind = kind_of_text(frame->payload, frame->length);
    }
    return (ssize_t)total;
}

ssize_t frame_parse(enum load_wire wire, const unsigned char *from,
                    size_t length, struct frame *frame)
{
    if (length < 2) {
        return 0;
    }
    return wire == WIRE_WS ? parse_ws(from, length, 0, frame)
                           : parse_tcp(from, length, frame);
}

ssize_t frame_parse_compressed(const unsigned char *from, size_t length,
                               struct frame *frame)
{
    return length < 2 ? 0 : parse_ws(from, length, 0x40, frame);
}

size_t frame_ws_head(unsigned char *to, uint8_t opcode,
                     const unsigned char *mask, size_t length)
{
    unsigned char mask_bit = mask != NULL ? 0x80 : 0;
    size_t at = 2;

    to[0] = 0x80 | opcode;
    if (length < 126) {
        to[1] = (unsigned char)(mask_bit | length);
    } else if (length <= UINT16_MAX) {
        uint16_t value = htobe16((uint16_t)length);

        to[1] = mask_bit | 126;
        memcpy(to + 2, &value, sizeof value);
        at += sizeof value;
    } else {
        uint64_t value = htobe64(length);

        to[1] = mask_bit | 127;
        memcpy(to + 2, &value, sizeof value);
        at += sizeof value;
    }
    if (mask != NULL) {
        memcpy(to + at, mask, 4);
        at += 4;
    }
    return at;
}

size_t frame_tcp_head(unsigned char *to, uint8_t type, const char *event,
                      size_t length)
{
    size_t event_length = strlen(event);
    uint32_t total = htobe32((uint32_t)(7 + event_length + length));
    uint16_t event_field = htobe16((uint16_t)event_length);

    memcpy(to, &total, sizeof total);
    to[4] = type;
    memcpy(to + 5, &event_field, sizeof event_field);
    memcpy(to + 7, event, event_length);
    return 7 + event_length;
}

/* For the few frames of a run that are not stamped: a mask of zeros is a mask
 * like any other, and changes nothing. */
static size_t put(enum load_wire wire, uint8_t type, const char *event,
                  const void *payload, size_t length, unsigned char *to)
{
    static const unsigned char ZEROS[4];
    size_t head = wire == WIRE_WS ? frame_ws_head(to, type, ZEROS, length)
                                  : frame_tcp_head(to, type, event, length);

    memcpy(to + head, payload, length);
    return head + length;
}

void message_parse(struct message *message,
                   const struct load_options *options, const char *text)
{
    int payload_at = 0;

    if (strlen(text) > MESSAGE_MAX) {
        die("the message %s is too long", text);
    }
    message->event[0] = '\0';
    if (options->wire == WIRE_WS) {
        message->type = options->is_binary ? WS_BINARY : WS_TEXT;
        message->payload = text;
        return;
    }
    if (sscanf(text, "%3u %255s %n", &message->type, message->event,
               &payload_at) != 2) {
        die("not TYPE EVENT PAYLOAD: %s", text);
    }
    if (strcmp(message->event, "-") == 0) {
        message->event[0] = '\0';
    }
    message->payload = text + payload_at;
}

size_t frame_message(const struct load_options *options, const char *text,
                     unsigned char *to)
{
    struct message message;

    message_parse(&message, options, text);
    return put(options->wire, (uint8_t)message.type, message.event,
               message.payload, strlen(message.payload), to);
}

size_t frame_pong(enum load_wire wire, const struct frame *ping,
                  unsigned char *to)
{
    return put(wire, wire == WIRE_WS ? WS_PONG : TCP_PONG, "",
               ping->payload, ping->length, to);
}

size_t frame_close(enum load_wire wire, unsigned char *to)
{
    static const unsigned char NORMAL[2] = {1000 >> 8, 1000 & 0xff};

    return wire == WIRE_WS
        ? put(wire, WS_CLOSE, "", NORMAL, sizeof NORMAL, to) : 0;
}
