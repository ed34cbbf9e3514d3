/* The peal dialect: the vectors of docs/protocol.md, and what has no vector. */
#include "wire_vectors.h"

#include <jansson.h>
#include <stdio.h>

static void run(const struct vector *vector, const struct vector_pieces *pieces,
                struct vector_log *log)
{
    wire_run(&dialect_peal, vector, pieces, log);
}

static void test_vectors(void **state)
{
    (void)state;
    vectors_check("peal", run);
}

/* The contents of a file of the source tree, terminated. */
static char *load(const char *path)
{
    const char *root = getenv("PEAL_SOURCE");
    char full[512];
    FILE *file;
    char *text;
    long size;

    snprintf(full, sizeof full, "%s/%s", root == NULL ? "." : root, path);
    file = fopen(full, "rb");
    if (file == NULL) {
        fail_msg("%s cannot be read", full);
    }
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    rewind(file);
    text = malloc((size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, file), size);
    text[size] = '\0';
    fclose(file);
    return text;
}

static bool is_in_vectors(const char *line)
{
    static const char *const files[] = {"client_text", "client_binary",
                                        "client_frames", "server"};
    bool is_found = false;

    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[64];
        char *text;

        snprintf(path, sizeof path, "tests/vectors/peal/%s.txt", files[i]);
        text = load(path);
        is_found |= strstr(text, line) != NULL;
        free(text);
    }
    return is_found;
}

/*
 * Every line of a block that is marked as ```peal in the protocol's page is in
 * the vectors, hence true.
 */
static void test_documented_examples_are_vectors(void **state)
{
    char *text = load("docs/protocol.md");
    bool is_example = false;
    int examples = 0;

    (void)state;
    for (char *line = strtok(text, "\n"); line != NULL;
         line = strtok(NULL, "\n")) {
        if (strncmp(line, "```", 3) == 0) {
            is_example = strcmp(line, "```peal") == 0;
        } else if (is_example) {
            examples++;
            if (!is_in_vectors(line)) {
                fail_msg("no vector holds: %s", line);
            }
        }
    }
    free(text);
    assert_true(examples > 30);
}

/* A name of every character that ASCII has, and some that it has not. */
static struct peal_slice nasty_name(char out[256])
{
    static const char more[] = "\xc3\xb1\xe2\x82\xac\xf0\x9f\x94\x94";

    for (int i = 0; i < 0x80; i++) {
        out[i] = (char)i;
    }
    memcpy(out + 0x80, more, sizeof more - 1);
    return slice_make(out, 0x80 + sizeof more - 1);
}

static json_t *parse(const char *data, size_t size)
{
    json_error_t error;
    json_t *tree = json_loadb(data, size, JSON_ALLOW_NUL, &error);

    if (tree == NULL) {
        fail_msg("%s: %.*s", error.text, (int)size, data);
    }
    return tree;
}

static void assert_text(const json_t *value, struct peal_slice wanted)
{
    assert_true(json_is_string(value));
    assert_int_equal(json_string_length(value), wanted.size);
    assert_memory_equal(json_string_value(value), wanted.data, wanted.size);
}

/* What jansson has of a wire that was written as a WebSocket text. */
static json_t *written(const struct wire *wire)
{
    struct wire_plan plan;
    char *out = wire_check_write(&dialect_peal, wire, TRANSPORT_WS, &plan);
    json_t *tree;

    assert_non_null(out);
    assert_false(plan.is_binary);
    tree = parse(out, plan.size);
    free(out);
    return tree;
}

static void test_nasty_texts_arrive(void **state)
{
    char memory[256];
    struct peal_slice nasty = nasty_name(memory);
    struct wire event = {
        .name = nasty, .room = nasty, .data = nasty, .data_kind = PEAL_TEXT};
    struct wire failure = {
        .kind = WIRE_FAILURE,
        .id = SLICE("\"x\""),
        .failure = {.code = 1000, .name = nasty, .message = nasty},
    };
    struct wire welcome = {.kind = WIRE_WELCOME, .welcome.client_id = nasty};
    json_t *tree = written(&event);
    json_t *data;

    (void)state;
    assert_text(json_object_get(tree, "event"), nasty);
    assert_text(json_object_get(tree, "room"), nasty);
    assert_text(json_object_get(tree, "data"), nasty);
    json_decref(tree);

    tree = written(&failure);
    data = json_object_get(tree, "data");
    assert_text(json_object_get(data, "name"), nasty);
    assert_text(json_object_get(data, "message"), nasty);
    json_decref(tree);

    tree = written(&welcome);
    data = json_object_get(tree, "data");
    assert_text(json_object_get(data, "id"), nasty);
    json_decref(tree);
    wire_check_event(&event);
}

/* Names of every length, with and without escapes. */
static void test_names_of_every_length(void **state)
{
    char memory[258];

    (void)state;
    for (size_t size = 0; size <= sizeof memory; size++) {
        for (int has_escape = 0; has_escape < 2; has_escape++) {
            struct wire wire = {.name = {memory, size}, .data = SLICE("[]")};
            struct wire_plan plan;

            memset(memory, 'n', sizeof memory);
            if (has_escape != 0 && size > 0) {
                memory[size - 1] = '\n';
            }
            for (int i = 0; i < 2; i++) {
                assert_int_equal(
                    dialect_peal.plan(&plan, &wire, (enum transport)i),
                    size > 0 && size <= 256);
            }
            if (size <= 256) {
                wire_check_event(&wire);
            }
        }
    }
}

static void test_numbers_of_a_welcome(void **state)
{
    struct wire wire = {
        .kind = WIRE_WELCOME,
        .welcome = {.client_id = SLICE("c"),
                    .message_bytes_max = INT64_MAX,
                    .rooms_max = 0,
                    .ping_interval_ms = UINT32_MAX,
                    .ping_timeout_ms = 10},
    };
    json_t *tree = written(&wire);
    json_t *data = json_object_get(tree, "data");
    json_t *limits = json_object_get(data, "limits");

    (void)state;
    assert_true(json_integer_value(json_object_get(limits, "message_bytes")) ==
                INT64_MAX);
    assert_true(json_is_integer(json_object_get(limits, "rooms")));
    assert_int_equal(json_integer_value(json_object_get(limits, "rooms")), 0);
    assert_true(json_integer_value(json_object_get(data, "ping_interval_ms")) ==
                UINT32_MAX);
    assert_int_equal(
        json_integer_value(json_object_get(data, "ping_timeout_ms")), 10);
    json_decref(tree);
}

/* What the server answers over TCP reads, there, as what it is. */
static void test_answers_are_read_back(void **state)
{
    char memory[256];
    struct wire failure = {
        .kind = WIRE_FAILURE,
        .id = SLICE("7"),
        .failure = {nasty_name(memory), SLICE("why"), 1000, true},
    };
    struct wire answer = {
        .kind = WIRE_ANSWER, .id = SLICE("\"a\""), .data = SLICE("[1]")};
    struct wire_plan plan;
    struct wire got;
    char *out = wire_check_write(&dialect_peal, &failure, TRANSPORT_TCP, &plan);

    (void)state;
    wire_check_read(&dialect_peal, out, &plan, TRANSPORT_TCP, &got);
    assert_int_equal(got.kind, WIRE_FAILURE);
    assert_true(slice_equal(got.id, failure.id));
    assert_int_equal(got.failure.code, 1000);
    assert_true(slice_equal(got.failure.name, failure.failure.name));
    assert_true(slice_equal(got.failure.message, failure.failure.message));
    assert_true(got.failure.temporary);
    free(out);

    out = wire_check_write(&dialect_peal, &answer, TRANSPORT_TCP, &plan);
    wire_check_read(&dialect_peal, out, &plan, TRANSPORT_TCP, &got);
    assert_int_equal(got.kind, WIRE_ANSWER);
    assert_true(slice_equal(got.id, answer.id));
    assert_true(slice_equal(got.data, answer.data));
    free(out);
}

/* Every cut of a message is read without a look beyond its end. */
static void test_every_prefix_is_read(void **state)
{
    static const char text[] =
        "{\"event\":\"peal:fail\",\"id\":\"a\\u0062\",\"data\":{\"code\":1,"
        "\"name\":\"\\n\",\"message\":\"\\ud83d\\udd14\"}}";
    static const char binary[] =
        "\0\0\0\x17{\"event\":\"im\\u0061ge\"}\n bytes";
    struct wire wire;

    (void)state;
    for (size_t size = 0; size < sizeof text; size++) {
        dialect_peal.read_ws(&wire, false, vectors_guard(text, size), size);
        assert_int_equal(wire.kind,
                         size == sizeof text - 1 ? WIRE_FAILURE : WIRE_INVALID);
        dialect_peal.read_ws(&wire, true, vectors_guard(text, size), size);
        assert_int_equal(wire.kind, WIRE_INVALID);
    }
    for (size_t size = 0; size < sizeof binary; size++) {
        dialect_peal.read_ws(&wire, true, vectors_guard(binary, size), size);
        assert_int_equal(wire.kind, size >= 4 + 23 ? WIRE_EVENT : WIRE_INVALID);
    }
    for (int type = 0; type < 256; type++) {
        for (size_t size = 0; size < sizeof text; size++) {
            struct tcp_frame frame = {
                .type = (uint8_t)type,
                .payload = vectors_guard(text, size),
                .payload_size = size,
            };

            dialect_peal.read_tcp(&wire, &frame);
            wire_check_sound(&wire);
        }
    }
}

static void test_table(void **state)
{
    (void)state;
    assert_string_equal(dialect_peal.name, "peal");
    assert_string_equal(dialect_peal.subprotocol, "peal");
    assert_true(dialect_peal.has_welcome);
    assert_true(dialect_peal.has_requests);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_documented_examples_are_vectors),
        cmocka_unit_test(test_nasty_texts_arrive),
        cmocka_unit_test(test_names_of_every_length),
        cmocka_unit_test(test_numbers_of_a_welcome),
        cmocka_unit_test(test_answers_are_read_back),
        cmocka_unit_test(test_every_prefix_is_read),
        cmocka_unit_test(test_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
