/*
 * One publish, every subscriber: clients on /sub receive what clients on /pub
 * send, as it came.
 *
 *     fanout --port N [--loops N]
 */
#include <peal/server.h>

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static struct peal_server *server;

static void on_signal(int number)
{
    (void)number;
    peal_server_stop(server);
}

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
    static const struct option flags[] = {
        {"port", 1, NULL, 'p'}, {"loops", 1, NULL, 'l'}, {NULL, 0, NULL, 0}};
    struct peal_route routes[] = {{sizeof *routes, "/sub", PEAL_DIALECT_RAW},
                                  {sizeof *routes, "/pub", PEAL_DIALECT_RAW}};
    char ws[PEAL_ADDRESS_MAX] = "127.0.0.1:8080";
    struct peal_server_options options = {
        .size = sizeof options, .ws_listen = ws, .on_connect = on_connect,
        .clients_per_address_max = 100000, .log = peal_log_to_stderr,
        .log_level = PEAL_LOG_WARN};

    for (int flag; (flag = getopt_long(argc, argv, "", flags, NULL)) != -1;) {
        switch (flag) {
        case 'p': snprintf(ws, sizeof ws, "127.0.0.1:%s", optarg); break;
        case 'l': options.loops = atoi(optarg); break;
        default: return 2;
        }
    }
    if (peal_server_new(&server, &options) < 0) {
        return 1; /* the log has said why */
    }
    peal_server_route(server, &routes[0]);
    peal_server_route(server, &routes[1]);
    peal_server_on_any(server, on_message, NULL);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    peal_server_address(server, 0, ws);
    printf("ready ws=%s\n", ws);
    fflush(stdout);
    int rc = peal_server_run(server);
    peal_server_free(server);
    return rc < 0;
}
