/*
 * A program with a loop of its own, in which peal is one descriptor among
 * others: lines from standard input go to all clients, what clients send is
 * printed, and all clients are told the number of seconds that have passed.
 * Plain WebSocket; ends with the input, or by a signal.
 *
 *     own_loop [--port N] [--tcp-port N]
 */
#include "example.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void on_message(struct peal_client *from, const struct peal_event *event,
                       void *user)
{
    (void)from;
    (void)user;
    printf("%.*s\n", (int)event->data.size, event->data.data);
    fflush(stdout);
}

/* Sends what was typed. At the end of the input, stops and returns false. */
static bool read_input(struct peal_server *server)
{
    char line[4096];
    ssize_t size = read(STDIN_FILENO, line, sizeof line - 1);

    if (size <= 0) {
        peal_server_stop(server);
        return false;
    }
    line[size] = '\0';
    for (char *text = strtok(line, "\n"); text != NULL;
         text = strtok(NULL, "\n")) {
        struct peal_event event = peal_text(text);

        peal_server_broadcast(server, &event, NULL, 0);
    }
    return true;
}

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* The program's own timer: a text once a second. Returns when it is due. */
static long long tick(struct peal_server *server, long long due_ms)
{
    static int seconds;
    struct peal_event event;
    char text[32];

    if (now_ms() < due_ms) {
        return due_ms;
    }
    snprintf(text, sizeof text, "tick %d", ++seconds);
    event = peal_text(text);
    peal_server_broadcast(server, &event, NULL, 0);
    return due_ms + 1000;
}

/* Polls both descriptors until peal has stopped. */
static int loop(struct peal_server *server)
{
    struct pollfd polled[] = {
        {.fd = peal_server_fd(server), .events = POLLIN},
        {.fd = STDIN_FILENO, .events = POLLIN},
    };
    long long due_ms = now_ms() + 1000;
    int rc;

    do {
        int wait_ms = peal_server_timeout_ms(server);
        long long left_ms = due_ms - now_ms();

        if (left_ms < 0) {
            left_ms = 0;
        }
        if (wait_ms < 0 || wait_ms > left_ms) {
            wait_ms = (int)left_ms;
        }
        if (poll(polled, 2, wait_ms) < 0 && errno != EINTR) {
            return PEAL_ESYSTEM;
        }
        if (polled[1].revents != 0 && !read_input(server)) {
            polled[1].fd = -1; /* poll leaves it out */
        }
        polled[1].revents = 0;
        due_ms = tick(server, due_ms);
        rc = peal_server_step(server, 0);
    } while (rc > 0);
    return rc;
}

int main(int argc, char **argv)
{
    struct peal_server_options options = example_options(argc, argv);
    struct peal_server *server;
    char address[PEAL_ADDRESS_MAX];
    int rc;

    options.dialect = PEAL_DIALECT_RAW;
    server = example_new(&options);
    peal_server_on_any(server, on_message, NULL);
    rc = peal_server_attach(server);
    if (rc == 0) {
        example_stop_on_signals(server);
        peal_server_address(server, 0, address);
        printf("ready ws=%s\n", address);
        fflush(stdout);
        rc = loop(server);
    } else {
        fprintf(stderr, "%s: %s\n", argv[0], peal_strerror(rc));
    }
    peal_server_free(server);
    return rc < 0;
}
