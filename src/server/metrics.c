/*
 * The metrics, for Prometheus. Names end in their unit; labels have bounded
 * sets of values, none of which a peer chooses; everything is there from the
 * start with its zero, so that a rate can be taken of the first event.
 */
#include "server/endpoint.h"

#include "base/assert.h"
#include "base/mem.h"
#include "net/process.h"
#include "server/metrics_times.h"
#include "server/prom.h"

#include <stdio.h>

/* --- By namespace --------------------------------------------------------- */

/* The samples of a counter or gauge, whose name is written in full. */
static void samples(struct prom *text, const struct engine *engine,
                    const char *name, const char *more, enum counter counter)
{
    for (int i = 0; i < engine->space_count; i++) {
        prom_sample(text, engine->spaces[i], name, more,
                    stats_sum(engine->spaces[i], counter));
    }
}

/* One line: a label of a family, and where its value is. */
struct line {
    const char *label;
    enum counter counter;
};

static void lines(struct prom *text, const struct engine *engine,
                  const char *name, const char *key, const struct line *all,
                  size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char more[96];

        snprintf(more, sizeof more, "%s=\"%s\"", key, all[i].label);
        samples(text, engine, name, more, all[i].counter);
    }
}

static const struct line rejected[] = {
    {"clients_max", COUNT_REFUSED_CLIENTS},
    {"memory_bytes_max", COUNT_REFUSED_MEMORY},
    {"clients_per_address_max", COUNT_REFUSED_CLIENTS_PER_ADDRESS},
    {"header_bytes_max", COUNT_CLOSED_HEADER_BYTES},
    {"handshake_timeout", COUNT_CLOSED_HANDSHAKE_TIMEOUT},
    {"origins", COUNT_REFUSED_ORIGINS},
    {"application", COUNT_REFUSED_APPLICATION},
    {"exhausted", COUNT_ACCEPT_EXHAUSTED},
    {"tls_handshake", COUNT_TLS_FAILED},
    {"tls_handshakes_max", COUNT_REFUSED_TLS_HANDSHAKES},
    {"proxy_protocol", COUNT_REFUSED_PROXY_PROTOCOL},
    {"handshakes_per_address_max", COUNT_REFUSED_HANDSHAKES_PER_ADDRESS},
};

static const struct line received[] = {
    {"event", COUNT_EVENTS_IN},      {"request", COUNT_REQUESTS_IN},
    {"publish", COUNT_PUBLISHES_IN}, {"answer", COUNT_ANSWERS_IN},
    {"invalid", COUNT_INVALID_IN},
};

static const struct line refused[] = {
    {"rooms_max", COUNT_REFUSED_ROOMS},
    {"rooms_per_client_max", COUNT_REFUSED_ROOMS_PER_CLIENT},
    {"requests_per_client_max", COUNT_REFUSED_REQUESTS},
    {"room_name_bytes_max", COUNT_REFUSED_ROOM_NAMES},
    {"metadata_bytes_max", COUNT_REFUSED_METADATA},
    {"rate", COUNT_REFUSED_MESSAGES},
};

static const struct line dropped[] = {
    {"drop_oldest", COUNT_DROPPED_OLDEST},
    {"drop_newest", COUNT_DROPPED_NEWEST},
    {"conflate", COUNT_CONFLATED},
};

static const struct line gaps[] = {
    {"drop_oldest", COUNT_GAPS_DROP_OLDEST},
    {"drop_newest", COUNT_GAPS_DROP_NEWEST},
    {"conflate", COUNT_GAPS_CONFLATE},
};

/* The clients that left in one of the ways. */
static void write_closes(struct prom *text, const struct engine *engine,
                         size_t kind)
{
    char more[96];

    snprintf(more, sizeof more, "code=\"%s\",reason=\"%s\"",
             measure_closes[kind].code, measure_closes[kind].reason);
    for (int i = 0; i < engine->space_count; i++) {
        const struct peal_server *server = engine->spaces[i];
        uint64_t sum = 0;

        for (int k = 0; k < engine->worker_count; k++) {
            sum += atomic_load_explicit(&server->seats[k].measures.closes[kind],
                                        memory_order_relaxed);
        }
        prom_sample(text, server, "peal_connections_closed_total", more, sum);
    }
}

static void write_connections(struct prom *text, const struct engine *engine)
{
    prom_family(text, "peal_connections", PROM_GAUGE, NULL,
                "Clients that are in now.");
    samples(text, engine, "peal_connections", "transport=\"ws\"",
            GAUGE_WS_CLIENTS);
    samples(text, engine, "peal_connections", "transport=\"tcp\"",
            GAUGE_TCP_CLIENTS);
    prom_family(text, "peal_connections_opened", PROM_COUNTER, NULL,
                "Clients that came in.");
    samples(text, engine, "peal_connections_opened_total", "", COUNT_CLIENTS);
    prom_family(text, "peal_connections_closed", PROM_COUNTER, NULL,
                "Clients that left, by close code and cause.");
    for (size_t i = 0; i < MEASURE_CLOSES; i++) {
        write_closes(text, engine, i);
    }
    prom_family(text, "peal_connections_rejected", PROM_COUNTER, NULL,
                "Connections that did not become clients, by cause.");
    lines(text, engine, "peal_connections_rejected_total", "reason", rejected,
          ARRAY_SIZE(rejected));
}

static void write_messages(struct prom *text, const struct engine *engine)
{
    prom_family(text, "peal_messages_received", PROM_COUNTER, NULL,
                "Messages of clients, without heartbeats and joins.");
    lines(text, engine, "peal_messages_received_total", "kind", received,
          ARRAY_SIZE(received));
    prom_family(text, "peal_messages_delivered", PROM_COUNTER, NULL,
                "Messages queued for clients, one for each receiver.");
    samples(text, engine, "peal_messages_delivered_total", "",
            COUNT_MESSAGES_OUT);
    prom_family(text, "peal_messages_dropped", PROM_COUNTER, NULL,
                "Messages that were refused on their way, by cause.");
    for (int i = 0; i < engine->space_count; i++) {
        prom_sample(text, engine->spaces[i], "peal_messages_dropped_total",
                    "reason=\"mailbox_bytes_max\"",
                    atomic_load_explicit(&engine->spaces[i]->refused_mail,
                                         memory_order_relaxed));
    }
    samples(text, engine, "peal_messages_dropped_total", "reason=\"unsayable\"",
            COUNT_MESSAGES_UNSAYABLE);
    lines(text, engine, "peal_messages_dropped_total", "reason", dropped,
          ARRAY_SIZE(dropped));
    prom_family(text, "peal_gaps", PROM_COUNTER, NULL,
                "Gaps that clients were told of, by what made them.");
    lines(text, engine, "peal_gaps_total", "reason", gaps, ARRAY_SIZE(gaps));
    prom_family(text, "peal_limit_refusals", PROM_COUNTER, NULL,
                "What clients were refused, by the limit's option.");
    lines(text, engine, "peal_limit_refusals_total", "limit", refused,
          ARRAY_SIZE(refused));
    prom_family(text, "peal_requests_timed_out", PROM_COUNTER, NULL,
                "Requests of clients that nobody answered in time.");
    samples(text, engine, "peal_requests_timed_out_total", "",
            COUNT_REQUESTS_TIMED_OUT);
    prom_family(
        text, "peal_address_tracker_failures", PROM_COUNTER, NULL,
        "Answers of the application's address tracker that were errors.");
    samples(text, engine, "peal_address_tracker_failures_total", "",
            COUNT_TRACKER_FAILED);
    prom_family(text, "peal_received_bytes", PROM_COUNTER, "bytes",
                "Bytes read from connections.");
    samples(text, engine, "peal_received_bytes_total", "", COUNT_BYTES_IN);
    prom_family(text, "peal_sent_bytes", PROM_COUNTER, "bytes",
                "Bytes queued for connections.");
    samples(text, engine, "peal_sent_bytes_total", "", COUNT_BYTES_OUT);
}

/* Nanoseconds, as seconds. */
static void seconds(struct prom *text, const char *name, uint64_t ns)
{
    PROM_PRINT(text, "%s_total %.9f\n", name, (double)ns / 1e9);
}

static void write_deflate(struct prom *text, const struct engine *engine)
{
    static const struct line messages[] = {
        {"out", COUNT_DEFLATED_MESSAGES},
        {"in", COUNT_INFLATED_MESSAGES},
    };
    static const struct line plain[] = {
        {"out", COUNT_DEFLATED_BYTES},
        {"in", COUNT_INFLATED_BYTES},
    };
    static const struct line packed[] = {
        {"out", COUNT_DEFLATED_WIRE_BYTES},
        {"in", COUNT_INFLATED_WIRE_BYTES},
    };

    prom_family(
        text, "peal_deflate_messages", PROM_COUNTER, NULL,
        "Messages compressed or inflated; one may be for many clients.");
    lines(text, engine, "peal_deflate_messages_total", "direction", messages,
          ARRAY_SIZE(messages));
    prom_family(text, "peal_deflate_plain_bytes", PROM_COUNTER, "bytes",
                "Their bytes, not compressed.");
    lines(text, engine, "peal_deflate_plain_bytes_total", "direction", plain,
          ARRAY_SIZE(plain));
    prom_family(text, "peal_deflate_wire_bytes", PROM_COUNTER, "bytes",
                "Their bytes, compressed.");
    lines(text, engine, "peal_deflate_wire_bytes_total", "direction", packed,
          ARRAY_SIZE(packed));
    prom_family(text, "peal_deflate_seconds", PROM_COUNTER, "seconds",
                "Time spent compressing.");
    seconds(text, "peal_deflate_seconds",
            stats_sum_all(engine, COUNT_DEFLATE_NS));
    prom_family(text, "peal_inflate_seconds", PROM_COUNTER, "seconds",
                "Time spent inflating.");
    seconds(text, "peal_inflate_seconds",
            stats_sum_all(engine, COUNT_INFLATE_NS));
    prom_gauge(text, "peal_deflate_state_bytes", "bytes",
               "Memory that zlib holds.",
               stats_sum_all(engine, GAUGE_DEFLATE_STATE_BYTES));
}

static void write_http(struct prom *text, const struct engine *engine)
{
    prom_family(text, "peal_http_requests", PROM_COUNTER, NULL,
                "Requests for HTTP handlers of the program.");
    samples(text, engine, "peal_http_requests_total", "", COUNT_HTTP_REQUESTS);
    prom_family(text, "peal_http_failures", PROM_COUNTER, NULL,
                "Of these: not answered in time, or with too large a body.");
    samples(text, engine, "peal_http_failures_total", "reason=\"http_timeout\"",
            COUNT_HTTP_TIMED_OUT);
    samples(text, engine, "peal_http_failures_total",
            "reason=\"http_body_bytes_max\"", COUNT_CLOSED_HTTP_BODY);
}

/* When the first certificate expires; 0: there is none. */
static int64_t certificate_expiry(const struct engine *engine)
{
    int64_t first_s = 0;

    for (size_t i = 0; i < engine->listener_count; i++) {
        struct peal_tls *tls = engine->listeners[i]->tls;
        int64_t expiry_s = tls != NULL ? peal_tls_expiry(tls) : 0;

        if (expiry_s != 0 && (first_s == 0 || expiry_s < first_s)) {
            first_s = expiry_s;
        }
    }
    return first_s;
}

static void write_tls(struct prom *text, const struct engine *engine)
{
    static const char expiry[] =
        "peal_tls_certificate_expiry_timestamp_seconds";
    int64_t expiry_s = certificate_expiry(engine);

    prom_family(text, "peal_tls_handshakes", PROM_COUNTER, NULL,
                "TLS handshakes that were done.");
    samples(text, engine, "peal_tls_handshakes_total", "",
            COUNT_TLS_HANDSHAKES);
    prom_family(text, "peal_tls_resumptions", PROM_COUNTER, NULL,
                "Of these: sessions taken up again.");
    samples(text, engine, "peal_tls_resumptions_total", "", COUNT_TLS_RESUMED);
    prom_family(text, "peal_tls_failures", PROM_COUNTER, NULL,
                "TLS handshakes that were not done.");
    samples(text, engine, "peal_tls_failures_total", "", COUNT_TLS_FAILED);
    prom_gauge(text, "peal_tls_handshakes_pending", NULL,
               "TLS handshakes in progress.",
               stats_sum_all(engine, GAUGE_TLS_HANDSHAKES));
    prom_gauge(text, "peal_ktls_connections", NULL,
               "Connections whose output the kernel encrypts.",
               stats_sum_all(engine, GAUGE_KTLS));
    prom_family(text, "peal_ktls_handshakes", PROM_COUNTER, NULL,
                "TLS handshakes after which the kernel encrypts the output.");
    samples(text, engine, "peal_ktls_handshakes_total", "", COUNT_KTLS);
    prom_family(
        text, "peal_ktls_fallbacks", PROM_COUNTER, NULL,
        "TLS handshakes after which it does not, though it was asked to.");
    samples(text, engine, "peal_ktls_fallbacks_total", "",
            COUNT_KTLS_FALLBACKS);
    if (expiry_s != 0) {
        prom_family(text, expiry, PROM_GAUGE, "seconds",
                    "When the first certificate expires, since 1970.");
        PROM_PRINT(text, "%s %lld\n", expiry, (long long)expiry_s);
    }
}

static void write_updates(struct prom *text, const struct engine *engine)
{
    static const char last[] =
        "peal_config_last_reload_success_timestamp_seconds";

    prom_family(text, "peal_config_reloads", PROM_COUNTER, NULL,
                "Updates of the options while running, by result.");
    for (int i = 0; i < engine->space_count; i++) {
        const struct config_head *config = &engine->spaces[i]->config;

        prom_sample(text, engine->spaces[i], "peal_config_reloads_total",
                    "result=\"ok\"", atomic_load(&config->updates));
        prom_sample(text, engine->spaces[i], "peal_config_reloads_total",
                    "result=\"refused\"",
                    atomic_load(&config->updates_refused));
    }
    prom_family(text, last, PROM_GAUGE, "seconds",
                "When the options in force were taken, since 1970.");
    for (int i = 0; i < engine->space_count; i++) {
        prom_sample(text, engine->spaces[i], last, "",
                    atomic_load(&engine->spaces[i]->config.updated_s));
    }
}

static void write_gauges(struct prom *text, const struct worker *worker)
{
    const struct engine *engine = worker->engine;

    prom_gauge(text, "peal_sockets", NULL,
               "Open connections, of clients and of all others.",
               stats_open(engine));
    prom_family(text, "peal_rooms", PROM_GAUGE, NULL, "Rooms with members.");
    for (int i = 0; i < engine->space_count; i++) {
        prom_sample(text, engine->spaces[i], "peal_rooms", "",
                    room_count(&engine->spaces[i]->cluster));
    }
    prom_family(text, "peal_subscriptions", PROM_GAUGE, NULL,
                "Clients in rooms: each counts once for each of its rooms.");
    for (int i = 0; i < engine->space_count; i++) {
        prom_sample(text, engine->spaces[i], "peal_subscriptions", "",
                    room_subscriptions(&engine->spaces[i]->cluster));
    }
    prom_family(text, "peal_requests_pending", PROM_GAUGE, NULL,
                "Requests, of either side, that wait for their answer.");
    samples(text, engine, "peal_requests_pending", "", GAUGE_REQUESTS);
    prom_family(text, "peal_hook_queue_length", PROM_GAUGE, NULL,
                "Decisions that the application has put off and not made.");
    samples(text, engine, "peal_hook_queue_length", "", GAUGE_DECISIONS);
    prom_gauge(text, "peal_send_queue_bytes", "bytes",
               "What waits for sockets that are full.",
               stats_queued_bytes(engine));
    prom_gauge(text, "peal_memory_budget_bytes", "bytes",
               "What the option memory_bytes_max allows; 0: no bound.",
               worker_options(worker)->memory_bytes_max);
    prom_family(text, "peal_memory_used_bytes", PROM_GAUGE, "bytes",
                "What libpeal has from the allocator, by what it is for.");
    for (enum mem_pool pool = 0; pool < MEM_POOLS; pool++) {
        static const char *const pools[] = {
            [MEM_OTHER] = "other",
            [MEM_OUTPUT] = "output",
            [MEM_DEFLATE] = "deflate",
            [MEM_TLS] = "tls",
        };

        PROM_PRINT(text, "peal_memory_used_bytes{pool=\"%s\"} %llu\n",
                   pools[pool], (unsigned long long)mem_used_in(pool));
    }
    prom_gauge(text, "peal_event_loops", NULL, "Threads that serve clients.",
               (uint64_t)engine->worker_count);
    prom_gauge(text, "peal_io_uring_loops", NULL,
               "Of these: those that send by io_uring.", stats_rings(engine));
    prom_gauge(text, "peal_ready", NULL, "1 when /readyz says ok.",
               health_is_ready(worker) ? 1 : 0);
}

/* --- The process --------------------------------------------------------- */

static void write_process(struct prom *text)
{
    struct process_facts facts;

    process_read(&facts);
    prom_family(text, "process_cpu_seconds", PROM_COUNTER, "seconds",
                "User and system CPU time.");
    PROM_PRINT(text, "process_cpu_seconds_total %.6f\n", facts.cpu_seconds);
    prom_family(text, "process_start_time_seconds", PROM_GAUGE, "seconds",
                "When the process started, since 1970.");
    PROM_PRINT(text, "process_start_time_seconds %.2f\n", facts.start_seconds);
    prom_gauge(text, "process_resident_memory_bytes", "bytes",
               "Memory that is resident.", facts.resident_bytes);
    prom_gauge(text, "process_virtual_memory_bytes", "bytes",
               "Memory that is mapped.", facts.virtual_bytes);
    prom_gauge(text, "process_open_fds", NULL, "Open file descriptors.",
               facts.descriptors);
    prom_gauge(text, "process_max_fds", NULL, "The limit on file descriptors.",
               facts.descriptors_max);
}

bool metrics_write(const struct worker *worker, bool is_open_metrics,
                   struct buffer *body)
{
    struct prom text = {.body = body, .is_open_metrics = is_open_metrics};
    const struct engine *engine = worker->engine;
    const char *info = is_open_metrics ? "peal_build" : "peal_build_info";

    PROM_PRINT(&text, "# HELP %s What was built of what.\n# TYPE %s %s\n", info,
               info, is_open_metrics ? "info" : "gauge");
    PROM_PRINT(&text, "peal_build_info{version=\"%s\",commit=\"%s\"} 1\n",
               peal_version(), peal_commit());
    write_connections(&text, engine);
    write_messages(&text, engine);
    write_deflate(&text, engine);
    write_http(&text, engine);
    write_tls(&text, engine);
    write_updates(&text, engine);
    write_gauges(&text, worker);
    metrics_times_write(&text, engine);
    write_process(&text);
    if (is_open_metrics) {
        PROM_PRINT(&text, "# EOF\n");
    }
    return !text.has_failed;
}
