/*
 * A loop: one thread's poller, timers, mailbox and streams. Nothing in it is
 * shared but the mailbox.
 *
 * A turn has named phases, in this order:
 *
 *   wait     for readiness, at most until the next timer
 *   begin    user->on_turn_begin: work left over from the last turn
 *   ready    streams read, listeners accept
 *   mail     what other threads have posted
 *   timers   what is due
 *   flush    every stream with new output, one send each
 *   end      user->on_turn_end: frees what died in this turn
 *   wake     other loops that were posted to
 *
 * Pollers stand behind this interface by file (loop_epoll.c). A loop may have
 * a ring besides (loop_ring.h), by which it sends what a turn has for many
 * streams in one system call.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include "base/log.h"
#include "base/mpsc.h"
#include "net/socket.h"
#include "net/timer.h"

#include <stdatomic.h>

#define LOOP_MAX 64 /* loops that may post to each other, by index */
#define LOOP_READ_BYTES 65536
#define LOOP_SEND_BYTES 16384 /* of slices that are joined for one send */

struct loop;
struct stream;

struct loop_mail {
    struct mpsc_node node;
    size_t size; /* what it pins, for the bound on a mailbox */
};

struct loop_options {
    int index; /* 0 .. LOOP_MAX - 1, unique in the group */
    const struct log *log;
    void (*on_turn_begin)(struct loop *loop, void *user); /* may be NULL */
    void (*on_mail)(struct loop *loop, struct loop_mail *mail, void *user);
    /* May be NULL. Not to send on a stream, nor to close one that it frees. */
    void (*on_turn_end)(struct loop *loop, void *user);
    void *user;
    const void *group; /* the same for loops that end together */
};

struct loop_poller;  /* the backend's */
struct stream_batch; /* net/stream_batch.h */

struct loop {
    struct loop_options options; /* [I] */
    struct loop_poller *poller;  /* [L] */
    struct timer_wheel timers;   /* [L] */
    uint64_t now_ms;             /* [L] set once a turn, after the wait */
    uint64_t turn_began_ns;      /* [L] */
    struct stream *unflushed;    /* [L] streams with new output */
    char *read_buffer;           /* [L] LOOP_READ_BYTES */
    char *send_buffer;           /* [L] LOOP_SEND_BYTES */
    struct stream_batch *batch;  /* [L] NULL without a ring */
    bool is_kept_awake;          /* [L] the next wait does not block */
    bool is_stopped;             /* [L] */
    uint64_t wake_set;           /* [L] loops to wake at the end of the turn */
    struct loop *wake_targets[LOOP_MAX]; /* [L] by index, where a bit is set */
    struct mpsc mail;                    /* [a] */
    _Atomic size_t mail_bytes;           /* [a] posted and not yet handled */
    _Atomic bool is_woken;               /* [a] */
    int wake_fd;                         /* [I] */

    /* [L] written, [a] read: what waits for sockets that are full. */
    _Atomic uint64_t blocked_bytes;

    /* [L] written, [a] read: counters for statistics. */
    _Atomic uint64_t turns;
    _Atomic uint64_t reads;
    _Atomic uint64_t sends;
    _Atomic uint64_t batches; /* of sends, by the ring */
    _Atomic bool has_ring;    /* false again when it has failed */
};

/* Returns 0, PEAL_ENOMEM or PEAL_ESYSTEM. */
int loop_new(struct loop **out, const struct loop_options *options);

/*
 * Has the loop send by a ring, before its first turn and on the thread that is
 * to run it: the kernel interrupts the threads that have made or used a ring
 * when that is gone. An error of loop_ring_open: it goes without.
 */
int loop_open_ring(struct loop *loop);

/* Hands to on_mail what is left of mail. The loop does not run any more. */
void loop_drain(struct loop *loop);

/*
 * No streams or listeners may be open, and nobody may post any more. Drains it.
 */
void loop_free(struct loop *loop);

/* Runs turns on the calling thread until loop_stop. */
void loop_run(struct loop *loop);

/* One turn that waits at most `timeout_ms` (-1: until something happens). */
void loop_turn(struct loop *loop, int timeout_ms);

/*
 * For who takes turns as part of a loop of their own: a descriptor that is
 * readable when something has happened, and how long a turn would wait for that
 * (-1: without end; 0: there is work). The turn is due as soon as either says
 * so.
 */
int loop_fd(const struct loop *loop);
int loop_timeout_ms(const struct loop *loop);

/* [L] loop_run returns after this turn. */
void loop_stop(struct loop *loop);

/* [L] Adds to a counter that other threads may read. */
static inline void loop_add(_Atomic uint64_t *counter, uint64_t amount)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(counter, value + amount, memory_order_relaxed);
}

/* [L] One more. */
static inline void loop_count(_Atomic uint64_t *counter)
{
    loop_add(counter, 1);
}

/* [L] The next turn comes at once: something was left over. */
static inline void loop_keep_awake(struct loop *loop)
{
    loop->is_kept_awake = true;
}

/*
 * [L] Whether the work of this turn has taken so long that the rest should wait
 * for the next one, so that no connection starves the others. Reads the clock:
 * ask once every few messages.
 */
bool loop_is_over_budget(const struct loop *loop);

/* The loop that runs on this thread, or NULL. */
struct loop *loop_current(void);

/*
 * Any thread. Posts `mail`, which the loop hands to on_mail in the order of the
 * pushes. A loop that posts wakes the others of its group once, at the end of
 * its turn; a loop of another group may be freed by then, so it is woken at
 * once, as by any other thread.
 */
void loop_post(struct loop *loop, struct loop_mail *mail);

/* Any thread, also in a signal handler: makes a turn happen. */
void loop_wake(struct loop *loop);

/* Any thread. Bytes posted that the loop has not handled yet. */
size_t loop_mail_bytes(const struct loop *loop);

/*
 * [L] Sends what streams have queued, now, and wakes the loops posted to: for a
 * turn that grows long. Streams may get on_error.
 */
void loop_flush(struct loop *loop);

/* --- Listeners ----------------------------------------------------------- */

struct loop_listener {
    struct loop *loop;
    int fd;
    int reserve_fd; /* given up to accept and drop when descriptors run out */
    struct timer pause;
    /*
     * A new connection; `fd` is the callee's. Called for a batch of them in
     * one turn.
     */
    void (*on_accept)(struct loop_listener *listener, int fd,
                      const struct socket_address *peer);
    /* Descriptors or memory ran out: `error` is the errno. Once a pause. */
    void (*on_exhausted)(struct loop_listener *listener, int error);
    void *user;
};

/*
 * [L, or before the loop runs] Listens on `fd`, which it owns from now on, with
 * on_accept, on_exhausted and user set by the caller. When
 * the process runs out of descriptors, the waiting connection is accepted with
 * the reserve and closed, and the listener pauses for a while instead of
 * spinning. 0, PEAL_ENOMEM or PEAL_ESYSTEM; then `fd` is still the caller's.
 */
int loop_listener_open(struct loop_listener *listener, struct loop *loop,
                       int fd);

/*
 * [L] Harmless when it is closed. Its memory must outlive the turn, as that of
 * a stream.
 */
void loop_listener_close(struct loop_listener *listener);

/* For the poller: connections wait. */
void loop_listener_ready(struct loop_listener *listener);

#endif
