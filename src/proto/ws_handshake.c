#include "proto/ws_handshake.h"

#include <string.h>

#include "base/assert.h"
#include "base/base64.h"
#include "base/random.h"
#include "base/slice.h"
#include "proto/http_writer.h"

#define PROTOCOL_BYTES_MAX 128

static struct peal_slice field(const struct http_request *request,
                               const char *name)
{
    return http_header_get(request->headers, request->header_count, name);
}

bool ws_is_upgrade(const struct http_request *request)
{
    return http_header_has_token(request->headers, request->header_count,
                                 "upgrade", "websocket");
}

/*
 * 22 characters of base64 and "==": whatever they are, they stand for 16 bytes.
 * Bits left over in the last one are let pass: the key is only ever hashed as
 * text (RFC 6455, 4.2.2), so that nothing depends on them.
 */
static bool key_is_valid(struct peal_slice key)
{
    if (key.size != WS_KEY_SIZE || key.data[22] != '=' || key.data[23] != '=') {
        return false;
    }
    for (size_t i = 0; i < 22; i++) {
        char c = key.data[i];
        bool is_letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

        if (!is_letter && !(c >= '0' && c <= '9') && c != '+' && c != '/') {
            return false;
        }
    }
    return true;
}

int ws_upgrade_check(struct ws_upgrade *upgrade,
                     const struct http_request *request)
{
    if (!ws_is_upgrade(request) ||
        !http_header_has_token(request->headers, request->header_count,
                               "connection", "upgrade")) {
        return 426;
    }
    if (!slice_equal(request->method, SLICE("GET"))) {
        return 405;
    }
    upgrade->host = field(request, "host");
    if (request->minor_version < 1 || upgrade->host.size == 0) {
        return 400;
    }
    if (!slice_equal(field(request, "sec-websocket-version"), SLICE("13"))) {
        return 426;
    }
    upgrade->key = field(request, "sec-websocket-key");
    if (!key_is_valid(upgrade->key)) {
        return 400;
    }
    /* A body would be mistaken for frames. */
    if (request->content_length > 0 || request->is_chunked) {
        return 400;
    }
    upgrade->origin = field(request, "origin");
    upgrade->protocols = field(request, "sec-websocket-protocol");
    return 0;
}

/* Whether a comma-separated list holds `name`, compared exactly. */
static bool list_has(struct peal_slice list, struct peal_slice name)
{
    size_t start = 0;

    for (size_t i = 0; i <= list.size; i++) {
        if (i < list.size && list.data[i] != ',') {
            continue;
        }
        if (slice_equal(slice_trim(slice_make(list.data + start, i - start)),
                        name)) {
            return true;
        }
        start = i + 1;
    }
    return false;
}

const char *ws_select(const struct http_request *request,
                      const char *const *supported)
{
    for (; *supported != NULL; supported++) {
        struct peal_slice name = slice_make(*supported, strlen(*supported));

        for (size_t i = 0; i < request->header_count; i++) {
            const struct http_header *header = &request->headers[i];

            if (slice_equal_nocase(header->name,
                                   SLICE("sec-websocket-protocol")) &&
                list_has(header->value, name)) {
                return *supported;
            }
        }
    }
    return NULL;
}

long ws_answer_write(char *out, size_t size, struct peal_slice key,
                     const char *protocol, const char *extra)
{
    struct http_writer writer = {.out = out, .size = size};
    char accept[WS_ACCEPT_SIZE];
    int rc = ws_accept(key, accept);

    ASSERT(protocol == NULL || strlen(protocol) <= PROTOCOL_BYTES_MAX);
    if (rc < 0) {
        return rc;
    }
    http_writer_text(&writer, "HTTP/1.1 101 Switching Protocols\r\n"
                              "Upgrade: websocket\r\n"
                              "Connection: Upgrade\r\n"
                              "Sec-WebSocket-Accept: ");
    http_writer_put(&writer, accept, sizeof accept);
    http_writer_text(&writer, "\r\n");
    if (protocol != NULL) {
        http_writer_field(&writer, "Sec-WebSocket-Protocol", protocol);
    }
    http_writer_text(&writer, extra);
    http_writer_text(&writer, "\r\n");
    return http_writer_finish(&writer);
}

/* Nothing that could end the line it stands in, or be lost on the way. */
static bool is_clean(const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < 0x20 || c == 0x7f) {
            return false;
        }
    }
    return true;
}

/* The same without blanks, and not empty. */
static bool is_word(const char *text)
{
    return *text != '\0' && is_clean(text) && strchr(text, ' ') == NULL;
}

/* Complete lines, none empty, none folded, nothing after the last. */
static bool are_lines(const char *text)
{
    while (*text != '\0') {
        const char *end = strstr(text, "\r\n");

        if (end == NULL || end == text || *text == ' ' || *text == '\t') {
            return false;
        }
        for (; text < end; text++) {
            unsigned char c = (unsigned char)*text;

            if ((c < 0x20 && c != '\t') || c == 0x7f) {
                return false;
            }
        }
        text = end + 2;
    }
    return true;
}

static bool request_is_valid(const struct ws_request *request)
{
    return is_word(request->host) && is_word(request->target) &&
           request->target[0] == '/' &&
           (request->origin == NULL || is_clean(request->origin)) &&
           (request->protocols == NULL || is_clean(request->protocols)) &&
           (request->headers == NULL || are_lines(request->headers)) &&
           (request->extensions == NULL || are_lines(request->extensions));
}

long ws_request_write(char *out, size_t size, const struct ws_request *request,
                      char key[WS_KEY_SIZE])
{
    struct http_writer writer = {.out = out, .size = size};
    uint8_t nonce[16];

    if (!request_is_valid(request)) {
        return PEAL_EINVAL;
    }
    random_bytes(nonce, sizeof nonce);
    base64_encode(key, nonce, sizeof nonce);

    http_writer_text(&writer, "GET ");
    http_writer_text(&writer, request->target);
    http_writer_text(&writer, " HTTP/1.1\r\n");
    http_writer_field(&writer, "Host", request->host);
    http_writer_text(&writer, "Upgrade: websocket\r\n"
                              "Connection: Upgrade\r\n"
                              "Sec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: ");
    http_writer_put(&writer, key, WS_KEY_SIZE);
    http_writer_text(&writer, "\r\n");
    if (request->origin != NULL) {
        http_writer_field(&writer, "Origin", request->origin);
    }
    if (request->protocols != NULL) {
        http_writer_field(&writer, "Sec-WebSocket-Protocol",
                          request->protocols);
    }
    if (request->extensions != NULL) {
        http_writer_text(&writer, request->extensions);
    }
    if (request->headers != NULL) {
        http_writer_text(&writer, request->headers);
    }
    http_writer_text(&writer, "\r\n");
    return http_writer_finish(&writer);
}

/* At most one protocol, and one that was offered (RFC 6455, 4.1). */
static bool protocol_was_offered(const struct http_response *response,
                                 const char *offered)
{
    size_t lines = 0;

    for (size_t i = 0; i < response->header_count; i++) {
        const struct http_header *header = &response->headers[i];

        if (!slice_equal_nocase(header->name,
                                SLICE("sec-websocket-protocol"))) {
            continue;
        }
        lines++;
        if (lines > 1 || offered == NULL || header->value.size == 0 ||
            !list_has(slice_make(offered, strlen(offered)), header->value)) {
            return false;
        }
    }
    return true;
}

int ws_answer_check(const struct http_response *response,
                    const char key[WS_KEY_SIZE], const char *offered)
{
    const struct http_header *headers = response->headers;
    size_t count = response->header_count;
    char accept[WS_ACCEPT_SIZE];

    if (response->status != 101) {
        return PEAL_EREFUSED;
    }
    int rc = ws_accept(slice_make(key, WS_KEY_SIZE), accept);

    if (rc < 0) {
        return rc;
    }
    if (!http_header_has_token(headers, count, "upgrade", "websocket") ||
        !http_header_has_token(headers, count, "connection", "upgrade") ||
        !slice_equal(http_header_get(headers, count, "sec-websocket-accept"),
                     slice_make(accept, sizeof accept)) ||
        !protocol_was_offered(response, offered)) {
        return PEAL_EPROTOCOL;
    }
    return 0;
}
