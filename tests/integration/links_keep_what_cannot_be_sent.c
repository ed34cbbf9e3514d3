/*
 * Goal: what is sent while there is no connection waits, in bounds, is sent in
 * order and paced, and is not overtaken; a link on a thread of its own, behind
 * a name, a proxy, and with options that change, does what it is told.
 *
 * Method: a server that echoes, and links that are opened after they were used.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/link.h"
#include "support/listener.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_echo(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)user;
    peal_client_emit(from, event);
}

static void setup(struct peal_server *server)
{
    peal_server_on(server, "echo", on_echo, NULL);
}

struct fixture {
    struct host host;
    struct peal_loop *loop;
    struct peal_link *link;
    struct link_notes notes;
    struct peal_link_options options;
    char url[160];
    char order[256];
};

static void on_ordered(struct peal_link *link, const struct peal_event *event,
                       void *user)
{
    struct fixture *fixture = user;

    (void)link;
    strncat(fixture->order, event->data.data, event->data.size);
    fixture->notes.events++;
}

static void begin(struct fixture *fixture)
{
    memset(fixture, 0, sizeof *fixture);
    host_start(&fixture->host, NULL, setup);
    link_url(fixture->url, host_address(&fixture->host, false), false);
    fixture->options = link_test_options(fixture->url, &fixture->notes);
    CHECK_EQUAL(peal_loop_new(&fixture->loop, NULL), 0);
}

static void make(struct fixture *fixture)
{
    CHECK_EQUAL(peal_link_new(&fixture->link, fixture->loop, &fixture->options),
                0);
    CHECK_EQUAL(peal_link_on(fixture->link, "echo", on_ordered, fixture), 0);
}

static void end(struct fixture *fixture)
{
    peal_link_free(fixture->link);
    peal_loop_free(fixture->loop);
    host_stop(&fixture->host);
}

static int emit_number(struct peal_link *link, int number)
{
    char data[16];
    struct peal_event event = {.name = peal_slice("echo")};

    event.data.size = (size_t)snprintf(data, sizeof data, "%d", number);
    event.data.data = data;
    return peal_link_emit(link, &event);
}

static void on_connected(struct peal_link *link,
                         const struct peal_link_change *change, void *user)
{
    (void)user;
    if (change->to == PEAL_LINK_CONNECTED) {
        CHECK_EQUAL(emit_number(link, 9), 0);
    }
}

static void test_nothing_overtakes_the_outbox(void **state)
{
    struct fixture fixture;

    (void)state;
    begin(&fixture);
    fixture.options.on_state = on_connected;
    fixture.options.outbox_count_max = 3;
    make(&fixture);
    for (int i = 0; i < 5; i++) {
        CHECK_EQUAL(emit_number(fixture.link, i), 0);
    }
    CHECK_EQUAL(peal_loop_step(fixture.loop, 0), 0);
    CHECK_EQUAL(fixture.notes.dropped, 2);
    CHECK_EQUAL(fixture.notes.drop_error, PEAL_EFULL);
    assert_string_equal(fixture.notes.data, "1");
    CHECK_EQUAL(fixture.notes.queued, 5);
    fixture.options.outbox_count_max = 10;
    CHECK_EQUAL(peal_link_update(fixture.link, &fixture.options), 0);
    CHECK_EQUAL(peal_link_open(fixture.link), 0);
    LINK_STEP_UNTIL(fixture.loop, fixture.notes.events == 4);
    assert_string_equal(fixture.order, "2349");
    CHECK_EQUAL(fixture.notes.drained, 1);
    CHECK_EQUAL(fixture.notes.drained_count, 4);
    end(&fixture);
}

static void test_a_full_outbox_can_refuse(void **state)
{
    struct fixture fixture;

    (void)state;
    begin(&fixture);
    fixture.options.outbox_count_max = 2;
    fixture.options.outbox_policy = PEAL_OUTBOX_REFUSE;
    make(&fixture);
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(emit_number(fixture.link, i), 0);
    }
    CHECK_EQUAL(peal_loop_step(fixture.loop, 0), 0);
    CHECK_EQUAL(fixture.notes.dropped, 1);
    assert_string_equal(fixture.notes.data, "2");
    end(&fixture);
    CHECK_EQUAL(fixture.notes.dropped, 3);
    CHECK_EQUAL(fixture.notes.drop_error, PEAL_EGONE);
}

static void test_a_full_outbox_is_paced(void **state)
{
    struct fixture fixture;
    uint64_t began_ms;

    (void)state;
    begin(&fixture);
    fixture.options.outbox_rate = 100;
    make(&fixture);
    for (int i = 0; i < 21; i++) {
        CHECK_EQUAL(emit_number(fixture.link, i % 10), 0);
    }
    began_ms = check_now_ms();
    CHECK_EQUAL(peal_link_open(fixture.link), 0);
    LINK_STEP_UNTIL(fixture.loop, fixture.notes.events == 21);
    CHECK(check_now_ms() - began_ms >= 190);
    assert_string_equal(fixture.order, "012345678901234567890");
    end(&fixture);
}

static void test_requests_wait_and_time_out(void **state)
{
    struct peal_event event = peal_json("nobody", NULL);
    struct fixture fixture;

    (void)state;
    begin(&fixture);
    make(&fixture);
    CHECK_EQUAL(peal_link_request(fixture.link, &event, 20, link_note_answer,
                                  &fixture.notes),
                0);
    LINK_STEP_UNTIL(fixture.loop, fixture.notes.answers == 1);
    CHECK_EQUAL(fixture.notes.status, PEAL_ETIMEOUT);
    CHECK_EQUAL(peal_link_request(fixture.link, &event, 0, link_note_answer,
                                  &fixture.notes),
                0);
    CHECK_EQUAL(peal_link_open(fixture.link), 0);
    LINK_STEP_UNTIL(fixture.loop, fixture.notes.answers == 2);
    CHECK_EQUAL(fixture.notes.status, PEAL_EREFUSED);
    CHECK_EQUAL(fixture.notes.failure_code, 101);
    CHECK_EQUAL(peal_link_close(fixture.link, 1000, NULL), 0);
    CHECK_EQUAL(peal_link_request(fixture.link, &event, 0, link_note_answer,
                                  &fixture.notes),
                0);
    end(&fixture);
    CHECK_EQUAL(fixture.notes.answers, 3);
    CHECK_EQUAL(fixture.notes.status, PEAL_EGONE);
}

static void test_bad_arguments_are_refused(void **state)
{
    struct peal_event reserved = peal_json("peal:ok", NULL);
    struct peal_event broken = peal_json("a", "{");
    struct peal_event text = peal_text("a");
    struct fixture fixture;

    (void)state;
    begin(&fixture);
    make(&fixture);
    CHECK_EQUAL(peal_link_emit(fixture.link, &reserved), PEAL_EINVAL);
    CHECK_EQUAL(peal_link_emit(fixture.link, &broken), PEAL_EINVAL);
    CHECK_EQUAL(peal_link_emit(fixture.link, &text), PEAL_EINVAL);
    CHECK_EQUAL(peal_link_join(fixture.link, "", NULL, NULL), PEAL_EINVAL);
    CHECK_EQUAL(peal_link_close(fixture.link, 1006, NULL), PEAL_EINVAL);
    fixture.options.url = "wss://";
    CHECK_EQUAL(peal_link_update(fixture.link, &fixture.options),
                PEAL_EADDRESS);
    fixture.options.url = fixture.url;
    fixture.options.headers = "X: y";
    CHECK_EQUAL(peal_link_update(fixture.link, &fixture.options), PEAL_EINVAL);
    end(&fixture);
}

static void test_attempts_come_to_an_end(void **state)
{
    struct fixture fixture;

    (void)state;
    begin(&fixture);
    host_stop(&fixture.host);
    fixture.options.reconnect_attempts = 3;
    make(&fixture);
    CHECK_EQUAL(peal_link_open(fixture.link), 0);
    LINK_STEP_UNTIL(fixture.loop,
                    fixture.notes.changes > 1 &&
                        fixture.notes.state == PEAL_LINK_DISCONNECTED);
    CHECK_EQUAL(fixture.notes.errors, 4);
    CHECK_EQUAL(fixture.notes.error, PEAL_EREFUSED);
    CHECK_EQUAL(fixture.notes.last.attempt, 0);
    peal_link_free(fixture.link);
    peal_loop_free(fixture.loop);
}

/* --- Threads -------------------------------------------------------------- */

static atomic_int heard;

static void on_heard(struct peal_link *link, const struct peal_event *event,
                     void *user)
{
    (void)link;
    (void)event;
    (void)user;
    heard++;
}

static void *emit_many(void *link)
{
    for (int i = 0; i < 200; i++) {
        CHECK_EQUAL(emit_number(link, i), 0);
    }
    return NULL;
}

static void test_a_loop_has_a_thread_of_its_own(void **state)
{
    struct peal_link_options options = {.size = sizeof options,
                                        .outbox_rate = PEAL_OFF};
    pthread_t threads[4];
    struct fixture fixture;
    struct peal_link *link;

    (void)state;
    begin(&fixture);
    heard = 0;
    options.url = fixture.url;
    CHECK_EQUAL(peal_loop_start(fixture.loop), 0);
    CHECK_EQUAL(peal_loop_start(fixture.loop), PEAL_ESTATE);
    CHECK_EQUAL(peal_loop_step(fixture.loop, 0), PEAL_ESTATE);
    CHECK_EQUAL(peal_link_new(&link, fixture.loop, &options), 0);
    CHECK_EQUAL(peal_link_on_any(link, on_heard, NULL), 0);
    CHECK_EQUAL(peal_link_open(link), 0);
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, emit_many, link) == 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_SOON(heard == 800);
    CHECK_EQUAL(peal_link_state(link), PEAL_LINK_CONNECTED);
    peal_link_free(link);
    peal_loop_free(fixture.loop);
    host_stop(&fixture.host);
}

/* --- Names and proxies ---------------------------------------------------- */

static void test_names_are_resolved(void **state)
{
    struct fixture fixture;

    (void)state;
    begin(&fixture);
    snprintf(fixture.url, sizeof fixture.url, "ws://localhost:%s/",
             strrchr(host_address(&fixture.host, false), ':') + 1);
    make(&fixture);
    CHECK_EQUAL(emit_number(fixture.link, 1), 0);
    CHECK_EQUAL(peal_link_open(fixture.link), 0);
    LINK_STEP_UNTIL(fixture.loop, fixture.notes.events == 1);
    end(&fixture);
}

struct proxy {
    int fd;
    const char *answer;
    size_t answer_size;
    char request[1024];
};

static void *serve_proxy(void *argument)
{
    struct proxy *proxy = argument;
    int fd = accept(proxy->fd, NULL, NULL);
    size_t size = 0;
    char rest[256];

    while (strstr(proxy->request, "\r\n\r\n") == NULL) {
        ssize_t got = recv(fd, proxy->request + size,
                           sizeof proxy->request - 1 - size, 0);

        CHECK(got > 0);
        size += (size_t)got;
    }
    CHECK(send(fd, proxy->answer, proxy->answer_size, MSG_NOSIGNAL) > 0);
    while (recv(fd, rest, sizeof rest, 0) > 0) {
    }
    close(fd);
    return NULL;
}

static void ask_proxy(const char *answer, size_t size, int http_status)
{
    struct proxy proxy = {.answer = answer, .answer_size = size};
    struct fixture fixture;
    char address[64];
    pthread_t thread;

    begin(&fixture);
    proxy.fd = listener_open(address, sizeof address);
    CHECK(pthread_create(&thread, NULL, serve_proxy, &proxy) == 0);
    fixture.options.proxy = address;
    fixture.options.url = "tcp://far.example:99";
    fixture.options.reconnect_attempts = PEAL_OFF;
    make(&fixture);
    CHECK_EQUAL(peal_link_open(fixture.link), 0);
    if (http_status == 0) {
        LINK_STEP_UNTIL(fixture.loop, fixture.notes.connects == 1);
    } else {
        LINK_STEP_UNTIL(fixture.loop, fixture.notes.errors == 1);
        CHECK_EQUAL(fixture.notes.connects, 0);
        CHECK_EQUAL(fixture.notes.error, PEAL_EREFUSED);
        CHECK_EQUAL(fixture.notes.last.http_status, http_status);
    }
    end(&fixture);
    pthread_join(thread, NULL);
    close(proxy.fd);
    assert_non_null(strstr(proxy.request, "CONNECT far.example:99 HTTP/1.1"));
}

static void test_proxies_are_asked(void **state)
{
    /* It answers as a proxy, and then as a server of frames. */
    static const char yes[] = "HTTP/1.1 200 OK\r\n\r\n"
                              "\0\0\0\x11\6\0\0{\"id\":\"x\"}";
    static const char no[] = "HTTP/1.1 407 Proxy Authentication Required\r\n"
                             "Content-Length: 0\r\n\r\n";

    (void)state;
    ask_proxy(yes, sizeof yes - 1, 0);
    ask_proxy(no, sizeof no - 1, 407);
}

/* It lets the link in and never answers. */
static void test_joins_that_are_not_answered_are_reported(void **state)
{
    static const char silent[] = "HTTP/1.1 200 OK\r\n\r\n"
                                 "\0\0\0\x11\6\0\0{\"id\":\"x\"}";
    struct proxy proxy = {.answer = silent, .answer_size = sizeof silent - 1};
    struct fixture fixture;
    char address[64];
    pthread_t thread;

    (void)state;
    begin(&fixture);
    proxy.fd = listener_open(address, sizeof address);
    CHECK(pthread_create(&thread, NULL, serve_proxy, &proxy) == 0);
    fixture.options.proxy = address;
    fixture.options.url = "tcp://far.example:99";
    fixture.options.request_timeout_ms = 20;
    make(&fixture);
    CHECK_EQUAL(peal_link_join(fixture.link, "lobby", NULL, NULL), 0);
    CHECK_EQUAL(peal_link_open(fixture.link), 0);
    LINK_STEP_UNTIL(fixture.loop, fixture.notes.errors == 3);
    CHECK_EQUAL(fixture.notes.connects, 1);
    CHECK_EQUAL(fixture.notes.error, PEAL_ETIMEOUT);
    assert_string_equal(fixture.notes.what, "a room could not be joined yet");
    end(&fixture);
    pthread_join(thread, NULL);
    close(proxy.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_overtakes_the_outbox),
        cmocka_unit_test(test_a_full_outbox_can_refuse),
        cmocka_unit_test(test_a_full_outbox_is_paced),
        cmocka_unit_test(test_requests_wait_and_time_out),
        cmocka_unit_test(test_bad_arguments_are_refused),
        cmocka_unit_test(test_attempts_come_to_an_end),
        cmocka_unit_test(test_a_loop_has_a_thread_of_its_own),
        cmocka_unit_test(test_names_are_resolved),
        cmocka_unit_test(test_proxies_are_asked),
        cmocka_unit_test(test_joins_that_are_not_answered_are_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
