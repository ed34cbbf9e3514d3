#include "support/senders.h"

#include <stdio.h>
#include <stdlib.h>

struct sender senders[SENDERS];

struct sent {
    struct sender *sender;
    int number;
};

static struct sent sent[SENDERS][SENDER_MESSAGES];
static const struct senders_plan *plan;

static void on_state(struct peal_link *link,
                     const struct peal_link_change *change, void *user)
{
    struct sender *sender = user;

    (void)link;
    sender->unproven += change->unproven;
    sender->connects += change->to == PEAL_LINK_CONNECTED;
}

static void on_dropped(struct peal_link *link, const struct peal_event *event,
                       int error, void *user)
{
    struct sender *sender = user;

    (void)link;
    (void)event;
    CHECK_EQUAL(error, PEAL_EFULL);
    sender->dropped++;
}

static void on_outcome(struct peal_link *link, const struct peal_answer *answer,
                       void *user)
{
    struct sent *what = user;
    struct sender *sender = what->sender;

    (void)link;
    CHECK_EQUAL(sender->outcome[what->number], 1);
    sender->outcome[what->number] = answer->status;
    sender->outcomes++;
    if (answer->status == 0 && plan->on_answer != NULL) {
        plan->on_answer(sender, what->number, answer);
    }
}

static void write_numbers(char *out, size_t size, int index, int number)
{
    snprintf(out, size, "[%d,%d]", index, number);
}

static void send_next(struct sender *sender)
{
    struct sent *what = &sent[sender->index][sender->next];
    struct peal_event event;
    char data[64];

    if (sender->next == SENDER_MESSAGES) {
        return;
    }
    *what = (struct sent){sender, sender->next};
    sender->outcome[sender->next] = 1;
    (plan->write_request != NULL ? plan->write_request : write_numbers)(
        data, sizeof data, sender->index, sender->next);
    event = peal_json(plan->request, data);
    CHECK_EQUAL(
        peal_link_request(sender->link, &event, 60000, on_outcome, what), 0);
    write_numbers(data, sizeof data, sender->index, sender->next);
    event = peal_json(plan->event, data);
    CHECK_EQUAL(peal_link_emit(sender->link, &event), 0);
    sender->emitted++;
    sender->next++;
}

static struct peal_link_options options_of(struct sender *sender,
                                           const char *url,
                                           enum peal_dialect dialect)
{
    return (struct peal_link_options){
        .size = sizeof(struct peal_link_options),
        .url = url,
        .dialect = dialect,
        .outbox_count_max = 90,
        .reconnect_min_ms = 1,
        .reconnect_first_ms = 4,
        .reconnect_max_ms = 20,
        .ping_interval_ms = 20,
        .on_state = on_state,
        .on_dropped = on_dropped,
        .user = sender,
    };
}

void senders_open(struct sender *sender, struct peal_loop *loop,
                  const struct senders_plan *what, const char *url,
                  enum peal_dialect dialect)
{
    struct peal_link_options options = options_of(sender, url, dialect);

    plan = what;
    *sender = (struct sender){.index = (int)(sender - senders)};
    CHECK_EQUAL(peal_link_new(&sender->link, loop, &options), 0);
    CHECK_EQUAL(peal_link_open(sender->link), 0);
}

void senders_redirect(const char *url, enum peal_dialect dialect)
{
    for (int i = 0; i < SENDERS; i++) {
        struct peal_link_options options =
            options_of(&senders[i], url, dialect);

        CHECK_EQUAL(peal_link_update(senders[i].link, &options), 0);
    }
}

void senders_send_for(struct peal_loop *loop, uint64_t for_ms)
{
    uint64_t until_ms = check_now_ms() + for_ms;

    while (check_now_ms() < until_ms) {
        send_next(&senders[rand() % SENDERS]);
        CHECK_EQUAL(peal_loop_step(loop, 0), 0);
    }
}

static bool are_settled(void)
{
    for (int i = 0; i < SENDERS; i++) {
        struct peal_link_stats stats = {.size = sizeof stats};

        CHECK_EQUAL(peal_link_stats(senders[i].link, &stats), 0);
        if (senders[i].outcomes < SENDER_MESSAGES || stats.outbox_count > 0) {
            return false;
        }
    }
    return true;
}

void senders_send_rest(struct peal_loop *loop)
{
    for (int i = 0; i < SENDERS; i++) {
        while (senders[i].next < SENDER_MESSAGES) {
            send_next(&senders[i]);
        }
    }
    LINK_STEP_UNTIL(loop, are_settled());
}

void senders_read(const struct peal_event *event, int *index, int *number)
{
    char text[64];

    snprintf(text, sizeof text, "%.*s", (int)event->data.size,
             event->data.data);
    CHECK_EQUAL(sscanf(text, "[%d,%d]", index, number), 2);
}

int senders_judge(const struct sender *sender, int arrived)
{
    int missing = sender->emitted - arrived;
    int answered = 0;

    CHECK_EQUAL(sender->outcomes, SENDER_MESSAGES);
    CHECK(sender->connects > 0);
    for (int n = 0; n < SENDER_MESSAGES; n++) {
        answered += sender->outcome[n] == 0;
        CHECK(sender->outcome[n] == 0 || sender->outcome[n] == PEAL_EGONE ||
              sender->outcome[n] == PEAL_EFULL);
    }
    CHECK(missing >= 0);
    CHECK((uint64_t)missing <= (uint64_t)sender->dropped + sender->unproven);
    return answered;
}
