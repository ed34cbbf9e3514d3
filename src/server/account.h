/*
 * What one connection has carried, for the line in the log when its client
 * leaves. Kept only for clients that come in while the level of the log is
 * debug or below; all others cost a look at a flag. [L]
 */
#ifndef SERVER_ACCOUNT_H
#define SERVER_ACCOUNT_H

#include "server/conn.h"
#include "server/conn_extra.h"

struct account {
    uint64_t began_ms;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t messages_in;
    uint64_t messages_out;
    uint64_t dropped; /* for this client, that it has not been sent */
    char remote[];
};

/* A client has come in from `remote`: says so, and begins to count. */
void account_open(struct conn *conn, const char *remote);

/* It leaves: the one line about it. */
void account_close(struct conn *conn, const struct peal_disconnect *why);

static inline void account_read(struct conn *conn, size_t size)
{
    if (conn->is_accounted) {
        conn->extra->account->bytes_in += size;
    }
}

static inline void account_written(struct conn *conn, size_t size)
{
    if (conn->is_accounted) {
        conn->extra->account->bytes_out += size;
    }
}

static inline void account_message_in(struct conn *conn)
{
    if (conn->is_accounted) {
        conn->extra->account->messages_in++;
    }
}

static inline void account_message_out(struct conn *conn)
{
    if (conn->is_accounted) {
        conn->extra->account->messages_out++;
    }
}

static inline void account_dropped(struct conn *conn)
{
    if (conn->is_accounted) {
        conn->extra->account->dropped++;
    }
}

#endif
