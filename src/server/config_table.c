/* All options: what each is, and how two sets of them compare. */
#include "server/config_table.h"

#include "base/assert.h"
#include "base/list.h"

#include <string.h>

const struct config_option config_table[] = {
#define ROW(name, kind, can_change, is_shared)                                 \
    {                                                                          \
#name, offsetof(struct peal_server_options, name),                     \
            sizeof(((struct peal_server_options *)NULL)->name), kind,          \
            can_change, is_shared                                              \
    }
#define OPTION(name, kind, can_change) ROW(name, kind, can_change, false)
#define WHOLE(name, kind, can_change) ROW(name, kind, can_change, true)
#define RUNNING(name) OPTION(name, OPTION_VALUE, true)
#define RESTART(name) OPTION(name, OPTION_VALUE, false)
    RUNNING(size),
    WHOLE(ws_listen, OPTION_TEXT, false),
    WHOLE(tcp_listen, OPTION_TEXT, false),
    RESTART(dialect),
    WHOLE(loops, OPTION_VALUE, false),
    WHOLE(backlog, OPTION_VALUE, false),
    RUNNING(message_bytes_max),
    RUNNING(frame_bytes_max),
    WHOLE(header_bytes_max, OPTION_VALUE, true),
    RUNNING(queue_bytes_max),
    WHOLE(mailbox_bytes_max, OPTION_VALUE, true),
    RUNNING(clients_max),
    RUNNING(clients_per_address_max),
    RUNNING(rooms_max),
    RUNNING(rooms_per_client_max),
    RUNNING(room_name_bytes_max),
    RUNNING(metadata_bytes_max),
    RUNNING(requests_per_client_max),
    RUNNING(handshake_timeout_ms),
    RUNNING(ping_interval_ms),
    RUNNING(ping_timeout_ms),
    RUNNING(close_timeout_ms),
    RUNNING(request_timeout_ms),
    WHOLE(stop_timeout_ms, OPTION_VALUE, true),
    RUNNING(clients_may_join),
    RUNNING(clients_may_publish),
    OPTION(protocols, OPTION_LIST, true),
    WHOLE(health_path, OPTION_TEXT, true),
    WHOLE(log, OPTION_VALUE, false),
    WHOLE(log_user, OPTION_VALUE, false),
    WHOLE(log_level, OPTION_VALUE, true),
    RUNNING(on_connect),
    RUNNING(on_disconnect),
    RUNNING(make_id),
    RUNNING(on_join),
    RUNNING(on_publish),
    RUNNING(user),
    WHOLE(internal_listen, OPTION_TEXT, false),
    WHOLE(metrics_path, OPTION_TEXT, true),
    WHOLE(livez_path, OPTION_TEXT, true),
    WHOLE(readyz_path, OPTION_TEXT, true),
    WHOLE(turn_timeout_ms, OPTION_VALUE, true),
    WHOLE(on_health, OPTION_VALUE, true),
    RUNNING(client_rate),
    RUNNING(address_rate),
    RUNNING(control_rate),
    RUNNING(rate_refusal),
    RUNNING(decision_timeout_ms),
    RESTART(hooks),
    RUNNING(http_body_bytes_max),
    RUNNING(http_timeout_ms),
    OPTION(origins, OPTION_LIST, true),
    WHOLE(trusted_proxies, OPTION_LIST, true),
    WHOLE(forwarded_header, OPTION_TEXT, true),
    WHOLE(ipv6_prefix_bits, OPTION_VALUE, true),
    RUNNING(refuse_by),
    RESTART(deflate),
    WHOLE(stop_delay_ms, OPTION_VALUE, true),
    WHOLE(stop_clients_per_second, OPTION_VALUE, true),
    RUNNING(return_spread_ms),
    WHOLE(handle_signals, OPTION_VALUE, false),
    WHOLE(tls, OPTION_VALUE, false),
    WHOLE(tls_handshakes_max, OPTION_VALUE, true),
    RUNNING(alive_by),
    RUNNING(heartbeats),
    WHOLE(proxy_protocol, OPTION_VALUE, true),
    WHOLE(handshakes_per_address_max, OPTION_VALUE, true),
    RUNNING(pressure),
    OPTION(conflate_by, OPTION_TEXT, true),
    WHOLE(address_tracker, OPTION_VALUE, false),
    RUNNING(retry_after_s),
    RUNNING(queue_high_bytes),
    RUNNING(queue_low_bytes),
    RUNNING(drain_timeout_ms),
    WHOLE(memory_bytes_max, OPTION_VALUE, true),
    WHOLE(io_backend, OPTION_VALUE, false),
#undef RESTART
#undef RUNNING
#undef WHOLE
#undef OPTION
#undef ROW
};

const size_t config_table_size = ARRAY_SIZE(config_table);

const char *config_table_text(const struct config_option *option,
                              const struct peal_server_options *options)
{
    const char *text;

    memcpy(&text, (const char *)options + option->offset, sizeof(text));
    return text;
}

const char *const *config_table_list(const struct config_option *option,
                                     const struct peal_server_options *options)
{
    const char *const *list;

    memcpy(&list, (const char *)options + option->offset, sizeof(list));
    return list;
}

/* --- Comparing ----------------------------------------------------------- */

static bool is_same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool is_same_list(const char *const *a, const char *const *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    while (*a != NULL && is_same_text(*a, *b)) {
        a++;
        b++;
    }
    return *a == *b;
}

bool config_table_is_same(const struct config_option *option,
                          const struct peal_server_options *a,
                          const struct peal_server_options *b)
{
    switch (option->kind) {
    case OPTION_VALUE:
        return memcmp((const char *)a + option->offset,
                      (const char *)b + option->offset, option->size) == 0;
    case OPTION_TEXT:
        return is_same_text(config_table_text(option, a),
                            config_table_text(option, b));
    case OPTION_LIST:
        return is_same_list(config_table_list(option, a),
                            config_table_list(option, b));
    }
    UNREACHABLE();
}

const char *config_table_find_fixed(const struct peal_server_options *now,
                                    const struct peal_server_options *wanted)
{
    for (size_t i = 0; i < config_table_size; i++) {
        const struct config_option *option = &config_table[i];

        if (!option->can_change &&
            !config_table_is_same(option, now, wanted)) {
            return option->name;
        }
    }
    return NULL;
}

const char *config_table_find_shared(const struct peal_server_options *given)
{
    static const struct peal_server_options none;

    for (size_t i = 0; i < config_table_size; i++) {
        const struct config_option *option = &config_table[i];

        if (option->is_shared && option->offset < given->size &&
            memcmp((const char *)given + option->offset,
                   (const char *)&none + option->offset, option->size) != 0) {
            return option->name;
        }
    }
    return NULL;
}

void config_table_clear_shared(struct peal_server_options *options)
{
    for (size_t i = 0; i < config_table_size; i++) {
        const struct config_option *option = &config_table[i];

        if (option->is_shared) {
            memset((char *)options + option->offset, 0, option->size);
        }
    }
}

/* --- The public functions ------------------------------------------------ */

bool peal_server_option_is_shared(size_t index)
{
    return index < config_table_size && config_table[index].is_shared;
}

const char *peal_server_option(size_t index, bool *can_change)
{
    if (index >= config_table_size) {
        return NULL;
    }
    if (can_change != NULL) {
        *can_change = config_table[index].can_change;
    }
    return config_table[index].name;
}
