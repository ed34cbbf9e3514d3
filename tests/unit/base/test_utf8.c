#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/utf8.h"
#include "base/utf8_x86.h"

/* Bytes at both sides of every boundary that UTF-8 knows. */
static const uint8_t edges[] = {
    0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2,
    0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5,
    0xf7, 0xf8, 0xff,
};

#define EDGES ARRAY_SIZE(edges)

/* The vector code, each by its name, where the machine runs it. */
static utf8_validator *vectors[2];

static int find_vectors(void **state)
{
    (void)state;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.1")) {
        vectors[0] = utf8_x86_is_valid_sse41;
    }
    if (__builtin_cpu_supports("avx2")) {
        vectors[1] = utf8_x86_is_valid_avx2;
    }
#endif
    return 0;
}

/*
 * Decodes numbers and looks at them, as unlike the code under test as can be.
 * Returns the size of the character at the start, or 0.
 */
static size_t reference_char(const uint8_t *data, size_t size)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = 1;
    uint32_t value = data[0];

    if (data[0] >= 0xf8) {
        return 0;
    }
    if (data[0] >= 0xf0) {
        length = 4;
        value &= 0x07;
    } else if (data[0] >= 0xe0) {
        length = 3;
        value &= 0x0f;
    } else if (data[0] >= 0xc0) {
        length = 2;
        value &= 0x1f;
    } else if (data[0] >= 0x80) {
        return 0;
    }
    if (length > size) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((data[i] & 0xc0) != 0x80) {
            return 0;
        }
        value = value << 6 | (data[i] & 0x3f);
    }
    if (value < least[length] || value > 0x10ffff ||
        (value >= 0xd800 && value <= 0xdfff)) {
        return 0;
    }
    return length;
}

/* How many bytes at the start are whole characters. */
static size_t reference_prefix(const uint8_t *data, size_t size)
{
    size_t i = 0;

    while (i < size) {
        size_t length = reference_char(data + i, size - i);

        if (length == 0) {
            break;
        }
        i += length;
    }
    return i;
}

static bool reference(const uint8_t *data, size_t size)
{
    return reference_prefix(data, size) == size;
}

/* Whether some continuation makes the bytes valid: any that matters is one of
 * 80, 90, a0 followed by 80s. */
static bool reference_can_go_on(const uint8_t *data, size_t size)
{
    static const uint8_t seconds[] = {0x80, 0x90, 0xa0};
    size_t whole = reference_prefix(data, size);
    size_t left = size - whole;
    uint8_t tail[7] = {0};

    if (left == 0) {
        return true;
    }
    if (left > 3) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(seconds); i++) {
        memcpy(tail, data + whole, left);
        tail[left] = seconds[i];
        tail[left + 1] = 0x80;
        tail[left + 2] = 0x80;
        for (size_t more = 1; left + more <= 4; more++) {
            if (reference_char(tail, left + more) == left + more) {
                return true;
            }
        }
    }
    return false;
}

static void check_short(const uint8_t *data, size_t size)
{
    bool expected = reference(data, size);
    struct utf8 state = {0};
    bool can_go_on = utf8_feed(&state, data, size);

    /* Millions of these: cmocka's assertions would take most of the time. */
    if (utf8_is_valid(data, size) != expected ||
        (can_go_on && utf8_is_complete(&state)) != expected ||
        can_go_on != reference_can_go_on(data, size)) {
        fail_msg("size %zu: %02x %02x %02x %02x", size, data[0],
                 size > 1 ? data[1] : 0u, size > 2 ? data[2] : 0u,
                 size > 3 ? data[3] : 0u);
    }
}

static void test_all_short_sequences(void **state)
{
    uint8_t data[4];

    (void)state;
    for (uint32_t value = 0; value < 1 << 24; value++) {
        data[0] = (uint8_t)(value >> 16);
        data[1] = (uint8_t)(value >> 8);
        data[2] = (uint8_t)value;
        if ((value & 0xffff) == 0) {
            check_short(data, 1);
        }
        if ((value & 0xff) == 0) {
            check_short(data, 2);
        }
        check_short(data, 3);
    }
}

/* All first and second bytes, and the edges for the others: a third or fourth
 * byte counts only as a continuation or none. */
static void test_sequences_of_four(void **state)
{
    uint8_t data[4];

    (void)state;
    for (uint32_t value = 0; value < 1 << 16; value++) {
        data[0] = (uint8_t)(value >> 8);
        data[1] = (uint8_t)value;
        for (size_t i = 0; i < EDGES * EDGES; i++) {
            data[2] = edges[i / EDGES];
            data[3] = edges[i % EDGES];
            check_short(data, 4);
        }
    }
}

static void check_long(const uint8_t *data, size_t size)
{
    bool expected = reference(data, size);

    if (utf8_is_valid(data, size) != expected) {
        fail_msg("size %zu, expected %d", size, expected);
    }
    for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
        if (vectors[i] != NULL && vectors[i](data, size) != expected) {
            fail_msg("vector code %zu, size %zu, expected %d", i, size,
                     expected);
        }
    }
}

/* Every sequence of edges at every place around the blocks' borders, in ASCII
 * and between other characters. The end is the end of a heap block, so that
 * the address sanitizer sees a read beyond it. */
static void test_vector_borders(void **state)
{
    static const size_t sizes[] = {20, 32, 37, 64, 67};

    (void)state;
    for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
        size_t size = sizes[s];
        uint8_t *data = malloc(size);

        assert_non_null(data);
        for (size_t at = s; at + 4 <= size; at += 3) {
            memset(data, 'a', size);
            if (at % 2 == 1 && at >= 2) {
                /* A valid two-byte character right before. */
                data[at - 1] = 0xbf;
                data[at - 2] = 0xdf;
            }
            for (size_t i = 0; i < EDGES * EDGES * EDGES; i++) {
                data[at] = edges[i / EDGES / EDGES];
                data[at + 1] = edges[i / EDGES % EDGES];
                data[at + 2] = edges[i % EDGES];
                data[at + 3] = edges[(i * 7 + i / 11) % EDGES];
                check_long(data, size);
            }
        }
        free(data);
    }
}

/* Appends a random valid character; returns its size. */
static size_t put_char(uint8_t *at)
{
    static const uint32_t limits[] = {0x80, 0x800, 0x10000, 0x110000};
    uint32_t value;

    do {
        uint32_t limit = limits[rand() % 4];

        value = (uint32_t)rand() % limit;
    } while (value >= 0xd800 && value <= 0xdfff);
    if (value < 0x80) {
        at[0] = (uint8_t)value;
        return 1;
    }
    if (value < 0x800) {
        at[0] = (uint8_t)(0xc0 | value >> 6);
        at[1] = (uint8_t)(0x80 | (value & 0x3f));
        return 2;
    }
    if (value < 0x10000) {
        at[0] = (uint8_t)(0xe0 | value >> 12);
        at[1] = (uint8_t)(0x80 | (value >> 6 & 0x3f));
        at[2] = (uint8_t)(0x80 | (value & 0x3f));
        return 3;
    }
    at[0] = (uint8_t)(0xf0 | value >> 18);
    at[1] = (uint8_t)(0x80 | (value >> 12 & 0x3f));
    at[2] = (uint8_t)(0x80 | (value >> 6 & 0x3f));
    at[3] = (uint8_t)(0x80 | (value & 0x3f));
    return 4;
}

/* Text with stretches of ASCII and of other characters. */
static size_t make_text(uint8_t *data, size_t room)
{
    size_t size = 0;
    bool is_ascii = false;

    while (size + 4 <= room) {
        if (rand() % 20 == 0) {
            is_ascii = !is_ascii;
        }
        if (is_ascii) {
            data[size++] = 'a';
        } else {
            size += put_char(data + size);
        }
    }
    return size;
}

/* ASCII but for one byte, or one character, at any place. */
static void test_ascii_but_for_one(void **state)
{
    static uint8_t data[420];

    (void)state;
    memset(data, 'a', sizeof data);
    for (size_t size = 16; size <= sizeof data; size += size < 40 ? 1 : 19) {
        check_long(data, size);
        for (size_t at = 0; at < size; at++) {
            data[at] = 0xc3;
            check_long(data, size);
            if (at + 1 < size) {
                data[at + 1] = 0xbc;
                check_long(data, size);
                data[at + 1] = 'a';
            }
            data[at] = 'a';
        }
    }
}

static void test_random_texts(void **state)
{
    static uint8_t data[1000];

    (void)state;
    srand(4);
    for (int round = 0; round < 20000; round++) {
        size_t size = make_text(data, 16 + (size_t)rand() % 300);

        if (size < 16) {
            continue;
        }
        check_long(data, size);

        /* One byte changed, and the end cut off. */
        uint8_t *byte = &data[(size_t)rand() % size];
        uint8_t was = *byte;

        *byte = (uint8_t)rand();
        check_long(data, size);
        *byte = was;
        check_long(data, size - (size > 16));
    }
}

/*
 * Feeds data[0 .. at), then the rest, and asserts both answers. Valid up to
 * `good` bytes: no feed that stays within may fail, none beyond may pass.
 */
static void check_split(const uint8_t *data, size_t size, size_t at,
                        size_t good, bool is_whole)
{
    struct utf8 state = {0};
    bool first = utf8_feed(&state, data, at);

    if (first != (at <= good)) {
        fail_msg("split at %zu of %zu, first part", at, size);
    }
    if (!first) {
        return;
    }

    bool second = utf8_feed(&state, data + at, size - at);

    if (second != (size <= good) ||
        (second && utf8_is_complete(&state) != is_whole)) {
        fail_msg("split at %zu of %zu, second part", at, size);
    }
}

static void test_every_split(void **state)
{
    static uint8_t data[400];

    (void)state;
    srand(5);
    for (int round = 0; round < 2000; round++) {
        size_t size = make_text(data, 8 + (size_t)rand() % 120);

        if (round % 2 == 1 && size > 0) {
            data[(size_t)rand() % size] = (uint8_t)rand();
        }
        if (round % 3 == 0 && size > 0) {
            size--;
        }

        size_t good = 0;

        while (good < size && reference_can_go_on(data, good + 1)) {
            good++;
        }
        for (size_t at = 0; at <= size; at++) {
            check_split(data, size, at, good, reference(data, size));
        }
    }
}

static void test_byte_by_byte(void **state)
{
    static uint8_t data[5000];

    (void)state;
    srand(6);

    size_t size = make_text(data, sizeof data);
    struct utf8 feed = {0};

    for (size_t i = 0; i < size; i++) {
        assert_true(utf8_feed(&feed, data + i, 1));
        assert_true(utf8_feed(&feed, NULL, 0));
    }
    assert_true(utf8_is_complete(&feed));
    assert_true(utf8_is_valid(NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_short_sequences),
        cmocka_unit_test(test_sequences_of_four),
        cmocka_unit_test(test_vector_borders),
        cmocka_unit_test(test_ascii_but_for_one),
        cmocka_unit_test(test_random_texts),
        cmocka_unit_test(test_every_split),
        cmocka_unit_test(test_byte_by_byte),
    };

    return cmocka_run_group_tests(tests, find_vectors, NULL);
}
