/* The TLS handshake of a connection, before anything else of it. */
#include "server/conn.h"

/* Handshakes are counted for the whole server: so is their limit. */
static struct seat *first_seat(const struct conn *conn)
{
    return conn_worker(conn)->seats[0];
}

bool conn_tls_is_full(const struct worker *worker,
                      const struct listener *listener)
{
    return listener->tls != NULL &&
           stats_sum(worker->engine->spaces[0], GAUGE_TLS_HANDSHAKES) >=
               worker_options(worker)->tls_handshakes_max;
}

int conn_tls_begin(struct conn *conn, const char *data, size_t size)
{
    const struct listener *listener = conn->of.listener;
    uint8_t former = conn->state;
    int rc;

    conn->state = CONN_TLS;
    seat_count(first_seat(conn), GAUGE_TLS_HANDSHAKES);
    rc = stream_secure(&conn->stream, listener->tls,
                       listener->transport == TRANSPORT_WS ? "http/1.1" : "",
                       data, size);
    if (rc < 0) {
        conn_tls_end(conn);
        conn->state = former;
    }
    return rc;
}

void conn_tls_end(struct conn *conn)
{
    seat_uncount(first_seat(conn), GAUGE_TLS_HANDSHAKES);
}

void conn_tls_done(struct conn *conn)
{
    struct seat *seat = first_seat(conn);
    struct peal_tls_facts facts;

    conn_tls_end(conn);
    seat_count(seat, COUNT_TLS_HANDSHAKES);
    if (stream_tls_facts(&conn->stream, &facts) && facts.is_resumed) {
        seat_count(seat, COUNT_TLS_RESUMED);
    }
}

void conn_tls_failed(struct conn *conn)
{
    seat_count(first_seat(conn), COUNT_TLS_FAILED);
}

const struct peal_tls_facts *conn_tls_facts(const struct conn *conn,
                                            struct peal_tls_facts *facts)
{
    return (conn->stream.flags & STREAM_TLS) != 0 &&
                   stream_tls_facts(&conn->stream, facts)
               ? facts
               : NULL;
}
