/*
 * A graceful stop, one worker at a time: a delay in which only readiness is
 * off, then doors closed and clients told at a pace, then a last deadline.
 */
#ifndef SERVER_STOP_H
#define SERVER_STOP_H

#include "server/server.h"

/* [L] For a new worker. */
void stop_init(struct worker *worker);

/* [L] At the beginning of a turn: sees what has been asked for. */
void stop_look(struct worker *worker);

/* [L] The mail that stop_look has posted has come; or, when it comes again, it
 * has come on all loops. */
void stop_heed_mail(struct worker *worker);

/* [L] At the end of a turn: keeps awake, or ends the loop when all is closed.
 */
void stop_finish(struct worker *worker);

/* --- signals.c ----------------------------------------------------------- */

/* SIGINT and SIGTERM stop this server from now on. PEAL_ELIMIT, PEAL_ESYSTEM.
 */
int signals_open(struct peal_server *server);

/* No longer; the last one brings the former handlers back. Harmless when it was
 * never opened. */
void signals_close(struct peal_server *server);

#endif
