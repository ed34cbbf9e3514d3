#include "server/arrival.h"

#include "base/assert.h"
#include "base/slice.h"
#include "hub/door.h"
#include "server/gate.h"

bool arrival_take(struct seat *seat, const struct listener *listener,
                  const struct socket_address *peer, struct address_count **out)
{
    const struct peal_server_options *options = worker_options(seat->worker);
    struct socket_key key = gate_key(peer, options->ipv6_prefix_bits);
    struct hub_refused refused;
    int rc;

    *out = NULL;
    if (options->handshakes_per_address_max == PEAL_OFF ||
        listener->is_internal || key.size == 0 ||
        gate_trusts(options, peer)) {
        return true;
    }
    rc = door_enter(&seat->worker->engine->arrivals,
                    slice_make((const char *)key.bytes, key.size), out,
                    &refused);
    if (rc < 0) {
        seat_count(seat, rc == PEAL_ELIMIT
                             ? COUNT_REFUSED_HANDSHAKES_PER_ADDRESS
                             : COUNT_ACCEPT_EXHAUSTED);
    }
    return rc == 0;
}

void arrival_keep(struct conn *conn, struct address_count *count)
{
    ASSERT(!conn->is_arriving);
    if (count != NULL) {
        conn->is_arriving = true;
        conn->arrival = count;
    }
}

void arrival_end(struct conn *conn)
{
    if (conn->is_arriving) {
        door_leave(&conn_worker(conn)->engine->arrivals, conn->arrival);
        conn->is_arriving = false;
        conn->arrival = NULL;
    }
}
