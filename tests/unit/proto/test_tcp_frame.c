#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/slice.h"
#include "proto/tcp_frame.h"
#include "vectors.h"

static void log_frame(struct vector_log *log, const struct tcp_frame *frame)
{
    vector_log_add(log, "frame %d event", frame->type);
    vector_log_bytes(log, frame->event.data, frame->event.size);
    vector_log_add(log, " payload");
    vector_log_bytes(log, frame->payload, frame->payload_size);
    vector_log_end(log);
}

/* Keeps what is not a whole frame, as a connection does. */
static void run(const struct vector *vector, const struct vector_pieces *pieces,
                struct vector_log *log)
{
    size_t max = (size_t)vector_get_number(vector, "frame_max", 1 << 20);
    size_t start = 0, end = 0;

    for (size_t i = 0; i < pieces->count; i++) {
        end += pieces->cuts[i];
        while (start < end) {
            char *data = vectors_guard(vector->in + start, end - start);
            struct tcp_frame frame;
            long rc = tcp_frame_parse(&frame, data, end - start, max);

            if (rc < 0) {
                vector_log_add(log, "error %s", peal_error_name((int)rc));
                vector_log_end(log);
                return;
            }
            if (rc == 0) {
                break;
            }
            log_frame(log, &frame);
            start += (size_t)rc;
        }
    }
    if (start < end) {
        vector_log_add(log, "more");
        vector_log_end(log);
    }
}

static void test_vectors(void **state)
{
    (void)state;
    vectors_check("tcp", run);
}

static void test_bytes_written(void **state)
{
    char out[32];
    char *payload = tcp_frame_write(out, TCP_JSON, SLICE("chat"), 5);

    (void)state;
    assert_ptr_equal(payload, out + 11);
    assert_memory_equal(out,
                        "\0\0\0\x10\0\0\x04"
                        "chat",
                        11);
    assert_int_equal(tcp_frame_size(4, 5), 16);

    payload = tcp_frame_write(out, TCP_BINARY, SLICE(""), 0x01020304 - 7);
    assert_ptr_equal(payload, out + 7);
    assert_memory_equal(out, "\x01\x02\x03\x04\x01\0\0", 7);
}

static void test_what_is_written_is_read(void **state)
{
    static const size_t event_sizes[] = {0, 1, 255, 256};
    static const size_t payload_sizes[] = {0, 1, 249, 70000};
    static char out[71000], event[256];

    (void)state;
    memset(event, 'e', sizeof event);
    for (size_t i = 0; i < 16; i++) {
        size_t event_size = event_sizes[i % 4];
        size_t payload_size = payload_sizes[i / 4];
        char *payload = tcp_frame_write(out, 200, slice_make(event, event_size),
                                        payload_size);
        struct tcp_frame frame;
        size_t size = tcp_frame_size(event_size, payload_size);

        assert_int_equal(tcp_frame_parse(&frame, out, size, size), size);
        assert_int_equal(frame.type, 200);
        assert_true(slice_equal(frame.event, slice_make(event, event_size)));
        assert_ptr_equal(frame.payload, payload);
        assert_int_equal(frame.payload_size, payload_size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_bytes_written),
        cmocka_unit_test(test_what_is_written_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
