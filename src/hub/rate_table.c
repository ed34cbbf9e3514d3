#include "hub/rate_table.h"

#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/slice.h"

/* Entries that each new one looks at to see whether they can go. */
#define RATE_TABLE_SWEPT 2

struct rate_entry {
    struct list link;
    struct rate_bucket bucket;
    uint8_t size;
    uint8_t key[16];
};

static struct peal_slice rate_entry_key(const void *value)
{
    const struct rate_entry *entry = value;

    return slice_make((const char *)entry->key, entry->size);
}

void rate_table_init(struct rate_table *table)
{
    for (size_t i = 0; i < RATE_TABLE_SHARDS; i++) {
        struct rate_shard *shard = &table->shards[i];

        pthread_mutex_init(&shard->lock, NULL);
        map_init(&shard->entries, rate_entry_key);
        list_init(&shard->oldest);
    }
}

static void rate_entry_drop(struct rate_shard *shard, struct rate_entry *entry)
{
    map_remove(&shard->entries, rate_entry_key(entry));
    list_remove(&entry->link);
    mem_free(entry);
}

void rate_table_fini(struct rate_table *table)
{
    for (size_t i = 0; i < RATE_TABLE_SHARDS; i++) {
        struct rate_shard *shard = &table->shards[i];

        while (!list_is_empty(&shard->oldest)) {
            rate_entry_drop(shard, CONTAINER_OF(shard->oldest.next,
                                                struct rate_entry, link));
        }
        map_fini(&shard->entries);
        pthread_mutex_destroy(&shard->lock);
    }
}

/* Makes room: forgets what is full again, and the oldest when there are too
 * many. */
static void rate_shard_sweep(struct rate_shard *shard,
                             const struct peal_rate *rate, uint64_t now_ms)
{
    size_t most = RATE_TABLE_MAX / RATE_TABLE_SHARDS;

    for (int i = 0; i < RATE_TABLE_SWEPT && shard->entries.count > 0; i++) {
        struct rate_entry *entry =
            CONTAINER_OF(shard->oldest.next, struct rate_entry, link);

        if (shard->entries.count >= most ||
            rate_is_full(&entry->bucket, rate, now_ms)) {
            rate_entry_drop(shard, entry);
        } else {
            list_remove(&entry->link);
            list_append(&shard->oldest, &entry->link);
        }
    }
}

/* A new entry with a full bucket, or NULL. */
static struct rate_entry *rate_shard_add(struct rate_shard *shard,
                                         struct peal_slice address)
{
    struct rate_entry *entry = mem_zalloc(sizeof *entry);

    if (entry == NULL) {
        return NULL;
    }
    list_init(&entry->link);
    entry->size = (uint8_t)address.size;
    memcpy(entry->key, address.data, address.size);
    if (map_add(&shard->entries, entry) < 0) {
        mem_free(entry);
        return NULL;
    }
    list_append(&shard->oldest, &entry->link);
    return entry;
}

static struct rate_shard *rate_shard_of(struct rate_table *table, uint64_t hash)
{
    /* The map uses the low bits. */
    return &table->shards[hash >> 32 & (RATE_TABLE_SHARDS - 1)];
}

int rate_table_take(struct rate_table *table, const struct peal_rate *rate,
                    struct peal_slice address, uint32_t cost, uint64_t now_ms,
                    uint64_t *wait_ms)
{
    uint64_t hash = hash_bytes(address.data, address.size);
    struct rate_shard *shard = rate_shard_of(table, hash);
    struct rate_entry *entry;
    int rc = 0;

    ASSERT(address.size > 0 && address.size <= sizeof entry->key);
    pthread_mutex_lock(&shard->lock);
    entry = map_get_hashed(&shard->entries, address, hash);
    if (entry == NULL) {
        rate_shard_sweep(shard, rate, now_ms);
        entry = rate_shard_add(shard, address);
    }
    if (entry == NULL) {
        rc = PEAL_ENOMEM;
    } else if (!rate_has(&entry->bucket, rate, cost, now_ms)) {
        *wait_ms = rate_wait_ms(&entry->bucket, rate, cost, now_ms);
        rc = PEAL_ELIMIT;
    } else {
        rate_take(&entry->bucket, rate, cost, now_ms);
    }
    pthread_mutex_unlock(&shard->lock);
    return rc;
}

size_t rate_table_count(struct rate_table *table)
{
    size_t count = 0;

    for (size_t i = 0; i < RATE_TABLE_SHARDS; i++) {
        pthread_mutex_lock(&table->shards[i].lock);
        count += table->shards[i].entries.count;
        pthread_mutex_unlock(&table->shards[i].lock);
    }
    return count;
}
