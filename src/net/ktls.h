/*
 * TLS in the kernel (kTLS), for what is sent. OpenSSL agrees on the keys with
 * the peer and hands them over; from then on plain calls send what the kernel
 * encrypts, and other records than data are told from it by their type. What a
 * socket takes may then be with the kernel's TLS and not yet with its TCP,
 * which knows nothing of it at the end of the stream. Part of stream_tls.c.
 */
#ifndef NET_KTLS_H
#define NET_KTLS_H

#include "net/stream.h"

#include <sys/types.h>

/*
 * How OpenSSL asks a BIO for it, besides BIO_CTRL_GET_KTLS_SEND: openssl/bio.h
 * reserves these numbers, which all of OpenSSL 3 has to keep, because libssl
 * says them to the BIOs of libcrypto.
 */
enum ktls_control {
    KTLS_CONTROL_KEYS = 72, /* number: not 0 to send; pointer: the keys */
    KTLS_CONTROL_TYPE = 74  /* number: of the record that is written next */
};

/* Gives `keys` to the kernel: STREAM_KTLS_SENDS, _NO_KERNEL or _REFUSED. */
enum stream_ktls ktls_begin(int fd, void *keys);

/* As send(), for a record of this type. It is never sent in part. */
ssize_t ktls_send(int fd, uint8_t type, const void *data, size_t size);

/*
 * Whether TCP has room for what the kernel's TLS may hold back, at most one
 * record, and one more: then the next one that is sent takes it along. When
 * there is none, the socket becomes writable later.
 */
bool ktls_has_room(int fd);

#endif
