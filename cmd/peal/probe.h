/*
 * probe.h - a connection taken step by step, so that each step can be looked
 * at: what the library does at once is shown here as it goes wrong. Blocks, at
 * most for the time it is given at each step.
 */
#ifndef PROBE_H
#define PROBE_H

#include "options.h"

#include <netdb.h>
#include <peal/peal.h>

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;

/* A URL in its parts. */
struct target {
    bool is_ws; /* else frames */
    bool is_tls;
    bool is_local; /* a unix socket: `host` is its path */
    char host[256];
    char port[8];
    char path[2048];
    char authority[300]; /* for Host */
};

/* False for what is no URL of a server. */
bool target_parse(struct target *target, const char *url);

#define PROBE_BUFFER_SIZE 131072

struct probe {
    int fd; /* -1: none */
    SSL_CTX *context;
    SSL *ssl; /* NULL: not encrypted */
    uint64_t timeout_ms;
    bool is_ws;
    size_t used; /* of the buffer */
    size_t size;
    char buffer[PROBE_BUFFER_SIZE];
};

/* Connects to an address. 0, or errno. */
int probe_dial(struct probe *probe, const struct sockaddr *address,
               socklen_t size, uint64_t timeout_ms);

/* What is known after a TLS handshake. */
struct probe_tls {
    const char *version;
    const char *cipher;
    long verdict; /* of X509_verify_cert: 0 is good */
    const char *why;
    char subject[256];
    char issuer[256];
    char names[512]; /* that the certificate is for */
    long days_left;  /* negative: it has expired */
    int chain;       /* certificates that the server has sent */
};

/* Whatever the certificate is worth: `tls` tells. False: there is no TLS. */
bool probe_secure(struct probe *probe, const struct target *target,
                  const struct options *options, struct probe_tls *tls,
                  char *why, size_t why_size);

/* What is sent to upgrade, and the head of the answer. */
struct probe_upgrade {
    const char *headers; /* lines */
    const char *origin;  /* or NULL */
    const char *protocols;
    bool offers_deflate;

    int status; /* 0: no HTTP came back */
    bool is_proven;
    char head[16384];
};

/* False when nothing came back that is HTTP. */
bool probe_upgrade(struct probe *probe, const struct target *target,
                   struct probe_upgrade *upgrade);

/* A header of the answer; false when there is none. */
bool probe_header(const struct probe_upgrade *upgrade, const char *name,
                  char *out, size_t size);

enum probe_kind { PROBE_MESSAGE, PROBE_WELCOME, PROBE_PONG, PROBE_CLOSE };

/* A message of the server. Its data lives until the next one is read. */
struct probe_message {
    enum probe_kind kind;
    int code; /* of a close */
    struct peal_slice data;
};

/* The next message; false at the end, after the time, or for nonsense. */
bool probe_read(struct probe *probe, struct probe_message *message);

/* Sends a ping, or the goodbye. */
bool probe_write_ping(struct probe *probe);
void probe_write_goodbye(struct probe *probe);

void probe_close(struct probe *probe);

#endif
