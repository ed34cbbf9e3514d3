#include "support/ws.h"

#include "support/http.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define MAGIC "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/* --- Handshake ----------------------------------------------------------- */

void ws_ask(struct peer *peer, const char *target, const char *headers)
{
    char request[4096];
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: localhost\r\n"
                        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: " KEY "\r\n"
                        "Sec-WebSocket-Version: 13\r\n%s\r\n",
                        target, headers);

    CHECK(size > 0 && (size_t)size < sizeof request);
    peer_send_if_open(peer, request, (size_t)size);
}

void ws_expect_open(struct peer *peer)
{
    struct http_reply reply;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned char expected[64];
    char value[128];
    unsigned size;

    http_read(peer, &reply, false);
    CHECK_EQUAL(reply.status, 101);
    CHECK(EVP_Digest(KEY MAGIC, strlen(KEY MAGIC), digest, &size, EVP_sha1(),
                     NULL) == 1);
    EVP_EncodeBlock(expected, digest, (int)size);
    CHECK(http_header(&reply, "Sec-WebSocket-Accept", value, sizeof value));
    CHECK(strcmp(value, (char *)expected) == 0);
    CHECK(http_header(&reply, "Upgrade", value, sizeof value));
    CHECK(strcmp(value, "websocket") == 0);
    CHECK(http_header(&reply, "Connection", value, sizeof value));
    CHECK(strcmp(value, "Upgrade") == 0);
    CHECK(
        !http_header(&reply, "Sec-WebSocket-Extensions", value, sizeof value));
}

void ws_open(struct peer *peer, const char *address, const char *target)
{
    peer_dial(peer, address);
    ws_ask(peer, target, "");
    ws_expect_open(peer);
}

int ws_try(const char *address, const char *target, const char *headers)
{
    struct http_reply reply;
    struct peer peer;

    peer_dial(&peer, address);
    ws_ask(&peer, target, headers);
    http_read(&peer, &reply, true);
    peer_close(&peer);
    return reply.status;
}

/* --- Sending ------------------------------------------------------------- */

size_t ws_make(char *out, unsigned first, const void *data, size_t size)
{
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    const unsigned char *from = data;
    unsigned char *to = (unsigned char *)out;
    int length_bytes = size < 126 ? 0 : size <= 0xffff ? 2 : 8;

    *to++ = (unsigned char)first;
    if (length_bytes == 0) {
        *to++ = (unsigned char)(0x80 | size);
    } else {
        *to++ = length_bytes == 2 ? 0x80 | 126 : 0x80 | 127;
        for (int i = length_bytes - 1; i >= 0; i--) {
            *to++ = (unsigned char)(size >> (8 * i));
        }
    }
    memcpy(to, mask, 4);
    to += 4;
    for (size_t i = 0; i < size; i++) {
        *to++ = from[i] ^ mask[i % 4];
    }
    return (size_t)(to - (unsigned char *)out);
}

void ws_send(struct peer *peer, unsigned first, const void *data, size_t size)
{
    char *frame = malloc(size + 14);

    CHECK(frame != NULL);
    peer_send_if_open(peer, frame, ws_make(frame, first, data, size));
    free(frame);
}

void ws_send_text(struct peer *peer, const char *text)
{
    ws_send(peer, WS_TEXT_FRAME, text, strlen(text));
}

void ws_send_close(struct peer *peer, int code, const char *reason)
{
    char payload[125];
    int size;

    if (code == 0) {
        ws_send(peer, WS_CLOSE_FRAME, NULL, 0);
        return;
    }
    size = snprintf(payload, sizeof payload, "%c%c%s", code >> 8, code & 0xff,
                    reason);
    /* The first byte of a code may be 0, where text would end. */
    payload[0] = (char)(code >> 8);
    ws_send(peer, WS_CLOSE_FRAME, payload, (size_t)size);
}

/* --- Receiving ----------------------------------------------------------- */

/* The payload's size from a header, of which all bytes are there. */
static uint64_t payload_size(const unsigned char *head, size_t head_size)
{
    uint64_t size = 0;

    if (head_size == 2) {
        return head[1];
    }
    for (size_t i = 2; i < head_size; i++) {
        size = size << 8 | head[i];
    }
    CHECK(size > (head_size == 4 ? 125 : 0xffff) && "longer than needed");
    return size;
}

bool ws_read(struct peer *peer, struct ws_received *received)
{
    const unsigned char *head;
    size_t head_size;
    size_t there;

    if (!peer_wait(peer, 2)) {
        return false;
    }
    head = (const unsigned char *)peer_peek(peer, &there);
    CHECK((head[1] & 0x80) == 0 && "a server must not mask");
    head_size = head[1] < 126 ? 2 : head[1] == 126 ? 4 : 10;
    head = (const unsigned char *)peer_take(peer, head_size);
    received->first = head[0];
    CHECK((received->first & 0xf0) == WS_FIN && "final, nothing reserved");
    received->size = payload_size(head, head_size);
    received->data = peer_take(peer, received->size);
    return true;
}

void ws_expect(struct peer *peer, unsigned first, const void *data, size_t size)
{
    struct ws_received received;

    CHECK(ws_read(peer, &received) && "the stream has ended");
    if (received.first != first || received.size != size ||
        memcmp(received.data, data, size) != 0) {
        fprintf(stderr, "expected %#x, %zu bytes: %.*s\n", first, size,
                (int)(size < 512 ? size : 512), (const char *)data);
        fprintf(stderr, "received %#x, %zu bytes: %.*s\n", received.first,
                received.size, (int)(received.size < 512 ? received.size : 512),
                received.data);
        CHECK(!"another frame than expected");
    }
}

void ws_expect_text(struct peer *peer, const char *text)
{
    ws_expect(peer, WS_TEXT_FRAME, text, strlen(text));
}

/* The code of a close frame, 0 for none. */
static int close_code(const struct ws_received *received)
{
    const unsigned char *data = (const unsigned char *)received->data;

    CHECK(received->size != 1 && received->size <= 125);
    return received->size == 0 ? 0 : data[0] << 8 | data[1];
}

void ws_expect_close_reason(struct peer *peer, int code, char *reason,
                            size_t size)
{
    struct ws_received received;

    CHECK(ws_read(peer, &received) && "the stream has ended without a close");
    if (received.first != WS_CLOSE_FRAME) {
        fprintf(stderr, "instead of a close %d: %.*s\n", code,
                (int)received.size, received.data);
    }
    CHECK_EQUAL(received.first, WS_CLOSE_FRAME);
    CHECK_EQUAL(close_code(&received), code);
    if (reason != NULL) {
        size_t length = received.size < 2 ? 0 : received.size - 2;

        CHECK(length < size);
        memcpy(reason, received.data + 2, length);
        reason[length] = '\0';
    }
}

void ws_expect_close(struct peer *peer, int code)
{
    ws_expect_close_reason(peer, code, NULL, 0);
}

void ws_await_close(struct peer *peer, int code)
{
    struct ws_received received;
    char frame[32];

    do {
        CHECK(ws_read(peer, &received) && "the stream has ended");
    } while (received.first != WS_CLOSE_FRAME);
    CHECK_EQUAL(close_code(&received), code);
    peer_send_if_open(peer, frame,
                      ws_make(frame, WS_CLOSE_FRAME, received.data,
                              received.size < 2 ? 0 : 2));
    peer_finish(peer);
    peer_expect_end(peer);
    peer_close(peer);
}

void ws_goodbye(struct peer *peer)
{
    ws_send_close(peer, 1000, "");
    peer_finish(peer);
    ws_await_close(peer, 1000);
}
