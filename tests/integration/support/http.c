#define _GNU_SOURCE /* memmem, strcasestr */
#include "support/http.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Waits for the empty line; returns the size of everything up to it. */
static size_t head_size(struct peer *peer)
{
    size_t size = 0;
    const char *found = NULL;

    while (found == NULL) {
        const char *data;

        CHECK(peer_wait(peer, size + 1) && "an answer without an end");
        data = peer_peek(peer, &size);
        found = memmem(data, size, "\r\n\r\n", 4);
        if (found != NULL) {
            return (size_t)(found - data) + 4;
        }
    }
    return 0;
}

bool http_header(const struct http_reply *reply, const char *name, char *out,
                 size_t size)
{
    char line[128];
    const char *at;
    size_t length;

    snprintf(line, sizeof line, "\r\n%s:", name);
    at = strcasestr(reply->head, line);
    if (at == NULL) {
        return false;
    }
    at += strlen(line);
    at += strspn(at, " ");
    length = strcspn(at, "\r");
    CHECK(length < size);
    memcpy(out, at, length);
    out[length] = '\0';
    return true;
}

void http_read(struct peer *peer, struct http_reply *reply, bool has_body)
{
    size_t size = head_size(peer);
    char length[32] = "0";

    CHECK(size < sizeof reply->head);
    memcpy(reply->head, peer_take(peer, size), size);
    reply->head[size] = '\0';
    CHECK(strncmp(reply->head, "HTTP/1.1 ", 9) == 0);
    reply->status = atoi(reply->head + 9);
    http_header(reply, "Content-Length", length, sizeof length);
    reply->body_size = has_body ? (size_t)atol(length) : 0;
    CHECK(reply->body_size < sizeof reply->body);
    memcpy(reply->body, peer_take(peer, reply->body_size), reply->body_size);
    reply->body[reply->body_size] = '\0';
}

void http_ask(const char *address, const char *request,
              struct http_reply *reply)
{
    struct peer peer;

    peer_dial(&peer, address);
    peer_send(&peer, request, strlen(request));
    http_read(&peer, reply, strncmp(request, "HEAD", 4) != 0);
    peer_close(&peer);
}

double http_sample(const char *text, const char *name)
{
    size_t size = strlen(name);

    for (const char *line = text; line != NULL && *line != '\0';) {
        if (strncmp(line, name, size) == 0 && line[size] == ' ') {
            return atof(line + size + 1);
        }
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    fprintf(stderr, "no sample %s in:\n%s\n", name, text);
    CHECK(!"the sample is there");
    return 0;
}

double http_metric(const char *address, const char *name)
{
    static struct http_reply reply; /* too large for every stack */

    http_ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    CHECK_EQUAL(reply.status, 200);
    return http_sample(reply.body, name);
}
