/*
 * What OpenSSL takes of memory. Any thread.
 */
#ifndef NET_TLS_MEMORY_H
#define NET_TLS_MEMORY_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

/* Whether each allocation of OpenSSL is counted: peal_tls_count_memory. */
bool tls_memory_is_counted(void);

/*
 * Then: bytes that OpenSSL has taken on the calling thread, less what it has
 * given back there. Between two calls it changes by what a connection has taken
 * meanwhile.
 */
int64_t tls_memory_taken(void);

/*
 * If not: what a connection has, by the state that it is in, without what is of
 * a record that has come in part; and what that has. Within a tenth of the
 * truth with OpenSSL 3.0, which a test makes sure of.
 */
int64_t tls_memory_estimate(const SSL *ssl);
int64_t tls_memory_estimate_record(const SSL *ssl);

#endif
