/* A server under test, in this process, on ports that the system chooses. */
#ifndef SUPPORT_HOST_H
#define SUPPORT_HOST_H

#include <peal/server.h>

#include "support/check.h"

struct host {
    struct peal_server *server;
    char ws[PEAL_ADDRESS_MAX];
    char tcp[PEAL_ADDRESS_MAX];
};

/*
 * Starts a server on both transports on 127.0.0.1:0; `setup`, which may be
 * NULL, adds handlers. `options` may be NULL and need no size or addresses.
 *
 * With PEAL_TEST_UPDATE in the environment it starts with the defaults of all
 * that can change while it runs, and is told the options by an update then: so
 * a test of an option is one of its change, too (tests/integration.cmake).
 */
void host_start(struct host *host, const struct peal_server_options *options,
                void (*setup)(struct peal_server *server));

/* Stops gracefully, waits, frees. */
void host_stop(struct host *host);

/* The address for a transport. */
const char *host_address(const struct host *host, bool is_tcp);

struct peal_server_stats host_stats(const struct host *host);

/* Changes memory_bytes_max while it runs. */
void host_set_budget(const struct host *host, uint64_t bytes);

/* The options in force; and putting others into force, which must succeed. */
struct peal_server_options host_config(const struct host *host);
void host_update(const struct host *host,
                 const struct peal_server_options *options);

/* Waits until no connection is open any more. */
void host_await_empty(const struct host *host);

#endif
