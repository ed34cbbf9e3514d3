/* Commands from other threads. */
#include "server/mail.h"

#include "server/admission.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"
#include "server/account.h"
#include "server/adopt.h"
#include "server/reply.h"
#include "server/request.h"

#include <string.h>

struct mail *mail_new(enum mail_kind kind, struct peal_client_ref client,
                      const struct peal_event *event, size_t text_size)
{
    struct mail *mail = mem_zalloc(sizeof *mail + text_size + 1);

    if (mail == NULL) {
        return NULL;
    }
    if (event != NULL) {
        mail->base.message = message_new(event, NULL, 0, 0);
        if (mail->base.message == NULL) {
            mem_free(mail);
            return NULL;
        }
    }
    mail->base.kind = (uint8_t)kind;
    mail->base.size = sizeof *mail + text_size +
                      (event != NULL ? mail->base.message->size : 0);
    mail->client = client;
    return mail;
}

static void mail_free(struct mail *mail)
{
    if (mail->base.message != NULL) {
        message_unref(mail->base.message);
    }
    mem_free(mail);
}

int mail_post(struct peal_server *server, int loop, struct mail *mail)
{
    int rc = loop < 0 || loop >= server->engine->worker_count
                 ? PEAL_EGONE
                 : seat_post(&server->seats[loop], &mail->base);

    if (rc < 0) {
        mail_free(mail);
    }
    return rc;
}

int mail_command(struct peal_client *client, enum mail_kind kind, int code,
                 const char *text)
{
    switch (kind) {
    case MAIL_JOIN:
        return peal_client_join(client, text);
    case MAIL_LEAVE:
        return peal_client_leave(client, text);
    case MAIL_CLOSE:
        return peal_client_close(client, code, text);
    default:
        UNREACHABLE();
    }
}

/* A request for a client: whatever happens, its outcome is told once. */
static void carry_out_request(struct peal_client *client, struct mail *mail)
{
    struct peal_answer answer = {.status = PEAL_EGONE};

    if (client != NULL) {
        answer.status = peal_client_request(
            client, &mail->base.message->event, mail->timeout_ms,
            mail->on_answer, mail->user);
    }
    if (answer.status < 0) {
        mail->on_answer(client, &answer, mail->user);
    }
}

static void carry_out_answer(struct worker *worker, struct mail *mail)
{
    struct wire_failure failure = {
        .code = mail->code,
        .name = slice_make(mail->text, mail->name_size),
        .message = peal_slice(mail->text + mail->name_size),
        .temporary = mail->temporary,
    };

    if (mail->base.kind == MAIL_FAIL) {
        (void)request_close(worker, mail->client, mail->number, NULL, &failure);
    } else {
        (void)request_close(worker, mail->client, mail->number,
                            &mail->base.message->event, NULL);
    }
}

void mail_carry_out(struct seat *seat, struct mail *mail)
{
    struct peal_client *client = client_find(seat->hub, mail->client);
    struct worker *worker = seat->worker;

    switch ((enum mail_kind)mail->base.kind) {
    case MAIL_REQUEST:
        carry_out_request(client, mail);
        break;
    case MAIL_ANSWER:
    case MAIL_FAIL:
        carry_out_answer(worker, mail);
        break;
    case MAIL_EMIT:
        if (client != NULL) {
            int rc = peal_client_emit(client, &mail->base.message->event);

            if (rc == PEAL_ENOTSUP || rc == PEAL_EINVAL) {
                seat_count(seat, COUNT_MESSAGES_UNSAYABLE);
                account_dropped(conn_of(client));
            }
        }
        break;
    case MAIL_JOIN:
    case MAIL_LEAVE:
    case MAIL_CLOSE:
        if (client != NULL) {
            (void)mail_command(client, (enum mail_kind)mail->base.kind,
                               mail->code, mail->text);
        }
        break;
    case MAIL_RATE:
        if (client != NULL) {
            struct peal_rate rate;

            memcpy(&rate, mail->text, sizeof rate);
            (void)guard_set_rate(conn_of(client), &rate);
        }
        break;
    case MAIL_EVENT_RATES:
        guard_set_event_rates(seat, mail->user);
        break;
    case MAIL_ADOPT:
        adopt_carry_out(seat, mail);
        break;
    case MAIL_HTTP:
        (void)reply_send(worker, mail->number, mail->code, mail->text,
                         slice_make(mail->text + mail->name_size + 1,
                                    mail->base.size - sizeof *mail -
                                        mail->name_size - 1));
        break;
    case MAIL_ADMISSION:
    case MAIL_ADMISSION_SET:
        admission_on_mail(worker, mail);
        break;
    case MAIL_DECISION:
        if (client != NULL) {
            (void)guard_decide(conn_of(client), mail->number,
                               (enum peal_verdict)mail->code);
        }
        break;
    }
    mail_free(mail);
}
