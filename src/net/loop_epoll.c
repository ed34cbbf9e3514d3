#include "net/loop_poller.h"

#include "base/assert.h"
#include "base/mem.h"
#include "net/stream.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#define LOOP_POLLER_EVENTS 512

struct loop_poller {
    int epoll_fd;
    int count; /* events of this turn */
    struct epoll_event events[LOOP_POLLER_EVENTS];
};

/* The source of an event is in the low bits of its owner's address. */
#define LOOP_POLLER_SOURCE_MASK ((uintptr_t)7)

static int loop_poller_error(void)
{
    return errno == ENOMEM ? PEAL_ENOMEM : PEAL_ESYSTEM;
}

int loop_poller_open(struct loop *loop)
{
    struct loop_poller *poller = mem_alloc(sizeof(*poller));

    if (poller == NULL) {
        return PEAL_ENOMEM;
    }
    poller->count = 0;
    poller->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (poller->epoll_fd < 0) {
        int rc = loop_poller_error();

        mem_free(poller);
        return rc;
    }
    loop->poller = poller;
    return PEAL_OK;
}

int loop_poller_fd(const struct loop *loop)
{
    return loop->poller->epoll_fd;
}

void loop_poller_close(struct loop *loop)
{
    close(loop->poller->epoll_fd);
    mem_free(loop->poller);
    loop->poller = NULL;
}

/*
 * Level-triggered where something is read: with edges, each read would have to
 * go on until EAGAIN. Where nothing is read, an edge keeps a broken connection
 * from being reported in every turn until its owner closes it.
 */
static uint32_t loop_poller_events(enum loop_source source, unsigned ready)
{
    uint32_t events = 0;

    if ((ready & LOOP_READABLE) != 0) {
        events |= EPOLLIN;
    } else {
        events |= EPOLLET;
    }
    if ((ready & LOOP_WRITABLE) != 0) {
        events |= EPOLLOUT;
    }
    if (source == LOOP_LISTENER) {
        events |= EPOLLEXCLUSIVE;
    }
    if (source == LOOP_WAKE) {
        /* Then the counter need not be read back. */
        events |= EPOLLET;
    }
    return events;
}

static int loop_poller_control(struct loop *loop, int operation, int fd,
                               void *tagged, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = tagged};

    if (epoll_ctl(loop->poller->epoll_fd, operation, fd, &event) < 0) {
        return loop_poller_error();
    }
    return PEAL_OK;
}

int loop_poller_watch(struct loop *loop, int fd, void *owner,
                      enum loop_source source, unsigned ready)
{
    ASSERT(((uintptr_t)owner & LOOP_POLLER_SOURCE_MASK) == 0);
    return loop_poller_control(loop, EPOLL_CTL_ADD, fd, (char *)owner + source,
                               loop_poller_events(source, ready));
}

int loop_poller_rewatch(struct loop *loop, int fd, void *owner,
                        enum loop_source source, unsigned ready)
{
    return loop_poller_control(loop, EPOLL_CTL_MOD, fd, (char *)owner + source,
                               loop_poller_events(source, ready));
}

void loop_poller_unwatch(struct loop *loop, int fd)
{
    /*
     * Closing would do if the descriptor were the only one of its socket. It
     * is not when a listening socket is shared, or when the program forks.
     */
    int rc = loop_poller_control(loop, EPOLL_CTL_DEL, fd, NULL, 0);

    ASSERT(rc == PEAL_OK);
}

void loop_poller_wait(struct loop *loop, int timeout_ms)
{
    struct loop_poller *poller = loop->poller;

    poller->count = epoll_wait(poller->epoll_fd, poller->events,
                               LOOP_POLLER_EVENTS, timeout_ms);
    if (poller->count < 0) {
        ASSERT(errno == EINTR);
        poller->count = 0;
    }
}

static unsigned loop_poller_ready(uint32_t events)
{
    unsigned ready = 0;

    if ((events & EPOLLIN) != 0) {
        ready |= LOOP_READABLE;
    }
    if ((events & EPOLLOUT) != 0) {
        ready |= LOOP_WRITABLE;
    }
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
        ready |= LOOP_BROKEN;
    }
    return ready;
}

void loop_poller_dispatch(struct loop *loop)
{
    struct loop_poller *poller = loop->poller;

    for (int i = 0; i < poller->count; i++) {
        char *tagged = poller->events[i].data.ptr;
        uintptr_t source = (uintptr_t)tagged & LOOP_POLLER_SOURCE_MASK;
        void *owner = tagged - source;

        switch ((enum loop_source)source) {
        case LOOP_STREAM:
            stream_ready(owner, loop_poller_ready(poller->events[i].events));
            break;
        case LOOP_LISTENER:
            loop_listener_ready(owner);
            break;
        case LOOP_WAKE:
            /* Mail is looked at in every turn. */
            break;
        }
    }
    poller->count = 0;
}
