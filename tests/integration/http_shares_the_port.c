/*
 * Goal: a WebSocket port speaks proper HTTP/1.1 to those who want a page or the
 * state, and refuses what is malformed with the right status.
 *
 * Method: requests as typed, answers compared by status, headers and body; on
 * one connection where keep-alive is the point.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/http.h"
#include "support/ws.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE "<!doctype html><title>hi</title>\n"
#define HEADER_BYTES_MAX 2048

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n"
#define UPGRADE                                                                \
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"                            \
    "Sec-WebSocket-Version: 13\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static void setup(struct peal_server *server)
{
    static const struct peal_route routes[] = {
        {.size = sizeof routes[0],
         .path = "/chat",
         .dialect = PEAL_DIALECT_DEFAULT},
        {.size = sizeof routes[0], .path = "/raw", .dialect = PEAL_DIALECT_RAW},
        {.size = sizeof routes[0],
         .path = "/",
         .dialect = PEAL_DIALECT_DEFAULT},
    };

    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        CHECK_EQUAL(peal_server_route(server, &routes[i]), 0);
    }
    CHECK_EQUAL(peal_server_route(server, &routes[0]), PEAL_EEXIST);
    CHECK_EQUAL(peal_server_page(server, "/", "text/html; charset=utf-8", PAGE,
                                 strlen(PAGE)),
                0);
    CHECK_EQUAL(peal_server_page(server, "/", "text/html", "", 0), PEAL_EEXIST);
    CHECK_EQUAL(peal_server_page(server, "/empty", "text/plain", NULL, 0), 0);
    CHECK_EQUAL(peal_server_page(server, "no-slash", "text/plain", "", 0),
                PEAL_EINVAL);
    CHECK_EQUAL(peal_server_page(server, "/x", "text/plain\r\nX: y", "", 0),
                PEAL_EINVAL);
    CHECK_EQUAL(peal_server_client_js(server, "/empty"), PEAL_EEXIST);
    CHECK_EQUAL(peal_server_client_js(server, NULL), 0);
    CHECK_EQUAL(peal_server_client_js(server, "/peal.js"), PEAL_EEXIST);
}

static struct host host;

static int start(void **state)
{
    static const struct peal_server_options options = {
        .health_path = "/health",
        .header_bytes_max = HEADER_BYTES_MAX,
    };

    (void)state;
    host_start(&host, &options, setup);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    host_await_empty(&host);
    host_stop(&host);
    return 0;
}

static void expect_header(const struct http_reply *reply, const char *name,
                          const char *expected)
{
    char value[256];

    if (expected == NULL) {
        CHECK(!http_header(reply, name, value, sizeof value));
        return;
    }
    if (!http_header(reply, name, value, sizeof value) ||
        strcmp(value, expected) != 0) {
        fprintf(stderr, "expected %s: %s in\n%s", name, expected, reply->head);
        CHECK(!"a header is missing or another");
    }
}

static void expect_status(const char *request, int status)
{
    struct http_reply reply;

    http_ask(host.ws, request, &reply);
    if (reply.status != status) {
        fprintf(stderr, "to this request:\n%s\n", request);
    }
    CHECK_EQUAL(reply.status, status);
    if (status == 426) {
        expect_header(&reply, "Sec-WebSocket-Version", "13");
    }
}

/* --- Pages --------------------------------------------------------------- */

static void pages_are_served(void **state)
{
    struct http_reply reply;

    (void)state;
    http_ask(host.ws, GET("/") "\r\n", &reply);
    CHECK_EQUAL(reply.status, 200);
    expect_header(&reply, "Content-Type", "text/html; charset=utf-8");
    expect_header(&reply, "X-Content-Type-Options", "nosniff");
    CHECK(strcmp(reply.body, PAGE) == 0);

    http_ask(host.ws, GET("/?x=/health") "\r\n", &reply);
    CHECK_EQUAL(reply.status, 200);
    http_ask(host.ws, GET("/empty") "\r\n", &reply);
    CHECK_EQUAL(reply.status, 200);
    expect_header(&reply, "Content-Length", "0");

    http_ask(host.ws, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    CHECK_EQUAL(reply.status, 200);
    CHECK_EQUAL(reply.body_size, 0);
    http_header(&reply, "Content-Length", reply.body, sizeof reply.body);
    CHECK_EQUAL(atoi(reply.body), strlen(PAGE));
}

static void what_is_not_there_is_refused(void **state)
{
    struct http_reply reply;

    (void)state;
    expect_status(GET("/nowhere") "\r\n", 404);
    expect_status(GET("/chat/") "\r\n", 404);
    expect_status(GET("/nowhere") UPGRADE KEY "\r\n", 404);
    expect_status("POST /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404);
    expect_status("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404);
    expect_status(GET("/chat") "\r\n", 426);
    expect_status("POST /chat HTTP/1.1\r\nHost: x\r\n\r\n", 405);
    http_ask(host.ws, "DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    CHECK_EQUAL(reply.status, 405);
    expect_header(&reply, "Allow", "GET, HEAD");
    expect_header(&reply, "Connection", "close");
}

/* --- Health -------------------------------------------------------------- */

static void health_is_json(void **state)
{
    static const char *const numbers[] = {
        "totalConnections",  "activeConnections", "totalMessagesReceived",
        "totalMessagesSent", "totalRooms",        "uptime",
        "uptimeSeconds",     "wsConnections",     "tcpConnections",
        "memoryMB",          "rateLimiterEntries"};
    struct http_reply reply;
    struct peer peer;
    json_t *json;

    (void)state;
    ws_open(&peer, host.ws, "/chat");
    http_ask(host.ws, GET("/health?x") "\r\n", &reply);
    ws_goodbye(&peer);
    CHECK_EQUAL(reply.status, 200);
    expect_header(&reply, "Content-Type", "application/json");
    expect_header(&reply, "Access-Control-Allow-Origin", NULL);
    json = json_loads(reply.body, 0, NULL);
    CHECK(json != NULL);
    CHECK(strcmp(json_string_value(json_object_get(json, "status")), "ok") ==
          0);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        CHECK(json_is_number(json_object_get(json, numbers[i])));
    }
    CHECK_EQUAL(json_integer_value(json_object_get(json, "activeConnections")),
                1);
    CHECK(json_number_value(json_object_get(
              json_object_get(json, "memoryUsage"), "rss")) > 0);
    json_decref(json);
}

static void health_may_be_read_from_other_pages(void **state)
{
    struct http_reply reply;

    (void)state;
    http_ask(host.ws, GET("/health") "Origin: https://a.example\r\n\r\n",
             &reply);
    CHECK_EQUAL(reply.status, 200);
    expect_header(&reply, "Access-Control-Allow-Origin", "https://a.example");
    expect_header(&reply, "Vary", "Origin");
    http_ask(host.ws,
             "OPTIONS /health HTTP/1.1\r\nHost: x\r\n"
             "Origin: https://a.example\r\n\r\n",
             &reply);
    CHECK_EQUAL(reply.status, 204);
    expect_header(&reply, "Access-Control-Allow-Origin", "https://a.example");
    CHECK(http_header(&reply, "Access-Control-Allow-Methods", reply.body,
                      sizeof reply.body));
    CHECK(strstr(reply.body, "GET") != NULL);
    expect_header(&reply, "Access-Control-Max-Age", "86400");
    http_ask(host.ws, "POST /health HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    CHECK_EQUAL(reply.status, 405);
    expect_header(&reply, "Allow", "GET, HEAD, OPTIONS");
}

/* A head has what GET's would have, and nobody may keep an answer. */
static void health_has_a_head(void **state)
{
    struct http_reply reply;
    struct peer peer;
    char origin[900];
    char request[1024];

    (void)state;
    peer_dial(&peer, host.ws);
    for (int i = 0; i < 2; i++) {
        static const char head[] =
            "HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n";

        peer_send(&peer, head, sizeof head - 1);
        http_read(&peer, &reply, false);
        CHECK_EQUAL(reply.status, 200);
        expect_header(&reply, "Content-Type", "application/json");
        expect_header(&reply, "Cache-Control", "no-store");
    }
    peer_close(&peer);
    http_ask(host.ws, GET("/health") "Origin: https://a.example\r\n\r\n",
             &reply);
    expect_header(&reply, "Cache-Control", "no-store");

    /* An origin longer than any is not repeated. */
    memset(origin, 'o', sizeof origin - 1);
    origin[sizeof origin - 1] = '\0';
    snprintf(request, sizeof request, GET("/health") "Origin: %s\r\n\r\n",
             origin);
    http_ask(host.ws, request, &reply);
    CHECK_EQUAL(reply.status, 200);
    expect_header(&reply, "Access-Control-Allow-Origin", NULL);
    expect_header(&reply, "Cache-Control", "no-store");
}

/* --- Several requests on a connection ------------------------------------ */

static void connections_are_kept(void **state)
{
    struct http_reply reply;
    struct peer peer;

    (void)state;
    peer_dial(&peer, host.ws);
    for (int i = 0; i < 3; i++) {
        peer_send(&peer, GET("/") "\r\n", strlen(GET("/") "\r\n"));
        http_read(&peer, &reply, true);
        CHECK_EQUAL(reply.status, 200);
        expect_header(&reply, "Connection", NULL);
    }
    ws_ask(&peer, "/chat", "");
    ws_expect_open(&peer);
    peer_close(&peer);
}

static void connections_close_when_asked(void **state)
{
    static const char *const requests[] = {
        GET("/") "Connection: close\r\n\r\n",
        GET("/") "Connection: x, Close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: x\r\n\r\n",
        "GET /health HTTP/1.0\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
        struct http_reply reply;
        struct peer peer;

        peer_dial(&peer, host.ws);
        peer_send(&peer, requests[i], strlen(requests[i]));
        http_read(&peer, &reply, true);
        CHECK_EQUAL(reply.status, 200);
        expect_header(&reply, "Connection", "close");
        peer_expect_end(&peer);
        peer_close(&peer);
    }
}

/* Clients of HTTP/1.0 that ask for it wait for the word. */
static void old_clients_are_told_that_they_are_kept(void **state)
{
    static const char *const requests[] = {
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET /health HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    };
    struct http_reply reply;
    struct peer peer;

    (void)state;
    peer_dial(&peer, host.ws);
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
        peer_send(&peer, requests[i], strlen(requests[i]));
        http_read(&peer, &reply, true);
        CHECK_EQUAL(reply.status, 200);
        expect_header(&reply, "Connection", "keep-alive");
    }
    peer_close(&peer);
}

/* Many at once, cut into two segments at every place. */
static void requests_may_be_pipelined(void **state)
{
    static const char text[] = GET(
        "/") "X-Padding: "
             "12345678901234567890123456789012345678901234567890\r\n\r\n" GET(
                 "/health") "\r\n"
                            "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" GET(
                                "/empty") "\r\n" GET("/chat") UPGRADE KEY
        "\r\n";
    size_t size = sizeof text - 1;

    (void)state;
    for (size_t cut = 1; cut < size; cut++) {
        uint64_t before = host_stats(&host).bytes_in;
        struct http_reply reply;
        struct peer peer;

        peer_dial(&peer, host.ws);
        peer_send(&peer, text, cut);
        /* The first part must be read before the second is sent. */
        CHECK_SOON(host_stats(&host).bytes_in == before + cut);
        peer_send(&peer, text + cut, size - cut);
        http_read(&peer, &reply, true);
        CHECK(strcmp(reply.body, PAGE) == 0);
        http_read(&peer, &reply, true);
        CHECK(reply.body[0] == '{');
        http_read(&peer, &reply, false);
        CHECK_EQUAL(reply.status, 200);
        http_read(&peer, &reply, true);
        CHECK_EQUAL(reply.body_size, 0);
        ws_expect_open(&peer);
        peer_reset(&peer);
        host_await_empty(&host);
    }
}

/* Sends a piece, and waits until the server has read it. */
static void send_piece(struct peer *peer, const char *data, size_t size)
{
    uint64_t before = host_stats(&host).bytes_in;

    peer_send(peer, data, size);
    CHECK_SOON(host_stats(&host).bytes_in == before + size);
}

/* A long one and a short one behind it, in three pieces. */
static void short_requests_behind_long_ones(void **state)
{
    static const char text[] =
        GET("/") "X-Padding: "
                 "1234567890123456789012345678901234567890\r\n\r\n" GET(
                     "/empty") "\r\n";
    size_t size = sizeof text - 1;

    (void)state;
    for (size_t cut = 2; cut < size; cut++) {
        struct http_reply reply;
        struct peer peer;

        peer_dial(&peer, host.ws);
        send_piece(&peer, text, cut - 1);
        send_piece(&peer, text + cut - 1, 1);
        peer_send(&peer, text + cut, size - cut);
        http_read(&peer, &reply, true);
        CHECK(strcmp(reply.body, PAGE) == 0);
        http_read(&peer, &reply, true);
        CHECK_EQUAL(reply.body_size, 0);
        peer_reset(&peer);
    }
}

/* --- Malformed ----------------------------------------------------------- */

static void malformed_heads_have_their_status(void **state)
{
    static const struct {
        const char *request;
        int status;
    } heads[] = {
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\nHost: x\n\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\n\r\n", 400},
        {"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {" GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400},
        {"GET /\r\nHost: x\r\n\r\n", 400},
        {"GET nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"G@T / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {GET("/") "Host: y\r\n\r\n", 400},
        {GET("/") "Host : y\r\n\r\n", 400},
        {GET("/") "X: a\r\n b\r\n\r\n", 400},
        {GET("/") ": a\r\n\r\n", 400},
        {GET("/") "no colon\r\n\r\n", 400},
        {GET("/") "X: \x01\r\n\r\n", 400},
        {GET("/") "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
        {GET("/") "Content-Length: -1\r\n\r\n", 400},
        {GET("/") "Content-Length: 1\r\n\r\nx", 413},
        {GET("/") "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413},
        {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400},
        {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        expect_status(heads[i].request, heads[i].status);
    }
}

static void malformed_upgrades_have_their_status(void **state)
{
    static const struct {
        const char *request;
        int status;
    } heads[] = {
        {GET("/chat") UPGRADE "\r\n", 400},
        {GET("/chat") UPGRADE "Sec-WebSocket-Key: short\r\n\r\n", 400},
        {GET("/chat") UPGRADE
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=!\r\n\r\n",
         400},
        {GET("/chat") UPGRADE KEY KEY "\r\n", 400},
        {GET("/chat") "Upgrade: websocket\r\nConnection: Upgrade\r\n" KEY
                      "Sec-WebSocket-Version: 12\r\n\r\n",
         426},
        {GET("/chat") "Upgrade: websocket\r\nConnection: Upgrade\r\n" KEY
                      "Sec-WebSocket-Version: 13, 8\r\n\r\n",
         426},
        {GET("/chat") "Upgrade: websocket\r\nConnection: Upgrade\r\n" KEY
                      "\r\n",
         426},
        {GET("/chat") "Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n", 426},
        {GET("/chat") "Upgrade: websocket\r\n\r\n", 426},
        {"POST /chat HTTP/1.1\r\nHost: x\r\n" UPGRADE KEY "\r\n", 405},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        expect_status(heads[i].request, heads[i].status);
    }
}

static void headers_are_read_as_lists(void **state)
{
    struct peer peer;
    static const char request[] =
        GET("/chat") "upgrade: h2c, WebSocket\r\nConnection: keep-alive\r\n"
                     "CONNECTION: x ,\tUPGRADE\r\n"
                     "sec-websocket-version:13 \r\n"
                     "Sec-WebSocket-Extensions: permessage-deflate\r\n" KEY
                     "\r\n";

    (void)state;
    peer_dial(&peer, host.ws);
    peer_send(&peer, request, sizeof request - 1);
    ws_expect_open(&peer);
    peer_close(&peer);
}

static void large_heads_are_refused(void **state)
{
    char request[HEADER_BYTES_MAX + 100];
    uint64_t before = host_stats(&host).closed_header_bytes;
    struct http_reply reply;
    struct peer peer;
    int head;

    (void)state;
    memset(request, 'x', sizeof request);
    head = snprintf(request, sizeof request, GET("/") "X: ");
    request[head] = 'x';

    /* One that just fits. */
    memcpy(request + HEADER_BYTES_MAX - 4, "\r\n\r\n", 5);
    expect_status(request, 200);
    memset(request + HEADER_BYTES_MAX - 4, 'x', 50);

    /* One that does not, and that is not even complete. */
    peer_dial(&peer, host.ws);
    peer_send(&peer, request, HEADER_BYTES_MAX + 1);
    http_read(&peer, &reply, true);
    CHECK_EQUAL(reply.status, 431);
    peer_expect_end(&peer);
    peer_close(&peer);
    CHECK_EQUAL(host_stats(&host).closed_header_bytes, before + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_served),
        cmocka_unit_test(what_is_not_there_is_refused),
        cmocka_unit_test(health_is_json),
        cmocka_unit_test(health_may_be_read_from_other_pages),
        cmocka_unit_test(health_has_a_head),
        cmocka_unit_test(connections_are_kept),
        cmocka_unit_test(connections_close_when_asked),
        cmocka_unit_test(old_clients_are_told_that_they_are_kept),
        cmocka_unit_test(requests_may_be_pipelined),
        cmocka_unit_test(short_requests_behind_long_ones),
        cmocka_unit_test(malformed_heads_have_their_status),
        cmocka_unit_test(malformed_upgrades_have_their_status),
        cmocka_unit_test(headers_are_read_as_lists),
        cmocka_unit_test(large_heads_are_refused),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
