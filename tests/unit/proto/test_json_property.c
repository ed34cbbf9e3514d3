/*
 * The scanner against jansson: random documents, and documents with random
 * damage, must be taken or refused by both. Where they differ, the reason is
 * one of those that `excused` lists.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "base/utf8.h"
#include "proto/json.h"
#include "vectors.h"

#define ROUNDS 30000
#define MUTATIONS 12
#define TEXT_MAX 4096

/* Same documents in each run: a failure can be repeated. */
static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint32_t draw(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % bound;
}

struct text {
    char data[TEXT_MAX];
    size_t size;
};

static void add(struct text *text, const char *bytes)
{
    size_t size = strlen(bytes);

    if (size <= TEXT_MAX - text->size) {
        memcpy(text->data + text->size, bytes, size);
        text->size += size;
    }
}

/* One of the pieces, which are separated by NULL. */
static void add_one_of(struct text *text, const char *const *pieces,
                       uint32_t count)
{
    add(text, pieces[draw(count)]);
}

static void add_blanks(struct text *text)
{
    static const char *const blanks[] = {" ", "\t", "\n", "\r", "  \n"};

    if (draw(6) == 0) {
        add_one_of(text, blanks, 5);
    }
}

static void add_string(struct text *text)
{
    static const char *const pieces[] = {
        "a",
        "z9",
        " ",
        "\xc3\xb1",
        "\xe2\x82\xac",
        "/",
        "'",
        "\x7f",
        "\\n",
        "\xf0\x9f\x94\x94",
        "\\\"",
        "\\\\",
        "\\/",
        "\\t",
        "\\u0041",
        "\\u00e9",
        "\\uFFFD",
        "\\b\\f\\r",
        "sixteen bytes run",
        "\\ud83d\\udd14",
    };
    uint32_t count = draw(3) == 0 ? draw(20) : draw(4);

    add(text, "\"");
    for (uint32_t i = 0; i < count; i++) {
        add_one_of(text, pieces, 20);
    }
    if (draw(40) == 0) {
        add(text, draw(2) == 0 ? "\\u0000" : "\\ud800");
    }
    add(text, "\"");
}

static void add_number(struct text *text)
{
    static const char *const numbers[] = {
        "0",   "-0",  "7",      "-12",      "123456789012345678",
        "0.5", "1e3", "-1.5E2", "10.25e-3", "9E+20",
    };

    add_one_of(text, numbers, 10);
}

static void add_key(struct text *text)
{
    static const char *const keys[] = {
        "\"event\"", "\"data\"", "\"id\"", "\"\\u0069d\"", "\"d\\u0061ta\"",
        "\"room\"",  "\"a\"",    "\"\"",   "\"events\"",   "\"_correlationId\"",
    };

    if (draw(4) == 0) {
        add_string(text);
    } else {
        add_one_of(text, keys, 10);
    }
}

static void add_value(struct text *text, int depth);

static void add_container(struct text *text, int depth, bool is_object)
{
    uint32_t count = draw(5);

    add(text, is_object ? "{" : "[");
    for (uint32_t i = 0; i < count; i++) {
        add(text, i > 0 ? "," : "");
        add_blanks(text);
        if (is_object) {
            add_key(text);
            add_blanks(text);
            add(text, ":");
        }
        add_value(text, depth - 1);
    }
    add_blanks(text);
    add(text, is_object ? "}" : "]");
}

static void add_value(struct text *text, int depth)
{
    static const char *const words[] = {"true", "false", "null"};
    uint32_t kind = draw(depth > 0 ? 5 : 3);

    add_blanks(text);
    if (kind == 0) {
        add_string(text);
    } else if (kind == 1) {
        add_number(text);
    } else if (kind == 2) {
        add_one_of(text, words, 3);
    } else {
        add_container(text, depth, kind == 3);
    }
    add_blanks(text);
}

static void mutate(struct text *text)
{
    static const char bytes[] =
        "\"\\{}[]:, \t\n\r0123456789eE+-.truefalsn/ub\x01\x1f\x7f\x80\xc3\xff";
    size_t at = draw((uint32_t)text->size);
    char byte = bytes[draw(sizeof bytes - 1)];
    size_t size;

    switch (draw(4)) {
    case 0:
        text->data[at] = byte;
        break;
    case 1:
        size = 1 + draw(3);
        if (size > text->size - at) {
            size = text->size - at;
        }
        memmove(text->data + at, text->data + at + size,
                text->size - at - size);
        text->size -= size;
        break;
    case 2:
        if (text->size < TEXT_MAX) {
            memmove(text->data + at + 1, text->data + at, text->size - at);
            text->data[at] = byte;
            text->size++;
        }
        break;
    default:
        text->size = at;
        break;
    }
}

static bool holds(const struct text *text, const char *part)
{
    size_t size = strlen(part);

    for (size_t at = 0; at + size <= text->size; at++) {
        if (memcmp(text->data + at, part, size) == 0) {
            return true;
        }
    }
    return false;
}

/*
 * Why jansson may refuse what is RFC 8259: it has no value for a number that
 * does not fit, no text for a surrogate that is alone, and no key that holds a
 * zero.
 */
static bool excused(const struct text *text, const json_error_t *error)
{
    return json_error_code(error) == json_error_numeric_overflow ||
           strncmp(error->text, "invalid Unicode", 15) == 0 ||
           (json_error_code(error) == json_error_null_byte_in_key &&
            holds(text, "\\u0000"));
}

static json_t *load(const char *data, size_t size, json_error_t *error)
{
    return json_loadb(data, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, error);
}

/* Both judge; returns what jansson has made of it. */
static json_t *judge(const struct text *text)
{
    char *guarded = vectors_guard(text->data, text->size);
    bool is_taken = json_check(guarded, text->size) > 0 &&
                    utf8_is_valid(guarded, text->size);
    json_error_t error;
    json_t *tree = load(text->data, text->size, &error);

    if (is_taken != (tree != NULL) && !(is_taken && excused(text, &error))) {
        fprintf(stderr, "%s by us, jansson: %s\n%.*s\n",
                is_taken ? "taken" : "refused", error.text, (int)text->size,
                text->data);
        fail();
    }
    return tree;
}

/* Random and damaged texts are judged alike. */
static void test_both_judge_alike(void **state)
{
    size_t taken = 0, refused = 0;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct text text = {.size = 0};

        add_value(&text, 6);
        for (int i = 0; i <= MUTATIONS && text.size > 0; i++) {
            json_t *tree = judge(&text);

            taken += tree != NULL;
            refused += tree == NULL;
            json_decref(tree);
            mutate(&text);
        }
    }
    /* The generator is worth something only if both happen often. */
    assert_true(taken > ROUNDS / 2);
    assert_true(refused > ROUNDS);
}

/* jansson keeps the last of doubled members; the scanner refuses them. */
static int count_member(struct peal_slice object, const char *name)
{
    /* A member more that is called `name` cannot be told from none, so the
     * names are counted by scanning for each alone. */
    struct peal_slice slice = peal_slice(name);
    struct json_value value;
    int rc = json_scan(object.data, object.size, &slice, 1, &value);

    return rc < 0 ? 2 : value.type != JSON_TYPE_ABSENT;
}

static void compare_member(const struct text *text, json_t *tree,
                           const char *name, const struct json_value *value)
{
    json_t *wanted = json_object_get(tree, name);
    json_error_t error;
    json_t *found;

    assert_true((wanted != NULL) == (value->type != JSON_TYPE_ABSENT));
    if (wanted == NULL) {
        return;
    }
    assert_true(value->raw.data >= text->data);
    found = load(value->raw.data, value->raw.size, &error);
    assert_true(json_equal(found, wanted));
    if (value->type == JSON_TYPE_STRING) {
        char out[TEXT_MAX];
        long size = json_decode(value->raw, out);

        assert_int_equal(size, json_string_length(wanted));
        assert_memory_equal(out, json_string_value(wanted), (size_t)size);
    }
    json_decref(found);
}

/* The members that scanning finds are those that jansson has. */
static void test_members_are_the_same(void **state)
{
    static const char *const keys[] = {"event", "data", "id",
                                       "room",  "",     "_correlationId"};
    enum { KEYS = 6 };
    int compared = 0;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct text text = {.size = 0};
        struct peal_slice names[KEYS];
        struct json_value values[KEYS];
        bool is_doubled = false;
        json_t *tree;

        add_container(&text, 4, true);
        tree = judge(&text);
        if (tree == NULL) {
            continue;
        }
        for (int i = 0; i < KEYS; i++) {
            names[i] = peal_slice(keys[i]);
            is_doubled |=
                count_member(slice_make(text.data, text.size), keys[i]) > 1;
        }
        int rc = json_scan(text.data, text.size, names, KEYS, values);

        assert_int_equal(rc, is_doubled ? PEAL_EPROTOCOL : 0);
        for (int i = 0; i < KEYS && rc == 0; i++) {
            compare_member(&text, tree, keys[i], &values[i]);
            compared += values[i].type != JSON_TYPE_ABSENT;
        }
        json_decref(tree);
    }
    assert_true(compared > ROUNDS / 4);
}

/* What is quoted here is the same text there. */
static void test_quoted_text_is_read_alike(void **state)
{
    static const char *const pieces[] = {
        "a",
        "\"",
        "\\",
        "\n",
        "\x01",
        "\x1f",
        "/",
        "\xc3\xb1",
        "\x7f",
        "\xf0\x9f\x94\x94",
        "sixteen bytes, 16",
    };

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct text text = {.size = 0};
        uint32_t count = draw(30);
        char out[TEXT_MAX * 6];
        json_error_t error;
        json_t *tree;

        for (uint32_t i = 0; i < count; i++) {
            add_one_of(&text, pieces, 11);
        }
        struct peal_slice slice = {text.data, text.size};
        size_t size = json_quoted_size(slice);

        assert_ptr_equal(json_quote(out, slice), out + size);
        tree = load(out, size, &error);
        assert_non_null(tree);
        assert_int_equal(json_string_length(tree), text.size);
        assert_memory_equal(json_string_value(tree), text.data, text.size);
        json_decref(tree);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_judge_alike),
        cmocka_unit_test(test_members_are_the_same),
        cmocka_unit_test(test_quoted_text_is_read_alike),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
