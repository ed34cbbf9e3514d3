/* Where a link goes to, as its URL says. */
#ifndef CLIENT_ADDRESS_H
#define CLIENT_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

struct address {
    bool is_ws; /* else frames */
    bool is_tls;
    bool is_local; /* `host` is the path of a unix socket */
    uint16_t port;
    char *host;      /* without the brackets of IPv6 */
    char *authority; /* "host:port", for Host and CONNECT */
    char *target;    /* "/path?query" */
};

/*
 * Reads a URL: ws://, wss://, tcp://, tls://, unix: and ws+unix:. 0;
 * PEAL_EADDRESS when it cannot be read; PEAL_ENOMEM. On failure nothing is left
 * to free.
 */
int address_parse(struct address *address, const char *url);

/* Reads "host:port", as proxies are written. Errors as above. */
int address_parse_proxy(struct address *address, const char *text);

/* Harmless for one that is all zero. */
void address_fini(struct address *address);

#endif
