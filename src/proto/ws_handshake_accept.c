/*
 * The accept value (RFC 6455, 4.2.2): base64 of SHA-1 over key and GUID.
 *
 * Looking up the digest and making a context cost more than hashing 60 bytes,
 * so the digest is fetched once per process and the context kept per thread.
 */
#include <openssl/evp.h>
#include <pthread.h>

#include "base/base64.h"
#include "proto/ws_handshake.h"

#define SHA1_SIZE 20

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MD *sha1;          /* NULL: this OpenSSL has none to give */
static pthread_key_t at_exit; /* frees the context of a thread that ends */
static bool is_ready;

static _Thread_local EVP_MD_CTX *context;

static void free_context(void *ended)
{
    EVP_MD_CTX_free(ended);
    context = NULL;
}

static void fetch(void)
{
    sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    is_ready = sha1 != NULL && pthread_key_create(&at_exit, free_context) == 0;
}

/* Makes sure that this thread has a context. */
static int prepare(void)
{
    pthread_once(&once, fetch);
    if (!is_ready) {
        return PEAL_ESYSTEM;
    }
    EVP_MD_CTX *fresh = EVP_MD_CTX_new();

    if (fresh == NULL) {
        return PEAL_ENOMEM;
    }
    if (pthread_setspecific(at_exit, fresh) != 0) {
        EVP_MD_CTX_free(fresh);
        return PEAL_ENOMEM;
    }
    context = fresh;
    return 0;
}

int ws_accept(struct peal_slice key, char out[WS_ACCEPT_SIZE])
{
    unsigned char digest[SHA1_SIZE];

    if (context == NULL) {
        int rc = prepare();

        if (rc < 0) {
            return rc;
        }
    }
    if (EVP_DigestInit_ex2(context, sha1, NULL) != 1 ||
        EVP_DigestUpdate(context, key.data, key.size) != 1 ||
        EVP_DigestUpdate(context, guid, sizeof guid - 1) != 1 ||
        EVP_DigestFinal_ex(context, digest, NULL) != 1) {
        return PEAL_ESYSTEM;
    }
    base64_encode(out, digest, sizeof digest);
    return 0;
}
