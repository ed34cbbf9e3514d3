#include "proto/http_body.h"

#include <string.h>

#include "base/assert.h"
#include "base/slice.h"

/* So that a size cannot overflow: 60 bits. */
#define DIGITS_MAX 15

enum {
    BODY_LENGTH,  /* content of a known length */
    BODY_SIZE,    /* digits of a chunk's size */
    BODY_EXT,     /* an extension of it, up to the CR */
    BODY_SIZE_LF, /* the LF behind it */
    BODY_DATA,    /* content of a chunk */
    BODY_DATA_CR, /* the CRLF behind that */
    BODY_DATA_LF,
    BODY_LINE,  /* the first byte of a trailer line, or the last CR */
    BODY_NAME,  /* a trailer's name, up to the colon */
    BODY_VALUE, /* its value, up to the CR */
    BODY_VALUE_LF,
    BODY_LAST_LF,
    BODY_DONE
};

void http_body_init(struct http_body *body, uint64_t length, bool is_chunked)
{
    *body = (struct http_body){
        .left = is_chunked ? 0 : length,
        .state = is_chunked ? BODY_SIZE
                            : (length > 0 ? BODY_LENGTH : BODY_DONE),
    };
}

bool http_body_is_done(const struct http_body *body)
{
    return body->state == BODY_DONE;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* tchar of RFC 9110, 5.6.2 */
static bool is_token(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* What may stand in a field's value or an extension (RFC 9110, 5.5). */
static bool is_value(char c)
{
    return (unsigned char)c >= ' ' ? c != '\x7f' : c == '\t';
}

/* Goes to `state` if the byte is the one that must come. */
static bool expect(struct http_body *body, char c, char expected, int state)
{
    body->state = (uint8_t)state;
    return c == expected;
}

static bool read_size(struct http_body *body, char c)
{
    int digit = hex_digit(c);

    if (digit >= 0) {
        body->left = body->left << 4 | (uint64_t)digit;
        return ++body->digits <= DIGITS_MAX;
    }
    if (c == '\r') {
        body->state = BODY_SIZE_LF;
    } else {
        body->state = BODY_EXT;
    }
    return body->digits > 0 && (c == '\r' || c == ';');
}

/* A byte that is read over: a text that ends with a CR, and then `state`. */
static bool read_over(struct http_body *body, char c, int state)
{
    if (c == '\r') {
        body->state = (uint8_t)state;
        return true;
    }
    return ++body->extra <= HTTP_BODY_EXTRA_MAX && is_value(c);
}

static bool read_name(struct http_body *body, char c)
{
    bool is_first = body->state == BODY_LINE;

    if (c == ':') {
        body->state = BODY_VALUE;
        return !is_first;
    }
    body->state = BODY_NAME;
    return ++body->extra <= HTTP_BODY_EXTRA_MAX && is_token(c);
}

/* One byte of what is around the content. */
static bool read_byte(struct http_body *body, char c)
{
    switch (body->state) {
    case BODY_SIZE:
        return read_size(body, c);
    case BODY_EXT:
        return read_over(body, c, BODY_SIZE_LF);
    case BODY_SIZE_LF:
        return expect(body, c, '\n', body->left > 0 ? BODY_DATA : BODY_LINE);
    case BODY_DATA_CR:
        return expect(body, c, '\r', BODY_DATA_LF);
    case BODY_DATA_LF:
        body->digits = 0;
        return expect(body, c, '\n', BODY_SIZE);
    case BODY_LINE:
        if (c == '\r') {
            body->state = BODY_LAST_LF;
            return true;
        }
        return read_name(body, c);
    case BODY_NAME:
        return read_name(body, c);
    case BODY_VALUE:
        return read_over(body, c, BODY_VALUE_LF);
    case BODY_VALUE_LF:
        return expect(body, c, '\n', BODY_LINE);
    case BODY_LAST_LF:
        return expect(body, c, '\n', BODY_DONE);
    default:
        UNREACHABLE();
    }
}

static bool is_content(const struct http_body *body)
{
    return body->state == BODY_LENGTH || body->state == BODY_DATA;
}

long http_body_read(struct http_body *body, const char *data, size_t size,
                    struct peal_slice *content)
{
    size_t at = 0;

    *content = slice_make(data, 0);
    while (at < size && !is_content(body) && body->state != BODY_DONE) {
        if (!read_byte(body, data[at])) {
            return PEAL_EPROTOCOL;
        }
        at++;
    }
    if (at < size && is_content(body)) {
        size_t count = size - at;

        if (count > body->left) {
            count = (size_t)body->left;
        }
        *content = slice_make(data + at, count);
        at += count;
        body->left -= count;
        if (body->left == 0) {
            body->state =
                body->state == BODY_LENGTH ? BODY_DONE : BODY_DATA_CR;
        }
    }
    return (long)at;
}
