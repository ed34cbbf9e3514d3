/* peal bench - what a server carries, and how fast. */
#include "commands.h"
#include "load.h"
#include "output.h"
#include "session.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PAYLOAD_MIN 34
#define THREADS_MAX 64
#define CONNECTIONS_MAX 1000000
#define TICK_MS 100
#define SPARE_FILES 64 /* descriptors that are no connections */
/* When nothing has come for so long, 2 seconds, what is missing is lost. */
#define DRAIN_TICKS 400

static volatile sig_atomic_t caught;

static void catch (int number)
{
    caught = number;
}

struct bench {
    const struct options *options;
    struct link_way way;
    struct load load;
    bool shows_progress;
    double connect_s;
    double publish_s;
    uint64_t seen_received; /* at the last tick */
    uint64_t seen_ns;
    struct load_figures figures;
    uint64_t expected;
};

/* --- Before --------------------------------------------------------------- */

static bool check(const struct options *options)
{
    if (options->connections < 2 * options->room_count) {
        output_say(OUTPUT_ERROR,
                   "%" PRIu64 " rooms need at least %" PRIu64
                   " connections: two each",
                   options->room_count, 2 * options->room_count);
        return false;
    }
    if (options->connections > CONNECTIONS_MAX) {
        output_say(OUTPUT_ERROR, "--conns is at most %d", CONNECTIONS_MAX);
        return false;
    }
    if (options->payload < PAYLOAD_MIN || options->payload > 1 << 24) {
        output_say(OUTPUT_ERROR,
                   "--payload is from %d bytes, which the measurement needs, "
                   "to 16 MiB",
                   PAYLOAD_MIN);
        return false;
    }
    if (options->threads > THREADS_MAX) {
        output_say(OUTPUT_ERROR, "--threads is at most %d", THREADS_MAX);
        return false;
    }
    return true;
}

static bool raise_files(uint64_t connections)
{
    struct rlimit limit;
    uint64_t needed = connections + SPARE_FILES;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= needed) {
        return true;
    }
    if (limit.rlim_max < needed) {
        output_say(OUTPUT_ERROR,
                   "%" PRIu64 " connections need more open files than this "
                   "user may have: ulimit -n is at most %" PRIu64,
                   connections, (uint64_t)limit.rlim_max);
        return false;
    }
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/* --- While ---------------------------------------------------------------- */

static const char *phase_name(int phase)
{
    static const char *const names[] = {"connecting", "publishing", "draining",
                                        "ending"};

    return names[phase];
}

static void show_progress(struct bench *bench)
{
    static struct load_figures now; /* too large for a stack */
    uint64_t now_ns = session_now_ns();
    double seconds = (double)(now_ns - bench->seen_ns) / 1e9;

    load_sum(&bench->load, &now);
    fprintf(stderr,
            "\r\033[K%s: %" PRIu64 " connected, %" PRIu64 " failed, %" PRIu64
            " published, %" PRIu64 " received (%.0f/s), p99 %.2f ms",
            phase_name(atomic_load(&bench->load.phase)), now.connected,
            now.failed, now.published, now.received,
            (double)(now.received - bench->seen_received) / seconds,
            (double)histogram_percentile(&now.latency_us, 99) / 1e3);
    fflush(stderr);
    bench->seen_received = now.received;
    bench->seen_ns = now_ns;
}

/* Lets a while go by; false when the user has had enough. */
static bool tick(struct bench *bench, int wait_ms)
{
    poll(NULL, 0, wait_ms < TICK_MS ? wait_ms : TICK_MS);
    if (bench->shows_progress &&
        session_now_ns() - bench->seen_ns > UINT64_C(500000000)) {
        show_progress(bench);
    }
    return caught == 0;
}

static bool wait_for_all(struct bench *bench)
{
    struct load *load = &bench->load;
    uint64_t all = bench->options->connections;

    while (atomic_load(&load->settled) < all) {
        if (!tick(bench, 10)) {
            return false;
        }
    }
    bench->connect_s = (double)(session_now_ns() - load->began_ns) / 1e9;
    return true;
}

/*
 * Every link has settled, so its worker does not write these any more until the
 * next phase, which begins after this. False: nobody is there.
 */
static bool count_members(struct load *load)
{
    bool is_any = false;

    for (size_t i = 0; i < load->worker_count; i++) {
        const struct load_worker *worker = &load->workers[i];

        for (size_t k = 0; k < worker->link_count; k++) {
            load->members[worker->links[k].room] +=
                worker->links[k].is_joined ? 1 : 0;
            is_any = is_any || worker->links[k].is_joined;
        }
    }
    return is_any;
}

static bool publish(struct bench *bench)
{
    uint64_t end_ns;
    uint64_t now_ns;

    load_set_phase(&bench->load, LOAD_PUBLISH);
    end_ns = session_now_ns() + bench->options->duration_ms * 1000000;
    while ((now_ns = session_now_ns()) < end_ns) {
        if (!tick(bench, (int)((end_ns - now_ns) / 1000000) + 1)) {
            break;
        }
    }
    bench->publish_s =
        (double)(now_ns - atomic_load(&bench->load.publish_ns)) / 1e9;
    return now_ns >= end_ns;
}

static bool drain(struct bench *bench)
{
    struct load *load = &bench->load;
    uint64_t last = atomic_load(&load->received);
    int idle = 0;

    load_set_phase(load, LOAD_DRAIN);
    while (idle < DRAIN_TICKS &&
           (atomic_load(&load->finished) < load->worker_count ||
            atomic_load(&load->received) < atomic_load(&load->expected))) {
        uint64_t received = atomic_load(&load->received);

        /* In ticks: on a busy machine a clock goes on without the workers. */
        idle = received == last ? idle + 1 : 0;
        last = received;
        if (!tick(bench, 5)) {
            return false;
        }
    }
    return true;
}

/* --- After ---------------------------------------------------------------- */

static const double percents[] = {50, 90, 99, 99.9};
#define PERCENT_COUNT (sizeof percents / sizeof *percents)

static double percentile_ms(const struct histogram *histogram, double percent)
{
    return (double)histogram_percentile(histogram, percent) / 1e3;
}

static void print_times(const char *name, const struct histogram *histogram)
{
    if (histogram->count == 0) {
        return;
    }
    printf("%-12s min %.3f", name, (double)histogram->min / 1e3);
    for (size_t i = 0; i < PERCENT_COUNT; i++) {
        printf("  p%g %.3f", percents[i],
               percentile_ms(histogram, percents[i]));
    }
    printf("  max %.3f ms\n", (double)histogram->max / 1e3);
}

static bool is_met(const struct bench *bench, const struct slo *slo)
{
    const struct histogram *latency = &bench->figures.latency_us;

    return latency->count > 0 &&
           histogram_percentile(latency, slo->percentile) <= slo->limit_us;
}

static void print_slo(const struct bench *bench, const struct slo *slo)
{
    bool met = is_met(bench, slo);

    printf("%sslo          p%g is %.3f ms, wanted %.3f ms: %s%s\n",
           output_color(met ? COLOR_GREEN : COLOR_RED), slo->percentile,
           percentile_ms(&bench->figures.latency_us, slo->percentile),
           (double)slo->limit_us / 1e3, met ? "met" : "missed",
           output_color(COLOR_NONE));
}

static uint64_t lost_messages(const struct bench *bench)
{
    return bench->expected > bench->figures.received
               ? bench->expected - bench->figures.received
               : 0;
}

static void print_text(const struct bench *bench)
{
    const struct load_figures *figures = &bench->figures;
    double seconds = bench->publish_s > 0 ? bench->publish_s : 1;

    printf("connections  %" PRIu64 " in %.2f s, %" PRIu64 " failed, %" PRIu64
           " lost\n",
           figures->connected, bench->connect_s, figures->failed,
           figures->lost);
    printf("published    %" PRIu64 " in %.2f s, %.0f a second, %" PRIu64
           " dropped\n",
           figures->published, seconds, (double)figures->published / seconds,
           figures->dropped);
    printf("delivered    %" PRIu64 " of %" PRIu64 ", %.0f a second, %" PRIu64
           " lost, %" PRIu64 " out of order\n",
           figures->received, bench->expected,
           (double)figures->received / seconds, lost_messages(bench),
           figures->disordered);
    print_times("connect", &figures->connect_us);
    print_times("latency", &figures->latency_us);
    for (size_t i = 0; i < bench->options->slos.count; i++) {
        print_slo(bench, &bench->options->slos.items[i]);
    }
}

static void print_json_times(const char *name,
                             const struct histogram *histogram)
{
    printf(",\"%s_ms\":{\"count\":%" PRIu64 ",\"min\":%.3f", name,
           histogram->count, (double)histogram->min / 1e3);
    for (size_t i = 0; i < PERCENT_COUNT; i++) {
        printf(",\"p%g\":%.3f", percents[i],
               percentile_ms(histogram, percents[i]));
    }
    printf(",\"max\":%.3f}", (double)histogram->max / 1e3);
}

static void print_json(const struct bench *bench)
{
    const struct load_figures *figures = &bench->figures;

    printf("{\"connected\":%" PRIu64 ",\"failed\":%" PRIu64
           ",\"lost_connections\":%" PRIu64 ",\"connect_s\":%.3f",
           figures->connected, figures->failed, figures->lost,
           bench->connect_s);
    printf(",\"published\":%" PRIu64 ",\"dropped\":%" PRIu64
           ",\"expected\":%" PRIu64 ",\"delivered\":%" PRIu64
           ",\"lost\":%" PRIu64 ",\"disordered\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"publish_s\":%.3f",
           figures->published, figures->dropped, bench->expected,
           figures->received, lost_messages(bench), figures->disordered,
           figures->bytes, bench->publish_s);
    print_json_times("connect", &figures->connect_us);
    print_json_times("latency", &figures->latency_us);
    printf(",\"slo\":[");
    for (size_t i = 0; i < bench->options->slos.count; i++) {
        const struct slo *slo = &bench->options->slos.items[i];

        printf("%s{\"percentile\":%g,\"limit_ms\":%.3f,\"ms\":%.3f,\"met\":%s}",
               i > 0 ? "," : "", slo->percentile, (double)slo->limit_us / 1e3,
               percentile_ms(&figures->latency_us, slo->percentile),
               is_met(bench, slo) ? "true" : "false");
    }
    printf("]}\n");
}

/* The first thing that a worker found wrong, or NULL. */
static const struct load_worker *first_failure(const struct load *load)
{
    for (size_t i = 0; i < load->worker_count; i++) {
        if (load->workers[i].exit_code != EXIT_OK) {
            return &load->workers[i];
        }
    }
    return NULL;
}

static int judge(const struct bench *bench)
{
    const struct load_figures *figures = &bench->figures;
    const struct load_worker *failure = first_failure(&bench->load);

    if (failure != NULL) {
        output_say(OUTPUT_ERROR, "%s", failure->why);
    }
    if (caught != 0) {
        return 128 + caught;
    }
    if (figures->connected == 0) {
        return failure != NULL ? failure->exit_code : EXIT_CONNECT;
    }
    if (atomic_load(&bench->load.finished) < bench->load.worker_count) {
        output_say(OUTPUT_ERROR, "this machine did not keep up: less was "
                                 "published than was asked for");
        return EXIT_ERROR;
    }
    for (size_t i = 0; i < bench->options->slos.count; i++) {
        if (!is_met(bench, &bench->options->slos.items[i])) {
            return EXIT_ERROR;
        }
    }
    return failure != NULL || figures->failed > 0 || figures->lost > 0 ||
                   figures->dropped > 0 || figures->disordered > 0 ||
                   lost_messages(bench) > 0
               ? EXIT_ERROR
               : EXIT_OK;
}

/* --- All of it ------------------------------------------------------------ */

static void run(struct bench *bench)
{
    struct load *load = &bench->load;

    bench->seen_ns = load->began_ns;
    if (wait_for_all(bench) && count_members(load) && publish(bench)) {
        drain(bench);
    }
    load_join(load);
    load_sum(load, &bench->figures);
    bench->expected = atomic_load(&load->expected);
    if (bench->shows_progress) {
        fputs("\r\033[K", stderr);
        fflush(stderr); /* it has no line end */
    }
}

static int start(struct bench *bench)
{
    const struct options *options = bench->options;
    struct load *load = &bench->load;
    int rc;

    load->options = options;
    load->link = bench->way.options;
    load->urls = options->argument_count > 0
                     ? (const char *const *)options->arguments
                     : &options->url;
    load->url_count =
        options->argument_count > 0 ? (size_t)options->argument_count : 1;
    load->worker_count = options->threads;
    snprintf(load->name, sizeof load->name, "bench-%d-%" PRIx64, (int)getpid(),
             session_now_ns() & 0xffffff);
    rc = load_start(load);
    if (rc < 0) {
        output_say(OUTPUT_ERROR, "cannot begin: %s", peal_strerror(rc));
    }
    return rc;
}

int bench_run(const struct options *options)
{
    static struct bench bench;
    struct sigaction action = {.sa_handler = catch};
    int exit_code = EXIT_USAGE;

    bench.options = options;
    if (!check(options) || !raise_files(options->connections) ||
        !session_read_way(&bench.way, options)) {
        return EXIT_USAGE;
    }
    bench.shows_progress =
        isatty(STDERR_FILENO) && !options->json && !options->quiet;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (start(&bench) == 0) {
        run(&bench);
        if (options->json) {
            print_json(&bench);
        } else {
            print_text(&bench);
        }
        exit_code = judge(&bench);
    }
    load_free(&bench.load);
    peal_tls_free(bench.way.options.tls);
    return exit_code;
}
