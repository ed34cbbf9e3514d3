/* How many clients come from one address. */
#ifndef HUB_CLIENT_ADDRESS_H
#define HUB_CLIENT_ADDRESS_H

#include "hub/hub.h"

/* The key of hub_cluster.addresses. */
struct peal_slice client_address_key(const void *value);

/*
 * Counts the client by its address; an empty one is not counted. 0,
 * PEAL_ELIMIT at clients_per_address_max, or PEAL_ENOMEM.
 */
int client_address_take(struct peal_client *client, struct peal_slice address);

/* Undoes client_address_take. */
void client_address_give(struct peal_client *client);

#endif
