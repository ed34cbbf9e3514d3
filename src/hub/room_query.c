#include "hub/hub.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/slice.h"

size_t room_count(struct hub_cluster *cluster)
{
    return atomic_load_explicit(&cluster->rooms, memory_order_relaxed);
}

size_t room_subscriptions(struct hub_cluster *cluster)
{
    size_t sum = 0;

    for (int i = 0; i < cluster->count; i++) {
        sum += atomic_load_explicit(&cluster->hubs[i].subscriptions,
                                    memory_order_relaxed);
    }
    return sum;
}

size_t room_members(struct hub_cluster *cluster, struct peal_slice name,
                    struct peal_client_ref *out, size_t max)
{
    uint64_t hash = hash_bytes(name.data, name.size);
    size_t count = 0;
    size_t copied = 0;

    for (int loop = 0; loop < cluster->count; loop++) {
        struct hub *hub = &cluster->hubs[loop];
        const struct room *room;

        pthread_mutex_lock(&hub->lock);
        room = map_get_hashed(&hub->rooms, name, hash);
        if (room != NULL) {
            for (uint32_t i = 0; i < room->count && copied < max; i++) {
                out[copied++] = client_ref(room->members[i].client);
            }
            count += room->count;
        }
        pthread_mutex_unlock(&hub->lock);
    }
    return count;
}

/* --- All rooms ------------------------------------------------------------ */

struct room_entry {
    size_t members;
    uint32_t name_size;
    char name[]; /* with a zero byte */
};

/* One hub's rooms: entries one after another in one block. */
struct room_list {
    char *data;
    size_t size;
};

static struct peal_slice room_entry_key(const void *value)
{
    const struct room_entry *entry = value;

    return slice_make(entry->name, entry->name_size);
}

/* What an entry takes, so that the next one is aligned as well. */
static size_t room_entry_size(uint32_t name_size)
{
    size_t size = sizeof(struct room_entry) + name_size + 1;
    size_t align = _Alignof(struct room_entry);

    return (size + align - 1) / align * align;
}

/* Copies names and counts of a hub's rooms. 0 or PEAL_ENOMEM. */
static int room_list_copy(struct room_list *list, struct hub *hub)
{
    const struct room *room;
    size_t cursor = 0;
    size_t size = 0;
    char *data = NULL;

    pthread_mutex_lock(&hub->lock);
    while ((room = map_next(&hub->rooms, &cursor)) != NULL) {
        size += room_entry_size(room->name_size);
    }
    if (size > 0) {
        data = mem_alloc(size);
    }
    if (data != NULL) {
        char *at = data;

        cursor = 0;
        while ((room = map_next(&hub->rooms, &cursor)) != NULL) {
            struct room_entry *entry = (struct room_entry *)at;

            entry->members = room->count;
            entry->name_size = room->name_size;
            memcpy(entry->name, room->name, (size_t)room->name_size + 1);
            at += room_entry_size(room->name_size);
        }
    }
    pthread_mutex_unlock(&hub->lock);
    *list = (struct room_list){data, size};
    return size > 0 && data == NULL ? PEAL_ENOMEM : 0;
}

/* Adds a hub's rooms to those of the hubs before it. 0 or PEAL_ENOMEM. */
static int room_list_merge(struct map *merged, const struct room_list *list)
{
    struct room_entry *entry;

    for (size_t at = 0; at < list->size;
         at += room_entry_size(entry->name_size)) {
        struct room_entry *known;
        int rc = 0;

        entry = (struct room_entry *)(list->data + at);
        known = map_get(merged, room_entry_key(entry));
        if (known != NULL) {
            known->members += entry->members;
        } else {
            rc = map_add(merged, entry);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

int room_each(struct hub_cluster *cluster,
              bool (*each)(const char *name, size_t members, void *user),
              void *user)
{
    struct room_list lists[HUB_MAX] = {{NULL, 0}};
    const struct room_entry *entry;
    struct map merged;
    size_t cursor = 0;
    int rc = 0;

    map_init(&merged, room_entry_key);
    for (int loop = 0; loop < cluster->count && rc == 0; loop++) {
        rc = room_list_copy(&lists[loop], &cluster->hubs[loop]);
        if (rc == 0) {
            rc = room_list_merge(&merged, &lists[loop]);
        }
    }
    while (rc == 0 && (entry = map_next(&merged, &cursor)) != NULL) {
        if (!each(entry->name, entry->members, user)) {
            break;
        }
    }
    map_fini(&merged);
    for (int loop = 0; loop < cluster->count; loop++) {
        mem_free(lists[loop].data);
    }
    return rc;
}
