/* How a worker stops. */
#include "server/stop.h"

#include "base/assert.h"
#include "base/random.h"
#include "server/conn.h"
#include "server/tracker.h"

/* How often a paced stop tells some more. */
#define PACE_MS 20

/* What is still open is cut off. */
static void cut_all(struct worker *worker)
{
    for (struct list *link = worker->conns.next; link != &worker->conns;) {
        struct conn *conn = CONTAINER_OF(link, struct conn, link);

        link = link->next;
        conn_cut(conn);
    }
    for (struct list *link = worker->leaving.next; link != &worker->leaving;
         link = link->next) {
        conn_cut(CONTAINER_OF(link, struct conn, link));
    }
}

static void cut(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    cut_all(CONTAINER_OF(timer, struct worker, cut_timer));
}

/* --- Telling ------------------------------------------------------------- */

/* Tells one client, and, where it can be said, when to come back. */
static void tell(struct conn *conn)
{
    static const char reason[] = "server is stopping";
    struct worker *worker = conn_worker(conn);
    uint32_t spread_ms = conn_seat(conn)->config->options.return_spread_ms;

    if (spread_ms != 0 && spread_ms != PEAL_OFF) {
        worker->retry_after_ms = 1 + random_below(spread_ms);
        if (conn->state == CONN_WS_OPEN) {
            struct wire wire = {
                .kind = WIRE_GOODBYE,
                .failure = {.code = WS_CLOSE_GOING_AWAY,
                            .message = peal_slice(reason),
                            .retry_after_ms = worker->retry_after_ms},
            };

            (void)output_wire(conn, &wire);
        }
    }
    conn_close(conn, WS_CLOSE_GOING_AWAY, reason);
    worker->retry_after_ms = 0;
}

/* How many clients may have been told by now. */
static uint64_t allowance(const struct worker *worker)
{
    uint64_t rate = worker_options(worker)->stop_clients_per_second;
    uint64_t passed_ms = worker->loop->now_ms - worker->stop_began_ms;

    if (rate == 0) {
        return UINT64_MAX;
    }
    return 1 +
           passed_ms * rate / (1000 * (uint64_t)worker->engine->worker_count);
}

/* Tells as many as the pace allows; the deadline begins with the last one. */
static void tell_some(struct worker *worker)
{
    const struct peal_server_options *options = worker_options(worker);
    struct timer_wheel *timers = &worker->loop->timers;
    uint64_t most = allowance(worker);
    struct list *link = worker->conns.next;

    while (link != &worker->conns && worker->stop_told < most) {
        struct conn *conn = CONTAINER_OF(link, struct conn, link);

        link = link->next;
        if (conn_is_open(conn)) {
            worker->stop_told++;
            tell(conn);
        } else if (conn->state == CONN_PROXY || conn->state == CONN_TLS) {
            conn_cut(conn);
        } else if (conn->state == CONN_HEAD || conn->state == CONN_HTTP_BODY) {
            conn_finish(conn);
        }
    }
    loop_keep_awake(worker->loop);
    if (link != &worker->conns) {
        timer_start(timers, &worker->pace_timer,
                    worker->loop->now_ms + PACE_MS);
    } else if (options->stop_timeout_ms != PEAL_OFF) {
        timer_start(timers, &worker->cut_timer,
                    worker->loop->now_ms + options->stop_timeout_ms);
    }
}

/* The delay is over, or it is time for some more. */
static void go_on(struct timer *timer, uint64_t now_ms)
{
    struct worker *worker = CONTAINER_OF(timer, struct worker, pace_timer);

    (void)now_ms;
    if (!worker->is_stopping) {
        worker->is_stopping = true;
        worker->stop_began_ms = worker->loop->now_ms;
        accept_close(worker);
    }
    tell_some(worker);
}

/* --- The parts of a turn ------------------------------------------------- */

void stop_init(struct worker *worker)
{
    timer_init(&worker->cut_timer, cut);
    timer_init(&worker->pace_timer, go_on);
}

/* All mail that was sent before has come. */
static void begin(struct worker *worker)
{
    uint32_t delay_ms = worker_options(worker)->stop_delay_ms;

    if (worker->is_stopping) {
        return; /* it was cut short meanwhile, or some loop did not turn */
    }
    timer_stop(&worker->loop->timers, &worker->pace_timer);
    if (delay_ms == 0 || delay_ms == PEAL_OFF) {
        go_on(&worker->pace_timer, worker->loop->now_ms);
    } else {
        timer_start(&worker->loop->timers, &worker->pace_timer,
                    worker->loop->now_ms + delay_ms);
    }
}

/* A loop that does not turn is not waited for longer than the rest takes. */
static void begin_at_last(struct worker *worker)
{
    const struct peal_server_options *options = worker_options(worker);
    uint64_t wait_ms = options->stop_timeout_ms;

    if (wait_ms == PEAL_OFF) {
        return;
    }
    if (options->stop_delay_ms != PEAL_OFF) {
        wait_ms += options->stop_delay_ms;
    }
    timer_start(&worker->loop->timers, &worker->pace_timer,
                worker->loop->now_ms + wait_ms);
}

/*
 * The mail that was sent to this loop before the stop has come; what it was
 * about may be on its way to other loops. So all of them go on until each has
 * come as far, and begin behind what they have sent each other by then.
 */
void stop_heed_mail(struct worker *worker)
{
    struct engine *engine = worker->engine;

    if (worker->is_stop_due) {
        begin(worker);
        return;
    }
    worker->is_stop_due = true;
    if (atomic_fetch_add(&engine->stops_due, 1) + 1 < engine->worker_count) {
        begin_at_last(worker);
        return;
    }
    for (int i = 0; i < engine->worker_count; i++) {
        loop_post(engine->workers[i].loop, &engine->workers[i].stop_mail);
    }
}

void stop_look(struct worker *worker)
{
    const struct engine *engine = worker->engine;

    if (!atomic_load_explicit(&engine->is_stop_asked, memory_order_acquire)) {
        return;
    }
    if (!worker->is_stop_seen) {
        /* What other threads have sent before is still delivered. */
        worker->is_stop_seen = true;
        loop_post(worker->loop, &worker->stop_mail);
    }
    if (atomic_load(&engine->is_cut_asked) && !worker->is_cut) {
        worker->is_cut = true;
        worker->is_stopping = true;
        timer_stop(&worker->loop->timers, &worker->pace_timer);
        accept_close(worker);
        cut_all(worker);
        loop_keep_awake(worker->loop);
    }
}

void stop_finish(struct worker *worker)
{
    const struct engine *engine = worker->engine;
    struct timer_wheel *timers = &worker->loop->timers;

    if (!atomic_load_explicit(&engine->is_stop_asked, memory_order_acquire)) {
        return;
    }
    if (!worker->is_stop_seen ||
        (atomic_load(&engine->is_cut_asked) && !worker->is_cut)) {
        /* Asked for during this turn, whose wake-up the turn may have taken. */
        loop_keep_awake(worker->loop);
    }
    if (worker->is_stopping && list_is_empty(&worker->conns) &&
        list_is_empty(&worker->leaving)) {
        if (!list_is_empty(&worker->dead)) {
            loop_keep_awake(worker->loop); /* they are freed in the next turn */
            return;
        }
        timer_stop(timers, &worker->cut_timer);
        timer_stop(timers, &worker->pace_timer);
        timer_stop(timers, &worker->trim_timer);
        timer_stop(timers, &worker->hold_timer);
        tracker_stop(worker);
        loop_stop(worker->loop);
    }
}
