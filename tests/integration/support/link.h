/* A link under test, on a loop that the test's own thread steps. */
#ifndef SUPPORT_LINK_H
#define SUPPORT_LINK_H

#include <peal/client.h>

#include "support/check.h"

/* Steps a loop until the condition has come true. */
#define LINK_STEP_UNTIL(loop, condition)                                       \
    do {                                                                       \
        uint64_t step_until_ms = check_now_ms() + check_patience_ms();         \
        while (!(condition)) {                                                 \
            if (check_now_ms() > step_until_ms) {                              \
                check_failed(__FILE__, __LINE__, "in time: " #condition);      \
            }                                                                  \
            CHECK_EQUAL(peal_loop_step((loop), 10), 0);                        \
        }                                                                      \
    } while (0)

/* What has happened on a link; `user` of its callbacks. */
struct link_notes {
    int changes;
    enum peal_link_state state;
    struct peal_link_change last; /* but for its reason */
    char reason[128];
    int connects;
    int events;
    char name[64];
    char data[256];
    char room[64];
    size_t size;
    enum peal_data kind;
    int answers;
    int status;
    int failure_code;
    int dropped;
    int drop_error;
    int queued;
    int drained;
    size_t drained_count;
    int errors;
    int error;
    char what[128];
};

/* Options for a URL "SCHEME://ADDRESS", with hooks that fill the notes. */
struct peal_link_options link_test_options(const char *url,
                                           struct link_notes *notes);

/* Writes the URL of an address into `out`, of 160 bytes, and returns it. */
const char *link_url(char *out, const char *address, bool is_tcp);

void link_note_event(struct peal_link *link, const struct peal_event *event,
                     void *user);
void link_note_answer(struct peal_link *link, const struct peal_answer *answer,
                      void *user);

#endif
