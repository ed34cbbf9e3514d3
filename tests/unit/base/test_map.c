#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/map.h"
#include "base/slice.h"
#include "torture.h"

#define ITEMS 400

struct item {
    char name[16];
    size_t name_size;
    bool is_in; /* the model */
    bool is_seen;
};

static struct peal_slice key_of(const void *value)
{
    const struct item *item = value;

    return slice_make(item->name, item->name_size);
}

static void make_items(struct item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct item){.is_in = false};
        items[i].name_size = (size_t)snprintf(
            items[i].name, sizeof items[i].name, "room-%zu", i);
    }
}

/* Asserts that the map holds just what the model says. */
static void check_against_model(const struct map *map, struct item *items,
                                size_t count)
{
    size_t cursor = 0;
    size_t in = 0;
    size_t seen = 0;
    struct item *item;

    for (size_t i = 0; i < count; i++) {
        struct peal_slice key = key_of(&items[i]);
        void *expected = items[i].is_in ? &items[i] : NULL;

        assert_ptr_equal(map_get(map, key), expected);
        assert_ptr_equal(
            map_get_hashed(map, key, hash_bytes(key.data, key.size)),
            expected);
        in += items[i].is_in;
        items[i].is_seen = false;
    }
    assert_int_equal(map->count, in);
    while ((item = map_next(map, &cursor)) != NULL) {
        assert_true(item->is_in);
        assert_false(item->is_seen);
        item->is_seen = true;
        seen++;
    }
    assert_int_equal(seen, in);
}

static void test_empty(void **state)
{
    struct map map;
    size_t cursor = 0;

    (void)state;
    map_init(&map, key_of);
    map_check(&map);
    assert_null(map_get(&map, SLICE("x")));
    assert_null(map_remove(&map, SLICE("x")));
    assert_null(map_next(&map, &cursor));
    map_fini(&map);
    map_check(&map);
}

static void test_keys_are_bytes(void **state)
{
    struct item items[] = {
        {.name = "", .name_size = 0},
        {.name = "\0", .name_size = 1},
        {.name = "\0\0", .name_size = 2},
        {.name = "a\0b", .name_size = 3},
        {.name = "a\0c", .name_size = 3},
    };
    struct map map;

    (void)state;
    map_init(&map, key_of);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(map_add(&map, &items[i]), 0);
    }
    for (size_t i = 0; i < 5; i++) {
        assert_ptr_equal(map_get(&map, key_of(&items[i])), &items[i]);
    }
    assert_ptr_equal(map_get(&map, slice_make(NULL, 0)), &items[0]);
    map_fini(&map);
}

static void test_random_operations(void **state)
{
    static struct item items[ITEMS];
    struct map map;

    (void)state;
    srand(2);
    make_items(items, ITEMS);
    map_init(&map, key_of);
    for (int i = 0; i < 30000; i++) {
        /* Phases of growing and of shrinking, over the whole range. */
        bool is_growing = i / 1500 % 2 == 0;
        struct item *item = &items[rand() % ITEMS];
        bool add = rand() % 10 < (is_growing ? 8 : 2);

        if (add && !item->is_in) {
            assert_int_equal(map_add(&map, item), 0);
            item->is_in = true;
        } else if (!add) {
            assert_ptr_equal(map_remove(&map, key_of(item)),
                             item->is_in ? item : NULL);
            item->is_in = false;
        }
        map_check(&map);
        if (i % 50 == 0) {
            check_against_model(&map, items, ITEMS);
        }
    }
    map_fini(&map);
}

/* All values share one home, so that every removal shifts, also around the
 * table's end. */
static void test_colliding_homes(void **state)
{
    static struct item items[20000];
    struct item *chosen[6];
    size_t count = 0;
    struct map map;

    (void)state;
    make_items(items, 20000);
    for (size_t i = 0; i < 20000 && count < 6; i++) {
        struct peal_slice key = key_of(&items[i]);

        if (hash_bytes(key.data, key.size) % 8 == 6) {
            chosen[count++] = &items[i];
        }
    }
    assert_int_equal(count, 6);
    for (size_t first = 0; first < 6; first++) {
        map_init(&map, key_of);
        for (size_t i = 0; i < 6; i++) {
            assert_int_equal(map_add(&map, chosen[i]), 0);
        }
        assert_int_equal(map.capacity, 8);
        for (size_t i = 0; i < 6; i++) {
            struct item *item = chosen[(first + i * 5) % 6];

            assert_ptr_equal(map_remove(&map, key_of(item)), item);
            map_check(&map);
        }
        assert_int_equal(map.count, 0);
        map_fini(&map);
    }
}

static void test_shrinks(void **state)
{
    static struct item items[ITEMS];
    struct map map;

    (void)state;
    make_items(items, ITEMS);
    map_init(&map, key_of);
    for (size_t i = 0; i < ITEMS; i++) {
        assert_int_equal(map_add(&map, &items[i]), 0);
    }
    assert_true(map.capacity >= ITEMS * 4 / 3);
    for (size_t i = 0; i < ITEMS; i++) {
        assert_non_null(map_remove(&map, key_of(&items[i])));
        assert_true(map.capacity <= 8 || map.count >= map.capacity / 8);
    }
    assert_int_equal(map.capacity, 8);
    map_fini(&map);
}

static void add_and_remove_all(void *arg)
{
    struct item *items = arg;
    struct map map;

    make_items(items, ITEMS);
    map_init(&map, key_of);
    for (size_t i = 0; i < ITEMS; i++) {
        size_t before = map.count;
        int rc = map_add(&map, &items[i]);

        items[i].is_in = rc == 0;
        if (rc < 0) {
            assert_int_equal(rc, PEAL_ENOMEM);
            assert_true(torture_failed());
            assert_int_equal(map.count, before);
        }
    }
    map_check(&map);
    check_against_model(&map, items, ITEMS);
    /* Shrinking may fail; removing may not. */
    for (size_t i = 0; i < ITEMS; i++) {
        assert_ptr_equal(map_remove(&map, key_of(&items[i])),
                         items[i].is_in ? &items[i] : NULL);
    }
    map_check(&map);
    assert_int_equal(map.count, 0);
    map_fini(&map);
}

static void test_without_memory(void **state)
{
    static struct item items[ITEMS];

    (void)state;
    torture_run(add_and_remove_all, items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_keys_are_bytes),
        cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_colliding_homes),
        cmocka_unit_test(test_shrinks),
        cmocka_unit_test(test_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
