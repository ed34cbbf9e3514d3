/* Options: defaults, and what is not acceptable. */
#include "server/server.h"

#include "base/assert.h"
#include "base/mem.h"
#include "hub/rate.h"
#include "server/gate.h"

#include <string.h>

/* The least that a struct of this kind ever had: up to its `tcp_listen`. */
#define OPTIONS_SIZE_MIN offsetof(struct peal_server_options, dialect)

#define MESSAGE_BYTES_MAX (1024u * 1024u * 1024u)
#define HEADER_BYTES_MAX (16u * 1024u * 1024u)

/* See ws_answer_write. */
#define PROTOCOL_BYTES_MAX 128

static void set_sizes(struct peal_server_options *options)
{
    const struct {
        size_t *value;
        size_t standard;
    } sizes[] = {
        {&options->message_bytes_max, 1024 * 1024},
        {&options->header_bytes_max, 8192},
        {&options->queue_bytes_max, 1024 * 1024},
        {&options->mailbox_bytes_max, 64 * 1024 * 1024},
        {&options->http_body_bytes_max, 64 * 1024},
    };

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        if (*sizes[i].value == 0) {
            *sizes[i].value = sizes[i].standard;
        }
    }
    if (options->frame_bytes_max == 0) {
        options->frame_bytes_max = options->message_bytes_max;
    }
    if (options->queue_high_bytes == 0) {
        options->queue_high_bytes = options->queue_bytes_max / 2;
    }
    if (options->queue_low_bytes == 0) {
        options->queue_low_bytes = options->queue_high_bytes / 4;
    }
}

static void set_numbers(struct peal_server_options *options)
{
    const struct {
        uint32_t *value;
        uint32_t standard;
    } numbers[] = {
        {&options->clients_max, 100000},
        {&options->clients_per_address_max, 10000},
        {&options->rooms_max, 100000},
        {&options->rooms_per_client_max, 128},
        {&options->room_name_bytes_max, 256},
        {&options->metadata_bytes_max, 16 * 1024},
        {&options->requests_per_client_max, 64},
        {&options->handshake_timeout_ms, 10000},
        {&options->ping_interval_ms, 25000},
        {&options->ping_timeout_ms, 20000},
        {&options->close_timeout_ms, 5000},
        {&options->request_timeout_ms, 10000},
        {&options->stop_timeout_ms, 5000},
        {&options->tls_handshakes_max, 10000},
        {&options->handshakes_per_address_max, 1000},
        {&options->retry_after_s, 5},
        {&options->drain_timeout_ms, 60000},
        {&options->turn_timeout_ms, 30000},
        {&options->decision_timeout_ms, 5000},
        {&options->http_timeout_ms, 10000},
        {&options->ipv6_prefix_bits, 64},
    };

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        if (*numbers[i].value == 0) {
            *numbers[i].value = numbers[i].standard;
        }
    }
    if (options->loops == 0) {
        options->loops = 1;
    }
    if (options->backlog == 0) {
        options->backlog = 4096;
    }
    if (options->forwarded_header == NULL) {
        options->forwarded_header = "X-Forwarded-For";
    }
    if (options->alive_by == PEAL_ALIVE_DEFAULT) {
        options->alive_by = PEAL_ALIVE_BY_TRAFFIC;
    }
    if (options->log_level == PEAL_LOG_DEFAULT) {
        options->log_level = PEAL_LOG_INFO;
    }
}

static void set_rates(struct peal_server_options *options)
{
    if (options->control_rate.capacity == 0) {
        options->control_rate =
            (struct peal_rate){.capacity = 200, .refill = 50};
    }
    options->client_rate = rate_resolve(options->client_rate);
    options->address_rate = rate_resolve(options->address_rate);
    options->control_rate = rate_resolve(options->control_rate);
}

/* Whether each is a name that may stand in a Sec-WebSocket-Protocol line. */
static bool are_protocols(const char *const *protocols)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "abcdefghijklmnopqrstuvwxyz";

    for (size_t i = 0; protocols != NULL && protocols[i] != NULL; i++) {
        size_t size = strlen(protocols[i]);

        if (size == 0 || size > PROTOCOL_BYTES_MAX ||
            strspn(protocols[i], token) != size) {
            return false;
        }
    }
    return true;
}

/* Whether a request can be for it: "" switches an endpoint off. */
static bool is_path(const char *path)
{
    return path == NULL || path[0] == '\0' ||
           (path[0] == '/' && strpbrk(path, "?# \t\r\n") == NULL);
}

/* The name of the first path that is none, or NULL. */
static const char *find_bad_path(const struct peal_server_options *options)
{
    const struct {
        const char *name;
        const char *path;
    } paths[] = {
        {"health_path", options->health_path},
        {"metrics_path", options->metrics_path},
        {"livez_path", options->livez_path},
        {"readyz_path", options->readyz_path},
    };

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        if (!is_path(paths[i].path)) {
            return paths[i].name;
        }
    }
    return NULL;
}

/* Whether each is of a dialect that there is. */
static bool are_heartbeats(const struct peal_heartbeat *heartbeats)
{
    static const struct peal_heartbeat none;

    for (int i = 0; i < PEAL_DIALECTS_MAX; i++) {
        bool is_dialect =
            options_dialect((enum peal_dialect)i, NULL) != NULL;

        if (heartbeats[i].alive_by > PEAL_ALIVE_BY_PONG ||
            (!is_dialect &&
             memcmp(&heartbeats[i], &none, sizeof none) != 0)) {
            return false;
        }
    }
    return true;
}

/* The name of the first option that is out of range, or NULL. */
static const char *find_problem(const struct peal_server_options *options)
{
    if (options_dialect(options->dialect, &dialect_peal) == NULL) {
        return "dialect";
    }
    if (options->loops < 0 || options->loops > HUB_MAX) {
        return "loops";
    }
    if (options->backlog < 0) {
        return "backlog";
    }
    if (options->message_bytes_max > MESSAGE_BYTES_MAX) {
        return "message_bytes_max";
    }
    if (options->header_bytes_max > HEADER_BYTES_MAX) {
        return "header_bytes_max";
    }
    if (options->frame_bytes_max > options->message_bytes_max) {
        return "frame_bytes_max";
    }
    if (options->room_name_bytes_max > 256) {
        return "room_name_bytes_max";
    }
    if (!are_protocols(options->protocols)) {
        return "protocols";
    }
    if (options->log_level > PEAL_LOG_OFF) {
        return "log_level";
    }
    if (gate_check(options) != NULL) {
        return gate_check(options);
    }
    if (options->alive_by > PEAL_ALIVE_BY_PONG) {
        return "alive_by";
    }
    if (!are_heartbeats(options->heartbeats)) {
        return "heartbeats";
    }
    if (options->rate_refusal > PEAL_REFUSE_CLOSE) {
        return "rate_refusal";
    }
    if (options->memory_bytes_max > 0 && !mem_is_counted()) {
        return "memory_bytes_max";
    }
    if (options->queue_low_bytes > options->queue_high_bytes) {
        return "queue_low_bytes";
    }
    if (options->pressure > PEAL_PRESSURE_CONFLATE) {
        return "pressure";
    }
    if (options->io_backend > PEAL_IO_URING) {
        return "io_backend";
    }
    return find_bad_path(options);
}

int options_resolve(struct peal_server_options *out,
                    const struct peal_server_options *given,
                    const char **problem)
{
    size_t size = given->size;

    if (size < OPTIONS_SIZE_MIN || size > sizeof *out) {
        *problem = "size";
        return PEAL_EINVAL;
    }
    memset(out, 0, sizeof *out);
    memcpy(out, given, size);
    set_sizes(out);
    set_numbers(out);
    set_rates(out);
    *problem = find_problem(out);
    return *problem == NULL ? 0 : PEAL_EINVAL;
}

const struct dialect *options_dialect(enum peal_dialect dialect,
                                      const struct dialect *fallback)
{
    switch (dialect) {
    case PEAL_DIALECT_DEFAULT:
        return fallback;
    case PEAL_DIALECT_PEAL:
        return &dialect_peal;
    case PEAL_DIALECT_STELAR:
        return &dialect_stelar;
    case PEAL_DIALECT_RAW:
        return &dialect_raw;
    }
    return NULL;
}

enum peal_dialect options_dialect_name(const struct dialect *dialect)
{
    if (dialect == &dialect_stelar) {
        return PEAL_DIALECT_STELAR;
    }
    return dialect == &dialect_raw ? PEAL_DIALECT_RAW : PEAL_DIALECT_PEAL;
}
