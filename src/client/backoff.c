#include "client/backoff.h"

#include "base/random.h"

uint32_t backoff_ceiling_ms(const struct backoff_bounds *bounds,
                            uint32_t attempt)
{
    uint64_t ceiling = bounds->first_ms;

    for (uint32_t i = 1; i < attempt && ceiling < bounds->max_ms; i++) {
        ceiling *= 2;
    }
    if (ceiling > bounds->max_ms) {
        ceiling = bounds->max_ms;
    }
    return ceiling > bounds->min_ms ? (uint32_t)ceiling : bounds->min_ms;
}

uint32_t backoff_delay_ms(const struct backoff_bounds *bounds, uint32_t attempt)
{
    uint32_t ceiling = backoff_ceiling_ms(bounds, attempt);
    uint32_t range = ceiling - bounds->min_ms;

    return range == UINT32_MAX ? random_u32()
                               : bounds->min_ms + random_below(range + 1);
}
