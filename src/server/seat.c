/*
 * A namespace's place on each loop, and how its hub reaches connections and
 * other loops.
 */
#include "server/conn.h"

#include "base/clock.h"
#include "base/mem.h"
#include "server/deflate.h"

#include <string.h>

struct seat *seat_current(const struct peal_server *server)
{
    struct worker *worker = worker_current(server->engine);

    return worker != NULL ? worker->seats[server->number] : NULL;
}

/* --- Between loops ------------------------------------------------------- */

int seat_post(struct seat *seat, struct message_mail *mail)
{
    struct peal_server *server = seat->server;
    struct engine *engine = server->engine;
    struct loop *loop = seat->worker->loop;
    size_t most = atomic_load_explicit(&engine->mailbox_bytes_max,
                                       memory_order_relaxed);

    if (atomic_load(&engine->state) == SERVER_STOPPED) {
        return PEAL_ESTATE;
    }
    /* Loops hold back their clients at half of it and must get through with
     * what they have already read; the double is for handlers that flood. */
    if (loop_mail_bytes(loop) >=
        (worker_current(engine) != NULL ? 2 * most : most)) {
        atomic_fetch_add_explicit(&server->refused_mail, 1,
                                  memory_order_relaxed);
        return PEAL_EFULL;
    }
    mail->space = server->number;
    loop_post(loop, (struct loop_mail *)mail);
    return 0;
}

/* --- What the hub asks of us --------------------------------------------- */

static int post_publish(void *user, int to, struct message_mail *mail)
{
    struct seat *seat = user;

    return seat_post(&seat->server->seats[to], mail);
}

static void post_deliver(void *user, int to, struct message_mail *mail)
{
    struct seat *seat = user;

    mail->space = seat->server->number;
    loop_post(seat->server->seats[to].worker->loop, (struct loop_mail *)mail);
}

static void begin(void *user, const struct peal_event *event)
{
    struct seat *seat = user;

    output_begin(seat->worker, event);
}

static void deliver(void *user, struct peal_client *client)
{
    output_deliver(user, conn_of(client));
}

static void large(void *user, bool is_over)
{
    struct seat *seat = user;
    struct measures *measures = &seat->measures;
    uint64_t now_ns = clock_monotonic_ns();

    if (is_over) {
        measure_add(&measures->fanout, now_ns - measures->fanout_began_ns);
    } else {
        measures->fanout_began_ns = now_ns;
    }
}

static const struct hub_ops hub_ops = {
    .begin = begin,
    .deliver = deliver,
    .large = large,
    .post_publish = post_publish,
    .post_deliver = post_deliver,
};

/* --- Their life ---------------------------------------------------------- */

int seat_open_all(struct peal_server *server)
{
    struct engine *engine = server->engine;
    struct hub_limits limits = config_hub_limits(server, server->first_config);
    void *users[HUB_MAX];
    struct seat *seats;
    int rc;

    seats = mem_zalloc((size_t)engine->worker_count * sizeof *seats);
    if (seats == NULL) {
        return PEAL_ENOMEM;
    }
    for (int i = 0; i < engine->worker_count; i++) {
        users[i] = &seats[i];
    }
    rc = hub_cluster_init(&server->cluster,
                          &(struct hub_setup){
                              .count = engine->worker_count,
                              .number = server->number,
                              .outer = server->number > 0
                                           ? &engine->spaces[0]->cluster
                                           : NULL,
                              .limits = &limits,
                              .ops = &hub_ops,
                              .users = users,
                          });
    if (rc < 0) {
        mem_free(seats);
        return rc;
    }
    for (int i = 0; i < engine->worker_count; i++) {
        seats[i].server = server;
        seats[i].worker = &engine->workers[i];
        seats[i].hub = &server->cluster.hubs[i];
        seats[i].config = config_ref(server);
        engine->workers[i].seats[server->number] = &seats[i];
    }
    server->seats = seats;
    return seat_grow_measures(server, 1);
}

int seat_grow_measures(struct peal_server *server, size_t methods)
{
    for (int i = 0; i < server->engine->worker_count; i++) {
        struct measures *measures = &server->seats[i].measures;
        struct histogram *grown =
            mem_realloc(measures->requests, methods * sizeof *grown);

        if (grown == NULL) {
            return PEAL_ENOMEM;
        }
        memset(&grown[methods - 1], 0, sizeof *grown);
        measures->requests = grown;
    }
    return 0;
}

void seat_close_all(struct peal_server *server)
{
    if (server->seats == NULL) {
        return;
    }
    for (int i = 0; i < server->engine->worker_count; i++) {
        struct seat *seat = &server->seats[i];

        guard_set_event_rates(seat, NULL);
        deflate_close(seat);
        room_policy_forget(seat);
        mem_free(seat->measures.requests);
        config_unref(seat->config);
    }
    hub_cluster_fini(&server->cluster);
    mem_free(server->seats);
    server->seats = NULL;
}
