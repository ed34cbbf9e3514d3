/*
 * Goal: what is sent to a room, to everybody or to one client reaches exactly
 * those it is for, once, in either transport's form, as JSON and as bytes.
 *
 * Method: members over WebSocket and TCP in the same rooms of one server with
 * one loop. A message that must not arrive is shown to be missing by an answer
 * that comes instead of it.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/member.h"

#include <stdio.h>
#include <string.h>

static const char bytes[] = {0, 1, (char)0xff, 'x', '"', 0};

static struct peal_client_ref ref_of_id(struct peal_server *server,
                                        const struct peal_event *event)
{
    char id[PEAL_ID_MAX + 3];

    /* The data is a JSON string without escapes. */
    CHECK(event->data.size > 2 && event->data.size < sizeof id);
    memcpy(id, event->data.data + 1, event->data.size - 2);
    id[event->data.size - 2] = '\0';
    return peal_server_find(server, id);
}

static void on_chat(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)user;
    CHECK_EQUAL(peal_room_emit(from, "lobby", event), 0);
}

static void on_all(struct peal_client *from, const struct peal_event *event,
                   void *user)
{
    (void)user;
    CHECK_EQUAL(peal_broadcast(from, event), 0);
}

static void on_everyone(struct peal_client *from,
                        const struct peal_event *event, void *user)
{
    (void)user;
    CHECK_EQUAL(peal_server_broadcast(peal_client_server(from), event, NULL, 0),
                0);
}

static void on_back(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)user;
    CHECK_EQUAL(peal_client_emit(from, event), 0);
}

/* To the lobby without the sender and without the one that the data names. */
static void on_without(struct peal_client *from, const struct peal_event *event,
                       void *user)
{
    struct peal_client_ref except[2] = {
        peal_client_ref(from), ref_of_id(peal_client_server(from), event)};

    (void)user;
    CHECK(except[1].value != 0);
    CHECK_EQUAL(peal_server_room_emit(peal_client_server(from), "lobby", event,
                                      except, 2),
                0);
}

static void on_whisper(struct peal_client *from, const struct peal_event *event,
                       void *user)
{
    struct peal_server *server = peal_client_server(from);
    struct peal_event hey = peal_json("hey", "null");

    (void)user;
    CHECK_EQUAL(peal_server_emit(server, ref_of_id(server, event), &hey), 0);
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on(server, "chat", on_chat, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "all", on_all, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "everyone", on_everyone, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "back", on_back, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "without", on_without, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "whisper", on_whisper, NULL), 0);
}

/* Two clients of each transport; all but the last are in the lobby. */
struct world {
    struct host host;
    struct member members[4];
};

enum { ALICE, BOB, CAROL, OUTSIDER };

static int start(void **state)
{
    static struct world world;
    static const struct peal_server_options options = {
        .clients_may_join = true,
        .clients_may_publish = true,
    };

    host_start(&world.host, &options, setup);
    for (int i = 0; i < 4; i++) {
        bool is_tcp = i % 2 == 1;

        member_open(&world.members[i], host_address(&world.host, is_tcp),
                    is_tcp);
        if (i != OUTSIDER) {
            member_join(&world.members[i], "lobby");
        }
    }
    *state = &world;
    return 0;
}

static int stop(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 4; i++) {
        member_close(&world->members[i]);
    }
    host_await_empty(&world->host);
    CHECK_EQUAL(host_stats(&world->host).rooms, 0);
    host_stop(&world->host);
    return 0;
}

static void everyone_is_silent(struct world *world)
{
    for (int i = 0; i < 4; i++) {
        member_expect_silence(&world->members[i]);
    }
}

/* --- Sent by the application --------------------------------------------- */

static void a_room_hears_json(void **state)
{
    struct world *world = *state;
    struct member *members = world->members;
    static const char *const data[] = {"null",
                                       "0",
                                       "-1.5e300",
                                       "''",
                                       "[]",
                                       "{}",
                                       "'\\u0000\\ud83d\\ude00'",
                                       "{'__proto__':{'a':[1,2,{'b':null}]}}",
                                       "12345678901234567"};

    for (int from = 0; from < 4; from++) {
        for (size_t i = 0; i < ARRAY_SIZE(data); i++) {
            member_say(&members[from], "{'event':'chat','data':%s}", data[i]);
            member_expect_silence(&members[from]);
            for (int to = ALICE; to <= CAROL; to++) {
                if (to != from) {
                    member_expect(&members[to],
                                  "{'event':'chat','room':'lobby','data':%s}",
                                  data[i]);
                }
            }
        }
    }
    everyone_is_silent(world);
}

static void a_message_without_data_has_none(void **state)
{
    struct world *world = *state;

    member_say(&world->members[ALICE], "{'event':'chat'}");
    member_expect(&world->members[BOB], "{'event':'chat','room':'lobby'}");
    member_expect(&world->members[CAROL], "{'event':'chat','room':'lobby'}");
    everyone_is_silent(world);
}

static void a_room_hears_bytes(void **state)
{
    struct world *world = *state;
    struct member *members = world->members;

    for (int from = 0; from < 4; from++) {
        member_say_bytes(&members[from], "{'event':'chat'}", bytes,
                         sizeof bytes);
        member_expect_silence(&members[from]);
        for (int to = ALICE; to <= CAROL; to++) {
            if (to != from) {
                member_expect_bytes(&members[to],
                                    "{'event':'chat','room':'lobby'}", bytes,
                                    sizeof bytes);
            }
        }
    }
    everyone_is_silent(world);
}

static void all_but_the_sender(void **state)
{
    struct world *world = *state;

    for (int from = 0; from < 4; from++) {
        member_say(&world->members[from], "{'event':'all','data':%d}", from);
        member_expect_silence(&world->members[from]);
        for (int to = 0; to < 4; to++) {
            if (to != from) {
                member_expect(&world->members[to], "{'event':'all','data':%d}",
                              from);
            }
        }
    }
    everyone_is_silent(world);
}

static void all_and_the_sender(void **state)
{
    struct world *world = *state;

    member_say_bytes(&world->members[BOB], "{'event':'everyone'}", bytes,
                     sizeof bytes);
    for (int to = 0; to < 4; to++) {
        member_expect_bytes(&world->members[to], "{'event':'everyone'}", bytes,
                            sizeof bytes);
    }
    everyone_is_silent(world);
}

static void only_the_one(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 4; i++) {
        member_say(&world->members[i], "{'event':'back','data':[%d]}", i);
        member_expect(&world->members[i], "{'event':'back','data':[%d]}", i);
        member_say_bytes(&world->members[i], "{'event':'back'}", "", 0);
        member_expect_bytes(&world->members[i], "{'event':'back'}", "", 0);
        everyone_is_silent(world);
    }
}

static void only_the_one_with_the_id(void **state)
{
    struct world *world = *state;

    for (int to = 0; to < 4; to++) {
        member_say(&world->members[ALICE], "{'event':'whisper','data':'%s'}",
                   world->members[to].id);
        member_expect(&world->members[to], "{'event':'hey','data':null}");
        everyone_is_silent(world);
    }
}

static void all_in_a_room_but_some(void **state)
{
    struct world *world = *state;

    member_say(&world->members[ALICE], "{'event':'without','data':'%s'}",
               world->members[BOB].id);
    member_expect(&world->members[CAROL],
                  "{'event':'without','room':'lobby','data':'%s'}",
                  world->members[BOB].id);
    everyone_is_silent(world);
}

/* --- Sent by clients to rooms -------------------------------------------- */

static void members_publish_by_themselves(void **state)
{
    struct world *world = *state;
    struct member *members = world->members;

    for (int from = ALICE; from <= CAROL; from++) {
        member_say(&members[from],
                   "{'event':'chat','room':'lobby','id':%d,'data':'hi'}", from);
        member_expect(&members[from], "{'event':'peal:ok','id':%d}", from);
        for (int to = ALICE; to <= CAROL; to++) {
            if (to != from) {
                member_expect(&members[to],
                              "{'event':'chat','room':'lobby','data':'hi'}");
            }
        }
        member_say_bytes(&members[from], "{'event':'b','room':'lobby','x':[]}",
                         bytes, sizeof bytes);
        for (int to = ALICE; to <= CAROL; to++) {
            if (to != from) {
                member_expect_bytes(&members[to],
                                    "{'event':'b','room':'lobby'}", bytes,
                                    sizeof bytes);
            }
        }
    }
    everyone_is_silent(world);
}

static void outsiders_may_not(void **state)
{
    struct world *world = *state;

    member_say(&world->members[OUTSIDER],
               "{'event':'chat','room':'lobby','id':'x','data':1}");
    member_expect_failure(&world->members[OUTSIDER], "\"x\"", 102);
    member_say(&world->members[ALICE],
               "{'event':'chat','room':'elsewhere','data':1}");
    member_expect_failure(&world->members[ALICE], NULL, 102);
    everyone_is_silent(world);
}

static void who_has_left_hears_nothing(void **state)
{
    struct world *world = *state;
    struct member *members = world->members;

    member_say(&members[BOB],
               "{'event':'peal:leave','id':1,'data':{'room':'lobby'}}");
    member_expect(&members[BOB], "{'event':'peal:ok','id':1}");
    member_say(&members[ALICE], "{'event':'chat','data':2}");
    member_expect(&members[CAROL], "{'event':'chat','room':'lobby','data':2}");
    everyone_is_silent(world);

    member_join(&members[BOB], "lobby");
    member_join(&members[BOB], "lobby");
    member_say(&members[ALICE], "{'event':'chat','data':3}");
    member_expect(&members[BOB], "{'event':'chat','room':'lobby','data':3}");
    member_expect(&members[CAROL], "{'event':'chat','room':'lobby','data':3}");
    everyone_is_silent(world);
}

/* What nobody's dialect can say is counted for each who misses it. */
static void what_cannot_be_said_is_counted(void **state)
{
    struct peal_event unnamed = peal_text("no name");
    struct world *world = *state;
    uint64_t before = host_stats(&world->host).messages_unsayable;

    CHECK_EQUAL(
        peal_server_broadcast(world->host.server, &unnamed, NULL, 0), 0);
    CHECK_SOON(host_stats(&world->host).messages_unsayable == before + 4);
    everyone_is_silent(world);
}

/* --- The short frames of TCP --------------------------------------------- */

static void tcp_has_short_frames_too(void **state)
{
    struct world *world = *state;
    struct peer *bob = &world->members[BOB].peer;

    tcp_send_text(bob, TCP_JSON_FRAME, "back", "[1]");
    tcp_expect_text(bob, TCP_JSON_FRAME, "back", "[1]");
    tcp_send_text(bob, TCP_JSON_FRAME, "back", "");
    tcp_expect_text(bob, TCP_JSON_FRAME, "back", "");
    tcp_send(bob, TCP_BINARY_FRAME, "back", bytes, sizeof bytes);
    tcp_expect(bob, TCP_BINARY_FRAME, "back", bytes, sizeof bytes);
    tcp_send_text(bob, TCP_PING_FRAME, NULL, "123");
    tcp_expect_text(bob, TCP_PONG_FRAME, "", "123");
    tcp_send_text(bob, TCP_JOIN_FRAME, NULL, "{\"id\":5,\"room\":\"r\"}");
    tcp_expect_text(bob, TCP_ANSWER_FRAME, "", "{\"id\":5}");
    tcp_send_text(bob, TCP_LEAVE_FRAME, NULL, "{\"room\":\"r\",\"id\":\"6\"}");
    tcp_expect_text(bob, TCP_ANSWER_FRAME, "", "{\"id\":\"6\"}");
    tcp_send_text(bob, TCP_REQUEST_FRAME, "all", "{\"id\":7,\"data\":[]}");
    tcp_expect_text(bob, TCP_ANSWER_FRAME, "", "{\"id\":7}");
    for (int to = 0; to < 4; to++) {
        if (to != BOB) {
            member_expect(&world->members[to], "{'event':'all','data':[]}");
        }
    }
    everyone_is_silent(world);
}

/* --- Lists --------------------------------------------------------------- */

static bool count_room(const char *room, size_t members, void *user)
{
    size_t *found = user;

    if (strcmp(room, "lobby") == 0) {
        *found = members;
    }
    return true;
}

static void lists_tell_who_is_there(void **state)
{
    struct world *world = *state;
    struct peal_server *server = world->host.server;
    struct peal_client_ref refs[8];
    size_t found = 0;

    CHECK_EQUAL(peal_server_clients(server, refs, 8), 4);
    CHECK_EQUAL(peal_server_clients(server, NULL, 0), 4);
    CHECK_EQUAL(peal_server_members(server, "lobby", refs, 2), 3);
    CHECK_EQUAL(peal_server_members(server, "nowhere", refs, 2), 0);
    CHECK_EQUAL(peal_server_rooms(server, count_room, &found), 0);
    CHECK_EQUAL(found, 3);
    for (int i = 0; i < 4; i++) {
        CHECK(peal_server_find(server, world->members[i].id).value != 0);
    }
    CHECK_EQUAL(peal_server_find(server, "nobody").value, 0);
    CHECK_EQUAL(host_stats(&world->host).ws_clients, 2);
    CHECK_EQUAL(host_stats(&world->host).tcp_clients, 2);
    CHECK_EQUAL(host_stats(&world->host).rooms, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_room_hears_json),
        cmocka_unit_test(a_message_without_data_has_none),
        cmocka_unit_test(a_room_hears_bytes),
        cmocka_unit_test(all_but_the_sender),
        cmocka_unit_test(all_and_the_sender),
        cmocka_unit_test(only_the_one),
        cmocka_unit_test(only_the_one_with_the_id),
        cmocka_unit_test(all_in_a_room_but_some),
        cmocka_unit_test(members_publish_by_themselves),
        cmocka_unit_test(outsiders_may_not),
        cmocka_unit_test(who_has_left_hears_nothing),
        cmocka_unit_test(what_cannot_be_said_is_counted),
        cmocka_unit_test(tcp_has_short_frames_too),
        cmocka_unit_test(lists_tell_who_is_there),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
