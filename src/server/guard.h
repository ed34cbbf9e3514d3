/*
 * How much a client may do: the rate limits, in the order of peal/policy.h, and
 * what happens to a message that they refuse or whose decision comes later.
 */
#ifndef SERVER_GUARD_H
#define SERVER_GUARD_H

#include "hub/rate_table.h"
#include "peal/policy.h"

struct conn;
struct wire;
struct seat;

/*
 * The rates that events have: never changed once a loop has it, so each seat
 * has a reference to the present one and needs no lock.
 */
struct event_rates;

struct guard {
    struct rate_table addresses;
    pthread_mutex_t lock;       /* makes every loop see changes in one order */
    struct event_rates *newest; /* under `lock`; NULL: none */
};

void guard_init(struct guard *guard);
void guard_fini(struct guard *guard);

/*
 * [L] Whether this message may have its effect now. If not, it has been
 * answered, dropped or put aside; its client may have been closed.
 */
bool guard_admits(struct conn *conn, const struct wire *wire);

/* [L] The same for a heartbeat of the client. */
bool guard_admits_control(struct conn *conn);

/* [L] A pong arrived: free when we asked for it. */
void guard_pong(struct conn *conn);

/* [L] As peal_client_set_rate. */
int guard_set_rate(struct conn *conn, const struct peal_rate *rate);

/* [L] Takes over a reference to the event rates; NULL: there are none. */
void guard_set_event_rates(struct seat *seat, struct event_rates *rates);

/* [L] A put-off decision is made. 0 or PEAL_EGONE. */
int guard_decide(struct conn *conn, uint64_t ticket, enum peal_verdict verdict);

/* [L] Whether messages of this seat have to pass guard_admits at all. */
void guard_start(struct seat *seat);

/* [L] The client leaves: what waits for a decision is dropped. */
void guard_forget(struct conn *conn);

#endif
