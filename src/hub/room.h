/* What rooms offer to the rest of the hub. The hub's users see hub/hub.h. */
#ifndef HUB_ROOM_H
#define HUB_ROOM_H

#include "hub/hub.h"

/* The key of hub.rooms. */
struct peal_slice room_key(const void *value);

/* [L] Never fails and allocates nothing that it needs. */
void room_leave_all(struct peal_client *client);

#endif
