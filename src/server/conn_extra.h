/*
 * What only some connections need, so that the others need not pay for it: made
 * when it is first asked for, and freed with the connection.
 */
#ifndef SERVER_CONN_EXTRA_H
#define SERVER_CONN_EXTRA_H

#include "hub/rate.h"
#include "server/request.h"

struct held; /* a message that waits for a decision: guard.c */
struct account;
struct backlog;
struct news;

struct conn_extra {
    struct conn_requests requests;

    char *address; /* the client's, where the socket has a proxy's; or NULL */
    struct socket_address *peer; /* the same before it is in, when it has been
                                    told by the PROXY protocol */

    struct account *account; /* NULL: nothing is counted: account.h */

    /* Of conn_timer.c: what the peer had not taken when its time was up last;
     * 0: it has not been up. */
    struct {
        uint64_t began_ms;
        size_t unsent;
    } drain;

    struct admission *admission; /* NULL: nobody is asked about it */

    /* Of guard.c. */
    struct rate_bucket bucket;  /* of client_rate */
    struct rate_bucket control; /* of control_rate */
    struct rate_bucket own;     /* of own_rate */
    struct peal_rate own_rate;  /* when has_own_rate */
    bool has_own_rate;
    uint32_t event_bucket_count;
    struct event_bucket *event_buckets; /* by slot of the event's rate */
    struct held *held;                  /* NULL: none */

    struct backlog *backlog; /* NULL: its socket takes everything: backlog.h */
    struct news *news;       /* NULL: there never were any: news.h */
};

/* Makes it if need be; NULL when there is no memory. */
struct conn_extra *conn_extra_of(struct conn *conn);

/* Nothing waits any more. Harmless when there is none. */
void conn_extra_free(struct conn *conn);

#endif
