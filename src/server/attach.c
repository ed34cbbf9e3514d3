/* A server whose turns are taken by the program, in a loop of its own. */
#include "server/server.h"

/* The loop, if the calling thread may take a turn now, else NULL. */
static struct loop *ours(const struct engine *engine)
{
    return engine->is_attached &&
                   atomic_load(&engine->state) == SERVER_RUNNING &&
                   worker_current(engine) == NULL
               ? engine->workers[0].loop
               : NULL;
}

/* One turn; false after the last one. */
static bool turn(struct engine *engine, int max_wait_ms)
{
    struct loop *loop = engine->workers[0].loop;

    loop_turn(loop, max_wait_ms);
    if (!loop->is_stopped) {
        return true;
    }
    server_end(engine);
    return false;
}

int peal_server_attach(struct peal_server *server)
{
    int rc;

    if (server->engine->worker_count != 1) {
        return PEAL_EINVAL;
    }
    rc = server_start(server, 1);
    if (rc == 0) {
        server->engine->is_attached = true;
    }
    return rc;
}

int peal_server_fd(const struct peal_server *server)
{
    struct loop *loop = ours(server->engine);

    return loop != NULL ? loop_fd(loop) : PEAL_ESTATE;
}

int peal_server_timeout_ms(const struct peal_server *server)
{
    struct loop *loop = ours(server->engine);

    return loop != NULL ? loop_timeout_ms(loop) : PEAL_ESTATE;
}

int peal_server_step(struct peal_server *server, int max_wait_ms)
{
    if (ours(server->engine) == NULL) {
        return PEAL_ESTATE;
    }
    return turn(server->engine, max_wait_ms < 0 ? -1 : max_wait_ms) ? 1 : 0;
}

void attach_finish(struct engine *engine)
{
    while (turn(engine, -1)) {
    }
}
