#define _GNU_SOURCE /* pipe2 */
#include "support/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX 16

static void run(const char *path, const char *const *arguments, int output)
{
    const char *all[ARGUMENTS_MAX + 2] = {path};

    for (int i = 0; arguments[i] != NULL && i < ARGUMENTS_MAX; i++) {
        all[i + 1] = arguments[i];
    }
    dup2(output, STDOUT_FILENO);
    execv(path, (char *const *)all);
    perror(path);
    _exit(127);
}

/* The first line; empty when the program ends without one. */
static void read_line(struct child *child)
{
    uint64_t until_ms = check_now_ms() + check_patience_ms();
    size_t size = 0;

    for (;;) {
        struct pollfd waiting = {.fd = child->output, .events = POLLIN};
        uint64_t now_ms = check_now_ms();

        CHECK(now_ms < until_ms && "no ready line");
        CHECK(size < sizeof child->ready - 1);
        if (poll(&waiting, 1, (int)(until_ms - now_ms)) <= 0) {
            continue;
        }
        if (read(child->output, child->ready + size, 1) != 1 ||
            child->ready[size] == '\n') {
            child->ready[size] = '\0';
            return;
        }
        size++;
    }
}

void child_start(struct child *child, const char *path,
                 const char *const *arguments)
{
    int ends[2];

    CHECK_EQUAL(pipe2(ends, O_CLOEXEC), 0);
    child->pid = fork();
    CHECK(child->pid >= 0);
    if (child->pid == 0) {
        run(path, arguments, ends[1]);
    }
    close(ends[1]);
    child->output = ends[0];
    read_line(child);
}

void child_start_example(struct child *child, const char *name,
                         const char *const *arguments)
{
    const char *folder = getenv("PEAL_EXAMPLES");
    char path[1024];

    CHECK(folder != NULL && "PEAL_EXAMPLES tells where the examples are");
    snprintf(path, sizeof path, "%s/%s", folder, name);
    child_start(child, path, arguments);
}

void child_ready_value(const struct child *child, const char *key, char *out,
                       size_t size)
{
    char pattern[64];
    const char *at;
    size_t length;

    snprintf(pattern, sizeof pattern, " %s=", key);
    at = strstr(child->ready, pattern);
    if (at == NULL) {
        fprintf(stderr, "ready line: %s\n", child->ready);
        CHECK(!"the ready line lacks a value");
    }
    at += strlen(pattern);
    length = strcspn(at, " ");
    CHECK(length < size);
    memcpy(out, at, length);
    out[length] = '\0';
}

bool child_has_ended(struct child *child, int *status)
{
    pid_t pid = waitpid(child->pid, status, WNOHANG);

    if (pid == 0) {
        return false;
    }
    CHECK(pid == child->pid);
    close(child->output);
    return true;
}

int child_wait(struct child *child)
{
    int status = -1;

    CHECK_SOON(child_has_ended(child, &status));
    return status;
}

void child_stop(struct child *child)
{
    int status;

    CHECK_EQUAL(kill(child->pid, SIGTERM), 0);
    status = child_wait(child);
    CHECK(WIFEXITED(status));
    CHECK_EQUAL(WEXITSTATUS(status), 0);
}
