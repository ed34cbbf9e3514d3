/*
 * Keys and certificates made on the spot, in a folder of their own. Set-up and
 * teardown of a group of tests; failures end the test.
 */
#ifndef SUPPORT_CERTIFICATES_H
#define SUPPORT_CERTIFICATES_H

#include "support/check.h"

struct certificate {
    const char *name;        /* of the files: NAME.crt and NAME.key */
    const char *common_name; /* NULL: the name */
    const char *names;       /* "DNS:a,IP:127.0.0.1"; NULL: none */
    const char *issuer;      /* one that was made before; NULL: itself */
    const char *usage;       /* extended key usage; NULL: any */
    bool is_authority;
    int units; /* in the subject, of 60 letters each */
    long from_day; /* from now */
    long to_day;   /* 0: 30 */
};

/* Makes the folder; and deletes it with all that is in it. */
void certificates_open(void);
void certificates_close(void);

/* The path of a file there. The text lives as long as the test. */
const char *certificates_path(const char *file);

/* Writes NAME.crt and NAME.key. */
void certificates_make(const struct certificate *wish);

/* Links NAME.crt under the name by which OpenSSL finds it in a folder. */
void certificates_hash(const char *name);

#endif
