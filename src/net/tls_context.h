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

struct tls_policy {
    enum peal_tls_version version_min;
    const char *ciphers;      /* NULL: peal's choice */
    const char *ciphersuites; /* the same */
};

/* What both sides speak. Errors as peal_tls_new. */
int tls_context_set_policy(SSL_CTX *context, const struct tls_policy *policy,
                           const struct tls_error *error);

/* 0; PEAL_ENOTFOUND or PEAL_EACCESS: a wrong path, told from wrong content. */
int tls_context_check_file(const char *path, const struct tls_error *error);

/* Loads a certificate and its key; NULL: it is in the same file. */
int tls_context_load_identity(SSL_CTX *context, const char *certificate,
                              const char *key, const struct tls_error *error);

/* When the first certificate that the context knows of expires: Unix time. */
int64_t tls_context_expiry(SSL_CTX *context);

/* Sets the ALPN name that a connection agrees to; static storage. */
void tls_context_set_protocol(SSL *ssl, const char *protocol);

/*
 * Writes what went wrong, then the first reason in OpenSSL's queue, if any, and
 * empties that.
 */
__attribute__((format(printf, 2, 3))) void
tls_context_explain(const struct tls_error *error, const char *format, ...);

#endif
