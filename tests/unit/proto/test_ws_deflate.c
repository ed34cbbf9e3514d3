#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/slice.h"
#include "proto/ws_deflate.h"
#include "torture.h"

#define MIB (1024 * 1024)

static const struct ws_deflater_options usual = {15, 1, 8};

static struct ws_inflate_limits limits_of(size_t max)
{
    return (struct ws_inflate_limits){.message_bytes_max = max};
}

/* Inflates with a codec of its own. Returns 0 or a refusal. */
static int inflate_once(struct peal_slice packed, const char *expected,
                        size_t max, bool is_text)
{
    struct ws_inflate_limits limits = limits_of(max);
    const char *problem = NULL;
    struct ws_inflater *inflater;
    struct buffer out;
    int rc;

    limits.is_text = is_text;
    buffer_init(&out, max + 1);
    assert_int_equal(ws_inflater_new(&inflater, 15), 0);
    rc = ws_inflater_run(inflater, packed, &limits, &out, &problem);
    if (rc == 0) {
        assert_int_equal(buffer_size(&out), strlen(expected));
        assert_true(strlen(expected) == 0 ||
                    memcmp(buffer_head(&out), expected, strlen(expected)) == 0);
    } else {
        assert_non_null(problem);
    }
    buffer_fini(&out);
    ws_inflater_free(inflater);
    return rc;
}

/* RFC 7692, 7.2.3: what a receiver must understand. */
static void test_examples_of_the_rfc(void **state)
{
    (void)state;
#define INFLATES(bytes, text)                                                  \
    assert_int_equal(inflate_once(SLICE(bytes), text, 100, true), 0)
    /* 7.2.3.1: one block. */
    INFLATES("\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello");
    /* 7.2.3.3: a block without compression. */
    INFLATES("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello");
    /* 7.2.3.4: a block marked as the last. */
    INFLATES("\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello");
    /* The same without the byte that should follow it. */
    INFLATES("\xf3\x48\xcd\xc9\xc9\x07\x00", "Hello");
    /* 7.2.3.5: two blocks. */
    INFLATES("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello");
    /* 7.2.3.6: nothing. */
    INFLATES("\x00", "");
#undef INFLATES
}

/* 7.2.3.1 and 7.2.3.2: the same message twice, without and with takeover. */
static void test_takeover_of_the_rfc(void **state)
{
    struct ws_inflate_limits limits = limits_of(100);
    struct ws_deflater *deflater;
    struct ws_inflater *inflater;
    const char *problem;
    struct buffer out;

    (void)state;
    assert_int_equal(ws_deflater_new(&deflater, &usual), 0);
    assert_int_equal(ws_inflater_new(&inflater, 15), 0);
    buffer_init(&out, 4096);
    for (int takes_over = 0; takes_over < 2; takes_over++) {
        const char *const packed[] = {"\xf2\x48\xcd\xc9\xc9\x07\x00",
                                      "\xf2\x00\x11\x00\x00"};
        size_t sizes[] = {7, 5};

        for (int i = 0; i < 2; i++) {
            int which = takes_over && i == 1;

            assert_int_equal(ws_deflater_run(deflater, SLICE("Hello"),
                                             takes_over && i == 1, &out),
                             0);
            assert_int_equal(buffer_size(&out), sizes[which]);
            assert_memory_equal(buffer_head(&out), packed[which], sizes[which]);
            buffer_clear(&out);
            limits.takeover = takes_over;
            assert_int_equal(
                ws_inflater_run(inflater,
                                slice_make(packed[which], sizes[which]),
                                &limits, &out, &problem),
                0);
            assert_int_equal(buffer_size(&out), 5);
            assert_memory_equal(buffer_head(&out), "Hello", 5);
            buffer_clear(&out);
        }
    }
    /* Without the window of the first, the second says nothing. */
    limits.takeover = false;
    assert_int_equal(ws_inflater_run(inflater,
                                     slice_make("\xf2\x00\x11\x00\x00", 5),
                                     &limits, &out, &problem),
                     -1007);
    buffer_fini(&out);
    ws_deflater_free(deflater);
    ws_inflater_free(inflater);
}

/* A last block in the middle of a takeover leaves the window as it is. */
static void test_window_outlives_a_last_block(void **state)
{
    struct ws_inflate_limits limits = limits_of(100);
    struct ws_inflater *inflater;
    const char *problem;
    struct buffer out;

    (void)state;
    limits.takeover = true;
    assert_int_equal(ws_inflater_new(&inflater, 15), 0);
    buffer_init(&out, 4096);
    for (int i = 0; i < 2; i++) {
        struct peal_slice first =
            i == 0 ? SLICE("\xf3\x48\xcd\xc9\xc9\x07\x00\x00")
                   : SLICE("\xf3\x48\xcd\xc9\xc9\x07\x00");

        assert_int_equal(
            ws_inflater_run(inflater, first, &limits, &out, &problem), 0);
        buffer_clear(&out);
        assert_int_equal(ws_inflater_run(inflater,
                                         slice_make("\xf2\x00\x11\x00\x00", 5),
                                         &limits, &out, &problem),
                         0);
        assert_memory_equal(buffer_head(&out), "Hello", 5);
        buffer_clear(&out);
    }
    buffer_fini(&out);
    ws_inflater_free(inflater);
}

static void test_what_is_no_message(void **state)
{
    (void)state;
#define REFUSED(code, bytes)                                                   \
    assert_int_equal(inflate_once(SLICE(bytes), "", 100, true), -(code))
    REFUSED(1007, "\xff\xff\xff");                 /* no block type */
    REFUSED(1007, "");                             /* not even a block */
    REFUSED(1007, "\xf2\x48\xcd");                 /* cut off */
    REFUSED(1007, "\x00\x05\x00\xfa\xff\x48");     /* cut off */
    REFUSED(1007, "\x00\x05\x00\xfa\xfe\x48\x00"); /* lengths differ */
    REFUSED(1007, "\xf2\x00\x11\x00\x00");         /* refers to nothing */
    REFUSED(1007, "\x00\x01\x00\xfe\xff\xff\x00"); /* no UTF-8 */
    REFUSED(1007, "\x00\x01\x00\xfe\xff\xc3\x00"); /* half a character */
#undef REFUSED
}

/* What zlib itself, without any of ours, makes of a payload. */
static size_t zlib_inflate(z_stream *stream, const char *packed, size_t size,
                           char *out, size_t max)
{
    unsigned char *bytes = malloc(size + 4);

    assert_non_null(bytes);
    memcpy(bytes, packed, size);
    memcpy(bytes + size, "\x00\x00\xff\xff", 4);
    stream->next_in = bytes;
    stream->avail_in = (unsigned)size + 4;
    stream->next_out = (unsigned char *)out;
    stream->avail_out = (unsigned)max;
    assert_int_equal(inflate(stream, Z_SYNC_FLUSH), Z_OK);
    assert_int_equal(stream->avail_in, 0);
    free(bytes);
    return max - stream->avail_out;
}

/* Something that compresses somewhat. */
static void fill(char *out, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1103515245u + 12345u;
        out[i] = (char)(seed >> 28 < 12 ? 'a' + (seed >> 24 & 3) : seed >> 16);
    }
}

/* Every window, memory level and takeover, in sizes up to the limit. */
static void test_round_trips(void **state)
{
    static const size_t sizes[] = {0,    1,     2,     100,   1023,
                                   5000, 32768, 70001, 90000, 13};
    char *message = malloc(90000);
    char *again = malloc(90001);
    struct buffer packed, out;

    (void)state;
    buffer_init(&packed, MIB);
    buffer_init(&out, 90001);
    for (int i = 0; i < 7 * 9 * 2; i += 1 + i % 2) {
        struct ws_deflater_options options = {9 + i % 7, 1 + i % 9,
                                              1 + i / 7 % 9};
        struct ws_inflate_limits limits = limits_of(90000);
        struct ws_deflater *deflater;
        struct ws_inflater *inflater;
        const char *problem;
        z_stream oracle = {0};

        limits.takeover = i >= 63;
        assert_int_equal(ws_deflater_new(&deflater, &options), 0);
        assert_int_equal(ws_inflater_new(&inflater, options.bits), 0);
        assert_int_equal(inflateInit2(&oracle, -options.bits), Z_OK);
        for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
            struct peal_slice payload;

            fill(message, sizes[k], (unsigned)i);
            assert_int_equal(ws_deflater_run(deflater,
                                             slice_make(message, sizes[k]),
                                             limits.takeover, &packed),
                             0);
            payload = slice_make(buffer_head(&packed), buffer_size(&packed));
            assert_int_equal(
                zlib_inflate(&oracle, payload.data, payload.size, again, 90001),
                sizes[k]);
            assert_memory_equal(again, message, sizes[k]);
            assert_int_equal(
                ws_inflater_run(inflater, payload, &limits, &out, &problem), 0);
            assert_int_equal(buffer_size(&out), sizes[k]);
            assert_true(sizes[k] == 0 ||
                        memcmp(buffer_head(&out), message, sizes[k]) == 0);
            buffer_clear(&out);
            buffer_clear(&packed);
        }
        inflateEnd(&oracle);
        ws_deflater_free(deflater);
        ws_inflater_free(inflater);
    }
    buffer_fini(&out);
    buffer_fini(&packed);
    free(message);
    free(again);
}

/* A gigabyte in a megabyte: what comes out, and is held, ends at the limit. */
static void test_bomb_ends_at_the_limit(void **state)
{
    size_t size = 16 * MIB;
    char *zeros = calloc(1, size);
    struct ws_inflate_limits limits = limits_of(10000);
    struct ws_deflater *deflater;
    struct ws_inflater *inflater;
    const char *problem;
    struct buffer packed, out;

    (void)state;
    assert_non_null(zeros);
    buffer_init(&packed, MIB);
    buffer_init(&out, 10001);
    assert_int_equal(ws_deflater_new(&deflater, &usual), 0);
    assert_int_equal(ws_inflater_new(&inflater, 15), 0);
    assert_int_equal(
        ws_deflater_run(deflater, slice_make(zeros, size), false, &packed), 0);
    assert_true(buffer_size(&packed) < size / 150);
    assert_int_equal(
        ws_inflater_run(inflater,
                        slice_make(buffer_head(&packed), buffer_size(&packed)),
                        &limits, &out, &problem),
        -1009);
    assert_int_equal(buffer_size(&out), 10001);
    assert_true(ws_inflater_memory(inflater) < 50000);
    buffer_fini(&out);

    /* Just what is allowed is allowed, and one byte more is not. */
    buffer_clear(&packed);
    assert_int_equal(
        ws_deflater_run(deflater, slice_make(zeros, 10000), false, &packed), 0);
    for (size_t max = 9999; max <= 10000; max++) {
        limits.message_bytes_max = max;
        buffer_init(&out, max + 1);
        assert_int_equal(ws_inflater_run(inflater,
                                         slice_make(buffer_head(&packed),
                                                    buffer_size(&packed)),
                                         &limits, &out, &problem),
                         max == 10000 ? 0 : -1009);
        buffer_fini(&out);
    }
    ws_deflater_free(deflater);
    ws_inflater_free(inflater);
    buffer_fini(&packed);
    free(zeros);
}

static void test_window_that_zlib_has_not(void **state)
{
    struct ws_deflater_options options = {8, 1, 8};
    struct ws_deflater *deflater;
    struct ws_inflater *inflater;

    (void)state;
    assert_int_equal(ws_deflater_new(&deflater, &options), PEAL_ENOTSUP);
    assert_int_equal(ws_inflater_new(&inflater, 8), 0);
    ws_inflater_free(inflater);
}

/* Too small a buffer; afterwards the deflater works as if new. */
static void test_output_that_does_not_fit(void **state)
{
    struct ws_deflater *deflater;
    struct buffer out;
    char message[1000];

    (void)state;
    fill(message, sizeof message, 1);
    assert_int_equal(ws_deflater_new(&deflater, &usual), 0);
    buffer_init(&out, 100);
    assert_int_equal(ws_deflater_run(deflater,
                                     slice_make(message, sizeof message), true,
                                     &out),
                     PEAL_EFULL);
    assert_int_equal(buffer_size(&out), 0);
    assert_int_equal(ws_deflater_run(deflater, SLICE("Hello"), true, &out), 0);
    assert_int_equal(
        inflate_once(slice_make(buffer_head(&out), buffer_size(&out)), "Hello",
                     100, true),
        0);
    buffer_fini(&out);
    ws_deflater_free(deflater);
}

static void work(void *arg)
{
    struct ws_inflate_limits limits = limits_of(100000);
    struct ws_deflater *deflater = NULL;
    struct ws_inflater *inflater = NULL;
    const char *problem;
    struct buffer packed, out;
    char message[20000];

    (void)arg;
    fill(message, sizeof message, 7);
    limits.takeover = true;
    buffer_init(&packed, 100000);
    buffer_init(&out, 100001);
    if (ws_deflater_new(&deflater, &usual) == 0 &&
        ws_inflater_new(&inflater, 15) == 0) {
        for (int i = 0; i < 2; i++) {
            int rc = ws_deflater_run(
                deflater, slice_make(message, sizeof message), true, &packed);

            assert_true(rc == 0 || rc == PEAL_ENOMEM);
            if (rc < 0) {
                break;
            }
            rc = ws_inflater_run(
                inflater,
                slice_make(buffer_head(&packed), buffer_size(&packed)), &limits,
                &out, &problem);
            assert_true(rc == 0 || rc == -1011);
            if (rc < 0) {
                break;
            }
            assert_int_equal(buffer_size(&out), sizeof message);
            buffer_clear(&out);
            buffer_clear(&packed);
        }
    }
    ws_deflater_free(deflater);
    ws_inflater_free(inflater);
    buffer_fini(&packed);
    buffer_fini(&out);
}

static void test_without_memory(void **state)
{
    (void)state;
    torture_run(work, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples_of_the_rfc),
        cmocka_unit_test(test_takeover_of_the_rfc),
        cmocka_unit_test(test_window_outlives_a_last_block),
        cmocka_unit_test(test_what_is_no_message),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_bomb_ends_at_the_limit),
        cmocka_unit_test(test_window_that_zlib_has_not),
        cmocka_unit_test(test_output_that_does_not_fit),
        cmocka_unit_test(test_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
