/*
 * client.h - the client: a link to a server that mends itself.
 *
 * Stability: as peal.h. Structs with a `size` field may grow at their end; set
 * it to the size of the struct you compiled with. In every options struct, zero
 * means the default that its comment names.
 *
 * Threads: links live on a loop, which runs on a thread of its own
 * (peal_loop_start), on the calling thread (peal_loop_run), or step by step in
 * the program's own loop (peal_loop_fd, peal_loop_timeout_ms, peal_loop_step).
 * Callbacks run where the loop runs, one at a time, and must not block. All
 * functions of a link may be called from any thread, unless their comment says
 * otherwise: inside of a callback they act at once; elsewhere 0 means that what
 * was asked for is on its way to the loop, in the order of the calls.
 *
 * Lifetime: a link is valid until peal_link_free. Everything passed in is
 * copied if it is kept; what a callback is given lives until it returns.
 *
 *     struct peal_link_options options = {
 *         .size = sizeof options, .url = "ws://127.0.0.1:8080/",
 *     };
 *     struct peal_event hello = peal_json("chat", "\"hello\"");
 *
 *     peal_loop_new(&loop, NULL);
 *     peal_link_new(&link, loop, &options);
 *     peal_link_on(link, "chat", on_chat, NULL);
 *     peal_link_open(link);
 *     peal_link_emit(link, &hello);
 *     peal_loop_run(loop);
 */
#ifndef PEAL_CLIENT_H
#define PEAL_CLIENT_H

#include <peal/peal.h>
#include <peal/tls.h>

#ifdef __cplusplus
extern "C" {
#endif

struct peal_loop;
struct peal_link;

/* --- The loop ------------------------------------------------------------ */

struct peal_loop_options {
    size_t size; /* sizeof(struct peal_loop_options) */

    /* NULL: silence. Lines below the level are not made; default info. */
    peal_log_function *log;
    void *log_user;
    enum peal_log_level log_level;

    size_t mailbox_bytes_max; /* calls on their way to it; default 64 MiB */
};

/*
 * Makes a loop; `options` may be NULL. Any number of links can share it. 0,
 * PEAL_EINVAL, PEAL_ENOMEM or PEAL_ESYSTEM.
 */
PEAL_API int peal_loop_new(struct peal_loop **loop,
                           const struct peal_loop_options *options);

/*
 * Stops a loop and frees it. Its links have to be freed first. Not from inside
 * a callback. NULL is allowed.
 */
PEAL_API void peal_loop_free(struct peal_loop *loop);

/* Runs it on a thread of its own. PEAL_ESTATE when it runs; PEAL_ESYSTEM. */
PEAL_API int peal_loop_start(struct peal_loop *loop);

/* Runs it on the calling thread until peal_loop_stop. PEAL_ESTATE. */
PEAL_API int peal_loop_run(struct peal_loop *loop);

/*
 * Makes peal_loop_run return, and ends a thread that was started: links stay as
 * they are, and nothing happens on them until it runs again. Any thread, and
 * from a signal handler.
 */
PEAL_API void peal_loop_stop(struct peal_loop *loop);

/*
 * For a program with a loop of its own: wait until the descriptor is readable
 * or so many milliseconds have passed (-1: no need to), then step.
 */
PEAL_API int peal_loop_fd(const struct peal_loop *loop);
PEAL_API int peal_loop_timeout_ms(struct peal_loop *loop);

/*
 * Does what there is to do, after waiting for it `timeout_ms` at most (0: not
 * at all; -1: until there is something). On one thread at a time, not from
 * inside a callback, and not while it runs: PEAL_ESTATE.
 */
PEAL_API int peal_loop_step(struct peal_loop *loop, int timeout_ms);

/* --- Links --------------------------------------------------------------- */

enum peal_link_state {
    PEAL_LINK_DISCONNECTED, /* and not about to connect */
    PEAL_LINK_CONNECTING,   /* for the first time since it was opened */
    PEAL_LINK_CONNECTED,    /* the server has let it in */
    PEAL_LINK_RECONNECTING  /* after a loss, or after a failed attempt */
};

/* The state's name in lower case. Static storage. */
PEAL_API const char *peal_link_state_name(enum peal_link_state state);

/* A change of state, or, from reconnecting to itself, one more attempt lost. */
struct peal_link_change {
    enum peal_link_state from;
    enum peal_link_state to;
    /*
     * Why a connection or an attempt ended: a negative enum peal_error, and
     * what there is to know: a close code of RFC 6455, 7.4 (0: none), an HTTP
     * status (0: none), and a reason, possibly "".
     */
    int error;
    int code;
    int http_status;
    const char *reason;
    uint32_t attempt;     /* the one to come, from 1 on; 0: none will */
    uint32_t retry_in_ms; /* until then */
    /*
     * Events that were written to the connection that is lost, without proof
     * that the server has read them. Requests tell for themselves.
     */
    uint64_t unproven;
};

/* An event arrived. */
typedef void peal_link_event_function(struct peal_link *link,
                                      const struct peal_event *event,
                                      void *user);

/* The outcome of a request, a join or a leave, exactly once. */
typedef void peal_link_answer_function(struct peal_link *link,
                                       const struct peal_answer *answer,
                                       void *user);

/*
 * A request of the server, by value: to be answered once, now or later. It is
 * gone when the connection that it came by is.
 */
struct peal_ask {
    struct peal_link *link;
    uint64_t value;
};

/* A request of the server arrived. */
typedef void peal_link_ask_function(struct peal_link *link,
                                    const struct peal_event *event,
                                    struct peal_ask ask, void *user);

/* What becomes of a message that finds the outbox full. */
enum peal_outbox_policy {
    PEAL_OUTBOX_DROP_OLDEST, /* make room: on_dropped tells of what goes */
    PEAL_OUTBOX_REFUSE       /* PEAL_EFULL for the new one */
};

struct peal_link_options {
    size_t size; /* sizeof(struct peal_link_options) */

    /*
     * Where to: "ws://host:port/path?query", "tcp://host:port" (frames),
     * "unix:/path" (frames), "ws+unix:/path:/path?query"; with TLS
     * "wss://host:port/path?query" and "tls://host:port" (frames). The port of
     * ws:// and wss:// may be left out: 80 and 443.
     */
    const char *url;
    enum peal_dialect dialect; /* default peal */

    /*
     * For WebSocket: further header lines, each with its "\r\n"; an Origin; the
     * subprotocols to offer, separated by commas (default: the dialect's); an
     * HTTP proxy for CONNECT, "host:port", also for tcp:// and for TLS, which
     * the proxy then cannot look into.
     */
    const char *headers;
    const char *origin;
    const char *protocols;
    const char *proxy;

    /*
     * Accepts an answer to the WebSocket handshake whose Sec-WebSocket-Accept
     * is wrong or missing: the original servers of stelar-time-real compute it
     * wrongly. It gives up the proof that a WebSocket server has read this
     * handshake.
     */
    bool accept_any_key;

    /* Limits. */
    size_t message_bytes_max;  /* of one message in; default 1 MiB */
    size_t queue_bytes_max;    /* written, not yet sent; default 256 KiB */
    uint32_t outbox_count_max; /* messages that wait; default 1,000 */
    size_t outbox_bytes_max;   /* default 1 MiB */
    enum peal_outbox_policy outbox_policy;
    uint32_t outbox_rate;  /* a second, after a connect; default 1,000 */
    uint32_t requests_max; /* waiting, each way; default 1,000 */

    /* Times in milliseconds. PEAL_OFF switches one off. */
    uint32_t connect_timeout_ms; /* of one attempt, in all; default 10,000 */
    uint32_t request_timeout_ms; /* default 10,000; cannot be off */
    uint32_t close_timeout_ms;   /* of the closing handshake; default 2,000 */
    /*
     * After so much silence of the server it is pinged, and after so much
     * further silence it counts as dead. Default: what the welcome says of the
     * server's own, or else 25,000 and 20,000.
     */
    uint32_t ping_interval_ms;
    uint32_t ping_timeout_ms;

    /*
     * Reconnecting: attempt n waits a random time between the lower bound and
     * first * 2^(n-1), but at most the upper bound. Attempts count anew after a
     * connection that has lasted `reconnect_stable_ms`. A server that says when
     * to come back (in its goodbye, or by Retry-After) is left alone for so
     * long, but for an hour at most. After a close with 1000, 3500 to 3999 or
     * 4500 to 4999, which mean for good, there is no attempt: the link stays
     * disconnected until it is opened again.
     */
    uint32_t reconnect_attempts;  /* in a row; default no end; PEAL_OFF: none */
    uint32_t reconnect_min_ms;    /* default 50 */
    uint32_t reconnect_first_ms;  /* default 1,000 */
    uint32_t reconnect_max_ms;    /* default 30,000 */
    uint32_t reconnect_stable_ms; /* default 5,000; PEAL_OFF: at once */

    /* Decides the delay itself; `delay_ms` is what it would be. */
    uint32_t (*reconnect_delay)(struct peal_link *link, uint32_t attempt,
                                uint32_t delay_ms, void *user);

    /*
     * On every change of state. What is sent when it has become connected
     * queues behind what waits in the outbox; rooms are joined again already.
     */
    void (*on_state)(struct peal_link *link,
                     const struct peal_link_change *change, void *user);

    /* Before each event that the program emits: false holds it back. */
    bool (*before_emit)(struct peal_link *link, const struct peal_event *event,
                        void *user);

    /* Every event that arrives, before its handlers. */
    peal_link_event_function *on_message;

    /* An event could not be sent at once, and waits as number `count`. */
    void (*on_queued)(struct peal_link *link, const struct peal_event *event,
                      size_t count, void *user);

    /* All that waited has been written; `count` is how many since connected. */
    void (*on_drained)(struct peal_link *link, size_t count, void *user);

    /*
     * An event that had been taken will not be sent: PEAL_EFULL (the outbox),
     * PEAL_ETOOBIG (the server's limit), PEAL_ENOMEM, PEAL_EGONE (the link is
     * being freed). Requests and files get their outcome instead.
     */
    void (*on_dropped)(struct peal_link *link, const struct peal_event *event,
                       int error, void *user);

    /*
     * Something went wrong that is nobody's answer: a failed attempt, a
     * complaint of the server, a room that could not be joined again. `what`
     * says it in a few words.
     */
    void (*on_error)(struct peal_link *link, int error, const char *what,
                     void *user);

    void *user; /* handed to the callbacks above */

    /*
     * For wss:// and tls://, made by peal_tls_client_new and held by the link;
     * any number of links can share it. NULL: the system's authorities, and no
     * certificate of its own. What is wrong with the server's certificate is
     * told as PEAL_ETLS, and no byte of the session is sent before it is known
     * to be right.
     */
    struct peal_tls *tls;
    /* The name to ask for and to verify; default: the host of the URL. */
    const char *tls_server_name;

    /*
     * Offers permessage-deflate (RFC 7692) over WebSocket, in the peal dialect.
     * Messages of at least so many bytes are compressed then, both ways; what
     * comes in is inflated to message_bytes_max and no further. With context
     * takeover each message is compressed with the window of the last ones:
     * smaller, but for some 50 KB of each link. Files are sent as they are.
     * What has secrets and what strangers chose should not be compressed
     * together: see CRIME and BREACH.
     */
    bool deflate;
    bool deflate_context_takeover;
    int deflate_window_bits; /* 9 to 15; default 15, with takeover 12 */
    size_t deflate_threshold_bytes; /* default 1 KiB */
};

/*
 * Makes a link on `loop`, which does not connect yet. 0; PEAL_EINVAL for an
 * option that makes no sense (the log says which); PEAL_EADDRESS for a URL that
 * cannot be read; PEAL_ETLS when the system's authorities cannot be read;
 * PEAL_ENOMEM.
 */
PEAL_API int peal_link_new(struct peal_link **link, struct peal_loop *loop,
                           const struct peal_link_options *options);

/*
 * Ends a link: it disconnects at once, every request gets its outcome and every
 * event in the outbox is reported as dropped, all with PEAL_EGONE. No callback
 * comes after this has returned, except when it is called from inside a
 * callback: then none comes after that one, and what other threads have asked
 * for that had not reached the loop by then has no outcome. While the loop is
 * stepped, only on the thread that steps. NULL is allowed.
 */
PEAL_API void peal_link_free(struct peal_link *link);

/*
 * Connects, and from then on stays connected, unless the server ends it for
 * good. Harmless when it does.
 */
PEAL_API int peal_link_open(struct peal_link *link);

/*
 * Disconnects, and stays so: with a close frame or goodbye (`code` 1000 or 3000
 * to 4999, PEAL_EINVAL for another), behind what was written before. The outbox
 * and the rooms are kept for the next peal_link_open.
 */
PEAL_API int peal_link_close(struct peal_link *link, int code,
                             const char *reason);

/*
 * Changes all options: limits, times and hooks at once; the address and what
 * belongs to it with the next connection. Errors as peal_link_new.
 */
PEAL_API int peal_link_update(struct peal_link *link,
                              const struct peal_link_options *options);

/* The state as of now. */
PEAL_API enum peal_link_state peal_link_state(const struct peal_link *link);

/*
 * The id that the server has given this client, or NULL when it is not known:
 * servers of stelar-time-real do not tell it over WebSocket. Inside of
 * callbacks only; lives until the connection ends.
 */
PEAL_API const char *peal_link_id(const struct peal_link *link);

/*
 * What is known of the TLS of this connection; the peer is the server. Inside
 * of callbacks only. PEAL_ENOTFOUND without TLS, or before its handshake.
 */
PEAL_API int peal_link_tls(const struct peal_link *link,
                           struct peal_tls_facts *facts);

/* --- Listening ------------------------------------------------------------ */

/*
 * A server of the peal dialect that drops messages for a slow reader says so,
 * in the place where they would have been: an event named "peal:gap", with the
 * room and {"count":3,"reason":"drop_oldest"} (docs/protocol.md: Gaps). It is
 * listened to like any other.
 */

/*
 * Calls `handler` for events of this name, in the order in which handlers were
 * added. They stay over reconnects. PEAL_EINVAL, PEAL_ENOMEM, PEAL_EFULL (the
 * mailbox, as for all functions below).
 */
PEAL_API int peal_link_on(struct peal_link *link, const char *name,
                          peal_link_event_function *handler, void *user);

/* The same, for the next such event only. */
PEAL_API int peal_link_once(struct peal_link *link, const char *name,
                            peal_link_event_function *handler, void *user);

/* The same for every event, after the handlers for its name. */
PEAL_API int peal_link_on_any(struct peal_link *link,
                              peal_link_event_function *handler, void *user);

/*
 * Removes handlers of this name (NULL: those for every event) that have this
 * function and user; a NULL function removes all of that name.
 */
PEAL_API int peal_link_off(struct peal_link *link, const char *name,
                           peal_link_event_function *handler, void *user);

/*
 * Calls `handler` for requests of the server of this name; one handler for a
 * name, a second one replaces the first, and NULL removes it. A request that
 * has only ordinary handlers is answered "ok" after them; one that has none,
 * with unknown_event.
 */
PEAL_API int peal_link_on_request(struct peal_link *link, const char *name,
                                  peal_link_ask_function *handler, void *user);

/* --- Sending -------------------------------------------------------------- */

/*
 * Sends an event, as soon as it is connected and behind all that waits. With
 * `room` set it goes to that room, if the server lets clients publish.
 *
 * Returns 0 once it is queued, which does not mean delivered; send a request if
 * that matters. PEAL_EINVAL: the name is empty, too long or reserved, or the
 * data is not JSON. PEAL_ENOTSUP: the dialect cannot say it. PEAL_EREFUSED:
 * before_emit held it back. PEAL_EFULL: the outbox. PEAL_ETOOBIG; PEAL_ENOMEM.
 */
PEAL_API int peal_link_emit(struct peal_link *link,
                            const struct peal_event *event);

/*
 * Sends an event that wants an answer, and calls `on_answer` exactly once and
 * never before this has returned, unless this fails: with status 0;
 * PEAL_EREFUSED (the server's failure); PEAL_ETIMEOUT, counted from now on,
 * with 0 for request_timeout_ms; PEAL_EGONE (the connection broke after it was
 * written, so nobody knows, or the link was freed); PEAL_EFULL, PEAL_ETOOBIG or
 * PEAL_ENOMEM (it was dropped before it was written). Errors as peal_link_emit;
 * PEAL_ELIMIT beyond requests_max.
 */
PEAL_API int peal_link_request(struct peal_link *link,
                               const struct peal_event *event,
                               uint32_t timeout_ms,
                               peal_link_answer_function *on_answer,
                               void *user);

/*
 * Asks the server for a sign of life that has gone the way of all requests,
 * through its dispatch and back: `on_answer` is called as for a request, after
 * the time there and back with status 0. Errors as peal_link_request;
 * PEAL_ENOTSUP, at once or as the outcome, in other dialects than peal.
 */
PEAL_API int peal_link_ping(struct peal_link *link, uint32_t timeout_ms,
                            peal_link_answer_function *on_answer, void *user);

/* What to do with a file, and how it goes. */
struct peal_file {
    size_t size;
    const char *name; /* of the event */
    const char *path;
    /* After each piece that was written; may be NULL. */
    void (*on_progress)(struct peal_link *link, uint64_t sent, uint64_t total,
                        void *user);
    /*
     * Exactly once, unless the call fails: 0 when all of it was written;
     * PEAL_EGONE when the connection broke meanwhile or the link was freed;
     * PEAL_ENOTFOUND, PEAL_EACCESS or PEAL_ESYSTEM when it cannot be read;
     * PEAL_EINVAL when it is no regular file; PEAL_ETOOBIG for the server;
     * PEAL_EFULL when it was dropped. May be NULL.
     */
    void (*on_done)(struct peal_link *link, int status, void *user);
    void *user;
};

/*
 * Sends the bytes of a file as one event, streamed from the disk: of the file
 * no more than a few pieces are in memory at a time. It takes its turn like any
 * event, and what is sent meanwhile waits behind it. The file is opened when
 * its turn comes, and must not become shorter after that. Errors as
 * peal_link_emit.
 */
PEAL_API int peal_link_send_file(struct peal_link *link,
                                 const struct peal_file *file);

/*
 * Joins a room now or when connected, and again after each reconnect, until it
 * is left or refused. `on_answer`, which may be NULL, is called as for requests
 * when it is known whether the server agrees. A join without one, such as those
 * after a reconnect, that fails for the moment (a temporary failure, or no
 * answer in time) is reported to on_error and tried again, after times as
 * between attempts to reconnect. Errors as peal_link_request.
 */
PEAL_API int peal_link_join(struct peal_link *link, const char *room,
                            peal_link_answer_function *on_answer, void *user);

/* Leaves it. While not connected that needs no answer: status 0. */
PEAL_API int peal_link_leave(struct peal_link *link, const char *room,
                             peal_link_answer_function *on_answer, void *user);

/*
 * Answers a request of the server with the data and kind of an event; NULL for
 * no data. PEAL_EGONE when it is answered already or its connection is gone;
 * PEAL_EINVAL when the data is not JSON; PEAL_ETOOBIG for the server, which can
 * still be answered otherwise; PEAL_ENOMEM. When that shows only after this has
 * returned 0 (outside of a callback, or while a file is being sent), the server
 * gets the error too_large or internal instead of the answer.
 */
PEAL_API int peal_ask_answer(struct peal_ask ask,
                             const struct peal_event *event);

/* Answers with an error. Errors as peal_ask_answer. */
PEAL_API int peal_ask_fail(struct peal_ask ask,
                           const struct peal_failure *failure);

/* --- What is going on ----------------------------------------------------- */

/* Counts since the link was made, and gauges of now. */
struct peal_link_stats {
    size_t size; /* set by the caller */

    /* Gauges. */
    uint64_t outbox_count;
    uint64_t outbox_bytes;
    uint64_t requests_pending;
    uint64_t connected_ms;  /* for how long; 0: is not */
    uint64_t connect_ms;    /* how long the last successful attempt took */
    uint64_t round_trip_us; /* of the last ping; 0: none came back yet */
    int64_t last_error;     /* a negative enum peal_error, or 0 */

    /* Counters. */
    uint64_t connects;
    uint64_t attempts;
    uint64_t sent;     /* events, requests and answers that were written */
    uint64_t received; /* the same, read */
    uint64_t bytes_out;
    uint64_t bytes_in;
    uint64_t queued;          /* messages that had to wait */
    uint64_t dropped;         /* that had been taken, and will not be sent */
    uint64_t unproven;        /* see struct peal_link_change */
    uint64_t requests_failed; /* whose status was not 0 */
    uint64_t invalid;         /* messages that could not be understood */

    /* Messages that went or came compressed: bytes of them, and on the wire. */
    uint64_t deflated;
    uint64_t deflated_bytes;
    uint64_t deflated_wire_bytes;
    uint64_t inflated;
    uint64_t inflated_bytes;
    uint64_t inflated_wire_bytes;
    uint64_t gaps;   /* peal:gap events of the server */
    uint64_t missed; /* messages that it dropped, as they tell */
};

/* Fills what fits into stats->size; PEAL_EINVAL when that is 0. */
PEAL_API int peal_link_stats(const struct peal_link *link,
                             struct peal_link_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
