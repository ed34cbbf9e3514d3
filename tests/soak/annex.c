#include "annex.h"

#include "house.h"
#include "support/check.h"

#include <peal/policy.h>

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define BURST_BYTES 24000
#define BURST_MESSAGES 120

static struct peal_server *annex;
static struct peal_server_options first; /* as it began */
static _Atomic uint64_t connects;
static _Atomic uint64_t disconnects;
static _Atomic uint64_t told; /* as dropped, by the hook */
static uint64_t numbers[ANNEX_ROOMS];

/* --- On the loops --------------------------------------------------------- */

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    char room[16];

    (void)connect;
    (void)user;
    for (int i = 0; i < ANNEX_ROOMS; i++) {
        snprintf(room, sizeof room, "drop%d", i);
        CHECK_EQUAL(peal_client_join(client, room), 0);
    }
    atomic_fetch_add(&connects, 1);
}

static void on_disconnect(struct peal_client *client,
                          const struct peal_disconnect *disconnect, void *user)
{
    (void)client;
    (void)disconnect;
    (void)user;
    atomic_fetch_add(&disconnects, 1);
}

static void on_dropped(struct peal_client *client,
                       const struct peal_dropped *dropped, void *user)
{
    (void)client;
    (void)user;
    CHECK(dropped->count > 0 && dropped->room.size == strlen("drop0"));
    atomic_fetch_add(&told, dropped->count);
}

static void on_level(struct peal_client *client, size_t queued_bytes,
                     void *user)
{
    (void)user;
    CHECK_EQUAL(queued_bytes, peal_client_queued_bytes(client));
}

/* --- Its life ------------------------------------------------------------- */

static void set_policy(const char *pattern, enum peal_pressure pressure)
{
    struct peal_room_policy policy = {
        .size = sizeof policy, .pressure = pressure, .conflate_by = "k"};

    CHECK_EQUAL(peal_server_set_room_policy(annex, pattern, &policy), 0);
}

void annex_make(struct peal_server *server)
{
    static const struct peal_deflate_options deflate = {
        .size = sizeof deflate, .enabled = true, .context_takeover = true};
    static const struct peal_hooks hooks = {
        .size = sizeof hooks,
        .on_dropped = on_dropped,
        .on_high_water = on_level,
        .on_drain = on_level,
    };
    struct peal_route route = {.size = sizeof route, .path = ANNEX_PATH};
    struct peal_listen listen = {
        .size = sizeof listen,
        .address = "127.0.0.1:0",
        .transport = PEAL_TCP,
    };

    first = (struct peal_server_options){
        .size = sizeof first,
        .queue_bytes_max = 32768,
        .pressure = PEAL_PRESSURE_DROP_OLDEST,
        .ping_interval_ms = 1000,
        .ping_timeout_ms = 10000,
        .close_timeout_ms = 1000,
        .clients_may_join = true,
        .clients_may_publish = true,
        .on_connect = on_connect,
        .on_disconnect = on_disconnect,
        .hooks = &hooks,
        .deflate = &deflate,
    };
    CHECK_EQUAL(peal_server_space(server, "annex", &first, &annex), 0);
    CHECK_EQUAL(peal_server_route(annex, &route), 0);
    listen.space = annex;
    CHECK_EQUAL(peal_server_listen(server, &listen), 0);
    set_policy("room*", PEAL_PRESSURE_CLOSE);
}

void annex_reset(void)
{
    char room[16];

    CHECK_EQUAL(peal_server_update(annex, &first, NULL), 0);
    for (int i = 0; i < ANNEX_ROOMS; i++) {
        snprintf(room, sizeof room, "drop%d", i);
        CHECK_EQUAL(peal_server_set_room_policy(annex, room, NULL), 0);
    }
}

static struct peal_server_stats stats_now(void)
{
    struct peal_server_stats stats = {.size = sizeof stats};

    CHECK_EQUAL(peal_server_stats(annex, &stats), 0);
    return stats;
}

uint64_t annex_gauges(void)
{
    struct peal_server_stats stats = stats_now();

    if (stats.clients == 0 && stats.connections == 0) {
        CHECK_EQUAL(atomic_load(&connects), atomic_load(&disconnects));
        CHECK_EQUAL(atomic_load(&told), annex_dropped());
    }
    return stats.clients + stats.connections + stats.rooms +
           stats.requests_pending;
}

uint64_t annex_dropped(void)
{
    struct peal_server_stats stats = stats_now();

    return stats.dropped_oldest + stats.dropped_newest + stats.conflated;
}

/* --- What it does --------------------------------------------------------- */

static void burst(struct chance *chance)
{
    static char pad[BURST_BYTES + 1];
    unsigned r = chance_below(chance, ANNEX_ROOMS);
    char json[BURST_BYTES + 128];
    char room[16];

    memset(pad, 'p', BURST_BYTES);
    snprintf(room, sizeof room, "drop%u", r);
    for (unsigned i = chance_below(chance, BURST_MESSAGES); i > 0; i--) {
        struct peal_event event;
        int rc;

        snprintf(json, sizeof json,
                 "{\"s\":%u,\"n\":%llu,\"k\":%u,\"pad\":\"%.*s\"}",
                 HOUSE_DROPS + r, (unsigned long long)numbers[r],
                 chance_below(chance, 5),
                 (int)chance_below(chance, BURST_BYTES), pad);
        event = peal_json("drop", json);
        rc = peal_server_room_emit(annex, room, &event, NULL, 0);
        CHECK(rc == 0 || rc == PEAL_EFULL);
        numbers[r] += rc == 0;
    }
}

static void change(struct chance *chance)
{
    static const enum peal_pressure pressures[] = {PEAL_PRESSURE_DROP_OLDEST,
                                                   PEAL_PRESSURE_DROP_NEWEST,
                                                   PEAL_PRESSURE_CONFLATE};
    struct peal_server_options options = {.size = sizeof options};
    char room[16];

    if (chance_one_in(chance, 2)) {
        snprintf(room, sizeof room, "drop%u",
                 chance_below(chance, ANNEX_ROOMS));
        set_policy(room, pressures[chance_below(chance, 3)]);
        return;
    }
    CHECK_EQUAL(peal_server_config(annex, &options), 0);
    options.queue_bytes_max = 16384u << chance_below(chance, 4);
    options.pressure = pressures[chance_below(chance, 3)];
    options.clients_max = chance_one_in(chance, 3) ? 10 : 100000;
    CHECK_EQUAL(peal_server_update(annex, &options, NULL), 0);
}

void annex_do(struct chance *chance)
{
    if (chance_one_in(chance, 40)) {
        burst(chance);
    }
    if (chance_one_in(chance, 200)) {
        change(chance);
    }
}
