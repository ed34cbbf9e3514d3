/* The raw dialect: its vectors. */
#include "wire_vectors.h"

static void run(const struct vector *vector, const struct vector_pieces *pieces,
                struct vector_log *log)
{
    wire_run(&dialect_raw, vector, pieces, log);
}

static void test_vectors(void **state)
{
    (void)state;
    vectors_check("raw", run);
}

static void test_long_names_have_no_frame(void **state)
{
    char name[257] = {0};
    struct wire wire = {.name = {name, 256}, .data_kind = PEAL_TEXT};
    struct wire_plan plan;

    (void)state;
    assert_true(dialect_raw.plan(&plan, &wire, TRANSPORT_TCP));
    wire.name.size = 257;
    assert_false(dialect_raw.plan(&plan, &wire, TRANSPORT_TCP));
    /* Over WebSocket it is not written anyway. */
    assert_true(dialect_raw.plan(&plan, &wire, TRANSPORT_WS));
}

static void test_table(void **state)
{
    (void)state;
    assert_string_equal(dialect_raw.name, "raw");
    assert_null(dialect_raw.subprotocol);
    assert_false(dialect_raw.has_welcome);
    assert_false(dialect_raw.has_requests);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_long_names_have_no_frame),
        cmocka_unit_test(test_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
