/*
 * Sends each event "bench" to all clients that have sent an event "sub", in the
 * `peal` dialect over both transports: what an envelope, a handler and a room
 * cost beside examples/fanout, which speaks `raw`. "sub" is answered by the
 * same event.
 *
 *     peal_fanout [--port N] [--tcp-port N] [--loops N]
 */
#include "../examples/example.h"

static void on_sub(struct peal_client *from, const struct peal_event *event,
                   void *user)
{
    (void)user;
    if (peal_client_join(from, "all") == 0) {
        peal_client_emit(from, event);
    }
}

static void on_bench(struct peal_client *from, const struct peal_event *event,
                     void *user)
{
    (void)user;
    peal_room_emit(from, "all", event);
}

int main(int argc, char **argv)
{
    struct peal_server_options options = example_options(argc, argv);
    struct peal_server *server = example_new(&options);

    peal_server_on(server, "sub", on_sub, NULL);
    peal_server_on(server, "bench", on_bench, NULL);
    return example_run(server);
}
