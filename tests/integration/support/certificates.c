#include "support/certificates.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/peal-tls-XXXXXX";

void certificates_open(void)
{
    CHECK(mkdtemp(folder) != NULL);
}

void certificates_close(void)
{
    char command[128];

    snprintf(command, sizeof command, "rm -r '%s'", folder);
    CHECK_EQUAL(system(command), 0);
}

const char *certificates_path(const char *file)
{
    static char paths[64][128];
    size_t at = strlen(folder) + 1;

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (paths[i][0] == '\0') {
            snprintf(paths[i], sizeof paths[i], "%s/%s", folder, file);
        }
        if (strcmp(paths[i] + at, file) == 0) {
            return paths[i];
        }
    }
    CHECK(!"more files than expected");
    return NULL;
}

static FILE *open_pem(const char *name, const char *suffix, const char *mode)
{
    char file_name[64];
    FILE *file;

    snprintf(file_name, sizeof file_name, "%s.%s", name, suffix);
    file = fopen(certificates_path(file_name), mode);
    CHECK(file != NULL);
    return file;
}

static X509 *read_certificate(const char *name)
{
    FILE *file = open_pem(name, "crt", "r");
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);

    CHECK(certificate != NULL);
    fclose(file);
    return certificate;
}

static void extend(X509 *certificate, int kind, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, kind, value);

    CHECK(extension != NULL);
    CHECK_EQUAL(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* Signs it with the key of the issuer, or with its own. */
static void sign(X509 *certificate, EVP_PKEY *key, const char *issuer)
{
    FILE *file;
    X509 *signer;

    if (issuer == NULL) {
        X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
        CHECK(X509_sign(certificate, key, EVP_sha256()) > 0);
        return;
    }
    signer = read_certificate(issuer);
    file = open_pem(issuer, "key", "r");
    key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    CHECK(key != NULL);
    fclose(file);
    X509_set_issuer_name(certificate, X509_get_subject_name(signer));
    CHECK(X509_sign(certificate, key, EVP_sha256()) > 0);
    EVP_PKEY_free(key);
    X509_free(signer);
}

static void write_files(const char *name, X509 *certificate, EVP_PKEY *key)
{
    FILE *file = open_pem(name, "crt", "w");

    CHECK_EQUAL(PEM_write_X509(file, certificate), 1);
    fclose(file);
    file = open_pem(name, "key", "w");
    CHECK_EQUAL(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
}

void certificates_make(const struct certificate *wish)
{
    static long serial = 1;
    const char *common_name =
        wish->common_name != NULL ? wish->common_name : wish->name;
    long to_day = wish->to_day != 0 ? wish->to_day : 30;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_NAME *subject = X509_get_subject_name(certificate);

    CHECK(key != NULL && certificate != NULL);
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(certificate),
                    (wish->from_day != 0 ? wish->from_day : -1) * 86400);
    X509_gmtime_adj(X509_getm_notAfter(certificate), to_day * 86400);
    X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC,
                               (const unsigned char *)"peal, test", -1, -1, 0);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               (const unsigned char *)common_name, -1, -1, 0);
    for (int i = 0; i < wish->units; i++) {
        char unit[61];

        memset(unit, 'a' + i, sizeof unit - 1);
        X509_NAME_add_entry_by_txt(subject, "OU", MBSTRING_ASC,
                                   (const unsigned char *)unit, 60, -1, 0);
    }
    X509_set_pubkey(certificate, key);
    if (wish->names != NULL) {
        extend(certificate, NID_subject_alt_name, wish->names);
    }
    if (wish->usage != NULL) {
        extend(certificate, NID_ext_key_usage, wish->usage);
    }
    if (wish->is_authority) {
        extend(certificate, NID_basic_constraints, "critical,CA:TRUE");
    }
    sign(certificate, key, wish->issuer);
    write_files(wish->name, certificate, key);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

void certificates_hash(const char *name)
{
    X509 *certificate = read_certificate(name);
    char hash[32];
    char file[64];

    snprintf(hash, sizeof hash, "%08lx.0", X509_subject_name_hash(certificate));
    snprintf(file, sizeof file, "%s.crt", name);
    CHECK_EQUAL(symlink(certificates_path(file), certificates_path(hash)), 0);
    X509_free(certificate);
}
