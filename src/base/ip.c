#include "base/ip.h"

#include <arpa/inet.h>
#include <string.h>

size_t ip_parse(uint8_t out[IP_V6_SIZE], struct peal_slice text)
{
    char copy[INET6_ADDRSTRLEN];

    if (text.size == 0 || text.size >= sizeof copy ||
        memchr(text.data, '\0', text.size) != NULL) {
        return 0;
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    if (inet_pton(AF_INET, copy, out) == 1) {
        return IP_V4_SIZE;
    }
    return inet_pton(AF_INET6, copy, out) == 1 ? IP_V6_SIZE : 0;
}
