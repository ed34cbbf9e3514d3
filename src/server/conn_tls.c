/* The TLS handshake of a connection, before anything else of it. */
#include "server/conn.h"

#include "base/assert.h"

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
    if (conn->state == CONN_TLS) {
        seat_uncount(first_seat(conn), GAUGE_TLS_HANDSHAKES);
    } else if ((conn->stream.flags & STREAM_KTLS) != 0) {
        seat_uncount(first_seat(conn), GAUGE_KTLS);
    }
}

/* Why the kernel does not encrypt, once for each reason. */
static void tell_why_not(const struct conn *conn, enum stream_ktls ktls,
                         const struct peal_tls_facts *facts)
{
    static const char *const reasons[] = {
        [STREAM_KTLS_UNKNOWN] = "OpenSSL does not hand over such keys",
        [STREAM_KTLS_NO_KERNEL] = "the kernel has no TLS: modprobe tls",
        [STREAM_KTLS_REFUSED] = "the kernel does not take the keys",
        [STREAM_KTLS_LATE] = "the socket was full at the handshake",
    };
    _Static_assert(ARRAY_SIZE(reasons) == STREAM_KTLS_COUNT, "one for each");
    struct engine *engine = conn_worker(conn)->engine;
    unsigned bit = 1u << ktls;

    if ((atomic_fetch_or(&engine->ktls_told, bit) & bit) == 0) {
        log_warn(&engine->log, "tls", "no kernel tls",
                 "reason=\"%s\" version=%s cipher=%s", reasons[ktls],
                 facts->version, facts->cipher);
    }
}

static void count_ktls(const struct conn *conn,
                       const struct peal_tls_facts *facts)
{
    enum stream_ktls ktls = stream_tls_ktls(&conn->stream);

    if (ktls == STREAM_KTLS_SENDS) {
        seat_count(first_seat(conn), GAUGE_KTLS);
        seat_count(first_seat(conn), COUNT_KTLS);
    } else if (ktls != STREAM_KTLS_OFF) {
        seat_count(first_seat(conn), COUNT_KTLS_FALLBACKS);
        tell_why_not(conn, ktls, facts);
    }
}

void conn_tls_done(struct conn *conn)
{
    struct seat *seat = first_seat(conn);
    struct peal_tls_facts facts;

    conn_tls_end(conn);
    seat_count(seat, COUNT_TLS_HANDSHAKES);
    conn->state = CONN_HEAD; /* its time goes on */
    if (stream_tls_facts(&conn->stream, &facts)) {
        if (facts.is_resumed) {
            seat_count(seat, COUNT_TLS_RESUMED);
        }
        count_ktls(conn, &facts);
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
