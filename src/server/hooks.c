/* The application's hooks, and what they are told. */
#include "base/assert.h"
#include "base/slice.h"
#include "server/conn.h"
#include "server/tracker.h"

#include <string.h>

int hooks_set(struct peal_server *server, const struct peal_hooks *given)
{
    if (given == NULL) {
        return 0;
    }
    if (given->size < sizeof given->size ||
        given->size > sizeof server->hooks) {
        return PEAL_EINVAL;
    }
    memcpy(&server->hooks, given, given->size);
    return 0;
}

void hooks_connection_limited(struct seat *seat,
                              const struct hub_refused *refused,
                              const struct peal_connect *connect,
                              const struct socket_key *key)
{
    struct peal_server *server = seat->server;
    const struct peal_server_options *options = &seat->config->options;
    struct peal_connections_limited limited = {
        .limit = refused->limit,
        .max = refused->max,
        .clients = refused->clients,
        .connect = connect,
    };

    if (server->hooks.on_max_connections != NULL) {
        limited.address_clients =
            key->size > 0 ? tracker_count(server, key) : PEAL_EADDRESS;
        server->hooks.on_max_connections(server, &limited, options->user);
    }
}

void hooks_room_limited(struct peal_client *client, const char *limit,
                        struct peal_slice room)
{
    const struct seat *seat = seat_of(client);
    const struct peal_server_options *options = &seat->config->options;
    const struct peal_hooks *hooks = &seat->server->hooks;
    struct peal_rooms_limited limited = {.room = room};

    if (strcmp(limit, "rooms_max") == 0) {
        if (hooks->on_max_rooms != NULL) {
            limited.rooms = room_count(&seat->server->cluster);
            limited.max = options->rooms_max;
            hooks->on_max_rooms(client, &limited, options->user);
        }
    } else if (hooks->on_max_rooms_per_client != NULL) {
        limited.rooms = client->room_count;
        limited.max = options->rooms_per_client_max;
        hooks->on_max_rooms_per_client(client, &limited, options->user);
    }
}

void hooks_too_large(struct peal_client *client, uint64_t size,
                     struct peal_slice event)
{
    const struct seat *seat = seat_of(client);
    const struct peal_server_options *options = &seat->config->options;
    struct peal_too_large message = {
        .size = size,
        .max = options->message_bytes_max,
        .event = event,
    };

    if (seat->server->hooks.on_too_large != NULL) {
        seat->server->hooks.on_too_large(client, &message, options->user);
    }
}

bool hooks_admit_message(struct conn *conn, const struct wire *wire)
{
    const struct seat *seat = conn_seat(conn);
    struct wire_failure refused = wire_failure_of(WIRE_REFUSED);
    struct peal_event event = {
        .name = wire->name,
        .data = wire->data,
        .room = wire->room,
        .kind = wire->data_kind,
    };
    struct peal_failure failure = {
        .code = refused.code,
        .name = refused.name.data,
        .message = refused.message.data,
    };

    if (seat->server->hooks.before_message == NULL ||
        seat->server->hooks.before_message(
            conn->client, &event, &failure, seat->config->options.user) ==
            PEAL_ALLOW) {
        return conn_is_open(conn);
    }
    (void)dispatch_refuse(conn, wire,
                          (struct wire_failure){
                              .code = failure.code,
                              .name = peal_slice(failure.name),
                              .message = peal_slice(failure.message),
                              .temporary = failure.temporary,
                          });
    return false;
}

void hooks_invalid(struct peal_client *client,
                   const struct wire_failure *failure)
{
    const struct seat *seat = seat_of(client);
    /* Failures of ours are literals, so they end with a zero byte. */
    struct peal_failure told = {
        .code = failure->code,
        .name = failure->name.data,
        .message = failure->message.data,
        .temporary = failure->temporary,
    };

    if (seat->server->hooks.on_invalid != NULL) {
        seat->server->hooks.on_invalid(client, &told,
                                       seat->config->options.user);
    }
}

/* On threads that are no loops `user` is the newest. */
static int before_broadcast(struct peal_server *server, const struct seat *seat,
                            struct peal_client *from,
                            const struct peal_event *event,
                            const struct peal_client_ref *except,
                            size_t except_count)
{
    struct config *config = seat != NULL ? seat->config : config_ref(server);
    int rc = server->hooks.before_broadcast(
        server, from, event, except, except_count, config->options.user);

    if (seat == NULL) {
        config_unref(config);
    }
    return rc;
}

int hooks_publish(struct peal_server *server, struct peal_client *from,
                  const struct peal_event *event,
                  const struct peal_client_ref *except, size_t except_count)
{
    struct seat *seat = seat_current(server);
    int rc = 0;

    if (server->hooks.before_broadcast != NULL) {
        rc = before_broadcast(server, seat, from, event, except, except_count);
    }
    if (rc != 0) {
        return rc;
    }
    return seat != NULL
               ? hub_publish(seat->hub, event, except, except_count)
               : hub_publish_any(&server->cluster, event, except, except_count);
}
