#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "net/socket.h"

#define SHARED 4

/* Any other process may take a port that has just been given up: then again,
 * with another one. */
#define ATTEMPTS 10

static struct socket_address parse(const char *text)
{
    struct socket_address address;

    assert_int_equal(socket_address_parse(&address, text), 0);
    return address;
}

/* --- Addresses ------------------------------------------------------------ */

static void test_text_of_addresses(void **state)
{
    static const char *const texts[][2] = {
        {"127.0.0.1:8080", "127.0.0.1:8080"},
        {"0.0.0.0:0", "0.0.0.0:0"},
        {"[::1]:8080", "[::1]:8080"},
        {"[::]:65535", "[::]:65535"},
        {"[2001:DB8:0:0::1]:1", "[2001:db8::1]:1"},
        {"*:8080", "*:8080"},
        {"unix:/run/p.sock", "unix:/run/p.sock"},
        {"unix:a:b", "unix:a:b"},
        {"[::ffff:10.1.2.3]:99", "10.1.2.3:99"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct socket_address address = parse(texts[i][0]);
        char text[SOCKET_TEXT_SIZE];

        assert_string_equal(socket_address_format(&address, text),
                            texts[i][1]);
    }
    assert_int_equal(parse("127.0.0.1:8080").of.any.sa_family, AF_INET);
    assert_int_equal(parse("localhost:8080").of.any.sa_family, AF_INET);
}

static void test_what_is_no_address(void **state)
{
    static const char *const texts[] = {
        "",
        ":",
        ":80",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:999999",
        "127.0.0.1:+80",
        "127.0.0.1:-1",
        "127.0.0.1: 80",
        "127.0.0.1:80 ",
        "127.0.0.1:http",
        "::1:80",
        "[::1]80",
        "[::1:80",
        "[]:80",
        "[127.0.0.1]:80",
        "[localhost]:80",
        "unix:",
        "no such host:80",
    };
    char path[200] = "unix:";

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct socket_address address;

        assert_int_equal(socket_address_parse(&address, texts[i]),
                         PEAL_EADDRESS);
    }

    struct socket_address address;

    memset(path + 5, 'a', 150);
    assert_int_equal(socket_address_parse(&address, path), PEAL_EADDRESS);
    memset(path, 'a', 199);
    assert_int_equal(socket_address_parse(&address, path), PEAL_EADDRESS);
    path[5 + 107] = '\0';
    memcpy(path, "unix:", 5);
    assert_int_equal(socket_address_parse(&address, path), 0);

    char text[SOCKET_TEXT_SIZE];

    assert_string_equal(socket_address_format(&address, text), path);
}

static void test_port(void **state)
{
    struct socket_address v4 = parse("127.0.0.1:8080");
    struct socket_address v6 = parse("[::1]:443");
    struct socket_address local = parse("unix:x");

    (void)state;
    assert_int_equal(socket_address_port(&v4), 8080);
    assert_int_equal(socket_address_port(&v6), 443);
    assert_int_equal(socket_address_port(&local), 0);
}

static void test_key(void **state)
{
    struct socket_address addresses[] = {
        parse("10.1.2.3:80"),
        parse("10.1.2.3:81"),
        parse("[::ffff:10.1.2.3]:80"),
        parse("10.1.2.4:80"),
        parse("[::1]:80"),
        parse("unix:x"),
    };
    struct socket_key keys[ARRAY_SIZE(addresses)];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
        keys[i] = socket_address_key(&addresses[i]);
    }
    assert_int_equal(keys[0].size, 16);
    assert_memory_equal(keys[0].bytes, keys[1].bytes, 16);
    assert_memory_equal(keys[0].bytes, keys[2].bytes, 16);
    assert_memory_not_equal(keys[0].bytes, keys[3].bytes, 16);
    assert_int_equal(keys[4].size, 16);
    assert_int_equal(keys[5].size, 0);
}

/* --- Listening ------------------------------------------------------------ */

static int connect_to(const struct socket_address *address)
{
    int fd = socket(address->of.any.sa_family, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    if (connect(fd, &address->of.any, address->size) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        close(fds[i]);
    }
}

/* Whether the address can be had again when its connections are closed. */
static bool spread_connections(struct socket_address address)
{
    int fds[SHARED];
    int clients[200];
    int rc;

    assert_int_equal(socket_listen(fds, SHARED, &address, 200), 0);
    assert_int_not_equal(socket_address_port(&address), 0);
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
        clients[i] = connect_to(&address);
        assert_true(clients[i] >= 0);
    }

    size_t total = 0;

    for (size_t i = 0; i < SHARED; i++) {
        size_t accepted = 0;
        int fd;

        while ((fd = accept(fds[i], NULL, NULL)) >= 0) {
            int value = 0;
            socklen_t size = sizeof(value);

            assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value,
                                        &size),
                             0);
            assert_true(value != 0);
            close(fd);
            accepted++;
        }
        assert_int_equal(errno, EAGAIN);
        assert_true(accepted > 0);
        total += accepted;
    }
    assert_int_equal(total, ARRAY_SIZE(clients));
    close_all(clients, ARRAY_SIZE(clients));

    close_all(fds, SHARED);
    rc = socket_listen(fds, SHARED, &address, 200);
    if (rc == 0) {
        close_all(fds, SHARED);
    } else {
        assert_int_equal(rc, PEAL_EADDRINUSE);
    }
    return rc == 0;
}

/* The lingering connections do not keep us from listening again. */
static void test_connections_are_spread(void **state)
{
    int attempts = 1;

    (void)state;
    while (!spread_connections(parse("127.0.0.1:0"))) {
        assert_true(attempts++ < ATTEMPTS);
    }
}

/* Whether an address that was taken can be had when it is given up. */
static bool take_twice(struct socket_address address)
{
    int first[SHARED];
    int second[SHARED];
    int rc;

    assert_int_equal(socket_listen(first, SHARED, &address, 10), 0);
    assert_int_equal(socket_listen(second, SHARED, &address, 10),
                     PEAL_EADDRINUSE);
    assert_int_equal(socket_listen(second, 1, &address, 10), PEAL_EADDRINUSE);
    assert_int_equal(errno, EADDRINUSE);
    close_all(first, SHARED);
    rc = socket_listen(second, SHARED, &address, 10);
    if (rc == 0) {
        close_all(second, SHARED);
    } else {
        assert_int_equal(rc, PEAL_EADDRINUSE);
    }
    return rc == 0;
}

static void test_port_taken(void **state)
{
    static const char *const texts[] = {"127.0.0.1:0", "*:0"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        int attempts = 1;

        while (!take_twice(parse(texts[i]))) {
            assert_true(attempts++ < ATTEMPTS);
        }
    }
}

static void test_wildcard_takes_both(void **state)
{
    struct socket_address address = parse("*:0");
    struct socket_address v4 = parse("127.0.0.1:0");
    struct socket_address v6 = parse("[::1]:0");
    char text[SOCKET_TEXT_SIZE];
    struct socket_address peer;
    int fds[2];

    (void)state;
    assert_int_equal(socket_listen(fds, 2, &address, 10), 0);
    assert_int_equal(
        strncmp(socket_address_format(&address, text), "*:", 2), 0);
    v4.of.v4.sin_port = htons((uint16_t)socket_address_port(&address));
    v6.of.v6.sin6_port = v4.of.v4.sin_port;

    int client = connect_to(&v4);

    assert_true(client >= 0);
    for (size_t i = 0; i < 2; i++) {
        peer = (struct socket_address){.size = sizeof(peer.of)};

        int fd = accept(fds[i], &peer.of.any, &peer.size);

        if (fd >= 0) {
            assert_int_equal(
                strncmp(socket_address_format(&peer, text), "127.0.0.1:", 10),
                0);
            close(fd);
        }
    }
    close(client);
    if (address.of.any.sa_family == AF_INET6) {
        client = connect_to(&v6);
        if (client >= 0) {
            close(client);
        }
    }
    close_all(fds, 2);
}

/* Whether somebody answers at IPv4's port of this number. */
static bool v6_takes_v4(void)
{
    struct socket_address v6 = parse("[::]:0");
    struct socket_address v4 = parse("127.0.0.1:0");
    int client;
    int fd;
    int rc = socket_listen(&fd, 1, &v6, 10);

    if (rc == PEAL_EADDRESS) {
        skip(); /* no IPv6 here */
    }
    assert_int_equal(rc, 0);
    v4.of.v4.sin_port = v6.of.v6.sin6_port;
    client = connect_to(&v4);
    close(fd);
    if (client >= 0) {
        close(client);
    }
    return client >= 0;
}

static void test_explicit_v6_is_v6_alone(void **state)
{
    int attempts = 1;

    (void)state;
    while (v6_takes_v4()) {
        assert_true(attempts++ < ATTEMPTS);
    }
}

static void test_not_of_this_machine(void **state)
{
    /* TEST-NET-1 of RFC 5737. */
    struct socket_address address = parse("192.0.2.1:0");
    int fd;

    (void)state;
    assert_int_equal(socket_listen(&fd, 1, &address, 10), PEAL_EADDRESS);
}

/* --- Unix sockets --------------------------------------------------------- */

static char folder[64];

static struct socket_address in_folder(const char *name)
{
    char text[128];

    snprintf(text, sizeof(text), "unix:%s/%s", folder, name);
    return parse(text);
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/peal-socket-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static void test_local_is_shared(void **state)
{
    struct socket_address address = in_folder("s");
    int fds[SHARED];
    int second;

    (void)state;
    assert_int_equal(socket_listen(fds, SHARED, &address, 10), 0);

    int client = connect_to(&address);

    assert_true(client >= 0);

    /* Any of the descriptors gives the connection, once. */
    struct socket_address peer = {.size = sizeof(peer.of)};
    char text[SOCKET_TEXT_SIZE];
    int fd = accept(fds[SHARED - 1], &peer.of.any, &peer.size);

    assert_true(fd >= 0);
    assert_string_equal(socket_address_format(&peer, text), "unix:");
    assert_int_equal(accept(fds[0], NULL, NULL), -1);
    close(fd);
    close(client);

    assert_int_equal(socket_listen(&second, 1, &address, 10), PEAL_EADDRINUSE);
    assert_int_equal(access(address.of.local.sun_path, F_OK), 0);
    close_all(fds, SHARED);
    socket_unlink(&address);
}

static void test_stale_file_is_replaced(void **state)
{
    struct socket_address address = in_folder("s");
    int fd;

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(socket_listen(&fd, 1, &address, 10), 0);

        int client = connect_to(&address);

        assert_true(client >= 0);
        close(client);
        close(fd);
    }
    socket_unlink(&address);
}

static void test_other_files_are_left_alone(void **state)
{
    struct socket_address address = in_folder("f");
    struct socket_address missing = in_folder("no/such");
    int file = open(address.of.local.sun_path, O_CREAT | O_WRONLY, 0600);
    struct stat status;
    int fd;

    (void)state;
    assert_true(file >= 0);
    close(file);
    assert_int_equal(socket_listen(&fd, 1, &address, 10), PEAL_EADDRINUSE);
    assert_int_equal(stat(address.of.local.sun_path, &status), 0);
    assert_true(S_ISREG(status.st_mode));
    unlink(address.of.local.sun_path);
    assert_int_equal(socket_listen(&fd, 1, &missing, 10), PEAL_EADDRESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_of_addresses),
        cmocka_unit_test(test_what_is_no_address),
        cmocka_unit_test(test_port),
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_connections_are_spread),
        cmocka_unit_test(test_port_taken),
        cmocka_unit_test(test_wildcard_takes_both),
        cmocka_unit_test(test_explicit_v6_is_v6_alone),
        cmocka_unit_test(test_not_of_this_machine),
        cmocka_unit_test(test_local_is_shared),
        cmocka_unit_test(test_stale_file_is_replaced),
        cmocka_unit_test(test_other_files_are_left_alone),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
