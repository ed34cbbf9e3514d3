/*
 * Fan-out: publishers send, every subscriber must receive all of it.
 *
 * Flat out, a number of messages is kept in flight: a message is in flight
 * until the last subscriber has it. Paced, messages leave on a fixed schedule
 * and the time from the scheduled moment to each delivery is recorded, so a
 * server that stalls pays for the messages that should have left meanwhile.
 *
 * Each subscriber's messages are checked per publisher (none missing, doubled
 * or out of order), and a running hash over all of them is compared at the end:
 * it is equal only if all saw one order of all publishers' messages.
 */
#include "load.h"

#include <stdlib.h>

/*
 * How long the rest may take after the end. What has not come by then, while
 * deliveries still arrive, is late and not lost: a slow server may need a
 * minute for the thousands of messages that a flood keeps in flight.
 */
#define DRAIN_NS_MAX (10 * NS_PER_SECOND)
#define SILENCE_NS_MAX (2 * NS_PER_SECOND)

/* Positions that can be told apart, so also the most that may be in flight. */
#define POSITIONS (1u << 20)
#define POSITION(n) ((n) & (POSITIONS - 1))

/* Published in one go, so that reading is not put off for long. */
#define BURST_MAX 2048u

/* Given to subscriptions that the server makes after its 101. */
#define SETTLE_NS (200 * NS_PER_MS)

struct fanout {
    uint32_t subscribers;
    uint32_t publishers;
    uint32_t first_publisher;
    uint32_t next_publisher;

    /* How many subscribers have received exactly n messages, by n. */
    uint32_t *at;
    uint64_t published;
    uint64_t slowest;       /* what every subscriber has received */
    uint64_t delivered;
    bool is_publishing;
    uint64_t budget;        /* how many may be published in all */

    uint64_t *orders;       /* per subscriber: the hash of its order */
    uint32_t *expected;     /* per subscriber and publisher */
    uint32_t *positions;    /* per subscriber, as counted in `at` */

    /* Paced. */
    uint64_t first_due_ns;
    uint64_t interval_ns;
    bool is_recording;
    struct histogram latency;
};

static uint64_t due_ns(const struct fanout *fanout, uint64_t published)
{
    return fanout->first_due_ns + published * fanout->interval_ns;
}

static void on_message(struct load *load, struct conn *conn, uint32_t sender,
                       uint32_t sequence)
{
    struct fanout *fanout = load->mode;
    uint32_t publisher = sender - fanout->first_publisher;
    uint32_t *expected;

    if (publisher >= fanout->publishers
        || conn->index >= fanout->subscribers) {
        load->mismatches++;
        return;
    }
    expected = &fanout->expected[conn->index * fanout->publishers
                                 + publisher];
    if (sequence != *expected) {
        load->mismatches++;
    }
    *expected = sequence + 1;
    if (fanout->publishers > 1) {
        uint64_t order = fanout->orders[conn->index];

        order = (order ^ sender) * 0x9e3779b97f4a7c15ull;
        fanout->orders[conn->index] = order ^ order >> 29;
    }
    fanout->delivered++;
}

/* Paced messages leave in turn from each publisher, so a subscriber's count of
 * messages tells which one this is. */
static void record_latency(struct fanout *fanout, uint32_t from, uint32_t to)
{
    uint64_t now = now_ns();

    for (uint32_t i = from; i < to; i++) {
        uint64_t due = due_ns(fanout, i);

        /* Only a message that was never sent can come before its time. */
        histogram_add(&fanout->latency, now > due ? now - due : 0);
    }
}

static void on_batch(struct load *load, struct conn *conn)
{
    struct fanout *fanout = load->mode;
    uint32_t before;

    if (conn->index >= fanout->subscribers) {
        return;
    }
    before = fanout->positions[conn->index];
    if (fanout->is_recording) {
        record_latency(fanout, before, conn->received);
    }
    fanout->positions[conn->index] = conn->received;
    fanout->at[POSITION(before)]--;
    fanout->at[POSITION(conn->received)]++;
    while (fanout->slowest < fanout->published
           && fanout->at[POSITION(fanout->slowest)] == 0) {
        fanout->slowest++;
    }
}

/* One write of the publisher whose turn it is. */
static void publish(struct load *load, uint32_t count)
{
    struct fanout *fanout = load->mode;
    uint32_t publisher = fanout->first_publisher + fanout->next_publisher;

    fanout->next_publisher =
        (fanout->next_publisher + 1) % fanout->publishers;
    fanout->published += count;
    conn_send(load, &load->conns[publisher], count);
}

static uint64_t min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void publish_flat_out(struct load *load, struct fanout *fanout)
{
    uint32_t publishers = fanout->publishers;

    for (uint32_t i = 0; i < publishers; i++) {
        uint32_t next = fanout->first_publisher + fanout->next_publisher;
        uint64_t in_flight = fanout->published - fanout->slowest;
        uint64_t left = fanout->budget - fanout->published;
        uint64_t room = min(load->options->in_flight - in_flight, left);
        uint64_t share = (room + publishers - i - 1) / (publishers - i);

        if (load->conns[next].out.length > 0) {
            /* Its socket is full, which is the limit of a flood. */
            fanout->next_publisher =
                (fanout->next_publisher + 1) % publishers;
            continue;
        }
        if (share > 0) {
            publish(load, (uint32_t)min(share, BURST_MAX));
        }
    }
}

static void publish_paced(struct load *load, struct fanout *fanout)
{
    uint64_t now = now_ns();

    while (due_ns(fanout, fanout->published) <= now) {
        if (fanout->published - fanout->slowest >= POSITIONS - 1) {
            die("the server is %u messages behind the pace", POSITIONS);
        }
        publish(load, 1);
    }
}

static void on_turn(struct load *load)
{
    struct fanout *fanout = load->mode;

    if (!fanout->is_publishing) {
        return;
    }
    if (fanout->interval_ns > 0) {
        publish_paced(load, fanout);
    } else {
        publish_flat_out(load, fanout);
    }
}

static void on_closed(struct load *load, struct conn *conn)
{
    struct fanout *fanout = load->mode;

    if (conn->role == ROLE_SUBSCRIBER) {
        /* It will receive no more, and the others must not wait for it. */
        fanout->at[POSITION(fanout->positions[conn->index])]--;
    }
}

static const struct mode_events EVENTS = {
    .on_message = on_message,
    .on_batch = on_batch,
    .on_closed = on_closed,
    .on_turn = on_turn,
};

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (memory == NULL) {
        die("out of memory");
    }
    return memory;
}

static void init(struct fanout *fanout, const struct load_options *options)
{
    *fanout = (struct fanout){
        .subscribers = options->conns,
        .publishers = options->publishers,
        .first_publisher = options->conns + options->stalled,
        .at = allocate(POSITIONS, sizeof *fanout->at),
        .orders = allocate(options->conns, sizeof *fanout->orders),
        .positions = allocate(options->conns, sizeof *fanout->positions),
        .expected = allocate((size_t)options->conns * options->publishers,
                             sizeof *fanout->expected),
        .budget = options->count > 0 ? options->count : UINT64_MAX,
        .interval_ns = options->rate > 0 ? NS_PER_SECOND / options->rate : 0,
    };
    fanout->at[0] = options->conns;
}

static void fini(struct fanout *fanout)
{
    free(fanout->at);
    free(fanout->orders);
    free(fanout->positions);
    free(fanout->expected);
}

static void set_roles(struct load *load, const struct fanout *fanout)
{
    for (uint32_t i = 0; i < load->conns_count; i++) {
        load->conns[i].role = i < fanout->subscribers ? ROLE_SUBSCRIBER
            : i < fanout->first_publisher ? ROLE_STALLED
            : ROLE_PUBLISHER;
    }
}

/*
 * Waits until everything published has arrived everywhere. Returns false when
 * it was still arriving at the end of the time.
 */
static bool drain(struct load *load, struct fanout *fanout)
{
    uint64_t now = now_ns();
    uint64_t deadline = now + DRAIN_NS_MAX;
    uint64_t silent_since = now;
    uint64_t delivered = fanout->delivered;

    fanout->is_publishing = false;
    while (fanout->slowest < fanout->published && load->open > 0) {
        load_turn(load, now + 100 * NS_PER_MS);
        now = now_ns();
        if (fanout->delivered != delivered) {
            delivered = fanout->delivered;
            silent_since = now;
        }
        if (now - silent_since > SILENCE_NS_MAX) {
            break;
        }
        if (now > deadline) {
            return false;
        }
    }
    return true;
}

static uint64_t count_missing(const struct load *load,
                           const struct fanout *fanout)
{
    uint64_t missing = 0;

    for (uint32_t i = 0; i < fanout->subscribers; i++) {
        if (load->conns[i].received < fanout->published) {
            missing += fanout->published - load->conns[i].received;
        }
    }
    return missing;
}

static bool has_one_order(const struct fanout *fanout)
{
    for (uint32_t i = 1; i < fanout->subscribers; i++) {
        if (fanout->orders[i] != fanout->orders[0]) {
            return false;
        }
    }
    return true;
}

static void run_for(struct load *load, const struct fanout *fanout,
                    double seconds)
{
    uint64_t end = now_ns() + (uint64_t)(seconds * (double)NS_PER_SECOND);

    while (now_ns() < end) {
        uint64_t next = end;

        if (fanout->interval_ns > 0
            && due_ns(fanout, fanout->published) < end) {
            next = due_ns(fanout, fanout->published);
        }
        load_turn(load, next);
    }
}

static void measure(struct load *load, struct fanout *fanout,
                    struct mark *from, struct mark *to)
{
    const struct load_options *options = load->options;

    fanout->first_due_ns = now_ns() + NS_PER_MS;
    fanout->is_publishing = true;
    mark_set(from, options->pid, fanout->delivered);
    on_turn(load);
    if (options->count == 0) {
        run_for(load, fanout, options->warm);
        fanout->is_recording = fanout->interval_ns > 0;
        mark_set(from, options->pid, fanout->delivered);
        run_for(load, fanout, options->seconds);
    }
    while (fanout->slowest < options->count && load_is_clean(load)) {
        /* As long as it takes: under an instrument this is slow. */
        load_turn(load, now_ns() + NS_PER_SECOND);
    }
    mark_set(to, options->pid, fanout->delivered);
}

static void report_latency(const struct histogram *latency)
{
    report_real("p50_ms", (double)histogram_at(latency, 0.50) / 1e6);
    report_real("p99_ms", (double)histogram_at(latency, 0.99) / 1e6);
    report_real("p999_ms", (double)histogram_at(latency, 0.999) / 1e6);
    report_real("max_ms", (double)latency->max / 1e6);
}

int fanout_run(const struct load_options *options)
{
    struct fanout fanout;
    struct load load;
    struct mark from;
    struct mark to;
    bool is_drained;
    uint64_t missing;
    int status;

    if (options->in_flight == 0 || options->in_flight >= POSITIONS) {
        die("--in-flight is 1 to %u", POSITIONS - 1);
    }
    if (options->rate > 0 && options->count > 0) {
        die("--rate and --count do not go together");
    }
    init(&fanout, options);
    load_init(&load, options, &EVENTS, &fanout,
              fanout.first_publisher + fanout.publishers);
    set_roles(&load, &fanout);
    load_open(&load, 0, load.conns_count);
    load_run(&load, now_ns() + SETTLE_NS);
    measure(&load, &fanout, &from, &to);
    is_drained = drain(&load, &fanout);
    missing = count_missing(&load, &fanout);

    report_begin(options);
    report_count("publishers", options->publishers);
    if (options->rate > 0) {
        report_count("paced", options->rate);
        report_latency(&fanout.latency);
    } else {
        report_count("in_flight", options->in_flight);
    }
    report_count("published", fanout.published);
    report_text("one_order", has_one_order(&fanout) ? "yes" : "no");
    report_span(&from, &to);
    report_count("late", is_drained ? 0 : missing);
    status = report_end(&load, is_drained ? missing : 0);
    load_fini(&load);
    fini(&fanout);
    return status;
}
