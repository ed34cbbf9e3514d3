/*
 * The server's inside: what its files share.
 *
 * A `struct peal_server` is a namespace: clients and rooms with options and
 * handlers of their own. What all namespaces of a server have in common, its
 * loops, listeners and life, is the `struct engine`. A worker is a loop with
 * its connections and tapes, and runs on one thread; a seat is what a namespace
 * has on a worker: its hub, its options in force, its counters.
 *
 * How fields may be touched: [I] set before the start; [L] by the worker's loop
 * only; [a] atomic; [m] under `lock`.
 */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "base/log.h"
#include "base/map.h"
#include "hub/hub.h"
#include "net/loop.h"
#include "net/tape.h"
#include "peal/policy.h"
#include "peal/server.h"
#include "proto/dialect.h"
#include "proto/ws_frame.h"
#include "server/config.h"
#include "server/guard.h"
#include "server/measure.h"
#include "server/room_policy.h"
#include "server/router.h"

#include <pthread.h>
#include <semaphore.h>

/*
 * A form is a dialect on a transport, compressed or not: clients of one form
 * get the same bytes, so a message to a room is encoded once for each form
 * among its members. Those of FORM_WS_ALONE get a compression of their own.
 */
enum form {
    FORM_WS,
    FORM_TCP,
    FORM_WS_DEFLATE, /* bit 1: compressed */
    FORM_WS_ALONE,
    FORMS_PER_DIALECT
};

#define DIALECT_COUNT 3
#define FORM_COUNT (DIALECT_COUNT * FORMS_PER_DIALECT)

/* Frames kept in a fan-out for clients that asked for a smaller window. */
#define NARROW_FRAMES 12

/* Control frames may exceed a full queue by this much, so that a close, a ping
 * or the newest pong still gets through. */
#define CONTROL_RESERVE_BYTES 4096

/* Output beyond this is flushed in the middle of a turn. */
#define FLUSH_BYTES (128 * 1024)

/* Connections that may be in their handshake beyond clients_max. */
#define HANDSHAKES_MAX 4096

/* Namespaces of a server, itself included: a byte in conns and mails. */
#define SPACES_MAX HUB_CLUSTERS_MAX

/* Counters of a seat: [L] written, [a] read. See struct peal_server_stats. */
enum counter {
    COUNT_CLIENTS,
    COUNT_EVENTS_IN,
    COUNT_REQUESTS_IN,
    COUNT_PUBLISHES_IN,
    COUNT_ANSWERS_IN,
    COUNT_INVALID_IN, /* these five are messages_in */
    COUNT_MESSAGES_OUT,
    COUNT_BYTES_IN,
    COUNT_BYTES_OUT,
    COUNT_MESSAGES_INVALID,
    COUNT_MESSAGES_UNSAYABLE,
    COUNT_REQUESTS_TIMED_OUT,
    COUNT_REFUSED_CLIENTS,
    COUNT_REFUSED_CLIENTS_PER_ADDRESS,
    COUNT_REFUSED_ROOMS,
    COUNT_REFUSED_ROOMS_PER_CLIENT,
    COUNT_REFUSED_ROOM_NAMES,
    COUNT_REFUSED_METADATA,
    COUNT_REFUSED_REQUESTS,
    COUNT_CLOSED_MESSAGE_BYTES,
    COUNT_CLOSED_HEADER_BYTES,
    COUNT_CLOSED_QUEUE_BYTES,
    COUNT_CLOSED_HANDSHAKE_TIMEOUT,
    COUNT_CLOSED_PING_TIMEOUT,
    COUNT_CLOSED_PROTOCOL,
    COUNT_ACCEPT_EXHAUSTED,
    COUNT_REFUSED_APPLICATION,
    COUNT_REFUSED_MESSAGES,
    COUNT_CLOSED_RATE,
    COUNT_CLOSED_CONTROL_RATE,
    COUNT_HTTP_REQUESTS,
    COUNT_HTTP_TIMED_OUT,
    COUNT_CLOSED_HTTP_BODY,
    COUNT_REFUSED_ORIGINS,
    COUNT_DEFLATED_MESSAGES,
    COUNT_DEFLATED_BYTES,
    COUNT_DEFLATED_WIRE_BYTES,
    COUNT_DEFLATE_NS,
    COUNT_INFLATED_MESSAGES,
    COUNT_INFLATED_WIRE_BYTES,
    COUNT_INFLATED_BYTES,
    COUNT_INFLATE_NS,
    COUNT_TLS_HANDSHAKES,
    COUNT_TLS_RESUMED,
    COUNT_TLS_FAILED,
    COUNT_REFUSED_TLS_HANDSHAKES,
    COUNT_REFUSED_PROXY_PROTOCOL,
    COUNT_REFUSED_HANDSHAKES_PER_ADDRESS,
    COUNT_DROPPED_OLDEST,
    COUNT_DROPPED_NEWEST,
    COUNT_CONFLATED,
    COUNT_GAPS_DROP_OLDEST, /* these three by enum peal_pressure */
    COUNT_GAPS_DROP_NEWEST,
    COUNT_GAPS_CONFLATE,
    COUNT_REFUSED_MEMORY,
    COUNT_CLOSED_MEMORY,
    COUNT_TRACKER_FAILED,
    COUNT_CLOSED_DRAIN_TIMEOUT,
    COUNT_KTLS,
    COUNT_KTLS_FALLBACKS,
    /* Gauges: they go down, too. */
    GAUGE_WS_CLIENTS,
    GAUGE_TCP_CLIENTS,
    GAUGE_CONNECTIONS,
    GAUGE_REQUESTS,
    GAUGE_DEFLATE_STATE_BYTES,
    GAUGE_TLS_HANDSHAKES,
    GAUGE_BACKLOG_BYTES,
    GAUGE_DECISIONS, /* put off, and not made */
    GAUGE_KTLS,
    COUNTER_COUNT
};

struct handler {
    peal_event_function *on_event;
    void *event_user;
    peal_request_function *on_request;
    void *request_user;
    uint32_t method; /* with on_request: of measures.requests; METHOD_OTHER */
    size_t name_size;
    char name[];
};

/* Where WebSocket clients may connect: the value of a pattern. */
struct route {
    struct peal_server *server;
    const struct dialect *dialect; /* NULL: the listener's */
    enum peal_deflate deflate;
};

/* One address that is listened on, by all workers. */
struct listener {
    struct peal_server *server; /* whose those are that come here */
    struct socket_address address;
    enum transport transport;
    const struct dialect *dialect;
    bool is_internal; /* answers for the endpoints and nothing else */
    struct peal_tls *tls; /* held; NULL: not encrypted */
    enum peal_proxy_protocol proxy_protocol; /* default: the options' */
    int fds[HUB_MAX]; /* one for each worker; -1 once it is the loop's */
};

struct ws_codecs;     /* proto/ws_codecs.h */
struct ws_codecs_own; /* the same */
struct door;           /* a listener on one worker: accept.c */
struct pending_table;
struct pressing; /* backlog.c */
struct conn;
struct middleware; /* admission.c */

/* The event that is being fanned out, and its frames as far as encoded. */
struct fanout {
    struct wire wire;
    struct tape_slice frames[FORM_COUNT]; /* size 0: not encoded yet */
    bool is_unsayable[FORM_COUNT];
    /* The same for clients of FORM_WS_ALONE without takeover, by window. */
    struct {
        uint8_t form;
        uint8_t window;
        struct tape_slice frame;
    } narrow[NARROW_FRAMES];
    size_t narrow_count;
    bool is_pressing; /* worker->pressing is about this one */
};

struct worker {
    struct engine *engine; /* [I] */
    struct loop *loop;     /* [I] */
    int index;             /* [I] of the loop, and of its hubs */
    struct seat *seats[SPACES_MAX]; /* [I] by peal_server.number */
    pthread_t thread;      /* [I] */
    bool has_thread;
    int ring_rc; /* told by `rings` of the engine */
    bool is_stop_seen;      /* [L] and stop_mail is on its way */
    bool is_stop_due;       /* [L] and has come once */
    bool is_stopping;       /* [L] */
    struct loop_mail stop_mail; /* begins the stop, behind all other mail */
    bool is_cut;            /* [L] a stop was cut short */
    struct timer cut_timer; /* [L] ends a graceful stop */
    struct timer pace_timer;  /* [L] ends its delay, and tells some more */
    uint64_t stop_began_ms;   /* [L] when the first client was told */
    uint64_t stop_told;       /* [L] clients */
    uint32_t retry_after_ms;  /* [L] of the goodbye being said; 0: none */
    struct timer trim_timer; /* [L] gives back what a burst of output took */
    struct timer hold_timer; /* [L] looks again whether it is held back */
    struct timer memory_timer;     /* [L] looks again while it is too much */
    uint64_t memory_looked_ms;     /* [L] at what is used */
    uint64_t memory_closed_ms; /* [L] when the first of those who have not been
                                  cut yet was closed for it; 0: none */
    bool memory_is_reviewed;       /* [L] most_queued is of this shortage */
    _Atomic uint64_t most_queued;  /* [a] bytes, of one client, at that look */
    _Atomic uint64_t going_bytes;  /* [a] of those who have been told to go */
    struct timer tracker_timer; /* [L] see tracker.h */
    struct door *doors;     /* [L] one for each listener */

    struct list conns;    /* [L] every connection that has a socket */
    struct list leaving;  /* [L] conns whose on_disconnect is due */
    struct list dead;     /* [L] conns to free when the turn ends */
    struct list leftover; /* [L] conn_inputs with work for the next turn */
    struct list news;     /* [L] what is to be told in the next turn */

    struct tape direct;            /* [L] frames for one client */
    struct tape tapes[FORM_COUNT]; /* [L] frames for many, by form */
    uint32_t tapes_used;           /* [L] since the last rewind, a bit each */
    size_t unflushed_bytes;        /* [L] encoded since the last flush */
    struct fanout fanout;          /* [L] */
    struct pressing *pressing;     /* [L] NULL: no reader was slow yet */

    /* [L] The message being handled: its name and data are known as valid. */
    struct peal_slice checked_name;
    struct peal_slice checked_data;
    enum peal_data checked_kind;

    struct pending_table *pending; /* [L] requests, both ways */
    struct reply_table *replies;   /* [L] owed to HTTP; NULL: none yet */

    uint64_t last_ticket;
    uint64_t last_admission;
    struct map admissions; /* [L] of clients whose middleware is asked */
    uint64_t updates;      /* [L] engine->updates when it last looked */
    _Atomic uint64_t open_count;    /* [L] written, [a] read: connections */
    struct histogram turns;         /* [L] written, [a] read */
    _Atomic uint64_t busy_since_ms; /* [a] when its turn began; 0: it waits */
};

/* A namespace's place on a worker. */
struct seat {
    struct peal_server *server; /* [I] */
    struct worker *worker;      /* [I] */
    struct hub *hub;            /* [I] */
    struct config *config;      /* [L] the options in force */

    /* [L] The handler of the last event: the next one often has the same. */
    const struct handler *last_handler;

    /* [L] Whether messages have to pass guard_admits, and what it needs. */
    bool is_guarded;
    struct event_rates *event_rates; /* NULL: no event has its own */

    struct ws_codecs *deflate; /* [L] NULL: there was no need yet */
    struct room_policy_cache *policies; /* [L] the same */
    _Atomic uint64_t counters[COUNTER_COUNT];
    struct measures measures;

    char padding[64]; /* keeps the next worker's seat off our cache lines */
};

enum server_state { SERVER_NEW, SERVER_RUNNING, SERVER_STOPPED };

/* What all namespaces of a server share. */
struct engine {
    struct log log;                 /* [I] */
    struct router routes;           /* [I] of struct route */
    struct router resources;        /* [I] of struct resource */
    struct listener **listeners;    /* [I] */
    size_t listener_count;
    struct worker *workers; /* [I] as many as the option `loops` says */
    int worker_count;
    struct peal_server *spaces[SPACES_MAX]; /* [I] the first has made it */
    int space_count;                        /* [I] */
    uint64_t started_ms;
    sem_t rings;                   /* up once a thread knows its ring_rc */
    _Atomic int state;             /* [a] enum server_state */
    _Atomic bool is_stop_asked;    /* [a] */
    _Atomic int stops_due;         /* [a] loops whose is_stop_due */
    _Atomic bool is_cut_asked;     /* [a] */
    _Atomic bool is_unready;       /* [a] the application says so */
    _Atomic bool is_out_of_memory; /* [a] beyond memory_bytes_max: governor.h */
    _Atomic uint64_t updates;      /* [a] of options, of all namespaces */
    _Atomic size_t mailbox_bytes_max; /* [a] */
    struct listener adopted[DIALECT_COUNT]; /* [I] whom conns come by that */
    _Atomic unsigned adopted_count; /* [a] others have accepted: adopt.c */
    _Atomic unsigned ktls_told; /* [a] bits: of enum stream_ktls, logged */
    bool is_attached; /* [I] the program takes the turns: attach.c */
    _Atomic bool may_wait; /* [a] started, and nobody waits for it so far */
    struct peal_address_tracker tracker; /* [I] all NULL: none given */
    struct hub_limits arrival_limits;    /* [a] */
    struct hub_door arrivals;         /* see arrival.h */
};

struct peal_server {
    struct engine *engine; /* [I] */
    uint8_t number;        /* [I] in engine->spaces */
    char *name;            /* [I] NULL: the first one, which has none */
    /* [I] As at the start: for what cannot change. All else is in the config
     * of a seat. */
    struct peal_server_options options;
    struct config *first_config;        /* [I] */
    struct config_head config;          /* as marked there */
    struct peal_deflate_options deflate; /* [I] no field is 0 */
    const struct dialect *dialect;      /* [I] */
    struct map handlers;                /* [I] of struct handler, by name */
    struct handler *any;                /* [I] NULL: none */
    const struct handler *methods[METHODS_MAX]; /* [I] by method - 1 */
    uint32_t method_count;                      /* [I] */
    struct hub_cluster cluster;
    struct seat *seats;            /* [I] one for each worker */
    _Atomic uint64_t refused_mail; /* [a] */
    struct peal_hooks hooks;       /* [I] all NULL: none given */
    struct guard guard;
    struct room_policy_head room_policies;
    struct middleware *middleware; /* [I] */
};

/* --- server.c ------------------------------------------------------------ */

/*
 * From new to running, with threads for the loops from `first` on. Errors as
 * peal_server_run; then the server has stopped.
 */
int server_start(struct peal_server *server, int first);

/* From running to stopped: waits for the threads that were started. */
void server_end(struct engine *engine);

/* --- space.c ------------------------------------------------------------- */

/* A namespace with nothing yet; NULL: no memory. `name` is copied. */
struct peal_server *space_new(struct engine *engine, const char *name);

/* Takes its options. PEAL_EINVAL with the name of one in `*problem`. */
int space_configure(struct peal_server *server,
                    const struct peal_server_options *given,
                    const char **problem);

/* Frees it at any point. All its clients have gone. */
void space_free(struct peal_server *server);

/* Room for its field in a line of the log: a name in quotes. */
#define SPACE_FIELD_SIZE (sizeof " namespace=" + PEAL_SPACE_NAME_MAX + 2)

/* Writes " namespace=NAME", or nothing for the server itself; returns `out`. */
const char *space_field(const struct peal_server *server,
                        char out[SPACE_FIELD_SIZE]);

/* --- handler.c ----------------------------------------------------------- */

/* The key of peal_server.handlers, and the end of that. */
struct peal_slice handler_key(const void *value);
void handler_free_all(struct map *handlers);

/* --- options.c ----------------------------------------------------------- */

/*
 * Copies `given` over the defaults. PEAL_EINVAL with the name of the option in
 * `*problem`.
 */
int options_resolve(struct peal_server_options *out,
                    const struct peal_server_options *given,
                    const char **problem);

/* A dialect's functions; `fallback` for PEAL_DIALECT_DEFAULT; NULL: unknown. */
const struct dialect *options_dialect(enum peal_dialect dialect,
                                      const struct dialect *fallback);

/* The public name of a dialect, and its index among forms. */
enum peal_dialect options_dialect_name(const struct dialect *dialect);

/* --- hooks.c ------------------------------------------------------------- */

/* Copies the application's hooks; PEAL_EINVAL for a size that is none. */
int hooks_set(struct peal_server *server, const struct peal_hooks *given);

/* [L] One of the two limits on connections has refused a client. */
void hooks_connection_limited(struct seat *seat,
                              const struct hub_refused *refused,
                              const struct peal_connect *connect,
                              const struct socket_key *key);

/* [L] One of the two limits on rooms has refused a join. */
void hooks_room_limited(struct peal_client *client, const char *limit,
                        struct peal_slice room);

/* [L] A message is too large; `size` and `event` as in peal_too_large. */
void hooks_too_large(struct peal_client *client, uint64_t size,
                     struct peal_slice event);

/* [L] Whether the application lets the message through; if not, its client has
 * been told. */
bool hooks_admit_message(struct conn *conn, const struct wire *wire);

/* [L] A message was not understood. */
void hooks_invalid(struct peal_client *client,
                   const struct wire_failure *failure);

/* As hub_publish or hub_publish_any, if the application lets it. Any thread. */
int hooks_publish(struct peal_server *server, struct peal_client *from,
                  const struct peal_event *event,
                  const struct peal_client_ref *except, size_t except_count);

/* --- worker.c ------------------------------------------------------------ */

/* 0, PEAL_ENOMEM or PEAL_ESYSTEM; nothing is left over on failure. */
int worker_open(struct worker *worker, struct engine *engine, int index);

/*
 * Has its loop send by io_uring as the option io_backend says, before the first
 * turn, on the thread that is to run it. An error of loop_open_ring only if
 * that is demanded; logged.
 */
int worker_open_ring(struct worker *worker);

/* The loop has ended, and its thread. */
void worker_close(struct worker *worker);

/* The worker whose loop runs on this thread, or NULL. */
struct worker *worker_current(const struct engine *engine);

/*
 * [L] Whether some mailbox is so full that this worker should not read from its
 * clients for now.
 */
bool worker_is_held_back(const struct worker *worker);

/* [L] The options in force of what namespaces share. */
static inline const struct peal_server_options *
worker_options(const struct worker *worker)
{
    return &worker->seats[0]->config->options;
}

/* --- seat.c -------------------------------------------------------------- */

/* One on each worker, with their hubs. 0 or PEAL_ENOMEM; see seat_close_all. */
int seat_open_all(struct peal_server *server);

/*
 * Before the start: measures so many methods, one more than before. 0 or
 * PEAL_ENOMEM.
 */
int seat_grow_measures(struct peal_server *server, size_t methods);

/* All clients have gone. Harmless when there are none. */
void seat_close_all(struct peal_server *server);

/* The seat whose loop runs on this thread, or NULL. */
struct seat *seat_current(const struct peal_server *server);

/*
 * Any thread. Posts to a loop; PEAL_EFULL when its mailbox is full. Loops may
 * go beyond the bound: they are held back by not reading from their clients.
 */
int seat_post(struct seat *seat, struct message_mail *mail);

/* The seat of a client. */
static inline struct seat *seat_of(const struct peal_client *client)
{
    return client->hub->user;
}

static inline void seat_add(struct seat *seat, enum counter counter,
                            uint64_t amount)
{
    uint64_t value = atomic_load_explicit(&seat->counters[counter],
                                          memory_order_relaxed);

    atomic_store_explicit(&seat->counters[counter], value + amount,
                          memory_order_relaxed);
}

static inline void seat_count(struct seat *seat, enum counter counter)
{
    seat_add(seat, counter, 1);
}

static inline void seat_uncount(struct seat *seat, enum counter gauge)
{
    seat_add(seat, gauge, UINT64_MAX);
}

/* --- accept.c ------------------------------------------------------------ */

/* [L, or before the loop runs] Starts accepting on all listeners. */
int accept_open(struct worker *worker);

/* [L] Stops. Harmless when it has. */
void accept_close(struct worker *worker);

/* --- attach.c ------------------------------------------------------------ */

/* Takes all turns of an attached server that are left until it has stopped. */
void attach_finish(struct engine *engine);

/* --- stats.c ------------------------------------------------------------- */

/* The sum of a counter over all workers. Any thread. */
uint64_t stats_sum(const struct peal_server *server, enum counter counter);

/* The same over all namespaces. Any thread. */
uint64_t stats_sum_all(const struct engine *engine, enum counter counter);

/* Connections of all namespaces. Any thread. */
uint64_t stats_open(const struct engine *engine);

/* What connections owe to sockets that are full. Any thread. */
uint64_t stats_queued_bytes(const struct engine *engine);

/* Since the start, or 0 before it. Any thread. */
uint64_t stats_uptime_ms(const struct engine *engine);

/* How many loops have a ring. */
uint64_t stats_rings(const struct engine *engine);

#endif
