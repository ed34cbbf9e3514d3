/*
 * What other threads ask of a seat: a command for one client or request, sent
 * through its loop's mailbox.
 */
#ifndef SERVER_MAIL_H
#define SERVER_MAIL_H

#include "server/server.h"

enum mail_kind {
    MAIL_EMIT = MESSAGE_KINDS,
    MAIL_JOIN,
    MAIL_LEAVE,
    MAIL_CLOSE,
    MAIL_REQUEST,
    MAIL_ANSWER,
    MAIL_FAIL,
    MAIL_RATE,          /* `text` is a struct peal_rate: the client's own */
    MAIL_EVENT_RATES,   /* `user` is a struct event_rates */
    MAIL_ADMISSION,     /* see admission.c, also for the next */
    MAIL_ADMISSION_SET, /* `name_size` is of the key; `code` 0: no value */
    MAIL_DECISION,      /* `number` is a ticket, `code` the verdict */
    MAIL_ADOPT, /* `code` is a socket, `number` a dialect, `text` its input */
    MAIL_HTTP /* `code` is a status, `text` its headers, a zero byte, a body */
};

/* Begins as the hub's mails do, so that `kind` tells them apart. */
struct mail {
    struct message_mail base; /* `message` holds the event, or is NULL */
    struct peal_client_ref client;
    uint64_t number; /* of a request */
    int code;        /* of a close or failure */
    bool temporary;
    uint32_t timeout_ms;
    peal_answer_function *on_answer;
    void *user;
    size_t name_size; /* of a failure; `text` begins with it */
    char text[];      /* room, reason or message, with a zero byte */
};

/*
 * A command with room for `text_size` bytes of text (left to be filled, zeroed)
 * and a copy of `event`, which may be NULL. NULL when there is no memory.
 */
struct mail *mail_new(enum mail_kind kind, struct peal_client_ref client,
                      const struct peal_event *event, size_t text_size);

/*
 * Any thread. Posts it to the seat on `loop`; frees it when that fails:
 * PEAL_EFULL, or PEAL_EGONE for a loop that there is none of.
 */
int mail_post(struct peal_server *server, int loop, struct mail *mail);

/* [L] A command with a text and a code: MAIL_JOIN, MAIL_LEAVE, MAIL_CLOSE. */
int mail_command(struct peal_client *client, enum mail_kind kind, int code,
                 const char *text);

/* [L] Carries out what was asked, and frees it. */
void mail_carry_out(struct seat *seat, struct mail *mail);

#endif
