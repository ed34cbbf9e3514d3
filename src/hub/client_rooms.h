/*
 * The memberships of one client: peal_client.rooms. Joining, leaving and asking
 * whether it is a member are O(1), also for a client in thousands of rooms.
 *
 * Up to CLIENT_ROOMS_SCANNED are found by looking at each. From there on the
 * array is followed, in the same block, by a hash table of 2 * capacity places
 * by the hash of the room's name: each holds the index of a membership + 1, or
 * 0, with linear probing and no tombstones.
 *
 * All is called on the client's loop, and what changes something with hub->lock
 * held.
 */
#ifndef HUB_CLIENT_ROOMS_H
#define HUB_CLIENT_ROOMS_H

#include "hub/hub.h"

#define CLIENT_ROOMS_SCANNED 16
#define CLIENT_ROOMS_NONE UINT32_MAX

/* The index of the membership in this room, or CLIENT_ROOMS_NONE. */
uint32_t client_rooms_find(const struct peal_client *client,
                           const struct room *room);

/* Makes room for one more. 0 or PEAL_ENOMEM. */
int client_rooms_reserve(struct peal_client *client);

/*
 * Adds a membership, for which there is room; it becomes the last. `index` is
 * that in room->members.
 */
void client_rooms_add(struct peal_client *client, struct room *room,
                      uint32_t index);

/*
 * Removes the membership at `index`, whose room still exists. The last one
 * takes its place, and that room's member is told.
 */
void client_rooms_remove(struct peal_client *client, uint32_t index);

/* Gives back memory that is not needed; after a reserve that was not used. */
void client_rooms_trim(struct peal_client *client);

/* For the tests: aborts when an invariant does not hold. */
void client_rooms_check(const struct peal_client *client);

#endif
