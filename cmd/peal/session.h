/*
 * session.h - one link, and what a command waits for beside it: signals,
 * descriptors, timers. Everything happens on the thread that runs it.
 */
#ifndef SESSION_H
#define SESSION_H

#include "options.h"

#include <peal/client.h>

#include <signal.h>
#include <sys/types.h>

/* A descriptor that is waited for. In the session until it is removed. */
struct watch {
    int fd;
    short events; /* of poll() */
    void (*on_ready)(struct watch *watch, short events);
    void *user;
    bool is_on;
    struct watch *next;
};

/* A time that is waited for. */
struct alarm {
    uint64_t due_ns;
    void (*on_due)(struct alarm *alarm);
    void *user;
    bool is_on;
    struct alarm *next;
};

struct session {
    const struct options *options;
    struct peal_loop *loop;
    struct peal_link *link;
    void *user;

    /* The link is connected, for the n-th time, n from 1 on. */
    void (*on_connected)(struct session *session, uint64_t connects);
    /* SIGCHLD has come. */
    void (*on_child)(struct session *session);
    /* SIGINT or SIGTERM has come: the session ends unless this says false. */
    bool (*on_interrupt)(struct session *session);

    /* The session ends when the connection is lost. */
    bool is_one_shot;
    bool is_done;
    int exit_code;
    uint64_t connects;
    uint64_t unproven;   /* events written to connections that were lost */
    uint64_t dropped;    /* events taken by the link and not sent */
    uint64_t lost_at_ns; /* 0: is connected */
    uint64_t connected_at_ns;
    struct watch *watches;
    struct alarm *alarms;
    struct watch signal_watch;
    struct watch output_watch;
};

/* --- session_way.c -------------------------------------------------------- */

/* Link options of what the command line says. `headers` is kept by them. */
struct link_way {
    struct peal_link_options options; /* options.tls: to be freed */
    char headers[8192];
};

/* False when they make no sense, which has been told. */
bool session_read_way(struct link_way *way, const struct options *options);

/* --- session.c ------------------------------------------------------------ */

/*
 * Sets up signals, the loop and the link, which does not connect yet. False
 * when that cannot be, which has been told; then exit_code says how to end.
 */
bool session_begin(struct session *session, const struct options *options);

/*
 * Connects and runs until session_end; `timeout_ms` of --timeout is how long
 * the first connection may take. Says goodbye to the server and returns the
 * exit code.
 */
int session_run(struct session *session);

/* Ends it with this exit code. The first one counts. */
void session_end(struct session *session, int exit_code);

/* --- session_wait.c: descriptors, times, signals -------------------------- */

void session_watch(struct session *session, struct watch *watch);
void session_unwatch(struct session *session, struct watch *watch);

/* (Re)starts an alarm. */
void session_alarm(struct session *session, struct alarm *alarm,
                   uint64_t due_ns);
void session_unalarm(struct session *session, struct alarm *alarm);

uint64_t session_now_ns(void);

/* Waits for something and does what it asks for. */
void session_turn(struct session *session);

/* Has signals end the session. False when that cannot be, which was told. */
bool session_catch_signals(struct session *session);

/* `peal sub lobby | head -1` ends with head, and not with the next event. */
void session_watch_output(struct session *session);

/* --- session_explain.c ---------------------------------------------------- */

/* The exit code for what an answer says that is not "ok", in words, too. */
int session_explain(const struct peal_answer *answer, char *out, size_t size);

/* The same for a connection that was lost, or not to be had. */
int session_explain_loss(const struct peal_link_change *change, char *out,
                         size_t size);

/* The exit code of a failure that peal or the application has named. */
int session_failure_code(const struct peal_failure *failure);

#endif
