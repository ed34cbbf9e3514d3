/* A socket was accepted: it becomes a connection, and begins as it has to. */
#include "server/conn.h"

#include "base/slice.h"
#include "server/admission.h"
#include "server/arrival.h"

#include <unistd.h>

static void refuse_tcp(struct conn *conn, const char *address, int error,
                       int code, const char *reason)
{
    log_debug(&conn_worker(conn)->engine->log, "server", "client refused",
              "remote=%s error=%s", address, peal_error_name(error));
    conn_goodbye(conn, code, peal_slice(reason));
    conn_finish(conn);
}

/* Lets a TCP client in, once all middleware has said yes. */
static void accept_tcp(struct conn *conn, const struct listener *listener,
                       const struct socket_address *peer,
                       const struct peal_denial *late_denial)
{
    char address[SOCKET_TEXT_SIZE];
    struct peal_tls_facts facts;
    struct peal_connect connect = {
        .transport = PEAL_TCP,
        .tls = conn_tls_facts(conn, &facts),
        .dialect = options_dialect_name(listener->dialect),
        .address = socket_address_format(peer, address),
    };
    struct admission_request request = {.connect = &connect, .peer = peer};
    struct peal_denial denial;
    enum peal_verdict verdict = PEAL_REFUSE;
    int status;
    int rc;

    conn_set_form(conn, listener->dialect, TRANSPORT_TCP);
    rc = conn_check_address(conn, &connect, peer, &status);
    if (rc < 0) {
        refuse_tcp(conn, address, rc, conn_refusal_code(status),
                   peal_strerror(rc));
        return;
    }
    if (late_denial != NULL) {
        denial = *late_denial;
    } else {
        verdict = admission_ask(conn, &request, &denial);
    }
    if (verdict == PEAL_LATER) {
        return; /* the time for its handshake goes on */
    }
    if (verdict == PEAL_REFUSE) {
        seat_count(conn_seat(conn), COUNT_REFUSED_APPLICATION);
        refuse_tcp(conn, address, PEAL_EREFUSED,
                   denial.code != 0 ? denial.code
                                    : conn_refusal_code(denial.status),
                   denial.reason);
        return;
    }
    rc = conn_admit(conn, &connect, peer, slice_make(NULL, 0), &status);
    if (rc < 0) {
        refuse_tcp(conn, address, rc, conn_refusal_code(status),
                   peal_strerror(rc));
    }
}

void conn_admit_later(struct conn *conn, struct peal_slice head,
                      const struct socket_address *peer,
                      const struct peal_denial *denial)
{
    if (head.size == 0) {
        accept_tcp(conn, conn->of.listener, peer, denial);
    } else {
        conn_upgrade_later(conn, head, denial);
    }
}

/* Turns a connection away before anything is done for it. */
static void turn_away(int fd)
{
    socket_reset_on_close(fd);
    close(fd);
}

void conn_accept(struct worker *worker, const struct listener *listener, int fd,
                 const struct socket_address *peer)
{
    struct seat *seat = worker->seats[listener->server->number];
    enum proxy_expected expected = conn_proxy_expected(seat, listener, peer);
    uint64_t open = stats_open(worker->engine);
    struct address_count *arrival;
    struct conn *conn;

    if (open >=
        (uint64_t)worker_options(worker)->clients_max + HANDSHAKES_MAX) {
        seat_count(seat, COUNT_REFUSED_CLIENTS);
        turn_away(fd);
        return;
    }
    if (expected == PROXY_BARRED) {
        conn_proxy_refused(seat, peer, "not from a trusted proxy");
        turn_away(fd);
        return;
    }
    if (!arrival_take(seat, listener, peer, &arrival)) {
        turn_away(fd);
        return;
    }
    conn = conn_new(worker, listener, fd, arrival);
    if (conn == NULL) {
        seat_count(seat, COUNT_ACCEPT_EXHAUSTED);
        close(fd);
        return;
    }
    conn_timer_in(conn, seat->config->options.handshake_timeout_ms);
    if (expected == PROXY_NOT_EXPECTED) {
        (void)conn_begin(conn, peer, NULL, 0);
    }
}

static void begin_tls(struct conn *conn, const char *data, size_t size)
{
    struct worker *worker = conn_worker(conn);

    if (conn_tls_is_full(worker, conn->of.listener)) {
        seat_count(worker->seats[0], COUNT_REFUSED_TLS_HANDSHAKES);
        socket_reset_on_close(conn->stream.fd);
        conn_cut(conn);
    } else if (conn_tls_begin(conn, data, size) < 0) {
        seat_count(conn_seat(conn), COUNT_ACCEPT_EXHAUSTED);
        conn_cut(conn);
    }
}

size_t conn_begin(struct conn *conn, const struct socket_address *peer,
                  char *data, size_t size)
{
    const struct listener *listener = conn->of.listener;

    if (listener->tls != NULL) {
        begin_tls(conn, data, size);
        return size;
    }
    conn->state = CONN_HEAD;
    if (listener->transport == TRANSPORT_TCP) {
        accept_tcp(conn, listener, peer, NULL);
    }
    return size > 0 && !conn->is_waiting ? conn_read(conn, data, size) : 0;
}

void conn_secured(struct conn *conn)
{
    const struct listener *listener = conn->of.listener;
    struct socket_address peer;

    conn_tls_done(conn);
    if (listener->transport != TRANSPORT_TCP) {
        return;
    }
    if (conn_peer(conn, &peer)) {
        accept_tcp(conn, listener, &peer, NULL);
    } else {
        conn_cut(conn); /* it has gone already */
    }
}
