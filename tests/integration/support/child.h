/* A program of ours as a process of its own. */
#ifndef SUPPORT_CHILD_H
#define SUPPORT_CHILD_H

#include "support/check.h"

#include <sys/types.h>

struct child {
    pid_t pid;
    int output;
    char ready[512]; /* its first line, without the newline */
};

/*
 * Starts a program: `arguments` end with NULL and do not have its name. Waits
 * for its first line of output.
 */
void child_start(struct child *child, const char *path,
                 const char *const *arguments);

/* The same for an example. */
void child_start_example(struct child *child, const char *name,
                         const char *const *arguments);

/* Copies what follows "key=" in the ready line, up to a blank. */
void child_ready_value(const struct child *child, const char *key, char *out,
                       size_t size);

/* Sends SIGTERM; it has to exit with 0. */
void child_stop(struct child *child);

/* Whether it has exited by now; then its status, and it is done with. */
bool child_has_ended(struct child *child, int *status);

/* Waits for it to exit by itself; returns its status. */
int child_wait(struct child *child);

#endif
