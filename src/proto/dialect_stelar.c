/*
 * The dialect of the stelar-time-real clients: one frame per message, requests
 * that carry the name they are answered under beside the name of the event, and
 * no way to say that something failed: the client waits for its own timeout.
 * Here is what the server says; dialect_stelar_read.c has what it hears.
 */
#include "proto/dialect_stelar.h"

#include "base/assert.h"
#include "proto/wire.h"

/* The form of a message, in plan->shape. */
enum {
    SHAPE_EVENT,
    SHAPE_BINARY,
    SHAPE_ANSWER,
    SHAPE_ROOM,
    SHAPE_TEXT, /* a TCP frame whose payload is plain text, or nothing */
    SHAPE_MASK = 0x0f,
    SHAPE_PLAIN_NAME = 0x80 /* beside it: the name needs no escapes */
};

/* Given from outside these would reach a client's lifecycle handlers. */
static bool is_reserved(struct peal_slice name)
{
    return slice_equal(name, SLICE("connect")) ||
           slice_equal(name, SLICE("disconnect")) ||
           slice_equal(name, SLICE("error"));
}

static bool can_say(const struct wire *wire, enum transport transport)
{
    switch (wire->kind) {
    case WIRE_EVENT:
        return wire->name.size > 0 && wire->name.size <= WIRE_NAME_MAX &&
               !wire->wants_answer && !is_reserved(wire->name);
    case WIRE_ANSWER:
        return wire->ack.size > 0 && wire->data_kind != PEAL_BYTES;
    case WIRE_JOINED:
    case WIRE_LEFT:
        return true;
    case WIRE_WELCOME:
    case WIRE_GOODBYE:
    case WIRE_PING:
    case WIRE_PONG:
        return transport == TRANSPORT_TCP;
    default:
        return false;
    }
}

/* The name in the envelope, or in the event field. */
static struct peal_slice message_name(const struct wire *wire)
{
    switch (wire->kind) {
    case WIRE_EVENT:
        return wire->name;
    case WIRE_ANSWER:
        return wire->ack;
    case WIRE_JOINED:
        return SLICE("joined-room");
    case WIRE_LEFT:
        return SLICE("left-room");
    case WIRE_WELCOME:
        return SLICE("connect");
    case WIRE_GOODBYE:
        return wire->failure.code == 1001 ? SLICE("") : SLICE("error");
    default:
        return SLICE("");
    }
}

static uint8_t frame_type(const struct wire *wire)
{
    switch (wire->kind) {
    case WIRE_ANSWER:
        return STELAR_ACK_RESPONSE;
    case WIRE_WELCOME:
        return STELAR_CONNECT;
    case WIRE_GOODBYE:
        return wire->failure.code == 1001 ? STELAR_DISCONNECT : STELAR_ERROR;
    case WIRE_PING:
        return STELAR_PING;
    case WIRE_PONG:
        return STELAR_PONG;
    case WIRE_EVENT:
        return wire->data_kind == PEAL_BYTES ? STELAR_BINARY : STELAR_JSON;
    default:
        return STELAR_JSON;
    }
}

static unsigned choose_shape(const struct wire *wire)
{
    switch (wire->kind) {
    case WIRE_EVENT:
        return wire->data_kind == PEAL_BYTES ? SHAPE_BINARY : SHAPE_EVENT;
    case WIRE_ANSWER:
        return SHAPE_ANSWER;
    case WIRE_JOINED:
    case WIRE_LEFT:
        return SHAPE_ROOM;
    default:
        return SHAPE_TEXT;
    }
}

/* What a frame of plain text has to say. Heartbeats have no payload. */
static struct peal_slice plain_text(const struct wire *wire)
{
    switch (wire->kind) {
    case WIRE_WELCOME:
        return wire->welcome.client_id;
    case WIRE_GOODBYE:
        return wire->failure.code == 1001 ? SLICE("") : wire->failure.message;
    default:
        return SLICE("");
    }
}

static size_t correlation_size(const struct wire *wire)
{
    return wire->id.size > 0
               ? LITERAL_SIZE(",\"_correlationId\":") + wire->id.size
               : 0;
}

static char *put_correlation(char *out, const struct wire *wire)
{
    if (wire->id.size > 0) {
        out = wire_put(out, SLICE(",\"_correlationId\":"));
        out = wire_put(out, wire->id);
    }
    return wire_put(out, SLICE("}"));
}

static size_t ws_size(struct wire_plan *plan, const struct wire *wire)
{
    struct peal_slice name = message_name(wire);
    size_t name_size = json_quoted_size(name);
    size_t size = LITERAL_SIZE("{\"event\":") + name_size;

    if (name_size == name.size + 2) {
        plan->shape |= SHAPE_PLAIN_NAME;
    }
    switch (plan->shape & SHAPE_MASK) {
    case SHAPE_BINARY:
        return 4 + size + LITERAL_SIZE("}") + wire->data.size;
    case SHAPE_ANSWER:
        return size + LITERAL_SIZE(",\"data\":,\"_isAck\":true}") +
               wire_value_size(wire) + correlation_size(wire);
    case SHAPE_ROOM:
        return size + LITERAL_SIZE(",\"data\":}") +
               json_quoted_size(wire->room);
    default:
        return size + 1 +
               (wire_has_data(wire)
                    ? LITERAL_SIZE(",\"data\":") + wire_data_size(wire)
                    : 0);
    }
}

static size_t payload_size(const struct wire *wire, unsigned shape)
{
    switch (shape) {
    case SHAPE_EVENT:
        return wire_value_size(wire);
    case SHAPE_BINARY:
        return wire->data.size;
    case SHAPE_ANSWER:
        return LITERAL_SIZE("{\"data\":}") + wire_value_size(wire) +
               correlation_size(wire);
    case SHAPE_ROOM:
        return json_quoted_size(wire->room);
    default:
        return plain_text(wire).size;
    }
}

static bool plan_wire(struct wire_plan *plan, const struct wire *wire,
                      enum transport transport)
{
    unsigned shape = choose_shape(wire);

    if (!can_say(wire, transport)) {
        return false;
    }
    plan->shape = (uint8_t)shape;
    plan->is_binary = shape == SHAPE_BINARY;
    if (transport == TRANSPORT_WS) {
        plan->size = ws_size(plan, wire);
    } else {
        plan->size =
            tcp_frame_size(message_name(wire).size, payload_size(wire, shape));
    }
    return true;
}

static char *write_ws(char *out, const struct wire_plan *plan,
                      const struct wire *wire)
{
    unsigned shape = plan->shape & SHAPE_MASK;
    char *start = out;

    if (shape == SHAPE_BINARY) {
        out += 4;
    }
    out = wire_put(out, SLICE("{\"event\":"));
    out = wire_put_string(out, message_name(wire),
                          (plan->shape & SHAPE_PLAIN_NAME) != 0);
    switch (shape) {
    case SHAPE_BINARY:
        /* No more than clients say: what was let in is let out, too. */
        out = wire_put(out, SLICE("}"));
        wire_put_u32(start, (size_t)(out - start) - 4);
        return wire_put(out, wire->data);
    case SHAPE_ANSWER:
        out = wire_put(out, SLICE(",\"data\":"));
        out = wire_put_value(out, wire);
        out = wire_put(out, SLICE(",\"_isAck\":true"));
        return put_correlation(out, wire);
    case SHAPE_ROOM:
        out = wire_put(out, SLICE(",\"data\":"));
        out = json_quote(out, wire->room);
        break;
    default:
        if (wire_has_data(wire)) {
            out = wire_put(out, SLICE(",\"data\":"));
            out = wire_put_data(out, wire);
        }
        break;
    }
    return wire_put(out, SLICE("}"));
}

static char *write_tcp(char *out, const struct wire_plan *plan,
                       const struct wire *wire)
{
    struct peal_slice name = message_name(wire);

    out = tcp_frame_write(out, frame_type(wire), name,
                          plan->size - tcp_frame_size(name.size, 0));
    switch (plan->shape) {
    case SHAPE_EVENT:
        return wire_put_value(out, wire);
    case SHAPE_BINARY:
        return wire_put(out, wire->data);
    case SHAPE_ANSWER:
        out = wire_put(out, SLICE("{\"data\":"));
        out = wire_put_value(out, wire);
        return put_correlation(out, wire);
    case SHAPE_ROOM:
        return json_quote(out, wire->room);
    default:
        return wire_put(out, plain_text(wire));
    }
}

static void write_wire(char *out, const struct wire_plan *plan,
                       const struct wire *wire, enum transport transport)
{
    char *end = transport == TRANSPORT_WS ? write_ws(out, plan, wire)
                                          : write_tcp(out, plan, wire);

    ASSERT((size_t)(end - out) == plan->size);
}

const struct dialect dialect_stelar = {
    .name = "stelar",
    .has_welcome = true,
    .read_ws = dialect_stelar_read_ws,
    .read_tcp = dialect_stelar_read_tcp,
    .plan = plan_wire,
    .write = write_wire,
};
