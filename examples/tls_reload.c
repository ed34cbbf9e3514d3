/*
 * Every message back as it came, encrypted, with certificates that SIGHUP reads
 * again: what a renewal (certbot's --deploy-hook) needs. Connections stay.
 *
 *     tls_reload --tls-cert FILE --tls-key FILE [--port N] [--tcp-port N]
 *                [--loops N]
 */
#include "example.h"

#include <pthread.h>

/* Reading files is nothing for a loop, nor for a signal handler. */
static void *reload_on_hangup(void *argument)
{
    struct peal_tls *tls = argument;
    char why[PEAL_TLS_ERROR_SIZE];
    sigset_t hangup;
    int received;

    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    while (sigwait(&hangup, &received) == 0) {
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
        if (peal_tls_reload(tls, why, sizeof why) == 0) {
            printf("reloaded\n");
        } else {
            printf("kept the old certificate: %s\n", why);
        }
        fflush(stdout);
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    }
    return NULL;
}

static void on_message(struct peal_client *from, const struct peal_event *event,
                       void *user)
{
    (void)user;
    peal_client_emit(from, event);
}

int main(int argc, char **argv)
{
    /* The process is ours: what OpenSSL takes is counted, not estimated. */
    int counted = peal_tls_count_memory();
    struct peal_server_options options = example_options(argc, argv);
    struct peal_tls *tls = options.tls;
    struct peal_server *server;
    pthread_t thread;
    sigset_t hangup;
    int status;

    if (counted < 0 || tls == NULL) {
        example_usage(argv[0]);
    }
    /* Blocked in all threads, the loops' too, but for the one that waits. */
    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &hangup, NULL);

    options.dialect = PEAL_DIALECT_RAW;
    if (peal_server_new(&server, &options) < 0) {
        return 1; /* the log has said why */
    }
    peal_server_on_any(server, on_message, NULL);
    if (pthread_create(&thread, NULL, reload_on_hangup, tls) != 0) {
        return 1;
    }
    status = example_run(server);
    pthread_cancel(thread); /* sigwait is where it can be */
    pthread_join(thread, NULL);
    peal_tls_free(tls);
    return status;
}
