/*
 * The ring of a loop: io_uring, as a way to make many sends in one system call.
 * Chosen by file: loop_ring_uring.c, or loop_ring_none.c in a build without
 * liburing. No send outlives the call that makes it, so nothing has to be
 * cancelled, and no memory has to wait for the kernel.
 *
 * All [L]. It may be closed elsewhere when the loop does not run any more; each
 * thread that has made or used it is interrupted then, which system calls tell
 * that do so when a process is stopped and continued (signal(7)).
 */
#ifndef NET_LOOP_RING_H
#define NET_LOOP_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define LOOP_RING_SENDS 256 /* in one call, at most */

struct loop_ring;

struct loop_send {
    int fd;
    const void *data;
    size_t size;
    ssize_t result; /* as of send(2), or a negative errno */
};

/*
 * 0; PEAL_ENOMEM; PEAL_ENOTSUP when the build or the kernel has none;
 * PEAL_EACCESS when the system, a container or a sandbox forbids it;
 * PEAL_ESYSTEM. errno tells more.
 */
int loop_ring_open(struct loop_ring **out);

/* NULL is fine. */
void loop_ring_close(struct loop_ring *ring);

/*
 * Sends without waiting for any socket, and without SIGPIPE, as far as each
 * takes it. False when the ring has failed and must not be used again, with the
 * cause in errno: then, too, each has a result, by send(2).
 */
bool loop_ring_send(struct loop_ring *ring, struct loop_send *sends,
                    size_t count);

#endif
