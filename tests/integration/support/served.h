/*
 * This test program as a server in a process of its own, for tests in which the
 * server is killed or runs out of memory: child_start(&child, "/proc/self/exe",
 * arguments).
 */
#ifndef SUPPORT_SERVED_H
#define SUPPORT_SERVED_H

#include <peal/server.h>

/*
 * Serves on both transports until SIGTERM, and prints the ready line that
 * child_ready_value reads. `options` need no size or addresses; `setup` adds
 * handlers. Returns the exit status.
 */
int served_run(const struct peal_server_options *options,
               void (*setup)(struct peal_server *server));

#endif
