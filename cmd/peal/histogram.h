/*
 * histogram.h - how often which time was measured, to within 1.6 %, in memory
 * that does not grow.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS (59 * 64)

struct histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t min; /* exact, as is max; 0 without any */
    uint64_t max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t value);

/* Adds what was counted elsewhere. */
void histogram_merge(struct histogram *into, const struct histogram *from);

/* What so many percent of the values do not exceed. */
uint64_t histogram_percentile(const struct histogram *histogram,
                              double percent);

#endif
