/* The public functions on one client, for its own loop. */
#include "server/conn.h"

#include "base/assert.h"
#include "base/slice.h"
#include "proto/http.h"
#include "server/backlog.h"
#include "server/conn_extra.h"
#include "server/gate.h"
#include "server/request.h"

#include <string.h>

/* Public functions that take a client belong to its loop: calling them from
 * elsewhere is a race, and better found at once. */
static struct conn *on_loop(const struct peal_client *client)
{
    ASSERT(loop_current() == seat_of(client)->worker->loop);
    return conn_of(client);
}

struct peal_slice peal_connect_header(const struct peal_connect *connect,
                                      const char *name)
{
    const struct http_request *request = connect->request;

    if (request == NULL) {
        return slice_make(NULL, 0);
    }
    return http_header_get(request->headers, request->header_count, name);
}

struct peal_client_ref peal_client_ref(const struct peal_client *client)
{
    return client_ref(client);
}

const char *peal_client_id(struct peal_client *client)
{
    (void)on_loop(client);
    return client_id(client);
}

struct peal_server *peal_client_server(const struct peal_client *client)
{
    return seat_of(client)->server;
}

enum peal_transport peal_client_transport(const struct peal_client *client)
{
    return conn_transport(on_loop(client)) == TRANSPORT_WS ? PEAL_WS
                                                           : PEAL_TCP;
}

enum peal_dialect peal_client_dialect(const struct peal_client *client)
{
    return options_dialect_name(conn_dialect(on_loop(client)));
}

void peal_client_address(const struct peal_client *client, char *out)
{
    const struct conn *conn = on_loop(client);
    struct socket_address peer = {.size = sizeof peer.of};

    out[0] = '\0';
    if (conn->extra != NULL && conn->extra->address != NULL) {
        memcpy(out, conn->extra->address, strlen(conn->extra->address) + 1);
    } else if (getpeername(conn->stream.fd, &peer.of.any, &peer.size) == 0) {
        socket_address_format(&peer, out);
    } else if (client->address != NULL) {
        gate_key_format(client->address->key, client->address->size, out);
    }
}

int peal_client_tls(const struct peal_client *client,
                    struct peal_tls_facts *facts)
{
    return conn_tls_facts(on_loop(client), facts) != NULL ? 0 : PEAL_ENOTFOUND;
}

void peal_client_set_user(struct peal_client *client, void *user)
{
    (void)on_loop(client);
    client->user = user;
}

void *peal_client_user(const struct peal_client *client)
{
    (void)on_loop(client);
    return client->user;
}

int peal_client_set(struct peal_client *client, const char *key,
                    const char *value)
{
    int rc;

    (void)on_loop(client);
    rc = client_set(client, key, value);
    if (rc == PEAL_ELIMIT) {
        seat_count(seat_of(client), COUNT_REFUSED_METADATA);
    }
    return rc;
}

const char *peal_client_get(const struct peal_client *client, const char *key)
{
    (void)on_loop(client);
    return client_get(client, key);
}

/* Whether events to this client need a name: in raw they have none. */
static bool needs_name(const struct conn *conn)
{
    return conn_dialect(conn) != &dialect_raw;
}

static int emit(struct conn *conn, const struct peal_event *event)
{
    struct wire wire;

    output_event(&wire, event);
    wire.room = slice_make(NULL, 0); /* it goes to a client, not a room */
    return output_wire(conn, &wire);
}

static int emit_with_hooks(struct peal_client *client,
                           const struct peal_event *event)
{
    struct conn *conn = conn_of(client);
    const struct seat *seat = conn_seat(conn);
    const struct peal_hooks *hooks = &seat->server->hooks;
    void *user = seat->config->options.user;
    int rc = hooks->before_emit != NULL
                 ? hooks->before_emit(client, event, user)
                 : 0;

    if (rc == 0) {
        rc = emit(conn, event);
    }
    if (hooks->after_emit != NULL) {
        hooks->after_emit(client, event, rc, user);
    }
    return rc;
}

int peal_client_emit(struct peal_client *client, const struct peal_event *event)
{
    struct conn *conn = on_loop(client);
    const struct peal_hooks *hooks = &conn_seat(conn)->server->hooks;
    int rc = dispatch_check(conn_worker(conn), event, needs_name(conn));

    if (rc < 0) {
        return rc;
    }
    return hooks->before_emit == NULL && hooks->after_emit == NULL
               ? emit(conn, event)
               : emit_with_hooks(client, event);
}

int peal_client_request(struct peal_client *client,
                        const struct peal_event *event, uint32_t timeout_ms,
                        peal_answer_function *on_answer, void *user)
{
    struct conn *conn = on_loop(client);
    int rc = on_answer == NULL ? PEAL_EINVAL
                               : dispatch_check(conn_worker(conn), event, true);

    if (rc == 0) {
        rc = request_ask(conn, event, timeout_ms, on_answer, user);
    }
    if (rc == PEAL_ELIMIT) {
        seat_count(conn_seat(conn), COUNT_REFUSED_REQUESTS);
    }
    return rc;
}

int peal_client_join(struct peal_client *client, const char *room)
{
    struct conn *conn = on_loop(client);
    const char *limit = NULL;

    return conn->is_leaving ? PEAL_EGONE
                            : dispatch_join(conn, peal_slice(room), &limit);
}

int peal_client_leave(struct peal_client *client, const char *room)
{
    (void)on_loop(client);
    return room_leave(client, peal_slice(room)) == 1 ? 0 : PEAL_ENOTFOUND;
}

bool peal_client_is_in(const struct peal_client *client, const char *room)
{
    (void)on_loop(client);
    return room_has(client, peal_slice(room));
}

size_t peal_client_rooms(const struct peal_client *client, const char **out,
                         size_t max)
{
    (void)on_loop(client);
    for (size_t i = 0; i < client->room_count && i < max; i++) {
        out[i] = client->rooms[i].room->name;
    }
    return client->room_count;
}

int peal_client_close(struct peal_client *client, int code, const char *reason)
{
    struct conn *conn = on_loop(client);

    if (!conn_may_say(code, reason)) {
        return PEAL_EINVAL;
    }
    conn_close(conn, code, reason);
    return 0;
}

int peal_client_set_rate(struct peal_client *client,
                         const struct peal_rate *rate)
{
    const struct peal_rate none = {0};

    return guard_set_rate(on_loop(client), rate != NULL ? rate : &none);
}

size_t peal_client_queued_bytes(const struct peal_client *client)
{
    return backlog_queued_bytes(on_loop(client));
}

/* To a room ("" for everybody), but not to `from`. */
static int publish_from(struct peal_client *from, const char *room,
                        const struct peal_event *event)
{
    struct conn *conn = on_loop(from);
    struct peal_client_ref self = client_ref(from);
    struct peal_event to_room = *event;
    int rc = dispatch_check(conn_worker(conn), event, false);

    if (rc < 0) {
        return rc;
    }
    to_room.room = peal_slice(room);
    return hooks_publish(conn_seat(conn)->server, from, &to_room, &self, 1);
}

int peal_room_emit(struct peal_client *from, const char *room,
                   const struct peal_event *event)
{
    if (room == NULL || room[0] == '\0') {
        return PEAL_EINVAL;
    }
    return publish_from(from, room, event);
}

int peal_broadcast(struct peal_client *from, const struct peal_event *event)
{
    return publish_from(from, "", event);
}
