/*
 * tls.h - certificates, keys and what is asked of peers: made once, shared by
 * any number of listeners, or of links, and reloaded while they run.
 *
 * Stability: as peal.h. Set `size` to the size of the struct you compiled with;
 * zero means the default that a field's comment names.
 *
 * Threads: any, for every function.
 *
 * Lifetime: counted. A listener or link holds on to what it was given, so the
 * program may free its own hold as soon as it does not want to reload any more.
 * Options and the texts in them are copied.
 *
 *     struct peal_tls_options options = {
 *         .size = sizeof options,
 *         .certificate_file = "fullchain.pem",
 *         .key_file = "key.pem",
 *     };
 *     struct peal_tls *tls;
 *     char why[PEAL_TLS_ERROR_SIZE];
 *
 *     if (peal_tls_new(&tls, &options, why, sizeof why) < 0) {
 *         fprintf(stderr, "%s\n", why);
 *     }
 */
#ifndef PEAL_TLS_H
#define PEAL_TLS_H

#include <peal/peal.h>

#ifdef __cplusplus
extern "C" {
#endif

struct peal_tls;

/* Room for any explanation of an error; less cuts it short. */
#define PEAL_TLS_ERROR_SIZE 512

enum peal_tls_version { PEAL_TLS_VERSION_DEFAULT, PEAL_TLS_1_2, PEAL_TLS_1_3 };

/* Whether the peer must show a certificate that `ca_file` vouches for. */
enum peal_tls_verify {
    PEAL_TLS_VERIFY_DEFAULT,  /* of a server: none */
    PEAL_TLS_VERIFY_NONE,     /* it is not asked for one */
    PEAL_TLS_VERIFY_OPTIONAL, /* it may have none, but not a bad one */
    PEAL_TLS_VERIFY_REQUIRED  /* without a good one there is no connection */
};

/* A certificate for some of the names that a server is called by (SNI). */
struct peal_tls_identity {
    const char *certificate_file; /* PEM: its own first, then those above it */
    const char *key_file;         /* PEM; NULL: in certificate_file */
    /*
     * "example.com" or "*.example.com" (one label), NULL-terminated. NULL: the
     * DNS names that the certificate itself is for.
     */
    const char *const *names;
};

struct peal_tls_options {
    size_t size; /* sizeof(struct peal_tls_options) */

    /* For clients that name no server, or one that no identity is for. */
    const char *certificate_file;
    const char *key_file;

    /* Further certificates, by name. Exact names go before wildcards. */
    const struct peal_tls_identity *identities;
    size_t identity_count;

    enum peal_tls_verify verify;
    const char *ca_file; /* PEM; needed when clients are to be verified */

    enum peal_tls_version version_min; /* default 1.2 */
    const char *ciphers;      /* of 1.2, as OpenSSL writes them; ECDHE, AEAD */
    const char *ciphersuites; /* of 1.3; AES-128-GCM, AES-256-GCM, ChaCha20 */

    /*
     * How long a session may be taken up again without a full handshake;
     * default 7,200, PEAL_TLS_NO_RESUMPTION: never. Nothing is kept for it
     * here: clients keep it, sealed, in a ticket.
     */
    uint32_t session_lifetime_s;

    /*
     * Has the kernel encrypt what is sent (kTLS: Linux with CONFIG_TLS, the
     * module `tls` loaded), for ciphers of AES-GCM and ChaCha20; reading stays
     * with OpenSSL. A connection for which it cannot goes on with OpenSSL alone
     * (ktls_fallbacks, and one line in the log for each reason). A client that
     * asks for new keys in a session of TLS 1.3 (KeyUpdate with
     * update_requested) is closed, for the kernel keeps the old ones.
     */
    bool ktls;
};

#define PEAL_TLS_NO_RESUMPTION UINT32_MAX

/*
 * Reads the files and checks that they fit each other. When they do not, there
 * is no `*tls`, and `error`, which may be NULL, says in a line what is wrong
 * with which file.
 *
 * Returns 0; PEAL_ENOTFOUND or PEAL_EACCESS for a file that is not there or may
 * not be read; PEAL_ETLS for one that makes no sense: no PEM, a key of another
 * certificate, an unknown cipher; PEAL_EINVAL for options that do not go
 * together; PEAL_ENOMEM.
 */
PEAL_API int peal_tls_new(struct peal_tls **tls,
                          const struct peal_tls_options *options, char *error,
                          size_t error_size);

/*
 * For the side that connects (peal_link_options.tls). The server has to show a
 * certificate that is valid now, for the name or IP address that the link goes
 * to (RFC 6125; subjectAltName alone counts), and vouched for; nothing is sent
 * before that is known. Revocation is not asked about.
 */
struct peal_tls_client_options {
    size_t size; /* sizeof(struct peal_tls_client_options) */

    /*
     * Whom to trust: certificates in a PEM file, and in a folder with names as
     * `openssl rehash` makes them, which is looked into as needed. Both NULL:
     * whom the system trusts (OpenSSL's paths, SSL_CERT_FILE, SSL_CERT_DIR).
     */
    const char *ca_file;
    const char *ca_dir;

    /* To be shown when the server asks for one. PEM, as for servers. */
    const char *certificate_file;
    const char *key_file; /* NULL: in certificate_file */

    enum peal_tls_version version_min; /* default 1.2 */
    const char *ciphers;      /* of 1.2, as OpenSSL writes them; ECDHE, AEAD */
    const char *ciphersuites; /* of 1.3; AES-128-GCM, AES-256-GCM, ChaCha20 */

    /*
     * Talks to ANYBODY who answers: no certificate is verified, so whoever is
     * on the way can read and change everything. Each link that uses it logs a
     * warning.
     */
    bool insecure_trust_anybody;
};

/* As peal_tls_new; a server that is given it refuses to start. */
PEAL_API int peal_tls_client_new(struct peal_tls **tls,
                                 const struct peal_tls_client_options *options,
                                 char *error, size_t error_size);

/*
 * Reads the same files again, all or nothing: after an error everything is as
 * it was. Connections that are open, or in their handshake, stay as they are;
 * later ones get what was read now. Sessions of before are not taken up again,
 * for the key of their tickets changes, too. Errors as peal_tls_new. Blocks on
 * the files.
 */
PEAL_API int peal_tls_reload(struct peal_tls *tls, char *error,
                             size_t error_size);

/*
 * When the first of its certificates expires that are loaded now, in seconds
 * since 1970; those of the authorities above them do not count. 0: there is
 * none.
 */
PEAL_API int64_t peal_tls_expiry(struct peal_tls *tls);

/* Ends the caller's hold. NULL is allowed. */
PEAL_API void peal_tls_free(struct peal_tls *tls);

/* What is known of one connection after its handshake. By value. */
struct peal_tls_facts {
    char version[16];     /* "TLSv1.3" */
    char cipher[64];      /* "TLS_AES_128_GCM_SHA256" */
    char server_name[256]; /* that the client asked for; "": for none */
    char protocol[16];    /* agreed on by ALPN: "http/1.1"; "": none */
    /*
     * Of a verified peer: its certificate's SHA-256 in lower-case hex, and the
     * subject as RFC 2253 writes it, "" when that is longer than fits: never
     * cut short, for then it could be another's. Both "" without a certificate.
     */
    char peer_fingerprint[65];
    char peer_subject[512];
    bool is_resumed; /* by a ticket of an earlier handshake */
};

/*
 * Has each allocation of OpenSSL go through libpeal (peal_memory_set) and be
 * counted, so that peal_server_options.memory_bytes_max and the statistics know
 * what TLS takes to the byte; without it what connections have is estimated.
 *
 * It is for programs that own their process, because OpenSSL is one in all of
 * it: what others use it for is counted as well. To be called after
 * peal_memory_set, and before anything else, libpeal included, uses OpenSSL and
 * before there is another thread. libpeal must stay loaded from then on.
 *
 * Returns 0, also when it has been called before; PEAL_ESTATE when OpenSSL has
 * allocated already: then nothing has changed. Not thread-safe.
 */
PEAL_API int peal_tls_count_memory(void);

#ifdef __cplusplus
}
#endif

#endif
