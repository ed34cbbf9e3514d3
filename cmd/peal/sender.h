/*
 * sender.h - sends events and waits for the server's ok to each: for peal pub
 * and peal emit.
 */
#ifndef SENDER_H
#define SENDER_H

#include "options.h"

/*
 * Sends what the arguments and options say, to a room or, when that is NULL, to
 * the server itself. Returns the exit code.
 */
int sender_run(const struct options *options, const char *event,
               const char *room, const char *argument);

#endif
