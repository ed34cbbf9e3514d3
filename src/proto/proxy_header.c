#include "proto/proxy_header.h"

#include "base/ip.h"
#include "base/slice.h"

#include <string.h>

/* --- Which version -------------------------------------------------------- */

static const char line_mark[] = "PROXY ";
static const char binary_mark[] = "\r\n\r\n\0\r\nQUIT\n";

#define LINE_MARK_SIZE (sizeof line_mark - 1)
#define BINARY_MARK_SIZE (sizeof binary_mark - 1)

enum mark {
    MARK_NONE,
    MARK_UNDECIDED, /* more is needed to tell */
    MARK_LINE,
    MARK_BINARY
};

static enum mark find_mark(const char *data, size_t size)
{
    size_t most = size < LINE_MARK_SIZE ? size : LINE_MARK_SIZE;

    if (memcmp(data, line_mark, most) == 0) {
        return most == LINE_MARK_SIZE ? MARK_LINE : MARK_UNDECIDED;
    }
    most = size < BINARY_MARK_SIZE ? size : BINARY_MARK_SIZE;
    if (memcmp(data, binary_mark, most) == 0) {
        return most == BINARY_MARK_SIZE ? MARK_BINARY : MARK_UNDECIDED;
    }
    return MARK_NONE;
}

bool proxy_header_begins(const char *data, size_t size)
{
    return find_mark(data, size) >= MARK_LINE;
}

/* --- Version 1 ------------------------------------------------------------ */

/* Takes what stands before the next blank; empty when there is nothing. */
static struct peal_slice next_field(struct peal_slice *rest)
{
    const char *blank =
        rest->size > 0 ? memchr(rest->data, ' ', rest->size) : NULL;
    size_t size = blank != NULL ? (size_t)(blank - rest->data) : rest->size;
    struct peal_slice field = slice_make(rest->data, size);

    rest->data += blank != NULL ? size + 1 : size;
    rest->size -= blank != NULL ? size + 1 : size;
    return field;
}

static bool read_port(struct peal_slice text, uint16_t *out)
{
    unsigned value = 0;

    if (text.size == 0 || text.size > 5 ||
        (text.size > 1 && text.data[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(text.data[i] - '0');
    }
    *out = (uint16_t)value;
    return value <= UINT16_MAX;
}

/* "192.0.2.1 198.51.100.1 56324 443": both addresses, then both ports. */
static bool read_pair(struct proxy_header *header, size_t address_size,
                      struct peal_slice rest)
{
    uint8_t destination[IP_V6_SIZE];
    uint16_t destination_port;

    return ip_parse(header->address, next_field(&rest)) == address_size &&
           ip_parse(destination, next_field(&rest)) == address_size &&
           read_port(next_field(&rest), &header->port) &&
           rest.size > 0 && memchr(rest.data, ' ', rest.size) == NULL &&
           read_port(rest, &destination_port);
}

static long read_line(struct proxy_header *header, const char *data,
                      size_t size, const char **problem)
{
    size_t most = size < PROXY_LINE_MAX ? size : PROXY_LINE_MAX;
    const char *end = memchr(data, '\n', most);
    struct peal_slice rest;
    struct peal_slice protocol;

    if (end == NULL && most < PROXY_LINE_MAX) {
        return 0;
    }
    *problem = "its line is too long";
    if (end == NULL) {
        return PEAL_EPROTOCOL;
    }
    *problem = "its line does not end with CRLF";
    if (end[-1] != '\r') {
        return PEAL_EPROTOCOL;
    }
    rest = slice_make(data + LINE_MARK_SIZE,
                      (size_t)(end - data) - 1 - LINE_MARK_SIZE);
    protocol = next_field(&rest);
    *problem = "its addresses make no sense";
    if (slice_equal(protocol, SLICE("TCP4"))) {
        header->source = PROXY_IPV4;
        if (!read_pair(header, IP_V4_SIZE, rest)) {
            return PEAL_EPROTOCOL;
        }
    } else if (slice_equal(protocol, SLICE("TCP6"))) {
        header->source = PROXY_IPV6;
        if (!read_pair(header, IP_V6_SIZE, rest)) {
            return PEAL_EPROTOCOL;
        }
    } else if (!slice_equal(protocol, SLICE("UNKNOWN"))) {
        *problem = "its protocol is unknown";
        return PEAL_EPROTOCOL;
    }
    return end - data + 1;
}

/* --- Version 2 ------------------------------------------------------------ */

/* After the mark: version and command, family and transport, the length of
 * what follows. */
#define BINARY_HEAD_SIZE (BINARY_MARK_SIZE + 4)

enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };

/* What each family's block begins with, source first: addresses, ports. */
static const struct family {
    enum proxy_source source;
    uint8_t address_size;
    uint16_t block_size; /* without TLVs */
} families[] = {
    {PROXY_SELF, 0, 0},
    {PROXY_IPV4, IP_V4_SIZE, 2 * IP_V4_SIZE + 2 * 2},
    {PROXY_IPV6, IP_V6_SIZE, 2 * IP_V6_SIZE + 2 * 2},
    {PROXY_UNIX, 0, 2 * 108},
};

/* Of the low half: unspecified, a stream, datagrams. */
#define TRANSPORT_LAST 2

static void read_block(struct proxy_header *header, const struct family *family,
                       const unsigned char *block)
{
    const unsigned char *port = block + 2 * (size_t)family->address_size;

    header->source = family->source;
    if (family->address_size > 0) {
        memcpy(header->address, block, family->address_size);
        header->port = (uint16_t)(port[0] << 8 | port[1]);
    }
}

static long read_binary(struct proxy_header *header, const char *data,
                        size_t size, size_t most, const char **problem)
{
    const unsigned char *head = (const unsigned char *)data + BINARY_MARK_SIZE;
    size_t given = size - BINARY_MARK_SIZE;
    const struct family *family;
    size_t length;

    *problem = "its version or command is unknown";
    if (given >= 1 && head[0] != COMMAND_LOCAL && head[0] != COMMAND_PROXY) {
        return PEAL_EPROTOCOL;
    }
    *problem = "its family or transport is unknown";
    if (given >= 2 && (head[1] >> 4 >= (int)(sizeof families /
                                             sizeof families[0]) ||
                       (head[1] & 0xf) > TRANSPORT_LAST)) {
        return PEAL_EPROTOCOL;
    }
    if (size < BINARY_HEAD_SIZE) {
        return 0;
    }
    length = (size_t)head[2] << 8 | head[3];
    family = &families[head[0] == COMMAND_LOCAL ? 0 : head[1] >> 4];
    *problem = "it is shorter than its addresses";
    if (length < family->block_size) {
        return PEAL_EPROTOCOL;
    }
    *problem = "it is too long";
    if (BINARY_HEAD_SIZE + length > most) {
        return PEAL_ETOOBIG;
    }
    if (size < BINARY_HEAD_SIZE + length) {
        return 0;
    }
    read_block(header, family, head + 4);
    return (long)(BINARY_HEAD_SIZE + length);
}

long proxy_header_parse(struct proxy_header *header, const char *data,
                        size_t size, size_t most, const char **problem)
{
    *header = (struct proxy_header){.source = PROXY_SELF};
    *problem = "there is none";
    if (size == 0) {
        return 0;
    }
    switch (find_mark(data, size)) {
    case MARK_UNDECIDED:
        return 0;
    case MARK_LINE:
        return read_line(header, data, size, problem);
    case MARK_BINARY:
        return read_binary(header, data, size, most, problem);
    case MARK_NONE:
        break;
    }
    return PEAL_ENOTFOUND;
}
