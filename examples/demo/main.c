/*
 * peal at work: a chat whose page is in the program. `--help` has the flags.
 * chat.c has the rules, people.c who is where, send.c a client over TCP.
 */
#include "../example.h"
#include "chat.h"
#include "page.h"
#include "people.h"
#include "send.h"

#include <string.h>

#define PORT 8080
#define TCP_PORT 8081
#define IMAGE_BYTES_MAX (8 * 1024 * 1024)

struct flags {
    int port;
    int tcp_port;
    int loops;
    const char *send; /* a room: be a client instead of the server */
    const char *name;
};

static void print_help(FILE *out, const char *program)
{
    fprintf(out,
            "usage: %s [--port N] [--tcp-port N] [--loops N]\n"
            "       %s --send ROOM [TEXT] [--tcp-port N] [--name NAME]\n"
            "\n"
            "A chat that shows what peal does, for this machine only.\n"
            "\n"
            "  --port N      of the page and its WebSocket clients (%d)\n"
            "  --tcp-port N  of TCP clients (%d); 0 is any free port\n"
            "  --loops N     threads (1)\n"
            "  --send ROOM   be a TCP client: say TEXT in that room, or else\n"
            "                each line of standard input\n"
            "  --name NAME   its name there (terminal)\n"
            "  --help        print this\n",
            program, program, PORT, TCP_PORT);
}

static int read_number(const char *program, const char *text, int min, int max)
{
    char *end;
    long number = strtol(text, &end, 10);

    if (end == text || *end != '\0' || number < min || number > max) {
        fprintf(stderr, "%s: %s is not a number from %d to %d\n", program, text,
                min, max);
        exit(2);
    }
    return (int)number;
}

static struct flags read_flags(int argc, char **argv)
{
    static const struct option known[] = {
        {"port", 1, NULL, 'p'},  {"tcp-port", 1, NULL, 't'},
        {"loops", 1, NULL, 'l'}, {"send", 1, NULL, 's'},
        {"name", 1, NULL, 'n'},  {"help", 0, NULL, 'h'},
        {NULL, 0, NULL, 0}};
    struct flags flags = {PORT, TCP_PORT, 1, NULL, "terminal"};
    int flag;

    while ((flag = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (flag) {
        case 'p':
            flags.port = read_number(argv[0], optarg, 0, 65535);
            break;
        case 't':
            flags.tcp_port = read_number(argv[0], optarg, 0, 65535);
            break;
        case 'l':
            flags.loops = read_number(argv[0], optarg, 1, 64);
            break;
        case 's':
            flags.send = optarg;
            break;
        case 'n':
            flags.name = optarg;
            break;
        case 'h':
            print_help(stdout, argv[0]);
            exit(0);
        default:
            print_help(stderr, argv[0]);
            exit(2);
        }
    }
    if (argc - optind > (flags.send != NULL ? 1 : 0)) {
        print_help(stderr, argv[0]);
        exit(2);
    }
    return flags;
}

/* What cannot be had at the start is told in words instead, by report(). */
static void log_when_running(enum peal_log_level level, const char *component,
                             const char *message, const char *fields,
                             void *user)
{
    const bool *is_running = user;

    if (*is_running) {
        peal_log_to_stderr(level, component, message, fields, NULL);
    }
}

/* Says in words that a listener could not be had. Returns the exit code. */
static int report(int error, int port, const char *flag)
{
    if (error == PEAL_EADDRINUSE) {
        fprintf(stderr,
                "demo: port %d is taken. Choose another one with %s N, "
                "or any free one with %s 0.\n",
                port, flag, flag);
    } else {
        fprintf(stderr, "demo: cannot listen on port %d: %s (%s N)\n", port,
                peal_strerror(error), flag);
    }
    return 1;
}

static int add_pages(struct peal_server *server)
{
    int rc = peal_server_client_js(server, NULL);

    for (size_t i = 0; i < page_file_count && rc == 0; i++) {
        const struct page_file *file = &page_files[i];

        rc = peal_server_page(server, file->path, file->type, file->content,
                              file->size);
    }
    return rc;
}

/* The port at the end of "127.0.0.1:8080". */
static const char *port_of(const char *address)
{
    return strrchr(address, ':') + 1;
}

/* Tells the user and, with the last line, programs where the server is. */
static void print_addresses(const char *ws, const char *tcp)
{
    printf("peal %s: one publish, every subscriber\n\n"
           "    page       http://%s/\n"
           "    WebSocket  ws://%s/live\n"
           "    TCP        %s\n\n"
           "Ctrl-C ends it.\n"
           "ready ws=%s tcp=%s\n",
           peal_version(), ws, ws, tcp, ws, tcp);
    fflush(stdout);
}

/* What the page shows of this server, as JSON. */
static void describe(char *out, size_t size, const char *program,
                     const char *tcp, int loops)
{
    char quoted[2048];

    if (peal_json_quote(quoted, sizeof quoted, peal_slice(program)) < 0) {
        snprintf(quoted, sizeof quoted, "\"demo\"");
    }
    snprintf(out, size,
             "{\"version\":\"%s\",\"program\":%s,\"tcp_port\":%s,"
             "\"loops\":%d}",
             peal_version(), quoted, port_of(tcp), loops);
}

/* Listens on both ports and hands out pages. Returns the exit code. */
static int set_up(struct peal_server *server, const struct flags *flags,
                  struct chat *chat)
{
    struct peal_route routes[] = {
        {.size = sizeof *routes, .path = "/live"},
        {.size = sizeof *routes, .path = "/"}, /* where `peal` goes */
    };
    char tcp[32];
    struct peal_listen listen = {
        .size = sizeof listen, .address = tcp, .transport = PEAL_TCP};
    int rc;

    snprintf(tcp, sizeof tcp, "127.0.0.1:%d", flags->tcp_port);
    rc = peal_server_listen(server, &listen);
    if (rc < 0) {
        return report(rc, flags->tcp_port, "--tcp-port");
    }
    rc = peal_server_route(server, &routes[0]);
    if (rc == 0) {
        rc = peal_server_route(server, &routes[1]);
    }
    if (rc == 0) {
        rc = add_pages(server);
    }
    if (rc == 0) {
        rc = chat_add_handlers(server, chat);
    }
    if (rc < 0) {
        fprintf(stderr, "demo: %s\n", peal_strerror(rc));
    }
    return rc < 0;
}

static int serve(const struct flags *flags, const char *program)
{
    bool is_running = false;
    char about[4096];
    char ws[PEAL_ADDRESS_MAX];
    char tcp[PEAL_ADDRESS_MAX];
    struct chat chat = {.people = people_new(), .about = about};
    struct peal_server_options options = {
        .size = sizeof options,
        .ws_listen = ws,
        .metrics_path = "/metrics", /* for peal top */
        .loops = flags->loops,
        .message_bytes_max = IMAGE_BYTES_MAX,
        .queue_bytes_max = 4 * IMAGE_BYTES_MAX,
        .log = log_when_running,
        .log_user = &is_running,
        .log_level = PEAL_LOG_WARN,
        .clients_may_join = true, /* so that `peal sub` and `peal pub` work */
        .clients_may_publish = true,
        .on_connect = chat_on_connect,
        .on_disconnect = chat_on_disconnect,
        .user = &chat,
    };
    struct peal_server *server = NULL;
    int exit_code;
    int rc;

    if (chat.people == NULL) {
        fprintf(stderr, "demo: %s\n", peal_strerror(PEAL_ENOMEM));
        return 1;
    }
    snprintf(ws, sizeof ws, "127.0.0.1:%d", flags->port);
    rc = peal_server_new(&server, &options);
    exit_code = rc < 0 ? report(rc, flags->port, "--port")
                       : set_up(server, flags, &chat);
    if (exit_code == 0) {
        peal_server_address(server, 0, ws);
        peal_server_address(server, 1, tcp);
        describe(about, sizeof about, program, tcp, flags->loops);
        is_running = true;
        example_stop_on_signals(server);
        print_addresses(ws, tcp);
        exit_code = peal_server_run(server) < 0;
    }
    peal_server_free(server);
    people_free(chat.people);
    return exit_code;
}

int main(int argc, char **argv)
{
    struct flags flags = read_flags(argc, argv);

    if (flags.send != NULL) {
        return send_to_room(flags.tcp_port, flags.send, flags.name,
                            optind < argc ? argv[optind] : NULL);
    }
    return serve(&flags, argv[0]);
}
