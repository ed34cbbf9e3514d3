#include "support/line.h"

#include "support/tcp.h"
#include "support/ws.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES 65536

/* --- Bytes --------------------------------------------------------------- */

/* Room for so many more; the empty part at the start is used up first. */
static char *reserve(struct line_bytes *bytes, size_t size)
{
    if (bytes->start > 0) {
        memmove(bytes->data, bytes->data + bytes->start,
                bytes->end - bytes->start);
        bytes->end -= bytes->start;
        bytes->start = 0;
    }
    if (bytes->capacity - bytes->end < size) {
        bytes->capacity = bytes->end + size + bytes->capacity / 2;
        bytes->data = realloc(bytes->data, bytes->capacity);
        CHECK(bytes->data != NULL);
    }
    return bytes->data + bytes->end;
}

static size_t held(const struct line_bytes *bytes)
{
    return bytes->end - bytes->start;
}

/* --- The socket ---------------------------------------------------------- */

SSL_CTX *line_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    CHECK(context != NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return context;
}

void line_open(struct line *line, int host, int port, bool is_tcp,
               SSL_CTX *context, int receive_bytes)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET};
    int on = 1;

    *line = (struct line){.is_tcp = is_tcp};
    line->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(line->fd >= 0);
    from.sin_addr.s_addr = htonl(0x7f000000u | (unsigned)host);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)port);
#ifdef IP_BIND_ADDRESS_NO_PORT
    setsockopt(line->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
#endif
    CHECK_EQUAL(bind(line->fd, (struct sockaddr *)&from, sizeof from), 0);
    if (receive_bytes > 0) {
        setsockopt(line->fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes,
                   sizeof receive_bytes);
    }
    if (connect(line->fd, (struct sockaddr *)&to, sizeof to) < 0) {
        CHECK_EQUAL(errno, EINPROGRESS);
    }
    if (context != NULL) {
        line->ssl = SSL_new(context);
        CHECK(line->ssl != NULL);
        CHECK_EQUAL(SSL_set_fd(line->ssl, line->fd), 1);
        SSL_set_connect_state(line->ssl);
    }
}

void line_take(struct line *line, int fd)
{
    *line = (struct line){.fd = fd};
    CHECK_EQUAL(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

short line_events(const struct line *line)
{
    bool writes = held(&line->out) > 0 ||
                  (line->ssl != NULL && !SSL_is_init_finished(line->ssl) &&
                   SSL_want_write(line->ssl));

    return (short)((line->is_deaf ? 0 : POLLIN) | (writes ? POLLOUT : 0));
}

static void end(struct line *line, bool is_reset)
{
    line->is_ended = true;
    line->is_reset = is_reset;
}

/* What a read or write has returned; true when there was something. */
static bool went(struct line *line, ssize_t rc)
{
    if (rc > 0) {
        return true;
    }
    if (line->ssl != NULL) {
        int error = SSL_get_error(line->ssl, (int)rc);

        ERR_clear_error();
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
            end(line, error != SSL_ERROR_ZERO_RETURN);
        }
    } else if (rc == 0) {
        end(line, false);
    } else if (errno != EAGAIN && errno != EINTR && errno != ENOTCONN) {
        end(line, true);
    }
    return false;
}

static bool write_some(struct line *line)
{
    const char *data = line->out.data + line->out.start;
    size_t size = held(&line->out);
    ssize_t rc;

    if (size == 0) {
        return false;
    }
    if (line->ssl != NULL) {
        rc = SSL_write(line->ssl, data,
                       size > READ_BYTES ? READ_BYTES : (int)size);
    } else {
        rc = send(line->fd, data, size, MSG_NOSIGNAL);
    }
    /* What cannot be sent any more says nothing about what can be read. */
    if (rc < 0 && line->ssl == NULL &&
        (errno == EPIPE || errno == ECONNRESET)) {
        line->out.start = line->out.end;
        return false;
    }
    if (!went(line, rc)) {
        return false;
    }
    line->out.start += (size_t)rc;
    return true;
}

static bool read_some(struct line *line)
{
    char *to = reserve(&line->in, READ_BYTES);
    ssize_t rc = line->ssl != NULL ? SSL_read(line->ssl, to, READ_BYTES)
                                   : recv(line->fd, to, READ_BYTES, 0);

    if (!went(line, rc)) {
        return false;
    }
    line->in.end += (size_t)rc;
    return true;
}

void line_move(struct line *line)
{
    while (!line->is_ended && write_some(line)) {
    }
    /* A few reads in a turn: others have theirs, too. */
    for (int i = 0; i < 4 && !line->is_ended && !line->is_deaf; i++) {
        if (!read_some(line)) {
            return;
        }
    }
}

void line_close(struct line *line, bool by_reset)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    if (by_reset) {
        setsockopt(line->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    SSL_free(line->ssl);
    close(line->fd);
    if (line->is_deflated) {
        inflateEnd(&line->inflater);
        deflateEnd(&line->deflater);
    }
    free(line->in.data);
    free(line->out.data);
    free(line->plain.data);
    *line = (struct line){.fd = -1};
}

/* --- Messages out -------------------------------------------------------- */

void line_write(struct line *line, const void *data, size_t size)
{
    if (size > 0) {
        memcpy(reserve(&line->out, size), data, size);
        line->out.end += size;
    }
}

/* RFC 7692, 7.2.1: what a flush ends with is left out. */
static size_t deflated(struct line *line, const void *data, size_t size,
                       char **out)
{
    z_stream *z = &line->deflater;
    uLong bound = deflateBound(z, (uLong)size) + 16;

    *out = malloc(bound);
    CHECK(*out != NULL);
    z->next_in = (Bytef *)(uintptr_t)data;
    z->avail_in = (uInt)size;
    z->next_out = (Bytef *)*out;
    z->avail_out = (uInt)bound;
    CHECK_EQUAL(deflate(z, Z_SYNC_FLUSH), Z_OK);
    CHECK(z->avail_in == 0 && z->avail_out > 0);
    if (!line->keeps_out) {
        deflateReset(z);
    }
    return bound - z->avail_out - 4;
}

void line_say(struct line *line, unsigned opcode, const void *data, size_t size)
{
    char *packed = NULL;

    if (line->is_deflated && opcode <= 2) {
        size = deflated(line, data, size, &packed);
        data = packed;
        opcode |= 0x40;
    }
    line->out.end +=
        ws_make(reserve(&line->out, size + 14), WS_FIN | opcode, data, size);
    free(packed);
}

void line_agree(struct line *line, const char *head)
{
    if (strstr(head, "permessage-deflate") == NULL) {
        return;
    }
    line->is_deflated = true;
    line->keeps_in = strstr(head, "server_no_context_takeover") == NULL;
    line->keeps_out = strstr(head, "client_no_context_takeover") == NULL;
    CHECK_EQUAL(inflateInit2(&line->inflater, -15), Z_OK);
    /* The smallest window fits whatever was agreed on. */
    CHECK_EQUAL(
        deflateInit2(&line->deflater, 1, Z_DEFLATED, -9, 1, Z_DEFAULT_STRATEGY),
        Z_OK);
}

/* --- Messages in --------------------------------------------------------- */

static void inflate_into_plain(struct line *line, struct line_message *message)
{
    static const char tail[] = {0, 0, (char)0xff, (char)0xff};
    const char *const parts[] = {message->data, tail};
    const size_t sizes[] = {message->size, sizeof tail};
    z_stream *z = &line->inflater;

    line->plain.start = line->plain.end = 0;
    for (int i = 0; i < 2; i++) {
        z->next_in = (Bytef *)(uintptr_t)parts[i];
        z->avail_in = (uInt)sizes[i];
        do {
            int rc;

            z->next_out = (Bytef *)reserve(&line->plain, READ_BYTES);
            z->avail_out = READ_BYTES;
            rc = inflate(z, Z_SYNC_FLUSH);
            CHECK(rc == Z_OK || rc == Z_BUF_ERROR);
            line->plain.end += READ_BYTES - z->avail_out;
        } while (z->avail_out == 0);
        CHECK_EQUAL(z->avail_in, 0);
    }
    if (!line->keeps_in) {
        inflateReset(z);
    }
    message->data = line->plain.data;
    message->size = line->plain.end;
}

static size_t number_at(const char *data, int bytes)
{
    size_t number = 0;

    for (int i = 0; i < bytes; i++) {
        number = number << 8 | (unsigned char)data[i];
    }
    return number;
}

static bool hear_ws(struct line *line, struct line_message *message)
{
    const char *at = line->in.data + line->in.start;
    size_t size = held(&line->in);
    size_t head = 2;
    unsigned first;

    if (size < 2) {
        return false;
    }
    first = (unsigned char)at[0];
    message->size = (unsigned char)at[1];
    head += message->size == 126 ? 2 : message->size == 127 ? 8 : 0;
    if (size < head) {
        return false;
    }
    if (head > 2) {
        message->size = number_at(at + 2, (int)head - 2);
    }
    if (size - head < message->size) {
        return false;
    }
    line->in.start += head + message->size;
    message->data = at + head;
    CHECK((first & WS_FIN) != 0 && (first & 0x30) == 0);
    switch (first & 0x0f) {
    case 1:
        message->kind = LINE_TEXT;
        break;
    case 2:
        message->kind = LINE_BYTES;
        break;
    case 8:
        message->kind = LINE_CLOSE;
        break;
    case 9:
        message->kind = LINE_PING;
        break;
    case 10:
        message->kind = LINE_PONG;
        break;
    default:
        CHECK(!"an opcode that there is");
    }
    if ((first & 0x40) != 0) {
        CHECK(line->is_deflated && message->kind <= LINE_BYTES);
        inflate_into_plain(line, message);
    }
    return true;
}

static bool hear_tcp(struct line *line, struct line_message *message)
{
    const char *at = line->in.data + line->in.start;
    size_t total;

    if (held(&line->in) < TCP_HEAD_SIZE) {
        return false;
    }
    total = number_at(at, 4);
    CHECK(total >= TCP_HEAD_SIZE);
    if (held(&line->in) < total) {
        return false;
    }
    line->in.start += total;
    message->type = at[4];
    message->event = at + TCP_HEAD_SIZE;
    message->event_size = number_at(at + 5, 2);
    message->data = message->event + message->event_size;
    message->size = total - TCP_HEAD_SIZE - message->event_size;
    switch (message->type) {
    case TCP_PING_FRAME:
        message->kind = LINE_PING;
        break;
    case TCP_PONG_FRAME:
        message->kind = LINE_PONG;
        break;
    case TCP_DISCONNECT_FRAME:
        message->kind = LINE_CLOSE;
        break;
    case TCP_BINARY_FRAME:
    case TCP_BINARY_ENVELOPE_FRAME:
        message->kind = LINE_BYTES;
        break;
    default:
        message->kind = LINE_TEXT;
    }
    return true;
}

bool line_hear(struct line *line, struct line_message *message)
{
    *message = (struct line_message){.type = -1};
    return line->is_tcp ? hear_tcp(line, message) : hear_ws(line, message);
}
