/*
 * Links that send numbered requests and numbered events through their outboxes
 * while their server comes and goes, and that keep account of what becomes of
 * them. On one loop, which the test's own thread steps.
 */
#ifndef SUPPORT_SENDERS_H
#define SUPPORT_SENDERS_H

#include "support/link.h"

#define SENDERS 100
#define SENDER_MESSAGES 60

struct sender {
    struct peal_link *link;
    int index;
    int next;
    int outcomes;
    int outcome[SENDER_MESSAGES]; /* 1: none yet */
    int emitted;
    int dropped;
    uint64_t unproven;
    int connects;
};

/* What is said, with the sender's index and the number of the message. */
struct senders_plan {
    const char *request;
    const char *event; /* its data is [INDEX,NUMBER] */

    /* The data of a request; NULL: the same. */
    void (*write_request)(char *out, size_t size, int index, int number);

    /* Looks at an answer; NULL: there is nothing to see in it. */
    void (*on_answer)(struct sender *sender, int number,
                      const struct peal_answer *answer);
};

/* The senders of this test. */
extern struct sender senders[SENDERS];

/* Makes one, which connects; `plan` lives as long as it does. */
void senders_open(struct sender *sender, struct peal_loop *loop,
                  const struct senders_plan *plan, const char *url,
                  enum peal_dialect dialect);

/* Has them connect to another address. */
void senders_redirect(const char *url, enum peal_dialect dialect);

/* A while of traffic: whichever is due by chance sends its next. */
void senders_send_for(struct peal_loop *loop, uint64_t for_ms);

/* All that has not been sent; steps until each request has its outcome. */
void senders_send_rest(struct peal_loop *loop);

/* Reads [INDEX,NUMBER]. */
void senders_read(const struct peal_event *event, int *index, int *number);

/*
 * One outcome for each request, and no more of its events missing than it was
 * told of; `arrived` did arrive. Returns the requests that were answered.
 */
int senders_judge(const struct sender *sender, int arrived);

#endif
