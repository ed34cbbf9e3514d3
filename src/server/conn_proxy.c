/*
 * The header of the PROXY protocol, before all else that a connection says, and
 * the address that it tells.
 */
#include "server/conn.h"

#include "base/ip.h"
#include "base/mem.h"
#include "base/slice.h"
#include "proto/proxy_header.h"
#include "server/arrival.h"
#include "server/conn_extra.h"
#include "server/gate.h"

#include <string.h>

static enum peal_proxy_protocol mode_of(const struct seat *seat,
                                        const struct listener *listener)
{
    return listener->proxy_protocol != PEAL_PROXY_DEFAULT
               ? listener->proxy_protocol
               : worker_options(seat->worker)->proxy_protocol;
}

enum proxy_expected conn_proxy_expected(const struct seat *seat,
                                        const struct listener *listener,
                                        const struct socket_address *peer)
{
    const struct peal_server_options *options = worker_options(seat->worker);
    enum peal_proxy_protocol mode = mode_of(seat, listener);

    if (mode != PEAL_PROXY_OPTIONAL && mode != PEAL_PROXY_REQUIRED) {
        return PROXY_NOT_EXPECTED;
    }
    if (gate_trusts(options, peer)) {
        return PROXY_EXPECTED;
    }
    if (mode == PEAL_PROXY_REQUIRED) {
        return PROXY_BARRED;
    }
    /* Who need not speak first must not be waited for; conn_tcp.c looks at what
     * it says when it is in. */
    return listener->transport == TRANSPORT_TCP && listener->tls == NULL
               ? PROXY_NOT_EXPECTED
               : PROXY_EXPECTED;
}

bool conn_peer(const struct conn *conn, struct socket_address *peer)
{
    if (conn->extra != NULL && conn->extra->peer != NULL) {
        *peer = *conn->extra->peer;
        return true;
    }
    *peer = (struct socket_address){.size = sizeof peer->of};
    return getpeername(conn->stream.fd, &peer->of.any, &peer->size) == 0;
}

void conn_proxy_forget(struct conn *conn)
{
    if (conn->extra != NULL) {
        mem_free(conn->extra->peer);
        conn->extra->peer = NULL;
    }
}

int conn_set_address(struct conn *conn, const char *text)
{
    struct conn_extra *extra = conn_extra_of(conn);
    char *copy = extra != NULL ? mem_copy(text, strlen(text)) : NULL;

    if (copy == NULL) {
        return PEAL_ENOMEM;
    }
    mem_free(extra->address);
    extra->address = copy;
    return 0;
}

/* --- What it tells -------------------------------------------------------- */

void conn_proxy_refused(struct seat *seat, const struct socket_address *peer,
                        const char *problem)
{
    char address[SOCKET_TEXT_SIZE];

    seat_count(seat, COUNT_REFUSED_PROXY_PROTOCOL);
    socket_address_format(peer, address);
    if (gate_trusts(worker_options(seat->worker), peer)) {
        /* One of the two has the wrong configuration. */
        log_warn(&seat->server->engine->log, "server", "proxy header refused",
                 "remote=%s reason=\"%s\"", address, problem);
    } else {
        log_debug(&seat->server->engine->log, "server", "proxy header refused",
                  "remote=%s reason=\"%s\"", address, problem);
    }
}

bool conn_proxy_unexpected(struct conn *conn, const char *data, size_t size)
{
    struct socket_address peer;

    if (!proxy_header_begins(data, size) || !conn_peer(conn, &peer)) {
        return false;
    }
    conn_proxy_refused(conn_seat(conn), &peer, "not expected here");
    return true;
}

/* Keeps the address that the header tells. 0 or PEAL_ENOMEM. */
static int keep_peer(struct conn *conn, const struct proxy_header *header)
{
    struct conn_extra *extra;
    char text[SOCKET_TEXT_SIZE];

    if (header->source == PROXY_SELF) {
        return 0;
    }
    extra = conn_extra_of(conn);
    if (extra == NULL) {
        return PEAL_ENOMEM;
    }
    extra->peer = mem_zalloc(sizeof *extra->peer);
    if (extra->peer == NULL) {
        return PEAL_ENOMEM;
    }
    if (header->source == PROXY_UNIX) {
        extra->peer->of.local.sun_family = AF_UNIX;
        extra->peer->size = sizeof extra->peer->of.local.sun_family;
    } else {
        socket_address_set_ip(extra->peer, header->address,
                              header->source == PROXY_IPV4 ? IP_V4_SIZE
                                                           : IP_V6_SIZE,
                              header->port);
    }
    return conn_set_address(conn, socket_address_format(extra->peer, text));
}

/* --- Reading -------------------------------------------------------------- */

size_t conn_read_proxy(struct conn *conn, char *data, size_t size)
{
    struct seat *seat = conn_seat(conn);
    const struct peal_server_options *options = worker_options(seat->worker);
    struct address_count *arrival;
    struct socket_address peer;
    struct proxy_header header;
    const char *problem;
    long used = proxy_header_parse(&header, data, size,
                                   options->header_bytes_max, &problem);

    if (used == 0) {
        return 0;
    }
    if (!conn_peer(conn, &peer)) {
        conn_cut(conn); /* it has gone already */
        return size;
    }
    if (used == PEAL_ENOTFOUND &&
        mode_of(seat, conn->of.listener) != PEAL_PROXY_REQUIRED) {
        return conn_begin(conn, &peer, data, size);
    }
    if (used > 0 && !gate_trusts(options, &peer)) {
        used = PEAL_EREFUSED;
        problem = "not from a trusted proxy";
    }
    if (used < 0) {
        conn_proxy_refused(seat, &peer, problem);
        conn_cut(conn);
        return size;
    }
    if (keep_peer(conn, &header) < 0 || !conn_peer(conn, &peer) ||
        !arrival_take(seat, conn->of.listener, &peer, &arrival)) {
        socket_reset_on_close(conn->stream.fd);
        conn_cut(conn);
        return size;
    }
    arrival_end(conn); /* by the proxy, if it was not trusted before */
    arrival_keep(conn, arrival);
    return (size_t)used +
           conn_begin(conn, &peer, data + used, size - (size_t)used);
}
