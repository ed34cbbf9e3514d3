/* The doors: every listener on every worker. */
#include "server/conn.h"

#include "base/assert.h"
#include "base/mem.h"

#include <string.h>

struct door {
    struct loop_listener loop_listener;
    struct worker *worker;
    const struct listener *listener;
    bool is_open;
};

static void on_accept(struct loop_listener *loop_listener, int fd,
                      const struct socket_address *peer)
{
    struct door *door = loop_listener->user;

    conn_accept(door->worker, door->listener, fd, peer);
}

static void on_exhausted(struct loop_listener *loop_listener, int error)
{
    struct door *door = loop_listener->user;

    seat_count(door->worker->seats[door->listener->server->number],
               COUNT_ACCEPT_EXHAUSTED);
    log_warn(&door->worker->engine->log, "server", "cannot accept",
             "loop=%d error=\"%s\"", door->worker->index,
             strerror(error));
}

int accept_open(struct worker *worker)
{
    const struct engine *engine = worker->engine;

    if (engine->listener_count == 0) {
        return 0;
    }
    worker->doors = mem_zalloc(engine->listener_count * sizeof(struct door));
    if (worker->doors == NULL) {
        return PEAL_ENOMEM;
    }
    for (size_t i = 0; i < engine->listener_count; i++) {
        struct listener *listener = engine->listeners[i];
        struct door *door = &worker->doors[i];
        int *fd = &listener->fds[worker->index];
        int rc;

        door->worker = worker;
        door->listener = listener;
        door->loop_listener.on_accept = on_accept;
        door->loop_listener.on_exhausted = on_exhausted;
        door->loop_listener.user = door;
        rc = loop_listener_open(&door->loop_listener, worker->loop, *fd);
        if (rc < 0) {
            accept_close(worker);
            return rc;
        }
        *fd = -1; /* the loop's from now on */
        door->is_open = true;
    }
    return 0;
}

void accept_close(struct worker *worker)
{
    if (worker->doors == NULL) {
        return;
    }
    for (size_t i = 0; i < worker->engine->listener_count; i++) {
        if (worker->doors[i].is_open) {
            loop_listener_close(&worker->doors[i].loop_listener);
        }
    }
    mem_free(worker->doors);
    worker->doors = NULL;
}
