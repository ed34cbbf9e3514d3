/*
 * What stands behind struct peal_tls: the options, and the OpenSSL contexts
 * made of them, which a reload replaces as a whole. Public functions on it are
 * in peal/tls.h. Any thread.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "peal/tls.h"

#include <openssl/ssl.h>

/* One more hold, for peal_tls_free to end. */
struct peal_tls *tls_ref(struct peal_tls *tls);

/*
 * A connection's side that accepts, by what is loaded now; NULL without memory.
 * `protocol` is the ALPN name that is spoken, "" for none; static storage.
 */
SSL *tls_accept(struct peal_tls *tls, const char *protocol);

#endif
