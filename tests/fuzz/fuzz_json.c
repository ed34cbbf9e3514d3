/*
 * The JSON scanner: whatever comes in, its functions agree with each other, and
 * nothing is read or written out of bounds.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "base/utf8.h"
#include "proto/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A text that decodes is quoted and decoded to the same again. */
static void check_string(struct peal_slice raw)
{
    char *text = malloc(raw.size);
    char *quoted;
    long size;

    assert(text != NULL);
    size = json_decode(raw, text);
    if (size >= 0) {
        struct peal_slice decoded = {text, (size_t)size};
        size_t quoted_size = json_quoted_size(decoded);

        assert(decoded.size <= raw.size - 2);
        quoted = malloc(quoted_size);
        assert(quoted != NULL);
        assert(json_quote(quoted, decoded) == quoted + quoted_size);
        assert(json_check(quoted, quoted_size) == JSON_TYPE_STRING);
        assert(json_decode(slice_make(quoted, quoted_size), quoted) == size);
        assert(memcmp(quoted, text, (size_t)size) == 0);
        assert(utf8_is_valid(text, (size_t)size) ==
               utf8_is_valid(raw.data, raw.size));
        free(quoted);
    }
    free(text);
}

static void check_value(const struct json_value *value)
{
    if (value->type == JSON_TYPE_ABSENT) {
        assert(value->raw.size == 0);
        return;
    }
    assert(json_check(value->raw.data, value->raw.size) == (int)value->type);
    if (value->type == JSON_TYPE_STRING) {
        check_string(value->raw);
    } else if (value->type == JSON_TYPE_NUMBER) {
        assert(json_whole(value->raw) < INT64_C(1) << 53);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { COUNT = 4 };
    static const struct peal_slice names[COUNT] = {
        {"event", 5}, {"data", 4}, {"id", 2}, {"", 0}};
    struct json_value values[COUNT];
    const char *text = (const char *)data;
    int type = json_check(text, size);
    int rc = json_scan(text, size, names, COUNT, values);

    if (type < 0) {
        assert(type == PEAL_EPROTOCOL && rc == PEAL_EPROTOCOL);
        return 0;
    }
    if (type != JSON_TYPE_OBJECT) {
        assert(rc == PEAL_EINVAL);
        return 0;
    }
    /* Refused only for a doubled name. */
    assert(rc == 0 || rc == PEAL_EPROTOCOL);
    for (size_t i = 0; i < COUNT && rc == 0; i++) {
        check_value(&values[i]);
    }
    return 0;
}
