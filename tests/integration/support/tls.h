/* OpenSSL as the client, on a blocking socket with a deadline. */
#ifndef SUPPORT_TLS_H
#define SUPPORT_TLS_H

#include "support/peer.h"

#include <openssl/ssl.h>

struct tls_peer {
    struct peer peer;
    SSL_CTX *context;
    SSL *ssl;
};

struct tls_wish {
    int version;           /* the only one; 0: any */
    const char *cipher;    /* the only one, by OpenSSL's name; NULL: any */
    const char *name;      /* of the server */
    const char *identity;  /* of the client: certificates_make */
    const char *authority; /* whom it trusts, to check the name */
    const char *alpn;      /* with its length before it */
    SSL_SESSION *session;
    uint8_t fragments; /* most bytes in a record, as RFC 6066, 4, says it */
    bool is_tcp; /* for whoever chooses the address by it */
    int buffer_bytes;
    const char *header; /* of the PROXY protocol, to go first */
    bool is_joined;     /* in one segment with the hello; without a header: the
                           end of the handshake with what is written next */
};

/* Tries the handshake; false when the client or the server does not agree. */
bool tls_dial(struct tls_peer *client, const char *address,
              const struct tls_wish *wish);

void tls_hang_up(struct tls_peer *client);

/* All of it. */
void tls_write(struct tls_peer *client, const void *data, size_t size);
void tls_read(struct tls_peer *client, char *out, size_t size);

/* The next that comes is the end, said by a close_notify. */
void tls_expect_end(struct tls_peer *client);

/* Holds back what is written, or sends it. */
void tls_cork(struct tls_peer *client, int is_on);

#endif
