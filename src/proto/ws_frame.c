#include "proto/ws_frame.h"

#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/mem.h"
#include "base/utf8.h"

#define RSV1 0x40

/* A frame's header, decoded. */
struct frame {
    enum ws_opcode opcode;
    bool is_final;
    bool is_compressed; /* the message is that begins with it */
    bool is_masked;
    uint8_t key[4];
    uint64_t size;
};

/* What is being read of a frame that was not whole in the bytes given. */
enum partial_state {
    PARTIAL_HEADER,  /* its header, or nothing yet */
    PARTIAL_PAYLOAD, /* the payload of a data frame */
    PARTIAL_CONTROL  /* that of a control frame */
};

/*
 * All that is kept between calls. Nothing in it is sized by what a header
 * announces: the message grows as its bytes arrive.
 *
 * Control frames may arrive between the fragments of a message (RFC 6455, 5.4),
 * so they have a buffer of their own.
 */
struct ws_partial {
    enum partial_state state;
    size_t header_size; /* bytes of `header` that are there */
    struct frame frame; /* whose payload is being read */
    size_t offset;      /* how much of it has been read */
    bool has_message;   /* a message has begun and is not complete */
    bool is_text;
    bool is_compressed;
    struct utf8 utf8;
    struct buffer message;
    uint8_t header[WS_HEADER_MAX];
    char control[WS_CONTROL_MAX];
};

/* One call of ws_parse. */
struct input {
    struct ws_parser *parser;
    const struct ws_limits *limits;
    char *data;
    size_t size;
    size_t used;
    struct ws_item *item;
    const char **problem;
};

static bool is_control(enum ws_opcode opcode)
{
    return opcode >= WS_OPCODE_CLOSE;
}

static long refuse(const struct input *in, enum ws_close code,
                   const char *problem)
{
    *in->problem = problem;
    return -(long)code;
}

static long refuse_protocol(const struct input *in, const char *problem)
{
    return refuse(in, WS_CLOSE_PROTOCOL, problem);
}

static bool is_idle(const struct ws_partial *partial)
{
    return partial->state == PARTIAL_HEADER && partial->header_size == 0 &&
           !partial->has_message;
}

/* Makes sure that there is a place to keep things in. */
static long need_partial(const struct input *in)
{
    if (in->parser->partial == NULL) {
        struct ws_partial *partial = mem_alloc(sizeof *partial);

        if (partial == NULL) {
            return refuse(in, WS_CLOSE_INTERNAL, "out of memory");
        }
        partial->state = PARTIAL_HEADER;
        partial->header_size = 0;
        partial->has_message = false;
        partial->is_compressed = false;
        buffer_init(&partial->message, in->limits->message_bytes_max);
        in->parser->partial = partial;
    }
    return 0;
}

/* The first frame of a message may say so, no other one (RFC 7692, 6.1). */
static bool may_be_compressed(const struct input *in, uint8_t byte)
{
    return in->limits->may_be_compressed && (byte & 0x70) == RSV1 &&
           ((byte & 0x0f) == WS_OPCODE_TEXT ||
            (byte & 0x0f) == WS_OPCODE_BINARY);
}

/* The first byte: final bit, reserved bits, opcode (RFC 6455, 5.2 and 5.4). */
static long check_opcode(const struct input *in, uint8_t byte)
{
    const struct ws_partial *partial = in->parser->partial;
    bool has_message = partial != NULL && partial->has_message;

    if ((byte & 0x70) != 0 && !may_be_compressed(in, byte)) {
        return refuse_protocol(in, "reserved bits set");
    }
    switch (byte & 0x0f) {
    case WS_OPCODE_CONTINUATION:
        if (!has_message) {
            return refuse_protocol(in, "continuation of nothing");
        }
        return 0;
    case WS_OPCODE_TEXT:
    case WS_OPCODE_BINARY:
        if (has_message) {
            return refuse_protocol(in, "new message inside a message");
        }
        return 0;
    case WS_OPCODE_CLOSE:
    case WS_OPCODE_PING:
    case WS_OPCODE_PONG:
        if ((byte & 0x80) == 0) {
            return refuse_protocol(in, "fragmented control frame");
        }
        return 0;
    default:
        return refuse_protocol(in, "unknown opcode");
    }
}

/* The second byte: mask bit and the short form of the length. */
static long check_second(const struct input *in, enum ws_opcode opcode,
                         uint8_t byte)
{
    bool is_masked = (byte & 0x80) != 0;

    if (is_masked != (in->limits->role == WS_SERVER)) {
        return refuse_protocol(in, is_masked ? "masked frame from a server"
                                             : "unmasked frame from a client");
    }
    if (is_control(opcode) && (byte & 0x7f) > WS_CONTROL_MAX) {
        return refuse_protocol(in, "control frame too long");
    }
    return 0;
}

/* The most that a message may have on the wire. */
static size_t message_bytes_max(const struct ws_limits *limits,
                                bool is_compressed)
{
    size_t max = limits->message_bytes_max;

    return is_compressed ? max + WS_COMPRESSED_SLACK(max) : max;
}

/* The length forms must be as short as can be (RFC 6455, 5.2). */
static long check_size(const struct input *in, const struct frame *frame,
                       size_t length_size)
{
    const struct ws_partial *partial = in->parser->partial;
    bool is_compressed = frame->is_compressed;
    size_t frame_max = in->limits->frame_bytes_max;
    size_t message_max;
    size_t message = 0;

    if ((length_size == 2 && frame->size < 126) ||
        (length_size == 8 && frame->size <= 0xffff)) {
        return refuse_protocol(in, "length not in its shortest form");
    }
    if (frame->size >> 63 != 0) {
        return refuse_protocol(in, "length with its top bit set");
    }
    if (is_control(frame->opcode)) {
        return 0;
    }
    if (partial != NULL && partial->has_message) {
        message = buffer_size(&partial->message);
        is_compressed = partial->is_compressed;
    }
    if (is_compressed) {
        frame_max += WS_COMPRESSED_SLACK(frame_max);
    }
    if (frame->size > frame_max) {
        return refuse(in, WS_CLOSE_TOO_BIG, "frame too big");
    }
    message_max = message_bytes_max(in->limits, is_compressed);
    if (message > message_max || frame->size > message_max - message) {
        return refuse(in, WS_CLOSE_TOO_BIG, "message too big");
    }
    return 0;
}

/*
 * Decodes a header. Returns its size, 0 when it is not whole in `have` bytes,
 * or a refusal, which is the same however much of what follows is there.
 */
static long header_parse(const struct input *in, struct frame *frame,
                         const uint8_t *bytes, size_t have)
{
    long rc = check_opcode(in, bytes[0]);

    if (rc < 0) {
        return rc;
    }
    frame->opcode = bytes[0] & 0x0f;
    frame->is_final = (bytes[0] & 0x80) != 0;
    frame->is_compressed = (bytes[0] & RSV1) != 0;
    if (have < 2) {
        return 0;
    }
    rc = check_second(in, frame->opcode, bytes[1]);
    if (rc < 0) {
        return rc;
    }
    frame->is_masked = (bytes[1] & 0x80) != 0;

    uint8_t code = bytes[1] & 0x7f;
    size_t length_size = code < 126 ? 0 : code == 126 ? 2 : 8;

    if (have < 2 + length_size) {
        return 0;
    }
    frame->size = length_size == 0 ? code : 0;
    for (size_t i = 0; i < length_size; i++) {
        frame->size = frame->size << 8 | bytes[2 + i];
    }
    rc = check_size(in, frame, length_size);
    if (rc < 0) {
        return rc;
    }
    size_t header_size = 2 + length_size;

    if (frame->is_masked) {
        if (have < header_size + 4) {
            return 0;
        }
        memcpy(frame->key, bytes + header_size, 4);
        header_size += 4;
    }
    return (long)header_size;
}

/* Returns whether the payload has turned out to be ASCII on the way. */
static bool unmask(const struct frame *frame, char *data, size_t size,
                   size_t offset)
{
    return frame->is_masked && ws_mask(data, size, frame->key, offset);
}

static void deliver(struct input *in, enum ws_item_kind kind, char *data,
                    size_t size)
{
    in->item->kind = kind;
    in->item->data = data;
    in->item->size = size;
}

/* Its payload is empty, or a code and a reason (RFC 6455, 5.5.1). */
static long deliver_close(struct input *in, char *data, size_t size)
{
    if (size == 0) {
        in->item->code = WS_CLOSE_NO_STATUS;
        deliver(in, WS_CLOSED, data, 0);
        return 0;
    }
    if (size == 1) {
        return refuse_protocol(in, "close payload of one byte");
    }
    in->item->code = (uint8_t)data[0] << 8 | (uint8_t)data[1];
    if (!ws_close_code_is_valid(in->item->code)) {
        return refuse_protocol(in, "close code that may not be sent");
    }
    if (!utf8_is_valid(data + 2, size - 2)) {
        return refuse(in, WS_CLOSE_INVALID_DATA, "close reason not UTF-8");
    }
    deliver(in, WS_CLOSED, data + 2, size - 2);
    return 0;
}

static long deliver_control(struct input *in, enum ws_opcode opcode, char *data,
                            size_t size)
{
    if (opcode == WS_OPCODE_CLOSE) {
        return deliver_close(in, data, size);
    }
    deliver(in, opcode == WS_OPCODE_PING ? WS_PING : WS_PONG, data, size);
    return 0;
}

/* A control frame that arrives in pieces. */
static long read_control(struct input *in)
{
    struct ws_partial *partial = in->parser->partial;
    const struct frame *frame = &partial->frame;
    size_t due = (size_t)frame->size - partial->offset;
    size_t left = in->size - in->used;
    size_t take = left < due ? left : due;

    memcpy(partial->control + partial->offset, in->data + in->used, take);
    partial->offset += take;
    in->used += take;
    if (take < due) {
        return 0;
    }
    partial->state = PARTIAL_HEADER;
    (void)unmask(frame, partial->control, partial->offset, 0);
    return deliver_control(in, frame->opcode, partial->control,
                           partial->offset);
}

static long finish_message(struct input *in)
{
    struct ws_partial *partial = in->parser->partial;
    size_t size = buffer_size(&partial->message);

    if (partial->is_text && !partial->is_compressed &&
        !utf8_is_complete(&partial->utf8)) {
        return refuse(in, WS_CLOSE_INVALID_DATA, "text not UTF-8");
    }
    partial->has_message = false;
    in->item->is_compressed = partial->is_compressed;
    /* An empty message has no storage; its data are not NULL for all that. */
    deliver(in, partial->is_text ? WS_TEXT : WS_BINARY,
            size > 0 ? buffer_head(&partial->message) : partial->control, size);
    return 0;
}

/* A data frame that arrives in pieces, or that is one of several. */
static long read_payload(struct input *in)
{
    struct ws_partial *partial = in->parser->partial;
    size_t due = (size_t)partial->frame.size - partial->offset;
    size_t left = in->size - in->used;
    size_t take = left < due ? left : due;
    char *data = in->data + in->used;

    bool is_ascii = unmask(&partial->frame, data, take, partial->offset);

    if (partial->is_text && !partial->is_compressed &&
        !(is_ascii && utf8_is_complete(&partial->utf8)) &&
        !utf8_feed(&partial->utf8, data, take)) {
        return refuse(in, WS_CLOSE_INVALID_DATA, "text not UTF-8");
    }
    if (buffer_append(&partial->message, data, take) < 0) {
        return refuse(in, WS_CLOSE_INTERNAL, "out of memory");
    }
    partial->offset += take;
    in->used += take;
    if (take < due) {
        return 0;
    }
    partial->state = PARTIAL_HEADER;
    return partial->frame.is_final ? finish_message(in) : 0;
}

/* The way of nearly every message: all of it is here, and stays where it is. */
static long read_whole(struct input *in, const struct frame *frame)
{
    char *data = in->data + in->used;
    size_t size = (size_t)frame->size;
    bool is_ascii = unmask(frame, data, size, 0);

    in->used += size;
    if (is_control(frame->opcode)) {
        return deliver_control(in, frame->opcode, data, size);
    }
    if (frame->is_compressed) {
        in->item->is_compressed = true;
    } else if (frame->opcode == WS_OPCODE_TEXT && !is_ascii &&
               !utf8_is_valid(data, size)) {
        return refuse(in, WS_CLOSE_INVALID_DATA, "text not UTF-8");
    }
    deliver(in, frame->opcode == WS_OPCODE_TEXT ? WS_TEXT : WS_BINARY, data,
            size);
    return 0;
}

static void begin_message(struct ws_partial *partial, const struct frame *frame)
{
    partial->has_message = true;
    partial->is_text = frame->opcode == WS_OPCODE_TEXT;
    partial->is_compressed = frame->is_compressed;
    partial->utf8 = (struct utf8){0};
}

/*
 * The storage grows by doubling as bytes arrive; it need not double beyond what
 * the last frame leaves to come, or the limit.
 */
static void bound_message(struct ws_partial *partial,
                          const struct ws_limits *limits)
{
    struct buffer *message = &partial->message;
    size_t max = message_bytes_max(limits, partial->is_compressed);

    if (partial->frame.is_final) {
        max = buffer_size(message) + (size_t)partial->frame.size;
    }
    if (max > message->capacity) {
        message->max = max;
    }
}

/* The header is complete: what becomes of the payload? */
static long begin_payload(struct input *in, const struct frame *frame)
{
    bool is_alone =
        is_control(frame->opcode) ||
        (frame->is_final && frame->opcode != WS_OPCODE_CONTINUATION);

    if (is_alone && in->size - in->used >= frame->size) {
        return read_whole(in, frame);
    }
    long rc = need_partial(in);

    if (rc < 0) {
        return rc;
    }
    struct ws_partial *partial = in->parser->partial;

    partial->frame = *frame;
    partial->offset = 0;
    if (is_control(frame->opcode)) {
        partial->state = PARTIAL_CONTROL;
        return read_control(in);
    }
    partial->state = PARTIAL_PAYLOAD;
    if (frame->opcode != WS_OPCODE_CONTINUATION) {
        begin_message(partial, frame);
    }
    bound_message(partial, in->limits);
    return read_payload(in);
}

/* A header that is not whole: keeps the part that is there. */
static long keep_header(struct input *in, const uint8_t *bytes, size_t have)
{
    struct ws_partial *partial;
    long rc = need_partial(in);

    if (rc < 0) {
        return rc;
    }
    partial = in->parser->partial;
    memmove(partial->header, bytes, have);
    partial->header_size = have;
    in->used = in->size;
    return 0;
}

static long read_header(struct input *in)
{
    struct ws_partial *partial = in->parser->partial;
    const uint8_t *bytes = (uint8_t *)in->data + in->used;
    size_t have = in->size - in->used;
    size_t before = 0; /* how much of the header came before */
    struct frame frame;

    if (partial != NULL && partial->header_size > 0) {
        size_t room = WS_HEADER_MAX - partial->header_size;

        before = partial->header_size;
        have = have < room ? have : room;
        memcpy(partial->header + before, bytes, have);
        bytes = partial->header;
        have += before;
    }

    long rc = header_parse(in, &frame, bytes, have);

    if (rc < 0) {
        return rc;
    }
    if (rc == 0) {
        return keep_header(in, bytes, have);
    }
    in->used += (size_t)rc - before;
    if (before > 0) {
        partial->header_size = 0;
    }
    return begin_payload(in, &frame);
}

static long read_on(struct input *in)
{
    const struct ws_partial *partial = in->parser->partial;

    if (partial == NULL || partial->state == PARTIAL_HEADER) {
        return read_header(in);
    }
    return partial->state == PARTIAL_PAYLOAD ? read_payload(in)
                                             : read_control(in);
}

long ws_parse(struct ws_parser *parser, const struct ws_limits *limits,
              char *data, size_t size, struct ws_item *item,
              const char **problem)
{
    struct input in = {
        .parser = parser,
        .limits = limits,
        .data = data,
        .size = size,
        .item = item,
        .problem = problem,
    };

    ASSERT(size > 0);
    ws_parser_release(parser);
    *item = (struct ws_item){.kind = WS_NOTHING};
    while (in.used < size && item->kind == WS_NOTHING) {
        long rc = read_on(&in);

        if (rc < 0) {
            return rc;
        }
    }
    return (long)in.used;
}

void ws_parser_release_partial(struct ws_parser *parser)
{
    if (is_idle(parser->partial)) {
        ws_parser_fini(parser);
    }
}

void ws_parser_fini(struct ws_parser *parser)
{
    if (parser->partial != NULL) {
        buffer_fini(&parser->partial->message);
        mem_free(parser->partial);
        parser->partial = NULL;
    }
}

bool ws_parser_is_midway(const struct ws_parser *parser)
{
    return parser->partial != NULL && !is_idle(parser->partial);
}
