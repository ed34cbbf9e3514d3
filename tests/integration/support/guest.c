#define _GNU_SOURCE /* memmem */
#include "support/guest.h"

#include "support/tcp.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool guest_step(struct guest *guest, uint64_t until_ms)
{
    struct pollfd polled = {.fd = guest->line.fd};

    CHECK(check_now_ms() < until_ms && "answered, refused or closed in time");
    polled.events = line_events(&guest->line);
    poll(&polled, 1, 100);
    line_move(&guest->line);
    return !guest->line.is_ended;
}

bool guest_holds(const struct guest *guest, const char *text)
{
    const struct line_bytes *in = &guest->line.in;

    return in->end > in->start &&
           memmem(in->data + in->start, in->end - in->start, text,
                  strlen(text)) != NULL;
}

static bool has(const struct line_message *message, const char *text)
{
    return memmem(message->data, message->size, text, strlen(text)) != NULL;
}

static enum guest_outcome leave(struct guest *guest)
{
    guest->is_in = false;
    return GUEST_GONE;
}

enum guest_outcome guest_await(struct guest *guest, const char *text)
{
    uint64_t until_ms = check_now_ms() + check_patience_ms();
    struct line_message message;

    for (;;) {
        while (line_hear(&guest->line, &message)) {
            if (message.kind == LINE_CLOSE) {
                return leave(guest);
            }
            if (has(&message, text)) {
                return message.type == TCP_ERROR_FRAME ||
                               has(&message, "peal:error")
                           ? GUEST_REFUSED
                           : GUEST_GOOD;
            }
        }
        if (!guest_step(guest, until_ms)) {
            return leave(guest);
        }
    }
}

/* Takes the head of an answer; false when the stream ends before. */
static bool take_head(struct guest *guest, char *head, size_t size)
{
    uint64_t until_ms = check_now_ms() + check_patience_ms();
    struct line_bytes *in = &guest->line.in;
    const char *at;
    size_t taken;

    while (!guest_holds(guest, "\r\n\r\n")) {
        if (!guest_step(guest, until_ms)) {
            return false;
        }
    }
    at = in->data + in->start;
    taken =
        (size_t)((const char *)memmem(at, in->end - in->start, "\r\n\r\n", 4) -
                 at) +
        4;
    CHECK(taken < size);
    memcpy(head, at, taken);
    head[taken] = '\0';
    in->start += taken;
    return true;
}

static void ask_for_upgrade(struct guest *guest, const char *headers)
{
    char head[1024];
    int size = snprintf(head, sizeof head,
                        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                        "%s\r\n",
                        headers);

    CHECK(size > 0 && (size_t)size < sizeof head);
    line_write(&guest->line, head, (size_t)size);
}

void guest_enter(struct guest *guest)
{
    char head[1024];

    if (!take_head(guest, head, sizeof head)) {
        return;
    }
    if (strncmp(head, "HTTP/1.1 101 ", 13) == 0) {
        line_agree(&guest->line, head);
        guest->is_in = guest_await(guest, "peal:welcome") == GUEST_GOOD;
    } else if (strncmp(head, "HTTP/1.1 5", 10) != 0) {
        fprintf(stderr, "answered: %s\n", head);
        CHECK(!"neither open nor a server's error");
    }
}

int guest_port(const struct peal_server *server, bool is_tcp)
{
    char address[PEAL_ADDRESS_MAX];

    CHECK_EQUAL(peal_server_address(server, is_tcp, address), 0);
    return atoi(strrchr(address, ':') + 1);
}

void guest_open(struct guest *guest, const struct peal_server *server,
                bool is_tcp, SSL_CTX *context, const char *headers)
{
    *guest = (struct guest){.is_in = false};
    line_open(&guest->line, 1, guest_port(server, is_tcp), is_tcp, context, 0);
    if (!is_tcp) {
        ask_for_upgrade(guest, headers);
        guest_enter(guest);
    } else {
        guest->is_in = guest_await(guest, "\"protocol\"") == GUEST_GOOD;
    }
}

enum guest_outcome guest_ask(struct guest *guest, const char *id,
                             const char *rest)
{
    char json[4096];
    char frame[4200];
    char pattern[64];
    int size = snprintf(json, sizeof json, "{\"id\":\"%s\",%s}", id, rest);

    CHECK(size > 0 && (size_t)size < sizeof json);
    if (!guest->is_in) {
        return GUEST_GONE;
    }
    if (guest->line.is_tcp) {
        line_write(
            &guest->line, frame,
            tcp_make(frame, TCP_ENVELOPE_FRAME, NULL, json, (size_t)size));
    } else {
        line_say(&guest->line, 1, json, (size_t)size);
    }
    snprintf(pattern, sizeof pattern, "\"id\":\"%s\"", id);
    return guest_await(guest, pattern);
}

enum guest_outcome guest_join(struct guest *guest)
{
    return guest_ask(guest, "join",
                     "\"event\":\"peal:join\",\"data\":{\"room\":\"room\"}");
}
