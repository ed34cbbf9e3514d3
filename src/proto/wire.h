/*
 * What the dialects share: reading strings where they stand, and laying out
 * numbers, names and data. Nothing outside of the dialects needs this.
 */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include <string.h>

#include "base/slice.h"
#include "proto/dialect.h"
#include "proto/json.h"

/* Of a string literal, without its zero byte. */
#define LITERAL_SIZE(literal) (sizeof(literal) - 1)

/* Bytes an event name or a room name may have, decoded. */
#define WIRE_NAME_MAX 256

/* Turns `wire` into one that was not understood. What tells who asked stays. */
void wire_invalidate(struct wire *wire, enum wire_code code);

/*
 * Finds the text of a JSON string, decoding it where it stands: the bytes of
 * its `raw` are written to if it has escapes, hence they must be the reader's.
 * False for a lone surrogate.
 */
bool wire_decode(const struct json_value *string, struct peal_slice *text);

/* A name: a string of at most WIRE_NAME_MAX bytes, decoded; it may be empty. */
bool wire_read_name(const struct json_value *value, struct peal_slice *name);

/*
 * Checks that a payload is UTF-8 and one JSON text, and finds the value in it
 * without the blanks around it. False when it is neither.
 */
bool wire_read_json(const char *payload, size_t size, struct json_value *value);

/*
 * Checks the head of a binary message, `u32 header length | header | bytes`:
 * the header lies inside and is UTF-8. False when not.
 */
bool wire_split_binary(char *data, size_t size, struct peal_slice *header,
                       struct peal_slice *bytes);

/* Big endian. Returns the end. */
char *wire_put_u32(char *out, size_t value);

static inline char *wire_put(char *out, struct peal_slice text)
{
    if (text.size > 0) {
        memcpy(out, text.data, text.size);
    }
    return out + text.size;
}

/*
 * Writes a JSON string whose quoted size is known: when that says that nothing
 * needs an escape, which is nearly always, it is a plain copy.
 */
static inline char *wire_put_string(char *out, struct peal_slice text,
                                    bool is_plain)
{
    if (!is_plain) {
        return json_quote(out, text);
    }
    *out++ = '"';
    out = wire_put(out, text);
    *out++ = '"';
    return out;
}

/* Events carry an id only as requests; a copied one may linger in others. */
static inline bool wire_has_id(const struct wire *wire)
{
    return wire->id.size > 0 &&
           (wire->kind != WIRE_EVENT || wire->wants_answer);
}

/* The data of a wire as a JSON value: text that is not JSON gets quoted. */
static inline size_t wire_data_size(const struct wire *wire)
{
    return wire->data_kind == PEAL_TEXT ? json_quoted_size(wire->data)
                                        : wire->data.size;
}

static inline char *wire_put_data(char *out, const struct wire *wire)
{
    return wire->data_kind == PEAL_TEXT ? json_quote(out, wire->data)
                                        : wire_put(out, wire->data);
}

/* Whether there is data to write: an empty text is data, as "". */
static inline bool wire_has_data(const struct wire *wire)
{
    return wire->data.size > 0 || wire->data_kind == PEAL_TEXT;
}

/* The same where something has to stand: no data is null. */
static inline size_t wire_value_size(const struct wire *wire)
{
    return wire_has_data(wire) ? wire_data_size(wire) : LITERAL_SIZE("null");
}

static inline char *wire_put_value(char *out, const struct wire *wire)
{
    return wire_has_data(wire) ? wire_put_data(out, wire)
                               : wire_put(out, SLICE("null"));
}

#endif
