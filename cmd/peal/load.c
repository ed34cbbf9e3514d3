#define _GNU_SOURCE /* ppoll */

#include "load.h"

#include "session.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A message: "\"" and two numbers of 16 hexadecimal digits, then padding. */
#define DIGITS 16
#define TEXT_MIN (2 * DIGITS + 2)
#define TELL_NS UINT64_C(200000000)
#define TURN_NS UINT64_C(50000000) /* the longest wait, so that phases end */

static const char event_name[] = "bench";
static const char probe_name[] = "bench-probe";

static void put_hex(char *out, uint64_t value)
{
    static const char digits[] = "0123456789abcdef";

    for (int i = DIGITS - 1; i >= 0; i--) {
        out[i] = digits[value & 15];
        value >>= 4;
    }
}

static uint64_t get_hex(const char *text)
{
    uint64_t value = 0;

    for (int i = 0; i < DIGITS; i++) {
        unsigned c = (unsigned char)text[i];

        value = value << 4 | (c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return value;
}

static const char *room_name(const struct load *load, uint32_t room,
                             char out[LOAD_ROOM_SIZE])
{
    snprintf(out, LOAD_ROOM_SIZE, "%s-%" PRIu32, load->name, room);
    return out;
}

/* --- What happens to links ------------------------------------------------ */

static void keep_why(struct load_worker *worker, int exit_code, const char *why)
{
    pthread_mutex_lock(&worker->mutex);
    if (worker->exit_code == EXIT_OK) {
        worker->exit_code = exit_code;
        snprintf(worker->why, sizeof worker->why, "%s", why);
    }
    pthread_mutex_unlock(&worker->mutex);
}

static void settle(struct load_link *one)
{
    if (!one->is_settled) {
        one->is_settled = true;
        atomic_fetch_add(&one->worker->load->settled, 1);
    }
}

static void fail(struct load_link *one, int exit_code, const char *why)
{
    if (!one->is_settled) {
        one->worker->figures.failed++;
        keep_why(one->worker, exit_code, why);
        settle(one);
    }
}

static void join(struct load_link *one)
{
    struct load_figures *figures = &one->worker->figures;

    one->is_joined = true;
    figures->connected++;
    histogram_add(&figures->connect_us,
                  (session_now_ns() - one->open_ns) / 1000);
    settle(one);
}

static void on_probed(struct peal_link *link, const struct peal_answer *answer,
                      void *user)
{
    struct load_link *one = user;
    char why[600];
    int exit_code = session_explain(answer, why, sizeof why);

    (void)link;
    if (exit_code == EXIT_OK) {
        join(one);
    } else {
        fail(one, exit_code, why);
    }
}

static void on_joined(struct peal_link *link, const struct peal_answer *answer,
                      void *user)
{
    struct load_link *one = user;
    struct peal_event probe = peal_json(probe_name, NULL);
    char room[LOAD_ROOM_SIZE];
    char why[600];
    int exit_code = session_explain(answer, why, sizeof why);

    if (exit_code != EXIT_OK) {
        fail(one, exit_code, why);
    } else if (!one->is_publisher) {
        join(one);
    } else {
        /* Whether it may publish is known before the measurement. */
        probe.room = peal_slice(room_name(one->worker->load, one->room, room));
        if (peal_link_request(link, &probe, 0, on_probed, one) < 0) {
            fail(one, EXIT_ERROR, "there is no memory");
        }
    }
}

static void on_state(struct peal_link *link,
                     const struct peal_link_change *change, void *user)
{
    struct load_link *one = user;
    char room[LOAD_ROOM_SIZE];
    char why[600];

    if (change->to == PEAL_LINK_CONNECTED) {
        if (peal_link_join(link, room_name(one->worker->load, one->room, room),
                           on_joined, one) < 0) {
            fail(one, EXIT_ERROR, "there is no memory");
        }
    } else if (change->to == PEAL_LINK_DISCONNECTED) {
        int exit_code = session_explain_loss(change, why, sizeof why);

        if (one->is_joined && !one->is_lost) {
            one->is_lost = true;
            one->worker->figures.lost++;
            keep_why(one->worker, EXIT_ERROR, why);
        }
        fail(one, exit_code, why);
    }
}

static void on_message(struct peal_link *link, const struct peal_event *event,
                       void *user)
{
    struct load_link *one = user;
    struct load_worker *worker = one->worker;
    struct load_figures *figures = &worker->figures;
    uint64_t now_ns = session_now_ns();
    uint64_t sent_ns;
    uint64_t number;

    (void)link;
    if (event->name.size != sizeof event_name - 1 ||
        event->data.size < TEXT_MIN) {
        return;
    }
    sent_ns = get_hex(event->data.data + 1);
    number = get_hex(event->data.data + 1 + DIGITS);
    if (number < one->next) {
        figures->disordered++;
    }
    one->next = number + 1;
    one->received++;
    figures->received++;
    figures->bytes += event->data.size;
    histogram_add(&figures->latency_us,
                  now_ns > sent_ns ? (now_ns - sent_ns) / 1000 : 0);
    atomic_fetch_add_explicit(&worker->load->received, 1, memory_order_relaxed);
}

static void on_dropped(struct peal_link *link, const struct peal_event *event,
                       int error, void *user)
{
    struct load_link *one = user;

    (void)link;
    (void)event;
    if (error != PEAL_EGONE) {
        one->worker->figures.dropped++;
    }
}

static void on_error(struct peal_link *link, int error, const char *what,
                     void *user)
{
    struct load_link *one = user;

    if (error == PEAL_EREFUSED &&
        peal_link_state(link) == PEAL_LINK_CONNECTED) {
        one->worker->figures.dropped++;
        keep_why(one->worker, EXIT_ERROR, what);
    }
}

/* --- What a worker does --------------------------------------------------- */

/* Opens those that are due; when the next one is. */
static uint64_t open_links(struct load_worker *worker, uint64_t now_ns)
{
    while (worker->opened < worker->link_count) {
        struct load_link *one = &worker->links[worker->opened];

        if (one->open_ns > now_ns) {
            return one->open_ns;
        }
        one->open_ns = now_ns;
        peal_link_open(one->link);
        worker->opened++;
    }
    return UINT64_MAX;
}

static void publish(struct load_worker *worker, struct load_link *one)
{
    struct load *load = worker->load;
    size_t size = load->options->payload;
    char room[LOAD_ROOM_SIZE];
    struct peal_event event = {
        .name = peal_slice(event_name),
        .data = {worker->text, size},
        .room = peal_slice(room_name(load, one->room, room)),
        .kind = PEAL_JSON,
    };

    /* From when it was due: a generator that lags hides nothing. */
    put_hex(worker->text + 1, one->due_ns);
    put_hex(worker->text + 1 + DIGITS, one->published);
    if (one->is_lost || peal_link_emit(one->link, &event) < 0) {
        worker->figures.dropped++;
        return;
    }
    one->published++;
    worker->figures.published++;
    atomic_fetch_add_explicit(&load->expected, load->members[one->room] - 1,
                              memory_order_relaxed);
}

/* Publishes what is due; when the next one is. */
static uint64_t publish_due(struct load_worker *worker, uint64_t now_ns)
{
    const struct load *load = worker->load;
    const struct options *options = load->options;
    uint64_t begin_ns = atomic_load(&load->publish_ns);
    uint64_t end_ns = begin_ns + options->duration_ms * 1000000;
    uint64_t interval_ns = (uint64_t)(1e9 / options->rate);
    uint64_t next_ns = UINT64_MAX;

    for (size_t i = 0; i < worker->link_count; i++) {
        struct load_link *one = &worker->links[i];

        if (!one->is_publisher || !one->is_joined) {
            continue;
        }
        if (one->due_ns == 0) { /* rooms take turns within the interval */
            one->due_ns =
                begin_ns + interval_ns * one->room / options->room_count;
        }
        while (one->due_ns <= now_ns && one->due_ns < end_ns &&
               atomic_load(&load->phase) != LOAD_END) {
            publish(worker, one);
            one->due_ns += interval_ns;
        }
        if (one->due_ns < end_ns && one->due_ns < next_ns) {
            next_ns = one->due_ns;
        }
    }
    if (next_ns == UINT64_MAX && !worker->has_published) {
        worker->has_published = true;
        atomic_fetch_add(&worker->load->finished, 1);
    }
    return next_ns;
}

static void tell(struct load_worker *worker, uint64_t now_ns)
{
    worker->told_ns = now_ns;
    pthread_mutex_lock(&worker->mutex);
    worker->told = worker->figures;
    pthread_mutex_unlock(&worker->mutex);
}

/* Waits to the microsecond, which the library's milliseconds would not. */
static void wait_until(struct load_worker *worker, uint64_t due_ns)
{
    uint64_t now_ns = session_now_ns();
    uint64_t wait_ns = due_ns > now_ns ? due_ns - now_ns : 0;
    int library_ms = peal_loop_timeout_ms(worker->loop);
    struct pollfd polled = {peal_loop_fd(worker->loop), POLLIN, 0};
    struct timespec time;

    if (library_ms >= 0 && (uint64_t)library_ms * 1000000 < wait_ns) {
        wait_ns = (uint64_t)library_ms * 1000000;
    }
    if (wait_ns > TURN_NS) {
        wait_ns = TURN_NS;
    }
    time = (struct timespec){0, (long)wait_ns};
    ppoll(&polled, 1, &time, NULL);
}

static void *work(void *user)
{
    struct load_worker *worker = user;
    int phase;

    while ((phase = atomic_load(&worker->load->phase)) != LOAD_END) {
        uint64_t now_ns = session_now_ns();
        uint64_t due_ns = phase == LOAD_CONNECT   ? open_links(worker, now_ns)
                          : phase == LOAD_PUBLISH ? publish_due(worker, now_ns)
                                                  : UINT64_MAX;

        wait_until(worker, due_ns);
        peal_loop_step(worker->loop, 0);
        if (now_ns - worker->told_ns > TELL_NS) {
            tell(worker, now_ns);
        }
    }
    for (size_t i = 0; i < worker->link_count; i++) {
        /* Their last callbacks are none of the measurement. */
        worker->links[i].is_lost = worker->links[i].is_settled = true;
        peal_link_free(worker->links[i].link);
        worker->links[i].link = NULL;
    }
    tell(worker, session_now_ns());
    return NULL;
}

/* --- Life ----------------------------------------------------------------- */

static int make_link(struct load *load, struct load_worker *worker,
                     size_t index)
{
    const struct options *options = load->options;
    struct load_link *one = &worker->links[worker->link_count];
    int rc;

    *one = (struct load_link){
        .worker = worker,
        .room = (uint32_t)(index % options->room_count),
        .is_publisher = index < options->room_count,
        .open_ns =
            load->began_ns + (uint64_t)((double)index * 1e9 / options->storm),
    };
    load->link.url = load->urls[index % load->url_count];
    load->link.user = one;
    rc = peal_link_new(&one->link, worker->loop, &load->link);
    if (rc == 0) {
        worker->link_count++;
    }
    return rc;
}

static int make_worker(struct load *load, struct load_worker *worker)
{
    size_t share = load->options->connections / load->worker_count + 1;

    worker->load = load;
    pthread_mutex_init(&worker->mutex, NULL);
    worker->links = calloc(share, sizeof *worker->links);
    worker->text = malloc(load->options->payload);
    if (worker->links == NULL || worker->text == NULL) {
        return PEAL_ENOMEM;
    }
    memset(worker->text, 'x', load->options->payload);
    worker->text[0] = worker->text[load->options->payload - 1] = '"';
    return peal_loop_new(&worker->loop, NULL);
}

static int start_threads(struct load *load)
{
    sigset_t all;
    sigset_t before;
    int rc = 0;

    /* Signals are for the thread that waits for the others. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    for (size_t i = 0; i < load->worker_count && rc == 0; i++) {
        rc = pthread_create(&load->workers[i].thread, NULL, work,
                            &load->workers[i]);
        if (rc != 0) {
            atomic_store(&load->phase, LOAD_END);
            while (i-- > 0) {
                pthread_join(load->workers[i].thread, NULL);
            }
            rc = PEAL_ESYSTEM;
            break;
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int load_start(struct load *load)
{
    int rc = 0;

    load->link.on_state = on_state;
    load->link.on_message = on_message;
    load->link.on_dropped = on_dropped;
    load->link.on_error = on_error;
    load->link.reconnect_attempts = PEAL_OFF;
    load->members = calloc(load->options->room_count, sizeof *load->members);
    load->workers = calloc(load->worker_count, sizeof *load->workers);
    if (load->members == NULL || load->workers == NULL) {
        return PEAL_ENOMEM;
    }
    for (size_t i = 0; i < load->worker_count && rc == 0; i++) {
        rc = make_worker(load, &load->workers[i]);
    }
    load->began_ns = session_now_ns();
    for (size_t i = 0; i < load->options->connections && rc == 0; i++) {
        rc = make_link(load, &load->workers[i % load->worker_count], i);
    }
    return rc == 0 ? start_threads(load) : rc;
}

void load_set_phase(struct load *load, enum load_phase phase)
{
    if (phase == LOAD_PUBLISH) {
        atomic_store(&load->publish_ns, session_now_ns());
    }
    atomic_store(&load->phase, phase);
}

void load_sum(struct load *load, struct load_figures *sum)
{
    memset(sum, 0, sizeof *sum);
    for (size_t i = 0; i < load->worker_count; i++) {
        struct load_worker *worker = &load->workers[i];
        const struct load_figures *told = &worker->told;

        pthread_mutex_lock(&worker->mutex);
        sum->connected += told->connected;
        sum->failed += told->failed;
        sum->lost += told->lost;
        sum->published += told->published;
        sum->dropped += told->dropped;
        sum->received += told->received;
        sum->bytes += told->bytes;
        sum->disordered += told->disordered;
        histogram_merge(&sum->latency_us, &told->latency_us);
        histogram_merge(&sum->connect_us, &told->connect_us);
        pthread_mutex_unlock(&worker->mutex);
    }
}

void load_join(struct load *load)
{
    load_set_phase(load, LOAD_END);
    for (size_t i = 0; i < load->worker_count; i++) {
        pthread_join(load->workers[i].thread, NULL);
    }
}

void load_free(struct load *load)
{
    for (size_t i = 0; load->workers != NULL && i < load->worker_count; i++) {
        struct load_worker *worker = &load->workers[i];

        /* Those of a worker that has not run. */
        for (size_t k = 0; k < worker->link_count; k++) {
            peal_link_free(worker->links[k].link);
        }
        peal_loop_free(worker->loop);
        free(worker->links);
        free(worker->text);
        pthread_mutex_destroy(&worker->mutex);
    }
    free(load->workers);
    free(load->members);
}
