/*
 * A room's home: it counts the rooms and knows which loops have members.
 *
 * Joining is synchronous: the loop that gets its first member writes so at the
 * home, under the home's registry lock, before room_join returns; and the home
 * reads it under that lock when it takes a message in. So every message that is
 * taken in after a join reaches the member.
 *
 * What is on its way while memberships change: a message for a loop whose last
 * member has just left finds no room there and is dropped. If the loop has a
 * new member by then, the message is older than the loop's return, and others
 * may have been taken in meanwhile that were not sent here; so it is dropped
 * too, which its serial tells (room.since). What is left is a member that joins
 * a room with members on its loop, between the home's taking a message in and
 * its arrival: it gets a message a little older than its membership, and all
 * after it. So each member hears an unbroken stretch of the room's one order:
 * the mailbox keeps it.
 */
#ifndef HUB_ROOM_HOME_H
#define HUB_ROOM_HOME_H

#include "hub/hub.h"

/* The key of hub.homes. */
struct peal_slice room_home_key(const void *value);

/*
 * The hub that is home of a name with this hash. The upper half decides, since
 * the maps go by the lower bits: a home's map would else use only some of its
 * slots.
 */
static inline int room_home_index(const struct hub_cluster *cluster,
                                  uint64_t hash)
{
    return (int)((hash >> 32) * (uint64_t)cluster->count >> 32);
}

/*
 * Any thread. The loop `index` has its first member of the room, or has lost
 * its last. Entering returns 0, PEAL_ELIMIT at rooms_max, or PEAL_ENOMEM.
 */
int room_home_enter(struct hub_cluster *cluster, struct room *room, int index);
void room_home_leave(struct hub_cluster *cluster, const struct room *room,
                     int index);

/*
 * Any thread. A bit for each loop with members, of more loops than one. For
 * hub_check.c.
 */
uint64_t room_home_loops(struct hub *home, struct peal_slice name,
                         uint64_t hash);

/*
 * [L] of the home: takes a message in. Returns the same, and the serial that
 * the message is to carry.
 */
uint64_t room_home_take(struct hub *home, struct peal_slice name, uint64_t hash,
                        uint64_t *serial);

#endif
