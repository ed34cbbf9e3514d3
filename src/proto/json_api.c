/* The public functions on JSON: for applications without a JSON library. */
#include "base/slice.h"
#include "base/utf8.h"
#include "proto/json.h"

#include <stdlib.h>

int peal_json_get(struct peal_slice json, const char *name,
                  struct peal_slice *value)
{
    struct peal_slice key = peal_slice(name);
    struct json_value found;

    if (json_scan(json.data, json.size, &key, 1, &found) < 0) {
        return PEAL_EINVAL;
    }
    if (found.type == JSON_TYPE_ABSENT) {
        return PEAL_ENOTFOUND;
    }
    *value = found.raw;
    return 0;
}

long peal_json_text(struct peal_slice json, char *out, size_t size)
{
    long used;

    json = slice_trim(json);
    if (json_check(json.data, json.size) != JSON_TYPE_STRING) {
        return PEAL_EINVAL;
    }
    if (json.size - 2 + 1 > size) {
        return PEAL_ETOOBIG;
    }
    used = json_decode(json, out);
    if (used < 0 || memchr(out, '\0', (size_t)used) != NULL) {
        return PEAL_EINVAL;
    }
    out[used] = '\0';
    return used;
}

int peal_json_number(struct peal_slice json, double *out)
{
    char text[64];

    json = slice_trim(json);
    if (json_check(json.data, json.size) != JSON_TYPE_NUMBER ||
        json.size >= sizeof text) {
        return PEAL_EINVAL;
    }
    memcpy(text, json.data, json.size);
    text[json.size] = '\0';
    *out = strtod(text, NULL);
    return 0;
}

long peal_json_quote(char *out, size_t size, struct peal_slice text)
{
    char *end;

    if (!utf8_is_valid(text.data, text.size)) {
        return PEAL_EINVAL;
    }
    if (json_quoted_size(text) + 1 > size) {
        return PEAL_ETOOBIG;
    }
    end = json_quote(out, text);
    *end = '\0';
    return end - out;
}
