/*
 * The answer that is owed to a request for one of the application's HTTP
 * handlers: from the head, over the body, to the answer, which may come later
 * and from elsewhere. Meanwhile nothing more of the connection is worked on, so
 * that answers keep the order of requests. All [L].
 */
#ifndef SERVER_REPLY_H
#define SERVER_REPLY_H

#include "peal/http.h"
#include "proto/http.h"
#include "server/conn.h"

#define REPLY_LINES_MAX 4096 /* bytes of an answer's headers */

struct reply_table;

/* The index of the loop that a number belongs to. Any thread. */
int reply_loop(uint64_t number);

/* Nothing may be owed any more. NULL is allowed. */
void reply_table_free(struct reply_table *table);

/* Who is to answer. */
struct reply_to {
    const char *pattern;
    peal_http_function *handler;
    void *user;
};

/*
 * A request's head has been read: calls the handler when its body has, too.
 * What cannot be served is refused: 413, 417, 503.
 */
void reply_begin(struct conn *conn, const struct http_request *request,
                 struct peal_slice head, const struct reply_to *to);

/* CONN_HTTP_BODY: reads it. As conn_read_head. */
size_t reply_read_body(struct conn *conn, char *data, size_t size);

/* CONN_HTTP_ANSWER: nothing is read. */
size_t reply_read_nothing(struct conn *conn, char *data, size_t size);

/*
 * Answers with complete header lines and a body. 0, or PEAL_EGONE when nothing
 * is owed under this number.
 */
int reply_send(struct worker *worker, uint64_t number, int status,
               const char *lines, struct peal_slice body);

/* The body or the answer did not come in time. */
void reply_timed_out(struct conn *conn);

/* The peer sends no more. */
void reply_ended(struct conn *conn);

/* Owes nothing any more; the connection is back in CONN_HEAD. */
void reply_drop(struct conn *conn);

#endif
