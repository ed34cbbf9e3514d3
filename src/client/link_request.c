/* What is asked of the server, and its one outcome. */
#include "client/link.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"

#include <inttypes.h>
#include <stdio.h>

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

void link_request_settle(struct request *request,
                         const struct peal_answer *answer)
{
    struct peal_link *link = request->owner;

    detach(request);
    if (answer->status != 0) {
        link_add(&link->counters.requests_failed, 1);
    }
    if (request->kind == REQUEST_JOIN && answer->status < 0) {
        link_room_fail_join(link, request, answer);
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
