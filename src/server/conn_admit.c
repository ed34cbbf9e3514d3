/* A client comes in on a connection, or is told why not. */
#include "server/conn.h"

#include "base/slice.h"
#include "server/account.h"
#include "server/admission.h"
#include "server/arrival.h"
#include "server/gate.h"
#include "server/tracker.h"

#include <string.h>

static void send_welcome(struct conn *conn)
{
    const struct peal_server_options *options =
        &conn_seat(conn)->config->options;
    const struct peal_heartbeat *heartbeat = conn_heartbeat(conn);
    struct wire wire = {
        .kind = WIRE_WELCOME,
        .welcome =
            {
                .client_id = peal_slice(client_id(conn->client)),
                .message_bytes_max = options->message_bytes_max,
                .rooms_max = options->rooms_per_client_max,
                .ping_interval_ms = heartbeat->ping_interval_ms == PEAL_OFF
                                        ? 0
                                        : heartbeat->ping_interval_ms,
                .ping_timeout_ms = heartbeat->ping_timeout_ms,
            },
    };

    if (wire.welcome.client_id.size == 0) {
        conn_cut(conn); /* no memory for an id */
        return;
    }
    (void)output_wire(conn, &wire);
}

/* The application's id for a client, or none. */
static long make_id(struct conn *conn, const struct peal_connect *connect,
                    char *id)
{
    const struct peal_server_options *options =
        &conn_seat(conn)->config->options;

    return options->make_id != NULL
               ? options->make_id(connect, id, options->user)
               : 0;
}

/* The HTTP status that tells why a client is not let in. */
static int refusal_status(struct seat *seat, int rc,
                          const struct hub_refused *refused,
                          const struct peal_connect *connect,
                          const struct socket_key *key)
{
    switch (rc) {
    case PEAL_ELIMIT:
        dispatch_count_limit(seat, refused->limit);
        hooks_connection_limited(seat, refused, connect, key);
        return strcmp(refused->limit, "clients_max") == 0 ||
                       strcmp(refused->limit, "memory_bytes_max") == 0
                   ? 503
                   : 429;
    case PEAL_EEXIST:
        seat_count(seat, COUNT_REFUSED_APPLICATION);
        return 409;
    case PEAL_EREFUSED:
        seat_count(seat, COUNT_REFUSED_APPLICATION);
        return 403;
    default:
        return 503;
    }
}

int conn_refusal_code(int status)
{
    return status == 429 || status == 503 ? WS_CLOSE_TRY_AGAIN
                                          : WS_CLOSE_POLICY;
}

/* What a tracker says when it refuses for a limit of its own. */
static struct hub_refused of_tracker(const struct seat *seat)
{
    return (struct hub_refused){
        .limit = "clients_per_address_max",
        .clients = atomic_load(&seat->server->cluster.door.clients),
    };
}

int conn_check_address(struct conn *conn, const struct peal_connect *connect,
                       const struct socket_address *peer, int *status)
{
    struct seat *seat = conn_seat(conn);
    struct socket_key key =
        gate_key(peer, worker_options(seat->worker)->ipv6_prefix_bits);
    struct hub_refused refused = of_tracker(seat);
    int rc = admission_has_begun(conn) ? 0 : tracker_check(seat, &key);

    if (rc < 0) {
        *status = refusal_status(seat, rc, &refused, connect, &key);
    }
    return rc;
}

int conn_admit(struct conn *conn, const struct peal_connect *connect,
               const struct socket_address *peer, struct peal_slice opening,
               int *status)
{
    struct seat *seat = conn_seat(conn);
    const struct peal_server_options *options = &seat->config->options;
    struct socket_key key =
        gate_key(peer, worker_options(seat->worker)->ipv6_prefix_bits);
    char id[PEAL_ID_MAX + 1];
    long id_size = make_id(conn, connect, id);
    struct hub_refused refused = of_tracker(seat);
    bool is_tracked = false;
    int rc = id_size < 0 ? PEAL_EREFUSED : tracker_add(seat, &key, &is_tracked);

    if (rc == 0 && atomic_load(&seat->worker->engine->is_out_of_memory)) {
        refused.limit = "memory_bytes_max";
        rc = PEAL_ELIMIT;
    }
    if (rc == 0) {
        rc = client_admit(
            &conn->client, seat->hub, conn, slice_make(id, (size_t)id_size),
            slice_make((const char *)key.bytes, key.size), &refused);
    }
    if (rc < 0) {
        if (is_tracked) {
            tracker_remove(seat, key.bytes, key.size);
        }
        *status = refusal_status(seat, rc, &refused, connect, &key);
        return rc;
    }
    conn->is_tracked = is_tracked;
    conn->of.reason = NULL;
    conn->state = connect->transport == PEAL_WS ? CONN_WS_OPEN : CONN_TCP_OPEN;
    conn_proxy_forget(conn);
    arrival_end(conn);
    seat_count(seat, COUNT_CLIENTS);
    seat_count(seat, conn->state == CONN_WS_OPEN ? GAUGE_WS_CLIENTS
                                                 : GAUGE_TCP_CLIENTS);
    account_open(conn, connect->address);
    conn->active_ms = conn->stream.loop->now_ms;
    conn_begin_heartbeat(conn);
    if (opening.size > 0) {
        (void)output_bytes(conn, opening, slice_make(NULL, 0));
    }
    if (conn_dialect(conn)->has_welcome) {
        send_welcome(conn);
    }
    /* Also when the connection has broken meanwhile: on_disconnect follows. */
    rc = admission_finish(conn);
    if (rc < 0) {
        conn_close(conn, WS_CLOSE_TRY_AGAIN, peal_strerror(rc));
    }
    if (options->on_connect != NULL) {
        options->on_connect(conn->client, connect, options->user);
    }
    admission_forget(conn);
    return 0;
}
