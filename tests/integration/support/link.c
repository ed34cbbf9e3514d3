#include "support/link.h"

#include <stdio.h>
#include <string.h>

static void on_state(struct peal_link *link,
                     const struct peal_link_change *change, void *user)
{
    struct link_notes *notes = user;

    (void)link;
    notes->changes++;
    notes->state = change->to;
    notes->last = *change;
    snprintf(notes->reason, sizeof notes->reason, "%s", change->reason);
    notes->last.reason = notes->reason;
    notes->connects += change->to == PEAL_LINK_CONNECTED;
}

static void on_queued(struct peal_link *link, const struct peal_event *event,
                      size_t count, void *user)
{
    struct link_notes *notes = user;

    (void)link;
    (void)event;
    (void)count;
    notes->queued++;
}

static void on_drained(struct peal_link *link, size_t count, void *user)
{
    struct link_notes *notes = user;

    (void)link;
    notes->drained++;
    notes->drained_count = count;
}

static void copy(char *out, size_t size, struct peal_slice text)
{
    snprintf(out, size, "%.*s", (int)text.size,
             text.data != NULL ? text.data : "");
}

static void on_dropped(struct peal_link *link, const struct peal_event *event,
                       int error, void *user)
{
    struct link_notes *notes = user;

    (void)link;
    notes->dropped++;
    notes->drop_error = error;
    copy(notes->name, sizeof notes->name, event->name);
    copy(notes->data, sizeof notes->data, event->data);
}

static void on_error(struct peal_link *link, int error, const char *what,
                     void *user)
{
    struct link_notes *notes = user;

    (void)link;
    notes->errors++;
    snprintf(notes->what, sizeof notes->what, "%s", what);
    notes->error = error;
}

void link_note_event(struct peal_link *link, const struct peal_event *event,
                     void *user)
{
    struct link_notes *notes = user;

    (void)link;
    copy(notes->name, sizeof notes->name, event->name);
    copy(notes->data, sizeof notes->data, event->data);
    copy(notes->room, sizeof notes->room, event->room);
    notes->kind = event->kind;
    notes->size = event->data.size;
    notes->events++;
}

void link_note_answer(struct peal_link *link, const struct peal_answer *answer,
                      void *user)
{
    struct link_notes *notes = user;

    (void)link;
    notes->answers++;
    notes->status = answer->status;
    notes->failure_code = answer->failure.code;
    copy(notes->data, sizeof notes->data, answer->event.data);
}

struct peal_link_options link_test_options(const char *url,
                                           struct link_notes *notes)
{
    memset(notes, 0, sizeof *notes);
    return (struct peal_link_options){
        .size = sizeof(struct peal_link_options),
        .url = url,
        .reconnect_min_ms = 1,
        .reconnect_first_ms = 10,
        .reconnect_max_ms = 50,
        .on_state = on_state,
        .on_queued = on_queued,
        .on_drained = on_drained,
        .on_dropped = on_dropped,
        .on_error = on_error,
        .user = notes,
    };
}

const char *link_url(char *out, const char *address, bool is_tcp)
{
    snprintf(out, 160, "%s://%s", is_tcp ? "tcp" : "ws", address);
    return out;
}
