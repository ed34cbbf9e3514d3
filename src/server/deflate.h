/*
 * permessage-deflate of connections: what they have agreed on, and the codecs.
 *
 * Connections without context takeover share the codecs of their worker.
 * Others get their own when they first need them, and lose them when their
 * client leaves.
 */
#ifndef SERVER_DEFLATE_H
#define SERVER_DEFLATE_H

#include "proto/http.h"
#include "server/conn.h"

/* The defaults, and what is not acceptable. The name of that, or NULL. */
const char *deflate_resolve(struct peal_deflate_options *out,
                            const struct peal_deflate_options *given);

/*
 * Agrees on what the request offers, for a connection whose form is set. What
 * the answer has to say of it, a complete line or "", is left in `line`. 0, or
 * 400: the offer is malformed.
 */
int deflate_agree(struct conn *conn, const struct http_request *request,
                  enum peal_deflate route, char *line);

/*
 * Compresses a message for this connection, and for all with the same form
 * unless it has a context of its own. False: it is to be sent as it is, because
 * it is small, does not become smaller, or for want of memory. `packed` lives
 * until the next call.
 */
bool deflate_pack(struct conn *conn, const struct wire_plan *plan,
                  const struct wire *wire, struct peal_slice *packed);

/* The same for a message that has been written. */
bool deflate_pack_payload(struct conn *conn, struct peal_slice payload,
                          struct peal_slice *packed);

/*
 * Inflates a message where it is compressed: its data then lie in the worker,
 * until deflate_release. 0, or a refusal as ws_inflater_run.
 */
int deflate_unpack(struct conn *conn, struct ws_item *item,
                   const char **problem);
void deflate_release(struct seat *seat);

/* Frees what the connection alone has. Its client leaves. */
void deflate_leave(struct conn *conn);

/* Frees what a worker has. */
void deflate_close(struct seat *seat);

#endif
