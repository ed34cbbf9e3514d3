#include "client/address.h"

#include "base/mem.h"
#include "base/slice.h"

#define HOST_MAX 255
#define WS_PORT 80
#define WSS_PORT 443

void address_fini(struct address *address)
{
    mem_free(address->host);
    mem_free(address->authority);
    mem_free(address->target);
    *address = (struct address){0};
}

/* Printable ASCII without blanks: what stands in a request line. */
static bool is_plain(struct peal_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] <= ' ' || text.data[i] > '~') {
            return false;
        }
    }
    return true;
}

static bool read_port(struct peal_slice text, uint16_t *port)
{
    unsigned value = 0;

    if (text.size == 0 || text.size > 5) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(text.data[i] - '0');
    }
    *port = (uint16_t)value;
    return value > 0 && value <= UINT16_MAX;
}

/* "host", "host:port", "[v6]" or "[v6]:port". Port 0 stands for none. */
static bool split(struct peal_slice text, struct peal_slice *host,
                  uint16_t *port)
{
    const char *end = text.data + text.size;
    const char *colon;

    *port = 0;
    if (text.size > 0 && text.data[0] == '[') {
        const char *bracket = memchr(text.data, ']', text.size);

        if (bracket == NULL) {
            return false;
        }
        *host = slice_make(text.data + 1, (size_t)(bracket - text.data) - 1);
        colon = bracket + 1;
        if (colon < end && *colon != ':') {
            return false;
        }
    } else {
        colon = memchr(text.data, ':', text.size);
        if (colon == NULL) {
            colon = end;
        }
        *host = slice_make(text.data, (size_t)(colon - text.data));
        if (memchr(host->data, '@', host->size) != NULL) {
            return false; /* a user and password: nobody would be sent them */
        }
    }
    if (host->size == 0 || host->size > HOST_MAX) {
        return false;
    }
    return colon == end ||
           read_port(slice_make(colon + 1, (size_t)(end - colon) - 1), port);
}

/* Copies the three texts. `port_text` is added to an authority without. */
static int keep(struct address *address, struct peal_slice host,
                struct peal_slice authority, struct peal_slice target)
{
    address->host = mem_copy(host.data, host.size);
    address->authority = mem_copy(authority.data, authority.size);
    address->target = mem_copy(target.size > 0 ? target.data : "/",
                               target.size > 0 ? target.size : 1);
    if (address->host == NULL || address->authority == NULL ||
        address->target == NULL) {
        address_fini(address);
        return PEAL_ENOMEM;
    }
    return PEAL_OK;
}

static int parse_network(struct address *address, struct peal_slice rest,
                         uint16_t default_port)
{
    struct peal_slice authority = rest;
    struct peal_slice target = {"", 0};
    struct peal_slice host;

    for (size_t i = 0; i < rest.size; i++) {
        if (rest.data[i] == '/' || rest.data[i] == '?') {
            authority.size = i;
            target = slice_make(rest.data + i, rest.size - i);
            break;
        }
    }
    if (!is_plain(rest) || memchr(rest.data, '#', rest.size) != NULL ||
        !split(authority, &host, &address->port) ||
        (target.size > 0 && target.data[0] == '?')) {
        return PEAL_EADDRESS;
    }
    if (address->port == 0) {
        address->port = default_port;
    }
    if (address->port == 0 || (!address->is_ws && target.size > 1)) {
        return PEAL_EADDRESS;
    }
    return keep(address, host, authority, target);
}

/* "/run/p.sock" and, for WebSocket, ":/target" behind it. */
static int parse_local(struct address *address, struct peal_slice rest)
{
    struct peal_slice target = {"", 0};
    const char *colon = memchr(rest.data, ':', rest.size);

    if (address->is_ws && colon != NULL) {
        target =
            slice_make(colon + 1, rest.size - (size_t)(colon + 1 - rest.data));
        rest.size = (size_t)(colon - rest.data);
        if (target.size == 0 || target.data[0] != '/' || !is_plain(target)) {
            return PEAL_EADDRESS;
        }
    }
    /* What fits into struct sockaddr_un. */
    if (rest.size == 0 || rest.size > 107) {
        return PEAL_EADDRESS;
    }
    address->is_local = true;
    return keep(address, rest, SLICE("localhost"), target);
}

int address_parse(struct address *address, const char *url)
{
    static const struct {
        struct peal_slice prefix;
        bool is_ws;
        bool is_local;
        bool is_tls;
        uint16_t port; /* 0: none by default */
    } schemes[] = {
        {{"ws://", 5}, true, false, false, WS_PORT},
        {{"tcp://", 6}, false, false, false, 0},
        {{"unix:", 5}, false, true, false, 0},
        {{"ws+unix:", 8}, true, true, false, 0},
        {{"wss://", 6}, true, false, true, WSS_PORT},
        {{"tls://", 6}, false, false, true, 0},
    };
    struct peal_slice text = peal_slice(url);

    *address = (struct address){0};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        struct peal_slice prefix = schemes[i].prefix;

        if (!slice_has_prefix(text, prefix)) {
            continue;
        }
        text = slice_make(text.data + prefix.size, text.size - prefix.size);
        address->is_ws = schemes[i].is_ws;
        address->is_tls = schemes[i].is_tls;
        return schemes[i].is_local
                   ? parse_local(address, text)
                   : parse_network(address, text, schemes[i].port);
    }
    return PEAL_EADDRESS;
}

int address_parse_proxy(struct address *address, const char *text)
{
    *address = (struct address){0};
    return parse_network(address, peal_slice(text), 0);
}
