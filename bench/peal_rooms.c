/*
 * Puts every client into two rooms of a hundred members each and gives it a
 * user pointer, in the `peal` dialect: what a client costs that is not bare,
 * while nothing is said.
 *
 *     peal_rooms [--port N] [--tcp-port N] [--loops N]
 */
#include "../examples/example.h"

#include <stdatomic.h>

#define ROOM_MEMBERS 100u

static atomic_uint connected;

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    unsigned number = atomic_fetch_add(&connected, 1) / ROOM_MEMBERS;
    char name[32];

    (void)connect;
    (void)user;
    peal_client_set_user(client, client);
    snprintf(name, sizeof name, "team-%u", number);
    peal_client_join(client, name);
    snprintf(name, sizeof name, "document-%u", number);
    peal_client_join(client, name);
}

int main(int argc, char **argv)
{
    struct peal_server_options options = example_options(argc, argv);

    options.on_connect = on_connect;
    return example_run(example_new(&options));
}
