/*
 * TLS, by OpenSSL on the socket itself. Certificates are not checked: what is
 * measured is the server, and the tests check them.
 */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

static SSL_CTX *context;

/* Sessions for the next connections to take up. */
#define SESSIONS_MAX 1024u

static SSL_SESSION *sessions[SESSIONS_MAX];
static uint32_t sessions_count;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    if (sessions_count == SESSIONS_MAX) {
        return 0;
    }
    sessions[sessions_count++] = session;
    return 1;   /* it is ours now */
}

static void take_up_session(SSL *ssl)
{
    SSL_SESSION *session;

    if (sessions_count == 0) {
        return;
    }
    session = sessions[sessions_count - 1];
    SSL_set_session(ssl, session);
    /* A ticket of 1.3 is used once (RFC 8446, C.4), and brings the next. */
    if (SSL_SESSION_get_protocol_version(session) == TLS1_3_VERSION) {
        sessions_count--;
        SSL_SESSION_free(session);
    }
}

void secure_init(const struct load_options *options)
{
    int version = options->tls == 12 ? TLS1_2_VERSION : TLS1_3_VERSION;

    if (options->tls == 0) {
        return;
    }
    context = SSL_CTX_new(TLS_client_method());
    if (context == NULL) {
        die("out of memory");
    }
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE
                     | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                     | SSL_MODE_RELEASE_BUFFERS);
    /* Some servers end without TLS's goodbye, which spoils their sessions. */
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (options->resumes) {
        SSL_CTX_set_session_cache_mode(context,
                                       SSL_SESS_CACHE_CLIENT
                                       | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, keep_session);
    } else {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    }
}

void secure_fini(void)
{
    while (sessions_count > 0) {
        SSL_SESSION_free(sessions[--sessions_count]);
    }
    SSL_CTX_free(context);
    context = NULL;
}

void secure_open(struct conn *conn)
{
    int flags = fcntl(conn->fd, F_GETFL);

    conn->tls = SSL_new(context);
    if (conn->tls == NULL || flags < 0
        || fcntl(conn->fd, F_SETFL, flags | O_NONBLOCK) < 0
        || SSL_set_fd(conn->tls, conn->fd) != 1) {
        die("no TLS for a connection");
    }
    take_up_session(conn->tls);
    SSL_set_connect_state(conn->tls);
}

void secure_close(struct conn *conn)
{
    /* Without a word: but a session that ends without is not taken up. */
    SSL_set_quiet_shutdown(conn->tls, 1);
    SSL_shutdown(conn->tls);
    SSL_free(conn->tls);
    conn->tls = NULL;
}

int secure_handshake(struct conn *conn, bool *is_resumed)
{
    int status;

    ERR_clear_error();
    status = SSL_do_handshake(conn->tls);
    if (status == 1) {
        *is_resumed = SSL_session_reused(conn->tls) == 1;
        return 1;
    }
    return SSL_get_error(conn->tls, status) == SSL_ERROR_WANT_READ ? 0 : -1;
}

ssize_t secure_write(struct conn *conn, const void *bytes, size_t length)
{
    size_t written = 0;
    int status;

    ERR_clear_error();
    status = SSL_write_ex(conn->tls, bytes, length, &written);
    if (status == 1) {
        return (ssize_t)written;
    }
    switch (SSL_get_error(conn->tls, status)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return 0;
    default:
        return -1;
    }
}

ssize_t secure_read(struct conn *conn, unsigned char *to, size_t length)
{
    size_t got = 0;

    ERR_clear_error();
    while (got < length) {
        size_t part;
        int status = SSL_read_ex(conn->tls, to + got, length - got, &part);

        if (status == 1) {
            got += part;
            continue;
        }
        if (got > 0) {
            break;  /* the next read will say the same again */
        }
        status = SSL_get_error(conn->tls, status);
        errno = status == SSL_ERROR_WANT_READ ? EAGAIN : EPROTO;
        return status == SSL_ERROR_ZERO_RETURN ? 0 : -1;
    }
    return (ssize_t)got;
}

bool secure_has_more(const struct conn *conn)
{
    return conn->tls != NULL && SSL_has_pending(conn->tls) == 1;
}

void secure_finish(struct conn *conn)
{
    ERR_clear_error();
    (void)SSL_shutdown(conn->tls);
}
