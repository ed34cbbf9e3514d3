#include "hub/client_address.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"

struct peal_slice client_address_key(const void *value)
{
    const struct address_count *count = value;

    return slice_make((const char *)count->key, count->size);
}

/* A new entry with a count of 0, or NULL. */
static struct address_count *client_address_add(struct hub_cluster *cluster,
                                                struct peal_slice address)
{
    struct address_count *count = mem_zalloc(sizeof *count);

    if (count == NULL) {
        return NULL;
    }
    count->size = (uint8_t)address.size;
    memcpy(count->key, address.data, address.size);
    if (map_add(&cluster->addresses, count) < 0) {
        mem_free(count);
        return NULL;
    }
    return count;
}

int client_address_take(struct peal_client *client, struct peal_slice address)
{
    struct hub_cluster *cluster = client->hub->cluster;
    struct address_count *count;
    int rc = 0;

    if (address.size == 0) {
        return 0;
    }
    ASSERT(address.size <= sizeof count->key);
    pthread_mutex_lock(&cluster->lock);
    count = map_get(&cluster->addresses, address);
    if (count == NULL) {
        count = client_address_add(cluster, address);
        rc = count == NULL ? PEAL_ENOMEM : 0;
    } else if (count->count >= cluster->limits.clients_per_address_max) {
        rc = PEAL_ELIMIT;
    }
    if (rc == 0) {
        count->count++;
        client->address = count;
    }
    pthread_mutex_unlock(&cluster->lock);
    return rc;
}

void client_address_give(struct peal_client *client)
{
    struct hub_cluster *cluster = client->hub->cluster;
    struct address_count *count = client->address;

    if (count == NULL) {
        return;
    }
    client->address = NULL;
    pthread_mutex_lock(&cluster->lock);
    ASSERT(count->count > 0);
    count->count--;
    if (count->count == 0) {
        map_remove(&cluster->addresses, client_address_key(count));
        mem_free(count);
    }
    pthread_mutex_unlock(&cluster->lock);
}
