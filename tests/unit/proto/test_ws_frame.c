#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "proto/ws_frame.h"
#include "proto/ws_mask_words.h"
#include "torture.h"
#include "vectors.h"

#define MIB ((size_t)1 << 20)

static const struct ws_limits server_limits = {WS_SERVER, 16 * MIB, 16 * MIB,
                                               false};

/*
 * An allocator that counts, to show where none is used, and how much is held.
 * The size of a block stands before it.
 */
#define SIZE_ROOM alignof(max_align_t)

static size_t allocations;
static size_t allocated_bytes;
static size_t held_bytes;

static size_t *size_of(void *block)
{
    return (size_t *)(void *)((char *)block - SIZE_ROOM);
}

static void *count_reallocate(void *block, size_t size, void *user)
{
    char *memory =
        realloc(block != NULL ? size_of(block) : NULL, SIZE_ROOM + size);

    (void)user;
    assert_non_null(memory);
    allocations++;
    allocated_bytes += size;
    held_bytes += size - (block != NULL ? *(size_t *)(void *)memory : 0);
    *(size_t *)(void *)memory = size;
    return memory + SIZE_ROOM;
}

static void *count_allocate(size_t size, void *user)
{
    return count_reallocate(NULL, size, user);
}

static void count_release(void *block, void *user)
{
    (void)user;
    if (block != NULL) {
        held_bytes -= *size_of(block);
        free(size_of(block));
    }
}

static int count_setup(void **state)
{
    const struct peal_memory memory = {
        .allocate = count_allocate,
        .reallocate = count_reallocate,
        .release = count_release,
    };

    (void)state;
    peal_memory_set(&memory);
    allocations = 0;
    allocated_bytes = 0;
    held_bytes = 0;
    return 0;
}

static int count_teardown(void **state)
{
    (void)state;
    peal_memory_set(NULL);
    return 0;
}

static const uint8_t test_key[4] = {0x12, 0x34, 0xab, 0xcd};

/* Writes a client's frame; returns its end. `flip` changes the first byte. */
static char *put_frame(char *out, enum ws_opcode opcode, const char *data,
                       size_t size, unsigned flip)
{
    char *payload = ws_header_write_masked(out, opcode, size, test_key);

    out[0] = (char)((unsigned char)out[0] ^ flip);
    if (size > 0) {
        memcpy(payload, data, size);
    }
    ws_mask(payload, size, test_key, 0);
    return payload + size;
}

/* Reads one item that must come of it. */
static struct ws_item parse_one(struct ws_parser *parser, char *data,
                                size_t size)
{
    struct ws_item item;
    const char *problem;
    long rc = ws_parse(parser, &server_limits, data, size, &item, &problem);

    assert_int_equal(rc, size);
    return item;
}

static void test_whole_frame_stays_where_it_is(void **state)
{
    static const enum ws_opcode opcodes[] = {WS_OPCODE_TEXT, WS_OPCODE_BINARY,
                                             WS_OPCODE_PING, WS_OPCODE_CLOSE};
    char payload[100];
    char frame[128];

    (void)state;
    memset(payload, 'x', sizeof payload);
    memcpy(payload, "\x03\xe8", 2);
    for (size_t i = 0; i < 4; i++) {
        struct ws_parser parser = {0};
        size_t skip = i == 0 ? 2 : 0;
        char *end = put_frame(frame, opcodes[i], payload + skip,
                              sizeof payload - skip, 0);
        struct ws_item item = parse_one(&parser, frame, (size_t)(end - frame));

        assert_ptr_equal(item.data + item.size, end);
        assert_false(ws_parser_is_midway(&parser));
        assert_int_equal(held_bytes, 0);
    }
    assert_int_equal(allocations, 0);
}

/* A control frame between fragments does not disturb them, nor is it copied. */
static void test_control_between_fragments_stays(void **state)
{
    struct ws_parser parser = {0};
    char frame[64];
    char *end = put_frame(frame, WS_OPCODE_TEXT, "ab", 2, 0x80);

    (void)state;
    assert_int_equal(parse_one(&parser, frame, (size_t)(end - frame)).kind,
                     WS_NOTHING);
    end = put_frame(frame, WS_OPCODE_PING, "ping", 4, 0);
    struct ws_item item = parse_one(&parser, frame, (size_t)(end - frame));

    assert_int_equal(item.kind, WS_PING);
    assert_ptr_equal(item.data, end - 4);
    ws_parser_release(&parser);
    assert_true(ws_parser_is_midway(&parser));

    end = put_frame(frame, WS_OPCODE_CONTINUATION, "c", 1, 0);
    item = parse_one(&parser, frame, (size_t)(end - frame));
    assert_int_equal(item.kind, WS_TEXT);
    assert_memory_equal(item.data, "abc", 3);
    assert_false(ws_parser_is_midway(&parser));
    assert_true(held_bytes > 0);
    ws_parser_release(&parser);
    assert_int_equal(held_bytes, 0);
}

/* A control frame in pieces lives in the parser until it is released. */
static void test_control_in_pieces(void **state)
{
    struct ws_parser parser = {0};
    char frame[64];
    char *end = put_frame(frame, WS_OPCODE_PONG, "pong", 4, 0);
    struct ws_item item;

    (void)state;
    item = parse_one(&parser, frame, 8);
    assert_int_equal(item.kind, WS_NOTHING);
    assert_true(ws_parser_is_midway(&parser));
    item = parse_one(&parser, frame + 8, (size_t)(end - frame) - 8);
    assert_int_equal(item.kind, WS_PONG);
    memset(frame, 0, sizeof frame);
    assert_int_equal(item.size, 4);
    assert_memory_equal(item.data, "pong", 4);
    ws_parser_release(&parser);
    assert_int_equal(held_bytes, 0);
}

/* What a header announces costs the server nothing until it arrives. */
static void test_memory_follows_arrival(void **state)
{
    struct ws_parser parser = {0};
    char *payload = calloc(1, MIB);
    size_t arrived = 0;
    char header[WS_HEADER_MAX];

    (void)state;
    assert_non_null(payload);
    char *end =
        ws_header_write_masked(header, WS_OPCODE_BINARY, 10 * MIB, test_key);

    parse_one(&parser, header, (size_t)(end - header));
    size_t fixed = held_bytes;

    assert_in_range(fixed, 1, 512);
    for (size_t piece = 1; arrived + piece < 10 * MIB; piece *= 2) {
        size_t size = piece < MIB ? piece : MIB;

        parse_one(&parser, payload, size);
        arrived += size;
        assert_in_range(held_bytes, arrived, fixed + 64 + 2 * arrived);
    }
    ws_parser_fini(&parser);
    assert_int_equal(held_bytes, 0);
    free(payload);
}

/* The last frame's length bounds the storage: no doubling beyond it. */
static void test_memory_of_a_message_fits(void **state)
{
    struct ws_parser parser = {0};
    size_t size = 5 * MIB + 1;
    char *payload = calloc(1, size);
    char header[WS_HEADER_MAX];

    (void)state;
    assert_non_null(payload);
    char *end =
        ws_header_write_masked(header, WS_OPCODE_BINARY, size, test_key);

    parse_one(&parser, header, (size_t)(end - header));
    size_t fixed = held_bytes;

    parse_one(&parser, payload, 4 * MIB);
    struct ws_item item = parse_one(&parser, payload, MIB + 1);

    assert_int_equal(item.kind, WS_BINARY);
    assert_int_equal(item.size, size);
    assert_int_equal(held_bytes, fixed + size);
    ws_parser_fini(&parser);
    free(payload);
}

/*
 * 10 MiB byte by byte: the storage is moved a number of times that grows with
 * the logarithm of the size, and twice the size is copied at most.
 */
static void test_one_byte_segments(void **state)
{
    struct ws_parser parser = {0};
    size_t size = 10 * MIB;
    char *frame = malloc(size + WS_HEADER_MAX);
    struct ws_item item = {.kind = WS_NOTHING};

    (void)state;
    assert_non_null(frame);
    char *payload =
        ws_header_write_masked(frame, WS_OPCODE_TEXT, size, test_key);

    memset(payload, 'x', size);
    ws_mask(payload, size, test_key, 0);
    for (char *at = frame; at < payload + size; at++) {
        assert_int_equal(item.kind, WS_NOTHING);
        const char *problem;
        long rc = ws_parse(&parser, &server_limits, at, 1, &item, &problem);

        if (rc != 1) {
            fail_msg("%ld at %zu", rc, (size_t)(at - frame));
        }
    }
    assert_int_equal(item.kind, WS_TEXT);
    assert_int_equal(item.size, size);
    assert_int_equal(item.data[0], 'x');
    assert_int_equal(item.data[size - 1], 'x');
    assert_in_range(allocations, 1, 32);
    assert_in_range(allocated_bytes, size, 4 * size);
    ws_parser_release(&parser);
    assert_int_equal(held_bytes, 0);
    free(frame);
}

/* A million frames in one stretch are a million items and no memory. */
static void test_a_million_tiny_frames(void **state)
{
    struct ws_parser parser = {0};
    size_t count = 1000000, items = 0, used = 0;
    char *data = malloc(count * 7);

    (void)state;
    assert_non_null(data);
    char *end = data;
    for (size_t i = 0; i < count; i++) {
        end = put_frame(end, WS_OPCODE_TEXT, "x", 1, 0);
    }
    size_t size = (size_t)(end - data);

    while (used < size) {
        struct ws_item item;
        const char *problem;
        long rc = ws_parse(&parser, &server_limits, data + used, size - used,
                           &item, &problem);

        if (rc != 7 || item.kind != WS_TEXT || item.data[0] != 'x') {
            fail_msg("%ld at %zu", rc, used);
        }
        used += 7;
        items++;
    }
    assert_int_equal(items, count);
    assert_int_equal(allocations, 0);
    free(data);
}

static void test_utf8_fails_fast(void **state)
{
    char frame[64];
    char *payload =
        ws_header_write_masked(frame, WS_OPCODE_TEXT, 1000, test_key);
    size_t header_size = (size_t)(payload - frame);

    (void)state;
    memcpy(payload, "abc\xed\xa0", 5);
    ws_mask(payload, 5, test_key, 0);

    struct ws_parser parser = {0};
    struct ws_item item;
    const char *problem;
    long rc = ws_parse(&parser, &server_limits, frame, header_size + 4, &item,
                       &problem);

    assert_int_equal(rc, header_size + 4);
    rc = ws_parse(&parser, &server_limits, payload + 4, 1, &item, &problem);
    assert_int_equal(rc, -WS_CLOSE_INVALID_DATA);
    ws_parser_fini(&parser);
}

/* A limit that is lowered inside a message holds from the next frame on. */
static void test_limits_may_change(void **state)
{
    struct ws_limits limits = server_limits;
    struct ws_parser parser = {0};
    struct ws_item item;
    const char *problem;
    char frame[64];
    char *end = put_frame(frame, WS_OPCODE_BINARY, "abcdefgh", 8, 0x80);

    (void)state;
    parse_one(&parser, frame, (size_t)(end - frame));
    limits.message_bytes_max = 4;
    end = put_frame(frame, WS_OPCODE_CONTINUATION, "i", 1, 0);
    assert_int_equal(ws_parse(&parser, &limits, frame, (size_t)(end - frame),
                              &item, &problem),
                     -WS_CLOSE_TOO_BIG);
    ws_parser_fini(&parser);
}

static void naive_mask(char *data, size_t size, const uint8_t key[4],
                       size_t offset)
{
    for (size_t i = 0; i < size; i++) {
        data[i] = (char)(data[i] ^ key[(offset + i) % 4]);
    }
}

typedef bool mask_function(char *data, size_t size, const uint8_t key[4],
                           size_t offset);

static bool is_ascii(const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)data[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

/* All sizes over several vectors, all alignments, all offsets; nothing around
 * the bytes is touched. */
static void check_mask(mask_function *mask)
{
    char given[600], wanted[600], got[600];

    for (size_t i = 0; i < sizeof given; i++) {
        given[i] = (char)(i * 7 + 3);
    }
    for (size_t start = 0; start < 17; start++) {
        for (size_t size = 0; size <= 580; size += size < 100 ? 1 : 13) {
            for (size_t offset = 0; offset < 9; offset++) {
                memcpy(wanted, given, sizeof given);
                memcpy(got, given, sizeof given);
                naive_mask(wanted + start, size, test_key, offset);
                assert_int_equal(mask(got + start, size, test_key, offset),
                                 is_ascii(wanted + start, size));
                assert_memory_equal(got, wanted, sizeof got);
            }
        }
    }
}

/* Text that is ASCII but for one byte at most, wherever that is. */
static void check_ascii(mask_function *mask)
{
    char given[700];

    memset(given, 'a', sizeof given);
    for (size_t size = 1; size <= sizeof given; size += size < 40 ? 1 : 37) {
        char got[700];

        for (size_t at = 0; at <= size; at++) {
            memcpy(got, given, size);
            if (at < size) {
                got[at] = (char)0x80;
            }
            naive_mask(got, size, test_key, 3);
            assert_int_equal(mask(got, size, test_key, 3), at == size);
            assert_int_equal((unsigned char)got[at % size],
                             at < size ? 0x80 : 'a');
        }
    }
}

static void test_mask(void **state)
{
    (void)state;
    check_mask(ws_mask);
    check_mask(ws_mask_words);
    check_ascii(ws_mask);
    check_ascii(ws_mask_words);
}

/* Neither reads nor writes beyond the end. */
static void test_mask_at_the_end_of_a_page(void **state)
{
    char given[600] = {0}, wanted[600];

    (void)state;
    for (size_t size = 0; size <= sizeof given; size++) {
        memcpy(wanted, given, size);
        naive_mask(wanted, size, test_key, 1);
        char *data = vectors_guard(given, size);
        ws_mask(data, size, test_key, 1);
        assert_memory_equal(data, wanted, size);
        data = vectors_guard(given, size);
        ws_mask_words(data, size, test_key, 1);
        assert_memory_equal(data, wanted, size);
    }
}

static void test_header_bytes(void **state)
{
    static const struct {
        size_t size;
        size_t header_size;
        unsigned char bytes[10];
    } cases[] = {
        {0, 2, {0x82, 0}},
        {125, 2, {0x82, 125}},
        {126, 4, {0x82, 126, 0, 126}},
        {0xffff, 4, {0x82, 126, 0xff, 0xff}},
        {0x10000, 10, {0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
        {0x123456789a, 10, {0x82, 127, 0, 0, 0, 0x12, 0x34, 0x56, 0x78, 0x9a}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char out[WS_HEADER_MAX];
        char *end =
            ws_header_write((char *)out, WS_OPCODE_BINARY, cases[i].size);

        assert_int_equal(end - (char *)out, cases[i].header_size);
        assert_int_equal(ws_header_size(cases[i].size), cases[i].header_size);
        assert_memory_equal(out, cases[i].bytes, cases[i].header_size);

        end = ws_header_write_masked((char *)out, WS_OPCODE_BINARY,
                                     cases[i].size, test_key);
        assert_int_equal(end - (char *)out, cases[i].header_size + 4);
        assert_int_equal(out[1], cases[i].bytes[1] | 0x80);
        assert_memory_equal(end - 4, test_key, 4);
    }
}

/* What one side writes the other reads, at each border of the lengths. */
static void test_what_is_written_is_read(void **state)
{
    static const size_t sizes[] = {0,   1,      125,     126,
                                   127, 0xffff, 0x10000, 100000};
    struct ws_limits client_limits = {WS_CLIENT, MIB, MIB, false};
    char *frame = malloc(100000 + WS_HEADER_MAX);

    (void)state;
    assert_non_null(frame);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct ws_parser parser = {0};
        struct ws_item item;
        const char *problem;
        char *payload = ws_header_write(frame, WS_OPCODE_TEXT, sizes[i]);
        size_t size = (size_t)(payload - frame) + sizes[i];

        memset(payload, 'y', sizes[i]);
        assert_int_equal(
            ws_parse(&parser, &client_limits, frame, size, &item, &problem),
            size);
        assert_int_equal(item.kind, WS_TEXT);
        assert_int_equal(item.size, sizes[i]);
        assert_ptr_equal(item.data, payload);
    }
    free(frame);
}

static void test_close_codes(void **state)
{
    (void)state;
    for (int code = -1; code < 70000; code++) {
        bool is_valid = (code >= 1000 && code <= 1014 && code != 1004 &&
                         code != 1005 && code != 1006) ||
                        (code >= 3000 && code < 5000);

        assert_int_equal(ws_close_code_is_valid(code), is_valid);
    }
}

static void test_close_payload(void **state)
{
    char out[WS_CONTROL_MAX];
    char reason[200];

    (void)state;
    assert_int_equal(ws_close_write(out, WS_CLOSE_NO_STATUS, SLICE("lost")), 0);
    assert_int_equal(ws_close_write(out, WS_CLOSE_NORMAL, SLICE("")), 2);
    assert_memory_equal(out, "\x03\xe8", 2);
    assert_int_equal(ws_close_write(out, 4999, SLICE("bye")), 5);
    assert_memory_equal(out,
                        "\x13\x87"
                        "bye",
                        5);

    assert_int_equal(ws_close_write(out, WS_CLOSE_NORMAL, SLICE("x")), 3);
    assert_int_equal(out[2], 'x');

    memset(reason, 'r', sizeof reason);
    char *whole_reason = vectors_guard(reason, 123);
    assert_int_equal(
        ws_close_write(out, WS_CLOSE_NORMAL, slice_make(whole_reason, 123)),
        125);
    assert_int_equal(
        ws_close_write(out, WS_CLOSE_NORMAL, slice_make(reason, 124)), 125);
    /* Four bytes of one character, of which 1, 2, 3, all would still fit. */
    for (size_t fitting = 1; fitting <= 4; fitting++) {
        memset(reason, 'r', sizeof reason);
        memcpy(reason + 123 - fitting, "\xf0\x9f\x94\x94", 4);
        size_t whole = fitting == 4 ? 123 : 123 - fitting;

        assert_int_equal(
            ws_close_write(out, WS_CLOSE_NORMAL, slice_make(reason, 150)),
            whole + 2);
        assert_memory_equal(out + 2, reason, whole);
    }
    /* Where no character begins there is nothing to keep. */
    memset(reason, 0x80, sizeof reason);
    assert_int_equal(
        ws_close_write(out, WS_CLOSE_NORMAL, slice_make(reason, 124)), 2);
}

/* Fragments, control frames and pieces, with each allocation failing. */
static void torture_scenario(void *arg)
{
    char frames[2048];
    char *end = frames;
    char payload[300];
    size_t step = *(const size_t *)arg;
    struct ws_parser parser = {0};

    memset(payload, 'x', sizeof payload);
    end = put_frame(end, WS_OPCODE_TEXT, payload, 300, 0);
    end = put_frame(end, WS_OPCODE_TEXT, payload, 100, 0x80);
    end = put_frame(end, WS_OPCODE_PING, payload, 60, 0);
    end = put_frame(end, WS_OPCODE_CONTINUATION, payload, 300, 0);
    end = put_frame(end, WS_OPCODE_BINARY, payload, 200, 0);

    size_t size = (size_t)(end - frames), items = 0;
    bool is_open = true;

    for (size_t at = 0; at < size && is_open; at += step) {
        size_t due = size - at < step ? size - at : step;

        while (due > 0) {
            struct ws_item item;
            const char *problem;
            char *data = frames + at + (size - at < step ? size - at : step);
            long rc = ws_parse(&parser, &server_limits, data - due, due, &item,
                               &problem);

            if (rc < 0) {
                assert_int_equal(rc, -WS_CLOSE_INTERNAL);
                assert_true(torture_failed());
                is_open = false;
                break;
            }
            due -= (size_t)rc;
            items += item.kind != WS_NOTHING;
        }
    }
    assert_int_equal(items == 4, is_open);
    assert_int_equal(torture_failed(), !is_open);
    ws_parser_fini(&parser);
}

static void test_allocation_failures(void **state)
{
    (void)state;
    for (size_t step = 1; step < 400; step += 7) {
        torture_run(torture_scenario, &step);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole_frame_stays_where_it_is,
                                        count_setup, count_teardown),
        cmocka_unit_test_setup_teardown(test_control_between_fragments_stays,
                                        count_setup, count_teardown),
        cmocka_unit_test_setup_teardown(test_control_in_pieces, count_setup,
                                        count_teardown),
        cmocka_unit_test_setup_teardown(test_memory_follows_arrival,
                                        count_setup, count_teardown),
        cmocka_unit_test_setup_teardown(test_memory_of_a_message_fits,
                                        count_setup, count_teardown),
        cmocka_unit_test_setup_teardown(test_one_byte_segments, count_setup,
                                        count_teardown),
        cmocka_unit_test_setup_teardown(test_a_million_tiny_frames, count_setup,
                                        count_teardown),
        cmocka_unit_test(test_utf8_fails_fast),
        cmocka_unit_test(test_limits_may_change),
        cmocka_unit_test(test_mask),
        cmocka_unit_test(test_mask_at_the_end_of_a_page),
        cmocka_unit_test(test_header_bytes),
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_close_codes),
        cmocka_unit_test(test_close_payload),
        cmocka_unit_test(test_allocation_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
