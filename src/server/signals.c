/*
 * SIGINT and SIGTERM, for programs that want no handlers of their own. The
 * first one stops gracefully, another one cuts. It is the library's only
 * process-wide state, and there only while a server asks for it.
 */
#include "server/stop.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

#define SERVERS_MAX 16

static _Atomic(struct peal_server *) servers[SERVERS_MAX];
static _Atomic int handling; /* threads inside of on_signal */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int open_count;             /* [m] */
static struct sigaction former[2]; /* [m] of SIGINT and SIGTERM */

static void on_signal(int number)
{
    (void)number;
    atomic_fetch_add(&handling, 1);
    for (int i = 0; i < SERVERS_MAX; i++) {
        struct peal_server *server = atomic_load(&servers[i]);

        if (server == NULL) {
            continue;
        }
        if (atomic_load(&server->engine->is_stop_asked)) {
            peal_server_cut(server);
        } else {
            peal_server_stop(server);
        }
    }
    atomic_fetch_sub(&handling, 1);
}

static int take_over(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGINT, &action, &former[0]) < 0) {
        return PEAL_ESYSTEM;
    }
    if (sigaction(SIGTERM, &action, &former[1]) < 0) {
        sigaction(SIGINT, &former[0], NULL);
        return PEAL_ESYSTEM;
    }
    return 0;
}

int signals_open(struct peal_server *server)
{
    int rc = PEAL_ELIMIT;

    pthread_mutex_lock(&lock);
    for (int i = 0; i < SERVERS_MAX && rc == PEAL_ELIMIT; i++) {
        if (atomic_load(&servers[i]) == NULL) {
            rc = open_count == 0 ? take_over() : 0;
            if (rc == 0) {
                open_count++;
                atomic_store(&servers[i], server);
            }
        }
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

void signals_close(struct peal_server *server)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < SERVERS_MAX; i++) {
        if (atomic_load(&servers[i]) == server) {
            atomic_store(&servers[i], NULL);
            open_count--;
            if (open_count == 0) {
                sigaction(SIGINT, &former[0], NULL);
                sigaction(SIGTERM, &former[1], NULL);
            }
        }
    }
    pthread_mutex_unlock(&lock);
    /* A handler on another thread may have seen the server just before. */
    while (atomic_load(&handling) > 0) {
        sched_yield();
    }
}
