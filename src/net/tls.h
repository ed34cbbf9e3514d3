/*
 * What stands behind struct peal_tls: the options, and the OpenSSL contexts
 * made of them, which a reload replaces as a whole. Public functions on it are
 * in peal/tls.h. Any thread.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "peal/tls.h"

#include <openssl/ssl.h>

/* Whether it is for the side that connects. */
bool tls_is_client(const struct peal_tls *tls);

/* Whether it verifies no server. */
bool tls_trusts_anybody(const struct peal_tls *tls);

/* One more hold, for peal_tls_free to end. */
struct peal_tls *tls_ref(struct peal_tls *tls);

/*
 * A connection's side that accepts, by what is loaded now; NULL without memory.
 * `protocol` is the ALPN name that is spoken, "" for none; static storage.
 */
SSL *tls_accept(struct peal_tls *tls, const char *protocol);

/* What a connection can be begun with that follows another. */
struct tls_session;

/* What a connection is to be. */
struct tls_wish {
    struct peal_tls *tls;
    const char *server_name;           /* or IP address: to be verified */
    const char *protocol;              /* ALPN; "": none */
    const struct tls_session *session; /* NULL: none */
};

/*
 * A connection's side that connects; NULL without memory. Sessions of it are
 * put into `*kept`, which outlives it: the last one, to be freed by whoever has
 * it. A session of contexts that have been replaced is not used.
 */
SSL *tls_connect(const struct tls_wish *wish, struct tls_session **kept);

/* NULL is allowed. */
void tls_session_free(struct tls_session *session);

#endif
