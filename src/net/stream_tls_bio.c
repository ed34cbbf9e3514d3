#include "net/stream_tls_bio.h"

#include "net/loop.h"

#include <errno.h>
#include <openssl/err.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

static int stream_tls_bio_read(BIO *bio, char *out, size_t size, size_t *got)
{
    struct stream_tls *tls = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    *got = size < tls->in_size ? size : tls->in_size;
    if (*got == 0) {
        if (!tls->has_ended) {
            BIO_set_retry_read(bio);
        }
        return 0;
    }
    memcpy(out, tls->in, *got);
    tls->in += *got;
    tls->in_size -= *got;
    return 1;
}

bool stream_tls_send(struct stream_tls *tls, const char *data, size_t *size)
{
    struct stream *stream = tls->stream;
    ssize_t sent;

    do {
        sent = tls->ktls == STREAM_KTLS_SENDS
                   ? ktls_send(stream->fd, tls->record_type, data, *size)
                   : send(stream->fd, data, *size, MSG_NOSIGNAL | MSG_DONTWAIT);
        loop_count(&stream->loop->sends);
    } while (sent < 0 && errno == EINTR);
    *size = sent > 0 ? (size_t)sent : 0;
    tls->kernels.bytes += *size;
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        tls->error = errno;
        tls->is_broken = true;
        return false;
    }
    return true;
}

/* Takes everything: what the socket does not take is kept. */
static int stream_tls_bio_write(BIO *bio, const char *data, size_t size,
                                size_t *written)
{
    struct stream_tls *tls = BIO_get_data(bio);
    size_t sent = size;

    BIO_clear_retry_flags(bio);
    *written = size;
    if (buffer_size(&tls->unsent) > 0) {
        sent = 0;
    } else if (!stream_tls_send(tls, data, &sent)) {
        return 0;
    }
    if (sent < size &&
        buffer_append(&tls->unsent, data + sent, size - sent) < 0) {
        tls->error = ENOBUFS;
        tls->is_broken = true;
        return 0;
    }
    return 1;
}

/*
 * The kernel takes over behind all that OpenSSL has written. That it cannot is
 * no error: OpenSSL goes on as if it had not asked.
 */
static bool stream_tls_hand_over(struct stream_tls *tls, void *keys)
{
    if (buffer_size(&tls->unsent) > 0) {
        tls->ktls = STREAM_KTLS_LATE;
        return false;
    }
    tls->ktls = (uint8_t)ktls_begin(tls->stream->fd, keys, &tls->kernels);
    if (tls->ktls != STREAM_KTLS_SENDS) {
        ERR_clear_error();
        return false;
    }
    tls->stream->flags |= STREAM_KTLS;
    return true;
}

static long stream_tls_bio_control(BIO *bio, int command, long number,
                                   void *pointer)
{
    struct stream_tls *tls = BIO_get_data(bio);

    switch (command) {
    case BIO_CTRL_FLUSH:
        /* A record of another type waits for what is kept of the last one. */
        return tls->ktls != STREAM_KTLS_SENDS || buffer_size(&tls->unsent) == 0;
    case BIO_CTRL_GET_KTLS_SEND:
        return tls->ktls == STREAM_KTLS_SENDS;
    case KTLS_CONTROL_KEYS:
        return number != 0 && stream_tls_hand_over(tls, pointer);
    case KTLS_CONTROL_TYPE:
        tls->record_type = (uint8_t)number;
        return 0;
    case BIO_CTRL_EOF:
        return tls->has_ended && tls->in_size == 0;
    default:
        return 0;
    }
}

static pthread_once_t stream_tls_once = PTHREAD_ONCE_INIT;
static BIO_METHOD *stream_tls_method; /* NULL: there was no memory */

static void stream_tls_make_method(void)
{
    BIO_METHOD *method =
        BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "peal stream");

    if (method != NULL) {
        BIO_meth_set_read_ex(method, stream_tls_bio_read);
        BIO_meth_set_write_ex(method, stream_tls_bio_write);
        BIO_meth_set_ctrl(method, stream_tls_bio_control);
    }
    stream_tls_method = method;
}

BIO *stream_tls_bio_new(struct stream_tls *tls)
{
    BIO *bio = NULL;

    pthread_once(&stream_tls_once, stream_tls_make_method);
    if (stream_tls_method != NULL) {
        bio = BIO_new(stream_tls_method);
    }
    if (bio != NULL) {
        BIO_set_data(bio, tls);
        BIO_set_init(bio, 1);
    }
    return bio;
}
