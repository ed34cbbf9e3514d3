#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "net/loop.h"
#include "torture.h"

#define ACCEPTED_MAX 300
#define CLIENTS 40

static const struct log no_log;

/* A listener on a loop of its own, and what it has been told. */
struct door {
    struct loop *loop;
    struct loop_listener listener;
    int accepted[ACCEPTED_MAX];
    size_t count;
    int exhausted;
    int last_error;
    size_t close_after; /* connections */
};

static void on_accept(struct loop_listener *listener, int fd,
                      const struct socket_address *peer)
{
    struct door *door = listener->user;

    /* Not cmocka's assertions: this runs in forked processes as well. */
    ASSERT(door->count < ACCEPTED_MAX);
    ASSERT((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    ASSERT((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    ASSERT(peer->of.any.sa_family == AF_INET ||
           peer->of.any.sa_family == AF_UNIX);
    door->accepted[door->count++] = fd;
    if (door->count == door->close_after) {
        loop_listener_close(listener);
    }
}

static void on_exhausted(struct loop_listener *listener, int error)
{
    struct door *door = listener->user;

    door->exhausted++;
    door->last_error = error;
}

static int open_door(struct door *door, int fd)
{
    struct loop_options options = {.log = &no_log};

    *door = (struct door){
        .listener = {.on_accept = on_accept, .on_exhausted = on_exhausted},
    };
    door->listener.user = door;

    int rc = loop_new(&door->loop, &options);

    if (rc < 0) {
        return rc;
    }
    return loop_listener_open(&door->listener, door->loop, fd);
}

static void drop_accepted(struct door *door)
{
    while (door->count > 0) {
        close(door->accepted[--door->count]);
    }
}

static void close_door(struct door *door)
{
    drop_accepted(door);
    loop_listener_close(&door->listener);
    loop_listener_close(&door->listener);
    loop_turn(door->loop, 0);
    loop_free(door->loop);
}

static int listen_on(const char *text, int *fds, size_t count,
                     struct socket_address *address)
{
    int rc = socket_address_parse(address, text);

    return rc < 0 ? rc : socket_listen(fds, count, address, 300);
}

static int connect_to(const struct socket_address *address)
{
    int fd = socket(address->of.any.sa_family, SOCK_STREAM, 0);

    ASSERT(fd >= 0);
    ASSERT(connect(fd, &address->of.any, address->size) == 0);
    return fd;
}

static void test_accepts_in_batches(void **state)
{
    struct socket_address address;
    struct door door;
    int clients[200];
    int fd;

    (void)state;
    assert_int_equal(listen_on("127.0.0.1:0", &fd, 1, &address), 0);
    assert_int_equal(open_door(&door, fd), 0);
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
        clients[i] = connect_to(&address);
    }
    loop_turn(door.loop, -1);
    assert_in_range(door.count, 2, ARRAY_SIZE(clients) - 1);
    while (door.count < ARRAY_SIZE(clients)) {
        loop_turn(door.loop, -1);
    }
    assert_int_equal(door.exhausted, 0);
    close_door(&door);
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
        close(clients[i]);
    }
}

static void test_close_in_on_accept(void **state)
{
    struct socket_address address;
    struct door door;
    int clients[5];
    int fd;

    (void)state;
    assert_int_equal(listen_on("127.0.0.1:0", &fd, 1, &address), 0);
    assert_int_equal(open_door(&door, fd), 0);
    door.close_after = 3;
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
        clients[i] = connect_to(&address);
    }
    while (door.count < 3) {
        loop_turn(door.loop, -1);
    }
    loop_turn(door.loop, 0);
    assert_int_equal(door.count, 3);
    close_door(&door);
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
        close(clients[i]);
    }
}

/* Two loops wait on one unix socket; each connection comes to one of them. */
static void test_shared_listener(void **state)
{
    struct socket_address address;
    struct door doors[2];
    int fds[2];
    char text[64];
    char folder[] = "/tmp/peal-listener-XXXXXX";

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(text, sizeof(text), "unix:%s/s", folder);
    assert_int_equal(listen_on(text, fds, 2, &address), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(open_door(&doors[i], fds[i]), 0);
    }
    for (size_t i = 0; i < 20; i++) {
        int client = connect_to(&address);

        loop_turn(doors[i % 2].loop, 0);
        loop_turn(doors[1 - i % 2].loop, 0);
        assert_int_equal(doors[0].count + doors[1].count, i + 1);
        close(client);
    }

    /* When one is closed, the other still has all. */
    loop_listener_close(&doors[0].listener);

    int client = connect_to(&address);

    loop_turn(doors[0].loop, 0);
    loop_turn(doors[1].loop, -1);
    assert_int_equal(doors[0].count + doors[1].count, 21);
    close(client);
    close_door(&doors[0]);
    close_door(&doors[1]);
    socket_unlink(&address);
    assert_int_equal(rmdir(folder), 0);
}

/* --- Out of descriptors --------------------------------------------------- */

/* Leaves room for `spare` more descriptors in this process. */
static void leave_descriptors(int spare)
{
    int lowest = dup(0);
    struct rlimit limit;

    ASSERT(lowest >= 0);
    close(lowest);
    ASSERT(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = (rlim_t)(lowest + spare);
    ASSERT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* Whether the server has closed it. */
static bool is_dropped(int fd)
{
    char byte;
    ssize_t size = recv(fd, &byte, 1, MSG_DONTWAIT);

    return size == 0 || (size < 0 && errno == ECONNRESET);
}

/*
 * With three descriptors left, 40 clients come: three get in, some are turned
 * away at once, and the loop rests. When descriptors are free again, the
 * others get in after the pause.
 */
static int run_out_of_descriptors(void)
{
    struct socket_address address;
    struct door door;
    int clients[CLIENTS];
    size_t dropped = 0;
    int fd;

    ASSERT(listen_on("127.0.0.1:0", &fd, 1, &address) == 0);
    ASSERT(open_door(&door, fd) == 0);
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = connect_to(&address);
    }
    leave_descriptors(3);
    loop_turn(door.loop, -1);
    ASSERT(door.count == 3);
    ASSERT(door.exhausted == 1);
    ASSERT(door.last_error == EMFILE);
    ASSERT(door.listener.reserve_fd >= 0);
    for (size_t i = 0; i < CLIENTS; i++) {
        dropped += is_dropped(clients[i]);
    }
    ASSERT(dropped > 0 && dropped < CLIENTS - 3);

    /* It does not spin: the wait lasts until the pause is over. */
    uint64_t turns = door.loop->turns;

    while (timer_is_running(&door.listener.pause)) {
        loop_turn(door.loop, -1);
    }
    ASSERT(door.loop->turns - turns < 10);

    /* Still nothing is free: the next pause begins. */
    loop_turn(door.loop, -1);
    ASSERT(door.exhausted == 2);
    ASSERT(door.count == 3);

    drop_accepted(&door);
    leave_descriptors(CLIENTS);
    dropped = 0;
    for (size_t i = 0; i < CLIENTS; i++) {
        dropped += is_dropped(clients[i]);
    }
    while (door.count + dropped < CLIENTS) {
        loop_turn(door.loop, -1);
    }
    ASSERT(door.exhausted == 2);
    close_door(&door);
    return 0;
}

static int close_while_paused(void)
{
    struct socket_address address;
    struct door door;
    int fd;

    ASSERT(listen_on("127.0.0.1:0", &fd, 1, &address) == 0);
    ASSERT(open_door(&door, fd) == 0);

    int client = connect_to(&address);

    leave_descriptors(0);
    loop_turn(door.loop, -1);
    ASSERT(door.exhausted == 1);
    ASSERT(is_dropped(client));
    close_door(&door);
    close(client);
    return 0;
}

/* Limits are the process's, so this is another one. */
static void assert_child_succeeds(int (*scenario)(void))
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        _exit(scenario());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_out_of_descriptors(void **state)
{
    (void)state;
    assert_child_succeeds(run_out_of_descriptors);
    assert_child_succeeds(close_while_paused);
}

/* --- Without memory ------------------------------------------------------- */

static void accept_one(void *arg)
{
    struct socket_address address;
    struct door door;
    int fd;

    (void)arg;
    assert_int_equal(listen_on("127.0.0.1:0", &fd, 1, &address), 0);
    if (open_door(&door, fd) < 0) {
        assert_true(torture_failed());
        close(fd);
        return;
    }

    int client = connect_to(&address);

    while (door.count == 0) {
        loop_turn(door.loop, -1);
    }
    close(client);
    close_door(&door);
}

static void test_without_memory(void **state)
{
    (void)state;
    torture_run(accept_one, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts_in_batches),
        cmocka_unit_test(test_close_in_on_accept),
        cmocka_unit_test(test_shared_listener),
        cmocka_unit_test(test_out_of_descriptors),
        cmocka_unit_test(test_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
