/* The reading half of the peal dialect, for its table in dialect_peal.c. */
#ifndef PROTO_DIALECT_PEAL_H
#define PROTO_DIALECT_PEAL_H

#include "proto/dialect.h"

void dialect_peal_read_ws(struct wire *wire, bool is_binary, char *data,
                          size_t size);
void dialect_peal_read_tcp(struct wire *wire, struct tcp_frame *frame);

#endif
