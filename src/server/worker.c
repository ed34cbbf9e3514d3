/*
 * A worker: the loop, the hub, and what happens around their turns. Also how
 * the hub reaches connections and other loops.
 */
#include "server/conn.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "server/deflate.h"
#include "server/admission.h"
#include "server/mail.h"
#include "server/reply.h"
#include "server/request.h"
#include "server/stop.h"

#include <stddef.h>

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

struct worker *worker_current(const struct peal_server *server)
{
    struct loop *loop = loop_current();
    struct worker *worker = loop != NULL ? loop->options.user : NULL;

    return worker != NULL && worker->server == server ? worker : NULL;
}

/* --- Between loops ------------------------------------------------------- */

int worker_post(struct worker *worker, struct message_mail *mail)
{
    struct peal_server *server = worker->server;
    size_t most = atomic_load_explicit(&server->config.mailbox_bytes_max,
                                       memory_order_relaxed);
    size_t waiting = loop_mail_bytes(worker->loop);

    if (atomic_load(&server->state) == SERVER_STOPPED) {
        return PEAL_ESTATE;
    }
    /* Loops hold back their clients at half of it and must get through with
     * what they have already read; the double is for handlers that flood. */
    if (waiting >= (worker_current(server) != NULL ? 2 * most : most)) {
        atomic_fetch_add_explicit(&server->refused_mail, 1,
                                  memory_order_relaxed);
        return PEAL_EFULL;
    }
    loop_post(worker->loop, (struct loop_mail *)mail);
    return 0;
}

bool worker_is_held_back(const struct worker *worker)
{
    const struct peal_server *server = worker->server;

    for (int i = 0; i < server->worker_count; i++) {
        if (loop_mail_bytes(server->workers[i].loop) >
            worker->config->options.mailbox_bytes_max / 2) {
            return true;
        }
    }
    return false;
}

static int post_publish(void *user, int to, struct message_mail *mail)
{
    struct worker *worker = user;

    return worker_post(&worker->server->workers[to], mail);
}

static void post_deliver(void *user, int to, struct message_mail *mail)
{
    struct worker *worker = user;

    loop_post(worker->server->workers[to].loop, (struct loop_mail *)mail);
}

static void begin(void *user, const struct peal_event *event)
{
    output_begin(user, event);
}

static void deliver(void *user, struct peal_client *client)
{
    output_deliver(user, conn_of(client));
}

static void large(void *user, bool is_over)
{
    struct worker *worker = user;
    struct measures *measures = &worker->measures;
    uint64_t now_ns = clock_monotonic_ns();

    if (is_over) {
        measure_add(&measures->fanout, now_ns - measures->fanout_began_ns);
    } else {
        measures->fanout_began_ns = now_ns;
    }
}

const struct hub_ops worker_hub_ops = {
    .begin = begin,
    .deliver = deliver,
    .large = large,
    .post_publish = post_publish,
    .post_deliver = post_deliver,
};

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

    (void)loop;
    if (loop_mail == &worker->stop_mail) {
        stop_begin(worker);
        return;
    }
    if (mail->kind < MESSAGE_KINDS) {
        struct message *message = mail->message;

        if (atomic_load(&worker->server->state) == SERVER_STOPPED) {
            /* Nobody is left to get it, and other loops may be freed. */
        } else if (mail->kind == MESSAGE_PUBLISH) {
            hub_on_publish(worker->hub, message);
        } else {
            hub_on_deliver(worker->hub, message);
        }
        message_unref(message);
    } else {
        mail_carry_out(worker, (struct mail *)mail);
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

static void on_turn_begin(struct loop *loop, void *user)
{
    struct worker *worker = user;

    atomic_store_explicit(&worker->busy_since_ms, loop->now_ms,
                          memory_order_relaxed);
    if (atomic_load_explicit(&worker->server->config.version,
                             memory_order_relaxed) !=
        worker->config->version) {
        config_adopt(worker);
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
    stop_finish(worker);
    measure_add(&worker->measures.turn,
                clock_monotonic_ns() - loop->turn_began_ns);
    atomic_store_explicit(&worker->busy_since_ms, 0, memory_order_relaxed);
}

/* --- Its life ------------------------------------------------------------ */

int worker_open(struct worker *worker, struct peal_server *server, int index)
{
    struct loop_options options = {
        .index = index,
        .log = &server->log,
        .on_turn_begin = on_turn_begin,
        .on_mail = on_mail,
        .on_turn_end = on_turn_end,
        .user = worker,
        .group = server,
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
    worker->server = server;
    worker->config = config_ref(server);
    worker->hub = &server->cluster.hubs[index];
    stop_init(worker);
    timer_init(&worker->trim_timer, trim);
    timer_init(&worker->hold_timer, look_again);
    map_init(&worker->admissions, admission_key);
    list_init(&worker->conns);
    list_init(&worker->leaving);
    list_init(&worker->dead);
    list_init(&worker->leftover);
    tape_init(&worker->direct, TAPE_SEGMENT_BYTES);
    for (size_t i = 0; i < FORM_COUNT; i++) {
        tape_init(&worker->tapes[i], TAPE_SEGMENT_BYTES);
    }
    return 0;
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
    config_unref(worker->config);
    request_table_free(worker->pending);
    reply_table_free(worker->replies);
    guard_set_event_rates(worker, NULL);
    deflate_close(worker);
    map_fini(&worker->admissions);
    tape_fini(&worker->direct);
    for (size_t i = 0; i < FORM_COUNT; i++) {
        tape_fini(&worker->tapes[i]);
    }
}
