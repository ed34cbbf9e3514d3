/*
 * The head of a request on a connection that may become a WebSocket: upgrades,
 * what else is on its path, and refusals.
 */
#include "server/conn.h"

#include "base/mem.h"
#include "base/slice.h"
#include "proto/http.h"
#include "proto/ws_deflate.h"
#include "proto/ws_handshake.h"
#include "server/admission.h"
#include "server/conn_extra.h"
#include "server/deflate.h"
#include "server/endpoint.h"
#include "server/gate.h"
#include "server/reply.h"
#include "server/resource.h"
#include "server/route.h"

#include <stdio.h>
#include <string.h>

#define ANSWER_HEAD_MAX (REPLY_LINES_MAX + 512)

/* Answers a request. After an error nothing more is read of the connection. */
void conn_answer(struct conn *conn, const struct http_answer *answer)
{
    char head[ANSWER_HEAD_MAX];
    struct http_answer without_body = *answer;
    long size;

    without_body.is_head = true; /* the body is queued from where it lies */
    size = http_answer_write(head, sizeof head, &without_body);
    if (size < 0 ||
        output_bytes(conn, slice_make(head, (size_t)size),
                     answer->is_head ? slice_make(NULL, 0) : answer->body) <
            0) {
        conn_cut(conn);
        return;
    }
    if (answer->is_last) {
        conn_finish(conn);
    } else {
        /* The next request has a handshake's time to come. */
        conn->has_answered = true;
        if (conn->extra != NULL) {
            conn->extra->drain.unsent = 0;
        }
        timer_start(&conn->stream.loop->timers, &conn->timer,
                    conn->stream.loop->now_ms +
                        conn_seat(conn)->config->options
                            .handshake_timeout_ms);
    }
}

/* Refuses with a status and its reason as the body. */
void conn_refuse(struct conn *conn, int status, const char *headers)
{
    uint32_t retry_after_s = conn_seat(conn)->config->options.retry_after_s;
    char lines[256];
    char body[128];
    int size = snprintf(body, sizeof body, "%d %s\n", status,
                        http_reason(status));
    struct http_answer refusal = {
        .status = status,
        .headers = headers,
        .type = "text/plain; charset=utf-8",
        .body = slice_make(body, (size_t)size),
        .is_last = true,
    };

    if ((status == 429 || status == 503) && retry_after_s != PEAL_OFF) {
        snprintf(lines, sizeof lines, "%sRetry-After: %lu\r\n", headers,
                 (unsigned long)retry_after_s);
        refusal.headers = lines;
    }
    if (status == 431) {
        seat_count(conn_seat(conn), COUNT_CLOSED_HEADER_BYTES);
    }
    conn_answer(conn, &refusal);
}

/* A request that does not ask for an upgrade; `head` is all of its head. */
static void serve(struct conn *conn, const struct http_request *request,
                  struct peal_slice head)
{
    bool has_body = request->content_length > 0 || request->is_chunked;
    bool is_get = slice_equal(request->method, SLICE("GET")) ||
                  slice_equal(request->method, SLICE("HEAD"));
    struct route_match route;

    if (!has_body && endpoint_serve(conn, request)) {
        /* It was one of the server's own, and is answered. */
    } else if (!conn->of.listener->is_internal &&
               resource_serve(conn, request, head)) {
        /* It was the application's, and is answered or soon will be. */
    } else if (has_body) {
        conn_refuse(conn, 413, "");
    } else if (!route_find(conn, request->path, &route)) {
        conn_refuse(conn, route.status, "");
    } else if (is_get) {
        conn_refuse(conn, 426, WS_VERSION_HEADERS);
    } else {
        conn_refuse(conn, 405, "Allow: GET\r\n");
    }
}

/* --- Upgrades ------------------------------------------------------------ */

static const char *select_protocol(const struct conn *conn,
                                   const struct http_request *request,
                                   const struct dialect *dialect)
{
    const struct config *config = conn_seat(conn)->config;
    const char *const own[] = {dialect->subprotocol, NULL};

    return ws_select(request, config->options.protocols != NULL
                                  ? config->options.protocols
                                  : own);
}

/* Says no after the upgrade. */
static void refuse_by_close(struct conn *conn, int code, const char *reason,
                            struct peal_slice opening)
{
    char payload[WS_CONTROL_MAX];
    size_t size = ws_close_write(payload, code, peal_slice(reason));

    (void)output_bytes(conn, opening, slice_make(NULL, 0));
    (void)output_control(conn, WS_OPCODE_CLOSE, slice_make(payload, size));
    conn_finish(conn);
}

/* Says no to a client that asked properly, in the way that the options want. */
static void refuse_client(struct conn *conn, int status,
                          struct peal_slice opening)
{
    switch (conn_seat(conn)->config->options.refuse_by) {
    case PEAL_REFUSE_BY_STATUS:
        conn_refuse(conn, status, "");
        break;
    case PEAL_REFUSE_BY_CLOSE:
        refuse_by_close(conn, conn_refusal_code(status), http_reason(status),
                        opening);
        break;
    case PEAL_REFUSE_BY_HANGUP:
        conn_cut(conn);
        break;
    }
}

/* Says no in the words of the middleware. */
static void deny_client(struct conn *conn, const struct peal_denial *denial,
                        struct peal_slice opening)
{
    bool is_status = denial->status >= 400 && denial->status <= 599;

    seat_count(conn_seat(conn), COUNT_REFUSED_APPLICATION);
    if (!is_status && ws_close_code_is_valid(denial->code)) {
        refuse_by_close(conn, denial->code, denial->reason, opening);
    } else {
        refuse_client(conn, is_status ? denial->status : 403, opening);
    }
}

/* Where the client really is: of the socket, or as a trusted proxy says. */
static int find_address(struct conn *conn, const struct http_request *request,
                        struct socket_address *peer,
                        char text[SOCKET_TEXT_SIZE])
{
    const struct peal_server_options *options =
        worker_options(conn_worker(conn));
    bool is_forwarded;

    if (!conn_peer(conn, peer)) {
        return PEAL_EGONE;
    }
    is_forwarded = gate_forwarded(options, request, peer);
    socket_address_format(peer, text);
    return is_forwarded ? conn_set_address(conn, text) : 0;
}

static void upgrade(struct conn *conn, const struct http_request *request,
                    struct peal_slice head,
                    const struct peal_denial *late_denial)
{
    enum peal_verdict verdict = PEAL_REFUSE;
    struct peal_connect connect;
    struct peal_denial denial;
    struct socket_address peer;
    char address[SOCKET_TEXT_SIZE];
    struct peal_tls_facts facts;
    char opening[WS_ANSWER_SIZE_MAX];
    char deflate[WS_DEFLATE_LINE_MAX];
    struct route_match route;
    const char *protocol;
    struct ws_upgrade offer;
    int status = ws_upgrade_check(&offer, request);
    struct seat *seat;
    long size;
    int rc;

    if (!route_find(conn, request->path, &route)) {
        conn_refuse(conn, route.status, "");
        return;
    }
    conn_move(conn, route.server);
    seat = conn_seat(conn);
    if (status != 0) {
        conn_refuse(conn, status, status == 426 ? WS_VERSION_HEADERS : "");
        return;
    }
    conn_set_form(conn, route.dialect, TRANSPORT_WS);
    status = deflate_agree(conn, request, route.deflate, deflate);
    if (status != 0) {
        conn_refuse(conn, status, "");
        return;
    }
    protocol = select_protocol(conn, request, route.dialect);
    size = ws_answer_write(opening, sizeof opening, offer.key, protocol,
                           deflate);
    if (size < 0) {
        conn_refuse(conn, 503, "");
        return;
    }
    if (!gate_allows_origin(&seat->config->options, offer.origin)) {
        seat_count(seat, COUNT_REFUSED_ORIGINS);
        refuse_client(conn, 403, slice_make(opening, (size_t)size));
        return;
    }
    if (find_address(conn, request, &peer, address) < 0) {
        conn_cut(conn); /* it has gone already, or there is no memory */
        return;
    }
    connect = (struct peal_connect){
        .transport = PEAL_WS,
        .dialect = options_dialect_name(route.dialect),
        .path = request->path,
        .query = request->query,
        .origin = offer.origin,
        .protocol = peal_slice(protocol),
        .address = address,
        .request = request,
        .pattern = route.pattern,
        .tls = conn_tls_facts(conn, &facts),
    };
    rc = conn_check_address(conn, &connect, &peer, &status);
    if (rc < 0) {
        refuse_client(conn, status, slice_make(opening, (size_t)size));
        return;
    }
    if (late_denial != NULL) {
        denial = *late_denial;
    } else {
        verdict = admission_ask(conn,
                                &(struct admission_request){
                                    .connect = &connect,
                                    .peer = &peer,
                                    .head = head,
                                },
                                &denial);
    }
    if (verdict != PEAL_ALLOW) {
        if (verdict == PEAL_REFUSE) {
            deny_client(conn, &denial, slice_make(opening, (size_t)size));
        }
        return;
    }
    rc = conn_admit(conn, &connect, &peer, slice_make(opening, (size_t)size),
                    &status);
    if (rc < 0) {
        log_debug(&conn_worker(conn)->engine->log, "server", "client refused",
                  "remote=%s error=%s status=%d", address,
                  peal_error_name(rc), status);
        refuse_client(conn, status, slice_make(opening, (size_t)size));
    }
}

void conn_upgrade_later(struct conn *conn, struct peal_slice head,
                        const struct peal_denial *denial)
{
    struct http_request request;

    /* It was parsed before, so it can be parsed again. */
    if (http_request_parse(&request, head.data, head.size, head.size) > 0) {
        upgrade(conn, &request, head, denial);
    } else {
        conn_cut(conn);
    }
}

size_t conn_read_head(struct conn *conn, char *data, size_t size)
{
    size_t most = worker_options(conn_worker(conn))->header_bytes_max;
    struct http_request request;
    long used;

    if (conn->is_waiting) {
        /* A framed-TCP client that is being asked about: what has come with
         * the end of its TLS handshake is no head. */
        return 0;
    }
    if (conn->input != NULL && size <= most &&
        http_head_size(data, size, &conn->input->scanned) == 0) {
        return 0;
    }
    used = http_request_parse(&request, data, size, most);
    if (used == 0) {
        return 0;
    }
    if (used < 0) {
        (void)conn_proxy_unexpected(conn, data, size);
        conn_refuse(conn, (int)-used, "");
        return size;
    }
    if (conn->input != NULL) {
        conn->input->scanned = 0; /* the next head may follow at once */
    }
    conn_move(conn, conn->of.listener->server); /* the last one is answered */
    if (ws_is_upgrade(&request)) {
        upgrade(conn, &request, slice_make(data, (size_t)used), NULL);
    } else {
        serve(conn, &request, slice_make(data, (size_t)used));
    }
    return (size_t)used;
}
