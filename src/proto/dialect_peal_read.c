/* What clients of the peal dialect say. docs/protocol.md has every form. */
#include "proto/dialect_peal.h"

#include <limits.h>

#include "base/assert.h"
#include "base/utf8.h"
#include "proto/wire.h"

/* Bytes of an id, raw. */
#define ID_MAX 64

static const struct peal_slice system_prefix = {"peal:", 5};

/* Which members of an envelope, or of a frame's payload, json_scan finds. */
enum { MEMBER_EVENT, MEMBER_DATA, MEMBER_ID, MEMBER_ROOM, MEMBER_COUNT };

static const struct peal_slice member_names[MEMBER_COUNT] = {
    {"event", 5}, {"data", 4}, {"id", 2}, {"room", 4}};

static void refuse(struct wire *wire)
{
    wire_invalidate(wire, WIRE_BAD_MESSAGE);
}

/*
 * What answers a request of ours and cannot be understood. Its id is one of
 * ours: a complaint that carried it would answer a request of the client.
 */
static void refuse_answer(struct wire *wire)
{
    wire->id = (struct peal_slice){NULL, 0};
    wire->wants_answer = false;
    refuse(wire);
}

static bool is_given(const struct json_value *value)
{
    return value->type != JSON_TYPE_ABSENT && value->type != JSON_TYPE_NULL;
}

/* An id that is absent or null is no id. False when it cannot be one. */
static bool read_id(struct wire *wire, const struct json_value *value)
{
    if (!is_given(value)) {
        return true;
    }
    if ((value->type != JSON_TYPE_STRING && value->type != JSON_TYPE_NUMBER) ||
        value->raw.size > ID_MAX) {
        return false;
    }
    wire->id = value->raw;
    wire->wants_answer = true;
    return true;
}

/* Sets the room, or makes the wire invalid and returns false. */
static bool read_room(struct wire *wire, const struct json_value *value)
{
    if (value->type != JSON_TYPE_STRING ||
        !wire_decode(value, &wire->room)) {
        refuse(wire);
        return false;
    }
    if (wire->room.size == 0 || wire->room.size > WIRE_NAME_MAX) {
        wire->room = (struct peal_slice){NULL, 0};
        wire_invalidate(wire, WIRE_BAD_ROOM);
        return false;
    }
    return true;
}

/* peal:join and peal:leave: data is {"room":"lobby"}. */
static void read_membership(struct wire *wire, enum wire_kind kind,
                            const struct json_value *data)
{
    struct json_value room;

    wire->kind = kind;
    if (data->type != JSON_TYPE_OBJECT ||
        json_scan(data->raw.data, data->raw.size, &member_names[MEMBER_ROOM], 1,
                  &room) < 0) {
        refuse(wire);
        return;
    }
    read_room(wire, &room);
}

static bool read_text(const struct json_value *value, struct peal_slice *text)
{
    *text = (struct peal_slice){NULL, 0};
    return !is_given(value) ||
           (value->type == JSON_TYPE_STRING && wire_decode(value, text));
}

/*
 * The failure that answers a request of ours; a TCP frame has the id in the
 * same object. Without an id it is a complaint, and nothing follows from it.
 */
void dialect_peal_read_failure(struct wire *wire, const char *text, size_t size,
                               bool has_id)
{
    enum { CODE, NAME, MESSAGE, TEMPORARY, ID, COUNT };
    static const struct peal_slice names[COUNT] = {
        {"code", 4}, {"name", 4}, {"message", 7}, {"temporary", 9}, {"id", 2}};
    struct wire_failure *failure = &wire->failure;
    struct json_value values[COUNT];
    int64_t code;

    if (json_scan(text, size, names, has_id ? COUNT : ID, values) < 0 ||
        (has_id && !read_id(wire, &values[ID])) ||
        values[CODE].type != JSON_TYPE_NUMBER) {
        refuse_answer(wire);
        return;
    }
    code = json_whole(values[CODE].raw);
    if (code < 0 || code > INT_MAX ||
        !read_text(&values[NAME], &failure->name) ||
        !read_text(&values[MESSAGE], &failure->message)) {
        refuse_answer(wire);
        return;
    }
    failure->code = (int)code;
    failure->temporary = values[TEMPORARY].type == JSON_TYPE_TRUE;
    wire->kind = wire->id.size > 0 ? WIRE_FAILURE : WIRE_IGNORED;
    wire->wants_answer = false;
}

static void become_answer(struct wire *wire)
{
    if (wire->id.size == 0) {
        refuse(wire);
        return;
    }
    wire->kind = WIRE_ANSWER;
    wire->wants_answer = false;
}

/* An event whose name begins with "peal:", in JSON. */
static void read_system(struct wire *wire, const struct json_value *data)
{
    struct peal_slice word = slice_make(wire->name.data + system_prefix.size,
                                        wire->name.size - system_prefix.size);

    wire->name = (struct peal_slice){NULL, 0};
    if (slice_equal(word, SLICE("join"))) {
        read_membership(wire, WIRE_JOIN, data);
    } else if (slice_equal(word, SLICE("leave"))) {
        read_membership(wire, WIRE_LEAVE, data);
    } else if (slice_equal(word, SLICE("answer"))) {
        wire->data = data->raw;
        become_answer(wire);
    } else if (slice_equal(word, SLICE("fail"))) {
        dialect_peal_read_failure(wire, data->raw.data, data->raw.size, false);
    } else if (slice_equal(word, SLICE("ping"))) {
        wire->kind = WIRE_PING;
        wire->data = data->raw;
    } else {
        wire_invalidate(wire, WIRE_NOT_ALLOWED);
    }
}

/* Of the protocol's own events only gaps are about the room beside them. */
static bool has_room(const struct wire *wire)
{
    return !slice_has_prefix(wire->name, system_prefix) ||
           slice_equal(wire->name, SLICE("peal:gap"));
}

/*
 * Reads event, id and room of an envelope; what the event means is left to the
 * caller. The id comes first, so that a complaint can be tied to it. False when
 * the wire has become invalid.
 */
bool dialect_peal_read_envelope(struct wire *wire, const char *text,
                                size_t size, struct json_value *data)
{
    struct json_value values[MEMBER_COUNT];

    if (json_scan(text, size, member_names, MEMBER_COUNT, values) < 0 ||
        !read_id(wire, &values[MEMBER_ID]) ||
        values[MEMBER_EVENT].type != JSON_TYPE_STRING ||
        !wire_decode(&values[MEMBER_EVENT], &wire->name) ||
        wire->name.size == 0 || wire->name.size > WIRE_NAME_MAX) {
        refuse(wire);
        return false;
    }
    *data = values[MEMBER_DATA];
    return !has_room(wire) || !is_given(&values[MEMBER_ROOM]) ||
           read_room(wire, &values[MEMBER_ROOM]);
}

static void read_json_envelope(struct wire *wire, char *text, size_t size)
{
    struct json_value data;

    if (!dialect_peal_read_envelope(wire, text, size, &data)) {
        return;
    }
    if (slice_has_prefix(wire->name, system_prefix)) {
        read_system(wire, &data);
        return;
    }
    wire->data = data.raw;
}

static void read_binary_envelope(struct wire *wire, char *data, size_t size)
{
    struct peal_slice header;
    struct json_value ignored;

    wire->data_kind = PEAL_BYTES;
    if (!wire_split_binary(data, size, &header, &wire->data)) {
        refuse(wire);
        return;
    }
    if (!dialect_peal_read_envelope(wire, header.data, header.size, &ignored) ||
        !slice_has_prefix(wire->name, system_prefix)) {
        return;
    }
    if (slice_equal(wire->name, SLICE("peal:answer"))) {
        become_answer(wire);
    } else {
        wire_invalidate(wire, WIRE_NOT_ALLOWED);
    }
    wire->name = (struct peal_slice){NULL, 0};
}

void dialect_peal_read_ws(struct wire *wire, bool is_binary, char *data,
                          size_t size)
{
    wire_begin(wire, WIRE_EVENT);
    if (is_binary) {
        read_binary_envelope(wire, data, size);
    } else {
        read_json_envelope(wire, data, size);
    }
}

/* The event field of a short frame. False when the wire has become invalid. */
static bool read_frame_name(struct wire *wire, const struct tcp_frame *frame)
{
    if (frame->event.size == 0 ||
        !utf8_is_valid(frame->event.data, frame->event.size)) {
        refuse(wire);
        return false;
    }
    wire->name = frame->event;
    if (slice_has_prefix(wire->name, system_prefix)) {
        wire_invalidate(wire, WIRE_NOT_ALLOWED);
        return false;
    }
    return true;
}

static void read_json_frame(struct wire *wire, const struct tcp_frame *frame)
{
    struct json_value data;

    if (!read_frame_name(wire, frame) || frame->payload_size == 0) {
        return;
    }
    if (!wire_read_json(frame->payload, frame->payload_size, &data)) {
        refuse(wire);
        return;
    }
    wire->data = data.raw;
}

/*
 * The payload of requests, answers, joins and leaves: {"id","data","room"}, of
 * which the id has been read on success.
 */
static bool read_payload(struct wire *wire, const struct tcp_frame *frame,
                         struct json_value values[MEMBER_COUNT])
{
    /* The name is in the frame: "event" is just an unknown member here. */
    const struct peal_slice *names = &member_names[MEMBER_DATA];

    return utf8_is_valid(frame->payload, frame->payload_size) &&
           json_scan(frame->payload, frame->payload_size, names,
                     MEMBER_COUNT - MEMBER_DATA, values + MEMBER_DATA) == 0 &&
           read_id(wire, &values[MEMBER_ID]);
}

static void read_request(struct wire *wire, const struct tcp_frame *frame)
{
    struct json_value values[MEMBER_COUNT];

    if (!read_payload(wire, frame, values) || !wire->wants_answer) {
        refuse(wire);
        return;
    }
    wire->data = values[MEMBER_DATA].raw;
    read_frame_name(wire, frame);
}

static void read_answer(struct wire *wire, const struct tcp_frame *frame)
{
    struct json_value values[MEMBER_COUNT];

    if (!read_payload(wire, frame, values)) {
        refuse_answer(wire);
        return;
    }
    wire->data = values[MEMBER_DATA].raw;
    become_answer(wire);
}

static void read_membership_frame(struct wire *wire,
                                  const struct tcp_frame *frame)
{
    struct json_value values[MEMBER_COUNT];

    wire->kind = frame->type == TCP_JOIN ? WIRE_JOIN : WIRE_LEAVE;
    if (!read_payload(wire, frame, values)) {
        refuse(wire);
        return;
    }
    read_room(wire, &values[MEMBER_ROOM]);
}

void dialect_peal_read_goodbye(struct wire *wire, const char *text, size_t size)
{
    enum { CODE, REASON, RETRY_AFTER, COUNT };
    static const struct peal_slice names[COUNT] = {
        {"code", 4}, {"reason", 6}, {"retry_after_ms", 14}};
    struct json_value values[COUNT];
    struct peal_slice reason;
    int64_t retry_after_ms = 0;
    int64_t code;

    if (json_scan(text, size, names, COUNT, values) < 0 ||
        values[CODE].type != JSON_TYPE_NUMBER ||
        !read_text(&values[REASON], &reason)) {
        refuse(wire);
        return;
    }
    code = json_whole(values[CODE].raw);
    if (code < 0 || code > INT_MAX) {
        refuse(wire);
        return;
    }
    if (values[RETRY_AFTER].type == JSON_TYPE_NUMBER) {
        retry_after_ms = json_whole(values[RETRY_AFTER].raw);
    }
    wire->kind = WIRE_GOODBYE;
    wire->failure = (struct wire_failure){
        .code = (int)code,
        .message = reason,
        /* What makes no sense counts as unsaid. */
        .retry_after_ms = retry_after_ms > 0 && retry_after_ms <= UINT32_MAX
                              ? (uint32_t)retry_after_ms
                              : 0,
    };
}

static void read_beat(struct wire *wire, const struct tcp_frame *frame)
{
    wire->kind = frame->type == TCP_PING ? WIRE_PING : WIRE_PONG;
    wire->data_kind = PEAL_BYTES;
    wire->data = slice_make(frame->payload, frame->payload_size);
}

void dialect_peal_read_tcp(struct wire *wire, struct tcp_frame *frame)
{
    wire_begin(wire, WIRE_EVENT);
    switch (frame->type) {
    case TCP_JSON:
        read_json_frame(wire, frame);
        break;
    case TCP_BINARY:
        wire->data_kind = PEAL_BYTES;
        wire->data = slice_make(frame->payload, frame->payload_size);
        read_frame_name(wire, frame);
        break;
    case TCP_PING:
    case TCP_PONG:
        read_beat(wire, frame);
        break;
    case TCP_ACK_REQUEST:
        read_request(wire, frame);
        break;
    case TCP_ACK_RESPONSE:
        read_answer(wire, frame);
        break;
    case TCP_DISCONNECT:
        if (utf8_is_valid(frame->payload, frame->payload_size)) {
            dialect_peal_read_goodbye(wire, frame->payload,
                                      frame->payload_size);
        } else {
            refuse(wire);
        }
        break;
    case TCP_JOIN:
    case TCP_LEAVE:
        read_membership_frame(wire, frame);
        break;
    case TCP_ERROR:
        if (utf8_is_valid(frame->payload, frame->payload_size)) {
            dialect_peal_read_failure(wire, frame->payload, frame->payload_size,
                                      true);
        } else {
            refuse(wire);
        }
        break;
    case TCP_ENVELOPE:
        if (utf8_is_valid(frame->payload, frame->payload_size)) {
            read_json_envelope(wire, frame->payload, frame->payload_size);
        } else {
            refuse(wire);
        }
        break;
    case TCP_BINARY_ENVELOPE:
        read_binary_envelope(wire, frame->payload, frame->payload_size);
        break;
    default:
        refuse(wire);
        break;
    }
}
