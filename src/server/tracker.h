/*
 * The application's own address tracker, which counts clients by address
 * instead of the hub: see struct peal_address_tracker.
 */
#ifndef SERVER_TRACKER_H
#define SERVER_TRACKER_H

#include "net/socket.h"
#include "server/server.h"

/* Copies it; NULL: none. PEAL_EINVAL when it makes no sense. */
int tracker_set(struct engine *engine,
                const struct peal_address_tracker *given);

/* Whether it counts clients, so that clients_per_address_max does not. */
bool tracker_counts(const struct peal_address_tracker *tracker);

/*
 * [L] Whether clients of this address may come, and that one comes. 0;
 * PEAL_ELIMIT, PEAL_EREFUSED; PEAL_ESYSTEM when it has failed and that is a
 * refusal. `*is_added`: tracker_remove is due.
 */
int tracker_check(struct seat *seat, const struct socket_key *key);
int tracker_add(struct seat *seat, const struct socket_key *key,
                bool *is_added);

/* [L] It has gone. */
void tracker_remove(const struct seat *seat, const void *key, size_t size);

/* Any thread. Clients of this address: as the tracker has it, or the hub. */
long tracker_count(struct peal_server *server, const struct socket_key *key);

/* [L, or before the loop runs] Has it clean up from time to time. */
void tracker_start(struct worker *worker);
void tracker_stop(struct worker *worker);

#endif
