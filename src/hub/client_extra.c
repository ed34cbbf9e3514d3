#include "hub/client_extra.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"
#include "base/uuid.h"

struct peal_slice client_extra_key(const void *value)
{
    const struct client_extra *extra = value;

    return slice_make(extra->id, extra->id_size);
}

/* --- Ids ------------------------------------------------------------------ */

int client_extra_new(struct peal_client *client, struct peal_slice id)
{
    struct hub_cluster *cluster = client->hub->cluster;
    struct client_extra *extra;
    int rc;

    ASSERT(client->extra == NULL && id.size > 0);
    extra = mem_alloc(sizeof *extra + id.size + 1);
    if (extra == NULL) {
        return PEAL_ENOMEM;
    }
    extra->ref = client_ref(client);
    extra->metadata = NULL;
    extra->metadata_bytes = 0;
    extra->id_size = id.size;
    memcpy(extra->id, id.data, id.size);
    extra->id[id.size] = '\0';

    pthread_mutex_lock(&cluster->lock);
    rc = map_get(&cluster->ids, id) != NULL ? PEAL_EEXIST
                                            : map_add(&cluster->ids, extra);
    pthread_mutex_unlock(&cluster->lock);
    if (rc < 0) {
        mem_free(extra);
        return rc;
    }
    pthread_mutex_lock(&client->hub->lock);
    client->extra = extra;
    pthread_mutex_unlock(&client->hub->lock);
    return 0;
}

void client_extra_free(struct peal_client *client)
{
    struct hub_cluster *cluster = client->hub->cluster;
    struct client_extra *extra = client->extra;

    if (extra == NULL) {
        return;
    }
    client->extra = NULL;
    pthread_mutex_lock(&cluster->lock);
    map_remove(&cluster->ids, client_extra_key(extra));
    pthread_mutex_unlock(&cluster->lock);
    while (extra->metadata != NULL) {
        struct metadata *next = extra->metadata->next;

        mem_free(extra->metadata);
        extra->metadata = next;
    }
    mem_free(extra);
}

/* Makes an id for a client that has none. 0 or PEAL_ENOMEM. */
static int client_extra_ensure(struct peal_client *client)
{
    char id[UUID_TEXT_SIZE + 1];
    int rc = 0;

    while (client->extra == NULL && rc != PEAL_ENOMEM) {
        /* An application may have chosen this very id: then again. */
        uuid_format(uuid_make(), id);
        rc = client_extra_new(client, slice_make(id, UUID_TEXT_SIZE));
    }
    return rc;
}

const char *client_id(struct peal_client *client)
{
    return client_extra_ensure(client) < 0 ? NULL : client->extra->id;
}

struct peal_client_ref client_find_id(struct hub_cluster *cluster,
                                      struct peal_slice id)
{
    struct peal_client_ref ref = {0};
    const struct client_extra *extra;

    pthread_mutex_lock(&cluster->lock);
    extra = map_get(&cluster->ids, id);
    if (extra != NULL) {
        ref = extra->ref;
    }
    pthread_mutex_unlock(&cluster->lock);
    return ref;
}

/* --- Metadata ------------------------------------------------------------- */

/* The link that leads to the entry of `key`, or to the end of the list. */
static struct metadata **client_metadata_find(struct client_extra *extra,
                                              const char *key)
{
    struct metadata **link = &extra->metadata;

    while (*link != NULL && strcmp((*link)->key, key) != 0) {
        link = &(*link)->next;
    }
    return link;
}

static struct metadata *client_metadata_new(const char *key, size_t key_size,
                                            const char *value,
                                            size_t value_size)
{
    struct metadata *entry =
        mem_alloc(sizeof *entry + key_size + 1 + value_size + 1);

    if (entry == NULL) {
        return NULL;
    }
    entry->next = NULL;
    entry->size = key_size + value_size;
    entry->value = entry->key + key_size + 1;
    memcpy(entry->key, key, key_size + 1);
    memcpy(entry->key + key_size + 1, value, value_size + 1);
    return entry;
}

/*
 * Takes the entry of `link` out of the list, if there is one, and puts `next`,
 * if there is one, at its front: in one step for those who read it meanwhile.
 */
static void client_metadata_replace(struct peal_client *client,
                                    struct metadata **link,
                                    struct metadata *next)
{
    struct client_extra *extra = client->extra;
    struct metadata *entry = *link;

    pthread_mutex_lock(&client->hub->lock);
    if (entry != NULL) {
        *link = entry->next;
        extra->metadata_bytes -= entry->size;
    }
    if (next != NULL) {
        next->next = extra->metadata;
        extra->metadata = next;
        extra->metadata_bytes += next->size;
    }
    pthread_mutex_unlock(&client->hub->lock);
    mem_free(entry);
}

int client_set(struct peal_client *client, const char *key, const char *value)
{
    size_t bytes_max = client->hub->cluster->limits.metadata_bytes_max;
    struct metadata **link;
    struct metadata *entry;
    size_t kept;
    size_t key_size;
    size_t value_size;
    int rc;

    if (key == NULL || *key == '\0') {
        return PEAL_EINVAL;
    }
    if (value == NULL) {
        if (client->extra != NULL) {
            client_metadata_replace(
                client, client_metadata_find(client->extra, key), NULL);
        }
        return 0;
    }
    rc = client_extra_ensure(client);
    if (rc < 0) {
        return rc;
    }

    link = client_metadata_find(client->extra, key);
    kept = client->extra->metadata_bytes;
    kept -= *link != NULL ? (*link)->size : 0;
    key_size = strlen(key);
    value_size = strlen(value);
    /* kept <= bytes_max, and a difference cannot overflow as a sum could. */
    if (key_size > bytes_max - kept ||
        value_size > bytes_max - kept - key_size) {
        return PEAL_ELIMIT;
    }
    entry = client_metadata_new(key, key_size, value, value_size);
    if (entry == NULL) {
        return PEAL_ENOMEM;
    }
    client_metadata_replace(client, link, entry);
    return 0;
}

const char *client_get(const struct peal_client *client, const char *key)
{
    const struct metadata *entry;

    if (client->extra == NULL || key == NULL) {
        return NULL;
    }
    entry = *client_metadata_find(client->extra, key);
    return entry != NULL ? entry->value : NULL;
}

/* --- For other threads ---------------------------------------------------- */

long client_copy(struct hub_cluster *cluster, struct peal_client_ref ref,
                 const char *key, char *out, size_t size)
{
    int loop = client_ref_loop(cluster, ref);
    const struct peal_client *client;
    const char *value = NULL;
    size_t used;
    long rc;

    if (loop < 0) {
        return PEAL_EGONE;
    }
    pthread_mutex_lock(&cluster->hubs[loop].lock);
    client = client_find(&cluster->hubs[loop], ref);
    if (client != NULL && client->extra != NULL) {
        value = key == NULL ? client->extra->id : client_get(client, key);
    }
    used = value != NULL ? strlen(value) : 0;
    if (value == NULL) {
        rc = client == NULL ? PEAL_EGONE : PEAL_ENOTFOUND;
    } else if (used >= size) {
        rc = PEAL_ETOOBIG;
    } else {
        memcpy(out, value, used + 1);
        rc = (long)used;
    }
    pthread_mutex_unlock(&cluster->hubs[loop].lock);
    return rc;
}
