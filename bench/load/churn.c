/*
 * Connects: a number of slots, each of which opens a connection, upgrades it,
 * ends it cleanly and begins again. No connection is reset, so the server does
 * for each all the work that a real client costs it.
 */
#include "load.h"

struct churn {
    uint64_t finished;
    uint64_t started;
    bool is_stopping;
};

static void on_open(struct load *load, struct conn *conn)
{
    conn_close(load, conn);
}

static void on_closed(struct load *load, struct conn *conn)
{
    struct churn *churn = load->mode;

    churn->finished++;
    if (!churn->is_stopping) {
        churn->started++;
        conn_open(load, conn);
    }
}

static const struct mode_events EVENTS = {
    .on_open = on_open,
    .on_closed = on_closed,
};

int churn_run(const struct load_options *options)
{
    struct churn churn = {.started = options->conns};
    struct load load;
    struct mark from;
    struct mark to;
    uint64_t deadline;
    int status;

    load_init(&load, options, &EVENTS, &churn, options->conns);
    for (uint32_t i = 0; i < options->conns; i++) {
        conn_open(&load, &load.conns[i]);
    }
    load_run(&load, now_ns()
             + (uint64_t)(options->warm * (double)NS_PER_SECOND));
    mark_set(&from, options->pid, churn.finished);
    load_run(&load, from.wall_ns
             + (uint64_t)(options->seconds * (double)NS_PER_SECOND));
    mark_set(&to, options->pid, churn.finished);

    churn.is_stopping = true;
    deadline = now_ns() + 5 * NS_PER_SECOND;
    while (churn.finished < churn.started && now_ns() < deadline) {
        load_turn(&load, deadline);
    }
    report_begin(options);
    report_span(&from, &to);
    status = report_end(&load, churn.started - churn.finished);
    load_fini(&load);
    return status;
}
