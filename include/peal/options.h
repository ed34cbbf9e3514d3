/*
 * options.h - what a server is told when it is made, and what its callbacks are
 * given. Included by server.h.
 *
 * Stability, threads and lifetime: as server.h.
 */
#ifndef PEAL_OPTIONS_H
#define PEAL_OPTIONS_H

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

/*
 * How a loop talks with the kernel. With io_uring as well as without it epoll
 * tells which sockets are ready; io_uring makes what one turn has to send to
 * several clients one system call, which is worth most to a fan-out.
 */
enum peal_io_backend {
    PEAL_IO_AUTO,  /* io_uring where it can be had, else epoll alone */
    PEAL_IO_EPOLL, /* epoll alone */
    PEAL_IO_URING  /* io_uring, or the server does not start */
};

/* What proves that a client lives. */
enum peal_alive_by {
    PEAL_ALIVE_DEFAULT,    /* traffic */
    PEAL_ALIVE_BY_TRAFFIC, /* whatever it sends, and that it reads */
    /*
     * Only pongs: control frames, PONG frames, and what its dialect has for
     * them. It is pinged every ping_interval_ms, however much it talks, so that
     * a proxy which answers for it, or half a program that still sends, does
     * not pass for a client.
     */
    PEAL_ALIVE_BY_PONG
};

/* The heartbeat of one dialect's clients; 0: as the server's options say. */
struct peal_heartbeat {
    uint32_t ping_interval_ms;
    uint32_t ping_timeout_ms;
    enum peal_alive_by alive_by;
};

/* Room for the dialects to come. */
#define PEAL_DIALECTS_MAX 8

/*
 * Whether connections begin with the header of the PROXY protocol, version 1 or
 * 2 (HAProxy's proxy-protocol.txt), before TLS and everything else. It counts
 * only from trusted_proxies. The address that it tells is the client's
 * everywhere, from then on; if that is trusted, too, forwarded_header goes on
 * from there. A header may have header_bytes_max bytes, and has to be there
 * within handshake_timeout_ms.
 */
enum peal_proxy_protocol {
    PEAL_PROXY_DEFAULT, /* off; in struct peal_listen: as the options say */
    PEAL_PROXY_OFF,
    /*
     * Trusted proxies may send one; others may not. A trusted peer has to say
     * something before it is answered, for it might be a header: a framed-TCP
     * client that waits for its welcome needs PEAL_PROXY_OFF or _REQUIRED.
     */
    PEAL_PROXY_OPTIONAL,
    PEAL_PROXY_REQUIRED /* nobody comes in without one */
};

struct peal_hooks;           /* peal/policy.h */
struct peal_address_tracker; /* peal/policy.h */

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

/*
 * What happens to messages to a room, or to everybody, for a client that reads
 * too slowly: what it has not taken yet may be queue_bytes_max. Only such
 * messages are ever dropped; answers, what is sent to a client alone, joins and
 * heartbeats are not: for those room is made, and the client is closed with
 * 1013 when they are too much together with what is on its way already, of
 * which a message may be as long as the queue.
 *
 * What is dropped leaves a gap: the client is told in its place (docs/
 * protocol.md: Gaps), where its dialect can say it, the application by
 * on_dropped, and everybody by the counters.
 */
enum peal_pressure {
    PEAL_PRESSURE_CLOSE,       /* the client is closed with 1013; nothing is
                                  dropped */
    PEAL_PRESSURE_DROP_OLDEST, /* older messages make room for the new one */
    PEAL_PRESSURE_DROP_NEWEST, /* the new message is dropped */
    PEAL_PRESSURE_CONFLATE     /* the new message replaces an older one of the
                                  same room, event and key that has not been
                                  sent yet; beyond that as drop_oldest */
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
    size_t header_bytes_max;  /* a request's head; default 8 KiB, at most 16
                                 MiB */
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
    uint32_t close_timeout_ms;     /* closing, without progress; 5,000 */
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
     * PEAL_ID_MAX bytes, and room for a zero byte, which need not be there) and
     * returns its size without that; 0 for a UUID; negative refuses the client.
     * An id that is in use or longer refuses it, too. NULL: UUIDs.
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

    enum peal_alive_by alive_by; /* default: PEAL_ALIVE_BY_TRAFFIC */

    /*
     * The same, ping_interval_ms and ping_timeout_ms for single dialects, by
     * enum peal_dialect: `.heartbeats[PEAL_DIALECT_STELAR] = {...}`.
     */
    struct peal_heartbeat heartbeats[PEAL_DIALECTS_MAX];

    /* Of ws_listen and tcp_listen; needs trusted_proxies; default: off. */
    enum peal_proxy_protocol proxy_protocol;

    /*
     * Connections of one address that are no clients, or not yet: in their TLS
     * handshake, in the middle of a request or between two, or answered by an
     * HTTP handler. More are reset when they are accepted. Of a trusted proxy
     * there may be any number, but each address that its PROXY headers tell is
     * bounded. Unix sockets and internal listeners are not. Default 1,000;
     * PEAL_OFF: no bound.
     */
    uint32_t handshakes_per_address_max;

    /*
     * For slow readers; rooms can have policies of their own
     * (peal_server_set_room_policy). `conflate_by` names the member of an
     * event's data, a JSON object, whose value is the key for
     * PEAL_PRESSURE_CONFLATE, such as "symbol"; NULL, or where there is none:
     * an event has no key, and its name decides. Values are the same when they
     * are written the same.
     */
    enum peal_pressure pressure; /* default: PEAL_PRESSURE_CLOSE */
    const char *conflate_by;

    /* Counts clients by address instead of peal (peal/policy.h); copied. */
    const struct peal_address_tracker *address_tracker;

    /* Seconds in the Retry-After of every refusal with 429 or 503 (RFC 9110,
     * 10.2.3); default 5; PEAL_OFF: it is left out. */
    uint32_t retry_after_s;

    /* When on_high_water and on_drain of struct peal_hooks are told. */
    size_t queue_high_bytes; /* default: half of queue_bytes_max */
    size_t queue_low_bytes;  /* default: a quarter of queue_high_bytes */

    /*
     * A peer that goes on taking what was sent before the end, be it slowly, is
     * not cut after close_timeout_ms, but when it has taken nothing for that
     * time, and after this one at last; default 60,000. So it is with answers
     * on kept-alive HTTP connections and handshake_timeout_ms.
     */
    uint32_t drain_timeout_ms;

    /*
     * What libpeal may have of memory in this process, all servers and clients
     * of it together; default 0: no bound. Beyond it caches are given up,
     * /readyz says no, new clients are refused with 503 (1013 over TCP), and
     * clients are closed with 1013, those first whose queues and TLS cost the
     * most, until it is enough; clients are let in again at nine tenths of it.
     * What TLS takes is estimated by the states of its connections, or known
     * (peal_tls_count_memory). Not counted are thread stacks and the kernel's.
     */
    size_t memory_bytes_max;

    /*
     * Of all loops; default: PEAL_IO_AUTO. With PEAL_IO_URING starting fails
     * with PEAL_ENOTSUP where libpeal was built without it or the kernel has
     * none, and with PEAL_EACCESS where a container, sandbox or sysctl forbids
     * it; the log has the reason. The line "loops started" tells what runs.
     *
     * With it, a thread of the program's that has run a loop (peal_server_run,
     * peal_server_attach, peal_server_step) is interrupted once, soon after
     * peal_server_free: calls that tell of a process being stopped and
     * continued (signal(7)), such as epoll_wait, may return EINTR.
     */
    enum peal_io_backend io_backend;
};

#ifdef __cplusplus
}
#endif

#endif
