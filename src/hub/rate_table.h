/*
 * Token buckets by address, which clients on any loop draw from. They outlive
 * the clients: who connects again finds the bucket as it was left. Sharded, so
 * that loops rarely meet at a lock. A bucket that is full again is forgotten
 * when others are added; beyond RATE_TABLE_MAX the oldest goes all the same.
 */
#ifndef HUB_RATE_TABLE_H
#define HUB_RATE_TABLE_H

#include <pthread.h>

#include "base/list.h"
#include "base/map.h"
#include "hub/rate.h"

#define RATE_TABLE_SHARDS 16

/* Addresses that are remembered at most, in all shards. */
#define RATE_TABLE_MAX (1u << 20)

struct rate_shard {
    pthread_mutex_t lock; /* a leaf, for the two below */
    struct map entries;   /* of rate_entry, by address */
    struct list oldest;   /* the next to be looked at first */
    char padding[64];     /* keeps the next shard off our cache lines */
};

struct rate_table {
    struct rate_shard shards[RATE_TABLE_SHARDS];
};

/* Allocates nothing. */
void rate_table_init(struct rate_table *table);

/* Frees all entries. Nobody may use it any more. */
void rate_table_fini(struct rate_table *table);

/*
 * Any thread. Takes `cost` tokens from the bucket of `address` (1 to 16
 * bytes). Returns 0; else nothing was taken: PEAL_ELIMIT, and in `*wait_ms`
 * how long until it would work; PEAL_ENOMEM.
 */
int rate_table_take(struct rate_table *table, const struct peal_rate *rate,
                    struct peal_slice address, uint32_t cost, uint64_t now_ms,
                    uint64_t *wait_ms);

/* Any thread. How many addresses are remembered. */
size_t rate_table_count(struct rate_table *table);

#endif
