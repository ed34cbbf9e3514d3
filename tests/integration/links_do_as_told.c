/*
 * Goal: what the options, hooks and functions of a link promise and no other
 * test needs: loops of the program's own, delays of its own, handlers that come
 * and go, bounds, what is said in the handshake, counters.
 *
 * Method: a server that echoes, a listener that keeps what it hears, and links
 * on a loop that the test steps.
 */
#include "support/suite.h"

#include "support/handlers.h"
#include "support/host.h"
#include "support/link.h"
#include "support/listener.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct scene {
    struct host host;
    struct peal_loop *loop;
    struct peal_link *link;
    struct peal_link_options options;
    struct link_notes notes;
    char url[160];
    char calls[64]; /* a letter for each call of a handler */
    uint32_t delays;
    uint32_t delay_ms;
};

static char last_id[PEAL_ID_MAX + 1]; /* the server's loop; read when echoed */

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    (void)connect;
    (void)user;
    snprintf(last_id, sizeof last_id, "%s", peal_client_id(client));
}

static void on_echo(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)user;
    peal_client_emit(from, event);
}

static void on_drop_me(struct peal_client *from, const struct peal_event *event,
                       void *user)
{
    (void)event;
    (void)user;
    peal_client_close(from, 3001, "dropped");
}

static void on_close_me(struct peal_client *from,
                        const struct peal_event *event, void *user)
{
    char code[16];

    (void)user;
    snprintf(code, sizeof code, "%.*s", (int)event->data.size,
             event->data.data);
    CHECK_EQUAL(peal_client_close(from, atoi(code), "as asked"), 0);
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on(server, "echo", on_echo, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "drop-me", on_drop_me, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "close-me", on_close_me, NULL), 0);
    CHECK_EQUAL(
        peal_server_on_request(server, "never", handlers_never, NULL), 0);
}

static void begin(struct scene *scene)
{
    memset(scene, 0, sizeof *scene);
    host_start(&scene->host,
               &(struct peal_server_options){.on_connect = on_connect}, setup);
    link_url(scene->url, host_address(&scene->host, false), false);
    scene->options = link_test_options(scene->url, &scene->notes);
    CHECK_EQUAL(peal_loop_new(&scene->loop, NULL), 0);
}

static void make(struct scene *scene)
{
    CHECK_EQUAL(peal_link_new(&scene->link, scene->loop, &scene->options), 0);
}

static void connect_link(struct scene *scene)
{
    int connects = scene->notes.connects;

    CHECK_EQUAL(peal_link_open(scene->link), 0);
    LINK_STEP_UNTIL(scene->loop, scene->notes.connects > connects);
}

static void end(struct scene *scene)
{
    peal_link_free(scene->link);
    peal_loop_free(scene->loop);
    host_stop(&scene->host);
}

static struct peal_link_stats stats_of(const struct scene *scene)
{
    struct peal_link_stats stats = {.size = sizeof stats};

    CHECK_EQUAL(peal_link_stats(scene->link, &stats), 0);
    return stats;
}

static int emit(struct scene *scene, const char *name, const char *data)
{
    const struct peal_event event = peal_json(name, data);

    return peal_link_emit(scene->link, &event);
}

/* Until an echo has been there and back behind all that was sent. */
static void echo(struct scene *scene)
{
    int events = scene->notes.events;

    CHECK_EQUAL(
        peal_link_on(scene->link, "echo", link_note_event, &scene->notes), 0);
    CHECK_EQUAL(emit(scene, "echo", "1"), 0);
    LINK_STEP_UNTIL(scene->loop, scene->notes.events > events);
    CHECK_EQUAL(
        peal_link_off(scene->link, "echo", link_note_event, &scene->notes), 0);
}

/* --- Loops -----------------------------------------------------------------
 */

static void test_a_program_waits_for_the_loop_itself(void **state)
{
    struct scene scene;

    (void)state;
    begin(&scene);
    make(&scene);
    CHECK_EQUAL(peal_link_on(scene.link, "echo", link_note_event, &scene.notes),
                0);
    CHECK_EQUAL(peal_link_open(scene.link), 0);
    CHECK_EQUAL(emit(&scene, "echo", "1"), 0);
    while (scene.notes.events == 0) {
        struct pollfd waiting = {.fd = peal_loop_fd(scene.loop),
                                 .events = POLLIN};
        int timeout_ms = peal_loop_timeout_ms(scene.loop);

        CHECK(timeout_ms >= -1 && timeout_ms <= 60000);
        CHECK(poll(&waiting, 1, timeout_ms) >= 0);
        CHECK_EQUAL(peal_loop_step(scene.loop, 0), 0);
    }
    end(&scene);
}

static void stop_loop(struct peal_link *link, const struct peal_event *event,
                      void *user)
{
    struct scene *scene = user;

    (void)link;
    (void)event;
    scene->notes.events++;
    CHECK_EQUAL(peal_loop_step(scene->loop, 0), PEAL_ESTATE);
    peal_loop_stop(scene->loop);
}

static void test_a_loop_runs_until_it_is_stopped(void **state)
{
    struct scene scene;

    (void)state;
    begin(&scene);
    make(&scene);
    CHECK_EQUAL(peal_link_on(scene.link, "echo", stop_loop, &scene), 0);
    CHECK_EQUAL(peal_link_open(scene.link), 0);
    for (int i = 1; i <= 2; i++) {
        CHECK_EQUAL(emit(&scene, "echo", "1"), 0);
        CHECK_EQUAL(peal_loop_run(scene.loop), 0);
        CHECK_EQUAL(scene.notes.events, i);
    }
    end(&scene);
}

/* Calls from elsewhere wait in a mailbox that is bounded. */
static void test_the_mailbox_has_a_bound(void **state)
{
    struct scene scene;
    int taken = 0;
    int rc;

    (void)state;
    begin(&scene);
    peal_loop_free(scene.loop);
    CHECK_EQUAL(peal_loop_new(&scene.loop,
                              &(struct peal_loop_options){
                                  .size = sizeof(struct peal_loop_options),
                                  .mailbox_bytes_max = 10000,
                              }),
                0);
    make(&scene);
    do {
        rc = emit(&scene, "echo", "1");
        taken += rc == 0;
    } while (rc == 0);
    CHECK_EQUAL(rc, PEAL_EFULL);
    CHECK(taken > 5 && taken < 200);
    LINK_STEP_UNTIL(scene.loop, scene.notes.queued == taken);
    CHECK_EQUAL(emit(&scene, "echo", "1"), 0);
    end(&scene);
}

/* --- Reconnecting -----------------------------------------------------------
 */

static uint32_t decide(struct peal_link *link, uint32_t attempt,
                       uint32_t delay_ms, void *user)
{
    struct scene *scene = user;

    (void)link;
    scene->delays++;
    CHECK_EQUAL(attempt, scene->delays);
    CHECK(delay_ms >= 7 && delay_ms <= 7 + (10u << attempt));
    scene->delay_ms = 2 + attempt;
    return scene->delay_ms;
}

static void on_decided(struct peal_link *link,
                       const struct peal_link_change *change, void *user)
{
    struct scene *scene = user;

    (void)link;
    scene->notes.state = change->to;
    if (change->to == PEAL_LINK_RECONNECTING) {
        CHECK_EQUAL(change->retry_in_ms, scene->delay_ms);
        CHECK_EQUAL(change->attempt, scene->delays);
    }
    scene->notes.changes++;
}

static void test_the_program_decides_delays(void **state)
{
    struct scene scene;

    (void)state;
    begin(&scene);
    host_stop(&scene.host);
    scene.options.reconnect_min_ms = 7;
    scene.options.reconnect_first_ms = 10;
    scene.options.reconnect_max_ms = 80;
    scene.options.reconnect_attempts = 5;
    scene.options.reconnect_delay = decide;
    scene.options.on_state = on_decided;
    scene.options.on_error = NULL;
    scene.options.user = &scene;
    make(&scene);
    CHECK_EQUAL(peal_link_open(scene.link), 0);
    LINK_STEP_UNTIL(scene.loop,
                    scene.notes.changes > 1 &&
                        scene.notes.state == PEAL_LINK_DISCONNECTED);
    CHECK_EQUAL(scene.delays, 5);
    CHECK_EQUAL(stats_of(&scene).attempts, 6);
    CHECK_EQUAL(stats_of(&scene).last_error, PEAL_EREFUSED);
    peal_link_free(scene.link);
    peal_loop_free(scene.loop);
}

static void drop_again(struct peal_link *link,
                       const struct peal_link_change *change, void *user)
{
    const struct peal_event event = peal_json("drop-me", NULL);
    struct scene *scene = user;

    scene->notes.state = change->to;
    scene->notes.changes++;
    if (change->to == PEAL_LINK_CONNECTED) {
        scene->notes.connects++;
        CHECK_EQUAL(peal_link_emit(link, &event), 0);
    }
}

/* A server that lets in and throws out is as good as one that is not there. */
static void test_only_stable_connections_begin_anew(void **state)
{
    struct scene scene;

    (void)state;
    for (int is_stable = 0; is_stable < 2; is_stable++) {
        begin(&scene);
        scene.options.reconnect_attempts = 3;
        scene.options.reconnect_stable_ms = is_stable ? PEAL_OFF : 60000;
        scene.options.on_state = drop_again;
        scene.options.on_error = NULL;
        scene.options.user = &scene;
        make(&scene);
        CHECK_EQUAL(peal_link_open(scene.link), 0);
        LINK_STEP_UNTIL(scene.loop,
                        scene.notes.connects == 8 ||
                            (scene.notes.changes > 1 &&
                             scene.notes.state == PEAL_LINK_DISCONNECTED));
        CHECK_EQUAL(scene.notes.connects, is_stable ? 8 : 4);
        end(&scene);
    }
}

/* Has the server close with this code. Whether the link comes back by itself.
 */
static bool comes_back_after(struct scene *scene, int code)
{
    int connects = scene->notes.connects;
    char data[16];

    snprintf(data, sizeof data, "%d", code);
    CHECK_EQUAL(emit(scene, "close-me", data), 0);
    LINK_STEP_UNTIL(scene->loop, scene->notes.state == PEAL_LINK_DISCONNECTED ||
                                     scene->notes.connects > connects);
    return scene->notes.connects > connects;
}

static void test_some_codes_are_for_good(void **state)
{
    static const int final[] = {1000, 3500, 3999, 4500, 4999};
    static const int passing[] = {1001, 1008, 1013, 3000, 3499, 4000, 4499};
    struct scene scene;

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        begin(&scene);
        link_url(scene.url, host_address(&scene.host, is_tcp), is_tcp);
        make(&scene);
        connect_link(&scene);
        for (size_t i = 0; i < ARRAY_SIZE(passing); i++) {
            CHECK(comes_back_after(&scene, passing[i]));
        }
        for (size_t i = 0; i < ARRAY_SIZE(final); i++) {
            CHECK(!comes_back_after(&scene, final[i]));
            CHECK_EQUAL(scene.notes.last.code, final[i]);
            CHECK_EQUAL(scene.notes.last.attempt, 0);
            CHECK_EQUAL(scene.notes.last.error, PEAL_EGONE);
            connect_link(&scene);
        }
        CHECK_EQUAL(stats_of(&scene).attempts,
                    1 + ARRAY_SIZE(passing) + ARRAY_SIZE(final));
        end(&scene);
    }
}

/* --- Listening --------------------------------------------------------------
 */

static void call(struct scene *scene, char letter)
{
    size_t size = strlen(scene->calls);

    CHECK(size < sizeof scene->calls - 1);
    scene->calls[size] = letter;
}

static void on_a(struct peal_link *link, const struct peal_event *event,
                 void *user)
{
    (void)link;
    (void)event;
    call(user, 'a');
}

static void on_b(struct peal_link *link, const struct peal_event *event,
                 void *user)
{
    (void)link;
    (void)event;
    call(user, 'b');
}

static void on_message(struct peal_link *link, const struct peal_event *event,
                       void *user)
{
    (void)link;
    (void)event;
    call(user, 'm');
}

static void expect_calls(struct scene *scene, const char *name,
                         const char *expected)
{
    memset(scene->calls, 0, sizeof scene->calls);
    CHECK_EQUAL(emit(scene, "echo", "1"), 0);
    LINK_STEP_UNTIL(scene->loop, strlen(scene->calls) >= strlen(expected));
    if (strcmp(scene->calls, expected) != 0) {
        fprintf(stderr, "%s: %s, not %s\n", name, scene->calls, expected);
        CHECK(!"the calls");
    }
}

static void test_handlers_come_and_go(void **state)
{
    struct scene scene;

    (void)state;
    begin(&scene);
    scene.options.on_state = NULL;
    scene.options.on_error = NULL;
    scene.options.on_queued = NULL;
    scene.options.on_drained = NULL;
    scene.options.on_message = on_message;
    scene.options.user = &scene;
    make(&scene);
    CHECK_EQUAL(peal_link_open(scene.link), 0);
    CHECK_EQUAL(peal_link_on_any(scene.link, on_b, &scene), 0);
    CHECK_EQUAL(peal_link_on(scene.link, "echo", on_a, &scene), 0);
    CHECK_EQUAL(peal_link_once(scene.link, "echo", on_b, &scene), 0);
    CHECK_EQUAL(peal_link_on(scene.link, "echo", on_a, &scene), 0);
    CHECK_EQUAL(peal_link_on(scene.link, "other", on_b, &scene), 0);
    expect_calls(&scene, "all", "mabab");
    expect_calls(&scene, "once is over", "maab");
    CHECK_EQUAL(peal_link_off(scene.link, NULL, on_b, &scene), 0);
    expect_calls(&scene, "no handler for all", "maa");
    CHECK_EQUAL(peal_link_off(scene.link, "echo", on_b, &scene), 0);
    CHECK_EQUAL(peal_link_off(scene.link, "echo", on_a, NULL), 0);
    CHECK_EQUAL(peal_link_off(scene.link, "other", NULL, NULL), 0);
    expect_calls(&scene, "off with what nobody has", "maa");
    CHECK_EQUAL(peal_link_on(scene.link, "echo", on_b, &scene), 0);
    CHECK_EQUAL(peal_link_off(scene.link, "echo", on_a, &scene), 0);
    expect_calls(&scene, "off by function", "mb");
    CHECK_EQUAL(peal_link_off(scene.link, "echo", NULL, NULL), 0);
    expect_calls(&scene, "off by name", "m");
    end(&scene);
}

/* --- Sending ----------------------------------------------------------------
 */

static bool hold_secrets(struct peal_link *link, const struct peal_event *event,
                         void *user)
{
    (void)link;
    (void)user;
    return !peal_slice_equal(event->name, peal_slice("secret"));
}

/* Runs inside of a callback, where calls act and answer at once. */
static void try_secrets(struct peal_link *link,
                        const struct peal_link_change *change, void *user)
{
    const struct peal_event secret = peal_json("secret", NULL);
    const struct peal_event never = peal_json("never", NULL);
    struct link_notes *notes = user;

    if (change->to != PEAL_LINK_CONNECTED) {
        return;
    }
    notes->connects++;
    CHECK_EQUAL(peal_link_emit(link, &secret), PEAL_EREFUSED);
    CHECK_EQUAL(peal_link_request(link, &secret, 0, link_note_answer, notes),
                PEAL_EREFUSED);
    CHECK_EQUAL(peal_link_request(link, &never, 0, link_note_answer, notes), 0);
    CHECK_EQUAL(peal_link_request(link, &never, 0, link_note_answer, notes), 0);
    CHECK_EQUAL(peal_link_request(link, &never, 0, link_note_answer, notes),
                PEAL_ELIMIT);
    CHECK_EQUAL(notes->answers, 0);
}

static void test_hooks_and_limits_hold_back(void **state)
{
    struct scene scene;

    (void)state;
    begin(&scene);
    scene.options.before_emit = hold_secrets;
    scene.options.requests_max = 2;
    scene.options.request_timeout_ms = 50;
    scene.options.on_state = try_secrets;
    make(&scene);
    connect_link(&scene);
    CHECK_EQUAL(stats_of(&scene).requests_pending, 2);
    LINK_STEP_UNTIL(scene.loop, scene.notes.answers == 2);
    CHECK_EQUAL(scene.notes.status, PEAL_ETIMEOUT);
    CHECK_EQUAL(stats_of(&scene).requests_failed, 2);

    /* From elsewhere, too; there the hook is who knows of it. */
    CHECK_EQUAL(emit(&scene, "secret", NULL), 0);
    echo(&scene);
    CHECK_EQUAL(scene.notes.dropped, 0); /* held back, not taken */
    end(&scene);
}

static bool free_it(struct peal_link *link, const struct peal_event *event,
                    void *user)
{
    struct link_notes *notes = user;

    (void)event;
    peal_link_free(link);
    notes->events++;
    return false;
}

/* What waits in the mailbox when a callback frees the link. */
static void test_what_comes_after_the_end_has_no_outcome(void **state)
{
    const struct peal_event never = peal_json("never", NULL);
    struct scene scene;

    (void)state;
    begin(&scene);
    scene.options.before_emit = free_it;
    make(&scene);
    connect_link(&scene);
    CHECK_EQUAL(emit(&scene, "echo", "1"), 0);
    CHECK_EQUAL(emit(&scene, "echo", "2"), 0);
    CHECK_EQUAL(peal_link_request(scene.link, &never, 0, link_note_answer,
                                  &scene.notes),
                0);
    CHECK_EQUAL(
        peal_link_join(scene.link, "lobby", link_note_answer, &scene.notes), 0);
    LINK_STEP_UNTIL(scene.loop, scene.notes.events == 1);
    scene.link = NULL;
    host_await_empty(&scene.host);
    CHECK_EQUAL(peal_loop_step(scene.loop, 0), 0); /* it is freed */
    CHECK_EQUAL(scene.notes.events, 1);
    CHECK_EQUAL(scene.notes.answers, 0);
    CHECK_EQUAL(scene.notes.dropped, 0);
    end(&scene);
}

/* Each parcel has a kilobyte of data. */
static void test_the_outbox_is_bounded_by_bytes(void **state)
{
    static char data[1024];
    struct scene scene;

    (void)state;
    memset(data, '1', sizeof data - 1);
    for (int refuses = 0; refuses < 2; refuses++) {
        begin(&scene);
        scene.options.outbox_bytes_max = 10 * 1024;
        scene.options.outbox_policy =
            refuses ? PEAL_OUTBOX_REFUSE : PEAL_OUTBOX_DROP_OLDEST;
        make(&scene);
        for (int i = 0; i < 30; i++) {
            data[0] = (char)('1' + i % 9);
            CHECK_EQUAL(emit(&scene, "echo", data), 0);
        }
        LINK_STEP_UNTIL(scene.loop, scene.notes.dropped > 15 &&
                                        stats_of(&scene).outbox_count +
                                                (uint64_t)scene.notes.dropped ==
                                            30);
        CHECK_EQUAL(scene.notes.drop_error, PEAL_EFULL);
        CHECK(stats_of(&scene).outbox_bytes <= 10 * 1024);
        CHECK(stats_of(&scene).outbox_count >= 5);
        CHECK_EQUAL(stats_of(&scene).dropped, scene.notes.dropped);
        /* The last one dropped was old, or new. */
        CHECK_EQUAL(scene.notes.data[0],
                    refuses ? '1' + 29 % 9
                            : '1' + (scene.notes.dropped - 1) % 9);
        CHECK_EQUAL(
            peal_link_on(scene.link, "echo", link_note_event, &scene.notes), 0);
        connect_link(&scene);
        LINK_STEP_UNTIL(scene.loop,
                        scene.notes.events == 30 - scene.notes.dropped);
        CHECK_EQUAL(scene.notes.drained, 1);
        end(&scene);
    }
}

/* --- Options and counters ---------------------------------------------------
 */

static void test_addresses_change_with_the_next_connection(void **state)
{
    struct scene scene;
    struct host other;
    char url[160];

    (void)state;
    begin(&scene);
    host_start(&other, NULL, setup);
    make(&scene);
    connect_link(&scene);
    scene.options.url = link_url(url, host_address(&other, true), true);
    CHECK_EQUAL(peal_link_update(scene.link, &scene.options), 0);
    echo(&scene);
    CHECK_EQUAL(host_stats(&scene.host).clients, 1);
    CHECK_EQUAL(host_stats(&other).clients, 0);
    CHECK_EQUAL(peal_link_close(scene.link, 1000, ""), 0);
    connect_link(&scene);
    CHECK_EQUAL(host_stats(&other).tcp_clients, 1);
    host_await_empty(&scene.host);
    end(&scene);
    host_stop(&other);
}

static void test_counters_tell_what_happened(void **state)
{
    struct peal_link_stats stats;
    struct scene scene;

    (void)state;
    begin(&scene);
    make(&scene);
    CHECK_EQUAL(peal_link_state(scene.link), PEAL_LINK_DISCONNECTED);
    CHECK(strcmp(peal_link_state_name(PEAL_LINK_RECONNECTING),
                 "reconnecting") == 0);
    CHECK(peal_link_id(scene.link) == NULL);
    connect_link(&scene);
    CHECK_EQUAL(peal_link_state(scene.link), PEAL_LINK_CONNECTED);
    echo(&scene);
    CHECK(strcmp(peal_link_id(scene.link), last_id) == 0);
    LINK_STEP_UNTIL(scene.loop, stats_of(&scene).round_trip_us > 0);
    stats = stats_of(&scene);
    CHECK_EQUAL(stats.attempts, 1);
    CHECK_EQUAL(stats.connects, 1);
    CHECK(stats.connected_ms > 0 && stats.connect_ms < 20000);
    CHECK_EQUAL(stats.sent, 1);
    CHECK_EQUAL(stats.received, 1);
    CHECK(stats.bytes_out > 20 && stats.bytes_in > 20);
    CHECK_EQUAL(stats.last_error, 0);
    CHECK_EQUAL(emit(&scene, "drop-me", NULL), 0);
    LINK_STEP_UNTIL(scene.loop, scene.notes.connects == 2);
    stats = stats_of(&scene);
    CHECK_EQUAL(stats.connects, 2);
    CHECK_EQUAL(stats.last_error, PEAL_EGONE);
    CHECK_EQUAL(stats.sent, 2);
    /* Fields that a program was not compiled with are left alone. */
    stats = (struct peal_link_stats){.size = sizeof(size_t)};
    CHECK_EQUAL(peal_link_stats(scene.link, &stats), 0);
    CHECK_EQUAL(stats.connects, 0);
    end(&scene);
}

/* --- The handshake -----------------------------------------------------------
 */

struct listener {
    int fd;
    char request[4096];
};

static void *keep_request(void *argument)
{
    struct listener *listener = argument;
    int fd = accept(listener->fd, NULL, NULL);
    size_t size = 0;

    while (strstr(listener->request, "\r\n\r\n") == NULL) {
        ssize_t got = recv(fd, listener->request + size,
                           sizeof listener->request - 1 - size, 0);

        CHECK(got > 0);
        size += (size_t)got;
    }
    close(fd);
    return NULL;
}

static void test_the_handshake_says_what_it_is_told(void **state)
{
    static const char *const lines[] = {
        "GET /chat?x=1 HTTP/1.1\r\n",
        "\r\nOrigin: https://example.com\r\n",
        "\r\nSec-WebSocket-Protocol: mine, other\r\n",
        "\r\nX-One: 1\r\nAuthorization: Bearer abc\r\n",
        "\r\nSec-WebSocket-Extensions: permessage-deflate; "
        "server_no_context_takeover; client_no_context_takeover; "
        "server_max_window_bits=10; client_max_window_bits=10\r\n",
    };
    struct listener listener = {.request = ""};
    struct scene scene = {.link = NULL};
    char address[64];
    pthread_t thread;

    (void)state;
    listener.fd = listener_open(address, sizeof address);
    CHECK(pthread_create(&thread, NULL, keep_request, &listener) == 0);
    snprintf(scene.url, sizeof scene.url, "ws://%s/chat?x=1", address);
    scene.options = link_test_options(scene.url, &scene.notes);
    scene.options.origin = "https://example.com";
    scene.options.protocols = "mine, other";
    scene.options.headers = "X-One: 1\r\nAuthorization: Bearer abc\r\n";
    scene.options.deflate = true;
    scene.options.deflate_window_bits = 10;
    scene.options.reconnect_attempts = PEAL_OFF;
    CHECK_EQUAL(peal_loop_new(&scene.loop, NULL), 0);
    make(&scene);
    CHECK_EQUAL(peal_link_open(scene.link), 0);
    LINK_STEP_UNTIL(scene.loop, scene.notes.errors == 1);
    peal_link_free(scene.link);
    peal_loop_free(scene.loop);
    pthread_join(thread, NULL);
    close(listener.fd);
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        if (strstr(listener.request, lines[i]) == NULL) {
            fprintf(stderr, "%s\nhas no %s", listener.request, lines[i]);
            CHECK(!"the request");
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_program_waits_for_the_loop_itself),
        cmocka_unit_test(test_a_loop_runs_until_it_is_stopped),
        cmocka_unit_test(test_the_mailbox_has_a_bound),
        cmocka_unit_test(test_the_program_decides_delays),
        cmocka_unit_test(test_only_stable_connections_begin_anew),
        cmocka_unit_test(test_some_codes_are_for_good),
        cmocka_unit_test(test_handlers_come_and_go),
        cmocka_unit_test(test_hooks_and_limits_hold_back),
        cmocka_unit_test(test_what_comes_after_the_end_has_no_outcome),
        cmocka_unit_test(test_the_outbox_is_bounded_by_bytes),
        cmocka_unit_test(test_addresses_change_with_the_next_connection),
        cmocka_unit_test(test_counters_tell_what_happened),
        cmocka_unit_test(test_the_handshake_says_what_it_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
