/*
 * The loop of the public API: one loop of src/net with a tape, a resolver, and
 * mail that knows what to do with itself.
 */
#ifndef CLIENT_RUNNER_H
#define CLIENT_RUNNER_H

#include "base/list.h"
#include "net/loop.h"
#include "net/resolver.h"
#include "net/tape.h"
#include "peal/client.h"

#include <pthread.h>

struct runner_mail {
    struct loop_mail mail;
    void (*handle)(struct runner_mail *mail); /* on the loop; frees it */
};

struct peal_loop {
    struct loop *loop;         /* [I] */
    struct log log;            /* [I] */
    struct tape tape;          /* [L] */
    struct ws_codecs *codecs;  /* [L] NULL: not needed yet */
    struct resolver *resolver; /* [I] */
    struct peal_tls *tls;      /* [mutex] for links that bring none, or NULL */
    struct list dead;          /* [L] links to free at the end of the turn */
    size_t mailbox_bytes_max;  /* [I] */
    _Atomic size_t link_count;
    _Atomic bool is_running; /* by peal_loop_run or a thread */
    _Atomic bool is_stopping;
    bool has_thread; /* its owner's */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t freed; /* links that another thread waits for */
};

/* Whether the caller is inside of a callback of this loop. */
bool runner_is_current(const struct peal_loop *runner);

/*
 * TLS with nothing but the system's authorities, made when first needed; the
 * loop's own. 0, or errors as peal_tls_client_new. Any thread.
 */
int runner_tls(struct peal_loop *runner, struct peal_tls **tls);

/* Posts; `size` is what it pins. PEAL_EFULL: the mail is still the caller's. */
int runner_post(struct peal_loop *runner, struct runner_mail *mail,
                size_t size);

#endif
