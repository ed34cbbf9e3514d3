/*
 * A namespace of the house's server, in which slow readers are not closed, but
 * miss messages and are told so: rooms that every client is in, to which it
 * publishes in bursts, under policies and limits that change.
 */
#ifndef SOAK_ANNEX_H
#define SOAK_ANNEX_H

#include "chance.h"

#include <peal/server.h>

/* Its path for WebSocket clients. */
#define ANNEX_PATH "/annex"

/* Its rooms are "drop0" and so on; other rooms are as those of the house. */
#define ANNEX_ROOMS 3

/* Of the server, before its start; and what it is as it began. */
void annex_make(struct peal_server *server);

/* Back to what it was in the beginning. */
void annex_reset(void);

/* Does something, mostly nothing. */
void annex_do(struct chance *chance);

/* The sum of its gauges, which has to be 0 when everybody has gone; by then
 * each client has left once. */
uint64_t annex_gauges(void);

/* Messages that were dropped, as the counters have it. */
uint64_t annex_dropped(void);

#endif
