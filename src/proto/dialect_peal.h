/* What the files of the peal dialect have in common. */
#ifndef PROTO_DIALECT_PEAL_H
#define PROTO_DIALECT_PEAL_H

#include "proto/dialect.h"
#include "proto/json.h"

/* What clients say: for the table in dialect_peal.c. */
void dialect_peal_read_ws(struct wire *wire, bool is_binary, char *data,
                          size_t size);
void dialect_peal_read_tcp(struct wire *wire, struct tcp_frame *frame);

/*
 * Reads event, id and room of an envelope, as either side writes them; what the
 * event means is left to the caller. The id comes first, so that a complaint
 * can be tied to it. False when the wire has become invalid.
 */
bool dialect_peal_read_envelope(struct wire *wire, const char *text,
                                size_t size, struct json_value *data);

/*
 * Reads the failure that answers a request; a TCP frame has the id in the same
 * object. Without an id it is a complaint: the wire is WIRE_IGNORED then, with
 * `failure` set.
 */
void dialect_peal_read_failure(struct wire *wire, const char *text, size_t size,
                               bool has_id);

/* Reads what a goodbye says: code, reason and when to come back. */
void dialect_peal_read_goodbye(struct wire *wire, const char *text,
                               size_t size);

#endif
