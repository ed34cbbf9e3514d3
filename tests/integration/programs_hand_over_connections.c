/*
 * Connections that the program has accepted, and handed over with what it has
 * read. Goal: they go on as if peal had read it, on all loops, and what cannot
 * be handed over stays the program's. Method: a tiny HTTP server of the test's
 * own, which answers for "/own" and hands everything else over.
 */
#define _GNU_SOURCE /* memmem */
#include "support/suite.h"

#include "support/host.h"
#include "support/http.h"
#include "support/ws.h"

#include <peal/http.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAGE "a page of peal's"
#define OWN                                                                    \
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nown"
#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n"

/* --- The tiny server --------------------------------------------------------
 */

static struct host host;
static pthread_t thread;
static int listener = -1;
static char address[PEAL_ADDRESS_MAX];
static _Atomic int dialect; /* to hand over with */

/* Reads up to the end of a head; returns all that was read, or 0. */
static size_t read_head(int fd, char *out, size_t size, size_t *head_size)
{
    size_t used = 0;

    for (;;) {
        ssize_t count = recv(fd, out + used, size - used, 0);
        const char *end;

        if (count <= 0) {
            return 0;
        }
        used += (size_t)count;
        end = memmem(out, used, "\r\n\r\n", 4);
        if (end != NULL) {
            *head_size = (size_t)(end - out) + 4;
            return used;
        }
    }
}

static void serve(int fd)
{
    static char data[70000];
    struct peal_adopt adopt = {.size = sizeof adopt, .fd = fd, .head = data,
                               .dialect = (enum peal_dialect)dialect};
    size_t size = read_head(fd, data, sizeof data, &adopt.head_size);

    if (size > 0 && strncmp(data, "GET /own ", 9) != 0) {
        adopt.early = data + adopt.head_size;
        adopt.early_size = size - adopt.head_size;
        if (peal_server_adopt(host.server, &adopt) == 0) {
            return;
        }
    }
    if (size > 0) {
        CHECK_EQUAL(send(fd, OWN, strlen(OWN), MSG_NOSIGNAL), strlen(OWN));
    }
    close(fd);
}

static void *run(void *argument)
{
    for (;;) {
        int fd = accept(listener, NULL, NULL);

        if (fd < 0) {
            return argument;
        }
        serve(fd);
    }
}

static void start_tiny(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof any;

    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listener >= 0);
    CHECK_EQUAL(bind(listener, (struct sockaddr *)&any, size), 0);
    CHECK_EQUAL(listen(listener, 100), 0);
    CHECK_EQUAL(getsockname(listener, (struct sockaddr *)&any, &size), 0);
    snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(any.sin_port));
    CHECK_EQUAL(pthread_create(&thread, NULL, run, NULL), 0);
}

static void stop_tiny(void)
{
    CHECK_EQUAL(shutdown(listener, SHUT_RDWR), 0); /* accept returns */
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    close(listener);
}

/* --- peal -----------------------------------------------------------------*/

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    char text[128];
    struct peal_event event;

    (void)user;
    CHECK(strncmp(connect->address, "127.0.0.1:", 10) == 0);
    if (connect->dialect != PEAL_DIALECT_RAW) {
        return; /* it has a welcome */
    }
    snprintf(text, sizeof text, "%.*s %lu", (int)connect->query.size,
             connect->query.data, (unsigned long)pthread_self());
    event = peal_text(text);
    CHECK_EQUAL(peal_client_emit(client, &event), 0);
}

static void on_message(struct peal_client *from, const struct peal_event *event,
                       void *user)
{
    (void)user;
    CHECK_EQUAL(peal_client_emit(from, event), 0);
}

static void setup(struct peal_server *server)
{
    static const struct peal_route route = {.size = sizeof route,
                                            .path = "/chat"};

    CHECK_EQUAL(peal_server_route(server, &route), 0);
    CHECK_EQUAL(peal_server_page(server, "/page", "text/plain", PAGE,
                                 strlen(PAGE)),
                0);
    CHECK_EQUAL(peal_server_on_any(server, on_message, NULL), 0);
}

static void start_peal(void)
{
    /* The header of a proxy is for listeners. */
    static const char *const proxies[] = {"127.0.0.1", NULL};
    static const struct peal_server_options options = {
        .dialect = PEAL_DIALECT_RAW,
        .loops = 2,
        .on_connect = on_connect,
        .header_bytes_max = 1024,
        .trusted_proxies = proxies,
        .proxy_protocol = PEAL_PROXY_REQUIRED,
    };

    dialect = PEAL_DIALECT_DEFAULT;
    host_start(&host, &options, setup);
}

static int start(void **state)
{
    (void)state;
    start_peal();
    start_tiny();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    stop_tiny();
    host_await_empty(&host);
    host_stop(&host);
    return 0;
}

static void expect_text(struct peer *peer, const char *text, size_t size)
{
    struct ws_received received;

    CHECK(ws_read(peer, &received));
    CHECK_EQUAL(received.first, WS_TEXT_FRAME);
    CHECK(received.size >= size);
    CHECK(memcmp(received.data, text, size) == 0);
}

static void clients_come_by_another_server(void **state)
{
    struct peer peers[4];
    char loops[4][128];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
        struct ws_received received;

        ws_open(&peers[i], address, "/chat?x=1");
        CHECK(ws_read(&peers[i], &received));
        CHECK(received.size < sizeof loops[i]);
        memcpy(loops[i], received.data, received.size);
        loops[i][received.size] = '\0';
        CHECK(strncmp(loops[i], "x=1 ", 4) == 0);
    }
    /* On the loops in turn. */
    CHECK(strcmp(loops[0], loops[1]) != 0);
    CHECK(strcmp(loops[0], loops[2]) == 0);
    CHECK(strcmp(loops[1], loops[3]) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
        ws_send_text(&peers[i], "hello");
        expect_text(&peers[i], "hello", 5);
        ws_goodbye(&peers[i]);
    }
    CHECK_EQUAL(ws_try(address, "/elsewhere", ""), 404);
}

/* Sent at once with the head, whole and in pieces. */
static void what_came_early_is_read(void **state)
{
    static const char head[] = GET("/chat") "Upgrade: websocket\r\n"
                                            "Connection: Upgrade\r\n"
                                            "Sec-WebSocket-Version: 13\r\n"
                                            "Sec-WebSocket-Key: "
                                            "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    char text[1024];
    size_t head_size = strlen(head);
    size_t size;

    (void)state;
    memcpy(text, head, head_size);
    size = head_size + ws_make(text + head_size, WS_TEXT_FRAME, "one", 3);
    size += ws_make(text + size, WS_TEXT_FRAME, "two", 3);
    for (size_t cut = head_size; cut <= size; cut++) {
        struct peer peer;

        peer_dial(&peer, address);
        peer_send(&peer, text, cut);
        ws_expect_open(&peer);
        expect_text(&peer, " ", 1);
        peer_send(&peer, text + cut, size - cut);
        expect_text(&peer, "one", 3);
        expect_text(&peer, "two", 3);
        ws_goodbye(&peer);
    }
}

static void other_requests_are_served(void **state)
{
    struct http_reply reply;
    struct peer peer;

    (void)state;
    http_ask(address, GET("/own") "\r\n", &reply);
    CHECK(strcmp(reply.body, "own") == 0);

    /* Once peal's, it stays peal's. */
    peer_dial(&peer, address);
    peer_send(&peer, GET("/page") "\r\n" GET("/page") "\r\n",
              2 * strlen(GET("/page") "\r\n"));
    for (int i = 0; i < 2; i++) {
        http_read(&peer, &reply, true);
        CHECK(strcmp(reply.body, PAGE) == 0);
    }
    peer_send(&peer, GET("/own") "\r\n", strlen(GET("/own") "\r\n"));
    http_read(&peer, &reply, true);
    CHECK_EQUAL(reply.status, 404);
    peer_close(&peer);
}

static void dialects_may_be_chosen(void **state)
{
    struct ws_received received;
    struct peer peer;

    (void)state;
    dialect = PEAL_DIALECT_PEAL;
    ws_open(&peer, address, "/chat");
    CHECK(ws_read(&peer, &received));
    CHECK(memmem(received.data, received.size, "peal:welcome", 12) != NULL);
    dialect = PEAL_DIALECT_DEFAULT;
    peer_reset(&peer);
}

/* --- What cannot be handed over ---------------------------------------------
 */

static int adopt(int fd, const char *head, size_t early_size)
{
    static char early[70000];
    struct peal_adopt adopted = {
        .size = sizeof adopted,
        .fd = fd,
        .head = head,
        .head_size = head != NULL ? strlen(head) : 0,
        .early = early,
        .early_size = early_size,
    };

    return peal_server_adopt(host.server, &adopted);
}

static void errors_leave_the_connection(void **state)
{
    static char large[2000] = GET("/page") "X: ";
    const char *good = GET("/page") "\r\n";
    struct peal_adopt bad;
    int ends[2];
    int other;

    (void)state;
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    CHECK_EQUAL(adopt(ends[0], NULL, 0), PEAL_EINVAL);
    CHECK_EQUAL(adopt(ends[0], "", 0), PEAL_EINVAL);
    CHECK_EQUAL(adopt(ends[0], GET("/page"), 0), PEAL_EINVAL);
    CHECK_EQUAL(adopt(ends[0], GET("/page") "\r\nx", 0), PEAL_EINVAL);
    CHECK_EQUAL(adopt(ends[0], "GET / HTTP/1.1\r\n\r\n", 0), PEAL_EPROTOCOL);
    CHECK_EQUAL(adopt(ends[0], "GET / HTTP/3.0\r\n\r\n", 0), PEAL_EPROTOCOL);
    CHECK_EQUAL(adopt(ends[0], good, 65537), PEAL_ETOOBIG);
    memset(large + strlen(large), 'x', 1500);
    strcat(large, "\r\n\r\n");
    CHECK_EQUAL(adopt(ends[0], large, 0), PEAL_ETOOBIG);
    bad = (struct peal_adopt){.size = sizeof bad,
                              .fd = ends[0],
                              .head = good,
                              .head_size = strlen(good),
                              .dialect = (enum peal_dialect)99};
    CHECK_EQUAL(peal_server_adopt(host.server, &bad), PEAL_EINVAL);
    bad.dialect = PEAL_DIALECT_DEFAULT;
    bad.size--;
    CHECK_EQUAL(peal_server_adopt(host.server, &bad), PEAL_EINVAL);
    CHECK_EQUAL(adopt(-1, good, 0), PEAL_EINVAL);
    other = open("/dev/null", O_RDONLY);
    CHECK_EQUAL(adopt(other, good, 0), PEAL_EINVAL);
    close(other);
    other = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_EQUAL(adopt(other, good, 0), PEAL_EINVAL);
    close(other);

    /* It is still there, as it was. */
    CHECK_EQUAL(fcntl(ends[0], F_GETFL) & O_NONBLOCK, 0);
    CHECK_EQUAL(fcntl(ends[0], F_GETFD) & FD_CLOEXEC, 0);
    CHECK_EQUAL(send(ends[0], "x", 1, 0), 1);
    CHECK_EQUAL(recv(ends[1], large, 1, 0), 1);

    /* And it may be handed over now; unix sockets, too. */
    CHECK_EQUAL(adopt(ends[0], good, 0), 0);
    CHECK(recv(ends[1], large, 8, MSG_WAITALL) == 8);
    CHECK(memcmp(large, "HTTP/1.1", 8) == 0);
    close(ends[1]);
}

static void only_running_servers_take_over(void **state)
{
    struct peal_server_options options = {.size = sizeof options,
                                          .close_timeout_ms = 20};
    const char *good = GET("/page") "\r\n";
    char data[64];
    int ends[2];

    (void)state;
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    CHECK_EQUAL(peal_server_new(&host.server, &options), 0);
    setup(host.server);
    CHECK_EQUAL(adopt(ends[0], good, 0), PEAL_ESTATE);

    /* On one that the program drives, and that listens nowhere. */
    CHECK_EQUAL(peal_server_attach(host.server), 0);
    CHECK_EQUAL(adopt(ends[0], good, 0), 0);
    CHECK_EQUAL(peal_server_step(host.server, 10000), 1);
    CHECK(recv(ends[1], data, 8, MSG_WAITALL) == 8);
    close(ends[1]);

    /* One that is on its way when the server stops is not forgotten. */
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    CHECK_EQUAL(adopt(ends[0], good, 0), 0);
    peal_server_stop(host.server);
    CHECK_EQUAL(adopt(ends[1], good, 0), PEAL_ESTATE);
    CHECK_EQUAL(peal_server_wait(host.server), 0);
    CHECK_EQUAL(adopt(ends[1], good, 0), PEAL_ESTATE);
    peal_server_free(host.server);
    while (recv(ends[1], data, sizeof data, 0) > 0) {
        /* It may have been served before. */
    }
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_come_by_another_server),
        cmocka_unit_test(what_came_early_is_read),
        cmocka_unit_test(other_requests_are_served),
        cmocka_unit_test(dialects_may_be_chosen),
        cmocka_unit_test(errors_leave_the_connection),
    };
    const struct CMUnitTest own[] = {
        cmocka_unit_test(only_running_servers_take_over),
    };

    return cmocka_run_group_tests(tests, start, stop) +
           cmocka_run_group_tests(own, NULL, NULL);
}
