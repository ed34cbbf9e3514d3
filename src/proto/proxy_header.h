/*
 * The header with which a proxy tells whom a connection comes from: the PROXY
 * protocol, versions 1 (text) and 2 (binary), of HAProxy's proxy-protocol.txt.
 * Without I/O: the first bytes of a connection in, an address out.
 *
 * Strict: the fields of version 1 are separated by one blank, its line has 107
 * bytes at most and ends with CRLF. What follows the addresses of version 2
 * (TLVs) is read over.
 */
#ifndef PROTO_PROXY_HEADER_H
#define PROTO_PROXY_HEADER_H

#include "peal/peal.h"

/* A whole line of version 1 is never longer, with its CRLF. */
#define PROXY_LINE_MAX 107

/* Where it says that the connection comes from. */
enum proxy_source {
    PROXY_SELF, /* the proxy itself, or from where it does not say */
    PROXY_IPV4,
    PROXY_IPV6,
    PROXY_UNIX
};

struct proxy_header {
    enum proxy_source source;
    uint8_t address[16]; /* IPv4 in the first 4, in network order */
    uint16_t port;
};

/*
 * Reads the header at the beginning of `data`. Returns its size, above 0; 0
 * when it needs more; PEAL_ENOTFOUND when what is there begins with no header;
 * PEAL_ETOOBIG when it has more than `most` bytes by its own account;
 * PEAL_EPROTOCOL when it is malformed, then `*problem` says how in a few words
 * (static storage). A verdict on a part is the verdict on the whole.
 */
long proxy_header_parse(struct proxy_header *header, const char *data,
                        size_t size, size_t most, const char **problem);

/* Whether `data` begins with a header of either version, well formed or not. */
bool proxy_header_begins(const char *data, size_t size);

#endif
