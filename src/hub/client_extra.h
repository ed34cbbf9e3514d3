/* A client's id and metadata: the part of it that many clients never need. */
#ifndef HUB_CLIENT_EXTRA_H
#define HUB_CLIENT_EXTRA_H

#include "hub/hub.h"

/* The key of hub_cluster.ids. */
struct peal_slice client_extra_key(const void *value);

/*
 * [L] Gives the client this id, under which it can be found at once. 0,
 * PEAL_EEXIST or PEAL_ENOMEM.
 */
int client_extra_new(struct peal_client *client, struct peal_slice id);

/* [L] Takes id and metadata away, if there are any. */
void client_extra_free(struct peal_client *client);

#endif
