/* peal top - a live table of a running server, from its metrics. */
#include "commands.h"
#include "output.h"
#include "scrape.h"
#include "session.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FAMILY_MAX 96

/* What is counted in one line of the table. */
struct row {
    const char *name; /* in the table, and in JSON with underscores */
    const char *metric;
    const char *key; /* a label and its value; NULL: all lines of the metric */
    const char *value;
    bool is_counter; /* a rate is shown, too */
    bool is_bytes;
};

static const struct row rows[] = {
    {"ws clients", "peal_connections", "transport", "ws", false, false},
    {"tcp clients", "peal_connections", "transport", "tcp", false, false},
    {"sockets", "peal_sockets", NULL, NULL, false, false},
    {"rooms", "peal_rooms", NULL, NULL, false, false},
    {"opened", "peal_connections_opened_total", NULL, NULL, true, false},
    {"closed", "peal_connections_closed_total", NULL, NULL, true, false},
    {"received", "peal_messages_received_total", NULL, NULL, true, false},
    {"delivered", "peal_messages_delivered_total", NULL, NULL, true, false},
    {"dropped", "peal_messages_dropped_total", NULL, NULL, true, false},
    {"refused", "peal_limit_refusals_total", NULL, NULL, true, false},
    {"rejected", "peal_connections_rejected_total", NULL, NULL, true, false},
    {"bytes in", "peal_received_bytes_total", NULL, NULL, true, true},
    {"bytes out", "peal_sent_bytes_total", NULL, NULL, true, true},
    {"queued", "peal_send_queue_bytes", NULL, NULL, false, true},
    {"pending requests", "peal_requests_pending", NULL, NULL, false, false},
    {"memory", "process_resident_memory_bytes", NULL, NULL, false, true},
    {"descriptors", "process_open_fds", NULL, NULL, false, false},
};

#define ROW_COUNT (sizeof rows / sizeof *rows)

/* Times of which histograms tell, over the last interval. */
static const struct {
    const char *name;
    const char *metric;
} times[] = {
    {"request", "peal_request_duration_seconds"},
    {"fan-out", "peal_fanout_duration_seconds"},
    {"loop turn", "peal_event_loop_lag_seconds"},
};

#define TIME_COUNT (sizeof times / sizeof *times)

/* What is listed by its labels as soon as it happens: what an operator looks
 * for when something is wrong. */
static const char *const troubles[] = {
    "peal_connections_closed_total",
    "peal_connections_rejected_total",
    "peal_messages_dropped_total",
    "peal_limit_refusals_total",
};

#define TROUBLE_COUNT (sizeof troubles / sizeof *troubles)

static sigset_t waited_for;

/* Whether a signal that ends this waits to be taken. */
static bool is_over(void)
{
    sigset_t pending;

    sigpending(&pending);
    return sigismember(&pending, SIGINT) == 1 ||
           sigismember(&pending, SIGTERM) == 1;
}

/* Waits until then; false after a signal. */
static bool wait_until(uint64_t due_ns)
{
    for (;;) {
        uint64_t now_ns = session_now_ns();
        uint64_t left_ns = due_ns > now_ns ? due_ns - now_ns : 0;
        struct timespec left = {.tv_sec = (time_t)(left_ns / 1000000000),
                                .tv_nsec = (long)(left_ns % 1000000000)};

        if (sigtimedwait(&waited_for, NULL, &left) >= 0) {
            return false;
        }
        if (errno == EAGAIN) {
            return true;
        }
    }
}

/* --- Numbers -------------------------------------------------------------- */

/* How much a counter has grown each second; NAN when that is not known. */
static double rate_of(double now, double before, double seconds)
{
    return now < before ? NAN : (now - before) / seconds;
}

static double sum_of(const struct scrape *scrape, const struct row *row)
{
    return scrape_sum(scrape, row->metric, row->key, row->value);
}

static void format_number(double value, bool is_bytes, char out[32])
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    static const char *const byte_units[] = {" B", " KiB", " MiB", " GiB",
                                             " TiB"};
    double factor = is_bytes ? 1024 : 1000;
    size_t unit = 0;

    if (isnan(value)) {
        snprintf(out, 32, "-");
        return;
    }
    /* Counts are exact as long as they fit. */
    while (unit < 4 && value >= (is_bytes    ? factor
                                 : unit == 0 ? 1e6
                                             : factor)) {
        value /= factor;
        unit++;
    }
    snprintf(out, 32, "%.*f%s",
             unit == 0 && value == floor(value) ? 0
             : value < 10                       ? 2
                                                : 1,
             value, is_bytes ? byte_units[unit] : units[unit]);
}

static void format_seconds(double seconds, char out[32])
{
    if (isnan(seconds)) {
        snprintf(out, 32, "-");
    } else if (seconds < 1e-3) {
        snprintf(out, 32, "%.0f us", seconds * 1e6);
    } else if (seconds < 1) {
        snprintf(out, 32, "%.1f ms", seconds * 1e3);
    } else {
        snprintf(out, 32, "%.1f s", seconds);
    }
}

/* How much a bucket of a histogram has grown, all namespaces together. */
static double growth(const struct scrape *now, const struct scrape *before,
                     const char *bucket, const char *bound)
{
    double old = before != NULL ? scrape_sum(before, bucket, "le", bound) : NAN;

    return scrape_sum(now, bucket, "le", bound) - (isnan(old) ? 0 : old);
}

/*
 * What so much of the times between two scrapes did not exceed: the bound of
 * the bucket that it is in. NAN when there were none, infinite beyond the last.
 */
static double percentile(const struct scrape *now, const struct scrape *before,
                         const char *metric, double part)
{
    char bucket[FAMILY_MAX];
    double all;

    snprintf(bucket, sizeof bucket, "%s_bucket", metric);
    all = growth(now, before, bucket, "+Inf");
    if (isnan(all) || all <= 0) {
        return NAN;
    }
    /* Buckets are in order, and each holds those before it, too. */
    for (size_t i = 0; i < now->count; i++) {
        char bound[64];

        if (strcmp(now->samples[i].name, bucket) == 0 &&
            sample_label(&now->samples[i], "le", bound, sizeof bound) &&
            growth(now, before, bucket, bound) >= part * all) {
            return strtod(bound, NULL);
        }
    }
    return INFINITY;
}

/* --- For people ----------------------------------------------------------- */

static void print_rows(const struct scrape *now, const struct scrape *before,
                       double seconds)
{
    printf("%s%-18s %12s %14s%s\n", output_color(COLOR_DIM), "", "now",
           "per second", output_color(COLOR_NONE));
    for (size_t i = 0; i < ROW_COUNT; i++) {
        double value = sum_of(now, &rows[i]);
        char number[32];
        char rate[32] = "";

        format_number(value, rows[i].is_bytes, number);
        if (rows[i].is_counter) {
            format_number(
                before != NULL
                    ? rate_of(value, sum_of(before, &rows[i]), seconds)
                    : NAN,
                rows[i].is_bytes, rate);
        }
        printf("%-18s %s%12s%s%*s\n", rows[i].name, output_color(COLOR_BOLD),
               number, output_color(COLOR_NONE), rows[i].is_counter ? 15 : 0,
               rate);
    }
}

static void print_times(const struct scrape *now, const struct scrape *before)
{
    printf("\n%s%-18s %12s %14s%s\n", output_color(COLOR_DIM), "", "p50 below",
           "p99 below", output_color(COLOR_NONE));
    for (size_t i = 0; i < TIME_COUNT; i++) {
        char half[32];
        char most[32];

        format_seconds(percentile(now, before, times[i].metric, 0.5), half);
        format_seconds(percentile(now, before, times[i].metric, 0.99), most);
        printf("%-18s %12s %14s\n", times[i].name, half, most);
    }
}

/* The value that a sample had before, or NAN. */
static double value_before(const struct scrape *before,
                           const struct sample *sample)
{
    for (size_t i = 0; before != NULL && i < before->count; i++) {
        if (strcmp(before->samples[i].name, sample->name) == 0 &&
            strcmp(before->samples[i].labels, sample->labels) == 0) {
            return before->samples[i].value;
        }
    }
    return NAN;
}

static void print_troubles(const struct scrape *now,
                           const struct scrape *before, double seconds)
{
    bool is_first = true;

    for (size_t i = 0; i < TROUBLE_COUNT; i++) {
        for (size_t j = 0; j < now->count; j++) {
            const struct sample *sample = &now->samples[j];
            char number[32];
            char rate[32];

            if (strcmp(sample->name, troubles[i]) != 0 || sample->value == 0) {
                continue;
            }
            format_number(sample->value, false, number);
            format_number(
                rate_of(sample->value, value_before(before, sample), seconds),
                false, rate);
            printf("%s%12s %14s  %s{", is_first ? "\n" : "", number, rate,
                   sample->name);
            output_clean(stdout, peal_slice(sample->labels));
            printf("}\n");
            is_first = false;
        }
    }
}

static void print_head(const struct scraper *scraper, const struct scrape *now,
                       const struct scrape *before, double seconds)
{
    double start = scrape_sum(now, "process_start_time_seconds", NULL, NULL);
    double ready = scrape_sum(now, "peal_ready", NULL, NULL);
    double cpu = scrape_sum(now, "process_cpu_seconds_total", NULL, NULL);
    char version[32] = "";

    for (size_t i = 0; i < now->count; i++) {
        if (strcmp(now->samples[i].name, "peal_build_info") == 0) {
            sample_label(&now->samples[i], "version", version, sizeof version);
        }
    }
    printf("%s   peal ", scraper_url(scraper));
    output_clean(stdout, peal_slice(version));
    printf(", up %.0f s, %s%s%s", fmax(0, (double)time(NULL) - start),
           output_color(ready > 0 ? COLOR_GREEN : COLOR_RED),
           ready > 0 ? "ready" : "not ready", output_color(COLOR_NONE));
    if (before != NULL) {
        printf(", CPU %.1f %%",
               100 * rate_of(cpu,
                             scrape_sum(before, "process_cpu_seconds_total",
                                        NULL, NULL),
                             seconds));
    }
    printf("\n\n");
}

static void print_table(const struct scraper *scraper, const struct scrape *now,
                        const struct scrape *before, double seconds)
{
    bool is_terminal = isatty(STDOUT_FILENO) == 1;

    if (is_terminal) {
        fputs("\033[H\033[2J", stdout);
    }
    print_head(scraper, now, before, seconds);
    print_rows(now, before, seconds);
    print_times(now, before);
    print_troubles(now, before, seconds);
    if (!is_terminal) {
        printf("\n");
    }
}

/* --- For programs --------------------------------------------------------- */

static void print_json_number(const char *separator, const char *prefix,
                              const char *name, double value)
{
    printf("%s\"%s", separator, prefix);
    for (; *name != '\0'; name++) {
        putchar(*name == ' ' || *name == '-' ? '_' : *name);
    }
    if (isfinite(value)) {
        printf("\":%.15g", value);
    } else {
        printf("\":null");
    }
}

static void print_json(const struct scrape *now, const struct scrape *before,
                       double seconds)
{
    char time_text[32];

    output_time(time_text);
    printf("{\"time\":\"%s\"", time_text);
    print_json_number(",", "", "ready",
                      scrape_sum(now, "peal_ready", NULL, NULL));
    for (size_t i = 0; i < ROW_COUNT; i++) {
        print_json_number(",", "", rows[i].name, sum_of(now, &rows[i]));
    }
    printf(",\"per_second\":{");
    for (size_t i = 0, printed = 0; i < ROW_COUNT; i++) {
        if (rows[i].is_counter) {
            print_json_number(printed++ > 0 ? "," : "", "", rows[i].name,
                              before != NULL
                                  ? rate_of(sum_of(now, &rows[i]),
                                            sum_of(before, &rows[i]), seconds)
                                  : NAN);
        }
    }
    printf("},\"seconds\":{");
    for (size_t i = 0; i < TIME_COUNT; i++) {
        print_json_number(i > 0 ? "," : "", "p50_", times[i].name,
                          percentile(now, before, times[i].metric, 0.5));
        print_json_number(",", "p99_", times[i].name,
                          percentile(now, before, times[i].metric, 0.99));
    }
    printf("}}\n");
}

/* --- All of it ------------------------------------------------------------ */

/* Whether the server is the same that it was: its counters have gone on. */
static bool is_same_run(const struct scrape *now, const struct scrape *before)
{
    return before->text != NULL &&
           scrape_sum(now, "process_start_time_seconds", NULL, NULL) ==
               scrape_sum(before, "process_start_time_seconds", NULL, NULL);
}

static void show(const struct options *options, const struct scraper *scraper,
                 const struct scrape *now, const struct scrape *before)
{
    const struct scrape *base = is_same_run(now, before) ? before : NULL;
    double seconds =
        base != NULL ? (double)(now->at_ns - base->at_ns) / 1e9 : NAN;

    if (options->json) {
        print_json(now, base, seconds);
    } else {
        print_table(scraper, now, base, seconds);
    }
    output_flush();
}

/*
 * Once it has answered, a server may be away for a while: it is asked again.
 */
static enum exit_code watch(const struct options *options,
                            struct scraper *scraper)
{
    struct scrape before = {0};
    enum exit_code exit_code = EXIT_OK;
    uint64_t due_ns = session_now_ns();
    uint64_t shown = 0;

    do {
        struct scrape now;
        char why[600];

        exit_code = scraper_read(scraper, &now, is_over, why, sizeof why);
        if (exit_code == EXIT_OK) {
            show(options, scraper, &now, &before);
            scrape_free(&before);
            before = now;
            shown++;
        } else if (exit_code != EXIT_INTERRUPTED) {
            output_say(shown > 0 ? OUTPUT_WARNING : OUTPUT_ERROR, "%s", why);
        }
        if (shown == 0 || shown == options->count ||
            exit_code == EXIT_INTERRUPTED) {
            break;
        }
        due_ns += options->interval_ms * 1000000;
        exit_code = EXIT_INTERRUPTED;
    } while (wait_until(due_ns));
    scrape_free(&before);
    return exit_code;
}

int top_run(const struct options *options)
{
    struct scraper *scraper;
    enum exit_code exit_code;

    sigemptyset(&waited_for);
    sigaddset(&waited_for, SIGINT);
    sigaddset(&waited_for, SIGTERM);
    sigprocmask(SIG_BLOCK, &waited_for, NULL);
    scraper = scraper_new(options);
    if (scraper == NULL) {
        return EXIT_USAGE;
    }
    exit_code = watch(options, scraper);
    scraper_free(scraper);
    return exit_code;
}
