/*
 * The opening handshake: the input as a request to a server, as an answer to a
 * client, and as what an application fills into a client's request. Checked
 * besides memory: what a server accepts a client believes, and no field of a
 * request becomes a line of its own.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "proto/ws_handshake.h"

#define BYTES_MAX 2048

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_request(const char *data, size_t size)
{
    static const char *const supported[] = {"peal", "chat", "superchat", NULL};
    static struct http_request request;
    static struct http_response response;
    struct ws_upgrade upgrade;
    char out[WS_ANSWER_SIZE_MAX];

    if (http_request_parse(&request, data, size, BYTES_MAX) <= 0) {
        return;
    }
    int status = ws_upgrade_check(&upgrade, &request);

    assert(status == 0 || status == 400 || status == 405 || status == 426);
    const char *protocol = ws_select(&request, supported);

    assert(protocol == NULL || status != 0 || upgrade.protocols.data != NULL);
    if (status != 0) {
        return;
    }
    assert(ws_is_upgrade(&request));
    assert(upgrade.key.size == WS_KEY_SIZE && upgrade.host.size > 0);
    long rc = ws_answer_write(out, sizeof out, upgrade.key, protocol, "");

    assert(rc > 0);
    assert(http_response_parse(&response, out, (size_t)rc, sizeof out) == rc);
    assert(ws_answer_check(&response, upgrade.key.data,
                           "superchat, peal, chat") == 0);
}

static void as_answer(const char *data, size_t size)
{
    static struct http_response response;

    if (http_response_parse(&response, data, size, BYTES_MAX) > 0) {
        int rc = ws_answer_check(&response, "dGhlIHNhbXBsZSBub25jZQ==", "peal");

        assert(rc == 0 || rc == PEAL_EREFUSED || rc == PEAL_EPROTOCOL);
    }
}

/* The fields stand between bars; an empty one is left out. */
static void as_fields(const char *data, size_t size)
{
    static struct http_request request;
    char *text = malloc(size + 1);
    const char *fields[4] = {NULL, NULL, NULL, NULL};
    char out[BYTES_MAX];
    char key[WS_KEY_SIZE];
    size_t count = 0, optional = 0;

    assert(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *at = text; at != NULL && count < 4; count++) {
        char *end = strchr(at, '|');

        if (end != NULL) {
            *end++ = '\0';
        }
        fields[count] = *at == '\0' ? NULL : at;
        optional += count >= 2 && *at != '\0';
        at = end;
    }
    struct ws_request wanted = {
        .host = fields[0] == NULL ? "a" : fields[0],
        .target = fields[1] == NULL ? "/" : fields[1],
        .origin = fields[2],
        .protocols = fields[3],
    };
    long rc = ws_request_write(out, sizeof out, &wanted, key);

    assert(rc > 0 || rc == PEAL_EINVAL || rc == PEAL_EFULL);
    if (rc > 0 &&
        http_request_parse(&request, out, (size_t)rc, sizeof out + 1) > 0) {
        assert(request.header_count == 5 + optional);
        assert(slice_equal(request.target,
                           slice_make(wanted.target, strlen(wanted.target))));
        assert(
            slice_equal(http_header_get(request.headers, request.header_count,
                                        "sec-websocket-key"),
                        slice_make(key, sizeof key)));
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);

    assert(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    as_request(copy, size);
    as_answer(copy, size);
    as_fields(copy, size);
    free(copy);
    return 0;
}
