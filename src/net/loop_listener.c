#define _GNU_SOURCE /* accept4 */
#include "net/loop.h"

#include "base/assert.h"
#include "net/loop_poller.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define LOOP_LISTENER_BATCH 64
#define LOOP_LISTENER_PAUSE_MS 100

/* Connections that are accepted and dropped with the reserve, per pause. */
#define LOOP_LISTENER_DROPS 16

static int loop_listener_accept(struct loop_listener *listener,
                                struct socket_address *peer)
{
    *peer = (struct socket_address){.size = sizeof(peer->of)};
    return accept4(listener->fd, &peer->of.any, &peer->size,
                   SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void loop_listener_fill_reserve(struct loop_listener *listener)
{
    if (listener->reserve_fd < 0) {
        listener->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
}

/*
 * Without a free descriptor, who waits cannot even be turned away; the reserve
 * makes room for that.
 */
static void loop_listener_drop_waiting(struct loop_listener *listener)
{
    if (listener->reserve_fd < 0) {
        return;
    }
    close(listener->reserve_fd);
    listener->reserve_fd = -1;
    for (int i = 0; i < LOOP_LISTENER_DROPS; i++) {
        struct socket_address peer;
        int fd = loop_listener_accept(listener, &peer);

        if (fd < 0) {
            break;
        }
        socket_reset_on_close(fd);
        close(fd);
    }
    loop_listener_fill_reserve(listener);
}

static int loop_listener_watch(struct loop_listener *listener)
{
    return loop_poller_watch(listener->loop, listener->fd, listener,
                             LOOP_LISTENER, LOOP_READABLE);
}

static void loop_listener_pause(struct loop_listener *listener)
{
    struct loop *loop = listener->loop;

    timer_start(&loop->timers, &listener->pause,
                loop->now_ms + LOOP_LISTENER_PAUSE_MS);
}

static void loop_listener_pause_over(struct timer *timer, uint64_t now_ms)
{
    struct loop_listener *listener =
        CONTAINER_OF(timer, struct loop_listener, pause);

    (void)now_ms;
    loop_listener_fill_reserve(listener);
    if (loop_listener_watch(listener) < 0) {
        loop_listener_pause(listener);
    }
}

static void loop_listener_exhausted(struct loop_listener *listener, int error)
{
    if (error == EMFILE || error == ENFILE) {
        loop_listener_drop_waiting(listener);
    }
    loop_poller_unwatch(listener->loop, listener->fd);
    loop_listener_pause(listener);
    listener->on_exhausted(listener, error);
}

int loop_listener_open(struct loop_listener *listener, struct loop *loop,
                       int fd)
{
    listener->loop = loop;
    listener->fd = fd;
    listener->reserve_fd = -1;
    timer_init(&listener->pause, loop_listener_pause_over);

    int rc = loop_listener_watch(listener);

    if (rc < 0) {
        listener->fd = -1;
        return rc;
    }
    loop_listener_fill_reserve(listener);
    return PEAL_OK;
}

void loop_listener_close(struct loop_listener *listener)
{
    if (listener->fd < 0) {
        return;
    }
    if (timer_is_running(&listener->pause)) {
        timer_stop(&listener->loop->timers, &listener->pause);
    } else {
        loop_poller_unwatch(listener->loop, listener->fd);
    }
    close(listener->fd);
    listener->fd = -1;
    if (listener->reserve_fd >= 0) {
        close(listener->reserve_fd);
        listener->reserve_fd = -1;
    }
}

/*
 * Whether the error is that of one connection, which accept(2) passes on, and
 * not of this process.
 */
static bool loop_listener_is_passing(int error)
{
    switch (error) {
    case ECONNABORTED:
    case EINTR:
    case EPERM:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETDOWN:
    case ENETUNREACH:
    case ENONET:
    case EOPNOTSUPP:
    case ETIMEDOUT:
        return true;
    default:
        return false;
    }
}

void loop_listener_ready(struct loop_listener *listener)
{
    for (int i = 0; i < LOOP_LISTENER_BATCH; i++) {
        if (listener->fd < 0 || timer_is_running(&listener->pause)) {
            return;
        }

        struct socket_address peer;
        int fd = loop_listener_accept(listener, &peer);

        if (fd >= 0) {
            listener->on_accept(listener, fd, &peer);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (!loop_listener_is_passing(errno)) {
            loop_listener_exhausted(listener, errno);
            return;
        }
    }
}
