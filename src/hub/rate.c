#include "hub/rate.h"

#include "base/assert.h"

struct peal_rate rate_resolve(struct peal_rate rate)
{
    if (!rate_is_on(&rate)) {
        return (struct peal_rate){.capacity = rate.capacity};
    }
    if (rate.refill == 0) {
        rate.refill = rate.capacity;
    }
    if (rate.refill_ms == 0) {
        rate.refill_ms = 1000;
    }
    return rate;
}

static uint64_t rate_full(const struct peal_rate *rate)
{
    return (uint64_t)rate->capacity * rate->refill_ms;
}

static uint64_t rate_shares(const struct peal_rate *rate, uint32_t cost)
{
    return (uint64_t)(cost < rate->capacity ? cost : rate->capacity) *
           rate->refill_ms;
}

/* What is in the bucket now. */
static uint64_t rate_level(const struct rate_bucket *bucket,
                           const struct peal_rate *rate, uint64_t now_ms)
{
    uint64_t full = rate_full(rate);
    uint64_t elapsed_ms =
        now_ms > bucket->then_ms ? now_ms - bucket->then_ms : 0;

    /* The rate may have become smaller since the bucket was filled. */
    if (bucket->then_ms == 0 || bucket->level >= full) {
        return full;
    }
    /* Whoever waits long enough has a full one; less cannot overflow, because
     * then refill * elapsed_ms is at most full - level + refill. */
    if (elapsed_ms > (full - bucket->level) / rate->refill) {
        return full;
    }
    return bucket->level + elapsed_ms * rate->refill;
}

bool rate_has(const struct rate_bucket *bucket, const struct peal_rate *rate,
              uint32_t cost, uint64_t now_ms)
{
    return rate_level(bucket, rate, now_ms) >= rate_shares(rate, cost);
}

void rate_take(struct rate_bucket *bucket, const struct peal_rate *rate,
               uint32_t cost, uint64_t now_ms)
{
    uint64_t level = rate_level(bucket, rate, now_ms);
    uint64_t shares = rate_shares(rate, cost);

    ASSERT(now_ms > 0);
    bucket->level = level > shares ? level - shares : 0;
    if (now_ms > bucket->then_ms) {
        bucket->then_ms = now_ms;
    }
}

uint64_t rate_wait_ms(const struct rate_bucket *bucket,
                      const struct peal_rate *rate, uint32_t cost,
                      uint64_t now_ms)
{
    uint64_t level = rate_level(bucket, rate, now_ms);
    uint64_t shares = rate_shares(rate, cost);

    return level >= shares ? 0
                           : (shares - level + rate->refill - 1) / rate->refill;
}

bool rate_is_full(const struct rate_bucket *bucket,
                  const struct peal_rate *rate, uint64_t now_ms)
{
    return rate_level(bucket, rate, now_ms) == rate_full(rate);
}
