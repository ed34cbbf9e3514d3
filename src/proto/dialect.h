/*
 * A dialect is how core messages look on the wire for one family of clients:
 * one file behind this interface, chosen per listener and per route.
 *
 * The vocabulary is `struct wire`: one message, read or to be written. Reading
 * turns the bytes of one WebSocket message or TCP frame into a wire whose
 * slices lie in those bytes (strings are decoded where they stand). Writing is
 * in two steps, so that frames are laid out once, at their final place: `plan`
 * tells the exact size, `write` fills it.
 */
#ifndef PROTO_DIALECT_H
#define PROTO_DIALECT_H

#include "peal/peal.h"
#include "proto/tcp_frame.h"

enum transport { TRANSPORT_WS, TRANSPORT_TCP };

enum wire_kind {
    /* Either way. */
    WIRE_EVENT,   /* name, data; with an id an answer is due */
    WIRE_ANSWER,  /* the good answer to `id`; data may be empty */
    WIRE_FAILURE, /* the bad answer to `id`, or, without id, a complaint */
    WIRE_PING,    /* a heartbeat of the transport that wants a pong */
    WIRE_PONG,

    /* From clients. */
    WIRE_JOIN,    /* room; with an id an answer is due */
    WIRE_LEAVE,   /* room */
    WIRE_IGNORED, /* understood, proof of life, nothing to do */
    WIRE_INVALID, /* not understood; `failure` says why. The client stays */

    /* To clients. */
    WIRE_WELCOME, /* the client is in */
    WIRE_JOINED,  /* confirms a join that has no id */
    WIRE_LEFT,
    WIRE_GOODBYE, /* the server is about to close: `failure` has the code */
    WIRE_GAP /* messages of `room` are missing here: `gap`, `data` as JSON */
};

/* What a welcome tells. */
struct wire_welcome {
    struct peal_slice client_id;
    uint64_t message_bytes_max;
    uint64_t rooms_max;        /* per client */
    uint32_t ping_interval_ms; /* 0: the server does not ping */
    uint32_t ping_timeout_ms;
};

/* Codes and names of docs/protocol.md; applications have codes from 1000 on. */
struct wire_failure {
    struct peal_slice name;    /* "not_allowed" */
    struct peal_slice message; /* for humans */
    int code;
    bool temporary; /* the same again may work later */
    uint32_t retry_after_ms; /* of a goodbye: when to come back; 0: unsaid */
};

/* What a gap tells. */
struct wire_gap {
    uint64_t count;           /* of messages */
    struct peal_slice reason; /* "drop_oldest" */
};

struct wire {
    enum wire_kind kind;
    enum peal_data data_kind;
    struct peal_slice name;
    struct peal_slice room; /* of an event: it came, or goes, through a room */
    struct peal_slice data;
    /*
     * What ties an answer to its request, as the dialect needs it to write the
     * answer: kept by the server as it is. In the peal dialect `id` is the raw
     * JSON of the id. In the stelar dialect `ack` is the name that answers are
     * found by, and `id` the raw JSON of the correlation id, if any.
     */
    struct peal_slice id;
    struct peal_slice ack;
    bool wants_answer;
    /*
     * An event with an `ack` that no request handler answers to is, if this is
     * set, an ordinary event after all, and otherwise nothing.
     */
    bool is_event_too;
    struct wire_failure failure;
    struct wire_welcome welcome;
    struct wire_gap gap;
};

/*
 * An empty wire of this kind. `welcome` and `gap` are left as they are: only
 * their own kinds have them. Field by field, because clearing the whole struct
 * for every message showed in the cost of small ones.
 */
static inline void wire_begin(struct wire *wire, enum wire_kind kind)
{
    const struct peal_slice nothing = {NULL, 0};

    wire->kind = kind;
    wire->data_kind = PEAL_JSON;
    wire->name = nothing;
    wire->room = nothing;
    wire->data = nothing;
    wire->id = nothing;
    wire->ack = nothing;
    wire->wants_answer = false;
    wire->is_event_too = false;
    wire->failure = (struct wire_failure){0};
}

/*
 * Bytes an id may have, raw, in any dialect. Longer ones are WIRE_INVALID. The
 * peal dialect allows 64; the ids of stelar clients are made of the ack's name
 * (256 bytes), a # and a number, in quotes.
 */
#define WIRE_ID_MAX 288

/* Where and how a wire will be written. */
struct wire_plan {
    size_t size;    /* WebSocket: of the payload. TCP: of the whole frame */
    bool is_binary; /* WebSocket: binary opcode, else text */
    uint8_t shape;  /* the dialect's own: which form it chose */
};

/*
 * One side of a dialect: dialect_peal reads what clients say and writes what a
 * server says, dialect_client_peal the reverse. The raw dialect is the same on
 * both sides.
 */
struct dialect {
    const char *name;

    /* The subprotocol that clients offer and servers answer with, or NULL. */
    const char *subprotocol;

    /* Whether a welcome is owed at once, before the client has said a word. */
    bool has_welcome;

    /* Whether this side may send requests. */
    bool has_requests;

    /* Whether permessage-deflate may be agreed on with its clients. */
    bool may_be_compressed;

    /*
     * Reads one WebSocket message; `data` may be written to. Text is valid
     * UTF-8. Always fills `wire`; what cannot be read is WIRE_INVALID.
     */
    void (*read_ws)(struct wire *wire, bool is_binary, char *data, size_t size);

    /* Reads one TCP frame, as above; UTF-8 is checked here. */
    void (*read_tcp)(struct wire *wire, struct tcp_frame *frame);

    /* False when the dialect has no way to say this: nothing is sent. */
    bool (*plan)(struct wire_plan *plan, const struct wire *wire,
                 enum transport transport);

    /* Writes plan->size bytes. */
    void (*write)(char *out, const struct wire_plan *plan,
                  const struct wire *wire, enum transport transport);
};

extern const struct dialect dialect_peal;
extern const struct dialect dialect_stelar;
extern const struct dialect dialect_raw;
extern const struct dialect dialect_client_peal;
extern const struct dialect dialect_client_stelar;

/* Failures that the server itself reports, with their stable codes. */
enum wire_code {
    WIRE_BAD_MESSAGE = 100,   /* not JSON, no event, a doubled member */
    WIRE_UNKNOWN_EVENT = 101, /* nobody handles it */
    WIRE_NOT_ALLOWED = 102,
    WIRE_TOO_LARGE = 103,
    WIRE_BAD_ROOM = 104, /* the room's name is empty or too long */
    WIRE_ROOM_LIMIT = 105,
    WIRE_TIMEOUT = 106,  /* temporary */
    WIRE_INTERNAL = 107, /* temporary */
    WIRE_REFUSED = 108,  /* the application said no, without a code */
    WIRE_BUSY = 109,     /* temporary: a bounded table is full */
    WIRE_RATE_LIMITED = 110 /* temporary */
};

/* The name, message and `temporary` that belong to a code. */
struct wire_failure wire_failure_of(enum wire_code code);

#endif
