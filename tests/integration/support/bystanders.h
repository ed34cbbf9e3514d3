/*
 * Well-behaved clients of both transports, who talk to each other in a room for
 * as long as a test lasts and must miss nothing: their numbered messages arrive
 * at each of them, in order, without a gap. One that does not ends the program.
 *
 * The server must let clients join and publish.
 */
#ifndef SUPPORT_BYSTANDERS_H
#define SUPPORT_BYSTANDERS_H

#include "support/host.h"

struct bystanders;

struct bystanders *bystanders_start(const struct host *host);

/* Waits until they have talked on for a while, undisturbed. */
void bystanders_talk_on(struct bystanders *bystanders);

/* They leave. */
void bystanders_stop(struct bystanders *bystanders);

#endif
