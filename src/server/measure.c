/* Durations and ends, sorted into bounded sets. */
#include "server/measure.h"

#include "base/assert.h"
#include "base/slice.h"

#include <stdlib.h>

#define US UINT64_C(1000)
#define MS (1000 * US)

const uint64_t measure_bounds_ns[HISTOGRAM_BOUNDS] = {
    10 * US, 50 * US,  100 * US, 500 * US,  1 * MS,    5 * MS,     10 * MS,
    50 * MS, 100 * MS, 500 * MS, 1000 * MS, 5000 * MS, 10000 * MS,
};

static void add(_Atomic uint64_t *counter, uint64_t amount)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(counter, value + amount, memory_order_relaxed);
}

void measure_add(struct histogram *histogram, uint64_t duration_ns)
{
    size_t i = 0;

    while (i < HISTOGRAM_BOUNDS && duration_ns > measure_bounds_ns[i]) {
        i++;
    }
    add(&histogram->counts[i], 1);
    add(&histogram->sum_ns, duration_ns);
}

/* --- Ends ---------------------------------------------------------------- */

/* Where in the table is what: the last of each group takes all others. */
#define PEER_OTHER 5
#define OWN_BY_CODE 12
#define OWN_OTHER 23

const struct measure_close measure_closes[MEASURE_CLOSES] = {
    {"1000", "peer"},         {"1001", "peer"},         {"1005", "peer"},
    {"1006", "peer"},         {"1011", "peer"},         {"other", "peer"},
    {"1001", "stopping"},     {"1008", "ping_timeout"}, {"1013", "queue_full"},
    {"1011", "no_memory"},    {"1008", "rate_limit"},   {"1013", "memory"},
    {"1002", "protocol"},     {"1003", "protocol"},
    {"1007", "protocol"},     {"1009", "too_big"},      {"1000", "application"},
    {"1001", "application"},  {"1008", "application"},  {"1011", "application"},
    {"1012", "application"},  {"1013", "application"},  {"4xxx", "application"},
    {"other", "application"},
};

/* What the server gives as a reason, where the code alone does not tell. */
static const struct {
    const char *text;
    size_t kind;
} own_reasons[] = {
    {"server is stopping", 6},
    {"ping timeout", 7},
    {"queue is full", 8},
    {"out of memory", 9},
    {"rate limit exceeded", 10},
    {"too many pings", 10},
    {"server is short of memory", 11},
};

size_t measure_close_kind(int code, struct peal_slice reason, bool by_peer)
{
    size_t first = by_peer ? 0 : PEER_OTHER + 1;
    size_t end = by_peer ? PEER_OTHER : OWN_OTHER;

    if (!by_peer) {
        for (size_t i = 0; i < ARRAY_SIZE(own_reasons); i++) {
            if (slice_equal(reason, peal_slice(own_reasons[i].text)) &&
                atoi(measure_closes[own_reasons[i].kind].code) == code) {
                return own_reasons[i].kind;
            }
        }
        if (code >= 4000) {
            return OWN_OTHER - 1;
        }
        /* Past those that only their reason tells from the application's. */
        first = OWN_BY_CODE;
    }
    for (size_t i = first; i < end; i++) {
        if (atoi(measure_closes[i].code) == code) {
            return i;
        }
    }
    return by_peer ? PEER_OTHER : OWN_OTHER;
}
