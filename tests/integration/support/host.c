#include "support/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What cannot change while a server runs, of these options. */
static struct peal_server_options
fixed_of(const struct peal_server_options *options)
{
    return (struct peal_server_options){
        .size = sizeof *options,
        .ws_listen = options->ws_listen,
        .tcp_listen = options->tcp_listen,
        .internal_listen = options->internal_listen,
        .dialect = options->dialect,
        .loops = options->loops,
        .backlog = options->backlog,
        .log = options->log,
        .log_user = options->log_user,
        .hooks = options->hooks,
        .deflate = options->deflate,
        .handle_signals = options->handle_signals,
        .tls = options->tls,
        .address_tracker = options->address_tracker,
    };
}

void host_start(struct host *host, const struct peal_server_options *given,
                void (*setup)(struct peal_server *server))
{
    bool is_updated = getenv("PEAL_TEST_UPDATE") != NULL;
    struct peal_server_options options = {.size = 0};
    struct peal_server_options first;
    const char *any = "127.0.0.1:0";

    if (given != NULL) {
        options = *given;
    }
    options.size = sizeof options;
    if (options.ws_listen == NULL) {
        options.ws_listen = any;
    }
    if (options.tcp_listen == NULL) {
        options.tcp_listen = any;
    }
    if (options.log == NULL) {
        options.log = peal_log_to_stderr;
        options.log_level = PEAL_LOG_ERROR;
    }
    first = is_updated ? fixed_of(&options) : options;
    CHECK_EQUAL(peal_server_new(&host->server, &first), 0);
    if (setup != NULL) {
        setup(host->server);
    }
    CHECK_EQUAL(peal_server_start(host->server), 0);
    if (is_updated) {
        host_update(host, &options);
    }
    CHECK_EQUAL(peal_server_address(host->server, 0, host->ws), 0);
    CHECK_EQUAL(peal_server_address(host->server, 1, host->tcp), 0);
}

void host_stop(struct host *host)
{
    peal_server_stop(host->server);
    CHECK_EQUAL(peal_server_wait(host->server), 0);
    peal_server_free(host->server);
    host->server = NULL;
}

const char *host_address(const struct host *host, bool is_tcp)
{
    return is_tcp ? host->tcp : host->ws;
}

struct peal_server_stats host_stats(const struct host *host)
{
    struct peal_server_stats stats = {.size = sizeof stats};

    CHECK_EQUAL(peal_server_stats(host->server, &stats), 0);
    return stats;
}

struct peal_server_options host_config(const struct host *host)
{
    struct peal_server_options options = {.size = sizeof options};

    CHECK_EQUAL(peal_server_config(host->server, &options), 0);
    CHECK_EQUAL(options.size, sizeof options);
    return options;
}

void host_update(const struct host *host,
                 const struct peal_server_options *options)
{
    const char *problem = "";
    int rc = peal_server_update(host->server, options, &problem);

    if (rc < 0) {
        fprintf(stderr, "update of %s: %s\n", problem, peal_error_name(rc));
    }
    CHECK_EQUAL(rc, 0);
    CHECK(problem == NULL);
}

void host_set_budget(const struct host *host, uint64_t bytes)
{
    struct peal_server_options options = host_config(host);

    options.memory_bytes_max = bytes;
    host_update(host, &options);
}

void host_await_empty(const struct host *host)
{
    CHECK_SOON(host_stats(host).connections == 0);
}
