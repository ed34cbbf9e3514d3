/*
 * Goal: what an application does to a client from inside its callbacks is done
 * when the function returns: rooms, rates, and what a client may publish.
 *
 * Method: a handler that does what its event says, and answers with what it has
 * been told.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/member.h"

#include <peal/policy.h>

#include <stdio.h>
#include <string.h>

static struct host host;

static int act(struct peal_client *client, struct peal_slice what)
{
    const struct peal_rate one = {
        .capacity = 1, .refill = 1, .refill_ms = 2592000000u};

    if (peal_slice_equal(what, peal_slice("\"join\""))) {
        CHECK_EQUAL(peal_client_join(client, ""), PEAL_EINVAL);
        return peal_client_join(client, "room");
    }
    if (peal_slice_equal(what, peal_slice("\"leave\""))) {
        return peal_client_leave(client, "room");
    }
    if (peal_slice_equal(what, peal_slice("\"limit\""))) {
        return peal_client_set_rate(client, &one);
    }
    CHECK(!"something that it knows");
}

/* Answers [what was returned, whether it is in the room, how many it is in]. */
static void on_act(struct peal_client *from, const struct peal_event *event,
                   struct peal_request request, void *user)
{
    const char *rooms[4];
    char answer[64];
    int rc = act(from, event->data);

    (void)user;
    snprintf(answer, sizeof answer, "[%d,%s,%zu]", rc,
             peal_client_is_in(from, "room") ? "true" : "false",
             peal_client_rooms(from, rooms, 4));
    CHECK_EQUAL(peal_request_answer(request, answer), 0);
}

static int on_publish(struct peal_client *client,
                      const struct peal_event *event, void *user)
{
    CHECK(user == &host && peal_client_is_in(client, "room"));
    CHECK(peal_slice_equal(event->room, peal_slice("room")));
    return peal_slice_equal(event->name, peal_slice("secret")) ? PEAL_EREFUSED
                                                               : 0;
}

/* Each code of an error is that of its reason. */
static int on_join(struct peal_client *client, struct peal_slice room,
                   void *user)
{
    CHECK(user == &host && client != NULL);
    return peal_slice_equal(room, peal_slice("vault"))   ? PEAL_EACCESS
           : peal_slice_equal(room, peal_slice("party")) ? PEAL_EREFUSED
           : peal_slice_equal(room, peal_slice("full"))  ? PEAL_ELIMIT
           : peal_slice_equal(room, peal_slice("odd"))   ? PEAL_EINVAL
           : peal_slice_equal(room, peal_slice("down"))  ? PEAL_ETIMEOUT
                                                         : 0;
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on_request(server, "act", on_act, NULL), 0);
}

static void expect_act(struct member *member, const char *what,
                       const char *answer)
{
    member_say(member, "{'event':'act','id':1,'data':'%s'}", what);
    member_expect(member, "{'event':'peal:ok','id':1,'data':%s}", answer);
}

static void rooms_change_at_once(void **state)
{
    struct member member;

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        uint64_t uptime_ms;

        host_start(&host, NULL, setup);
        uptime_ms = host_stats(&host).uptime_ms;
        member_open(&member, host_address(&host, is_tcp), is_tcp);
        expect_act(&member, "leave", "[-8,false,0]");
        expect_act(&member, "join", "[0,true,1]");
        expect_act(&member, "join", "[0,true,1]");
        CHECK_EQUAL(peal_server_members(host.server, "room", NULL, 0), 1);
        expect_act(&member, "leave", "[0,false,0]");
        CHECK_EQUAL(peal_server_members(host.server, "room", NULL, 0), 0);
        expect_act(&member, "leave", "[-8,false,0]");
        member_close(&member);
        CHECK_SOON(host_stats(&host).uptime_ms > uptime_ms);
        host_stop(&host);
    }
}

/* From the next message on. */
static void rates_change_at_once(void **state)
{
    struct member member;

    (void)state;
    host_start(&host, NULL, setup);
    member_open(&member, host.ws, false);
    expect_act(&member, "limit", "[0,false,0]");
    expect_act(&member, "join", "[0,true,1]");
    member_say(&member, "{'event':'act','id':2,'data':'join'}");
    member_expect_failure(&member, "2", 110);
    CHECK_EQUAL(host_stats(&host).refused_messages, 1);
    member_close(&member);
    host_stop(&host);
}

static void what_may_be_published_is_asked(void **state)
{
    struct peal_server_options options = {
        .clients_may_join = true,
        .on_publish = on_publish,
        .user = &host,
    };
    struct member members[2];

    (void)state;
    host_start(&host, &options, setup);
    for (int i = 0; i < 2; i++) {
        member_open(&members[i], host_address(&host, i == 1), i == 1);
        member_join(&members[i], "room");
    }
    for (int i = 0; i < 2; i++) {
        member_say(&members[i],
                   "{'event':'secret','room':'room','id':1,'data':1}");
        member_expect_failure(&members[i], "1", 108);
        member_say(&members[i],
                   "{'event':'news','room':'room','id':2,'data':2}");
        member_expect(&members[i], "{'event':'peal:ok','id':2}");
        member_expect(&members[1 - i],
                      "{'event':'news','room':'room','data':2}");
        member_expect_silence(&members[1 - i]);
    }
    for (int i = 0; i < 2; i++) {
        member_close(&members[i]);
    }
    host_stop(&host);
}

/* on_join decides alone: without it nobody joins by themselves. */
static void who_may_join_is_asked(void **state)
{
    static const struct {
        const char *room;
        int code;
    } refused[] = {
        {"vault", 102}, {"party", 108}, {"full", 109},
        {"odd", 104},   {"down", 107},
    };
    struct peal_server_options options = {.on_join = on_join, .user = &host};
    struct member member;

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        options.clients_may_join = is_tcp == 1;
        host_start(&host, &options, setup);
        member_open(&member, host_address(&host, is_tcp), is_tcp);
        member_join(&member, "lobby");
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
            member_say(&member,
                       "{'event':'peal:join','id':1,'data':{'room':'%s'}}",
                       refused[i].room);
            member_expect_failure(&member, "1", refused[i].code);
        }
        CHECK_EQUAL(host_stats(&host).rooms, 1);
        CHECK_EQUAL(host_stats(&host).refused_rooms, 0);
        member_close(&member);
        host_stop(&host);
    }
    host_start(&host, NULL, setup);
    member_open(&member, host.ws, false);
    member_say(&member, "{'event':'peal:join','id':1,'data':{'room':'a'}}");
    member_expect_failure(&member, "1", 102);
    member_close(&member);
    host_stop(&host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rooms_change_at_once),
        cmocka_unit_test(rates_change_at_once),
        cmocka_unit_test(what_may_be_published_is_asked),
        cmocka_unit_test(who_may_join_is_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
