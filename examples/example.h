/*
 * What the examples need besides their point: flags, signals, the line that
 * says where the server listens. All are called as
 *
 *     NAME [--port N] [--tcp-port N] [--loops N] [--deflate[=takeover]]
 *          [--tls-cert FILE --tls-key FILE [--ktls]]
 *          [--io auto|epoll|io_uring]
 *
 * with WebSocket clients on port 8080 of the loopback interface unless told
 * otherwise, TCP clients only on request, and 0 for any free port. --deflate
 * compresses for clients that offer it. --ktls has the kernel encrypt.
 */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <peal/server.h>

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The server that a signal stops: a signal handler is handed nothing. */
static struct peal_server *example_server;

static inline void example_usage(const char *program)
{
    fprintf(stderr,
            "usage: %s [--port N] [--tcp-port N] [--loops N] "
            "[--deflate[=takeover]]\n"
            "       [--tls-cert FILE --tls-key FILE [--ktls]] "
            "[--io auto|epoll|io_uring]\n",
            program);
    exit(2);
}

/* The number of a flag, from `min` to `max`; anything else ends the program. */
static inline int example_number(const char *program, const char *text, int min,
                                 int max)
{
    char *end;
    long number = strtol(text, &end, 10);

    if (end == text || *end != '\0' || number < min || number > max) {
        example_usage(program);
    }
    return (int)number;
}

static inline enum peal_io_backend example_io(const char *program,
                                              const char *name)
{
    if (strcmp(name, "epoll") == 0) {
        return PEAL_IO_EPOLL;
    }
    if (strcmp(name, "io_uring") == 0) {
        return PEAL_IO_URING;
    }
    if (strcmp(name, "auto") != 0) {
        example_usage(program);
    }
    return PEAL_IO_AUTO;
}

/* What the files make; when they do not fit: exit code 1. */
static inline struct peal_tls *
example_tls(const struct peal_tls_options *options)
{
    char why[PEAL_TLS_ERROR_SIZE];
    struct peal_tls *tls;

    if (peal_tls_new(&tls, options, why, sizeof why) < 0) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    return tls;
}

/* Options with what the flags say. A flag that makes no sense: exit code 2. */
static inline struct peal_server_options example_options(int argc, char **argv)
{
    static const struct option flags[] = {{"port", 1, NULL, 'p'},
                                          {"tcp-port", 1, NULL, 't'},
                                          {"loops", 1, NULL, 'l'},
                                          {"deflate", 2, NULL, 'd'},
                                          {"tls-cert", 1, NULL, 'c'},
                                          {"tls-key", 1, NULL, 'k'},
                                          {"io", 1, NULL, 'i'},
                                          {"ktls", 0, NULL, 'K'},
                                          {NULL, 0, NULL, 0}};
    static char ws[32] = "127.0.0.1:8080";
    static char tcp[32];
    static struct peal_deflate_options deflate = {.size = sizeof deflate};
    struct peal_server_options options = {
        .size = sizeof options,
        .ws_listen = ws,
        .clients_per_address_max = 100000, /* all come from this machine */
        .log = peal_log_to_stderr,
        .log_level = PEAL_LOG_WARN,
    };
    struct peal_tls_options tls = {.size = sizeof tls};
    int flag;

    while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
        switch (flag) {
        case 'p':
            snprintf(ws, sizeof ws, "127.0.0.1:%d",
                     example_number(argv[0], optarg, 0, 65535));
            break;
        case 't':
            snprintf(tcp, sizeof tcp, "127.0.0.1:%d",
                     example_number(argv[0], optarg, 0, 65535));
            options.tcp_listen = tcp;
            break;
        case 'l':
            options.loops = example_number(argv[0], optarg, 1, 64);
            break;
        case 'd':
            if (optarg != NULL && strcmp(optarg, "takeover") != 0) {
                example_usage(argv[0]);
            }
            deflate.enabled = true;
            deflate.context_takeover = optarg != NULL;
            options.deflate = &deflate;
            break;
        case 'c':
            tls.certificate_file = optarg;
            break;
        case 'k':
            tls.key_file = optarg;
            break;
        case 'K':
            tls.ktls = true;
            break;
        case 'i':
            options.io_backend = example_io(argv[0], optarg);
            break;
        default:
            example_usage(argv[0]);
        }
    }
    if (optind < argc || (tls.certificate_file == NULL &&
                          (tls.key_file != NULL || tls.ktls))) {
        example_usage(argv[0]);
    }
    if (tls.certificate_file != NULL) {
        options.tls = example_tls(&tls);
    }
    return options;
}

/* A server with these options. When it cannot be made: exit code 1. */
static inline struct peal_server *
example_new(const struct peal_server_options *options)
{
    struct peal_server *server;

    if (peal_server_new(&server, options) < 0) {
        exit(1); /* the log has said why */
    }
    peal_tls_free(options->tls); /* the server holds it */
    return server;
}

static inline void example_stop(int signal_number)
{
    (void)signal_number;
    peal_server_stop(example_server);
}

/* SIGTERM and SIGINT stop the server gracefully; a second one, at once. */
static inline void example_stop_on_signals(struct peal_server *server)
{
    struct sigaction action = {.sa_handler = example_stop};

    example_server = server;
    sigemptyset(&action.sa_mask);
    action.sa_flags = (int)SA_RESETHAND;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

/* Runs the server until a signal, and returns the exit code. */
static inline int example_serve(struct peal_server *server)
{
    char address[PEAL_ADDRESS_MAX];
    int rc;

    example_stop_on_signals(server);
    peal_server_address(server, 0, address);
    printf("ready ws=%s", address);
    if (peal_server_address(server, 1, address) == 0) {
        printf(" tcp=%s", address);
    }
    printf("\n");
    fflush(stdout);
    rc = peal_server_run(server);
    return rc < 0;
}

/* The same, and frees it. */
static inline int example_run(struct peal_server *server)
{
    int code = example_serve(server);

    peal_server_free(server);
    return code;
}

#endif
