#include "support/peer.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_BYTES 65536

/* Waits for `events` until the deadline; the caller's check failed then. */
static void await(const struct peer *peer, short events, uint64_t until_ms)
{
    struct pollfd waiting = {.fd = peer->fd, .events = events};
    uint64_t now_ms = check_now_ms();

    CHECK(now_ms < until_ms && "the other side is silent");
    if (poll(&waiting, 1, (int)(until_ms - now_ms)) < 0) {
        CHECK(errno == EINTR);
    }
}

/* --- Connecting ---------------------------------------------------------- */

static void parse_unix(struct sockaddr_storage *out, socklen_t *size,
                       const char *path)
{
    struct sockaddr_un *address = (struct sockaddr_un *)out;

    address->sun_family = AF_UNIX;
    CHECK(strlen(path) < sizeof address->sun_path);
    strcpy(address->sun_path, path);
    *size = sizeof *address;
}

/* "127.0.0.1:80" or "[::1]:80" */
static void parse_inet(struct sockaddr_storage *out, socklen_t *size,
                       const char *text)
{
    struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
    };
    struct addrinfo *found;
    char host[128];
    char *colon;

    CHECK(strlen(text) < sizeof host);
    strcpy(host, text[0] == '[' ? text + 1 : text);
    colon = strrchr(host, ':');
    CHECK(colon != NULL);
    *colon = '\0';
    if (text[0] == '[') {
        colon[-1] = '\0';
    }
    CHECK_EQUAL(getaddrinfo(host, colon + 1, &hints, &found), 0);
    memcpy(out, found->ai_addr, found->ai_addrlen);
    *size = found->ai_addrlen;
    freeaddrinfo(found);
}

void peer_dial_narrow(struct peer *peer, const char *address, int receive_bytes)
{
    struct sockaddr_storage to = {.ss_family = AF_UNSPEC};
    uint64_t until_ms = check_now_ms() + check_patience_ms();
    socklen_t size;
    int error = 0;
    int on = 1;

    if (strncmp(address, "unix:", 5) == 0) {
        parse_unix(&to, &size, address + 5);
    } else {
        parse_inet(&to, &size, address);
    }
    *peer = (struct peer){
        .fd =
            socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
    };
    CHECK(peer->fd >= 0);
    if (to.ss_family != AF_UNIX) {
        setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    if (receive_bytes > 0) {
        setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes,
                   sizeof receive_bytes);
    }
    if (connect(peer->fd, (struct sockaddr *)&to, size) < 0) {
        CHECK(errno == EINPROGRESS);
        await(peer, POLLOUT, until_ms);
    }
    size = sizeof error;
    getsockopt(peer->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == ECONNRESET) {
        peer->is_ended = true; /* accepted and turned away at once */
        peer->is_reset = true;
        return;
    }
    CHECK_EQUAL(error, 0);
}

void peer_dial(struct peer *peer, const char *address)
{
    peer_dial_narrow(peer, address, 0);
}

/* --- Sending ------------------------------------------------------------- */

size_t peer_send_now(struct peer *peer, const void *data, size_t size)
{
    ssize_t sent = send(peer->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);

    return sent > 0 ? (size_t)sent : 0;
}

bool peer_send_if_open(struct peer *peer, const void *data, size_t size)
{
    uint64_t until_ms = check_now_ms() + check_patience_ms();
    const char *from = data;

    while (size > 0) {
        ssize_t sent = send(peer->fd, from, size, MSG_NOSIGNAL);

        if (sent >= 0) {
            from += sent;
            size -= (size_t)sent;
        } else if (errno == EAGAIN || errno == EINTR) {
            await(peer, POLLOUT, until_ms);
        } else {
            return false;
        }
    }
    return true;
}

void peer_send(struct peer *peer, const void *data, size_t size)
{
    CHECK(peer_send_if_open(peer, data, size));
}

/* --- Receiving ----------------------------------------------------------- */

static void make_room(struct peer *peer)
{
    if (peer->start == peer->end) {
        peer->start = 0;
        peer->end = 0;
    }
    if (peer->capacity - peer->end >= READ_BYTES) {
        return;
    }
    if (peer->start >= READ_BYTES) {
        memmove(peer->in, peer->in + peer->start, peer->end - peer->start);
        peer->end -= peer->start;
        peer->start = 0;
    } else {
        peer->capacity = peer->capacity * 2 + READ_BYTES;
        peer->in = realloc(peer->in, peer->capacity);
        CHECK(peer->in != NULL);
    }
}

/* Reads what is there; false when nothing is. */
static bool fill(struct peer *peer)
{
    ssize_t got;

    make_room(peer);
    got = recv(peer->fd, peer->in + peer->end, READ_BYTES, MSG_DONTWAIT);
    if (got > 0) {
        peer->end += (size_t)got;
        return true;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    peer->is_ended = true;
    peer->is_reset = got < 0;
    return true;
}

bool peer_has_input(struct peer *peer, int timeout_ms)
{
    struct pollfd waiting = {.fd = peer->fd, .events = POLLIN};

    return peer->start < peer->end || peer->is_ended ||
           poll(&waiting, 1, timeout_ms) > 0;
}

bool peer_wait(struct peer *peer, size_t size)
{
    uint64_t until_ms = check_now_ms() + check_patience_ms();

    while (peer->end - peer->start < size) {
        if (peer->is_ended) {
            return false;
        }
        if (!fill(peer)) {
            await(peer, POLLIN, until_ms);
        }
    }
    return true;
}

char *peer_take(struct peer *peer, size_t size)
{
    char *data;

    CHECK(peer_wait(peer, size) && "the stream has ended too early");
    data = peer->in + peer->start;
    peer->start += size;
    return data;
}

const char *peer_peek(const struct peer *peer, size_t *size)
{
    *size = peer->end - peer->start;
    return peer->in + peer->start;
}

void peer_expect_end(struct peer *peer)
{
    if (peer_wait(peer, 1)) {
        fprintf(stderr, "not the end: %.*s\n", (int)(peer->end - peer->start),
                peer->in + peer->start);
        CHECK(!"the stream goes on");
    }
}

void peer_drain(struct peer *peer)
{
    while (peer_wait(peer, 1)) {
        peer->start = peer->end;
    }
}

/* --- The end ------------------------------------------------------------- */

void peer_finish(struct peer *peer)
{
    shutdown(peer->fd, SHUT_WR);
}

void peer_close(struct peer *peer)
{
    close(peer->fd);
    free(peer->in);
    *peer = (struct peer){.fd = -1};
}

void peer_reset(struct peer *peer)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    peer_close(peer);
}
