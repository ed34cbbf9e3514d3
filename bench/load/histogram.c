#include "load.h"

/*
 * 64 buckets for each power of two, so a value is known to 1.6 %. Values below
 * 64 have a bucket each.
 */
static size_t bucket_of(uint64_t value)
{
    unsigned shift;
    size_t bucket;

    if (value < 64) {
        return (size_t)value;
    }
    shift = 57u - (unsigned)__builtin_clzll(value);
    bucket = (size_t)(shift + 1) * 64 + ((value >> shift) & 63);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static uint64_t value_of(size_t bucket)
{
    uint64_t shift;

    if (bucket < 64) {
        return bucket;
    }
    shift = bucket / 64 - 1;
    return (64 + bucket % 64) << shift;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->counts[bucket_of(value)]++;
    histogram->total++;
    if (value > histogram->max) {
        histogram->max = value;
    }
}

uint64_t histogram_at(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)((double)histogram->total * share);
    uint64_t seen = 0;

    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen > wanted) {
            return value_of(i);
        }
    }
    return histogram->max;
}
