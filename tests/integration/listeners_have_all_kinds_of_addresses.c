/*
 * Goal: a server listens on IPv4, IPv6 and unix sockets, on several of them and
 * in several dialects, says what the system chose, and says what is wrong with
 * an address that it cannot have.
 *
 * Method: servers on each kind of address, clients that come in on each, and
 * addresses that are taken, malformed or forbidden. unix sockets lie in a
 * folder of their own.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/peal-test-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    CHECK_EQUAL(rmdir(folder), 0); /* so each server has cleaned up */
    return 0;
}

static void unix_address(char *out, size_t size, const char *name)
{
    snprintf(out, size, "unix:%s/%s", folder, name);
}

/* One client of each transport comes in, hears from the other, and leaves. */
static void visit(const struct host *host)
{
    struct member members[2];

    for (int i = 0; i < 2; i++) {
        member_open(&members[i], host_address(host, i == 1), i == 1);
        member_join(&members[i], "room");
    }
    member_say(&members[0], "{'event':'e','room':'room','data':1}");
    member_expect(&members[1], "{'event':'e','room':'room','data':1}");
    for (int i = 0; i < 2; i++) {
        member_close(&members[i]);
    }
    host_await_empty(host);
}

static const struct peal_server_options open_to_all = {
    .clients_may_join = true,
    .clients_may_publish = true,
};

static void ipv6(void **state)
{
    struct peal_server_options options = open_to_all;
    struct host host;

    (void)state;
    options.ws_listen = "[::1]:0";
    options.tcp_listen = "[::1]:0";
    host_start(&host, &options, NULL);
    CHECK(strncmp(host.ws, "[::1]:", 6) == 0);
    CHECK(atoi(host.ws + 6) > 0);
    visit(&host);
    host_stop(&host);
}

static void any_address(void **state)
{
    struct peal_server_options options = open_to_all;
    struct host host;
    char *port;

    (void)state;
    options.ws_listen = "*:0";
    host_start(&host, &options, NULL);
    port = strrchr(host.ws, ':');
    CHECK(port != NULL && atoi(port + 1) > 0);
    snprintf(host.ws, sizeof host.ws, "127.0.0.1:%d", atoi(port + 1));
    visit(&host);
    host_stop(&host);
}

static _Atomic int unix_clients;

static void see_address(struct peal_client *client,
                        const struct peal_connect *connect, void *user)
{
    (void)client;
    (void)user;
    CHECK(strcmp(connect->address, "unix:") == 0);
    atomic_fetch_add(&unix_clients, 1);
}

static void unix_sockets(void **state)
{
    struct peal_server_options options = open_to_all;
    char addresses[2][128];
    struct stat status;
    struct host host;

    (void)state;
    unix_address(addresses[0], sizeof addresses[0], "ws");
    unix_address(addresses[1], sizeof addresses[1], "tcp");
    options.ws_listen = addresses[0];
    options.tcp_listen = addresses[1];
    options.on_connect = see_address;
    host_start(&host, &options, NULL);
    CHECK(strcmp(host.ws, addresses[0]) == 0);
    CHECK(strcmp(host.tcp, addresses[1]) == 0);
    visit(&host);
    CHECK_EQUAL(atomic_load(&unix_clients), 2);
    host_stop(&host);
    CHECK(stat(addresses[0] + 5, &status) < 0);
    CHECK(stat(addresses[1] + 5, &status) < 0);
}

/* A name with nobody behind it, as a killed server leaves it. */
static void leave_dead_socket(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    CHECK(fd >= 0);
    CHECK(strlen(path) < sizeof name.sun_path);
    strcpy(name.sun_path, path);
    CHECK_EQUAL(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    close(fd);
}

static void a_dead_unix_socket_is_replaced(void **state)
{
    struct peal_server_options options = open_to_all;
    char address[128];
    struct host host;
    struct peer peer;

    (void)state;
    unix_address(address, sizeof address, "dead");
    leave_dead_socket(address + 5);
    options.ws_listen = address;
    host_start(&host, &options, NULL);
    ws_open(&peer, host.ws, "/");
    peer_close(&peer);
    host_stop(&host);
}

/* --- What cannot be had -------------------------------------------------- */

static int try_listen(const char *address)
{
    struct peal_server_options options = {
        .size = sizeof options,
        .ws_listen = address,
    };
    struct peal_server *server = NULL;
    int rc = peal_server_new(&server, &options);

    CHECK((rc == 0) == (server != NULL));
    peal_server_free(server);
    return rc;
}

static void taken_addresses(void **state)
{
    struct peal_server_options options = open_to_all;
    char address[128];
    struct host host;

    (void)state;
    unix_address(address, sizeof address, "taken");
    options.tcp_listen = address;
    /* Several loops share a port among themselves, but with nobody else. */
    options.loops = 2;
    host_start(&host, &options, NULL);
    CHECK_EQUAL(try_listen(host.ws), PEAL_EADDRINUSE);
    CHECK_EQUAL(try_listen(host.tcp), PEAL_EADDRINUSE);
    visit(&host);
    host_stop(&host);
}

static void addresses_that_are_none(void **state)
{
    static const char *const addresses[] = {
        "",           "x",     "127.0.0.1",    "127.0.0.1:",
        ":80",        "[::1]", "127.0.0.1:x",  "127.0.0.1:65536",
        "[::1:80",    "unix:", "127.0.0.1:-1", "::1:80",
        "1.2.3.4.5:0"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
        int rc = try_listen(addresses[i]);

        if (rc != PEAL_EADDRESS) {
            fprintf(stderr, "address: \"%s\"\n", addresses[i]);
        }
        CHECK_EQUAL(rc, PEAL_EADDRESS);
    }
    CHECK(try_listen("unix:/nowhere/at/all") < 0);
    /* An address that no interface here has (RFC 5737). */
    CHECK(try_listen("192.0.2.1:0") < 0);
}

/* --- Several ------------------------------------------------------------- */

static void several_listeners_and_dialects(void **state)
{
    struct peal_server_options options = {
        .size = sizeof options,
        .ws_listen = "127.0.0.1:0",
    };
    struct peal_listen listens[] = {
        {.size = sizeof listens[0], .address = "[::1]:0",
         .transport = PEAL_WS, .dialect = PEAL_DIALECT_RAW},
        {.size = sizeof listens[0], .address = "127.0.0.1:0",
         .transport = PEAL_TCP, .dialect = PEAL_DIALECT_STELAR},
        {.size = sizeof listens[0], .address = "127.0.0.1:0",
         .transport = PEAL_TCP, .dialect = PEAL_DIALECT_PEAL},
    };
    char addresses[4][PEAL_ADDRESS_MAX];
    struct peal_server *server;
    struct tcp_received frame;
    struct member member;
    struct peer peer;

    (void)state;
    CHECK_EQUAL(peal_server_new(&server, &options), 0);
    for (size_t i = 0; i < ARRAY_SIZE(listens); i++) {
        CHECK_EQUAL(peal_server_listen(server, &listens[i]), 0);
    }
    listens[0].size = 3;
    CHECK_EQUAL(peal_server_listen(server, &listens[0]), PEAL_EINVAL);
    for (size_t i = 0; i < 4; i++) {
        CHECK_EQUAL(peal_server_address(server, i, addresses[i]), 0);
    }
    CHECK_EQUAL(peal_server_address(server, 4, addresses[0]), PEAL_ENOTFOUND);
    CHECK_EQUAL(peal_server_start(server), 0);
    CHECK_EQUAL(peal_server_listen(server, &listens[1]), PEAL_ESTATE);

    member_open(&member, addresses[0], false);
    member_close(&member);
    ws_open(&peer, addresses[1], "/"); /* raw: no welcome */
    ws_goodbye(&peer);
    peer_dial(&peer, addresses[2]);
    CHECK(tcp_read(&peer, &frame));
    CHECK_EQUAL(frame.type, 7); /* stelar's CONNECT */
    peer_close(&peer);
    member_open(&member, addresses[3], true);
    member_close(&member);

    peal_server_stop(server);
    CHECK_EQUAL(peal_server_wait(server), 0);
    peal_server_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ipv6),
        cmocka_unit_test(any_address),
        cmocka_unit_test(unix_sockets),
        cmocka_unit_test(a_dead_unix_socket_is_replaced),
        cmocka_unit_test(taken_addresses),
        cmocka_unit_test(addresses_that_are_none),
        cmocka_unit_test(several_listeners_and_dialects),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
