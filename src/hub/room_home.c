#include "hub/room_home.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"
#include "hub/limit.h"

struct peal_slice room_home_key(const void *value)
{
    const struct room_home *entry = value;

    return slice_make(entry->name, entry->name_size);
}

static struct peal_slice room_home_name(const struct room *room)
{
    return slice_make(room->name, room->name_size);
}

/* Adds an entry without loops to the home's map. 0 or PEAL_ENOMEM. */
static int room_home_add(struct room_home **out, struct hub *home,
                         const struct room *room)
{
    struct room_home *entry =
        mem_alloc(sizeof *entry + (size_t)room->name_size + 1);
    int rc;

    if (entry == NULL) {
        return PEAL_ENOMEM;
    }
    entry->loops = 0;
    entry->name_size = room->name_size;
    memcpy(entry->name, room->name, (size_t)room->name_size + 1);
    rc = map_add(&home->homes, entry);
    if (rc < 0) {
        mem_free(entry);
        return rc;
    }
    *out = entry;
    return 0;
}

int room_home_enter(struct hub_cluster *cluster, struct room *room, int index)
{
    struct hub *home = &cluster->hubs[room->home];
    uint32_t rooms_max = cluster->limits.rooms_max;
    struct room_home *entry;
    int rc = 0;

    if (cluster->count == 1) {
        return limit_take(&cluster->rooms, rooms_max) ? 0 : PEAL_ELIMIT;
    }
    pthread_mutex_lock(&home->registry_lock);
    entry = map_get_hashed(&home->homes, room_home_name(room), room->hash);
    if (entry == NULL) {
        if (!limit_take(&cluster->rooms, rooms_max)) {
            rc = PEAL_ELIMIT;
        } else {
            rc = room_home_add(&entry, home, room);
            if (rc < 0) {
                limit_give(&cluster->rooms);
            }
        }
    }
    if (rc == 0) {
        entry->loops |= UINT64_C(1) << index;
        room->since = home->taken;
    }
    pthread_mutex_unlock(&home->registry_lock);
    return rc;
}

void room_home_leave(struct hub_cluster *cluster, const struct room *room,
                     int index)
{
    struct hub *home = &cluster->hubs[room->home];
    uint64_t bit = UINT64_C(1) << index;
    struct room_home *entry;

    if (cluster->count == 1) {
        limit_give(&cluster->rooms);
        return;
    }
    pthread_mutex_lock(&home->registry_lock);
    entry = map_get_hashed(&home->homes, room_home_name(room), room->hash);
    ASSERT(entry != NULL && (entry->loops & bit) != 0);
    entry->loops &= ~bit;
    if (entry->loops == 0) {
        map_remove(&home->homes, room_home_name(room));
        mem_free(entry);
        limit_give(&cluster->rooms);
    }
    pthread_mutex_unlock(&home->registry_lock);
}

/* Under the home's registry lock. */
static uint64_t room_home_find(const struct hub *home, struct peal_slice name,
                               uint64_t hash)
{
    const struct room_home *entry = map_get_hashed(&home->homes, name, hash);

    return entry != NULL ? entry->loops : 0;
}

uint64_t room_home_loops(struct hub *home, struct peal_slice name,
                         uint64_t hash)
{
    uint64_t loops;

    pthread_mutex_lock(&home->registry_lock);
    loops = room_home_find(home, name, hash);
    pthread_mutex_unlock(&home->registry_lock);
    return loops;
}

uint64_t room_home_take(struct hub *home, struct peal_slice name, uint64_t hash,
                        uint64_t *serial)
{
    uint64_t loops;

    pthread_mutex_lock(&home->registry_lock);
    *serial = ++home->taken;
    loops = room_home_find(home, name, hash);
    pthread_mutex_unlock(&home->registry_lock);
    return loops;
}
