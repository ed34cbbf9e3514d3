#include "server/gate.h"

#include "base/ip.h"
#include "base/slice.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

/* Bits of an IPv4 address's place in its IPv6 form. */
#define MAPPED_BITS 96

/* Addresses of one header that are looked at: the last ones count. */
#define HOPS_MAX 32

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0,    0,
                                          0, 0, 0, 0, 0xff, 0xff};

/* --- Networks ------------------------------------------------------------- */

static bool is_v4(const struct socket_key *key)
{
    return key->size == 16 && memcmp(key->bytes, mapped_prefix, 12) == 0;
}

/* An address without a port, as text of `size` bytes. */
static bool parse_ip(const char *text, size_t size,
                     struct socket_address *address)
{
    uint8_t ip[IP_V6_SIZE];
    size_t ip_size = ip_parse(ip, slice_make(text, size));

    if (ip_size > 0) {
        socket_address_set_ip(address, ip, ip_size, 0);
    }
    return ip_size > 0;
}

/* A decimal number without sign or blanks, at most `max`. */
static bool parse_number(const char *text, size_t size, unsigned max,
                         unsigned *out)
{
    *out = 0;
    if (size == 0 || size > 5) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        *out = *out * 10 + (unsigned)(text[i] - '0');
    }
    return *out <= max;
}

int gate_network_parse(struct network *network, const char *text)
{
    size_t size = strcspn(text, "/");
    struct socket_address address;
    unsigned most;

    *network = (struct network){.bits = 0};
    if (strcmp(text, "unix") == 0) {
        return 0;
    }
    if (!parse_ip(text, size, &address)) {
        return PEAL_EADDRESS;
    }
    network->key = socket_address_key(&address);
    most = address.of.any.sa_family == AF_INET ? 32 : 128;
    network->bits = most;
    if (text[size] == '/' &&
        !parse_number(text + size + 1, strlen(text + size + 1), most,
                      &network->bits)) {
        return PEAL_EADDRESS;
    }
    network->bits += most == 32 ? MAPPED_BITS : 0;
    return 0;
}

/* Whether the first `bits` bits are the same. */
static bool has_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned rest = bits % 8;

    return memcmp(a, b, bits / 8) == 0 &&
           (rest == 0 || (a[bits / 8] ^ b[bits / 8]) >> (8 - rest) == 0);
}

bool gate_trusts(const struct peal_server_options *options,
                 const struct socket_address *peer)
{
    struct socket_key key = socket_address_key(peer);

    for (const char *const *text = options->trusted_proxies;
         text != NULL && *text != NULL; text++) {
        struct network network;

        if (gate_network_parse(&network, *text) == 0 &&
            key.size == network.key.size &&
            has_prefix(key.bytes, network.key.bytes, network.bits)) {
            return true;
        }
    }
    return false;
}

struct socket_key gate_key(const struct socket_address *peer, unsigned bits)
{
    struct socket_key key = socket_address_key(peer);

    if (key.size == 16 && !is_v4(&key)) {
        for (unsigned i = bits; i < 128; i++) {
            key.bytes[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
        }
    }
    return key;
}

const char *gate_key_format(const void *bytes, size_t size,
                            char out[SOCKET_TEXT_SIZE])
{
    struct socket_key key = {.size = (uint8_t)size};

    out[0] = '\0';
    if (size == 16) {
        memcpy(key.bytes, bytes, 16);
        if (is_v4(&key)) {
            inet_ntop(AF_INET, key.bytes + 12, out, SOCKET_TEXT_SIZE);
        } else {
            inet_ntop(AF_INET6, key.bytes, out, SOCKET_TEXT_SIZE);
        }
    }
    return out;
}

/* --- Origins -------------------------------------------------------------- */

/* The part behind the scheme, or NULL. */
static const char *host_of(const char *origin)
{
    const char *at = strstr(origin, "://");

    return at != NULL ? at + 3 : NULL;
}

/* "*", "", "null", or scheme://host, whose host may begin with "*.". */
static bool is_pattern(const char *pattern)
{
    const char *host = host_of(pattern);

    if (strcmp(pattern, "*") == 0 || strcmp(pattern, "null") == 0 ||
        pattern[0] == '\0') {
        return true;
    }
    if (host == NULL || host == pattern + 3) {
        return false;
    }
    host += strncmp(host, "*.", 2) == 0 ? 2 : 0;
    return host[0] != '\0' && strpbrk(host, "*/ ") == NULL;
}

/* What stands for "*": one or more labels, and nothing else. */
static bool are_labels(const char *text, size_t size)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_.";

    for (size_t i = 0; i < size; i++) {
        if (strchr(allowed, text[i]) == NULL || text[i] == '\0') {
            return false;
        }
    }
    return size > 0 && text[0] != '.' && text[size - 1] != '.';
}

static bool matches(const char *pattern, struct peal_slice origin)
{
    size_t size = strlen(pattern);
    const char *host = host_of(pattern);
    size_t head;
    size_t tail;

    if (strcmp(pattern, "*") == 0) {
        return true;
    }
    if (host == NULL || strncmp(host, "*.", 2) != 0) {
        /* Scheme and host ignore letter case (RFC 6454, 4). */
        return origin.size == size &&
               (size == 0 || strncasecmp(origin.data, pattern, size) == 0);
    }
    head = (size_t)(host - pattern);
    tail = size - head - 1; /* ".example.com" */
    return origin.size > head + tail &&
           strncasecmp(origin.data, pattern, head) == 0 &&
           strncasecmp(origin.data + origin.size - tail, host + 1, tail) == 0 &&
           are_labels(origin.data + head, origin.size - head - tail);
}

bool gate_allows_origin(const struct peal_server_options *options,
                        struct peal_slice origin)
{
    if (options->origins == NULL) {
        return true;
    }
    for (const char *const *pattern = options->origins; *pattern != NULL;
         pattern++) {
        if (matches(*pattern, origin)) {
            return true;
        }
    }
    return false;
}

/* --- Forwarded addresses -------------------------------------------------- */

/* Takes what comes before the next `separator` outside of quotes. */
static struct peal_slice next_part(struct peal_slice *rest, char separator)
{
    struct peal_slice part = *rest;
    bool is_quoted = false;
    size_t i = 0;

    for (; i < part.size && (is_quoted || part.data[i] != separator); i++) {
        if (part.data[i] == '"') {
            is_quoted = !is_quoted;
        } else if (is_quoted && part.data[i] == '\\') {
            i++;
        }
    }
    if (is_quoted) {
        /* A quote that nothing ends hides no separator: what the sender began
         * does not swallow what the proxy has added. */
        for (i = 0; i < part.size && part.data[i] != separator; i++) {
        }
    }
    i = i < part.size ? i : part.size;
    part.size = i;
    rest->data += i < rest->size ? i + 1 : i;
    rest->size -= i < rest->size ? i + 1 : i;
    return slice_trim(part);
}

/* The value of "for" in one element of Forwarded (RFC 7239, 4 and 6). */
static struct peal_slice forwarded_for(struct peal_slice element)
{
    while (element.size > 0) {
        struct peal_slice pair = next_part(&element, ';');

        if (pair.size >= 4 && strncasecmp(pair.data, "for=", 4) == 0) {
            pair = slice_make(pair.data + 4, pair.size - 4);
            if (pair.size >= 2 && pair.data[0] == '"' &&
                pair.data[pair.size - 1] == '"') {
                pair = slice_make(pair.data + 1, pair.size - 2);
            }
            return pair;
        }
    }
    return slice_make(NULL, 0);
}

/* "192.0.2.7", "192.0.2.7:80", "2001:db8::1", "[2001:db8::1]:80". */
static bool parse_node(struct peal_slice node, struct socket_address *address)
{
    const char *end = node.data + node.size;
    const char *host = node.data;
    const char *stop; /* behind the host */
    unsigned port = 0;

    if (node.size == 0) {
        return false;
    }
    if (*host == '[') {
        host++;
        stop = memchr(host, ']', node.size - 1);
        if (stop == NULL) {
            return false;
        }
    } else {
        stop = memchr(host, ':', node.size);
        /* Two colons: IPv6, which has no port without brackets. */
        if (stop == NULL ||
            memchr(stop + 1, ':', (size_t)(end - stop) - 1) != NULL) {
            stop = end;
        }
    }
    if (!parse_ip(host, (size_t)(stop - host), address)) {
        return false;
    }
    stop += stop < end && *stop == ']' ? 1 : 0;
    if (stop < end &&
        (*stop != ':' ||
         !parse_number(stop + 1, (size_t)(end - stop) - 1, 65535, &port))) {
        return false;
    }
    if (address->of.any.sa_family == AF_INET) {
        address->of.v4.sin_port = htons((in_port_t)port);
    } else {
        address->of.v6.sin6_port = htons((in_port_t)port);
    }
    return true;
}

/* The last HOPS_MAX elements of all lines of the header; returns how many. */
static size_t collect(const struct http_request *request, const char *header,
                      struct peal_slice hops[HOPS_MAX], size_t *first)
{
    size_t count = 0;

    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *line = &request->headers[i];
        struct peal_slice rest = line->value;

        if (line->name.size != strlen(header) ||
            strncasecmp(line->name.data, header, line->name.size) != 0) {
            continue;
        }
        do {
            hops[count++ % HOPS_MAX] = next_part(&rest, ',');
        } while (rest.size > 0);
    }
    *first = count < HOPS_MAX ? 0 : count - HOPS_MAX;
    return count;
}

bool gate_forwarded(const struct peal_server_options *options,
                    const struct http_request *request,
                    struct socket_address *peer)
{
    const char *header = options->forwarded_header;
    bool is_rfc7239 = strcasecmp(header, "Forwarded") == 0;
    struct peal_slice hops[HOPS_MAX];
    bool is_replaced = false;
    size_t first;
    size_t count;

    if (options->trusted_proxies == NULL || !gate_trusts(options, peer)) {
        return false;
    }
    count = collect(request, header, hops, &first);
    while (count-- > first && gate_trusts(options, peer)) {
        struct peal_slice hop = hops[count % HOPS_MAX];
        struct socket_address address;

        if (!parse_node(is_rfc7239 ? forwarded_for(hop) : hop, &address)) {
            break;
        }
        *peer = address;
        is_replaced = true;
    }
    return is_replaced;
}

/* --- Options -------------------------------------------------------------- */

int gate_check_proxy_protocol(const struct peal_server_options *options,
                              enum peal_proxy_protocol mode)
{
    bool is_on = mode == PEAL_PROXY_OPTIONAL || mode == PEAL_PROXY_REQUIRED;

    return (int)mode < PEAL_PROXY_DEFAULT || mode > PEAL_PROXY_REQUIRED ||
                   (is_on && options->trusted_proxies == NULL)
               ? PEAL_EINVAL
               : 0;
}

const char *gate_check(const struct peal_server_options *options)
{
    const char *const *at;
    struct network network;

    for (at = options->origins; at != NULL && *at != NULL; at++) {
        if (!is_pattern(*at)) {
            return "origins";
        }
    }
    for (at = options->trusted_proxies; at != NULL && *at != NULL; at++) {
        if (gate_network_parse(&network, *at) < 0) {
            return "trusted_proxies";
        }
    }
    if (strcasecmp(options->forwarded_header, "X-Forwarded-For") != 0 &&
        strcasecmp(options->forwarded_header, "Forwarded") != 0) {
        return "forwarded_header";
    }
    if (gate_check_proxy_protocol(options, options->proxy_protocol) < 0) {
        return "proxy_protocol";
    }
    if (options->ipv6_prefix_bits > 128) {
        return "ipv6_prefix_bits";
    }
    return options->refuse_by > PEAL_REFUSE_BY_HANGUP ? "refuse_by" : NULL;
}
