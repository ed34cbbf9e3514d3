/*
 * Addresses and sockets. Addresses are written as users write them:
 *
 *     127.0.0.1:8080   [::1]:8080   localhost:8080   *:8080   unix:/run/p.sock
 *
 * "*" is every IPv6 and IPv4 address of the machine. Port 0 lets the system
 * choose. All sockets made here are non-blocking and close on exec.
 */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include "peal/peal.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

struct socket_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } of;
    socklen_t size;
    bool is_wildcard; /* "*": listens for IPv4 as well as IPv6 */
};

#define SOCKET_TEXT_SIZE 128 /* of an address as text, zero byte included */

/*
 * Reads an address; host names are resolved (that may block: at start only), to
 * an IPv4 address if there is one. PEAL_EADDRESS when it cannot be read or
 * resolved.
 */
int socket_address_parse(struct socket_address *address, const char *text);

/*
 * As users write it; a peer on a unix socket is "unix:", and one that came by
 * IPv4 to a socket for both is written as IPv4. Returns `out`.
 */
char *socket_address_format(const struct socket_address *address,
                            char out[SOCKET_TEXT_SIZE]);

/* The port, or 0 for unix sockets. */
int socket_address_port(const struct socket_address *address);

/*
 * Bytes that stand for the peer when clients are counted by address: 16 for
 * IP (IPv4 as ::ffff:a.b.c.d), none for unix sockets.
 */
struct socket_key {
    uint8_t bytes[16];
    uint8_t size;
};

/* See struct socket_key. */
struct socket_key socket_address_key(const struct socket_address *address);

/*
 * Opens `count` listening sockets on one address, one for each loop, into
 * fds[]. With port 0 all get the same port; `address` is updated to what was
 * bound.
 *
 * IP: SO_REUSEPORT spreads connections over the sockets, but a port that
 * another process listens on is PEAL_EADDRINUSE all the same. unix: one socket,
 * whose descriptor is duplicated; a stale socket file is replaced, one that
 * answers is PEAL_EADDRINUSE. PEAL_EACCESS, PEAL_EADDRESS (not an address of
 * this machine), PEAL_ENOMEM, PEAL_ESYSTEM otherwise; then nothing is open, and
 * errno tells more. Sockets accepted from these have TCP_NODELAY set already.
 */
int socket_listen(int *fds, size_t count, struct socket_address *address,
                  int backlog);

/* Removes the file of a listening unix socket. Nothing for IP. */
void socket_unlink(const struct socket_address *address);

/*
 * Begins to connect to an address; whether it comes about, stream_connect
 * tells. TCP_NODELAY is set. 0; PEAL_EREFUSED; or errors as socket_listen.
 */
int socket_connect(int *fd, const struct socket_address *address);

/*
 * Reads an address without asking anyone: PEAL_ENOTFOUND for a host that is a
 * name, to be resolved (resolver.h).
 */
int socket_address_set(struct socket_address *address, const char *host,
                       uint16_t port);

/* An IP address of 4 or 16 bytes, in network order. */
void socket_address_set_ip(struct socket_address *address, const uint8_t *ip,
                           size_t size, uint16_t port);

/* The address of a unix socket. PEAL_EADDRESS when the path is too long. */
int socket_address_set_local(struct socket_address *address, const char *path);

/* TCP_NODELAY, where there is such a thing. */
void socket_no_delay(int fd);

/* Whether it is the socket of a connection whose bytes are a stream. */
bool socket_is_connection(int fd);

/*
 * Makes a connection that someone else has accepted as those accepted here:
 * non-blocking, closed on exec, without delay. PEAL_ESYSTEM.
 */
int socket_take_over(int fd);

/* Resets the connection on close instead of lingering: to refuse in a flood. */
void socket_reset_on_close(int fd);

#endif
