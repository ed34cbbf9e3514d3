#include "support/reader.h"

#include "support/tcp.h"
#include "support/ws.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define NARROW_BYTES 4096

const char *const reader_way_names[READER_WAYS] = {
    "ws", "tcp", "tls", "deflate", "context takeover"};

static void await_input(struct reader *reader)
{
    struct pollfd waiting = {.fd = reader->peer.fd, .events = POLLIN};

    CHECK(poll(&waiting, 1, (int)check_patience_ms()) == 1);
}

/* The next bytes; false at the end. */
static bool take(struct reader *reader, void *out, size_t size)
{
    size_t done = 0;

    if (reader->ssl == NULL) {
        if (!peer_wait(&reader->peer, size)) {
            return false;
        }
        memcpy(out, peer_take(&reader->peer, size), size);
        return true;
    }
    while (done < size) {
        size_t part;

        if (SSL_read_ex(reader->ssl, (char *)out + done, size - done, &part)) {
            done += part;
        } else if (SSL_get_error(reader->ssl, 0) == SSL_ERROR_WANT_READ) {
            await_input(reader);
        } else {
            return false;
        }
    }
    return true;
}

void reader_put(struct reader *reader, const void *data, size_t size)
{
    size_t part;

    if (reader->ssl == NULL) {
        peer_send(&reader->peer, data, size);
        return;
    }
    CHECK_EQUAL(SSL_write_ex(reader->ssl, data, size, &part), 1);
    CHECK_EQUAL(part, size);
}

static void encrypt(struct reader *reader)
{
    int rc;

    reader->context = SSL_CTX_new(TLS_client_method());
    reader->ssl = SSL_new(reader->context);
    SSL_set_fd(reader->ssl, reader->peer.fd);
    while ((rc = SSL_connect(reader->ssl)) != 1) {
        CHECK_EQUAL(SSL_get_error(reader->ssl, rc), SSL_ERROR_WANT_READ);
        await_input(reader);
    }
}

static void upgrade(struct reader *reader)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n%s\r\n";
    bool is_deflated =
        reader->way == READER_DEFLATE || reader->way == READER_TAKEOVER;
    char text[512];
    size_t size;

    snprintf(text, sizeof text, request,
             is_deflated ? "Sec-WebSocket-Extensions: permessage-deflate\r\n"
                         : "");
    reader_put(reader, text, strlen(text));
    size = 0;
    do {
        CHECK(size < sizeof reader->text - 1);
        CHECK(take(reader, reader->text + size, 1));
        reader->text[++size] = '\0';
    } while (size < 4 || strcmp(reader->text + size - 4, "\r\n\r\n") != 0);
    CHECK(strncmp(reader->text, "HTTP/1.1 101", 12) == 0);
    CHECK((strstr(reader->text, "permessage-deflate") != NULL) == is_deflated);
    CHECK(is_deflated == false ||
          (strstr(reader->text, "server_no_context_takeover") == NULL) ==
              (reader->way == READER_TAKEOVER));
    CHECK_EQUAL(inflateInit2(&reader->window, -15), Z_OK);
}

/* Inflates `size` bytes of the text where they are (RFC 7692, 7.2.2). */
static size_t inflate_text(struct reader *reader, const char *data, size_t size)
{
    static char packed[READER_BYTES_MAX];

    CHECK(size + 4 <= sizeof packed);
    memcpy(packed, data, size);
    memcpy(packed + size, "\0\0\xff\xff", 4);
    reader->window.next_in = (unsigned char *)packed;
    reader->window.avail_in = (unsigned)size + 4;
    reader->window.next_out = (unsigned char *)reader->text;
    reader->window.avail_out = sizeof reader->text - 1;
    CHECK_EQUAL(inflate(&reader->window, Z_SYNC_FLUSH), Z_OK);
    size = sizeof reader->text - 1 - reader->window.avail_out;
    if (reader->way == READER_DEFLATE) {
        CHECK_EQUAL(inflateReset(&reader->window), Z_OK);
    }
    return size;
}

int reader_hear_frame(struct reader *reader)
{
    static char payload[READER_BYTES_MAX];
    unsigned char head[10];
    size_t size;
    int first;

    if (reader->way == READER_TCP) {
        CHECK(take(reader, head, 7));
        size = ((size_t)head[0] << 24 | (size_t)head[1] << 16 |
                (size_t)head[2] << 8 | head[3]) -
               7;
        first = head[4];
    } else {
        CHECK(take(reader, head, 2));
        first = head[0];
        size = head[1];
        if (size == 126) {
            CHECK(take(reader, head + 2, 2));
            size = (size_t)head[2] << 8 | head[3];
        }
    }
    CHECK(size < sizeof payload);
    CHECK(size == 0 || take(reader, payload, size));
    if ((first & 0x40) != 0 && reader->way != READER_TCP) {
        size = inflate_text(reader, payload, size);
        first &= ~0x40;
    } else {
        memcpy(reader->text, payload, size);
    }
    reader->text[size] = '\0';
    return first;
}

json_t *reader_hear(struct reader *reader)
{
    for (;;) {
        int first = reader_hear_frame(reader);

        if (reader->way == READER_TCP && first == TCP_JSON_FRAME) {
            /* An event to this client alone, whose name stands in the frame
             * and has one letter here. */
            return json_pack("{s:s#,s:o}", "event", reader->text, 1, "data",
                             json_loads(reader->text + 1, 0, NULL));
        }
        if (first ==
            (reader->way == READER_TCP ? TCP_ENVELOPE_FRAME : WS_TEXT_FRAME)) {
            json_t *json = json_loads(reader->text, 0, NULL);

            CHECK(json != NULL);
            return json;
        }
        CHECK(first != WS_CLOSE_FRAME && "closed");
        CHECK((reader->way != READER_TCP || first != TCP_DISCONNECT_FRAME) &&
              "closed");
    }
}

void reader_open(struct reader *reader, const struct host *host,
                 enum reader_way way)
{
    memset(reader, 0, sizeof *reader);
    reader->way = way;
    peer_dial_narrow(&reader->peer, host_address(host, way == READER_TCP),
                     NARROW_BYTES);
    if (way == READER_TLS) {
        encrypt(reader);
    }
    if (way != READER_TCP) {
        upgrade(reader);
    }
}

void reader_close(struct reader *reader)
{
    if (reader->ssl != NULL) {
        SSL_free(reader->ssl);
        SSL_CTX_free(reader->context);
    }
    inflateEnd(&reader->window);
    peer_close(&reader->peer);
}
