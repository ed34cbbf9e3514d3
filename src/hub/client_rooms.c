#include "hub/client_rooms.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

/* --- The hash table ------------------------------------------------------- */

static bool client_rooms_has_table(uint32_t capacity)
{
    return capacity > CLIENT_ROOMS_SCANNED;
}

static size_t client_rooms_block_size(uint32_t capacity)
{
    size_t size = capacity * sizeof(struct membership);

    if (client_rooms_has_table(capacity)) {
        size += 2 * (size_t)capacity * sizeof(uint32_t);
    }
    return size;
}

/* A table of the block that holds `capacity` memberships and then the table. */
struct client_rooms_table {
    const struct membership *rooms;
    uint32_t *places;
    size_t mask;
};

static struct client_rooms_table
client_rooms_table(const struct peal_client *client)
{
    return (struct client_rooms_table){
        .rooms = client->rooms,
        .places = (uint32_t *)&client->rooms[client->room_capacity],
        .mask = 2 * (size_t)client->room_capacity - 1,
    };
}

/* Where the membership at `index` would be if it were alone in the table. */
static size_t client_rooms_first(const struct client_rooms_table *table,
                                 uint32_t index)
{
    return (size_t)table->rooms[index].room->hash & table->mask;
}

/* The place of the membership at `index`, which is in the table. */
static size_t client_rooms_place(const struct client_rooms_table *table,
                                 uint32_t index)
{
    size_t i = client_rooms_first(table, index);

    while (table->places[i] != index + 1) {
        ASSERT(table->places[i] != 0);
        i = (i + 1) & table->mask;
    }
    return i;
}

static void client_rooms_enter(const struct client_rooms_table *table,
                               uint32_t index)
{
    size_t i = client_rooms_first(table, index);

    /* At most half of the places are taken, so there is a free one. */
    while (table->places[i] != 0) {
        i = (i + 1) & table->mask;
    }
    table->places[i] = index + 1;
}

/*
 * Takes the membership at `index` out and moves what follows it back, so that
 * no search meets a hole before what it looks for.
 */
static void client_rooms_exit(const struct client_rooms_table *table,
                              uint32_t index)
{
    size_t mask = table->mask;
    size_t hole = client_rooms_place(table, index);

    for (size_t i = (hole + 1) & mask; table->places[i] != 0;
         i = (i + 1) & mask) {
        size_t first = client_rooms_first(table, table->places[i] - 1);

        if (((i - first) & mask) >= ((i - hole) & mask)) {
            table->places[hole] = table->places[i];
            hole = i;
        }
    }
    table->places[hole] = 0;
}

/* --- The array ------------------------------------------------------------ */

/* 0 or PEAL_ENOMEM, then nothing has changed. `capacity` is a power of two. */
static int client_rooms_resize(struct peal_client *client, uint32_t capacity)
{
    struct membership *rooms = mem_alloc(client_rooms_block_size(capacity));

    if (rooms == NULL) {
        return PEAL_ENOMEM;
    }
    if (client->room_count > 0) {
        memcpy(rooms, client->rooms, client->room_count * sizeof *rooms);
    }
    mem_free(client->rooms);
    client->rooms = rooms;
    client->room_capacity = capacity;
    if (client_rooms_has_table(capacity)) {
        struct client_rooms_table table = client_rooms_table(client);

        memset(table.places, 0, (table.mask + 1) * sizeof *table.places);
        for (uint32_t i = 0; i < client->room_count; i++) {
            client_rooms_enter(&table, i);
        }
    }
    return 0;
}

uint32_t client_rooms_find(const struct peal_client *client,
                           const struct room *room)
{
    if (!client_rooms_has_table(client->room_capacity)) {
        for (uint32_t i = 0; i < client->room_count; i++) {
            if (client->rooms[i].room == room) {
                return i;
            }
        }
        return CLIENT_ROOMS_NONE;
    }

    struct client_rooms_table table = client_rooms_table(client);
    size_t i = (size_t)room->hash & table.mask;

    while (table.places[i] != 0) {
        if (table.rooms[table.places[i] - 1].room == room) {
            return table.places[i] - 1;
        }
        i = (i + 1) & table.mask;
    }
    return CLIENT_ROOMS_NONE;
}

int client_rooms_reserve(struct peal_client *client)
{
    if (client->room_count < client->room_capacity) {
        return 0;
    }
    if (client->room_capacity > UINT32_MAX / 4) {
        return PEAL_ENOMEM;
    }
    /* Most clients are in one room, so that is what the first block holds. */
    return client_rooms_resize(
        client, client->room_capacity > 0 ? client->room_capacity * 2 : 1);
}

void client_rooms_add(struct peal_client *client, struct room *room,
                      uint32_t index)
{
    uint32_t at = client->room_count;

    ASSERT(at < client->room_capacity);
    client->rooms[at] = (struct membership){room, index};
    client->room_count++;
    if (client_rooms_has_table(client->room_capacity)) {
        struct client_rooms_table table = client_rooms_table(client);

        client_rooms_enter(&table, at);
    }
}

void client_rooms_remove(struct peal_client *client, uint32_t index)
{
    uint32_t last = client->room_count - 1;
    bool has_table = client_rooms_has_table(client->room_capacity);
    struct client_rooms_table table = {0};

    ASSERT(index <= last);
    if (has_table) {
        table = client_rooms_table(client);
        client_rooms_exit(&table, index);
    }
    if (index != last) {
        struct membership moved = client->rooms[last];

        if (has_table) {
            table.places[client_rooms_place(&table, last)] = index + 1;
        }
        client->rooms[index] = moved;
        moved.room->members[moved.index].index = index;
    }
    client->room_count = last;
    client_rooms_trim(client);
}

void client_rooms_trim(struct peal_client *client)
{
    if (client->room_count == 0) {
        mem_free(client->rooms);
        client->rooms = NULL;
        client->room_capacity = 0;
    } else if (client->room_count <= client->room_capacity / 4) {
        /* Without memory for a smaller block, the large one still serves. */
        (void)client_rooms_resize(client, client->room_capacity / 2);
    }
}

void client_rooms_check(const struct peal_client *client)
{
    uint32_t capacity = client->room_capacity;
    size_t taken = 0;

    ASSERT((capacity == 0) == (client->rooms == NULL));
    ASSERT((capacity & (capacity - 1)) == 0);
    ASSERT(client->room_count <= capacity);
    ASSERT((client->room_count == 0) == (capacity == 0));
    for (uint32_t i = 0; i < client->room_count; i++) {
        const struct membership *in = &client->rooms[i];

        ASSERT(in->index < in->room->count);
        ASSERT(in->room->members[in->index].client == client);
        ASSERT(in->room->members[in->index].index == i);
        ASSERT(client_rooms_find(client, in->room) == i);
    }
    if (client_rooms_has_table(capacity)) {
        struct client_rooms_table table = client_rooms_table(client);

        for (size_t i = 0; i <= table.mask; i++) {
            taken += table.places[i] != 0;
        }
        ASSERT(taken == client->room_count);
    }
}
