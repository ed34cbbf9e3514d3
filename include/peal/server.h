/*
 * server.h - the server: WebSocket and framed TCP clients in the same rooms.
 *
 * Stability: as peal.h. Structs with a `size` field may grow at their end; set
 * it to the size of the struct you compiled with. In every options struct, zero
 * means the default that its comment names.
 *
 * Threads: a server runs `loops` threads, and each client belongs to one of
 * them for life. Callbacks run on the client's loop, one at a time and in order
 * for each client, and must not block. Functions that take a `struct
 * peal_client *` may be called on that client's loop only, that is from inside
 * its callbacks. Functions marked "Any thread." may be called from anywhere,
 * callbacks included; they take ids, and an id whose client has gone gives
 * PEAL_EGONE or, where the answer is not known yet, does nothing. A server that
 * is attached (peal_server_attach) has no thread: its loop runs in
 * peal_server_step.
 *
 * Lifetime: a `struct peal_client *` is valid from on_connect until
 * on_disconnect has returned. Everything passed in is copied if it is kept.
 *
 *     static void on_chat(struct peal_client *from,
 *                         const struct peal_event *event, void *user)
 *     {
 *         peal_room_emit(from, "lobby", event);
 *     }
 *
 *     struct peal_server_options options = {
 *         .size = sizeof options, .ws_listen = "127.0.0.1:8080",
 *     };
 *     struct peal_server *server;
 *
 *     if (peal_server_new(&server, &options) == 0) {
 *         peal_server_on(server, "chat", on_chat, NULL);
 *         peal_server_run(server);
 *         peal_server_free(server);
 *     }
 */
#ifndef PEAL_SERVER_H
#define PEAL_SERVER_H

#include <peal/peal.h>
#include <peal/tls.h>

#ifdef __cplusplus
extern "C" {
#endif

struct peal_server;
struct peal_client;

/* Bytes of an address as text, zero byte included. */
#define PEAL_ADDRESS_MAX 128

/*
 * A client by value: may be kept and passed between threads. Never used again
 * for another client of this server. Value 0 is nobody.
 */
struct peal_client_ref {
    uint64_t value;
};

/*
 * A request of a client that waits for its answer, by value. It is answered
 * once: by peal_request_answer, peal_request_fail, or, when neither comes in
 * time, by a coded error. Afterwards it is gone.
 */
struct peal_request {
    struct peal_server *server;
    struct peal_client_ref client;
    uint64_t value;
};

enum peal_transport { PEAL_WS, PEAL_TCP };

/* What a client brought with it. Lives until on_connect returns. */
struct peal_connect {
    enum peal_transport transport;
    enum peal_dialect dialect;
    struct peal_slice path;  /* "/chat", not decoded; empty for TCP */
    struct peal_slice query; /* "token=x", not decoded */
    struct peal_slice origin;
    struct peal_slice protocol; /* the subprotocol that was agreed on */
    const char *address;        /* "127.0.0.1:4711", "unix:" */
    const void *request;        /* for peal_connect_header */
    const char *pattern; /* of the route: "/rooms/:room_id"; NULL: none */
    const struct peal_tls_facts *tls; /* NULL: not encrypted */
};

/*
 * The first header of that name (letter case ignored) of a WebSocket client's
 * request; data is NULL when there is none, and for TCP.
 */
PEAL_API struct peal_slice
peal_connect_header(const struct peal_connect *connect, const char *name);

/*
 * Copies what parameter `name` of the route's path stands for in this client's:
 * percent-decoded (an encoded slash becomes one), with a zero byte behind it.
 * Returns the size without that. PEAL_ENOTFOUND: the route has no such
 * parameter; PEAL_ETOOBIG: `size` is too small. Whether it is UTF-8, or makes
 * sense, has not been checked.
 */
PEAL_API long peal_connect_param(const struct peal_connect *connect,
                                 const char *name, char *out, size_t size);

/*
 * The same for the first parameter `name` in the query; "+" becomes a blank.
 * PEAL_EINVAL, too: a broken escape, or an encoded zero byte.
 */
PEAL_API long peal_connect_query(const struct peal_connect *connect,
                                 const char *name, char *out, size_t size);

/* An event arrived. */
typedef void peal_event_function(struct peal_client *from,
                                 const struct peal_event *event, void *user);

/* A request arrived, to be answered now or later, from any thread. */
typedef void peal_request_function(struct peal_client *from,
                                   const struct peal_event *event,
                                   struct peal_request request, void *user);

/*
 * The outcome of a request to a client, exactly once: status 0 with the answer;
 * PEAL_ETIMEOUT; PEAL_EGONE when the client left first; PEAL_EREFUSED with
 * `failure` when it answered with an error. `client` is NULL when it has gone.
 * Runs on the client's loop.
 */
typedef void peal_answer_function(struct peal_client *client,
                                  const struct peal_answer *answer,
                                  void *user);

/* Why a client left: a close code of RFC 6455, 7.4, for TCP clients too. */
struct peal_disconnect {
    int code; /* 1006: the connection broke; 1005: closed without a code */
    const char *reason;
    bool by_peer;
};

/* A question to on_health, and its answer. Lives until on_health returns. */
struct peal_health {
    struct peal_server *server;
    struct peal_slice path;
    struct peal_slice query; /* not decoded */
    bool is_ready;           /* what /readyz says */
    int status;              /* of the answer; 200 or 503, may be changed */
    const char *type;        /* of the body; may be changed to static storage */
    char *body;              /* to be written */
    size_t body_size_max;    /* 16 KiB */
};

/*
 * A token bucket: up to `capacity` messages at once, and `refill` of them come
 * back every `refill_ms`, evenly and exactly. 0 means: no limit for `capacity`;
 * as much as `capacity` for `refill`; 1000 for `refill_ms`. A capacity of
 * PEAL_OFF is no limit, too.
 */
struct peal_rate {
    uint32_t capacity;
    uint32_t refill;
    uint32_t refill_ms;
};

/* What happens to a message that a rate limit refuses. */
enum peal_refusal {
    PEAL_REFUSE_ERROR, /* it is answered with error 110, rate_limited */
    PEAL_REFUSE_DROP,  /* it is dropped in silence */
    PEAL_REFUSE_CLOSE  /* its client is closed with 1008 */
};

/* How a WebSocket client whose request was in order is told that it is not let
 * in. */
enum peal_refuse_by {
    PEAL_REFUSE_BY_STATUS, /* an HTTP status: 403, 409, 429, 503 */
    PEAL_REFUSE_BY_CLOSE,  /* 101, then a close: 1008, or 1013 for 429, 503 */
    PEAL_REFUSE_BY_HANGUP  /* the end of the connection, for clients such as
                              stelar's, which a status makes wait for ever */
};

struct peal_hooks; /* peal/policy.h */

/*
 * Compression of WebSocket messages (permessage-deflate, RFC 7692), for clients
 * that offer it; never in the stelar dialect.
 *
 * Without context takeover, the default, a message to a room is compressed once
 * for all its members, and clients cost no memory. With it each client has its
 * message compressed by itself, with the window of the last ones: smaller, but
 * at the cost of one compression, and, with the defaults, of 50 KB for each
 * client. A client's wish for less is always heeded, but for a window of 8 bits
 * in the server, which zlib has not got: that offer is declined. Clients that
 * wish for a window of their own choice cost one more compression of each
 * message for each of the six sizes there are.
 *
 * A message in is bounded by message_bytes_max when it is inflated, and is
 * inflated no further than that. What has secrets and what strangers chose
 * should not be compressed together: see CRIME and BREACH.
 */
struct peal_deflate_options {
    size_t size;            /* sizeof(struct peal_deflate_options) */
    bool enabled;           /* on every route that does not say otherwise */
    bool context_takeover;  /* in both directions */
    size_t threshold_bytes; /* smaller ones are sent plain; default 1 KiB */
    int level;              /* 1, fast and the default, to 9, small */
    int window_bits;        /* 9 to 15; default 15, with takeover 12 */
    int memory_level;       /* 1 to 9; default 8, with takeover 5 */
};

/* Of a route. */
enum peal_deflate {
    PEAL_DEFLATE_DEFAULT, /* as the server's options say */
    PEAL_DEFLATE_ON,
    PEAL_DEFLATE_OFF
};
struct peal_server_options {
    size_t size; /* sizeof(struct peal_server_options) */

    /*
     * Where to listen: "127.0.0.1:8080", "[::1]:0", "*:80", "unix:/run/p.sock".
     * NULL: not at all. peal_server_listen adds more.
     */
    const char *ws_listen;
    const char *tcp_listen;
    enum peal_dialect dialect; /* of listeners and routes; default peal */
    int loops;                 /* threads; default 1, at most 64 */
    int backlog;               /* of listening sockets; default 4096 */

    /* Limits. docs/limits.md tells what happens at each. */
    size_t message_bytes_max; /* one message in; default 1 MiB, at most 1 GiB */
    size_t frame_bytes_max;   /* one WebSocket frame; default as message */
    size_t header_bytes_max;  /* the head of a request; default 8 KiB */
    size_t queue_bytes_max;   /* waiting for one client; default 1 MiB */
    size_t mailbox_bytes_max; /* waiting for one loop; default 64 MiB */
    uint32_t clients_max;     /* default 100,000 */
    uint32_t clients_per_address_max; /* default 10,000 */
    uint32_t rooms_max;               /* default 100,000 */
    uint32_t rooms_per_client_max;    /* default 128 */
    uint32_t room_name_bytes_max;     /* default 256, at most 256 */
    uint32_t metadata_bytes_max;      /* per client; default 16 KiB */
    uint32_t requests_per_client_max; /* waiting, each way; default 64 */

    /* Times in milliseconds. PEAL_OFF switches one off. */
    uint32_t handshake_timeout_ms; /* until a client is in; default 10,000 */
    uint32_t ping_interval_ms;     /* of silence; default 25,000 */
    uint32_t ping_timeout_ms;      /* after that; default 20,000 */
    uint32_t close_timeout_ms;     /* of the closing handshake; 5,000 */
    uint32_t request_timeout_ms;   /* until an answer is due; 10,000 */
    uint32_t stop_timeout_ms;      /* of a graceful stop; default 5,000 */

    /*
     * What clients may do by themselves. Off by default: then only the
     * application joins them to rooms and sends to rooms.
     */
    bool clients_may_join;
    bool clients_may_publish; /* to rooms that they are members of */

    /* Subprotocols to choose from, NULL-terminated, in order of preference. */
    const char *const *protocols;

    /* Where GET answers with the state as JSON: see metrics_path. */
    const char *health_path;

    /* NULL: silence. Lines below the level are not made; default info. */
    peal_log_function *log;
    void *log_user;
    enum peal_log_level log_level;

    /*
     * A client is in. The first callback for it; it may already send to it,
     * join it to rooms, or close it.
     */
    void (*on_connect)(struct peal_client *client,
                       const struct peal_connect *connect, void *user);

    /*
     * A client is gone: exactly once for each on_connect, and last. It is still
     * in its rooms; nothing can be sent to it any more.
     */
    void (*on_disconnect)(struct peal_client *client,
                          const struct peal_disconnect *disconnect,
                          void *user);

    /*
     * Writes the application's own id for a client into `id` (up to
     * PEAL_ID_MAX bytes) and returns its size; 0 for a UUID; negative refuses
     * the client. An id that is in use refuses it, too. NULL: UUIDs.
     */
    long (*make_id)(const struct peal_connect *connect, char *id, void *user);

    /*
     * A client asks to join a room, or to publish to one: 0 allows it, a
     * negative enum peal_error refuses it. NULL: as the two flags above say.
     */
    int (*on_join)(struct peal_client *client, struct peal_slice room,
                   void *user);
    int (*on_publish)(struct peal_client *client,
                      const struct peal_event *event, void *user);

    void *user; /* handed to the callbacks */

    /*
     * Endpoints for those who run the server:
     *
     *   metrics_path  "/metrics"  Prometheus' text format, or OpenMetrics
     *   livez_path    "/livez"    200 while every loop turns, else 503
     *   readyz_path   "/readyz"   200 while clients should come here, else 503
     *   health_path   "/health"   the state as JSON, with the status of /readyz
     *
     * "?verbose" has the two in the middle list their checks. A listener for
     * internal_listen answers for these paths and nothing else, also for
     * "/healthz" as "/readyz". Other listeners answer for those that are set
     * here. "" switches one off everywhere.
     */
    const char *internal_listen; /* address; NULL: none */
    const char *metrics_path;
    const char *livez_path;
    const char *readyz_path;

    /* A turn that lasts so long fails /livez; default 30,000. */
    uint32_t turn_timeout_ms;

    /*
     * Answers for health_path instead of peal: writes the body, returns its
     * size; negative leaves it to peal. On the loop that was asked.
     */
    long (*on_health)(struct peal_health *health, void *user);

    /*
     * Rate limits: of the messages of each client; of all clients of one
     * address together; and of each client's pings and unasked-for pongs, which
     * are closed with 1008 beyond it. More in peal/policy.h.
     */
    struct peal_rate client_rate;   /* default: no limit */
    struct peal_rate address_rate;  /* default: no limit */
    struct peal_rate control_rate;  /* default: 200, and 50 a second */
    enum peal_refusal rate_refusal; /* default: PEAL_REFUSE_ERROR */

    /* Until a decision that a callback put off is there; default 5,000. */
    uint32_t decision_timeout_ms;

    /* What else the application wants to decide or know; copied. */
    const struct peal_hooks *hooks;

    /* Of requests for the application's own HTTP handlers: peal/http.h. */
    size_t http_body_bytes_max; /* of one request; default 64 KiB */
    uint32_t http_timeout_ms;   /* until an answer is due; default 10,000 */
    /*
     * Origins whose pages may connect (RFC 6454), NULL-terminated; others get
     * 403. "https://example.com"; with "*." before the host for all of its
     * subdomains; "*" for all; "" for requests without an Origin, which do not
     * come from a page. NULL: everybody.
     */
    const char *const *origins;

    /*
     * Networks of proxies that are believed, NULL-terminated: "10.0.0.0/8",
     * "::1", "unix". The address of a client behind one is the last one in
     * forwarded_header that is not trusted itself; anybody else's header is
     * ignored. Only one header counts, since a proxy passes on what it does not
     * set itself: "X-Forwarded-For", the default, or "Forwarded" (RFC 7239).
     */
    const char *const *trusted_proxies;
    const char *forwarded_header;

    /* IPv6 clients are counted by this many bits; default 64. */
    uint32_t ipv6_prefix_bits;

    enum peal_refuse_by refuse_by; /* default: PEAL_REFUSE_BY_STATUS */

    /*
     * permessage-deflate; copied. NULL: off, but for routes that switch it on,
     * with the defaults.
     */
    const struct peal_deflate_options *deflate;

    /*
     * A graceful stop: for stop_delay_ms only /readyz says no, and everything
     * goes on, so that balancers look elsewhere first. Then nobody is accepted
     * any more, and clients are told, so many a second over all loops (0: all
     * at once). Who can be told when to come back (docs/protocol.md: Goodbye)
     * gets a time of its own within return_spread_ms. stop_timeout_ms begins
     * when the last one has been told.
     */
    uint32_t stop_delay_ms; /* default 0: none */
    uint32_t stop_clients_per_second;
    uint32_t return_spread_ms; /* default 0: nothing is said */

    /*
     * SIGINT and SIGTERM stop the server while it runs, and cut it when they
     * come again. For at most 16 servers of a process at once.
     */
    bool handle_signals;

    /*
     * Encrypts ws_listen and tcp_listen, and nothing else comes in there; NULL:
     * not encrypted. The server holds it; see peal/tls.h.
     */
    struct peal_tls *tls;

    /* TLS handshakes that may be in progress at once; default 10,000. */
    uint32_t tls_handshakes_max;
};

/* --- The server's life --------------------------------------------------- */

/*
 * Makes a server and binds its listeners; nobody is accepted yet.
 *
 * Returns 0; PEAL_EINVAL for an option out of range (the log says which);
 * PEAL_EADDRESS, PEAL_EADDRINUSE or PEAL_EACCESS when an address cannot be had;
 * PEAL_ENOMEM; PEAL_ESYSTEM. `*server` is set on success only.
 */
PEAL_API int peal_server_new(struct peal_server **server,
                             const struct peal_server_options *options);

/*
 * Frees a server that was never started, or that has stopped and been waited
 * for. NULL is allowed.
 */
PEAL_API void peal_server_free(struct peal_server *server);

/* One more address to listen on. */
struct peal_listen {
    size_t size;
    const char *address;
    enum peal_transport transport;
    enum peal_dialect dialect; /* default: the server's */
    bool is_internal;          /* as internal_listen: only the endpoints */
    struct peal_tls *tls;      /* NULL: not encrypted */
};

/* Before the start. Errors as peal_server_new, PEAL_ESTATE when running. */
PEAL_API int peal_server_listen(struct peal_server *server,
                                const struct peal_listen *listen);

/*
 * Writes the address of listener `index` (ws_listen first, then tcp_listen,
 * then internal_listen, then those added) as text, with the port that the
 * system chose. Returns 0, or PEAL_ENOTFOUND. `out` has room for
 * PEAL_ADDRESS_MAX bytes. Any thread.
 */
PEAL_API int peal_server_address(const struct peal_server *server,
                                 size_t index, char *out);

/*
 * A path that WebSocket clients may connect to, such as "/chat". It may have
 * parameters: in "/rooms/:room_id/chat", :room_id stands for one segment of the
 * path that is not empty (peal_connect_param); a last segment ":name*" stands
 * for all the rest, slashes and all, which may be empty: "/:rest*" is every
 * path that no other route matches. Literal segments win over parameters, and
 * those over the rest.
 *
 * Paths are matched without the query, and after percent-decoding: routes are
 * written decoded, and may not contain "%", "?" or "#". A slash at the end
 * counts: "/chat" is not "/chat/". At most 1,024 bytes, 32 segments, and 256
 * bytes in each.
 */
struct peal_route {
    size_t size;
    const char *path;
    enum peal_dialect dialect; /* default: the listener's */
    enum peal_deflate deflate; /* default: the server's */
};

/*
 * Adds a route. Without any, every path is accepted; with one or more, all
 * other paths are answered with 404. Before the start; PEAL_ESTATE; PEAL_EEXIST
 * when another route matches just the same paths; PEAL_EINVAL, PEAL_ENOMEM.
 */
PEAL_API int peal_server_route(struct peal_server *server,
                               const struct peal_route *route);

/*
 * Serves a fixed page on GET and HEAD of `path`, such as a demo or a client
 * library. The content is copied. `type` is its Content-Type. Handlers of the
 * program's own are in peal/http.h. Before the start; errors as
 * peal_server_route.
 */
PEAL_API int peal_server_page(struct peal_server *server, const char *path,
                              const char *type, const void *content,
                              size_t size);

/*
 * Calls `handler` for events of this name. One handler for a name. Before the
 * start; PEAL_ESTATE, PEAL_EEXIST, PEAL_EINVAL, PEAL_ENOMEM.
 */
PEAL_API int peal_server_on(struct peal_server *server, const char *name,
                            peal_event_function *handler, void *user);

/*
 * Calls `handler` for every event, after the handler for its name, if there is
 * one. In the raw dialect, where messages have no name, it gets them all.
 */
PEAL_API int peal_server_on_any(struct peal_server *server,
                                peal_event_function *handler, void *user);

/*
 * Calls `handler` for requests of this name: events that want an answer. An
 * event that wants one but has only an ordinary handler is answered "ok" when
 * the handler has returned.
 */
PEAL_API int peal_server_on_request(struct peal_server *server,
                                    const char *name,
                                    peal_request_function *handler,
                                    void *user);

/*
 * Runs on the calling thread, with further threads for further loops, until
 * peal_server_stop has been called and all is closed. Returns 0 after a
 * graceful stop, or PEAL_ESTATE, PEAL_ENOMEM, PEAL_ESYSTEM.
 */
PEAL_API int peal_server_run(struct peal_server *server);

/* Starts all loops on threads of their own and returns. Errors as above. */
PEAL_API int peal_server_start(struct peal_server *server);

/*
 * Waits until a started server has stopped; for an attached one, takes the
 * steps that are left until then. PEAL_ESTATE when it is not running, and from
 * inside a callback.
 */
PEAL_API int peal_server_wait(struct peal_server *server);

/*
 * Starts without a thread: the program drives the server from a loop of its
 * own, which polls one descriptor and calls peal_server_step when that is
 * readable or the time is up:
 *
 *     struct pollfd polled = {peal_server_fd(server), POLLIN, 0};
 *
 *     do {
 *         poll(&polled, 1, peal_server_timeout_ms(server));
 *     } while (peal_server_step(server, 0) > 0);
 *
 * Callbacks run inside peal_server_step, and the thread that is in it is the
 * server's loop. Functions for any thread may be called between two steps; what
 * they ask for happens in the next one. Errors as peal_server_run, and
 * PEAL_EINVAL unless `loops` is 1.
 */
PEAL_API int peal_server_attach(struct peal_server *server);

/*
 * The descriptor to poll for input, with poll, epoll or whatever the program
 * uses; the same until the server is freed. Nothing else is to be done with it.
 * PEAL_ESTATE when the server is not attached, has stopped, or from inside a
 * callback; so for the next two.
 */
PEAL_API int peal_server_fd(const struct peal_server *server);

/*
 * How many milliseconds may pass until the next step even if nothing happens;
 * 0: it is due; -1: any number. Changes with each step: ask before each wait.
 */
PEAL_API int peal_server_timeout_ms(const struct peal_server *server);

/*
 * Does what there is to do, after waiting for that for at most `max_wait_ms`
 * (0: without waiting; negative: without end). One turn, of some milliseconds
 * at most unless callbacks take longer. Returns 1; or 0 after the last step,
 * when peal_server_stop has been called and all is closed: then the server may
 * be freed. Not on two threads at once.
 */
PEAL_API int peal_server_step(struct peal_server *server, int max_wait_ms);

/*
 * Begins a graceful stop: no more clients are accepted, every client is told
 * (close code 1001, or a goodbye over TCP), what is queued is sent, and after
 * stop_timeout_ms what is left is cut off. Any thread, and from a signal
 * handler.
 */
PEAL_API void peal_server_stop(struct peal_server *server);

/*
 * Stops without grace, or ends a graceful stop: every connection is closed at
 * once, and what is queued is lost. Any thread, and from a signal handler.
 */
PEAL_API void peal_server_cut(struct peal_server *server);

/*
 * Has /readyz say no while `is_ready` is false, as when something that the
 * application needs is away. Any thread.
 */
PEAL_API void peal_server_set_ready(struct peal_server *server, bool is_ready);

/*
 * Copies the options in force into `options`, whose `size` the caller has set;
 * no field is 0 for a default. Texts in it live until the next update.
 * PEAL_EINVAL for a size of 0. Any thread.
 */
PEAL_API int peal_server_config(struct peal_server *server,
                                struct peal_server_options *options);

/*
 * Puts other options into force, all of them or none. Take what
 * peal_server_config gives, change it, hand it in; 0 is the default here, too,
 * and what is beyond `options->size` stays as it is. Each loop takes them over
 * at its next turn. What is beyond a new limit already stays: lower limits
 * close nobody. A client that is in keeps what its welcome said.
 *
 * Returns 0; PEAL_ENOTSUP for an option that needs a restart (see
 * peal_server_option), PEAL_EINVAL for one out of range, PEAL_ENOMEM; then
 * nothing has changed. `problem`, which may be NULL, gets the option's name, or
 * NULL. Any thread.
 */
PEAL_API int peal_server_update(struct peal_server *server,
                                const struct peal_server_options *options,
                                const char **problem);

/*
 * The name of option `index`, in the order of the struct, and whether it can
 * change while the server runs (`can_change` may be NULL). NULL beyond the
 * last. Static storage. Any thread.
 */
PEAL_API const char *peal_server_option(size_t index, bool *can_change);

/* --- One client, from inside its callbacks ------------------------------- */

/* The reference to keep, and to hand to functions for any thread. */
PEAL_API struct peal_client_ref
peal_client_ref(const struct peal_client *client);

/*
 * The client's id: the application's own, else a UUID of version 4. NULL only
 * when there is no memory to make it. Lives as long as the client.
 */
PEAL_API const char *peal_client_id(struct peal_client *client);

/* Its server, transport and dialect. */
PEAL_API struct peal_server *
peal_client_server(const struct peal_client *client);
PEAL_API enum peal_transport
peal_client_transport(const struct peal_client *client);
PEAL_API enum peal_dialect
peal_client_dialect(const struct peal_client *client);

/*
 * Writes the client's address as text into PEAL_ADDRESS_MAX bytes: behind a
 * trusted proxy the one that it tells (with port 0 if it does not tell that).
 * When the connection is gone: without the port.
 */
PEAL_API void peal_client_address(const struct peal_client *client,
                                  char *out);

/* What is known of its TLS; PEAL_ENOTFOUND without, or when it is closed. */
PEAL_API int peal_client_tls(const struct peal_client *client,
                             struct peal_tls_facts *facts);

/* A pointer of the application's own for this client. */
PEAL_API void peal_client_set_user(struct peal_client *client, void *user);
PEAL_API void *peal_client_user(const struct peal_client *client);

/*
 * Metadata: small texts by key, kept as long as the client. `value` NULL
 * removes. PEAL_ELIMIT beyond metadata_bytes_max (then nothing changes),
 * PEAL_ENOMEM.
 */
PEAL_API int peal_client_set(struct peal_client *client, const char *key,
                             const char *value);

/* NULL when there is none. Lives until the key is set again. */
PEAL_API const char *peal_client_get(const struct peal_client *client,
                                     const char *key);

/*
 * Sends an event to this client.
 *
 * Returns 0 once it is queued, which does not mean delivered; ask for an answer
 * if that matters. PEAL_EFULL: its queue is at queue_bytes_max; the client is
 * being closed with code 1013. PEAL_EINVAL: the name is empty, too long or
 * reserved, or the data is not JSON. PEAL_ENOTSUP: its dialect cannot say it.
 * PEAL_EGONE: it is being closed. PEAL_ENOMEM.
 */
PEAL_API int peal_client_emit(struct peal_client *client,
                              const struct peal_event *event);

/*
 * Asks this client and calls `on_answer` exactly once, never before this
 * function has returned, unless this fails: errors as peal_client_emit, and
 * PEAL_ELIMIT beyond requests_per_client_max. `timeout_ms` 0 means
 * request_timeout_ms. Dialects without requests: PEAL_ENOTSUP.
 */
PEAL_API int peal_client_request(struct peal_client *client,
                                 const struct peal_event *event,
                                 uint32_t timeout_ms,
                                 peal_answer_function *on_answer, void *user);

/*
 * Joins this client to a room, which exists from then on. Joining twice is one
 * membership. PEAL_EINVAL: the name is empty, longer than room_name_bytes_max
 * or not UTF-8. PEAL_ELIMIT: rooms_per_client_max or rooms_max. PEAL_ENOMEM.
 */
PEAL_API int peal_client_join(struct peal_client *client, const char *room);

/* 0, or PEAL_ENOTFOUND when it was not a member. */
PEAL_API int peal_client_leave(struct peal_client *client, const char *room);

/* Whether this client is a member. */
PEAL_API bool peal_client_is_in(const struct peal_client *client,
                                const char *room);

/*
 * The rooms of this client: copies up to `max` names (which live until it
 * leaves them) and returns how many there are.
 */
PEAL_API size_t peal_client_rooms(const struct peal_client *client,
                                  const char **out, size_t max);

/*
 * Closes this client: what was queued before is sent, then a close frame with
 * `code` (1000-1003, 1007-1014 or 3000-4999; RFC 6455, 7.4) and `reason` (cut
 * at 123 bytes), or a goodbye over TCP. on_disconnect follows later. A second
 * call does nothing. PEAL_EINVAL for a code that may not be sent, or a reason
 * that is not UTF-8.
 */
PEAL_API int peal_client_close(struct peal_client *client, int code,
                               const char *reason);

/* Bytes that are waiting to be sent to this client. */
PEAL_API size_t peal_client_queued_bytes(const struct peal_client *client);

/*
 * Sends an event to all in a room but `from`, which need not be a member. 0,
 * also when nobody is in it; PEAL_EINVAL; PEAL_EFULL when the way to another
 * loop is full, or PEAL_ENOMEM: then nobody gets it.
 *
 * A member whose dialect cannot say it, as an event without a name in any but
 * the raw dialect, does not get it; messages_unsayable counts that.
 */
PEAL_API int peal_room_emit(struct peal_client *from, const char *room,
                            const struct peal_event *event);

/* The same to every client but `from`. */
PEAL_API int peal_broadcast(struct peal_client *from,
                            const struct peal_event *event);

/* --- Requests ------------------------------------------------------------ */

/*
 * Answers with JSON; NULL for no data. 0, PEAL_EGONE when it was answered
 * already, timed out or the client left, PEAL_EINVAL when it is not JSON,
 * PEAL_EFULL or PEAL_ENOMEM. From another thread than the client's loop, 0
 * means that the answer is on its way there. Any thread.
 */
PEAL_API int peal_request_answer(struct peal_request request,
                                 const char *json);

/* The same with the data and kind of an event. Any thread. */
PEAL_API int peal_request_answer_event(struct peal_request request,
                                       const struct peal_event *event);

/*
 * Answers with an error. Errors as peal_request_answer; PEAL_EINVAL for a
 * negative code, or texts that are not UTF-8. Any thread.
 */
PEAL_API int peal_request_fail(struct peal_request request,
                               const struct peal_failure *failure);

/* --- Everything else: any thread ----------------------------------------- */

/*
 * As peal_client_emit, peal_client_join, peal_client_leave, peal_client_close
 * and peal_client_request, for a client by reference. On the client's own loop
 * they do it at once and return the same errors. From elsewhere 0 means that it
 * is on its way to that loop; PEAL_EGONE when the reference is known to be
 * dead; PEAL_EFULL when that loop's mailbox is at mailbox_bytes_max. Any
 * thread.
 */
PEAL_API int peal_server_emit(struct peal_server *server,
                              struct peal_client_ref client,
                              const struct peal_event *event);
PEAL_API int peal_server_join(struct peal_server *server,
                              struct peal_client_ref client,
                              const char *room);
PEAL_API int peal_server_leave(struct peal_server *server,
                               struct peal_client_ref client,
                               const char *room);
PEAL_API int peal_server_close(struct peal_server *server,
                               struct peal_client_ref client, int code,
                               const char *reason);
PEAL_API int peal_server_request(struct peal_server *server,
                                 struct peal_client_ref client,
                                 const struct peal_event *event,
                                 uint32_t timeout_ms,
                                 peal_answer_function *on_answer, void *user);

/*
 * Sends an event to all in a room, but the clients in `except` (may be NULL
 * with a count of 0). All members see the messages of a room in one order.
 * Errors as peal_room_emit. Any thread.
 */
PEAL_API int peal_server_room_emit(struct peal_server *server,
                                   const char *room,
                                   const struct peal_event *event,
                                   const struct peal_client_ref *except,
                                   size_t except_count);

/* The same to every client. Any thread. */
PEAL_API int peal_server_broadcast(struct peal_server *server,
                                   const struct peal_event *event,
                                   const struct peal_client_ref *except,
                                   size_t except_count);

/* The client with this id; value 0 when there is none. O(1). Any thread. */
PEAL_API struct peal_client_ref peal_server_find(struct peal_server *server,
                                                 const char *id);

/*
 * Copies the id of a client into `out`, which has room for PEAL_ID_MAX + 1
 * bytes. Returns its size; PEAL_EGONE; PEAL_ENOTFOUND for a client that has no
 * id yet: in the raw dialect it is made by peal_client_id. Any thread.
 */
PEAL_API long peal_server_client_id(struct peal_server *server,
                                    struct peal_client_ref client, char *out);

/*
 * Copies metadata of a client, with a zero byte behind it. Returns its size
 * without that; PEAL_EGONE; PEAL_ENOTFOUND; PEAL_ETOOBIG when `size` is too
 * small. Any thread.
 */
PEAL_API long peal_server_client_get(struct peal_server *server,
                                     struct peal_client_ref client,
                                     const char *key, char *out, size_t size);

/*
 * Lists: copy up to `max` references into `out` and return how many there are.
 * What they tell was true at one moment for each loop. Any thread.
 */
PEAL_API size_t peal_server_clients(struct peal_server *server,
                                    struct peal_client_ref *out, size_t max);
PEAL_API size_t peal_server_members(struct peal_server *server,
                                    const char *room,
                                    struct peal_client_ref *out, size_t max);

/*
 * Calls `each` for every room, with its number of members, on the calling
 * thread, until it returns false. The list is a copy: `each` may call anything.
 * Any thread. 0 or PEAL_ENOMEM.
 */
PEAL_API int peal_server_rooms(struct peal_server *server,
                               bool (*each)(const char *room, size_t members,
                                            void *user),
                               void *user);

/* Counts since the start, and gauges of now, over all loops. */
struct peal_server_stats {
    size_t size; /* set by the caller */
    uint64_t uptime_ms;

    /* Gauges. */
    uint64_t clients;
    uint64_t ws_clients;
    uint64_t tcp_clients;
    uint64_t connections; /* clients, and those that are not in yet */
    uint64_t rooms;
    uint64_t queued_bytes;
    uint64_t requests_pending;

    /* Counters. */
    uint64_t clients_total;
    uint64_t messages_in;  /* events, requests and answers; no heartbeats */
    uint64_t messages_out; /* the same, for each receiver */
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t messages_invalid;   /* not understood */
    uint64_t messages_unsayable; /* see peal_room_emit; for each receiver */
    uint64_t requests_timed_out; /* of clients, without an answer in time */

    /* What a limit refused; each has the name of its option. */
    uint64_t refused_clients;             /* clients_max */
    uint64_t refused_clients_per_address; /* clients_per_address_max */
    uint64_t refused_rooms;               /* rooms_max */
    uint64_t refused_rooms_per_client;    /* rooms_per_client_max */
    uint64_t refused_room_names;          /* room_name_bytes_max, or no name */
    uint64_t refused_metadata;            /* metadata_bytes_max */
    uint64_t refused_requests;            /* requests_per_client_max */
    uint64_t refused_mail;                /* mailbox_bytes_max */
    uint64_t closed_message_bytes;        /* message or frame_bytes_max */
    uint64_t closed_header_bytes;         /* header_bytes_max */
    uint64_t closed_queue_bytes;          /* queue_bytes_max */
    uint64_t closed_handshake_timeout;
    uint64_t closed_ping_timeout;
    uint64_t closed_protocol;  /* the peer broke the protocol */
    uint64_t accept_exhausted; /* descriptors or memory ran out */

    /* Of rate limits. */
    uint64_t refused_messages;    /* all limits: answered, dropped or closed */
    uint64_t closed_rate;         /* rate_refusal: PEAL_REFUSE_CLOSE */
    uint64_t closed_control_rate; /* control_rate */

    /* Of the application's HTTP handlers. */
    uint64_t http_requests;
    uint64_t http_timed_out;         /* http_timeout_ms */
    uint64_t closed_http_body_bytes; /* http_body_bytes_max */
    uint64_t refused_origins;     /* origins */

    /*
     * permessage-deflate: what was compressed and inflated, before and after,
     * and the time that it took. One compression may serve many clients. The
     * first is a gauge: what zlib holds of memory.
     */
    uint64_t deflate_state_bytes;
    uint64_t deflated_messages;
    uint64_t deflated_bytes;
    uint64_t deflated_wire_bytes;
    uint64_t deflate_ns;
    uint64_t inflated_messages;
    uint64_t inflated_wire_bytes;
    uint64_t inflated_bytes;
    uint64_t inflate_ns;

    /* TLS handshakes. */
    uint64_t tls_handshaking;        /* now */
    uint64_t tls_handshakes;         /* done */
    uint64_t tls_resumed;            /* of these: a session taken up again */
    uint64_t tls_failed;             /* not done, for whatever the peer did */
    uint64_t refused_tls_handshakes; /* tls_handshakes_max */
};

/* Fills what fits into stats->size; PEAL_EINVAL when that is 0. Any thread. */
PEAL_API int peal_server_stats(struct peal_server *server,
                               struct peal_server_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
