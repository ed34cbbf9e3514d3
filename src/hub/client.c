#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "hub/client_extra.h"
#include "hub/door.h"
#include "hub/room.h"

#define CLIENT_SLOTS_MIN 16

/* --- References ----------------------------------------------------------- */

#define CLIENT_PLACE_SHIFT 50
#define CLIENT_GENERATION_SHIFT 26

static struct peal_client_ref client_ref_make(const struct hub *hub,
                                              uint32_t generation,
                                              uint32_t slot)
{
    return (struct peal_client_ref){
        (uint64_t)hub->place << CLIENT_PLACE_SHIFT |
        (uint64_t)generation << CLIENT_GENERATION_SHIFT | (slot + 1)};
}

struct peal_client_ref client_ref(const struct peal_client *client)
{
    return client_ref_make(client->hub, client->generation, client->slot);
}

uint32_t client_place(int loop, uint8_t cluster)
{
    return (uint32_t)loop << 8 | cluster;
}

int client_ref_loop(const struct hub_cluster *cluster,
                    struct peal_client_ref ref)
{
    uint32_t place = (uint32_t)(ref.value >> CLIENT_PLACE_SHIFT);
    int loop = (int)(place >> 8);

    return (ref.value & CLIENT_SLOTS_MAX) != 0 && loop < cluster->count &&
                   place == client_place(loop, cluster->number)
               ? loop
               : -1;
}

struct peal_client *client_find(const struct hub *hub,
                                struct peal_client_ref ref)
{
    uint32_t generation = (uint32_t)(ref.value >> CLIENT_GENERATION_SHIFT) &
                          CLIENT_GENERATION_MAX;
    uint32_t slot = (uint32_t)(ref.value & CLIENT_SLOTS_MAX) - 1;

    /* The end of no reference is 0: then `slot` wraps to the largest. */
    if (ref.value >> CLIENT_PLACE_SHIFT != hub->place ||
        slot >= hub->slot_count || hub->slots[slot].generation != generation) {
        return NULL;
    }
    return hub->slots[slot].client;
}

/* --- Slots ---------------------------------------------------------------- */

/* The capacity after the present one: twice that, but no more than needed. */
static uint32_t client_slots_more(const struct hub *hub)
{
    uint32_t clients_max = hub->cluster->limits.clients_max;
    uint32_t capacity = CLIENT_SLOTS_MIN;

    if (hub->slot_capacity > CLIENT_SLOTS_MAX / 2) {
        return CLIENT_SLOTS_MAX;
    }
    if (hub->slot_capacity > 0) {
        capacity = hub->slot_capacity * 2;
    }
    /* Only retired slots can make a table larger than clients_max. */
    if (capacity > clients_max && hub->slot_capacity < clients_max) {
        capacity = clients_max;
    }
    return capacity;
}

/* Makes sure that there is a slot for one more. 0 or PEAL_ENOMEM. */
static int client_slot_reserve(struct hub *hub)
{
    uint32_t capacity;
    struct client_slot *slots;

    if (hub->first_free != CLIENT_SLOT_NONE ||
        hub->slot_count < hub->slot_capacity) {
        return 0;
    }
    capacity = client_slots_more(hub);
    if (capacity == hub->slot_capacity) {
        return PEAL_ENOMEM;
    }
    pthread_mutex_lock(&hub->lock);
    slots = mem_realloc(hub->slots, (size_t)capacity * sizeof *slots);
    if (slots != NULL) {
        hub->slots = slots;
        hub->slot_capacity = capacity;
    }
    pthread_mutex_unlock(&hub->lock);
    return slots != NULL ? 0 : PEAL_ENOMEM;
}

/* Names the slot that client_slot_occupy will take. */
static void client_slot_choose(const struct hub *hub,
                               struct peal_client *client)
{
    if (hub->first_free != CLIENT_SLOT_NONE) {
        client->slot = hub->first_free;
        client->generation = hub->slots[client->slot].generation;
    } else {
        client->slot = hub->slot_count;
        client->generation = 0;
    }
}

static void client_slot_occupy(struct hub *hub, struct peal_client *client)
{
    struct client_slot *slot = &hub->slots[client->slot];

    pthread_mutex_lock(&hub->lock);
    if (client->slot == hub->slot_count) {
        hub->slot_count++;
    } else {
        hub->first_free = slot->next_free;
    }
    *slot = (struct client_slot){
        .client = client,
        .generation = client->generation,
        .next_free = CLIENT_SLOT_NONE,
    };
    hub->client_count++;
    pthread_mutex_unlock(&hub->lock);
}

static void client_slot_vacate(struct hub *hub,
                               const struct peal_client *client)
{
    struct client_slot *slot = &hub->slots[client->slot];

    ASSERT(slot->client == client);
    pthread_mutex_lock(&hub->lock);
    slot->client = NULL;
    slot->generation++;
    if (slot->generation != CLIENT_GENERATION_RETIRED) {
        slot->next_free = hub->first_free;
        hub->first_free = client->slot;
    }
    hub->client_count--;
    pthread_mutex_unlock(&hub->lock);
}

/* --- Coming and going ----------------------------------------------------- */

static bool client_id_is_valid(struct peal_slice id)
{
    return id.size == 0 ||
           (id.size <= PEAL_ID_MAX && utf8_is_valid(id.data, id.size) &&
            memchr(id.data, '\0', id.size) == NULL);
}

int client_admit(struct peal_client **out, struct hub *hub, void *conn,
                 struct peal_slice id, struct peal_slice address,
                 struct hub_refused *refused)
{
    struct hub_door *door = &hub->cluster->door;
    struct address_count *counted;
    struct peal_client *client;
    int rc;

    if (!client_id_is_valid(id)) {
        return PEAL_EINVAL;
    }
    rc = door_enter(door, address, &counted, refused);
    if (rc < 0) {
        return rc;
    }
    client = mem_zalloc(sizeof *client);
    if (client == NULL) {
        rc = PEAL_ENOMEM;
        goto give_back;
    }
    rc = client_slot_reserve(hub);
    if (rc < 0) {
        goto free_client;
    }
    client->hub = hub;
    client->conn = conn;
    client->address = counted;
    client_slot_choose(hub, client);
    rc = id.size > 0 ? client_extra_new(client, id) : 0;
    if (rc < 0) {
        goto free_client;
    }
    client_slot_occupy(hub, client);
    *out = client;
    return 0;

free_client:
    mem_free(client);
give_back:
    door_leave(door, counted);
    return rc;
}

void client_remove(struct peal_client *client)
{
    struct hub *hub = client->hub;

    room_leave_all(client);
    client_slot_vacate(hub, client); /* nobody else finds it from now on */
    client_extra_free(client);
    door_leave(&hub->cluster->door, client->address);
    mem_free(client);
}

size_t client_list(struct hub_cluster *cluster, struct peal_client_ref *out,
                   size_t max)
{
    size_t count = 0;
    size_t copied = 0;

    for (int loop = 0; loop < cluster->count; loop++) {
        struct hub *hub = &cluster->hubs[loop];

        pthread_mutex_lock(&hub->lock);
        for (uint32_t i = 0; i < hub->slot_count && copied < max; i++) {
            if (hub->slots[i].client != NULL) {
                out[copied++] =
                    client_ref_make(hub, hub->slots[i].generation, i);
            }
        }
        count += hub->client_count;
        pthread_mutex_unlock(&hub->lock);
    }
    return count;
}
