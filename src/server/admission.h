/*
 * The application's middleware: it is asked, in order, about each client that
 * wants to come in, and may decide later. Until then the connection is not
 * read; what its request said is kept, and asked about again from where it was.
 */
#ifndef SERVER_ADMISSION_H
#define SERVER_ADMISSION_H

#include "server/conn.h"

struct admission; /* a client that is being asked about */

/* What is asked about: `head` is the request's, empty for TCP. */
struct admission_request {
    const struct peal_connect *connect;
    const struct socket_address *peer;
    struct peal_slice head;
};

/*
 * Asks on. PEAL_ALLOW: all have said yes. PEAL_REFUSE: one has said no, or
 * there is no memory; `*denial` tells how to say it, and its reason lives until
 * the connection is freed. PEAL_LATER: nothing more is read;
 * conn_admitted_later will be called.
 */
enum peal_verdict admission_ask(struct conn *conn,
                                const struct admission_request *request,
                                struct peal_denial *denial);

/* Whether it has been asked about already. */
bool admission_has_begun(const struct conn *conn);

/* Gives the client the metadata that was set before it was in. */
int admission_finish(struct conn *conn);

/* Forgets all about it. Harmless when there is nothing. */
void admission_forget(struct conn *conn);

/* Frees what a server was told to ask. */
void admission_free_middleware(struct peal_server *server);

struct mail;

/* [L] A decision, or a text to keep, that another thread has posted. */
void admission_on_mail(struct worker *worker, const struct mail *mail);

/* The key of worker->admissions. */
struct peal_slice admission_key(const void *value);

#endif
