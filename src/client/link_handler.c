#include "client/link.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"

static struct handler *handler_of(struct list *node)
{
    return CONTAINER_OF(node, struct handler, link);
}

/* Frees what was removed, unless someone steps through the list. */
static void sweep(struct peal_link *link)
{
    struct list *node = link->handlers.next;

    if (link->dispatching > 0) {
        return;
    }
    while (node != &link->handlers) {
        struct handler *handler = handler_of(node);

        node = node->next;
        if (handler->is_removed) {
            list_remove(&handler->link);
            mem_free(handler);
        }
    }
}

int link_handler_add(struct peal_link *link, enum handler_kind kind,
                     const char *name, bool is_once,
                     peal_link_event_function *on_event,
                     peal_link_ask_function *on_ask, void *user)
{
    size_t size = strlen(name);
    struct handler *handler = mem_alloc(sizeof *handler + size + 1);

    if (handler == NULL) {
        return PEAL_ENOMEM;
    }
    if (kind == HANDLER_REQUEST) {
        link_handler_remove(link, kind, name, NULL, NULL);
    }
    *handler = (struct handler){
        .kind = kind,
        .is_once = is_once,
        .on_event = on_event,
        .on_ask = on_ask,
        .user = user,
    };
    memcpy(handler->name, name, size + 1);
    list_append(&link->handlers, &handler->link);
    return PEAL_OK;
}

void link_handler_remove(struct peal_link *link, enum handler_kind kind,
                         const char *name, peal_link_event_function *on_event,
                         void *user)
{
    for (struct list *node = link->handlers.next; node != &link->handlers;
         node = node->next) {
        struct handler *handler = handler_of(node);

        if (handler->kind == kind && strcmp(handler->name, name) == 0 &&
            (on_event == NULL ||
             (handler->on_event == on_event && handler->user == user))) {
            handler->is_removed = true;
        }
    }
    sweep(link);
}

void link_handler_clear(struct peal_link *link)
{
    while (!list_is_empty(&link->handlers)) {
        struct handler *handler = handler_of(link->handlers.next);

        list_remove(&handler->link);
        mem_free(handler);
    }
}

static struct handler *find(struct peal_link *link, enum handler_kind kind,
                            struct peal_slice name)
{
    for (struct list *node = link->handlers.next; node != &link->handlers;
         node = node->next) {
        struct handler *handler = handler_of(node);

        if (handler->kind == kind && !handler->is_removed &&
            slice_equal(peal_slice(handler->name), name)) {
            return handler;
        }
    }
    return NULL;
}

/*
 * Calls all of a kind. Those that a handler adds come behind the last one of
 * now, and are not called for this event.
 */
static bool call(struct peal_link *link, enum handler_kind kind,
                 const struct peal_event *event)
{
    struct list *last = link->handlers.previous;
    struct list *node = &link->handlers;
    bool was_called = false;

    if (list_is_empty(&link->handlers)) {
        return false;
    }
    do {
        node = node->next;
        struct handler *handler = handler_of(node);

        if (link->is_freed) {
            break;
        }
        if (handler->kind != kind || handler->is_removed ||
            (kind == HANDLER_EVENT &&
             !slice_equal(peal_slice(handler->name), event->name))) {
            continue;
        }
        handler->is_removed = handler->is_once;
        was_called = true;
        handler->on_event(link, event, handler->user);
    } while (node != last);
    return was_called;
}

/* A request without a handler of its own. */
static void answer_plainly(struct peal_link *link, struct peal_ask ask,
                           bool was_handled)
{
    static const struct peal_failure unknown = {
        WIRE_UNKNOWN_EVENT, "unknown_event", "Nobody here handles this event",
        false};

    link_ask_answer(link, ask.value, NULL, was_handled ? NULL : &unknown);
}

void link_handler_dispatch(struct peal_link *link, const struct wire *wire)
{
    struct peal_event event = {
        .name = wire->name,
        .data = wire->data,
        .room = wire->room,
        .kind = wire->data_kind,
    };
    const struct peal_link_options *options = link_options(link);
    struct peal_ask ask = {link, 0};
    bool was_handled = false;

    link->dispatching++;
    if (wire->wants_answer) {
        link_ask_new(link, wire, &ask);
    }
    if (options->on_message != NULL) {
        options->on_message(link, &event, options->user);
    }
    if (!link->is_freed && ask.value != 0) {
        struct handler *handler = find(link, HANDLER_REQUEST, event.name);

        if (handler != NULL) {
            handler->on_ask(link, &event, ask, handler->user);
            ask.value = 0;
        }
    }
    if (!link->is_freed) {
        was_handled = call(link, HANDLER_EVENT, &event);
    }
    if (!link->is_freed) {
        was_handled = call(link, HANDLER_ANY, &event) || was_handled;
    }
    if (!link->is_freed && ask.value != 0) {
        answer_plainly(link, ask, was_handled);
    }
    link->dispatching--;
    sweep(link);
}
