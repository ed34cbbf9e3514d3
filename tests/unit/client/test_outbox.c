/* Parcels keep what they are given, in order, and are counted. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/slice.h"
#include "client/outbox.h"

static void test_parcels_are_copies(void **state)
{
    char name[] = "chat";
    char data[] = "{\"a\":1}";
    struct peal_event event = peal_json(name, data);
    struct parcel *parcel;
    struct peal_event got;

    (void)state;
    event.room = SLICE("lobby");
    parcel = outbox_parcel_new(&event);
    name[0] = data[0] = '#';
    got = outbox_parcel_event(parcel);
    assert_true(slice_equal(got.name, SLICE("chat")));
    assert_true(slice_equal(got.data, SLICE("{\"a\":1}")));
    assert_true(slice_equal(got.room, SLICE("lobby")));
    assert_int_equal(got.kind, PEAL_JSON);
    outbox_parcel_free(parcel);
}

static void test_order_and_bounds_hold(void **state)
{
    const struct peal_event event = peal_json("a", "1");
    struct parcel *parcels[3];
    struct outbox outbox;
    size_t bytes;

    (void)state;
    outbox_init(&outbox);
    assert_null(outbox_pop(&outbox));
    for (int i = 0; i < 3; i++) {
        parcels[i] = outbox_parcel_new(&event);
        outbox_push(&outbox, parcels[i]);
    }
    bytes = outbox_parcel_bytes(parcels[0]);
    assert_int_equal(outbox.bytes, 3 * bytes);
    assert_false(outbox_fits(&outbox, bytes, 3, SIZE_MAX));
    assert_true(outbox_fits(&outbox, bytes, 4, 4 * bytes));
    assert_false(outbox_fits(&outbox, bytes, 4, 4 * bytes - 1));
    assert_false(outbox_fits(&outbox, SIZE_MAX, 4, 100));
    outbox_remove(&outbox, parcels[1]);
    assert_ptr_equal(outbox_pop(&outbox), parcels[0]);
    assert_ptr_equal(outbox_pop(&outbox), parcels[2]);
    assert_true(outbox_is_empty(&outbox));
    assert_int_equal(outbox.bytes, 0);
    for (int i = 0; i < 3; i++) {
        outbox_parcel_free(parcels[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parcels_are_copies),
        cmocka_unit_test(test_order_and_bounds_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
