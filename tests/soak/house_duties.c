/* What the application has put off, and does on a thread of its own. */
#include "house_inside.h"

#include "support/check.h"

#include <pthread.h>

/* How many may wait. */
#define WAITING_MAX 1024

static struct {
    pthread_mutex_t lock;
    struct duty all[WAITING_MAX];
    size_t count;
} duties = {.lock = PTHREAD_MUTEX_INITIALIZER};

bool house_put_off(struct duty duty)
{
    bool is_taken;

    pthread_mutex_lock(&duties.lock);
    is_taken = duties.count < WAITING_MAX;
    if (is_taken) {
        duties.all[duties.count++] = duty;
    }
    pthread_mutex_unlock(&duties.lock);
    return is_taken;
}

void house_expect_answered(int rc)
{
    CHECK(rc == 0 || rc == PEAL_EGONE || rc == PEAL_EFULL);
}

static void do_duty(const struct duty *duty)
{
    static const struct peal_denial denial = {.status = 401};
    enum peal_verdict verdict = duty->is_refusal ? PEAL_REFUSE : PEAL_ALLOW;

    switch (duty->kind) {
    case DUTY_ADMISSION:
        house_expect_answered(
            peal_admission_set(duty->to.admission, "door", "later"));
        house_expect_answered(
            peal_admission_decide(duty->to.admission, verdict, &denial));
        break;
    case DUTY_REQUEST:
        house_expect_answered(
            peal_request_answer(duty->to.request, "\"later\""));
        break;
    case DUTY_REPLY: {
        struct peal_http_response response = {
            .size = sizeof response,
            .type = "text/plain",
            .body = peal_slice("later"),
        };

        house_expect_answered(peal_http_respond(duty->to.reply, &response));
        break;
    }
    case DUTY_TICKET:
        house_expect_answered(peal_ticket_decide(duty->to.ticket, verdict));
        break;
    }
}

void house_do_duties(struct chance *chance)
{
    struct duty some[16];
    size_t taken = 0;

    pthread_mutex_lock(&duties.lock);
    while (taken < 16 && duties.count > 0) {
        size_t at = chance_below(chance, (unsigned)duties.count);

        some[taken++] = duties.all[at];
        duties.all[at] = duties.all[--duties.count];
    }
    pthread_mutex_unlock(&duties.lock);
    for (size_t i = 0; i < taken; i++) {
        do_duty(&some[i]);
    }
}

bool house_has_duties(void)
{
    bool are_some;

    pthread_mutex_lock(&duties.lock);
    are_some = duties.count > 0;
    pthread_mutex_unlock(&duties.lock);
    return are_some;
}
