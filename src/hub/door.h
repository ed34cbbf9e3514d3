/*
 * A door counts who is in, in all and by address, and lets nobody pass beyond
 * the limits. Behind an outer door there may be inner ones: whoever passes one
 * of these has passed the outer one, too.
 */
#ifndef HUB_DOOR_H
#define HUB_DOOR_H

#include "hub/hub.h"

/* 0 or PEAL_ENOMEM. */
int door_init(struct hub_door *door, const struct hub_limits *limits,
              struct hub_door *outer);

/* All must have left. */
void door_fini(struct hub_door *door);

/* The key of hub_door.addresses. */
struct peal_slice door_key(const void *value);

/*
 * Any thread. Counts one more, by `address` as well unless it is empty: that
 * count is `*counted`, else NULL. 0; PEAL_ELIMIT with `*refused`; PEAL_ENOMEM.
 */
int door_enter(struct hub_door *door, struct peal_slice address,
               struct address_count **counted, struct hub_refused *refused);

/* Any thread. How many of this address are in. */
uint32_t door_count(struct hub_door *door, struct peal_slice address);

/* Any thread. Undoes door_enter. */
void door_leave(struct hub_door *door, struct address_count *counted);

#endif
