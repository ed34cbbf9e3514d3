/*
 * The public functions for any thread: done at once on the loop that owns the
 * client, and sent there from everywhere else.
 */
#include "server/conn.h"

#include "base/slice.h"
#include "base/utf8.h"
#include "server/mail.h"
#include "server/request.h"

#include <string.h>

/* A client that something is asked of. */
struct target {
    struct peal_server *server;
    struct peal_client_ref ref;
    int loop;                   /* that it belongs to */
    struct peal_client *client; /* where that is this thread's; else NULL */
};

/* 0, or PEAL_EGONE for a dead one. */
static int locate(struct target *target, struct peal_server *server,
                  struct peal_client_ref ref)
{
    struct seat *seat = seat_current(server);

    *target = (struct target){
        .server = server,
        .ref = ref,
        .loop = client_ref_loop(&server->cluster, ref),
    };
    if (target->loop < 0) {
        return PEAL_EGONE;
    }
    if (seat != NULL && seat->hub->index == target->loop) {
        target->client = client_find(seat->hub, ref);
        return target->client == NULL ? PEAL_EGONE : 0;
    }
    return 0;
}

/* Sends a mail there, which is freed if that fails; NULL: PEAL_ENOMEM. */
static int post(const struct target *target, struct mail *mail)
{
    return mail == NULL ? PEAL_ENOMEM
                        : mail_post(target->server, target->loop, mail);
}

/* A command with nothing but a text and a code: done here, or sent there. */
static int command(struct peal_server *server, struct peal_client_ref ref,
                   enum mail_kind kind, int code, const char *text)
{
    struct peal_slice slice = peal_slice(text);
    struct target target;
    struct mail *mail;
    int rc = locate(&target, server, ref);

    if (rc < 0) {
        return rc;
    }
    if (target.client != NULL) {
        return mail_command(target.client, kind, code, text);
    }
    mail = mail_new(kind, ref, NULL, slice.size);
    if (mail != NULL) {
        mail->code = code;
        if (slice.size > 0) {
            memcpy(mail->text, slice.data, slice.size);
        }
    }
    return post(&target, mail);
}

int peal_server_join(struct peal_server *server, struct peal_client_ref ref,
                     const char *room)
{
    return command(server, ref, MAIL_JOIN, 0, room);
}

int peal_server_leave(struct peal_server *server, struct peal_client_ref ref,
                      const char *room)
{
    return command(server, ref, MAIL_LEAVE, 0, room);
}

int peal_server_close(struct peal_server *server, struct peal_client_ref ref,
                      int code, const char *reason)
{
    if (client_ref_loop(&server->cluster, ref) >= 0 &&
        !conn_may_say(code, reason)) {
        return PEAL_EINVAL;
    }
    return command(server, ref, MAIL_CLOSE, code, reason);
}

int peal_server_emit(struct peal_server *server, struct peal_client_ref ref,
                     const struct peal_event *event)
{
    struct target target;
    int rc = locate(&target, server, ref);

    if (rc < 0) {
        return rc;
    }
    if (target.client != NULL) {
        return peal_client_emit(target.client, event);
    }
    rc = dispatch_check(worker_current(server->engine), event, false);
    return rc < 0 ? rc : post(&target, mail_new(MAIL_EMIT, ref, event, 0));
}

int peal_server_request(struct peal_server *server, struct peal_client_ref ref,
                        const struct peal_event *event, uint32_t timeout_ms,
                        peal_answer_function *on_answer, void *user)
{
    struct target target;
    struct mail *mail;
    int rc = locate(&target, server, ref);

    if (rc < 0) {
        return rc;
    }
    if (target.client != NULL) {
        return peal_client_request(target.client, event, timeout_ms, on_answer,
                                   user);
    }
    rc = on_answer == NULL
             ? PEAL_EINVAL
             : dispatch_check(worker_current(server->engine), event, true);
    if (rc < 0) {
        return rc;
    }
    mail = mail_new(MAIL_REQUEST, ref, event, 0);
    if (mail == NULL) {
        return PEAL_ENOMEM;
    }
    mail->timeout_ms = timeout_ms;
    mail->on_answer = on_answer;
    mail->user = user;
    return post(&target, mail);
}

/* --- Answers ------------------------------------------------------------- */

int peal_request_answer_event(struct peal_request request,
                              const struct peal_event *event)
{
    struct peal_event unnamed = *event;
    struct target target;
    struct mail *mail;
    int rc = locate(&target, request.server, request.client);

    unnamed.name = slice_make(NULL, 0);
    unnamed.room = slice_make(NULL, 0);
    if (rc == 0) {
        rc = dispatch_check(worker_current(request.server->engine), &unnamed,
                            false);
    }
    if (rc < 0) {
        return rc;
    }
    if (target.client != NULL) {
        return request_close(seat_of(target.client)->worker, request.client,
                             request.value, &unnamed, NULL);
    }
    mail = mail_new(MAIL_ANSWER, request.client, &unnamed, 0);
    if (mail == NULL) {
        return PEAL_ENOMEM;
    }
    mail->number = request.value;
    return post(&target, mail);
}

int peal_request_answer(struct peal_request request, const char *json)
{
    struct peal_event event = peal_json(NULL, json);

    return peal_request_answer_event(request, &event);
}

/* Whether an application may answer with this: it must be JSON in the end. */
static bool may_fail(const struct wire_failure *failure)
{
    return failure->code >= 0 &&
           utf8_is_valid(failure->name.data, failure->name.size) &&
           utf8_is_valid(failure->message.data, failure->message.size);
}

int peal_request_fail(struct peal_request request,
                      const struct peal_failure *given)
{
    struct wire_failure failure = {
        .code = given->code,
        .name = peal_slice(given->name),
        .message = peal_slice(given->message),
        .temporary = given->temporary,
    };
    struct target target;
    struct mail *mail;
    int rc = locate(&target, request.server, request.client);

    if (rc == 0 && !may_fail(&failure)) {
        rc = PEAL_EINVAL;
    }
    if (rc < 0) {
        return rc;
    }
    if (target.client != NULL) {
        return request_close(seat_of(target.client)->worker, request.client,
                             request.value, NULL, &failure);
    }
    mail = mail_new(MAIL_FAIL, request.client, NULL,
                    failure.name.size + failure.message.size);
    if (mail == NULL) {
        return PEAL_ENOMEM;
    }
    mail->number = request.value;
    mail->code = failure.code;
    mail->temporary = failure.temporary;
    mail->name_size = failure.name.size;
    if (failure.name.size > 0) {
        memcpy(mail->text, failure.name.data, failure.name.size);
    }
    if (failure.message.size > 0) {
        memcpy(mail->text + failure.name.size, failure.message.data,
               failure.message.size);
    }
    return post(&target, mail);
}

/* --- Rooms and everybody ------------------------------------------------- */

static int publish(struct peal_server *server, const char *room,
                   const struct peal_event *event,
                   const struct peal_client_ref *except, size_t except_count)
{
    struct worker *worker = worker_current(server->engine);
    struct peal_event to_room = *event;
    int rc = dispatch_check(worker, event, false);

    if (rc < 0) {
        return rc;
    }
    to_room.room = peal_slice(room);
    return hooks_publish(server, NULL, &to_room, except, except_count);
}

int peal_server_room_emit(struct peal_server *server, const char *room,
                          const struct peal_event *event,
                          const struct peal_client_ref *except,
                          size_t except_count)
{
    if (room == NULL || room[0] == '\0') {
        return PEAL_EINVAL;
    }
    return publish(server, room, event, except, except_count);
}

int peal_server_broadcast(struct peal_server *server,
                          const struct peal_event *event,
                          const struct peal_client_ref *except,
                          size_t except_count)
{
    return publish(server, "", event, except, except_count);
}

/* --- Questions ----------------------------------------------------------- */

struct peal_client_ref peal_server_find(struct peal_server *server,
                                        const char *id)
{
    return client_find_id(&server->cluster, peal_slice(id));
}

long peal_server_client_id(struct peal_server *server,
                           struct peal_client_ref ref, char *out)
{
    return client_copy(&server->cluster, ref, NULL, out, PEAL_ID_MAX + 1);
}

long peal_server_client_get(struct peal_server *server,
                            struct peal_client_ref ref, const char *key,
                            char *out, size_t size)
{
    return key == NULL ? PEAL_EINVAL
                       : client_copy(&server->cluster, ref, key, out, size);
}

size_t peal_server_clients(struct peal_server *server,
                           struct peal_client_ref *out, size_t max)
{
    return client_list(&server->cluster, out, max);
}

size_t peal_server_members(struct peal_server *server, const char *room,
                           struct peal_client_ref *out, size_t max)
{
    return room_members(&server->cluster, peal_slice(room), out, max);
}

int peal_server_rooms(struct peal_server *server,
                      bool (*each)(const char *room, size_t members,
                                   void *user),
                      void *user)
{
    return room_each(&server->cluster, each, user);
}

/* --- Limits -------------------------------------------------------------- */

int peal_server_set_rate(struct peal_server *server, struct peal_client_ref ref,
                         const struct peal_rate *given)
{
    struct peal_rate rate = given != NULL ? *given : (struct peal_rate){0};
    struct target target;
    struct mail *mail;
    int rc = locate(&target, server, ref);

    if (rc < 0) {
        return rc;
    }
    if (target.client != NULL) {
        return peal_client_set_rate(target.client, &rate);
    }
    mail = mail_new(MAIL_RATE, ref, NULL, sizeof rate);
    if (mail == NULL) {
        return PEAL_ENOMEM;
    }
    memcpy(mail->text, &rate, sizeof rate);
    return post(&target, mail);
}

int peal_ticket_decide(struct peal_ticket ticket, enum peal_verdict verdict)
{
    struct target target;
    struct mail *mail;
    int rc = locate(&target, ticket.server, ticket.client);

    if (rc < 0) {
        return rc;
    }
    if (verdict != PEAL_ALLOW && verdict != PEAL_REFUSE) {
        return PEAL_EINVAL;
    }
    if (target.client != NULL) {
        return guard_decide(conn_of(target.client), ticket.value, verdict);
    }
    mail = mail_new(MAIL_DECISION, ticket.client, NULL, 0);
    if (mail == NULL) {
        return PEAL_ENOMEM;
    }
    mail->number = ticket.value;
    mail->code = (int)verdict;
    return post(&target, mail);
}
