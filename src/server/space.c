/* Namespaces: what each has of its own, and how one is made. */
#include "server/server.h"

#include "base/mem.h"
#include "server/admission.h"
#include "server/deflate.h"
#include "server/tracker.h"

#include <stdio.h>
#include <string.h>

_Static_assert(PEAL_SPACES_MAX == SPACES_MAX - 1,
               "the server that has them is one, too");

struct peal_server *space_new(struct engine *engine, const char *name)
{
    struct peal_server *server = mem_zalloc(sizeof *server);

    if (server == NULL) {
        return NULL;
    }
    if (name != NULL) {
        server->name = mem_copy(name, strlen(name));
        if (server->name == NULL) {
            mem_free(server);
            return NULL;
        }
    }
    server->engine = engine;
    server->number = (uint8_t)engine->space_count;
    map_init(&server->handlers, handler_key);
    guard_init(&server->guard);
    room_policy_open(&server->room_policies);
    return server;
}

int space_configure(struct peal_server *server,
                    const struct peal_server_options *given,
                    const char **problem)
{
    int rc = config_open(server, given, problem);

    if (rc < 0) {
        return rc;
    }
    *problem = deflate_resolve(&server->deflate, server->options.deflate);
    if (*problem != NULL) {
        return PEAL_EINVAL;
    }
    *problem = "address_tracker";
    if (server->number == 0 &&
        tracker_set(server->engine, server->options.address_tracker) < 0) {
        return PEAL_EINVAL;
    }
    *problem = "hooks";
    server->dialect = options_dialect(server->options.dialect, &dialect_peal);
    return hooks_set(server, server->options.hooks);
}

void space_free(struct peal_server *server)
{
    seat_close_all(server);
    config_close(server);
    handler_free_all(&server->handlers);
    mem_free(server->any);
    guard_fini(&server->guard);
    room_policy_close(&server->room_policies);
    admission_free_middleware(server);
    mem_free(server->name);
    mem_free(server);
}

/* A label of a metric and a value in the log, as it is. */
static bool is_name(const char *name)
{
    size_t size = name != NULL ? strlen(name) : 0;

    return size > 0 && size <= PEAL_SPACE_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./") == size;
}

static bool is_taken(const struct engine *engine, const char *name)
{
    for (int i = 1; i < engine->space_count; i++) {
        if (strcmp(engine->spaces[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

int peal_server_space(struct peal_server *parent, const char *name,
                      const struct peal_server_options *given,
                      struct peal_server **out)
{
    struct engine *engine = parent->engine;
    struct peal_server *server;
    const char *problem;
    int rc;

    if (atomic_load(&engine->state) != SERVER_NEW) {
        return PEAL_ESTATE;
    }
    if (parent->number != 0) {
        return PEAL_ENOTSUP;
    }
    if (!is_name(name)) {
        return PEAL_EINVAL;
    }
    if (is_taken(engine, name)) {
        return PEAL_EEXIST;
    }
    if (engine->space_count == SPACES_MAX) {
        return PEAL_ELIMIT;
    }
    server = space_new(engine, name);
    if (server == NULL) {
        return PEAL_ENOMEM;
    }
    rc = space_configure(server, given, &problem);
    if (rc == PEAL_EINVAL) {
        log_error(&engine->log, "server", "bad option",
                  "namespace=%s option=%s", name, problem);
    }
    if (rc == 0) {
        rc = seat_open_all(server);
    }
    if (rc < 0) {
        space_free(server);
        return rc;
    }
    engine->spaces[engine->space_count++] = server;
    *out = server;
    return 0;
}

const char *peal_server_name(const struct peal_server *server)
{
    return server->name != NULL ? server->name : "";
}

const char *space_field(const struct peal_server *server,
                        char out[SPACE_FIELD_SIZE])
{
    char quoted[PEAL_SPACE_NAME_MAX + 3];

    out[0] = '\0';
    if (server->name != NULL) {
        snprintf(out, SPACE_FIELD_SIZE, " namespace=%s",
                 log_quote(quoted, sizeof quoted, peal_slice(server->name)));
    }
    return out;
}
