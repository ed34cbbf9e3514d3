#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "net/tape.h"
#include "torture.h"

#define SEGMENT_BYTES 1000

static struct tape_slice lay(struct tape *tape, char letter, size_t size)
{
    char *room = tape_reserve(tape, size);

    assert_non_null(room);
    memset(room, letter, size);
    return tape_commit(tape, size);
}

static void check_slice(const struct tape_slice *slice, char letter)
{
    const char *data = tape_slice_data(slice);

    for (uint32_t i = 0; i < slice->size; i++) {
        assert_int_equal(data[i], letter);
    }
}

static void test_slices_follow_each_other(void **state)
{
    struct tape tape;

    (void)state;
    tape_init(&tape, SEGMENT_BYTES);

    struct tape_slice first = lay(&tape, 'a', 10);

    /* What is not committed is not kept. */
    assert_non_null(tape_reserve(&tape, 500));

    struct tape_slice second = lay(&tape, 'b', 20);

    assert_ptr_equal(first.segment, second.segment);
    assert_int_equal(first.offset + first.size, second.offset);
    check_slice(&first, 'a');
    check_slice(&second, 'b');

    /* Less may be committed than was reserved. */
    memset(tape_reserve(&tape, 300), 'c', 5);

    struct tape_slice third = tape_commit(&tape, 5);

    assert_int_equal(third.offset, 30);
    check_slice(&third, 'c');
    tape_fini(&tape);
}

static void test_slices_live_until_the_rewind(void **state)
{
    struct tape tape;
    struct tape_slice slices[20];

    (void)state;
    tape_init(&tape, SEGMENT_BYTES);
    for (int i = 0; i < 20; i++) {
        slices[i] = lay(&tape, (char)('a' + i), 400);
    }
    for (int i = 0; i < 20; i++) {
        check_slice(&slices[i], (char)('a' + i));
    }
    tape_rewind(&tape);
    tape_fini(&tape);
}

static void test_rewind_reuses_what_is_free(void **state)
{
    struct tape tape;

    (void)state;
    tape_init(&tape, SEGMENT_BYTES);

    struct tape_slice slice = lay(&tape, 'a', 100);

    tape_rewind(&tape);

    struct tape_slice again = lay(&tape, 'b', 100);

    assert_ptr_equal(again.segment, slice.segment);
    assert_int_equal(again.offset, 0);

    /* A segment that is in use goes on where it is. */
    tape_segment_ref(again.segment);
    tape_rewind(&tape);

    struct tape_slice next = lay(&tape, 'c', 100);

    assert_ptr_equal(next.segment, again.segment);
    assert_int_equal(next.offset, 100);
    check_slice(&again, 'b');
    tape_segment_unref(again.segment);
    tape_fini(&tape);
}

static void test_large_piece_gets_its_own(void **state)
{
    struct tape tape;

    (void)state;
    tape_init(&tape, SEGMENT_BYTES);

    struct tape_slice small = lay(&tape, 'a', 10);
    struct tape_slice large = lay(&tape, 'b', 100000);

    assert_int_equal(large.segment->capacity, 100000);
    assert_ptr_not_equal(small.segment, large.segment);
    check_slice(&small, 'a');
    check_slice(&large, 'b');
    tape_rewind(&tape);
    assert_null(tape.current);
    lay(&tape, 'c', 10);
    assert_int_equal(tape.current->capacity, SEGMENT_BYTES);
    tape_fini(&tape);
}

static void test_queued_slice_outlives_the_tape(void **state)
{
    struct tape tape;

    (void)state;
    tape_init(&tape, SEGMENT_BYTES);

    struct tape_slice slice = lay(&tape, 'a', 600);

    tape_segment_ref(slice.segment);
    lay(&tape, 'b', 600);
    tape_rewind(&tape);
    lay(&tape, 'c', 600);
    tape_fini(&tape);
    check_slice(&slice, 'a');
    tape_segment_unref(slice.segment);
}

static void test_spares_are_bounded_and_trimmed(void **state)
{
    struct tape tape;

    (void)state;
    tape_init(&tape, SEGMENT_BYTES);
    for (int i = 0; i < 50; i++) {
        lay(&tape, 'a', SEGMENT_BYTES);
    }
    tape_rewind(&tape);
    assert_in_range(tape.spare_count, 1, 8);

    struct tape_segment *spare = tape.spares;

    lay(&tape, 'b', SEGMENT_BYTES);
    lay(&tape, 'c', SEGMENT_BYTES);
    assert_ptr_equal(tape.current, spare);
    tape_trim(&tape);
    assert_null(tape.current);
    assert_null(tape.spares);
    assert_int_equal(tape.spare_count, 0);
    tape_fini(&tape);
}

static void test_absurd_size(void **state)
{
    struct tape tape;

    (void)state;
    tape_init(&tape, SEGMENT_BYTES);
    assert_null(tape_reserve(&tape, SIZE_MAX));
    assert_null(tape_reserve(&tape, (size_t)UINT32_MAX + 1));
    lay(&tape, 'a', 10);
    tape_fini(&tape);
}

static void use_tape(void *arg)
{
    struct tape tape;
    struct tape_slice kept = {.segment = NULL};

    (void)arg;
    tape_init(&tape, SEGMENT_BYTES);
    for (size_t i = 0; i < 20; i++) {
        size_t size = i % 5 == 0 ? 3000 : 400;
        char *room = tape_reserve(&tape, size);

        if (room == NULL) {
            assert_true(torture_failed());
            continue;
        }
        memset(room, (int)('a' + i), size);

        struct tape_slice slice = tape_commit(&tape, size);

        if (kept.segment == NULL) {
            kept = slice;
            tape_segment_ref(kept.segment);
        }
        if (i % 3 == 0) {
            tape_rewind(&tape);
        }
    }
    tape_fini(&tape);
    if (kept.segment != NULL) {
        tape_segment_unref(kept.segment);
    }
}

static void test_without_memory(void **state)
{
    (void)state;
    torture_run(use_tape, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices_follow_each_other),
        cmocka_unit_test(test_slices_live_until_the_rewind),
        cmocka_unit_test(test_rewind_reuses_what_is_free),
        cmocka_unit_test(test_large_piece_gets_its_own),
        cmocka_unit_test(test_queued_slice_outlives_the_tape),
        cmocka_unit_test(test_spares_are_bounded_and_trimmed),
        cmocka_unit_test(test_absurd_size),
        cmocka_unit_test(test_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
