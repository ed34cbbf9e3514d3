#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/assert.h"
#include "net/timer.h"

#define TIMERS 300
#define OPERATIONS 40000
#define DAY_MS UINT64_C(86400000)

/* A timer and what the model knows of it. */
struct item {
    struct timer timer;
    bool is_running;
    uint64_t due_ms;    /* the deadline, or its start if that was later */
    bool is_restarting; /* starts itself again when it fires */
    int fired;
};

static struct timer_wheel wheel;
static struct item items[TIMERS];
static uint64_t random_state;
static uint64_t last_due_ms; /* of those fired in this advance */
static bool is_advancing;
static bool is_started_late; /* in this advance, with a deadline in the past */

/* xorshift64: repeatable, and good enough to mix operations. */
static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static uint64_t random_below(uint64_t bound)
{
    return next_random() % bound;
}

/* All sizes of delay are equally likely, up to beyond what the wheel spans. */
static uint64_t random_delay(void)
{
    return random_below(UINT64_C(1) << random_below(33));
}

static void start_item(struct item *item, uint64_t deadline_ms)
{
    timer_start(&wheel, &item->timer, deadline_ms);
    item->is_running = true;
    item->due_ms = deadline_ms;
    if (deadline_ms <= wheel.now_ms) {
        item->due_ms = wheel.now_ms;
        is_started_late = is_started_late || is_advancing;
    }
}

static void stop_item(struct item *item)
{
    timer_stop(&wheel, &item->timer);
    item->is_running = false;
}

static void item_fired(struct timer *timer, uint64_t now_ms)
{
    struct item *item = CONTAINER_OF(timer, struct item, timer);

    assert_true(item->is_running);
    assert_true(timer->deadline_ms <= now_ms);
    assert_true(item->due_ms >= last_due_ms);
    assert_false(timer_is_running(timer));
    last_due_ms = item->due_ms;
    item->is_running = false;
    item->fired++;

    if (item->is_restarting) {
        start_item(item, now_ms + random_delay());
    }
    switch (random_below(8)) {
    case 0:
        stop_item(&items[random_below(TIMERS)]);
        break;
    case 1:
        start_item(&items[random_below(TIMERS)],
                   wheel.now_ms + random_delay());
        break;
    case 2:
        start_item(&items[random_below(TIMERS)], wheel.now_ms / 2);
        break;
    default:
        break;
    }
}

static void check_wheel(void)
{
    uint64_t next_ms = UINT64_MAX;
    size_t count = 0;

    for (size_t i = 0; i < TIMERS; i++) {
        assert_int_equal(timer_is_running(&items[i].timer),
                         items[i].is_running);
        if (items[i].is_running) {
            count++;
            if (items[i].due_ms < next_ms) {
                next_ms = items[i].due_ms;
            }
        }
    }
    assert_int_equal(wheel.count, count);
    for (size_t level = 0; level < TIMER_LEVELS; level++) {
        for (size_t slot = 0; slot < TIMER_SLOTS; slot++) {
            assert_int_equal((wheel.occupied[level] >> slot) & 1,
                             !list_is_empty(&wheel.slots[level][slot]));
        }
    }

    int64_t wait_ms = timer_wheel_wait_ms(&wheel);

    if (count == 0) {
        assert_int_equal(wait_ms, -1);
    } else {
        assert_true(wait_ms >= 0);
        assert_true((uint64_t)wait_ms <= next_ms - wheel.now_ms);
    }
}

/* After it, exactly what is due by then must have fired. */
static void advance(uint64_t now_ms)
{
    last_due_ms = 0;
    is_started_late = false;
    is_advancing = true;
    timer_wheel_advance(&wheel, now_ms);
    is_advancing = false;
    assert_int_equal(wheel.now_ms, now_ms);
    for (size_t i = 0; i < TIMERS; i++) {
        if (items[i].is_running && items[i].due_ms <= now_ms) {
            assert_true(is_started_late);
            assert_int_equal(timer_wheel_wait_ms(&wheel), 0);
        }
    }
}

static void set_up(uint64_t now_ms, uint64_t seed)
{
    random_state = seed;
    timer_wheel_init(&wheel, now_ms);
    for (size_t i = 0; i < TIMERS; i++) {
        items[i] = (struct item){.is_restarting = i % 10 == 0};
        timer_init(&items[i].timer, item_fired);
    }
}

static void run_random_operations(uint64_t now_ms, uint64_t seed)
{
    set_up(now_ms, seed);
    for (int i = 0; i < OPERATIONS; i++) {
        struct item *item = &items[random_below(TIMERS)];

        switch (random_below(8)) {
        case 0:
        case 1:
        case 2:
            start_item(item, wheel.now_ms + random_delay());
            break;
        case 3:
            stop_item(item);
            break;
        case 4:
            start_item(item, wheel.now_ms - random_below(wheel.now_ms + 1));
            break;
        case 5:
            advance(wheel.now_ms + random_below(100));
            break;
        case 6:
            advance(wheel.now_ms + random_delay());
            break;
        default: {
            int64_t wait_ms = timer_wheel_wait_ms(&wheel);

            if (wait_ms > 0) {
                advance(wheel.now_ms + (uint64_t)wait_ms);
            }
            break;
        }
        }
        if (i % 16 == 0) {
            check_wheel();
        }
    }
}

static void test_random_operations(void **state)
{
    (void)state;
    run_random_operations(0, 1);
    run_random_operations(12345678901, 2);

    /* Just before the indices of all levels wrap around. */
    run_random_operations((UINT64_C(1) << 30) - 50, 3);
    run_random_operations((UINT64_C(1) << 36) - 1, 4);
}

static void count_fired(struct timer *timer, uint64_t now_ms)
{
    struct item *item = CONTAINER_OF(timer, struct item, timer);

    (void)now_ms;
    item->fired++;
}

/* Every delay around the borders of the levels, on the millisecond. */
static void test_never_early_never_late(void **state)
{
    static const uint64_t borders[] = {1, 64, 4096, 262144, 16777216};
    static const uint64_t starts[] = {0, 1, 63, 64, 4095, 262143, 16777215};

    (void)state;
    for (size_t s = 0; s < ARRAY_SIZE(starts); s++) {
        for (size_t b = 0; b < ARRAY_SIZE(borders); b++) {
            for (uint64_t around = 0; around < 3; around++) {
                uint64_t delay = borders[b] + around - 1;
                struct item item = {.fired = 0};

                timer_wheel_init(&wheel, starts[s]);
                timer_init(&item.timer, count_fired);
                timer_start(&wheel, &item.timer, starts[s] + delay);
                if (delay > 0) {
                    timer_wheel_advance(&wheel, starts[s] + delay - 1);
                    assert_int_equal(item.fired, 0);
                }
                timer_wheel_advance(&wheel, starts[s] + delay);
                assert_int_equal(item.fired, 1);
                assert_int_equal(timer_wheel_wait_ms(&wheel), -1);
            }
        }
    }
}

/* Following wait_ms alone reaches each deadline, in few steps. */
static void test_wait_leads_to_the_deadline(void **state)
{
    static const uint64_t delays[] = {
        1, 1000, 30000, 60 * 60 * 1000, DAY_MS, 30 * DAY_MS, 400 * DAY_MS};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(delays); i++) {
        struct item item = {.fired = 0};
        int steps = 0;

        timer_wheel_init(&wheel, 987654321);
        timer_init(&item.timer, count_fired);
        timer_start(&wheel, &item.timer, wheel.now_ms + delays[i]);
        while (item.fired == 0) {
            int64_t wait_ms = timer_wheel_wait_ms(&wheel);

            assert_true(wait_ms > 0);
            timer_wheel_advance(&wheel, wheel.now_ms + (uint64_t)wait_ms);
            steps++;
        }
        assert_int_equal(wheel.now_ms, 987654321 + delays[i]);
        assert_true(steps <= TIMER_LEVELS + (int)(delays[i] / (10 * DAY_MS)));
    }
}

static void restart_at_once(struct timer *timer, uint64_t now_ms)
{
    struct item *item = CONTAINER_OF(timer, struct item, timer);

    item->fired++;
    timer_start(&wheel, timer, now_ms);
}

static void test_restart_at_once_does_not_hang(void **state)
{
    struct item item = {.fired = 0};

    (void)state;
    timer_wheel_init(&wheel, 100);
    timer_init(&item.timer, restart_at_once);
    timer_start(&wheel, &item.timer, 0);
    assert_int_equal(timer_wheel_wait_ms(&wheel), 0);
    for (int i = 1; i < 10; i++) {
        timer_wheel_advance(&wheel, 100);
        assert_int_equal(item.fired, i);
        assert_int_equal(timer_wheel_wait_ms(&wheel), 0);
    }
    timer_stop(&wheel, &item.timer);
    timer_stop(&wheel, &item.timer);
    assert_int_equal(timer_wheel_wait_ms(&wheel), -1);
}

static void stop_neighbour(struct timer *timer, uint64_t now_ms)
{
    struct item *item = CONTAINER_OF(timer, struct item, timer);
    struct item *other = item == &items[0] ? &items[1] : &items[0];

    (void)now_ms;
    item->fired++;
    timer_stop(&wheel, &other->timer);
}

static void test_stop_of_one_due_at_the_same_time(void **state)
{
    (void)state;
    timer_wheel_init(&wheel, 0);
    for (size_t i = 0; i < 2; i++) {
        items[i] = (struct item){.fired = 0};
        timer_init(&items[i].timer, stop_neighbour);
        timer_start(&wheel, &items[i].timer, 10);
    }
    timer_wheel_advance(&wheel, 10);
    assert_int_equal(items[0].fired + items[1].fired, 1);
    assert_int_equal(wheel.count, 0);
    assert_int_equal(timer_wheel_wait_ms(&wheel), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_never_early_never_late),
        cmocka_unit_test(test_wait_leads_to_the_deadline),
        cmocka_unit_test(test_restart_at_once_does_not_hang),
        cmocka_unit_test(test_stop_of_one_due_at_the_same_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
