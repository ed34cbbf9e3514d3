#include "proto/http.h"

#include <string.h>

#include "base/slice.h"

#define METHOD_BYTES_MAX 32
#define EMPTY_LINES_MAX 2

/* Which bytes may stand where; the table below holds the sums. */
enum byte_class {
    BYTE_TOKEN = 1,  /* tchar of RFC 9110, 5.6.2 */
    BYTE_VALUE = 2,  /* field-vchar, blank and tab (RFC 9110, 5.5) */
    BYTE_TARGET = 4, /* visible ASCII but '#': a fragment is never sent */
};

/* clang-format off */
static const unsigned char byte_classes[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, /* tab */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* controls */
    2, 7, 6, 3, 7, 7, 7, 7, 6, 6, 7, 7, 6, 7, 7, 6, /* blank ! " # ... */
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 6, 6, 6, 6, /* 0 ... 9 : ; */
    6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, /* @ A ... */
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 6, 7, 7, /* ... Z [ \ ] ^ _ */
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, /* ` a ... */
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 7, 6, 7, 0, /* ... z { | } ~ DEL */
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, /* obs-text from here */
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
};
/* clang-format on */

/* Fields that must not stand in a head twice. */
enum single {
    SINGLE_HOST,
    SINGLE_CONTENT_LENGTH,
    SINGLE_TRANSFER_ENCODING,
    SINGLE_ORIGIN,
    SINGLE_WS_KEY,
    SINGLE_WS_VERSION,
    SINGLE_WS_ACCEPT,
    SINGLE_COUNT
};

static const struct peal_slice single_names[SINGLE_COUNT] = {
    [SINGLE_HOST] = {"host", 4},
    [SINGLE_CONTENT_LENGTH] = {"content-length", 14},
    [SINGLE_TRANSFER_ENCODING] = {"transfer-encoding", 17},
    [SINGLE_ORIGIN] = {"origin", 6},
    [SINGLE_WS_KEY] = {"sec-websocket-key", 17},
    [SINGLE_WS_VERSION] = {"sec-websocket-version", 21},
    [SINGLE_WS_ACCEPT] = {"sec-websocket-accept", 20},
};

/*
 * Readers return true when they have read what they are named after. On false,
 * `refusal` is the HTTP status to refuse with, or 0 when the bytes ran out.
 */
struct input {
    const char *at;
    const char *end;
    int refusal;
};

/* The header lines that are being filled, and the ones that stand alone. */
struct fields {
    struct http_header *headers;
    size_t count;
    const struct http_header *single[SINGLE_COUNT];
};

static bool refuse(struct input *in, int status)
{
    in->refusal = status;
    return false;
}

static bool is_of(char c, enum byte_class wanted)
{
    return (byte_classes[(unsigned char)c] & wanted) != 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The longest run of one class from here on, possibly empty. */
static struct peal_slice read_run(struct input *in, enum byte_class wanted)
{
    const char *start = in->at;
    const char *at = start;

    while (at < in->end && is_of(*at, wanted)) {
        at++;
    }
    in->at = at;
    return slice_make(start, (size_t)(at - start));
}

static bool read_char(struct input *in, char wanted)
{
    if (in->at == in->end) {
        return false;
    }
    if (*in->at != wanted) {
        return refuse(in, 400);
    }
    in->at++;
    return true;
}

/* A lone CR or LF ends no line here, whatever RFC 9112, 2.2 lets one accept. */
static bool read_crlf(struct input *in)
{
    return read_char(in, '\r') && read_char(in, '\n');
}

/* Clients of old sent a stray line after a body (RFC 9112, 2.2). */
static bool read_empty_lines(struct input *in)
{
    for (int i = 0; i < EMPTY_LINES_MAX; i++) {
        if (in->at == in->end || *in->at != '\r') {
            break;
        }
        if (!read_crlf(in)) {
            return false;
        }
    }
    return in->at < in->end;
}

static bool read_version(struct input *in, int *minor)
{
    static const char name[5] = {'H', 'T', 'T', 'P', '/'};
    size_t left = (size_t)(in->end - in->at);
    size_t known = left < sizeof name ? left : sizeof name;

    if (memcmp(in->at, name, known) != 0) {
        return refuse(in, 400);
    }
    if (left < sizeof "HTTP/1.1" - 1) {
        return false;
    }
    if (!is_digit(in->at[5]) || in->at[6] != '.' || !is_digit(in->at[7])) {
        return refuse(in, 400);
    }
    if (in->at[5] != '1') {
        return refuse(in, 505);
    }
    /* A later minor version is read as the latest we know (RFC 9110, 2.5). */
    *minor = in->at[7] == '0' ? 0 : 1;
    in->at += 8;
    return true;
}

static bool read_request_line(struct input *in, struct http_request *request)
{
    request->method = read_run(in, BYTE_TOKEN);
    if (request->method.size > METHOD_BYTES_MAX) {
        return refuse(in, 400);
    }
    if (request->method.size == 0 && in->at < in->end) {
        return refuse(in, 400);
    }
    if (!read_char(in, ' ')) {
        return false;
    }
    request->target = read_run(in, BYTE_TARGET);
    if (request->target.size == 0 && in->at < in->end) {
        return refuse(in, 400);
    }
    return read_char(in, ' ') && read_version(in, &request->minor_version) &&
           read_crlf(in);
}

static bool read_status_line(struct input *in, struct http_response *response)
{
    if (!read_version(in, &response->minor_version) || !read_char(in, ' ')) {
        return false;
    }
    response->status = 0;
    for (int i = 0; i < 3; i++) {
        if (in->at == in->end) {
            return false;
        }
        if (!is_digit(*in->at)) {
            return refuse(in, 400);
        }
        response->status = response->status * 10 + (*in->at - '0');
        in->at++;
    }
    if (response->status < 100) {
        return refuse(in, 400);
    }
    /* Some servers leave out the blank together with the reason. */
    if (in->at < in->end && *in->at == ' ') {
        read_run(in, BYTE_VALUE);
    }
    return read_crlf(in);
}

/* Notes a field that must stand alone; false when it already does not. */
static bool note_single(struct fields *fields, const struct http_header *header)
{
    for (size_t i = 0; i < SINGLE_COUNT; i++) {
        if (slice_equal_nocase(header->name, single_names[i])) {
            if (fields->single[i] != NULL) {
                return false;
            }
            fields->single[i] = header;
            return true;
        }
    }
    return true;
}

static bool read_field(struct input *in, struct fields *fields)
{
    if (fields->count == HTTP_HEADERS_MAX) {
        return refuse(in, 431);
    }
    struct http_header *header = &fields->headers[fields->count];

    /* An empty name is also how a folded line looks: it begins with a blank. */
    header->name = read_run(in, BYTE_TOKEN);
    if (header->name.size == 0) {
        return refuse(in, 400);
    }
    if (!read_char(in, ':')) {
        return false;
    }
    header->value = slice_trim(read_run(in, BYTE_VALUE));
    if (!read_crlf(in)) {
        return false;
    }
    fields->count++;
    return note_single(fields, header) || refuse(in, 400);
}

static bool read_fields(struct input *in, struct fields *fields)
{
    while (in->at < in->end && *in->at != '\r') {
        if (!read_field(in, fields)) {
            return false;
        }
    }
    return read_crlf(in);
}

/* The size of "scheme://" at the start of a target, or 0. */
static size_t scheme_size(struct peal_slice target)
{
    static const struct peal_slice schemes[] = {
        {"http://", 7}, {"https://", 8}, {"ws://", 5}, {"wss://", 6}};

    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (target.size >= schemes[i].size &&
            slice_equal_nocase(slice_make(target.data, schemes[i].size),
                               schemes[i])) {
            return schemes[i].size;
        }
    }
    return 0;
}

/*
 * Splits the target into path and query (RFC 9112, 3.2). `*authority` is the
 * host of an absolute form, else empty.
 */
static bool split_target(struct http_request *request,
                         struct peal_slice *authority)
{
    struct peal_slice rest = request->target;
    size_t scheme = scheme_size(rest);

    *authority = slice_make(rest.data + scheme, 0);
    request->query = slice_make(rest.data + rest.size, 0);
    if (rest.size == 1 && rest.data[0] == '*') {
        request->path = rest;
        return slice_equal(request->method, SLICE("OPTIONS"));
    }
    if (scheme > 0) {
        rest = slice_make(rest.data + scheme, rest.size - scheme);
        while (authority->size < rest.size &&
               rest.data[authority->size] != '/' &&
               rest.data[authority->size] != '?') {
            authority->size++;
        }
        if (authority->size == 0) {
            return false;
        }
        rest = slice_make(rest.data + authority->size,
                          rest.size - authority->size);
    } else if (rest.data[0] != '/') {
        return false;
    }
    const char *mark =
        rest.size == 0 ? NULL : memchr(rest.data, '?', rest.size);

    request->path = rest;
    if (mark != NULL) {
        request->path.size = (size_t)(mark - rest.data);
        request->query =
            slice_make(mark + 1, rest.size - request->path.size - 1);
    }
    if (request->path.size == 0) {
        /* "http://host" means "/", and the scheme ends with one. */
        request->path = slice_make(request->target.data + scheme - 1, 1);
    }
    return true;
}

/* uri-host [":" port] (RFC 9110, 7.2), by its alphabet: no userinfo, no list */
static bool host_is_valid(struct peal_slice host)
{
    for (size_t i = 0; i < host.size; i++) {
        char c = host.data[i];

        if (!is_of(c, BYTE_TARGET) || memchr("\"/,<>?@\\^`{|}", c, 13)) {
            return false;
        }
    }
    return true;
}

/* Digits only; a list of equal lengths is refused as well. */
static bool length_parse(struct peal_slice value, uint64_t *length)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < value.size; i++) {
        uint64_t digit = (uint64_t)(value.data[i] - '0');

        if (!is_digit(value.data[i]) || sum > (UINT64_MAX - digit) / 10) {
            return false;
        }
        sum = sum * 10 + digit;
    }
    *length = sum;
    return value.size > 0;
}

static bool check_host(const struct http_request *request,
                       const struct http_header *host,
                       struct peal_slice authority)
{
    if (host == NULL) {
        return request->minor_version == 0;
    }
    if (!host_is_valid(host->value)) {
        return false;
    }
    /* A client has to send the same twice (RFC 9112, 3.2.2); whoever looked at
     * the other one than we do would see another request. */
    return authority.size == 0 || slice_equal_nocase(authority, host->value);
}

static bool check_body(struct http_request *request,
                       const struct http_header *length,
                       const struct http_header *encoding)
{
    request->content_length = 0;
    request->is_chunked = encoding != NULL;
    if (encoding != NULL) {
        return length == NULL && request->minor_version == 1 &&
               slice_equal_nocase(encoding->value, SLICE("chunked"));
    }
    return length == NULL ||
           length_parse(length->value, &request->content_length);
}

static bool wants_keep_alive(const struct http_request *request)
{
    if (http_header_has_token(request->headers, request->header_count,
                              "connection", "close")) {
        return false;
    }
    return request->minor_version == 1 ||
           http_header_has_token(request->headers, request->header_count,
                                 "connection", "keep-alive");
}

static bool read_request(struct input *in, struct http_request *request)
{
    struct fields fields = {.headers = request->headers};
    struct peal_slice authority;

    if (!read_empty_lines(in) || !read_request_line(in, request)) {
        return false;
    }
    if (!split_target(request, &authority) || !host_is_valid(authority)) {
        return refuse(in, 400);
    }
    if (!read_fields(in, &fields)) {
        return false;
    }
    request->header_count = fields.count;
    if (!check_host(request, fields.single[SINGLE_HOST], authority) ||
        !check_body(request, fields.single[SINGLE_CONTENT_LENGTH],
                    fields.single[SINGLE_TRANSFER_ENCODING])) {
        return refuse(in, 400);
    }
    request->keep_alive = wants_keep_alive(request);
    return true;
}

/* What a parser returns when its reader returned false. */
static long refusal_of(const struct input *in, size_t size, size_t bytes_max)
{
    if (in->refusal != 0) {
        return -in->refusal;
    }
    return size >= bytes_max ? -431 : 0;
}

long http_request_parse(struct http_request *request, const char *data,
                        size_t size, size_t bytes_max)
{
    size_t visible = size < bytes_max ? size : bytes_max;
    struct input in = {.at = data, .end = data + visible};

    if (!read_request(&in, request)) {
        return refusal_of(&in, size, bytes_max);
    }
    return in.at - data;
}

long http_response_parse(struct http_response *response, const char *data,
                         size_t size, size_t bytes_max)
{
    size_t visible = size < bytes_max ? size : bytes_max;
    struct input in = {.at = data, .end = data + visible};
    struct fields fields = {.headers = response->headers};

    if (!read_status_line(&in, response) || !read_fields(&in, &fields)) {
        return refusal_of(&in, size, bytes_max) < 0 ? -1 : 0;
    }
    response->header_count = fields.count;
    return in.at - data;
}

size_t http_head_size(const char *data, size_t size, size_t *scanned)
{
    size_t start = 0;

    /* The empty lines that a request may begin with do not end its head. */
    for (int i = 0; i < EMPTY_LINES_MAX; i++) {
        if (size - start >= 2 && memcmp(data + start, "\r\n", 2) == 0) {
            start += 2;
        }
    }
    size_t at = *scanned > start ? *scanned : start;

    while (at < size) {
        const char *line_end = memchr(data + at, '\n', size - at);

        if (line_end == NULL) {
            break;
        }
        at = (size_t)(line_end - data) + 1;
        if (at - start >= 4 && memcmp(data + at - 4, "\r\n\r\n", 4) == 0) {
            return at;
        }
    }
    *scanned = size;
    return 0;
}
