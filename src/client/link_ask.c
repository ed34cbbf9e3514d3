/* What the server asks, and the one answer it gets. */
#include "client/link.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"

void link_ask_new(struct peal_link *link, const struct wire *wire,
                  struct peal_ask *ask)
{
    struct link_ask *made;

    if (link->ask_count >= link_options(link)->requests_max) {
        return; /* the server's own limit on time will tell it */
    }
    made = mem_alloc(sizeof *made + wire->id.size);
    if (made == NULL) {
        return;
    }
    *made = (struct link_ask){.value = ++link->next_id};
    made->id_size = (uint32_t)wire->id.size;
    memcpy(made->id, wire->id.data, wire->id.size);
    list_append(&link->asks, &made->link);
    link->ask_count++;
    ask->value = made->value;
}

static struct link_ask *find_ask(struct peal_link *link, uint64_t value)
{
    for (struct list *node = link->asks.next; node != &link->asks;
         node = node->next) {
        struct link_ask *ask = CONTAINER_OF(node, struct link_ask, link);

        if (ask->value == value) {
            return ask;
        }
    }
    return NULL;
}

static void free_ask(struct peal_link *link, struct link_ask *ask)
{
    list_remove(&ask->link);
    link->ask_count--;
    outbox_parcel_free(ask->kept);
    mem_free(ask);
}

void link_ask_clear(struct peal_link *link)
{
    while (!list_is_empty(&link->asks)) {
        free_ask(link, CONTAINER_OF(link->asks.next, struct link_ask, link));
    }
}

static bool is_open(const struct peal_link *link, const struct link_ask *ask)
{
    return ask != NULL && ask->kept == NULL && ask->error == 0 &&
           link->phase == LINK_OPEN;
}

static int write_answer(struct peal_link *link, struct peal_slice id,
                        const struct peal_event *event,
                        const struct peal_failure *failure)
{
    struct wire wire;

    wire_begin(&wire, failure != NULL ? WIRE_FAILURE : WIRE_ANSWER);
    wire.id = id;
    if (failure != NULL) {
        wire.failure = (struct wire_failure){
            .code = failure->code,
            .name = peal_slice(failure->name),
            .message = peal_slice(failure->message),
            .temporary = failure->temporary,
        };
    } else if (event != NULL) {
        wire.data = event->data;
        wire.data_kind = event->kind;
    }
    return link_write(link, &wire);
}

/* Whoever asked is told at least that there is no answer. */
static void spoil(struct peal_link *link, struct link_ask *ask, int error)
{
    struct wire wire;

    wire_begin(&wire, WIRE_FAILURE);
    wire.id = slice_make(ask->id, ask->id_size);
    wire.failure =
        wire_failure_of(error == PEAL_ETOOBIG ? WIRE_TOO_LARGE : WIRE_INTERNAL);
    wire.failure.message = error == PEAL_ETOOBIG
                               ? SLICE("The answer is too large")
                               : SLICE("The answer cannot be sent");
    if (link_write(link, &wire) == PEAL_OK) {
        link_add(&link->counters.sent, 1);
    }
    free_ask(link, ask);
}

/* An answer that cannot be written within the frame of a file. */
static int keep_answer(struct link_ask *ask, const struct peal_event *event,
                       const struct peal_failure *failure)
{
    struct peal_event kept = {.kind = PEAL_JSON};

    if (failure != NULL) {
        ask->is_failure = true;
        ask->is_temporary = failure->temporary;
        ask->code = failure->code;
        kept.name = peal_slice(failure->name);
        kept.data = peal_slice(failure->message);
    } else if (event != NULL) {
        kept.data = event->data;
        kept.kind = event->kind;
    }
    ask->kept = outbox_parcel_new(&kept);
    return ask->kept != NULL ? PEAL_OK : PEAL_ENOMEM;
}

void link_ask_write_kept(struct peal_link *link)
{
    struct list *node = link->asks.next;

    while (node != &link->asks) {
        struct link_ask *ask = CONTAINER_OF(node, struct link_ask, link);
        struct peal_slice id = slice_make(ask->id, ask->id_size);

        node = node->next;
        if (ask->kept == NULL) {
            if (ask->error < 0) {
                spoil(link, ask, ask->error);
            }
            continue;
        }
        struct peal_event event = outbox_parcel_event(ask->kept);
        struct wire wire;

        wire_begin(&wire, ask->is_failure ? WIRE_FAILURE : WIRE_ANSWER);
        wire.id = id;
        if (ask->is_failure) {
            wire.failure = (struct wire_failure){
                .name = event.name,
                .message = event.data,
                .code = ask->code,
                .temporary = ask->is_temporary,
            };
        } else {
            wire.data = event.data;
            wire.data_kind = event.kind;
        }
        int rc = link_write(link, &wire);

        if (rc == PEAL_OK) {
            link_add(&link->counters.sent, 1);
            free_ask(link, ask);
        } else {
            spoil(link, ask, rc);
        }
    }
}

int link_ask_answer(struct peal_link *link, uint64_t value,
                    const struct peal_event *event,
                    const struct peal_failure *failure)
{
    struct link_ask *ask = find_ask(link, value);
    int rc;

    if (!is_open(link, ask)) {
        return PEAL_EGONE;
    }
    if (link->file != NULL) {
        return keep_answer(ask, event, failure);
    }
    rc = write_answer(link, slice_make(ask->id, ask->id_size), event, failure);
    if (rc == PEAL_OK) {
        link_add(&link->counters.sent, 1);
        free_ask(link, ask);
    }
    return rc;
}

void link_ask_spoil(struct peal_link *link, uint64_t value, int error)
{
    struct link_ask *ask = find_ask(link, value);

    if (!is_open(link, ask)) {
        return;
    }
    if (link->file != NULL) {
        ask->error = error;
    } else {
        spoil(link, ask, error);
    }
}
