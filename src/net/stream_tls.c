#include "net/stream_tls.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/mem.h"
#include "net/ktls.h"
#include "net/stream_queue.h"
#include "net/stream_tls_bio.h"
#include "net/tls.h"
#include "net/tls_memory.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

/*
 * What is decrypted is laid at the beginning of the loop's buffer, what was
 * received this far behind it. Plaintext is shorter than its records, and
 * OpenSSL holds back at most one unfinished record of an earlier turn, so the
 * one never overtakes the other, and all of it fits.
 */
#define STREAM_TLS_ROOM 18432
_Static_assert(STREAM_TLS_ROOM >= SSL3_RT_MAX_PACKET_SIZE &&
                   STREAM_TLS_ROOM < LOOP_READ_BYTES,
               "a whole record must fit before what is received");

/* The most plaintext in one record. */
#define STREAM_TLS_RECORD 16384
_Static_assert(STREAM_TLS_RECORD <= LOOP_SEND_BYTES,
               "slices are joined into one record");

/*
 * One record, or a flight of the handshake with many certificates; also what
 * ends a peer that provokes answers and does not read them.
 */
#define STREAM_TLS_UNSENT_MAX (256 * 1024)

static struct stream_tls *stream_tls_of(const struct stream *stream)
{
    ASSERT((stream->flags & STREAM_TLS) != 0);
    return (struct stream_tls *)stream->events;
}

/* --- Errors -----------------------------------------------------------------
 */

/*
 * Before a call whose outcome SSL_get_error is to tell: what others have left
 * in the queue would mislead it. To empty a queue that is empty costs more than
 * a tenth of a small message.
 */
static void stream_tls_forget_errors(void)
{
    if (ERR_peek_error() != 0) {
        ERR_clear_error();
    }
}

/* --- Memory -----------------------------------------------------------------
 */

/*
 * Brings its share up to date after calls into OpenSSL; `before` is what
 * tls_memory_taken told before them.
 */
static void stream_tls_account(struct stream_tls *tls, int64_t before)
{
    if (tls_memory_is_counted()) {
        tls->bytes += tls_memory_taken() - before;
    } else {
        int64_t bytes =
            tls->bytes_at_rest + tls_memory_estimate_record(tls->ssl);

        mem_count(MEM_TLS, bytes - tls->bytes);
        tls->bytes = bytes;
    }
}

/* The same when the state of its handshake may have changed. */
static void stream_tls_account_state(struct stream_tls *tls, int64_t before)
{
    if (!tls_memory_is_counted()) {
        tls->bytes_at_rest = tls_memory_estimate(tls->ssl);
    }
    stream_tls_account(tls, before);
}

size_t stream_tls_bytes(const struct stream *stream)
{
    const struct stream_tls *tls;

    if (stream->fd < 0 || (stream->flags & STREAM_TLS) == 0) {
        return 0;
    }
    tls = stream_tls_of(stream);
    return tls->bytes > 0 ? (size_t)tls->bytes : 0;
}

/* --- Life ----------------------------------------------------------------- */

/*
 * `tls` and `ssl` are its own from now on; either may be NULL. `before`: as for
 * stream_tls_account.
 */
static int stream_tls_open(struct stream *stream, struct stream_tls *tls,
                           SSL *ssl, int64_t before)
{
    BIO *bio = NULL;

    if (tls != NULL && ssl != NULL) {
        bio = stream_tls_bio_new(tls);
    }
    if (bio == NULL) {
        SSL_free(ssl);
        mem_free(tls);
        ERR_clear_error();
        return PEAL_ENOMEM;
    }
    SSL_set_bio(ssl, bio, bio);
    buffer_init(&tls->unsent, STREAM_TLS_UNSENT_MAX);
    tls->ssl = ssl;
    tls->ktls = (SSL_get_options(ssl) & SSL_OP_ENABLE_KTLS) != 0
                    ? STREAM_KTLS_UNKNOWN
                    : STREAM_KTLS_OFF;
    tls->events = *stream->events;
    tls->stream = stream;
    stream->events = &tls->events;
    stream->flags |= STREAM_TLS | STREAM_SECURING;
    stream_tls_account_state(tls, before);
    return PEAL_OK;
}

int stream_tls_accept(struct stream *stream, struct peal_tls *context,
                      const char *protocol)
{
    int64_t before = tls_memory_taken();

    return stream_tls_open(stream, mem_zalloc(sizeof(struct stream_tls)),
                           tls_accept(context, protocol), before);
}

int stream_tls_connect(struct stream *stream, const struct tls_wish *wish)
{
    int64_t before = tls_memory_taken();
    struct stream_tls *tls = mem_zalloc(sizeof(*tls));

    return stream_tls_open(
        stream, tls, tls != NULL ? tls_connect(wish, &tls->session) : NULL,
        before);
}

void stream_tls_close(struct stream *stream)
{
    struct stream_tls *tls = stream_tls_of(stream);

    /* A queue that is dropped is a stream cut short, and must look like it. */
    if (stream->queued_bytes == 0 && buffer_size(&tls->unsent) == 0) {
        (void)stream_tls_finish(stream);
    }
    SSL_free(tls->ssl);
    if (!tls_memory_is_counted()) {
        mem_count(MEM_TLS, -tls->bytes);
    }
    tls_session_free(tls->session);
    buffer_fini(&tls->unsent);
    mem_free(tls);
}

/* --- What went wrong ------------------------------------------------------ */

static void stream_tls_log(const struct stream *stream, const char *reason)
{
    const struct log *log = stream->loop->options.log;
    struct socket_address peer = {.size = sizeof(peer.of)};
    char address[SOCKET_TEXT_SIZE] = "";
    char quoted[256];

    if (getpeername(stream->fd, &peer.of.any, &peer.size) == 0) {
        socket_address_format(&peer, address);
    }
    log_debug(log, "tls",
              (stream->flags & STREAM_SECURING) != 0 ? "handshake failed"
                                                     : "connection broken",
              "remote=%s reason=%s", address,
              log_quote(quoted, sizeof(quoted), peal_slice(reason)));
}

/*
 * The first reason in OpenSSL's queue in words that help. Static storage; NULL
 * for a stream that just ended after its handshake.
 */
static const char *stream_tls_explain(const struct stream *stream)
{
    SSL *ssl = stream_tls_of(stream)->ssl;
    unsigned long code = ERR_peek_error();
    bool is_securing = (stream->flags & STREAM_SECURING) != 0;

    switch (ERR_GET_REASON(code)) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return X509_verify_cert_error_string(SSL_get_verify_result(ssl));
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return is_securing ? "the peer ended the handshake" : NULL;
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_HTTP_REQUEST:
        if (is_securing) {
            return "the peer does not speak TLS";
        }
        break;
    default:
        break;
    }
    return ERR_reason_error_string(code);
}

/* It does not go on for `problem`, or else for tls->error. Sets errno. */
static enum stream_tls_status stream_tls_fail(struct stream *stream,
                                              const char *problem)
{
    struct stream_tls *tls = stream_tls_of(stream);

    if (tls->error == 0) {
        tls->problem = problem;
    }
    if (log_enabled(stream->loop->options.log, PEAL_LOG_DEBUG)) {
        const char *reason =
            tls->error != 0 ? strerror(tls->error) : tls->problem;

        stream_tls_log(stream, reason != NULL ? reason : "the stream ended");
    }
    ERR_clear_error();
    errno = tls->error != 0 ? tls->error : EPROTO;
    return STREAM_TLS_BROKEN;
}

/* What a call that did not succeed means; sets errno when it is BROKEN. */
static enum stream_tls_status stream_tls_failed(struct stream *stream, int rc)
{
    struct stream_tls *tls = stream_tls_of(stream);
    int error = SSL_get_error(tls->ssl, rc);

    if (error == SSL_ERROR_WANT_READ) {
        return STREAM_TLS_WAIT;
    }
    if (error == SSL_ERROR_ZERO_RETURN) {
        return STREAM_TLS_END;
    }
    tls->is_broken = true;
    return stream_tls_fail(stream, stream_tls_explain(stream));
}

/* --- Reading -------------------------------------------------------------- */

enum stream_tls_status stream_tls_receive(struct stream *stream)
{
    struct stream_tls *tls = stream_tls_of(stream);
    char *buffer = stream->loop->read_buffer + STREAM_TLS_ROOM;
    ssize_t size = recv(stream->fd, buffer, LOOP_READ_BYTES - STREAM_TLS_ROOM,
                        MSG_DONTWAIT);

    loop_count(&stream->loop->reads);
    if (size < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR
                   ? STREAM_TLS_WAIT
                   : STREAM_TLS_BROKEN;
    }
    tls->in = buffer;
    tls->in_size = (size_t)size;
    tls->has_ended = size == 0;
    return STREAM_TLS_MORE;
}

enum stream_tls_status stream_tls_feed(struct stream *stream, const char *data,
                                       size_t size)
{
    struct stream_tls *tls = stream_tls_of(stream);
    char *buffer = stream->loop->read_buffer + STREAM_TLS_ROOM;

    if (size > LOOP_READ_BYTES - STREAM_TLS_ROOM) {
        tls->is_broken = true;
        errno = EPROTO;
        return STREAM_TLS_BROKEN;
    }
    memmove(buffer, data, size); /* it may lie in the loop's buffer itself */
    tls->in = buffer;
    tls->in_size = size;
    return STREAM_TLS_MORE;
}

enum stream_tls_status stream_tls_shake_hands(struct stream *stream)
{
    struct stream_tls *tls = stream_tls_of(stream);
    int64_t before = tls_memory_taken();
    int rc;

    stream_tls_forget_errors();
    rc = SSL_do_handshake(tls->ssl);
    stream_tls_account_state(tls, before);
    if (rc != 1) {
        enum stream_tls_status status = stream_tls_failed(stream, rc);

        if (status == STREAM_TLS_END) {
            tls->is_broken = true;
            status = stream_tls_fail(stream, "the peer ended the handshake");
        }
        return status;
    }
    stream->flags &= ~(uint32_t)STREAM_SECURING;
    return STREAM_TLS_SECURED;
}

#define STREAM_TLS_NEW_KEYS                                                    \
    "the peer wants new keys, which the kernel cannot be given"

/*
 * The peer wants new keys for what it is sent (RFC 8446, 4.6.3), and they stay
 * as they are: OpenSSL 3.0 would announce them and change its own alone, so
 * that the peer could not read a word any more. It has not answered yet, for it
 * does so when it is asked to write.
 */
static bool stream_tls_must_change_keys(const struct stream_tls *tls)
{
    return tls->ktls == STREAM_KTLS_SENDS &&
           SSL_get_key_update_type(tls->ssl) != SSL_KEY_UPDATE_NONE;
}

enum stream_tls_status stream_tls_read(struct stream *stream, size_t *size)
{
    struct stream_tls *tls = stream_tls_of(stream);
    char *out = stream->loop->read_buffer;
    enum stream_tls_status status = STREAM_TLS_MORE;
    int64_t before = tls_memory_taken();

    *size = 0;
    if ((stream->flags & STREAM_SECURING) != 0) {
        return stream_tls_shake_hands(stream);
    }
    if (stream_tls_must_change_keys(tls)) {
        return stream_tls_fail(stream, STREAM_TLS_NEW_KEYS);
    }
    stream_tls_forget_errors();
    do {
        size_t part;
        int rc =
            SSL_read_ex(tls->ssl, out + *size, LOOP_READ_BYTES - *size, &part);

        if (rc != 1) {
            status = stream_tls_failed(stream, rc);
            break;
        }
        *size += part;
        /* Asking when nothing is there would cost a buffer. */
    } while (tls->in_size > 0 || SSL_has_pending(tls->ssl) != 0);
    stream_tls_account(tls, before);
    if (*size == 0) {
        return status == STREAM_TLS_WAIT && stream_tls_must_change_keys(tls)
                   ? stream_tls_fail(stream, STREAM_TLS_NEW_KEYS)
                   : status;
    }
    if ((status != STREAM_TLS_WAIT && status != STREAM_TLS_MORE) ||
        stream_tls_must_change_keys(tls)) {
        /* The bytes may have to wait, and then what comes after them as well.
         * The socket keeps it in mind: it stays readable, and OpenSSL says the
         * same again. */
        shutdown(stream->fd, SHUT_RD);
    }
    return STREAM_TLS_MORE;
}

/* --- Writing -------------------------------------------------------------- */

enum stream_tls_status stream_tls_flush(struct stream *stream)
{
    struct stream_tls *tls = stream_tls_of(stream);

    while (buffer_size(&tls->unsent) > 0) {
        size_t sent = buffer_size(&tls->unsent);

        if (!stream_tls_send(tls, buffer_head(&tls->unsent), &sent)) {
            errno = tls->error;
            return STREAM_TLS_BROKEN;
        }
        if (sent == 0) {
            return STREAM_TLS_WAIT;
        }
        buffer_consume(&tls->unsent, sent);
        if (buffer_size(&tls->unsent) == 0) {
            buffer_fini(&tls->unsent);
        }
    }
    return STREAM_TLS_MORE;
}

enum stream_tls_status stream_tls_write(struct stream *stream, size_t *size)
{
    struct stream_tls *tls = stream_tls_of(stream);
    enum stream_tls_status status = stream_tls_flush(stream);
    const char *data = tape_slice_data(&stream->first);
    size_t piece = stream->queued_bytes;
    int rc;

    if (status != STREAM_TLS_MORE) {
        return status;
    }
    if (tls->encrypted > 0) {
        *size = tls->encrypted;
        tls->encrypted = 0;
        return STREAM_TLS_MORE;
    }
    if (piece > STREAM_TLS_RECORD) {
        piece = STREAM_TLS_RECORD;
    }
    if (stream->first.size < piece) {
        stream_queue_peek(stream, stream->loop->send_buffer, piece);
        data = stream->loop->send_buffer;
    }
    stream_tls_forget_errors();
    rc = SSL_write_ex(tls->ssl, data, piece, size);
    if (rc != 1) {
        status = stream_tls_failed(stream, rc);
        if (status != STREAM_TLS_BROKEN) {
            errno = EPROTO; /* nothing else may stop a write */
        }
        return STREAM_TLS_BROKEN;
    }
    if (buffer_size(&tls->unsent) > 0) {
        tls->encrypted = (uint32_t)*size;
        return STREAM_TLS_WAIT;
    }
    return STREAM_TLS_MORE;
}

size_t stream_tls_unsent(const struct stream *stream)
{
    return buffer_size(&stream_tls_of(stream)->unsent);
}

enum stream_tls_status stream_tls_finish(struct stream *stream)
{
    struct stream_tls *tls = stream_tls_of(stream);
    int said = SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN;
    enum stream_tls_status status;

    if (said == 0 && !tls->is_broken &&
        (stream->flags & STREAM_SECURING) == 0) {
        int64_t before = tls_memory_taken();

        stream_tls_forget_errors();
        (void)SSL_shutdown(tls->ssl);
        (void)SSL_free_buffers(tls->ssl); /* it keeps the alert's */
        stream_tls_account(tls, before);
    }
    status = stream_tls_flush(stream);
    /* The kernel may hold back a record that TCP had no room for, and drops it
     * when the FIN comes first. */
    if (status == STREAM_TLS_MORE && tls->ktls == STREAM_KTLS_SENDS &&
        !ktls_is_flushed(stream->fd, &tls->kernels)) {
        status = STREAM_TLS_WAIT;
    }
    return status;
}

void stream_tls_count(struct stream *stream, size_t size)
{
    stream_tls_of(stream)->kernels.bytes += size;
}

/* --- Sessions ------------------------------------------------------------- */

struct tls_session *stream_tls_take_session(struct stream *stream)
{
    struct tls_session *session;
    struct stream_tls *tls;

    if (stream->fd < 0 || (stream->flags & STREAM_TLS) == 0) {
        return NULL;
    }
    tls = stream_tls_of(stream);
    session = tls->session;
    tls->session = NULL;
    return session;
}

/* --- Facts ---------------------------------------------------------------- */

static void stream_tls_describe_peer(SSL *ssl, struct peal_tls_facts *facts)
{
    X509 *certificate = SSL_get1_peer_certificate(ssl);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_size = 0;
    BIO *text = BIO_new(BIO_s_mem());
    char *subject = NULL;
    long size = 0;

    if (certificate != NULL && SSL_get_verify_result(ssl) == X509_V_OK &&
        X509_digest(certificate, EVP_sha256(), digest, &digest_size) == 1) {
        for (unsigned i = 0; i < 32 && i < digest_size; i++) {
            snprintf(facts->peer_fingerprint + 2 * (size_t)i, 3, "%02x",
                     digest[i]);
        }
        if (text != NULL &&
            X509_NAME_print_ex(text, X509_get_subject_name(certificate), 0,
                               XN_FLAG_RFC2253 &
                                   ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >= 0) {
            size = BIO_get_mem_data(text, &subject);
        }
        if (size > 0 && (size_t)size < sizeof(facts->peer_subject)) {
            memcpy(facts->peer_subject, subject, (size_t)size);
        }
    }
    BIO_free(text);
    X509_free(certificate);
    ERR_clear_error();
}

const char *stream_tls_problem(const struct stream *stream)
{
    return stream->fd >= 0 && (stream->flags & STREAM_TLS) != 0
               ? stream_tls_of(stream)->problem
               : NULL;
}

enum stream_ktls stream_tls_ktls(const struct stream *stream)
{
    return stream->fd >= 0 && (stream->flags & STREAM_TLS) != 0
               ? (enum stream_ktls)stream_tls_of(stream)->ktls
               : STREAM_KTLS_OFF;
}

bool stream_tls_facts(const struct stream *stream, struct peal_tls_facts *facts)
{
    const unsigned char *protocol;
    unsigned protocol_size;
    const char *name;
    SSL *ssl;

    memset(facts, 0, sizeof(*facts));
    if (stream->fd < 0 || (stream->flags & STREAM_TLS) == 0 ||
        (stream->flags & STREAM_SECURING) != 0) {
        return false;
    }
    ssl = stream_tls_of(stream)->ssl;
    name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    snprintf(facts->version, sizeof(facts->version), "%s",
             SSL_get_version(ssl));
    snprintf(facts->cipher, sizeof(facts->cipher), "%s", SSL_get_cipher(ssl));
    snprintf(facts->server_name, sizeof(facts->server_name), "%s",
             name != NULL ? name : "");
    SSL_get0_alpn_selected(ssl, &protocol, &protocol_size);
    if (protocol != NULL && protocol_size < sizeof(facts->protocol)) {
        memcpy(facts->protocol, protocol, protocol_size);
    }
    facts->is_resumed = SSL_session_reused(ssl) == 1;
    stream_tls_describe_peer(ssl, facts);
    return true;
}
