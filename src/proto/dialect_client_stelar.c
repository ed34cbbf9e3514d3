/*
 * The client's side of the stelar dialect, for servers of stelar-time-real as
 * well as for ours: one frame per message, requests by name, no errors.
 *
 * What its servers would take for news about a connection, or would not pass on
 * to others, is not written: names have letters, digits and - . / : only.
 */
#include "proto/dialect_stelar.h"

#include "base/assert.h"
#include "base/utf8.h"
#include "proto/wire.h"

/* --- Reading -------------------------------------------------------------- */

static void refuse(struct wire *wire)
{
    wire_invalidate(wire, WIRE_BAD_MESSAGE);
}

/* Our correlation ids are numbers in a string; what else there is, is none. */
static void read_correlation(struct wire *wire, const struct json_value *value)
{
    if (value->type == JSON_TYPE_STRING && value->raw.size > 2 &&
        value->raw.size <= WIRE_ID_MAX) {
        wire->id = value->raw;
    }
}

/* joined-room and left-room, whose data is the room. */
static void read_confirmation(struct wire *wire, enum wire_kind kind,
                              const struct json_value *data)
{
    if (wire_read_name(data, &wire->room) && wire->room.size > 0) {
        wire->kind = kind;
    } else {
        wire->room = (struct peal_slice){NULL, 0};
        refuse(wire);
    }
}

static void read_event(struct wire *wire, struct peal_slice name,
                       const struct json_value *data)
{
    if (name.size == 0 || slice_equal(name, SLICE("ping"))) {
        wire->kind = WIRE_IGNORED;
    } else if (slice_equal(name, SLICE("joined-room"))) {
        read_confirmation(wire, WIRE_JOINED, data);
    } else if (slice_equal(name, SLICE("left-room"))) {
        read_confirmation(wire, WIRE_LEFT, data);
    } else {
        wire->name = name;
        wire->data = data->raw;
    }
}

static void read_text(struct wire *wire, char *text, size_t size)
{
    enum { EVENT, DATA, IS_ACK, CORRELATION, COUNT };
    static const struct peal_slice names[COUNT] = {
        {"event", 5}, {"data", 4}, {"_isAck", 6}, {"_correlationId", 14}};
    struct json_value values[COUNT];
    struct peal_slice name;

    if (json_scan(text, size, names, COUNT, values) < 0 ||
        !wire_read_name(&values[EVENT], &name)) {
        refuse(wire);
        return;
    }
    if (values[IS_ACK].type != JSON_TYPE_TRUE) {
        read_event(wire, name, &values[DATA]);
        return;
    }
    if (name.size == 0) {
        wire->kind = WIRE_IGNORED;
        return;
    }
    wire->kind = WIRE_ANSWER;
    wire->ack = name;
    wire->data = values[DATA].raw;
    read_correlation(wire, &values[CORRELATION]);
}

static void read_binary(struct wire *wire, char *data, size_t size)
{
    static const struct peal_slice event = {"event", 5};
    struct peal_slice header;
    struct json_value name;

    wire->data_kind = PEAL_BYTES;
    if (!wire_split_binary(data, size, &header, &wire->data) ||
        json_scan(header.data, header.size, &event, 1, &name) < 0 ||
        !wire_read_name(&name, &wire->name)) {
        refuse(wire);
    } else if (wire->name.size == 0) {
        wire->kind = WIRE_IGNORED;
    }
}

static void read_ws(struct wire *wire, bool is_binary, char *data, size_t size)
{
    wire_begin(wire, WIRE_EVENT);
    if (is_binary) {
        read_binary(wire, data, size);
    } else {
        read_text(wire, data, size);
    }
}

/* {"data":R,"_correlationId":C}, or R itself. */
static void read_answer(struct wire *wire, const struct tcp_frame *frame)
{
    enum { DATA, CORRELATION, COUNT };
    static const struct peal_slice names[COUNT] = {{"data", 4},
                                                   {"_correlationId", 14}};
    struct json_value values[COUNT];
    struct json_value payload;

    if (frame->event.size == 0 ||
        !utf8_is_valid(frame->event.data, frame->event.size) ||
        !wire_read_json(frame->payload, frame->payload_size, &payload)) {
        refuse(wire);
        return;
    }
    wire->kind = WIRE_ANSWER;
    wire->ack = frame->event;
    wire->data = payload.raw;
    if (payload.type == JSON_TYPE_OBJECT &&
        json_scan(payload.raw.data, payload.raw.size, names, COUNT, values) ==
            0 &&
        values[DATA].type != JSON_TYPE_ABSENT) {
        wire->data = values[DATA].raw;
        read_correlation(wire, &values[CORRELATION]);
    }
}

/* A text that ends the session. */
static void read_goodbye(struct wire *wire, const struct tcp_frame *frame,
                         int code)
{
    wire->kind = WIRE_GOODBYE;
    wire->failure = (struct wire_failure){.code = code};
    if (utf8_is_valid(frame->payload, frame->payload_size)) {
        wire->failure.message = slice_make(frame->payload, frame->payload_size);
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

static void read_tcp(struct wire *wire, struct tcp_frame *frame)
{
    wire_begin(wire, WIRE_EVENT);
    switch (frame->type) {
    case STELAR_JSON:
        read_json_frame(wire, frame);
        break;
    case STELAR_BINARY:
        wire->data_kind = PEAL_BYTES;
        wire->name = frame->event;
        wire->data = slice_make(frame->payload, frame->payload_size);
        if (frame->event.size == 0 ||
            !utf8_is_valid(frame->event.data, frame->event.size)) {
            wire->name = (struct peal_slice){NULL, 0};
            refuse(wire);
        }
        break;
    case STELAR_PING:
        wire->kind = WIRE_PING;
        break;
    case STELAR_PONG:
        wire->kind = WIRE_PONG;
        break;
    case STELAR_ACK_RESPONSE:
        read_answer(wire, frame);
        break;
    case STELAR_CONNECT:
        wire->kind = WIRE_WELCOME;
        wire->welcome = (struct wire_welcome){0};
        if (utf8_is_valid(frame->payload, frame->payload_size)) {
            wire->welcome.client_id =
                slice_make(frame->payload, frame->payload_size);
        }
        break;
    case STELAR_DISCONNECT:
        read_goodbye(wire, frame, 1001);
        break;
    case STELAR_ERROR:
        read_goodbye(wire, frame, 1008);
        break;
    default:
        wire->kind = WIRE_IGNORED;
        break;
    }
}

/* --- Writing -------------------------------------------------------------- */

/* The form of a message, in plan->shape. */
enum { SHAPE_EVENT, SHAPE_BINARY, SHAPE_REQUEST, SHAPE_ROOM, SHAPE_BEAT };

/* The names that these servers pass on (and ours, of course, too). */
static bool is_sayable(struct peal_slice name)
{
    static const struct peal_slice reserved[] = {{"ping", 4},
                                                 {"pong", 4},
                                                 {"connect", 7},
                                                 {"disconnect", 10},
                                                 {"error", 5}};

    if (name.size == 0 || name.size > WIRE_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++) {
        if (slice_equal(name, reserved[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        char lower = (char)(c | 0x20);

        if (!(lower >= 'a' && lower <= 'z') && !(c >= '-' && c <= ':')) {
            return false;
        }
    }
    return true;
}

static bool can_say(const struct wire *wire, enum transport transport)
{
    switch (wire->kind) {
    case WIRE_EVENT:
        return is_sayable(wire->name) && wire->room.size == 0 &&
               !(wire->wants_answer && wire->data_kind == PEAL_BYTES);
    case WIRE_JOIN:
    case WIRE_LEAVE:
        return wire->room.size > 0 && wire->room.size <= WIRE_NAME_MAX;
    case WIRE_PING:
    case WIRE_PONG:
        return transport == TRANSPORT_TCP;
    default:
        return false;
    }
}

static uint8_t choose_shape(const struct wire *wire)
{
    switch (wire->kind) {
    case WIRE_EVENT:
        if (wire->data_kind == PEAL_BYTES) {
            return SHAPE_BINARY;
        }
        return wire->wants_answer ? SHAPE_REQUEST : SHAPE_EVENT;
    case WIRE_JOIN:
    case WIRE_LEAVE:
        return SHAPE_ROOM;
    default:
        return SHAPE_BEAT;
    }
}

static struct peal_slice message_name(const struct wire *wire)
{
    switch (wire->kind) {
    case WIRE_EVENT:
        return wire->name;
    case WIRE_JOIN:
        return SLICE("join-room");
    case WIRE_LEAVE:
        return SLICE("leave-room");
    default:
        return SLICE("");
    }
}

static size_t envelope_size(const struct wire *wire, uint8_t shape)
{
    struct peal_slice name = message_name(wire);
    size_t size = LITERAL_SIZE("{\"event\":}") + json_quoted_size(name);

    switch (shape) {
    case SHAPE_BINARY:
        return 4 + size + wire->data.size;
    case SHAPE_ROOM:
        return size + LITERAL_SIZE(",\"data\":") + json_quoted_size(wire->room);
    case SHAPE_REQUEST:
        size += LITERAL_SIZE(",\"_correlationId\":") + wire->id.size;
        break;
    default:
        break;
    }
    return size + LITERAL_SIZE(",\"data\":") + wire_value_size(wire);
}

static char *put_envelope(char *out, const struct wire *wire, uint8_t shape,
                          bool has_ack)
{
    char *start = out;

    if (shape == SHAPE_BINARY) {
        out += 4;
    }
    out = wire_put(out, SLICE("{\"event\":"));
    out = json_quote(out, message_name(wire));
    if (shape == SHAPE_BINARY) {
        *out++ = '}';
        wire_put_u32(start, (size_t)(out - start) - 4);
        return wire_put(out, wire->data);
    }
    out = wire_put(out, SLICE(",\"data\":"));
    out = shape == SHAPE_ROOM ? json_quote(out, wire->room)
                              : wire_put_value(out, wire);
    if (has_ack) {
        out = wire_put(out, SLICE(",\"_ackName\":"));
        out = json_quote(out, wire->name);
    }
    if (shape == SHAPE_REQUEST) {
        out = wire_put(out, SLICE(",\"_correlationId\":"));
        out = wire_put(out, wire->id);
    }
    *out++ = '}';
    return out;
}

static size_t payload_size(const struct wire *wire, uint8_t shape)
{
    switch (shape) {
    case SHAPE_EVENT:
        return wire_value_size(wire);
    case SHAPE_BINARY:
        return wire->data.size;
    case SHAPE_REQUEST:
        return envelope_size(wire, shape);
    case SHAPE_ROOM:
        return wire->room.size;
    default:
        return 0;
    }
}

static bool plan_wire(struct wire_plan *plan, const struct wire *wire,
                      enum transport transport)
{
    if (!can_say(wire, transport)) {
        return false;
    }
    plan->shape = choose_shape(wire);
    plan->is_binary = plan->shape == SHAPE_BINARY;
    if (transport == TRANSPORT_TCP) {
        plan->size = tcp_frame_size(message_name(wire).size,
                                    payload_size(wire, plan->shape));
        return true;
    }
    plan->size = envelope_size(wire, plan->shape);
    if (plan->shape == SHAPE_REQUEST) {
        plan->size +=
            LITERAL_SIZE(",\"_ackName\":") + json_quoted_size(wire->name);
    }
    return true;
}

static uint8_t frame_type(const struct wire *wire, uint8_t shape)
{
    static const uint8_t types[] = {
        [SHAPE_EVENT] = STELAR_JSON,
        [SHAPE_BINARY] = STELAR_BINARY,
        [SHAPE_REQUEST] = STELAR_ACK_REQUEST,
    };

    switch (wire->kind) {
    case WIRE_JOIN:
        return STELAR_JOIN;
    case WIRE_LEAVE:
        return STELAR_LEAVE;
    case WIRE_PING:
        return STELAR_PING;
    case WIRE_PONG:
        return STELAR_PONG;
    default:
        return types[shape];
    }
}

static char *write_tcp(char *out, const struct wire_plan *plan,
                       const struct wire *wire)
{
    struct peal_slice name = message_name(wire);

    out = tcp_frame_write(out, frame_type(wire, plan->shape), name,
                          plan->size - tcp_frame_size(name.size, 0));
    switch (plan->shape) {
    case SHAPE_EVENT:
        return wire_put_value(out, wire);
    case SHAPE_BINARY:
        return wire_put(out, wire->data);
    case SHAPE_REQUEST:
        return put_envelope(out, wire, SHAPE_REQUEST, false);
    case SHAPE_ROOM:
        return wire_put(out, wire->room);
    default:
        return out;
    }
}

static void write_wire(char *out, const struct wire_plan *plan,
                       const struct wire *wire, enum transport transport)
{
    char *end = transport == TRANSPORT_TCP
                    ? write_tcp(out, plan, wire)
                    : put_envelope(out, wire, plan->shape,
                                   plan->shape == SHAPE_REQUEST);

    ASSERT((size_t)(end - out) == plan->size);
}

const struct dialect dialect_client_stelar = {
    .name = "stelar",
    .has_requests = true,
    .has_welcome = true,
    .read_ws = read_ws,
    .read_tcp = read_tcp,
    .plan = plan_wire,
    .write = write_wire,
};
