#include "net/timer.h"

#include "base/assert.h"

/*
 * A timer lies on the lowest level whose 64 slots reach as far as it is away:
 * on level n when it is at least 64^n and less than 64^(n + 1) ms away, in the
 * slot (deadline >> 6n) & 63. So a slot of level n is entered in 1 to 64 steps
 * of that level, its timers then move to lower levels, and those of level 0
 * are due exactly when their slot is entered. The slot of a level that time is
 * in now has been emptied on entry; what lies there belongs to the next round.
 */
#define TIMER_SLOT_BITS 6
#define TIMER_SLOT_MASK (TIMER_SLOTS - 1)

static unsigned timer_shift(unsigned level)
{
    return level * TIMER_SLOT_BITS;
}

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms)
{
    wheel->now_ms = now_ms;
    wheel->count = 0;
    list_init(&wheel->due);
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (unsigned slot = 0; slot < TIMER_SLOTS; slot++) {
            list_init(&wheel->slots[level][slot]);
        }
    }
}

void timer_init(struct timer *timer,
                void (*fire)(struct timer *timer, uint64_t now_ms))
{
    list_init(&timer->link);
    timer->deadline_ms = 0;
    timer->fire = fire;
}

bool timer_is_running(const struct timer *timer)
{
    return !list_is_empty(&timer->link);
}

/* Puts it where it belongs; what is due already goes to the end of `due`. */
static void timer_wheel_place(struct timer_wheel *wheel, struct timer *timer,
                              struct list *due)
{
    if (timer->deadline_ms <= wheel->now_ms) {
        list_append(due, &timer->link);
        return;
    }

    uint64_t away = timer->deadline_ms - wheel->now_ms;
    unsigned level = (63 - (unsigned)__builtin_clzll(away)) / TIMER_SLOT_BITS;
    unsigned slot;

    if (level < TIMER_LEVELS) {
        slot = (timer->deadline_ms >> timer_shift(level)) & TIMER_SLOT_MASK;
    } else {
        /* Further away than the wheel reaches: waits in the last slot. */
        level = TIMER_LEVELS - 1;
        slot = ((wheel->now_ms >> timer_shift(level)) + TIMER_SLOTS - 1) &
               TIMER_SLOT_MASK;
    }
    list_append(&wheel->slots[level][slot], &timer->link);
    wheel->occupied[level] |= UINT64_C(1) << slot;
}

void timer_start(struct timer_wheel *wheel, struct timer *timer,
                 uint64_t deadline_ms)
{
    timer_stop(wheel, timer);
    timer->deadline_ms = deadline_ms;
    timer_wheel_place(wheel, timer, &wheel->due);
    wheel->count++;
}

/* `head` is a list that has become empty: if it is a slot, its bit goes. */
static void timer_wheel_mark_empty(struct timer_wheel *wheel,
                                   const struct list *head)
{
    uintptr_t first = (uintptr_t)&wheel->slots[0][0];
    uintptr_t at = (uintptr_t)head;

    if (at < first || at >= first + sizeof(wheel->slots)) {
        return;
    }

    size_t index = (at - first) / sizeof(struct list);

    wheel->occupied[index / TIMER_SLOTS] &=
        ~(UINT64_C(1) << (index % TIMER_SLOTS));
}

void timer_stop(struct timer_wheel *wheel, struct timer *timer)
{
    struct list *next = timer->link.next;

    if (next == &timer->link) {
        return;
    }
    list_remove(&timer->link);
    wheel->count--;

    /* A neighbour that is alone now can only be the head. */
    if (list_is_empty(next)) {
        timer_wheel_mark_empty(wheel, next);
    }
}

/* When the next slot that is not empty is entered; UINT64_MAX: never. */
static uint64_t timer_wheel_next_ms(const struct timer_wheel *wheel)
{
    uint64_t next = UINT64_MAX;

    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        uint64_t occupied = wheel->occupied[level];

        if (occupied == 0) {
            continue;
        }

        /* Rotated so that bit 0 stands for the slot after the current one. */
        uint64_t index = wheel->now_ms >> timer_shift(level);
        unsigned turn = (unsigned)(index + 1) & TIMER_SLOT_MASK;
        uint64_t ahead =
            (occupied >> turn) | (occupied << (-turn & TIMER_SLOT_MASK));
        uint64_t steps = (uint64_t)__builtin_ctzll(ahead) + 1;
        uint64_t at = (index + steps) << timer_shift(level);

        if (at < next) {
            next = at;
        }
    }
    return next;
}

/* Empties the slot of `level` that time has just entered into `to`. */
static void timer_wheel_take(struct timer_wheel *wheel, unsigned level,
                             struct list *to)
{
    unsigned slot = (wheel->now_ms >> timer_shift(level)) & TIMER_SLOT_MASK;

    list_splice(to, &wheel->slots[level][slot]);
    wheel->occupied[level] &= ~(UINT64_C(1) << slot);
}

/* Moves what is due at wheel->now_ms, a moment just entered, to `due`. */
static void timer_wheel_enter(struct timer_wheel *wheel, struct list *due)
{
    for (unsigned level = TIMER_LEVELS - 1; level > 0; level--) {
        uint64_t below = (UINT64_C(1) << timer_shift(level)) - 1;
        struct list moving;

        if ((wheel->now_ms & below) != 0) {
            continue;
        }
        list_init(&moving);
        timer_wheel_take(wheel, level, &moving);
        while (!list_is_empty(&moving)) {
            struct timer *timer = CONTAINER_OF(moving.next, struct timer, link);

            list_remove(&timer->link);
            timer_wheel_place(wheel, timer, due);
        }
    }
    timer_wheel_take(wheel, 0, due);
}

static void timer_wheel_fire(struct timer_wheel *wheel, struct list *due,
                             uint64_t now_ms)
{
    while (!list_is_empty(due)) {
        struct timer *timer = CONTAINER_OF(due->next, struct timer, link);

        list_remove(&timer->link);
        wheel->count--;
        timer->fire(timer, now_ms);
    }
}

void timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms)
{
    struct list due;

    /*
     * What a callback starts in the past waits in wheel->due for the next
     * call: a timer that restarts itself at once must not hold up the loop.
     */
    list_init(&due);
    list_splice(&due, &wheel->due);
    timer_wheel_fire(wheel, &due, now_ms);

    while (wheel->count > 0) {
        uint64_t next_ms = timer_wheel_next_ms(wheel);

        if (next_ms > now_ms) {
            break;
        }
        wheel->now_ms = next_ms;
        timer_wheel_enter(wheel, &due);
        timer_wheel_fire(wheel, &due, now_ms);
    }
    if (now_ms > wheel->now_ms) {
        wheel->now_ms = now_ms;
    }
}

int64_t timer_wheel_wait_ms(const struct timer_wheel *wheel)
{
    if (wheel->count == 0) {
        return -1;
    }
    if (!list_is_empty(&wheel->due)) {
        return 0;
    }
    return (int64_t)(timer_wheel_next_ms(wheel) - wheel->now_ms);
}
