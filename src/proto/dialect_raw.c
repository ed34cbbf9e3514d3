/*
 * The dialect without an envelope: a message is its data, and nothing else can
 * be said. For people who want a plain WebSocket server.
 */
#include "base/utf8.h"
#include "proto/wire.h"

static void read_ws(struct wire *wire, bool is_binary, char *data, size_t size)
{
    wire_begin(wire, WIRE_EVENT);
    wire->data_kind = is_binary ? PEAL_BYTES : PEAL_TEXT;
    wire->data = slice_make(data, size);
}

static void read_tcp(struct wire *wire, struct tcp_frame *frame)
{
    wire_begin(wire, WIRE_EVENT);
    wire->data_kind = PEAL_BYTES;
    wire->name = frame->event;
    wire->data = slice_make(frame->payload, frame->payload_size);
    switch (frame->type) {
    case TCP_JSON:
    case TCP_BINARY:
        break;
    case TCP_PING:
        wire->kind = WIRE_PING;
        return;
    case TCP_PONG:
        wire->kind = WIRE_PONG;
        return;
    default:
        wire_invalidate(wire, WIRE_BAD_MESSAGE);
        return;
    }
    if (frame->type == TCP_JSON) {
        wire->data_kind = PEAL_TEXT;
        if (!utf8_is_valid(frame->payload, frame->payload_size)) {
            wire_invalidate(wire, WIRE_BAD_MESSAGE);
        }
    }
    if (!utf8_is_valid(frame->event.data, frame->event.size)) {
        wire_invalidate(wire, WIRE_BAD_MESSAGE);
    }
}

/* The event and the payload of the frame that says `wire`. */
struct raw_frame {
    uint8_t type;
    struct peal_slice event;
    struct peal_slice payload;
};

static struct raw_frame frame_of(const struct wire *wire)
{
    switch (wire->kind) {
    case WIRE_PING:
        return (struct raw_frame){TCP_PING, {NULL, 0}, wire->data};
    case WIRE_PONG:
        return (struct raw_frame){TCP_PONG, {NULL, 0}, wire->data};
    case WIRE_GOODBYE:
        return (struct raw_frame){
            TCP_DISCONNECT, {NULL, 0}, wire->failure.message};
    default:
        return (struct raw_frame){wire->data_kind == PEAL_BYTES ? TCP_BINARY
                                                                : TCP_JSON,
                                  wire->name, wire->data};
    }
}

static bool can_say(const struct wire *wire, enum transport transport)
{
    switch (wire->kind) {
    case WIRE_EVENT:
        return !wire->wants_answer;
    case WIRE_PING:
    case WIRE_PONG:
    case WIRE_GOODBYE:
        /* These are control frames over WebSocket. */
        return transport == TRANSPORT_TCP;
    default:
        return false;
    }
}

static bool plan_wire(struct wire_plan *plan, const struct wire *wire,
                      enum transport transport)
{
    struct raw_frame frame;

    if (!can_say(wire, transport)) {
        return false;
    }
    if (transport == TRANSPORT_WS) {
        plan->size = wire->data.size;
        plan->is_binary = wire->data_kind == PEAL_BYTES;
        return true;
    }
    frame = frame_of(wire);
    plan->size = tcp_frame_size(frame.event.size, frame.payload.size);
    plan->is_binary = false;
    return frame.event.size <= TCP_EVENT_MAX;
}

static void write_wire(char *out, const struct wire_plan *plan,
                       const struct wire *wire, enum transport transport)
{
    (void)plan;
    if (transport == TRANSPORT_WS) {
        wire_put(out, wire->data);
    } else {
        struct raw_frame frame = frame_of(wire);

        out = tcp_frame_write(out, frame.type, frame.event, frame.payload.size);
        wire_put(out, frame.payload);
    }
}

const struct dialect dialect_raw = {
    .name = "raw",
    .may_be_compressed = true,
    .read_ws = read_ws,
    .read_tcp = read_tcp,
    .plan = plan_wire,
    .write = write_wire,
};
