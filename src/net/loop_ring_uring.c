#include "net/loop_ring.h"

#include "base/assert.h"
#include "base/mem.h"
#include "peal/peal.h"

#include <errno.h>
#include <liburing.h>
#include <stdatomic.h>
#include <sys/socket.h>

#define LOOP_RING_FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT)

struct loop_ring {
    struct io_uring uring;
};

/*
 * A ring may be mapped where another thread's was before. liburing maps without
 * libc, so that ThreadSanitizer sees no more than one memory and no order: it
 * is here, between the last use of the one and the first of the other.
 */
static _Atomic unsigned loop_ring_order;

/*
 * The result of what the kernel has taken and not told of: it may be sent or
 * not, so nothing more can be said on that connection.
 */
#define LOOP_RING_UNKNOWN (-ECONNABORTED)

static int loop_ring_error(int error)
{
    errno = error;
    switch (error) {
    case ENOMEM:
        return PEAL_ENOMEM;
    case ENOSYS:
    case EINVAL:
    case EOPNOTSUPP:
        return PEAL_ENOTSUP;
    case EPERM:
    case EACCES:
        return PEAL_EACCESS;
    default:
        return PEAL_ESYSTEM;
    }
}

/*
 * Whether the kernel knows the operation, and lets us ask for it. What it does
 * know it does at once, with a descriptor that cannot be. 0 or an errno.
 */
static int loop_ring_try(struct loop_ring *ring)
{
    struct loop_send probe = {.fd = -1, .data = "", .size = 1};

    if (!loop_ring_send(ring, &probe, 1)) {
        return errno;
    }
    return probe.result == -EBADF ? 0 : ENOSYS;
}

int loop_ring_open(struct loop_ring **out)
{
    struct io_uring_params params = {0};
    struct loop_ring *ring = mem_alloc(sizeof(*ring));
    int error;

    if (ring == NULL) {
        return loop_ring_error(ENOMEM);
    }
    error = -io_uring_queue_init_params(LOOP_RING_SENDS, &ring->uring, &params);
    if (error != 0) {
        mem_free(ring);
        return loop_ring_error(error);
    }
    atomic_fetch_add(&loop_ring_order, 1);
    error = loop_ring_try(ring);
    if (error != 0) {
        loop_ring_close(ring);
        return loop_ring_error(error);
    }
    *out = ring;
    return PEAL_OK;
}

void loop_ring_close(struct loop_ring *ring)
{
    if (ring != NULL) {
        atomic_fetch_add(&loop_ring_order, 1);
        io_uring_queue_exit(&ring->uring);
        mem_free(ring);
    }
}

/* Takes what has been told of; returns for how many that was. */
static size_t loop_ring_collect(struct loop_ring *ring, struct loop_send *sends)
{
    struct io_uring_cqe *cqe;
    unsigned head;
    unsigned count = 0;

    io_uring_for_each_cqe (&ring->uring, head, cqe) {
        sends[cqe->user_data].result = cqe->res;
        count++;
    }
    io_uring_cq_advance(&ring->uring, count);
    return count;
}

/* Sends by itself what the ring has not taken; it takes them in their order. */
static void loop_ring_give_up(struct loop_send *sends, size_t count,
                              size_t taken)
{
    for (size_t i = taken; i < count; i++) {
        struct loop_send *left = &sends[i];

        left->result =
            send(left->fd, left->data, left->size, LOOP_RING_FLAGS);
        if (left->result < 0) {
            left->result = -errno;
        }
    }
}

bool loop_ring_send(struct loop_ring *ring, struct loop_send *sends,
                    size_t count)
{
    size_t taken = 0;
    size_t told = 0;

    ASSERT(count <= LOOP_RING_SENDS);
    for (size_t i = 0; i < count; i++) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

        ASSERT(sqe != NULL); /* none is left over from an earlier call */
        io_uring_prep_send(sqe, sends[i].fd, sends[i].data, sends[i].size,
                           LOOP_RING_FLAGS);
        sqe->user_data = i;
        sends[i].result = LOOP_RING_UNKNOWN;
    }
    while (told < count) {
        /* With MSG_DONTWAIT each is done when it is taken: it does not wait. */
        int rc =
            io_uring_submit_and_wait(&ring->uring, (unsigned)(count - told));
        size_t more = loop_ring_collect(ring, sends);

        taken += rc > 0 ? (size_t)rc : 0;
        told += more;
        if (rc < 0 && rc != -EINTR && more == 0) {
            loop_ring_give_up(sends, count, taken);
            errno = -rc;
            return false;
        }
    }
    return true;
}
