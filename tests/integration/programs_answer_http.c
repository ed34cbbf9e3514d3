/*
 * The program's own HTTP handlers on the port of the WebSocket clients. Goal:
 * requests come whole and are answered once, in order, at once or later, and
 * everything that is malformed, too large or too late has its status. Method:
 * requests as they are typed; a handler that echoes what it was asked, one that
 * leaves the answer to the test's own thread.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/http.h"
#include "support/ws.h"

#include <peal/http.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_BYTES_MAX 100
#define REPLIES_MAX 16

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n"
#define POST(path) "POST " path " HTTP/1.1\r\nHost: x\r\n"

static struct host host;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct peal_http_reply replies[REPLIES_MAX];
static size_t reply_count;

static int respond(struct peal_http_reply reply, int status, const char *text)
{
    struct peal_http_response response = {
        .size = sizeof response,
        .status = status,
        .type = "text/plain",
        .body = peal_slice(text),
    };

    return peal_http_respond(reply, &response);
}

/* Answers with all that it knows of the request. */
static void on_echo(const struct peal_http_request *request,
                    struct peal_http_reply reply, void *user)
{
    struct peal_http_field field = {"X-User", user};
    struct peal_slice header = peal_http_header(request, "x-asked");
    struct peal_http_response response = {
        .size = sizeof response, .fields = &field, .field_count = 1};
    char text[1024];
    char name[32] = "-";
    char query[32] = "-";

    (void)peal_http_param(request, "name", name, sizeof name);
    (void)peal_http_query(request, "q", query, sizeof query);
    snprintf(text, sizeof text, "%.*s %.*s %s %s %s [%.*s] [%.*s]",
             (int)request->method.size, request->method.data,
             (int)request->path.size, request->path.data, request->pattern,
             name, query, (int)header.size, header.data,
             (int)request->body.size, request->body.data);
    response.body = peal_slice(text);
    CHECK_EQUAL(peal_http_respond(reply, &response), 0);
    CHECK_EQUAL(peal_http_respond(reply, &response), PEAL_EGONE);
    /* What was asked may still be looked at. */
    CHECK(request->body.size <= BODY_BYTES_MAX && request->method.size > 0);
}

/* Answers with the peer's address. */
static void on_address(const struct peal_http_request *request,
                       struct peal_http_reply reply, void *user)
{
    (void)user;
    CHECK_EQUAL(respond(reply, 0, request->address), 0);
}

static void on_later(const struct peal_http_request *request,
                     struct peal_http_reply reply, void *user)
{
    (void)request;
    (void)user;
    pthread_mutex_lock(&lock);
    CHECK(reply_count < REPLIES_MAX);
    replies[reply_count++] = reply;
    pthread_mutex_unlock(&lock);
}

/* How many answers are owed by now. */
static size_t owed(void)
{
    size_t count;

    pthread_mutex_lock(&lock);
    count = reply_count;
    pthread_mutex_unlock(&lock);
    return count;
}

/* What is refused by checks: tried before the answer that counts. */
static void on_checks(const struct peal_http_request *request,
                      struct peal_http_reply reply, void *user)
{
    static const struct peal_http_field bad[] = {
        {"A", "x\r\nB: y"},       {"A", "x\ny"},
        {"A", "\x7f"},            {"A:", "x"},
        {"", "x"},                {NULL, "x"},
        {"A", NULL},              {"A b", "x"},
        {"Content-Length", "1"},  {"connection", "close"},
        {"TRANSFER-encoding", ""}, {"Content-Type", "a/b"},
    };
    static char large[5000];
    struct peal_http_response response = {.size = sizeof response};
    struct peal_http_field field;

    (void)request;
    (void)user;
    response.field_count = 1;
    response.type = "text/plain";
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        response.fields = &bad[i];
        CHECK_EQUAL(peal_http_respond(reply, &response), PEAL_EINVAL);
    }
    memset(large, 'x', sizeof large - 1);
    field = (struct peal_http_field){"A", large};
    response.fields = &field;
    CHECK_EQUAL(peal_http_respond(reply, &response), PEAL_ETOOBIG);
    response.field_count = 0;
    response.type = "a\r\nb";
    CHECK_EQUAL(peal_http_respond(reply, &response), PEAL_EINVAL);
    response.type = NULL;
    for (int status = -1; status < 200; status += status == 0 ? 99 : 1) {
        response.status = status;
        CHECK(status == 0 ||
              peal_http_respond(reply, &response) == PEAL_EINVAL);
    }
    response.status = 600;
    CHECK_EQUAL(peal_http_respond(reply, &response), PEAL_EINVAL);
    response.body = peal_slice("x");
    for (size_t i = 0; i < 3; i++) {
        static const int empty[] = {204, 205, 304};

        response.status = empty[i];
        CHECK_EQUAL(peal_http_respond(reply, &response), PEAL_EINVAL);
    }
    response.size = 1;
    response.status = 200;
    CHECK_EQUAL(peal_http_respond(reply, &response), PEAL_EINVAL);

    /* And one that is just as large as it may be. */
    response.size = sizeof response;
    response.fields = &field;
    response.field_count = 1;
    large[4096 - strlen("A: \r\n")] = '\0';
    response.body = peal_slice("fine");
    CHECK_EQUAL(peal_http_respond(reply, &response), 0);
}

static void on_empty(const struct peal_http_request *request,
                     struct peal_http_reply reply, void *user)
{
    struct peal_http_response response = {
        .size = sizeof response,
        .status = request->method.data[0] == 'G' ? 304 : 204};

    (void)user;
    CHECK_EQUAL(peal_http_respond(reply, &response), 0);
}

static void setup(struct peal_server *server)
{
    static const struct peal_route route = {.size = sizeof route,
                                            .path = "/hello/:name"};

    CHECK_EQUAL(peal_server_route(server, &route), 0);
    CHECK_EQUAL(peal_server_http(server, "GET", "/hello/:name", on_echo, "1"),
                0);
    CHECK_EQUAL(peal_server_http(server, "POST", "/hello/:name", on_echo, "2"),
                0);
    CHECK_EQUAL(peal_server_http(server, "GET", "/hello/all", on_echo, "3"),
                0);
    CHECK_EQUAL(peal_server_http(server, "POST", "/hook", on_echo, "4"), 0);
    CHECK_EQUAL(peal_server_http(server, "HEAD", "/head", on_empty, NULL), 0);
    CHECK_EQUAL(peal_server_http(server, "GET", "/head", on_echo, "5"), 0);
    CHECK_EQUAL(peal_server_http(server, "GET", "/empty", on_empty, NULL), 0);
    CHECK_EQUAL(peal_server_http(server, "PUT", "/empty", on_empty, NULL), 0);
    CHECK_EQUAL(peal_server_http(server, "GET", "/later", on_later, NULL), 0);
    CHECK_EQUAL(peal_server_http(server, "POST", "/later", on_later, NULL), 0);
    CHECK_EQUAL(peal_server_http(server, "GET", "/address", on_address, NULL),
                0);
    CHECK_EQUAL(peal_server_http(server, "GET", "/checks", on_checks, NULL),
                0);
    CHECK_EQUAL(peal_server_page(server, "/page", "text/html", "page", 4), 0);
    CHECK_EQUAL(peal_server_http(server, "POST", "/page", on_echo, "6"), 0);

    CHECK_EQUAL(peal_server_http(server, "GET", "/hello/:who", on_echo, NULL),
                PEAL_EEXIST);
    CHECK_EQUAL(peal_server_http(server, "GET", "/page", on_echo, NULL),
                PEAL_EEXIST);
    CHECK_EQUAL(peal_server_page(server, "/hello/all", "a/b", "", 0),
                PEAL_EEXIST);
    CHECK_EQUAL(peal_server_http(server, "G T", "/x", on_echo, NULL),
                PEAL_EINVAL);
    CHECK_EQUAL(peal_server_http(server, "", "/x", on_echo, NULL),
                PEAL_EINVAL);
    CHECK_EQUAL(peal_server_http(server, NULL, "/x", on_echo, NULL),
                PEAL_EINVAL);
    CHECK_EQUAL(peal_server_http(server, "GET", "x", on_echo, NULL),
                PEAL_EINVAL);
    CHECK_EQUAL(peal_server_http(server, "GET", "/x", NULL, NULL),
                PEAL_EINVAL);
}

static void start_with(struct peal_server_options options)
{
    reply_count = 0;
    options.http_body_bytes_max = BODY_BYTES_MAX;
    options.loops = 2;
    host_start(&host, &options, setup);
}

static int start(void **state)
{
    (void)state;
    start_with((struct peal_server_options){0});
    return 0;
}

static int stop(void **state)
{
    (void)state;
    host_await_empty(&host);
    host_stop(&host);
    return 0;
}

static void expect(struct peer *peer, int status, const char *body)
{
    struct http_reply reply;

    http_read(peer, &reply, true);
    CHECK_EQUAL(reply.status, status);
    if (body != NULL && strcmp(reply.body, body) != 0) {
        fprintf(stderr, "expected: %s\ngot: %s\n", body, reply.body);
        CHECK(!"another body");
    }
}

static void ask(const char *request, int status, const char *body)
{
    struct peer peer;

    peer_dial(&peer, host.ws);
    peer_send(&peer, request, strlen(request));
    expect(&peer, status, body);
    peer_close(&peer);
}

static void dial_and_send(struct peer *peer, const char *text)
{
    peer_dial(peer, host.ws);
    peer_send_if_open(peer, text, strlen(text));
}

/* --- Requests ---------------------------------------------------------------
 */

static void handlers_know_what_was_asked(void **state)
{
    struct http_reply reply;
    uint64_t before = host_stats(&host).http_requests;

    (void)state;
    ask(GET("/hello/ada%20l?x&q=a+b") "X-Asked: yes\r\n\r\n", 200,
        "GET /hello/ada%20l /hello/:name ada l a b [yes] []");
    ask(POST("/hello/x") "\r\n", 200, "POST /hello/x /hello/:name x - [] []");
    http_ask(host.ws, GET("/hello/all") "\r\n", &reply);
    CHECK(strstr(reply.head, "\r\nX-User: 3\r\n") != NULL);
    CHECK(strstr(reply.body, " /hello/all - ") != NULL);
    CHECK_EQUAL(host_stats(&host).http_requests, before + 3);
}

/* By handlers, at once and later, as by pages. */
static void connections_are_kept_as_asked(void **state)
{
    static const char *const last[] = {
        GET("/hello/x") "Connection: close\r\n\r\n",
        "GET /hello/x HTTP/1.0\r\n\r\n",
        GET("/later") "Connection: close\r\n\r\n",
        "GET /later HTTP/1.0\r\n\r\n",
    };
    static const char old[] =
        "GET /hello/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    struct http_reply reply;
    struct peer peer;
    char value[32];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(last); i++) {
        reply_count = 0;
        dial_and_send(&peer, last[i]);
        if (i >= 2) {
            CHECK_SOON(owed() == 1);
            CHECK_EQUAL(respond(replies[0], 0, "later"), 0);
        }
        http_read(&peer, &reply, true);
        CHECK_EQUAL(reply.status, 200);
        CHECK(http_header(&reply, "Connection", value, sizeof value));
        CHECK(strcmp(value, "close") == 0);
        peer_expect_end(&peer);
        peer_close(&peer);
    }
    peer_dial(&peer, host.ws);
    for (int i = 0; i < 2; i++) {
        peer_send(&peer, old, strlen(old));
        http_read(&peer, &reply, true);
        CHECK(http_header(&reply, "Connection", value, sizeof value));
        CHECK(strcmp(value, "keep-alive") == 0);
    }
    peer_close(&peer);
}

static void nothing_is_added_while_running(void **state)
{
    (void)state;
    CHECK_EQUAL(peal_server_http(host.server, "GET", "/new", on_echo, NULL),
                PEAL_ESTATE);
    CHECK_EQUAL(peal_server_page(host.server, "/new", "a/b", "", 0),
                PEAL_ESTATE);
    ask(GET("/new") "\r\n", 404, NULL);
}

static void methods_are_told_apart(void **state)
{
    struct http_reply reply;
    char allow[256];

    (void)state;
    http_ask(host.ws, "DELETE /hello/x HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    CHECK_EQUAL(reply.status, 405);
    CHECK(http_header(&reply, "Allow", allow, sizeof allow));
    CHECK(strstr(allow, "GET, HEAD") != NULL && strstr(allow, "POST") != NULL);
    http_ask(host.ws, GET("/hook") "\r\n", &reply);
    CHECK_EQUAL(reply.status, 405);
    CHECK(http_header(&reply, "Allow", allow, sizeof allow));
    CHECK(strcmp(allow, "POST") == 0);
    http_ask(host.ws, "PUT /page HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    CHECK_EQUAL(reply.status, 405);
    http_ask(host.ws, "get /hello/x HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    CHECK_EQUAL(reply.status, 405);
    ask(GET("/page") "\r\n", 200, "page");
    ask(POST("/page") "Content-Length: 1\r\n\r\nx", 200,
        "POST /page /page - - [] [x]");
    ask(GET("/page") "Content-Length: 1\r\n\r\nx", 413, NULL);
    ask(GET("/nowhere") "\r\n", 404, NULL);
    ask(GET("/hello/") "\r\n", 404, NULL);
    ask(GET("/hello/%") "\r\n", 400, NULL);
    ask(POST("/nowhere") "Content-Length: 1\r\n\r\nx", 413, NULL);
}

static void some_answers_have_no_body(void **state)
{
    static const char text[] = "HEAD /hello/x HTTP/1.1\r\nHost: x\r\n\r\n"
                               "HEAD /head HTTP/1.1\r\nHost: x\r\n\r\n" GET(
                                   "/empty") "\r\n" GET("/hello/y") "\r\n";
    struct http_reply reply;
    struct peer peer;
    char length[32];

    (void)state;
    dial_and_send(&peer, text);
    http_read(&peer, &reply, false);
    CHECK_EQUAL(reply.status, 200);
    CHECK(http_header(&reply, "Content-Length", length, sizeof length));
    CHECK(atoi(length) > 10);
    http_read(&peer, &reply, false);
    CHECK_EQUAL(reply.status, 204);
    http_read(&peer, &reply, false);
    CHECK_EQUAL(reply.status, 304);
    CHECK(!http_header(&reply, "Content-Length", length, sizeof length));
    expect(&peer, 200, "GET /hello/y /hello/:name y - [] []");
    peer_close(&peer);
}

static void clients_connect_on_the_same_path(void **state)
{
    struct peer peer;

    (void)state;
    ws_open(&peer, host.ws, "/hello/ws");
    ws_goodbye(&peer);
    CHECK_EQUAL(ws_try(host.ws, "/hook", ""), 404);
}

/* --- Bodies ---------------------------------------------------------------
 */

#define ECHOED(body) "POST /hook /hook - - [] [" body "]"

/* Several requests, cut into two segments at every place. */
static void bodies_come_whole(void **state)
{
    static const char text[] =
        POST("/hook") "Content-Length: 5\r\n\r\nhello" POST(
            "/hook") "Transfer-Encoding: chunked\r\n\r\n"
                     "3;x=y\r\nab\r\r\n2\r\n\ncd\r\n0\r\nT: x\r\n\r\n"
                     "POST /hook HTTP/1.1\r\nHost: x\r\n"
                     "Content-Length: 0\r\n\r\n";
    size_t size = sizeof text - 1;

    (void)state;
    for (size_t cut = 1; cut < size; cut++) {
        uint64_t before = host_stats(&host).bytes_in;
        struct peer peer;

        peer_dial(&peer, host.ws);
        peer_send(&peer, text, cut);
        CHECK_SOON(host_stats(&host).bytes_in == before + cut);
        peer_send(&peer, text + cut, size - cut);
        expect(&peer, 200, ECHOED("hello"));
        /* The second chunk is one byte longer than it says. */
        expect(&peer, 400, NULL);
        peer_expect_end(&peer);
        peer_close(&peer);
        host_await_empty(&host);
    }
    ask(POST("/hook") "Transfer-Encoding: chunked\r\n\r\n"
                      "3;x=y\r\nab\r\r\n3\r\n\ncd\r\n0\r\nT: x\r\n\r\n",
        200, ECHOED("ab\r\ncd"));
}

static void requests_follow_bodies(void **state)
{
    static const char text[] =
        POST("/hook") "Transfer-Encoding: chunked\r\n\r\n"
                      "1\r\nx\r\n0\r\n\r\n" GET("/hello/a") "\r\n" POST(
                          "/hook") "Content-Length: 1\r\n\r\ny" GET(
                          "/page") "Connection: close\r\n\r\n";
    struct peer peer;

    (void)state;
    dial_and_send(&peer, text);
    expect(&peer, 200, ECHOED("x"));
    expect(&peer, 200, "GET /hello/a /hello/:name a - [] []");
    expect(&peer, 200, ECHOED("y"));
    expect(&peer, 200, "page");
    peer_expect_end(&peer);
    peer_close(&peer);
}

static void large_bodies_are_refused(void **state)
{
    char most[BODY_BYTES_MAX + 1] = "";
    char text[1024];
    uint64_t before = host_stats(&host).closed_http_body_bytes;

    (void)state;
    memset(most, 'm', BODY_BYTES_MAX);
    snprintf(text, sizeof text, POST("/hook") "Content-Length: %d\r\n\r\n%s",
             BODY_BYTES_MAX, most);
    ask(text, 200, NULL);
    snprintf(text, sizeof text,
             POST("/hook") "Transfer-Encoding: chunked\r\n\r\n"
                           "%x\r\n%s\r\n0\r\n\r\n",
             BODY_BYTES_MAX, most);
    ask(text, 200, NULL);
    CHECK_EQUAL(host_stats(&host).closed_http_body_bytes, before);

    /* From the head alone, and before "continue". */
    ask(POST("/hook") "Content-Length: 101\r\n\r\n", 413, NULL);
    ask(POST("/hook") "Content-Length: 18446744073709551615\r\n\r\n", 413,
        NULL);
    ask(POST("/hook") "Expect: 100-continue\r\nContent-Length: 101\r\n\r\n",
        413, NULL);
    snprintf(text, sizeof text,
             POST("/hook") "Transfer-Encoding: chunked\r\n\r\n"
                           "%x\r\n%s\r\n1\r\nx",
             BODY_BYTES_MAX, most);
    ask(text, 413, NULL);
    snprintf(text, sizeof text,
             POST("/hook") "Transfer-Encoding: chunked\r\n\r\n"
                           "fffffffffffffff\r\n%sx",
             most);
    ask(text, 413, NULL);
    CHECK_EQUAL(host_stats(&host).closed_http_body_bytes, before + 5);
}

static void malformed_bodies_are_refused(void **state)
{
    static const char *const bodies[] = {
        "x", "1\nx", "1\r\nxy", "-1\r\n", "0x1\r\n", "1 \r\n", "0\r\nx\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
        char text[256];

        snprintf(text, sizeof text,
                 POST("/hook") "Transfer-Encoding: chunked\r\n\r\n%s",
                 bodies[i]);
        ask(text, 400, NULL);
    }
    ask(POST("/hook") "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        400, NULL);
    ask(POST("/hook") "Transfer-Encoding: gzip, chunked\r\n\r\n", 400, NULL);
}

static void peers_may_ask_first(void **state)
{
    struct peer peer;

    (void)state;
    dial_and_send(&peer,
                  POST("/hook") "Expect: 100-Continue\r\n"
                                "Content-Length: 2\r\n\r\n");
    CHECK(strncmp(peer_take(&peer, 25), "HTTP/1.1 100 Continue\r\n\r\n", 25) ==
          0);
    peer_send(&peer, "ok", 2);
    expect(&peer, 200, ECHOED("ok"));
    /* Without a body there is nothing to wait for. */
    peer_send(&peer, POST("/hook") "Expect: 100-continue\r\n\r\n",
              strlen(POST("/hook") "Expect: 100-continue\r\n\r\n"));
    expect(&peer, 200, ECHOED(""));
    peer_close(&peer);
    ask(POST("/hook") "Expect: 200-ok\r\nContent-Length: 1\r\n\r\n", 417,
        NULL);
    ask("POST /hook HTTP/1.0\r\nExpect: 100-continue\r\n"
        "Content-Length: 1\r\n\r\nx",
        200, ECHOED("x"));
}

/* --- Answers ---------------------------------------------------------------
 */

static void answers_are_checked(void **state)
{
    (void)state;
    ask(GET("/checks") "\r\n", 200, "fine");
}

/* From a thread that is none of the server's; what follows has to wait. */
static void answers_may_come_later(void **state)
{
    struct peer peer;
    struct peal_http_reply reply;

    (void)state;
    reply_count = 0;
    for (int i = 0; i < 3; i++) {
        dial_and_send(&peer,
                      POST("/later") "Content-Length: 3\r\n\r\nabc" GET(
                          "/hello/x") "\r\n" GET("/later") "\r\n" GET(
                          "/hello/y") "\r\n");
        CHECK_SOON(owed() == 1);
        CHECK(!peer_has_input(&peer, 20));
        reply = replies[0];
        CHECK_EQUAL(respond(reply, 201, "first"), 0);
        expect(&peer, 201, "first");
        expect(&peer, 200, "GET /hello/x /hello/:name x - [] []");
        CHECK_SOON(owed() == 2);
        /* A second answer comes to nothing, whenever that is found out. */
        (void)respond(reply, 500, "again");
        CHECK_EQUAL(respond(replies[1], 0, "second"), 0);
        expect(&peer, 200, "second");
        expect(&peer, 200, "GET /hello/y /hello/:name y - [] []");
        reply_count = 0;
        if (i == 0) {
            peer_close(&peer);
        } else {
            peer_reset(&peer);
        }
    }
}

static void many_wait_at_once(void **state)
{
    struct peer peers[REPLIES_MAX];
    char text[32];

    (void)state;
    reply_count = 0;
    for (size_t i = 0; i < REPLIES_MAX; i++) {
        dial_and_send(&peers[i], GET("/later") "\r\n");
        CHECK_SOON(owed() == i + 1);
    }
    for (size_t i = REPLIES_MAX; i-- > 0;) {
        snprintf(text, sizeof text, "%zu", i);
        CHECK_EQUAL(respond(replies[i], 0, text), 0);
    }
    for (size_t i = 0; i < REPLIES_MAX; i++) {
        snprintf(text, sizeof text, "%zu", i);
        expect(&peers[i], 200, text);
        peer_close(&peers[i]);
    }
}

/*
 * More than a connection may keep of what it has read: what is pipelined behind
 * an answer that is owed waits in the socket, and is answered in the end.
 */
static void many_wait_behind_one(void **state)
{
    static const char next[] = GET("/hello/x") "\r\n";
    enum { COUNT = 40000 };
    size_t size = strlen(next);
    char *text = malloc(COUNT * size);
    size_t sent = 0;
    struct peer peer;

    (void)state;
    start_with((struct peal_server_options){.message_bytes_max = 1000});
    for (int i = 0; i < COUNT; i++) {
        memcpy(text + (size_t)i * size, next, size);
    }
    dial_and_send(&peer, GET("/later") "\r\n");
    CHECK_SOON(owed() == 1);
    /* As much as the sockets take. */
    for (int idle = 0; idle < 50;) {
        size_t part = peer_send_now(&peer, text + sent, COUNT * size - sent);

        sent += part;
        idle = part > 0 ? 0 : idle + 1;
        check_breathe();
    }
    CHECK(sent > 200000);
    CHECK_EQUAL(host_stats(&host).connections, 1);
    CHECK_EQUAL(respond(replies[0], 0, "first"), 0);
    expect(&peer, 200, "first");
    for (size_t i = 0; i < sent / size; i++) {
        expect(&peer, 200, "GET /hello/x /hello/:name x - [] []");
    }
    peer_reset(&peer);
    free(text);
    stop(NULL);
}

/* Those who run the server find nothing of the program's there. */
static void internal_listeners_have_no_handlers(void **state)
{
    static const char *const paths[] = {"/hello/x", "/page", "/later"};
    struct http_reply reply;
    char address[PEAL_ADDRESS_MAX];
    char text[128];

    (void)state;
    start_with((struct peal_server_options){.internal_listen = "127.0.0.1:0"});
    CHECK_EQUAL(peal_server_address(host.server, 2, address), 0);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n",
                 paths[i]);
        http_ask(address, text, &reply);
        CHECK_EQUAL(reply.status, 404);
    }
    http_ask(address, POST("/hook") "Content-Length: 1\r\n\r\nx", &reply);
    CHECK_EQUAL(reply.status, 413);
    CHECK_EQUAL(ws_try(address, "/hello/x", ""), 404);
    CHECK_EQUAL(owed(), 0);
    stop(NULL);
}

/* A server that has stopped says so to who answers only then. */
static void answers_after_the_end_come_to_nothing(void **state)
{
    struct peer peer;

    (void)state;
    start_with((struct peal_server_options){.stop_timeout_ms = 20});
    dial_and_send(&peer, GET("/later") "\r\n");
    CHECK_SOON(owed() == 1);
    peal_server_stop(host.server);
    CHECK_EQUAL(peal_server_wait(host.server), 0);
    CHECK(respond(replies[0], 0, "too late") < 0);
    CHECK_EQUAL(respond(replies[0], 99, "no status"), PEAL_EINVAL);
    peal_server_free(host.server);
    peer_drain(&peer);
    peer_close(&peer);
}

/* Who has ended its side may wait for the answer; who is gone may not. */
static void peers_may_leave(void **state)
{
    struct peer peer;

    (void)state;
    reply_count = 0;
    dial_and_send(&peer, GET("/later") "\r\n");
    peer_finish(&peer);
    CHECK_SOON(owed() == 1);
    CHECK_EQUAL(respond(replies[0], 0, "still"), 0);
    expect(&peer, 200, "still");
    peer_expect_end(&peer);
    peer_close(&peer);

    reply_count = 0;
    dial_and_send(&peer, GET("/later") "\r\n");
    CHECK_SOON(owed() == 1);
    peer_reset(&peer);
    host_await_empty(&host);
    CHECK_EQUAL(respond(replies[0], 0, "too late"), 0);

    /* In the middle of a body. */
    dial_and_send(&peer, POST("/hook") "Content-Length: 3\r\n\r\na");
    peer_finish(&peer);
    peer_expect_end(&peer);
    peer_close(&peer);
    dial_and_send(&peer, POST("/hook") "Content-Length: 3\r\n\r\na");
    peer_reset(&peer);
}

static void unknown_replies_are_gone(void **state)
{
    struct peal_http_reply reply = {host.server, 63};

    (void)state;
    CHECK_EQUAL(respond(reply, 0, "x"), PEAL_EGONE);
    reply.value = UINT64_MAX - 63; /* of a loop that there is */
    CHECK_EQUAL(respond(reply, 0, "x"), 0);
}

static void expect_address(const char *address)
{
    struct http_reply reply;

    http_ask(host.ws, GET("/address") "X-Forwarded-For: 192.0.2.7\r\n\r\n",
             &reply);
    CHECK_EQUAL(reply.status, 200);
    CHECK(strncmp(reply.body, address, strlen(address)) == 0);
}

static void addresses_are_those_behind_proxies(void **state)
{
    static const char *const proxies[] = {"127.0.0.1", NULL};

    (void)state;
    start_with((struct peal_server_options){.trusted_proxies = proxies});
    expect_address("192.0.2.7");
    stop(NULL);
    start_with((struct peal_server_options){0});
    expect_address("127.0.0.1:");
    stop(NULL);
}

static void late_answers_are_given_by_the_server(void **state)
{
    struct peer peer;

    (void)state;
    start_with((struct peal_server_options){.http_timeout_ms = 50,
                                            .metrics_path = "/metrics"});
    dial_and_send(&peer, GET("/later") "\r\n");
    expect(&peer, 503, NULL);
    peer_expect_end(&peer);
    peer_close(&peer);
    CHECK_EQUAL(host_stats(&host).http_timed_out, 1);
    CHECK(http_metric(host.ws,
                      "peal_http_failures_total{reason=\"http_timeout\"}") ==
          1);
    CHECK(http_metric(host.ws, "peal_http_requests_total") ==
          (double)host_stats(&host).http_requests);
    CHECK(host_stats(&host).http_requests >= 1);
    CHECK_EQUAL(respond(replies[0], 0, "too late"), 0);

    stop(NULL);
}

/* And bodies that do not come. */
static void late_bodies_are_not_waited_for(void **state)
{
    struct peer peer;
    uint64_t attempts = 1;

    (void)state;
    start_with((struct peal_server_options){.handshake_timeout_ms = 100});
    dial_and_send(&peer, POST("/hook") "Content-Length: 1\r\n\r\n");
    /* On a busy machine even the head may be late: that has no answer. */
    while (!peer_wait(&peer, 1)) {
        peer_close(&peer);
        dial_and_send(&peer, POST("/hook") "Content-Length: 1\r\n\r\n");
        CHECK(++attempts < 100);
    }
    expect(&peer, 408, NULL);
    peer_expect_end(&peer);
    peer_close(&peer);
    CHECK_EQUAL(host_stats(&host).closed_handshake_timeout, attempts);
    stop(NULL);
}

/* A graceful stop waits for what is owed, not for what is half asked. */
static void stops_wait_for_answers(void **state)
{
    struct http_reply reply;
    struct peer waiting;
    struct peer asking;
    char value[32];

    (void)state;
    start_with((struct peal_server_options){0});
    dial_and_send(&waiting, GET("/later") "\r\n");
    dial_and_send(&asking, POST("/hook") "Content-Length: 3\r\n\r\na");
    CHECK_SOON(owed() == 1);
    peal_server_stop(host.server);
    peer_expect_end(&asking);
    CHECK_EQUAL(respond(replies[0], 0, "last"), 0);
    http_read(&waiting, &reply, true);
    CHECK_EQUAL(reply.status, 200);
    CHECK(http_header(&reply, "Connection", value, sizeof value));
    CHECK(strcmp(value, "close") == 0);
    peer_expect_end(&waiting);
    peer_close(&waiting);
    peer_close(&asking);
    host_stop(&host);

    /* One that is never answered is cut in the end. */
    start_with((struct peal_server_options){.stop_timeout_ms = 50});
    dial_and_send(&waiting, GET("/later") "\r\n");
    CHECK_SOON(owed() == 1);
    host_stop(&host);
    peer_drain(&waiting);
    peer_close(&waiting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handlers_know_what_was_asked),
        cmocka_unit_test(connections_are_kept_as_asked),
        cmocka_unit_test(nothing_is_added_while_running),
        cmocka_unit_test(methods_are_told_apart),
        cmocka_unit_test(some_answers_have_no_body),
        cmocka_unit_test(clients_connect_on_the_same_path),
        cmocka_unit_test(bodies_come_whole),
        cmocka_unit_test(requests_follow_bodies),
        cmocka_unit_test(large_bodies_are_refused),
        cmocka_unit_test(malformed_bodies_are_refused),
        cmocka_unit_test(peers_may_ask_first),
        cmocka_unit_test(answers_are_checked),
        cmocka_unit_test(answers_may_come_later),
        cmocka_unit_test(many_wait_at_once),
        cmocka_unit_test(peers_may_leave),
        cmocka_unit_test(unknown_replies_are_gone),
    };
    const struct CMUnitTest own[] = {
        cmocka_unit_test(addresses_are_those_behind_proxies),
        cmocka_unit_test(late_answers_are_given_by_the_server),
        cmocka_unit_test(late_bodies_are_not_waited_for),
        cmocka_unit_test(stops_wait_for_answers),
        cmocka_unit_test(many_wait_behind_one),
        cmocka_unit_test(internal_listeners_have_no_handlers),
        cmocka_unit_test(answers_after_the_end_come_to_nothing),
    };

    return cmocka_run_group_tests(tests, start, stop) +
           cmocka_run_group_tests(own, NULL, NULL);
}
