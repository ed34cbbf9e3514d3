#include "server/deflate.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/slice.h"
#include "proto/ws_deflate.h"

#include <string.h>

/* Buffers larger than this are given back when the message is done with. */
#define KEPT_BYTES (64 * 1024)

/* Frames beyond this do not fit a tape. */
#define PACKED_BYTES_MAX (1024u * 1024u * 1024u)

#define DEFLATERS (WS_DEFLATE_BITS_MAX - WS_DEFLATE_BITS_MIN + 1)

/* What a seat has for all its connections; made at first need. */
struct deflate_shared {
    struct ws_deflater *deflaters[DEFLATERS]; /* by window bits */
    struct ws_inflater *inflater;             /* of the largest window */
    struct buffer plain;                      /* to be compressed */
    struct buffer packed;
    struct buffer inflated;
};

/* What a connection with context takeover has of its own. */
struct deflate_own {
    struct ws_deflater *deflater; /* NULL: not needed yet */
    struct ws_inflater *inflater; /* the same */
};

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

static void count_memory(struct seat *seat, size_t before, size_t after)
{
    seat_add(seat, GAUGE_DEFLATE_STATE_BYTES,
             (uint64_t)after - (uint64_t)before);
}

static struct deflate_shared *shared_of(struct seat *seat)
{
    struct deflate_shared *shared = seat->deflate;

    if (shared == NULL) {
        shared = mem_zalloc(sizeof *shared);
        if (shared == NULL) {
            return NULL;
        }
        buffer_init(&shared->plain, PACKED_BYTES_MAX);
        buffer_init(&shared->packed, PACKED_BYTES_MAX);
        buffer_init(&shared->inflated, PACKED_BYTES_MAX);
        seat->deflate = shared;
    }
    return shared;
}

static struct deflate_own *own_of(struct conn *conn)
{
    if (!conn->has_own_deflate) {
        struct deflate_own *own = mem_zalloc(sizeof *own);

        if (own == NULL) {
            return NULL;
        }
        ASSERT(conn_is_open(conn));
        conn->of.deflate = own;
        conn->has_own_deflate = true;
    }
    return conn->of.deflate;
}

/* The deflater for what this connection is sent, or NULL: no memory. */
static struct ws_deflater *deflater_of(struct conn *conn,
                                       struct deflate_shared *shared)
{
    struct seat *seat = conn_seat(conn);
    const struct peal_deflate_options *options = &seat->server->deflate;
    struct ws_deflater_options wanted = {
        .bits = conn->window_out,
        .level = options->level,
        .memory_level = options->memory_level,
    };
    struct ws_deflater **place =
        &shared->deflaters[conn->window_out - WS_DEFLATE_BITS_MIN];

    if (conn->takes_over_out) {
        struct deflate_own *own = own_of(conn);

        if (own == NULL) {
            return NULL;
        }
        place = &own->deflater;
    }
    if (*place == NULL) {
        if (ws_deflater_new(place, &wanted) < 0) {
            return NULL;
        }
        count_memory(seat, 0, ws_deflater_memory(*place));
    }
    return *place;
}

static struct ws_inflater *inflater_of(struct conn *conn,
                                       struct deflate_shared *shared)
{
    struct seat *seat = conn_seat(conn);
    struct ws_inflater **place = &shared->inflater;
    int bits = WS_DEFLATE_BITS_MAX;

    if (conn->takes_over_in) {
        struct deflate_own *own = own_of(conn);

        if (own == NULL) {
            return NULL;
        }
        place = &own->inflater;
        bits = conn->window_in;
    }
    if (*place == NULL) {
        if (ws_inflater_new(place, bits) < 0) {
            return NULL;
        }
        count_memory(seat, 0, ws_inflater_memory(*place));
    }
    return *place;
}

static void free_codecs(struct seat *seat, struct ws_deflater *deflater,
                        struct ws_inflater *inflater)
{
    if (deflater != NULL) {
        count_memory(seat, ws_deflater_memory(deflater), 0);
        ws_deflater_free(deflater);
    }
    if (inflater != NULL) {
        count_memory(seat, ws_inflater_memory(inflater), 0);
        ws_inflater_free(inflater);
    }
}

void deflate_leave(struct conn *conn)
{
    if (conn->has_own_deflate) {
        free_codecs(conn_seat(conn), conn->of.deflate->deflater,
                    conn->of.deflate->inflater);
        mem_free(conn->of.deflate);
        conn->of.deflate = NULL;
        conn->has_own_deflate = false;
    }
}

void deflate_close(struct seat *seat)
{
    struct deflate_shared *shared = seat->deflate;

    if (shared == NULL) {
        return;
    }
    for (size_t i = 0; i < DEFLATERS; i++) {
        free_codecs(seat, shared->deflaters[i], NULL);
    }
    free_codecs(seat, NULL, shared->inflater);
    buffer_fini(&shared->plain);
    buffer_fini(&shared->packed);
    buffer_fini(&shared->inflated);
    mem_free(shared);
    seat->deflate = NULL;
}

/* --- Messages ------------------------------------------------------------ */

/* Empties a buffer, and gives back what a large message took. */
static void release(struct buffer *buffer)
{
    if (buffer->capacity > KEPT_BYTES) {
        buffer_fini(buffer);
    } else {
        buffer_clear(buffer);
    }
}

bool deflate_pack(struct conn *conn, const struct wire_plan *plan,
                  const struct wire *wire, struct peal_slice *packed)
{
    struct seat *seat = conn_seat(conn);
    struct deflate_shared *shared;
    struct ws_deflater *deflater;
    uint64_t began_ns;
    int rc;

    if (plan->size < seat->server->deflate.threshold_bytes) {
        return false;
    }
    shared = shared_of(seat);
    deflater = shared != NULL ? deflater_of(conn, shared) : NULL;
    if (deflater == NULL) {
        return false;
    }
    release(&shared->packed);
    if (buffer_reserve(&shared->plain, plan->size) < 0) {
        return false;
    }
    conn_dialect(conn)->write(buffer_head(&shared->plain), plan, wire,
                              TRANSPORT_WS);
    began_ns = clock_monotonic_ns();
    rc = ws_deflater_run(deflater,
                         slice_make(buffer_head(&shared->plain), plan->size),
                         conn->takes_over_out, &shared->packed);
    seat_add(seat, COUNT_DEFLATE_NS, clock_monotonic_ns() - began_ns);
    release(&shared->plain);
    /* With takeover the window has taken the message in, so that the peer's
     * must, too, whatever its size. */
    if (rc < 0 ||
        (!conn->takes_over_out && buffer_size(&shared->packed) >= plan->size)) {
        return false;
    }
    *packed =
        slice_make(buffer_head(&shared->packed), buffer_size(&shared->packed));
    seat_count(seat, COUNT_DEFLATED_MESSAGES);
    seat_add(seat, COUNT_DEFLATED_BYTES, plan->size);
    seat_add(seat, COUNT_DEFLATED_WIRE_BYTES, packed->size);
    return true;
}

/* The limit may have changed. One more tells what is too big from what fits. */
static void set_inflated_max(struct deflate_shared *shared, size_t max)
{
    if (shared->inflated.capacity > max) {
        buffer_fini(&shared->inflated);
    }
    shared->inflated.max = max + 1;
}

int deflate_unpack(struct conn *conn, struct ws_item *item,
                   const char **problem)
{
    struct seat *seat = conn_seat(conn);
    struct deflate_shared *shared = shared_of(seat);
    struct ws_inflater *inflater =
        shared != NULL ? inflater_of(conn, shared) : NULL;
    struct ws_inflate_limits limits = {
        .message_bytes_max = seat->config->options.message_bytes_max,
        .is_text = item->kind == WS_TEXT,
        .takeover = conn->takes_over_in,
    };
    uint64_t began_ns;
    size_t memory;
    int rc;

    if (inflater == NULL) {
        *problem = "out of memory";
        return -WS_CLOSE_INTERNAL;
    }
    set_inflated_max(shared, limits.message_bytes_max);
    memory = ws_inflater_memory(inflater);
    began_ns = clock_monotonic_ns();
    rc = ws_inflater_run(inflater, slice_make(item->data, item->size), &limits,
                         &shared->inflated, problem);
    seat_add(seat, COUNT_INFLATE_NS, clock_monotonic_ns() - began_ns);
    count_memory(seat, memory, ws_inflater_memory(inflater));
    seat_count(seat, COUNT_INFLATED_MESSAGES);
    seat_add(seat, COUNT_INFLATED_WIRE_BYTES, item->size);
    seat_add(seat, COUNT_INFLATED_BYTES, buffer_size(&shared->inflated));
    item->data = buffer_head(&shared->inflated);
    item->size = buffer_size(&shared->inflated);
    return rc;
}

void deflate_release(struct seat *seat)
{
    if (seat->deflate != NULL) {
        release(&seat->deflate->inflated);
    }
}
