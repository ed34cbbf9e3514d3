#include "net/loop.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/loop_poller.h"
#include "net/stream.h"
#include "net/stream_batch.h"

#include <errno.h>
#include <limits.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LOOP_BUDGET_NS UINT64_C(2000000)

/* Mail of one turn, so that a flood of it does not starve the sockets. */
#define LOOP_MAILS_PER_TURN 4096
#define LOOP_MAILS_PER_LOOK 64 /* at the clock */

#define LOOP_NS_PER_MS UINT64_C(1000000)

static _Thread_local struct loop *loop_of_thread;

struct loop *loop_current(void)
{
    return loop_of_thread;
}

static void loop_set_time(struct loop *loop)
{
    loop->turn_began_ns = clock_monotonic_ns();
    loop->now_ms = loop->turn_began_ns / LOOP_NS_PER_MS;
}

int loop_new(struct loop **out, const struct loop_options *options)
{
    ASSERT(options->index >= 0 && options->index < LOOP_MAX);

    int rc = PEAL_ENOMEM;
    struct loop *loop = mem_zalloc(sizeof(*loop));

    if (loop == NULL) {
        return PEAL_ENOMEM;
    }
    loop->options = *options;
    loop->read_buffer = mem_alloc(LOOP_READ_BYTES + LOOP_SEND_BYTES);
    if (loop->read_buffer == NULL) {
        goto free_loop;
    }
    loop->send_buffer = loop->read_buffer + LOOP_READ_BYTES;

    rc = loop_poller_open(loop);
    if (rc < 0) {
        goto free_buffers;
    }
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->wake_fd < 0) {
        rc = PEAL_ESYSTEM;
        goto close_poller;
    }
    rc = loop_poller_watch(loop, loop->wake_fd, loop, LOOP_WAKE, LOOP_READABLE);
    if (rc < 0) {
        goto close_wake;
    }
    mpsc_init(&loop->mail);
    loop_set_time(loop);
    timer_wheel_init(&loop->timers, loop->now_ms);
    *out = loop;
    return PEAL_OK;

close_wake:
    close(loop->wake_fd);
close_poller:
    loop_poller_close(loop);
free_buffers:
    mem_free(loop->read_buffer);
free_loop:
    mem_free(loop);
    return rc;
}

int loop_open_ring(struct loop *loop)
{
    ASSERT(loop->batch == NULL);

    int rc = stream_batch_open(&loop->batch);

    if (rc == 0) {
        atomic_store_explicit(&loop->has_ring, true, memory_order_relaxed);
    }
    return rc;
}

/* --- Mail ----------------------------------------------------------------- */

void loop_wake(struct loop *loop)
{
    if (atomic_exchange(&loop->is_woken, true)) {
        return;
    }

    int saved = errno; /* of the code that a signal has interrupted */
    uint64_t one = 1;
    ssize_t written = write(loop->wake_fd, &one, sizeof(one));

    /* Fails only with the counter at its end; then it is readable as well. */
    (void)written;
    errno = saved;
}

void loop_post(struct loop *loop, struct loop_mail *mail)
{
    struct loop *from = loop_of_thread;

    /* Counted before it can be taken, so that the count never wraps. */
    atomic_fetch_add_explicit(&loop->mail_bytes, mail->size,
                              memory_order_relaxed);
    mpsc_push(&loop->mail, &mail->node);
    if (from == loop) {
        loop->is_kept_awake = true;
    } else if (from == NULL || from->options.group != loop->options.group) {
        loop_wake(loop);
    } else {
        int index = loop->options.index;

        from->wake_set |= UINT64_C(1) << index;
        from->wake_targets[index] = loop;
    }
}

size_t loop_mail_bytes(const struct loop *loop)
{
    return atomic_load_explicit(&loop->mail_bytes, memory_order_relaxed);
}

static void loop_wake_others(struct loop *loop)
{
    while (loop->wake_set != 0) {
        int index = __builtin_ctzll(loop->wake_set);

        loop->wake_set &= loop->wake_set - 1;
        loop_wake(loop->wake_targets[index]);
    }
}

/* Hands over at most `max` mails. Returns whether there may be more. */
static bool loop_handle_mail(struct loop *loop, int max)
{
    size_t size = 0;
    int count = 0;

    for (; count < max; count++) {
        struct mpsc_node *node = mpsc_pop(&loop->mail);

        if (node == NULL) {
            break;
        }

        struct loop_mail *mail = CONTAINER_OF(node, struct loop_mail, node);

        size += mail->size;
        loop->options.on_mail(loop, mail, loop->options.user);
    }
    if (size > 0) {
        atomic_fetch_sub_explicit(&loop->mail_bytes, size,
                                  memory_order_relaxed);
    }
    return count == max;
}

static void loop_read_mail(struct loop *loop)
{
    /*
     * Cleared before the first look: who posts after that look finds it clear
     * and wakes.
     */
    if (atomic_load_explicit(&loop->is_woken, memory_order_relaxed)) {
        atomic_exchange(&loop->is_woken, false);
    }

    /*
     * Mail has a budget of its own: other loops fill it whether this one is
     * busy with its sockets or not.
     */
    uint64_t until_ns = 0;

    for (int done = 0; loop_handle_mail(loop, LOOP_MAILS_PER_LOOK);) {
        uint64_t now_ns = clock_monotonic_ns();

        if (done == 0) {
            until_ns = now_ns + LOOP_BUDGET_NS;
        }
        done += LOOP_MAILS_PER_LOOK;
        if (done >= LOOP_MAILS_PER_TURN || now_ns > until_ns) {
            loop->is_kept_awake = true;
            return;
        }
    }
}

/* --- Turns ---------------------------------------------------------------- */

bool loop_is_over_budget(const struct loop *loop)
{
    return clock_monotonic_ns() - loop->turn_began_ns > LOOP_BUDGET_NS;
}

void loop_flush(struct loop *loop)
{
    stream_flush_all(loop);
    loop_wake_others(loop);
}

/* What is left of `timeout_ms` and of the time to the next timer. */
static int loop_wait_ms(const struct loop *loop, int timeout_ms)
{
    if (loop->is_kept_awake || loop->unflushed != NULL) {
        return 0;
    }

    int64_t wait_ms = timer_wheel_wait_ms(&loop->timers);

    if (wait_ms < 0 || timeout_ms == 0) {
        return timeout_ms;
    }

    /* The turn has taken time since it looked at the clock. */
    int64_t passed_ms = (int64_t)(clock_monotonic_ms() - loop->timers.now_ms);

    wait_ms = wait_ms > passed_ms ? wait_ms - passed_ms : 0;
    if (timeout_ms >= 0 && timeout_ms < wait_ms) {
        return timeout_ms;
    }
    return wait_ms < INT_MAX ? (int)wait_ms : INT_MAX;
}

int loop_fd(const struct loop *loop)
{
    return loop_poller_fd(loop);
}

int loop_timeout_ms(const struct loop *loop)
{
    return loop_wait_ms(loop, -1);
}

void loop_turn(struct loop *loop, int timeout_ms)
{
    struct loop *outer = loop_of_thread;
    const struct loop_options *options = &loop->options;

    loop_of_thread = loop;
    timeout_ms = loop_wait_ms(loop, timeout_ms);
    loop->is_kept_awake = false;
    loop_poller_wait(loop, timeout_ms);
    loop_set_time(loop);
    loop_count(&loop->turns);

    if (options->on_turn_begin != NULL) {
        options->on_turn_begin(loop, options->user);
    }
    loop_poller_dispatch(loop);
    loop_read_mail(loop);
    timer_wheel_advance(&loop->timers, loop->now_ms);
    stream_flush_all(loop);
    if (options->on_turn_end != NULL) {
        options->on_turn_end(loop, options->user);
    }
    if (log_has_left_out() && options->log != NULL) {
        log_tell(options->log);
    }
    loop_wake_others(loop);
    loop_of_thread = outer;
}

void loop_run(struct loop *loop)
{
    while (!loop->is_stopped) {
        loop_turn(loop, -1);
    }
    loop->is_stopped = false;
    if (loop->options.log != NULL) {
        log_forget(loop->options.log);
    }
}

void loop_stop(struct loop *loop)
{
    loop->is_stopped = true;
}

void loop_drain(struct loop *loop)
{
    struct loop *outer = loop_of_thread;

    loop_of_thread = loop;
    while (loop_handle_mail(loop, LOOP_MAILS_PER_LOOK)) {
    }
    loop_wake_others(loop);
    loop_of_thread = outer;
}

void loop_free(struct loop *loop)
{
    loop_drain(loop);
    loop_poller_unwatch(loop, loop->wake_fd);
    close(loop->wake_fd);
    loop_poller_close(loop);
    stream_batch_close(loop->batch);
    mem_free(loop->read_buffer);
    mem_free(loop);
}
