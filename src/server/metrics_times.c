#include "server/metrics_times.h"

#include "base/assert.h"
#include "base/slice.h"
#include "server/measure.h"

#include <stdio.h>

/* `namespace="..."`, `method="..."`, with commas after them. */
#define LABELS_SIZE 256

/* The sum of what was measured in several places. */
struct sums {
    uint64_t counts[HISTOGRAM_BOUNDS + 1];
    uint64_t sum_ns;
};

static void add(struct sums *sums, const struct histogram *one)
{
    for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        sums->counts[i] +=
            atomic_load_explicit(&one->counts[i], memory_order_relaxed);
    }
    sums->sum_ns += atomic_load_explicit(&one->sum_ns, memory_order_relaxed);
}

/* `labels` are as they are written, each with a comma after it; or "". */
static void write_samples(struct prom *text, const char *name,
                          const char *labels, const struct sums *sums)
{
    int size = (int)strlen(labels) - 1; /* without the last comma */
    uint64_t count = 0;

    for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
        count += sums->counts[i];
        /* OpenMetrics wants whole bounds with a decimal point, too. */
        PROM_PRINT(text, "%s_bucket{%sle=\"%g%s\"} %llu\n", name, labels,
                   (double)measure_bounds_ns[i] / 1e9,
                   measure_bounds_ns[i] % UINT64_C(1000000000) == 0 ? ".0" : "",
                   (unsigned long long)count);
    }
    count += sums->counts[HISTOGRAM_BOUNDS];
    PROM_PRINT(text, "%s_bucket{%sle=\"+Inf\"} %llu\n", name, labels,
               (unsigned long long)count);
    PROM_PRINT(text, "%s_sum%s%.*s%s %.9f\n", name, size > 0 ? "{" : "",
               size > 0 ? size : 0, labels, size > 0 ? "}" : "",
               (double)sums->sum_ns / 1e9);
    PROM_PRINT(text, "%s_count%s%.*s%s %llu\n", name, size > 0 ? "{" : "",
               size > 0 ? size : 0, labels, size > 0 ? "}" : "",
               (unsigned long long)count);
}

static void write_method(struct prom *text, const struct peal_server *server,
                         uint32_t method)
{
    char labels[LABELS_SIZE];
    char name[2 * METHOD_NAME_MAX + 1] = "other";
    struct sums sums = {.sum_ns = 0};

    if (method != METHOD_OTHER) {
        prom_escape(name, sizeof name,
                    handler_key(server->methods[method - 1]));
    }
    snprintf(labels, sizeof labels, "%s%s%smethod=\"%s\",",
             server->name != NULL ? "namespace=\"" : "",
             server->name != NULL ? server->name : "",
             server->name != NULL ? "\"," : "", name);
    for (int k = 0; k < server->engine->worker_count; k++) {
        add(&sums, &server->seats[k].measures.requests[method]);
    }
    write_samples(text, "peal_request_duration_seconds", labels, &sums);
}

static void write_requests(struct prom *text, const struct engine *engine)
{
    prom_family(text, "peal_request_duration_seconds", PROM_HISTOGRAM,
                "seconds",
                "From reading a client's request to its answer, by handler.");
    for (int i = 0; i < engine->space_count; i++) {
        const struct peal_server *server = engine->spaces[i];

        for (uint32_t m = 0; m <= server->method_count; m++) {
            write_method(text, server, m);
        }
    }
}

static void write_hooks(struct prom *text, const struct engine *engine)
{
    static const char *const labels[HOOK_COUNT] = {
        [HOOK_CONNECT] = "event=\"connect\",",
        [HOOK_MESSAGE] = "event=\"message\",",
    };

    prom_family(text, "peal_hook_duration_seconds", PROM_HISTOGRAM, "seconds",
                "How long decisions took that the application has put off.");
    for (enum measure_hook hook = 0; hook < HOOK_COUNT; hook++) {
        struct sums sums = {.sum_ns = 0};

        for (int k = 0; k < engine->worker_count; k++) {
            for (int i = 0; i < engine->space_count; i++) {
                add(&sums, &engine->spaces[i]->seats[k].measures.hooks[hook]);
            }
        }
        write_samples(text, "peal_hook_duration_seconds", labels[hook], &sums);
    }
}

void metrics_times_write(struct prom *text, const struct engine *engine)
{
    struct sums fanouts = {.sum_ns = 0};
    struct sums turns = {.sum_ns = 0};

    for (int k = 0; k < engine->worker_count; k++) {
        add(&turns, &engine->workers[k].turns);
        for (int i = 0; i < engine->space_count; i++) {
            add(&fanouts, &engine->spaces[i]->seats[k].measures.fanout);
        }
    }
    write_requests(text, engine);
    write_hooks(text, engine);
    prom_family(text, "peal_fanout_duration_seconds", PROM_HISTOGRAM, "seconds",
                "Of queueing an event for the receivers on one loop, 16 or "
                "more of them.");
    write_samples(text, "peal_fanout_duration_seconds", "", &fanouts);
    prom_family(text, "peal_event_loop_lag_seconds", PROM_HISTOGRAM, "seconds",
                "How long a turn of a loop took: the longest that input "
                "waited.");
    write_samples(text, "peal_event_loop_lag_seconds", "", &turns);
}
