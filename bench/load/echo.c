/*
 * Echo: each connection keeps `depth` messages under way, sends one for each
 * that came back, and checks that they come back in order.
 */
#include "load.h"

#define DRAIN_NS_MAX (5 * NS_PER_SECOND)

struct echo {
    uint64_t received;
    uint64_t sent;
    uint64_t budget;    /* how many may be sent in all */
};

static void on_message(struct load *load, struct conn *conn, uint32_t sender,
                       uint32_t sequence)
{
    struct echo *echo = load->mode;

    if (sender != conn->index || sequence != conn->received - 1) {
        load->mismatches++;
    }
    echo->received++;
}

static void send_up_to(struct load *load, struct conn *conn, uint32_t count)
{
    struct echo *echo = load->mode;
    uint64_t left = echo->budget - echo->sent;

    if (count > left) {
        count = (uint32_t)left;
    }
    if (count > 0) {
        echo->sent += count;
        conn_send(load, conn, count);
    }
}

static void on_batch(struct load *load, struct conn *conn)
{
    uint32_t under_way = conn->sent - conn->received;

    send_up_to(load, conn, load->options->depth - under_way);
}

static const struct mode_events EVENTS = {
    .on_message = on_message,
    .on_batch = on_batch,
};

static void drain(struct load *load, struct echo *echo)
{
    uint64_t deadline = now_ns() + DRAIN_NS_MAX;

    while (echo->received < echo->sent && load->closes == 0
           && now_ns() < deadline) {
        load_turn(load, deadline);
    }
}

int echo_run(const struct load_options *options)
{
    struct echo echo = {.budget = UINT64_MAX};
    struct load load;
    struct mark from;
    struct mark to;
    int status;

    load_init(&load, options, &EVENTS, &echo, options->conns);
    load_open(&load, 0, options->conns);
    if (options->count > 0) {
        echo.budget = options->count;
    }
    mark_set(&from, options->pid, 0);
    for (uint32_t i = 0; i < options->conns; i++) {
        send_up_to(&load, &load.conns[i], options->depth);
    }
    if (options->count == 0) {
        load_run(&load, now_ns()
                 + (uint64_t)(options->warm * (double)NS_PER_SECOND));
        mark_set(&from, options->pid, echo.received);
        load_run(&load, from.wall_ns
                 + (uint64_t)(options->seconds * (double)NS_PER_SECOND));
        mark_set(&to, options->pid, echo.received);
        echo.budget = echo.sent;
        drain(&load, &echo);
    } else {
        /* As long as it takes: under an instrument this is slow. */
        while (echo.received < echo.sent && load_is_clean(&load)) {
            load_turn(&load, now_ns() + NS_PER_SECOND);
        }
        mark_set(&to, options->pid, echo.received);
    }
    report_begin(options);
    report_count("depth", options->depth);
    report_span(&from, &to);
    status = report_end(&load, echo.sent > echo.received
                        ? echo.sent - echo.received : 0);
    load_fini(&load);
    return status;
}
