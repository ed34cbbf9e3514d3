/*
 * The dialect of our own clients: docs/protocol.md has every message byte by
 * byte. A JSON envelope over WebSocket, and the same session over TCP frames.
 * Here is what the server says; dialect_peal_read.c has what it hears.
 */
#include "proto/dialect_peal_write.h"

#include "base/assert.h"
#include "base/decimal.h"
#include "proto/wire.h"

#define PROTOCOL_VERSION 1

/* The form of a message, in plan->shape. */
enum {
    SHAPE_TEXT,   /* the JSON envelope */
    SHAPE_BINARY, /* the binary envelope */
    SHAPE_SHORT,  /* a frame: name and data as they are */
    SHAPE_TIED,   /* a frame with {"id","data"} */
    SHAPE_OBJECT  /* a frame with what the envelope has as data */
};

/* The name in the envelope of what is no event. */
static struct peal_slice system_name(const struct wire *wire)
{
    switch (wire->kind) {
    case WIRE_ANSWER:
        return SLICE("peal:ok");
    case WIRE_FAILURE:
        return SLICE("peal:error");
    case WIRE_WELCOME:
        return SLICE("peal:welcome");
    case WIRE_GOODBYE:
        return SLICE("peal:goodbye");
    case WIRE_GAP:
        return SLICE("peal:gap");
    default:
        UNREACHABLE();
    }
}

/* The name in the envelope. */
static inline struct peal_slice envelope_name(const struct wire *wire)
{
    return wire->kind == WIRE_EVENT ? wire->name : system_name(wire);
}

static size_t welcome_size(const struct wire_welcome *welcome)
{
    return LITERAL_SIZE("{\"id\":,\"protocol\":,\"ping_interval_ms\":,"
                        "\"ping_timeout_ms\":,\"limits\":{\"message_bytes\":,"
                        "\"rooms\":}}") +
           json_quoted_size(welcome->client_id) +
           decimal_size(PROTOCOL_VERSION) +
           decimal_size(welcome->ping_interval_ms) +
           decimal_size(welcome->ping_timeout_ms) +
           decimal_size((int64_t)welcome->message_bytes_max) +
           decimal_size((int64_t)welcome->rooms_max);
}

static char *put_welcome(char *out, const struct wire_welcome *welcome)
{
    out = wire_put(out, SLICE("{\"id\":"));
    out = json_quote(out, welcome->client_id);
    out = wire_put(out, SLICE(",\"protocol\":"));
    out = decimal_put(out, PROTOCOL_VERSION);
    out = wire_put(out, SLICE(",\"ping_interval_ms\":"));
    out = decimal_put(out, welcome->ping_interval_ms);
    out = wire_put(out, SLICE(",\"ping_timeout_ms\":"));
    out = decimal_put(out, welcome->ping_timeout_ms);
    out = wire_put(out, SLICE(",\"limits\":{\"message_bytes\":"));
    out = decimal_put(out, (int64_t)welcome->message_bytes_max);
    out = wire_put(out, SLICE(",\"rooms\":"));
    out = decimal_put(out, (int64_t)welcome->rooms_max);
    return wire_put(out, SLICE("}}"));
}

static size_t gap_size(const struct wire_gap *gap)
{
    return LITERAL_SIZE("{\"count\":,\"reason\":}") +
           decimal_size((int64_t)gap->count) + json_quoted_size(gap->reason);
}

static char *put_gap(char *out, const struct wire_gap *gap)
{
    out = wire_put(out, SLICE("{\"count\":"));
    out = decimal_put(out, (int64_t)gap->count);
    out = wire_put(out, SLICE(",\"reason\":"));
    out = json_quote(out, gap->reason);
    return wire_put(out, SLICE("}"));
}

/* What stands as "data" of what is no event; 0: nothing does. */
static size_t system_body_size(const struct wire *wire)
{
    switch (wire->kind) {
    case WIRE_FAILURE:
        return dialect_peal_failure_size(&wire->failure);
    case WIRE_WELCOME:
        return welcome_size(&wire->welcome);
    case WIRE_GOODBYE:
        return dialect_peal_goodbye_size(&wire->failure);
    case WIRE_GAP:
        return gap_size(&wire->gap);
    default:
        return wire_data_size(wire);
    }
}

static char *put_system_body(char *out, const struct wire *wire)
{
    switch (wire->kind) {
    case WIRE_FAILURE:
        out = wire_put(out, SLICE("{"));
        return dialect_peal_put_failure(out, &wire->failure);
    case WIRE_WELCOME:
        return put_welcome(out, &wire->welcome);
    case WIRE_GOODBYE:
        return dialect_peal_put_goodbye(out, &wire->failure);
    case WIRE_GAP:
        return put_gap(out, &wire->gap);
    default:
        return wire_put_data(out, wire);
    }
}

/* What stands as "data"; 0: nothing does. */
static inline size_t body_size(const struct wire *wire)
{
    return wire->kind == WIRE_EVENT ? wire_data_size(wire)
                                    : system_body_size(wire);
}

static inline char *put_body(char *out, const struct wire *wire)
{
    return wire->kind == WIRE_EVENT ? wire_put_data(out, wire)
                                    : put_system_body(out, wire);
}

static bool has_body(const struct wire *wire)
{
    return wire_has_data(wire) || wire->kind == WIRE_FAILURE ||
           wire->kind == WIRE_WELCOME || wire->kind == WIRE_GOODBYE ||
           wire->kind == WIRE_GAP;
}

static size_t head_size(struct wire_plan *plan, const struct wire *wire)
{
    return dialect_peal_head_size(plan, wire, envelope_name(wire), wire->room);
}

static char *put_head(char *out, const struct wire_plan *plan,
                      const struct wire *wire)
{
    return dialect_peal_put_head(out, plan, wire, envelope_name(wire),
                                 wire->room);
}

static char *put_text(char *out, const struct wire_plan *plan,
                      const struct wire *wire)
{
    out = put_head(out, plan, wire);
    if (has_body(wire)) {
        out = wire_put(out, SLICE(",\"data\":"));
        out = put_body(out, wire);
    }
    return wire_put(out, SLICE("}"));
}

static char *put_binary(char *out, const struct wire_plan *plan,
                        const struct wire *wire)
{
    char *header = out + 4;
    char *end = put_head(header, plan, wire);

    *end++ = '}';
    wire_put_u32(out, (size_t)(end - header));
    return wire_put(end, wire->data);
}

/* {"id":7,"data":...} */
static char *put_tied(char *out, const struct wire *wire)
{
    out = wire_put(out, SLICE("{\"id\":"));
    out = wire_put(out, wire->id);
    if (wire_has_data(wire)) {
        out = wire_put(out, SLICE(",\"data\":"));
        out = wire_put_data(out, wire);
    }
    return wire_put(out, SLICE("}"));
}

/* The payloads of ERROR, which has its id inside, DISCONNECT and CONNECT. */
static size_t object_size(const struct wire *wire)
{
    const struct wire_failure *failure = &wire->failure;

    switch (wire->kind) {
    case WIRE_FAILURE:
        return dialect_peal_failure_size(failure) +
               (wire_has_id(wire) ? LITERAL_SIZE("\"id\":,") + wire->id.size
                                  : 0);
    default:
        return body_size(wire);
    }
}

static char *put_object(char *out, const struct wire *wire)
{
    const struct wire_failure *failure = &wire->failure;

    switch (wire->kind) {
    case WIRE_FAILURE:
        out = wire_put(out, SLICE("{"));
        if (wire_has_id(wire)) {
            out = wire_put(out, SLICE("\"id\":"));
            out = wire_put(out, wire->id);
            out = wire_put(out, SLICE(","));
        }
        return dialect_peal_put_failure(out, failure);
    default:
        return put_body(out, wire);
    }
}

static bool can_say(const struct wire *wire, enum transport transport)
{
    switch (wire->kind) {
    case WIRE_EVENT:
        /* Nobody could tell a forged name from the protocol's own. */
        return wire->name.size > 0 && wire->name.size <= WIRE_NAME_MAX &&
               !slice_has_prefix(wire->name, SLICE("peal:"));
    case WIRE_ANSWER:
        return wire->id.size > 0;
    case WIRE_FAILURE:
    case WIRE_WELCOME:
    case WIRE_GAP:
        return true;
    case WIRE_GOODBYE:
        /* A close frame has no room for when to come back. */
        return transport == TRANSPORT_TCP || wire->failure.retry_after_ms > 0;
    case WIRE_PING:
    case WIRE_PONG:
        /* These are control frames over WebSocket. */
        return transport == TRANSPORT_TCP;
    default:
        return false;
    }
}

static unsigned choose_shape(const struct wire *wire, enum transport transport)
{
    bool is_message = wire->kind == WIRE_EVENT || wire->kind == WIRE_ANSWER;
    bool is_binary = is_message && wire->data_kind == PEAL_BYTES;

    if (transport == TRANSPORT_WS) {
        return is_binary ? SHAPE_BINARY : SHAPE_TEXT;
    }
    if (wire->kind == WIRE_GAP) {
        return SHAPE_TEXT;
    }
    if (!is_message) {
        return wire->kind == WIRE_PING || wire->kind == WIRE_PONG
                   ? SHAPE_SHORT
                   : SHAPE_OBJECT;
    }
    if (wire->room.size == 0 && !wire_has_id(wire)) {
        return SHAPE_SHORT;
    }
    if (is_binary) {
        return SHAPE_BINARY;
    }
    return wire->room.size == 0 ? SHAPE_TIED : SHAPE_TEXT;
}

static uint8_t frame_type(const struct wire *wire, unsigned shape)
{
    if (shape == SHAPE_TEXT) {
        return TCP_ENVELOPE;
    }
    if (shape == SHAPE_BINARY) {
        return TCP_BINARY_ENVELOPE;
    }
    switch (wire->kind) {
    case WIRE_EVENT:
        if (shape == SHAPE_TIED) {
            return TCP_ACK_REQUEST;
        }
        return wire->data_kind == PEAL_BYTES ? TCP_BINARY : TCP_JSON;
    case WIRE_ANSWER:
        return TCP_ACK_RESPONSE;
    case WIRE_FAILURE:
        return TCP_ERROR;
    case WIRE_WELCOME:
        return TCP_CONNECT;
    case WIRE_GOODBYE:
        return TCP_DISCONNECT;
    case WIRE_PING:
        return TCP_PING;
    case WIRE_PONG:
        return TCP_PONG;
    default:
        UNREACHABLE();
    }
}

/* The event field: names are in it where the payload does not have them. */
static struct peal_slice frame_event(const struct wire *wire, unsigned shape)
{
    if (wire->kind == WIRE_EVENT &&
        (shape == SHAPE_SHORT || shape == SHAPE_TIED)) {
        return wire->name;
    }
    return (struct peal_slice){NULL, 0};
}

static bool plan_wire(struct wire_plan *plan, const struct wire *wire,
                      enum transport transport)
{
    unsigned shape;
    size_t body;

    if (!can_say(wire, transport)) {
        return false;
    }
    shape = choose_shape(wire, transport);
    plan->shape = (uint8_t)shape;
    plan->is_binary = shape == SHAPE_BINARY;
    switch (shape) {
    case SHAPE_TEXT:
        body = body_size(wire);
        plan->size = head_size(plan, wire) + 1 +
                     (body > 0 ? LITERAL_SIZE(",\"data\":") + body : 0);
        break;
    case SHAPE_BINARY:
        plan->size = 4 + head_size(plan, wire) + 1 + wire->data.size;
        break;
    case SHAPE_SHORT:
        plan->size = wire_data_size(wire);
        break;
    case SHAPE_TIED:
        body = wire_data_size(wire);
        plan->size = LITERAL_SIZE("{\"id\":}") + wire->id.size +
                     (body > 0 ? LITERAL_SIZE(",\"data\":") + body : 0);
        break;
    default:
        plan->size = object_size(wire);
        break;
    }
    if (transport == TRANSPORT_TCP) {
        plan->size = tcp_frame_size(frame_event(wire, shape).size, plan->size);
    }
    return true;
}

static void write_wire(char *out, const struct wire_plan *plan,
                       const struct wire *wire, enum transport transport)
{
    unsigned shape = plan->shape & DIALECT_PEAL_SHAPE;
    const char *start = out;

    if (transport == TRANSPORT_TCP) {
        struct peal_slice event = frame_event(wire, shape);

        out = tcp_frame_write(out, frame_type(wire, shape), event,
                              plan->size - tcp_frame_size(event.size, 0));
    }
    switch (shape) {
    case SHAPE_TEXT:
        out = put_text(out, plan, wire);
        break;
    case SHAPE_BINARY:
        out = put_binary(out, plan, wire);
        break;
    case SHAPE_SHORT:
        out = wire_put_data(out, wire);
        break;
    case SHAPE_TIED:
        out = put_tied(out, wire);
        break;
    default:
        out = put_object(out, wire);
        break;
    }
    ASSERT((size_t)(out - start) == plan->size);
}

const struct dialect dialect_peal = {
    .name = "peal",
    .subprotocol = "peal",
    .has_welcome = true,
    .has_requests = true,
    .may_be_compressed = true,
    .read_ws = dialect_peal_read_ws,
    .read_tcp = dialect_peal_read_tcp,
    .plan = plan_wire,
    .write = write_wire,
};
