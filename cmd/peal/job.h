/*
 * job.h - a command that is run for a request: the data on its standard input,
 * the answer from its standard output.
 */
#ifndef JOB_H
#define JOB_H

#include "session.h"

#define JOB_OUTPUT_MAX ((size_t)16 << 20)
#define JOB_ERROR_MAX 400 /* the end of standard error */

struct job {
    struct session *session;
    pid_t pid; /* also of its process group; 0: there is none */
    uint64_t began_ns;
    struct alarm deadline;
    bool is_late; /* the deadline has passed */

    struct watch in;
    char *input;
    size_t input_size;
    size_t written;

    struct watch out;
    char *output;
    size_t output_size;
    size_t output_room;
    bool is_too_much;

    struct watch err;
    char error[JOB_ERROR_MAX];
    size_t error_size;

    struct peal_ask ask;
    uint64_t connection; /* that it came through, by number */
    void (*on_end)(struct job *job, int status); /* as waitpid has it */
    void *user;
};

/*
 * Starts `argv` (no shell) with a copy of the input, and has it killed after
 * `limit_ms`. False when it cannot be started, which has been told.
 */
bool job_start(struct job *job, char **argv, struct peal_slice input,
               uint64_t limit_ms);

/* To be called on SIGCHLD: calls on_end if it has ended. */
void job_reap(struct job *job);

/* Asks it to end. */
void job_stop(struct job *job);

/*
 * Asks all of them to end, and kills those that have not done so after two
 * seconds, or at the next signal; none is left then. Nothing is called for it,
 * and the session need not run any more.
 */
void job_end_all(struct job *jobs, size_t count);

/* What it has said on standard error, as one line of UTF-8; "": nothing. */
void job_error(const struct job *job, char *out, size_t size);

#endif
