/*
 * policy.h - what a server lets its clients do: rate limits that change while
 * it runs, and hooks that decide or just want to know.
 *
 * Stability: as server.h.
 *
 * Threads: hooks run on the loop of the client they are about, as the callbacks
 * of server.h do, and must not block. Functions marked "Any thread." may be
 * called from anywhere.
 *
 * Memory: struct peal_hooks is copied; what a hook is given lives until it
 * returns.
 *
 *     static bool on_rate_limited(struct peal_client *client,
 *                                 const struct peal_rate_limited *limited,
 *                                 void *user)
 *     {
 *         return !is_friend(client); // friends only lose the message
 *     }
 *
 *     struct peal_hooks hooks = {
 *         .size = sizeof hooks, .on_rate_limited = on_rate_limited,
 *     };
 *     struct peal_server_options options = {
 *         .size = sizeof options, .ws_listen = "127.0.0.1:8080",
 *         .client_rate = {.capacity = 100}, .hooks = &hooks,
 *     };
 */
#ifndef PEAL_POLICY_H
#define PEAL_POLICY_H

#include <peal/server.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- Rate limits --------------------------------------------------------- */

/*
 * A message passes when all of these let it, asked in this order:
 *
 *   1. the client's own rate, if it was given one: then 2 and 3 are not asked;
 *   2. the rate of its event, a bucket for each client;
 *   3. client_rate of the options;
 *   4. address_rate of the options, one bucket for all clients of an address;
 *   5. the custom limiter, `limit_message`.
 *
 * Tokens are taken when 1 to 4 have all said yes. Everything that a client
 * sends is a message, understood or not, but heartbeats and what belongs to the
 * transport: those have control_rate. Joins and leaves have the names
 * "peal:join" and "peal:leave" here, in every dialect; answers and messages
 * that were not understood have none.
 */

/* Rates of their own that events can have at a time. */
#define PEAL_EVENT_RATES_MAX 1024

/*
 * Gives the event a rate of its own, or takes it away for NULL or a capacity of
 * 0. Each loop heeds it from its next turn on; buckets of an event whose rate
 * is changed keep their level. Before or after the start.
 *
 * 0, PEAL_EINVAL for a name that is empty or too long, PEAL_ELIMIT beyond
 * PEAL_EVENT_RATES_MAX, PEAL_ESTATE when the server has stopped, PEAL_ENOMEM.
 * Any thread.
 */
PEAL_API int peal_server_set_event_rate(struct peal_server *server,
                                        const char *event,
                                        const struct peal_rate *rate);

/*
 * Gives one client a rate of its own, which begins with a full bucket; NULL or
 * a capacity of 0: it has the common ones again; a capacity of PEAL_OFF: no
 * limit but its address's. 0 or PEAL_ENOMEM. On the client's loop.
 */
PEAL_API int peal_client_set_rate(struct peal_client *client,
                                  const struct peal_rate *rate);

/* The same by reference. Errors as peal_server_emit. Any thread. */
PEAL_API int peal_server_set_rate(struct peal_server *server,
                                  struct peal_client_ref client,
                                  const struct peal_rate *rate);

/* Which of the limits refused a message. */
enum peal_rate_limit {
    PEAL_LIMIT_OWN,     /* the client's own */
    PEAL_LIMIT_EVENT,   /* peal_server_set_event_rate */
    PEAL_LIMIT_CLIENT,  /* client_rate */
    PEAL_LIMIT_ADDRESS, /* address_rate */
    PEAL_LIMIT_CUSTOM,  /* limit_message, also when it did not decide in time */
    PEAL_LIMIT_CONTROL  /* control_rate */
};

struct peal_rate_limited {
    enum peal_rate_limit limit;
    struct peal_slice event; /* empty: a heartbeat, or a message without name */
    uint32_t cost;
    uint64_t retry_ms; /* until the same would pass; 0: not known */
};

enum peal_verdict {
    PEAL_ALLOW,
    PEAL_REFUSE,
    PEAL_LATER /* peal_ticket_decide will tell */
};

/* A decision that is due, by value. It is made once; then it is gone. */
struct peal_ticket {
    struct peal_server *server;
    struct peal_client_ref client;
    uint64_t value;
};

/*
 * Decides what a hook has put off with PEAL_LATER: PEAL_ALLOW or PEAL_REFUSE,
 * else PEAL_EINVAL. PEAL_EGONE when it has been decided, was late, or the
 * client has left; PEAL_EFULL, PEAL_ENOMEM. From another thread than the
 * client's loop 0 means that it is on its way there. Any thread.
 */
PEAL_API int peal_ticket_decide(struct peal_ticket ticket,
                                enum peal_verdict verdict);

/* --- Middleware ---------------------------------------------------------- */

/* A client that wants to come in, by value. It is decided about once. */
struct peal_admission {
    struct peal_server *server;
    uint64_t value;
};

/* How a client is told no. */
struct peal_denial {
    int status; /* an HTTP status, 400-599; 0: 403, or as refuse_by says */
    int code;   /* with status 0: closes after the upgrade with this; TCP: this
                   anyway; 0, or what may not be sent: 1008 */
    const char *reason; /* of the close; NULL, or no UTF-8: none */
};

/*
 * Is asked about a client before it is in: nothing of it is served before all
 * have said yes, and it counts towards no limit but handshakes. PEAL_REFUSE
 * with `*denial`, which is all 0; or PEAL_LATER, and peal_admission_decide will
 * tell: the client is not read meanwhile, and refused with 503 when that takes
 * longer than decision_timeout_ms (or, in all, handshake_timeout_ms). `connect`
 * lives until it returns. On the client's loop; not to block.
 */
typedef enum peal_verdict
peal_middleware_function(const struct peal_connect *connect,
                         struct peal_admission admission,
                         struct peal_denial *denial, void *user);

/*
 * Adds middleware, to be asked after those added before. Before the start;
 * PEAL_ESTATE, PEAL_EINVAL, PEAL_ENOMEM.
 */
PEAL_API int peal_server_use(struct peal_server *server,
                             peal_middleware_function *function, void *user);

/*
 * Decides what a middleware has put off, and has the next ones asked after
 * PEAL_ALLOW. `denial` as above; NULL is all 0. PEAL_EGONE when it has been
 * decided, was late, or the client has gone; PEAL_EINVAL; PEAL_EFULL,
 * PEAL_ENOMEM. From another thread than the client's loop 0 means that it is on
 * its way there. Any thread; not from inside the middleware.
 */
PEAL_API int peal_admission_decide(struct peal_admission admission,
                                   enum peal_verdict verdict,
                                   const struct peal_denial *denial);

/*
 * Metadata that the client will have (peal_client_get) if it comes in; from
 * inside a middleware, or until the decision. `value` NULL removes. PEAL_EGONE,
 * PEAL_EINVAL for an empty key, PEAL_ELIMIT beyond metadata_bytes_max (then
 * nothing changes), PEAL_EFULL, PEAL_ENOMEM. Any thread.
 */
PEAL_API int peal_admission_set(struct peal_admission admission,
                                const char *key, const char *value);

/* --- Slow readers -------------------------------------------------------- */

struct peal_room_policy {
    size_t size; /* sizeof(struct peal_room_policy) */
    enum peal_pressure pressure;
    const char *conflate_by; /* as in the options */
};

/* Patterns there can be, and bytes of one. */
#define PEAL_ROOM_POLICIES_MAX 64
#define PEAL_ROOM_PATTERN_MAX 256

/*
 * Gives the rooms whose name matches the pattern a policy, or takes the pattern
 * away for NULL. "*" stands for any bytes, also none: "prices:*". Of several
 * patterns that match, the one that was set first counts; setting one again
 * keeps its place. Heeded from the next message on; what waits already was
 * taken in under the former policy. Before or after the start.
 *
 * 0, PEAL_EINVAL for a pattern that is empty or too long or an unknown policy,
 * PEAL_ELIMIT beyond PEAL_ROOM_POLICIES_MAX, PEAL_ENOMEM. Any thread.
 */
PEAL_API int peal_server_set_room_policy(struct peal_server *server,
                                         const char *pattern,
                                         const struct peal_room_policy *policy);

/* --- Who counts addresses ------------------------------------------------- */

/*
 * Counts clients by address instead of peal, so that several processes may
 * share their counts, or a list of who may not come. `address` is text without
 * a port, "192.0.2.7"; of an IPv6 address the network that ipv6_prefix_bits
 * says, "2001:db8::"; behind trusted proxies the client's own. Unix sockets are
 * not tracked. It is for all namespaces of a server.
 *
 * What check and add return: 0 lets the client on; PEAL_ELIMIT refuses it as
 * clients_per_address_max does (429, or 1013), and PEAL_EREFUSED as one who may
 * not come (403, or 1008). Any other negative value means that the tracker has
 * failed: that is counted and logged, and the client comes in, or, with
 * refuse_on_error, is refused (503, or 1013).
 *
 * Functions are called on any loop, on several at once: they have to be safe
 * for that, and must not block. Any may be NULL, but add and remove only
 * together. With add, clients_per_address_max is not looked at.
 */
struct peal_address_tracker {
    size_t size; /* sizeof(struct peal_address_tracker) */
    void *user;  /* handed to the functions */

    /* A client wants to come in; before any middleware is asked about it. */
    int (*check)(const char *address, void *user);

    /* It is about to be in: counts it, unless that is refused. */
    int (*add)(const char *address, void *user);

    /* It has gone: once for each add that returned 0. */
    void (*remove)(const char *address, void *user);

    /*
     * How many there are of this address: for peal_server_address_clients and
     * peal_connections_limited. From any thread.
     */
    long (*count)(const char *address, void *user);

    /* Every cleanup_interval_ms while the server runs, on its first loop. */
    void (*cleanup)(void *user);
    uint32_t cleanup_interval_ms; /* default 60,000; PEAL_OFF: never */

    bool refuse_on_error;
};

/*
 * The clients of an address, of which an IPv6 one stands for its network: as
 * the tracker counts them, else those of this server. PEAL_EADDRESS when it is
 * no IP address without a port; PEAL_ENOTSUP for a tracker that counts but does
 * not tell. Any thread.
 */
PEAL_API long peal_server_address_clients(struct peal_server *server,
                                          const char *address);

/* --- Hooks --------------------------------------------------------------- */

struct peal_connections_limited {
    const char *limit; /* the option's name: "clients_max" */
    uint32_t max; /* 0: only the address tracker knows, or it is memory */
    uint64_t clients; /* that are in, from all addresses */
    const struct peal_connect *connect;
    long address_clients; /* as peal_server_address_clients; negative: not
                             known, or a unix socket */
};

struct peal_rooms_limited {
    struct peal_slice room;
    uint64_t rooms; /* that there are, or that the client is in */
    uint32_t max;
};

/* Messages of one room that were dropped for a client that reads too slowly. */
struct peal_dropped {
    struct peal_slice room; /* empty: they went to everybody */
    enum peal_pressure reason;
    uint64_t count; /* since it was told last */
};

struct peal_too_large {
    uint64_t size; /* of the frame, by its own account; 0: not known, as of
                      fragments and of what was inflated */
    size_t max;    /* message_bytes_max */
    /*
     * Of a TCP frame, as it was sent, if that much of it has arrived; empty
     * else, and for WebSocket, where the name is inside of the message.
     */
    struct peal_slice event;
};

/*
 * NULL for what is not wanted, which then costs nothing. That a client is in,
 * is gone, or wants to join or publish, is told by the callbacks of struct
 * peal_server_options.
 */
struct peal_hooks {
    size_t size; /* sizeof(struct peal_hooks) */

    /*
     * A rate limit refuses a message. True: what rate_refusal says happens to
     * it, or for control_rate, the client is closed. False: it is dropped in
     * silence and its client stays.
     */
    bool (*on_rate_limited)(struct peal_client *client,
                            const struct peal_rate_limited *limited,
                            void *user);

    /*
     * Middleware for messages: an event or request, before any handler and
     * before it is published. PEAL_REFUSE answers with `*failure`, which says
     * 108, refused, unless it is changed. PEAL_LATER is a refusal here.
     */
    enum peal_verdict (*before_message)(struct peal_client *client,
                                        const struct peal_event *event,
                                        struct peal_failure *failure,
                                        void *user);

    /* What a message costs, in tokens of every rate. NULL: 1; 0 is free. */
    uint32_t (*message_cost)(struct peal_client *client,
                             const struct peal_event *event, void *user);

    /*
     * The application's own limiter, asked last. After PEAL_LATER the message
     * waits, and so do those behind it: the client is not read meanwhile. A
     * ticket that is not decided within decision_timeout_ms is a refusal. It
     * may be decided from any thread, also before this function has returned
     * there; not from inside this function.
     */
    enum peal_verdict (*limit_message)(struct peal_client *client,
                                       const struct peal_event *event,
                                       uint32_t cost, struct peal_ticket ticket,
                                       void *user);

    /*
     * A client is not let in for want of room: clients_max,
     * clients_per_address_max or memory_bytes_max.
     */
    void (*on_max_connections)(struct peal_server *server,
                               const struct peal_connections_limited *limited,
                               void *user);

    /* rooms_max, or rooms_per_client_max, refuses a join, whoever asked. */
    void (*on_max_rooms)(struct peal_client *client,
                         const struct peal_rooms_limited *limited, void *user);
    void (*on_max_rooms_per_client)(struct peal_client *client,
                                    const struct peal_rooms_limited *limited,
                                    void *user);

    /* A message is larger than it may be; its client is about to be closed. */
    void (*on_too_large)(struct peal_client *client,
                         const struct peal_too_large *message, void *user);

    /* A message was not understood; its client stays, and is told. */
    void (*on_invalid)(struct peal_client *client,
                       const struct peal_failure *failure, void *user);

    /*
     * A client asks to leave a room: 0 allows it, a negative enum peal_error
     * refuses it. (peal_server_options.on_join is the same for joins.)
     */
    int (*on_leave)(struct peal_client *client, struct peal_slice room,
                    void *user);

    /*
     * An event is about to go to a room, or, when event->room is empty, to
     * everybody, but those in `except`. 0 lets it; a negative enum peal_error
     * cancels it, and is what the caller gets; a client that published gets the
     * coded error for it. `from` is NULL where the application itself sends.
     * Runs where it is sent from: with `from` on its loop, else on the calling
     * thread. Not to send to rooms by itself.
     */
    int (*before_broadcast)(struct peal_server *server,
                            struct peal_client *from,
                            const struct peal_event *event,
                            const struct peal_client_ref *except,
                            size_t except_count, void *user);

    /*
     * An event is about to go to one client: 0 lets it; a negative enum
     * peal_error cancels it, and is what the caller gets. And afterwards:
     * `status` is what peal_client_emit returns. On the client's loop.
     */
    int (*before_emit)(struct peal_client *client,
                       const struct peal_event *event, void *user);
    void (*after_emit)(struct peal_client *client,
                       const struct peal_event *event, int status, void *user);

    /*
     * What waits for a client has grown beyond queue_high_bytes; and then, it
     * has become no more than queue_low_bytes. They take turns. `queued_bytes`
     * is as of now: these are told in the turn after it happened, and not at
     * all where it has gone back by then. To send no more for the moment, or
     * to go on.
     */
    void (*on_high_water)(struct peal_client *client, size_t queued_bytes,
                          void *user);
    void (*on_drain)(struct peal_client *client, size_t queued_bytes,
                     void *user);

    /*
     * Messages were dropped for a client, as the policy of their room says;
     * once in a turn for each room and reason.
     */
    void (*on_dropped)(struct peal_client *client,
                       const struct peal_dropped *dropped, void *user);
};

#ifdef __cplusplus
}
#endif

#endif
