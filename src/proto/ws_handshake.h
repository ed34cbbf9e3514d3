/* The opening handshake of RFC 6455, 4, both sides, without I/O. */
#ifndef PROTO_WS_HANDSHAKE_H
#define PROTO_WS_HANDSHAKE_H

#include "proto/http.h"

#define WS_KEY_SIZE 24    /* base64 of 16 bytes */
#define WS_ACCEPT_SIZE 28 /* base64 of a SHA-1 */

/* What a server must know of an upgrade request. Slices of the request. */
struct ws_upgrade {
    struct peal_slice key;
    struct peal_slice origin;    /* data NULL: none was sent */
    struct peal_slice protocols; /* the first offer line; see ws_select */
    struct peal_slice host;
};

/* Whether the request asks for an upgrade to websocket at all. */
bool ws_is_upgrade(const struct http_request *request);

/*
 * Checks a request to upgrade (RFC 6455, 4.2.1). Returns 0, or the HTTP status
 * to refuse with:
 *
 *   400  HTTP/1.0, no Host, a key that is not 16 bytes, a body, doubled fields
 *   405  not a GET
 *   426  no upgrade to websocket, or a version other than 13: the answer must
 *        carry WS_VERSION_HEADERS
 */
int ws_upgrade_check(struct ws_upgrade *upgrade,
                     const struct http_request *request);

#define WS_VERSION_HEADERS                                                     \
    "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"                      \
    "Connection: Upgrade\r\n"

/*
 * The first of `supported` (a NULL-terminated list, in the server's order of
 * preference) that the client offers in any Sec-WebSocket-Protocol line, or
 * NULL. Subprotocol names compare exactly.
 */
const char *ws_select(const struct http_request *request,
                      const char *const *supported);

/* The accept value for a key (RFC 6455, 4.2.2): 28 characters, no zero byte. */
int ws_accept(struct peal_slice key, char out[WS_ACCEPT_SIZE]);

#define WS_ANSWER_SIZE_MAX 512

/*
 * Writes the 101 answer. `protocol` may be NULL, else at most 128 bytes;
 * `extra` holds further complete header lines or is "". Returns the bytes
 * written, or PEAL_EFULL, PEAL_ENOMEM, PEAL_ESYSTEM.
 */
long ws_answer_write(char *out, size_t size, struct peal_slice key,
                     const char *protocol, const char *extra);

/* A client's request. */
struct ws_request {
    const char *host;      /* "example.com:8080" */
    const char *target;    /* "/chat?x=1" */
    const char *origin;    /* NULL: none */
    const char *protocols; /* "peal, other"; NULL: none */
    const char *headers;   /* further complete lines; NULL: none */
    const char *extensions; /* their complete line, or ""; NULL: none */
};

/*
 * Writes the request with a fresh key, which is left in `key`. PEAL_EINVAL when
 * a field holds a control character, PEAL_EFULL when `size` is too small.
 */
long ws_request_write(char *out, size_t size, const struct ws_request *request,
                      char key[WS_KEY_SIZE]);

/*
 * Checks a server's answer (RFC 6455, 4.1): 0, or PEAL_EREFUSED when the status
 * is not 101, or PEAL_EPROTOCOL when it does not prove an upgrade for this key:
 * the accept value, or a subprotocol that was not offered. What it says of
 * extensions is for ws_deflate_check; there may be none when none was offered.
 */
int ws_answer_check(const struct http_response *response,
                    const char key[WS_KEY_SIZE], const char *offered);

#endif
