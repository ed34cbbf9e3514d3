#ifndef _GNU_SOURCE
#define _GNU_SOURCE     /* memmem */
#endif

#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <netinet/tcp.h>
#include <unistd.h>

/* The example of RFC 6455, 1.3: its answer is known without a SHA-1 here. */
#define HANDSHAKE_KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define HANDSHAKE_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

#define OFFER                                                                 \
    "Sec-WebSocket-Extensions: permessage-deflate; "                          \
    "server_no_context_takeover; client_no_context_takeover\r\n"

#define OFFER_TAKEOVER "Sec-WebSocket-Extensions: permessage-deflate\r\n"

#define HANDSHAKE_BYTES_MAX 4096u

static void stash_add(struct stash *stash, const void *bytes, size_t length)
{
    size_t needed = stash->length + length;

    if (needed > stash->capacity) {
        size_t capacity = needed < 512 ? 512 : needed + needed / 2;

        stash->bytes = realloc(stash->bytes, capacity);
        if (stash->bytes == NULL) {
            die("out of memory");
        }
        stash->capacity = capacity;
    }
    memcpy(stash->bytes + stash->length, bytes, length);
    stash->length = needed;
}

static void stash_cut(struct stash *stash, size_t length)
{
    stash->length -= length;
    memmove(stash->bytes, stash->bytes + length, stash->length);
}

/* An empty stash holds no memory: a run has up to 19,000 of them. */
static void stash_fini(struct stash *stash)
{
    free(stash->bytes);
    *stash = (struct stash){NULL, 0, 0};
}

static void watch(struct load *load, struct conn *conn, int operation,
                  bool wants_write)
{
    struct epoll_event event = {
        .events = EPOLLIN | (wants_write ? EPOLLOUT : 0u),
        .data.ptr = conn,
    };

    if (epoll_ctl(load->poller, operation, conn->fd, &event) < 0) {
        die("epoll_ctl: %s", strerror(errno));
    }
    conn->wants_write = wants_write;
}

/* Ports run out at 28,000 per address, so a run may use several. */
static void bind_source(struct load *load, int fd)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    uint32_t last = 1 + load->next_source++ % load->options->sources;
    int on = 1;

    if (load->options->sources < 2) {
        return;
    }
    from.sin_addr.s_addr = htonl(0x7f000000u + last);
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on,
                     sizeof on);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0) {
        die("bind 127.0.0.%u: %s", last, strerror(errno));
    }
}

void conn_drop(struct load *load, struct conn *conn)
{
    if (conn->state == CONN_NONE) {
        return;
    }
    if (conn->state < CONN_OPEN) {
        load->opening--;
    } else if (conn->state == CONN_OPEN) {
        load->open--;
    }
    if (conn->tls != NULL) {
        secure_close(conn);
    }
    close(conn->fd);
    conn->state = CONN_NONE;
    stash_fini(&conn->in);
    stash_fini(&conn->out);
}

static void lose(struct load *load, struct conn *conn)
{
    if (conn->state < CONN_OPEN) {
        load->refused++;
    } else if (conn->state == CONN_OPEN) {
        load->closes++;
    }
    conn_drop(load, conn);
    if (load->events->on_closed != NULL) {
        load->events->on_closed(load, conn);
    }
}

/* Returns how many of the bytes the socket took, or -1 when it is gone. */
static ssize_t write_some(struct conn *conn, const void *bytes,
                          size_t length)
{
    ssize_t sent;

    if (conn->tls != NULL) {
        return secure_write(conn, bytes, length);
    }
    sent = send(conn->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    return sent;
}

/* A socket that is gone is told by the next read, so it is not told here. */
static void write_bytes(struct load *load, struct conn *conn,
                        const void *bytes, size_t length)
{
    size_t sent = 0;

    if (conn->out.length == 0) {
        ssize_t n = write_some(conn, bytes, length);

        if (n < 0 || (size_t)n == length) {
            return;
        }
        sent = (size_t)n;
    }
    stash_add(&conn->out, (const unsigned char *)bytes + sent,
              length - sent);
    if (!conn->wants_write) {
        watch(load, conn, EPOLL_CTL_MOD, true);
    }
}

static void write_stash(struct load *load, struct conn *conn)
{
    ssize_t n = write_some(conn, conn->out.bytes, conn->out.length);

    if (n > 0) {
        stash_cut(&conn->out, (size_t)n);
    }
    if (conn->out.length == 0) {
        stash_fini(&conn->out);
        watch(load, conn, EPOLL_CTL_MOD, false);
    }
}

void conn_send(struct load *load, struct conn *conn, uint32_t count)
{
    size_t length = load->out.length;
    unsigned char *to = load->write_buffer;
    unsigned char *end = to + WRITE_BUFFER_BYTES;

    for (uint32_t i = 0; i < count; i++) {
        if ((size_t)(end - to) < length) {
            write_bytes(load, conn, load->write_buffer,
                        (size_t)(to - load->write_buffer));
            to = load->write_buffer;
        }
        template_stamp(&load->out, to, conn->index, conn->sent++);
        to += length;
    }
    write_bytes(load, conn, load->write_buffer,
                (size_t)(to - load->write_buffer));
}

void conn_send_compressed(struct load *load, struct conn *conn)
{
    size_t length =
        deflate_message(&load->in, conn->index, load->write_buffer);

    conn->sent++;
    write_bytes(load, conn, load->write_buffer, length);
}

void conn_close(struct load *load, struct conn *conn)
{
    const struct load_options *options = load->options;
    unsigned char close_frame[16];

    conn->state = CONN_CLOSING;
    load->open--;
    if (options->close_by_frame && options->wire == WIRE_WS) {
        write_bytes(load, conn, close_frame,
                    frame_close(options->wire, close_frame));
        return;
    }
    if (conn->tls != NULL) {
        secure_finish(conn);
    }
    if (shutdown(conn->fd, SHUT_WR) < 0) {
        lose(load, conn);
    }
}

static void is_open(struct load *load, struct conn *conn)
{
    conn->state = CONN_OPEN;
    load->opening--;
    load->open++;
    if (conn->role == ROLE_STALLED) {
        (void)epoll_ctl(load->poller, EPOLL_CTL_DEL, conn->fd, NULL);
    }
    if (load->events->on_open != NULL) {
        load->events->on_open(load, conn);
    }
}

static void begin_session(struct load *load, struct conn *conn)
{
    const struct load_options *options = load->options;
    bool joins = conn->role == ROLE_SUBSCRIBER || conn->role == ROLE_STALLED;
    unsigned char join[MESSAGE_MAX + FRAME_HEAD_MAX];

    if (options->join == NULL || !joins) {
        is_open(load, conn);
        return;
    }
    conn->state = CONN_JOINING;
    write_bytes(load, conn, join, frame_message(options, options->join, join));
}

static const char *path_of(const struct load *load, const struct conn *conn)
{
    switch (conn->role) {
    case ROLE_SUBSCRIBER:
    case ROLE_STALLED:
        return "/sub";
    case ROLE_PUBLISHER:
        return "/pub";
    case ROLE_PLAIN:
        break;
    }
    return load->options->path;
}

static void begin_handshake(struct load *load, struct conn *conn)
{
    char request[1024];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\n"
                          "Host: 127.0.0.1:%u\r\n"
                          "Upgrade: websocket\r\n"
                          "Connection: Upgrade\r\n"
                          "Sec-WebSocket-Key: " HANDSHAKE_KEY "\r\n"
                          "Sec-WebSocket-Version: 13\r\n"
                          "%s\r\n",
                          path_of(load, conn),
                          ntohs(load->options->to.sin_port),
                          !load->options->is_deflated ? ""
                          : load->options->takes_over ? OFFER_TAKEOVER
                                                      : OFFER);

    if (length < 0 || (size_t)length >= sizeof request) {
        die("the path is too long");
    }
    conn->state = CONN_HANDSHAKE;
    write_bytes(load, conn, request, (size_t)length);
}

static void begin_wire(struct load *load, struct conn *conn)
{
    if (load->options->wire == WIRE_TCP) {
        begin_session(load, conn);
    } else {
        begin_handshake(load, conn);
    }
}

static void shake_hands(struct load *load, struct conn *conn)
{
    bool is_resumed = false;
    int status = secure_handshake(conn, &is_resumed);

    if (status < 0) {
        lose(load, conn);
    } else if (status > 0) {
        load->handshakes++;
        load->resumed += is_resumed;
        begin_wire(load, conn);
    }
}

/*
 * Connects in one blocking call: to a local address the kernel has done its
 * handshake when the call returns, and waiting for that in the epoll set would
 * double what a connection costs this side. Reads and writes do not block.
 */
void conn_open(struct load *load, struct conn *conn)
{
    const struct sockaddr_in *to = &load->options->to;
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        die("socket: %s", strerror(errno));
    }
    bind_source(load, fd);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)to, sizeof *to) < 0) {
        die("connect: %s%s", strerror(errno),
            errno == EADDRNOTAVAIL ? " (try more --sources)" : "");
    }
    conn->fd = fd;
    conn->sent = 0;
    conn->received = 0;
    load->opening++;
    watch(load, conn, EPOLL_CTL_ADD, false);
    if (load->options->tls == 0) {
        begin_wire(load, conn);
        return;
    }
    conn->state = CONN_SECURING;
    secure_open(conn);
    shake_hands(load, conn);
}

/* Returns the bytes of the answer, 0 while incomplete, -1 when refused. */
static ssize_t read_handshake(const unsigned char *from, size_t length)
{
    static const char STATUS[] = "HTTP/1.1 101 ";
    const unsigned char *end = memmem(from, length, "\r\n\r\n", 4);

    if (end == NULL) {
        return length > HANDSHAKE_BYTES_MAX ? -1 : 0;
    }
    length = (size_t)(end - from) + 4;
    if (length < sizeof STATUS
        || memcmp(from, STATUS, sizeof STATUS - 1) != 0
        || memmem(from, length, HANDSHAKE_ACCEPT,
                  sizeof HANDSHAKE_ACCEPT - 1) == NULL) {
        return -1;
    }
    return (ssize_t)length;
}

static void take_frame(struct load *load, struct conn *conn,
                       const struct frame *frame)
{
    unsigned char pong[125 + FRAME_HEAD_MAX];

    switch (frame->kind) {
    case FRAME_PING:
        if (frame->length <= 125) {
            write_bytes(load, conn, pong,
                        frame_pong(load->options->wire, frame, pong));
        }
        break;
    case FRAME_CLOSE:
        if (conn->state == CONN_OPEN && frame->length >= 2) {
            load->close_code = frame->payload[0] << 8 | frame->payload[1];
        }
        break;
    case FRAME_MESSAGE:
        if (conn->state == CONN_JOINING) {
            is_open(load, conn);
        } else {
            load->mismatches++;
        }
        break;
    case FRAME_SYSTEM:
    case FRAME_PONG:
        break;
    }
}

/* Returns how many of the bytes were whole frames, or -1. */
static ssize_t take_frames(struct load *load, struct conn *conn,
                           const unsigned char *from, size_t length)
{
    const struct template *in = &load->in;
    const struct mode_events *events = load->events;
    const unsigned char *at = from;
    const unsigned char *end = from + length;
    uint32_t before = conn->received;

    while (at < end && conn->state >= CONN_JOINING) {
        struct frame frame;
        uint32_t sender;
        uint32_t sequence;
        ssize_t taken;

        if ((size_t)(end - at) >= in->length && conn->state == CONN_OPEN
            && template_match(in, at, &sender, &sequence)) {
            at += in->length;
            conn->received++;
            events->on_message(load, conn, sender, sequence);
            continue;
        }
        if (load->options->is_deflated && (at[0] & 0x40) != 0) {
            taken = inflate_match(in, at, (size_t)(end - at), &sender,
                                  &sequence);
            if (taken < 0) {
                return -1;
            }
            if (taken == 0) {
                break;
            }
            at += taken;
            conn->received++;
            load->compressed++;
            events->on_message(load, conn, sender, sequence);
            continue;
        }
        taken = frame_parse(load->options->wire, at, (size_t)(end - at),
                            &frame);
        if (taken <= 0) {
            if (taken < 0) {
                return -1;
            }
            break;
        }
        at += taken;
        take_frame(load, conn, &frame);
    }
    if (conn->received != before && events->on_batch != NULL) {
        events->on_batch(load, conn);
    }
    return at - from;
}

static ssize_t take(struct load *load, struct conn *conn,
                    const unsigned char *from, size_t length)
{
    ssize_t head = 0;
    ssize_t taken;

    if (conn->state == CONN_HANDSHAKE) {
        head = read_handshake(from, length);
        if (head <= 0) {
            return head;
        }
        begin_session(load, conn);
    }
    taken = take_frames(load, conn, from + head, length - (size_t)head);
    return taken < 0 ? taken : head + taken;
}

/* Returns whether anything was read, and the connection is still there. */
static bool read_ready(struct load *load, struct conn *conn)
{
    unsigned char *buffer = load->read_buffer;
    size_t kept = conn->in.length;
    ssize_t got;
    ssize_t taken;

    if (kept >= READ_BUFFER_BYTES) {
        die("a frame of the server is larger than the read buffer");
    }
    if (kept > 0) {
        memcpy(buffer, conn->in.bytes, kept);
    }
    got = conn->tls != NULL
              ? secure_read(conn, buffer + kept, READ_BUFFER_BYTES - kept)
              : recv(conn->fd, buffer + kept, READ_BUFFER_BYTES - kept,
                     MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            lose(load, conn);
        }
        return false;
    }
    conn->in.length = 0;
    kept += (size_t)got;
    taken = take(load, conn, buffer, kept);
    if (taken < 0) {
        load->mismatches++;
        lose(load, conn);
        return false;
    }
    if (conn->state == CONN_NONE) {
        return false;
    }
    if ((size_t)taken < kept) {
        stash_add(&conn->in, buffer + taken, kept - (size_t)taken);
    } else {
        stash_fini(&conn->in);
    }
    return true;
}

void conn_ready(struct load *load, struct conn *conn, uint32_t events)
{
    if (conn->state == CONN_NONE) {
        return;     /* dropped earlier in this turn */
    }
    if ((events & EPOLLOUT) != 0 && conn->out.length > 0) {
        write_stash(load, conn);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) {
        return;
    }
    if (conn->state == CONN_SECURING) {
        shake_hands(load, conn);
        if (conn->state <= CONN_SECURING || !secure_has_more(conn)) {
            return;
        }
    }
    while (read_ready(load, conn) && secure_has_more(conn)) {
    }
}
