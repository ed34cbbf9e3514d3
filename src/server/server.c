/* A server's life: new, listen, run, stop, free. */
#include "server/conn.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/slice.h"
#include "hub/door.h"
#include "net/tls.h"
#include "server/adopt.h"
#include "server/deflate.h"
#include "server/admission.h"
#include "server/gate.h"
#include "server/mail.h"
#include "server/resource.h"
#include "server/stop.h"
#include "server/tracker.h"

#include <string.h>
#include <unistd.h>

/* --- Listeners ----------------------------------------------------------- */

/* The name of what cannot be listened with, or NULL. */
static const char *find_problem(const struct peal_server *server,
                                const struct peal_listen *given,
                                const struct peal_server *owner)
{
    if (given->size != sizeof *given) {
        return "size";
    }
    if (given->address == NULL) {
        return "address";
    }
    if (given->is_internal && given->transport != PEAL_WS) {
        return "transport";
    }
    if (given->space != NULL && (owner->engine != server->engine ||
                                 given->transport != PEAL_TCP)) {
        return "space";
    }
    if (given->tls != NULL && tls_is_client(given->tls)) {
        return "tls";
    }
    if (options_dialect(given->dialect, owner->dialect) == NULL) {
        return "dialect";
    }
    return gate_check_proxy_protocol(&server->options,
                                     given->proxy_protocol) < 0
               ? "proxy_protocol"
               : NULL;
}

int peal_server_listen(struct peal_server *server,
                       const struct peal_listen *given)
{
    struct engine *engine = server->engine;
    struct listener **listeners;
    struct listener *listener;
    struct peal_server *owner;
    char text[SOCKET_TEXT_SIZE];
    const char *problem;
    int rc;

    if (server->number != 0) {
        return PEAL_ENOTSUP;
    }
    if (atomic_load(&engine->state) != SERVER_NEW) {
        return PEAL_ESTATE;
    }
    owner = given->size == sizeof *given && given->space != NULL
                ? given->space
                : server;
    problem = find_problem(server, given, owner);
    if (problem != NULL) {
        log_error(&engine->log, "server", "bad option", "option=%s", problem);
        return PEAL_EINVAL;
    }
    listeners =
        mem_realloc(engine->listeners,
                    (engine->listener_count + 1) * sizeof(*listeners));
    if (listeners == NULL) {
        return PEAL_ENOMEM;
    }
    engine->listeners = listeners;
    listener = mem_zalloc(sizeof *listener);
    if (listener == NULL) {
        return PEAL_ENOMEM;
    }
    listener->server = owner;
    listener->transport =
        given->transport == PEAL_TCP ? TRANSPORT_TCP : TRANSPORT_WS;
    listener->dialect = options_dialect(given->dialect, owner->dialect);
    listener->is_internal = given->is_internal;
    listener->proxy_protocol =
        given->is_internal && given->proxy_protocol == PEAL_PROXY_DEFAULT
            ? PEAL_PROXY_OFF
            : given->proxy_protocol;
    rc = socket_address_parse(&listener->address, given->address);
    if (rc == 0) {
        rc = socket_listen(listener->fds, (size_t)engine->worker_count,
                           &listener->address, server->options.backlog);
    }
    if (rc < 0) {
        log_error(&engine->log, "server", "cannot listen",
                  "address=%s error=%s",
                  log_quote(text, sizeof text, peal_slice(given->address)),
                  peal_error_name(rc));
        mem_free(listener);
        return rc;
    }
    listener->tls = given->tls != NULL ? tls_ref(given->tls) : NULL;
    engine->listeners[engine->listener_count++] = listener;
    log_info(&engine->log, "server", "listening",
             "transport=%s address=%s tls=%s",
             listener->is_internal                ? "internal"
             : listener->transport == TRANSPORT_TCP ? "tcp"
                                                    : "ws",
             socket_address_format(&listener->address, text),
             listener->tls != NULL ? "true" : "false");
    return 0;
}

int peal_server_address(const struct peal_server *server, size_t index,
                        char *out)
{
    _Static_assert(PEAL_ADDRESS_MAX >= SOCKET_TEXT_SIZE,
                   "public buffers must hold an address");

    if (index >= server->engine->listener_count) {
        return PEAL_ENOTFOUND;
    }
    socket_address_format(&server->engine->listeners[index]->address, out);
    return 0;
}

static void close_listeners(struct engine *engine)
{
    for (size_t i = 0; i < engine->listener_count; i++) {
        struct listener *listener = engine->listeners[i];

        for (int k = 0; k < engine->worker_count; k++) {
            if (listener->fds[k] >= 0) {
                close(listener->fds[k]);
            }
        }
        socket_unlink(&listener->address);
        peal_tls_free(listener->tls);
        mem_free(listener);
    }
    mem_free(engine->listeners);
}

static int listen_first(struct peal_server *server)
{
    const struct peal_server_options *options = &server->options;
    struct peal_listen ws = {
        .size = sizeof ws,
        .address = options->ws_listen,
        .transport = PEAL_WS,
        .tls = options->tls,
    };
    struct peal_listen tcp = {
        .size = sizeof tcp,
        .address = options->tcp_listen,
        .transport = PEAL_TCP,
        .tls = options->tls,
    };
    struct peal_listen internal = {
        .size = sizeof internal,
        .address = options->internal_listen,
        .is_internal = true,
    };
    int rc = ws.address != NULL ? peal_server_listen(server, &ws) : 0;

    if (rc == 0 && tcp.address != NULL) {
        rc = peal_server_listen(server, &tcp);
    }
    if (rc == 0 && internal.address != NULL) {
        rc = peal_server_listen(server, &internal);
    }
    return rc;
}

/* --- New and free -------------------------------------------------------- */

/* As many workers as there are loops. */
static int make_workers(struct engine *engine, int count)
{
    int rc = 0;

    engine->workers = mem_zalloc((size_t)count * sizeof(*engine->workers));
    if (engine->workers == NULL) {
        return PEAL_ENOMEM;
    }
    engine->worker_count = count;
    for (int i = 0; i < count && rc == 0; i++) {
        rc = worker_open(&engine->workers[i], engine, i);
    }
    return rc;
}

static struct engine *engine_new(void)
{
    struct engine *engine = mem_zalloc(sizeof *engine);

    if (engine == NULL ||
        door_init(&engine->arrivals, &engine->arrival_limits, NULL) < 0) {
        mem_free(engine);
        return NULL;
    }
    engine->arrival_limits.clients_max = UINT32_MAX;
    sem_init(&engine->rings, 0, 0);
    router_init(&engine->routes);
    router_init(&engine->resources);
    return engine;
}

static void engine_free(struct engine *engine)
{
    atomic_store(&engine->state, SERVER_STOPPED);
    close_listeners(engine);
    /* The last callbacks come from here, and may call what goes to any loop. */
    for (int i = 0; i < engine->worker_count; i++) {
        if (engine->workers[i].loop != NULL) {
            loop_drain(engine->workers[i].loop);
        }
    }
    for (int i = 0; i < engine->worker_count; i++) {
        worker_close(&engine->workers[i]);
    }
    while (engine->space_count > 0) { /* the first one counts for all */
        space_free(engine->spaces[--engine->space_count]);
    }
    mem_free(engine->workers);
    router_fini(&engine->routes, mem_free);
    router_fini(&engine->resources, resource_free);
    door_fini(&engine->arrivals);
    sem_destroy(&engine->rings);
    log_forget(&engine->log);
    mem_free(engine);
}

/* Tells about an option that is none, if the log is known so far. */
static void complain(struct engine *engine,
                     const struct peal_server_options *given,
                     const char *problem)
{
    bool is_size = strcmp(problem, "size") == 0;

    /* A size of 0 was forgotten: the struct is there all the same. */
    if ((given->size != 0 &&
         given->size < offsetof(struct peal_server_options, log_level)) ||
        given->log == NULL) {
        return;
    }
    engine->log = (struct log){given->log, given->log_user, PEAL_LOG_ERROR};
    if (is_size) {
        log_error(&engine->log, "server", "bad option",
                  "option=size given=%zu expected=%zu", given->size,
                  sizeof *given);
    } else {
        log_error(&engine->log, "server", "bad option", "option=%s", problem);
    }
}

int peal_server_new(struct peal_server **out,
                    const struct peal_server_options *given)
{
    struct engine *engine = engine_new();
    struct peal_server *server;
    const char *problem;
    int rc;

    if (engine == NULL) {
        return PEAL_ENOMEM;
    }
    server = space_new(engine, NULL);
    if (server == NULL) {
        engine_free(engine);
        return PEAL_ENOMEM;
    }
    engine->spaces[engine->space_count++] = server;
    rc = space_configure(server, given, &problem);
    if (rc == PEAL_EINVAL) {
        complain(engine, given, problem);
    }
    if (rc == 0) {
        const struct peal_server_options *options = &server->options;

        adopt_init(server);
        engine->log = (struct log){
            .function = options->log,
            .user = options->log_user,
            .level = options->log_level,
        };
        rc = make_workers(engine, options->loops);
    }
    if (rc == 0) {
        rc = seat_open_all(server);
    }
    if (rc == 0) {
        rc = listen_first(server);
    }
    if (rc < 0) {
        engine_free(engine);
        return rc;
    }
    *out = server;
    return 0;
}

void peal_server_free(struct peal_server *server)
{
    if (server != NULL && server->number == 0) {
        ASSERT(atomic_load(&server->engine->state) != SERVER_RUNNING);
        engine_free(server->engine);
    }
}

/* --- Running ------------------------------------------------------------- */

static void *run_loop(void *argument)
{
    struct worker *worker = argument;
    int rc = worker_open_ring(worker);

    worker->ring_rc = rc;
    sem_post(&worker->engine->rings);
    if (rc == 0) {
        loop_run(worker->loop);
    }
    return NULL;
}

void server_end(struct engine *engine)
{
    for (int i = 0; i < engine->worker_count; i++) {
        if (engine->workers[i].has_thread) {
            pthread_join(engine->workers[i].thread, NULL);
            engine->workers[i].has_thread = false;
        }
    }
    signals_close(engine->spaces[0]);
    log_info(&engine->log, "server", "stopped", "clients_total=%llu",
             (unsigned long long)stats_sum_all(engine, COUNT_CLIENTS));
    log_forget(&engine->log);
    atomic_store(&engine->state, SERVER_STOPPED);
}

/* Waits until the loops from `first` on have a ring or go without. */
static int await_rings(struct engine *engine, int first)
{
    int rc = 0;

    for (int i = first; i < engine->worker_count; i++) {
        while (sem_wait(&engine->rings) < 0) { /* a signal came */
        }
    }
    for (int i = first; i < engine->worker_count && rc == 0; i++) {
        rc = engine->workers[i].ring_rc;
    }
    return rc;
}

/*
 * Starts the loops from `first` on, each on a thread of its own; those before
 * it are the calling thread's.
 */
static int start_threads(struct engine *engine, int first)
{
    engine->started_ms = clock_monotonic_ms();
    for (int i = 0; i < engine->worker_count; i++) {
        int rc = accept_open(&engine->workers[i]);

        tracker_start(&engine->workers[i]);
        for (int k = 0; k < engine->space_count; k++) {
            guard_start(engine->workers[i].seats[k]);
        }
        if (rc < 0) {
            return rc;
        }
    }
    for (int i = 0; i < first; i++) {
        int rc = worker_open_ring(&engine->workers[i]);

        if (rc < 0) {
            return rc;
        }
    }
    for (int i = first; i < engine->worker_count; i++) {
        struct worker *worker = &engine->workers[i];

        if (pthread_create(&worker->thread, NULL, run_loop, worker) != 0) {
            return PEAL_ESYSTEM;
        }
        worker->has_thread = true;
    }
    return await_rings(engine, first);
}

int server_start(struct peal_server *server, int first)
{
    int expected = SERVER_NEW;
    int rc;

    if (server->number != 0) {
        return PEAL_ENOTSUP;
    }
    if (!atomic_compare_exchange_strong(&server->engine->state, &expected,
                                        SERVER_RUNNING)) {
        return PEAL_ESTATE;
    }
    rc = server->options.handle_signals ? signals_open(server) : 0;
    if (rc == 0) {
        rc = start_threads(server->engine, first);
    }
    if (rc == 0) {
        log_info(&server->engine->log, "server", "loops started",
                 "loops=%d io_uring_loops=%llu", server->engine->worker_count,
                 (unsigned long long)stats_rings(server->engine));
    }
    if (rc < 0) {
        peal_server_cut(server);
        server_end(server->engine);
    }
    return rc;
}

int peal_server_start(struct peal_server *server)
{
    int rc = server_start(server, 0);

    if (rc == 0) {
        atomic_store(&server->engine->may_wait, true);
    }
    return rc;
}

int peal_server_run(struct peal_server *server)
{
    int rc = server_start(server, 1);

    if (rc < 0) {
        return rc;
    }
    loop_run(server->engine->workers[0].loop);
    server_end(server->engine);
    return 0;
}

int peal_server_wait(struct peal_server *server)
{
    if (server->number != 0) {
        return PEAL_ENOTSUP;
    }
    if (atomic_load(&server->engine->state) != SERVER_RUNNING ||
        worker_current(server->engine) != NULL ||
        !atomic_exchange(&server->engine->may_wait, false)) {
        return PEAL_ESTATE;
    }
    if (server->engine->is_attached) {
        attach_finish(server->engine);
    } else {
        server_end(server->engine);
    }
    return 0;
}

void peal_server_cut(struct peal_server *server)
{
    atomic_store(&server->engine->is_cut_asked, true);
    peal_server_stop(server);
}

void peal_server_stop(struct peal_server *server)
{
    struct engine *engine = server->engine;

    atomic_store_explicit(&engine->is_stop_asked, true, memory_order_release);
    for (int i = 0; i < engine->worker_count; i++) {
        loop_wake(engine->workers[i].loop);
    }
}
