#include "net/tls_memory.h"

#include "base/mem.h"
#include "peal/tls.h"

#include <openssl/crypto.h>
#include <openssl/x509.h>
#include <string.h>

/* [I] */
static bool tls_memory_counted;

static _Thread_local int64_t tls_memory_mine;

static void *tls_memory_allocate(size_t size, const char *file, int line)
{
    void *block = size > 0 ? mem_alloc_in(MEM_TLS, size) : NULL;

    (void)file;
    (void)line;
    tls_memory_mine += (int64_t)mem_size(block);
    return block;
}

static void tls_memory_release(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    tls_memory_mine -= (int64_t)mem_size(block);
    mem_free_in(MEM_TLS, block);
}

/* As OpenSSL's own: size 0 frees. */
static void *tls_memory_reallocate(void *block, size_t size, const char *file,
                                   int line)
{
    int64_t before = (int64_t)mem_size(block);
    void *moved;

    if (size == 0) {
        tls_memory_release(block, file, line);
        return NULL;
    }
    moved = mem_realloc_in(MEM_TLS, block, size);
    if (moved != NULL) {
        tls_memory_mine += (int64_t)mem_size(moved) - before;
    }
    return moved;
}

int peal_tls_count_memory(void)
{
    if (!tls_memory_counted) {
        tls_memory_counted =
            CRYPTO_set_mem_functions(tls_memory_allocate, tls_memory_reallocate,
                                     tls_memory_release) == 1;
    }
    return tls_memory_counted ? PEAL_OK : PEAL_ESTATE;
}

bool tls_memory_is_counted(void)
{
    return tls_memory_counted;
}

int64_t tls_memory_taken(void)
{
    return tls_memory_mine;
}

/* --- Estimates ------------------------------------------------------------ */

/* Of a connection that has not begun; in its handshake; and after it. */
#define TLS_MEMORY_NEW 8816
#define TLS_MEMORY_SHAKING 43600
#define TLS_MEMORY_1_2 13100
#define TLS_MEMORY_1_3 13850

/* The side that connects: the session once more, with its ticket, to keep. */
#define TLS_MEMORY_SESSION 2300

/* A buffer for the largest record. */
#define TLS_MEMORY_RECORD 16800

/* A certificate has some times its length, the less so the longer it is. */
#define TLS_MEMORY_CERTIFICATE 4500

static int64_t tls_memory_certificate(const X509 *certificate)
{
    int size = i2d_X509(certificate, NULL);

    return TLS_MEMORY_CERTIFICATE + (size > 0 ? size : 0);
}

/* What the peer has shown. */
static int64_t tls_memory_certificates(const SSL *ssl)
{
    const X509 *own = SSL_get0_peer_certificate(ssl);
    const STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
    int64_t sum = 0;

    /* The side that connects has it in the chain. */
    if (own != NULL && (SSL_is_server(ssl) || sk_X509_num(chain) < 1)) {
        sum += tls_memory_certificate(own);
    }
    for (int i = 0; i < sk_X509_num(chain); i++) {
        sum += tls_memory_certificate(sk_X509_value(chain, i));
    }
    return sum;
}

int64_t tls_memory_estimate(const SSL *ssl)
{
    if (SSL_in_before(ssl)) {
        return TLS_MEMORY_NEW;
    }
    if (SSL_is_init_finished(ssl) == 0) {
        return TLS_MEMORY_SHAKING;
    }
    return (SSL_version(ssl) >= TLS1_3_VERSION ? TLS_MEMORY_1_3
                                               : TLS_MEMORY_1_2) +
           (SSL_is_server(ssl) ? 0 : TLS_MEMORY_SESSION) +
           tls_memory_certificates(ssl);
}

int64_t tls_memory_estimate_record(const SSL *ssl)
{
    /* "RB": it has the head of a record, and waits for its body. */
    return SSL_has_pending(ssl) == 1 ||
                   strcmp(SSL_rstate_string(ssl), "RB") == 0
               ? TLS_MEMORY_RECORD
               : 0;
}
