/* The stelar dialect: its vectors, and what has no vector. */
#include "wire_vectors.h"

#include <jansson.h>

static void run(const struct vector *vector, const struct vector_pieces *pieces,
                struct vector_log *log)
{
    wire_run(&dialect_stelar, vector, pieces, log);
}

static void test_vectors(void **state)
{
    (void)state;
    vectors_check("stelar", run);
}

static void assert_text(const json_t *value, struct peal_slice wanted)
{
    assert_true(json_is_string(value));
    assert_int_equal(json_string_length(value), wanted.size);
    assert_memory_equal(json_string_value(value), wanted.data, wanted.size);
}

/* Texts with everything that must be escaped, as jansson reads them. */
static void test_nasty_texts_arrive(void **state)
{
    struct peal_slice nasty = SLICE("a\"\\/\b\f\n\r\t\x01\x1f\x7f\xc3\xb1");
    struct wire wires[] = {
        {.kind = WIRE_EVENT, .name = nasty, .data = nasty},
        {.kind = WIRE_ANSWER, .ack = nasty, .data = nasty},
        {.kind = WIRE_JOINED, .room = nasty},
        {.kind = WIRE_LEFT, .room = nasty},
    };

    (void)state;
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++) {
        struct wire_plan plan;
        json_error_t error;
        char *out;
        json_t *tree;

        wires[i].data_kind = PEAL_TEXT;
        out = wire_check_write(&dialect_stelar, &wires[i], TRANSPORT_WS, &plan);
        assert_non_null(out);
        tree = json_loadb(out, plan.size, 0, &error);
        assert_non_null(tree);
        if (i < 2) {
            assert_text(json_object_get(tree, "event"), nasty);
        }
        assert_text(json_object_get(tree, "data"), nasty);
        json_decref(tree);
        free(out);
    }
}

/* The quotes that a number gets lie inside of the message, at either end. */
static void test_numbers_become_texts_within_the_message(void **state)
{
    static const char last[] =
        "{\"event\":\"e\",\"_ackName\":\"a\",\"_correlationId\":7}";
    static const char first[] =
        "{\"_correlationId\":7,\"event\":\"e\",\"_ackName\":\"a\"}";
    const char *const texts[] = {last, first};

    (void)state;
    for (int i = 0; i < 2; i++) {
        size_t size = strlen(texts[i]);
        struct wire wire;

        dialect_stelar.read_ws(&wire, false, vectors_guard(texts[i], size),
                               size);
        assert_true(slice_equal(wire.id, SLICE("\"7\"")));
        assert_true(slice_equal(wire.name, SLICE("e")));
        assert_true(slice_equal(wire.ack, SLICE("a")));
    }
}

/* An answer goes back under the ack and with the id that were read. */
static void test_requests_can_be_answered(void **state)
{
    char text[] = "{\"event\":\"calc\",\"data\":[1],\"_ackName\":\"s\\u0075m\","
                  "\"_correlationId\":\"sum#\\n1\"}";
    static const char wanted[] = "{\"event\":\"sum\",\"data\":[1],"
                                 "\"_isAck\":true,"
                                 "\"_correlationId\":\"sum#\\n1\"}";
    struct wire wire;
    struct wire_plan plan;
    char *out;

    (void)state;
    dialect_stelar.read_ws(&wire, false, text, sizeof text - 1);
    assert_int_equal(wire.kind, WIRE_EVENT);
    wire.kind = WIRE_ANSWER;
    out = wire_check_write(&dialect_stelar, &wire, TRANSPORT_WS, &plan);
    assert_non_null(out);
    assert_int_equal(plan.size, sizeof wanted - 1);
    assert_memory_equal(out, wanted, sizeof wanted - 1);
    free(out);
}

/* Every cut of a message is read without a look beyond its end. */
static void test_every_prefix_is_read(void **state)
{
    static const char text[] =
        "{\"event\":\"c\\u0061lc\",\"_correlationId\":12,\"_ackName\":\"s\","
        "\"data\":\"sala\"}";
    struct wire wire;

    (void)state;
    for (size_t size = 0; size < sizeof text; size++) {
        dialect_stelar.read_ws(&wire, false, vectors_guard(text, size), size);
        assert_int_equal(wire.kind,
                         size == sizeof text - 1 ? WIRE_EVENT : WIRE_INVALID);
        dialect_stelar.read_ws(&wire, true, vectors_guard(text, size), size);
        assert_int_equal(wire.kind, WIRE_INVALID);
    }
    for (int type = 0; type < 256; type++) {
        for (size_t size = 0; size < sizeof text; size++) {
            struct tcp_frame frame = {
                .type = (uint8_t)type,
                .event = SLICE("name"),
                .payload = vectors_guard(text, size),
                .payload_size = size,
            };

            dialect_stelar.read_tcp(&wire, &frame);
            wire_check_sound(&wire);
        }
    }
}

static void test_table(void **state)
{
    (void)state;
    assert_string_equal(dialect_stelar.name, "stelar");
    assert_null(dialect_stelar.subprotocol);
    assert_true(dialect_stelar.has_welcome);
    assert_false(dialect_stelar.has_requests);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_nasty_texts_arrive),
        cmocka_unit_test(test_numbers_become_texts_within_the_message),
        cmocka_unit_test(test_requests_can_be_answered),
        cmocka_unit_test(test_every_prefix_is_read),
        cmocka_unit_test(test_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
