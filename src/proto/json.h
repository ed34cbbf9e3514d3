/*
 * JSON (RFC 8259) without a DOM: one pass over a text validates all of it and
 * returns slices of the members that were asked for.
 *
 * UTF-8 is not looked at here: a WebSocket text has been validated by its
 * codec, and the TCP dialects validate before they scan. Lone surrogates in \u
 * escapes are within the grammar (RFC 8259, 8.2): they are let through where a
 * value is only passed on, and refused where a string is decoded, because no
 * UTF-8 text can hold them.
 */
#ifndef PROTO_JSON_H
#define PROTO_JSON_H

#include "peal/peal.h"

/* Arrays and objects may nest this deep; deeper is refused. */
#define JSON_DEPTH_MAX 128

enum json_type {
    JSON_TYPE_ABSENT,
    JSON_TYPE_NULL,
    JSON_TYPE_FALSE,
    JSON_TYPE_TRUE,
    JSON_TYPE_NUMBER,
    JSON_TYPE_STRING,
    JSON_TYPE_ARRAY,
    JSON_TYPE_OBJECT
};

/* `raw` is the value as it stands in the text, a string with its quotes. */
struct json_value {
    enum json_type type;
    bool has_escapes; /* a string's; false for all else */
    struct peal_slice raw;
};

/*
 * Validates one JSON text and returns its type, or PEAL_EPROTOCOL. Blanks
 * around the value are allowed; an empty text is not JSON.
 */
int json_check(const char *text, size_t size);

/* The same, with its value. Returns 0 or PEAL_EPROTOCOL. */
int json_read(const char *text, size_t size, struct json_value *value);

/*
 * Validates one JSON text that is an object, and finds members in it:
 * values[i] becomes the value of the member names[i], JSON_TYPE_ABSENT where
 * there is none. A key written with escapes is still that key. Other members
 * are validated and skipped. A name asked for that stands in the object twice
 * is refused.
 *
 * Returns 0; PEAL_EPROTOCOL when the text is not JSON or a name is doubled;
 * PEAL_EINVAL when it is JSON, but not an object.
 */
int json_scan(const char *text, size_t size, const struct peal_slice *names,
              size_t count, struct json_value *values);

/*
 * Decodes a string (its `raw`, with quotes) into `out`, which may be raw.data
 * itself and needs raw.size - 2 bytes at most. Returns the bytes written, or
 * PEAL_EPROTOCOL for a lone surrogate.
 */
long json_decode(struct peal_slice raw, char *out);

/*
 * A number that is a whole one in 0 .. 2^53 - 1, without sign, point or
 * exponent; PEAL_EPROTOCOL for any other.
 */
int64_t json_whole(struct peal_slice raw);

/* How many bytes json_quote writes for `text`, quotes included. */
size_t json_quoted_size(struct peal_slice text);

/*
 * Writes `text` (valid UTF-8) as a JSON string and returns the end. Escapes
 * what RFC 8259, 7 demands and nothing else.
 */
char *json_quote(char *out, struct peal_slice text);

#endif
