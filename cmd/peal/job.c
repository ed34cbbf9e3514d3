#include "job.h"

#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE 65536
/* From the request to end until it is killed. */
#define GRACE_NS UINT64_C(2000000000)

extern char **environ;

/* --- Starting ------------------------------------------------------------- */

/* Both ends of a pipe; ours does not block. False: there are none. */
static bool make_pipe(int ends[2], int ours)
{
    if (pipe(ends) < 0) {
        ends[0] = ends[1] = -1;
        return false;
    }
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    fcntl(ends[ours], F_SETFL, O_NONBLOCK);
    return true;
}

static void close_end(int *end)
{
    if (*end >= 0) {
        close(*end);
        *end = -1;
    }
}

/* In a group of its own, so that what it starts ends with it. */
static int spawn(pid_t *pid, char **argv, const int ends[3][2])
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t usual;
    sigset_t none;
    int rc;

    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETPGROUP);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0][0], 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1][1], 1);
    posix_spawn_file_actions_adddup2(&actions, ends[2][1], 2);
    rc = posix_spawnp(pid, argv[0], &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return rc;
}

static void end_watch(struct job *job, struct watch *watch)
{
    session_unwatch(job->session, watch);
    close_end(&watch->fd);
}

/* --- What goes in and out ------------------------------------------------- */

static void on_writable(struct watch *watch, short events)
{
    struct job *job = watch->user;
    ssize_t wrote = write(watch->fd, job->input + job->written,
                          job->input_size - job->written);

    (void)events;
    if (wrote < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (wrote > 0) {
        job->written += (size_t)wrote;
    }
    /* One that does not want all of its input need not read it. */
    if (wrote < 0 || job->written == job->input_size) {
        end_watch(job, watch);
    }
}

/* One piece of output; false at its end. */
static bool read_output(struct job *job)
{
    ssize_t got;

    if (job->output_room - job->output_size < PIECE) {
        size_t room = 2 * job->output_room + PIECE;
        char *more =
            room <= 2 * JOB_OUTPUT_MAX ? realloc(job->output, room) : NULL;

        if (more == NULL) {
            job->is_too_much = true;
            job_stop(job);
            return false;
        }
        job->output = more;
        job->output_room = room;
    }
    got = read(job->out.fd, job->output + job->output_size, PIECE);
    if (got > 0) {
        job->output_size += (size_t)got;
    }
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

static void on_output(struct watch *watch, short events)
{
    struct job *job = watch->user;

    (void)events;
    if (!read_output(job)) {
        end_watch(job, watch);
    }
}

/* Keeps the end of what it says. */
static bool read_error(struct job *job)
{
    char piece[PIECE];
    ssize_t got = read(job->err.fd, piece, sizeof piece);
    const char *last = piece;
    size_t size = got > 0 ? (size_t)got : 0;
    size_t kept;

    if (size > JOB_ERROR_MAX) {
        last += size - JOB_ERROR_MAX;
        size = JOB_ERROR_MAX;
    }
    kept = job->error_size + size > JOB_ERROR_MAX ? JOB_ERROR_MAX - size
                                                  : job->error_size;
    memmove(job->error, job->error + job->error_size - kept, kept);
    memcpy(job->error + kept, last, size);
    job->error_size = kept + size;
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

static void on_error(struct watch *watch, short events)
{
    struct job *job = watch->user;

    (void)events;
    if (!read_error(job)) {
        end_watch(job, watch);
    }
}

/* --- Ending --------------------------------------------------------------- */

static void on_deadline(struct alarm *alarm)
{
    struct job *job = alarm->user;

    if (job->is_late) {
        kill(-job->pid, SIGKILL);
        return;
    }
    job->is_late = true;
    job_stop(job);
}

void job_stop(struct job *job)
{
    if (job->pid != 0) {
        kill(-job->pid, SIGTERM);
        job->is_late = job->is_late || job->is_too_much;
        session_alarm(job->session, &job->deadline,
                      session_now_ns() + GRACE_NS);
    }
}

/* A piece that is there; false when there is none, whatever the reason. */
static bool has_more(int fd)
{
    struct pollfd polled = {fd, POLLIN, 0};

    return fd >= 0 && poll(&polled, 1, 0) > 0 && (polled.revents & POLLIN);
}

void job_reap(struct job *job)
{
    int status;

    if (job->pid == 0 || waitpid(job->pid, &status, WNOHANG) != job->pid) {
        return;
    }
    /* What it has left behind must not go on for nobody. */
    kill(-job->pid, SIGKILL);
    job->pid = 0;
    session_unalarm(job->session, &job->deadline);
    while (has_more(job->out.fd) && read_output(job)) {
    }
    while (has_more(job->err.fd) && read_error(job)) {
    }
    end_watch(job, &job->in);
    end_watch(job, &job->out);
    end_watch(job, &job->err);
    job->on_end(job, status);
    free(job->input);
    free(job->output);
    job->input = job->output = NULL;
}

static bool is_gone(struct job *job, int options)
{
    if (job->pid != 0 && waitpid(job->pid, NULL, options) == job->pid) {
        kill(-job->pid, SIGKILL); /* what it has left behind */
        job->pid = 0;
    }
    return job->pid == 0;
}

static bool are_gone(struct job *jobs, size_t count, int options)
{
    size_t gone = 0;

    for (size_t i = 0; i < count; i++) {
        gone += is_gone(&jobs[i], options);
    }
    return gone == count;
}

static void signal_all(const struct job *jobs, size_t count, int number)
{
    for (size_t i = 0; i < count; i++) {
        if (jobs[i].pid != 0) {
            kill(-jobs[i].pid, number);
        }
    }
}

/* Waits for a child or an impatient user; false when it was long enough. */
static bool wait_for_child(const sigset_t *awaited, uint64_t due_ns)
{
    uint64_t now_ns = session_now_ns();
    uint64_t left_ns = due_ns > now_ns ? due_ns - now_ns : 0;
    struct timespec left = {(time_t)(left_ns / 1000000000),
                            (long)(left_ns % 1000000000)};
    int number = sigtimedwait(awaited, NULL, &left);

    return number == SIGCHLD || (number < 0 && errno == EINTR);
}

void job_end_all(struct job *jobs, size_t count)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
    uint64_t due_ns = session_now_ns() + GRACE_NS;
    sigset_t awaited;

    sigemptyset(&awaited);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        sigaddset(&awaited, numbers[i]);
    }
    sigprocmask(SIG_BLOCK, &awaited, NULL);
    signal_all(jobs, count, SIGTERM);
    while (!are_gone(jobs, count, WNOHANG) &&
           wait_for_child(&awaited, due_ns)) {
    }
    signal_all(jobs, count, SIGKILL);
    are_gone(jobs, count, 0);
}

/* --- Life ----------------------------------------------------------------- */

static bool begin(struct job *job, char **argv, struct peal_slice input,
                  int ends[3][2])
{
    int rc = ENOMEM;

    job->input = malloc(input.size + 1);
    job->input_size = input.size;
    if (job->input != NULL && input.size > 0) {
        memcpy(job->input, input.data, input.size);
    }
    if (!make_pipe(ends[0], 1) || !make_pipe(ends[1], 0) ||
        !make_pipe(ends[2], 0)) {
        rc = errno;
    } else if (job->input != NULL) {
        rc = spawn(&job->pid, argv, (const int(*)[2])ends);
    }
    close_end(&ends[0][0]);
    close_end(&ends[1][1]);
    close_end(&ends[2][1]);
    if (rc == 0) {
        return true;
    }
    output_say(OUTPUT_ERROR, "cannot run %s: %s", argv[0], strerror(rc));
    close_end(&ends[0][1]);
    close_end(&ends[1][0]);
    close_end(&ends[2][0]);
    free(job->input);
    job->input = NULL;
    job->pid = 0;
    return false;
}

bool job_start(struct job *job, char **argv, struct peal_slice input,
               uint64_t limit_ms)
{
    int ends[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};

    job->written = job->output_size = job->output_room = job->error_size = 0;
    job->is_late = job->is_too_much = false;
    job->began_ns = session_now_ns();
    if (!begin(job, argv, input, ends)) {
        return false;
    }
    job->in = (struct watch){.fd = ends[0][1],
                             .events = POLLOUT,
                             .on_ready = on_writable,
                             .user = job};
    job->out = (struct watch){
        .fd = ends[1][0], .events = POLLIN, .on_ready = on_output, .user = job};
    job->err = (struct watch){
        .fd = ends[2][0], .events = POLLIN, .on_ready = on_error, .user = job};
    job->deadline = (struct alarm){.on_due = on_deadline, .user = job};
    session_watch(job->session, &job->in);
    session_watch(job->session, &job->out);
    session_watch(job->session, &job->err);
    session_alarm(job->session, &job->deadline,
                  job->began_ns + limit_ms * 1000000);
    return true;
}

void job_error(const struct job *job, char *out, size_t size)
{
    char quoted[6 * JOB_ERROR_MAX + 3];
    size_t count = 0;

    for (size_t i = 0; i < job->error_size && count < size - 1; i++) {
        unsigned char c = (unsigned char)job->error[i];

        /* At the beginning there may be the rest of a character. */
        if (count > 0 || (c & 0xc0) != 0x80) {
            out[count++] = c < ' ' || c == 127 ? ' ' : (char)c;
        }
    }
    while (count > 0 && out[count - 1] == ' ') {
        count--;
    }
    out[count] = '\0';
    if (peal_json_quote(quoted, sizeof quoted, peal_slice(out)) < 0) {
        for (char *at = out; *at != '\0'; at++) {
            *at = (unsigned char)*at < 128 ? *at : '?';
        }
    }
}
