/* Requests as they are typed, and answers as they come. */
#ifndef SUPPORT_HTTP_H
#define SUPPORT_HTTP_H

#include "support/peer.h"

struct http_reply {
    int status;
    char head[8192]; /* status line and headers, with a zero byte */
    char body[262144]; /* with a zero byte */
    size_t body_size;
};

/* Reads one answer. `has_body` is false after a HEAD request. */
void http_read(struct peer *peer, struct http_reply *reply, bool has_body);

/* Sends `request` on a connection of its own and reads the answer. */
void http_ask(const char *address, const char *request,
              struct http_reply *reply);

/*
 * Copies the value of a header, letter case of the name ignored; false when
 * there is none.
 */
bool http_header(const struct http_reply *reply, const char *name, char *out,
                 size_t size);

/* The value of a sample of metrics: its name with all its labels. */
double http_sample(const char *text, const char *name);

/* The same, asked for at /metrics. */
double http_metric(const char *address, const char *name);

#endif
