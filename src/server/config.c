/* Options that change while the server runs. */
#include "server/config.h"

#include "base/assert.h"
#include "base/mem.h"
#include "server/conn.h"
#include "server/tracker.h"

#include <string.h>

/* --- All options --------------------------------------------------------- */

enum option_kind {
    OPTION_VALUE, /* compared and copied as it is */
    OPTION_TEXT,  /* a string, or NULL */
    OPTION_LIST   /* of strings, ended by NULL, or NULL */
};

static const struct option {
    const char *name;
    size_t offset;
    size_t size;
    enum option_kind kind;
    bool can_change;
    bool is_shared; /* of the whole server, and 0 in a namespace's */
} all[] = {
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
#undef RESTART
#undef RUNNING
#undef WHOLE
#undef OPTION
#undef ROW
};

static const char *text_at(const struct peal_server_options *options,
                           size_t offset)
{
    const char *text;

    memcpy(&text, (const char *)options + offset, sizeof(text));
    return text;
}

static const char *const *list_at(const struct peal_server_options *options,
                                  size_t offset)
{
    const char *const *list;

    memcpy(&list, (const char *)options + offset, sizeof(list));
    return list;
}

static size_t list_count(const char *const *list)
{
    size_t count = 0;

    while (list[count] != NULL) {
        count++;
    }
    return count;
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

static bool is_same(const struct option *option,
                    const struct peal_server_options *a,
                    const struct peal_server_options *b)
{
    switch (option->kind) {
    case OPTION_VALUE:
        return memcmp((const char *)a + option->offset,
                      (const char *)b + option->offset, option->size) == 0;
    case OPTION_TEXT:
        return is_same_text(text_at(a, option->offset),
                            text_at(b, option->offset));
    case OPTION_LIST:
        return is_same_list(list_at(a, option->offset),
                            list_at(b, option->offset));
    }
    UNREACHABLE();
}

/* The first option that differs and needs a restart, or NULL. */
static const char *find_fixed(const struct peal_server_options *now,
                              const struct peal_server_options *wanted)
{
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        if (!all[i].can_change && !is_same(&all[i], now, wanted)) {
            return all[i].name;
        }
    }
    return NULL;
}

/* The first option of the whole server that is set, or NULL. */
static const char *find_shared(const struct peal_server_options *given)
{
    static const struct peal_server_options none;

    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        if (all[i].is_shared && all[i].offset < given->size &&
            memcmp((const char *)given + all[i].offset,
                   (const char *)&none + all[i].offset, all[i].size) != 0) {
            return all[i].name;
        }
    }
    return NULL;
}

/* As options_resolve; a namespace has 0 where the whole server decides. */
static int resolve(const struct peal_server *server,
                   struct peal_server_options *out,
                   const struct peal_server_options *given,
                   const char **problem)
{
    int rc = options_resolve(out, given, problem);

    for (size_t i = 0; i < ARRAY_SIZE(all) && server->number != 0; i++) {
        if (all[i].is_shared) {
            memset((char *)out + all[i].offset, 0, all[i].size);
        }
    }
    return rc;
}

/* What cannot change is the same, but the texts may be the caller's. */
static void keep_fixed(struct peal_server_options *options,
                       const struct peal_server_options *first)
{
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        if (!all[i].can_change) {
            memcpy((char *)options + all[i].offset,
                   (const char *)first + all[i].offset, all[i].size);
        }
    }
}

/* --- Making -------------------------------------------------------------- */

/* What the strings of an option take. Pointers come first: they are aligned. */
static size_t texts_size(const struct option *option,
                         const struct peal_server_options *options)
{
    size_t size = 0;

    if (option->kind == OPTION_TEXT) {
        const char *text = text_at(options, option->offset);

        return text != NULL ? strlen(text) + 1 : 0;
    }
    if (option->kind == OPTION_LIST) {
        const char *const *list = list_at(options, option->offset);

        for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
            size += strlen(list[i]) + 1;
        }
    }
    return size;
}

static size_t pointers_size(const struct option *option,
                            const struct peal_server_options *options)
{
    const char *const *list;

    if (option->kind != OPTION_LIST) {
        return 0;
    }
    list = list_at(options, option->offset);
    return list != NULL ? (list_count(list) + 1) * sizeof(*list) : 0;
}

static char *copy_text(char **texts, const char *text)
{
    char *copy = *texts;
    size_t size = strlen(text) + 1;

    memcpy(copy, text, size);
    *texts += size;
    return copy;
}

/*
 * Whether a config has its own copy of an option's text. The first one has
 * them all, and lives as long as the server: what cannot change points there.
 */
static bool is_owned(const struct option *option, uint64_t version)
{
    return option->can_change || version == 1;
}

/* Has the options point to copies of what they point to. */
static void own_texts(struct config *config, size_t pointer_bytes)
{
    char *pointers = config->texts;
    char *texts = config->texts + pointer_bytes;

    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        char *field = (char *)&config->options + all[i].offset;

        if (!is_owned(&all[i], config->version)) {
            continue;
        }
        if (all[i].kind == OPTION_TEXT) {
            const char *text = text_at(&config->options, all[i].offset);

            if (text != NULL) {
                text = copy_text(&texts, text);
                memcpy(field, &text, sizeof(text));
            }
        } else if (all[i].kind == OPTION_LIST) {
            const char *const *list = list_at(&config->options, all[i].offset);

            if (list != NULL) {
                memcpy(field, &pointers, sizeof(pointers));
                for (size_t k = 0; list[k] != NULL; k++) {
                    char *copy = copy_text(&texts, list[k]);

                    memcpy(pointers, &copy, sizeof(copy));
                    pointers += sizeof(copy);
                }
                pointers += sizeof(char *); /* its NULL */
            }
        }
    }
}

static struct peal_heartbeat
heartbeat_of(const struct peal_server_options *options,
             enum peal_dialect dialect)
{
    struct peal_heartbeat heartbeat = options->heartbeats[dialect];

    if (heartbeat.ping_interval_ms == 0) {
        heartbeat.ping_interval_ms = options->ping_interval_ms;
    }
    if (heartbeat.ping_timeout_ms == 0) {
        heartbeat.ping_timeout_ms = options->ping_timeout_ms;
    }
    if (heartbeat.alive_by == PEAL_ALIVE_DEFAULT) {
        heartbeat.alive_by = options->alive_by;
    }
    return heartbeat;
}

/* With one reference. `options` are resolved. NULL: no memory. */
static struct config *make(const struct peal_server_options *options,
                           uint64_t version)
{
    size_t pointer_bytes = 0;
    size_t text_bytes = 0;
    struct config *config;

    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        if (is_owned(&all[i], version)) {
            pointer_bytes += pointers_size(&all[i], options);
            text_bytes += texts_size(&all[i], options);
        }
    }
    config = mem_zalloc(sizeof *config + pointer_bytes + text_bytes);
    if (config == NULL) {
        return NULL;
    }
    atomic_init(&config->refs, 1);
    config->version = version;
    config->options = *options;
    config->options.size = sizeof config->options;
    own_texts(config, pointer_bytes);
    config->ws_limits[0] = (struct ws_limits){
        .role = WS_SERVER,
        .frame_bytes_max = options->frame_bytes_max,
        .message_bytes_max = options->message_bytes_max,
    };
    config->ws_limits[1] = config->ws_limits[0];
    config->ws_limits[1].may_be_compressed = true;
    config->tcp_frame_bytes_max = options->message_bytes_max;
    for (int i = 0; i < PEAL_DIALECTS_MAX; i++) {
        config->heartbeats[i] = heartbeat_of(options, (enum peal_dialect)i);
    }
    return config;
}

struct config *config_ref(struct peal_server *server)
{
    struct config *config;

    pthread_mutex_lock(&server->config.lock);
    config = server->config.newest;
    atomic_fetch_add(&config->refs, 1);
    pthread_mutex_unlock(&server->config.lock);
    return config;
}

void config_unref(struct config *config)
{
    if (atomic_fetch_sub(&config->refs, 1) == 1) {
        mem_free(config);
    }
}

struct hub_limits config_hub_limits(const struct peal_server *server,
                                    const struct config *config)
{
    const struct peal_server_options *options = &config->options;

    return (struct hub_limits){
        .clients_max = options->clients_max,
        .clients_per_address_max = tracker_counts(&server->engine->tracker)
                                       ? UINT32_MAX
                                       : options->clients_per_address_max,
        .rooms_max = options->rooms_max,
        .rooms_per_client_max = options->rooms_per_client_max,
        .room_name_bytes_max = options->room_name_bytes_max,
        .metadata_bytes_max = options->metadata_bytes_max,
    };
}

/* --- In force ------------------------------------------------------------ */

/* [m] Replaces the newest; what other threads read of it changes at once. */
static void put_in_force(struct peal_server *server, struct config *config)
{
    struct config_head *head = &server->config;
    struct config *former = head->newest;

    head->newest = config;
    if (server->number == 0) {
        atomic_store(&server->engine->mailbox_bytes_max,
                     config->options.mailbox_bytes_max);
        atomic_store(&server->engine->log.level, config->options.log_level);
        server->engine->arrival_limits.clients_per_address_max =
            config->options.handshakes_per_address_max;
    }
    atomic_store(&head->version, config->version);
    if (former != NULL) {
        struct hub_limits limits = config_hub_limits(server, config);

        hub_cluster_set_limits(&server->cluster, &limits);
        config_unref(former);
    }
}

int config_open(struct peal_server *server,
                const struct peal_server_options *given, const char **problem)
{
    struct peal_server_options options;
    struct config *config;
    int rc;

    if (server->number != 0) {
        *problem = find_shared(given);
        if (*problem != NULL) {
            return PEAL_EINVAL;
        }
    }
    rc = resolve(server, &options, given, problem);
    if (rc < 0) {
        return rc;
    }
    config = make(&options, 1);
    if (config == NULL) {
        return PEAL_ENOMEM;
    }
    pthread_mutex_init(&server->config.lock, NULL);
    atomic_fetch_add(&config->refs, 1);
    server->first_config = config; /* what cannot change points into it */
    server->options = config->options;
    put_in_force(server, config);
    return 0;
}

void config_close(struct peal_server *server)
{
    if (server->first_config == NULL) {
        return;
    }
    config_unref(server->config.newest);
    config_unref(server->first_config);
    pthread_mutex_destroy(&server->config.lock);
}

/* Whether connections have to look at their timers and buffers again. */
static bool is_timed_anew(const struct config *a, const struct config *b)
{
    return memcmp(a->heartbeats, b->heartbeats, sizeof a->heartbeats) != 0 ||
           a->options.header_bytes_max != b->options.header_bytes_max ||
           a->tcp_frame_bytes_max != b->tcp_frame_bytes_max;
}

void config_adopt(struct seat *seat)
{
    struct list *conns = &seat->worker->conns;
    struct config *former = seat->config;

    if (atomic_load_explicit(&seat->server->config.version,
                             memory_order_relaxed) == former->version) {
        return;
    }
    seat->config = config_ref(seat->server);
    guard_start(seat);
    if (is_timed_anew(former, seat->config)) {
        for (struct list *link = conns->next; link != conns;
             link = link->next) {
            struct conn *conn = CONTAINER_OF(link, struct conn, link);

            if (conn_seat(conn) == seat) {
                conn_refit(conn);
            }
        }
    }
    config_unref(former);
}

/* --- The public functions ------------------------------------------------ */

/* What was derived from another option is so from what that will be. */
static void derive_anew(struct peal_server_options *merged,
                        const struct peal_server_options *now)
{
    if (merged->frame_bytes_max == now->frame_bytes_max &&
        now->frame_bytes_max == now->message_bytes_max) {
        merged->frame_bytes_max = 0;
    }
    if (merged->queue_high_bytes == now->queue_high_bytes &&
        now->queue_high_bytes == now->queue_bytes_max / 2) {
        merged->queue_high_bytes = 0;
    }
    if (merged->queue_low_bytes == now->queue_low_bytes &&
        now->queue_low_bytes == now->queue_high_bytes / 4) {
        merged->queue_low_bytes = 0;
    }
}

/* [m] Makes what `given` asks for from what is in force. */
static int remake(struct peal_server *server,
                  const struct peal_server_options *given,
                  struct config **config, const char **problem)
{
    const struct config *newest = server->config.newest;
    struct peal_server_options merged = newest->options;
    struct peal_server_options wanted;
    int rc;

    if (given->size < sizeof given->size || given->size > sizeof merged) {
        *problem = "size";
        return PEAL_EINVAL;
    }
    memcpy(&merged, given, given->size);
    merged.size = sizeof merged;
    derive_anew(&merged, &newest->options);
    if (server->number != 0) {
        *problem = find_shared(&merged);
        if (*problem != NULL) {
            return PEAL_ENOTSUP;
        }
    }
    rc = resolve(server, &wanted, &merged, problem);
    if (rc < 0) {
        return rc;
    }
    *problem = find_fixed(&newest->options, &wanted);
    if (*problem != NULL) {
        return PEAL_ENOTSUP;
    }
    keep_fixed(&wanted, &server->options);
    *config = make(&wanted, newest->version + 1);
    return *config == NULL ? PEAL_ENOMEM : 0;
}

int peal_server_update(struct peal_server *server,
                       const struct peal_server_options *given,
                       const char **problem)
{
    struct engine *engine = server->engine;
    struct config *config = NULL;
    const char *name = NULL;
    char space[SPACE_FIELD_SIZE];
    int rc;

    pthread_mutex_lock(&server->config.lock);
    rc = remake(server, given, &config, &name);
    if (rc == 0) {
        put_in_force(server, config);
    }
    pthread_mutex_unlock(&server->config.lock);
    if (rc < 0) {
        atomic_fetch_add(&server->config.updates_refused, 1);
        log_warn(&engine->log, "server", "update refused",
                 "option=%s error=%s%s", name != NULL ? name : "-",
                 peal_error_name(rc), space_field(server, space));
    } else {
        atomic_fetch_add(&server->config.updates, 1);
        atomic_fetch_add(&engine->updates, 1);
        for (int i = 0; i < engine->worker_count; i++) {
            loop_wake(engine->workers[i].loop);
        }
        log_info(&engine->log, "server", "options updated", "version=%llu%s",
                 (unsigned long long)atomic_load(&server->config.version),
                 space_field(server, space));
    }
    if (problem != NULL) {
        *problem = name;
    }
    return rc;
}

int peal_server_config(struct peal_server *server,
                       struct peal_server_options *options)
{
    size_t size = options->size;

    if (size < sizeof options->size) {
        return PEAL_EINVAL;
    }
    pthread_mutex_lock(&server->config.lock);
    if (size > sizeof *options) {
        size = sizeof *options;
    }
    memcpy(options, &server->config.newest->options, size);
    pthread_mutex_unlock(&server->config.lock);
    options->size = size;
    return 0;
}

bool peal_server_option_is_shared(size_t index)
{
    return index < ARRAY_SIZE(all) && all[index].is_shared;
}

const char *peal_server_option(size_t index, bool *can_change)
{
    if (index >= ARRAY_SIZE(all)) {
        return NULL;
    }
    if (can_change != NULL) {
        *can_change = all[index].can_change;
    }
    return all[index].name;
}
