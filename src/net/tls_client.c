#include "net/tls_client.h"

#include "base/assert.h"
#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#define TLS_CLIENT_NAME_MAX 255

struct tls_session {
    SSL_SESSION *session;
    SSL_CTX *context; /* by whose trust it was made */
};

/* --- Sessions ------------------------------------------------------------- */

void tls_session_free(struct tls_session *session)
{
    if (session != NULL) {
        SSL_SESSION_free(session->session);
        SSL_CTX_free(session->context);
        mem_free(session);
    }
}

/*
 * For OpenSSL: there is a session to keep. It is a copy that is kept, because
 * OpenSSL spoils the original when the connection breaks, and a connection that
 * breaks is when it is wanted.
 */
static int tls_client_keep(SSL *ssl, SSL_SESSION *original)
{
    struct tls_session **kept = SSL_get_app_data(ssl);
    struct tls_session *session = mem_zalloc(sizeof(*session));

    if (session == NULL) {
        return 0;
    }
    session->session = SSL_SESSION_dup(original);
    session->context = SSL_get_SSL_CTX(ssl);
    SSL_CTX_up_ref(session->context);
    if (session->session == NULL) {
        tls_session_free(session);
        return 0;
    }
    tls_session_free(*kept);
    *kept = session;
    return 0;
}

/* --- The context ---------------------------------------------------------- */

static int tls_client_load_trust(SSL_CTX *context,
                                 const struct peal_tls_client_options *options,
                                 const struct tls_error *error)
{
    const char *file = options->ca_file;
    const char *dir = options->ca_dir;
    int rc = file != NULL ? tls_context_check_file(file, error) : PEAL_OK;

    if (rc == PEAL_OK && dir != NULL) {
        rc = tls_context_check_file(dir, error);
    }
    if (rc < 0) {
        return rc;
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    /* What is in ca_file is trusted, be it a root or below one. */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context),
                                X509_V_FLAG_PARTIAL_CHAIN);
    if (file == NULL && dir == NULL) {
        if (SSL_CTX_set_default_verify_paths(context) != 1) {
            tls_context_explain(error, "the system's authorities");
            return PEAL_ETLS;
        }
        ERR_clear_error(); /* a path of the system's that is empty */
        return PEAL_OK;
    }
    if (file != NULL && SSL_CTX_load_verify_file(context, file) != 1) {
        tls_context_explain(error, "ca_file %s", file);
        return PEAL_ETLS;
    }
    if (dir != NULL && SSL_CTX_load_verify_dir(context, dir) != 1) {
        tls_context_explain(error, "ca_dir %s", dir);
        return PEAL_ETLS;
    }
    return PEAL_OK;
}

int tls_client_context_new(SSL_CTX **out,
                           const struct peal_tls_client_options *options,
                           const struct tls_error *error)
{
    const struct tls_policy policy = {
        .version_min = options->version_min,
        .ciphers = options->ciphers,
        .ciphersuites = options->ciphersuites,
    };
    SSL_CTX *context;
    int rc;

    ERR_clear_error();
    context = SSL_CTX_new(TLS_client_method());
    if (context == NULL) {
        tls_context_explain(error, "out of memory");
        return PEAL_ENOMEM;
    }
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT |
                                                SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, tls_client_keep);
    rc = tls_context_set_policy(context, &policy, error);
    if (rc == PEAL_OK && options->certificate_file != NULL) {
        rc = tls_context_load_identity(context, options->certificate_file,
                                       options->key_file, error);
    }
    if (rc == PEAL_OK && !options->insecure_trust_anybody) {
        rc = tls_client_load_trust(context, options, error);
    }
    if (rc < 0) {
        SSL_CTX_free(context);
        return rc;
    }
    *out = context;
    return PEAL_OK;
}

/* --- Connections ---------------------------------------------------------- */

/* Verified by either; asked for by name only (RFC 6066, 3). */
static bool tls_client_set_name(SSL *ssl, const char *given)
{
    char name[TLS_CLIENT_NAME_MAX + 1];
    size_t size = strlen(given);

    ASSERT(size > 0 && size <= TLS_CLIENT_NAME_MAX);
    memcpy(name, given, size + 1);
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1) {
        return true;
    }
    ERR_clear_error(); /* it is no IP address */
    if (name[size - 1] == '.' && size > 1) {
        name[size - 1] = '\0'; /* that the name is whole is no part of it */
    }
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return SSL_set1_host(ssl, name) == 1 &&
           SSL_set_tlsext_host_name(ssl, name) == 1;
}

static bool tls_client_set_protocol(SSL *ssl, const char *protocol)
{
    unsigned char list[32];
    size_t size = strlen(protocol);

    ASSERT(size < sizeof(list));
    list[0] = (unsigned char)size;
    memcpy(list + 1, protocol, size);
    return size == 0 || SSL_set_alpn_protos(ssl, list, (unsigned)size + 1) == 0;
}

bool tls_client_prepare(SSL *ssl, const struct tls_wish *wish,
                        struct tls_session **kept)
{
    const struct tls_session *session = wish->session;

    SSL_set_connect_state(ssl);
    SSL_set_app_data(ssl, (void *)kept);
    if (session != NULL && session->context == SSL_get_SSL_CTX(ssl) &&
        SSL_set_session(ssl, session->session) != 1) {
        return false;
    }
    return tls_client_set_name(ssl, wish->server_name) &&
           tls_client_set_protocol(ssl, wish->protocol);
}
