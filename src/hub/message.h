/*
 * A message that travels between loops: an immutable copy of an event with the
 * room it goes to and whom to leave out, counted by reference [a].
 */
#ifndef HUB_MESSAGE_H
#define HUB_MESSAGE_H

#include "peal/server.h"

#include <stdatomic.h>

struct message {
    _Atomic uint32_t references;
    uint32_t except_count;
    size_t size; /* of the whole block, for the accounts */
    struct peal_event event; /* slices of `storage`; room empty: to everybody */
    struct peal_client_ref *except; /* lies in the block too */
};

/*
 * A copy with one reference, or NULL. One allocation. `event->room` is copied
 * with it.
 */
struct message *message_new(const struct peal_event *event,
                            const struct peal_client_ref *except,
                            size_t except_count);

/* Any thread. */
void message_ref(struct message *message);
void message_unref(struct message *message);

#endif
