#include "histogram.h"

/*
 * Values below 64 have a bucket each. Above, each power of two is cut into 64:
 * the bucket of a value with its highest bit at `high` is its six bits below.
 */
static unsigned bucket_of(uint64_t value)
{
    unsigned shift;

    if (value < 64) {
        return (unsigned)value;
    }
    shift = 57 - (unsigned)__builtin_clzll(value);
    return (shift + 1) * 64 + (unsigned)(value >> shift) - 64;
}

/* The largest value of a bucket. */
static uint64_t top_of(unsigned bucket)
{
    unsigned shift;

    if (bucket < 64) {
        return bucket;
    }
    shift = bucket / 64 - 1;
    return ((uint64_t)(bucket % 64 + 64) << shift) +
           ((UINT64_C(1) << shift) - 1);
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    if (histogram->count == 0 || value < histogram->min) {
        histogram->min = value;
    }
    if (value > histogram->max) {
        histogram->max = value;
    }
    histogram->count++;
    histogram->sum += value;
    histogram->buckets[bucket_of(value)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    if (from->count == 0) {
        return;
    }
    if (into->count == 0 || from->min < into->min) {
        into->min = from->min;
    }
    if (from->max > into->max) {
        into->max = from->max;
    }
    into->count += from->count;
    into->sum += from->sum;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        into->buckets[i] += from->buckets[i];
    }
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
    double wanted = percent / 100 * (double)histogram->count;
    uint64_t seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > 0 && (double)seen >= wanted) {
            uint64_t top = top_of(i);

            return top < histogram->max ? top : histogram->max;
        }
    }
    return histogram->max;
}
