#include "net/tls_context.h"

#include "base/assert.h"
#include "base/mem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

/*
 * TLS 1.2 with forward secrecy and authenticated encryption, nothing else. For
 * both versions AES-128 comes first, as browsers have it: what AES-256 and
 * SHA-384 are stronger by nobody can use, and they cost a quarter more.
 */
#define TLS_CONTEXT_CIPHERS                                                    \
    "ECDHE+AESGCM+AES128:ECDHE+AESGCM+AES256:ECDHE+CHACHA20"
#define TLS_CONTEXT_CIPHERSUITES                                               \
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"                           \
    "TLS_CHACHA20_POLY1305_SHA256"

#define TLS_CONTEXT_LIFETIME_S 7200

/* One: a client that comes back uses one, and each costs it a kilobyte. */
#define TLS_CONTEXT_TICKETS 1

/* Sessions are ours to take up again wherever they were begun. */
static const unsigned char tls_context_session_id[] = "peal";

/* A name that an identity is for. */
struct tls_name {
    struct tls_name *next;
    SSL_CTX *context;
    size_t size;
    char pattern[]; /* "*.example.com" or "example.com" */
};

/* --- Errors --------------------------------------------------------------- */

/* The first reason in the queue, or NULL. Static or in `buffer`. */
static const char *tls_context_reason(void)
{
    unsigned long code = ERR_peek_error();

    if (code == 0) {
        return NULL;
    }
    return ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code))
                                  : ERR_reason_error_string(code);
}

void tls_context_explain(const struct tls_error *error, const char *format, ...)
{
    const char *reason = tls_context_reason();
    va_list arguments;

    if (error->text != NULL && error->size > 0) {
        va_start(arguments, format);
        vsnprintf(error->text, error->size, format, arguments);
        va_end(arguments);
        if (reason != NULL) {
            size_t used = strlen(error->text);

            snprintf(error->text + used, error->size - used, ": %s", reason);
        }
    }
    ERR_clear_error();
}

/* --- The choice of a certificate ------------------------------------------ */

static void tls_context_free_names(struct tls_name *names)
{
    while (names != NULL) {
        struct tls_name *name = names;

        names = name->next;
        SSL_CTX_free(name->context);
        mem_free(name);
    }
}

/* The first context goes, and with it all that it chooses from. */
static void tls_context_freed(void *parent, void *names, CRYPTO_EX_DATA *data,
                              int index, long argument, void *pointer)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)argument;
    (void)pointer;
    tls_context_free_names(names);
}

static pthread_once_t tls_context_once = PTHREAD_ONCE_INIT;
static int tls_context_index; /* of the names in a context */

static void tls_context_make_index(void)
{
    tls_context_index =
        SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, tls_context_freed);
}

/* "*.example.com" is for one label before the dot, and for no deeper name. */
static bool tls_context_matches(const struct tls_name *name, const char *text,
                                size_t size, bool is_wildcard)
{
    const char *dot;

    if (is_wildcard != (name->pattern[0] == '*')) {
        return false;
    }
    if (!is_wildcard) {
        return size == name->size &&
               strncasecmp(name->pattern, text, size) == 0;
    }
    dot = memchr(text, '.', size);
    if (dot == NULL || dot == text) {
        return false;
    }
    size -= (size_t)(dot - text);
    return size == name->size - 1 &&
           strncasecmp(name->pattern + 1, dot, size) == 0;
}

static int tls_context_choose(SSL *ssl, int *alert, void *unused)
{
    const char *text = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const struct tls_name *names =
        SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), tls_context_index);

    (void)alert;
    (void)unused;
    if (text == NULL) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    for (int is_wildcard = 0; is_wildcard < 2; is_wildcard++) {
        for (const struct tls_name *name = names; name != NULL;
             name = name->next) {
            if (tls_context_matches(name, text, strlen(text),
                                    is_wildcard == 1)) {
                SSL_set_SSL_CTX(ssl, name->context);
                return SSL_TLSEXT_ERR_OK;
            }
        }
    }
    /* Kept in the facts of the connection all the same. */
    return SSL_TLSEXT_ERR_OK;
}

/* --- ALPN ----------------------------------------------------------------- */

void tls_context_set_protocol(SSL *ssl, const char *protocol)
{
    SSL_set_app_data(ssl, (void *)protocol);
}

/*
 * Who offers protocols of which none is spoken here must be told (RFC 7301,
 * 3.2). A connection that speaks none does not look.
 */
static int tls_context_agree(SSL *ssl, const unsigned char **out,
                             unsigned char *out_size,
                             const unsigned char *offered,
                             unsigned offered_size, void *unused)
{
    const char *protocol = SSL_get_app_data(ssl);
    size_t size = strlen(protocol);

    (void)unused;
    if (size == 0) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    /* OpenSSL has checked that the lengths add up. */
    for (unsigned at = 0; at < offered_size; at += 1u + offered[at]) {
        if (offered[at] == size &&
            memcmp(offered + at + 1, protocol, size) == 0) {
            *out = offered + at + 1;
            *out_size = offered[at];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* --- Policy --------------------------------------------------------------- */

/* A key that wants a passphrase is an error; nobody is asked for it. */
static int tls_context_no_passphrase(char *out, int size, int is_write,
                                     void *unused)
{
    (void)out;
    (void)size;
    (void)is_write;
    (void)unused;
    return 0;
}

static void tls_context_set_sessions(SSL_CTX *context,
                                     const struct peal_tls_options *options)
{
    uint32_t lifetime_s = options->session_lifetime_s;

    /* Without a cache, what a client does not keep is nowhere. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(context, tls_context_session_id,
                                   sizeof(tls_context_session_id) - 1);
    if (lifetime_s == PEAL_TLS_NO_RESUMPTION) {
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(context, 0);
        return;
    }
    SSL_CTX_set_num_tickets(context, TLS_CONTEXT_TICKETS);
    SSL_CTX_set_timeout(context,
                        lifetime_s == 0 ? TLS_CONTEXT_LIFETIME_S : lifetime_s);
}

int tls_context_set_policy(SSL_CTX *context, const struct tls_policy *policy,
                           const struct tls_error *error)
{
    const char *ciphers =
        policy->ciphers != NULL ? policy->ciphers : TLS_CONTEXT_CIPHERS;
    const char *ciphersuites = policy->ciphersuites != NULL
                                   ? policy->ciphersuites
                                   : TLS_CONTEXT_CIPHERSUITES;

    SSL_CTX_set_min_proto_version(context, policy->version_min == PEAL_TLS_1_3
                                               ? TLS1_3_VERSION
                                               : TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION |
                                     SSL_OP_NO_RENEGOTIATION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_default_passwd_cb(context, tls_context_no_passphrase);
    if (SSL_CTX_set_cipher_list(context, ciphers) != 1) {
        tls_context_explain(error, "ciphers \"%s\"", ciphers);
        return PEAL_ETLS;
    }
    if (SSL_CTX_set_ciphersuites(context, ciphersuites) != 1) {
        tls_context_explain(error, "ciphersuites \"%s\"", ciphersuites);
        return PEAL_ETLS;
    }
    return PEAL_OK;
}

/* --- Files ---------------------------------------------------------------- */

int tls_context_check_file(const char *path, const struct tls_error *error)
{
    if (access(path, R_OK) == 0) {
        return PEAL_OK;
    }

    int rc = errno == ENOENT || errno == ENOTDIR ? PEAL_ENOTFOUND
                                                 : PEAL_EACCESS;

    tls_context_explain(error, "%s: %s", path, strerror(errno));
    return rc;
}

int tls_context_load_identity(SSL_CTX *context, const char *certificate,
                              const char *key, const struct tls_error *error)
{
    int rc = tls_context_check_file(certificate, error);

    key = key != NULL ? key : certificate;
    if (rc == PEAL_OK) {
        rc = tls_context_check_file(key, error);
    }
    if (rc < 0) {
        return rc;
    }
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1) {
        tls_context_explain(error, "certificate_file %s", certificate);
        return PEAL_ETLS;
    }
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
        tls_context_explain(error, "key_file %s (for %s)", key, certificate);
        return PEAL_ETLS;
    }
    if (SSL_CTX_check_private_key(context) != 1) {
        tls_context_explain(error, "key_file %s is not the key of %s", key,
                            certificate);
        return PEAL_ETLS;
    }
    return PEAL_OK;
}

static int tls_context_load_authorities(SSL_CTX *context,
                                        const struct peal_tls_options *options,
                                        const struct tls_error *error)
{
    STACK_OF(X509_NAME) *names;
    int mode = SSL_VERIFY_PEER;
    int rc;

    if (options->verify < PEAL_TLS_VERIFY_OPTIONAL) {
        return PEAL_OK;
    }
    rc = tls_context_check_file(options->ca_file, error);
    if (rc < 0) {
        return rc;
    }
    names = SSL_load_client_CA_file(options->ca_file);
    if (names == NULL ||
        SSL_CTX_load_verify_file(context, options->ca_file) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        tls_context_explain(error, "ca_file %s", options->ca_file);
        return PEAL_ETLS;
    }
    SSL_CTX_set_client_CA_list(context, names);
    if (options->verify == PEAL_TLS_VERIFY_REQUIRED) {
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    }
    SSL_CTX_set_verify(context, mode, NULL);
    return PEAL_OK;
}

/* One context, with the policy that all have. */
static int tls_context_make(SSL_CTX **out,
                            const struct peal_tls_options *options,
                            const char *certificate, const char *key,
                            const struct tls_error *error)
{
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    const struct tls_policy policy = {
        .version_min = options->version_min,
        .ciphers = options->ciphers,
        .ciphersuites = options->ciphersuites,
    };
    int rc = PEAL_OK;

    if (context == NULL) {
        tls_context_explain(error, "out of memory");
        return PEAL_ENOMEM;
    }
    if (options->ktls) {
        SSL_CTX_set_options(context, SSL_OP_ENABLE_KTLS);
    }
    SSL_CTX_set_alpn_select_cb(context, tls_context_agree, NULL);
    tls_context_set_sessions(context, options);
    rc = tls_context_set_policy(context, &policy, error);
    if (rc == PEAL_OK) {
        rc = tls_context_load_identity(context, certificate, key, error);
    }
    if (rc == PEAL_OK) {
        rc = tls_context_load_authorities(context, options, error);
    }
    if (rc < 0) {
        SSL_CTX_free(context);
        return rc;
    }
    *out = context;
    return PEAL_OK;
}

/* --- Identities ----------------------------------------------------------- */

static int tls_context_add_name(struct tls_name **names, SSL_CTX *context,
                                const char *pattern, size_t size)
{
    struct tls_name *name;

    if (size == 0 || size > 255 || memchr(pattern, '\0', size) != NULL) {
        return PEAL_EINVAL;
    }
    name = mem_zalloc(sizeof(*name) + size + 1);
    if (name == NULL) {
        return PEAL_ENOMEM;
    }
    memcpy(name->pattern, pattern, size);
    name->size = size;
    name->context = context;
    SSL_CTX_up_ref(context);
    name->next = *names;
    *names = name;
    return PEAL_OK;
}

/* The DNS names that the certificate is for. Returns how many, or an error. */
static int tls_context_add_own_names(struct tls_name **names, SSL_CTX *context)
{
    const X509 *certificate = SSL_CTX_get0_certificate(context);
    GENERAL_NAMES *all =
        X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    int count = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(all) && count >= 0; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(all, i);

        if (name->type == GEN_DNS) {
            const char *text =
                (const char *)ASN1_STRING_get0_data(name->d.dNSName);
            size_t size = (size_t)ASN1_STRING_length(name->d.dNSName);
            int rc = tls_context_add_name(names, context, text, size);

            count = rc == PEAL_ENOMEM ? rc : count + (rc == PEAL_OK);
        }
    }
    GENERAL_NAMES_free(all);
    return count;
}

static int tls_context_add_identity(struct tls_name **names,
                                    const struct peal_tls_options *options,
                                    const struct peal_tls_identity *identity,
                                    const struct tls_error *error)
{
    SSL_CTX *context;
    int rc = tls_context_make(&context, options, identity->certificate_file,
                              identity->key_file, error);

    if (rc < 0) {
        return rc;
    }
    if (identity->names == NULL) {
        rc = tls_context_add_own_names(names, context);
        if (rc == 0) {
            tls_context_explain(error, "%s is for no DNS name",
                                identity->certificate_file);
            rc = PEAL_ETLS;
        }
    }
    for (size_t i = 0; identity->names != NULL && identity->names[i] != NULL;
         i++) {
        const char *name = identity->names[i];

        rc = tls_context_add_name(names, context, name, strlen(name));
        if (rc < 0) {
            tls_context_explain(error, "name \"%.64s\" of %s", name,
                                identity->certificate_file);
            break;
        }
    }
    SSL_CTX_free(context); /* its names hold it */
    return rc < 0 ? rc : PEAL_OK;
}

int tls_context_new(SSL_CTX **out, const struct peal_tls_options *options,
                    const struct tls_error *error)
{
    struct tls_name *names = NULL;
    SSL_CTX *context;
    int rc;

    pthread_once(&tls_context_once, tls_context_make_index);
    ERR_clear_error();
    rc = tls_context_make(&context, options, options->certificate_file,
                          options->key_file, error);
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < options->identity_count && rc == PEAL_OK; i++) {
        rc = tls_context_add_identity(&names, options, &options->identities[i],
                                      error);
    }
    if (rc == PEAL_OK &&
        SSL_CTX_set_ex_data(context, tls_context_index, names) != 1) {
        tls_context_explain(error, "out of memory");
        rc = PEAL_ENOMEM;
    }
    if (rc < 0) {
        tls_context_free_names(names);
        SSL_CTX_free(context);
        return rc;
    }
    SSL_CTX_set_tlsext_servername_callback(context, tls_context_choose);
    *out = context;
    return PEAL_OK;
}

/* --- Facts ---------------------------------------------------------------- */

static int64_t tls_context_own_expiry(SSL_CTX *context)
{
    const X509 *certificate = SSL_CTX_get0_certificate(context);
    struct tm time = {0};

    return certificate != NULL &&
                   ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &time) == 1
               ? (int64_t)timegm(&time)
               : 0;
}

int64_t tls_context_expiry(SSL_CTX *context)
{
    int64_t first_s = tls_context_own_expiry(context);
    const struct tls_name *name;

    pthread_once(&tls_context_once, tls_context_make_index);
    name = SSL_CTX_get_ex_data(context, tls_context_index);
    for (; name != NULL; name = name->next) {
        int64_t expiry_s = tls_context_own_expiry(name->context);

        first_s = expiry_s < first_s ? expiry_s : first_s;
    }
    return first_s;
}
