/* A connection is made, gets its namespace and form, and is freed. */
#include "server/conn.h"

#include "base/assert.h"
#include "base/mem.h"
#include "hub/door.h"
#include "server/arrival.h"
#include "server/conn_extra.h"

const struct dialect *const conn_dialects[DIALECT_COUNT] = {
    &dialect_peal,
    &dialect_stelar,
    &dialect_raw,
};

const struct dialect *conn_dialect(const struct conn *conn)
{
    return conn_dialects[conn->form / FORMS_PER_DIALECT];
}

void conn_move(struct conn *conn, const struct peal_server *server)
{
    ASSERT(conn->client == NULL);
    if (conn->space != server->number) {
        seat_uncount(conn_seat(conn), GAUGE_CONNECTIONS);
        conn->space = server->number;
        seat_count(conn_seat(conn), GAUGE_CONNECTIONS);
    }
}

void conn_set_form(struct conn *conn, const struct dialect *dialect,
                   enum transport transport)
{
    for (uint8_t i = 0; i < DIALECT_COUNT; i++) {
        if (conn_dialects[i] == dialect) {
            conn->form =
                (uint8_t)(i * FORMS_PER_DIALECT + (transport == TRANSPORT_TCP));
            return;
        }
    }
    UNREACHABLE();
}

void conn_set_deflate(struct conn *conn, bool is_shared)
{
    ASSERT(conn->form % FORMS_PER_DIALECT == FORM_WS);
    conn->form =
        (uint8_t)(conn->form + (is_shared ? FORM_WS_DEFLATE : FORM_WS_ALONE));
}

/* One connection more (1) or less (-1) on a worker. */
static void count_open(struct worker *worker, int change)
{
    uint64_t value =
        atomic_load_explicit(&worker->open_count, memory_order_relaxed);

    atomic_store_explicit(&worker->open_count, value + (uint64_t)change,
                          memory_order_relaxed);
}

struct conn *conn_new(struct worker *worker, const struct listener *listener,
                      int fd, struct address_count *arrival)
{
    struct conn *conn = mem_zalloc(sizeof *conn);

    if (conn == NULL ||
        stream_open(&conn->stream, worker->loop, fd, &conn_events) < 0) {
        if (arrival != NULL) {
            door_leave(&worker->engine->arrivals, arrival);
        }
        mem_free(conn);
        return NULL;
    }
    arrival_keep(conn, arrival);
    timer_init(&conn->timer, conn_deadline);
    conn->state = CONN_PROXY;
    conn->of.listener = listener;
    conn->active_ms = worker->loop->now_ms;
    conn->space = listener->server->number;
    list_append(&worker->conns, &conn->link);
    seat_count(conn_seat(conn), GAUGE_CONNECTIONS);
    count_open(worker, 1);
    conn_set_form(conn, listener->dialect, listener->transport);
    return conn;
}

void conn_free(struct conn *conn)
{
    ASSERT(conn->state == CONN_CLOSED && conn->client == NULL);
    seat_uncount(conn_seat(conn), GAUGE_CONNECTIONS);
    count_open(conn_worker(conn), -1);
    list_remove(&conn->link);
    conn_input_free(conn);
    ws_parser_fini(&conn->parser);
    conn_extra_free(conn);
    mem_free(conn);
}
