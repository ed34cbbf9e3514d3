/* A server of the test's own: where links, or servers, are to connect to. */
#ifndef SUPPORT_LISTENER_H
#define SUPPORT_LISTENER_H

#include <stddef.h>

/*
 * A blocking socket that listens on 127.0.0.1, on a port that the system
 * chooses; writes that as "127.0.0.1:PORT". For the caller to close.
 */
int listener_open(char *address, size_t size);

#endif
