/*
 * Goal: a server that cannot have all its threads does not start, says so at
 * once, and leaves nothing behind, however long a stop of it may take.
 *
 * Method: this program's own pthread_create, before the system's, which refuses
 * one thread.
 */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "support/suite.h"

#include "support/host.h"
#include "support/scarce.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

/* Threads that may be made before the one that may not; -1: any number. */
static _Atomic int threads_left = -1;

typedef int create_function(pthread_t *thread, const pthread_attr_t *attributes,
                            void *(*start)(void *), void *argument);

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                   void *(*start)(void *), void *argument)
{
    create_function *create;

    if (atomic_load(&threads_left) >= 0 &&
        atomic_fetch_sub(&threads_left, 1) == 0) {
        return EAGAIN;
    }
    *(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
    return create(thread, attributes, start, argument);
}

static void fail_to_start(int (*start)(struct peal_server *), int threads)
{
    const struct peal_server_options options = {
        .size = sizeof options,
        .ws_listen = "127.0.0.1:0",
        .loops = 4,
        .stop_timeout_ms = PEAL_OFF,
    };
    struct peal_server *server;

    CHECK_EQUAL(peal_server_new(&server, &options), 0);
    atomic_store(&threads_left, threads);
    CHECK_EQUAL(start(server), PEAL_ESYSTEM);
    atomic_store(&threads_left, -1);
    peal_server_free(server);
    CHECK_EQUAL(scarce_live(), 0);
}

static void nothing_is_left_of_a_start_that_fails(void **state)
{
    struct host host;

    (void)state;
    for (int threads = 0; threads < 3; threads++) {
        fail_to_start(peal_server_start, threads);
        fail_to_start(peal_server_run, threads);
    }
    host_start(&host, NULL, NULL);
    host_stop(&host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_left_of_a_start_that_fails),
    };

    scarce_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
