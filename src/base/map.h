/*
 * A hash map from byte strings to pointers, open addressing with linear probing
 * and backward-shift deletion (no tombstones). The map does not own keys or
 * values: the key's bytes usually lie in the value, and must stay put and
 * unchanged while it is in the map. 16 bytes per slot, at most 3/4 full, and
 * it shrinks when it is less than 1/8 full.
 *
 * The key of a value is read through `key_of`, so that a slot holds only the
 * value and its hash.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "peal/peal.h"

struct map_slot {
    void *value; /* NULL: free */
    uint64_t hash;
};

struct map {
    struct map_slot *slots;
    size_t capacity; /* 0 or a power of two */
    size_t count;
    struct peal_slice (*key_of)(const void *value);
};

/* Allocates nothing. */
void map_init(struct map *map, struct peal_slice (*key_of)(const void *value));

/* Frees the table, not the values. */
void map_fini(struct map *map);

/* The value of `key`, or NULL. */
void *map_get(const struct map *map, struct peal_slice key);

/* The same with hash_bytes(key) at hand. */
void *map_get_hashed(const struct map *map, struct peal_slice key,
                     uint64_t hash);

/*
 * Adds a value whose key is not in the map (asserted in debug builds).
 * Returns 0 or PEAL_ENOMEM, then nothing has changed.
 */
int map_add(struct map *map, void *value);

/* Removes and returns the value of `key`, or NULL. Never fails. */
void *map_remove(struct map *map, struct peal_slice key);

/*
 * Steps through the values in no particular order. Start with *cursor = 0;
 * NULL at the end. The map must not change meanwhile.
 */
void *map_next(const struct map *map, size_t *cursor);

/* For the tests: aborts when an invariant does not hold. */
void map_check(const struct map *map);

#endif
