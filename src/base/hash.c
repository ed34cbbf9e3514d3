#include "base/hash.h"

#include <pthread.h>

#include "base/random.h"

/* SipHash (Aumasson, Bernstein 2012) with 1 compression and 3 final rounds. */
struct hash_state {
    uint64_t v0;
    uint64_t v1;
    uint64_t v2;
    uint64_t v3;
};

struct hash_key {
    uint64_t k0;
    uint64_t k1;
};

static struct hash_key hash_process_key;
static pthread_once_t hash_once = PTHREAD_ONCE_INIT;

/* Compilers make one load of this. */
static inline uint64_t hash_load(const uint8_t *at)
{
    return (uint64_t)at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16 |
           (uint64_t)at[3] << 24 | (uint64_t)at[4] << 32 |
           (uint64_t)at[5] << 40 | (uint64_t)at[6] << 48 |
           (uint64_t)at[7] << 56;
}

static inline uint64_t hash_rotate(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

static inline void hash_round(struct hash_state *s)
{
    s->v0 += s->v1;
    s->v1 = hash_rotate(s->v1, 13) ^ s->v0;
    s->v0 = hash_rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = hash_rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = hash_rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = hash_rotate(s->v1, 17) ^ s->v2;
    s->v2 = hash_rotate(s->v2, 32);
}

static inline void hash_compress(struct hash_state *s, uint64_t word)
{
    s->v3 ^= word;
    hash_round(s);
    s->v0 ^= word;
}

static uint64_t hash_siphash(struct hash_key key, const uint8_t *at,
                             size_t size)
{
    struct hash_state s = {
        .v0 = key.k0 ^ 0x736f6d6570736575,
        .v1 = key.k1 ^ 0x646f72616e646f6d,
        .v2 = key.k0 ^ 0x6c7967656e657261,
        .v3 = key.k1 ^ 0x7465646279746573,
    };
    size_t tail = size % 8;
    uint64_t last = (uint64_t)size << 56;

    for (size_t i = size / 8; i > 0; i--) {
        hash_compress(&s, hash_load(at));
        at += 8;
    }
    for (size_t i = 0; i < tail; i++) {
        last |= (uint64_t)at[i] << (8 * i);
    }
    hash_compress(&s, last);
    s.v2 ^= 0xff;
    hash_round(&s);
    hash_round(&s);
    hash_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

static void hash_draw_key(void)
{
    random_bytes(&hash_process_key, sizeof hash_process_key);
}

uint64_t hash_bytes(const void *data, size_t size)
{
    pthread_once(&hash_once, hash_draw_key);
    return hash_siphash(hash_process_key, data, size);
}

uint64_t hash_siphash13(const uint8_t key[16], const void *data, size_t size)
{
    struct hash_key pair = {hash_load(key), hash_load(key + 8)};

    return hash_siphash(pair, data, size);
}
