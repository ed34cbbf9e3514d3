/* permessage-deflate (RFC 7692) of a link's connection. */
#include "client/link.h"

#include "base/mem.h"
#include "base/slice.h"
#include "proto/ws_codecs.h"

/* Fast, and, for a window that is kept for one link, small. */
#define LEVEL 1
#define MEMORY_LEVEL 8
#define OWN_MEMORY_LEVEL 5

/* What a connection has agreed on. */
struct link_deflate {
    struct ws_deflate_terms terms;
    struct ws_codecs_own own;
};

static struct ws_deflate_wish wish_of(const struct link_dial *dial)
{
    return (struct ws_deflate_wish){
        .bits = dial->deflate_bits,
        .takeover = dial->deflate_takeover,
    };
}

void link_deflate_offer(struct peal_link *link, char line[WS_DEFLATE_LINE_MAX])
{
    const struct peal_link_options *options = link_options(link);
    struct link_dial *dial = link->dial;
    struct ws_deflate_wish wish;

    line[0] = '\0';
    dial->has_deflate =
        options->deflate && link->settings->dialect->may_be_compressed;
    if (!dial->has_deflate) {
        return;
    }
    dial->deflate_bits = options->deflate_window_bits;
    dial->deflate_takeover = options->deflate_context_takeover;
    wish = wish_of(dial);
    ws_deflate_offer_write(line, &wish);
}

int link_deflate_check(struct peal_link *link,
                       const struct http_response *response)
{
    const struct ws_deflate_wish wish = wish_of(link->dial);
    struct ws_deflate_terms terms;
    int rc;

    if (!link->dial->has_deflate) {
        return http_header_get(response->headers, response->header_count,
                               "sec-websocket-extensions")
                           .data == NULL
                   ? 0
                   : PEAL_EPROTOCOL;
    }
    rc = ws_deflate_check(&terms, response, &wish);
    if (rc <= 0) {
        return rc;
    }
    if (link->runner->codecs == NULL) {
        link->runner->codecs = ws_codecs_new();
    }
    link->deflate = mem_zalloc(sizeof *link->deflate);
    if (link->deflate == NULL || link->runner->codecs == NULL) {
        link_deflate_end(link);
        return PEAL_ENOMEM;
    }
    link->deflate->terms = terms;
    return 0;
}

void link_deflate_end(struct peal_link *link)
{
    if (link->deflate != NULL) {
        if (link->runner->codecs != NULL) {
            ws_codecs_drop(link->runner->codecs, &link->deflate->own);
        }
        mem_free(link->deflate);
        link->deflate = NULL;
    }
}

bool link_deflate_pack(struct peal_link *link, const struct wire_plan *plan,
                       const struct wire *wire, struct peal_slice *packed)
{
    struct ws_codecs *codecs = link->runner->codecs;
    struct link_deflate *deflate = link->deflate;
    const struct ws_deflater_options options = {
        .bits = deflate->terms.client_bits,
        .level = LEVEL,
        .memory_level =
            deflate->terms.client_takeover ? OWN_MEMORY_LEVEL : MEMORY_LEVEL,
    };
    char *plain;

    /* A window of 8 bits is none of zlib's. */
    if (plan->size < link_options(link)->deflate_threshold_bytes ||
        options.bits < WS_DEFLATE_BITS_MIN) {
        return false;
    }
    plain = ws_codecs_reserve(codecs, plan->size);
    if (plain == NULL) {
        return false;
    }
    link->settings->dialect->write(plain, plan, wire, TRANSPORT_WS);
    if (!ws_codecs_pack(codecs,
                        deflate->terms.client_takeover ? &deflate->own : NULL,
                        &options, plan->size, packed)) {
        return false;
    }
    link_add(&link->counters.deflated, 1);
    link_add(&link->counters.deflated_bytes, plan->size);
    link_add(&link->counters.deflated_wire_bytes, packed->size);
    return true;
}

void link_deflate_forget(struct peal_link *link)
{
    ws_codecs_drop_deflater(link->runner->codecs, &link->deflate->own);
}

int link_deflate_unpack(struct peal_link *link, struct ws_item *item,
                        const char **problem)
{
    struct link_deflate *deflate = link->deflate;
    const struct ws_inflate_limits limits = {
        .message_bytes_max = link_options(link)->message_bytes_max,
        .is_text = item->kind == WS_TEXT,
        .takeover = deflate->terms.server_takeover,
    };
    struct peal_slice message = slice_make(item->data, item->size);
    int rc = ws_codecs_unpack(
        link->runner->codecs,
        deflate->terms.server_takeover ? &deflate->own : NULL,
        deflate->terms.server_bits, &limits, &message, problem);

    link_add(&link->counters.inflated, 1);
    link_add(&link->counters.inflated_wire_bytes, item->size);
    link_add(&link->counters.inflated_bytes, message.size);
    item->data = (char *)message.data;
    item->size = message.size;
    return rc;
}
