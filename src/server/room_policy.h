/*
 * Which policy holds for the messages of a room: an immutable list of patterns,
 * counted, and the server's own for all other rooms. Looked up only when a
 * reader is slow.
 */
#ifndef SERVER_ROOM_POLICY_H
#define SERVER_ROOM_POLICY_H

#include "peal/policy.h"

#include <pthread.h>
#include <stdatomic.h>

struct seat;
struct room_policies;

/* What the server has. */
struct room_policy_head {
    pthread_mutex_t lock;
    struct room_policies *newest; /* [m] NULL: none */
    _Atomic uint64_t version;     /* [a] of the newest */
};

#define ROOM_POLICY_CACHE 64

/* What a seat has: all zeros at first. [L] */
struct room_policy_cache {
    struct room_policies *policies; /* held; NULL: none */
    uint64_t version;
    struct {
        uint64_t hash; /* of a room's name; 0: free */
        uint32_t index;
    } found[ROOM_POLICY_CACHE];
};

void room_policy_open(struct room_policy_head *head);
void room_policy_close(struct room_policy_head *head);

/* [L] Frees what a seat has. */
void room_policy_forget(struct seat *seat);

/*
 * [L] The policy for a room, or, for "", for what goes to everybody. O(1) but
 * for rooms that have not been looked up lately. Its text lives as long as the
 * turn.
 */
struct peal_room_policy room_policy_of(struct seat *seat,
                                       struct peal_slice room);

#endif
