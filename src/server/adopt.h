/* Connections that the program has accepted itself. */
#ifndef SERVER_ADOPT_H
#define SERVER_ADOPT_H

#include "server/mail.h"

/* Once the server's dialect is known. */
void adopt_init(struct peal_server *server);

/* [L] A connection arrives on its loop. */
void adopt_carry_out(struct seat *seat, struct mail *mail);

#endif
