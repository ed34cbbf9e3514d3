/*
 * Heads of requests and answers. Checked besides memory: a part of the input
 * never gets another verdict than the whole, what is accepted reads the same
 * when it is written anew, and all slices lie in the input.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "proto/http.h"

#define BYTES_MAX 2048

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef long parse_function(void *head, const char *data, size_t size,
                            size_t bytes_max);

static long parse_request(void *head, const char *data, size_t size,
                          size_t bytes_max)
{
    return http_request_parse(head, data, size, bytes_max);
}

static long parse_response(void *head, const char *data, size_t size,
                           size_t bytes_max)
{
    return http_response_parse(head, data, size, bytes_max);
}

/* A copy of exactly this size, so that a byte too far is seen. */
static char *copy_of(const void *data, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);

    assert(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

/* Each shorter input (of a long one, some) is undecided or decided alike. */
static void check_prefixes(parse_function *parse, void *head, const char *data,
                           size_t size, long whole)
{
    size_t step = 1 + size / 64;
    long before = 0;

    for (size_t n = 1; n < size; n += step) {
        char *part = copy_of(data, n);
        long rc = parse(head, part, n, BYTES_MAX);

        assert(rc == 0 || rc == whole);
        assert(before == 0 || rc == before);
        before = rc;
        free(part);
    }
}

static bool is_within(struct peal_slice slice, const char *data, long size)
{
    return slice.data >= data && slice.data + slice.size <= data + size;
}

static void check_headers(const struct http_header *headers, size_t count,
                          const char *data, long size)
{
    assert(count <= HTTP_HEADERS_MAX);
    for (size_t i = 0; i < count; i++) {
        char name[BYTES_MAX + 1];

        assert(is_within(headers[i].name, data, size));
        assert(is_within(headers[i].value, data, size));
        assert(headers[i].name.size > 0);
        memcpy(name, headers[i].name.data, headers[i].name.size);
        name[headers[i].name.size] = '\0';
        assert(http_header_get(headers, count, name).data != NULL);
        http_header_has_token(headers, count, name, "x");
    }
}

/* Appends "name: value" lines and the empty one; returns the end. */
static size_t write_headers(char *out, size_t at,
                            const struct http_header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        at +=
            (size_t)sprintf(out + at, "%.*s: %.*s\r\n",
                            (int)headers[i].name.size, headers[i].name.data,
                            (int)headers[i].value.size, headers[i].value.data);
    }
    return at + (size_t)sprintf(out + at, "\r\n");
}

static bool same_headers(const struct http_header *a,
                         const struct http_header *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!slice_equal(a[i].name, b[i].name) ||
            !slice_equal(a[i].value, b[i].value)) {
            return false;
        }
    }
    return true;
}

static void check_request(const struct http_request *request, const char *data,
                          long size)
{
    char out[2 * BYTES_MAX];
    struct http_request again;
    size_t scanned = 0;

    assert(http_head_size(data, (size_t)size, &scanned) == (size_t)size);
    assert(is_within(request->method, data, size));
    assert(is_within(request->target, data, size));
    assert(is_within(request->path, request->target.data,
                     (long)request->target.size));
    assert(is_within(request->query, request->target.data,
                     (long)request->target.size));
    assert(request->path.size > 0);
    check_headers(request->headers, request->header_count, data, size);

    int at = sprintf(out, "%.*s %.*s HTTP/1.%d\r\n", (int)request->method.size,
                     request->method.data, (int)request->target.size,
                     request->target.data, request->minor_version);
    size_t end =
        write_headers(out, (size_t)at, request->headers, request->header_count);

    assert(http_request_parse(&again, out, end, sizeof out) == (long)end);
    assert(slice_equal(again.path, request->path));
    assert(slice_equal(again.query, request->query));
    assert(again.keep_alive == request->keep_alive);
    assert(again.content_length == request->content_length);
    assert(again.is_chunked == request->is_chunked);
    assert(again.header_count == request->header_count);
    assert(same_headers(again.headers, request->headers, again.header_count));

    for (int is_query = 0; is_query < 2; is_query++) {
        char *text = copy_of(request->target.data, request->target.size);
        long rc = http_decode(slice_make(text, request->target.size),
                              is_query != 0, text);

        assert(rc == PEAL_EINVAL ||
               (rc >= 0 && (size_t)rc <= request->target.size));
        char decoded[BYTES_MAX + 1];

        assert(http_decode_text(request->target, is_query != 0, decoded,
                                sizeof decoded) == rc);
        assert(rc < 0 || memcmp(decoded, text, (size_t)rc) == 0);
        free(text);
    }
    http_query_get(request->query, SLICE("token"));
    http_query_text(request->query, SLICE("token"), out, 8);
}

static void check_response(const struct http_response *response,
                           const char *data, long size)
{
    char out[2 * BYTES_MAX];
    struct http_response again;

    assert(response->status >= 100 && response->status <= 999);
    check_headers(response->headers, response->header_count, data, size);
    int at = sprintf(out, "HTTP/1.%d %d\r\n", response->minor_version,
                     response->status);
    size_t end = write_headers(out, (size_t)at, response->headers,
                               response->header_count);

    assert(http_response_parse(&again, out, end, sizeof out) == (long)end);
    assert(again.status == response->status);
    assert(again.header_count == response->header_count);
    assert(same_headers(again.headers, response->headers, again.header_count));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_request request;
    static struct http_response response;
    char *copy = copy_of(data, size);
    long rc = http_request_parse(&request, copy, size, BYTES_MAX);

    assert(rc <= (long)size && rc <= BYTES_MAX);
    assert(rc >= 0 || rc == -400 || rc == -431 || rc == -505);
    if (rc > 0) {
        check_request(&request, copy, rc);
    }
    check_prefixes(parse_request, &request, copy, size, rc);

    rc = http_response_parse(&response, copy, size, BYTES_MAX);
    assert(rc >= -1 && rc <= (long)size && rc <= BYTES_MAX);
    if (rc > 0) {
        check_response(&response, copy, rc);
    }
    check_prefixes(parse_response, &response, copy, size, rc);
    free(copy);
    return 0;
}
