#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "net/loop.h"
#include "torture.h"

#define POSTERS 4
#define PER_POSTER 5000

static const struct log no_log;

struct letter {
    struct loop_mail mail;
    int poster;
    int number;
};

/* What the callbacks of one loop have seen. */
struct seen {
    struct loop *loop;
    int begins;
    int ends;
    int mails;
    int next[POSTERS]; /* the number due next of each poster */
    int stop_after;    /* mails */
    int post_again;    /* times that a mail is sent round again, to itself */
    struct seen *other;
};

static void on_turn_begin(struct loop *loop, void *user)
{
    struct seen *seen = user;

    assert_ptr_equal(loop_current(), loop);
    assert_int_equal(seen->begins, seen->ends);
    seen->begins++;
}

static void on_turn_end(struct loop *loop, void *user)
{
    struct seen *seen = user;

    assert_ptr_equal(loop_current(), loop);
    seen->ends++;
}

static void on_mail(struct loop *loop, struct loop_mail *mail, void *user)
{
    struct seen *seen = user;
    struct letter *letter = CONTAINER_OF(mail, struct letter, mail);

    assert_ptr_equal(loop_current(), loop);
    assert_int_equal(letter->number, seen->next[letter->poster]);
    seen->next[letter->poster]++;
    seen->mails++;
    if (seen->post_again > 0) {
        seen->post_again--;
        seen->next[letter->poster]--;
        loop_post(loop, mail);
    }
    if (seen->mails == seen->stop_after) {
        loop_stop(loop);
    }
}

static int open_loop(struct seen *seen, int index)
{
    struct loop_options options = {
        .index = index,
        .log = &no_log,
        .on_turn_begin = on_turn_begin,
        .on_mail = on_mail,
        .on_turn_end = on_turn_end,
        .user = seen,
    };

    *seen = (struct seen){0};
    return loop_new(&seen->loop, &options);
}

/* --- Turns ---------------------------------------------------------------- */

static void test_phases(void **state)
{
    struct seen seen;

    (void)state;
    assert_int_equal(open_loop(&seen, 0), 0);
    assert_null(loop_current());
    loop_turn(seen.loop, 0);
    loop_turn(seen.loop, 0);
    assert_int_equal(seen.begins, 2);
    assert_int_equal(seen.ends, 2);
    assert_int_equal(seen.loop->turns, 2);
    assert_null(loop_current());
    loop_free(seen.loop);
}

static void stop_on_timer(struct timer *timer, uint64_t now_ms)
{
    assert_true(now_ms >= timer->deadline_ms);
    assert_true(clock_monotonic_ms() >= timer->deadline_ms);
    loop_stop(loop_current());
}

static void test_timer_ends_the_wait(void **state)
{
    struct seen seen;
    struct timer timer;

    (void)state;
    assert_int_equal(open_loop(&seen, 0), 0);
    timer_init(&timer, stop_on_timer);
    for (uint64_t delay = 0; delay < 20; delay += 5) {
        int before = seen.begins;

        timer_start(&seen.loop->timers, &timer,
                    clock_monotonic_ms() + delay);
        loop_run(seen.loop);
        assert_in_range(seen.begins - before, 1, 5);
    }
    loop_free(seen.loop);
}

/* As part of another loop: the descriptor and the time say when. */
static void test_outer_loop(void **state)
{
    struct letter letter = {.mail.size = 1};
    struct pollfd polled = {.events = POLLIN};
    struct seen seen;
    struct timer timer;

    (void)state;
    assert_int_equal(open_loop(&seen, 0), 0);
    polled.fd = loop_fd(seen.loop);
    loop_turn(seen.loop, 0);
    assert_int_equal(loop_timeout_ms(seen.loop), -1);
    assert_int_equal(poll(&polled, 1, 0), 0);

    loop_post(seen.loop, &letter.mail);
    assert_int_equal(poll(&polled, 1, 10000), 1);
    loop_turn(seen.loop, 0);
    assert_int_equal(seen.mails, 1);
    assert_int_equal(poll(&polled, 1, 0), 0);

    timer_init(&timer, stop_on_timer);
    timer_start(&seen.loop->timers, &timer, clock_monotonic_ms() + 20);
    assert_in_range(loop_timeout_ms(seen.loop), 0, 20);
    while (!seen.loop->is_stopped) {
        poll(&polled, 1, loop_timeout_ms(seen.loop));
        loop_turn(seen.loop, 0);
    }
    loop_keep_awake(seen.loop);
    assert_int_equal(loop_timeout_ms(seen.loop), 0);
    loop_free(seen.loop);
}

static void test_keep_awake(void **state)
{
    struct seen seen;

    (void)state;
    assert_int_equal(open_loop(&seen, 0), 0);
    /* Without it, this would wait for ever. */
    loop_keep_awake(seen.loop);
    loop_turn(seen.loop, -1);
    assert_int_equal(seen.ends, 1);
    loop_free(seen.loop);
}

static void test_budget(void **state)
{
    struct seen seen;

    (void)state;
    assert_int_equal(open_loop(&seen, 0), 0);
    loop_turn(seen.loop, 0);
    while (clock_monotonic_ns() - seen.loop->turn_began_ns < 2100000) {
    }
    assert_true(loop_is_over_budget(seen.loop));

    /* Each turn starts with all of it; this thread may be held up meanwhile. */
    do {
        loop_turn(seen.loop, 0);
    } while (loop_is_over_budget(seen.loop));
    loop_free(seen.loop);
}

/* --- Mail ----------------------------------------------------------------- */

struct poster {
    pthread_t thread;
    struct loop *target;
    struct letter *letters;
};

static void *post_all(void *user)
{
    struct poster *poster = user;

    for (int i = 0; i < PER_POSTER; i++) {
        loop_post(poster->target, &poster->letters[i].mail);
    }
    return NULL;
}

static struct letter *make_letters(int poster, int count)
{
    struct letter *letters = calloc((size_t)count, sizeof(*letters));

    assert_non_null(letters);
    for (int i = 0; i < count; i++) {
        letters[i].mail.size = 10;
        letters[i].poster = poster;
        letters[i].number = i;
    }
    return letters;
}

/* The loop blocks in its waits, so one lost wake-up would hang the test. */
static void test_mail_of_several_threads(void **state)
{
    struct seen seen;
    struct poster posters[POSTERS];

    (void)state;
    assert_int_equal(open_loop(&seen, 0), 0);
    seen.stop_after = POSTERS * PER_POSTER;
    for (int i = 0; i < POSTERS; i++) {
        posters[i].target = seen.loop;
        posters[i].letters = make_letters(i, PER_POSTER);
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_all,
                                        &posters[i]),
                         0);
    }
    loop_run(seen.loop);
    for (int i = 0; i < POSTERS; i++) {
        assert_int_equal(pthread_join(posters[i].thread, NULL), 0);
        assert_int_equal(seen.next[i], PER_POSTER);
        free(posters[i].letters);
    }
    assert_int_equal(loop_mail_bytes(seen.loop), 0);
    loop_free(seen.loop);
}

static void test_flood_of_mail_is_dealt_out(void **state)
{
    enum { COUNT = 20000 };

    struct seen seen;
    struct letter *letters = make_letters(0, COUNT);

    (void)state;
    assert_int_equal(open_loop(&seen, 0), 0);
    for (int i = 0; i < COUNT; i++) {
        loop_post(seen.loop, &letters[i].mail);
    }
    assert_int_equal(loop_mail_bytes(seen.loop), 10 * COUNT);
    while (seen.mails < COUNT) {
        int before = seen.mails;

        loop_turn(seen.loop, -1);
        assert_in_range(seen.mails - before, 1, 4096);
        assert_int_equal(loop_mail_bytes(seen.loop), 10 * (COUNT - seen.mails));
    }
    free(letters);
    loop_free(seen.loop);
}

static void test_post_to_itself(void **state)
{
    struct seen seen;
    struct letter *letter = make_letters(0, 1);

    (void)state;
    assert_int_equal(open_loop(&seen, 0), 0);
    seen.post_again = 100;
    seen.stop_after = 101;
    loop_post(seen.loop, &letter->mail);
    loop_run(seen.loop);
    assert_int_equal(seen.mails, 101);
    free(letter);
    loop_free(seen.loop);
}

static void test_mail_left_is_handed_over(void **state)
{
    struct seen seen;
    struct letter *letters = make_letters(0, 300);

    (void)state;
    assert_int_equal(open_loop(&seen, 0), 0);
    for (int i = 0; i < 300; i++) {
        loop_post(seen.loop, &letters[i].mail);
    }
    loop_free(seen.loop);
    assert_int_equal(seen.mails, 300);
    free(letters);
}

struct post_later {
    struct timer timer;
    struct loop *target;
    struct letter *letters;
    int count;
    bool is_flushed;
};

static void post_from_timer(struct timer *timer, uint64_t now_ms)
{
    struct post_later *later = CONTAINER_OF(timer, struct post_later, timer);

    (void)now_ms;
    for (int i = 0; i < later->count; i++) {
        loop_post(later->target, &later->letters[i].mail);
    }
    assert_false(later->target->is_woken);
    if (later->is_flushed) {
        loop_flush(loop_current());
        assert_true(later->target->is_woken);
    }
}

/* One wake-up for all that a turn has posted, when it ends or flushes. */
static void test_wake_up_comes_once_a_turn(void **state)
{
    (void)state;
    for (int flushed = 0; flushed < 2; flushed++) {
        struct seen from;
        struct seen to;
        struct post_later later = {.count = 50, .is_flushed = flushed != 0};

        assert_int_equal(open_loop(&from, 3), 0);
        assert_int_equal(open_loop(&to, 63), 0);
        later.letters = make_letters(0, later.count);
        later.target = to.loop;
        timer_init(&later.timer, post_from_timer);
        timer_start(&from.loop->timers, &later.timer, 0);
        loop_turn(from.loop, 0);
        assert_true(to.loop->is_woken);
        assert_int_equal(from.loop->wake_set, 0);
        loop_turn(to.loop, -1);
        assert_int_equal(to.mails, 50);
        assert_false(to.loop->is_woken);
        free(later.letters);
        loop_free(from.loop);
        loop_free(to.loop);
    }
}

static void pass_on(struct loop *loop, struct loop_mail *mail, void *user)
{
    struct seen *seen = user;
    struct letter *letter = CONTAINER_OF(mail, struct letter, mail);

    /* The number counts down; the last round ends both loops. */
    if (letter->number <= 1) {
        loop_stop(loop);
    }
    if (letter->number > 0) {
        letter->number--;
        loop_post(seen->other->loop, mail);
    }
}

static void *run_loop(void *user)
{
    struct seen *seen = user;

    loop_run(seen->loop);
    return NULL;
}

/* Each hop needs a wake-up, as both loops wait without a limit. */
static void test_ping_pong_of_two_loops(void **state)
{
    struct seen seen[2];
    struct letter *letter = make_letters(0, 1);
    pthread_t thread;

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct loop_options options = {
            .index = i,
            .log = &no_log,
            .on_mail = pass_on,
            .user = &seen[i],
        };

        seen[i] = (struct seen){.other = &seen[1 - i]};
        assert_int_equal(loop_new(&seen[i].loop, &options), 0);
    }
    letter->number = 20001;
    assert_int_equal(pthread_create(&thread, NULL, run_loop, &seen[1]), 0);
    loop_post(seen[0].loop, &letter->mail);
    run_loop(&seen[0]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(letter->number, 0);
    loop_free(seen[0].loop);
    loop_free(seen[1].loop);
    free(letter);
}

static struct loop *loop_of_signal;

static void wake_in_signal(int number)
{
    (void)number;
    loop_wake(loop_of_signal);
}

static void test_wake_in_a_signal_handler(void **state)
{
    struct sigaction action = {.sa_handler = wake_in_signal};
    struct sigaction former;
    struct seen seen;

    (void)state;
    assert_int_equal(open_loop(&seen, 0), 0);
    loop_of_signal = seen.loop;
    assert_int_equal(sigaction(SIGUSR1, &action, &former), 0);
    for (int i = 0; i < 3; i++) {
        raise(SIGUSR1);
        raise(SIGUSR1);
        loop_turn(seen.loop, -1);
    }
    assert_int_equal(seen.ends, 3);
    sigaction(SIGUSR1, &former, NULL);
    loop_free(seen.loop);
}

/* --- Without memory ------------------------------------------------------- */

static void open_and_close(void *arg)
{
    struct seen seen;

    (void)arg;
    if (open_loop(&seen, 0) < 0) {
        assert_true(torture_failed());
        return;
    }
    loop_turn(seen.loop, 0);
    loop_free(seen.loop);
}

static void test_without_memory(void **state)
{
    (void)state;
    torture_run(open_and_close, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_phases),
        cmocka_unit_test(test_timer_ends_the_wait),
        cmocka_unit_test(test_outer_loop),
        cmocka_unit_test(test_keep_awake),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_mail_of_several_threads),
        cmocka_unit_test(test_flood_of_mail_is_dealt_out),
        cmocka_unit_test(test_post_to_itself),
        cmocka_unit_test(test_mail_left_is_handed_over),
        cmocka_unit_test(test_wake_up_comes_once_a_turn),
        cmocka_unit_test(test_ping_pong_of_two_loops),
        cmocka_unit_test(test_wake_in_a_signal_handler),
        cmocka_unit_test(test_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
