/*
 * Goal: io_uring and epoll differ in nothing that a client can see; which of
 * them runs is told; what the system forbids is an error where it was demanded
 * and a fallback where it was not.
 *
 * Method: the same fan-out and the same slow reader with each of them; and
 * processes whose system calls for io_uring are refused by a filter.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOPS 2
#define MEMBERS 40
#define MESSAGES 100

/* The lines that matter here: those of these names. */
static pthread_mutex_t lines_lock = PTHREAD_MUTEX_INITIALIZER;
static char made[256];
static char missing[256];
static enum peal_log_level missing_level;

static void on_log(enum peal_log_level level, const char *component,
                   const char *message, const char *fields, void *user)
{
    (void)user;
    CHECK(strcmp(component, "net") != 0); /* no ring fails */
    pthread_mutex_lock(&lines_lock);
    if (strcmp(message, "loops started") == 0) {
        snprintf(made, sizeof made, "%s", fields);
    } else if (strcmp(message, "no io_uring") == 0) {
        snprintf(missing, sizeof missing, "%s", fields);
        missing_level = level;
    }
    pthread_mutex_unlock(&lines_lock);
}

static struct peal_server_options options_with(enum peal_io_backend backend)
{
    made[0] = '\0';
    missing[0] = '\0';
    return (struct peal_server_options){
        .size = sizeof(struct peal_server_options),
        .loops = LOOPS,
        .clients_may_join = true,
        .log = on_log,
        .log_level = PEAL_LOG_DEBUG,
        .metrics_path = "/metrics",
        .io_backend = backend,
    };
}

static bool is_there(void)
{
    struct peal_server_options options = options_with(PEAL_IO_URING);
    struct peal_server *server;
    int rc;

    CHECK_EQUAL(peal_server_new(&server, &options), 0);
    rc = peal_server_start(server);
    if (rc == 0) {
        peal_server_stop(server);
        CHECK_EQUAL(peal_server_wait(server), 0);
    }
    peal_server_free(server);
    return rc == 0;
}

static void on_chat(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)user;
    CHECK_EQUAL(peal_room_emit(from, "lobby", event), 0);
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on(server, "chat", on_chat, NULL), 0);
}

/* Which it is, is told by the statistics, the metrics and the log. */
static void check_told(const struct host *host, int rings)
{
    char expected[64];

    CHECK_EQUAL(host_stats(host).io_uring_loops, rings);
    CHECK_EQUAL((int)http_metric(host->ws, "peal_io_uring_loops"), rings);
    snprintf(expected, sizeof expected, "loops=%d io_uring_loops=%d", LOOPS,
             rings);
    CHECK(strcmp(made, expected) == 0);
}

/* A burst to many, on all loops and transports, arrives whole and in order. */
static void fan_out(const struct host *host)
{
    static struct member members[MEMBERS];

    for (int i = 0; i < MEMBERS; i++) {
        member_open(&members[i], host_address(host, i % 2 == 1), i % 2 == 1);
        member_join(&members[i], "lobby");
    }
    for (int n = 0; n < MESSAGES; n++) {
        member_say(&members[0], "{'event':'chat','data':%d}", n);
    }
    for (int i = 1; i < MEMBERS; i++) {
        for (int n = 0; n < MESSAGES; n++) {
            member_expect(&members[i],
                          "{'data':%d,'event':'chat','room':'lobby'}", n);
        }
    }
    for (int i = 0; i < MEMBERS; i++) {
        member_close(&members[i]);
    }
}

static void run_with(enum peal_io_backend backend, int rings)
{
    struct peal_server_options options = options_with(backend);
    struct host host;

    host_start(&host, &options, setup);
    check_told(&host, rings);
    fan_out(&host);
    check_told(&host, rings);

    /* It needs a restart. */
    options.io_backend =
        backend == PEAL_IO_EPOLL ? PEAL_IO_URING : PEAL_IO_EPOLL;
    options.ws_listen = options.tcp_listen = "127.0.0.1:0";
    CHECK_EQUAL(peal_server_update(host.server, &options, NULL), PEAL_ENOTSUP);
    host_stop(&host);
}

static void epoll_alone(void **state)
{
    (void)state;
    run_with(PEAL_IO_EPOLL, 0);
    CHECK(missing[0] == '\0');
}

static void io_uring(void **state)
{
    (void)state;
    if (!is_there()) {
        skip();
    }
    run_with(PEAL_IO_URING, LOOPS);
    run_with(PEAL_IO_AUTO, LOOPS);
}

static void others_are_refused(void **state)
{
    struct peal_server_options options =
        options_with((enum peal_io_backend)(PEAL_IO_URING + 1));
    struct peal_server *server;

    (void)state;
    CHECK_EQUAL(peal_server_new(&server, &options), PEAL_EINVAL);
}

/*
 * The kernel interrupts threads that have had to do with a ring which is gone.
 * Those that start and free servers have not.
 */
static void nobody_else_is_interrupted(void **state)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    (void)state;
    for (int i = 0; i < 20; i++) {
        struct peal_server_options options = options_with(PEAL_IO_AUTO);
        struct epoll_event event;
        struct host host;

        host_start(&host, &options, setup);
        host_stop(&host);
        CHECK_EQUAL(epoll_wait(epoll, &event, 1, 5), 0);
    }
    close(epoll);
}

/* --- Where it is forbidden ----------------------------------------------- */

static void refuse_system_call(int number, int error)
{
    struct sock_filter instructions[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {
        .len = ARRAY_SIZE(instructions),
        .filter = instructions,
    };

    CHECK_EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQUAL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

/* In a process of its own, because nothing undoes the filter. */
static void run_without(int system_call, int error, int expected,
                        const char *name)
{
    pid_t child = fork();
    int status;

    CHECK(child >= 0);
    if (child == 0) {
        struct peal_server_options options = options_with(PEAL_IO_URING);
        struct peal_server *server;

        refuse_system_call(system_call, error);
        for (int way = 0; way < 3; way++) {
            options = options_with(PEAL_IO_URING);
            options.loops = way == 2 ? 1 : LOOPS;
            CHECK_EQUAL(peal_server_new(&server, &options), 0);
            CHECK_EQUAL(way == 0   ? peal_server_start(server)
                        : way == 1 ? peal_server_run(server)
                                   : peal_server_attach(server),
                        expected);
            CHECK(strstr(missing, name) != NULL &&
                  strstr(missing, strerror(error)) != NULL);
            CHECK_EQUAL(missing_level, PEAL_LOG_ERROR);
            peal_server_free(server);
        }

        run_with(PEAL_IO_AUTO, 0);
        CHECK(strstr(missing, name) != NULL);
        CHECK_EQUAL(missing_level, PEAL_LOG_DEBUG);
        exit(0);
    }
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
}

static void what_is_forbidden_is_told(void **state)
{
    (void)state;
    if (!is_there()) {
        skip();
    }
    run_without(SYS_io_uring_setup, EPERM, PEAL_EACCESS, "error=access");
    run_without(SYS_io_uring_setup, ENOSYS, PEAL_ENOTSUP, "error=notsup");
    run_without(SYS_io_uring_enter, EPERM, PEAL_EACCESS, "error=access");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(epoll_alone),
        cmocka_unit_test(io_uring),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test(nobody_else_is_interrupted),
        cmocka_unit_test(what_is_forbidden_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
