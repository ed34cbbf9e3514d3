#define _GNU_SOURCE /* SOCK_CLOEXEC */
#include "support/listener.h"

#include "support/check.h"

#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

int listener_open(char *address, size_t size)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t length = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(fd, (struct sockaddr *)&in, length) == 0);
    CHECK(listen(fd, 16) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&in, &length) == 0);
    snprintf(address, size, "127.0.0.1:%d", ntohs(in.sin_port));
    return fd;
}
