/* How long to wait before a link connects again. */
#ifndef CLIENT_BACKOFF_H
#define CLIENT_BACKOFF_H

#include <stdint.h>

struct backoff_bounds {
    uint32_t min_ms;
    uint32_t first_ms;
    uint32_t max_ms;
};

/* The most that attempt `attempt`, from 1 on, may have to wait. */
uint32_t backoff_ceiling_ms(const struct backoff_bounds *bounds,
                            uint32_t attempt);

/*
 * A random time between min_ms and the ceiling: the whole range, so that a
 * thousand clients that lost one server do not come back at one moment.
 */
uint32_t backoff_delay_ms(const struct backoff_bounds *bounds,
                          uint32_t attempt);

#endif
