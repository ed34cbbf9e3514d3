/*
 * http.h - plain HTTP on the port of the WebSocket clients: a page, a health
 * check of one's own, a webhook.
 *
 * Stability: as peal.h. Threads: handlers run on a loop of the server, one at a
 * time for each connection, and must not block; answers may come from any
 * thread. Memory: a request lives until its handler has returned; what is
 * passed in is copied.
 *
 *     static void on_hello(const struct peal_http_request *request,
 *                          struct peal_http_reply reply, void *user)
 *     {
 *         struct peal_http_response response = {
 *             .size = sizeof response,
 *             .type = "text/plain; charset=utf-8",
 *             .body = peal_slice("hello\n"),
 *         };
 *
 *         peal_http_respond(reply, &response);
 *     }
 *
 *     peal_server_http(server, "GET", "/hello/:name", on_hello, NULL);
 *
 * HTTP/1.1 with keep-alive; pipelined requests are answered in their order.
 */
#ifndef PEAL_HTTP_H
#define PEAL_HTTP_H

#include <peal/server.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What was asked for. All slices are as they were sent, not decoded. */
struct peal_http_request {
    struct peal_slice method; /* "GET"; "HEAD" for a handler of GET, too */
    struct peal_slice path;   /* "/hello/ada" */
    struct peal_slice query;  /* "x=1", without the question mark */
    struct peal_slice body;   /* whole, and without its chunks */
    const char *pattern;      /* of the handler: "/hello/:name" */
    const char *address;      /* of the peer, also behind trusted_proxies */
    const void *head;         /* for peal_http_header */
};

/*
 * The answer that is owed to a request, by value: may be kept and passed
 * between threads. It is given once: by peal_http_respond or, when that does
 * not come within http_timeout_ms, as a 503. Afterwards it is gone.
 */
struct peal_http_reply {
    struct peal_server *server;
    uint64_t value;
};

/* A request arrived, to be answered now or later, from any thread. */
typedef void peal_http_function(const struct peal_http_request *request,
                                struct peal_http_reply reply, void *user);

/*
 * Calls `handler` for requests with this method (letter case counts) on this
 * path, which may have parameters, as that of struct peal_route. A handler of
 * GET gets HEAD as well, unless that has one; what it answers is then sent
 * without the body. Other methods on the path are answered with 405 and Allow.
 *
 * Bodies are bounded by http_body_bytes_max (413 beyond). The server's own
 * endpoints come first. WebSocket clients may connect on the same path.
 *
 * Before the start: PEAL_ESTATE; PEAL_EEXIST when this method has a handler or
 * page on a path that matches just the same; PEAL_EINVAL for no method or path;
 * PEAL_ENOMEM.
 */
PEAL_API int peal_server_http(struct peal_server *server, const char *method,
                              const char *path, peal_http_function *handler,
                              void *user);

/*
 * The first header of that name (letter case ignored); data is NULL when there
 * is none.
 */
PEAL_API struct peal_slice
peal_http_header(const struct peal_http_request *request, const char *name);

/*
 * Copies a parameter of the path, or the first of that name in the query,
 * decoded, with a zero byte behind it. Returns and errors as peal_connect_param
 * and peal_connect_query.
 */
PEAL_API long peal_http_param(const struct peal_http_request *request,
                              const char *name, char *out, size_t size);
PEAL_API long peal_http_query(const struct peal_http_request *request,
                              const char *name, char *out, size_t size);

/* A header line of a response. */
struct peal_http_field {
    const char *name;
    const char *value;
};

/* What is answered. Zero means the default that the comment names. */
struct peal_http_response {
    size_t size;      /* sizeof(struct peal_http_response) */
    int status;       /* 200 to 599; default 200 */
    const char *type; /* Content-Type; default: none */
    struct peal_slice body;
    const struct peal_http_field *fields; /* further headers */
    size_t field_count;
};

/*
 * Answers a request. 0; PEAL_EGONE when it was answered already, timed out or
 * its connection is gone; PEAL_EINVAL for a status out of range, a body where
 * none may be (204, 205, 304), a name that is no token, a value with a control
 * character such as CR or LF, or one of the headers that the server writes
 * (Connection, Content-Length, Transfer-Encoding, and Content-Type if there is
 * a type); PEAL_ETOOBIG beyond 4 KiB of headers; PEAL_EFULL or PEAL_ENOMEM.
 * After any but the first it may be tried again. From another thread than the
 * connection's loop, 0 means that the answer is on its way there. Any thread.
 */
PEAL_API int peal_http_respond(struct peal_http_reply reply,
                               const struct peal_http_response *response);

/* A connection that the program has accepted, and read a request's head of. */
struct peal_adopt {
    size_t size; /* sizeof(struct peal_adopt) */
    int fd;
    const void *head; /* as it was read, with its closing blank line */
    size_t head_size;
    const void *early; /* what was read behind it; at most 64 KiB */
    size_t early_size;
    enum peal_dialect dialect; /* where no route says it; default: server's */
};

/*
 * Takes a connection over, for programs that have an HTTP server of their own:
 * it goes on as if peal had accepted it and read these bytes, on one of the
 * loops in turn. Mostly the head is an upgrade to WebSocket; any other request
 * is served, too, and so are those that follow it.
 *
 * 0: `fd` is peal's, whatever happens then. Otherwise it is as it was, and the
 * program can answer: PEAL_ESTATE unless the server is running and has not been
 * told to stop; PEAL_EINVAL for a descriptor that is no connected stream
 * socket, or bytes that are not just one head; PEAL_EPROTOCOL for a malformed
 * head; PEAL_ETOOBIG beyond header_bytes_max, or for `early`; PEAL_EFULL,
 * PEAL_ENOMEM. The socket must not have TLS on it. Any thread.
 */
PEAL_API int peal_server_adopt(struct peal_server *server,
                               const struct peal_adopt *adopt);

#ifdef __cplusplus
}
#endif

#endif
