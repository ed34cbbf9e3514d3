/*
 * Sends each event "bench" back to the client it came from, in the `peal`
 * dialect over both transports: what an envelope and a handler cost beside
 * examples/echo, which speaks `raw`.
 *
 *     peal_echo [--port N] [--tcp-port N] [--loops N]
 */
#include "../examples/example.h"

static void on_bench(struct peal_client *from, const struct peal_event *event,
                     void *user)
{
    (void)user;
    peal_client_emit(from, event);
}

int main(int argc, char **argv)
{
    struct peal_server_options options = example_options(argc, argv);
    struct peal_server *server = example_new(&options);

    peal_server_on(server, "bench", on_bench, NULL);
    return example_run(server);
}
