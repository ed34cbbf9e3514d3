#include "proto/tcp_frame.h"

#include <string.h>

#include "base/assert.h"
#include "base/slice.h"

#define LENGTH_SIZE 4

static size_t load_u32(const char *data)
{
    const unsigned char *byte = (const unsigned char *)data;

    return (size_t)byte[0] << 24 | (size_t)byte[1] << 16 |
           (size_t)byte[2] << 8 | (size_t)byte[3];
}

static size_t load_u16(const char *data)
{
    const unsigned char *byte = (const unsigned char *)data;

    return (size_t)byte[0] << 8 | (size_t)byte[1];
}

long tcp_frame_parse(struct tcp_frame *frame, char *data, size_t size,
                     size_t frame_bytes_max)
{
    if (size < LENGTH_SIZE) {
        return 0;
    }
    size_t total = load_u32(data);

    if (total < TCP_HEADER_SIZE) {
        return PEAL_EPROTOCOL;
    }
    if (total > frame_bytes_max) {
        return PEAL_ETOOBIG;
    }
    if (size < TCP_HEADER_SIZE) {
        return 0;
    }
    size_t event_size = load_u16(data + 5);

    if (event_size > TCP_EVENT_MAX || event_size > total - TCP_HEADER_SIZE) {
        return PEAL_EPROTOCOL;
    }
    if (size < total) {
        return 0;
    }
    frame->type = (uint8_t)data[4];
    frame->event = slice_make(data + TCP_HEADER_SIZE, event_size);
    frame->payload = data + TCP_HEADER_SIZE + event_size;
    frame->payload_size = total - TCP_HEADER_SIZE - event_size;
    return (long)total;
}

struct peal_slice tcp_frame_event(const char *data, size_t size)
{
    size_t event_size = size < TCP_HEADER_SIZE ? 0 : load_u16(data + 5);

    if (event_size == 0 || event_size > TCP_EVENT_MAX ||
        event_size > size - TCP_HEADER_SIZE) {
        return slice_make(NULL, 0);
    }
    return slice_make(data + TCP_HEADER_SIZE, event_size);
}

char *tcp_frame_write(char *out, uint8_t type, struct peal_slice event,
                      size_t payload_size)
{
    ASSERT(event.size <= TCP_EVENT_MAX);
    ASSERT(payload_size <= UINT32_MAX - TCP_HEADER_SIZE - TCP_EVENT_MAX);
    size_t total = tcp_frame_size(event.size, payload_size);

    out[0] = (char)(total >> 24 & 0xff);
    out[1] = (char)(total >> 16 & 0xff);
    out[2] = (char)(total >> 8 & 0xff);
    out[3] = (char)(total & 0xff);
    out[4] = (char)type;
    out[5] = (char)(event.size >> 8 & 0xff);
    out[6] = (char)(event.size & 0xff);
    if (event.size > 0) {
        memcpy(out + TCP_HEADER_SIZE, event.data, event.size);
    }
    return out + TCP_HEADER_SIZE + event.size;
}
