/*
 * Headers of the PROXY protocol. Checked besides memory: a part of the input
 * never gets another verdict than the whole, and what version 2 says is said
 * by version 1, too.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/proxy_header.h"

#define BYTES_MAX 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads a copy of exactly this size, so that a byte too far is seen. */
static long parse(struct proxy_header *header, const uint8_t *data, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);
    const char *problem = NULL;
    long rc;

    assert(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    rc = proxy_header_parse(header, copy, size, BYTES_MAX, &problem);
    assert(problem != NULL && rc <= (long)size && rc <= BYTES_MAX);
    assert(rc == 0 || rc == PEAL_ENOTFOUND || proxy_header_begins(copy, size));
    free(copy);
    return rc;
}

/* Written as a line it is the same. */
static void check_again(const struct proxy_header *header)
{
    bool is_v4 = header->source == PROXY_IPV4;
    char text[INET6_ADDRSTRLEN];
    char line[PROXY_LINE_MAX + 1];
    struct proxy_header again;
    int size;

    assert(inet_ntop(is_v4 ? AF_INET : AF_INET6, header->address, text,
                     sizeof text) != NULL);
    size = snprintf(line, sizeof line, "PROXY %s %s %s %d 1\r\n",
                    is_v4 ? "TCP4" : "TCP6", text, text, header->port);
    assert(size <= PROXY_LINE_MAX);
    assert(parse(&again, (const uint8_t *)line, (size_t)size) == size);
    assert(again.source == header->source && again.port == header->port);
    assert(memcmp(again.address, header->address, sizeof again.address) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header header;
    struct proxy_header part;
    long whole = parse(&header, data, size);
    long before = 0;

    for (size_t n = 1; n < size; n += 1 + size / 64) {
        long rc = parse(&part, data, n);

        assert(rc == 0 || rc == whole);
        assert(before == 0 || rc == before);
        before = rc;
    }
    if (whole > 0 &&
        (header.source == PROXY_IPV4 || header.source == PROXY_IPV6)) {
        check_again(&header);
    }
    return 0;
}
