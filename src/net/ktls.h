/*
 * TLS in the kernel (kTLS), for what is sent. OpenSSL agrees on the keys with
 * the peer and hands them over; from then on plain calls send what the kernel
 * encrypts, and other records than data are told from it by their type. What a
 * socket takes may then be with the kernel's TLS and not yet with its TCP, and
 * is lost when the stream ends before that. Part of stream_tls.c.
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

/* What the kernel has encrypted, from where on. */
struct ktls_account {
    uint64_t position; /* in the stream of TCP, where its first record is */
    uint64_t record;   /* the number of that */
    uint64_t bytes;    /* given to it since, counted by whoever sends */
};

/*
 * Gives `keys` to the kernel: STREAM_KTLS_SENDS, with an account that begins;
 * or _NO_KERNEL or _REFUSED.
 */
enum stream_ktls ktls_begin(int fd, void *keys, struct ktls_account *account);

/* As send(), for a record of this type. It is never sent in part. */
ssize_t ktls_send(int fd, uint8_t type, const void *data, size_t size);

/*
 * Whether TCP has all of it. If not, the kernel goes on as soon as the socket
 * is writable. True where it does not tell its numbers.
 */
bool ktls_is_flushed(int fd, const struct ktls_account *account);

#endif
