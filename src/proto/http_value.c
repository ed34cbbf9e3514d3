/* Looking into what http.c has parsed: header fields and queries. */
#include <string.h>

#include "base/slice.h"
#include "proto/http.h"

struct peal_slice http_header_get(const struct http_header *headers,
                                  size_t count, const char *name)
{
    struct peal_slice wanted = slice_make(name, strlen(name));

    for (size_t i = 0; i < count; i++) {
        if (slice_equal_nocase(headers[i].name, wanted)) {
            return headers[i].value;
        }
    }
    return slice_make(NULL, 0);
}

/* Cuts `*rest` at the first `separator` and returns what stood before it. */
static struct peal_slice cut(struct peal_slice *rest, char separator)
{
    const char *mark =
        rest->size == 0 ? NULL : memchr(rest->data, separator, rest->size);
    struct peal_slice piece = *rest;

    if (mark == NULL) {
        *rest = slice_make(rest->data + rest->size, 0);
        return piece;
    }
    piece.size = (size_t)(mark - rest->data);
    *rest = slice_make(mark + 1, rest->size - piece.size - 1);
    return piece;
}

bool http_header_has_token(const struct http_header *headers, size_t count,
                           const char *name, const char *token)
{
    struct peal_slice line = slice_make(name, strlen(name));
    struct peal_slice wanted = slice_make(token, strlen(token));

    for (size_t i = 0; i < count; i++) {
        if (!slice_equal_nocase(headers[i].name, line)) {
            continue;
        }
        struct peal_slice rest = headers[i].value;

        while (rest.size > 0) {
            if (slice_equal_nocase(slice_trim(cut(&rest, ',')), wanted)) {
                return true;
            }
        }
    }
    return false;
}

struct peal_slice http_query_get(struct peal_slice query,
                                 struct peal_slice name)
{
    while (query.size > 0) {
        struct peal_slice value = cut(&query, '&');

        if (slice_equal(cut(&value, '='), name)) {
            return value;
        }
    }
    return slice_make(NULL, 0);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/*
 * Decodes the unit (a character or an escape) at `*at` and steps over it:
 * the character, or PEAL_EINVAL.
 */
static int decode_unit(struct peal_slice in, bool is_query, size_t *at)
{
    char c = in.data[*at];
    int high, low;

    if (c != '%') {
        (*at)++;
        return c == '+' && is_query ? ' ' : (unsigned char)c;
    }
    if (in.size - *at < 3) {
        return PEAL_EINVAL;
    }
    high = hex_digit(in.data[*at + 1]);
    low = hex_digit(in.data[*at + 2]);
    if (high < 0 || low < 0 || high + low == 0) {
        return PEAL_EINVAL;
    }
    *at += 3;
    return high * 16 + low;
}

long http_decode(struct peal_slice in, bool is_query, char *out)
{
    size_t used = 0;

    for (size_t at = 0; at < in.size;) {
        int c = decode_unit(in, is_query, &at);

        if (c < 0) {
            return c;
        }
        out[used++] = (char)c;
    }
    return (long)used;
}

long http_decode_text(struct peal_slice in, bool is_query, char *out,
                      size_t size)
{
    size_t used = 0;

    for (size_t at = 0; at < in.size;) {
        int c = decode_unit(in, is_query, &at);

        if (c < 0) {
            return c;
        }
        if (used + 1 >= size) {
            return PEAL_ETOOBIG;
        }
        out[used++] = (char)c;
    }
    if (size == 0) {
        return PEAL_ETOOBIG;
    }
    out[used] = '\0';
    return (long)used;
}

/* Whether an encoded name of a query is this one. */
static bool is_named(struct peal_slice encoded, struct peal_slice name)
{
    size_t used = 0;

    for (size_t at = 0; at < encoded.size; used++) {
        int c = decode_unit(encoded, true, &at);

        if (c < 0 || used >= name.size ||
            (unsigned char)name.data[used] != c) {
            return false;
        }
    }
    return used == name.size;
}

long http_query_text(struct peal_slice query, struct peal_slice name, char *out,
                     size_t size)
{
    while (query.size > 0) {
        struct peal_slice value = cut(&query, '&');

        if (is_named(cut(&value, '='), name)) {
            return http_decode_text(value, true, out, size);
        }
    }
    return PEAL_ENOTFOUND;
}
