/*
 * Idle: what an open connection costs while nothing is said on it.
 *
 * A server takes memory in steps (tables that double, pages of an allocator),
 * and its first connections warm it up, so the growth is taken from a first
 * part of the connections to all of them.
 */
#include "load.h"

/* Time for a server to finish what opening began. */
#define SETTLE_NS (NS_PER_SECOND / 2)

/* For all to have got their message back. */
#define EXCHANGE_NS_MAX (30 * NS_PER_SECOND)

static void on_open(struct load *load, struct conn *conn)
{
    if (!load->options->exchanges) {
        return;
    }
    if (load->options->is_deflated) {
        conn_send_compressed(load, conn);
    } else {
        conn_send(load, conn, 1);
    }
}

static void on_message(struct load *load, struct conn *conn, uint32_t sender,
                       uint32_t sequence)
{
    uint64_t *returned = load->mode;

    if (sender != conn->index || sequence != 0 || conn->received != 1) {
        load->mismatches++;
    }
    (*returned)++;
}

static const struct mode_events EVENTS = {
    .on_open = on_open,
    .on_message = on_message,
};

/* Opens up to `last`, has them exchange what they should, and settles. */
static void fill(struct load *load, uint32_t first, uint32_t last)
{
    const uint64_t *returned = load->mode;
    uint64_t deadline;

    load_open(load, first, last);
    deadline = now_ns() + EXCHANGE_NS_MAX;
    while (load->options->exchanges && *returned < last) {
        load_turn(load, deadline);
        if (now_ns() >= deadline) {
            die("%llu of %u messages came back in 30 s",
                (unsigned long long)*returned, last);
        }
    }
    load_run(load, now_ns() + SETTLE_NS);
}

static double growth(uint64_t from, uint64_t to, uint32_t conns)
{
    return ((double)to - (double)from) / (double)conns;
}

int idle_run(const struct load_options *options)
{
    uint32_t first = options->conns < 20 ? 1 : options->conns / 10;
    uint32_t rest = options->conns - first;
    struct process_memory before;
    struct process_memory after;
    struct load load;
    struct mark from;
    struct mark to;
    uint64_t returned = 0;
    int status;

    if (options->pid == 0 || rest == 0) {
        die("idle needs --pid and more than one connection");
    }
    load_init(&load, options, &EVENTS, &returned, options->conns);
    fill(&load, 0, first);
    process_memory(options->pid, &before);
    fill(&load, first, options->conns);
    process_memory(options->pid, &after);

    /* A server that polls its idle clients shows here. */
    mark_set(&from, options->pid, 0);
    load_run(&load, now_ns()
             + (uint64_t)(options->seconds * (double)NS_PER_SECOND));
    mark_set(&to, options->pid, 0);

    report_begin(options);
    report_count("rss_bytes", after.rss);
    report_real("rss_per_conn", growth(before.rss, after.rss, rest));
    report_real("slab_per_conn",
                growth(before.kernel_slab, after.kernel_slab, rest));
    report_real("socket_buffers_per_conn",
                growth(before.kernel_tcp, after.kernel_tcp, rest));
    report_real("server_cpu_share",
                (double)(to.server_ns - from.server_ns)
                / (double)(to.wall_ns - from.wall_ns));
    status = report_end(&load, 0);
    load_fini(&load);
    return status;
}
