/* Requests that wait for their answer, both ways. */
#include "server/request.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/slice.h"
#include "proto/json.h"
#include "server/conn_extra.h"

#include <stdio.h>
#include <string.h>

/*
 * A number is generation << 32 | slot + 1. That of a request to a client has
 * but 20 bits of the generation, so that it is exact as a JSON number, too
 * (RFC 8259, 6: 2^53). Numbers come again after 2^32 or 2^20 uses of a slot, so
 * they are good for their client only: see request_close, request_answered.
 */
#define AWAITED_GENERATION_MASK 0xfffffu

/* The most a client's id and ack can take: see WIRE_ID_MAX, TCP_EVENT_MAX. */
#define ASKED_BYTES_MAX (WIRE_ID_MAX + TCP_EVENT_MAX)

struct pending {
    struct list link; /* in conn_requests, or alone in no list */
    struct timer timer;
    struct conn *conn; /* NULL: the slot is free */
    uint32_t slot;
    uint32_t generation;
    uint32_t next_free;
    uint64_t began_ns; /* of the turn that read it */
    bool is_awaited; /* ours: a client is to answer */
    union {
        struct {
            uint32_t method; /* of measures.requests */
            uint16_t id_size;
            uint16_t ack_size;
            char bytes[ASKED_BYTES_MAX];
        } asked;
        struct {
            peal_answer_function *on_answer;
            void *user;
        } awaited;
    } of;
};

struct pending_table {
    struct worker *worker;
    struct pending **slots;
    uint32_t count;      /* slots in use or free */
    uint32_t capacity;   /* of `slots` */
    uint32_t first_free; /* slot + 1; 0: none */
};

struct pending_table *request_table_new(struct worker *worker)
{
    struct pending_table *table = mem_zalloc(sizeof *table);

    if (table != NULL) {
        table->worker = worker;
    }
    return table;
}

void request_table_free(struct pending_table *table)
{
    if (table == NULL) {
        return;
    }
    for (uint32_t i = 0; i < table->count; i++) {
        ASSERT(table->slots[i]->conn == NULL);
        mem_free(table->slots[i]);
    }
    mem_free(table->slots);
    mem_free(table);
}

static uint64_t number_of(const struct pending *pending)
{
    uint64_t generation = pending->is_awaited
                              ? pending->generation & AWAITED_GENERATION_MASK
                              : pending->generation;

    return generation << 32 | (pending->slot + 1);
}

static struct pending *find(const struct pending_table *table, uint64_t number)
{
    uint64_t slot = (number & UINT32_MAX) - 1;
    struct pending *pending;

    if (slot >= table->count) {
        return NULL;
    }
    pending = table->slots[slot];
    return pending->conn != NULL && number_of(pending) == number ? pending
                                                                 : NULL;
}

static int grow(struct pending_table *table)
{
    uint32_t capacity = table->capacity == 0 ? 16 : table->capacity * 2;
    struct pending **slots =
        mem_realloc(table->slots, capacity * sizeof(*slots));

    if (slots == NULL) {
        return PEAL_ENOMEM;
    }
    table->slots = slots;
    table->capacity = capacity;
    return 0;
}

static void timed_out(struct timer *timer, uint64_t now_ms);

/* A slot that nobody uses, or NULL. */
static struct pending *take(struct pending_table *table)
{
    struct pending *pending;

    if (table->first_free != 0) {
        pending = table->slots[table->first_free - 1];
        table->first_free = pending->next_free;
        return pending;
    }
    if (table->count == table->capacity && grow(table) < 0) {
        return NULL;
    }
    pending = mem_zalloc(sizeof *pending);
    if (pending == NULL) {
        return NULL;
    }
    list_init(&pending->link);
    timer_init(&pending->timer, timed_out);
    pending->slot = table->count;
    table->slots[table->count++] = pending;
    return pending;
}

/* Ends the waiting: the slot may be used again, with another number. */
static void give_back(struct pending_table *table, struct pending *pending)
{
    struct conn_requests *requests;

    ASSERT(pending->conn != NULL);
    requests = &pending->conn->extra->requests;
    timer_stop(&table->worker->loop->timers, &pending->timer);
    list_remove(&pending->link);
    if (pending->is_awaited) {
        requests->awaited_count--;
    } else {
        requests->asked_count--;
    }
    seat_uncount(conn_seat(pending->conn), GAUGE_REQUESTS);
    pending->conn = NULL;
    pending->generation++;
    pending->next_free = table->first_free;
    table->first_free = pending->slot + 1;
}

/* Takes a slot for this connection and starts its timer. */
static int begin(struct conn *conn, bool is_awaited, uint32_t timeout_ms,
                 struct pending **out)
{
    struct worker *worker = conn_worker(conn);
    struct seat *seat = conn_seat(conn);
    struct conn_extra *extra = conn_extra_of(conn);
    struct conn_requests *requests;
    uint32_t *count;
    struct pending *pending;

    if (extra == NULL) {
        return PEAL_ENOMEM;
    }
    requests = &extra->requests;
    count = is_awaited ? &requests->awaited_count : &requests->asked_count;
    if (*count >= seat->config->options.requests_per_client_max) {
        return PEAL_ELIMIT;
    }
    pending = take(worker->pending);
    if (pending == NULL) {
        return PEAL_ENOMEM;
    }
    (*count)++;
    pending->conn = conn;
    pending->began_ns = worker->loop->turn_began_ns;
    pending->is_awaited = is_awaited;
    list_append(is_awaited ? &requests->awaited : &requests->asked,
                &pending->link);
    if (timeout_ms != PEAL_OFF) {
        timer_start(&worker->loop->timers, &pending->timer,
                    worker->loop->now_ms + timeout_ms);
    }
    seat_count(seat, GAUGE_REQUESTS);
    *out = pending;
    return 0;
}

/* --- Of clients ---------------------------------------------------------- */

int request_open(struct conn *conn, const struct wire *asked, uint32_t method,
                 uint64_t *number)
{
    const struct config *config = conn_seat(conn)->config;
    struct pending *pending;
    int rc =
        begin(conn, false, config->options.request_timeout_ms, &pending);

    if (rc < 0) {
        return rc;
    }
    ASSERT(asked->id.size <= WIRE_ID_MAX && asked->ack.size <= TCP_EVENT_MAX);
    pending->of.asked.method = method;
    pending->of.asked.id_size = (uint16_t)asked->id.size;
    pending->of.asked.ack_size = (uint16_t)asked->ack.size;
    if (asked->id.size > 0) {
        memcpy(pending->of.asked.bytes, asked->id.data, asked->id.size);
    }
    if (asked->ack.size > 0) {
        memcpy(pending->of.asked.bytes + asked->id.size, asked->ack.data,
               asked->ack.size);
    }
    *number = number_of(pending);
    return 0;
}

/* What the answer is tied to. Lives until the slot is used again. */
static struct wire asked_of(const struct pending *pending)
{
    return (struct wire){
        .id = slice_make(pending->of.asked.bytes, pending->of.asked.id_size),
        .ack = slice_make(pending->of.asked.bytes + pending->of.asked.id_size,
                          pending->of.asked.ack_size),
    };
}

int request_close(struct worker *worker, struct peal_client_ref client,
                  uint64_t number, const struct peal_event *event,
                  const struct wire_failure *failure)
{
    struct pending *pending = find(worker->pending, number);
    struct wire asked;
    struct conn *conn;
    int rc;

    if (pending == NULL || pending->is_awaited ||
        client_ref(pending->conn->client).value != client.value) {
        return PEAL_EGONE;
    }
    conn = pending->conn;
    asked = asked_of(pending);
    measure_add(&conn_seat(conn)->measures.requests[pending->of.asked.method],
                clock_monotonic_ns() - pending->began_ns);
    give_back(worker->pending, pending);
    rc = failure == NULL ? dispatch_answer(conn, &asked, event)
                         : dispatch_refuse(conn, &asked, *failure);

    /* Dialects without error answers leave it to the client's own timeout. */
    return rc == PEAL_ENOTSUP ? 0 : rc;
}

/* --- Of the application -------------------------------------------------- */

int request_ask(struct conn *conn, const struct peal_event *event,
                uint32_t timeout_ms, peal_answer_function *on_answer,
                void *user)
{
    const struct config *config = conn_seat(conn)->config;
    struct pending *pending;
    struct wire wire;
    char id[24];
    int rc;

    if (!conn_is_open(conn)) {
        return PEAL_EGONE;
    }
    if (!conn_dialect(conn)->has_requests) {
        return PEAL_ENOTSUP;
    }
    rc = begin(conn, true,
               timeout_ms != 0 ? timeout_ms
                               : config->options.request_timeout_ms,
               &pending);
    if (rc < 0) {
        return rc;
    }
    pending->of.awaited.on_answer = on_answer;
    pending->of.awaited.user = user;
    output_event(&wire, event);
    wire.id = slice_make(id, (size_t)snprintf(id, sizeof id, "%llu",
                                              (unsigned long long)number_of(
                                                  pending)));
    wire.wants_answer = true;
    rc = output_wire(conn, &wire);
    if (rc < 0) {
        give_back(conn_worker(conn)->pending, pending);
    }
    return rc;
}

/* Ends one of ours with an outcome: the callback comes last. */
static void end_awaited(struct worker *worker, struct pending *pending,
                        const struct peal_answer *answer)
{
    peal_answer_function *on_answer = pending->of.awaited.on_answer;
    void *user = pending->of.awaited.user;
    struct peal_client *client;

    ASSERT(pending->conn != NULL);
    client = pending->conn->client;
    give_back(worker->pending, pending);
    on_answer(answer->status == PEAL_EGONE ? NULL : client, answer, user);
}

/* A copy with a zero byte, cut to fit: what the public struct needs. */
static const char *text_of(struct peal_slice text, char *out, size_t size)
{
    size_t used = text.size < size - 1 ? text.size : size - 1;

    if (used > 0) {
        memcpy(out, text.data, used);
    }
    out[used] = '\0';
    return out;
}

bool request_answered(struct conn *conn, const struct wire *wire)
{
    struct worker *worker = conn_worker(conn);
    int64_t number = json_whole(wire->id);
    struct pending *pending =
        number > 0 ? find(worker->pending, (uint64_t)number) : NULL;
    struct peal_answer answer = {.status = 0};
    char name[128];
    char message[512];

    if (pending == NULL || !pending->is_awaited || pending->conn != conn) {
        return false;
    }
    if (wire->kind == WIRE_FAILURE) {
        answer.status = PEAL_EREFUSED;
        answer.failure = (struct peal_failure){
            .code = wire->failure.code,
            .name = text_of(wire->failure.name, name, sizeof name),
            .message = text_of(wire->failure.message, message, sizeof message),
            .temporary = wire->failure.temporary,
        };
    } else {
        answer.event.data = wire->data;
        answer.event.kind = wire->data_kind;
        worker->checked_data = wire->data;
        worker->checked_kind = wire->data_kind;
    }
    end_awaited(worker, pending, &answer);
    worker->checked_data = slice_make(NULL, 0);
    return true;
}

/* --- Ends that nobody asked for ------------------------------------------ */

static void timed_out(struct timer *timer, uint64_t now_ms)
{
    struct pending *pending = CONTAINER_OF(timer, struct pending, timer);
    struct worker *worker = conn_worker(pending->conn);
    struct wire_failure failure = wire_failure_of(WIRE_TIMEOUT);
    struct peal_answer answer = {.status = PEAL_ETIMEOUT};

    (void)now_ms;
    if (pending->is_awaited) {
        end_awaited(worker, pending, &answer);
        return;
    }
    seat_count(conn_seat(pending->conn), COUNT_REQUESTS_TIMED_OUT);
    (void)request_close(worker, client_ref(pending->conn->client),
                        number_of(pending), NULL, &failure);
}

void request_drop_all(struct conn *conn)
{
    struct pending_table *table = conn_worker(conn)->pending;
    struct conn_requests *requests;
    struct peal_answer gone = {.status = PEAL_EGONE};

    if (conn->extra == NULL) {
        return;
    }
    requests = &conn->extra->requests;
    while (!list_is_empty(&requests->asked)) {
        give_back(table, CONTAINER_OF(requests->asked.next, struct pending,
                                      link));
    }
    while (!list_is_empty(&requests->awaited)) {
        end_awaited(conn_worker(conn),
                    CONTAINER_OF(requests->awaited.next, struct pending, link),
                    &gone);
    }
}
