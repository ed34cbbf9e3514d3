/* Options that change while the server runs. */
#include "server/config.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "server/config_table.h"
#include "server/config_texts.h"
#include "server/conn.h"
#include "server/tracker.h"

#include <string.h>

/* --- Making -------------------------------------------------------------- */

/* As options_resolve; a namespace has 0 where the whole server decides. */
static int resolve(const struct peal_server *server,
                   struct peal_server_options *out,
                   const struct peal_server_options *given,
                   const char **problem)
{
    int rc = options_resolve(out, given, problem);

    if (server->number != 0) {
        config_table_clear_shared(out);
    }
    return rc;
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

/* With one reference, and what `former` (or NULL) has of its texts. `options`
 * are resolved. NULL: no memory. */
static struct config *make(const struct peal_server_options *options,
                           const struct config *former)
{
    struct config *config = mem_zalloc(
        sizeof *config + config_table_size * sizeof(struct config_text *));

    if (config == NULL) {
        return NULL;
    }
    atomic_init(&config->refs, 1);
    config->version = former != NULL ? former->version + 1 : 1;
    config->options = *options;
    config->options.size = sizeof config->options;
    if (!config_texts_take(config->texts, &config->options,
                           former != NULL ? former->texts : NULL,
                           former != NULL ? &former->options : NULL)) {
        mem_free(config);
        return NULL;
    }
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
        config_texts_drop(config->texts);
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
    atomic_store(&head->updated_s, clock_wall_ms() / 1000);
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
        *problem = config_table_find_shared(given);
        if (*problem != NULL) {
            return PEAL_EINVAL;
        }
    }
    rc = resolve(server, &options, given, problem);
    if (rc < 0) {
        return rc;
    }
    config = make(&options, NULL);
    if (config == NULL) {
        return PEAL_ENOMEM;
    }
    pthread_mutex_init(&server->config.lock, NULL);
    atomic_fetch_add(&config->refs, 1);
    server->first_config = config; /* server->options point to its texts */
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
            } else if (seat->server->number == 0) {
                conn_input_refit(conn); /* heads are of the whole server */
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
        *problem = config_table_find_shared(&merged);
        if (*problem != NULL) {
            return PEAL_ENOTSUP;
        }
    }
    rc = resolve(server, &wanted, &merged, problem);
    if (rc < 0) {
        return rc;
    }
    *problem = config_table_find_fixed(&newest->options, &wanted);
    if (*problem != NULL) {
        return PEAL_ENOTSUP;
    }
    *config = make(&wanted, newest);
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
