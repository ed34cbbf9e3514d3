/* A server whose turns are taken by the program, in a loop of its own. */
#include "server/server.h"

/* Whether the calling thread may take a turn now. */
static bool is_ours(const struct peal_server *server)
{
    return server->is_attached &&
           atomic_load(&server->state) == SERVER_RUNNING &&
           worker_current(server) == NULL;
}

/* One turn; false after the last one. */
static bool turn(struct peal_server *server, int max_wait_ms)
{
    struct loop *loop = server->workers[0].loop;

    loop_turn(loop, max_wait_ms);
    if (!loop->is_stopped) {
        return true;
    }
    server_end(server);
    return false;
}

int peal_server_attach(struct peal_server *server)
{
    int rc;

    if (server->worker_count != 1) {
        return PEAL_EINVAL;
    }
    rc = server_start(server, 1);
    if (rc == 0) {
        server->is_attached = true;
    }
    return rc;
}

int peal_server_fd(const struct peal_server *server)
{
    return is_ours(server) ? loop_fd(server->workers[0].loop) : PEAL_ESTATE;
}

int peal_server_timeout_ms(const struct peal_server *server)
{
    return is_ours(server) ? loop_timeout_ms(server->workers[0].loop)
                           : PEAL_ESTATE;
}

int peal_server_step(struct peal_server *server, int max_wait_ms)
{
    if (!is_ours(server)) {
        return PEAL_ESTATE;
    }
    return turn(server, max_wait_ms < 0 ? -1 : max_wait_ms) ? 1 : 0;
}

void attach_finish(struct peal_server *server)
{
    while (turn(server, -1)) {
    }
}
