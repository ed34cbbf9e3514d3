#include "server/governor.h"

#include "base/assert.h"
#include "base/mem.h"
#include "server/backlog.h"

#include <string.h>

#define LOOK_INTERVAL_MS 100

/* Who still holds memory so long after the first was told to go is cut. */
#define GRACE_MS 500

/* How many clients are closed at a look, at most. */
#define OFFENDERS_MAX 32

/* Who costs less than this is nobody's trouble. */
#define OFFENCE_BYTES 4096

struct offenders {
    struct conn *conns[OFFENDERS_MAX]; /* the worst first */
    size_t count;
};

static void look_again(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    loop_keep_awake(CONTAINER_OF(timer, struct worker, memory_timer)->loop);
}

void governor_init(struct worker *worker)
{
    timer_init(&worker->memory_timer, look_again);
}

/* --- Who --------------------------------------------------------------------
 */

/* What would be had back without it. */
static size_t cost_bytes(const struct conn *conn)
{
    return backlog_queued_bytes(conn) + backlog_cost_bytes(conn) +
           stream_tls_bytes(&conn->stream);
}

/* Puts one that costs so much into its place, if it is among the worst. */
static void consider(struct offenders *offenders, struct conn *conn,
                     size_t bytes)
{
    size_t at = offenders->count;

    if (bytes < OFFENCE_BYTES) {
        return;
    }
    while (at > 0 && cost_bytes(offenders->conns[at - 1]) < bytes) {
        at--;
    }
    if (at == OFFENDERS_MAX) {
        return;
    }
    if (offenders->count < OFFENDERS_MAX) {
        offenders->count++;
    }
    memmove(&offenders->conns[at + 1], &offenders->conns[at],
            (offenders->count - 1 - at) * sizeof offenders->conns[0]);
    offenders->conns[at] = conn;
}

/*
 * The worst of those who are in or in their TLS handshake, which costs as much
 * as three clients; and of those who have been told to go.
 */
struct review {
    struct offenders open;
    struct offenders going;
    uint64_t going_bytes; /* of all of these */
};

static void review_list(struct review *review, struct list *list)
{
    for (struct list *link = list->next; link != list; link = link->next) {
        struct conn *conn = CONTAINER_OF(link, struct conn, link);

        if (conn_is_open(conn) || conn->state == CONN_TLS) {
            consider(&review->open, conn, cost_bytes(conn));
        } else if (conn->state == CONN_WS_CLOSING ||
                   conn->state == CONN_DRAINING) {
            size_t bytes = cost_bytes(conn);

            consider(&review->going, conn, bytes);
            review->going_bytes += bytes;
        }
    }
}

static void review_all(struct review *review, struct worker *worker)
{
    uint64_t most = 0;

    memset(review, 0, sizeof *review);
    review_list(review, &worker->conns);
    review_list(review, &worker->leaving);
    if (review->open.count > 0) {
        most = cost_bytes(review->open.conns[0]);
    }
    atomic_store_explicit(&worker->most_queued, most, memory_order_relaxed);
    atomic_store_explicit(&worker->going_bytes, review->going_bytes,
                          memory_order_relaxed);
}

/* What those who have been told to go will give back soon, on all loops. */
static uint64_t going_bytes(const struct engine *engine)
{
    uint64_t sum = 0;

    for (int i = 0; i < engine->worker_count; i++) {
        sum += atomic_load_explicit(&engine->workers[i].going_bytes,
                                    memory_order_relaxed);
    }
    return sum;
}

/* --- What is done -----------------------------------------------------------
 */

/* Whether no other loop has one that costs more. */
static bool is_worst(const struct worker *worker)
{
    uint64_t most =
        atomic_load_explicit(&worker->most_queued, memory_order_relaxed);

    for (int i = 0; i < worker->engine->worker_count; i++) {
        if (most < atomic_load_explicit(&worker->engine->workers[i].most_queued,
                                        memory_order_relaxed)) {
            return false;
        }
    }
    return true;
}

static void close_worst(struct worker *worker, const struct offenders *open,
                        uint64_t excess)
{
    for (size_t i = 0; i < open->count && excess > 0; i++) {
        struct conn *conn = open->conns[i];
        size_t bytes = cost_bytes(conn);

        excess -= bytes < excess ? bytes : excess;
        if (conn->state == CONN_TLS) {
            seat_count(conn_seat(conn), COUNT_REFUSED_MEMORY);
            conn_cut(conn);
            continue;
        }
        seat_count(conn_seat(conn), COUNT_CLOSED_MEMORY);
        if (worker->memory_closed_ms == 0) {
            worker->memory_closed_ms = worker->loop->now_ms;
        }
        backlog_clear(conn); /* its close says that more was to come */
        conn_fail(conn, WS_CLOSE_TRY_AGAIN, "server is short of memory");
    }
}

/* Those who were told, and take neither what they are owed nor that. */
static void cut_worst(struct worker *worker, const struct offenders *going)
{
    if (worker->memory_closed_ms == 0 ||
        worker->loop->now_ms < worker->memory_closed_ms + GRACE_MS) {
        return;
    }
    for (size_t i = 0; i < going->count; i++) {
        conn_cut(going->conns[i]);
    }
    if (going->count < OFFENDERS_MAX) {
        worker->memory_closed_ms = 0; /* none is left */
    }
}

static void relieve(struct worker *worker, uint64_t excess)
{
    /* What the others' worst are, they tell when they have looked as well. */
    bool may_compare =
        worker->memory_is_reviewed || worker->engine->worker_count == 1;
    struct review review;
    uint64_t going;

    review_all(&review, worker);
    worker->memory_is_reviewed = true;
    going = going_bytes(worker->engine);
    cut_worst(worker, &review.going);
    if (may_compare && excess > going && is_worst(worker)) {
        close_worst(worker, &review.open, excess - going);
    }
}

static void set_state(struct engine *engine, uint64_t used, uint64_t most)
{
    bool was_out = atomic_load(&engine->is_out_of_memory);
    bool is_out = used > most || (was_out && used > most - most / 10);

    if (is_out == was_out) {
        return;
    }
    atomic_store(&engine->is_out_of_memory, is_out);
    for (int i = 0; is_out && i < engine->worker_count; i++) {
        loop_wake(engine->workers[i].loop);
    }
}

void governor_look(struct worker *worker)
{
    uint64_t most = worker_options(worker)->memory_bytes_max;
    struct engine *engine = worker->engine;
    struct loop *loop = worker->loop;
    uint64_t used;

    if (most == 0 && !atomic_load_explicit(&engine->is_out_of_memory,
                                           memory_order_relaxed)) {
        return;
    }
    if (loop->now_ms < worker->memory_looked_ms + LOOK_INTERVAL_MS) {
        if (!timer_is_running(&worker->memory_timer)) {
            timer_start(&loop->timers, &worker->memory_timer,
                        worker->memory_looked_ms + LOOK_INTERVAL_MS);
        }
        return;
    }
    worker->memory_looked_ms = loop->now_ms;
    used = mem_used();
    if (most == 0) {
        most = UINT64_MAX; /* the bound has been taken away */
    }
    if (used > most) {
        output_trim(worker);
        used = mem_used();
    }
    set_state(engine, used, most);
    if (used > most) {
        relieve(worker, used - most);
    } else {
        worker->memory_is_reviewed = false;
        atomic_store_explicit(&worker->most_queued, 0, memory_order_relaxed);
        atomic_store_explicit(&worker->going_bytes, 0, memory_order_relaxed);
    }
    if (atomic_load(&engine->is_out_of_memory)) {
        timer_start(&loop->timers, &worker->memory_timer,
                    loop->now_ms + LOOK_INTERVAL_MS);
    }
}
