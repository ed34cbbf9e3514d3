/* Where WebSocket clients may connect, and what stands in their targets. */
#include "server/route.h"

#include "base/mem.h"
#include "proto/http.h"

int peal_server_route(struct peal_server *server,
                      const struct peal_route *given)
{
    /* The first one's clients speak what their listener speaks. */
    const struct dialect *dialect = options_dialect(
        given->dialect, server->number != 0 ? server->dialect : NULL);
    struct router_entry *entry;
    struct route *route;
    int rc;

    if (atomic_load(&server->engine->state) != SERVER_NEW) {
        return PEAL_ESTATE;
    }
    if (given->size != sizeof *given ||
        (dialect == NULL && given->dialect != PEAL_DIALECT_DEFAULT) ||
        given->deflate > PEAL_DEFLATE_OFF) {
        return PEAL_EINVAL;
    }
    route = mem_zalloc(sizeof *route);
    if (route == NULL) {
        return PEAL_ENOMEM;
    }
    route->server = server;
    route->dialect = dialect;
    route->deflate = given->deflate;
    rc = router_add(&server->engine->routes, given->path, &entry);
    if (rc < 0) {
        mem_free(route);
        return rc;
    }
    entry->value = route;
    return 0;
}

bool route_find(const struct conn *conn, struct peal_slice path,
                struct route_match *match)
{
    const struct router *routes = &conn_worker(conn)->engine->routes;
    const struct listener *listener = conn->of.listener;
    const struct router_entry *entry;
    const struct route *route;
    int rc;

    *match = (struct route_match){
        .server = listener->server,
        .dialect = listener->dialect,
        .status = 404,
    };
    if (listener->is_internal) {
        return false;
    }
    if (routes->count == 0) {
        return true;
    }
    rc = router_find(routes, path, &entry);
    if (rc < 0) {
        match->status = rc == PEAL_EINVAL ? 400 : 404;
        return false;
    }
    route = entry->value;
    match->server = route->server;
    match->pattern = entry->pattern;
    match->deflate = route->deflate;
    if (route->dialect != NULL) {
        match->dialect = route->dialect;
    }
    return true;
}

long peal_connect_param(const struct peal_connect *connect, const char *name,
                        char *out, size_t size)
{
    return connect->pattern == NULL
               ? PEAL_ENOTFOUND
               : router_param(connect->pattern, connect->path, name, out, size);
}

long peal_connect_query(const struct peal_connect *connect, const char *name,
                        char *out, size_t size)
{
    return http_query_text(connect->query, peal_slice(name), out, size);
}
