/*
 * Goal: a member that does not read is closed with 1013 when queue_bytes_max is
 * reached. What it was sent before is a beginning without a gap. Others in the
 * room get everything, and the server keeps no more than the limit for it.
 *
 * Method: numbered messages to a room with quick readers and one that does not
 * read until the server has given it up.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/member.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_BYTES_MAX 200000
#define MESSAGE_BYTES 10000
#define NARROW_BYTES 4096

static struct host host;
static _Atomic int last_code;
static _Atomic size_t most_queued;

static void on_disconnect(struct peal_client *client,
                          const struct peal_disconnect *disconnect, void *user)
{
    (void)client;
    (void)user;
    if (!disconnect->by_peer) {
        atomic_store(&last_code, disconnect->code);
    }
}

/* Sends itself messages until it is full, and tells what came of it. */
static void on_fill(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    static char text[MESSAGE_BYTES];
    struct peal_event part = peal_bytes("part", text, sizeof text);
    size_t queued = 0;
    int rc;

    (void)user;
    (void)event;
    while ((rc = peal_client_emit(from, &part)) == 0) {
        queued = peal_client_queued_bytes(from);
        CHECK(queued <= QUEUE_BYTES_MAX);
    }
    CHECK_EQUAL(rc, PEAL_EFULL);
    CHECK_EQUAL(peal_client_emit(from, &part), PEAL_EGONE);
    CHECK_EQUAL(peal_client_close(from, 1000, ""), 0);
    CHECK(queued + MESSAGE_BYTES > QUEUE_BYTES_MAX - 100);
    atomic_store(&most_queued, queued);
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on(server, "fill", on_fill, NULL), 0);
}

static int start(void **state)
{
    struct peal_server_options options = {
        .queue_bytes_max = QUEUE_BYTES_MAX,
        .clients_may_join = true,
        .on_disconnect = on_disconnect,
    };

    (void)state;
    atomic_store(&last_code, 0);
    host_start(&host, &options, setup);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    host_stop(&host);
    return 0;
}

static void open_narrow(struct member *member, bool is_tcp)
{
    *member = (struct member){.is_tcp = is_tcp};
    peer_dial_narrow(&member->peer, host_address(&host, is_tcp), NARROW_BYTES);
    if (!is_tcp) {
        ws_ask(&member->peer, "/", "");
        ws_expect_open(&member->peer);
    }
    member_welcome(member);
}

static void publish(int number)
{
    static char json[MESSAGE_BYTES];
    struct peal_event event;

    snprintf(json, sizeof json, "[%d,\"%0*d\"]", number, MESSAGE_BYTES - 100,
             0);
    event = peal_json("n", json);
    CHECK_EQUAL(peal_server_room_emit(host.server, "room", &event, NULL, 0), 0);
}

/* Hears the next numbered message; returns false when it is a close instead. */
static bool hear_number(struct member *member, int expected)
{
    struct heard heard;
    char beginning[64];
    bool is_message;

    CHECK(member_hear(member, &heard));
    snprintf(beginning, sizeof beginning, "{\"data\":[%d,", expected);
    is_message = strncmp(heard.json, beginning, strlen(beginning)) == 0;
    if (!is_message && strcmp(heard.json, "{\"close\":1013}") != 0) {
        fprintf(stderr, "expected %s..., heard %.100s\n", beginning,
                heard.json);
        CHECK(!"a gap, or another close");
    }
    heard_free(&heard);
    return is_message;
}

/* --- In a room ----------------------------------------------------------- */

static void in_a_room(bool is_tcp)
{
    struct member quick[2];
    struct member slow;
    int count = 0;
    int heard = 0;

    for (int i = 0; i < 2; i++) {
        member_open(&quick[i], host_address(&host, i == 1), i == 1);
        member_join(&quick[i], "room");
    }
    open_narrow(&slow, is_tcp);
    member_join(&slow, "room");

    while (host_stats(&host).closed_queue_bytes == 0) {
        publish(count);
        for (int i = 0; i < 2; i++) {
            CHECK(hear_number(&quick[i], count));
        }
        count++;
        CHECK(count < 5000 && "a queue without a bound");
    }
    CHECK_SOON(atomic_load(&last_code) == 1013);

    /* It is out of the room at once, and the others go on. */
    CHECK_EQUAL(peal_server_members(host.server, "room", NULL, 0), 2);
    for (int i = 0; i < 10; i++) {
        publish(count);
        for (int k = 0; k < 2; k++) {
            CHECK(hear_number(&quick[k], count));
        }
        count++;
    }

    /* And now it reads. */
    while (hear_number(&slow, heard)) {
        heard++;
    }
    CHECK(heard > QUEUE_BYTES_MAX / MESSAGE_BYTES - 2);
    CHECK(heard < count);
    peer_finish(&slow.peer);
    peer_expect_end(&slow.peer);
    peer_close(&slow.peer);
    for (int i = 0; i < 2; i++) {
        member_expect_silence(&quick[i]);
        peer_close(&quick[i].peer);
    }
}

static void a_slow_websocket_in_a_room(void **state)
{
    (void)state;
    in_a_room(false);
}

static void a_slow_tcp_client_in_a_room(void **state)
{
    (void)state;
    in_a_room(true);
}

/* --- By itself ----------------------------------------------------------- */

static void the_application_is_told(void **state)
{
    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        struct member slow;
        struct heard heard;
        bool is_closed = false;

        atomic_store(&last_code, 0);
        open_narrow(&slow, is_tcp == 1);
        member_say(&slow, "{'event':'fill'}");
        CHECK_SOON(atomic_load(&last_code) == 1013);
        CHECK_EQUAL(host_stats(&host).closed_queue_bytes, is_tcp + 1);
        /* The close finds room in a full queue. */
        while (!is_closed) {
            CHECK(member_hear(&slow, &heard));
            is_closed = heard.bytes == NULL;
            CHECK(!is_closed || strcmp(heard.json, "{\"close\":1013}") == 0);
            heard_free(&heard);
        }
        peer_finish(&slow.peer);
        peer_expect_end(&slow.peer);
        peer_close(&slow.peer);
    }
}

/* A kick is told even when the queue is nearly full. */
static void others_may_close_it(void **state)
{
    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        struct peal_client_ref ref;
        struct member slow;
        struct heard heard;
        int last = -1;

        open_narrow(&slow, is_tcp == 1);
        member_join(&slow, "room");
        ref = peal_server_find(host.server, slow.id);
        for (int i = 0; i < QUEUE_BYTES_MAX / MESSAGE_BYTES - 1; i++) {
            publish(i);
        }
        CHECK_EQUAL(peal_server_close(host.server, ref, 4000, "out"), 0);
        do {
            last++;
            CHECK(member_hear(&slow, &heard));
            if (strstr(heard.json, "\"n\"") == NULL) {
                CHECK(strcmp(heard.json, "{\"close\":4000}") == 0);
                heard_free(&heard);
                break;
            }
            heard_free(&heard);
        } while (true);
        CHECK_EQUAL(last, QUEUE_BYTES_MAX / MESSAGE_BYTES - 1);
        peer_close(&slow.peer);
        CHECK_SOON(host_stats(&host).clients == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_slow_websocket_in_a_room, start,
                                        stop),
        cmocka_unit_test_setup_teardown(a_slow_tcp_client_in_a_room, start,
                                        stop),
        cmocka_unit_test_setup_teardown(the_application_is_told, start, stop),
        cmocka_unit_test_setup_teardown(others_may_close_it, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
