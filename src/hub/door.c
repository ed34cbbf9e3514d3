#include "hub/door.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"
#include "hub/limit.h"

struct peal_slice door_key(const void *value)
{
    const struct address_count *count = value;

    return slice_make((const char *)count->key, count->size);
}

int door_init(struct hub_door *door, const struct hub_limits *limits,
              struct hub_door *outer)
{
    door->limits = limits;
    door->outer = outer;
    map_init(&door->addresses, door_key);
    return pthread_mutex_init(&door->lock, NULL) == 0 ? 0 : PEAL_ENOMEM;
}

void door_fini(struct hub_door *door)
{
    ASSERT(door->clients == 0 && door->addresses.count == 0);
    map_fini(&door->addresses);
    pthread_mutex_destroy(&door->lock);
}

/* --- By address ----------------------------------------------------------- */

/* A new entry with a count of 0, or NULL. Under the lock. */
static struct address_count *add(struct hub_door *door,
                                 struct peal_slice address,
                                 struct address_count *outer)
{
    struct address_count *count = mem_zalloc(sizeof *count);

    if (count == NULL) {
        return NULL;
    }
    count->outer = outer;
    count->size = (uint8_t)address.size;
    memcpy(count->key, address.data, address.size);
    if (map_add(&door->addresses, count) < 0) {
        mem_free(count);
        return NULL;
    }
    return count;
}

static int take_address(struct hub_door *door, struct peal_slice address,
                        struct address_count *outer,
                        struct address_count **counted)
{
    struct address_count *count;
    int rc = 0;

    ASSERT(address.size <= sizeof count->key);
    pthread_mutex_lock(&door->lock);
    count = map_get(&door->addresses, address);
    if (count == NULL) {
        count = add(door, address, outer);
        rc = count == NULL ? PEAL_ENOMEM : 0;
    } else if (count->count >= door->limits->clients_per_address_max) {
        rc = PEAL_ELIMIT;
    }
    if (rc == 0) {
        count->count++;
        *counted = count;
    }
    pthread_mutex_unlock(&door->lock);
    return rc;
}

static void give_address(struct hub_door *door, struct address_count *count)
{
    pthread_mutex_lock(&door->lock);
    ASSERT(count->count > 0);
    count->count--;
    if (count->count == 0) {
        map_remove(&door->addresses, door_key(count));
        mem_free(count);
    }
    pthread_mutex_unlock(&door->lock);
}

uint32_t door_count(struct hub_door *door, struct peal_slice address)
{
    const struct address_count *count;
    uint32_t result;

    pthread_mutex_lock(&door->lock);
    count = map_get(&door->addresses, address);
    result = count != NULL ? count->count : 0;
    pthread_mutex_unlock(&door->lock);
    return result;
}

/* --- One door ------------------------------------------------------------- */

static int refuse(const struct hub_door *door, const char *limit, uint32_t max,
                  struct hub_refused *refused)
{
    *refused = (struct hub_refused){
        .limit = limit,
        .max = max,
        .clients = atomic_load_explicit(&door->clients, memory_order_relaxed),
    };
    return PEAL_ELIMIT;
}

/* `*counted` is the address's entry at the outer door, then that of this. */
static int enter(struct hub_door *door, struct peal_slice address,
                 struct address_count **counted, struct hub_refused *refused)
{
    int rc = 0;

    if (!limit_take(&door->clients, door->limits->clients_max)) {
        return refuse(door, "clients_max", door->limits->clients_max, refused);
    }
    if (address.size > 0) {
        rc = take_address(door, address, *counted, counted);
    }
    if (rc < 0) {
        limit_give(&door->clients);
    }
    return rc != PEAL_ELIMIT
               ? rc
               : refuse(door, "clients_per_address_max",
                        door->limits->clients_per_address_max, refused);
}

/* Returns the address's entry at the outer door. */
static struct address_count *leave(struct hub_door *door,
                                   struct address_count *counted)
{
    struct address_count *outer = NULL;

    if (counted != NULL) {
        outer = counted->outer;
        give_address(door, counted);
    }
    limit_give(&door->clients);
    return outer;
}

/* --- All doors ------------------------------------------------------------ */

int door_enter(struct hub_door *door, struct peal_slice address,
               struct address_count **counted, struct hub_refused *refused)
{
    int rc = 0;

    *counted = NULL;
    if (door->outer != NULL) {
        rc = enter(door->outer, address, counted, refused);
    }
    if (rc == 0) {
        struct address_count *outer = *counted;

        rc = enter(door, address, counted, refused);
        if (rc < 0 && door->outer != NULL) {
            (void)leave(door->outer, outer);
        }
    }
    return rc;
}

void door_leave(struct hub_door *door, struct address_count *counted)
{
    counted = leave(door, counted);
    if (door->outer != NULL) {
        (void)leave(door->outer, counted);
    }
}
