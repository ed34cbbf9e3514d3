/*
 * The side of TLS that connects: its context, whom it trusts, the name that it
 * verifies, and sessions that are taken up again. Part of tls.c.
 */
#ifndef NET_TLS_CLIENT_H
#define NET_TLS_CLIENT_H

#include "net/tls.h"
#include "net/tls_context.h"

/* Errors as peal_tls_client_new. */
int tls_client_context_new(SSL_CTX **out,
                           const struct peal_tls_client_options *options,
                           const struct tls_error *error);

/* Makes a connection what tls_connect says. False without memory. */
bool tls_client_prepare(SSL *ssl, const struct tls_wish *wish,
                        struct tls_session **kept);

#endif
