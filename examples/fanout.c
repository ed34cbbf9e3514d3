/*
 * One publish, every subscriber: clients on /sub receive what clients on /pub
 * send, as it came. TCP clients, who have no path, may publish, too.
 *
 *     fanout [--port N] [--tcp-port N] [--loops N] [--deflate[=takeover]]
 *          [--tls-cert FILE --tls-key FILE [--ktls]]
 *          [--io auto|epoll|io_uring]
 */
#include "example.h"

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    (void)user;
    if (peal_slice_equal(connect->path, peal_slice("/sub"))) {
        peal_client_join(client, "subscribers");
    }
}

static void on_message(struct peal_client *from, const struct peal_event *event,
                       void *user)
{
    (void)user;
    if (!peal_client_is_in(from, "subscribers")) {
        peal_room_emit(from, "subscribers", event);
    }
}

int main(int argc, char **argv)
{
    struct peal_server_options options = example_options(argc, argv);
    struct peal_route sub = {.size = sizeof sub, .path = "/sub"};
    struct peal_route pub = {.size = sizeof pub, .path = "/pub"};
    struct peal_server *server;

    options.dialect = PEAL_DIALECT_RAW;
    options.on_connect = on_connect;
    server = example_new(&options);
    peal_server_route(server, &sub);
    peal_server_route(server, &pub);
    peal_server_on_any(server, on_message, NULL);
    return example_run(server);
}
