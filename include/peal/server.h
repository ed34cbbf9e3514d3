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
 * Once a server has stopped, and until it is freed, functions that would send
 * something or have something done return PEAL_ESTATE, or PEAL_EGONE for a
 * client; peal_server_stats tells what was counted in the end.
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

#include <peal/options.h>
#include <peal/stats.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- The server's life --------------------------------------------------- */

/*
 * Makes a server and binds its listeners; nobody is accepted yet.
 *
 * Returns 0; PEAL_EINVAL for an option out of range, or a `size` that was
 * forgotten (the log, if there is one, says which); PEAL_EADDRESS,
 * PEAL_EADDRINUSE or PEAL_EACCESS when an address cannot be had; PEAL_ENOMEM;
 * PEAL_ESYSTEM. `*server` is set on success only.
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
    enum peal_proxy_protocol proxy_protocol; /* default: the server's; internal
                                                listeners: off */
    struct peal_server *space; /* TCP: whose clients come here; NULL: the
                                  server's own; see peal_server_space */
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
    enum peal_dialect dialect; /* default: the listener's; a namespace's own */
    enum peal_deflate deflate; /* default: the server's */
};

/*
 * Adds a route. Without any, every path is accepted; with one or more, of the
 * server or of its namespaces, all other paths are answered with 404. Before
 * the start; PEAL_ESTATE; PEAL_EEXIST when another route matches just the same
 * paths; PEAL_EINVAL, PEAL_ENOMEM.
 */
PEAL_API int peal_server_route(struct peal_server *server,
                               const struct peal_route *route);

/* Of the name of a namespace, in bytes; and how many a server may have. */
#define PEAL_SPACE_NAME_MAX 64
#define PEAL_SPACES_MAX 255

/*
 * Makes a namespace of `parent`: a server of its own in everything but its
 * loops, listeners and life. What takes a `struct peal_server *` works on it,
 * and concerns its clients alone: handlers, middleware, hooks, rates, limits,
 * rooms, ids, the options in force and statistics. What is done to `parent`
 * does not concern them. A reference, request, ticket or admission is good for
 * its own namespace; with another one it is PEAL_EGONE.
 *
 *     struct peal_server_options options = {
 *         .size = sizeof options, .dialect = PEAL_DIALECT_STELAR,
 *     };
 *     struct peal_route route = {.size = sizeof route, .path = "/legacy"};
 *
 *     if (peal_server_space(server, "legacy", &options, &legacy) == 0) {
 *         peal_server_route(legacy, &route);
 *         peal_server_on(legacy, "chat", on_chat, NULL);
 *     }
 *
 * WebSocket clients come to it by its routes, TCP clients by a listener that
 * names it (struct peal_listen). `name` stands in /metrics and in the log: up
 * to PEAL_SPACE_NAME_MAX letters, digits and "-_./". Options that are 0 have
 * their defaults, not what `parent` has; those that are of the whole server
 * must be 0 and read as 0 (peal_server_option_is_shared). Clients count at
 * clients_max and clients_per_address_max of their namespace and at those of
 * `parent`, which counts all.
 *
 * A namespace starts, stops and is freed with its parent: peal_server_stop,
 * peal_server_cut and peal_server_set_ready on it are about the whole server,
 * peal_server_free does nothing, and what else is of a server's life, also
 * peal_server_listen and peal_server_adopt, gives PEAL_ENOTSUP.
 *
 * Before the start: 0 and `*space`; PEAL_ESTATE; PEAL_EINVAL for an option (the
 * log says which) or a name; PEAL_EEXIST for a name that is taken; PEAL_ELIMIT
 * beyond PEAL_SPACES_MAX; PEAL_ENOTSUP when `parent` is a namespace itself;
 * PEAL_ENOMEM, PEAL_ESYSTEM.
 */
PEAL_API int peal_server_space(struct peal_server *parent, const char *name,
                               const struct peal_server_options *options,
                               struct peal_server **space);

/*
 * The name of a namespace; "" for the server that has them. Lives as long.
 * Any thread.
 */
PEAL_API const char *peal_server_name(const struct peal_server *server);

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
 * Serves the JavaScript client at `path`, or at "/peal.js" if that is NULL: the
 * bundle for browsers, of this library's version, which sets the global `peal`.
 *
 *     <script src="/peal.js"></script>
 *     <script>const rt = peal.connect("/");</script>
 *
 * Before the start; errors as peal_server_route.
 */
PEAL_API int peal_server_client_js(struct peal_server *server,
                                   const char *path);

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
 * graceful stop, or PEAL_ESTATE, PEAL_ENOMEM, PEAL_ESYSTEM, PEAL_ENOTSUP for a
 * namespace, or what `io_backend` says.
 */
PEAL_API int peal_server_run(struct peal_server *server);

/* Starts all loops on threads of their own and returns. Errors as above. */
PEAL_API int peal_server_start(struct peal_server *server);

/*
 * Waits until a started server has stopped; for an attached one, takes the
 * steps that are left until then. PEAL_ESTATE when it is not running or
 * peal_server_run runs it, while another thread waits for it, and from inside a
 * callback.
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
 * Begins a graceful stop: after stop_delay_ms no more clients are accepted,
 * every client is told (close code 1001, or a goodbye over TCP), at the pace of
 * stop_clients_per_second, what is queued is sent, and stop_timeout_ms later
 * what is left is cut off. What other threads have sent before the call is
 * delivered before that, unless a loop does not turn. Any thread, and from a
 * signal handler.
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
 * no field is 0 for a default. Texts and lists in it live until an update
 * replaces them by others.
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
 * A `user` that is replaced may be handed to callbacks until each loop has had
 * that turn, so what it points to had better live as long as the server.
 *
 * Of two updates at once the later one counts, whole: threads that change
 * single options hold a lock of their own from peal_server_config to here.
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

/*
 * Whether option `index` is of the whole server: a namespace must leave it 0,
 * and has it as 0. Any thread.
 */
PEAL_API bool peal_server_option_is_shared(size_t index);

/* --- One client, from inside its callbacks ------------------------------- */

/* The reference to keep, and to hand to functions for any thread. */
PEAL_API struct peal_client_ref
peal_client_ref(const struct peal_client *client);

/*
 * The client's id: the application's own, else a UUID of version 4. NULL only
 * when there is no memory to make it. Lives as long as the client.
 */
PEAL_API const char *peal_client_id(struct peal_client *client);

/* Its server or namespace, its transport and dialect. */
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
 * removes. PEAL_ELIMIT beyond metadata_bytes_max (then nothing changes);
 * PEAL_EINVAL for an empty key; PEAL_ENOMEM.
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
 * Joins this client to a room, which exists as long as it has members. Joining
 * twice is one membership. PEAL_EINVAL: the name is empty, longer than
 * room_name_bytes_max or not UTF-8. PEAL_ELIMIT: rooms_per_client_max or
 * rooms_max. PEAL_ENOMEM.
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

#ifdef __cplusplus
}
#endif

#endif
