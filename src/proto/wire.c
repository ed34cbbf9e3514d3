#include "proto/wire.h"

#include "base/assert.h"
#include "base/utf8.h"

struct wire_failure wire_failure_of(enum wire_code code)
{
    /* By code, from the first one on. */
    static const struct {
        const char *name;
        const char *message;
        bool temporary;
    } failures[] = {
        {"bad_message", "The message cannot be understood", false},
        {"unknown_event", "Nobody here handles this event", false},
        {"not_allowed", "A client may not do this", false},
        {"too_large", "The message is larger than allowed", false},
        {"bad_room", "The name of the room is empty or too long", false},
        {"room_limit", "There are too many rooms", false},
        {"timeout", "The answer did not come in time", true},
        {"internal", "The server failed", true},
        {"refused", "The request was refused", false},
        {"busy", "The server is busy", true},
        {"rate_limited", "Too many messages in too short a time", true},
    };
    size_t index = (size_t)code - WIRE_BAD_MESSAGE;

    ASSERT(index < ARRAY_SIZE(failures));
    return (struct wire_failure){
        .name = peal_slice(failures[index].name),
        .message = peal_slice(failures[index].message),
        .code = (int)code,
        .temporary = failures[index].temporary,
    };
}

void wire_invalidate(struct wire *wire, enum wire_code code)
{
    wire->kind = WIRE_INVALID;
    wire->failure = wire_failure_of(code);
}

bool wire_decode(const struct json_value *string, struct peal_slice *text)
{
    char *start = (char *)string->raw.data;
    long size;

    if (!string->has_escapes) {
        *text = slice_make(start + 1, string->raw.size - 2);
        return true;
    }
    size = json_decode(string->raw, start);
    if (size < 0) {
        return false;
    }
    *text = slice_make(start, (size_t)size);
    return true;
}

bool wire_read_name(const struct json_value *value, struct peal_slice *name)
{
    return value->type == JSON_TYPE_STRING && wire_decode(value, name) &&
           name->size <= WIRE_NAME_MAX;
}

bool wire_read_json(const char *payload, size_t size, struct json_value *value)
{
    return size > 0 && utf8_is_valid(payload, size) &&
           json_read(payload, size, value) == PEAL_OK;
}

bool wire_split_binary(char *data, size_t size, struct peal_slice *header,
                       struct peal_slice *bytes)
{
    const unsigned char *length = (const unsigned char *)data;
    size_t header_size;

    if (size < 4) {
        return false;
    }
    header_size = (size_t)length[0] << 24 | (size_t)length[1] << 16 |
                  (size_t)length[2] << 8 | length[3];
    if (header_size > size - 4 || !utf8_is_valid(data + 4, header_size)) {
        return false;
    }
    *header = slice_make(data + 4, header_size);
    *bytes = slice_make(data + 4 + header_size, size - 4 - header_size);
    return true;
}

char *wire_put_u32(char *out, size_t value)
{
    ASSERT(value <= UINT32_MAX);
    for (int shift = 24; shift >= 0; shift -= 8) {
        *out++ = (char)(value >> shift & 0xff);
    }
    return out;
}
