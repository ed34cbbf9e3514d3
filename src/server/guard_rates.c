#include "server/guard_rates.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"
#include "server/conn.h"
#include "server/mail.h"

#include <string.h>

struct event_rates {
    _Atomic uint32_t references;
    uint64_t last_serial;
    struct map by_name; /* of event_rate */
};

static struct peal_slice rate_key(const void *value)
{
    const struct event_rate *rate = value;

    return slice_make(rate->name, rate->name_size);
}

const struct event_rate *guard_rates_find(const struct event_rates *rates,
                                          struct peal_slice name)
{
    return rates == NULL || name.size == 0 ? NULL
                                           : map_get(&rates->by_name, name);
}

void guard_rates_unref(struct event_rates *rates)
{
    size_t cursor = 0;
    void *value;

    if (rates == NULL || atomic_fetch_sub(&rates->references, 1) > 1) {
        return;
    }
    while ((value = map_next(&rates->by_name, &cursor)) != NULL) {
        mem_free(value);
    }
    map_fini(&rates->by_name);
    mem_free(rates);
}

/* Adds an entry; PEAL_ENOMEM. */
static int add(struct event_rates *rates, struct peal_slice name,
               const struct peal_rate *rate, uint64_t serial, uint32_t slot)
{
    struct event_rate *entry = mem_zalloc(sizeof *entry + name.size);
    int rc;

    if (entry == NULL) {
        return PEAL_ENOMEM;
    }
    entry->rate = *rate;
    entry->serial = serial;
    entry->slot = slot;
    entry->name_size = name.size;
    memcpy(entry->name, name.data, name.size);
    rc = map_add(&rates->by_name, entry);
    if (rc < 0) {
        mem_free(entry);
    }
    return rc;
}

/* A copy of `from`, which may be NULL, without `name`. */
static struct event_rates *copy_without(const struct event_rates *from,
                                        struct peal_slice name)
{
    struct event_rates *copy = mem_zalloc(sizeof *copy);
    const struct event_rate *entry;
    size_t cursor = 0;

    if (copy == NULL) {
        return NULL;
    }
    atomic_init(&copy->references, 1);
    map_init(&copy->by_name, rate_key);
    if (from == NULL) {
        return copy;
    }
    copy->last_serial = from->last_serial;
    while ((entry = map_next(&from->by_name, &cursor)) != NULL) {
        if (!slice_equal(rate_key(entry), name) &&
            add(copy, rate_key(entry), &entry->rate, entry->serial,
                entry->slot) < 0) {
            guard_rates_unref(copy);
            return NULL;
        }
    }
    return copy;
}

/* The first slot that no entry has. */
static uint32_t free_slot(const struct event_rates *rates)
{
    uint64_t used[PEAL_EVENT_RATES_MAX / 64] = {0};
    const struct event_rate *entry;
    size_t cursor = 0;
    uint32_t slot = 0;

    while ((entry = map_next(&rates->by_name, &cursor)) != NULL) {
        used[entry->slot / 64] |= (uint64_t)1 << entry->slot % 64;
    }
    while (used[slot / 64] >> slot % 64 & 1) {
        slot++;
    }
    return slot;
}

/* The table that comes after `from`. */
static int next_of(const struct event_rates *from, struct peal_slice name,
                   const struct peal_rate *rate, struct event_rates **out)
{
    const struct event_rate *old = guard_rates_find(from, name);
    struct event_rates *next = copy_without(from, name);
    int rc = next == NULL ? PEAL_ENOMEM : 0;

    if (rc == 0 && rate_is_on(rate)) {
        if (old != NULL) {
            rc = add(next, name, rate, old->serial, old->slot);
        } else if (next->by_name.count >= PEAL_EVENT_RATES_MAX) {
            rc = PEAL_ELIMIT;
        } else {
            rc = add(next, name, rate, ++next->last_serial, free_slot(next));
        }
    }
    if (rc < 0) {
        guard_rates_unref(next);
        return rc;
    }
    *out = next;
    return 0;
}

/* Tells all loops, or, when there is no memory for that, none. */
static int tell_all(struct peal_server *server, struct event_rates *rates)
{
    int count = server->engine->worker_count;
    struct peal_client_ref nobody = {0};
    struct mail *mails[HUB_MAX];

    for (int i = 0; i < count; i++) {
        mails[i] = mail_new(MAIL_EVENT_RATES, nobody, NULL, 0);
        if (mails[i] == NULL) {
            while (i-- > 0) {
                mem_free(mails[i]);
            }
            return PEAL_ENOMEM;
        }
    }
    atomic_fetch_add(&rates->references, (uint32_t)count);
    for (int i = 0; i < count; i++) {
        mails[i]->user = rates;
        mails[i]->base.space = server->number;
        /* Past the bound of the mailbox: there are few of these, and half of
         * the loops with another limit would be worse. */
        loop_post(server->seats[i].worker->loop, (struct loop_mail *)mails[i]);
    }
    return 0;
}

int peal_server_set_event_rate(struct peal_server *server, const char *event,
                               const struct peal_rate *given)
{
    struct guard *guard = &server->guard;
    struct peal_slice name = peal_slice(event);
    struct peal_rate rate =
        rate_resolve(given != NULL ? *given : (struct peal_rate){0});
    struct event_rates *next;
    int rc;

    if (name.size == 0 || name.size > TCP_EVENT_MAX) {
        return PEAL_EINVAL;
    }
    if (atomic_load(&server->engine->state) == SERVER_STOPPED) {
        return PEAL_ESTATE;
    }
    pthread_mutex_lock(&guard->lock);
    rc = next_of(guard->newest, name, &rate, &next);
    if (rc == 0) {
        rc = tell_all(server, next);
        if (rc == 0) {
            guard_rates_unref(guard->newest);
            guard->newest = next;
        } else {
            guard_rates_unref(next);
        }
    }
    pthread_mutex_unlock(&guard->lock);
    return rc;
}
