#include "hub/hub.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/slice.h"
#include "hub/client_rooms.h"
#include "hub/room_home.h"

static void hub_check_slots(const struct hub *hub)
{
    uint32_t clients = 0;
    uint32_t retired = 0;
    uint32_t unused = 0;

    ASSERT(hub->slot_count <= hub->slot_capacity);
    for (uint32_t i = 0; i < hub->slot_count; i++) {
        const struct client_slot *slot = &hub->slots[i];
        const struct peal_client *client = slot->client;

        ASSERT(slot->generation <= CLIENT_GENERATION_RETIRED);
        retired += slot->generation == CLIENT_GENERATION_RETIRED;
        if (client == NULL) {
            continue;
        }
        clients++;
        ASSERT(client->hub == hub);
        ASSERT(client->slot == i && client->generation == slot->generation);
        ASSERT(client_find(hub, client_ref(client)) == client);
        ASSERT(client_ref_loop(hub->cluster, client_ref(client)) == hub->index);
        client_rooms_check(client);
    }
    for (uint32_t i = hub->first_free; i != CLIENT_SLOT_NONE;
         i = hub->slots[i].next_free) {
        ASSERT(i < hub->slot_count);
        ASSERT(hub->slots[i].client == NULL);
        ASSERT(hub->slots[i].generation <= CLIENT_GENERATION_MAX);
        unused++;
        ASSERT(unused <= hub->slot_count);
    }
    ASSERT(clients == hub->client_count);
    ASSERT(clients + retired + unused == hub->slot_count);
}

static void hub_check_room(struct hub *hub, const struct room *room)
{
    struct hub_cluster *cluster = hub->cluster;
    struct peal_slice name = slice_make(room->name, room->name_size);

    ASSERT(room->count > 0 && room->count <= room->capacity);
    ASSERT(room->home == room_home_index(cluster, room->hash));
    for (uint32_t i = 0; i < room->count; i++) {
        const struct member *member = &room->members[i];

        ASSERT(member->client->hub == hub);
        ASSERT(member->index < member->client->room_count);
        ASSERT(member->client->rooms[member->index].room == room);
        ASSERT(member->client->rooms[member->index].index == i);
    }
    if (cluster->count > 1) {
        uint64_t loops =
            room_home_loops(&cluster->hubs[room->home], name, room->hash);

        ASSERT((loops >> hub->index & 1) == 1);
    }
}

void hub_check(struct hub *hub)
{
    struct room *room;
    size_t cursor = 0;

    hub_check_slots(hub);
    map_check(&hub->rooms);
    while ((room = map_next(&hub->rooms, &cursor)) != NULL) {
        hub_check_room(hub, room);
    }
}

/* The home knows of no loop that has no members. */
static void hub_check_homes(struct hub *home)
{
    struct hub_cluster *cluster = home->cluster;
    const struct room_home *entry;
    size_t cursor = 0;

    map_check(&home->homes);
    while ((entry = map_next(&home->homes, &cursor)) != NULL) {
        struct peal_slice name = slice_make(entry->name, entry->name_size);

        ASSERT(room_home_index(cluster, hash_bytes(name.data, name.size)) ==
               home->index);
        ASSERT(entry->loops != 0);
        for (int i = 0; i < HUB_MAX; i++) {
            if (entry->loops >> i & 1) {
                ASSERT(i < cluster->count);
                ASSERT(map_get(&cluster->hubs[i].rooms, name) != NULL);
            }
        }
    }
}

static void hub_check_ids(struct hub_cluster *cluster)
{
    const struct client_extra *extra;
    size_t cursor = 0;
    size_t clients_with_id = 0;

    map_check(&cluster->ids);
    while ((extra = map_next(&cluster->ids, &cursor)) != NULL) {
        int loop = client_ref_loop(cluster, extra->ref);

        ASSERT(loop >= 0);
        ASSERT(client_find(&cluster->hubs[loop], extra->ref)->extra == extra);
        ASSERT(extra->metadata_bytes <= cluster->limits.metadata_bytes_max);
    }
    for (int loop = 0; loop < cluster->count; loop++) {
        const struct hub *hub = &cluster->hubs[loop];

        for (uint32_t i = 0; i < hub->slot_count; i++) {
            const struct peal_client *client = hub->slots[i].client;

            clients_with_id += client != NULL && client->extra != NULL;
        }
    }
    ASSERT(clients_with_id == cluster->ids.count);
}

/* The clients that are counted by this address, or by any if it is NULL. */
static uint32_t hub_count_address(const struct hub_cluster *cluster,
                                  const struct address_count *address)
{
    uint32_t count = 0;

    for (int loop = 0; loop < cluster->count; loop++) {
        const struct hub *hub = &cluster->hubs[loop];

        for (uint32_t i = 0; i < hub->slot_count; i++) {
            const struct peal_client *client = hub->slots[i].client;

            if (client != NULL && client->address != NULL) {
                count += address == NULL || client->address == address;
            }
        }
    }
    return count;
}

static void hub_check_addresses(struct hub_cluster *cluster)
{
    const struct address_count *address;
    size_t cursor = 0;
    uint32_t counted = 0;

    map_check(&cluster->door.addresses);
    while ((address = map_next(&cluster->door.addresses, &cursor)) != NULL) {
        uint32_t own = hub_count_address(cluster, address);

        ASSERT(address->count > 0);
        ASSERT(address->count <= cluster->limits.clients_per_address_max);
        ASSERT(cluster->has_inner ? address->count >= own
                                  : address->count == own);
        ASSERT((address->outer != NULL) == (cluster->door.outer != NULL));
        counted += own;
    }
    ASSERT(counted == hub_count_address(cluster, NULL));
}

void hub_check_cluster(struct hub_cluster *cluster)
{
    size_t clients = 0;
    size_t rooms = 0;

    for (int loop = 0; loop < cluster->count; loop++) {
        struct hub *hub = &cluster->hubs[loop];

        hub_check(hub);
        hub_check_homes(hub);
        clients += hub->client_count;
        rooms += cluster->count > 1 ? hub->homes.count : hub->rooms.count;
    }
    hub_check_ids(cluster);
    hub_check_addresses(cluster);
    ASSERT(cluster->has_inner
               ? clients <= atomic_load(&cluster->door.clients)
               : clients == atomic_load(&cluster->door.clients));
    ASSERT(cluster->door.clients <= cluster->limits.clients_max);
    ASSERT(rooms == atomic_load(&cluster->rooms));
    ASSERT(rooms <= cluster->limits.rooms_max);
}
