/* What a TCP connection reads once its client is in. */
#include "server/conn.h"

#include "base/assert.h"
#include "base/slice.h"
#include "proto/tcp_frame.h"

/* `data` begins with the length of the frame, by its own account. */
static void refuse(struct conn *conn, long error, const char *data, size_t size)
{
    const unsigned char *head = (const unsigned char *)data;

    if (error == PEAL_ETOOBIG) {
        hooks_too_large(conn->client,
                        (uint64_t)head[0] << 24 | (uint64_t)head[1] << 16 |
                            (uint64_t)head[2] << 8 | head[3],
                        tcp_frame_event(data, size));
        seat_count(conn_seat(conn), COUNT_CLOSED_MESSAGE_BYTES);
        conn_fail(conn, WS_CLOSE_TOO_BIG, "frame is too big");
    } else {
        seat_count(conn_seat(conn), COUNT_CLOSED_PROTOCOL);
        conn_fail(conn, WS_CLOSE_PROTOCOL, "malformed frame");
    }
}

size_t conn_read_tcp(struct conn *conn, char *data, size_t size)
{
    struct tcp_frame frame;
    struct wire wire;
    long used = tcp_frame_parse(&frame, data, size,
                                conn_seat(conn)->config->tcp_frame_bytes_max);

    if (used < 0) {
        /* The header of a proxy would be a very long frame. */
        refuse(conn,
               conn_proxy_unexpected(conn, data, size) ? PEAL_EPROTOCOL : used,
               data, size);
        return size;
    }
    if (used == 0) {
        return 0;
    }
    conn_dialect(conn)->read_tcp(&wire, &frame);
    if (wire.kind == WIRE_GOODBYE) {
        conn_closed_by_peer(conn,
                            ws_close_code_is_valid(wire.failure.code)
                                ? wire.failure.code
                                : WS_CLOSE_NORMAL,
                            wire.failure.message);
    } else {
        dispatch(conn, &wire);
    }
    return (size_t)used;
}
