#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/slice.h"
#include "proto/http.h"
#include "vectors.h"

#define assert_slice(slice, text) assert_true(slice_equal(slice, SLICE(text)))

static void log_headers(const struct vector *vector, struct vector_log *log,
                        const struct http_header *headers, size_t count)
{
    if (vector_get(vector, "count_only", NULL) != NULL) {
        vector_log_add(log, "headers %zu", count);
        vector_log_end(log);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        vector_log_add(log, "header");
        vector_log_bytes(log, headers[i].name.data, headers[i].name.size);
        vector_log_add(log, " :");
        vector_log_bytes(log, headers[i].value.data, headers[i].value.size);
        vector_log_end(log);
    }
}

static void log_request(const struct vector *vector, struct vector_log *log,
                        const struct http_request *request)
{
    vector_log_add(log, "request");
    vector_log_bytes(log, request->method.data, request->method.size);
    vector_log_add(log, " /");
    vector_log_bytes(log, request->path.data, request->path.size);
    vector_log_add(log, " ?");
    vector_log_bytes(log, request->query.data, request->query.size);
    vector_log_add(log, " %d %s ", request->minor_version,
                   request->keep_alive ? "keep" : "close");
    if (request->is_chunked) {
        assert_int_equal(request->content_length, 0);
        vector_log_add(log, "chunked");
    } else {
        vector_log_add(log, "body %llu",
                       (unsigned long long)request->content_length);
    }
    vector_log_end(log);
    log_headers(vector, log, request->headers, request->header_count);
}

/* Parses one head; logs it when it is whole. */
static long read_head(const struct vector *vector, struct vector_log *log,
                      const char *data, size_t size)
{
    size_t max = (size_t)vector_get_number(vector, "bytes_max", 8192);
    bool is_response =
        strcmp(vector_get(vector, "kind", "request"), "response") == 0;
    long rc;

    if (is_response) {
        struct http_response response;

        rc = http_response_parse(&response, data, size, max);
        if (rc > 0) {
            vector_log_add(log, "response %d %d", response.status,
                           response.minor_version);
            vector_log_end(log);
            log_headers(vector, log, response.headers, response.header_count);
        }
    } else {
        struct http_request request;

        rc = http_request_parse(&request, data, size, max);
        if (rc > 0) {
            log_request(vector, log, &request);
        }
    }
    return rc;
}

static void run(const struct vector *vector, const struct vector_pieces *pieces,
                struct vector_log *log)
{
    size_t start = 0, end = 0, scanned = 0;

    for (size_t i = 0; i < pieces->count; i++) {
        end += pieces->cuts[i];
        while (start < end) {
            char *data = vectors_guard(vector->in + start, end - start);
            size_t head_size = http_head_size(data, end - start, &scanned);
            long rc = read_head(vector, log, data, end - start);

            if (rc < 0) {
                vector_log_add(log, "refuse %ld", -rc);
                vector_log_end(log);
                return;
            }
            /* The search for the end and the parser agree on it. */
            assert_int_equal(head_size, rc);
            if (rc == 0) {
                break;
            }
            start += (size_t)rc;
            scanned = 0;
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
    vectors_check("http", run);
}

/* The head's only empty line is sought from where the last search ended. */
static void test_head_size(void **state)
{
    const char *head = "GET / HTTP/1.1\r\n\nX: \r\r\n\r\nbody";
    size_t size = strlen(head) - 4;
    size_t scanned = 0;

    (void)state;
    for (size_t i = 1; i < size; i++) {
        assert_int_equal(http_head_size(head, i, &scanned), 0);
        assert_int_equal(scanned, i);
    }
    assert_int_equal(http_head_size(head, size, &scanned), size);
    scanned = 0;
    assert_int_equal(http_head_size(head, size + 4, &scanned), size);
}

/* Puts `byte` into a request at the place of the 'Z' of `form`. */
static long parse_with(const char *form, unsigned char byte)
{
    struct http_request request;
    char head[128];
    size_t size = strlen(form);

    memcpy(head, form, size);
    *(char *)memchr(head, 'Z', size) = (char)byte;
    return http_request_parse(&request, head, size, sizeof head);
}

static bool is_tchar(int c)
{
    return c < 0x80 &&
           (isalnum(c) || (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL));
}

/* Each byte at each kind of place, against the definitions of RFC 9110. */
static void test_alphabets(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        unsigned char byte = (unsigned char)c;
        bool is_text = c == '\t' || (c >= 0x20 && c != 0x7f);

        assert_int_equal(parse_with("GZT / HTTP/1.0\r\n\r\n", byte) > 0,
                         is_tchar(c));
        assert_int_equal(parse_with("GET /Z HTTP/1.0\r\n\r\n", byte) > 0,
                         c > 0x20 && c < 0x7f && c != '#');
        assert_int_equal(parse_with("GET / HTTP/1.0\r\nXZY: a\r\n\r\n", byte) >
                             0,
                         is_tchar(c) || c == ':');
        assert_int_equal(
            parse_with("GET / HTTP/1.0\r\nX: aZb\r\n\r\n", byte) > 0, is_text);
    }
}

static void test_slices_lie_in_the_input(void **state)
{
    const char *head = "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n";
    struct http_request request;

    (void)state;
    assert_int_equal(http_request_parse(&request, head, strlen(head), 100),
                     strlen(head));
    assert_in_range(request.path.data - head, 4, 12);
    assert_in_range(request.query.data - head, 4, 12);
    assert_ptr_equal(request.target.data, head + 4);
    assert_int_equal(request.target.size, 8);
}

static const struct http_header some_headers[] = {
    {{"Host", 4}, {"a", 1}},
    {{"Connection", 10}, {"keep-alive,\tUpgrade ,, x", 24}},
    {{"X", 1}, {"", 0}},
    {{"CONNECTION", 10}, {"other", 5}},
    {{"connection", 10}, {"y", 1}},
    {{"x", 1}, {"second", 6}},
};

static void test_header_get(void **state)
{
    (void)state;
    assert_slice(http_header_get(some_headers, 6, "host"), "a");
    struct peal_slice empty = http_header_get(some_headers, 6, "x");

    assert_int_equal(empty.size, 0);
    assert_non_null(empty.data);
    assert_null(http_header_get(some_headers, 6, "hos").data);
    assert_null(http_header_get(some_headers, 0, "host").data);
}

static void test_header_has_token(void **state)
{
    static const struct {
        const char *token;
        bool is_there;
    } cases[] = {
        {"keep-alive", true}, {"upgrade", true}, {"UPGRADE", true},
        {"x", true},          {"other", true},   {"y", true},
        {"keep", false},      {"alive", false},  {"up grade", false},
        {"xx", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(http_header_has_token(some_headers, 6, "connection",
                                               cases[i].token),
                         cases[i].is_there);
    }
    assert_false(http_header_has_token(some_headers, 3, "connection", "other"));
    assert_false(http_header_has_token(some_headers, 6, "upgrade", "x"));
}

static void test_query_get(void **state)
{
    struct peal_slice query = SLICE("a=1&bb=2&b=&c&=e&d=x=y&a=3");

    (void)state;
    assert_slice(http_query_get(query, SLICE("a")), "1");
    assert_slice(http_query_get(query, SLICE("bb")), "2");
    assert_slice(http_query_get(query, SLICE("d")), "x=y");
    assert_slice(http_query_get(query, SLICE("")), "e");
    assert_non_null(http_query_get(query, SLICE("b")).data);
    assert_int_equal(http_query_get(query, SLICE("b")).size, 0);
    assert_non_null(http_query_get(query, SLICE("c")).data);
    assert_null(http_query_get(query, SLICE("e")).data);
    assert_non_null(http_query_get(SLICE("a"), SLICE("a")).data);
    assert_non_null(http_query_get(SLICE("="), SLICE("")).data);
    assert_null(http_query_get(SLICE(""), SLICE("a")).data);
    assert_null(http_query_get((struct peal_slice){0}, SLICE("a")).data);
}

static void test_query_text(void **state)
{
    static const struct peal_slice query = {
        "a=1&b%62=%32+x&d&a=3&e=%0&f=%00&=y&%67%zz=1", 43};
    char out[4];

    (void)state;
    assert_int_equal(http_query_text(query, SLICE("a"), out, sizeof out), 1);
    assert_string_equal(out, "1");
    assert_int_equal(http_query_text(query, SLICE("bb"), out, sizeof out), 3);
    assert_string_equal(out, "2 x");
    assert_int_equal(http_query_text(query, SLICE("bb"), out, 3),
                     PEAL_ETOOBIG);
    assert_int_equal(http_query_text(query, SLICE("d"), out, 1), 0);
    assert_string_equal(out, "");
    assert_int_equal(http_query_text(query, SLICE("d"), out, 0), PEAL_ETOOBIG);
    assert_int_equal(http_query_text(query, SLICE(""), out, sizeof out), 1);
    assert_int_equal(http_query_text(query, SLICE("e"), out, sizeof out),
                     PEAL_EINVAL);
    assert_int_equal(http_query_text(query, SLICE("f"), out, sizeof out),
                     PEAL_EINVAL);
    assert_int_equal(http_query_text(query, SLICE("g"), out, sizeof out),
                     PEAL_ENOTFOUND);
    assert_int_equal(http_query_text(query, SLICE("b"), out, sizeof out),
                     PEAL_ENOTFOUND);
    assert_int_equal(http_query_text(query, SLICE("bbb"), out, sizeof out),
                     PEAL_ENOTFOUND);
    assert_int_equal(http_query_text(SLICE(""), SLICE("a"), out, sizeof out),
                     PEAL_ENOTFOUND);
    /* A path keeps its plus. */
    assert_int_equal(http_decode_text(SLICE("+%2B"), false, out, 3), 2);
    assert_string_equal(out, "++");
}

static void test_decode(void **state)
{
    static const struct {
        const char *in;
        bool is_query;
        const char *out; /* NULL: refused */
    } cases[] = {
        {"", true, ""},
        {"plain", true, "plain"},
        {"a%20b+c", true, "a b c"},
        {"a%20b+c", false, "a b+c"},
        {"%C3%a9%2f%25", false, "\xc3\xa9/%"},
        {"%2541", false, "%41"},
        {"%01", false, "\x01"},
        {"%10%11", false, "\x10\x11"},
        {"%AF%FA%af%fa", false, "\xaf\xfa\xaf\xfa"},
        {"%", true, NULL},
        {"a%4", true, NULL},
        {"%4g", true, NULL},
        {"%g4", true, NULL},
        {"%%41", true, NULL},
        {"%+1", true, NULL},
        {"a%00", true, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size = strlen(cases[i].in);
        char *data = vectors_guard(cases[i].in, size);
        long rc = http_decode(slice_make(data, size), cases[i].is_query, data);

        if (cases[i].out == NULL) {
            assert_int_equal(rc, PEAL_EINVAL);
            continue;
        }
        assert_int_equal(rc, strlen(cases[i].out));
        assert_memory_equal(data, cases[i].out, (size_t)rc);
    }
}

/* All that this server and its clients have to do with. */
static void test_reason(void **state)
{
    static const struct {
        int status;
        const char *reason;
    } cases[] = {
        {101, "Switching Protocols"},
        {200, "OK"},
        {204, "No Content"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
        {599, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(http_reason(cases[i].status), cases[i].reason);
    }
}

static void test_answer(void **state)
{
    static const struct {
        struct http_answer answer;
        const char *bytes;
    } cases[] = {
        {{200, "", "text/plain", {"hello", 5}, false, false, false},
         "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
         "Content-Length: 5\r\n\r\nhello"},
        {{404, "X: y\r\n", NULL, {NULL, 0}, true, false, false},
         "HTTP/1.1 404 Not Found\r\nX: y\r\nContent-Length: 0\r\n"
         "Connection: close\r\n\r\n"},
        {{200, "", "text/plain", {"hello", 5}, false, true, false},
         "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
         "Content-Length: 5\r\n\r\n"},
        {{200, "", NULL, {NULL, 0}, false, false, true},
         "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
         "Connection: keep-alive\r\n\r\n"},
        {{200, "", NULL, {NULL, 0}, true, false, true},
         "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
         "Connection: close\r\n\r\n"},
        {{204, "", NULL, {"hello", 5}, false, false, false},
         "HTTP/1.1 204 No Content\r\n\r\n"},
        {{100, "", NULL, {"hello", 5}, false, false, false},
         "HTTP/1.1 100 Continue\r\n\r\n"},
        {{599, "", NULL, {NULL, 0}, false, false, false},
         "HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t due = strlen(cases[i].bytes);

        for (size_t size = 0; size <= due; size++) {
            char *out = vectors_guard("", 0) - size;
            long rc = http_answer_write(out, size, &cases[i].answer);

            assert_int_equal(rc, size == due ? (long)due : PEAL_EFULL);
        }
        char out[256];
        long rc = http_answer_write(out, sizeof out, &cases[i].answer);

        assert_int_equal(rc, due);
        assert_memory_equal(out, cases[i].bytes, due);
    }
}

/* A client of ours reads what a server of ours writes. */
static void test_answer_is_read(void **state)
{
    struct http_answer answer = {.status = 426,
                                 .headers = "Sec-WebSocket-Version: 13\r\n",
                                 .body = SLICE("no"),
                                 .is_last = true};
    struct http_response response;
    char out[256];
    long size = http_answer_write(out, sizeof out, &answer);

    (void)state;
    assert_int_equal(
        http_response_parse(&response, out, (size_t)size, sizeof out),
        size - 2);
    assert_int_equal(response.status, 426);
    assert_int_equal(response.header_count, 3);
    assert_slice(http_header_get(response.headers, 3, "sec-websocket-version"),
                 "13");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_head_size),
        cmocka_unit_test(test_alphabets),
        cmocka_unit_test(test_slices_lie_in_the_input),
        cmocka_unit_test(test_header_get),
        cmocka_unit_test(test_header_has_token),
        cmocka_unit_test(test_query_get),
        cmocka_unit_test(test_query_text),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_reason),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_answer_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
