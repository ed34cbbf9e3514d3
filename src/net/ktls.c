#include "net/ktls.h"

#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

_Static_assert(BIO_CTRL_GET_KTLS_SEND == 73 && BIO_CTRL_GET_KTLS_RECV == 76,
               "the numbers beside these are those of enum ktls_control");

/* OpenSSL's socket BIO knows what the keys look like; it does nothing else. */
enum stream_ktls ktls_begin(int fd, void *keys)
{
    enum stream_ktls result = STREAM_KTLS_REFUSED;
    BIO *bio;

    if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) < 0) {
        return STREAM_KTLS_NO_KERNEL;
    }
    bio = BIO_new_socket(fd, BIO_NOCLOSE);
    if (bio != NULL && BIO_ctrl(bio, KTLS_CONTROL_KEYS, 1, keys) > 0) {
        result = STREAM_KTLS_SENDS;
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

bool ktls_has_room(int fd)
{
    struct pollfd socket = {.fd = fd, .events = POLLOUT};

    return poll(&socket, 1, 0) != 0;
}
