#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "peal/peal.h"
#include "torture.h"

static void check_invariants(const struct buffer *buffer)
{
    assert_true(buffer->start <= buffer->end);
    assert_true(buffer->end <= buffer->capacity);
    assert_true(buffer->capacity <= buffer->max);
    assert_int_equal(buffer->capacity == 0, buffer->data == NULL);
}

static void test_empty(void **state)
{
    struct buffer buffer;

    (void)state;
    buffer_init(&buffer, 10);
    check_invariants(&buffer);
    assert_int_equal(buffer_append(&buffer, NULL, 0), 0);
    assert_int_equal(buffer_size(&buffer), 0);
    assert_null(buffer.data);
    buffer_consume(&buffer, 0);
    buffer_clear(&buffer);
    buffer_fini(&buffer);
    check_invariants(&buffer);
}

static void test_limit(void **state)
{
    struct buffer buffer;

    (void)state;
    buffer_init(&buffer, 5);
    assert_int_equal(buffer_append(&buffer, "abc", 3), 0);
    assert_int_equal(buffer_append(&buffer, "def", 3), PEAL_EFULL);
    assert_int_equal(buffer_reserve(&buffer, SIZE_MAX), PEAL_EFULL);
    assert_int_equal(buffer_size(&buffer), 3);
    assert_int_equal(buffer_append(&buffer, "de", 2), 0);
    check_invariants(&buffer);
    assert_memory_equal(buffer_head(&buffer), "abcde", 5);
    assert_int_equal(buffer_reserve(&buffer, 0), 0);
    assert_int_equal(buffer_reserve(&buffer, 1), PEAL_EFULL);

    /* Room at the front counts too. */
    buffer_consume(&buffer, 2);
    assert_int_equal(buffer_append(&buffer, "fg", 2), 0);
    assert_memory_equal(buffer_head(&buffer), "cdefg", 5);
    check_invariants(&buffer);
    buffer_fini(&buffer);
    assert_int_equal(buffer_append(&buffer, "again", 5), 0);
    buffer_fini(&buffer);
}

static void test_grows_by_doubling(void **state)
{
    struct buffer buffer;
    size_t growths = 0;
    size_t capacity = 0;

    (void)state;
    buffer_init(&buffer, 1000000);
    for (size_t i = 0; i < 1000000; i++) {
        assert_int_equal(buffer_append(&buffer, "x", 1), 0);
        growths += buffer.capacity != capacity;
        capacity = buffer.capacity;
    }
    assert_true(growths < 20);
    assert_int_equal(buffer_append(&buffer, "x", 1), PEAL_EFULL);
    buffer_fini(&buffer);
}

/*
 * A queue that always holds `held` bytes must neither grow for ever nor move
 * more bytes in all than went through it.
 */
static void check_steady_queue(size_t held)
{
    static const char zeros[10];
    struct buffer buffer;
    size_t moved = 0;
    size_t passed = held;

    buffer_init(&buffer, 1 << 20);
    for (size_t size = 0; size < held; size += 10) {
        assert_int_equal(buffer_append(&buffer, zeros, 10), 0);
    }
    for (size_t i = 0; i < 20000; i++) {
        size_t start = buffer.start;
        size_t step = i % 7 + 1;

        assert_int_equal(buffer_append(&buffer, zeros, step), 0);
        moved += buffer.start < start ? buffer_size(&buffer) - step : 0;
        buffer_consume(&buffer, step);
        passed += step;
        check_invariants(&buffer);
    }
    assert_int_equal(buffer_size(&buffer), held);
    assert_true(buffer.capacity <= 64 + held * 4);
    assert_true(moved <= passed * 2);
    buffer_fini(&buffer);
}

static void test_steady_queue_is_cheap(void **state)
{
    (void)state;
    for (size_t held = 10; held <= 500; held += 10) {
        check_steady_queue(held);
    }
    check_steady_queue(5000);
    check_steady_queue(60000);
}

static void test_random_operations(void **state)
{
    static char model[500];
    size_t model_size = 0;
    struct buffer buffer;
    char next = 0;

    (void)state;
    srand(1);
    buffer_init(&buffer, sizeof model);
    for (int i = 0; i < 100000; i++) {
        char data[100];
        size_t size = (size_t)rand() % sizeof data;

        if (rand() % 2 == 0) {
            bool fits = size <= sizeof model - model_size;

            for (size_t k = 0; k < size; k++) {
                data[k] = next++;
            }
            assert_int_equal(buffer_append(&buffer, data, size),
                             fits ? 0 : PEAL_EFULL);
            if (fits) {
                memcpy(model + model_size, data, size);
                model_size += size;
            }
        } else {
            size = size < model_size ? size : model_size;
            buffer_consume(&buffer, size);
            model_size -= size;
            memmove(model, model + size, model_size);
        }
        check_invariants(&buffer);
        assert_int_equal(buffer_size(&buffer), model_size);
        if (model_size > 0) {
            assert_memory_equal(buffer_head(&buffer), model, model_size);
        }
    }
    buffer_fini(&buffer);
}

static void fill_and_drain(void *arg)
{
    struct buffer buffer;
    size_t size = 0;

    (void)arg;
    buffer_init(&buffer, 5000);
    for (int i = 0; i < 100; i++) {
        int rc = buffer_append(&buffer, "0123456789", 10);

        check_invariants(&buffer);
        if (rc < 0) {
            assert_int_equal(rc, PEAL_ENOMEM);
            assert_true(torture_failed());
        } else {
            size += 10;
        }
        if (i % 3 == 0 && size > 0) {
            buffer_consume(&buffer, 10);
            size -= 10;
        }
        assert_int_equal(buffer_size(&buffer), size);
        if (size > 0) {
            assert_memory_equal(buffer_head(&buffer), "0123456789", 10);
        }
    }
    buffer_fini(&buffer);
}

static void test_without_memory(void **state)
{
    (void)state;
    torture_run(fill_and_drain, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_grows_by_doubling),
        cmocka_unit_test(test_steady_queue_is_cheap),
        cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
