/* JSON strings: what their escapes mean, and how they are written. */
#include "proto/json_string.h"

#include <string.h>

#include "base/assert.h"

#if defined(__x86_64__)

/* Below this wider vectors gain nothing. */
#define AVX2_SIZE_MIN 128

/* Returns the first 64 bytes with a special one among them, or what is left. */
__attribute__((target("avx2"))) static const char *
json_skip_plain_avx2(const char *at, const char *end)
{
    const __m256i quote = _mm256_set1_epi8('"');
    const __m256i backslash = _mm256_set1_epi8('\\');
    const __m256i control_max = _mm256_set1_epi8(0x1f);

    for (; end - at >= 64; at += 64) {
        __m256i found = _mm256_setzero_si256();

        for (size_t i = 0; i < 64; i += 32) {
            __m256i bytes = _mm256_loadu_si256((const __m256i *)(at + i));

            found = _mm256_or_si256(
                _mm256_or_si256(found,
                                _mm256_cmpeq_epi8(
                                    _mm256_min_epu8(bytes, control_max),
                                    bytes)),
                _mm256_or_si256(_mm256_cmpeq_epi8(bytes, quote),
                                _mm256_cmpeq_epi8(bytes, backslash)));
        }
        if (!_mm256_testz_si256(found, found)) {
            break;
        }
    }
    return at;
}

const char *json_find_special_far(const char *at, const char *end)
{
    if (end - at >= AVX2_SIZE_MIN && __builtin_cpu_supports("avx2")) {
        at = json_skip_plain_avx2(at, end);
    }
    for (; end - at >= 16; at += 16) {
        unsigned mask =
            json_special_mask(_mm_loadu_si128((const __m128i *)at));

        if (mask != 0) {
            return at + __builtin_ctz(mask);
        }
    }
    return json_find_special_short(at, end);
}

#endif

static size_t json_encode_utf8(uint32_t point, char *out)
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xc0 | point >> 6);
        out[1] = (char)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char)(0xe0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 0x3f));
        out[2] = (char)(0x80 | (point & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | point >> 18);
    out[1] = (char)(0x80 | (point >> 12 & 0x3f));
    out[2] = (char)(0x80 | (point >> 6 & 0x3f));
    out[3] = (char)(0x80 | (point & 0x3f));
    return 4;
}

/* The four digits of a valid \u escape, whose backslash is at `at`. */
static uint32_t json_hex_point(const char *at)
{
    uint32_t point = 0;

    for (int i = 2; i < 6; i++) {
        point = point << 4 | (uint32_t)json_hex_value(at[i]);
    }
    return point;
}

/*
 * Decodes the valid escape at *at into at most 4 bytes and steps over it, or
 * over two of them for a pair of surrogates. Returns how many bytes it became,
 * or 0 for a surrogate that is alone.
 */
static size_t json_decode_escape(const char **at, const char *end, char *out)
{
    static const char plain[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    const char *start = *at;
    uint32_t point;

    if (start[1] != 'u') {
        const char *pair = plain;

        while (pair[0] != start[1]) {
            pair += 2;
        }
        *at = start + 2;
        out[0] = pair[1];
        return 1;
    }
    point = json_hex_point(start);
    *at = start + 6;
    if (point >= 0xd800 && point <= 0xdfff) {
        uint32_t low;

        if (point >= 0xdc00 || end - *at < 6 || start[6] != '\\' ||
            start[7] != 'u') {
            return 0;
        }
        low = json_hex_point(*at);
        if (low < 0xdc00 || low > 0xdfff) {
            return 0;
        }
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
        *at = start + 12;
    }
    return json_encode_utf8(point, out);
}

bool json_key_equals(struct peal_slice key, struct peal_slice name)
{
    const char *at = key.data;
    const char *end = key.data + key.size;
    size_t matched = 0;

    while (at < end) {
        char bytes[4] = {*at};
        size_t size = 1;

        if (*at == '\\') {
            size = json_decode_escape(&at, end, bytes);
            if (size == 0) {
                return false;
            }
        } else {
            at++;
        }
        if (name.size - matched < size ||
            memcmp(name.data + matched, bytes, size) != 0) {
            return false;
        }
        matched += size;
    }
    return matched == name.size;
}

long json_decode(struct peal_slice raw, char *out)
{
    const char *at = raw.data + 1;
    const char *end = raw.data + raw.size - 1;
    char *start = out;

    ASSERT(raw.size >= 2);
    for (;;) {
        const char *next = json_find_special(at, end);
        char bytes[4];
        size_t size;

        /* `out` may be the text itself: it is never ahead of `at`. */
        memmove(out, at, (size_t)(next - at));
        out += next - at;
        if (next == end) {
            return out - start;
        }
        at = next;
        size = json_decode_escape(&at, end, bytes);
        if (size == 0) {
            return PEAL_EPROTOCOL;
        }
        memcpy(out, bytes, size);
        out += size;
    }
}

/* The letter of the short escape of a special byte, or 'u' when it has none. */
static char json_escape_of(char byte)
{
    switch (byte) {
    case '"':
    case '\\':
        return byte;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 'u';
    }
}

size_t json_quoted_size(struct peal_slice text)
{
    size_t size = text.size + 2;
    size_t at = 0;

    while (at < text.size) {
        const char *end = text.data + text.size;
        const char *next = json_find_special(text.data + at, end);

        if (next == end) {
            break;
        }
        size += json_escape_of(*next) == 'u' ? 5 : 1;
        at = (size_t)(next - text.data) + 1;
    }
    return size;
}

char *json_quote(char *out, struct peal_slice text)
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0;

    *out++ = '"';
    while (at < text.size) {
        const char *end = text.data + text.size;
        const char *next = json_find_special(text.data + at, end);
        size_t plain = (size_t)(next - text.data) - at;

        memcpy(out, text.data + at, plain);
        out += plain;
        if (next == end) {
            break;
        }
        *out++ = '\\';
        *out = json_escape_of(*next);
        if (*out++ == 'u') {
            *out++ = '0';
            *out++ = '0';
            *out++ = hex[*next >> 4];
            *out++ = hex[*next & 15];
        }
        at += plain + 1;
    }
    *out++ = '"';
    return out;
}
