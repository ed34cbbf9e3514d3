#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "proto/http_body.h"
#include "vectors.h"

static void begin(struct http_body *body, const struct vector *vector)
{
    long length = vector_get_number(vector, "length", -1);

    http_body_init(body, length < 0 ? 0 : (uint64_t)length, length < 0);
}

static void run(const struct vector *vector, const struct vector_pieces *pieces,
                struct vector_log *log)
{
    static char content[1 << 16];
    size_t content_size = 0, start = 0, end = 0;
    struct http_body body;

    begin(&body, vector);
    for (size_t i = 0; i < pieces->count; i++) {
        end += pieces->cuts[i];
        while (start < end && !http_body_is_done(&body)) {
            char *data = vectors_guard(vector->in + start, end - start);
            struct peal_slice piece;
            long rc = http_body_read(&body, data, end - start, &piece);

            if (rc < 0) {
                assert_int_equal(rc, PEAL_EPROTOCOL);
                vector_log_add(log, "error");
                vector_log_end(log);
                return;
            }
            assert_in_range(rc, 1, end - start);
            assert_true(piece.data >= data &&
                        piece.data + piece.size <= data + rc);
            memcpy(content + content_size, piece.data, piece.size);
            content_size += piece.size;
            start += (size_t)rc;
        }
    }
    if (http_body_is_done(&body)) {
        vector_log_add(log, "body");
        vector_log_bytes(log, content, content_size);
        vector_log_add(log, " left %zu", end - start);
    } else {
        vector_log_add(log, "more");
    }
    vector_log_end(log);
}

static void test_vectors(void **state)
{
    (void)state;
    vectors_check("http_body", run);
}

/* A length beyond 32 bits is counted, not cut. */
static void test_large_lengths(void **state)
{
    static char data[1 << 16];
    struct peal_slice piece;
    struct http_body body;

    (void)state;
    http_body_init(&body, (UINT64_C(1) << 32) + 1, false);
    assert_int_equal(http_body_read(&body, data, sizeof data, &piece),
                     sizeof data);
    assert_int_equal(piece.size, sizeof data);
    assert_int_equal(body.left, (UINT64_C(1) << 32) + 1 - sizeof data);
    assert_false(http_body_is_done(&body));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_large_lengths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
