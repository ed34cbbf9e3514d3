/*
 * Between OpenSSL and the socket of a stream. Part of stream_tls.c; no other
 * file has to do with it.
 */
#ifndef NET_STREAM_TLS_BIO_H
#define NET_STREAM_TLS_BIO_H

#include "base/buffer.h"
#include "net/ktls.h"
#include "net/stream.h"

#include <openssl/ssl.h>

struct stream_tls {
    struct stream_events events; /* first: stream->events points here */
    struct stream *stream;
    SSL *ssl;
    const char *in; /* received in this turn and not yet read */
    size_t in_size;
    struct buffer unsent;        /* encrypted */
    uint32_t encrypted;          /* bytes of the queue that are in `unsent` */
    int error;                   /* errno of the socket, or 0 */
    const char *problem;         /* what TLS itself has failed for, or NULL */
    struct tls_session *session; /* of the side that connects */
    int64_t bytes;               /* of MEM_TLS that are its share */
    int64_t bytes_at_rest;       /* estimated: between two records */
    bool has_ended;              /* nothing more can be received */
    bool is_broken;      /* OpenSSL must not be asked to write any more */
    uint8_t ktls;        /* enum stream_ktls */
    uint8_t record_type; /* of what OpenSSL writes when the kernel encrypts */
    struct ktls_account kernels; /* what that has encrypted */
};

/*
 * What OpenSSL reads from and writes to. It takes everything: what the socket
 * does not take is kept in `unsent`. NULL without memory.
 */
BIO *stream_tls_bio_new(struct stream_tls *tls);

/* Sends what the socket takes; `size` becomes that. False when it is broken. */
bool stream_tls_send(struct stream_tls *tls, const char *data, size_t *size);

#endif
