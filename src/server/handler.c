/* What is called for events and requests, by their names. */
#include "server/server.h"

#include "base/mem.h"
#include "base/slice.h"
#include "base/utf8.h"

#include <string.h>

struct peal_slice handler_key(const void *value)
{
    const struct handler *handler = value;

    return slice_make(handler->name, handler->name_size);
}

void handler_free_all(struct map *handlers)
{
    size_t cursor = 0;
    void *value;

    while ((value = map_next(handlers, &cursor)) != NULL) {
        mem_free(value);
    }
    map_fini(handlers);
}

static bool is_new(const struct peal_server *server)
{
    return atomic_load(&server->engine->state) == SERVER_NEW;
}

/* The handler of this name, made if there is none. */
static int handler_of(struct peal_server *server, const char *name,
                      struct handler **out)
{
    struct peal_slice key = peal_slice(name);
    struct handler *handler;
    int rc;

    if (!is_new(server)) {
        return PEAL_ESTATE;
    }
    if (key.size == 0 || key.size > TCP_EVENT_MAX) {
        return PEAL_EINVAL;
    }
    handler = map_get(&server->handlers, key);
    if (handler == NULL) {
        handler = mem_zalloc(sizeof *handler + key.size + 1);
        if (handler == NULL) {
            return PEAL_ENOMEM;
        }
        handler->name_size = key.size;
        memcpy(handler->name, key.data, key.size);
        rc = map_add(&server->handlers, handler);
        if (rc < 0) {
            mem_free(handler);
            return rc;
        }
    }
    *out = handler;
    return 0;
}

int peal_server_on(struct peal_server *server, const char *name,
                   peal_event_function *function, void *user)
{
    struct handler *handler;
    int rc = function == NULL ? PEAL_EINVAL
                              : handler_of(server, name, &handler);

    if (rc < 0) {
        return rc;
    }
    if (handler->on_event != NULL) {
        return PEAL_EEXIST;
    }
    handler->on_event = function;
    handler->event_user = user;
    return 0;
}

/*
 * Has its requests measured, apart from others if that can be: not under the
 * name that all others have.
 */
static int add_method(struct peal_server *server, struct handler *handler)
{
    int rc;

    if (server->method_count == METHODS_MAX ||
        peal_slice_equal(slice_make(handler->name, handler->name_size),
                         peal_slice("other")) ||
        handler->name_size > METHOD_NAME_MAX ||
        !utf8_is_valid(handler->name, handler->name_size)) {
        handler->method = METHOD_OTHER;
        return 0;
    }
    rc = seat_grow_measures(server, server->method_count + 2);
    if (rc < 0) {
        return rc;
    }
    server->methods[server->method_count++] = handler;
    handler->method = server->method_count;
    return 0;
}

int peal_server_on_request(struct peal_server *server, const char *name,
                           peal_request_function *function, void *user)
{
    struct handler *handler;
    int rc = function == NULL ? PEAL_EINVAL
                              : handler_of(server, name, &handler);

    if (rc < 0) {
        return rc;
    }
    if (handler->on_request != NULL) {
        return PEAL_EEXIST;
    }
    rc = add_method(server, handler);
    if (rc < 0) {
        return rc;
    }
    handler->on_request = function;
    handler->request_user = user;
    return 0;
}

int peal_server_on_any(struct peal_server *server,
                       peal_event_function *function, void *user)
{
    if (!is_new(server)) {
        return PEAL_ESTATE;
    }
    if (function == NULL) {
        return PEAL_EINVAL;
    }
    if (server->any != NULL) {
        return PEAL_EEXIST;
    }
    server->any = mem_zalloc(sizeof *server->any);
    if (server->any == NULL) {
        return PEAL_ENOMEM;
    }
    server->any->on_event = function;
    server->any->event_user = user;
    return 0;
}
