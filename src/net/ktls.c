#include "net/ktls.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

_Static_assert(BIO_CTRL_GET_KTLS_SEND == 73 && BIO_CTRL_GET_KTLS_RECV == 76,
               "the numbers beside these are those of enum ktls_control");

struct ktls_records {
    uint64_t next;     /* number of the next one */
    uint32_t overhead; /* bytes of each that are not of what is said */
};

/* What the kernel tells of the keys that it has. */
static bool ktls_tell_records(int fd, struct ktls_records *records)
{
    union {
        struct tls_crypto_info any;
        struct tls12_crypto_info_aes_gcm_128 gcm_128;
        struct tls12_crypto_info_aes_gcm_256 gcm_256;
        struct tls12_crypto_info_aes_ccm_128 ccm_128;
        struct tls12_crypto_info_chacha20_poly1305 chacha;
    } info;
    const unsigned char *number;
    uint32_t nonce = 8; /* in each record of TLS 1.2 (RFC 5288, 3) */
    socklen_t size = sizeof(info.any);
    bool is_told;

    if (getsockopt(fd, SOL_TLS, TLS_TX, &info, &size) < 0) {
        return false;
    }
    switch (info.any.cipher_type) {
    case TLS_CIPHER_AES_GCM_128:
        size = sizeof(info.gcm_128);
        number = info.gcm_128.rec_seq;
        break;
    case TLS_CIPHER_AES_GCM_256:
        size = sizeof(info.gcm_256);
        number = info.gcm_256.rec_seq;
        break;
    case TLS_CIPHER_AES_CCM_128:
        size = sizeof(info.ccm_128);
        number = info.ccm_128.rec_seq;
        break;
    case TLS_CIPHER_CHACHA20_POLY1305:
        size = sizeof(info.chacha);
        number = info.chacha.rec_seq;
        nonce = 0; /* RFC 7905, 2 */
        break;
    default:
        return false;
    }
    is_told = getsockopt(fd, SOL_TLS, TLS_TX, &info, &size) == 0;
    if (is_told) {
        /* A header, a tag, and a nonce or the type (RFC 8446, 5.2). */
        records->overhead =
            5 + 16 + (info.any.version == TLS_1_3_VERSION ? 1 : nonce);
        records->next = 0;
        for (int i = 0; i < 8; i++) {
            records->next = records->next << 8 | number[i];
        }
    }
    OPENSSL_cleanse(&info, sizeof(info));
    return is_told;
}

/* Bytes that the peer has acknowledged. */
static bool ktls_tell_acknowledged(int fd, uint64_t *bytes)
{
    struct tcp_info info;
    socklen_t size = sizeof(info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 ||
        size < offsetof(struct tcp_info, tcpi_bytes_received)) {
        return false;
    }
    *bytes = info.tcpi_bytes_acked;
    return true;
}

/* How much TCP has been given to send so far: all that, and what is not. */
static bool ktls_tell_position(int fd, uint64_t *position)
{
    uint64_t before;
    uint64_t after;
    int rest;

    do {
        if (!ktls_tell_acknowledged(fd, &before) ||
            ioctl(fd, SIOCOUTQ, &rest) < 0 ||
            !ktls_tell_acknowledged(fd, &after)) {
            return false;
        }
    } while (before != after); /* then `rest` is of neither */
    *position = after + (uint64_t)rest;
    return true;
}

/* OpenSSL's socket BIO knows what the keys look like; it does nothing else. */
enum stream_ktls ktls_begin(int fd, void *keys, struct ktls_account *account)
{
    enum stream_ktls result = STREAM_KTLS_REFUSED;
    struct ktls_records records = {.next = 0};
    BIO *bio;

    if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) < 0) {
        return errno == ENOENT ? STREAM_KTLS_NO_KERNEL : STREAM_KTLS_REFUSED;
    }
    bio = BIO_new_socket(fd, BIO_NOCLOSE);
    if (bio != NULL && BIO_ctrl(bio, KTLS_CONTROL_KEYS, 1, keys) > 0) {
        result = STREAM_KTLS_SENDS;
        *account = (struct ktls_account){0};
        if (ktls_tell_records(fd, &records) &&
            ktls_tell_position(fd, &account->position)) {
            account->record = records.next;
        }
    }
    BIO_free(bio);
    return result;
}

ssize_t ktls_send(int fd, uint8_t type, const void *data, size_t size)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(type))];
    } control = {.bytes = {0}};
    struct iovec part = {.iov_base = (void *)data, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = CMSG_LEN(sizeof(type)),
    };

    control.head.cmsg_level = SOL_TLS;
    control.head.cmsg_type = TLS_SET_RECORD_TYPE;
    control.head.cmsg_len = CMSG_LEN(sizeof(type));
    memcpy(CMSG_DATA(&control.head), &type, sizeof(type));
    return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool ktls_is_flushed(int fd, const struct ktls_account *account)
{
    struct ktls_records records;
    uint64_t position;

    return !ktls_tell_records(fd, &records) ||
           !ktls_tell_position(fd, &position) ||
           position - account->position >=
               account->bytes +
                   (records.next - account->record) * records.overhead;
}
