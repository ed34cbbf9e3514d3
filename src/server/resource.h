/*
 * What is on a path for plain HTTP: pages and the application's handlers, by
 * method. The values of engine->resources.
 */
#ifndef SERVER_RESOURCE_H
#define SERVER_RESOURCE_H

#include "peal/http.h"
#include "proto/http.h"
#include "server/conn.h"

struct resource_method {
    struct resource_method *next;
    const struct peal_server *server;
    peal_http_function *handler; /* NULL: a page */
    void *user;
    const char *type; /* of the page */
    struct peal_slice content;
    size_t name_size;
    char name[]; /* then the page's type and content */
};

struct resource {
    struct resource_method *methods;
};

/* For router_fini. */
void resource_free(void *value);

/*
 * Answers a request whose path has a resource, or begins to; `head` is the
 * whole head as it was read. False: it is for others.
 */
bool resource_serve(struct conn *conn, const struct http_request *request,
                    struct peal_slice head);

#endif
