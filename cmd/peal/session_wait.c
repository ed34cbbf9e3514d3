/* What a session waits for: descriptors, times, signals. */
#include "output.h"
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WATCHES_MAX 256

uint64_t session_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void session_watch(struct session *session, struct watch *watch)
{
    if (!watch->is_on) {
        watch->is_on = true;
        watch->next = session->watches;
        session->watches = watch;
    }
}

void session_unwatch(struct session *session, struct watch *watch)
{
    for (struct watch **at = &session->watches; *at != NULL;
         at = &(*at)->next) {
        if (*at == watch) {
            *at = watch->next;
            watch->is_on = false;
            return;
        }
    }
}

void session_alarm(struct session *session, struct alarm *alarm,
                   uint64_t due_ns)
{
    alarm->due_ns = due_ns;
    if (!alarm->is_on) {
        alarm->is_on = true;
        alarm->next = session->alarms;
        session->alarms = alarm;
    }
}

void session_unalarm(struct session *session, struct alarm *alarm)
{
    for (struct alarm **at = &session->alarms; *at != NULL; at = &(*at)->next) {
        if (*at == alarm) {
            *at = alarm->next;
            alarm->is_on = false;
            return;
        }
    }
}

/* The alarm that is due first, or NULL. */
static struct alarm *first_alarm(const struct session *session)
{
    struct alarm *first = session->alarms;

    for (struct alarm *alarm = first; alarm != NULL; alarm = alarm->next) {
        if (alarm->due_ns < first->due_ns) {
            first = alarm;
        }
    }
    return first;
}

static int timeout_ms(const struct session *session)
{
    int timeout = peal_loop_timeout_ms(session->loop);
    const struct alarm *first = first_alarm(session);
    uint64_t now_ns = session_now_ns();
    uint64_t left_ms;

    if (first == NULL) {
        return timeout;
    }
    left_ms = first->due_ns <= now_ns
                  ? 0
                  : (first->due_ns - now_ns + 999999) / 1000000;
    return timeout >= 0 && (uint64_t)timeout < left_ms ? timeout
           : left_ms < 60000                           ? (int)left_ms
                                                       : 60000;
}

static void ring_alarms(struct session *session)
{
    uint64_t now_ns = session_now_ns();
    struct alarm *alarm;

    while ((alarm = first_alarm(session)) != NULL && alarm->due_ns <= now_ns) {
        session_unalarm(session, alarm);
        alarm->on_due(alarm);
    }
}

void session_turn(struct session *session)
{
    struct pollfd polled[WATCHES_MAX];
    struct watch *watches[WATCHES_MAX];
    nfds_t count = 0;

    for (struct watch *watch = session->watches;
         watch != NULL && count < WATCHES_MAX - 1; watch = watch->next) {
        watches[count] = watch;
        polled[count++] = (struct pollfd){watch->fd, watch->events, 0};
    }
    polled[count] = (struct pollfd){peal_loop_fd(session->loop), POLLIN, 0};
    if (poll(polled, count + 1, timeout_ms(session)) < 0) {
        return; /* a signal: its pipe will be readable */
    }
    peal_loop_step(session->loop, 0);
    for (nfds_t i = 0; i < count; i++) {
        /* A callback may have removed it. */
        if (polled[i].revents != 0 && watches[i]->is_on) {
            watches[i]->on_ready(watches[i], polled[i].revents);
        }
    }
    ring_alarms(session);
    output_flush();
}

/* --- Signals -------------------------------------------------------------- */

/* What a signal writes to: handlers are handed nothing. */
static int signal_pipe[2] = {-1, -1};

static void catch (int number)
{
    char byte = (char)number;
    int saved = errno;

    /* When it is full, there is enough in it already. */
    (void)!write(signal_pipe[1], &byte, 1);
    errno = saved;
}

static void on_signal(struct watch *watch, short events)
{
    struct session *session = watch->user;
    char numbers[64];
    ssize_t count = read(watch->fd, numbers, sizeof numbers);

    (void)events;
    for (ssize_t i = 0; i < count; i++) {
        if (numbers[i] == SIGCHLD) {
            if (session->on_child != NULL) {
                session->on_child(session);
            }
        } else if (session->on_interrupt == NULL ||
                   session->on_interrupt(session)) {
            session_end(session, 128 + numbers[i]);
        }
    }
}

bool session_catch_signals(struct session *session)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
    struct sigaction action = {.sa_handler = catch, .sa_flags = SA_RESTART};

    if (pipe(signal_pipe) < 0) {
        output_say(OUTPUT_ERROR, "cannot make a pipe: %s", strerror(errno));
        return false;
    }
    for (size_t i = 0; i < 2; i++) {
        fcntl(signal_pipe[i], F_SETFL, O_NONBLOCK);
        fcntl(signal_pipe[i], F_SETFD, FD_CLOEXEC);
    }
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        sigaction(numbers[i], &action, NULL);
    }
    /* A pipe that nobody reads is an error that can be told. */
    signal(SIGPIPE, SIG_IGN);
    session->signal_watch = (struct watch){.fd = signal_pipe[0],
                                           .events = POLLIN,
                                           .on_ready = on_signal,
                                           .user = session};
    session_watch(session, &session->signal_watch);
    return true;
}

static void on_output(struct watch *watch, short events)
{
    (void)watch;
    if (events & (POLLERR | POLLHUP)) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
}

void session_watch_output(struct session *session)
{
    struct stat facts;

    if (fstat(STDOUT_FILENO, &facts) == 0 &&
        (S_ISFIFO(facts.st_mode) || S_ISSOCK(facts.st_mode))) {
        session->output_watch = (struct watch){
            .fd = STDOUT_FILENO, .events = 0, .on_ready = on_output};
        session_watch(session, &session->output_watch);
    }
}
