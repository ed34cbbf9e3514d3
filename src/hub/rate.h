/*
 * A token bucket, exact: it counts in shares of a token, of which refill_ms
 * make one and `refill` come back each millisecond, so nothing is rounded and
 * nothing drifts. Refilled when it is looked at; every call is O(1). Time is
 * an argument.
 */
#ifndef HUB_RATE_H
#define HUB_RATE_H

#include "peal/server.h"

/* All zero is a bucket that is full. */
struct rate_bucket {
    uint64_t level;   /* shares of tokens at `then_ms` */
    uint64_t then_ms; /* 0: never used */
};

/*
 * Fills in what is left at 0: `refill` as capacity, `refill_ms` a second. Of a
 * rate that limits nothing only the capacity is left.
 */
struct peal_rate rate_resolve(struct peal_rate rate);

/* Whether this rate limits anything: its capacity is neither 0 nor PEAL_OFF. */
static inline bool rate_is_on(const struct peal_rate *rate)
{
    return rate->capacity != 0 && rate->capacity != PEAL_OFF;
}

/*
 * Whether `cost` tokens could be taken now. What costs more than a bucket can
 * hold takes a full one. `now_ms` is never 0 and never goes back by much.
 */
bool rate_has(const struct rate_bucket *bucket, const struct peal_rate *rate,
              uint32_t cost, uint64_t now_ms);

/* Takes them, after rate_has; the bucket does not go below empty. */
void rate_take(struct rate_bucket *bucket, const struct peal_rate *rate,
               uint32_t cost, uint64_t now_ms);

/* Milliseconds until rate_has will say yes, if nothing else is taken. */
uint64_t rate_wait_ms(const struct rate_bucket *bucket,
                      const struct peal_rate *rate, uint32_t cost,
                      uint64_t now_ms);

/* Whether the bucket is full, so that forgetting it changes nothing. */
bool rate_is_full(const struct rate_bucket *bucket,
                  const struct peal_rate *rate, uint64_t now_ms);

#endif
