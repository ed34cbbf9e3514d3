#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "base/assert.h"
#include "base/hash.h"

static uint64_t rotate(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

static void mix(uint64_t v[4], int rounds)
{
    for (int i = 0; i < rounds; i++) {
        v[0] += v[1], v[2] += v[3];
        v[1] = rotate(v[1], 13), v[3] = rotate(v[3], 16);
        v[1] ^= v[0], v[3] ^= v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1], v[0] += v[3];
        v[1] = rotate(v[1], 17), v[3] = rotate(v[3], 21);
        v[1] ^= v[2], v[3] ^= v[0];
        v[2] = rotate(v[2], 32);
    }
}

/* Eight bytes from the least to the most significant, zeros beyond the end. */
static uint64_t word_at(const uint8_t *data, size_t size, size_t word)
{
    uint64_t value = 0;

    for (size_t i = 0; i < 8; i++) {
        size_t at = word * 8 + i;
        uint8_t byte = at < size ? data[at] : 0;

        value |= (uint64_t)byte << (8 * i);
    }
    return value;
}

/*
 * SipHash straight from the paper's figure, for any number of rounds. With 2
 * and 4 rounds it must give the paper's own vector; then its answers with 1
 * and 3 can be trusted as vectors.
 */
static uint64_t reference(int rounds, int final_rounds, const uint8_t key[16],
                          const uint8_t *data, size_t size)
{
    uint64_t k0 = word_at(key, 16, 0);
    uint64_t k1 = word_at(key, 16, 1);
    uint64_t v[4] = {
        k0 ^ 0x736f6d6570736575,
        k1 ^ 0x646f72616e646f6d,
        k0 ^ 0x6c7967656e657261,
        k1 ^ 0x7465646279746573,
    };

    for (size_t word = 0; word <= size / 8; word++) {
        uint64_t m = word_at(data, size, word);

        if (word == size / 8) {
            m |= (uint64_t)(size & 0xff) << 56;
        }
        v[3] ^= m;
        mix(v, rounds);
        v[0] ^= m;
    }
    v[2] ^= 0xff;
    mix(v, final_rounds);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void test_known_vectors(void **state)
{
    uint8_t key[16];
    uint8_t data[300];

    (void)state;
    for (size_t i = 0; i < sizeof key; i++) {
        key[i] = (uint8_t)i;
    }
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)i;
    }
    /* Appendix A of the paper: SipHash-2-4 of 00 01 .. 0e. */
    assert_true(reference(2, 4, key, data, 15) == 0xa129ca6149be45e5);
    for (size_t size = 0; size <= sizeof data; size++) {
        assert_true(hash_siphash13(key, data, size) ==
                    reference(1, 3, key, data, size));
    }
    /* At any address, not only at aligned ones. */
    for (size_t at = 0; at < 16; at++) {
        assert_true(hash_siphash13(key, data + at, 50) ==
                    reference(1, 3, key, data + at, 50));
    }
    assert_true(hash_siphash13(key, NULL, 0) == reference(1, 3, key, data, 0));
}

static void *hash_in_thread(void *out)
{
    *(uint64_t *)out = hash_bytes("room", 4);
    return NULL;
}

static void test_one_key_for_all_threads(void **state)
{
    pthread_t threads[4];
    uint64_t hashes[4];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
        assert_int_equal(
            pthread_create(&threads[i], NULL, hash_in_thread, &hashes[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
        pthread_join(threads[i], NULL);
        assert_true(hashes[i] == hash_bytes("room", 4));
    }
    assert_true(hash_bytes("room", 4) != hash_bytes("roon", 4));
    assert_true(hash_bytes("", 0) == hash_bytes(NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_key_for_all_threads),
        cmocka_unit_test(test_known_vectors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
