/* Codecs that connections share, and those of their own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "proto/ws_codecs.h"
#include "proto/ws_frame.h"

static const struct ws_deflater_options options = {
    .bits = 12, .level = 1, .memory_level = 5};

static bool pack(struct ws_codecs *codecs, struct ws_codecs_own *own,
                 const char *text, char *packed, size_t *size)
{
    char *plain = ws_codecs_reserve(codecs, strlen(text));
    struct peal_slice out;

    assert_non_null(plain);
    memcpy(plain, text, strlen(text));
    if (!ws_codecs_pack(codecs, own, &options, strlen(text), &out)) {
        return false;
    }
    assert_true(out.size <= 1024);
    memcpy(packed, out.data, out.size);
    *size = out.size;
    return true;
}

static int unpack(struct ws_codecs *codecs, struct ws_codecs_own *own,
                  const char *packed, size_t size, const char *expected)
{
    const struct ws_inflate_limits limits = {
        .message_bytes_max = 1024, .is_text = true, .takeover = own != NULL};
    struct peal_slice message = {packed, size};
    const char *problem = "";
    int rc = ws_codecs_unpack(codecs, own, 12, &limits, &message, &problem);

    if (rc == 0) {
        assert_int_equal(message.size, strlen(expected));
        assert_memory_equal(message.data, expected, message.size);
    }
    ws_codecs_release(codecs);
    return rc;
}

static const char text[] = "one after another, one after another, one";

static void test_shared_codecs_remember_nothing(void **state)
{
    struct ws_codecs *codecs = ws_codecs_new();
    char packed[1024];
    size_t sizes[2];
    size_t memory;

    (void)state;
    assert_non_null(codecs);
    assert_int_equal(codecs->memory, 0);
    assert_true(pack(codecs, NULL, text, packed, &sizes[0]));
    memory = codecs->memory;
    assert_true(memory > 0);
    assert_true(pack(codecs, NULL, text, packed, &sizes[1]));
    assert_int_equal(sizes[0], sizes[1]);
    assert_int_equal(codecs->memory, memory);
    assert_int_equal(unpack(codecs, NULL, packed, sizes[1], text), 0);
    assert_int_equal(unpack(codecs, NULL, packed, sizes[1], text), 0);
    assert_false(pack(codecs, NULL, "no", packed, sizes));
    assert_int_equal(unpack(codecs, NULL, "\xff\xff", 2, ""),
                     -WS_CLOSE_INVALID_DATA);
    assert_int_equal(unpack(codecs, NULL, packed, sizes[1], text), 0);
    ws_codecs_free(codecs);
}

static void test_own_codecs_are_counted_and_go(void **state)
{
    struct ws_codecs *codecs = ws_codecs_new();
    struct ws_codecs_own own = {NULL, NULL};
    char packed[1024];
    size_t sizes[2];

    (void)state;
    assert_true(pack(codecs, &own, text, packed, &sizes[0]));
    assert_int_equal(unpack(codecs, &own, packed, sizes[0], text), 0);
    assert_true(pack(codecs, &own, text, packed, &sizes[1]));
    assert_true(sizes[1] < sizes[0]);
    assert_int_equal(unpack(codecs, &own, packed, sizes[1], text), 0);
    assert_true(codecs->memory > 0);
    ws_codecs_drop(codecs, &own);
    assert_int_equal(codecs->memory, 0);
    ws_codecs_drop(codecs, &own);
    ws_codecs_free(codecs);
    ws_codecs_free(NULL);
}

/* What was never sent, the peer's window does not have. */
static void test_a_message_that_was_not_sent_is_forgotten(void **state)
{
    struct ws_codecs *codecs = ws_codecs_new();
    struct ws_codecs_own own = {NULL, NULL};
    char packed[1024];
    size_t size;

    (void)state;
    assert_true(pack(codecs, &own, "first, first, first", packed, &size));
    assert_int_equal(unpack(codecs, &own, packed, size, "first, first, first"),
                     0);
    assert_true(pack(codecs, &own, text, packed, &size));
    ws_codecs_drop_deflater(codecs, &own);
    assert_true(pack(codecs, &own, text, packed, &size));
    assert_int_equal(unpack(codecs, &own, packed, size, text), 0);
    assert_true(pack(codecs, &own, text, packed, &size));
    assert_int_equal(unpack(codecs, &own, packed, size, text), 0);
    ws_codecs_drop(codecs, &own);
    assert_int_equal(codecs->memory, 0);
    ws_codecs_free(codecs);
}

#define LARGE 300000
#define KEPT 65536

/* A thread keeps room for what is usual, not for the largest message. */
static void test_room_for_large_messages_is_given_back(void **state)
{
    const struct ws_inflate_limits limits = {.message_bytes_max = LARGE};
    struct ws_codecs *codecs = ws_codecs_new();
    const char *problem = "";
    struct peal_slice message;
    unsigned value = 1;
    char *plain;

    (void)state;
    plain = ws_codecs_reserve(codecs, LARGE);
    assert_non_null(plain);
    for (size_t i = 0; i < LARGE; i++) {
        value = value * 1103515245u + 12345u;
        plain[i] = (char)('a' + (value >> 16) % 16);
    }
    assert_true(ws_codecs_pack(codecs, NULL, &options, LARGE, &message));
    assert_true(message.size > KEPT);
    assert_true(codecs->plain.capacity <= KEPT);
    assert_int_equal(
        ws_codecs_unpack(codecs, NULL, 12, &limits, &message, &problem), 0);
    assert_int_equal(message.size, LARGE);
    ws_codecs_release(codecs);
    assert_true(codecs->inflated.capacity <= KEPT);

    /* What was compressed lives until the next time. */
    memcpy(ws_codecs_reserve(codecs, strlen(text)), text, strlen(text));
    assert_true(ws_codecs_pack(codecs, NULL, &options, strlen(text), &message));
    assert_true(codecs->packed.capacity <= KEPT);
    ws_codecs_free(codecs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_codecs_remember_nothing),
        cmocka_unit_test(test_own_codecs_are_counted_and_go),
        cmocka_unit_test(test_a_message_that_was_not_sent_is_forgotten),
        cmocka_unit_test(test_room_for_large_messages_is_given_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
