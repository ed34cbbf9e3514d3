/*
 * Every message back as it came: a plain WebSocket server in the `raw` dialect,
 * and the same over TCP frames.
 *
 *     echo --port N [--tcp-port N] [--loops N]
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

static void on_message(struct peal_client *from, const struct peal_event *event,
                       void *user)
{
    (void)user;
    peal_client_emit(from, event);
}

int main(int argc, char **argv)
{
    static const struct option flags[] = {{"port", 1, NULL, 'p'},
                                          {"tcp-port", 1, NULL, 't'},
                                          {"loops", 1, NULL, 'l'},
                                          {NULL, 0, NULL, 0}};
    char ws[64] = "127.0.0.1:8080", tcp[64] = "", at[2][PEAL_ADDRESS_MAX];
    struct peal_server_options options = {
        .size = sizeof options, .ws_listen = ws, .log = peal_log_to_stderr,
        .log_level = PEAL_LOG_WARN, .dialect = PEAL_DIALECT_RAW,
        .clients_per_address_max = 100000};

    for (int flag; (flag = getopt_long(argc, argv, "", flags, NULL)) != -1;) {
        switch (flag) {
        case 'p': snprintf(ws, sizeof ws, "127.0.0.1:%s", optarg); break;
        case 't': snprintf(tcp, sizeof tcp, "127.0.0.1:%s", optarg); break;
        case 'l': options.loops = atoi(optarg); break;
        default: return 2;
        }
    }
    options.tcp_listen = tcp[0] != '\0' ? tcp : NULL;
    if (peal_server_new(&server, &options) < 0) {
        return 1; /* the log has said why */
    }
    peal_server_on_any(server, on_message, NULL);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    peal_server_address(server, 0, at[0]);
    printf("ready ws=%s", at[0]);
    printf(peal_server_address(server, 1, at[1]) == 0 ? " tcp=%s\n" : "\n", at[1]);
    fflush(stdout);
    int rc = peal_server_run(server);
    peal_server_free(server);
    return rc < 0;
}
