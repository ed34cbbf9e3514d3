#include "server/deflate.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/slice.h"
#include "proto/ws_codecs.h"

#include <string.h>

/* --- Options ------------------------------------------------------------- */

const char *deflate_resolve(struct peal_deflate_options *out,
                            const struct peal_deflate_options *given)
{
    *out = (struct peal_deflate_options){.size = sizeof *out};
    if (given != NULL) {
        if (given->size != sizeof *given) {
            return "deflate.size";
        }
        *out = *given;
    }
    if (out->threshold_bytes == 0) {
        out->threshold_bytes = 1024;
    }
    if (out->level == 0) {
        out->level = 1;
    }
    /* A window of one's own costs memory for each client; a shared one does
     * not. */
    if (out->window_bits == 0) {
        out->window_bits = out->context_takeover ? 12 : 15;
    }
    if (out->memory_level == 0) {
        out->memory_level = out->context_takeover ? 5 : 8;
    }
    if (out->level < 1 || out->level > 9) {
        return "deflate.level";
    }
    if (out->window_bits < WS_DEFLATE_BITS_MIN ||
        out->window_bits > WS_DEFLATE_BITS_MAX) {
        return "deflate.window_bits";
    }
    if (out->memory_level < 1 || out->memory_level > 9) {
        return "deflate.memory_level";
    }
    return NULL;
}

/* --- The handshake ------------------------------------------------------- */

int deflate_agree(struct conn *conn, const struct http_request *request,
                  enum peal_deflate route, char *line)
{
    const struct peal_deflate_options *options =
        &conn_seat(conn)->server->deflate;
    struct ws_deflate_wish wish = {
        .bits = options->window_bits,
        .takeover = options->context_takeover,
    };
    struct ws_deflate_terms terms;
    int rc;

    line[0] = '\0';
    conn->is_deflated = false;
    if (!conn_dialect(conn)->may_be_compressed || route == PEAL_DEFLATE_OFF ||
        (route == PEAL_DEFLATE_DEFAULT && !options->enabled)) {
        return 0;
    }
    rc = ws_deflate_agree(&terms, line, request, &wish);
    if (rc < 0) {
        return 400;
    }
    if (rc == 0) {
        return 0;
    }
    conn->is_deflated = true;
    conn->takes_over_out = terms.server_takeover;
    conn->takes_over_in = terms.client_takeover;
    conn->window_out = (unsigned)terms.server_bits & 15u;
    conn->window_in = (unsigned)terms.client_bits & 15u;
    conn_set_deflate(conn, !terms.server_takeover &&
                               terms.server_bits == options->window_bits);
    return 0;
}

/* --- Codecs -------------------------------------------------------------- */

static struct ws_codecs *codecs_of(struct seat *seat)
{
    if (seat->deflate == NULL) {
        seat->deflate = ws_codecs_new();
    }
    return seat->deflate;
}

/* What a direction with takeover has of its own. False without memory. */
static bool set_own(struct conn *conn, bool takes_over,
                    struct ws_codecs_own **own)
{
    *own = NULL;
    if (!takes_over) {
        return true;
    }
    if (!conn->has_own_deflate) {
        struct ws_codecs_own *fresh = mem_zalloc(sizeof *fresh);

        if (fresh == NULL) {
            return false;
        }
        ASSERT(conn_is_open(conn));
        conn->of.deflate = fresh;
        conn->has_own_deflate = true;
    }
    *own = conn->of.deflate;
    return true;
}

static void count_memory(struct seat *seat, size_t before)
{
    seat_add(seat, GAUGE_DEFLATE_STATE_BYTES,
             (uint64_t)seat->deflate->memory - (uint64_t)before);
}

void deflate_leave(struct conn *conn)
{
    if (conn->has_own_deflate) {
        struct seat *seat = conn_seat(conn);
        size_t before = seat->deflate->memory;

        ws_codecs_drop(seat->deflate, conn->of.deflate);
        count_memory(seat, before);
        mem_free(conn->of.deflate);
        conn->of.deflate = NULL;
        conn->has_own_deflate = false;
    }
}

void deflate_close(struct seat *seat)
{
    if (seat->deflate != NULL) {
        seat_add(seat, GAUGE_DEFLATE_STATE_BYTES,
                 0 - (uint64_t)seat->deflate->memory);
        ws_codecs_free(seat->deflate);
        seat->deflate = NULL;
    }
}

/* --- Messages ------------------------------------------------------------ */

/* A message on its way through the codecs. */
struct packing {
    struct conn *conn;
    struct ws_codecs *codecs;
    struct ws_codecs_own *own;
    size_t size;
};

/* Where to lay a message of this size; NULL: it is sent as it is. */
static char *pack_begin(struct packing *packing, struct conn *conn, size_t size)
{
    struct seat *seat = conn_seat(conn);

    *packing = (struct packing){.conn = conn, .size = size};
    if (size < seat->server->deflate.threshold_bytes) {
        return NULL;
    }
    packing->codecs = codecs_of(seat);
    if (packing->codecs == NULL ||
        !set_own(conn, conn->takes_over_out, &packing->own)) {
        return NULL;
    }
    return ws_codecs_reserve(packing->codecs, size);
}

/* Compresses what has been laid there. */
static bool pack_end(const struct packing *packing, struct peal_slice *packed)
{
    struct seat *seat = conn_seat(packing->conn);
    const struct peal_deflate_options *options = &seat->server->deflate;
    const struct ws_deflater_options wanted = {
        .bits = packing->conn->window_out,
        .level = options->level,
        .memory_level = options->memory_level,
    };
    size_t before = packing->codecs->memory;
    uint64_t began_ns = clock_monotonic_ns();
    bool is_packed = ws_codecs_pack(packing->codecs, packing->own, &wanted,
                                    packing->size, packed);

    seat_add(seat, COUNT_DEFLATE_NS, clock_monotonic_ns() - began_ns);
    count_memory(seat, before);
    if (is_packed) {
        seat_count(seat, COUNT_DEFLATED_MESSAGES);
        seat_add(seat, COUNT_DEFLATED_BYTES, packing->size);
        seat_add(seat, COUNT_DEFLATED_WIRE_BYTES, packed->size);
    }
    return is_packed;
}

bool deflate_pack(struct conn *conn, const struct wire_plan *plan,
                  const struct wire *wire, struct peal_slice *packed)
{
    struct packing packing;
    char *plain = pack_begin(&packing, conn, plan->size);

    if (plain == NULL) {
        return false;
    }
    conn_dialect(conn)->write(plain, plan, wire, TRANSPORT_WS);
    return pack_end(&packing, packed);
}

bool deflate_pack_payload(struct conn *conn, struct peal_slice payload,
                          struct peal_slice *packed)
{
    struct packing packing;
    char *plain = pack_begin(&packing, conn, payload.size);

    if (plain == NULL) {
        return false;
    }
    memcpy(plain, payload.data, payload.size);
    return pack_end(&packing, packed);
}

int deflate_unpack(struct conn *conn, struct ws_item *item,
                   const char **problem)
{
    struct seat *seat = conn_seat(conn);
    struct ws_codecs *codecs = codecs_of(seat);
    const struct ws_inflate_limits limits = {
        .message_bytes_max = seat->config->options.message_bytes_max,
        .is_text = item->kind == WS_TEXT,
        .takeover = conn->takes_over_in,
    };
    struct peal_slice message = slice_make(item->data, item->size);
    struct ws_codecs_own *own;
    uint64_t began_ns;
    size_t before;
    int rc;

    if (codecs == NULL || !set_own(conn, conn->takes_over_in, &own)) {
        *problem = "out of memory";
        return -WS_CLOSE_INTERNAL;
    }
    before = codecs->memory;
    began_ns = clock_monotonic_ns();
    rc = ws_codecs_unpack(codecs, own, conn->window_in, &limits, &message,
                          problem);
    seat_add(seat, COUNT_INFLATE_NS, clock_monotonic_ns() - began_ns);
    count_memory(seat, before);
    seat_count(seat, COUNT_INFLATED_MESSAGES);
    seat_add(seat, COUNT_INFLATED_WIRE_BYTES, item->size);
    seat_add(seat, COUNT_INFLATED_BYTES, message.size);
    item->data = (char *)message.data;
    item->size = message.size;
    return rc;
}

void deflate_release(struct seat *seat)
{
    if (seat->deflate != NULL) {
        ws_codecs_release(seat->deflate);
    }
}
