#include "support/served.h"

#include "support/check.h"

#include <signal.h>
#include <stdio.h>

static struct peal_server *served;

static void on_signal(int number)
{
    (void)number;
    peal_server_stop(served);
}

int served_run(const struct peal_server_options *options,
               void (*setup)(struct peal_server *server))
{
    struct peal_server_options all = *options;
    char ws[PEAL_ADDRESS_MAX];
    char tcp[PEAL_ADDRESS_MAX];

    all.size = sizeof all;
    all.ws_listen = "127.0.0.1:0";
    all.tcp_listen = "127.0.0.1:0";
    CHECK_EQUAL(peal_server_new(&served, &all), 0);
    setup(served);
    signal(SIGTERM, on_signal);
    peal_server_address(served, 0, ws);
    peal_server_address(served, 1, tcp);
    printf("ready ws=%s tcp=%s\n", ws, tcp);
    fflush(stdout);
    CHECK_EQUAL(peal_server_run(served), 0);
    peal_server_free(served);
    return 0;
}
