/*
 * Three servers in one, by path:
 *
 *     /app/:room      the peal dialect; who comes is in the room of the path
 *     /legacy         the stelar dialect, for at most 100 clients
 *     /log            raw: every text goes to all others on this path
 *
 * A room "lobby" of one has nothing to do with that of another, and any other
 * path is 404.
 *
 *     spaces [--port N] [--loops N]
 */
#include "example.h"

#define ROOM_MAX 64

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    char room[ROOM_MAX];

    (void)user;
    if (peal_connect_param(connect, "room", room, sizeof room) < 0 ||
        peal_client_join(client, room) < 0) {
        peal_client_close(client, 1008, "no such room");
    }
}

/* To the others in the room that the client is in. */
static void on_say(struct peal_client *from, const struct peal_event *event,
                   void *user)
{
    const char *rooms[1];

    (void)user;
    if (peal_client_rooms(from, rooms, 1) > 0) {
        peal_room_emit(from, rooms[0], event);
    }
}

static void on_any(struct peal_client *from, const struct peal_event *event,
                   void *user)
{
    (void)user;
    peal_broadcast(from, event);
}

/* A namespace with one route; the log has said why when that cannot be. */
static struct peal_server *space(struct peal_server *server, const char *name,
                                 const char *path,
                                 const struct peal_server_options *options)
{
    struct peal_route route = {.size = sizeof route, .path = path};
    struct peal_server *made;

    if (peal_server_space(server, name, options, &made) < 0 ||
        peal_server_route(made, &route) < 0) {
        exit(1);
    }
    return made;
}

int main(int argc, char **argv)
{
    struct peal_server_options options = example_options(argc, argv);
    struct peal_server_options app = {
        .size = sizeof app, .on_connect = on_connect};
    struct peal_server_options legacy = {
        .size = sizeof legacy,
        .dialect = PEAL_DIALECT_STELAR,
        .clients_max = 100,
    };
    struct peal_server_options log = {
        .size = sizeof log, .dialect = PEAL_DIALECT_RAW};
    struct peal_server *server = example_new(&options);

    peal_server_on(space(server, "app", "/app/:room", &app), "say", on_say,
                   NULL);
    peal_server_on_any(space(server, "legacy", "/legacy", &legacy), on_any,
                       NULL);
    peal_server_on_any(space(server, "log", "/log", &log), on_any, NULL);
    return example_run(server);
}
