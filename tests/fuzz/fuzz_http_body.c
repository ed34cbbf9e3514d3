/*
 * Bodies of requests. The first byte chooses a length or chunks. Checked
 * besides memory: however the input is cut, the content is the same, and so is
 * where it ends; what was read from chunks is read again from one chunk.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/http_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
    char *content;
    size_t content_size;
    size_t used; /* all that was read, when it is done */
    bool is_done;
    bool is_error;
};

/* Reads pieces of `step` bytes. */
static struct result read_all(struct http_body body, const char *data,
                              size_t size, size_t step)
{
    struct result result = {.content = malloc(size + 1)};

    assert(result.content != NULL);
    while (result.used < size && !http_body_is_done(&body)) {
        size_t most = size - result.used < step ? size - result.used : step;
        char *copy = malloc(most);
        struct peal_slice piece;
        long rc;

        assert(copy != NULL);
        memcpy(copy, data + result.used, most);
        rc = http_body_read(&body, copy, most, &piece);
        if (rc < 0) {
            assert(rc == PEAL_EPROTOCOL);
            result.is_error = true;
            free(copy);
            return result;
        }
        assert(rc > 0 && (size_t)rc <= most);
        assert(piece.data >= copy && piece.data + piece.size <= copy + rc);
        memcpy(result.content + result.content_size, piece.data, piece.size);
        result.content_size += piece.size;
        result.used += (size_t)rc;
        free(copy);
    }
    result.is_done = http_body_is_done(&body);
    return result;
}

/* As one chunk it is the same content. */
static void check_again(const struct result *whole)
{
    char *text = malloc(whole->content_size + 64);
    struct http_body body;
    struct result again;
    size_t size;

    assert(text != NULL);
    size = (size_t)sprintf(text, "%zx\r\n", whole->content_size);
    if (whole->content_size > 0) {
        memcpy(text + size, whole->content, whole->content_size);
        size += whole->content_size;
        size += (size_t)sprintf(text + size, "\r\n0\r\n");
    }
    size += (size_t)sprintf(text + size, "\r\n");
    http_body_init(&body, 0, true);
    again = read_all(body, text, size, size);
    assert(again.is_done && again.used == size);
    assert(again.content_size == whole->content_size);
    assert(memcmp(again.content, whole->content, again.content_size) == 0);
    free(again.content);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_body body;
    struct result whole;

    if (size == 0) {
        return 0;
    }
    /* The seeds are mostly chunked and begin with a digit. */
    http_body_init(&body, data[0], data[0] < 0x80);
    whole = read_all(body, (const char *)data, size, size);
    for (size_t step = 1; step < size; step += 1 + size / 16) {
        struct result cut = read_all(body, (const char *)data, size, step);

        assert(cut.is_done == whole.is_done && cut.is_error == whole.is_error);
        if (!cut.is_error) {
            assert(cut.used == whole.used);
            assert(cut.content_size == whole.content_size);
            assert(memcmp(cut.content, whole.content, cut.content_size) == 0);
        }
        free(cut.content);
    }
    if (whole.is_done) {
        check_again(&whole);
    }
    free(whole.content);
    return 0;
}
