/*
 * What both sides of the peal dialect write: the head of an envelope, failures
 * and goodbyes. Inline, because it is the way of every message.
 */
#ifndef PROTO_DIALECT_PEAL_WRITE_H
#define PROTO_DIALECT_PEAL_WRITE_H

#include "base/decimal.h"
#include "proto/dialect_peal.h"
#include "proto/wire.h"

/* Parts of plan->shape: the form, and which strings need no escapes. */
enum {
    DIALECT_PEAL_SHAPE = 0x0f,
    DIALECT_PEAL_PLAIN_NAME = 0x40,
    DIALECT_PEAL_PLAIN_ROOM = 0x80
};

/* Everything before the data: {"event":"chat","room":"lobby","id":7 */
static inline size_t dialect_peal_head_size(struct wire_plan *plan,
                                            const struct wire *wire,
                                            struct peal_slice name,
                                            struct peal_slice room)
{
    size_t name_size = json_quoted_size(name);
    size_t size = LITERAL_SIZE("{\"event\":") + name_size;

    if (name_size == name.size + 2) {
        plan->shape |= DIALECT_PEAL_PLAIN_NAME;
    }
    if (room.size > 0) {
        size_t room_size = json_quoted_size(room);

        size += LITERAL_SIZE(",\"room\":") + room_size;
        if (room_size == room.size + 2) {
            plan->shape |= DIALECT_PEAL_PLAIN_ROOM;
        }
    }
    if (wire_has_id(wire)) {
        size += LITERAL_SIZE(",\"id\":") + wire->id.size;
    }
    return size;
}

static inline char *dialect_peal_put_head(char *out,
                                          const struct wire_plan *plan,
                                          const struct wire *wire,
                                          struct peal_slice name,
                                          struct peal_slice room)
{
    out = wire_put(out, SLICE("{\"event\":"));
    out = wire_put_string(out, name,
                          (plan->shape & DIALECT_PEAL_PLAIN_NAME) != 0);
    if (room.size > 0) {
        out = wire_put(out, SLICE(",\"room\":"));
        out = wire_put_string(out, room,
                              (plan->shape & DIALECT_PEAL_PLAIN_ROOM) != 0);
    }
    if (wire_has_id(wire)) {
        out = wire_put(out, SLICE(",\"id\":"));
        out = wire_put(out, wire->id);
    }
    return out;
}

/*
 * {"code":101,"name":"unknown_event","message":"...","temporary":false}, of
 * which the first brace is the caller's, who may have an id to put behind it.
 */
static inline size_t
dialect_peal_failure_size(const struct wire_failure *failure)
{
    return LITERAL_SIZE("{\"code\":,\"name\":,\"message\":,\"temporary\":}") +
           decimal_size(failure->code) + json_quoted_size(failure->name) +
           json_quoted_size(failure->message) + (failure->temporary ? 4 : 5);
}

static inline char *dialect_peal_put_failure(char *out,
                                             const struct wire_failure *failure)
{
    out = wire_put(out, SLICE("\"code\":"));
    out = decimal_put(out, failure->code);
    out = wire_put(out, SLICE(",\"name\":"));
    out = json_quote(out, failure->name);
    out = wire_put(out, SLICE(",\"message\":"));
    out = json_quote(out, failure->message);
    out = wire_put(out, SLICE(",\"temporary\":"));
    out = wire_put(out, failure->temporary ? SLICE("true") : SLICE("false"));
    return wire_put(out, SLICE("}"));
}

/* {"code":1001,"reason":"...","retry_after_ms":1733} */
static inline size_t
dialect_peal_goodbye_size(const struct wire_failure *failure)
{
    size_t size = LITERAL_SIZE("{\"code\":,\"reason\":}") +
                  decimal_size(failure->code) +
                  json_quoted_size(failure->message);

    if (failure->retry_after_ms > 0) {
        size += LITERAL_SIZE(",\"retry_after_ms\":") +
                decimal_size(failure->retry_after_ms);
    }
    return size;
}

static inline char *dialect_peal_put_goodbye(char *out,
                                             const struct wire_failure *failure)
{
    out = wire_put(out, SLICE("{\"code\":"));
    out = decimal_put(out, failure->code);
    out = wire_put(out, SLICE(",\"reason\":"));
    out = json_quote(out, failure->message);
    if (failure->retry_after_ms > 0) {
        out = wire_put(out, SLICE(",\"retry_after_ms\":"));
        out = decimal_put(out, failure->retry_after_ms);
    }
    return wire_put(out, SLICE("}"));
}

#endif
