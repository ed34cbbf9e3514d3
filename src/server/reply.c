/* Answers that are owed to HTTP requests. */
#include "server/reply.h"

#include "base/assert.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/slice.h"
#include "proto/http_body.h"
#include "server/gate.h"

/* A number is count << LOOP_BITS | index of the worker. */
#define LOOP_BITS 6
_Static_assert(HUB_MAX <= 1 << LOOP_BITS, "a number holds any worker's index");

struct reply {
    uint64_t number;
    struct conn *conn;               /* NULL: it has been given */
    const struct listener *listener; /* whom the conn came by */
    struct reply_to to;
    struct http_body decoder;
    struct buffer body;
    char *head; /* a copy while the body is read, else NULL */
    size_t head_size;
    bool is_head;
    bool keep_alive;
    bool is_of_1_0;  /* the request */
    bool is_running; /* the handler has not returned */
};

struct reply_table {
    struct map replies; /* by number */
    uint64_t last;
};

static struct peal_slice reply_key(const void *value)
{
    const struct reply *reply = value;

    return slice_make((const char *)&reply->number, sizeof reply->number);
}

static struct reply_table *table_of(struct worker *worker)
{
    if (worker->replies == NULL) {
        worker->replies = mem_zalloc(sizeof *worker->replies);
        if (worker->replies != NULL) {
            map_init(&worker->replies->replies, reply_key);
        }
    }
    return worker->replies;
}

void reply_table_free(struct reply_table *table)
{
    if (table != NULL) {
        ASSERT(table->replies.count == 0);
        map_fini(&table->replies);
        mem_free(table);
    }
}

int reply_loop(uint64_t number)
{
    return (int)(number & ((1 << LOOP_BITS) - 1));
}

static struct reply *find(const struct worker *worker, uint64_t number)
{
    return worker->replies == NULL
               ? NULL
               : map_get(&worker->replies->replies,
                         slice_make((const char *)&number, sizeof number));
}

/* --- Its life ------------------------------------------------------------ */

static struct reply *reply_new(struct conn *conn,
                               const struct http_request *request,
                               const struct reply_to *to)
{
    struct worker *worker = conn_worker(conn);
    struct seat *seat = conn_seat(conn);
    struct reply_table *table = table_of(worker);
    struct reply *reply =
        table != NULL ? mem_zalloc(sizeof *reply) : NULL;

    if (reply == NULL) {
        return NULL;
    }
    reply->number =
        ++table->last << LOOP_BITS | (uint64_t)worker->index;
    reply->conn = conn;
    reply->listener = conn->of.listener;
    reply->to = *to;
    reply->is_head = slice_equal(request->method, SLICE("HEAD"));
    reply->keep_alive = request->keep_alive;
    reply->is_of_1_0 = request->minor_version == 0;
    http_body_init(&reply->decoder, request->content_length,
                   request->is_chunked);
    buffer_init(&reply->body, seat->config->options.http_body_bytes_max);
    if (map_add(&table->replies, reply) < 0) {
        mem_free(reply);
        return NULL;
    }
    conn->of.reply = reply;
    conn->state = CONN_HTTP_BODY;
    return reply;
}

static void reply_free(struct reply *reply)
{
    buffer_fini(&reply->body);
    mem_free(reply->head);
    mem_free(reply);
}

void reply_drop(struct conn *conn)
{
    struct reply *reply = conn->of.reply;

    ASSERT(conn_owes_reply(conn));
    map_remove(&conn_worker(conn)->replies->replies, reply_key(reply));
    conn->of.listener = reply->listener;
    conn->state = CONN_HEAD;
    conn->is_waiting = false;
    reply->conn = NULL;
    if (!reply->is_running) {
        reply_free(reply);
    } /* else the handler may still look at the request */
}

/* Drops what is owed and refuses instead. */
static void refuse(struct conn *conn, int status, const char *headers)
{
    if (status == 413) {
        seat_count(conn_seat(conn), COUNT_CLOSED_HTTP_BODY);
    }
    reply_drop(conn);
    conn_refuse(conn, status, headers);
}

/* Lets the handler have the request, whose slices live until the return. */
static void run(struct reply *reply, const struct http_request *request)
{
    struct conn *conn = reply->conn;
    struct seat *seat = conn_seat(conn);
    struct socket_address peer;
    char address[SOCKET_TEXT_SIZE] = "";
    struct peal_http_request asked = {
        .method = request->method,
        .path = request->path,
        .query = request->query,
        .body = slice_make(reply->body.data, reply->body.end),
        .pattern = reply->to.pattern,
        .address = address,
        .head = request,
    };

    if (conn_peer(conn, &peer)) {
        (void)gate_forwarded(worker_options(seat->worker), request, &peer);
        socket_address_format(&peer, address);
    }
    seat_count(seat, COUNT_HTTP_REQUESTS);
    conn->state = CONN_HTTP_ANSWER;
    conn_timer_in(conn, seat->config->options.http_timeout_ms);
    reply->is_running = true;
    reply->to.handler(&asked,
                      (struct peal_http_reply){seat->server, reply->number},
                      reply->to.user);
    reply->is_running = false;
    if (reply->conn == NULL) {
        reply_free(reply);
        return;
    }
    /* The answer comes later: then nothing but the place for it is kept. */
    buffer_fini(&reply->body);
    mem_free(reply->head);
    reply->head = NULL;
    conn->is_waiting = true;
}

/* --- The body ------------------------------------------------------------ */

/* Whether the request may be served, and its peer waits for a word on that. */
static bool check_expect(struct conn *conn, const struct http_request *request,
                         bool *is_continue)
{
    struct peal_slice expect =
        http_header_get(request->headers, request->header_count, "Expect");

    *is_continue = false;
    if (expect.data == NULL || request->minor_version == 0) {
        return true;
    }
    if (!slice_equal_nocase(expect, SLICE("100-continue"))) {
        conn_refuse(conn, 417, "");
        return false;
    }
    *is_continue = true;
    return true;
}

static bool check_length(struct conn *conn, const struct http_request *request)
{
    struct seat *seat = conn_seat(conn);

    if (request->content_length <=
        seat->config->options.http_body_bytes_max) {
        return true;
    }
    seat_count(seat, COUNT_CLOSED_HTTP_BODY);
    conn_refuse(conn, 413, "");
    return false;
}

void reply_begin(struct conn *conn, const struct http_request *request,
                 struct peal_slice head, const struct reply_to *to)
{
    bool is_continue;
    struct reply *reply;

    if (!check_length(conn, request) ||
        !check_expect(conn, request, &is_continue)) {
        return;
    }
    reply = reply_new(conn, request, to);
    if (reply == NULL) {
        conn_refuse(conn, 503, "");
        return;
    }
    if (http_body_is_done(&reply->decoder)) {
        run(reply, request);
        return;
    }
    reply->head = mem_copy(head.data, head.size);
    reply->head_size = head.size;
    if (reply->head == NULL) {
        refuse(conn, 503, "");
        return;
    }
    conn_timer_in(conn, conn_seat(conn)->config->options.handshake_timeout_ms);
    if (is_continue &&
        output_bytes(conn, SLICE("HTTP/1.1 100 Continue\r\n\r\n"),
                     slice_make(NULL, 0)) < 0) {
        conn_cut(conn);
    }
}

/* All is there: the head is read again, from its copy. */
static void complete(struct reply *reply)
{
    struct http_request request;
    long used = http_request_parse(&request, reply->head, reply->head_size,
                                   reply->head_size + 1);

    ASSERT(used == (long)reply->head_size);
    run(reply, &request);
}

size_t reply_read_body(struct conn *conn, char *data, size_t size)
{
    struct reply *reply = conn->of.reply;
    size_t used = 0;

    while (used < size && !http_body_is_done(&reply->decoder)) {
        struct peal_slice content;
        long read = http_body_read(&reply->decoder, data + used, size - used,
                                   &content);
        int rc = read < 0 ? (int)read
                          : buffer_append(&reply->body, content.data,
                                          content.size);

        if (rc < 0) {
            refuse(conn,
                   rc == PEAL_EPROTOCOL ? 400
                                        : (rc == PEAL_EFULL ? 413 : 503),
                   "");
            return size;
        }
        used += (size_t)read;
    }
    if (http_body_is_done(&reply->decoder)) {
        complete(reply);
    }
    return used;
}

size_t reply_read_nothing(struct conn *conn, char *data, size_t size)
{
    (void)conn;
    (void)data;
    (void)size;
    return 0;
}

/* --- The answer ---------------------------------------------------------- */

int reply_send(struct worker *worker, uint64_t number, int status,
               const char *lines, struct peal_slice body)
{
    struct reply *reply = find(worker, number);
    struct http_answer answer = {
        .status = status,
        .headers = lines,
        .body = body,
    };
    struct conn *conn;
    bool was_running;

    if (reply == NULL) {
        return PEAL_EGONE;
    }
    conn = reply->conn;
    was_running = reply->is_running;
    answer.is_head = reply->is_head;
    answer.is_kept = reply->is_of_1_0;
    answer.is_last =
        !reply->keep_alive || atomic_load(&worker->engine->is_stop_asked);
    reply_drop(conn);
    conn_answer(conn, &answer);
    if (!was_running && conn->state == CONN_HEAD) {
        conn_input_go_on(conn);
    }
    return 0;
}

void reply_timed_out(struct conn *conn)
{
    if (conn->state == CONN_HTTP_BODY) {
        seat_count(conn_seat(conn), COUNT_CLOSED_HANDSHAKE_TIMEOUT);
        refuse(conn, 408, "");
    } else {
        seat_count(conn_seat(conn), COUNT_HTTP_TIMED_OUT);
        refuse(conn, 503, "");
    }
}

void reply_ended(struct conn *conn)
{
    if (conn->state == CONN_HTTP_BODY) {
        conn_finish(conn);
    } else {
        conn->of.reply->keep_alive = false; /* but it may wait for the answer */
    }
}
