/*
 * What the application wants to know of a client's queue: that it has grown
 * long, that it is short again, and what was dropped of it. It is noted where
 * it happens, which may be in the middle of a fan-out, and told at the
 * beginning of the next turn, outside of every other callback. [L]
 */
#ifndef SERVER_NEWS_H
#define SERVER_NEWS_H

#include "server/conn.h"

struct news;

/* A message of the room was dropped. */
void news_dropped(struct conn *conn, struct peal_slice room,
                  enum peal_pressure reason);

/* The queue of a connection whose socket is or was full has another length. */
void news_level(struct conn *conn);

/* Tells all; or one client's, before it leaves, after which there are none. */
void news_tell(struct worker *worker);
void news_end(struct conn *conn);

#endif
