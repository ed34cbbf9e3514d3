#include "support/host.h"

#include <string.h>

void host_start(struct host *host, const struct peal_server_options *given,
                void (*setup)(struct peal_server *server))
{
    struct peal_server_options options = {.size = 0};
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
    CHECK_EQUAL(peal_server_new(&host->server, &options), 0);
    if (setup != NULL) {
        setup(host->server);
    }
    CHECK_EQUAL(peal_server_start(host->server), 0);
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

    CHECK_EQUAL(peal_server_update(host->server, options, &problem), 0);
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
