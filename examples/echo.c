/*
 * Every message back as it came: a plain WebSocket server in the `raw` dialect,
 * and the same over TCP frames.
 *
 *     echo [--port N] [--tcp-port N] [--loops N] [--deflate[=takeover]]
 *          [--tls-cert FILE --tls-key FILE [--ktls]]
 *          [--io auto|epoll|io_uring]
 */
#include "example.h"

static void on_message(struct peal_client *from, const struct peal_event *event,
                       void *user)
{
    (void)user;
    peal_client_emit(from, event);
}

int main(int argc, char **argv)
{
    struct peal_server_options options = example_options(argc, argv);
    struct peal_server *server;

    options.dialect = PEAL_DIALECT_RAW;
    server = example_new(&options);
    peal_server_on_any(server, on_message, NULL);
    return example_run(server);
}
