#include "client/link.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"
#include "proto/ws_codecs.h"

#include <stdio.h>

/* Whether the session that a loop reads is still there. */
static bool is_same(const struct peal_link *link, uint32_t generation)
{
    return link->generation == generation && link->stream.fd >= 0;
}

static void refuse(struct peal_link *link, int code, const char *problem)
{
    char payload[WS_CONTROL_MAX];
    uint32_t generation = link->generation;

    if (link_transport(link) == TRANSPORT_WS && link->file == NULL &&
        link->phase != LINK_CLOSING) {
        size_t size = ws_close_write(payload, code, peal_slice(problem));

        link_write_control(link, WS_OPCODE_CLOSE, payload, size);
        if (is_same(link, generation)) {
            stream_flush(&link->stream);
        }
    }
    if (is_same(link, generation)) {
        link_lose(link, &(struct link_loss){
                            .error = PEAL_EPROTOCOL,
                            .code = code,
                            .reason = problem,
                        });
    }
}

static void read_welcome(struct peal_link *link, const struct wire *wire)
{
    const struct wire_welcome *welcome = &wire->welcome;

    if (link->phase != LINK_GREETING) {
        link_add(&link->counters.invalid, 1);
        return;
    }
    link->id =
        mem_copy(welcome->client_id.data != NULL ? welcome->client_id.data : "",
                 welcome->client_id.size);
    link->message_bytes_max = welcome->message_bytes_max;
    link->ping_interval_ms = welcome->ping_interval_ms;
    link->ping_timeout_ms = welcome->ping_timeout_ms;
    link_become_open(link);
}

static void read_complaint(struct peal_link *link, const struct wire *wire)
{
    char what[LINK_REASON_SIZE];
    size_t size = wire->failure.message.size < sizeof what - 1
                      ? wire->failure.message.size
                      : sizeof what - 1;

    if (size > 0) {
        memcpy(what, wire->failure.message.data, size);
    }
    what[size] = '\0';
    link_report(link, PEAL_EREFUSED, what);
}

static void read_message(struct peal_link *link, const struct wire *wire)
{
    if (link->phase == LINK_CLOSING) {
        return;
    }
    if (link->phase != LINK_OPEN) {
        link_add(&link->counters.invalid, 1);
        return;
    }
    link_add(&link->counters.received, 1);
    switch (wire->kind) {
    case WIRE_GAP:
        link_add(&link->counters.gaps, 1);
        link_add(&link->counters.missed, wire->gap.count);
        link_handler_dispatch(link, wire);
        break;
    case WIRE_EVENT:
        link_handler_dispatch(link, wire);
        break;
    case WIRE_FAILURE:
        if (wire->id.size == 0) {
            read_complaint(link, wire);
            break;
        }
        link_request_answer(link, wire);
        break;
    case WIRE_ANSWER:
        link_request_answer(link, wire);
        break;
    default:
        link_request_confirm(link, wire);
        break;
    }
}

static void read_wire(struct peal_link *link, const struct wire *wire)
{
    switch (wire->kind) {
    case WIRE_WELCOME:
        read_welcome(link, wire);
        break;
    case WIRE_PING:
        link_write_pong(link, wire->data.data, wire->data.size);
        break;
    case WIRE_PONG:
        link_hear_pong(link);
        break;
    case WIRE_GOODBYE:
        link_part(link, wire->failure.code, wire->failure.message);
        link->retry_after_ms = wire->failure.retry_after_ms;
        break;
    case WIRE_IGNORED:
        break;
    case WIRE_INVALID:
        link_add(&link->counters.invalid, 1);
        break;
    default:
        read_message(link, wire);
        break;
    }
}

/* --- WebSocket ------------------------------------------------------------ */

/* The server says goodbye: it is answered, and that is all (RFC 6455, 5.5.1).
 */
static void read_close(struct peal_link *link, const struct ws_item *item)
{
    uint32_t generation = link->generation;
    bool is_ours = link->phase == LINK_CLOSING;

    link_part(link, item->code, slice_make(item->data, item->size));
    if (!is_ours && link->file == NULL) {
        char payload[WS_CONTROL_MAX];
        size_t size = ws_close_write(payload, item->code, SLICE(""));

        link_write_control(link, WS_OPCODE_CLOSE, payload, size);
        if (is_same(link, generation)) {
            stream_flush(&link->stream);
        }
    }
    if (is_same(link, generation)) {
        link_lose(link, &(struct link_loss){
                            .error = is_ours ? 0 : PEAL_EGONE,
                            .code = link->goodbye_code,
                            .reason = link->goodbye_reason,
                        });
    }
}

static void read_item(struct peal_link *link, struct ws_item *item)
{
    struct wire wire;

    switch (item->kind) {
    case WS_TEXT:
    case WS_BINARY:
        link->settings->dialect->read_ws(&wire, item->kind == WS_BINARY,
                                         item->data, item->size);
        read_wire(link, &wire);
        break;
    case WS_PING:
        link_write_pong(link, item->data, item->size);
        break;
    case WS_PONG:
        link_hear_pong(link);
        break;
    case WS_CLOSED:
        read_close(link, item);
        break;
    case WS_NOTHING:
        break;
    }
}

static void read_compressed(struct peal_link *link, struct ws_item *item)
{
    struct ws_codecs *codecs = link->runner->codecs;
    const char *problem = "";
    int rc = link_deflate_unpack(link, item, &problem);

    if (rc < 0) {
        refuse(link, -rc, problem);
    } else {
        read_item(link, item);
    }
    ws_codecs_release(codecs);
}

static void read_ws(struct peal_link *link, char *data, size_t size)
{
    uint32_t generation = link->generation;

    while (size > 0 && is_same(link, generation)) {
        const char *problem = "";
        struct ws_limits limits = link->settings->limits;
        struct ws_item item;
        long used;

        limits.may_be_compressed = link->deflate != NULL;
        used = ws_parse(&link->parser, &limits, data, size, &item, &problem);

        if (used < 0) {
            refuse(link, (int)-used, problem);
            return;
        }
        data += used;
        size -= (size_t)used;
        if (item.is_compressed) {
            read_compressed(link, &item);
        } else {
            read_item(link, &item);
        }
        if (link->generation == generation) {
            ws_parser_release(&link->parser);
        }
    }
}

/* --- Frames --------------------------------------------------------------- */

static size_t frame_bytes_max(const struct peal_link *link)
{
    return link_options(link)->message_bytes_max + TCP_HEADER_SIZE +
           TCP_EVENT_MAX;
}

/* Reads whole frames; what it consumed, or -1 when the session has ended. */
static long read_frames(struct peal_link *link, char *data, size_t size)
{
    uint32_t generation = link->generation;
    size_t done = 0;

    while (done < size) {
        struct tcp_frame frame;
        struct wire wire;
        long used = tcp_frame_parse(&frame, data + done, size - done,
                                    frame_bytes_max(link));

        if (used < 0) {
            refuse(link,
                   used == PEAL_ETOOBIG ? WS_CLOSE_TOO_BIG : WS_CLOSE_PROTOCOL,
                   "bad frame");
            return -1;
        }
        if (used == 0) {
            break;
        }
        done += (size_t)used;
        link->settings->dialect->read_tcp(&wire, &frame);
        read_wire(link, &wire);
        if (!is_same(link, generation)) {
            return -1;
        }
    }
    return (long)done;
}

/* --- The bytes of all phases ---------------------------------------------- */

/* TLS begins with our words; who has spoken before them does not speak it. */
static void lose_unsecured(struct peal_link *link)
{
    link_lose(link, &(struct link_loss){
                        .error = PEAL_ETLS,
                        .reason = "the peer does not speak TLS",
                    });
}

/* Consumes what it can; -1 when the connection is gone. */
static long read_bytes(struct peal_link *link, char *data, size_t size)
{
    uint32_t generation = link->generation;

    if (link->phase == LINK_PROXYING || link->phase == LINK_UPGRADING) {
        bool was_upgrading = link->phase == LINK_UPGRADING;
        long used = link_dial_read(link, data, size);

        /* These servers are silent until they have something to say. */
        if (used > 0 && was_upgrading &&
            link->settings->dialect == &dialect_client_stelar) {
            link_become_open(link);
        }
        return is_same(link, generation) ? used : -1;
    }
    if (link->phase == LINK_SECURING) {
        lose_unsecured(link);
        return -1;
    }
    if (link_transport(link) == TRANSPORT_TCP) {
        return read_frames(link, data, size);
    }
    read_ws(link, data, size);
    return is_same(link, generation) ? (long)size : -1;
}

/* The phases read until nothing changes any more. */
static void on_data(struct stream *stream, char *data, size_t size)
{
    struct peal_link *link = CONTAINER_OF(stream, struct peal_link, stream);
    bool is_kept;

    link->heard_at_ms = link_now_ms(link);
    link_add(&link->counters.bytes_in, size);
    if (link->phase == LINK_CONNECTING) {
        /* A server that speaks first is read before the socket is written. */
        if (link->settings->target.is_tls &&
            link->settings->proxy.host == NULL) {
            lose_unsecured(link);
            return;
        }
        link_dial_connected(link);
        if (link->stream.fd < 0) {
            return;
        }
    }
    is_kept = buffer_size(&link->input) > 0;
    if (is_kept) {
        if (buffer_append(&link->input, data, size) < 0) {
            refuse(link, WS_CLOSE_TOO_BIG, "more than can be kept");
            return;
        }
        data = buffer_head(&link->input);
        size = buffer_size(&link->input);
    }
    for (long used = 1; used > 0 && size > 0;) {
        used = read_bytes(link, data, size);
        if (used < 0) {
            return;
        }
        data += used;
        size -= (size_t)used;
    }
    if (is_kept) {
        buffer_consume(&link->input, buffer_size(&link->input) - size);
        if (size == 0) {
            buffer_fini(&link->input);
        }
    } else if (size > 0) {
        buffer_init(&link->input, frame_bytes_max(link) + LOOP_READ_BYTES +
                                      LINK_HEAD_BYTES_MAX);
        if (buffer_append(&link->input, data, size) < 0) {
            refuse(link, WS_CLOSE_INTERNAL, "no memory");
        }
    }
}

static void lose_ended(struct peal_link *link, const char *reason)
{
    struct link_loss loss = {
        .error = PEAL_EGONE,
        .code = WS_CLOSE_ABNORMAL,
        .reason = reason,
    };

    if (link->goodbye_code != 0) {
        loss.code = link->goodbye_code;
        loss.reason = link->goodbye_reason;
    }
    if (link->phase == LINK_CLOSING) {
        loss.error = 0;
    }
    link_lose(link, &loss);
}

static void lose_insecure(struct peal_link *link, const char *problem)
{
    char reason[LINK_REASON_SIZE];

    snprintf(reason, sizeof reason, "TLS: %s", problem);
    link_lose(link,
              &(struct link_loss){
                  .error = PEAL_ETLS,
                  .code = link->phase == LINK_OPEN ? WS_CLOSE_ABNORMAL : 0,
                  .reason = reason,
              });
}

static void on_secured(struct stream *stream)
{
    link_dial_secured(CONTAINER_OF(stream, struct peal_link, stream));
}

static void on_end(struct stream *stream)
{
    struct peal_link *link = CONTAINER_OF(stream, struct peal_link, stream);

    lose_ended(link, "the server has ended the connection");
}

static void on_error(struct stream *stream, int error)
{
    struct peal_link *link = CONTAINER_OF(stream, struct peal_link, stream);

    if (link->phase == LINK_CONNECTING) {
        link_dial_failed(link, error);
    } else if (stream_tls_problem(stream) != NULL &&
               link->phase != LINK_CLOSING) {
        lose_insecure(link, stream_tls_problem(stream));
    } else {
        lose_ended(link, "the connection broke");
    }
}

static void on_drained(struct stream *stream)
{
    struct peal_link *link = CONTAINER_OF(stream, struct peal_link, stream);

    if (link->phase == LINK_CONNECTING) {
        link_dial_connected(link);
    } else {
        link_pump(link);
    }
}

const struct stream_events link_stream_events = {
    .on_data = on_data,
    .on_end = on_end,
    .on_error = on_error,
    .on_drained = on_drained,
    .on_secured = on_secured,
};
