/*
 * A generation of certificates: OpenSSL contexts made from files, with the
 * policy of peal, and the choice between them by server name. Part of tls.c.
 */
#ifndef NET_TLS_CONTEXT_H
#define NET_TLS_CONTEXT_H

#include "peal/tls.h"

#include <openssl/ssl.h>

/* Where to say what went wrong. */
struct tls_error {
    char *text; /* may be NULL */
    size_t size;
};

/*
 * The context of the first certificate, which knows the others. It lives as
 * long as a connection made from it. Errors as peal_tls_new.
 */
int tls_context_new(SSL_CTX **out, const struct peal_tls_options *options,
                    const struct tls_error *error);

/* Sets the ALPN name that a connection agrees to; static storage. */
void tls_context_set_protocol(SSL *ssl, const char *protocol);

/*
 * Writes what went wrong, then the first reason in OpenSSL's queue, if any, and
 * empties that.
 */
__attribute__((format(printf, 2, 3))) void
tls_context_explain(const struct tls_error *error, const char *format, ...);

#endif
