/* Which path is which endpoint, and the answers to all of them. */
#define _GNU_SOURCE /* memmem */
#include "server/endpoint.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"
#include "server/gate.h"

#include <stdarg.h>
#include <stdio.h>

#define CUSTOM_BODY_MAX 16384

bool endpoint_print(struct buffer *body, const char *format, ...)
{
    char text[1024];
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return size >= 0 && (size_t)size < sizeof text &&
           buffer_append(body, text, (size_t)size) == 0;
}

/* What is asked, and what will be answered. */
struct exchange {
    struct conn *conn;
    struct peal_server *server;
    const struct http_request *request;
    struct buffer body;
    int status;
    const char *type;
};

static bool is_asked(const struct exchange *exchange, const char *name)
{
    return http_query_get(exchange->request->query, peal_slice(name)).data !=
               NULL ||
           slice_equal(exchange->request->query, peal_slice(name));
}

/* --- Each of them -------------------------------------------------------- */

static bool serve_live(struct exchange *exchange)
{
    bool is_live = health_is_live(conn_worker(exchange->conn));

    exchange->status = is_live ? 200 : 503;
    return (!is_asked(exchange, "verbose") ||
            health_list_live(conn_worker(exchange->conn), &exchange->body)) &&
           endpoint_print(&exchange->body, is_live ? "ok\n" : "failed\n");
}

static bool serve_ready(struct exchange *exchange)
{
    bool is_ready = health_is_ready(conn_worker(exchange->conn));

    exchange->status = is_ready ? 200 : 503;
    return (!is_asked(exchange, "verbose") ||
            health_list_ready(conn_worker(exchange->conn), &exchange->body)) &&
           endpoint_print(&exchange->body, is_ready ? "ok\n" : "failed\n");
}

/* The application's own answer; false when it leaves it to us. */
static bool ask_application(struct exchange *exchange)
{
    const struct peal_server_options *options =
        worker_options(conn_worker(exchange->conn));
    struct peal_health health = {
        .server = exchange->server,
        .path = exchange->request->path,
        .query = exchange->request->query,
        .is_ready = exchange->status == 200,
        .status = exchange->status,
        .type = exchange->type,
        .body_size_max = CUSTOM_BODY_MAX,
    };
    long size;

    if (options->on_health == NULL ||
        buffer_reserve(&exchange->body, CUSTOM_BODY_MAX) < 0) {
        return false;
    }
    health.body = exchange->body.data + exchange->body.end;
    size = options->on_health(&health, options->user);
    if (size < 0 || size > CUSTOM_BODY_MAX || health.status < 200 ||
        health.status > 599) {
        return false;
    }
    exchange->body.end += (size_t)size;
    exchange->status = health.status;
    exchange->type = health.type;
    return true;
}

static bool serve_health(struct exchange *exchange)
{
    exchange->type = "application/json";
    exchange->status = health_is_ready(conn_worker(exchange->conn)) ? 200 : 503;
    return ask_application(exchange) ||
           health_state(conn_worker(exchange->conn), &exchange->body);
}

static bool serve_metrics(struct exchange *exchange)
{
    struct peal_slice accept = http_header_get(
        exchange->request->headers, exchange->request->header_count, "Accept");
    static const char open[] = "application/openmetrics-text";
    bool is_open = accept.size > 0 && memmem(accept.data, accept.size, open,
                                             sizeof open - 1) != NULL;

    exchange->type =
        is_open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                : "text/plain; version=0.0.4; charset=utf-8";
    return metrics_write(conn_worker(exchange->conn), is_open, &exchange->body);
}

/* --- Which one ----------------------------------------------------------- */

static const struct endpoint {
    bool (*serve)(struct exchange *exchange);
    size_t option;          /* where the options have its path */
    const char *standard;   /* its path on internal listeners */
    const char *other_name; /* the same */
} endpoints[] = {
    {serve_health, offsetof(struct peal_server_options, health_path), "/health",
     NULL},
    {serve_live, offsetof(struct peal_server_options, livez_path), "/livez",
     NULL},
    {serve_ready, offsetof(struct peal_server_options, readyz_path), "/readyz",
     "/healthz"},
    {serve_metrics, offsetof(struct peal_server_options, metrics_path),
     "/metrics", NULL},
};

static bool is_path(struct peal_slice path, const char *name)
{
    return name != NULL && slice_equal(path, peal_slice(name));
}

static const struct endpoint *find(const struct worker *worker,
                                   bool is_internal, struct peal_slice path)
{
    for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++) {
        const struct endpoint *endpoint = &endpoints[i];
        const char *chosen;

        memcpy(&chosen,
               (const char *)worker_options(worker) + endpoint->option,
               sizeof(chosen));
        if (chosen != NULL && chosen[0] == '\0') {
            continue; /* it is off */
        }
        if (is_path(path, chosen) ||
            (is_internal && (is_path(path, endpoint->standard) ||
                             is_path(path, endpoint->other_name)))) {
            return endpoint;
        }
    }
    return NULL;
}

/* --- Answers ------------------------------------------------------------- */

/* Tells a browser that pages of `origin` may read the answer (Fetch, 3.2), if
 * they may. */
static const char *cors_headers(struct peal_slice origin, bool is_allowed,
                                char *out, size_t size)
{
    int written;

    if (origin.data == NULL || origin.size > size / 2) {
        return "Cache-Control: no-store\r\n";
    }
    if (!is_allowed) {
        return "Cache-Control: no-store\r\nVary: Origin\r\n";
    }
    written = snprintf(out, size,
                       "Cache-Control: no-store\r\n"
                       "Access-Control-Allow-Origin: %.*s\r\n"
                       "Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n"
                       "Access-Control-Max-Age: 86400\r\nVary: Origin\r\n",
                       (int)origin.size, origin.data);
    ASSERT(written > 0 && (size_t)written < size);
    return out;
}

static size_t body_bytes_max(const struct engine *engine)
{
    return ENDPOINT_BODY_MAX +
           (size_t)engine->space_count * ENDPOINT_SPACE_BYTES_MAX;
}

static void serve(struct conn *conn, const struct endpoint *endpoint,
                  const struct http_request *request)
{
    struct exchange exchange = {
        .conn = conn,
        .server = conn_seat(conn)->server,
        .request = request,
        .status = 200,
        .type = "text/plain; charset=utf-8",
    };
    struct peal_slice origin =
        http_header_get(request->headers, request->header_count, "Origin");
    bool is_allowed =
        origin.data == NULL ||
        gate_allows_origin(&conn_seat(conn)->config->options, origin);
    char headers[768];
    struct http_answer answer = {
        .headers = cors_headers(origin, is_allowed, headers, sizeof headers),
        .is_last = !request->keep_alive,
        .is_kept = request->minor_version == 0,
        .is_head = slice_equal(request->method, SLICE("HEAD")),
    };

    buffer_init(&exchange.body, body_bytes_max(conn_worker(conn)->engine));
    if (slice_equal(request->method, SLICE("OPTIONS"))) {
        answer.status = is_allowed ? 204 : 403;
    } else if (endpoint->serve(&exchange)) {
        answer.status = exchange.status;
        answer.type = exchange.type;
        answer.body = slice_make(exchange.body.data, exchange.body.end);
    } else {
        answer.status = 500;
    }
    conn_answer(conn, &answer);
    buffer_fini(&exchange.body);
}

bool endpoint_serve(struct conn *conn, const struct http_request *request)
{
    bool is_internal = conn->of.listener->is_internal;
    const struct endpoint *endpoint =
        find(conn_worker(conn), is_internal, request->path);

    if (endpoint == NULL) {
        if (is_internal) {
            conn_refuse(conn, 404, "");
        }
        return is_internal;
    }
    if (slice_equal(request->method, SLICE("GET")) ||
        slice_equal(request->method, SLICE("HEAD")) ||
        slice_equal(request->method, SLICE("OPTIONS"))) {
        serve(conn, endpoint, request);
    } else {
        conn_refuse(conn, 405, "Allow: GET, HEAD, OPTIONS\r\n");
    }
    return true;
}
