#include "base/random.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"

#define RANDOM_BATCH_SIZE 512

struct random_batch {
    uint8_t bytes[RANDOM_BATCH_SIZE];
    size_t left;         /* unused bytes, at the end of `bytes` */
    unsigned generation; /* of the process that drew them */
};

static _Thread_local struct random_batch random_batch;

/*
 * [a] Counts the forks that led to this process. A batch of another generation
 * is the parent's too and must not be used. The first is 1, so that a thread's
 * zero-filled batch is never current.
 */
static atomic_uint random_generation = 1;
static pthread_once_t random_once = PTHREAD_ONCE_INIT;

static void random_forked(void)
{
    atomic_fetch_add_explicit(&random_generation, 1, memory_order_relaxed);
}

static void random_watch_forks(void)
{
    /* Without the handler a child would repeat its parent's ids. */
    ASSERT(pthread_atfork(NULL, NULL, random_forked) == 0);
}

static void random_draw(void *out, size_t size)
{
    uint8_t *at = out;

    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);

        /* Nothing else can fail: the flags and the buffer are in order. */
        ASSERT(got > 0 || (got < 0 && errno == EINTR));
        if (got > 0) {
            at += got;
            size -= (size_t)got;
        }
    }
}

static void random_refill(struct random_batch *batch, unsigned generation)
{
    pthread_once(&random_once, random_watch_forks);
    random_draw(batch->bytes, sizeof batch->bytes);
    batch->left = sizeof batch->bytes;
    batch->generation = generation;
}

void random_bytes(void *out, size_t size)
{
    struct random_batch *batch = &random_batch;
    unsigned generation =
        atomic_load_explicit(&random_generation, memory_order_relaxed);

    if (size > sizeof batch->bytes) {
        random_draw(out, size);
        return;
    }
    if (batch->generation != generation || batch->left < size) {
        random_refill(batch, generation);
    }

    uint8_t *next = batch->bytes + sizeof batch->bytes - batch->left;

    /* What was handed out is wiped: it may have become a secret. */
    memcpy(out, next, size);
    memset(next, 0, size);
    batch->left -= size;
}

uint32_t random_u32(void)
{
    uint32_t value;

    random_bytes(&value, sizeof value);
    return value;
}

uint32_t random_below(uint32_t bound)
{
    ASSERT(bound > 0);

    /*
     * The high half of value * bound is in range; it is even once the low
     * halves below 2^32 mod bound are drawn again (Lemire 2019).
     */
    uint64_t product = (uint64_t)random_u32() * bound;

    if ((uint32_t)product < bound) {
        uint32_t threshold = (uint32_t)(0 - bound) % bound;

        while ((uint32_t)product < threshold) {
            product = (uint64_t)random_u32() * bound;
        }
    }
    return (uint32_t)(product >> 32);
}
