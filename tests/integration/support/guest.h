/*
 * A client of the peal dialect that takes whatever comes: it is answered,
 * refused or closed, over either transport, with TLS and compression if wanted.
 * Only silence is a failure, and an answer that makes no sense.
 */
#ifndef SUPPORT_GUEST_H
#define SUPPORT_GUEST_H

#include <peal/server.h>

#include "support/line.h"

struct guest {
    struct line line;
    bool is_in;
};

enum guest_outcome { GUEST_GONE, GUEST_GOOD, GUEST_REFUSED };

/* The port of ws_listen or tcp_listen. */
int guest_port(const struct peal_server *server, bool is_tcp);

/*
 * Connects and, for WebSocket, upgrades, with further header lines or "".
 * `context` NULL: without TLS. `is_in` says whether it was welcome; a server
 * may only refuse it with an error of its own.
 */
void guest_open(struct guest *guest, const struct peal_server *server,
                bool is_tcp, SSL_CTX *context, const char *headers);

/* Says {"id":"ID",REST} and waits for the answer. */
enum guest_outcome guest_ask(struct guest *guest, const char *id,
                             const char *rest);

/* Asks to be in the room "room". */
enum guest_outcome guest_join(struct guest *guest);

/* Waits for a message with this text. */
enum guest_outcome guest_await(struct guest *guest, const char *text);

/* Moves bytes; false when the stream has ended. */
bool guest_step(struct guest *guest, uint64_t until_ms);

/* Whether this text was received, and not taken yet. */
bool guest_holds(const struct guest *guest, const char *text);

/* Takes the answer to an upgrade that has been asked for, and the welcome. */
void guest_enter(struct guest *guest);

#endif
