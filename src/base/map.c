#include "base/map.h"

#include <assert.h>
#include <stdbool.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/slice.h"

#define MAP_CAPACITY_MIN 8
#define MAP_CAPACITY_MAX (SIZE_MAX / 2 / sizeof(struct map_slot))

void map_init(struct map *map, struct peal_slice (*key_of)(const void *value))
{
    *map = (struct map){.key_of = key_of};
}

void map_fini(struct map *map)
{
    mem_free(map->slots);
    map_init(map, map->key_of);
}

/* The slot that a hash would have in an empty table. */
static inline size_t map_home(const struct map *map, uint64_t hash)
{
    return (size_t)hash & (map->capacity - 1);
}

static inline size_t map_after(const struct map *map, size_t index)
{
    return (index + 1) & (map->capacity - 1);
}

/* Finds the slot of `key`. There is always a free slot to end the search. */
static bool map_find(const struct map *map, struct peal_slice key,
                     uint64_t hash, size_t *found)
{
    if (map->count == 0) {
        return false;
    }
    for (size_t i = map_home(map, hash);; i = map_after(map, i)) {
        const struct map_slot *slot = &map->slots[i];

        if (slot->value == NULL) {
            return false;
        }
        if (slot->hash == hash && slice_equal(map->key_of(slot->value), key)) {
            *found = i;
            return true;
        }
    }
}

void *map_get_hashed(const struct map *map, struct peal_slice key,
                     uint64_t hash)
{
    size_t found;

    return map_find(map, key, hash, &found) ? map->slots[found].value : NULL;
}

void *map_get(const struct map *map, struct peal_slice key)
{
    /* Empty maps are common and must not cost a hash. */
    if (map->count == 0) {
        return NULL;
    }
    return map_get_hashed(map, key, hash_bytes(key.data, key.size));
}

static void map_place(struct map *map, void *value, uint64_t hash)
{
    size_t i = map_home(map, hash);

    while (map->slots[i].value != NULL) {
        i = map_after(map, i);
    }
    map->slots[i] = (struct map_slot){value, hash};
}

static int map_resize(struct map *map, size_t capacity)
{
    struct map_slot *slots;
    struct map old = *map;

    if (capacity > MAP_CAPACITY_MAX) {
        return PEAL_ENOMEM;
    }
    slots = mem_zalloc(capacity * sizeof *slots);
    if (slots == NULL) {
        return PEAL_ENOMEM;
    }
    map->slots = slots;
    map->capacity = capacity;
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.slots[i].value != NULL) {
            map_place(map, old.slots[i].value, old.slots[i].hash);
        }
    }
    mem_free(old.slots);
    return 0;
}

int map_add(struct map *map, void *value)
{
    struct peal_slice key = map->key_of(value);

    ASSERT(value != NULL);
    assert(map_get(map, key) == NULL);
    if (map->count + 1 > map->capacity / 4 * 3) {
        size_t capacity =
            map->capacity > 0 ? map->capacity * 2 : MAP_CAPACITY_MIN;
        int rc = map_resize(map, capacity);

        if (rc < 0) {
            return rc;
        }
    }
    map_place(map, value, hash_bytes(key.data, key.size));
    map->count++;
    return 0;
}

/*
 * Frees a slot and moves what follows it back, so that no search that begins
 * at or before it meets a hole. A value may move into the hole unless its home
 * lies after the hole, going around from the hole to where it is.
 */
static void map_close_hole(struct map *map, size_t hole)
{
    size_t mask = map->capacity - 1;

    for (size_t i = map_after(map, hole); map->slots[i].value != NULL;
         i = map_after(map, i)) {
        size_t home = map_home(map, map->slots[i].hash);

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole].value = NULL;
}

void *map_remove(struct map *map, struct peal_slice key)
{
    size_t found;

    if (map->count == 0 ||
        !map_find(map, key, hash_bytes(key.data, key.size), &found)) {
        return NULL;
    }

    void *value = map->slots[found].value;

    map_close_hole(map, found);
    map->count--;
    if (map->capacity > MAP_CAPACITY_MIN && map->count < map->capacity / 8) {
        /* Without memory for a smaller table, the large one still serves. */
        (void)map_resize(map, map->capacity / 2);
    }
    return value;
}

void *map_next(const struct map *map, size_t *cursor)
{
    while (*cursor < map->capacity) {
        void *value = map->slots[(*cursor)++].value;

        if (value != NULL) {
            return value;
        }
    }
    return NULL;
}

void map_check(const struct map *map)
{
    size_t count = 0;

    ASSERT((map->capacity == 0) == (map->slots == NULL));
    ASSERT((map->capacity & (map->capacity - 1)) == 0);
    ASSERT(map->count <= map->capacity / 4 * 3);
    for (size_t i = 0; i < map->capacity; i++) {
        const struct map_slot *slot = &map->slots[i];
        size_t found;

        if (slot->value == NULL) {
            continue;
        }

        struct peal_slice key = map->key_of(slot->value);

        count++;
        ASSERT(slot->hash == hash_bytes(key.data, key.size));
        ASSERT(map_find(map, key, slot->hash, &found) && found == i);
    }
    ASSERT(count == map->count);
}
