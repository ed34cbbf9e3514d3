#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/random.h"

#define WORDS 1000

static bool share_a_word(const uint64_t *a, const uint64_t *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < count; k++) {
            if (a[i] == b[k]) {
                return true;
            }
        }
    }
    return false;
}

/* Every size around the batch's, and nothing written beyond it. */
static void test_all_sizes(void **state)
{
    static uint8_t out[2000];

    (void)state;
    for (size_t size = 0; size < 1500; size += size < 520 ? 1 : 97) {
        uint8_t seen[16] = {0};

        for (int round = 0; round < 10; round++) {
            memset(out, 0, sizeof out);
            random_bytes(out, size);
            for (size_t i = size; i < sizeof out; i++) {
                assert_int_equal(out[i], 0);
            }
            if (size >= 16) {
                for (size_t i = 0; i < 16; i++) {
                    seen[i] |= out[size - 16 + i];
                }
            }
        }
        /* A byte stays 0 in ten draws once in 2^80 runs. */
        for (size_t i = 0; size >= 16 && i < 16; i++) {
            assert_int_not_equal(seen[i], 0);
        }
    }
}

static void test_below(void **state)
{
    unsigned counts[7] = {0};

    (void)state;
    for (int i = 0; i < 70000; i++) {
        uint32_t value = random_below(7);

        assert_true(value < 7);
        counts[value]++;
    }
    /* Expected 10,000 each; the deviation allowed is more than ten sigma. */
    for (size_t i = 0; i < 7; i++) {
        assert_in_range(counts[i], 9000, 11000);
    }
    for (int i = 0; i < 100; i++) {
        assert_int_equal(random_below(1), 0);
        assert_true(random_below(0x80000001) <= 0x80000000);
        assert_true(random_below(UINT32_MAX) < UINT32_MAX);
    }
}

static void *draw_words(void *out)
{
    for (size_t i = 0; i < WORDS; i++) {
        random_bytes((uint64_t *)out + i, sizeof(uint64_t));
    }
    return NULL;
}

static void test_threads_differ(void **state)
{
    static uint64_t words[3][WORDS];
    pthread_t threads[3];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
        assert_int_equal(
            pthread_create(&threads[i], NULL, draw_words, words[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    assert_false(share_a_word(words[0], words[1], WORDS));
    assert_false(share_a_word(words[0], words[2], WORDS));
    assert_false(share_a_word(words[1], words[2], WORDS));
}

static void test_child_differs(void **state)
{
    /* Less than a batch, so that the parent's rest would do. */
    uint64_t mine[32];
    uint64_t theirs[32];
    int ends[2];

    (void)state;
    /* A batch must be under way when the child is made. */
    (void)random_u32();
    assert_int_equal(pipe(ends), 0);

    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        random_bytes(theirs, sizeof theirs);
        _exit(write(ends[1], theirs, sizeof theirs) != sizeof theirs);
    }

    int status;

    random_bytes(mine, sizeof mine);
    assert_int_equal(read(ends[0], theirs, sizeof theirs), sizeof theirs);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_false(share_a_word(mine, theirs, 32));
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_sizes),
        cmocka_unit_test(test_below),
        cmocka_unit_test(test_threads_differ),
        cmocka_unit_test(test_child_differs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
