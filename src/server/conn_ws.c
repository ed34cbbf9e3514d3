/* What a WebSocket connection reads once it is open. */
#include "server/conn.h"

#include "base/assert.h"
#include "base/slice.h"
#include "server/deflate.h"

/*
 * The length that a frame's head declares, for the application to know; 0 when
 * the head is not here as a whole (RFC 6455, 5.2).
 */
static uint64_t declared_size(const struct conn *conn, const char *data,
                              size_t size)
{
    const unsigned char *head = (const unsigned char *)data;
    uint64_t declared = 0;
    size_t bytes = 0;

    if (ws_parser_is_midway(&conn->parser) || size < 2) {
        return 0;
    }
    if ((head[1] & 0x7f) < 126) {
        return head[1] & 0x7f;
    }
    bytes = (head[1] & 0x7f) == 126 ? 2 : 8;
    for (size_t i = 0; i < bytes && 2 + bytes <= size; i++) {
        declared = declared << 8 | head[2 + i];
    }
    return declared;
}

/* Counts what a parser refused, and ends the connection with its close code. */
static void refuse(struct conn *conn, int code, const char *problem,
                   uint64_t size)
{
    if (code == WS_CLOSE_TOO_BIG) {
        seat_count(conn_seat(conn), COUNT_CLOSED_MESSAGE_BYTES);
        hooks_too_large(conn->client, size, slice_make(NULL, 0));
    } else {
        seat_count(conn_seat(conn), COUNT_CLOSED_PROTOCOL);
    }
    conn_fail(conn, code, problem);
}

static void pong(struct conn *conn, const struct ws_item *ping)
{
    /* A peer that pings without reading loses pongs, not its connection: only
     * the newest ping needs an answer (RFC 6455, 5.5.3). */
    if (output_control(conn, WS_OPCODE_PONG,
                       slice_make(ping->data, ping->size)) == PEAL_ENOMEM) {
        conn_cut(conn);
    }
}

static const struct ws_limits *limits_of(const struct conn *conn)
{
    return &conn_seat(conn)->config->ws_limits[conn->is_deflated];
}

static void handle(struct conn *conn, const struct ws_item *item)
{
    struct wire wire;

    switch (item->kind) {
    case WS_TEXT:
    case WS_BINARY:
        conn_dialect(conn)->read_ws(&wire, item->kind == WS_BINARY, item->data,
                                    item->size);
        dispatch(conn, &wire);
        break;
    case WS_PING:
        if (guard_admits_control(conn)) {
            pong(conn, item);
        }
        break;
    case WS_CLOSED:
        conn_closed_by_peer(conn, item->code,
                            slice_make(item->data, item->size));
        break;
    case WS_PONG:
        guard_pong(conn);
        break;
    case WS_NOTHING:
        break;
    }
}

/* Returns false: the message was refused. */
static bool handle_compressed(struct conn *conn, struct ws_item *item)
{
    const char *problem = "";
    int rc = deflate_unpack(conn, item, &problem);

    if (rc < 0) {
        refuse(conn, -rc, problem, 0);
    } else {
        handle(conn, item);
    }
    deflate_release(conn_seat(conn));
    return rc == 0;
}

size_t conn_read_ws(struct conn *conn, char *data, size_t size)
{
    const char *problem = "";
    struct ws_item item;
    long used = ws_parse(&conn->parser, limits_of(conn), data, size, &item,
                         &problem);

    if (used < 0) {
        refuse(conn, (int)-used, problem, declared_size(conn, data, size));
        return size;
    }
    if (!item.is_compressed) {
        handle(conn, &item);
    } else if (!handle_compressed(conn, &item)) {
        return size;
    }
    ws_parser_release(&conn->parser);
    return (size_t)used;
}

/* Only the peer's close frame is of interest; messages come too late. */
size_t conn_read_ws_closing(struct conn *conn, char *data, size_t size)
{
    const char *problem = "";
    struct ws_item item;
    long used = ws_parse(&conn->parser, limits_of(conn), data, size, &item,
                         &problem);

    if (used < 0 || item.kind == WS_CLOSED) {
        conn_finish(conn);
        return size;
    }
    ws_parser_release(&conn->parser);
    return (size_t)used;
}
