#include "server/tracker.h"

#include "base/assert.h"
#include "base/ip.h"
#include "base/slice.h"
#include "hub/door.h"
#include "server/gate.h"

#include <string.h>

#define CLEANUP_INTERVAL_MS 60000

int tracker_set(struct engine *engine, const struct peal_address_tracker *given)
{
    struct peal_address_tracker *own = &engine->tracker;

    if (given == NULL) {
        return 0;
    }
    if (given->size < sizeof given->size || given->size > sizeof *own) {
        return PEAL_EINVAL;
    }
    memcpy(own, given, given->size);
    if (own->cleanup_interval_ms == 0) {
        own->cleanup_interval_ms = CLEANUP_INTERVAL_MS;
    }
    return (own->add == NULL) == (own->remove == NULL) ? 0 : PEAL_EINVAL;
}

bool tracker_counts(const struct peal_address_tracker *tracker)
{
    return tracker != NULL && tracker->add != NULL;
}

/* What its answer means. */
static int judge(struct seat *seat, const char *address, int rc)
{
    const struct engine *engine = seat->worker->engine;

    if (rc >= 0 || rc == PEAL_ELIMIT || rc == PEAL_EREFUSED) {
        return rc < 0 ? rc : 0;
    }
    seat_count(seat, COUNT_TRACKER_FAILED);
    log_warn(&engine->log, "server", "address tracker failed",
             "remote=%s error=%s", address, peal_error_name(rc));
    return engine->tracker.refuse_on_error ? PEAL_ESYSTEM : 0;
}

int tracker_check(struct seat *seat, const struct socket_key *key)
{
    const struct peal_address_tracker *tracker = &seat->worker->engine->tracker;
    char address[SOCKET_TEXT_SIZE];

    if (tracker->check == NULL || key->size == 0) {
        return 0;
    }
    gate_key_format(key->bytes, key->size, address);
    return judge(seat, address, tracker->check(address, tracker->user));
}

int tracker_add(struct seat *seat, const struct socket_key *key, bool *is_added)
{
    const struct peal_address_tracker *tracker = &seat->worker->engine->tracker;
    char address[SOCKET_TEXT_SIZE];
    int rc;

    *is_added = false;
    if (tracker->add == NULL || key->size == 0) {
        return 0;
    }
    gate_key_format(key->bytes, key->size, address);
    rc = tracker->add(address, tracker->user);
    *is_added = rc >= 0;
    return judge(seat, address, rc);
}

void tracker_remove(const struct seat *seat, const void *key, size_t size)
{
    const struct peal_address_tracker *tracker = &seat->worker->engine->tracker;
    char address[SOCKET_TEXT_SIZE];

    tracker->remove(gate_key_format(key, size, address), tracker->user);
}

long tracker_count(struct peal_server *server, const struct socket_key *key)
{
    const struct peal_address_tracker *tracker = &server->engine->tracker;
    char address[SOCKET_TEXT_SIZE];

    if (tracker->count != NULL) {
        gate_key_format(key->bytes, key->size, address);
        return tracker->count(address, tracker->user);
    }
    return tracker_counts(tracker)
               ? PEAL_ENOTSUP
               : (long)door_count(
                     &server->cluster.door,
                     slice_make((const char *)key->bytes, key->size));
}

long peal_server_address_clients(struct peal_server *server,
                                 const char *address)
{
    uint8_t ip[IP_V6_SIZE];
    size_t size = ip_parse(ip, peal_slice(address));
    struct socket_address parsed;
    struct socket_key key;
    struct config *config;

    if (size == 0) {
        return PEAL_EADDRESS;
    }
    socket_address_set_ip(&parsed, ip, size, 0);
    config = config_ref(server->engine->spaces[0]);
    key = gate_key(&parsed, config->options.ipv6_prefix_bits);
    config_unref(config);
    return tracker_count(server, &key);
}

/* --- From time to time ---------------------------------------------------- */

static void clean_up(struct timer *timer, uint64_t now_ms)
{
    struct worker *worker = CONTAINER_OF(timer, struct worker, tracker_timer);
    const struct peal_address_tracker *tracker = &worker->engine->tracker;

    timer_start(&worker->loop->timers, timer,
                now_ms + tracker->cleanup_interval_ms);
    tracker->cleanup(tracker->user);
}

void tracker_start(struct worker *worker)
{
    const struct peal_address_tracker *tracker = &worker->engine->tracker;

    timer_init(&worker->tracker_timer, clean_up);
    if (worker->index == 0 && tracker->cleanup != NULL &&
        tracker->cleanup_interval_ms != PEAL_OFF) {
        timer_start(&worker->loop->timers, &worker->tracker_timer,
                    worker->loop->now_ms + tracker->cleanup_interval_ms);
    }
}

void tracker_stop(struct worker *worker)
{
    timer_stop(&worker->loop->timers, &worker->tracker_timer);
}
