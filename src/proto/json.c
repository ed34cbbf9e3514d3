#include "proto/json.h"

#include <string.h>

#include "base/assert.h"
#include "base/slice.h"
#include "proto/json_string.h"

/*
 * One bit per open array or object, set for an object. `depth` counts from the
 * outermost one of the text, so that a value inside a scanned object is held to
 * the same maximum.
 */
struct json_stack {
    uint64_t bits[JSON_DEPTH_MAX / 64];
    unsigned depth;
};

static void json_push(struct json_stack *stack, bool is_object)
{
    uint64_t bit = UINT64_C(1) << (stack->depth % 64);
    uint64_t *bits = &stack->bits[stack->depth / 64];

    *bits = is_object ? *bits | bit : *bits & ~bit;
    stack->depth++;
}

static bool json_top_is_object(const struct json_stack *stack)
{
    unsigned top = stack->depth - 1;

    return (stack->bits[top / 64] >> (top % 64) & 1) != 0;
}

static const char *json_skip_blanks(const char *at, const char *end)
{
    /* Most texts have no blanks, so one comparison has to tell it. */
    while (at < end && (unsigned char)*at <= ' ' &&
           (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) {
        at++;
    }
    return at;
}

/* `at` is at a backslash. Returns what follows the escape, or NULL. */
static const char *json_skip_escape(const char *at, const char *end)
{
    if (end - at < 2) {
        return NULL;
    }
    switch (at[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return at + 2;
    case 'u':
        if (end - at < 6) {
            return NULL;
        }
        for (int i = 2; i < 6; i++) {
            if (json_hex_value(at[i]) < 0) {
                return NULL;
            }
        }
        return at + 6;
    default:
        return NULL;
    }
}

/* `at` is behind the opening quote. Returns what follows the closing one. */
JSON_INLINE const char *json_skip_string(const char *at, const char *end,
                                         bool *has_escapes)
{
    *has_escapes = false;
    for (;;) {
        at = json_find_special(at, end);
        if (at == end) {
            return NULL;
        }
        if (*at == '"') {
            return at + 1;
        }
        if (*at != '\\') {
            return NULL;
        }
        *has_escapes = true;
        at = json_skip_escape(at, end);
        if (at == NULL) {
            return NULL;
        }
    }
}

static bool json_is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* One digit at least. */
static const char *json_skip_digits(const char *at, const char *end)
{
    if (at == end || !json_is_digit(*at)) {
        return NULL;
    }
    do {
        at++;
    } while (at < end && json_is_digit(*at));
    return at;
}

static const char *json_skip_number(const char *at, const char *end)
{
    if (*at == '-') {
        at++;
    }
    if (at < end && *at == '0') {
        at++;
    } else {
        at = json_skip_digits(at, end);
    }
    if (at != NULL && at < end && *at == '.') {
        at = json_skip_digits(at + 1, end);
    }
    if (at != NULL && at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-')) {
            at++;
        }
        at = json_skip_digits(at, end);
    }
    return at;
}

static const char *json_skip_word(const char *at, const char *end,
                                  const char *word, size_t size)
{
    if ((size_t)(end - at) < size || memcmp(at, word, size) != 0) {
        return NULL;
    }
    return at + size;
}

/* A number or word; NULL for anything else. at < end. */
static const char *json_skip_plain(const char *at, const char *end)
{
    switch (*at) {
    case 't':
        return json_skip_word(at, end, "true", 4);
    case 'f':
        return json_skip_word(at, end, "false", 5);
    case 'n':
        return json_skip_word(at, end, "null", 4);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return json_skip_number(at, end);
    default:
        return NULL;
    }
}

/* A string, number or word; NULL for anything else. at < end. */
JSON_INLINE const char *json_skip_scalar(const char *at, const char *end,
                                         bool *has_escapes)
{
    *has_escapes = false;
    return *at == '"' ? json_skip_string(at + 1, end, has_escapes)
                      : json_skip_plain(at, end);
}

/* A key, inside quotes, and its colon. `at` may be at the end. */
JSON_INLINE const char *json_skip_key(const char *at, const char *end,
                                      struct peal_slice *key,
                                      bool *has_escapes)
{
    const char *start = at + 1;

    if (at == end || *at != '"') {
        return NULL;
    }
    at = json_skip_string(start, end, has_escapes);
    if (at == NULL) {
        return NULL;
    }
    *key = slice_make(start, (size_t)(at - 1 - start));
    at = json_skip_blanks(at, end);
    return at < end && *at == ':' ? at + 1 : NULL;
}

/* What follows a comma in the array or object on top. */
static const char *json_skip_comma(const char *at, const char *end,
                                   const struct json_stack *stack)
{
    struct peal_slice key;
    bool has_escapes;

    if (!json_top_is_object(stack)) {
        return at + 1;
    }
    return json_skip_key(json_skip_blanks(at + 1, end), end, &key,
                         &has_escapes);
}

/*
 * Skips the rest of what is open after a value has ended at `at`: closing
 * brackets, and the comma that a further value follows. Returns NULL for what
 * fits neither.
 */
static const char *json_skip_closing(const char *at, const char *end,
                                     struct json_stack *stack, unsigned outer)
{
    while (stack->depth > outer) {
        at = json_skip_blanks(at, end);
        if (at == end) {
            return NULL;
        }
        if (*at == ',') {
            return json_skip_comma(at, end, stack);
        }
        if (*at != (json_top_is_object(stack) ? '}' : ']')) {
            return NULL;
        }
        stack->depth--;
        at++;
    }
    return at;
}

/*
 * Skips an array or object and all in it; `outer` of them are open around it.
 * at < end. Returns what follows it, or NULL.
 */
static const char *json_skip_container(const char *at, const char *end,
                                       unsigned outer)
{
    struct json_stack stack = {.depth = outer};
    bool has_escapes;

    do {
        if (*at == '{' || *at == '[') {
            bool is_object = *at == '{';
            struct peal_slice key;

            if (stack.depth == JSON_DEPTH_MAX) {
                return NULL;
            }
            json_push(&stack, is_object);
            at = json_skip_blanks(at + 1, end);
            if (at < end && *at != (is_object ? '}' : ']')) {
                if (is_object) {
                    at = json_skip_key(at, end, &key, &has_escapes);
                }
            } else {
                at = json_skip_closing(at, end, &stack, outer);
            }
        } else {
            at = json_skip_scalar(at, end, &has_escapes);
            if (at != NULL) {
                at = json_skip_closing(at, end, &stack, outer);
            }
        }
        if (at == NULL || stack.depth == outer) {
            return at;
        }
        at = json_skip_blanks(at, end);
    } while (at < end);
    return NULL;
}

/* The type of a valid value by its first byte. */
JSON_INLINE enum json_type json_type_of(char first)
{
    switch (first) {
    case '"':
        return JSON_TYPE_STRING;
    case '{':
        return JSON_TYPE_OBJECT;
    case '[':
        return JSON_TYPE_ARRAY;
    case 't':
        return JSON_TYPE_TRUE;
    case 'f':
        return JSON_TYPE_FALSE;
    case 'n':
        return JSON_TYPE_NULL;
    default:
        return JSON_TYPE_NUMBER;
    }
}

/*
 * Reads one value of any kind, blanks before it included; `outer` arrays and
 * objects are open around it. Returns what follows it, or NULL.
 */
JSON_INLINE const char *json_read_value(const char *at, const char *end,
                                        unsigned outer,
                                        struct json_value *value)
{
    const char *start = json_skip_blanks(at, end);

    if (start == end) {
        return NULL;
    }
    value->has_escapes = false;
    at = *start == '{' || *start == '['
             ? json_skip_container(start, end, outer)
             : json_skip_scalar(start, end, &value->has_escapes);
    if (at != NULL) {
        value->type = json_type_of(*start);
        value->raw = slice_make(start, (size_t)(at - start));
    }
    return at;
}

int json_read(const char *text, size_t size, struct json_value *value)
{
    const char *end;
    const char *at;

    if (size == 0) {
        return PEAL_EPROTOCOL;
    }
    end = text + size;
    at = json_read_value(text, end, 0, value);
    if (at == NULL || json_skip_blanks(at, end) != end) {
        return PEAL_EPROTOCOL;
    }
    return PEAL_OK;
}

int json_check(const char *text, size_t size)
{
    struct json_value value;
    int rc = json_read(text, size, &value);

    return rc < 0 ? rc : (int)value.type;
}

/* The index of `key` among the names, or `count`. */
static size_t json_find_name(const struct peal_slice *names, size_t count,
                             struct peal_slice key, bool has_escapes)
{
    size_t i = 0;

    if (has_escapes) {
        while (i < count && !json_key_equals(key, names[i])) {
            i++;
        }
    } else {
        while (i < count && !slice_equal(key, names[i])) {
            i++;
        }
    }
    return i;
}

/* One member, its key due at `at`. Returns what follows it, or NULL. */
static inline const char *json_scan_member(const char *at, const char *end,
                                           const struct peal_slice *names,
                                           size_t count,
                                           struct json_value *values)
{
    struct json_value value;
    struct peal_slice key;
    bool has_escapes;
    size_t found;

    at = json_skip_key(at, end, &key, &has_escapes);
    if (at == NULL) {
        return NULL;
    }
    at = json_read_value(at, end, 1, &value);
    if (at == NULL) {
        return NULL;
    }
    found = json_find_name(names, count, key, has_escapes);
    if (found < count) {
        if (values[found].type != JSON_TYPE_ABSENT) {
            return NULL;
        }
        values[found] = value;
    }
    return at;
}

int json_scan(const char *text, size_t size, const struct peal_slice *names,
              size_t count, struct json_value *values)
{
    const char *end;
    const char *at;

    for (size_t i = 0; i < count; i++) {
        values[i] = (struct json_value){.type = JSON_TYPE_ABSENT};
    }
    if (size == 0) {
        return PEAL_EPROTOCOL;
    }
    end = text + size;
    at = json_skip_blanks(text, end);
    if (at == end || *at != '{') {
        return json_check(text, size) < 0 ? PEAL_EPROTOCOL : PEAL_EINVAL;
    }
    at = json_skip_blanks(at + 1, end);
    if (at == end || *at != '}') {
        for (;;) {
            at = json_scan_member(at, end, names, count, values);
            if (at == NULL) {
                return PEAL_EPROTOCOL;
            }
            at = json_skip_blanks(at, end);
            if (at == end || *at != ',') {
                break;
            }
            at = json_skip_blanks(at + 1, end);
        }
    }
    if (at == end || *at != '}' ||
        json_skip_blanks(at + 1, end) != end) {
        return PEAL_EPROTOCOL;
    }
    return 0;
}

int64_t json_whole(struct peal_slice raw)
{
    const int64_t max = (INT64_C(1) << 53) - 1;
    int64_t value = 0;

    for (size_t i = 0; i < raw.size; i++) {
        if (!json_is_digit(raw.data[i])) {
            return PEAL_EPROTOCOL;
        }
        value = value * 10 + (raw.data[i] - '0');
        if (value > max) {
            return PEAL_EPROTOCOL;
        }
    }
    return raw.size > 0 ? value : PEAL_EPROTOCOL;
}
