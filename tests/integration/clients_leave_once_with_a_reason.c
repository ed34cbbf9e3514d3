/*
 * Goal: on_disconnect comes exactly once for each on_connect, as the last
 * callback of that client, and tells why: code, reason, and who it was.
 *
 * Method: every way to end a connection, on both transports, against a server
 * that writes down what it is told. Each client is given a number that
 * on_disconnect must still find.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/member.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAST_MS 100

/* What was told of the one client of a test. */
static struct {
    _Atomic int connects;
    _Atomic int disconnects;
    int code;
    bool by_peer;
    bool was_in_room;
    int emit_result;
    char reason[512];
    struct peal_client_ref ref;
} seen;

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    (void)connect;
    (void)user;
    seen.ref = peal_client_ref(client);
    CHECK_EQUAL(peal_client_join(client, "room"), 0);
    peal_client_set_user(client, &seen);
    atomic_fetch_add(&seen.connects, 1);
}

static void on_disconnect(struct peal_client *client,
                          const struct peal_disconnect *disconnect, void *user)
{
    struct peal_event event = peal_json("late", NULL);

    (void)user;
    CHECK(peal_client_user(client) == &seen);
    CHECK_EQUAL(peal_client_ref(client).value, seen.ref.value);
    seen.code = disconnect->code;
    seen.by_peer = disconnect->by_peer;
    CHECK(strlen(disconnect->reason) < sizeof seen.reason);
    strcpy(seen.reason, disconnect->reason);
    seen.was_in_room = peal_client_is_in(client, "room");
    seen.emit_result = peal_client_emit(client, &event);
    atomic_fetch_add(&seen.disconnects, 1);
}

/* No callback may come after on_disconnect. */
static void on_any(struct peal_client *from, const struct peal_event *event,
                   void *user)
{
    (void)user;
    CHECK_EQUAL(atomic_load(&seen.disconnects), 0);
    if (peal_slice_equal(event->name, peal_slice("kick"))) {
        CHECK_EQUAL(peal_client_close(from, 999, ""), PEAL_EINVAL);
        CHECK_EQUAL(peal_client_close(from, 1005, ""), PEAL_EINVAL);
        CHECK_EQUAL(peal_client_close(from, 1006, ""), PEAL_EINVAL);
        CHECK_EQUAL(peal_client_close(from, 4001, "\xff"), PEAL_EINVAL);
        CHECK_EQUAL(peal_client_close(from, 4001, "kicked"), 0);
        CHECK_EQUAL(peal_client_close(from, 4002, "again"), 0);
        CHECK_EQUAL(peal_client_emit(from, event), PEAL_EGONE);
    }
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on_any(server, on_any, NULL), 0);
}

static struct host host;

static void begin_with(struct member *member, bool is_tcp,
                       struct peal_server_options options)
{
    memset(&seen, 0, sizeof seen);
    options.on_connect = on_connect;
    options.on_disconnect = on_disconnect;
    host_start(&host, &options, setup);
    member_open(member, host_address(&host, is_tcp), is_tcp);
}

static void begin(struct member *member, bool is_tcp)
{
    begin_with(member, is_tcp, (struct peal_server_options){.size = 0});
}

/* The client has left for this reason, once; and that stays so. */
static void expect_left(int code, const char *reason, bool by_peer)
{
    CHECK_SOON(atomic_load(&seen.disconnects) > 0);
    CHECK_EQUAL(seen.code, code);
    CHECK_EQUAL(seen.by_peer, by_peer);
    if (reason != NULL && strcmp(seen.reason, reason) != 0) {
        fprintf(stderr, "reason: %s\n", seen.reason);
        CHECK(!"another reason than expected");
    }
    CHECK(seen.was_in_room);
    CHECK_EQUAL(seen.emit_result, PEAL_EGONE);
    CHECK_SOON(host_stats(&host).clients == 0);
    host_stop(&host);
    CHECK_EQUAL(atomic_load(&seen.connects), 1);
    CHECK_EQUAL(atomic_load(&seen.disconnects), 1);
}

/* --- By the peer --------------------------------------------------------- */

static void the_peer_closes(void **state)
{
    static const struct {
        int code;
        const char *reason;
        int told;
    } closes[] = {
        {1000, "", 1000},   {1000, "bye", 1000},      {1001, "", 1001},
        {3000, "x", 3000},  {4999, "\xc3\xa9", 4999}, {0, "", 1005},
        {1011, "oh", 1011},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(closes); i++) {
        struct member member;

        begin(&member, false);
        ws_send_close(&member.peer, closes[i].code, closes[i].reason);
        /* What comes after a close frame is not looked at. */
        ws_send_text(&member.peer, "{\"event\":\"x\"}");
        ws_expect_close(&member.peer, closes[i].code);
        peer_finish(&member.peer);
        peer_expect_end(&member.peer);
        peer_close(&member.peer);
        expect_left(closes[i].told, closes[i].reason, true);
    }
}

static void the_peer_says_goodbye(void **state)
{
    struct member member;

    (void)state;
    begin(&member, true);
    tcp_send_text(&member.peer, TCP_DISCONNECT_FRAME, NULL,
                  "{\"code\":1000,\"reason\":\"done\"}");
    peer_expect_end(&member.peer);
    peer_close(&member.peer);
    expect_left(1000, "done", true);
}

static void the_stream_ends(void **state)
{
    struct member member;

    (void)state;
    begin(&member, false);
    peer_close(&member.peer);
    expect_left(1006, NULL, true);
    begin(&member, true);
    peer_close(&member.peer);
    expect_left(1005, NULL, true);
}

static void one_side_of_the_stream_ends(void **state)
{
    struct member member;

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        begin(&member, is_tcp == 1);
        /* All that was sent before the end is handled before it. */
        member_say(&member, "{'event':'x','id':1}");
        peer_finish(&member.peer);
        member_expect(&member, "{'event':'peal:ok','id':1}");
        peer_expect_end(&member.peer);
        peer_close(&member.peer);
        expect_left(is_tcp == 1 ? 1005 : 1006, NULL, true);
    }
}

static void the_stream_is_reset(void **state)
{
    struct member member;

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        begin(&member, is_tcp == 1);
        peer_reset(&member.peer);
        expect_left(1006, NULL, true);
    }
}

/* --- By the server ------------------------------------------------------- */

static void the_application_closes(void **state)
{
    struct member member;

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        begin(&member, is_tcp == 1);
        /* What was answered before is sent before. */
        member_say(&member, "{'event':'x','id':1}");
        member_say(&member, "{'event':'kick','id':2}");
        member_expect(&member, "{'event':'peal:ok','id':1}");
        member_expect_close(&member, 4001);
        expect_left(4001, "kicked", false);
    }
}

static void another_thread_closes(void **state)
{
    struct member member;

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        begin(&member, is_tcp == 1);
        CHECK_EQUAL(peal_server_close(host.server, seen.ref, 1004, ""),
                    PEAL_EINVAL);
        CHECK_EQUAL(peal_server_close(host.server, seen.ref, 1008, "out"), 0);
        CHECK_EQUAL(peal_server_close(host.server, seen.ref, 1000, "x"), 0);
        member_expect_close(&member, 1008);
        expect_left(1008, "out", false);
    }
}

static void a_long_reason_is_cut(void **state)
{
    char long_reason[400];
    char heard[126];
    struct member member;

    (void)state;
    /* The cut falls into the middle of a character of two bytes. */
    for (size_t i = 0; i < sizeof long_reason - 1; i += 2) {
        memcpy(long_reason + i, "\xc3\xa9", 2);
    }
    long_reason[sizeof long_reason - 2] = '\0';
    begin(&member, false);
    CHECK_EQUAL(peal_server_close(host.server, seen.ref, 4000, long_reason), 0);
    ws_expect_close_reason(&member.peer, 4000, heard, sizeof heard);
    CHECK_EQUAL(strlen(heard), 122);
    CHECK(strncmp(heard, long_reason, 122) == 0);
    peer_close(&member.peer);
    CHECK_SOON(atomic_load(&seen.disconnects) == 1);
    CHECK_EQUAL(seen.code, 4000);
    host_stop(&host);
}

static void the_peer_breaks_the_protocol(void **state)
{
    static const char garbage[] = "\xff\xff\xff\xff\xff\xff\xff\xff";
    struct member member;

    (void)state;
    begin(&member, false);
    peer_send(&member.peer, garbage, 8);
    ws_await_close(&member.peer, 1002);
    expect_left(1002, NULL, false);
    begin(&member, true);
    peer_send(&member.peer, "\0\0\0\6\0\0\0", 7);
    member_expect_close(&member, 1002);
    expect_left(1002, NULL, false);
}

static void the_peer_is_silent(void **state)
{
    struct peal_server_options options = {
        .ping_interval_ms = FAST_MS,
        .ping_timeout_ms = FAST_MS,
    };
    struct member member;
    struct tcp_received frame;

    (void)state;
    begin_with(&member, false, options);
    ws_expect(&member.peer, WS_PING_FRAME, "", 0);
    ws_await_close(&member.peer, 1008);
    expect_left(1008, NULL, false);

    begin_with(&member, true, options);
    CHECK(tcp_read(&member.peer, &frame));
    CHECK_EQUAL(frame.type, TCP_PING_FRAME);
    member_expect_close(&member, 1008);
    expect_left(1008, NULL, false);
}

static void the_server_stops(void **state)
{
    struct member member;

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        begin(&member, is_tcp == 1);
        peal_server_stop(host.server);
        member_expect_close(&member, 1001);
        CHECK_EQUAL(peal_server_wait(host.server), 0);
        CHECK_EQUAL(atomic_load(&seen.disconnects), 1);
        CHECK_EQUAL(seen.code, 1001);
        CHECK(!seen.by_peer);
        peal_server_free(host.server);
    }
}

/* --- After our close frame ----------------------------------------------- */

/* The peer's own messages, its close and its end cross with our close. */
static void closes_may_cross(void **state)
{
    struct member member;

    (void)state;
    begin(&member, false);
    CHECK_EQUAL(peal_server_close(host.server, seen.ref, 4000, ""), 0);
    CHECK_SOON(atomic_load(&seen.disconnects) == 1);
    for (int i = 0; i < 100; i++) {
        ws_send_text(&member.peer, "{\"event\":\"late\",\"id\":1}");
    }
    ws_send_close(&member.peer, 1000, "");
    ws_expect_close(&member.peer, 4000);
    peer_expect_end(&member.peer);
    peer_close(&member.peer);
    expect_left(4000, "", false);
}

static void a_peer_that_does_not_answer_the_close(void **state)
{
    struct peal_server_options options = {.close_timeout_ms = FAST_MS};
    struct member member;

    (void)state;
    begin_with(&member, false, options);
    CHECK_EQUAL(peal_server_close(host.server, seen.ref, 4000, ""), 0);
    ws_expect_close(&member.peer, 4000);
    peer_expect_end(&member.peer);
    host_await_empty(&host);
    peer_close(&member.peer);
    expect_left(4000, "", false);
}

static void a_reset_after_the_close(void **state)
{
    struct member member;

    (void)state;
    begin(&member, false);
    CHECK_EQUAL(peal_server_close(host.server, seen.ref, 4000, ""), 0);
    ws_expect_close(&member.peer, 4000);
    peer_reset(&member.peer);
    host_await_empty(&host);
    expect_left(4000, "", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_peer_closes),
        cmocka_unit_test(the_peer_says_goodbye),
        cmocka_unit_test(the_stream_ends),
        cmocka_unit_test(one_side_of_the_stream_ends),
        cmocka_unit_test(the_stream_is_reset),
        cmocka_unit_test(the_application_closes),
        cmocka_unit_test(another_thread_closes),
        cmocka_unit_test(a_long_reason_is_cut),
        cmocka_unit_test(the_peer_breaks_the_protocol),
        cmocka_unit_test(the_peer_is_silent),
        cmocka_unit_test(the_server_stops),
        cmocka_unit_test(closes_may_cross),
        cmocka_unit_test(a_peer_that_does_not_answer_the_close),
        cmocka_unit_test(a_reset_after_the_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
