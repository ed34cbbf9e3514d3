#include "client/link.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"

#include <inttypes.h>
#include <stdio.h>

/* --- Our requests --------------------------------------------------------- */

static void timed_out(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    link_request_fail(CONTAINER_OF(timer, struct request, timer),
                      PEAL_ETIMEOUT);
}

static void count_requests(struct peal_link *link)
{
    atomic_store_explicit(&link->counters.requests_pending,
                          link->requests_by_id.count, memory_order_relaxed);
}

struct request *link_request_new(struct peal_link *link, enum request_kind kind,
                                 const char *room, uint32_t timeout_ms,
                                 peal_link_answer_function *on_answer,
                                 void *user)
{
    size_t size = strlen(room);
    struct request *request = mem_zalloc(sizeof *request + size + 1);
    bool is_stelar = link->settings->dialect == &dialect_client_stelar;

    if (request == NULL) {
        return NULL;
    }
    request->owner = link;
    request->kind = kind;
    request->on_answer = on_answer;
    request->user = user;
    memcpy(request->room, room, size);
    request->id_size = (uint32_t)snprintf(
        request->id, sizeof request->id,
        is_stelar ? "\"%" PRIu64 "\"" : "%" PRIu64, ++link->next_id);
    if (map_add(&link->requests_by_id, request) < 0) {
        mem_free(request);
        return NULL;
    }
    list_append(&link->requests, &request->link);
    count_requests(link);
    timer_init(&request->timer, timed_out);
    if (timeout_ms == 0) {
        timeout_ms = link_options(link)->request_timeout_ms;
    }
    timer_start(&link->runner->loop->timers, &request->timer,
                link_now_ms(link) + timeout_ms);
    return request;
}

/* Out of all tables; what is left is the outcome. */
static void detach(struct request *request)
{
    struct peal_link *link = request->owner;

    map_remove(&link->requests_by_id,
               slice_make(request->id, request->id_size));
    list_remove(&request->link);
    timer_stop(&link->runner->loop->timers, &request->timer);
    count_requests(link);
    if (request->parcel != NULL) {
        outbox_remove(&link->outbox, request->parcel);
        outbox_parcel_free(request->parcel);
        request->parcel = NULL;
        link_count_outbox(link);
    }
}

void link_request_discard(struct request *request)
{
    detach(request);
    mem_free(request);
}

static struct link_room *find_room(const struct peal_link *link,
                                   const char *name)
{
    for (struct list *node = link->rooms.next; node != &link->rooms;
         node = node->next) {
        struct link_room *room = CONTAINER_OF(node, struct link_room, link);

        if (strcmp(room->name, name) == 0) {
            return room;
        }
    }
    return NULL;
}

static void free_room(struct link_room *room)
{
    timer_stop(&room->owner->runner->loop->timers, &room->timer);
    list_remove(&room->link);
    mem_free(room);
}

static void forget_room(struct peal_link *link, const char *name)
{
    struct link_room *room = find_room(link, name);

    if (room != NULL) {
        free_room(room);
    }
}

void link_room_clear(struct peal_link *link)
{
    while (!list_is_empty(&link->rooms)) {
        free_room(CONTAINER_OF(link->rooms.next, struct link_room, link));
    }
}

static void plan_join(struct link_room *room)
{
    struct peal_link *link = room->owner;

    timer_start(&link->runner->loop->timers, &room->timer,
                link_now_ms(link) + link_backoff_ms(link, ++room->attempts));
}

/* A join failed. Those that nobody waits for are tried again if it may help. */
static void fail_join(struct peal_link *link, const struct request *request,
                      const struct peal_answer *answer)
{
    struct link_room *room = find_room(link, request->room);
    bool is_refused = answer->status == PEAL_EREFUSED;

    if (room == NULL || link->phase != LINK_OPEN) {
        return; /* left meanwhile, or joined with the next connection */
    }
    if (request->on_answer != NULL) {
        if (is_refused) {
            free_room(room);
        }
        return;
    }
    if (is_refused && !answer->failure.temporary) {
        free_room(room);
        link_report(link, PEAL_EREFUSED, "a room was refused");
        return;
    }
    plan_join(room);
    link_report(link, answer->status, "a room could not be joined yet");
}

void link_request_settle(struct request *request,
                         const struct peal_answer *answer)
{
    struct peal_link *link = request->owner;

    detach(request);
    if (answer->status != 0) {
        link_add(&link->counters.requests_failed, 1);
    }
    if (request->kind == REQUEST_JOIN && answer->status < 0) {
        fail_join(link, request, answer);
    }
    if (request->on_answer != NULL && !link->is_freed) {
        request->on_answer(link, answer, request->user);
    }
    mem_free(request);
}

void link_request_fail(struct request *request, int error)
{
    const struct peal_answer answer = {.status = error};

    link_request_settle(request, &answer);
}

/* A text of the failure, with its zero byte. */
static const char *copy_text(char *out, size_t size, struct peal_slice text)
{
    snprintf(out, size, "%.*s", (int)(text.size < size ? text.size : size),
             text.data != NULL ? text.data : "");
    return out;
}

void link_request_answer(struct peal_link *link, const struct wire *wire)
{
    struct request *request = map_get(&link->requests_by_id, wire->id);
    struct peal_answer answer = {.status = 0};
    char name[128];
    char message[512];

    if (request == NULL || !request->is_written) {
        return; /* late, or not ours */
    }
    if (wire->kind == WIRE_FAILURE) {
        answer.status = PEAL_EREFUSED;
        answer.failure = (struct peal_failure){
            .code = wire->failure.code,
            .name = copy_text(name, sizeof name, wire->failure.name),
            .message =
                copy_text(message, sizeof message, wire->failure.message),
            .temporary = wire->failure.temporary,
        };
    } else {
        answer.event.data = wire->data;
        answer.event.kind = wire->data_kind;
    }
    link_request_settle(request, &answer);
}

void link_request_confirm(struct peal_link *link, const struct wire *wire)
{
    enum request_kind kind =
        wire->kind == WIRE_JOINED ? REQUEST_JOIN : REQUEST_LEAVE;

    for (struct list *node = link->requests.next; node != &link->requests;
         node = node->next) {
        struct request *request = CONTAINER_OF(node, struct request, link);

        if (request->kind == kind && request->is_written &&
            slice_equal(peal_slice(request->room), wire->room)) {
            link_request_fail(request, PEAL_OK);
            return;
        }
    }
}

/*
 * Joins are written again with the next connection, so they need not fail; who
 * wanted to leave is out.
 */
void link_request_lose(struct peal_link *link)
{
    struct list *node = link->requests.next;

    while (node != &link->requests) {
        struct request *request = CONTAINER_OF(node, struct request, link);

        node = node->next;
        if (!request->is_written) {
            continue;
        }
        if (request->kind == REQUEST_JOIN) {
            request->is_written = false;
            continue;
        }
        list_remove(&request->link);
        list_append(&link->doomed, &request->link);
    }
}

void link_request_settle_doomed(struct peal_link *link)
{
    while (!list_is_empty(&link->doomed)) {
        struct request *request =
            CONTAINER_OF(link->doomed.next, struct request, link);

        link_request_fail(request, request->kind == REQUEST_LEAVE ? PEAL_OK
                                                                  : PEAL_EGONE);
    }
}

/* --- Rooms ---------------------------------------------------------------- */

static void write_membership(struct peal_link *link, struct request *request)
{
    struct wire wire;
    int rc;

    wire_begin(&wire, request->kind == REQUEST_JOIN ? WIRE_JOIN : WIRE_LEAVE);
    wire.room = peal_slice(request->room);
    wire.id = slice_make(request->id, request->id_size);
    wire.wants_answer = true;
    rc = link_write(link, &wire);
    if (rc == PEAL_OK) {
        link_add(&link->counters.sent, 1);
        request->is_written = true;
    }
}

static struct request *find_join(struct peal_link *link, const char *room)
{
    for (struct list *node = link->requests.next; node != &link->requests;
         node = node->next) {
        struct request *request = CONTAINER_OF(node, struct request, link);

        if (request->kind == REQUEST_JOIN && !request->is_written &&
            strcmp(request->room, room) == 0) {
            return request;
        }
    }
    return NULL;
}

/* Not while a file is on its way: link_rejoin does it after that. */
static bool can_write_now(const struct peal_link *link)
{
    return link->phase == LINK_OPEN && link->file == NULL;
}

static void join_again(struct timer *timer, uint64_t now_ms)
{
    struct link_room *room = CONTAINER_OF(timer, struct link_room, timer);
    struct peal_link *link = room->owner;
    struct request *request;

    (void)now_ms;
    if (link->phase != LINK_OPEN || find_join(link, room->name) != NULL) {
        return;
    }
    request = link_request_new(link, REQUEST_JOIN, room->name, 0, NULL, NULL);
    if (request == NULL) {
        plan_join(room);
    } else if (can_write_now(link)) {
        write_membership(link, request);
    }
}

static int keep_room(struct peal_link *link, const char *name)
{
    size_t size = strlen(name);
    struct link_room *room = find_room(link, name);

    if (room != NULL) {
        return PEAL_OK;
    }
    room = mem_alloc(sizeof *room + size + 1);
    if (room == NULL) {
        return PEAL_ENOMEM;
    }
    room->owner = link;
    room->attempts = 0;
    timer_init(&room->timer, join_again);
    memcpy(room->name, name, size + 1);
    list_append(&link->rooms, &room->link);
    return PEAL_OK;
}

int link_join(struct peal_link *link, const char *room,
              peal_link_answer_function *on_answer, void *user)
{
    struct request *request;

    if (link->requests_by_id.count >= link_options(link)->requests_max) {
        return PEAL_ELIMIT;
    }
    if (keep_room(link, room) < 0) {
        return PEAL_ENOMEM;
    }
    request = link_request_new(link, REQUEST_JOIN, room, 0, on_answer, user);
    if (request == NULL) {
        return PEAL_ENOMEM;
    }
    if (can_write_now(link)) {
        write_membership(link, request);
    }
    return PEAL_OK;
}

static void left(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    link_request_fail(CONTAINER_OF(timer, struct request, timer), PEAL_OK);
}

int link_leave(struct peal_link *link, const char *room,
               peal_link_answer_function *on_answer, void *user)
{
    struct request *request;

    if (link->requests_by_id.count >= link_options(link)->requests_max) {
        return PEAL_ELIMIT;
    }
    forget_room(link, room);
    request = link_request_new(link, REQUEST_LEAVE, room, 0, on_answer, user);
    if (request == NULL) {
        return PEAL_ENOMEM;
    }
    if (can_write_now(link)) {
        write_membership(link, request);
    } else if (link->phase != LINK_OPEN) {
        /* The outcome must not come before the return: at the next turn. */
        timer_start(&link->runner->loop->timers, &request->timer,
                    link_now_ms(link));
        request->timer.fire = left;
    }
    return PEAL_OK;
}

void link_rejoin(struct peal_link *link)
{
    for (struct list *node = link->rooms.next; node != &link->rooms;
         node = node->next) {
        struct link_room *room = CONTAINER_OF(node, struct link_room, link);

        timer_stop(&link->runner->loop->timers, &room->timer);
        room->attempts = 0;
        if (find_join(link, room->name) == NULL) {
            link_request_new(link, REQUEST_JOIN, room->name, 0, NULL, NULL);
        }
    }
    link_write_memberships(link);
}

void link_write_memberships(struct peal_link *link)
{
    for (struct list *node = link->requests.next; node != &link->requests;
         node = node->next) {
        struct request *request = CONTAINER_OF(node, struct request, link);

        if (request->kind != REQUEST_EVENT && !request->is_written) {
            write_membership(link, request);
        }
    }
}

/* --- The server's requests ------------------------------------------------ */

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
