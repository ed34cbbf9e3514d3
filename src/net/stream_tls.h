/*
 * The TLS side of a stream. Part of stream.c; no other file has to do with it.
 *
 * A stream has no room for more than it needs without TLS, so what TLS needs is
 * found by `stream->events`, which for such a stream is the first member of
 * this. OpenSSL never sees the socket: it reads what the loop has received into
 * its shared buffer, and what it writes that the socket does not take is kept
 * in `unsent`. So no call into it is ever half done, and what has been read is
 * decrypted at once: nothing waits in OpenSSL that epoll does not know of.
 *
 * With STREAM_KTLS the queue is sent as it is, as without TLS. OpenSSL reads as
 * before, and writes the records that are not data.
 */
#ifndef NET_STREAM_TLS_H
#define NET_STREAM_TLS_H

#include "net/stream.h"

/*
 * The side that accepts, and the one that connects. 0 or PEAL_ENOMEM. `stream`
 * is open and gets the flags and events.
 */
int stream_tls_accept(struct stream *stream, struct peal_tls *tls,
                      const char *protocol);
int stream_tls_connect(struct stream *stream, const struct tls_wish *wish);

/* Says goodbye if that makes sense, and frees it. The socket is still open. */
void stream_tls_close(struct stream *stream);

enum stream_tls_status {
    STREAM_TLS_MORE,    /* on with it; for a read: `size` bytes are there */
    STREAM_TLS_SECURED, /* the handshake is done now; read on */
    STREAM_TLS_WAIT,    /* for the socket */
    STREAM_TLS_END,     /* the peer's close_notify */
    STREAM_TLS_BROKEN   /* errno tells how */
};

/* Goes on with the handshake; also what the side that connects begins with. */
enum stream_tls_status stream_tls_shake_hands(struct stream *stream);

/* Receives once, into the buffer of the loop. */
enum stream_tls_status stream_tls_receive(struct stream *stream);

/*
 * Takes what was received before there was TLS. BROKEN when it is more than a
 * peer can have to say that has not been answered.
 */
enum stream_tls_status stream_tls_feed(struct stream *stream, const char *data,
                                       size_t size);

/*
 * Goes through what was received: the handshake, then bytes for on_data, all at
 * once, at the beginning of the buffer.
 */
enum stream_tls_status stream_tls_read(struct stream *stream, size_t *size);

/*
 * Encrypts and sends from the front of the queue, without STREAM_KTLS. MORE:
 * `size` bytes have gone; WAIT: the socket takes no more; BROKEN.
 */
enum stream_tls_status stream_tls_write(struct stream *stream, size_t *size);

/* Sends what is kept. MORE: nothing is left; WAIT; BROKEN. */
enum stream_tls_status stream_tls_flush(struct stream *stream);

/* Encrypted bytes that are kept. */
size_t stream_tls_unsent(const struct stream *stream);

/* With STREAM_KTLS: this much of the queue has gone. */
void stream_tls_count(struct stream *stream, size_t size);

/*
 * The queue is empty: close_notify. As stream_tls_flush; after MORE the FIN may
 * go.
 */
enum stream_tls_status stream_tls_finish(struct stream *stream);

#endif
