/* What clients of the stelar dialect say. */
#include "proto/dialect_stelar.h"

#include "base/utf8.h"
#include "proto/wire.h"

static void refuse(struct wire *wire)
{
    wire_invalidate(wire, WIRE_BAD_MESSAGE);
}

static void ignore(struct wire *wire)
{
    wire->kind = WIRE_IGNORED;
}

/*
 * The correlation id as a raw JSON string. Numbers and `true` become strings,
 * as their senders expect: the quotes go where the envelope's own punctuation
 * was, which stands on both sides of a value and has been read. What else there
 * is counts as none. False when it is too long.
 */
static bool read_correlation(struct wire *wire, const struct json_value *value)
{
    struct peal_slice id = value->raw;
    char *start = (char *)id.data;

    switch (value->type) {
    case JSON_TYPE_STRING:
        if (id.size == 2) {
            return true;
        }
        break;
    case JSON_TYPE_NUMBER:
    case JSON_TYPE_TRUE:
        start[-1] = '"';
        start[id.size] = '"';
        id = slice_make(start - 1, id.size + 2);
        break;
    default:
        return true;
    }
    if (id.size > WIRE_ID_MAX) {
        return false;
    }
    wire->id = id;
    return true;
}

/* A number that JavaScript takes for false: only zeros before an exponent. */
static bool is_zero(struct peal_slice number)
{
    for (size_t i = 0; i < number.size; i++) {
        if (number.data[i] == 'e' || number.data[i] == 'E') {
            break;
        }
        if (number.data[i] >= '1' && number.data[i] <= '9') {
            return false;
        }
    }
    return true;
}

/*
 * The room of a join or leave. Numbers and `true` stand for their text; what
 * JavaScript takes for false, and what has no sensible text, is ignored.
 */
static void read_room(struct wire *wire, const struct json_value *value)
{
    struct peal_slice room = value->raw;
    bool has_text = value->type == JSON_TYPE_TRUE ||
                    (value->type == JSON_TYPE_NUMBER && !is_zero(value->raw));

    if (value->type == JSON_TYPE_STRING) {
        if (!wire_decode(value, &room)) {
            refuse(wire);
            return;
        }
        has_text = room.size > 0;
    }
    if (!has_text) {
        ignore(wire);
    } else if (room.size > WIRE_NAME_MAX) {
        wire_invalidate(wire, WIRE_BAD_ROOM);
    } else {
        wire->room = room;
    }
}

/* An event with JSON data, which may be one of those with a meaning. */
static void read_event(struct wire *wire, struct peal_slice name,
                       const struct json_value *data)
{
    if (name.size == 0) {
        ignore(wire);
    } else if (slice_equal(name, SLICE("pong"))) {
        wire->kind = WIRE_PONG;
    } else if (slice_equal(name, SLICE("join-room"))) {
        wire->kind = WIRE_JOIN;
        read_room(wire, data);
    } else if (slice_equal(name, SLICE("leave-room"))) {
        wire->kind = WIRE_LEAVE;
        read_room(wire, data);
    } else {
        wire->name = name;
        wire->data = data->raw;
    }
}

static void read_text(struct wire *wire, char *text, size_t size)
{
    enum { EVENT, DATA, ACK, CORRELATION, COUNT };
    static const struct peal_slice names[COUNT] = {
        {"event", 5}, {"data", 4}, {"_ackName", 8}, {"_correlationId", 14}};
    struct json_value values[COUNT];
    struct peal_slice name;

    if (json_scan(text, size, names, COUNT, values) < 0) {
        refuse(wire);
        return;
    }
    if (values[EVENT].type == JSON_TYPE_ABSENT) {
        ignore(wire);
        return;
    }
    if (!wire_read_name(&values[EVENT], &name)) {
        refuse(wire);
        return;
    }
    if (values[ACK].type != JSON_TYPE_STRING || values[ACK].raw.size == 2 ||
        name.size == 0) {
        read_event(wire, name, &values[DATA]);
        return;
    }
    wire->name = name;
    wire->data = values[DATA].raw;
    if (!wire_read_name(&values[ACK], &wire->ack) ||
        !read_correlation(wire, &values[CORRELATION])) {
        refuse(wire);
        return;
    }
    wire->wants_answer = true;
    wire->is_event_too = true;
}

static void read_binary(struct wire *wire, char *data, size_t size)
{
    static const struct peal_slice event = {"event", 5};
    struct peal_slice header;
    struct json_value name;

    wire->data_kind = PEAL_BYTES;
    if (!wire_split_binary(data, size, &header, &wire->data) ||
        json_scan(header.data, header.size, &event, 1, &name) < 0) {
        refuse(wire);
    } else if (name.type == JSON_TYPE_ABSENT) {
        ignore(wire);
    } else if (!wire_read_name(&name, &wire->name)) {
        refuse(wire);
    } else if (wire->name.size == 0) {
        ignore(wire);
    }
}

void dialect_stelar_read_ws(struct wire *wire, bool is_binary, char *data,
                            size_t size)
{
    wire_begin(wire, WIRE_EVENT);
    if (is_binary) {
        read_binary(wire, data, size);
    } else {
        read_text(wire, data, size);
    }
}

static void read_json_frame(struct wire *wire, const struct tcp_frame *frame)
{
    struct json_value data;

    if (!utf8_is_valid(frame->event.data, frame->event.size) ||
        !wire_read_json(frame->payload, frame->payload_size, &data)) {
        refuse(wire);
        return;
    }
    read_event(wire, frame->event, &data);
}

static void read_binary_frame(struct wire *wire, const struct tcp_frame *frame)
{
    wire->data_kind = PEAL_BYTES;
    wire->name = frame->event;
    wire->data = slice_make(frame->payload, frame->payload_size);
    if (frame->event.size == 0) {
        ignore(wire);
    } else if (!utf8_is_valid(frame->event.data, frame->event.size)) {
        refuse(wire);
    }
}

/*
 * The event field is the name of the ack. The payload is {"event","data",
 * "_correlationId"}; one without "data" is the data itself, as a whole, and has
 * to stay as it is: neither is a number in it turned into a string, nor a name
 * decoded.
 */
static void read_request(struct wire *wire, const struct tcp_frame *frame)
{
    enum { EVENT, DATA, CORRELATION, COUNT };
    static const struct peal_slice names[COUNT] = {
        {"event", 5}, {"data", 4}, {"_correlationId", 14}};
    struct json_value values[COUNT];
    struct json_value payload;

    wire->ack = frame->event;
    wire->wants_answer = true;
    if (!utf8_is_valid(frame->event.data, frame->event.size) ||
        !wire_read_json(frame->payload, frame->payload_size, &payload)) {
        refuse(wire);
        return;
    }
    if (frame->event.size == 0) {
        ignore(wire);
        return;
    }
    wire->data = payload.raw;
    if (payload.type != JSON_TYPE_OBJECT) {
        return;
    }
    if (json_scan(payload.raw.data, payload.raw.size, names, COUNT, values) <
        0) {
        refuse(wire);
        return;
    }
    if (values[DATA].type == JSON_TYPE_ABSENT) {
        if (values[CORRELATION].type == JSON_TYPE_STRING &&
            !read_correlation(wire, &values[CORRELATION])) {
            refuse(wire);
        }
        return;
    }
    wire->data = values[DATA].raw;
    if (!read_correlation(wire, &values[CORRELATION])) {
        refuse(wire);
    } else if (values[EVENT].type == JSON_TYPE_STRING &&
               !wire_read_name(&values[EVENT], &wire->name)) {
        /* Nobody looks at it, so it need not be a good name. */
        wire->name = (struct peal_slice){NULL, 0};
    }
}

static void read_membership(struct wire *wire, const struct tcp_frame *frame)
{
    wire->kind = frame->type == STELAR_JOIN ? WIRE_JOIN : WIRE_LEAVE;
    wire->room = slice_make(frame->payload, frame->payload_size);
    if (wire->room.size == 0) {
        ignore(wire);
    } else if (wire->room.size > WIRE_NAME_MAX) {
        wire_invalidate(wire, WIRE_BAD_ROOM);
    } else if (!utf8_is_valid(wire->room.data, wire->room.size)) {
        refuse(wire);
    }
}

void dialect_stelar_read_tcp(struct wire *wire, struct tcp_frame *frame)
{
    wire_begin(wire, WIRE_EVENT);
    switch (frame->type) {
    case STELAR_JSON:
        read_json_frame(wire, frame);
        break;
    case STELAR_BINARY:
        read_binary_frame(wire, frame);
        break;
    case STELAR_PING:
        wire->kind = WIRE_PING;
        break;
    case STELAR_PONG:
        wire->kind = WIRE_PONG;
        break;
    case STELAR_ACK_REQUEST:
        read_request(wire, frame);
        break;
    case STELAR_JOIN:
    case STELAR_LEAVE:
        read_membership(wire, frame);
        break;
    case STELAR_ACK_RESPONSE:
    case STELAR_CONNECT:
    case STELAR_DISCONNECT:
    case STELAR_ERROR:
        ignore(wire);
        break;
    default:
        refuse(wire);
        break;
    }
}
