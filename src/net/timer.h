/*
 * Timers on a hierarchical wheel: starting, stopping and firing are O(1), and
 * timers that do not fire cost nothing. One per connection and one per pending
 * request is the expected load; resolution is a millisecond, early never.
 */
#ifndef NET_TIMER_H
#define NET_TIMER_H

#include "base/list.h"

#include <stdint.h>

#define TIMER_LEVELS 5
#define TIMER_SLOTS 64

/* 64^5 ms are 12 days; later deadlines wait and enter again. */

struct timer {
    struct list link; /* links to itself when it does not run */
    uint64_t deadline_ms;
    void (*fire)(struct timer *timer, uint64_t now_ms);
};

struct timer_wheel {
    uint64_t now_ms;
    struct list due; /* started in the past: fire at the next advance */
    uint64_t occupied[TIMER_LEVELS]; /* a bit per slot that is not empty */
    struct list slots[TIMER_LEVELS][TIMER_SLOTS];
    size_t count;
};

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms);

/* Before anything else is done with it; it does not run. */
void timer_init(struct timer *timer,
                void (*fire)(struct timer *timer, uint64_t now_ms));

/* (Re)starts it to fire at `deadline_ms`; in the past means at once. */
void timer_start(struct timer_wheel *wheel, struct timer *timer,
                 uint64_t deadline_ms);

/* Harmless when it does not run. */
void timer_stop(struct timer_wheel *wheel, struct timer *timer);

/* Started, and neither fired nor stopped since. */
bool timer_is_running(const struct timer *timer);

/*
 * Fires all that are due at `now_ms`, in order of their deadlines to within a
 * slot; a callback may start and stop any timer, its own included.
 */
void timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms);

/*
 * How many ms may pass before timer_wheel_advance must be called again; -1 when
 * no timer runs. May be earlier than the next deadline, never later.
 */
int64_t timer_wheel_wait_ms(const struct timer_wheel *wheel);

#endif
