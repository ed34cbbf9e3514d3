/* A server whose turns are taken by the program, in a loop of its own. */
#include "server/server.h"

/* 0 and the loop, if the calling thread may take a turn now. */
static int find_loop(const struct peal_server *server, struct loop **loop)
{
    const struct engine *engine = server->engine;

    if (server->number != 0) {
        return PEAL_ENOTSUP;
    }
    if (!engine->is_attached ||
        atomic_load(&engine->state) != SERVER_RUNNING ||
        worker_current(engine) != NULL) {
        return PEAL_ESTATE;
    }
    *loop = engine->workers[0].loop;
    return 0;
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

    if (server->number != 0) {
        return PEAL_ENOTSUP;
    }
    if (server->engine->worker_count != 1) {
        return PEAL_EINVAL;
    }
    rc = server_start(server, 1);
    if (rc == 0) {
        server->engine->is_attached = true;
        atomic_store(&server->engine->may_wait, true);
    }
    return rc;
}

int peal_server_fd(const struct peal_server *server)
{
    struct loop *loop;
    int rc = find_loop(server, &loop);

    return rc < 0 ? rc : loop_fd(loop);
}

int peal_server_timeout_ms(const struct peal_server *server)
{
    struct loop *loop;
    int rc = find_loop(server, &loop);

    return rc < 0 ? rc : loop_timeout_ms(loop);
}

int peal_server_step(struct peal_server *server, int max_wait_ms)
{
    struct loop *loop;
    int rc = find_loop(server, &loop);

    if (rc < 0) {
        return rc;
    }
    return turn(server->engine, max_wait_ms < 0 ? -1 : max_wait_ms) ? 1 : 0;
}

void attach_finish(struct engine *engine)
{
    while (turn(engine, -1)) {
    }
}
