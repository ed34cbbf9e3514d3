/* peal reply - answers requests by running a command for each. */
#include "commands.h"
#include "data.h"
#include "job.h"
#include "output.h"
#include "session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define JOBS_MAX 64
#define WAITING_MAX 256

/* Codes of failures: peal's own, and what is added to the exit status. */
enum { FAILURE_TIMEOUT = 106, FAILURE_BUSY = 109, FAILURE_COMMAND = 1000 };

/* A request that waits for a job. */
struct waiting {
    struct waiting *next;
    struct peal_ask ask;
    uint64_t connection; /* that it came through, by number */
    size_t size;
    char data[];
};

struct replier {
    struct session session;
    const struct options *options;
    char **argv;
    struct job jobs[JOBS_MAX];
    struct waiting *first;
    struct waiting **last;
    size_t waiting_count;
    uint64_t answered;
    int joining;
};

/* --- Answers -------------------------------------------------------------- */

static void tell(const struct replier *replier, const char *outcome,
                 const char *why, double took_ms)
{
    char time[32];

    if (replier->options->json) {
        output_time(time);
        printf("{\"time\":\"%s\",\"outcome\":\"%s\",\"ms\":%.3f", time, outcome,
               took_ms);
        if (why[0] != '\0') {
            printf(",\"message\":");
            output_json_string(stdout, peal_slice(why));
        }
        printf("}\n");
    } else if (why[0] != '\0') {
        output_say(OUTPUT_WARNING, "%s: %s", outcome, why);
    }
}

static void fail(struct peal_ask ask, int code, const char *name,
                 const char *message)
{
    const struct peal_failure failure = {code, name, message, code < 1000};

    peal_ask_fail(ask, &failure);
}

static void finish(struct replier *replier)
{
    replier->answered++;
    if (replier->answered == replier->options->count) {
        session_end(&replier->session, EXIT_OK);
    }
}

/* Whether nobody waits any more for what came through a connection. */
static bool is_lost(const struct replier *replier, uint64_t connection)
{
    return replier->session.lost_at_ns != 0 ||
           replier->session.connects != connection;
}

static void tell_lost(const struct replier *replier, double took_ms)
{
    tell(replier, "lost", "its connection is gone", took_ms);
}

/* The command's output is the answer; the end of its last line is not. */
static void answer(struct replier *replier, struct job *job, double took_ms)
{
    struct peal_slice text = {job->output, job->output_size};
    struct peal_event event;
    struct data data = {.kind = PEAL_JSON};
    int rc;

    if (is_lost(replier, job->connection)) {
        tell_lost(replier, took_ms);
        return;
    }
    if (!replier->options->bytes && text.size > 0 &&
        text.data[text.size - 1] == '\n') {
        text.size--;
    }
    if (job->output_size > 0 && !data_make(&data, replier->options, text)) {
        fail(job->ask, FAILURE_COMMAND, "bad_output",
             "The command's output is not UTF-8");
        tell(replier, "failed", "its output is not UTF-8", took_ms);
        return;
    }
    event = data_event(&data, NULL, NULL);
    rc = peal_ask_answer(job->ask, &event);
    data_free(&data);
    tell(replier, rc == 0 ? "answered" : "lost",
         rc == 0 ? "" : peal_strerror(rc), took_ms);
}

static void on_end(struct job *job, int status)
{
    struct replier *replier = job->user;
    double took_ms = (double)(session_now_ns() - job->began_ns) / 1e6;
    char error[JOB_ERROR_MAX + 1];
    char message[JOB_ERROR_MAX + 64];
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);

    if (job->is_too_much) {
        fail(job->ask, FAILURE_COMMAND, "too_much_output",
             "The command's output is too large");
        tell(replier, "failed", "its output is too large", took_ms);
    } else if (job->is_late) {
        fail(job->ask, FAILURE_TIMEOUT, "timeout", "The command took too long");
        tell(replier, "failed", "it took too long and was killed", took_ms);
    } else if (code != 0) {
        job_error(job, error, sizeof error);
        snprintf(message, sizeof message, "%s%s%d",
                 error[0] != '\0' ? error : "The command ended",
                 error[0] != '\0' ? ", exit status " : " with exit status ",
                 code);
        fail(job->ask, FAILURE_COMMAND + code, "command_failed",
             error[0] != '\0' ? error : message);
        tell(replier, "failed", message, took_ms);
    } else {
        answer(replier, job, took_ms);
    }
    finish(replier);
}

/* --- Requests ------------------------------------------------------------- */

/* A job that does nothing, or NULL. */
static struct job *idle_job(struct replier *replier)
{
    for (size_t i = 0; i < replier->options->jobs; i++) {
        if (replier->jobs[i].pid == 0) {
            return &replier->jobs[i];
        }
    }
    return NULL;
}

static void start_jobs(struct replier *replier)
{
    struct job *job;

    while (!replier->session.is_done && replier->first != NULL &&
           (job = idle_job(replier)) != NULL) {
        struct waiting *waiting = replier->first;

        replier->first = waiting->next;
        if (replier->first == NULL) {
            replier->last = &replier->first;
        }
        replier->waiting_count--;
        job->ask = waiting->ask;
        job->connection = waiting->connection;
        if (is_lost(replier, job->connection)) {
            tell_lost(replier, 0);
            finish(replier);
        } else if (!job_start(job, replier->argv,
                              (struct peal_slice){waiting->data, waiting->size},
                              replier->options->limit_ms)) {
            fail(waiting->ask, FAILURE_COMMAND + 127, "command_failed",
                 "The command cannot be run");
            tell(replier, "failed", "the command cannot be run", 0);
            finish(replier);
        }
        free(waiting);
    }
}

/* What goes to the command's input; its size. */
static size_t input_of(const struct options *options,
                       const struct peal_event *event, char *out)
{
    long size = -1;

    if (options->raw && event->kind == PEAL_JSON) {
        size = peal_json_text(event->data, out, event->data.size + 1);
    }
    if (size < 0 && event->data.size > 0) {
        memcpy(out, event->data.data, event->data.size);
        size = (long)event->data.size;
    }
    return size > 0 ? (size_t)size : 0;
}

static void on_ask(struct peal_link *link, const struct peal_event *event,
                   struct peal_ask ask, void *user)
{
    struct replier *replier = user;
    struct waiting *waiting = NULL;

    (void)link;
    if (replier->waiting_count < WAITING_MAX) {
        waiting = malloc(sizeof *waiting + event->data.size + 1);
    }
    if (waiting == NULL) {
        fail(ask, FAILURE_BUSY, "busy", "Too many requests wait here");
        tell(replier, "refused", "too many requests wait", 0);
        return;
    }
    *waiting = (struct waiting){
        .ask = ask,
        .connection = replier->session.connects,
    };
    waiting->size = input_of(replier->options, event, waiting->data);
    *replier->last = waiting;
    replier->last = &waiting->next;
    replier->waiting_count++;
    start_jobs(replier);
}

/* --- Life ----------------------------------------------------------------- */

static void on_child(struct session *session)
{
    struct replier *replier = session->user;

    for (size_t i = 0; i < JOBS_MAX; i++) {
        job_reap(&replier->jobs[i]);
    }
    start_jobs(replier);
}

static void on_joined(struct peal_link *link, const struct peal_answer *answer,
                      void *user)
{
    struct replier *replier = user;
    char why[600];
    int exit_code = session_explain(answer, why, sizeof why);

    (void)link;
    if (replier->session.is_done) {
        return;
    }
    if (exit_code != EXIT_OK) {
        output_say(OUTPUT_ERROR, "cannot join: %s", why);
        session_end(&replier->session, exit_code);
    } else if (--replier->joining == 0) {
        output_say(OUTPUT_NOTE, "ready");
    }
}

static void on_connected(struct session *session, uint64_t connects)
{
    struct replier *replier = session->user;
    const struct option_list *rooms = &replier->options->rooms;

    if (connects > 1) {
        return; /* the link joins again */
    }
    if (rooms->count == 0) {
        output_say(OUTPUT_NOTE, "ready");
    }
    replier->joining = (int)rooms->count;
    for (size_t i = 0; i < rooms->count; i++) {
        if (peal_link_join(session->link, rooms->items[i], on_joined, replier) <
            0) {
            output_say(OUTPUT_ERROR, "there is no memory");
            session_end(session, EXIT_ERROR);
        }
    }
}

static void end(struct replier *replier)
{
    job_end_all(replier->jobs, JOBS_MAX);
    for (size_t i = 0; i < JOBS_MAX; i++) {
        free(replier->jobs[i].input);
        free(replier->jobs[i].output);
    }
    while (replier->first != NULL) {
        struct waiting *waiting = replier->first;

        replier->first = waiting->next;
        free(waiting);
    }
}

static bool check(const struct options *options)
{
    if (options->jobs > JOBS_MAX) {
        output_say(OUTPUT_ERROR, "at most %d jobs at once", JOBS_MAX);
        return false;
    }
    for (size_t i = 0; i < options->rooms.count; i++) {
        if (!data_check_room(options->rooms.items[i])) {
            return false;
        }
    }
    return data_check_event(options->arguments[0]);
}

int reply_run(const struct options *options)
{
    static struct replier replier;
    int exit_code;

    if (!check(options)) {
        return EXIT_USAGE;
    }
    replier.options = options;
    replier.argv = options->arguments + 1;
    replier.last = &replier.first;
    if (!session_begin(&replier.session, options)) {
        return replier.session.exit_code;
    }
    replier.session.user = &replier;
    replier.session.on_connected = on_connected;
    replier.session.on_child = on_child;
    for (size_t i = 0; i < JOBS_MAX; i++) {
        replier.jobs[i].session = &replier.session;
        replier.jobs[i].on_end = on_end;
        replier.jobs[i].user = &replier;
    }
    setenv("PEAL_EVENT", options->arguments[0], 1);
    peal_link_on_request(replier.session.link, options->arguments[0], on_ask,
                         &replier);
    exit_code = session_run(&replier.session);
    end(&replier);
    return exit_code;
}
