/*
 * A message that travels between loops: an immutable copy of an event with the
 * room it goes to and whom to leave out, counted by reference [a].
 *
 * It brings the mail that carries it: one for each time that it can be posted,
 * in the same block. So a message that exists can be posted everywhere without
 * asking for memory, and nothing is lost half way.
 */
#ifndef HUB_MESSAGE_H
#define HUB_MESSAGE_H

#include "base/mpsc.h"
#include "peal/server.h"

#include <stdatomic.h>

struct message;

/* What a mail is about. The server's other kinds go on from MESSAGE_KINDS. */
enum message_kind { MESSAGE_PUBLISH, MESSAGE_DELIVER, MESSAGE_KINDS };

/*
 * Begins as the mail of a loop does: `node`, `size`. Whoever has handled it
 * ends with message_unref(mail->message); the mail is not touched after that.
 */
struct message_mail {
    struct mpsc_node node;
    size_t size; /* of the message, for the bound on a mailbox */
    struct message *message;
    uint8_t kind;  /* enum message_kind */
    uint8_t space; /* the server's: of the namespace that it belongs to */
};

struct message {
    _Atomic uint32_t references;
    uint32_t except_count;
    size_t size;             /* of the whole block, for the accounts */
    struct peal_event event; /* lies in the block; room empty: to everybody */
    struct peal_client_ref *except; /* lies in the block too */
    uint64_t serial;                /* hub.taken of the home, set there */
    uint32_t mail_count;
    uint32_t mail_taken; /* by the one loop that has the message so far */
    struct message_mail mails[];
};

/*
 * A copy with one reference, or NULL. One allocation. `event->room` is copied
 * with it. It can be posted `mail_count` times.
 */
struct message *message_new(const struct peal_event *event,
                            const struct peal_client_ref *except,
                            size_t except_count, uint32_t mail_count);

/*
 * The next mail of the message, with a reference of its own, which goes to
 * whoever the mail is posted to. By one thread at a time.
 */
struct message_mail *message_take_mail(struct message *message,
                                       enum message_kind kind);

/* Any thread. */
void message_ref(struct message *message);
void message_unref(struct message *message);

#endif
