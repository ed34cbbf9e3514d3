#include "server/room_policy.h"

#include "base/assert.h"
#include "base/glob.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/slice.h"
#include "server/server.h"

#include <string.h>

#define ROOM_POLICY_NONE UINT32_MAX

struct room_policies {
    _Atomic uint32_t references;
    uint32_t count;
    struct {
        struct peal_slice pattern; /* lies in `texts`, as conflate_by does */
        struct peal_room_policy policy;
    } of[PEAL_ROOM_POLICIES_MAX];
    char texts[];
};

void room_policy_open(struct room_policy_head *head)
{
    pthread_mutex_init(&head->lock, NULL);
}

static void unref(struct room_policies *policies)
{
    if (policies != NULL && atomic_fetch_sub(&policies->references, 1) == 1) {
        mem_free(policies);
    }
}

void room_policy_close(struct room_policy_head *head)
{
    unref(head->newest);
    pthread_mutex_destroy(&head->lock);
}

void room_policy_forget(struct seat *seat)
{
    if (seat->policies != NULL) {
        unref(seat->policies->policies);
        mem_free(seat->policies);
        seat->policies = NULL;
    }
}

/* --- Looking up ---------------------------------------------------------- */

static void refresh(const struct seat *seat)
{
    struct room_policy_head *head = &seat->server->room_policies;
    struct room_policy_cache *cache = seat->policies;

    unref(cache->policies);
    memset(cache, 0, sizeof *cache);
    pthread_mutex_lock(&head->lock);
    cache->policies = head->newest;
    if (cache->policies != NULL) {
        atomic_fetch_add(&cache->policies->references, 1);
    }
    cache->version = atomic_load(&head->version);
    pthread_mutex_unlock(&head->lock);
}

/* The newest; NULL: there are none, or no memory to look them up. */
static struct room_policy_cache *cache_of(struct seat *seat)
{
    uint64_t version = atomic_load_explicit(
        &seat->server->room_policies.version, memory_order_relaxed);

    if (version == 0) {
        return NULL; /* none was ever set */
    }
    if (seat->policies == NULL) {
        seat->policies = mem_zalloc(sizeof *seat->policies);
        if (seat->policies == NULL) {
            return NULL;
        }
    }
    if (seat->policies->version != version) {
        refresh(seat);
    }
    return seat->policies->policies != NULL ? seat->policies : NULL;
}

/* The first pattern that matches. */
static uint32_t find(const struct room_policies *policies,
                     struct peal_slice room)
{
    for (uint32_t i = 0; i < policies->count; i++) {
        if (glob_matches(policies->of[i].pattern, room)) {
            return i;
        }
    }
    return ROOM_POLICY_NONE;
}

static uint32_t find_cached(struct room_policy_cache *cache,
                            struct peal_slice room)
{
    uint64_t hash = hash_bytes(room.data, room.size);
    size_t at = hash % ROOM_POLICY_CACHE;

    if (hash == 0 || cache->found[at].hash != hash) {
        cache->found[at].hash = hash;
        cache->found[at].index = find(cache->policies, room);
    }
    return cache->found[at].index;
}

struct peal_room_policy room_policy_of(struct seat *seat,
                                       struct peal_slice room)
{
    const struct peal_server_options *options = &seat->config->options;
    struct room_policy_cache *cache = room.size > 0 ? cache_of(seat) : NULL;

    if (cache != NULL) {
        uint32_t index = find_cached(cache, room);

        if (index != ROOM_POLICY_NONE) {
            return cache->policies->of[index].policy;
        }
    }
    return (struct peal_room_policy){
        .size = sizeof(struct peal_room_policy),
        .pressure = options->pressure,
        .conflate_by = options->conflate_by,
    };
}

/* --- Setting ------------------------------------------------------------- */

static void add(struct room_policies *to, char **at, struct peal_slice pattern,
                const struct peal_room_policy *policy)
{
    uint32_t i = to->count++;

    memcpy(*at, pattern.data, pattern.size);
    to->of[i].pattern = slice_make(*at, pattern.size);
    *at += pattern.size;
    to->of[i].policy = *policy;
    if (policy->conflate_by != NULL) {
        size_t size = strlen(policy->conflate_by) + 1;

        memcpy(*at, policy->conflate_by, size);
        to->of[i].policy.conflate_by = *at;
        *at += size;
    }
}

static size_t text_size(struct peal_slice pattern,
                        const struct peal_room_policy *policy)
{
    return pattern.size +
           (policy->conflate_by != NULL ? strlen(policy->conflate_by) + 1 : 0);
}

/* A pattern keeps its place; a new one comes last; NULL takes it away. */
static int next_of(const struct room_policies *from, struct peal_slice pattern,
                   const struct peal_room_policy *policy,
                   struct room_policies **out)
{
    size_t size = policy != NULL ? text_size(pattern, policy) : 0;
    uint32_t count = from != NULL ? from->count : 0;
    struct room_policies *next;
    bool is_new = policy != NULL;
    char *at;

    for (uint32_t i = 0; i < count; i++) {
        size += text_size(from->of[i].pattern, &from->of[i].policy);
        is_new = is_new && !slice_equal(from->of[i].pattern, pattern);
    }
    if (is_new && count == PEAL_ROOM_POLICIES_MAX) {
        return PEAL_ELIMIT;
    }
    next = mem_zalloc(sizeof *next + size);
    if (next == NULL) {
        return PEAL_ENOMEM;
    }
    atomic_init(&next->references, 1);
    at = next->texts;
    for (uint32_t i = 0; i < count; i++) {
        if (!slice_equal(from->of[i].pattern, pattern)) {
            add(next, &at, from->of[i].pattern, &from->of[i].policy);
        } else if (policy != NULL) {
            add(next, &at, pattern, policy);
        }
    }
    if (is_new) {
        add(next, &at, pattern, policy);
    }
    *out = next;
    return 0;
}

int peal_server_set_room_policy(struct peal_server *server, const char *pattern,
                                const struct peal_room_policy *policy)
{
    struct room_policy_head *head = &server->room_policies;
    struct peal_slice text = peal_slice(pattern);
    struct room_policies *next;
    int rc;

    if (text.size == 0 || text.size > PEAL_ROOM_PATTERN_MAX ||
        (policy != NULL && (policy->size != sizeof *policy ||
                            policy->pressure > PEAL_PRESSURE_CONFLATE))) {
        return PEAL_EINVAL;
    }
    pthread_mutex_lock(&head->lock);
    rc = next_of(head->newest, text, policy, &next);
    if (rc == 0) {
        unref(head->newest);
        head->newest = next;
        atomic_fetch_add(&head->version, 1);
    }
    pthread_mutex_unlock(&head->lock);
    return rc;
}
