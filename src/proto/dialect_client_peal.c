/*
 * The client's side of the peal dialect: what servers say is read, and what
 * clients say is written. docs/protocol.md has every message byte by byte; over
 * TCP the frames 16 and 17 are written wherever there is more to say than a
 * name and data.
 */
#include "proto/dialect_peal_write.h"

#include "base/assert.h"
#include "base/utf8.h"
#include "proto/wire.h"

static const struct peal_slice system_prefix = {"peal:", 5};

/* --- Reading -------------------------------------------------------------- */

static uint64_t read_whole(const struct json_value *value, uint64_t max)
{
    int64_t whole =
        value->type == JSON_TYPE_NUMBER ? json_whole(value->raw) : 0;

    if (whole < 0) {
        return 0;
    }
    return (uint64_t)whole < max ? (uint64_t)whole : max;
}

/* A member that is absent or makes no sense counts as 0: nothing is known. */
static void read_welcome(struct wire *wire, const char *text, size_t size)
{
    enum { ID, INTERVAL, TIMEOUT, LIMITS, COUNT };
    static const struct peal_slice names[COUNT] = {{"id", 2},
                                                   {"ping_interval_ms", 16},
                                                   {"ping_timeout_ms", 15},
                                                   {"limits", 6}};
    static const struct peal_slice limit_names[] = {{"message_bytes", 13},
                                                    {"rooms", 5}};
    struct json_value values[COUNT];
    struct json_value limits[ARRAY_SIZE(limit_names)] = {{0}, {0}};
    struct wire_welcome *welcome = &wire->welcome;

    if (json_scan(text, size, names, COUNT, values) < 0 ||
        values[ID].type != JSON_TYPE_STRING ||
        !wire_decode(&values[ID], &welcome->client_id) ||
        (values[LIMITS].type == JSON_TYPE_OBJECT &&
         json_scan(values[LIMITS].raw.data, values[LIMITS].raw.size,
                   limit_names, ARRAY_SIZE(limit_names), limits) < 0)) {
        wire_invalidate(wire, WIRE_BAD_MESSAGE);
        return;
    }
    wire->kind = WIRE_WELCOME;
    welcome->ping_interval_ms =
        (uint32_t)read_whole(&values[INTERVAL], UINT32_MAX);
    welcome->ping_timeout_ms =
        (uint32_t)read_whole(&values[TIMEOUT], UINT32_MAX);
    welcome->message_bytes_max = read_whole(&limits[0], UINT64_MAX);
    welcome->rooms_max = read_whole(&limits[1], UINT64_MAX);
}

/*
 * Messages are missing here. It is also an event by that name, with the room
 * and data as they are. A server that counts nothing has nothing to tell.
 */
static void read_gap(struct wire *wire, const struct json_value *data)
{
    static const struct peal_slice names[] = {{"count", 5}, {"reason", 6}};
    struct json_value values[ARRAY_SIZE(names)];

    if (data->type != JSON_TYPE_OBJECT ||
        json_scan(data->raw.data, data->raw.size, names, ARRAY_SIZE(names),
                  values) < 0 ||
        read_whole(&values[0], UINT64_MAX) == 0) {
        wire_invalidate(wire, WIRE_BAD_MESSAGE);
        return;
    }
    wire->kind = WIRE_GAP;
    wire->name = SLICE("peal:gap");
    wire->data = data->raw;
    wire->wants_answer = false;
    wire->gap.count = read_whole(&values[0], UINT64_MAX);
    wire->gap.reason = (struct peal_slice){NULL, 0};
    if (values[1].type == JSON_TYPE_STRING && values[1].raw.size >= 2) {
        /* A word of the protocol has no escapes. */
        wire->gap.reason =
            slice_make(values[1].raw.data + 1, values[1].raw.size - 2);
    }
}

static void become_answer(struct wire *wire)
{
    wire->wants_answer = false;
    if (wire->id.size > 0) {
        wire->kind = WIRE_ANSWER;
    } else {
        wire_invalidate(wire, WIRE_BAD_MESSAGE);
    }
}

/* A failure without id is a complaint, which only clients are told. */
static void become_failure(struct wire *wire)
{
    if (wire->kind == WIRE_IGNORED) {
        wire->kind = WIRE_FAILURE;
    }
}

/* An event whose name begins with "peal:". What is not known is for later. */
static void read_system(struct wire *wire, const struct json_value *data)
{
    struct peal_slice name = wire->name;

    wire->name = (struct peal_slice){NULL, 0};
    if (slice_equal(name, SLICE("peal:ok"))) {
        wire->data = data->raw;
        become_answer(wire);
    } else if (slice_equal(name, SLICE("peal:error"))) {
        dialect_peal_read_failure(wire, data->raw.data, data->raw.size, false);
        become_failure(wire);
    } else if (slice_equal(name, SLICE("peal:welcome")) &&
               data->type == JSON_TYPE_OBJECT) {
        read_welcome(wire, data->raw.data, data->raw.size);
    } else if (slice_equal(name, SLICE("peal:goodbye"))) {
        dialect_peal_read_goodbye(wire, data->raw.data, data->raw.size);
    } else if (slice_equal(name, SLICE("peal:gap"))) {
        read_gap(wire, data);
    } else {
        wire->kind = WIRE_IGNORED;
    }
}

static void read_text(struct wire *wire, char *text, size_t size)
{
    struct json_value data;

    if (!dialect_peal_read_envelope(wire, text, size, &data)) {
        return;
    }
    if (slice_has_prefix(wire->name, system_prefix)) {
        read_system(wire, &data);
    } else {
        wire->data = data.raw;
    }
}

static void read_binary(struct wire *wire, char *data, size_t size)
{
    struct peal_slice header;
    struct json_value ignored;

    wire->data_kind = PEAL_BYTES;
    if (!wire_split_binary(data, size, &header, &wire->data)) {
        wire_invalidate(wire, WIRE_BAD_MESSAGE);
        return;
    }
    if (!dialect_peal_read_envelope(wire, header.data, header.size, &ignored) ||
        !slice_has_prefix(wire->name, system_prefix)) {
        return;
    }
    if (slice_equal(wire->name, SLICE("peal:ok"))) {
        become_answer(wire);
    } else {
        wire->kind = WIRE_IGNORED;
    }
    wire->name = (struct peal_slice){NULL, 0};
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

static void read_tcp(struct wire *wire, struct tcp_frame *frame)
{
    bool is_text = frame->type != TCP_BINARY_ENVELOPE;

    switch (frame->type) {
    case TCP_CONNECT:
    case TCP_ENVELOPE:
    case TCP_BINARY_ENVELOPE:
        wire_begin(wire, WIRE_EVENT);
        if (is_text && !utf8_is_valid(frame->payload, frame->payload_size)) {
            wire_invalidate(wire, WIRE_BAD_MESSAGE);
        } else if (frame->type == TCP_CONNECT) {
            read_welcome(wire, frame->payload, frame->payload_size);
        } else if (is_text) {
            read_text(wire, frame->payload, frame->payload_size);
        } else {
            read_binary(wire, frame->payload, frame->payload_size);
        }
        break;
    case TCP_JOIN:
    case TCP_LEAVE:
        /* Only clients say these. */
        wire_begin(wire, WIRE_IGNORED);
        break;
    default:
        /* All other frames are the same in both directions. */
        dialect_peal_read_tcp(wire, frame);
        if (frame->type == TCP_ERROR) {
            become_failure(wire);
        }
        break;
    }
}

/* --- Writing -------------------------------------------------------------- */

/* The form of a message, in plan->shape. */
enum { SHAPE_TEXT, SHAPE_BINARY, SHAPE_SHORT, SHAPE_GOODBYE };

static struct peal_slice envelope_name(const struct wire *wire)
{
    switch (wire->kind) {
    case WIRE_ANSWER:
        return SLICE("peal:answer");
    case WIRE_FAILURE:
        return SLICE("peal:fail");
    case WIRE_JOIN:
        return SLICE("peal:join");
    case WIRE_LEAVE:
        return SLICE("peal:leave");
    default:
        return wire->name;
    }
}

/* The room that an event goes to stands beside its name. */
static struct peal_slice envelope_room(const struct wire *wire)
{
    return wire->kind == WIRE_EVENT ? wire->room : (struct peal_slice){NULL, 0};
}

/* What stands as "data"; 0: nothing does. */
static size_t body_size(const struct wire *wire)
{
    switch (wire->kind) {
    case WIRE_FAILURE:
        return dialect_peal_failure_size(&wire->failure);
    case WIRE_JOIN:
    case WIRE_LEAVE:
        return LITERAL_SIZE("{\"room\":}") + json_quoted_size(wire->room);
    default:
        return wire_data_size(wire);
    }
}

static char *put_body(char *out, const struct wire *wire)
{
    switch (wire->kind) {
    case WIRE_FAILURE:
        *out++ = '{';
        return dialect_peal_put_failure(out, &wire->failure);
    case WIRE_JOIN:
    case WIRE_LEAVE:
        out = wire_put(out, SLICE("{\"room\":"));
        out = json_quote(out, wire->room);
        return wire_put(out, SLICE("}"));
    default:
        return wire_put_data(out, wire);
    }
}

static size_t head_size(struct wire_plan *plan, const struct wire *wire)
{
    return dialect_peal_head_size(plan, wire, envelope_name(wire),
                                  envelope_room(wire));
}

static char *put_head(char *out, const struct wire_plan *plan,
                      const struct wire *wire)
{
    return dialect_peal_put_head(out, plan, wire, envelope_name(wire),
                                 envelope_room(wire));
}

static bool can_say(const struct wire *wire, enum transport transport)
{
    switch (wire->kind) {
    case WIRE_EVENT:
        return wire->name.size > 0 && wire->name.size <= WIRE_NAME_MAX &&
               (!slice_has_prefix(wire->name, system_prefix) ||
                (wire_has_id(wire) &&
                 slice_equal(wire->name, SLICE("peal:ping"))));
    case WIRE_ANSWER:
    case WIRE_FAILURE:
        return wire->id.size > 0;
    case WIRE_JOIN:
    case WIRE_LEAVE:
        return wire->room.size > 0 && wire->room.size <= WIRE_NAME_MAX;
    case WIRE_PING:
    case WIRE_PONG:
    case WIRE_GOODBYE:
        /* These are control frames over WebSocket. */
        return transport == TRANSPORT_TCP;
    default:
        return false;
    }
}

static uint8_t choose_shape(const struct wire *wire, enum transport transport)
{
    bool is_message = wire->kind == WIRE_EVENT || wire->kind == WIRE_ANSWER;

    if (wire->kind == WIRE_GOODBYE) {
        return SHAPE_GOODBYE;
    }
    if (wire->kind == WIRE_PING || wire->kind == WIRE_PONG ||
        (transport == TRANSPORT_TCP && wire->kind == WIRE_EVENT &&
         wire->room.size == 0 && !wire_has_id(wire))) {
        return SHAPE_SHORT;
    }
    return is_message && wire->data_kind == PEAL_BYTES ? SHAPE_BINARY
                                                       : SHAPE_TEXT;
}

static uint8_t frame_type(const struct wire *wire, uint8_t shape)
{
    switch (shape) {
    case SHAPE_TEXT:
        return TCP_ENVELOPE;
    case SHAPE_BINARY:
        return TCP_BINARY_ENVELOPE;
    case SHAPE_GOODBYE:
        return TCP_DISCONNECT;
    default:
        break;
    }
    if (wire->kind == WIRE_PING) {
        return TCP_PING;
    }
    if (wire->kind == WIRE_PONG) {
        return TCP_PONG;
    }
    return wire->data_kind == PEAL_BYTES ? TCP_BINARY : TCP_JSON;
}

/* Only short frames of events have a name outside of their payload. */
static struct peal_slice frame_event(const struct wire *wire, uint8_t shape)
{
    return shape == SHAPE_SHORT && wire->kind == WIRE_EVENT
               ? wire->name
               : (struct peal_slice){NULL, 0};
}

static bool plan_wire(struct wire_plan *plan, const struct wire *wire,
                      enum transport transport)
{
    uint8_t shape;
    size_t body;

    if (!can_say(wire, transport)) {
        return false;
    }
    shape = choose_shape(wire, transport);
    plan->shape = shape;
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
    default:
        plan->size = dialect_peal_goodbye_size(&wire->failure);
        break;
    }
    if (transport == TRANSPORT_TCP) {
        plan->size = tcp_frame_size(frame_event(wire, shape).size, plan->size);
    }
    return true;
}

static char *write_text(char *out, const struct wire_plan *plan,
                        const struct wire *wire)
{
    out = put_head(out, plan, wire);
    if (body_size(wire) > 0) {
        out = wire_put(out, SLICE(",\"data\":"));
        out = put_body(out, wire);
    }
    *out++ = '}';
    return out;
}

static char *write_binary(char *out, const struct wire_plan *plan,
                          const struct wire *wire)
{
    char *header = out + 4;
    char *end = put_head(header, plan, wire);

    *end++ = '}';
    wire_put_u32(out, (size_t)(end - header));
    return wire_put(end, wire->data);
}

static void write_wire(char *out, const struct wire_plan *plan,
                       const struct wire *wire, enum transport transport)
{
    uint8_t shape = plan->shape & DIALECT_PEAL_SHAPE;
    const char *start = out;

    if (transport == TRANSPORT_TCP) {
        struct peal_slice event = frame_event(wire, shape);

        out = tcp_frame_write(out, frame_type(wire, shape), event,
                              plan->size - tcp_frame_size(event.size, 0));
    }
    switch (shape) {
    case SHAPE_TEXT:
        out = write_text(out, plan, wire);
        break;
    case SHAPE_BINARY:
        out = write_binary(out, plan, wire);
        break;
    case SHAPE_SHORT:
        out = wire_put_data(out, wire);
        break;
    default:
        out = dialect_peal_put_goodbye(out, &wire->failure);
        break;
    }
    ASSERT((size_t)(out - start) == plan->size);
}

const struct dialect dialect_client_peal = {
    .name = "peal",
    .subprotocol = "peal",
    .has_welcome = true,
    .has_requests = true,
    .may_be_compressed = true,
    .read_ws = read_ws,
    .read_tcp = read_tcp,
    .plan = plan_wire,
    .write = write_wire,
};
