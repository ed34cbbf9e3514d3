#include "support/tls.h"

#include "support/certificates.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

void tls_cork(struct tls_peer *client, int is_on)
{
    setsockopt(client->peer.fd, IPPROTO_TCP, TCP_CORK, &is_on, sizeof is_on);
}

/* Sends the header and the hello, which shall be one segment or two. */
static void send_header(struct tls_peer *client, const struct tls_wish *wish)
{
    fcntl(client->peer.fd, F_SETFL, O_NONBLOCK);
    tls_cork(client, wish->is_joined);
    peer_send(&client->peer, wish->header, strlen(wish->header));
    CHECK(SSL_connect(client->ssl) < 1 || !wish->is_joined);
    tls_cork(client, false);
    fcntl(client->peer.fd, F_SETFL, 0);
}

/* Receives the server's part, so that what answers it waits for more. */
static void hold_answer(struct tls_peer *client)
{
    fcntl(client->peer.fd, F_SETFL, O_NONBLOCK);
    tls_cork(client, true);
    CHECK(SSL_connect(client->ssl) < 1);
    tls_cork(client, false);
    CHECK(peer_has_input(&client->peer, (int)check_patience_ms()));
    fcntl(client->peer.fd, F_SETFL, 0);
    tls_cork(client, true);
}

static const char *path_of(const char *name, const char *suffix)
{
    char file[64];

    snprintf(file, sizeof file, "%s%s", name, suffix);
    return certificates_path(file);
}

static void make_context(struct tls_peer *client, const struct tls_wish *wish)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (wish->version != 0) {
        SSL_CTX_set_min_proto_version(context, wish->version);
        SSL_CTX_set_max_proto_version(context, wish->version);
    }
    if (wish->cipher != NULL) {
        CHECK_EQUAL(wish->version == TLS1_3_VERSION
                        ? SSL_CTX_set_ciphersuites(context, wish->cipher)
                        : SSL_CTX_set_cipher_list(context, wish->cipher),
                    1);
    }
    if (wish->identity != NULL) {
        CHECK_EQUAL(SSL_CTX_use_certificate_file(
                        context, path_of(wish->identity, ".crt"),
                        SSL_FILETYPE_PEM),
                    1);
        CHECK_EQUAL(SSL_CTX_use_PrivateKey_file(context,
                                                path_of(wish->identity, ".key"),
                                                SSL_FILETYPE_PEM),
                    1);
    }
    if (wish->authority != NULL) {
        CHECK_EQUAL(SSL_CTX_load_verify_file(
                        context, path_of(wish->authority, ".crt")),
                    1);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    }
    client->context = context;
}

bool tls_dial(struct tls_peer *client, const char *address,
              const struct tls_wish *wish)
{
    struct timeval patience = {.tv_sec = (long)check_patience_ms() / 1000};

    peer_dial_narrow(&client->peer, address, wish->buffer_bytes);
    fcntl(client->peer.fd, F_SETFL, 0);
    setsockopt(client->peer.fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
               sizeof patience);
    make_context(client, wish);
    client->ssl = SSL_new(client->context);
    if (wish->name != NULL) {
        SSL_set_tlsext_host_name(client->ssl, wish->name);
        SSL_set1_host(client->ssl, wish->name);
    }
    if (wish->alpn != NULL) {
        SSL_set_alpn_protos(client->ssl, (const unsigned char *)wish->alpn,
                            (unsigned)strlen(wish->alpn));
    }
    if (wish->session != NULL) {
        SSL_set_session(client->ssl, wish->session);
    }
    if (wish->fragments != 0) {
        SSL_set_tlsext_max_fragment_length(client->ssl, wish->fragments);
    }
    SSL_set_fd(client->ssl, client->peer.fd);
    if (wish->header != NULL) {
        send_header(client, wish);
    } else if (wish->is_joined) {
        hold_answer(client);
    }
    return SSL_connect(client->ssl) == 1;
}

void tls_hang_up(struct tls_peer *client)
{
    SSL_free(client->ssl);
    SSL_CTX_free(client->context);
    peer_close(&client->peer);
}

void tls_write(struct tls_peer *client, const void *data, size_t size)
{
    size_t written;

    CHECK_EQUAL(SSL_write_ex(client->ssl, data, size, &written), 1);
    CHECK_EQUAL(written, size);
}

void tls_read(struct tls_peer *client, char *out, size_t size)
{
    while (size > 0) {
        size_t part;

        CHECK_EQUAL(SSL_read_ex(client->ssl, out, size, &part), 1);
        out += part;
        size -= part;
    }
}

void tls_expect_end(struct tls_peer *client)
{
    char byte;
    size_t part;

    CHECK_EQUAL(SSL_read_ex(client->ssl, &byte, 1, &part), 0);
    CHECK_EQUAL(SSL_get_error(client->ssl, 0), SSL_ERROR_ZERO_RETURN);
}
