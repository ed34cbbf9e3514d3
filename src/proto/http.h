/*
 * Heads of HTTP/1.1 requests and answers (RFC 9112), without I/O.
 *
 * Strict: bounded, CRLF only, no folded lines, no blanks before a colon, tokens
 * and field values of RFC 9110, one Host, no Content-Length beside
 * Transfer-Encoding. What two parties could read in two ways is refused.
 */
#ifndef PROTO_HTTP_H
#define PROTO_HTTP_H

#include "peal/peal.h"

#define HTTP_HEADERS_MAX 64

struct http_header {
    struct peal_slice name;
    struct peal_slice value; /* without blanks around it */
};

/* All slices lie in the bytes that were parsed. */
struct http_request {
    struct peal_slice method;
    struct peal_slice target; /* as sent: "/chat?token=x" */
    struct peal_slice path;   /* "/chat": not decoded; "*" for OPTIONS * */
    struct peal_slice query;  /* "token=x", without the question mark */
    int minor_version;        /* 0 or 1: HTTP/1.0 or HTTP/1.1 */
    bool keep_alive;          /* the connection may be used again */
    uint64_t content_length;  /* 0 when there is no body */
    bool is_chunked;
    size_t header_count;
    struct http_header headers[HTTP_HEADERS_MAX];
};

struct http_response {
    int status;
    int minor_version;
    size_t header_count;
    struct http_header headers[HTTP_HEADERS_MAX];
};

/*
 * Looks for the end of a head. `*scanned` (0 at first) remembers how far
 * earlier calls have looked, so that a head that arrives byte by byte costs
 * O(n) in all. Returns the head's size with its closing blank line, or 0: not
 * there yet.
 */
size_t http_head_size(const char *data, size_t size, size_t *scanned);

/*
 * Parses the head of a request. Returns > 0: the bytes consumed, closing blank
 * line included; 0: more is needed; < 0: refused, and -n is the HTTP status to
 * answer with:
 *
 *   400  malformed          431  more than `bytes_max` or HTTP_HEADERS_MAX
 *   505  not HTTP/1.x
 *
 * An absolute-form target ("http://host/path", RFC 9112, 3.2.2) gives the path
 * and query in it; its host must be the one of the Host field. Empty lines
 * before the request line are skipped, two at most. What is malformed is
 * refused as soon as the bytes that show it are there: a TLS hello with its
 * first.
 */
long http_request_parse(struct http_request *request, const char *data,
                        size_t size, size_t bytes_max);

/* The same for an answer: what a client reads. -1 for any refusal. */
long http_response_parse(struct http_response *response, const char *data,
                         size_t size, size_t bytes_max);

/*
 * The value of the first header `name` (letter case ignored); data is NULL when
 * there is none. A field that must not be doubled has been refused if it was.
 */
struct peal_slice http_header_get(const struct http_header *headers,
                                  size_t count, const char *name);

/*
 * Whether a list header ("Connection", "Upgrade") holds `token` in any of its
 * lines: comma separated, letter case ignored (RFC 9110, 5.6.1).
 */
bool http_header_has_token(const struct http_header *headers, size_t count,
                           const char *name, const char *token);

/* The value of `name` in a query, not decoded; data NULL when there is none. */
struct peal_slice http_query_get(struct peal_slice query,
                                 struct peal_slice name);

/*
 * Percent-decodes (and, in a query, turns + into a blank) into `out`, which may
 * be in.data. Returns the bytes written, or PEAL_EINVAL for a broken escape or
 * an encoded zero byte.
 */
long http_decode(struct peal_slice in, bool is_query, char *out);

/*
 * The same with a zero byte behind it, into `size` bytes: PEAL_ETOOBIG when
 * that is too small.
 */
long http_decode_text(struct peal_slice in, bool is_query, char *out,
                      size_t size);

/*
 * Decodes the first value of `name` in a query, whose names are decoded, too.
 * As http_decode_text; PEAL_ENOTFOUND when there is none.
 */
long http_query_text(struct peal_slice query, struct peal_slice name, char *out,
                     size_t size);

/* The reason phrase of a status: "Not Found". Static storage. */
const char *http_reason(int status);

/* What a server has to say to one request. */
struct http_answer {
    int status;
    const char *headers; /* complete lines, each with its CRLF; may be "" */
    const char *type;    /* Content-Type; NULL: none */
    struct peal_slice body;
    bool is_last; /* say "Connection: close" */
    bool is_head; /* to a HEAD: leave out the body, but not its length */
    bool is_kept; /* unless it is the last, say so: HTTP/1.0 does not know */
};

/*
 * Writes a whole answer into `out`: status line, headers, Content-Type,
 * Content-Length, Connection, body. A status of 1xx, 204 or 304 gets neither
 * length nor body. Returns the bytes written, or PEAL_EFULL when `size` is too
 * small.
 */
long http_answer_write(char *out, size_t size,
                       const struct http_answer *answer);

#endif
