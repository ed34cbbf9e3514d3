#include "net/socket.h"

#include "base/assert.h"
#include "base/decimal.h"
#include "base/ip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOCKET_HOST_SIZE 256

/* --- Addresses ------------------------------------------------------------ */

static const char socket_local_prefix[] = "unix:";

static int socket_parse_local(struct socket_address *address, const char *path)
{
    size_t size = strlen(path);

    if (size == 0 || size >= sizeof(address->of.local.sun_path)) {
        return PEAL_EADDRESS;
    }
    address->of.local.sun_family = AF_UNIX;
    memcpy(address->of.local.sun_path, path, size + 1);
    address->size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + 1);
    return PEAL_OK;
}

static int socket_parse_port(in_port_t *port, const char *text)
{
    unsigned value = 0;
    size_t size = strlen(text);

    if (size == 0 || size > 5) {
        return PEAL_EADDRESS;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return PEAL_EADDRESS;
        }
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    if (value > 65535) {
        return PEAL_EADDRESS;
    }
    *port = htons((in_port_t)value);
    return PEAL_OK;
}

static void socket_set_port(struct socket_address *address, in_port_t port)
{
    if (address->of.any.sa_family == AF_INET) {
        address->of.v4.sin_port = port;
    } else {
        address->of.v6.sin6_port = port;
    }
}

/*
 * An IPv4 address is preferred where a name has both kinds: "localhost" is
 * meant to be reached by those who write 127.0.0.1, too.
 */
static int socket_resolve(struct socket_address *address, const char *host,
                          int family, int flags)
{
    struct addrinfo hints = {
        .ai_family = family,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = flags,
    };
    struct addrinfo *list;

    if (getaddrinfo(host, NULL, &hints, &list) != 0) {
        return PEAL_EADDRESS;
    }

    const struct addrinfo *chosen = NULL;

    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next) {
        if (at->ai_family == AF_INET) {
            chosen = at;
            break;
        }
        if (at->ai_family == AF_INET6 && chosen == NULL) {
            chosen = at;
        }
    }
    if (chosen != NULL) {
        memcpy(&address->of, chosen->ai_addr, chosen->ai_addrlen);
        address->size = chosen->ai_addrlen;
    }
    freeaddrinfo(list);
    return chosen != NULL ? PEAL_OK : PEAL_EADDRESS;
}

static void socket_make_wildcard(struct socket_address *address, int family)
{
    memset(&address->of, 0, sizeof(address->of));
    if (family == AF_INET6) {
        address->of.v6.sin6_family = AF_INET6;
        address->of.v6.sin6_addr = in6addr_any;
        address->size = sizeof(address->of.v6);
    } else {
        address->of.v4.sin_family = AF_INET;
        address->of.v4.sin_addr.s_addr = htonl(INADDR_ANY);
        address->size = sizeof(address->of.v4);
    }
}

int socket_address_parse(struct socket_address *address, const char *text)
{
    const char *colon = strrchr(text, ':');
    char host[SOCKET_HOST_SIZE];
    in_port_t port;

    memset(address, 0, sizeof(*address));
    if (strncmp(text, socket_local_prefix, sizeof(socket_local_prefix) - 1) ==
        0) {
        return socket_parse_local(address,
                                  text + sizeof(socket_local_prefix) - 1);
    }
    if (colon == NULL || colon == text ||
        (size_t)(colon - text) >= sizeof(host) ||
        socket_parse_port(&port, colon + 1) < 0) {
        return PEAL_EADDRESS;
    }

    size_t size = (size_t)(colon - text);
    int rc = PEAL_OK;

    memcpy(host, text, size);
    host[size] = '\0';
    if (strcmp(host, "*") == 0) {
        socket_make_wildcard(address, AF_INET6);
        address->is_wildcard = true;
    } else if (host[0] == '[') {
        if (host[size - 1] != ']') {
            return PEAL_EADDRESS;
        }
        host[size - 1] = '\0';
        rc = socket_resolve(address, host + 1, AF_INET6, AI_NUMERICHOST);
    } else if (strchr(host, ':') != NULL) {
        /* IPv6 without brackets: where the port begins is a guess. */
        return PEAL_EADDRESS;
    } else {
        rc = socket_resolve(address, host, AF_UNSPEC, 0);
    }
    if (rc == PEAL_OK) {
        socket_set_port(address, port);
    }
    return rc;
}

/* By hand, because each client that comes has its address written. */
static void format_v4(const unsigned char bytes[4], int port, char *out)
{
    for (int i = 0; i < 4; i++) {
        out = decimal_put(out, bytes[i]);
        *out++ = i < 3 ? '.' : ':';
    }
    *decimal_put(out, port) = '\0';
}

char *socket_address_format(const struct socket_address *address,
                            char out[SOCKET_TEXT_SIZE])
{
    char host[INET6_ADDRSTRLEN] = "";
    const struct in6_addr *v6 = &address->of.v6.sin6_addr;
    int port = socket_address_port(address);

    if (address->is_wildcard) {
        snprintf(out, SOCKET_TEXT_SIZE, "*:%d", port);
        return out;
    }
    switch (address->of.any.sa_family) {
    case AF_INET:
        format_v4((const unsigned char *)&address->of.v4.sin_addr, port, out);
        break;
    case AF_INET6:
        /* A peer that came by IPv4 to a socket for both. */
        if (IN6_IS_ADDR_V4MAPPED(v6)) {
            format_v4(&v6->s6_addr[12], port, out);
        } else {
            inet_ntop(AF_INET6, v6, host, sizeof(host));
            snprintf(out, SOCKET_TEXT_SIZE, "[%s]:%d", host, port);
        }
        break;
    default: {
        /* A path that fills its array has no zero byte. */
        size_t path = offsetof(struct sockaddr_un, sun_path);
        size_t room = address->size > path ? address->size - path : 0;

        snprintf(out, SOCKET_TEXT_SIZE, "%s%.*s", socket_local_prefix,
                 (int)strnlen(address->of.local.sun_path, room),
                 address->of.local.sun_path);
        break;
    }
    }
    return out;
}

int socket_address_port(const struct socket_address *address)
{
    switch (address->of.any.sa_family) {
    case AF_INET:
        return ntohs(address->of.v4.sin_port);
    case AF_INET6:
        return ntohs(address->of.v6.sin6_port);
    default:
        return 0;
    }
}

struct socket_key socket_address_key(const struct socket_address *address)
{
    struct socket_key key = {.size = 0};

    switch (address->of.any.sa_family) {
    case AF_INET:
        key.size = 16;
        key.bytes[10] = 0xff;
        key.bytes[11] = 0xff;
        memcpy(key.bytes + 12, &address->of.v4.sin_addr, 4);
        break;
    case AF_INET6:
        key.size = 16;
        memcpy(key.bytes, &address->of.v6.sin6_addr, 16);
        break;
    default:
        break;
    }
    return key;
}

/* --- Options -------------------------------------------------------------- */

static int socket_set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value));
}

void socket_no_delay(int fd)
{
    /* A unix socket has no such option, and needs none. */
    socket_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

void socket_reset_on_close(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

/* --- Listening ------------------------------------------------------------ */

static int socket_error(int error)
{
    switch (error) {
    case EADDRINUSE:
        return PEAL_EADDRINUSE;
    case EACCES:
    case EPERM:
    case EROFS:
        return PEAL_EACCESS;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
        return PEAL_EADDRESS;
    case ENOMEM:
    case ENOBUFS:
        return PEAL_ENOMEM;
    default:
        return PEAL_ESYSTEM;
    }
}

/* A socket of the address's kind, or -1. */
static int socket_make(const struct socket_address *address)
{
    return socket(address->of.any.sa_family,
                  SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/*
 * Binds one of the sockets that share a port. The first is bound without
 * SO_REUSEPORT, so that a port which someone else has opened for sharing, under
 * the same user, is refused; it is shared from then on.
 */
static int socket_bind_ip(const struct socket_address *address, bool is_first)
{
    int fd = socket_make(address);

    if (fd < 0) {
        return -1;
    }
    if (address->of.any.sa_family == AF_INET6 &&
        socket_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, !address->is_wildcard) < 0) {
        goto fail;
    }

    /* Connections of a former run that linger do not hold the port. */
    if (socket_set(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 ||
        (!is_first && socket_set(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0) ||
        bind(fd, &address->of.any, address->size) < 0 ||
        (is_first && socket_set(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0)) {
        goto fail;
    }

    /* Accepted sockets inherit it, which saves a call for each. */
    socket_no_delay(fd);
    return fd;

fail:;
    int error = errno;

    close(fd);
    errno = error;
    return -1;
}

/* Binds the first socket; "*" is IPv4 alone where there is no IPv6. */
static int socket_bind_first(struct socket_address *address)
{
    int fd = socket_bind_ip(address, true);

    if (fd < 0 && address->is_wildcard &&
        (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
        in_port_t port = address->of.v6.sin6_port;

        socket_make_wildcard(address, AF_INET);
        socket_set_port(address, port);
        fd = socket_bind_ip(address, true);
    }
    if (fd < 0) {
        return -1;
    }
    address->size = sizeof(address->of);
    if (getsockname(fd, &address->of.any, &address->size) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/*
 * Whether a socket file is left over from a process that is gone. Only what is
 * a socket and refuses connections is.
 */
static bool socket_is_stale(const struct socket_address *address)
{
    struct stat status;

    if (lstat(address->of.local.sun_path, &status) < 0 ||
        !S_ISSOCK(status.st_mode)) {
        return false;
    }

    int fd = socket_make(address);

    if (fd < 0) {
        return false;
    }

    bool is_refused = connect(fd, &address->of.any, address->size) < 0 &&
                      errno == ECONNREFUSED;

    close(fd);
    return is_refused;
}

static int socket_bind_local(const struct socket_address *address)
{
    int fd = socket_make(address);

    if (fd < 0 || bind(fd, &address->of.any, address->size) == 0) {
        return fd;
    }

    int error = errno;

    if (error == EADDRINUSE && socket_is_stale(address)) {
        unlink(address->of.local.sun_path);
        if (bind(fd, &address->of.any, address->size) == 0) {
            return fd;
        }
        error = errno;
    }
    close(fd);
    errno = error;
    return -1;
}

int socket_listen(int *fds, size_t count, struct socket_address *address,
                  int backlog)
{
    ASSERT(count > 0);

    bool is_local = address->of.any.sa_family == AF_UNIX;
    bool is_bound = false; /* a socket file is ours to remove */
    size_t opened = 0;

    for (; opened < count; opened++) {
        int fd;

        if (opened > 0 && is_local) {
            fd = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
        } else if (opened > 0) {
            fd = socket_bind_ip(address, false);
        } else if (is_local) {
            fd = socket_bind_local(address);
            is_bound = fd >= 0;
        } else {
            fd = socket_bind_first(address);
        }
        if (fd < 0) {
            goto fail;
        }
        fds[opened] = fd;
    }
    for (size_t i = 0; i < (is_local ? 1 : count); i++) {
        if (listen(fds[i], backlog) < 0) {
            goto fail;
        }
    }
    return PEAL_OK;

fail:;
    int error = errno;

    while (opened > 0) {
        close(fds[--opened]);
    }
    if (is_bound) {
        socket_unlink(address);
    }
    errno = error;
    return socket_error(error);
}

void socket_unlink(const struct socket_address *address)
{
    if (address->of.any.sa_family == AF_UNIX) {
        unlink(address->of.local.sun_path);
    }
}

bool socket_is_connection(int fd)
{
    struct sockaddr_storage peer;
    socklen_t peer_size = sizeof peer;
    socklen_t size = sizeof(int);
    int type = 0;

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
           type == SOCK_STREAM &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_size) == 0;
}

int socket_take_over(int fd)
{
    int status = fcntl(fd, F_GETFL);
    int flags = fcntl(fd, F_GETFD);

    if (status < 0 || flags < 0 ||
        fcntl(fd, F_SETFL, status | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0) {
        return PEAL_ESYSTEM;
    }
    socket_no_delay(fd);
    return PEAL_OK;
}

/* --- Connecting ----------------------------------------------------------- */

void socket_address_set_ip(struct socket_address *address, const uint8_t *ip,
                           size_t size, uint16_t port)
{
    memset(address, 0, sizeof(*address));
    if (size == IP_V4_SIZE) {
        address->of.v4.sin_family = AF_INET;
        memcpy(&address->of.v4.sin_addr, ip, IP_V4_SIZE);
        address->size = sizeof(address->of.v4);
    } else {
        ASSERT(size == IP_V6_SIZE);
        address->of.v6.sin6_family = AF_INET6;
        memcpy(&address->of.v6.sin6_addr, ip, IP_V6_SIZE);
        address->size = sizeof(address->of.v6);
    }
    socket_set_port(address, htons(port));
}

int socket_address_set(struct socket_address *address, const char *host,
                       uint16_t port)
{
    uint8_t ip[IP_V6_SIZE];
    size_t size = ip_parse(ip, peal_slice(host));

    if (size == 0) {
        return PEAL_ENOTFOUND;
    }
    socket_address_set_ip(address, ip, size, port);
    return PEAL_OK;
}

int socket_address_set_local(struct socket_address *address, const char *path)
{
    memset(address, 0, sizeof(*address));
    return socket_parse_local(address, path);
}

int socket_connect(int *fd, const struct socket_address *address)
{
    int made = socket_make(address);

    if (made < 0) {
        return socket_error(errno);
    }
    socket_no_delay(made);
    if (connect(made, &address->of.any, address->size) < 0 &&
        errno != EINPROGRESS) {
        int error = errno;

        close(made);
        errno = error;
        return error == ECONNREFUSED ? PEAL_EREFUSED : socket_error(error);
    }
    *fd = made;
    return PEAL_OK;
}
