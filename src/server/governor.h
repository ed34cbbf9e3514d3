/*
 * Keeps the memory of the whole server within memory_bytes_max: each loop looks
 * at what is used at most every tenth of a second, and at most that often does
 * something about it. [L]
 */
#ifndef SERVER_GOVERNOR_H
#define SERVER_GOVERNOR_H

#include "server/conn.h"

void governor_init(struct worker *worker);

/* At the end of a turn. */
void governor_look(struct worker *worker);

#endif
