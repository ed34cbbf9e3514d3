#include "hub/room.h"

#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/slice.h"
#include "base/utf8.h"
#include "hub/client_rooms.h"
#include "hub/room_home.h"

struct peal_slice room_key(const void *value)
{
    const struct room *room = value;

    return slice_make(room->name, room->name_size);
}

static bool room_name_is_valid(const struct hub *hub, struct peal_slice name)
{
    return name.size > 0 &&
           name.size <= hub->cluster->limits.room_name_bytes_max &&
           utf8_is_valid(name.data, name.size) &&
           memchr(name.data, '\0', name.size) == NULL;
}

/* --- The room ------------------------------------------------------------- */

/*
 * A room without members that its home knows of, to be put into hub->rooms with
 * its first member. 0, PEAL_ELIMIT or PEAL_ENOMEM.
 */
static int room_new(struct room **out, struct hub *hub, struct peal_slice name,
                    uint64_t hash)
{
    struct room *room = mem_zalloc(sizeof *room + name.size + 1);
    int rc;

    if (room == NULL) {
        return PEAL_ENOMEM;
    }
    room->home = room_home_index(hub->cluster, hash);
    room->name_size = (uint32_t)name.size;
    room->hash = hash;
    memcpy(room->name, name.data, name.size);
    rc = room_home_enter(hub->cluster, room, hub->index);
    if (rc < 0) {
        mem_free(room);
        return rc;
    }
    *out = room;
    return 0;
}

/* The room has no members and is not in hub->rooms (any more). */
static void room_free(struct hub *hub, struct room *room)
{
    ASSERT(room->count == 0);
    room_home_leave(hub->cluster, room, hub->index);
    mem_free(room->members);
    mem_free(room);
}

/* Makes place for one more member. 0 or PEAL_ENOMEM. Under hub->lock. */
static int room_reserve(struct room *room)
{
    uint32_t capacity = room->capacity > 0 ? room->capacity * 2 : 1;
    struct member *members;

    if (room->count < room->capacity) {
        return 0;
    }
    if (room->capacity > UINT32_MAX / 2) {
        return PEAL_ENOMEM;
    }
    members = mem_realloc(room->members, (size_t)capacity * sizeof *members);
    if (members == NULL) {
        return PEAL_ENOMEM;
    }
    room->members = members;
    room->capacity = capacity;
    return 0;
}

/* Gives half of the places back when a quarter is in use. Under hub->lock. */
static void room_trim(struct room *room)
{
    if (room->count > 0 && room->count <= room->capacity / 4) {
        struct member *members =
            mem_realloc(room->members, room->capacity / 2 * sizeof *members);

        /* Without memory for a smaller block, the large one still serves. */
        if (members != NULL) {
            room->members = members;
            room->capacity /= 2;
        }
    }
}

/* --- Membership ----------------------------------------------------------- */

/* There is one writer, so nothing gets lost between the two. */
static void room_count_members(struct hub *hub, int more)
{
    size_t before =
        atomic_load_explicit(&hub->subscriptions, memory_order_relaxed);

    atomic_store_explicit(&hub->subscriptions, before + (size_t)more,
                          memory_order_relaxed);
}

/* Adds the client, which is not a member, and the room if it is new. */
static int room_add(struct room *room, struct peal_client *client)
{
    struct hub *hub = client->hub;
    int rc;

    pthread_mutex_lock(&hub->lock);
    rc = room_reserve(room);
    if (rc == 0) {
        rc = client_rooms_reserve(client);
    }
    if (rc == 0 && room->count == 0) {
        rc = map_add(&hub->rooms, room);
    }
    if (rc == 0) {
        room->members[room->count] =
            (struct member){client, client->room_count};
        client_rooms_add(client, room, room->count);
        room->count++;
        room_count_members(hub, 1);
    } else {
        client_rooms_trim(client);
    }
    pthread_mutex_unlock(&hub->lock);
    return rc;
}

/* Ends the client's membership at `index` of its rooms. */
static void room_drop(struct peal_client *client, uint32_t index)
{
    struct hub *hub = client->hub;
    struct membership leaving = client->rooms[index];
    struct room *room = leaving.room;
    struct member moved;

    pthread_mutex_lock(&hub->lock);
    room_count_members(hub, -1);
    room->count--;
    moved = room->members[room->count];
    room->members[leaving.index] = moved;
    moved.client->rooms[moved.index].index = leaving.index;
    client_rooms_remove(client, index);
    room_trim(room);
    if (room->count == 0) {
        map_remove(&hub->rooms, room_key(room));
    }
    pthread_mutex_unlock(&hub->lock);
    if (room->count == 0) {
        room_free(hub, room);
    }
}

int room_join(struct peal_client *client, struct peal_slice name,
              const char **limit)
{
    struct hub *hub = client->hub;
    struct room *room;
    uint64_t hash;
    int rc;

    if (!room_name_is_valid(hub, name)) {
        return PEAL_EINVAL;
    }
    hash = hash_bytes(name.data, name.size);
    room = map_get_hashed(&hub->rooms, name, hash);
    if (room != NULL && client_rooms_find(client, room) != CLIENT_ROOMS_NONE) {
        return 0;
    }
    if (client->room_count >= hub->cluster->limits.rooms_per_client_max) {
        *limit = "rooms_per_client_max";
        return PEAL_ELIMIT;
    }
    if (room == NULL) {
        rc = room_new(&room, hub, name, hash);
        if (rc < 0) {
            if (rc == PEAL_ELIMIT) {
                *limit = "rooms_max";
            }
            return rc;
        }
    }
    rc = room_add(room, client);
    if (rc < 0) {
        if (room->count == 0) {
            room_free(hub, room);
        }
        return rc;
    }
    return 1;
}

/* The index of the client's membership, or CLIENT_ROOMS_NONE. */
static uint32_t room_find(const struct peal_client *client,
                          struct peal_slice name)
{
    const struct room *room = map_get(&client->hub->rooms, name);

    return room != NULL ? client_rooms_find(client, room) : CLIENT_ROOMS_NONE;
}

int room_leave(struct peal_client *client, struct peal_slice name)
{
    uint32_t index = room_find(client, name);

    if (index == CLIENT_ROOMS_NONE) {
        return 0;
    }
    room_drop(client, index);
    return 1;
}

void room_leave_all(struct peal_client *client)
{
    while (client->room_count > 0) {
        room_drop(client, client->room_count - 1);
    }
}

bool room_has(const struct peal_client *client, struct peal_slice name)
{
    return room_find(client, name) != CLIENT_ROOMS_NONE;
}
