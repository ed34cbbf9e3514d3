/* What the dialects share. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "proto/wire.h"
#include "vectors.h"

/* Clients know these by number and by name: neither may change. */
static void test_failures_are_stable(void **state)
{
    static const struct {
        int code;
        const char *name;
        bool temporary;
    } wanted[] = {
        {100, "bad_message", false}, {101, "unknown_event", false},
        {102, "not_allowed", false}, {103, "too_large", false},
        {104, "bad_room", false},    {105, "room_limit", false},
        {106, "timeout", true},      {107, "internal", true},
        {108, "refused", false},     {109, "busy", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        struct wire_failure failure =
            wire_failure_of((enum wire_code)wanted[i].code);

        assert_int_equal(failure.code, wanted[i].code);
        assert_true(slice_equal(failure.name, peal_slice(wanted[i].name)));
        assert_true(failure.message.size > 10);
        assert_int_equal(failure.message.size, strlen(failure.message.data));
        assert_int_equal(failure.temporary, wanted[i].temporary);
    }
}

static void test_lengths(void **state)
{
    char out[4];

    (void)state;
    assert_ptr_equal(wire_put_u32(out, 0x01020304), out + 4);
    assert_memory_equal(out, "\x01\x02\x03\x04", 4);
    wire_put_u32(out, UINT32_MAX);
    assert_memory_equal(out, "\xff\xff\xff\xff", 4);
}

static void test_json_is_found_without_blanks(void **state)
{
    struct json_value value;
    char *text = vectors_guard(" \t[1, 2]\r\n", 10);

    (void)state;
    assert_true(wire_read_json(text, 10, &value));
    assert_int_equal(value.type, JSON_TYPE_ARRAY);
    assert_true(slice_equal(value.raw, SLICE("[1, 2]")));
    assert_true(wire_read_json("0", 1, &value));
    assert_true(slice_equal(value.raw, SLICE("0")));
    assert_false(wire_read_json("", 0, &value));
    assert_false(wire_read_json(NULL, 0, &value));
    assert_false(wire_read_json(" ", 1, &value));
    assert_false(wire_read_json("\"\xff\"", 3, &value));
}

/* The JSON string `text`, as it comes alone. */
static struct json_value string_of(char *text)
{
    struct json_value value = {.has_escapes = false};

    assert_true(wire_read_json(text, strlen(text), &value));
    assert_int_equal(value.type, JSON_TYPE_STRING);
    return value;
}

static void test_strings_are_decoded_where_they_stand(void **state)
{
    char plain[] = "\"plain\"";
    char escaped[] = "\"\\u0041\\n\"";
    char lone[] = "\"\\ud800\"";
    struct json_value plain_value = string_of(plain);
    struct json_value escaped_value = string_of(escaped);
    struct json_value lone_value = string_of(lone);
    struct peal_slice text;

    (void)state;
    assert_true(wire_decode(&plain_value, &text));
    assert_true(slice_equal(text, SLICE("plain")));
    assert_string_equal(plain, "\"plain\"");
    assert_true(wire_decode(&escaped_value, &text));
    assert_true(slice_equal(text, SLICE("A\n")));
    assert_true(text.data >= escaped &&
                text.data + text.size <= escaped + sizeof escaped);
    assert_false(wire_decode(&lone_value, &text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures_are_stable),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_json_is_found_without_blanks),
        cmocka_unit_test(test_strings_are_decoded_where_they_stand),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
