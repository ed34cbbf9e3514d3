#include "net/tls.h"

#include "base/assert.h"
#include "base/mem.h"
#include "net/tls_client.h"
#include "net/tls_context.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

struct peal_tls {
    bool is_client; /* [I] */
    /* [I] of one of them; all texts are our own */
    struct peal_tls_options options;
    struct peal_tls_client_options client;
    pthread_mutex_t lock;
    SSL_CTX *context; /* [lock] of the last load that went well */
    _Atomic unsigned references;
};

/* --- Copies of the options ------------------------------------------------ */

/* Replaces a text by a copy; NULL stays. False without memory. */
static bool tls_copy_text(const char **text)
{
    if (*text == NULL) {
        return true;
    }
    *text = mem_copy(*text, strlen(*text));
    return *text != NULL;
}

static void tls_free_names(const char *const *names)
{
    for (size_t i = 0; names != NULL && names[i] != NULL; i++) {
        mem_free((char *)names[i]);
    }
    mem_free((void *)names);
}

static bool tls_copy_names(const char *const **names)
{
    const char *const *given = *names;
    size_t count = 0;
    const char **copy;

    if (given == NULL) {
        return true;
    }
    while (given[count] != NULL) {
        count++;
    }
    copy = mem_zalloc((count + 1) * sizeof(*copy));
    *names = (const char *const *)copy;
    for (size_t i = 0; copy != NULL && i < count; i++) {
        copy[i] = given[i];
        if (!tls_copy_text(&copy[i])) {
            return false;
        }
    }
    return copy != NULL;
}

/*
 * Both make what the options point to the struct's own. False without memory;
 * then what was not copied is NULL.
 */
static bool tls_copy_client_options(struct peal_tls_client_options *options)
{
    const char **texts[] = {&options->ca_file,          &options->ca_dir,
                            &options->certificate_file, &options->key_file,
                            &options->ciphers,          &options->ciphersuites};
    bool is_whole = true;

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        is_whole = tls_copy_text(texts[i]) && is_whole;
    }
    return is_whole;
}

static void tls_free_client_options(struct peal_tls_client_options *options)
{
    mem_free((char *)options->ca_file);
    mem_free((char *)options->ca_dir);
    mem_free((char *)options->certificate_file);
    mem_free((char *)options->key_file);
    mem_free((char *)options->ciphers);
    mem_free((char *)options->ciphersuites);
}

static bool tls_copy_options(struct peal_tls_options *options)
{
    const struct peal_tls_identity *given = options->identities;
    size_t count = options->identity_count;
    const char **texts[] = {&options->certificate_file, &options->key_file,
                            &options->ca_file, &options->ciphers,
                            &options->ciphersuites};
    struct peal_tls_identity *copy;
    bool is_whole = true;

    options->identities = NULL;
    options->identity_count = 0;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        is_whole = tls_copy_text(texts[i]) && is_whole;
    }
    if (count == 0 || !is_whole) {
        return is_whole;
    }
    copy = mem_zalloc(count * sizeof(*copy));
    if (copy == NULL) {
        return false;
    }
    options->identities = copy;
    options->identity_count = count;
    for (size_t i = 0; i < count && is_whole; i++) {
        copy[i] = given[i];
        is_whole = tls_copy_text(&copy[i].certificate_file);
        is_whole = tls_copy_text(&copy[i].key_file) && is_whole;
        is_whole = tls_copy_names(&copy[i].names) && is_whole;
    }
    return is_whole;
}

static void tls_free_options(struct peal_tls_options *options)
{
    for (size_t i = 0; i < options->identity_count; i++) {
        const struct peal_tls_identity *identity = &options->identities[i];

        mem_free((char *)identity->certificate_file);
        mem_free((char *)identity->key_file);
        tls_free_names(identity->names);
    }
    mem_free((void *)options->identities);
    mem_free((char *)options->certificate_file);
    mem_free((char *)options->key_file);
    mem_free((char *)options->ca_file);
    mem_free((char *)options->ciphers);
    mem_free((char *)options->ciphersuites);
}

/* --- Life ----------------------------------------------------------------- */

static int tls_check(const struct peal_tls_options *options,
                     const struct tls_error *error)
{
    if (options->size != sizeof(*options)) {
        tls_context_explain(error, "size is not that of the options");
    } else if (options->certificate_file == NULL) {
        tls_context_explain(error, "certificate_file is missing");
    } else if (options->verify > PEAL_TLS_VERIFY_REQUIRED) {
        tls_context_explain(error, "verify is out of range");
    } else if (options->verify >= PEAL_TLS_VERIFY_OPTIONAL &&
               options->ca_file == NULL) {
        tls_context_explain(error, "verify needs a ca_file");
    } else if (options->version_min > PEAL_TLS_1_3) {
        tls_context_explain(error, "version_min is out of range");
    } else {
        for (size_t i = 0; i < options->identity_count; i++) {
            if (options->identities[i].certificate_file == NULL) {
                tls_context_explain(error,
                                    "identity %zu has no certificate_file", i);
                return PEAL_EINVAL;
            }
        }
        return PEAL_OK;
    }
    return PEAL_EINVAL;
}

static int tls_check_client(const struct peal_tls_client_options *options,
                            const struct tls_error *error)
{
    if (options->size != sizeof(*options)) {
        tls_context_explain(error, "size is not that of the options");
    } else if (options->version_min > PEAL_TLS_1_3) {
        tls_context_explain(error, "version_min is out of range");
    } else if (options->key_file != NULL && options->certificate_file == NULL) {
        tls_context_explain(error, "key_file without a certificate_file");
    } else if (options->insecure_trust_anybody &&
               (options->ca_file != NULL || options->ca_dir != NULL)) {
        tls_context_explain(error, "insecure_trust_anybody with a ca_file or "
                                   "ca_dir, which would be ignored");
    } else {
        return PEAL_OK;
    }
    return PEAL_EINVAL;
}

/* With all files of the options. */
static int tls_load(SSL_CTX **out, const struct peal_tls *tls,
                    const struct tls_error *error)
{
    return tls->is_client ? tls_client_context_new(out, &tls->client, error)
                          : tls_context_new(out, &tls->options, error);
}

/* Takes over options whose texts are still the caller's. */
static int tls_new(struct peal_tls **out, const struct peal_tls *given,
                   const struct tls_error *error)
{
    struct peal_tls *tls = mem_alloc(sizeof(*tls));
    int rc;

    if (tls == NULL) {
        tls_context_explain(error, "out of memory");
        return PEAL_ENOMEM;
    }
    *tls = *given;
    pthread_mutex_init(&tls->lock, NULL);
    atomic_init(&tls->references, 1);
    if (tls->is_client ? tls_copy_client_options(&tls->client)
                       : tls_copy_options(&tls->options)) {
        rc = tls_load(&tls->context, tls, error);
    } else {
        tls_context_explain(error, "out of memory");
        rc = PEAL_ENOMEM;
    }
    if (rc < 0) {
        peal_tls_free(tls);
        return rc;
    }
    *out = tls;
    return PEAL_OK;
}

int peal_tls_new(struct peal_tls **tls, const struct peal_tls_options *options,
                 char *text, size_t text_size)
{
    const struct tls_error error = {text, text_size};
    int rc = tls_check(options, &error);

    return rc < 0
               ? rc
               : tls_new(tls, &(struct peal_tls){.options = *options}, &error);
}

int peal_tls_client_new(struct peal_tls **tls,
                        const struct peal_tls_client_options *options,
                        char *text, size_t text_size)
{
    const struct tls_error error = {text, text_size};
    int rc = tls_check_client(options, &error);

    return rc < 0 ? rc
                  : tls_new(tls,
                            &(struct peal_tls){
                                .is_client = true,
                                .client = *options,
                            },
                            &error);
}

int peal_tls_reload(struct peal_tls *tls, char *text, size_t text_size)
{
    const struct tls_error error = {text, text_size};
    SSL_CTX *context;
    SSL_CTX *old;
    int rc = tls_load(&context, tls, &error);

    if (rc < 0) {
        return rc;
    }
    pthread_mutex_lock(&tls->lock);
    old = tls->context;
    tls->context = context;
    pthread_mutex_unlock(&tls->lock);
    SSL_CTX_free(old); /* connections made from it hold it */
    return PEAL_OK;
}

bool tls_is_client(const struct peal_tls *tls)
{
    return tls->is_client;
}

bool tls_trusts_anybody(const struct peal_tls *tls)
{
    return tls->client.insecure_trust_anybody;
}

int64_t peal_tls_expiry(struct peal_tls *tls)
{
    int64_t expiry_s;

    pthread_mutex_lock(&tls->lock);
    expiry_s = tls_context_expiry(tls->context);
    pthread_mutex_unlock(&tls->lock);
    return expiry_s;
}

struct peal_tls *tls_ref(struct peal_tls *tls)
{
    atomic_fetch_add_explicit(&tls->references, 1, memory_order_relaxed);
    return tls;
}

void peal_tls_free(struct peal_tls *tls)
{
    if (tls == NULL || atomic_fetch_sub(&tls->references, 1) > 1) {
        return;
    }
    SSL_CTX_free(tls->context);
    tls_free_options(&tls->options);
    tls_free_client_options(&tls->client);
    pthread_mutex_destroy(&tls->lock);
    mem_free(tls);
}

/* --- Connections ---------------------------------------------------------- */

static SSL *tls_begin(struct peal_tls *tls)
{
    SSL *ssl;

    pthread_mutex_lock(&tls->lock);
    ssl = SSL_new(tls->context);
    pthread_mutex_unlock(&tls->lock);
    return ssl;
}

SSL *tls_accept(struct peal_tls *tls, const char *protocol)
{
    SSL *ssl = tls_begin(tls);

    if (ssl != NULL) {
        tls_context_set_protocol(ssl, protocol);
        SSL_set_accept_state(ssl);
    }
    return ssl;
}

SSL *tls_connect(const struct tls_wish *wish, struct tls_session **kept)
{
    SSL *ssl = tls_begin(wish->tls);

    if (ssl != NULL && !tls_client_prepare(ssl, wish, kept)) {
        SSL_free(ssl);
        ssl = NULL;
    }
    return ssl;
}
