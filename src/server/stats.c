/* Counters, summed over the loops when somebody asks. */
#include "server/conn.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"

#include <string.h>

uint64_t stats_sum(const struct peal_server *server, enum counter counter)
{
    uint64_t sum = 0;

    for (int i = 0; i < server->engine->worker_count; i++) {
        sum += atomic_load_explicit(&server->seats[i].counters[counter],
                                    memory_order_relaxed);
    }
    return sum;
}

uint64_t stats_sum_all(const struct engine *engine, enum counter counter)
{
    uint64_t sum = 0;

    for (int i = 0; i < engine->space_count; i++) {
        sum += stats_sum(engine->spaces[i], counter);
    }
    return sum;
}

uint64_t stats_open(const struct engine *engine)
{
    uint64_t sum = 0;

    for (int i = 0; i < engine->worker_count; i++) {
        sum += atomic_load_explicit(&engine->workers[i].open_count,
                                    memory_order_relaxed);
    }
    return sum;
}

uint64_t stats_queued_bytes(const struct engine *engine)
{
    uint64_t sum = stats_sum_all(engine, GAUGE_BACKLOG_BYTES);

    for (int i = 0; i < engine->worker_count; i++) {
        sum += atomic_load_explicit(&engine->workers[i].loop->blocked_bytes,
                                    memory_order_relaxed);
    }
    return sum;
}

uint64_t stats_rings(const struct engine *engine)
{
    uint64_t count = 0;

    for (int i = 0; i < engine->worker_count; i++) {
        count += atomic_load_explicit(&engine->workers[i].loop->has_ring,
                                      memory_order_relaxed);
    }
    return count;
}

uint64_t stats_uptime_ms(const struct engine *engine)
{
    return engine->started_ms == 0 ? 0
                                   : clock_monotonic_ms() - engine->started_ms;
}

/* The counters that have a field of their own in the public struct. */
static const struct {
    enum counter counter;
    size_t offset;
} fields[] = {
#define FIELD(counter, name) {counter, offsetof(struct peal_server_stats, name)}
    FIELD(GAUGE_WS_CLIENTS, ws_clients),
    FIELD(GAUGE_TCP_CLIENTS, tcp_clients),
    FIELD(GAUGE_CONNECTIONS, connections),
    FIELD(GAUGE_REQUESTS, requests_pending),
    FIELD(COUNT_CLIENTS, clients_total),
    FIELD(COUNT_MESSAGES_OUT, messages_out),
    FIELD(COUNT_BYTES_IN, bytes_in),
    FIELD(COUNT_BYTES_OUT, bytes_out),
    FIELD(COUNT_MESSAGES_INVALID, messages_invalid),
    FIELD(COUNT_MESSAGES_UNSAYABLE, messages_unsayable),
    FIELD(COUNT_REQUESTS_TIMED_OUT, requests_timed_out),
    FIELD(COUNT_REFUSED_CLIENTS, refused_clients),
    FIELD(COUNT_REFUSED_CLIENTS_PER_ADDRESS, refused_clients_per_address),
    FIELD(COUNT_REFUSED_ROOMS, refused_rooms),
    FIELD(COUNT_REFUSED_ROOMS_PER_CLIENT, refused_rooms_per_client),
    FIELD(COUNT_REFUSED_ROOM_NAMES, refused_room_names),
    FIELD(COUNT_REFUSED_METADATA, refused_metadata),
    FIELD(COUNT_REFUSED_REQUESTS, refused_requests),
    FIELD(COUNT_CLOSED_MESSAGE_BYTES, closed_message_bytes),
    FIELD(COUNT_CLOSED_HEADER_BYTES, closed_header_bytes),
    FIELD(COUNT_CLOSED_QUEUE_BYTES, closed_queue_bytes),
    FIELD(COUNT_CLOSED_HANDSHAKE_TIMEOUT, closed_handshake_timeout),
    FIELD(COUNT_CLOSED_PING_TIMEOUT, closed_ping_timeout),
    FIELD(COUNT_CLOSED_PROTOCOL, closed_protocol),
    FIELD(COUNT_ACCEPT_EXHAUSTED, accept_exhausted),
    FIELD(COUNT_REFUSED_MESSAGES, refused_messages),
    FIELD(COUNT_CLOSED_RATE, closed_rate),
    FIELD(COUNT_CLOSED_CONTROL_RATE, closed_control_rate),
    FIELD(COUNT_HTTP_REQUESTS, http_requests),
    FIELD(COUNT_HTTP_TIMED_OUT, http_timed_out),
    FIELD(COUNT_CLOSED_HTTP_BODY, closed_http_body_bytes),
    FIELD(COUNT_REFUSED_ORIGINS, refused_origins),
    FIELD(GAUGE_DEFLATE_STATE_BYTES, deflate_state_bytes),
    FIELD(COUNT_DEFLATED_MESSAGES, deflated_messages),
    FIELD(COUNT_DEFLATED_BYTES, deflated_bytes),
    FIELD(COUNT_DEFLATED_WIRE_BYTES, deflated_wire_bytes),
    FIELD(COUNT_DEFLATE_NS, deflate_ns),
    FIELD(COUNT_INFLATED_MESSAGES, inflated_messages),
    FIELD(COUNT_INFLATED_WIRE_BYTES, inflated_wire_bytes),
    FIELD(COUNT_INFLATED_BYTES, inflated_bytes),
    FIELD(COUNT_INFLATE_NS, inflate_ns),
    FIELD(GAUGE_TLS_HANDSHAKES, tls_handshaking),
    FIELD(COUNT_TLS_HANDSHAKES, tls_handshakes),
    FIELD(COUNT_TLS_RESUMED, tls_resumed),
    FIELD(COUNT_TLS_FAILED, tls_failed),
    FIELD(COUNT_REFUSED_TLS_HANDSHAKES, refused_tls_handshakes),
    FIELD(COUNT_REFUSED_PROXY_PROTOCOL, refused_proxy_protocol),
    FIELD(COUNT_REFUSED_HANDSHAKES_PER_ADDRESS,
          refused_handshakes_per_address),
    FIELD(COUNT_DROPPED_OLDEST, dropped_oldest),
    FIELD(COUNT_DROPPED_NEWEST, dropped_newest),
    FIELD(COUNT_CONFLATED, conflated),
    FIELD(GAUGE_DECISIONS, decisions_pending),
    FIELD(COUNT_REFUSED_MEMORY, refused_memory),
    FIELD(COUNT_CLOSED_MEMORY, closed_memory),
    FIELD(COUNT_TRACKER_FAILED, address_tracker_failed),
    FIELD(COUNT_CLOSED_DRAIN_TIMEOUT, closed_drain_timeout),
    FIELD(GAUGE_KTLS, ktls_sending),
    FIELD(COUNT_KTLS, ktls_handshakes),
    FIELD(COUNT_KTLS_FALLBACKS, ktls_fallbacks),
#undef FIELD
};

int peal_server_stats(struct peal_server *server,
                      struct peal_server_stats *stats)
{
    struct peal_server_stats all = {
        .uptime_ms = stats_uptime_ms(server->engine),
    };
    size_t size = stats->size;

    if (size < sizeof stats->size) {
        return PEAL_EINVAL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        uint64_t value = stats_sum(server, fields[i].counter);

        memcpy((char *)&all + fields[i].offset, &value, sizeof value);
    }
    for (enum counter i = COUNT_EVENTS_IN; i <= COUNT_INVALID_IN; i++) {
        all.messages_in += stats_sum(server, i);
    }
    for (enum counter i = COUNT_GAPS_DROP_OLDEST; i <= COUNT_GAPS_CONFLATE;
         i++) {
        all.gaps += stats_sum(server, i);
    }
    all.memory_used_bytes = mem_used();
    all.queued_bytes = stats_queued_bytes(server->engine);
    all.io_uring_loops = stats_rings(server->engine);
    all.clients = all.ws_clients + all.tcp_clients;
    all.rooms = room_count(&server->cluster);
    all.subscriptions = room_subscriptions(&server->cluster);
    all.refused_mail =
        atomic_load_explicit(&server->refused_mail, memory_order_relaxed);
    all.size = size < sizeof all ? size : sizeof all;
    memcpy(stats, &all, all.size);
    return 0;
}
