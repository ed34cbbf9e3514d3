/* What the application's thread does by itself, by chance. */
#include "house_inside.h"

#include "support/check.h"

#include <stdio.h>
#include <string.h>

static uint64_t ticks[HOUSE_ROOMS];

void house_tick(struct chance *chance)
{
    unsigned r = chance_below(chance, HOUSE_ROOMS);
    unsigned pad = chance_one_in(chance, 20) ? chance_below(chance, 8000) : 10;
    char json[8192];
    char room[16];
    struct peal_event event;
    int rc;

    snprintf(room, sizeof room, "room%u", r);
    snprintf(json, sizeof json, "{\"s\":%u,\"n\":%llu,\"pad\":\"%.*s\"}", r,
             (unsigned long long)ticks[r], (int)pad, inside.flood);
    event = peal_json("tick", json);
    rc = peal_server_room_emit(inside.server, room, &event, NULL, 0);
    CHECK(rc == 0 || rc == PEAL_EFULL || rc == PEAL_EREFUSED);
    ticks[r] += rc == 0;
    inside.deeds.ticks++;
}

static void update_well(struct chance *chance)
{
    static const char *const health_paths[] = {"/health", "/how-are-you"};
    struct peal_server_options options = {.size = sizeof options};
    const char *problem;

    CHECK_EQUAL(peal_server_config(inside.server, &options), 0);
    switch (chance_below(chance, 9)) {
    case 0:
        options.queue_bytes_max = 65536u << chance_below(chance, 3);
        break;
    case 1:
        options.message_bytes_max = 65536u << chance_below(chance, 3);
        options.frame_bytes_max = options.message_bytes_max;
        break;
    case 2:
        options.client_rate.capacity = 5u << chance_below(chance, 7);
        options.client_rate.refill = options.client_rate.capacity;
        break;
    case 3:
        options.rate_refusal =
            chance_one_in(chance, 3) ? PEAL_REFUSE_CLOSE : PEAL_REFUSE_ERROR;
        break;
    case 4:
        options.clients_max = chance_one_in(chance, 3) ? 60 : 100000;
        options.refuse_by = (enum peal_refuse_by)chance_below(
            chance, PEAL_REFUSE_BY_HANGUP + 1);
        break;
    case 5:
        options.clients_per_address_max = chance_one_in(chance, 3) ? 5 : 10000;
        break;
    case 6:
        options.rooms_max = chance_one_in(chance, 3) ? 3 : 1000;
        options.rooms_per_client_max = 1 + chance_below(chance, 4);
        break;
    case 7:
        options.health_path = health_paths[chance_below(chance, 2)];
        options.ping_interval_ms = 200 + chance_below(chance, 2000);
        break;
    default:
        options.requests_per_client_max = 1 + chance_below(chance, 8);
        options.request_timeout_ms = 100 + chance_below(chance, 3000);
        options.decision_timeout_ms = 100 + chance_below(chance, 5000);
    }
    CHECK_EQUAL(peal_server_update(inside.server, &options, &problem), 0);
    inside.deeds.updates++;
}

/* Refused as a whole, and by name. */
static void update_badly(struct chance *chance)
{
    struct peal_server_options before = {.size = sizeof before};
    struct peal_server_options options;
    const char *expected;
    const char *problem = NULL;

    CHECK_EQUAL(peal_server_config(inside.server, &before), 0);
    options = before;
    options.clients_max = 1;
    switch (chance_below(chance, 4)) {
    case 0:
        options.loops = 7;
        expected = "loops";
        break;
    case 1:
        options.message_bytes_max = (size_t)1 << 40;
        expected = "message_bytes_max";
        break;
    case 2:
        options.health_path = "no slash";
        expected = "health_path";
        break;
    default:
        options.tls = inside.tls;
        expected = "tls";
    }
    CHECK(peal_server_update(inside.server, &options, &problem) < 0);
    CHECK(problem != NULL && strcmp(problem, expected) == 0);
    options = (struct peal_server_options){.size = sizeof options};
    CHECK_EQUAL(peal_server_config(inside.server, &options), 0);
    CHECK_EQUAL(options.clients_max, before.clients_max);
    inside.deeds.refused_updates++;
}

static void on_outcome(struct peal_client *client,
                       const struct peal_answer *answer, void *user)
{
    (void)user;
    CHECK(client != NULL || answer->status < 0);
    atomic_fetch_add(&inside.outcomes, 1);
}

static bool see_room(const char *room, size_t members, void *user)
{
    CHECK(strncmp(room, "room", 4) == 0 && members > 0);
    ++*(size_t *)user;
    return true;
}

/* Some client that is in, if there is one. */
static struct peal_client_ref somebody(struct chance *chance)
{
    struct peal_client_ref all[256];
    size_t found = peal_server_clients(inside.server, all, 256);

    if (found == 0) {
        return (struct peal_client_ref){0};
    }
    return all[chance_below(chance, found < 256 ? (unsigned)found : 256)];
}

static void ask_somebody(struct chance *chance)
{
    struct peal_event event = peal_json("question", "1");
    int rc =
        peal_server_request(inside.server, somebody(chance), &event,
                            50 + chance_below(chance, 1000), on_outcome, NULL);

    CHECK(rc == 0 || rc == PEAL_EGONE || rc == PEAL_EFULL);
    atomic_fetch_add(&inside.questions, rc == 0);
}

void house_do_something(struct chance *chance)
{
    struct peal_client_ref somewho = somebody(chance);
    struct peal_event noise = peal_json("noise", "\"all\"");
    struct peal_rate rate = {.capacity = 10u + chance_below(chance, 500)};
    char id[PEAL_ID_MAX + 1];
    size_t rooms = 0;
    int rc = 0;

    switch (chance_below(chance, 12)) {
    case 0:
        rc = peal_server_close(inside.server, somewho, 4000, "kicked");
        inside.deeds.kicks += rc == 0;
        break;
    case 1:
        rc = peal_server_emit(inside.server, somewho, &noise);
        break;
    case 2:
        rc = peal_server_broadcast(inside.server, &noise, &somewho, 1);
        rc = rc == PEAL_EREFUSED ? 0 : rc;
        break;
    case 3:
        if (peal_server_client_id(inside.server, somewho, id) > 0) {
            struct peal_client_ref found = peal_server_find(inside.server, id);

            CHECK(found.value == 0 || found.value == somewho.value);
        }
        break;
    case 4:
        CHECK_EQUAL(peal_server_rooms(inside.server, see_room, &rooms), 0);
        break;
    case 5:
        CHECK_EQUAL(peal_tls_reload(inside.tls, NULL, 0), 0);
        inside.deeds.reloads++;
        break;
    case 6:
        rc = peal_server_set_rate(inside.server, somewho,
                                  chance_one_in(chance, 2) ? &rate : NULL);
        break;
    case 7:
        CHECK_EQUAL(peal_server_set_event_rate(
                        inside.server,
                        chance_one_in(chance, 2) ? "echo" : "noise",
                        chance_one_in(chance, 2) ? &rate : NULL),
                    0);
        break;
    case 8:
        update_badly(chance);
        break;
    case 9:
        update_well(chance);
        break;
    default:
        ask_somebody(chance);
    }
    CHECK(rc == 0 || rc == PEAL_EGONE || rc == PEAL_EFULL);
}
