/* The JSON scanner: the texts of tests/vectors/json, members, strings. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "proto/json.h"
#include "vectors.h"

static const char *const type_names[] = {
    [JSON_TYPE_ABSENT] = "absent", [JSON_TYPE_NULL] = "null",
    [JSON_TYPE_FALSE] = "false",   [JSON_TYPE_TRUE] = "true",
    [JSON_TYPE_NUMBER] = "number", [JSON_TYPE_STRING] = "string",
    [JSON_TYPE_ARRAY] = "array",   [JSON_TYPE_OBJECT] = "object",
};

static int check(const char *text)
{
    size_t size = strlen(text);

    return json_check(vectors_guard(text, size), size);
}

/* A text is one piece, however a vector is cut. */
static void run_check(const struct vector *vector,
                      const struct vector_pieces *pieces,
                      struct vector_log *log)
{
    char *text = vectors_guard(vector->in, vector->in_size);
    int rc = json_check(text, vector->in_size);

    (void)pieces;
    assert_true(rc == PEAL_EPROTOCOL ||
                (rc > JSON_TYPE_ABSENT && rc <= JSON_TYPE_OBJECT));
    vector_log_add(log, "%s", rc < 0 ? "refused" : type_names[rc]);
    vector_log_end(log);
}

static void test_vectors(void **state)
{
    (void)state;
    vectors_check("json", run_check);
}

/* Nothing that is cut short is JSON, and nothing is read beyond the cut. */
static void test_every_prefix_is_refused(void **state)
{
    static const char text[] =
        "{\"event\":\"ch\\u0061t\\n and more than sixteen bytes of it\","
        "\"data\":[1,-2.5e+10,true,false,null,{\"a\":{},\"b\":[]},\"\xc3\xb1\"]"
        ","
        "\"id\":12345678901234567890}";

    (void)state;
    assert_int_equal(check(text), JSON_TYPE_OBJECT);
    for (size_t size = 0; size < sizeof text - 1; size++) {
        struct peal_slice name = SLICE("data");
        struct json_value value;
        char *cut = vectors_guard(text, size);

        assert_int_equal(json_check(cut, size), PEAL_EPROTOCOL);
        assert_int_equal(json_scan(cut, size, &name, 1, &value),
                         PEAL_EPROTOCOL);
    }
}

/* Strings of every length end at every place of a vector. */
static void test_every_place_of_a_special_byte(void **state)
{
    char text[400];

    (void)state;
    for (size_t length = 0; length < 300; length += length < 150 ? 1 : 13) {
        size_t size = length + 2;

        memset(text, 'x', sizeof text);
        text[0] = '"';
        text[size - 1] = '"';
        assert_int_equal(json_check(vectors_guard(text, size), size),
                         JSON_TYPE_STRING);
        for (size_t at = 1; at <= length; at++) {
            text[at] = '\x1f';
            assert_int_equal(json_check(vectors_guard(text, size), size),
                             PEAL_EPROTOCOL);
            text[at] = (char)0x80;
            assert_int_equal(json_check(vectors_guard(text, size), size),
                             JSON_TYPE_STRING);
            text[at] = '"';
            assert_int_equal(json_check(vectors_guard(text, size), size),
                             PEAL_EPROTOCOL);
            text[at] = '\\';
            assert_int_equal(json_check(vectors_guard(text, size), size),
                             PEAL_EPROTOCOL);
            text[at] = 'x';
        }
    }
}

/* Which bytes may stand in a string, and which may follow a backslash. */
static void test_every_byte_in_a_string(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        char plain[3] = {'"', (char)byte, '"'};
        char escaped[4] = {'"', '\\', (char)byte, '"'};
        bool is_plain = byte >= 0x20 && byte != '"' && byte != '\\';
        bool is_escape = byte != 0 && strchr("\"\\/bfnrt", byte) != NULL;

        assert_int_equal(json_check(plain, 3),
                         is_plain ? JSON_TYPE_STRING : PEAL_EPROTOCOL);
        assert_int_equal(json_check(escaped, 4),
                         is_escape ? JSON_TYPE_STRING : PEAL_EPROTOCOL);
    }
}

static void nest(char *text, size_t depth, bool is_object)
{
    size_t at = 0;

    for (size_t i = 0; i < depth; i++) {
        const char *open = is_object ? "{\"a\":" : "[";

        memcpy(text + at, open, strlen(open));
        at += strlen(open);
    }
    text[at++] = '0';
    for (size_t i = 0; i < depth; i++) {
        text[at++] = is_object ? '}' : ']';
    }
    text[at] = '\0';
}

static void test_depth_is_limited(void **state)
{
    static char text[JSON_DEPTH_MAX * 8];
    struct peal_slice name = SLICE("a");
    struct json_value value;

    (void)state;
    for (int is_object = 0; is_object < 2; is_object++) {
        nest(text, JSON_DEPTH_MAX, is_object != 0);
        assert_true(check(text) > 0);
        nest(text, JSON_DEPTH_MAX + 1, is_object != 0);
        assert_int_equal(check(text), PEAL_EPROTOCOL);
    }
    /* The object that is scanned counts like any other. */
    nest(text, JSON_DEPTH_MAX, true);
    assert_int_equal(json_scan(text, strlen(text), &name, 1, &value), 0);
    nest(text, JSON_DEPTH_MAX + 1, true);
    assert_int_equal(json_scan(text, strlen(text), &name, 1, &value),
                     PEAL_EPROTOCOL);
}

enum { EVENT, DATA, ID, NAME_COUNT };

static const struct peal_slice names[NAME_COUNT] = {
    {"event", 5}, {"data", 4}, {"id", 2}};

static int scan(const char *text, struct json_value values[NAME_COUNT])
{
    size_t size = strlen(text);

    return json_scan(vectors_guard(text, size), size, names, NAME_COUNT,
                     values);
}

static void assert_value(const struct json_value *value, enum json_type type,
                         const char *raw)
{
    assert_int_equal(value->type, type);
    assert_true(slice_equal(value->raw, peal_slice(raw)));
}

static void test_scan_finds_members(void **state)
{
    struct json_value values[NAME_COUNT];

    (void)state;
    assert_int_equal(
        scan("{\"event\":\"chat\",\"data\":{\"id\":1},\"id\":7}", values), 0);
    assert_value(&values[EVENT], JSON_TYPE_STRING, "\"chat\"");
    assert_value(&values[DATA], JSON_TYPE_OBJECT, "{\"id\":1}");
    assert_value(&values[ID], JSON_TYPE_NUMBER, "7");

    /* Any order, with blanks, beside others, none of which must be known. */
    assert_int_equal(scan(" { \"x\" : [ ] , \"id\"\t: \"a\" ,\n\"event\" : "
                          "true\r, \"Event\":1,\"even\":2,\"events\":3 } ",
                          values),
                     0);
    assert_value(&values[EVENT], JSON_TYPE_TRUE, "true");
    assert_value(&values[DATA], JSON_TYPE_ABSENT, "");
    assert_value(&values[ID], JSON_TYPE_STRING, "\"a\"");

    assert_int_equal(scan("{}", values), 0);
    assert_value(&values[EVENT], JSON_TYPE_ABSENT, "");
    assert_int_equal(scan("{\"data\":null,\"id\":false,\"event\":[1]}", values),
                     0);
    assert_value(&values[EVENT], JSON_TYPE_ARRAY, "[1]");
    assert_value(&values[DATA], JSON_TYPE_NULL, "null");
    assert_value(&values[ID], JSON_TYPE_FALSE, "false");
}

static void test_scan_knows_escaped_keys(void **state)
{
    struct json_value values[NAME_COUNT];
    struct peal_slice umlaut = SLICE("\xc3\xbc\xf0\x9f\x94\x94\"");
    struct json_value value;
    const char *text = "{\"\\u00fc\\ud83d\\udd14\\\"\":1}";

    (void)state;
    assert_int_equal(
        scan("{\"\\u0065vent\":1,\"d\\u0061ta\":2,\"i\\u0064\":3}", values), 0);
    assert_value(&values[EVENT], JSON_TYPE_NUMBER, "1");
    assert_value(&values[DATA], JSON_TYPE_NUMBER, "2");
    assert_value(&values[ID], JSON_TYPE_NUMBER, "3");

    assert_int_equal(json_scan(text, strlen(text), &umlaut, 1, &value), 0);
    assert_value(&value, JSON_TYPE_NUMBER, "1");

    /* Longer, shorter, different, and what is no text at all. */
    assert_int_equal(scan("{\"\\u0065vents\":1,\"\\u0065ven\":1,"
                          "\"\\u0045vent\":1,\"\\ud800\":1,\"i\\ud800\":1,"
                          "\"\\u0069\\u0064\\u0000\":1}",
                          values),
                     0);
    assert_value(&values[EVENT], JSON_TYPE_ABSENT, "");
    assert_value(&values[ID], JSON_TYPE_ABSENT, "");
}

static void test_scan_refuses(void **state)
{
    static const char *const doubled[] = {
        "{\"id\":1,\"id\":1}",
        "{\"id\":1,\"x\":0,\"\\u0069d\":1}",
        "{\"\\u0069d\":null,\"id\":null}",
    };
    static const char *const others[] = {
        "[]", "\"event\"", "1", " null ", "true", "[{\"event\":1}]",
    };
    static const char *const broken[] = {
        "",
        " ",
        "{",
        "{\"id\"}",
        "{\"id\":}",
        "{,}",
        "{\"id\":1",
        "{\"id\":1,}",
        "{\"id\":1}}",
        "{\"id\":1}x",
        "{id:1}",
        "{1:1}",
        "{\"id\" 1}",
        "{\"id\":1 2}",
        "[",
        "nul",
        "{\"id\":1;\"data\":2}",
    };
    struct json_value values[NAME_COUNT];

    (void)state;
    for (size_t i = 0; i < sizeof doubled / sizeof *doubled; i++) {
        assert_true(check(doubled[i]) > 0);
        assert_int_equal(scan(doubled[i], values), PEAL_EPROTOCOL);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(scan(others[i], values), PEAL_EINVAL);
    }
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        assert_int_equal(scan(broken[i], values), PEAL_EPROTOCOL);
    }
    /* Doubled members that nobody asked for are their sender's business. */
    assert_int_equal(scan("{\"x\":1,\"x\":2}", values), 0);
    assert_int_equal(json_scan(NULL, 0, names, NAME_COUNT, values),
                     PEAL_EPROTOCOL);
    assert_int_equal(json_check(NULL, 0), PEAL_EPROTOCOL);
}

/* Decodes into the text itself and into other memory, which must agree. */
static long decode(const char *raw, char *out)
{
    struct peal_slice guarded = peal_slice(raw);
    char in_place[64];
    long size;

    guarded.data = vectors_guard(raw, guarded.size);
    size = json_decode(guarded, out);
    memcpy(in_place, raw, guarded.size);
    assert_int_equal(json_decode(slice_make(in_place, guarded.size), in_place),
                     size);
    if (size >= 0) {
        assert_memory_equal(in_place, out, (size_t)size);
    }
    return size;
}

static void test_decode(void **state)
{
    static const struct {
        const char *raw;
        const char *text;
    } cases[] = {
        {"\"\"", ""},
        {"\"plain\"", "plain"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"a\\u0041\\u00e9\\u20ac\\uffffz\"",
         "aA\xc3\xa9\xe2\x82\xac\xef\xbf\xbfz"},
        {"\"\\u007f\\u0080\\u07ff\\u0800\"",
         "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80"},
        {"\"\\ud7ff\\ue000\"", "\xed\x9f\xbf\xee\x80\x80"},
        {"\"\\ud83d\\udd14!\"", "\xf0\x9f\x94\x94!"},
        {"\"\\uD800\\uDC00\\uDBFF\\uDFFF\"",
         "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"},
        {"\"before\\nafter, more than sixteen bytes\"",
         "before\nafter, more than sixteen bytes"},
    };
    static const char *const lone[] = {
        "\"\\ud800\"",        "\"\\udc00\"",           "\"\\ud800x\"",
        "\"\\ud800\\n\"",     "\"\\ud800\\u0041\"",    "\"\\udc00\\ud800\"",
        "\"\\ud800\\ud800\"", "\"ok \\udbff\\ue000\"", "\"\\ud800\\u00\"",
    };
    char out[64];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        long size = decode(cases[i].raw, out);

        assert_int_equal(size, strlen(cases[i].text));
        assert_memory_equal(out, cases[i].text, (size_t)size);
    }
    /* The last one is not JSON, so it is not for json_decode. */
    for (size_t i = 0; i < sizeof lone / sizeof *lone - 1; i++) {
        assert_true(check(lone[i]) == JSON_TYPE_STRING);
        assert_int_equal(decode(lone[i], out), PEAL_EPROTOCOL);
    }
    assert_int_equal(check(lone[sizeof lone / sizeof *lone - 1]),
                     PEAL_EPROTOCOL);
    assert_int_equal(decode("\"\\u0000\"", out), 1);
    assert_int_equal(out[0], 0);
}

static void test_whole(void **state)
{
    static const char *const refused[] = {
        "-1",    "-0",
        "1.0",   "1e3",
        "1E0",   "0.5",
        "",      "9007199254740992",
        "\"1\"", "99999999999999999999999999",
    };

    (void)state;
    assert_int_equal(json_whole(SLICE("0")), 0);
    assert_int_equal(json_whole(SLICE("42")), 42);
    assert_true(json_whole(SLICE("9007199254740991")) ==
                INT64_C(9007199254740991));
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        assert_int_equal(json_whole(peal_slice(refused[i])), PEAL_EPROTOCOL);
    }
}

static void assert_quoted(struct peal_slice text, const char *wanted)
{
    size_t size = json_quoted_size(text);
    char *out = malloc(size);

    assert_non_null(out);
    assert_int_equal(size, strlen(wanted));
    assert_ptr_equal(json_quote(out, text), out + size);
    assert_memory_equal(out, wanted, size);
    free(out);
}

static void test_quote(void **state)
{
    (void)state;
    assert_quoted((struct peal_slice){NULL, 0}, "\"\"");
    for (size_t size = 1; size < 40; size++) {
        for (size_t at = 0; at < size; at++) {
            char text[40], wanted[44];

            memset(text, 'x', sizeof text);
            text[at] = '"';
            sprintf(wanted, "\"%.*s\\\"%.*s\"", (int)at, text,
                    (int)(size - at - 1), text + at + 1);
            assert_quoted(slice_make(vectors_guard(text, size), size), wanted);
        }
    }
    assert_quoted(SLICE("plain, and longer than sixteen bytes"),
                  "\"plain, and longer than sixteen bytes\"");
    assert_quoted(SLICE("\"\\/\b\f\n\r\t"), "\"\\\"\\\\/\\b\\f\\n\\r\\t\"");
    assert_quoted(SLICE("\0\x01\x1f\x7f"), "\"\\u0000\\u0001\\u001f\x7f\"");
    assert_quoted(SLICE("\xf0\x9f\x94\x94 \xc3\xb1"),
                  "\"\xf0\x9f\x94\x94 \xc3\xb1\"");
    assert_quoted(SLICE("0123456789abcde\n0123456789abcdef\""),
                  "\"0123456789abcde\\n0123456789abcdef\\\"\"");
}

/* Every byte below 0x80, at every place of a step, comes back as it was. */
static void test_what_is_quoted_can_be_decoded(void **state)
{
    char text[40];
    char out[256];
    char back[256];

    (void)state;
    for (int byte = 0; byte < 0x80; byte++) {
        for (size_t at = 0; at < sizeof text; at++) {
            struct peal_slice slice = {text, sizeof text};
            size_t size;

            memset(text, 'x', sizeof text);
            text[at] = (char)byte;
            size = json_quoted_size(slice);
            assert_ptr_equal(json_quote(out, slice), out + size);
            assert_int_equal(json_check(out, size), JSON_TYPE_STRING);
            assert_int_equal(json_decode(slice_make(out, size), back),
                             sizeof text);
            assert_memory_equal(back, text, sizeof text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_every_prefix_is_refused),
        cmocka_unit_test(test_every_place_of_a_special_byte),
        cmocka_unit_test(test_every_byte_in_a_string),
        cmocka_unit_test(test_depth_is_limited),
        cmocka_unit_test(test_scan_finds_members),
        cmocka_unit_test(test_scan_knows_escaped_keys),
        cmocka_unit_test(test_scan_refuses),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_quote),
        cmocka_unit_test(test_what_is_quoted_can_be_decoded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
