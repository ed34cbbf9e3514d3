/*
 * A count that several loops share and that never passes its maximum, also for
 * a moment: racing takers neither get in together nor push each other out.
 */
#ifndef HUB_LIMIT_H
#define HUB_LIMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

/* Counts one more, or returns false when there are `max` already. */
static inline bool limit_take(_Atomic uint32_t *count, uint32_t max)
{
    uint32_t seen = atomic_load_explicit(count, memory_order_relaxed);

    while (seen < max) {
        if (atomic_compare_exchange_weak_explicit(count, &seen, seen + 1,
                                                  memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

/* Gives back what limit_take took. */
static inline void limit_give(_Atomic uint32_t *count)
{
    uint32_t before = atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);

    ASSERT(before > 0);
}

#endif
