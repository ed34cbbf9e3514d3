#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/slice.h"
#include "proto/ws_handshake.h"
#include "vectors.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

#define assert_slice(slice, text) assert_true(slice_equal(slice, SLICE(text)))

/* The lines of an upgrade; a test leaves some out or adds to them. */
#define HOST "Host: a\r\n"
#define UPGRADE "Upgrade: websocket\r\n"
#define CONNECTION "Connection: Upgrade\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define KEY_LINE "Sec-WebSocket-Key: " KEY "\r\n"
#define GET "GET / HTTP/1.1\r\n"
#define GOOD HOST UPGRADE CONNECTION VERSION KEY_LINE

static struct http_request parse(const char *head)
{
    struct http_request request;
    long rc = http_request_parse(&request, head, strlen(head), 4096);

    assert_int_equal(rc, strlen(head));
    return request;
}

static int check(const char *head)
{
    struct http_request request = parse(head);
    struct ws_upgrade upgrade;

    return ws_upgrade_check(&upgrade, &request);
}

static void test_accept_of_the_rfc(void **state)
{
    char accept[WS_ACCEPT_SIZE];

    (void)state;
    /* Twice: the second goes with the context of the first. */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ws_accept(SLICE(KEY), accept), 0);
        assert_memory_equal(accept, ACCEPT, WS_ACCEPT_SIZE);
    }
}

static void *accept_in_thread(void *arg)
{
    size_t *wrong = arg;

    for (int i = 0; i < 100; i++) {
        char accept[WS_ACCEPT_SIZE];

        if (ws_accept(SLICE(KEY), accept) != 0 ||
            memcmp(accept, ACCEPT, WS_ACCEPT_SIZE) != 0) {
            (*wrong)++;
        }
    }
    return NULL;
}

/* Each thread has a context of its own, which it takes with it (LeakSanitizer
 * looks for it). */
static void test_accept_in_threads(void **state)
{
    pthread_t threads[8];
    size_t wrong[8] = {0};

    (void)state;
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(
            pthread_create(&threads[i], NULL, accept_in_thread, &wrong[i]), 0);
    }
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(wrong[i], 0);
    }
}

static void test_what_an_upgrade_says(void **state)
{
    struct http_request request =
        parse(GET "host: example.com:81\r\nUPGRADE: h2c, WebSocket\r\n"
                  "connection: keep-alive, upgrade\r\n" VERSION KEY_LINE
                  "Origin: http://example.com\r\n"
                  "Sec-WebSocket-Protocol: chat, superchat\r\n\r\n");
    struct ws_upgrade upgrade;

    (void)state;
    assert_true(ws_is_upgrade(&request));
    assert_int_equal(ws_upgrade_check(&upgrade, &request), 0);
    assert_slice(upgrade.key, KEY);
    assert_slice(upgrade.host, "example.com:81");
    assert_slice(upgrade.origin, "http://example.com");
    assert_slice(upgrade.protocols, "chat, superchat");
}

static void test_what_an_upgrade_leaves_out(void **state)
{
    struct http_request request = parse(GET GOOD "\r\n");
    struct ws_upgrade upgrade;

    (void)state;
    assert_int_equal(ws_upgrade_check(&upgrade, &request), 0);
    assert_null(upgrade.origin.data);
    assert_null(upgrade.protocols.data);

    request = parse(GET HOST "\r\n");
    assert_false(ws_is_upgrade(&request));
    request = parse(GET HOST "Upgrade: h2c\r\n\r\n");
    assert_false(ws_is_upgrade(&request));
}

static void test_refusals(void **state)
{
    static const struct {
        const char *head;
        int status;
    } cases[] = {
        {GET GOOD "\r\n", 0},
        {GET GOOD "Content-Length: 0\r\n\r\n", 0},
        {"GET http://a/x HTTP/1.1\r\n" GOOD "\r\n", 0},
        {GET HOST CONNECTION VERSION KEY_LINE "\r\n", 426},
        {GET HOST CONNECTION VERSION KEY_LINE "Upgrade: websockets\r\n\r\n",
         426},
        {GET HOST UPGRADE VERSION KEY_LINE "\r\n", 426},
        {GET HOST UPGRADE VERSION KEY_LINE "Connection: close\r\n\r\n", 426},
        {GET HOST UPGRADE CONNECTION KEY_LINE "\r\n", 426},
        {GET HOST UPGRADE CONNECTION KEY_LINE
         "Sec-WebSocket-Version: 8\r\n\r\n",
         426},
        {GET HOST UPGRADE CONNECTION KEY_LINE
         "Sec-WebSocket-Version: 13, 8\r\n\r\n",
         426},
        {"POST / HTTP/1.1\r\n" GOOD "\r\n", 405},
        {"get / HTTP/1.1\r\n" GOOD "\r\n", 405},
        {"HEAD / HTTP/1.1\r\n" GOOD "\r\n", 405},
        {"GET / HTTP/1.0\r\n" GOOD "\r\n", 400},
        {GET "Host:\r\n" UPGRADE CONNECTION VERSION KEY_LINE "\r\n", 400},
        {GET HOST UPGRADE CONNECTION VERSION "\r\n", 400},
        {GET GOOD "Content-Length: 1\r\n\r\n", 400},
        {GET GOOD "Transfer-Encoding: chunked\r\n\r\n", 400},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = check(cases[i].head);

        if (status != cases[i].status) {
            fail_msg("%d for %s", status, cases[i].head);
        }
    }
}

static void test_keys(void **state)
{
    static const struct {
        const char *key;
        int status;
    } cases[] = {
        {KEY, 0},
        {"AAAAAAAAAAAAAAAAAAAAAA==", 0},
        {"+/+/+/+/+/+/+/+/+/+/09==", 0},
        {"", 400},
        {"AAAAAAAAAAAAAAAAAAAAA===", 400},
        {"AAAAAAAAAAAAAAAAAAAAAAA=", 400},
        {"AAAAAAAAAAAAAAAAAAAAAAAA", 400},
        {"AAAAAAAAAAAAAAAAAAAA", 400},
        {"AAAAAAAAAAAAAAAAAAAAAAAA==", 400},
        {"AAAAAAAAAAAAAAAAAAAA-A==", 400},
        {"AAAAAAAAAAAAAAAAAAAA_A==", 400},
        {"AAAAAAAAAA AAAAAAAAAAA==", 400},
        {"AAAAAAAAAA=AAAAAAAAAAA==", 400},
        {"-AAAAAAAAAAAAAAAAAAAAA==", 400},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char head[256];

        snprintf(head, sizeof head,
                 GET HOST UPGRADE CONNECTION VERSION
                 "Sec-WebSocket-Key: %s\r\n\r\n",
                 cases[i].key);
        assert_int_equal(check(head), cases[i].status);
    }
}

static void test_select(void **state)
{
    static const char *const supported[] = {"peal", "chat", NULL};
    static const char *const none[] = {NULL};
    static const struct {
        const char *lines;
        const char *selected;
    } cases[] = {
        {"", NULL},
        {"Sec-WebSocket-Protocol: chat\r\n", "chat"},
        {"Sec-WebSocket-Protocol: other, chat ,peal\r\n", "peal"},
        {"Sec-WebSocket-Protocol: chat\r\nSEC-websocket-protocol: peal\r\n",
         "peal"},
        {"Sec-WebSocket-Protocol: ,chat\r\n", "chat"},
        {"Sec-WebSocket-Protocol: Peal, CHAT\r\n", NULL},
        {"Sec-WebSocket-Protocol: pea, chats\r\n", NULL},
        {"Sec-WebSocket-Protocol:\r\n", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char head[256];

        snprintf(head, sizeof head, GET "%s" HOST "\r\n", cases[i].lines);
        struct http_request request = parse(head);
        const char *selected = ws_select(&request, supported);

        if (cases[i].selected == NULL) {
            assert_null(selected);
        } else {
            assert_non_null(selected);
            assert_string_equal(selected, cases[i].selected);
        }
        assert_null(ws_select(&request, none));
    }
}

static void test_answer(void **state)
{
    static const char wanted[] = "HTTP/1.1 101 Switching Protocols\r\n"
                                 "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: " ACCEPT "\r\n"
                                 "Sec-WebSocket-Protocol: peal\r\nX: y\r\n\r\n";
    size_t due = sizeof wanted - 1;
    char out[WS_ANSWER_SIZE_MAX];

    (void)state;
    for (size_t size = 0; size <= due; size++) {
        char *end = vectors_guard("", 0);
        long rc =
            ws_answer_write(end - size, size, SLICE(KEY), "peal", "X: y\r\n");

        assert_int_equal(rc, size == due ? (long)due : PEAL_EFULL);
    }
    assert_int_equal(
        ws_answer_write(out, sizeof out, SLICE(KEY), "peal", "X: y\r\n"), due);
    assert_memory_equal(out, wanted, due);
}

/* The longest answer without further lines has its place in the block. */
static void test_answer_size_max(void **state)
{
    char protocol[129];
    char out[WS_ANSWER_SIZE_MAX];

    (void)state;
    memset(protocol, 'p', 128);
    protocol[128] = '\0';
    assert_in_range(ws_answer_write(out, sizeof out, SLICE(KEY), protocol, ""),
                    128, sizeof out);
}

static const struct ws_request full_request = {
    .host = "example.com:8080",
    .target = "/chat?x=1",
    .origin = "http://example.com",
    .protocols = "peal, other",
    .headers = "X: y\r\nZ: \t1\r\n",
};

static void test_request(void **state)
{
    char out[1024], key[WS_KEY_SIZE], second[WS_KEY_SIZE];
    long size = ws_request_write(out, sizeof out, &full_request, key);
    struct http_request request;
    struct ws_upgrade upgrade;

    (void)state;
    assert_true(size > 0);
    assert_int_equal(http_request_parse(&request, out, (size_t)size, 1024),
                     size);
    assert_slice(request.target, "/chat?x=1");
    assert_int_equal(ws_upgrade_check(&upgrade, &request), 0);
    assert_true(slice_equal(upgrade.key, slice_make(key, WS_KEY_SIZE)));
    assert_slice(upgrade.host, "example.com:8080");
    assert_slice(upgrade.origin, "http://example.com");
    assert_slice(upgrade.protocols, "peal, other");
    assert_slice(http_header_get(request.headers, request.header_count, "z"),
                 "1");

    /* The key is fresh each time. */
    assert_int_equal(ws_request_write(out, sizeof out, &full_request, second),
                     size);
    assert_memory_not_equal(key, second, WS_KEY_SIZE);

    for (size_t less = 0; less < (size_t)size; less++) {
        char *end = vectors_guard("", 0);

        assert_int_equal(ws_request_write(end - less, less, &full_request, key),
                         PEAL_EFULL);
    }
}

static void test_request_with_the_least(void **state)
{
    struct ws_request least = {.host = "a", .target = "/"};
    char out[512], key[WS_KEY_SIZE];
    long size = ws_request_write(out, sizeof out, &least, key);
    struct http_request request;
    struct ws_upgrade upgrade;

    (void)state;
    assert_int_equal(http_request_parse(&request, out, (size_t)size, 512),
                     size);
    assert_int_equal(ws_upgrade_check(&upgrade, &request), 0);
    assert_int_equal(request.header_count, 5);
}

/* No field may smuggle in a line. */
static void test_request_refuses(void **state)
{
    static const struct ws_request cases[] = {
        {.host = "", .target = "/"},
        {.host = "a b", .target = "/"},
        {.host = "a\r\nX: y", .target = "/"},
        {.host = "a", .target = ""},
        {.host = "a", .target = "x"},
        {.host = "a", .target = "/ HTTP/1.1\r\nX: y"},
        {.host = "a", .target = "/a b"},
        {.host = "a", .target = "/\x7f"},
        {.host = "a", .target = "/", .origin = "a\n"},
        {.host = "a", .target = "/", .protocols = "a\r"},
        {.host = "a", .target = "/", .headers = "X: y"},
        {.host = "a", .target = "/", .headers = "X: y\n"},
        {.host = "a", .target = "/", .headers = "X: y\r\n\r\n"},
        {.host = "a", .target = "/", .headers = "\r\n"},
        {.host = "a", .target = "/", .headers = "X: y\r\n Z: a\r\n"},
        {.host = "a", .target = "/", .headers = "X: \x01\r\n"},
        {.host = "a", .target = "/", .headers = "X: y\r\nZ"},
    };
    char out[512], key[WS_KEY_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(ws_request_write(out, sizeof out, &cases[i], key),
                         PEAL_EINVAL);
    }
}

#define SWITCH "HTTP/1.1 101 x\r\n"
#define ACCEPT_LINE "Sec-WebSocket-Accept: " ACCEPT "\r\n"
#define PROOF UPGRADE CONNECTION ACCEPT_LINE

static void test_answer_check(void **state)
{
    static const struct {
        const char *head;
        const char *offered;
        int rc;
    } cases[] = {
        {SWITCH PROOF "\r\n", NULL, 0},
        {SWITCH PROOF "\r\n", "peal", 0},
        {SWITCH PROOF "Sec-WebSocket-Protocol: b\r\n\r\n", "a, b", 0},
        {"HTTP/1.1 200 OK\r\n" PROOF "\r\n", NULL, PEAL_EREFUSED},
        {"HTTP/1.1 426 x\r\n\r\n", NULL, PEAL_EREFUSED},
        {SWITCH CONNECTION ACCEPT_LINE "\r\n", NULL, PEAL_EPROTOCOL},
        {SWITCH UPGRADE ACCEPT_LINE "\r\n", NULL, PEAL_EPROTOCOL},
        {SWITCH UPGRADE CONNECTION "\r\n", NULL, PEAL_EPROTOCOL},
        {SWITCH UPGRADE CONNECTION
         "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
         NULL, PEAL_EPROTOCOL},
        {SWITCH PROOF "Sec-WebSocket-Protocol: a\r\n\r\n", NULL,
         PEAL_EPROTOCOL},
        {SWITCH "Sec-WebSocket-Protocol: c\r\n" PROOF "\r\n", "a, b",
         PEAL_EPROTOCOL},
        {SWITCH PROOF "Sec-WebSocket-Protocol: A\r\n\r\n", "a, b",
         PEAL_EPROTOCOL},
        {SWITCH PROOF "Sec-WebSocket-Protocol: a, b\r\n\r\n", "a, b",
         PEAL_EPROTOCOL},
        {SWITCH PROOF "Sec-WebSocket-Protocol:\r\n\r\n", "a, b",
         PEAL_EPROTOCOL},
        {SWITCH PROOF "Sec-WebSocket-Protocol: a\r\n"
                      "Sec-WebSocket-Protocol: b\r\n\r\n",
         "a, b", PEAL_EPROTOCOL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_response response;
        size_t size = strlen(cases[i].head);

        assert_int_equal(
            http_response_parse(&response, cases[i].head, size, 4096), size);
        int rc = ws_answer_check(&response, KEY, cases[i].offered);

        if (rc != cases[i].rc) {
            fail_msg("%d for %s", rc, cases[i].head);
        }
    }
}

/* Both sides of ours agree. */
static void test_both_sides(void **state)
{
    char out[1024], answer[WS_ANSWER_SIZE_MAX], key[WS_KEY_SIZE];
    long size = ws_request_write(out, sizeof out, &full_request, key);
    struct http_request request;
    struct http_response response;
    struct ws_upgrade upgrade;

    (void)state;
    assert_int_equal(http_request_parse(&request, out, (size_t)size, 1024),
                     size);
    assert_int_equal(ws_upgrade_check(&upgrade, &request), 0);
    size = ws_answer_write(answer, sizeof answer, upgrade.key, "other", "");
    assert_int_equal(http_response_parse(&response, answer, (size_t)size, 1024),
                     size);
    assert_int_equal(ws_answer_check(&response, key, full_request.protocols),
                     0);
    key[0] = key[0] == 'A' ? 'B' : 'A';
    assert_int_equal(ws_answer_check(&response, key, full_request.protocols),
                     PEAL_EPROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept_of_the_rfc),
        cmocka_unit_test(test_accept_in_threads),
        cmocka_unit_test(test_what_an_upgrade_says),
        cmocka_unit_test(test_what_an_upgrade_leaves_out),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_select),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_answer_size_max),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_request_with_the_least),
        cmocka_unit_test(test_request_refuses),
        cmocka_unit_test(test_answer_check),
        cmocka_unit_test(test_both_sides),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
