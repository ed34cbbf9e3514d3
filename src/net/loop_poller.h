/*
 * What a loop asks of its backend, which is chosen by file: loop_epoll.c.
 * Part of the loop; no other layer includes it.
 */
#ifndef NET_LOOP_POLLER_H
#define NET_LOOP_POLLER_H

#include "net/loop.h"

enum loop_source { LOOP_STREAM, LOOP_LISTENER, LOOP_WAKE };

enum loop_ready {
    LOOP_READABLE = 1 << 0,
    LOOP_WRITABLE = 1 << 1,
    LOOP_BROKEN = 1 << 2 /* an error or the end of both directions */
};

/* 0, PEAL_ENOMEM or PEAL_ESYSTEM; errno tells more. */
int loop_poller_open(struct loop *loop);

/* When nothing is watched any more. */
void loop_poller_close(struct loop *loop);

/*
 * Reports readiness of `fd` to `owner`: as long as it lasts while LOOP_READABLE
 * is wanted, else once each time it comes about. LOOP_BROKEN is always
 * reported. `owner` is aligned to 8 bytes. 0, PEAL_ENOMEM or PEAL_ESYSTEM.
 *
 * A connection that waits on a shared listening socket is reported to one of
 * the loops; a wake-up descriptor is reported once for each time it is written.
 */
int loop_poller_watch(struct loop *loop, int fd, void *owner,
                      enum loop_source source, unsigned ready);

/* Changes what is wanted. Not for listeners. */
int loop_poller_rewatch(struct loop *loop, int fd, void *owner,
                        enum loop_source source, unsigned ready);

/*
 * What was reported already may still reach the owner in this turn, so its
 * memory must outlive that.
 */
void loop_poller_unwatch(struct loop *loop, int fd);

/* Waits at most `timeout_ms`; -1: until something happens. */
void loop_poller_wait(struct loop *loop, int timeout_ms);

/* What becomes readable when loop_poller_wait would return at once. */
int loop_poller_fd(const struct loop *loop);

/* Hands what the wait has found to stream_ready and loop_listener_ready. */
void loop_poller_dispatch(struct loop *loop);

#endif
