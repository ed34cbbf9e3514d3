/*
 * Who may come in, and from where they come: origins, addresses behind trusted
 * proxies, networks, and how a refusal is told.
 */
#ifndef SERVER_GATE_H
#define SERVER_GATE_H

#include "net/socket.h"
#include "peal/policy.h"
#include "proto/http.h"

/* Addresses whose first `bits` bits are these; IPv4 as ::ffff:a.b.c.d. */
struct network {
    struct socket_key key; /* size 0: unix sockets */
    unsigned bits;
};

/* The name of an option here that makes no sense, or NULL. */
const char *gate_check(const struct peal_server_options *options);

/* 0, or PEAL_EINVAL: no such mode, or nobody is trusted to send headers. */
int gate_check_proxy_protocol(const struct peal_server_options *options,
                              enum peal_proxy_protocol mode);

/* Whether a page of this origin may connect; data NULL: there was none. */
bool gate_allows_origin(const struct peal_server_options *options,
                        struct peal_slice origin);

/*
 * Replaces the address of a trusted proxy by the one that it speaks for: the
 * last in forwarded_header that is not a trusted proxy itself. What cannot be
 * read ends the search at the proxy that said it. Returns whether it was
 * replaced.
 */
bool gate_forwarded(const struct peal_server_options *options,
                    const struct http_request *request,
                    struct socket_address *peer);

/* Whether it is in one of trusted_proxies. */
bool gate_trusts(const struct peal_server_options *options,
                 const struct socket_address *peer);

/* The bytes that clients are counted by: of IPv6 only the network's. */
struct socket_key gate_key(const struct socket_address *peer, unsigned bits);

/* The address of a key as text, without a port; "" for unix sockets. */
const char *gate_key_format(const void *bytes, size_t size,
                            char out[SOCKET_TEXT_SIZE]);

/* Reads "10.0.0.0/8", "2001:db8::/32", "192.0.2.7" or "unix". */
int gate_network_parse(struct network *network, const char *text);

#endif
