/*
 * A connection: one socket, what has been read of it, and the client on it once
 * it is in. All [L].
 *
 *     HEAD <---> HTTP_BODY ---> HTTP_ANSWER ---> HEAD
 *     HEAD ---upgrade---> WS_OPEN --close--> WS_CLOSING --> DRAINING --> CLOSED
 *     (accept, behind a proxy) -- PROXY --> as below, when its header is read
 *     (accept, tls) -- TLS --> HEAD or TCP_OPEN, when the handshake is done
 *     (accept, tcp) ----> TCP_OPEN ------------close------> DRAINING --> CLOSED
 *
 * A broken socket leads from any state to CLOSED. A client leaves once, at the
 * decision to close: nothing is written for it after that, and its
 * on_disconnect comes in the next turn, outside of every other callback.
 */
#ifndef SERVER_CONN_H
#define SERVER_CONN_H

#include "base/buffer.h"
#include "net/stream.h"
#include "proto/http.h"
#include "server/server.h"

enum conn_state {
    CONN_PROXY,       /* reads the header of the PROXY protocol */
    CONN_TLS,         /* in its TLS handshake */
    CONN_HEAD,        /* reads the head of an HTTP request */
    CONN_HTTP_BODY,   /* reads its body, for a handler: reply.c */
    CONN_HTTP_ANSWER, /* waits for the handler's answer */
    CONN_WS_OPEN,     /* a WebSocket client is in */
    CONN_TCP_OPEN,    /* a TCP client is in */
    CONN_WS_CLOSING,  /* our close frame is sent, the peer's is awaited */
    CONN_DRAINING,    /* all is said; what arrives is dropped until the end */
    CONN_CLOSED,      /* the socket is closed; to be freed */
    CONN_STATE_COUNT
};

/* Input that could not be worked on yet: an incomplete tail, leftover work. */
struct conn_input {
    struct list link; /* in worker->leftover, when work is left over */
    struct conn *conn;
    struct buffer bytes;
    size_t scanned; /* of an HTTP head */
};

struct conn {
    struct stream stream;       /* first: events find the conn by it */
    struct timer timer;         /* of what the state waits for */
    struct list link;           /* in worker->conns, ->leaving or ->dead */
    struct peal_client *client; /* NULL before it is in and after it left */
    union {
        struct reply *reply;             /* CONN_HTTP_* */
        struct ws_codecs_own *deflate;   /* has_own_deflate */
        const struct listener *listener; /* CONN_PROXY, _TLS, _HEAD */
        char *reason;                    /* leaving; NULL is "" */
    } of;
    union {
        struct ws_parser parser;
        struct address_count *arrival; /* is_arriving */
    };
    struct conn_input *input; /* NULL: none is kept */
    struct conn_extra *extra; /* NULL: needs none yet; conn_extra.h */
    uint64_t active_ms;       /* when the peer last gave a sign of life */
    uint16_t close_code;      /* leaving */
    uint8_t state;            /* enum conn_state */
    uint8_t form;
    bool is_leaving : 1;
    bool is_closed_by_peer : 1;
    bool is_pinged : 1;
    bool is_held : 1;     /* not read until its own queue has drained */
    bool is_waiting : 1;  /* not read until something has been decided */
    bool is_deflated : 1; /* permessage-deflate was agreed on, and how: */
    bool takes_over_out : 1;
    bool takes_over_in : 1;
    bool has_own_deflate : 1;
    bool is_accounted : 1;   /* account.h */
    bool is_arriving : 1;    /* counted so: arrival.h */
    bool is_tracked : 1;     /* counted so: tracker.h */
    bool lives_by_pongs : 1; /* nothing else is a sign of life */
    bool has_answered : 1;   /* a request, and another may come */
    uint8_t window_out : 4;
    uint8_t window_in : 4;
    uint8_t space; /* whose it is: of worker->seats */
};

static inline struct worker *conn_worker(const struct conn *conn)
{
    return conn->stream.loop->options.user;
}

static inline struct seat *conn_seat(const struct conn *conn)
{
    return conn_worker(conn)->seats[conn->space];
}

static inline struct conn *conn_of(const struct peal_client *client)
{
    return client->conn;
}

static inline bool conn_is_open(const struct conn *conn)
{
    return conn->state == CONN_WS_OPEN || conn->state == CONN_TCP_OPEN;
}

static inline bool conn_owes_reply(const struct conn *conn)
{
    return conn->state == CONN_HTTP_BODY || conn->state == CONN_HTTP_ANSWER;
}

static inline enum transport conn_transport(const struct conn *conn)
{
    return conn->form % FORMS_PER_DIALECT == FORM_TCP ? TRANSPORT_TCP
                                                      : TRANSPORT_WS;
}

/* All of them, in the order of forms. */
extern const struct dialect *const conn_dialects[DIALECT_COUNT];

/* That of its form. */
const struct dialect *conn_dialect(const struct conn *conn);

/* --- conn.c: made and freed ----------------------------------------------- */

/*
 * A conn for an accepted socket, in CONN_PROXY. NULL: no memory; `fd` is still
 * the caller's then, but `arrival` has been given back.
 */
struct conn *conn_new(struct worker *worker, const struct listener *listener,
                      int fd, struct address_count *arrival);

/* Frees a conn in worker->dead. */
void conn_free(struct conn *conn);

/* Has it belong to a namespace. Before its client is in. */
void conn_move(struct conn *conn, const struct peal_server *server);

/* Fits the connection's form to a dialect and transport. */
void conn_set_form(struct conn *conn, const struct dialect *dialect,
                   enum transport transport);

/* The form's compressed kind: `is_shared` with all whose terms are the same. */
void conn_set_deflate(struct conn *conn, bool is_shared);

/* --- conn_begin.c: what comes first --------------------------------------- */

/* A socket was accepted; the conn owns `fd`, also when it fails. */
void conn_accept(struct worker *worker, const struct listener *listener, int fd,
                 const struct socket_address *peer);

/*
 * Nothing stands before what is spoken on it any more: begins with that, or
 * with the TLS handshake, and reads from `data` if there is some. Returns the
 * bytes consumed. `peer` is whom it comes from.
 */
size_t conn_begin(struct conn *conn, const struct socket_address *peer,
                  char *data, size_t size);

/* Its TLS handshake is done: it begins as one without TLS does. */
void conn_secured(struct conn *conn);

/*
 * The middleware has decided about a client that it had put off: asks the next,
 * or lets it in, or, if `denial` is not NULL, refuses it. `head` is that of its
 * request, empty for TCP.
 */
void conn_admit_later(struct conn *conn, struct peal_slice head,
                      const struct socket_address *peer,
                      const struct peal_denial *denial);

/* The same for a WebSocket client: conn_http.c. */
void conn_upgrade_later(struct conn *conn, struct peal_slice head,
                        const struct peal_denial *denial);

/* --- conn_timer.c: heartbeats and deadlines ------------------------------- */

/* The conn's timer has run out. */
void conn_deadline(struct timer *timer, uint64_t now_ms);

/* Has the one timer of the conn run out after so long; PEAL_OFF: never. */
void conn_timer_in(struct conn *conn, uint32_t delay_ms);

/* What its dialect has of heartbeats, and their beginning for a new client. */
const struct peal_heartbeat *conn_heartbeat(const struct conn *conn);
void conn_begin_heartbeat(struct conn *conn);

/* Fits a conn to options that have changed. */
void conn_refit(struct conn *conn);

/* --- conn_close.c: how it ends -------------------------------------------- */

/* Whether an application may close with this code (RFC 6455, 7.4) and reason,
 * which has to be UTF-8 (5.5.1). */
bool conn_may_say(int code, const char *reason);

/*
 * Closes an open connection in good order: its client leaves, the peer is told.
 * Nothing happens in other states.
 */
void conn_close(struct conn *conn, int code, const char *reason);

/*
 * The same when the peer's stream makes no sense any more: says why and does
 * not read on.
 */
void conn_fail(struct conn *conn, int code, const char *reason);

/* The peer has closed, with this code. */
void conn_closed_by_peer(struct conn *conn, int code, struct peal_slice reason);

/* Tells a TCP client why it is turned away, or has to go. */
void conn_goodbye(struct conn *conn, int code, struct peal_slice reason);

/* Ends the output; the socket closes when both sides have ended. */
void conn_finish(struct conn *conn);

/* Closes the socket now. The client, if any, leaves with 1006. */
void conn_cut(struct conn *conn);

/* Calls on_disconnect for a conn in worker->leaving and frees its client. */
void conn_leave_now(struct conn *conn);

/* --- conn_proxy.c: whom a proxy speaks for -------------------------------- */

enum proxy_expected {
    PROXY_NOT_EXPECTED,
    PROXY_EXPECTED, /* or something else, as the options have it */
    PROXY_BARRED    /* nobody but a trusted proxy may come in */
};

/* What a connection from `peer` has to begin with. */
enum proxy_expected conn_proxy_expected(const struct seat *seat,
                                        const struct listener *listener,
                                        const struct socket_address *peer);

/* Counts a header that was refused, or is missing, and logs why. */
void conn_proxy_refused(struct seat *seat, const struct socket_address *peer,
                        const char *problem);

/* Whether what was not understood is a header, where none was expected; then it
 * is counted and logged. */
bool conn_proxy_unexpected(struct conn *conn, const char *data, size_t size);

/*
 * Who is at the other end, before it is in: as the header has told, else of the
 * socket. False when the socket is not connected any more.
 */
bool conn_peer(const struct conn *conn, struct socket_address *peer);

/* It is in: its address as text is enough. */
void conn_proxy_forget(struct conn *conn);

/* Keeps a copy of an address that is not the socket's own. 0, PEAL_ENOMEM. */
int conn_set_address(struct conn *conn, const char *text);

/* --- conn_admit.c: a client comes in -------------------------------------- */

/*
 * Puts a client on the connection: admits it, tells it welcome, and hands it to
 * on_connect. Returns 0, or an error and an HTTP status to refuse with.
 * `opening` is what the peer must get first (the 101), may be empty.
 */
int conn_admit(struct conn *conn, const struct peal_connect *connect,
               const struct socket_address *peer, struct peal_slice opening,
               int *status);

/*
 * Whether clients of this address may come at all, before anybody else is
 * asked. Returns as conn_admit.
 */
int conn_check_address(struct conn *conn, const struct peal_connect *connect,
                       const struct socket_address *peer, int *status);

/* The close code that says what this status says: 1013, or 1008. */
int conn_refusal_code(int status);

/* --- conn_tls.c: the handshake before all else ---------------------------- */

/* Whether no more handshakes may begin for now. */
bool conn_tls_is_full(const struct worker *worker,
                      const struct listener *listener);

/*
 * The handshake begins, with what has been read of it; conn_secured or conn_cut
 * follows. PEAL_ENOMEM.
 */
int conn_tls_begin(struct conn *conn, const char *data, size_t size);

/* The handshake is done; the connection ends, in the middle of it or later. */
void conn_tls_done(struct conn *conn);
void conn_tls_end(struct conn *conn);

/* Its stream has ended before its handshake. */
void conn_tls_failed(struct conn *conn);

/* `facts`, filled in, or NULL for a connection without TLS. */
const struct peal_tls_facts *conn_tls_facts(const struct conn *conn,
                                            struct peal_tls_facts *facts);

/* --- conn_input.c: what is read ------------------------------------------ */

/* What a loop calls for every connection. */
extern const struct stream_events conn_events;

/* Goes on with what was left over from an earlier turn. */
void conn_input_resume(struct conn_input *input);

/* Reads as its state has it. As conn_read_head and the others. */
size_t conn_read(struct conn *conn, char *data, size_t size);

/* Reads on, after is_waiting has been cleared. Harmless when it is closed. */
void conn_input_go_on(struct conn *conn);

/* The limits have changed: what is kept may grow as they say. */
void conn_input_refit(struct conn *conn);

/* Drops what is kept. */
void conn_input_free(struct conn *conn);

/*
 * One function per state: reads from `data` and returns the bytes consumed, or
 * 0 when it needs more.
 */
size_t conn_read_proxy(struct conn *conn, char *data, size_t size);
size_t conn_read_head(struct conn *conn, char *data, size_t size);
size_t conn_read_ws(struct conn *conn, char *data, size_t size);
size_t conn_read_ws_closing(struct conn *conn, char *data, size_t size);
size_t conn_read_tcp(struct conn *conn, char *data, size_t size);

/* --- conn_http.c: what is answered to requests --------------------------- */

/* Answers a request. After an error nothing more is read of the connection. */
void conn_answer(struct conn *conn, const struct http_answer *answer);

/* Refuses with a status, header lines and the status' reason as the body; a 429
 * or 503 with Retry-After besides. */
void conn_refuse(struct conn *conn, int status, const char *headers);

/* --- output.c: what is written ------------------------------------------- */

/*
 * Encodes a wire for one client and queues it. 0; PEAL_ENOTSUP when the dialect
 * cannot say it; PEAL_EFULL when the queue is full, then the client is being
 * closed; PEAL_EGONE when it is not open; PEAL_ENOMEM.
 */
int output_wire(struct conn *conn, const struct wire *wire);

/* Queues bytes as they are: HTTP answers. Errors as above. */
int output_bytes(struct conn *conn, struct peal_slice head,
                 struct peal_slice body);

/*
 * Queues a WebSocket control frame, for which a full queue has a reserve.
 * PEAL_EFULL when that is used up, too.
 */
int output_control(struct conn *conn, enum ws_opcode opcode,
                   struct peal_slice payload);

/* Fan-out: the event that the deliveries are of, and one delivery. */
void output_begin(struct worker *worker, const struct peal_event *event);
void output_deliver(struct seat *seat, struct conn *conn);

/* For backlog.c. A frame's size, and laying it at its place. */
size_t output_frame_size(const struct wire_plan *plan,
                         enum transport transport);
void output_frame_write(char *out, const struct dialect *dialect,
                        const struct wire_plan *plan, const struct wire *wire,
                        enum transport transport);
bool output_is_message(enum wire_kind kind);

/* The event that is being fanned out, as this client's form has it. 0,
 * PEAL_ENOTSUP or PEAL_ENOMEM. */
int output_fanout_frame(struct conn *conn, struct tape_slice *frame);

/* Room for a frame, NULL without memory, and queueing what was laid there; a
 * slice that lies elsewhere; a compressed message. After PEAL_ENOMEM from the
 * last three the connection may be cut. */
char *output_reserve(struct conn *conn, size_t size);
int output_commit(struct conn *conn, size_t size);
int output_slice(struct conn *conn, struct tape_slice slice);
int output_packed(struct conn *conn, struct peal_slice packed, bool is_binary);

/* The queue is full: closes with 1013. */
void output_overflow(struct conn *conn);

/* Lets the tapes start over; what is queued stays. Not within a fan-out. */
void output_rewind(struct worker *worker);

/* Gives back the memory of the tapes that is not in use. */
void output_trim(struct worker *worker);

/* Flushes when much has been encoded since the last time. */
void output_relieve(struct worker *worker);

/* Makes a wire of an application's event. */
void output_event(struct wire *wire, const struct peal_event *event);

/* --- dispatch.c: what a message does ------------------------------------- */

/* Acts on one message of a client, if the limits let it through. */
void dispatch(struct conn *conn, struct wire *wire);

/* Acts on one that they have let through. */
void dispatch_admitted(struct conn *conn, const struct wire *wire);

/*
 * 0 when an application may send this event, else PEAL_EINVAL: name and data
 * are checked, unless the data has just been read and found valid. `is_named`:
 * an empty name is not allowed.
 */
int dispatch_check(const struct worker *worker, const struct peal_event *event,
                   bool is_named);

/* Tells a client how its message with this id or ack fared. */
int dispatch_answer(struct conn *conn, const struct wire *asked,
                    const struct peal_event *event);
int dispatch_refuse(struct conn *conn, const struct wire *asked,
                    struct wire_failure failure);

/*
 * Joins a room, and counts what a limit refuses. 0 or room_join's errors;
 * `*limit` (NULL before) names the limit.
 */
int dispatch_join(struct conn *conn, struct peal_slice room,
                  const char **limit);

/* Counts what a limit refused: `limit` as the hub names it. */
void dispatch_count_limit(struct seat *seat, const char *limit);

#endif
