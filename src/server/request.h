/*
 * Requests that wait for their answer, both ways: a client's, which the
 * application is to answer, and the application's, which a client is to answer.
 * They live in one table for each worker, found by number in O(1); each has a
 * timer, and each ends exactly once. All [L].
 */
#ifndef SERVER_REQUEST_H
#define SERVER_REQUEST_H

#include "server/conn.h"

/* What waits on one connection. */
struct conn_requests {
    struct list asked;    /* of the client's requests */
    struct list awaited;  /* of the application's */
    uint32_t asked_count;
    uint32_t awaited_count;
};

struct pending_table *request_table_new(struct worker *worker);

/* Nothing may be pending. */
void request_table_free(struct pending_table *table);

/*
 * A client's request begins to wait; `method` is its handler's. Returns 0 and
 * its number; PEAL_ELIMIT at requests_per_client_max; PEAL_ENOMEM.
 */
int request_open(struct conn *conn, const struct wire *asked, uint32_t method,
                 uint64_t *number);

/*
 * Ends one of this client: with the event, or with `failure` when `event` is
 * NULL. Errors as peal_request_answer.
 */
int request_close(struct worker *worker, struct peal_client_ref client,
                  uint64_t number, const struct peal_event *event,
                  const struct wire_failure *failure);

/* Asks a client; as peal_client_request. */
int request_ask(struct conn *conn, const struct peal_event *event,
                uint32_t timeout_ms, peal_answer_function *on_answer,
                void *user);

/* An answer or failure of a client arrived; false when nobody waits for it. */
bool request_answered(struct conn *conn, const struct wire *wire);

/*
 * The client is leaving: its requests are dropped, and those that wait for it
 * end with PEAL_EGONE.
 */
void request_drop_all(struct conn *conn);

#endif
