#include "client/runner.h"

#include "base/assert.h"
#include "base/mem.h"
#include "client/link.h"
#include "proto/ws_codecs.h"

#include <signal.h>
#include <string.h>

#define MAILBOX_BYTES_MAX ((size_t)64 << 20)

bool runner_is_current(const struct peal_loop *runner)
{
    return loop_current() == runner->loop;
}

int runner_post(struct peal_loop *runner, struct runner_mail *mail, size_t size)
{
    if (loop_mail_bytes(runner->loop) + size > runner->mailbox_bytes_max) {
        return PEAL_EFULL;
    }
    mail->mail.size = size;
    loop_post(runner->loop, &mail->mail);
    return PEAL_OK;
}

int runner_tls(struct peal_loop *runner, struct peal_tls **tls)
{
    const struct peal_tls_client_options options = {.size = sizeof options};
    char why[PEAL_TLS_ERROR_SIZE] = "";
    char quoted[PEAL_TLS_ERROR_SIZE];
    int rc = PEAL_OK;

    pthread_mutex_lock(&runner->mutex);
    if (runner->tls == NULL) {
        rc = peal_tls_client_new(&runner->tls, &options, why, sizeof why);
    }
    *tls = runner->tls;
    pthread_mutex_unlock(&runner->mutex);
    if (rc < 0) {
        log_error(&runner->log, "client", "no tls", "reason=%s",
                  log_quote(quoted, sizeof quoted, peal_slice(why)));
    }
    return rc;
}

static void on_mail(struct loop *loop, struct loop_mail *mail, void *user)
{
    struct runner_mail *own = CONTAINER_OF(mail, struct runner_mail, mail);

    (void)loop;
    (void)user;
    own->handle(own);
}

static void on_turn_end(struct loop *loop, void *user)
{
    struct peal_loop *runner = user;

    (void)loop;
    link_free_dead(runner);
    tape_rewind(&runner->tape);
}

int peal_loop_new(struct peal_loop **out,
                  const struct peal_loop_options *options)
{
    struct peal_loop_options given = {.size = sizeof given};
    struct peal_loop *runner;
    int rc;

    if (options != NULL) {
        if (options->size == 0) {
            return PEAL_EINVAL;
        }
        memcpy(&given, options,
               options->size < sizeof given ? options->size : sizeof given);
    }
    runner = mem_zalloc(sizeof *runner);
    if (runner == NULL) {
        return PEAL_ENOMEM;
    }
    runner->log = (struct log){
        .function = given.log,
        .user = given.log_user,
        .level = given.log_level == PEAL_LOG_DEFAULT ? PEAL_LOG_INFO
                                                     : given.log_level,
    };
    runner->mailbox_bytes_max = given.mailbox_bytes_max > 0
                                    ? given.mailbox_bytes_max
                                    : MAILBOX_BYTES_MAX;
    list_init(&runner->dead);
    tape_init(&runner->tape, TAPE_SEGMENT_BYTES);
    rc = loop_new(&runner->loop, &(struct loop_options){
                                     .log = &runner->log,
                                     .on_mail = on_mail,
                                     .on_turn_end = on_turn_end,
                                     .user = runner,
                                 });
    if (rc < 0) {
        mem_free(runner);
        return rc;
    }
    rc = resolver_new(&runner->resolver, runner->loop);
    if (rc < 0) {
        loop_free(runner->loop);
        mem_free(runner);
        return rc;
    }
    pthread_mutex_init(&runner->mutex, NULL);
    pthread_cond_init(&runner->freed, NULL);
    *out = runner;
    return PEAL_OK;
}

void peal_loop_free(struct peal_loop *runner)
{
    if (runner == NULL) {
        return;
    }
    ASSERT(!runner_is_current(runner) && runner->link_count == 0);
    peal_loop_stop(runner);
    if (runner->has_thread) {
        pthread_join(runner->thread, NULL);
    }
    resolver_free(runner->resolver, link_drop_lookup);
    loop_free(runner->loop);
    tape_fini(&runner->tape);
    ws_codecs_free(runner->codecs);
    peal_tls_free(runner->tls);
    pthread_cond_destroy(&runner->freed);
    pthread_mutex_destroy(&runner->mutex);
    mem_free(runner);
}

static void run(struct peal_loop *runner)
{
    while (!atomic_load(&runner->is_stopping)) {
        loop_turn(runner->loop, -1);
    }
    pthread_mutex_lock(&runner->mutex);
    atomic_store(&runner->is_running, false);
    pthread_cond_broadcast(&runner->freed);
    pthread_mutex_unlock(&runner->mutex);
}

static void *run_thread(void *argument)
{
    run(argument);
    return NULL;
}

static bool claim(struct peal_loop *runner)
{
    if (atomic_exchange(&runner->is_running, true)) {
        return false;
    }
    if (runner->has_thread) {
        pthread_join(runner->thread, NULL);
        runner->has_thread = false;
    }
    atomic_store(&runner->is_stopping, false);
    return true;
}

int peal_loop_run(struct peal_loop *runner)
{
    if (!claim(runner)) {
        return PEAL_ESTATE;
    }
    run(runner);
    return PEAL_OK;
}

/* The program's signals are not for this thread. */
int peal_loop_start(struct peal_loop *runner)
{
    sigset_t all;
    sigset_t old;
    int error;

    if (!claim(runner)) {
        return PEAL_ESTATE;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    error = pthread_create(&runner->thread, NULL, run_thread, runner);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error != 0) {
        atomic_store(&runner->is_running, false);
        return PEAL_ESYSTEM;
    }
    runner->has_thread = true;
    return PEAL_OK;
}

void peal_loop_stop(struct peal_loop *runner)
{
    atomic_store(&runner->is_stopping, true);
    loop_wake(runner->loop);
}

int peal_loop_fd(const struct peal_loop *runner)
{
    return loop_fd(runner->loop);
}

int peal_loop_timeout_ms(struct peal_loop *runner)
{
    return loop_timeout_ms(runner->loop);
}

int peal_loop_step(struct peal_loop *runner, int timeout_ms)
{
    if (atomic_load(&runner->is_running) || runner_is_current(runner)) {
        return PEAL_ESTATE;
    }
    loop_turn(runner->loop, timeout_ms);
    return PEAL_OK;
}
