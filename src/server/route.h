/* Where WebSocket clients may connect. */
#ifndef SERVER_ROUTE_H
#define SERVER_ROUTE_H

#include "server/conn.h"

struct route_match {
    const struct peal_server *server;
    const struct dialect *dialect;
    enum peal_deflate deflate;
    const char *pattern; /* NULL: the server has no routes */
    int status;          /* of HTTP, to refuse with */
};

/*
 * Whether WebSocket clients may connect on this path of the listener that
 * `conn` came by, and how; else with which status it is refused: 404, or 400
 * for a broken escape.
 */
bool route_find(const struct conn *conn, struct peal_slice path,
                struct route_match *match);

#endif
