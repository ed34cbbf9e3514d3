/*
 * A link, from the inside. Everything is [L]: it happens on the loop, and calls
 * from elsewhere come as commands through its mailbox (link_command.c).
 *
 *   link.c          phases: opening, losing, backing off, closing, heartbeat
 *   link_dial.c     from an address to an open session
 *   link_read.c     what the server says
 *   link_write.c    what is said to it, and the draining of the outbox
 *   link_deflate.c  compression
 *   link_file.c     files
 *   link_request.c  requests to the server
 *   link_room.c     joins and leaves
 *   link_ask.c      the server's requests
 *   link_handler.c  who listens to what
 *   link_settings.c options
 *   link_api.c      the public functions, by way of link_command.c
 *
 * After any callback of the program's the link may be in another phase, on
 * another connection, or freed: `generation` changes with every connection that
 * ends, and the memory lasts until the end of the turn.
 */
#ifndef CLIENT_LINK_H
#define CLIENT_LINK_H

#include "base/buffer.h"
#include "base/map.h"
#include "client/address.h"
#include "client/outbox.h"
#include "client/runner.h"
#include "net/stream.h"
#include "net/tls.h"
#include "proto/dialect.h"
#include "proto/ws_deflate.h"
#include "proto/ws_frame.h"
#include "proto/ws_handshake.h"

#define LINK_HEAD_BYTES_MAX 16384
#define LINK_REASON_SIZE 128

enum link_phase {
    LINK_IDLE,
    LINK_WAITING,    /* until the next attempt */
    LINK_RESOLVING,  /* the host's name */
    LINK_CONNECTING, /* the socket */
    LINK_PROXYING,   /* CONNECT has been said */
    LINK_SECURING,   /* the TLS handshake has been begun */
    LINK_UPGRADING,  /* the WebSocket handshake has been begun */
    LINK_GREETING,   /* until the welcome */
    LINK_OPEN,
    LINK_CLOSING /* a goodbye has been said */
};

/* Options with their defaults, and copies of all texts. */
struct link_settings {
    struct peal_link_options options;
    struct address target;
    struct address proxy; /* host NULL: none */
    const struct dialect *dialect;
    struct ws_limits limits;
    char *headers;
    char *origin;
    char *protocols;
    struct peal_tls *tls; /* NULL for an address without */
    char *server_name;    /* NULL: the target's host */
};

/* 0, or errors as peal_link_new. */
int link_settings_new(struct link_settings **out,
                      const struct peal_link_options *options,
                      struct peal_loop *runner);
void link_settings_free(struct link_settings *settings);

/*
 * Takes over new settings. While there is a connection, or one on its way, its
 * address and dialect stay: those of the new settings wait for the next one.
 */
void link_settings_replace(struct peal_link *link,
                           struct link_settings *settings);

/* Before an attempt: what has waited comes into force. */
void link_settings_settle(struct peal_link *link);

/* A look-up of a host name that is on its way. */
struct link_lookup {
    struct runner_mail mail;
    struct resolver_job job;
    struct peal_link *link; /* NULL: nobody waits for it any more */
};

/* What only an attempt needs. */
struct link_dial {
    struct link_lookup *lookup;
    size_t count;
    size_t next; /* address to try */
    struct socket_address addresses[RESOLVER_ADDRESSES_MAX];
    size_t scanned;
    int error; /* of the last address */
    char key[WS_KEY_SIZE];
    char offered[256]; /* subprotocols; "": none */
    bool has_deflate;  /* was offered, and how: */
    bool deflate_takeover;
    int deflate_bits;
};

enum request_kind { REQUEST_EVENT, REQUEST_JOIN, REQUEST_LEAVE };

#define REQUEST_ID_SIZE 24

struct request {
    struct list link;
    struct timer timer;
    struct peal_link *owner;
    enum request_kind kind;
    bool is_written;
    peal_link_answer_function *on_answer; /* NULL: nobody wants to know */
    void *user;
    struct parcel *parcel; /* in the outbox, or NULL */
    uint32_t id_size;
    char id[REQUEST_ID_SIZE]; /* raw, as the dialect writes it */
    char room[];              /* of a join or leave; else "" */
};

struct link_room {
    struct list link;
    struct timer timer; /* until it is tried again */
    struct peal_link *owner;
    uint32_t attempts; /* on this connection, that failed for the moment */
    char name[];
};

/* A request of the server that waits for our answer. */
struct link_ask {
    struct list link;
    uint64_t value;
    struct parcel *kept; /* an answer that has to wait for a file */
    int error;       /* what became of one, to be told after the file; or 0 */
    bool is_failure; /* then a failure: its name, and message as data */
    bool is_temporary;
    int code;
    uint32_t id_size;
    char id[]; /* raw */
};

enum handler_kind { HANDLER_EVENT, HANDLER_ANY, HANDLER_REQUEST };

struct handler {
    struct list link;
    enum handler_kind kind;
    bool is_once;
    bool is_removed; /* to be freed when no dispatch is under way */
    peal_link_event_function *on_event;
    peal_link_ask_function *on_ask;
    void *user;
    char name[];
};

/* A file to be sent, and how far it is. */
struct file_job {
    struct peal_file file; /* texts below */
    char *name;
    char *path;
    int fd; /* -1: not opened yet */
    uint64_t sent;
    uint64_t total;
    size_t masked; /* bytes of the payload before the file's first */
    uint8_t key[4];
};

struct link_counters {
    _Atomic uint64_t outbox_count;
    _Atomic uint64_t outbox_bytes;
    _Atomic uint64_t requests_pending;
    _Atomic uint64_t connected_at_ms;
    _Atomic uint64_t connect_ms;
    _Atomic uint64_t round_trip_us;
    _Atomic int64_t last_error;
    _Atomic uint64_t connects;
    _Atomic uint64_t attempts;
    _Atomic uint64_t sent;
    _Atomic uint64_t received;
    _Atomic uint64_t bytes_out;
    _Atomic uint64_t bytes_in;
    _Atomic uint64_t queued;
    _Atomic uint64_t dropped;
    _Atomic uint64_t unproven;
    _Atomic uint64_t requests_failed;
    _Atomic uint64_t invalid;
    _Atomic uint64_t deflated;
    _Atomic uint64_t deflated_bytes;
    _Atomic uint64_t deflated_wire_bytes;
    _Atomic uint64_t inflated;
    _Atomic uint64_t inflated_bytes;
    _Atomic uint64_t inflated_wire_bytes;
    _Atomic uint64_t gaps;
    _Atomic uint64_t missed;
};

struct peal_link {
    struct stream stream;
    struct peal_loop *runner; /* [I] */
    struct link_settings *settings;
    struct link_settings *next_settings; /* for the next connection, or NULL */
    enum link_phase phase;
    _Atomic int state; /* enum peal_link_state */
    uint32_t generation;
    uint32_t attempt; /* in a row, without a stable connection between */
    bool is_wanted;   /* the program wants it connected */
    bool is_freed;    /* no callback any more */
    bool is_draining; /* what waited for the connection is not out yet */
    bool is_pinged;   /* a pong is due */
    uint32_t dispatching;
    struct timer timer; /* of the phase; while open, the heartbeat's */
    struct timer pump;  /* the outbox's pace, or the rest of a file */
    uint64_t dialled_at_ms;
    uint64_t opened_at_ms;
    uint64_t heard_at_ms;
    uint64_t pinged_at_ms;
    uint64_t pinged_at_ns;
    uint32_t ping_interval_ms; /* 0: not */
    uint32_t ping_timeout_ms;
    uint64_t message_bytes_max; /* the server's; 0: not known */
    uint64_t events_written;    /* on this connection */
    uint64_t events_marked;     /* of them, before the last ping */
    uint64_t events_proven;     /* of them, read by the server */
    size_t drained;
    struct tls_session *session;  /* to begin the next connection with */
    struct link_deflate *deflate; /* NULL: messages are not compressed */
    struct ws_parser parser;
    struct buffer input; /* an incomplete head or frame */
    struct link_dial *dial;
    char *id;
    struct outbox outbox;
    struct file_job *file; /* the one that is being sent */
    char *pong;            /* owed, but a file is on its way */
    size_t pong_size;
    struct list requests;
    struct map requests_by_id;
    struct list doomed; /* requests whose outcome is PEAL_EGONE, soon */
    struct list rooms;
    struct list asks;
    uint32_t ask_count;
    struct list handlers;
    uint64_t next_id;
    int goodbye_code;
    char goodbye_reason[LINK_REASON_SIZE];
    uint32_t retry_after_ms;    /* the goodbye's; 0: unsaid */
    struct runner_mail release; /* the last mail that it gets */
    struct list dead;           /* in runner->dead */
    _Atomic bool *is_gone; /* tells the thread that waits in peal_link_free */
    struct link_counters counters;
};

/* --- link.c --------------------------------------------------------------- */

/* Why a connection or attempt ended. */
struct link_loss {
    int error;
    int code;
    int http_status;
    const char *reason;
    uint32_t retry_after_ms; /* what the server asks everybody for */
};

/* Of zeroed memory. */
void link_init(struct peal_link *link, struct peal_loop *runner,
               struct link_settings *settings);

/* Begins to connect, in a later turn. */
void link_open(struct peal_link *link);

/* The program wants it closed. */
void link_close(struct peal_link *link, int code, struct peal_slice reason);

/* Closes at once, gives all outcomes, and silences it. */
void link_end(struct peal_link *link);

/* Frees everything but the link's own memory, which its runner frees. */
void link_free(struct peal_link *link);
void link_free_dead(struct peal_loop *runner);

/* The connection or attempt is over, whatever the phase. */
void link_lose(struct peal_link *link, const struct link_loss *loss);

/* The session is open: the handshakes are done. */
void link_become_open(struct peal_link *link);

/* (Re)starts the timer of the phase; PEAL_OFF: stops it. */
void link_start_timer(struct peal_link *link, uint32_t delay_ms);

/* Something was read that ends the session from the server's side. */
void link_part(struct peal_link *link, int code, struct peal_slice reason);

/* What has been said by link_part does not count any more. */
void link_forget_parting(struct peal_link *link);

/* The server has shown that it lives; a pong also, how far it has read. */
void link_hear_pong(struct peal_link *link);

/* How long to wait before attempt `attempt`, from 1 on, at anything. */
uint32_t link_backoff_ms(const struct peal_link *link, uint32_t attempt);

/* Tells on_error and remembers. */
void link_report(struct peal_link *link, int error, const char *what);

/* --- link_dial.c ---------------------------------------------------------- */

/* Begins an attempt, and lets go of what one needs. */
void link_dial_start(struct peal_link *link);
void link_dial_end(struct peal_link *link);

/* For the resolver: nobody waits for it any more. */
void link_drop_lookup(struct resolver_job *job);

/* The socket has become writable while connecting. */
void link_dial_connected(struct peal_link *link);

/* The socket failed while connecting: the next address, or the end. */
void link_dial_failed(struct peal_link *link, int error);

/* The TLS handshake is done. */
void link_dial_secured(struct peal_link *link);

/* Tries the next address. */
void link_dial_retry(struct peal_link *link);

/* Reads heads of answers. Consumed bytes, or -1: it is lost. */
long link_dial_read(struct peal_link *link, const char *data, size_t size);

/* --- link_deflate.c ------------------------------------------------------- */

/* Writes the header line that offers what the options say, or "". */
void link_deflate_offer(struct peal_link *link, char line[WS_DEFLATE_LINE_MAX]);

/* What the answer says of extensions. 0, PEAL_EPROTOCOL or PEAL_ENOMEM. */
int link_deflate_check(struct peal_link *link,
                       const struct http_response *response);

/* The connection is gone, and its codecs with it. */
void link_deflate_end(struct peal_link *link);

/* Compresses a message. False: it is to be sent as it is. */
bool link_deflate_pack(struct peal_link *link, const struct wire_plan *plan,
                       const struct wire *wire, struct peal_slice *packed);

/* What was compressed last is not sent after all. */
void link_deflate_forget(struct peal_link *link);

/* Inflates a message, until ws_codecs_release. 0, or as ws_inflater_run. */
int link_deflate_unpack(struct peal_link *link, struct ws_item *item,
                        const char **problem);

/* --- link_read.c ---------------------------------------------------------- */

/* For the stream of a link. */
extern const struct stream_events link_stream_events;

/* --- link_write.c --------------------------------------------------------- */

/* Writes one message now. 0, or the error for which nothing was written. */
int link_write(struct peal_link *link, const struct wire *wire);

/* Writes a control frame of WebSocket. */
int link_write_control(struct peal_link *link, enum ws_opcode opcode,
                       const char *data, size_t size);

/* Lays plain bytes, such as a handshake, or a piece of a file. */
int link_write_bytes(struct peal_link *link, const char *data, size_t size);

/* Sends a ping, or remembers that one is due. */
void link_write_ping(struct peal_link *link);

/* Answers a ping. */
void link_write_pong(struct peal_link *link, const char *data, size_t size);

/*
 * Sends an event, or has it wait. `request` may be NULL; `file`, too. On
 * failure both are still the caller's. `is_posted`: from elsewhere, so that a
 * refusal is told by a callback.
 */
int link_submit(struct peal_link *link, const struct peal_event *event,
                struct request *request, struct file_job *file);

/* Goes on with what waits: the file, then the outbox. */
void link_pump(struct peal_link *link);

/* Drops a parcel that will not be sent, and tells so. */
void link_drop(struct peal_link *link, struct parcel *parcel, int error);

/* Tells on_dropped of an event. */
void link_tell_dropped(struct peal_link *link, const struct peal_event *event,
                       int error);

/* Copies the gauges for other threads. */
void link_count_outbox(struct peal_link *link);

/* --- link_file.c ---------------------------------------------------------- */

/* NULL when there is no memory. */
struct file_job *link_file_new(const struct peal_file *file);

/* Opens it and writes the frame's head. False: it is done, and told. */
bool link_file_start(struct peal_link *link, struct file_job *job);

/* Writes pieces while they go out. True when the file is done or lost. */
bool link_file_pump(struct peal_link *link);

/* Frees it without a word. */
void link_file_free(struct file_job *job);

/* Frees it and tells the outcome. */
void link_file_end(struct peal_link *link, struct file_job *job, int status);

/* --- link_request.c ------------------------------------------------------- */

/* Makes a request and starts its timer. NULL: no memory. */
struct request *link_request_new(struct peal_link *link, enum request_kind kind,
                                 const char *room, uint32_t timeout_ms,
                                 peal_link_answer_function *on_answer,
                                 void *user);

/* Frees it without a word. */
void link_request_discard(struct request *request);

/* Its outcome. */
void link_request_settle(struct request *request,
                         const struct peal_answer *answer);
void link_request_fail(struct request *request, int error);

/* An answer of the server, good or bad. */
void link_request_answer(struct peal_link *link, const struct wire *wire);

/* A confirmation of a dialect whose joins have no ids. */
void link_request_confirm(struct peal_link *link, const struct wire *wire);

/* The connection is gone: those that were written are doomed. */
void link_request_lose(struct peal_link *link);
void link_request_settle_doomed(struct peal_link *link);

/* --- link_room.c ---------------------------------------------------------- */

/* As the public functions, on the loop. */
int link_room_join(struct peal_link *link, const char *room,
                   peal_link_answer_function *on_answer, void *user);
int link_room_leave(struct peal_link *link, const char *room,
                    peal_link_answer_function *on_answer, void *user);

/* A join failed: it is tried again if nobody waits for it and that may help. */
void link_room_fail_join(struct peal_link *link, const struct request *request,
                         const struct peal_answer *answer);

/* Forgets them all. */
void link_room_clear(struct peal_link *link);

/* Joins all rooms of the link on a new connection. */
void link_room_rejoin(struct peal_link *link);

/* Writes joins and leaves that have not been written on this connection. */
void link_room_write_memberships(struct peal_link *link);

/* --- link_ask.c ----------------------------------------------------------- */

/* A request of the server's. */
void link_ask_new(struct peal_link *link, const struct wire *wire,
                  struct peal_ask *ask);
int link_ask_answer(struct peal_link *link, uint64_t value,
                    const struct peal_event *event,
                    const struct peal_failure *failure);
void link_ask_clear(struct peal_link *link);

/* An answer failed when nobody was left to be told but the server. */
void link_ask_spoil(struct peal_link *link, uint64_t value, int error);

/* Writes the answers that have waited for a file. */
void link_ask_write_kept(struct peal_link *link);

/* --- link_handler.c ------------------------------------------------------- */

/* As peal_link_on, _once, _on_any, _on_request and _off. */
int link_handler_add(struct peal_link *link, enum handler_kind kind,
                     const char *name, bool is_once,
                     peal_link_event_function *on_event,
                     peal_link_ask_function *on_ask, void *user);
void link_handler_remove(struct peal_link *link, enum handler_kind kind,
                         const char *name, peal_link_event_function *on_event,
                         void *user);

/* Frees them all. */
void link_handler_clear(struct peal_link *link);

/* Hands an event to whoever listens. */
void link_handler_dispatch(struct peal_link *link, const struct wire *wire);

/* --- Small helpers -------------------------------------------------------- */

static inline const struct peal_link_options *
link_options(const struct peal_link *link)
{
    return &link->settings->options;
}

static inline enum transport link_transport(const struct peal_link *link)
{
    return link->settings->target.is_ws ? TRANSPORT_WS : TRANSPORT_TCP;
}

static inline uint64_t link_now_ms(const struct peal_link *link)
{
    return link->runner->loop->now_ms;
}

static inline void link_add(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_store_explicit(
        counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
        memory_order_relaxed);
}

#endif
