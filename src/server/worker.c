/* A worker: the loop, and what happens around its turns. */
#include "server/conn.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "server/admission.h"
#include "server/backlog.h"
#include "server/deflate.h"
#include "server/governor.h"
#include "server/mail.h"
#include "server/news.h"
#include "server/reply.h"
#include "server/request.h"
#include "server/stop.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* How often a worker with output gives back what its tapes do not use. */
#define TRIM_INTERVAL_MS 10000

/* How often a worker that is held back by another's mailbox looks again. */
#define HOLD_INTERVAL_MS 1

/* A loop's mailbox carries the hub's mails and ours by their first members. */
_Static_assert(offsetof(struct message_mail, node) ==
                       offsetof(struct loop_mail, node) &&
                   offsetof(struct message_mail, size) ==
                       offsetof(struct loop_mail, size),
               "a message_mail must begin as a loop_mail");

struct worker *worker_current(const struct engine *engine)
{
    struct loop *loop = loop_current();
    struct worker *worker = loop != NULL ? loop->options.user : NULL;

    return worker != NULL && worker->engine == engine ? worker : NULL;
}

bool worker_is_held_back(const struct worker *worker)
{
    const struct engine *engine = worker->engine;

    for (int i = 0; i < engine->worker_count; i++) {
        if (loop_mail_bytes(engine->workers[i].loop) >
            worker_options(worker)->mailbox_bytes_max / 2) {
            return true;
        }
    }
    return false;
}

/* The turn that this makes looks at the mailboxes when it begins. */
static void look_again(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    loop_keep_awake(CONTAINER_OF(timer, struct worker, hold_timer)->loop);
}

/* --- Around a turn ------------------------------------------------------- */

static void trim(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    output_trim(CONTAINER_OF(timer, struct worker, trim_timer));
}

/* --- Mail ---------------------------------------------------------------- */

static void on_mail(struct loop *loop, struct loop_mail *loop_mail, void *user)
{
    struct worker *worker = user;
    struct message_mail *mail = (struct message_mail *)loop_mail;
    struct seat *seat;

    (void)loop;
    if (loop_mail == &worker->stop_mail) {
        stop_heed_mail(worker);
        return;
    }
    seat = worker->seats[mail->space];
    if (mail->kind < MESSAGE_KINDS) {
        struct message *message = mail->message;

        if (atomic_load(&worker->engine->state) == SERVER_STOPPED) {
            /* Nobody is left to get it, and other loops may be freed. */
        } else if (mail->kind == MESSAGE_PUBLISH) {
            hub_on_publish(seat->hub, message);
        } else {
            hub_on_deliver(seat->hub, message);
        }
        message_unref(message);
    } else {
        mail_carry_out(seat, (struct mail *)mail);
    }
    output_relieve(worker);
}

static void resume_leftover(struct worker *worker)
{
    struct list work;

    list_init(&work);
    list_splice(&work, &worker->leftover);
    while (!list_is_empty(&work)) {
        conn_input_resume(CONTAINER_OF(work.next, struct conn_input, link));
    }
}

static void tell_leaving(struct worker *worker)
{
    while (!list_is_empty(&worker->leaving)) {
        conn_leave_now(CONTAINER_OF(worker->leaving.next, struct conn, link));
    }
}

/* Takes over the options that are new. */
static void look_for_updates(struct worker *worker)
{
    uint64_t updates = atomic_load_explicit(&worker->engine->updates,
                                            memory_order_acquire);

    if (updates == worker->updates) {
        return;
    }
    worker->updates = updates;
    for (int i = 0; i < worker->engine->space_count; i++) {
        config_adopt(worker->seats[i]);
    }
}

static void on_turn_begin(struct loop *loop, void *user)
{
    struct worker *worker = user;

    atomic_store_explicit(&worker->busy_since_ms, loop->now_ms,
                          memory_order_relaxed);
    look_for_updates(worker);
    if (!list_is_empty(&worker->news)) {
        news_tell(worker);
    }
    tell_leaving(worker);
    stop_look(worker);
    if (!list_is_empty(&worker->leftover)) {
        if (worker_is_held_back(worker)) {
            timer_start(&loop->timers, &worker->hold_timer,
                        loop->now_ms + HOLD_INTERVAL_MS);
        } else {
            resume_leftover(worker);
        }
    }
}

static void on_turn_end(struct loop *loop, void *user)
{
    struct worker *worker = user;

    while (!list_is_empty(&worker->dead)) {
        conn_free(CONTAINER_OF(worker->dead.next, struct conn, link));
    }
    if (worker->unflushed_bytes > 0 && !timer_is_running(&worker->trim_timer)) {
        timer_start(&loop->timers, &worker->trim_timer,
                    loop->now_ms + TRIM_INTERVAL_MS);
    }
    output_rewind(worker);
    governor_look(worker);
    stop_finish(worker);
    measure_add(&worker->turns,
                clock_monotonic_ns() - loop->turn_began_ns);
    atomic_store_explicit(&worker->busy_since_ms, 0, memory_order_relaxed);
}

/* --- Its life ------------------------------------------------------------ */

int worker_open(struct worker *worker, struct engine *engine, int index)
{
    struct loop_options options = {
        .index = index,
        .log = &engine->log,
        .on_turn_begin = on_turn_begin,
        .on_mail = on_mail,
        .on_turn_end = on_turn_end,
        .user = worker,
        .group = engine,
    };
    int rc = loop_new(&worker->loop, &options);

    if (rc < 0) {
        return rc;
    }
    worker->pending = request_table_new(worker);
    if (worker->pending == NULL) {
        loop_free(worker->loop);
        worker->loop = NULL;
        return PEAL_ENOMEM;
    }
    worker->engine = engine;
    worker->index = index;
    stop_init(worker);
    timer_init(&worker->trim_timer, trim);
    timer_init(&worker->hold_timer, look_again);
    governor_init(worker);
    map_init(&worker->admissions, admission_key);
    list_init(&worker->conns);
    list_init(&worker->leaving);
    list_init(&worker->dead);
    list_init(&worker->leftover);
    list_init(&worker->news);
    tape_init(&worker->direct, TAPE_SEGMENT_BYTES);
    for (size_t i = 0; i < FORM_COUNT; i++) {
        tape_init(&worker->tapes[i], TAPE_SEGMENT_BYTES);
    }
    return 0;
}

int worker_open_ring(struct worker *worker)
{
    const struct engine *engine = worker->engine;
    enum peal_io_backend backend = worker_options(worker)->io_backend;
    bool is_demanded = backend == PEAL_IO_URING;
    int rc;

    if (backend == PEAL_IO_EPOLL) {
        return 0;
    }
    rc = loop_open_ring(worker->loop);
    if (rc < 0) {
        const char *reason = strerror(errno);

        log_at(&engine->log, is_demanded ? PEAL_LOG_ERROR : PEAL_LOG_DEBUG,
               "server", "no io_uring", "loop=%d error=%s reason=\"%s\"",
               worker->index, peal_error_name(rc), reason);
    }
    return is_demanded ? rc : 0;
}

void worker_close(struct worker *worker)
{
    if (worker->loop == NULL) {
        return;
    }
    accept_close(worker);
    ASSERT(list_is_empty(&worker->conns) && list_is_empty(&worker->leaving));
    loop_free(worker->loop);
    worker->loop = NULL;
    request_table_free(worker->pending);
    reply_table_free(worker->replies);
    backlog_close(worker);
    map_fini(&worker->admissions);
    tape_fini(&worker->direct);
    for (size_t i = 0; i < FORM_COUNT; i++) {
        tape_fini(&worker->tapes[i]);
    }
}
