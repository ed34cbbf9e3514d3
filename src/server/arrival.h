/*
 * Connections that are no clients yet, counted by address: so that nobody can
 * take all the room there is for them and never say a word.
 */
#ifndef SERVER_ARRIVAL_H
#define SERVER_ARRIVAL_H

#include "server/conn.h"

/*
 * [L] Counts one more from `peer`; `*out` is what to keep of it, NULL when it
 * is exempt. False: it was refused, and that is counted.
 */
bool arrival_take(struct seat *seat, const struct listener *listener,
                  const struct socket_address *peer,
                  struct address_count **out);

/* [L] The connection is one of those; NULL: it is not. */
void arrival_keep(struct conn *conn, struct address_count *count);

/* [L] It is none any more: a client, or gone. Harmless when it never was. */
void arrival_end(struct conn *conn);

#endif
