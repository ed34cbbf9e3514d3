/* The rates that events have of their own: an immutable table, counted. */
#ifndef SERVER_GUARD_RATES_H
#define SERVER_GUARD_RATES_H

#include "server/server.h"

struct event_rate {
    struct peal_rate rate;
    uint64_t serial; /* of the name's entry: a later one of its slot differs */
    uint32_t slot;   /* below PEAL_EVENT_RATES_MAX; stays while it has a rate */
    size_t name_size;
    char name[];
};

/* The rate of this event, or NULL. `rates` may be NULL. */
const struct event_rate *guard_rates_find(const struct event_rates *rates,
                                          struct peal_slice name);

/* Harmless for NULL. */
void guard_rates_unref(struct event_rates *rates);

#endif
