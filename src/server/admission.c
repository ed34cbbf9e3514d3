#include "server/admission.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/slice.h"
#include "server/conn_extra.h"
#include "server/mail.h"

#include <string.h>

/* From the top 8 bits of loop, then a serial that is never 0. */
#define LOOP_SHIFT 56

struct middleware {
    struct middleware *next;
    peal_middleware_function *function;
    void *user;
};

/* What was set for a client that is not in yet; each key once. */
struct kept {
    struct kept *next;
    size_t bytes; /* of both */
    const char *value;
    char key[];
};

struct admission {
    struct timer timer;
    struct conn *conn;
    uint64_t number;               /* the key, as bytes */
    const struct middleware *next; /* to be asked */
    uint64_t put_off_ns;           /* when that was; 0: nothing is */
    struct socket_address peer;
    struct kept *kept;
    size_t kept_bytes;
    struct peal_denial denial; /* its reason is a copy */
    char *reason;
    size_t head_size;
    char *head; /* of the request; NULL: not put off so far, or TCP */
};

struct peal_slice admission_key(const void *value)
{
    const struct admission *admission = value;

    return slice_make((const char *)&admission->number,
                      sizeof admission->number);
}

/* --- Middleware ----------------------------------------------------------- */

int peal_server_use(struct peal_server *server,
                    peal_middleware_function *function, void *user)
{
    struct middleware **link = &server->middleware;

    if (atomic_load(&server->engine->state) != SERVER_NEW) {
        return PEAL_ESTATE;
    }
    if (function == NULL) {
        return PEAL_EINVAL;
    }
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = mem_zalloc(sizeof **link);
    if (*link == NULL) {
        return PEAL_ENOMEM;
    }
    (*link)->function = function;
    (*link)->user = user;
    return 0;
}

void admission_free_middleware(struct peal_server *server)
{
    while (server->middleware != NULL) {
        struct middleware *next = server->middleware->next;

        mem_free(server->middleware);
        server->middleware = next;
    }
}

/* --- Deciding ------------------------------------------------------------- */

/*
 * Keeps what a denial says, as far as it may be said: a code that is none is 0.
 * A reason that is no UTF-8, or for which there is no memory, is left out.
 */
static void deny(struct admission *admission, const struct peal_denial *denial)
{
    struct peal_slice reason = peal_slice(denial->reason);

    mem_free(admission->reason);
    admission->reason =
        reason.size > 0 && conn_may_say(WS_CLOSE_POLICY, denial->reason)
            ? mem_copy(reason.data, reason.size)
            : NULL;
    admission->denial = *denial;
    if (!conn_may_say(denial->code, "")) {
        admission->denial.code = 0;
    }
    admission->denial.reason =
        admission->reason != NULL ? admission->reason : "";
}

/* Nothing is put off any more. */
static void stop_waiting(struct admission *admission)
{
    timer_stop(&admission->conn->stream.loop->timers, &admission->timer);
    if (admission->put_off_ns != 0) {
        admission->put_off_ns = 0;
        seat_uncount(conn_seat(admission->conn), GAUGE_DECISIONS);
    }
}

/* The decision that was put off is there: the client is asked about again. */
static void decide(struct admission *admission, enum peal_verdict verdict)
{
    struct conn *conn = admission->conn;

    if (admission->put_off_ns != 0) {
        measure_add(&conn_seat(conn)->measures.hooks[HOOK_CONNECT],
                    clock_monotonic_ns() - admission->put_off_ns);
    }
    stop_waiting(admission);
    if (conn->state != CONN_HEAD || !conn->is_waiting) {
        return; /* it has gone meanwhile */
    }
    conn->is_waiting = false;
    if (verdict == PEAL_ALLOW) {
        admission->next = admission->next->next;
    } else {
        admission->next = NULL;
    }
    conn_admit_later(conn, slice_make(admission->head, admission->head_size),
                     &admission->peer,
                     verdict == PEAL_ALLOW ? NULL : &admission->denial);
    conn_input_go_on(conn);
}

static void decision_is_late(struct timer *timer, uint64_t now_ms)
{
    struct admission *admission = CONTAINER_OF(timer, struct admission, timer);

    (void)now_ms;
    deny(admission, &(struct peal_denial){.status = 503});
    decide(admission, PEAL_REFUSE);
}

/* The one that this names, if its namespace is the right one, or NULL. */
static struct admission *find(const struct worker *worker,
                              struct peal_admission named)
{
    struct admission *admission =
        map_get(&worker->admissions, slice_make((const char *)&named.value,
                                                sizeof named.value));

    return admission != NULL &&
                   conn_seat(admission->conn)->server == named.server
               ? admission
               : NULL;
}

/* 0, or PEAL_EGONE when no such one has been put off. */
static int decide_named(struct worker *worker, struct peal_admission named,
                        enum peal_verdict verdict,
                        const struct peal_denial *denial)
{
    struct admission *admission = find(worker, named);

    if (admission == NULL || !admission->conn->is_waiting) {
        return PEAL_EGONE;
    }
    deny(admission, denial);
    decide(admission, verdict);
    return 0;
}

/* --- Asking --------------------------------------------------------------- */

bool admission_has_begun(const struct conn *conn)
{
    return conn->extra != NULL && conn->extra->admission != NULL;
}

static struct admission *begin(struct conn *conn)
{
    struct worker *worker = conn_worker(conn);
    struct conn_extra *extra = conn_extra_of(conn);
    struct admission *admission;

    if (extra == NULL || extra->admission != NULL) {
        return extra != NULL ? extra->admission : NULL;
    }
    admission = mem_zalloc(sizeof *admission);
    if (admission == NULL) {
        return NULL;
    }
    timer_init(&admission->timer, decision_is_late);
    admission->conn = conn;
    admission->number =
        (uint64_t)worker->index << LOOP_SHIFT | ++worker->last_admission;
    admission->next = conn_seat(conn)->server->middleware;
    if (map_add(&worker->admissions, admission) < 0) {
        mem_free(admission);
        return NULL;
    }
    extra->admission = admission;
    return admission;
}

/* Each question has a number of its own, so that no decision is made twice. */
static int renumber(struct admission *admission)
{
    struct worker *worker = conn_worker(admission->conn);

    if (admission->number != 0) {
        map_remove(&worker->admissions, admission_key(admission));
    }
    admission->number =
        (uint64_t)worker->index << LOOP_SHIFT | ++worker->last_admission;
    if (map_add(&worker->admissions, admission) < 0) {
        admission->number = 0;
        return PEAL_ENOMEM;
    }
    return 0;
}

/* Nothing is read until it is decided; what is needed then is kept. */
static int put_off(struct admission *admission,
                   const struct admission_request *request)
{
    struct conn *conn = admission->conn;
    struct loop *loop = conn->stream.loop;
    uint32_t timeout_ms =
        conn_seat(conn)->config->options.decision_timeout_ms;

    if (admission->head == NULL && request->head.size > 0) {
        admission->head = mem_copy(request->head.data, request->head.size);
        if (admission->head == NULL) {
            return PEAL_ENOMEM;
        }
        admission->head_size = request->head.size;
    }
    admission->peer = *request->peer;
    admission->put_off_ns = clock_monotonic_ns();
    seat_count(conn_seat(conn), GAUGE_DECISIONS);
    conn->is_waiting = true;
    stream_pause(&conn->stream);
    if (timeout_ms != PEAL_OFF) {
        timer_start(&loop->timers, &admission->timer,
                    loop->now_ms + timeout_ms);
    }
    return 0;
}

enum peal_verdict admission_ask(struct conn *conn,
                                const struct admission_request *request,
                                struct peal_denial *denial)
{
    struct peal_server *server = conn_seat(conn)->server;
    struct admission *admission;

    *denial = (struct peal_denial){.status = 503, .reason = ""};
    if (server->middleware == NULL) {
        return PEAL_ALLOW;
    }
    admission = begin(conn);
    if (admission == NULL) {
        return PEAL_REFUSE;
    }
    for (; admission->next != NULL; admission->next = admission->next->next) {
        struct peal_denial said = {.reason = ""};
        struct peal_admission by_value = {.server = server};
        enum peal_verdict verdict;

        if (renumber(admission) < 0) {
            return PEAL_REFUSE;
        }
        by_value.value = admission->number;
        verdict = admission->next->function(request->connect, by_value, &said,
                                            admission->next->user);
        if (verdict == PEAL_ALLOW) {
            continue;
        }
        if (verdict == PEAL_LATER && put_off(admission, request) == 0) {
            return PEAL_LATER;
        }
        if (verdict == PEAL_REFUSE) {
            deny(admission, &said);
            *denial = admission->denial;
        }
        return PEAL_REFUSE;
    }
    return PEAL_ALLOW;
}

/* --- What is set ---------------------------------------------------------- */

/* Where this key is linked, or will be. */
static struct kept **kept_link(struct admission *admission,
                               struct peal_slice key)
{
    struct kept **link = &admission->kept;

    while (*link != NULL && !slice_equal(peal_slice((*link)->key), key)) {
        link = &(*link)->next;
    }
    return link;
}

static void unkeep(struct admission *admission, struct kept **link)
{
    struct kept *kept = *link;

    *link = kept->next;
    admission->kept_bytes -= kept->bytes;
    mem_free(kept);
}

/* `value` without data: the key is removed. */
static int keep(struct worker *worker, struct peal_admission named,
                struct peal_slice key, struct peal_slice value)
{
    struct admission *admission = find(worker, named);
    size_t bytes = key.size + value.size;
    struct kept **link;
    struct kept *kept;

    if (admission == NULL) {
        return PEAL_EGONE;
    }
    link = kept_link(admission, key);
    if (value.data != NULL) {
        size_t most =
            conn_seat(admission->conn)->config->options.metadata_bytes_max;
        size_t others =
            admission->kept_bytes - (*link != NULL ? (*link)->bytes : 0);

        if (others > most || bytes > most - others) {
            return PEAL_ELIMIT;
        }
        kept = mem_zalloc(sizeof *kept + bytes + 2);
        if (kept == NULL) {
            return PEAL_ENOMEM;
        }
        kept->bytes = bytes;
        memcpy(kept->key, key.data, key.size);
        kept->value = memcpy(kept->key + key.size + 1, value.data, value.size);
        kept->next = *link;
        *link = kept;
        admission->kept_bytes += bytes;
        link = &kept->next;
    }
    if (*link != NULL) {
        unkeep(admission, link);
    }
    return 0;
}

int admission_finish(struct conn *conn)
{
    int rc = 0;

    if (conn->extra == NULL || conn->extra->admission == NULL) {
        return 0;
    }
    for (struct kept *kept = conn->extra->admission->kept;
         kept != NULL && rc == 0; kept = kept->next) {
        rc = client_set(conn->client, kept->key, kept->value);
    }
    return rc;
}

void admission_forget(struct conn *conn)
{
    struct admission *admission =
        conn->extra != NULL ? conn->extra->admission : NULL;

    if (admission == NULL) {
        return;
    }
    conn->extra->admission = NULL;
    stop_waiting(admission);
    if (admission->number != 0) {
        map_remove(&conn_worker(conn)->admissions, admission_key(admission));
    }
    while (admission->kept != NULL) {
        unkeep(admission, &admission->kept);
    }
    mem_free(admission->reason);
    mem_free(admission->head);
    mem_free(admission);
}

/* --- From any thread ------------------------------------------------------ */

/* How a denial travels: this, then the reason. */
struct posted_denial {
    int status;
    int code;
};

void admission_on_mail(struct worker *worker, const struct mail *mail)
{
    const struct peal_admission named = {
        .server = worker->engine->spaces[mail->base.space],
        .value = mail->number,
    };

    if (mail->base.kind == MAIL_ADMISSION_SET) {
        (void)keep(worker, named, slice_make(mail->text, mail->name_size),
                   peal_slice(mail->code != 0 ? mail->text + mail->name_size
                                              : NULL));
    } else {
        struct posted_denial posted;
        struct peal_denial denial;

        memcpy(&posted, mail->text, sizeof posted);
        denial = (struct peal_denial){
            .status = posted.status,
            .code = posted.code,
            .reason = mail->text + sizeof posted,
        };
        (void)decide_named(worker, named, (enum peal_verdict)mail->code,
                           &denial);
    }
}

/* The loop of an admission, or -1. */
static int loop_of(struct peal_admission admission)
{
    int loop = (int)(admission.value >> LOOP_SHIFT);

    return admission.server != NULL && admission.value != 0 &&
                   loop < admission.server->engine->worker_count
               ? loop
               : -1;
}

/* The worker, when it is this thread's. */
static struct worker *here(struct peal_admission admission)
{
    struct worker *worker = worker_current(admission.server->engine);

    return worker != NULL && worker->index == loop_of(admission) ? worker
                                                                      : NULL;
}

int peal_admission_decide(struct peal_admission admission,
                          enum peal_verdict verdict,
                          const struct peal_denial *given)
{
    struct peal_denial denial =
        given != NULL ? *given : (struct peal_denial){.status = 0};
    struct posted_denial posted = {denial.status, denial.code};
    struct peal_slice reason = peal_slice(denial.reason);
    struct peal_client_ref nobody = {0};
    struct mail *mail;

    if (loop_of(admission) < 0) {
        return PEAL_EGONE;
    }
    if (verdict != PEAL_ALLOW && verdict != PEAL_REFUSE) {
        return PEAL_EINVAL;
    }
    if (here(admission) != NULL) {
        return decide_named(here(admission), admission, verdict, &denial);
    }
    mail = mail_new(MAIL_ADMISSION, nobody, NULL, sizeof posted + reason.size);
    if (mail == NULL) {
        return PEAL_ENOMEM;
    }
    mail->number = admission.value;
    mail->code = (int)verdict;
    memcpy(mail->text, &posted, sizeof posted);
    if (reason.size > 0) {
        memcpy(mail->text + sizeof posted, reason.data, reason.size);
    }
    return mail_post(admission.server, loop_of(admission), mail);
}

int peal_admission_set(struct peal_admission admission, const char *key,
                       const char *value)
{
    struct peal_slice name = peal_slice(key);
    struct peal_slice text = peal_slice(value);
    struct peal_client_ref nobody = {0};
    struct mail *mail;

    if (loop_of(admission) < 0) {
        return PEAL_EGONE;
    }
    if (name.size == 0) {
        return PEAL_EINVAL;
    }
    if (here(admission) != NULL) {
        return keep(here(admission), admission, name, text);
    }
    mail = mail_new(MAIL_ADMISSION_SET, nobody, NULL, name.size + text.size);
    if (mail == NULL) {
        return PEAL_ENOMEM;
    }
    mail->number = admission.value;
    mail->name_size = name.size;
    mail->code = value != NULL;
    memcpy(mail->text, name.data, name.size);
    if (text.size > 0) {
        memcpy(mail->text + name.size, text.data, text.size);
    }
    return mail_post(admission.server, loop_of(admission), mail);
}
