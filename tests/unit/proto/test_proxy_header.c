#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>

#include "proto/proxy_header.h"
#include "vectors.h"

static void log_source(struct vector_log *log,
                       const struct proxy_header *header)
{
    static const char *const names[] = {"self", "ipv4", "ipv6", "unix"};
    char text[INET6_ADDRSTRLEN];

    vector_log_add(log, "%s", names[header->source]);
    if (header->source == PROXY_IPV4 || header->source == PROXY_IPV6) {
        assert_non_null(
            inet_ntop(header->source == PROXY_IPV4 ? AF_INET : AF_INET6,
                      header->address, text, sizeof text));
        vector_log_add(log, " %s %d", text, header->port);
    }
}

/* Keeps what is no whole header, as a connection does. */
static void run(const struct vector *vector, const struct vector_pieces *pieces,
                struct vector_log *log)
{
    size_t most = (size_t)vector_get_number(vector, "most", 8192);
    size_t end = 0;
    long rc = 0;

    for (size_t i = 0; i < pieces->count && rc == 0; i++) {
        const char *problem;
        struct proxy_header header;
        char *data;

        end += pieces->cuts[i];
        data = vectors_guard(vector->in, end);
        rc = proxy_header_parse(&header, data, end, most, &problem);
        assert_true(rc == 0 || rc == PEAL_ENOTFOUND ||
                    proxy_header_begins(data, end));
        assert_non_null(problem);
        if (rc > 0) {
            assert_in_range(rc, 1, end);
            log_source(log, &header);
            vector_log_add(log, " left %zu", vector->in_size - (size_t)rc);
        }
    }
    if (rc == PEAL_ENOTFOUND) {
        vector_log_add(log, "none");
    } else if (rc < 0) {
        vector_log_add(log, "error %s", peal_error_name((int)rc));
    } else if (rc == 0) {
        vector_log_add(log, "more");
    }
    vector_log_end(log);
}

static void test_vectors(void **state)
{
    (void)state;
    vectors_check("proxy", run);
}

static void test_nothing(void **state)
{
    struct proxy_header header;
    const char *problem;

    (void)state;
    assert_int_equal(proxy_header_parse(&header, "", 0, 100, &problem), 0);
    assert_false(proxy_header_begins("", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
