/* Whether the server lives, and whether it wants clients. */
#include "server/endpoint.h"

#include "base/assert.h"
#include "base/clock.h"
#include "net/process.h"

struct check {
    const char *name;
    bool (*is_ok)(const struct worker *worker);
};

/* A turn ends in milliseconds, unless a callback blocks. */
static bool loops_turn(const struct worker *worker)
{
    uint32_t most_ms = worker_options(worker)->turn_timeout_ms;
    uint64_t now_ms = clock_monotonic_ms();

    for (int i = 0; i < worker->engine->worker_count && most_ms != PEAL_OFF;
         i++) {
        uint64_t since_ms = atomic_load_explicit(
            &worker->engine->workers[i].busy_since_ms, memory_order_relaxed);

        if (since_ms != 0 && now_ms > since_ms + most_ms) {
            return false;
        }
    }
    return true;
}

static bool is_accepting(const struct worker *worker)
{
    return atomic_load(&worker->engine->state) == SERVER_RUNNING &&
           !atomic_load(&worker->engine->is_stop_asked);
}

static bool application_agrees(const struct worker *worker)
{
    return !atomic_load(&worker->engine->is_unready);
}

static bool has_room_for_clients(const struct worker *worker)
{
    return atomic_load(&worker->engine->spaces[0]->cluster.door.clients) <
           worker_options(worker)->clients_max;
}

static bool mailboxes_keep_up(const struct worker *worker)
{
    return !worker_is_held_back(worker);
}

static bool memory_suffices(const struct worker *worker)
{
    return !atomic_load(&worker->engine->is_out_of_memory);
}

/* Slow to fail: a restart brings all clients back at once. */
static const struct check live_checks[] = {
    {"loops", loops_turn},
};

/* Quick to fail: others take the clients meanwhile. */
static const struct check ready_checks[] = {
    {"accepting", is_accepting},
    {"application", application_agrees},
    {"clients", has_room_for_clients},
    {"mailboxes", mailboxes_keep_up},
    {"memory", memory_suffices},
    {"loops", loops_turn},
};

static bool are_ok(const struct worker *worker, const struct check *checks,
                   size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!checks[i].is_ok(worker)) {
            return false;
        }
    }
    return true;
}

static bool list(const struct worker *worker, const struct check *checks,
                 size_t count, struct buffer *body)
{
    for (size_t i = 0; i < count; i++) {
        bool is_ok = checks[i].is_ok(worker);

        if (!endpoint_print(body, "[%c]%s %s\n", is_ok ? '+' : '-',
                            checks[i].name, is_ok ? "ok" : "failed")) {
            return false;
        }
    }
    return true;
}

bool health_is_live(const struct worker *worker)
{
    return are_ok(worker, live_checks, ARRAY_SIZE(live_checks));
}

bool health_is_ready(const struct worker *worker)
{
    return are_ok(worker, ready_checks, ARRAY_SIZE(ready_checks));
}

bool health_list_live(const struct worker *worker, struct buffer *body)
{
    return list(worker, live_checks, ARRAY_SIZE(live_checks), body);
}

bool health_list_ready(const struct worker *worker, struct buffer *body)
{
    return list(worker, ready_checks, ARRAY_SIZE(ready_checks), body);
}

void peal_server_set_ready(struct peal_server *server, bool is_ready)
{
    atomic_store(&server->engine->is_unready, !is_ready);
}

/* What the state tells, over all namespaces. */
static struct peal_server_stats totals(const struct engine *engine)
{
    struct peal_server_stats sum = {.uptime_ms = stats_uptime_ms(engine)};

    for (int i = 0; i < engine->space_count; i++) {
        struct peal_server_stats one = {.size = sizeof one};

        (void)peal_server_stats(engine->spaces[i], &one);
        sum.clients_total += one.clients_total;
        sum.clients += one.clients;
        sum.ws_clients += one.ws_clients;
        sum.tcp_clients += one.tcp_clients;
        sum.messages_in += one.messages_in;
        sum.messages_out += one.messages_out;
        sum.rooms += one.rooms;
    }
    return sum;
}

/* Addresses whose messages are being counted. */
static size_t limited_addresses(const struct engine *engine)
{
    size_t count = 0;

    for (int i = 0; i < engine->space_count; i++) {
        count += rate_table_count(&engine->spaces[i]->guard.addresses);
    }
    return count;
}

bool health_state(const struct worker *worker, struct buffer *body)
{
    struct peal_server_stats stats = totals(worker->engine);
    unsigned long long rss = process_resident_bytes();
    const char *status = health_is_ready(worker) ? "ok" : "unready";

    if (atomic_load(&worker->engine->is_stop_asked)) {
        status = "stopping";
    }
    return endpoint_print(
        body,
        "{\"status\":\"%s\",\"version\":\"%s\",\"totalConnections\":%llu,"
        "\"activeConnections\":%llu,\"totalMessagesReceived\":%llu,"
        "\"totalMessagesSent\":%llu,\"totalRooms\":%llu,\"uptime\":%llu,"
        "\"uptimeSeconds\":%llu,\"wsConnections\":%llu,"
        "\"tcpConnections\":%llu,\"memoryMB\":%.2f,"
        "\"memoryUsage\":{\"rss\":%llu},\"rateLimiterEntries\":%zu}\n",
        status, peal_version(), (unsigned long long)stats.clients_total,
        (unsigned long long)stats.clients,
        (unsigned long long)stats.messages_in,
        (unsigned long long)stats.messages_out, (unsigned long long)stats.rooms,
        (unsigned long long)stats.uptime_ms,
        (unsigned long long)(stats.uptime_ms / 1000),
        (unsigned long long)stats.ws_clients,
        (unsigned long long)stats.tcp_clients, (double)rss / (1024.0 * 1024.0),
        rss, limited_addresses(worker->engine));
}
