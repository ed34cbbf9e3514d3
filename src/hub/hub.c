#include "hub/hub.h"

#include "base/assert.h"
#include "base/mem.h"
#include "hub/client_extra.h"
#include "hub/door.h"
#include "hub/room.h"
#include "hub/room_home.h"

/* 0 or PEAL_ENOMEM. */
static int hub_lock_init(pthread_mutex_t *lock)
{
    return pthread_mutex_init(lock, NULL) == 0 ? 0 : PEAL_ENOMEM;
}

static int hub_init(struct hub *hub, struct hub_cluster *cluster, int index)
{
    hub->cluster = cluster;
    hub->index = index;
    hub->place = client_place(index, cluster->number);
    hub->first_free = CLIENT_SLOT_NONE;
    map_init(&hub->rooms, room_key);
    map_init(&hub->homes, room_home_key);
    if (hub_lock_init(&hub->lock) < 0) {
        return PEAL_ENOMEM;
    }
    if (hub_lock_init(&hub->registry_lock) < 0) {
        pthread_mutex_destroy(&hub->lock);
        return PEAL_ENOMEM;
    }
    return 0;
}

static void hub_fini(struct hub *hub)
{
    ASSERT(hub->client_count == 0);
    ASSERT(hub->rooms.count == 0 && hub->homes.count == 0);
    map_fini(&hub->homes);
    map_fini(&hub->rooms);
    mem_free(hub->slots);
    pthread_mutex_destroy(&hub->registry_lock);
    pthread_mutex_destroy(&hub->lock);
}

void hub_cluster_set_limits(struct hub_cluster *cluster,
                            const struct hub_limits *limits)
{
    struct hub_limits *own = &cluster->limits;

    own->clients_max = limits->clients_max;
    own->clients_per_address_max = limits->clients_per_address_max;
    own->rooms_max = limits->rooms_max;
    own->rooms_per_client_max = limits->rooms_per_client_max;
    own->room_name_bytes_max = limits->room_name_bytes_max;
    own->metadata_bytes_max = limits->metadata_bytes_max;
}

int hub_cluster_init(struct hub_cluster *cluster,
                     const struct hub_setup *setup)
{
    struct hub_door *outer = setup->outer != NULL ? &setup->outer->door : NULL;
    int made = 0;

    ASSERT(setup->count >= 1 && setup->count <= HUB_MAX);
    *cluster = (struct hub_cluster){
        .limits = *setup->limits,
        .count = setup->count,
        .number = setup->number,
    };
    map_init(&cluster->ids, client_extra_key);
    cluster->hubs = mem_zalloc((size_t)setup->count * sizeof *cluster->hubs);
    if (cluster->hubs == NULL) {
        return PEAL_ENOMEM;
    }
    if (hub_lock_init(&cluster->lock) < 0) {
        goto free_hubs;
    }
    if (door_init(&cluster->door, &cluster->limits, outer) < 0) {
        goto fini_lock;
    }
    for (; made < setup->count; made++) {
        if (hub_init(&cluster->hubs[made], cluster, made) < 0) {
            goto fini_made;
        }
        cluster->hubs[made].ops = setup->ops;
        cluster->hubs[made].user = setup->users[made];
    }
    if (setup->outer != NULL) {
        setup->outer->has_inner = true;
    }
    return 0;

fini_made:
    while (made > 0) {
        hub_fini(&cluster->hubs[--made]);
    }
    door_fini(&cluster->door);
fini_lock:
    pthread_mutex_destroy(&cluster->lock);
free_hubs:
    mem_free(cluster->hubs);
    return PEAL_ENOMEM;
}

void hub_cluster_fini(struct hub_cluster *cluster)
{
    for (int i = 0; i < cluster->count; i++) {
        hub_fini(&cluster->hubs[i]);
    }
    door_fini(&cluster->door);
    ASSERT(cluster->ids.count == 0);
    map_fini(&cluster->ids);
    pthread_mutex_destroy(&cluster->lock);
    mem_free(cluster->hubs);
}
