#include "support/tcp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t tcp_make(char *out, int type, const char *event, const void *data,
                size_t size)
{
    size_t event_size = event != NULL ? strlen(event) : 0;
    size_t total = TCP_HEAD_SIZE + event_size + size;

    for (int i = 0; i < 4; i++) {
        out[i] = (char)(total >> (8 * (3 - i)));
    }
    out[4] = (char)type;
    out[5] = (char)(event_size >> 8);
    out[6] = (char)event_size;
    if (event_size > 0) {
        memcpy(out + TCP_HEAD_SIZE, event, event_size);
    }
    if (size > 0) {
        memcpy(out + TCP_HEAD_SIZE + event_size, data, size);
    }
    return total;
}

void tcp_send(struct peer *peer, int type, const char *event, const void *data,
              size_t size)
{
    char *frame =
        malloc(TCP_HEAD_SIZE + (event != NULL ? strlen(event) : 0) + size);

    CHECK(frame != NULL);
    peer_send_if_open(peer, frame, tcp_make(frame, type, event, data, size));
    free(frame);
}

void tcp_send_text(struct peer *peer, int type, const char *event,
                   const char *text)
{
    tcp_send(peer, type, event, text, strlen(text));
}

bool tcp_read(struct peer *peer, struct tcp_received *received)
{
    unsigned char head[TCP_HEAD_SIZE];
    size_t total = 0;
    size_t event_size;
    const char *rest;

    if (!peer_wait(peer, TCP_HEAD_SIZE)) {
        return false;
    }
    memcpy(head, peer_take(peer, TCP_HEAD_SIZE), TCP_HEAD_SIZE);
    for (int i = 0; i < 4; i++) {
        total = total << 8 | head[i];
    }
    event_size = (size_t)(head[5] << 8 | head[6]);
    CHECK(event_size < sizeof received->event);
    CHECK(total >= TCP_HEAD_SIZE + event_size);
    rest = peer_take(peer, total - TCP_HEAD_SIZE);
    received->type = head[4];
    memcpy(received->event, rest, event_size);
    received->event[event_size] = '\0';
    received->data = rest + event_size;
    received->size = total - TCP_HEAD_SIZE - event_size;
    return true;
}

void tcp_expect(struct peer *peer, int type, const char *event,
                const void *data, size_t size)
{
    struct tcp_received received;

    CHECK(tcp_read(peer, &received) && "the stream has ended");
    if (received.type != type || strcmp(received.event, event) != 0 ||
        received.size != size || memcmp(received.data, data, size) != 0) {
        fprintf(stderr, "expected %d %s: %.*s\nreceived %d %s: %.*s\n", type,
                event, (int)(size < 512 ? size : 512), (const char *)data,
                received.type, received.event,
                (int)(received.size < 512 ? received.size : 512),
                received.data);
        CHECK(!"another frame than expected");
    }
}

void tcp_expect_text(struct peer *peer, int type, const char *event,
                     const char *text)
{
    tcp_expect(peer, type, event, text, strlen(text));
}
