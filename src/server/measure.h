/*
 * What a seat measures beside its counters: how long things take, and why
 * connections end. [L] written, [a] read.
 */
#ifndef SERVER_MEASURE_H
#define SERVER_MEASURE_H

#include "peal/peal.h"

#include <stdatomic.h>

#define HISTOGRAM_BOUNDS 13

struct histogram {
    _Atomic uint64_t counts[HISTOGRAM_BOUNDS + 1]; /* the last is beyond all */
    _Atomic uint64_t sum_ns;
};

/* Upper bounds of the buckets, in nanoseconds, ascending. */
extern const uint64_t measure_bounds_ns[HISTOGRAM_BOUNDS];

/* [L] Takes one duration in. */
void measure_add(struct histogram *histogram, uint64_t duration_ns);

/* One way in which connections end: a label for each part. */
struct measure_close {
    const char *code;
    const char *reason;
};

#define MEASURE_CLOSES 24

/* All of them: the labels of a metric. */
extern const struct measure_close measure_closes[MEASURE_CLOSES];

/* Which of measure_closes it was. */
size_t measure_close_kind(int code, struct peal_slice reason, bool by_peer);

/*
 * Requests are told apart by their handlers; those of handlers beyond this
 * number, or with longer names, are taken together.
 */
#define METHODS_MAX 64
#define METHOD_NAME_MAX 64
#define METHOD_OTHER 0

/* What the application may put off deciding about (PEAL_LATER). */
enum measure_hook { HOOK_CONNECT, HOOK_MESSAGE, HOOK_COUNT };

struct measures {
    struct histogram fanout;    /* to HUB_LARGE or more */
    struct histogram *requests; /* [I] by handler.method */
    struct histogram hooks[HOOK_COUNT]; /* decisions that were put off */
    uint64_t fanout_began_ns; /* [L] */
    _Atomic uint64_t closes[MEASURE_CLOSES];
};

#endif
