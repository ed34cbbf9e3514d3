/*
 * What a slow reader's messages wait in where its room's policy is another one
 * than closing it: a list in which messages can still be dropped or replaced.
 *
 * As long as the socket takes everything, and for the policy that closes, there
 * is no backlog, and the stream's queue is all there is. When the socket is
 * full, what comes for the client is kept here, whole, encoded, and shared with
 * all others who wait for the same; what is dropped leaves a gap, which is told
 * in its place. When the socket has drained, a little at a time is handed to
 * the stream, and only then compressed where the client has a context of its
 * own. While anything waits here, the stream is blocked.
 *
 * Heartbeats and close frames do not wait here, but overtake what does.
 */
#ifndef SERVER_BACKLOG_H
#define SERVER_BACKLOG_H

#include "server/conn.h"
#include "server/conn_extra.h"

struct backlog;
struct pressing; /* of a worker: the fan-out as far as slow readers need it */

/* Whether something waits: then what comes has to wait, too. */
bool backlog_is_behind(const struct conn *conn);

static inline bool backlog_waits(const struct conn *conn)
{
    return (conn->stream.flags & STREAM_BLOCKED) != 0 &&
           backlog_is_behind(conn);
}

/*
 * The event that is being fanned out goes to a client whose socket is full.
 * False: nothing waits, and its policy is to close, so the queue has to take
 * it.
 */
bool backlog_deliver(struct conn *conn);

/* Whether the policy for the event that is being fanned out may drop it. */
bool backlog_may_drop(const struct conn *conn);

/* A message to this client alone, behind what waits. Errors as output_wire. */
int backlog_wire(struct conn *conn, const struct wire *wire,
                 const struct wire_plan *plan);

/* The socket has drained: hands on what it takes. */
void backlog_pump(struct conn *conn);

/* Hands on everything, before the client is told to go. */
void backlog_finish(struct conn *conn);

/* Drops everything: the connection is gone. */
void backlog_clear(struct conn *conn);

/* Bytes that wait, and those of them that may not be dropped. */
size_t backlog_bytes(const struct conn *conn);
size_t backlog_kept_bytes(const struct conn *conn);

/* What waits for a client in all, its stream included. */
static inline size_t backlog_queued_bytes(const struct conn *conn)
{
    return stream_queued(&conn->stream) + backlog_bytes(conn);
}

/* Bytes of this client's own that keeping all that costs. */
size_t backlog_cost_bytes(const struct conn *conn);

/* [L] Lets go of what the last fan-out was, and of all. */
void backlog_rewind(struct worker *worker);
void backlog_close(struct worker *worker);

#endif
