#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* --- URLs ----------------------------------------------------------------- */

static const struct scheme {
    const char *begin;
    bool is_ws;
    bool is_tls;
    bool is_local;
    const char *port;
} schemes[] = {
    {"ws://", true, false, false, "80"},   {"wss://", true, true, false, "443"},
    {"tcp://", false, false, false, NULL}, {"tls://", false, true, false, NULL},
    {"ws+unix:", true, false, true, NULL}, {"unix:", false, false, true, NULL},
};

static bool copy(char *out, size_t size, const char *from, size_t count)
{
    if (count >= size) {
        return false;
    }
    memcpy(out, from, count);
    out[count] = '\0';
    return true;
}

/* "/run/p.sock", and for WebSocket then ":/path". */
static bool parse_local(struct target *target, const char *rest)
{
    size_t size = strcspn(rest, target->is_ws ? ":" : "");

    snprintf(target->authority, sizeof target->authority, "localhost");
    snprintf(target->path, sizeof target->path, "/");
    return size > 0 && copy(target->host, sizeof target->host, rest, size) &&
           (rest[size] == '\0' || rest[size + 1] == '\0' ||
            copy(target->path, sizeof target->path, rest + size + 1,
                 strlen(rest + size + 1)));
}

static bool parse_port(struct target *target, const char *text, size_t size,
                       const char *standard)
{
    if (size == 0) {
        return standard != NULL && copy(target->port, sizeof target->port,
                                        standard, strlen(standard));
    }
    return text[0] == ':' && size > 1 &&
           strspn(text + 1, "0123456789") >= size - 1 &&
           copy(target->port, sizeof target->port, text + 1, size - 1);
}

static bool parse_remote(struct target *target, const char *rest,
                         const char *standard)
{
    size_t size = strcspn(rest, "/?");
    const char *path = rest + size;
    size_t host;

    if (rest[0] == '[') {
        host = strcspn(rest, "]");
        if (host >= size ||
            !copy(target->host, sizeof target->host, rest + 1, host - 1)) {
            return false;
        }
        host++;
    } else {
        host = strcspn(rest, ":/?");
        if (!copy(target->host, sizeof target->host, rest, host)) {
            return false;
        }
    }
    snprintf(target->path, sizeof target->path, "%s%s",
             path[0] == '/' ? "" : "/", path);
    return target->host[0] != '\0' &&
           copy(target->authority, sizeof target->authority, rest, size) &&
           parse_port(target, rest + host, size - host, standard);
}

bool target_parse(struct target *target, const char *url)
{
    memset(target, 0, sizeof *target);
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        const struct scheme *scheme = &schemes[i];
        size_t size = strlen(scheme->begin);

        if (strncmp(url, scheme->begin, size) == 0) {
            target->is_ws = scheme->is_ws;
            target->is_tls = scheme->is_tls;
            target->is_local = scheme->is_local;
            return scheme->is_local
                       ? parse_local(target, url + size)
                       : parse_remote(target, url + size, scheme->port);
        }
    }
    return false;
}

/* --- Bytes ---------------------------------------------------------------- */

int probe_dial(struct probe *probe, const struct sockaddr *address,
               socklen_t size, uint64_t timeout_ms)
{
    struct timeval limit = {(time_t)(timeout_ms / 1000),
                            (suseconds_t)(timeout_ms % 1000 * 1000)};
    struct pollfd polled = {.events = POLLOUT};
    int error = 0;
    socklen_t error_size = sizeof error;

    probe->fd = socket(address->sa_family, SOCK_STREAM, 0);
    probe->context = NULL;
    probe->ssl = NULL;
    probe->used = probe->size = 0;
    probe->timeout_ms = timeout_ms;
    if (probe->fd < 0) {
        return errno;
    }
    fcntl(probe->fd, F_SETFL, O_NONBLOCK);
    if (connect(probe->fd, address, size) < 0 && errno != EINPROGRESS) {
        error = errno;
    } else {
        polled.fd = probe->fd;
        if (poll(&polled, 1, (int)timeout_ms) == 0) {
            error = ETIMEDOUT;
        } else {
            getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &error, &error_size);
        }
    }
    if (error != 0) {
        probe_close(probe);
        return error;
    }
    fcntl(probe->fd, F_SETFL, 0);
    setsockopt(probe->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(probe->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return 0;
}

static bool write_all(struct probe *probe, const void *data, size_t size)
{
    if (probe->ssl != NULL) {
        return SSL_write(probe->ssl, data, (int)size) == (int)size;
    }
    return send(probe->fd, data, size, MSG_NOSIGNAL) == (ssize_t)size;
}

/* Has `count` bytes in the buffer. */
static bool need(struct probe *probe, size_t count)
{
    while (probe->size - probe->used < count) {
        ssize_t got;

        if (probe->used > 0) {
            memmove(probe->buffer, probe->buffer + probe->used,
                    probe->size - probe->used);
            probe->size -= probe->used;
            probe->used = 0;
        }
        if (count > sizeof probe->buffer) {
            return false;
        }
        got = probe->ssl != NULL
                  ? SSL_read(probe->ssl, probe->buffer + probe->size,
                             (int)(sizeof probe->buffer - probe->size))
                  : recv(probe->fd, probe->buffer + probe->size,
                         sizeof probe->buffer - probe->size, 0);
        if (got <= 0) {
            return false;
        }
        probe->size += (size_t)got;
    }
    return true;
}

void probe_close(struct probe *probe)
{
    SSL_free(probe->ssl);
    SSL_CTX_free(probe->context);
    probe->ssl = NULL;
    probe->context = NULL;
    if (probe->fd >= 0) {
        close(probe->fd);
        probe->fd = -1;
    }
}

/* --- TLS ------------------------------------------------------------------ */

static void tell_error(char *why, size_t size, const char *standard)
{
    unsigned long error = ERR_get_error();
    const char *reason = error != 0 ? ERR_reason_error_string(error) : NULL;

    snprintf(why, size, "%s", reason != NULL ? reason : standard);
    ERR_clear_error();
}

static bool make_context(struct probe *probe, const struct options *options,
                         char *why, size_t why_size)
{
    const char *key = options->key != NULL ? options->key : options->cert;

    probe->context = SSL_CTX_new(TLS_client_method());
    if (probe->context == NULL ||
        (options->cacert != NULL
             ? SSL_CTX_load_verify_file(probe->context, options->cacert)
             : SSL_CTX_set_default_verify_paths(probe->context)) != 1 ||
        (options->cert != NULL &&
         (SSL_CTX_use_certificate_chain_file(probe->context, options->cert) !=
              1 ||
          SSL_CTX_use_PrivateKey_file(probe->context, key, SSL_FILETYPE_PEM) !=
              1))) {
        tell_error(why, why_size,
                   "the files of --cacert, --cert or --key "
                   "cannot be used");
        return false;
    }
    SSL_CTX_set_verify(probe->context, SSL_VERIFY_NONE, NULL);
    return true;
}

/* The DNS names and addresses of a certificate, with commas between. */
static void list_names(X509 *certificate, char *out, size_t size)
{
    GENERAL_NAMES *names =
        X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    size_t used = 0;

    out[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type == GEN_DNS && used < size) {
            used += (size_t)snprintf(
                out + used, size - used, "%s%s", used > 0 ? ", " : "",
                (const char *)ASN1_STRING_get0_data(name->d.dNSName));
        }
    }
    GENERAL_NAMES_free(names);
}

static void describe(struct probe *probe, struct probe_tls *tls)
{
    X509 *certificate = SSL_get1_peer_certificate(probe->ssl);
    int days = 0;
    int seconds = 0;

    tls->version = SSL_get_version(probe->ssl);
    tls->cipher = SSL_get_cipher_name(probe->ssl);
    tls->verdict = SSL_get_verify_result(probe->ssl);
    tls->why = X509_verify_cert_error_string(tls->verdict);
    tls->chain = sk_X509_num(SSL_get_peer_cert_chain(probe->ssl));
    if (certificate == NULL) {
        return;
    }
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate),
                              NID_commonName, tls->subject,
                              sizeof tls->subject);
    X509_NAME_get_text_by_NID(X509_get_issuer_name(certificate), NID_commonName,
                              tls->issuer, sizeof tls->issuer);
    list_names(certificate, tls->names, sizeof tls->names);
    ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate));
    tls->days_left = days - (seconds < 0 ? 1 : 0);
    X509_free(certificate);
}

/* What the library trusts (src/net/tls_client.c), no more and no less. */
static bool set_name(SSL *ssl, const char *given)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    char name[256]; /* of DNS at most 253 */
    size_t size = strlen(given);

    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, given) == 1) {
        return true;
    }
    ERR_clear_error(); /* it is no IP address */
    if (size > 1 && given[size - 1] == '.') {
        size--; /* that the name is whole is no part of it */
    }
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return copy(name, sizeof name, given, size) &&
           SSL_set1_host(ssl, name) == 1 &&
           SSL_set_tlsext_host_name(ssl, name) == 1;
}

bool probe_secure(struct probe *probe, const struct target *target,
                  const struct options *options, struct probe_tls *tls,
                  char *why, size_t why_size)
{
    const char *name =
        options->server_name != NULL ? options->server_name : target->host;

    memset(tls, 0, sizeof *tls);
    if (!make_context(probe, options, why, why_size)) {
        return false;
    }
    probe->ssl = SSL_new(probe->context);
    if (probe->ssl == NULL) {
        tell_error(why, why_size, "there is no memory");
        return false;
    }
    if (!set_name(probe->ssl, name)) {
        tell_error(why, why_size, "no certificate can have this name");
        return false;
    }
    SSL_set_fd(probe->ssl, probe->fd);
    if (SSL_connect(probe->ssl) != 1) {
        tell_error(why, why_size,
                   errno == EAGAIN ? "no answer in time"
                                   : "the server ended the connection");
        return false;
    }
    describe(probe, tls);
    return true;
}

/* --- HTTP ----------------------------------------------------------------- */

/* The key of RFC 6455, 4.1, and what proves that it was read (4.2.2). */
static void make_key(char key[32], char accept[32])
{
    static const char suffix[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char bytes[16];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_size = 0;
    char both[64 + sizeof suffix];

    RAND_bytes(bytes, sizeof bytes);
    EVP_EncodeBlock((unsigned char *)key, bytes, sizeof bytes);
    snprintf(both, sizeof both, "%s%s", key, suffix);
    EVP_Digest(both, strlen(both), digest, &digest_size, EVP_sha1(), NULL);
    EVP_EncodeBlock((unsigned char *)accept, digest, (int)digest_size);
}

/* The first line of the answer, and all headers. */
static bool read_head(struct probe *probe, struct probe_upgrade *upgrade)
{
    for (size_t count = 1;; count++) {
        char *begin = probe->buffer + probe->used;

        if (count >= sizeof upgrade->head || !need(probe, count)) {
            return false;
        }
        begin = probe->buffer + probe->used;
        if (count >= 4 && memcmp(begin + count - 4, "\r\n\r\n", 4) == 0) {
            memcpy(upgrade->head, begin, count);
            upgrade->head[count] = '\0';
            probe->used += count;
            return sscanf(upgrade->head, "HTTP/1.%*1d %3d", &upgrade->status) ==
                   1;
        }
    }
}

bool probe_header(const struct probe_upgrade *upgrade, const char *name,
                  char *out, size_t size)
{
    size_t name_size = strlen(name);

    for (const char *line = strstr(upgrade->head, "\r\n"); line != NULL;
         line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, name_size) == 0 && line[name_size] == ':') {
            line += name_size + 1;
            line += strspn(line, " \t");
            snprintf(out, size, "%.*s", (int)strcspn(line, "\r\n"), line);
            return true;
        }
    }
    return false;
}

bool probe_upgrade(struct probe *probe, const struct target *target,
                   struct probe_upgrade *upgrade)
{
    char request[16384];
    char key[32];
    char expected[32];
    char accept[64];
    int size;

    make_key(key, expected);
    upgrade->status = 0;
    size = snprintf(request, sizeof request,
                    "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\n"
                    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: %s\r\n"
                    "%s%s%s%s%s\r\n",
                    target->path, target->authority, key,
                    upgrade->protocols != NULL ? upgrade->protocols : "peal",
                    upgrade->offers_deflate
                        ? "Sec-WebSocket-Extensions: permessage-deflate\r\n"
                        : "",
                    upgrade->origin != NULL ? "Origin: " : "",
                    upgrade->origin != NULL ? upgrade->origin : "",
                    upgrade->origin != NULL ? "\r\n" : "", upgrade->headers);
    probe->is_ws = true;
    if (size < 0 || (size_t)size >= sizeof request ||
        !write_all(probe, request, (size_t)size) ||
        !read_head(probe, upgrade)) {
        return false;
    }
    upgrade->is_proven =
        probe_header(upgrade, "Sec-WebSocket-Accept", accept, sizeof accept) &&
        strcmp(accept, expected) == 0;
    return true;
}

/* --- Messages ------------------------------------------------------------- */

static uint64_t big_endian(const char *bytes, size_t size)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++) {
        value = value << 8 | (unsigned char)bytes[i];
    }
    return value;
}

static bool is_welcome(struct peal_slice *message)
{
    struct peal_slice event;
    struct peal_slice data;

    if (peal_json_get(*message, "event", &event) == 0 &&
        peal_slice_equal(event, peal_slice("\"peal:welcome\"")) &&
        peal_json_get(*message, "data", &data) == 0) {
        *message = data;
        return true;
    }
    return false;
}

/* A frame of WebSocket (RFC 6455, 5.2). */
static bool read_ws(struct probe *probe, struct probe_message *message)
{
    size_t head = 2;
    uint64_t size;
    const char *at;

    if (!need(probe, head)) {
        return false;
    }
    at = probe->buffer + probe->used;
    size = (unsigned char)at[1] & 127;
    if (size >= 126) {
        size_t more = size == 126 ? 2 : 8;

        head += more;
        if (!need(probe, head)) {
            return false;
        }
        at = probe->buffer + probe->used;
        size = big_endian(at + 2, more);
    }
    if (size > sizeof probe->buffer || !need(probe, head + (size_t)size)) {
        return false;
    }
    at = probe->buffer + probe->used;
    probe->used += head + (size_t)size;
    message->data = (struct peal_slice){at + head, (size_t)size};
    switch (at[0] & 15) {
    case 8:
        message->kind = PROBE_CLOSE;
        if (size >= 2) {
            message->code = (int)big_endian(at + head, 2);
            message->data =
                (struct peal_slice){at + head + 2, (size_t)size - 2};
        }
        break;
    case 10:
        message->kind = PROBE_PONG;
        break;
    default:
        message->kind =
            is_welcome(&message->data) ? PROBE_WELCOME : PROBE_MESSAGE;
        break;
    }
    return true;
}

/* A frame of docs/protocol.md, section 3. */
static bool read_frame(struct probe *probe, struct probe_message *message)
{
    enum { PONG = 3, CONNECT = 6, DISCONNECT = 7, HEAD = 7 };
    struct peal_slice code;
    const char *at;
    uint64_t total;
    uint64_t name;
    double number;

    if (!need(probe, HEAD)) {
        return false;
    }
    at = probe->buffer + probe->used;
    total = big_endian(at, 4);
    name = big_endian(at + 5, 2);
    if (total < HEAD + name || total > sizeof probe->buffer ||
        !need(probe, (size_t)total)) {
        return false;
    }
    at = probe->buffer + probe->used;
    probe->used += (size_t)total;
    message->data =
        (struct peal_slice){at + HEAD + name, (size_t)(total - HEAD - name)};
    message->kind = at[4] == PONG         ? PROBE_PONG
                    : at[4] == CONNECT    ? PROBE_WELCOME
                    : at[4] == DISCONNECT ? PROBE_CLOSE
                                          : PROBE_MESSAGE;
    if (message->kind == PROBE_CLOSE &&
        peal_json_get(message->data, "code", &code) == 0 &&
        peal_json_number(code, &number) == 0) {
        message->code = (int)number;
    }
    return true;
}

bool probe_read(struct probe *probe, struct probe_message *message)
{
    *message = (struct probe_message){.kind = PROBE_MESSAGE};
    return probe->is_ws ? read_ws(probe, message) : read_frame(probe, message);
}

bool probe_write_ping(struct probe *probe)
{
    /* Masked, as what a client sends is (5.3); by zero, as it is empty. */
    static const char ws[] = {(char)0x89, (char)0x80, 0, 0, 0, 0};
    static const char frame[] = {0, 0, 0, 7, 2, 0, 0};

    return probe->is_ws ? write_all(probe, ws, sizeof ws)
                        : write_all(probe, frame, sizeof frame);
}

void probe_write_goodbye(struct probe *probe)
{
    static const char ws[] = {(char)0x88, (char)0x82, 0, 0, 0, 0, 3, (char)232};

    if (probe->is_ws) {
        write_all(probe, ws, sizeof ws);
    }
}
