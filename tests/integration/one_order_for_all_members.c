/*
 * Goal: with many loops, every member of a room sees the same messages in the
 * same order, whoever publishes on whatever loop or thread; a member that has
 * joined misses nothing that is published after that; and anybody may ask who
 * is there meanwhile.
 *
 * Method: clients spread over 8 loops, several publishers among them and two
 * threads of the application, all hammering the same rooms, while other threads
 * query the server and clients come and go. Each publisher numbers its
 * messages. Every member writes down what it hears; then the lists are
 * compared. Made to run under ThreadSanitizer.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/member.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOPS 8
#define ROOMS 3
#define MEMBERS 24
#define CLIENT_PUBLISHERS 4
#define THREAD_PUBLISHERS 2
#define PUBLISHERS (CLIENT_PUBLISHERS + THREAD_PUBLISHERS)

/* Messages of each publisher to each room. */
static int messages_each(void)
{
    return check_is_slow_build() ? 100 : 1000;
}

static struct host host;
static _Atomic bool is_over;

/* --- Members that write down what they hear ------------------------------ */

struct listener {
    struct member member;
    pthread_t thread;
    int room;
    int expected;
    int count;
    int *heard; /* publisher << 20 | number */
};

static int parse_message(const char *json, int *room)
{
    int publisher;
    int number;
    int fields =
        sscanf(json, "{\"data\":[%d,%d],\"event\":\"n\",\"room\":\"%d\"}",
               &publisher, &number, room);

    if (fields != 3) {
        fprintf(stderr, "heard %s\n", json);
    }
    CHECK_EQUAL(fields, 3);
    CHECK(publisher >= 0 && publisher < PUBLISHERS);
    return publisher << 20 | number;
}

static void *listen(void *argument)
{
    struct listener *listener = argument;

    while (listener->count < listener->expected) {
        struct heard heard;
        int room;

        CHECK(member_hear(&listener->member, &heard));
        listener->heard[listener->count++] = parse_message(heard.json, &room);
        CHECK_EQUAL(room, listener->room);
        heard_free(&heard);
    }
    return NULL;
}

static void listeners_start(struct listener *listeners)
{
    for (int i = 0; i < MEMBERS; i++) {
        struct listener *listener = &listeners[i];
        char room[16];

        *listener = (struct listener){
            .room = i % ROOMS,
            .expected = messages_each() * PUBLISHERS,
        };
        listener->heard =
            calloc((size_t)listener->expected, sizeof(*listener->heard));
        CHECK(listener->heard != NULL);
        member_open(&listener->member, host_address(&host, i % 2 == 1),
                    i % 2 == 1);
        snprintf(room, sizeof room, "%d", listener->room);
        member_join(&listener->member, room);
        CHECK_EQUAL(pthread_create(&listener->thread, NULL, listen, listener),
                    0);
    }
}

/* Each has heard all of each publisher, in the order of its numbers. */
static void check_complete(const struct listener *listener)
{
    int next[PUBLISHERS] = {0};

    for (int i = 0; i < listener->count; i++) {
        int publisher = listener->heard[i] >> 20;

        CHECK_EQUAL(listener->heard[i] & 0xfffff, next[publisher]);
        next[publisher]++;
    }
    for (int i = 0; i < PUBLISHERS; i++) {
        CHECK_EQUAL(next[i], messages_each());
    }
}

static void listeners_compare(struct listener *listeners)
{
    for (int i = 0; i < MEMBERS; i++) {
        pthread_join(listeners[i].thread, NULL);
        member_expect_silence(&listeners[i].member);
        check_complete(&listeners[i]);
        /* The first member of a room is the measure of the others. */
        CHECK(memcmp(listeners[i].heard, listeners[i % ROOMS].heard,
                     (size_t)listeners[i].expected * sizeof(int)) == 0);
    }
}

static void listeners_close(struct listener *listeners)
{
    for (int i = 0; i < MEMBERS; i++) {
        member_close(&listeners[i].member);
        free(listeners[i].heard);
    }
}

/* --- Publishers ---------------------------------------------------------- */

struct publisher {
    int index;
    pthread_t thread;
    struct member member;
};

/* A client on some loop; it is no member, so it hears nothing. */
static void *publish_as_client(void *argument)
{
    struct publisher *publisher = argument;

    for (int i = 0; i < messages_each(); i++) {
        for (int room = 0; room < ROOMS; room++) {
            member_say(&publisher->member,
                       "{'event':'n','room':'%d','data':[%d,%d]}", room,
                       publisher->index, i);
        }
    }
    return NULL;
}

/* A thread of the application; when the way is full, it tries again. */
static void *publish_as_thread(void *argument)
{
    struct publisher *publisher = argument;

    for (int i = 0; i < messages_each(); i++) {
        for (int room = 0; room < ROOMS; room++) {
            char json[64];
            char name[16];
            struct peal_event event;
            int rc;

            snprintf(json, sizeof json, "[%d,%d]", publisher->index, i);
            snprintf(name, sizeof name, "%d", room);
            event = peal_json("n", json);
            while ((rc = peal_server_room_emit(host.server, name, &event, NULL,
                                               0)) == PEAL_EFULL) {
                check_breathe();
            }
            CHECK_EQUAL(rc, 0);
        }
    }
    return NULL;
}

static void publishers_start(struct publisher *publishers)
{
    for (int i = 0; i < PUBLISHERS; i++) {
        struct publisher *publisher = &publishers[i];
        bool is_client = i < CLIENT_PUBLISHERS;

        publisher->index = i;
        if (is_client) {
            member_open(&publisher->member, host_address(&host, i % 2 == 1),
                        i % 2 == 1);
        }
        CHECK_EQUAL(
            pthread_create(&publisher->thread, NULL,
                           is_client ? publish_as_client : publish_as_thread,
                           publisher),
            0);
    }
}

static void publishers_stop(struct publisher *publishers)
{
    for (int i = 0; i < PUBLISHERS; i++) {
        pthread_join(publishers[i].thread, NULL);
        if (i < CLIENT_PUBLISHERS) {
            member_expect_silence(&publishers[i].member);
            member_close(&publishers[i].member);
        }
    }
}

/* --- Those who ask, and those who come and go ---------------------------- */

static bool see_room(const char *room, size_t members, void *user)
{
    size_t *rooms = user;

    CHECK(room[0] != '\0');
    CHECK(members > 0 && members <= 2 * MEMBERS);
    (*rooms)++;
    return true;
}

static void *ask(void *argument)
{
    struct listener *listeners = argument;

    while (!atomic_load(&is_over)) {
        struct peal_client_ref refs[4 * MEMBERS];
        size_t rooms = 0;

        CHECK(peal_server_clients(host.server, refs, 4 * MEMBERS) >= MEMBERS);
        CHECK(peal_server_members(host.server, "0", refs, 4 * MEMBERS) >=
              MEMBERS / ROOMS);
        CHECK_EQUAL(peal_server_rooms(host.server, see_room, &rooms), 0);
        CHECK(rooms >= ROOMS);
        CHECK(peal_server_find(host.server, listeners[3].member.id).value != 0);
        CHECK(host_stats(&host).clients >= MEMBERS);
        CHECK(host_stats(&host).rooms >= ROOMS);
        check_breathe();
    }
    return NULL;
}

/*
 * Joins, and from then on hears without a gap: once a publisher has been heard,
 * all of its messages follow.
 */
static void *come_and_go(void *argument)
{
    int turn = 0;

    (void)argument;
    while (!atomic_load(&is_over)) {
        int next[PUBLISHERS];
        struct member member;
        bool is_tcp = turn++ % 2 == 1;

        memset(next, 0xff, sizeof next);
        member_open(&member, host_address(&host, is_tcp), is_tcp);
        member_say(&member, "{'event':'peal:join','id':1,'data':{'room':'%d'}}",
                   turn % ROOMS);
        for (int i = 0; i < 50 && peer_has_input(&member.peer, 10); i++) {
            struct heard heard;
            int room;

            CHECK(member_hear(&member, &heard));
            if (strstr(heard.json, "peal:ok") == NULL) {
                int message = parse_message(heard.json, &room);
                int *expected = &next[message >> 20];

                CHECK_EQUAL(room, turn % ROOMS);
                CHECK(*expected < 0 || (message & 0xfffff) == *expected);
                *expected = (message & 0xfffff) + 1;
            }
            heard_free(&heard);
        }
        if (turn % 3 == 0) {
            peer_reset(&member.peer);
        } else {
            peer_close(&member.peer);
        }
    }
    return NULL;
}

/* Commands for clients that may be gone, from outside of all loops. */
static void *command(void *argument)
{
    (void)argument;
    while (!atomic_load(&is_over)) {
        struct peal_client_ref refs[4 * MEMBERS];
        size_t count = peal_server_clients(host.server, refs, 4 * MEMBERS);
        struct peal_event event = peal_json("unheard", "1");

        for (size_t i = 0; i < count && i < 4 * MEMBERS; i++) {
            int rc = peal_server_join(host.server, refs[i], "everybody");

            CHECK(rc == 0 || rc == PEAL_EGONE || rc == PEAL_EFULL);
            rc = peal_server_leave(host.server, refs[i], "everybody");
            CHECK(rc == 0 || rc == PEAL_EGONE || rc == PEAL_EFULL);
        }
        CHECK(peal_server_room_emit(host.server, "nobody", &event, NULL, 0) <=
              0);
        check_breathe();
    }
    return NULL;
}

/* --- All together -------------------------------------------------------- */

/* Everybody may publish to any room. */
static int allow(struct peal_client *client, const struct peal_event *event,
                 void *user)
{
    (void)client;
    (void)event;
    (void)user;
    return 0;
}

static void on_noise(struct peal_client *from, const struct peal_event *event,
                     void *user)
{
    (void)from;
    (void)event;
    (void)user;
}

static void set_up_noise(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on(server, "noise", on_noise, NULL), 0);
}

static void start(void)
{
    struct peal_server_options options = {
        .loops = LOOPS,
        .clients_may_join = true,
        .on_publish = allow,
    };

    host_start(&host, &options, set_up_noise);
}

static void stop(void)
{
    host_await_empty(&host);
    CHECK_EQUAL(host_stats(&host).rooms, 0);
    host_stop(&host);
}

static void hammered_rooms_have_one_order(void **state)
{
    void *(*const others[])(void *) = {ask, command, come_and_go, come_and_go};
    struct listener *listeners = calloc(MEMBERS, sizeof(*listeners));
    struct publisher publishers[PUBLISHERS];
    pthread_t threads[ARRAY_SIZE(others)];

    (void)state;
    CHECK(listeners != NULL);
    start();
    listeners_start(listeners);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, others[i], listeners), 0);
    }
    publishers_start(publishers);
    publishers_stop(publishers);
    listeners_compare(listeners);
    atomic_store(&is_over, true);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        pthread_join(threads[i], NULL);
    }
    listeners_close(listeners);
    free(listeners);
    stop();
}

/* --- Members that come and go -------------------------------------------- */

#define WANDERERS 6

/* What has been heard most lately by anybody. */
static _Atomic int last_heard;

/* Nobody is to be a slow reader here; but perhaps nobody listens just now. */
static void wait_a_little(int number)
{
    for (int i = 0; i < 20 && number - atomic_load(&last_heard) > 200; i++) {
        check_breathe();
    }
}

/* Publishes one number after the other, in bursts, until it is over. */
static void *count_up(void *argument)
{
    int number = 0;

    (void)argument;
    while (!atomic_load(&is_over)) {
        char json[32];
        struct peal_event event;

        snprintf(json, sizeof json, "%d", number);
        event = peal_json("n", json);
        if (peal_server_room_emit(host.server, "r", &event, NULL, 0) == 0) {
            number++;
        }
        if (number % 100 == 0) {
            wait_a_little(number);
        }
    }
    return NULL;
}

/* Hears a number and returns it, or -1 for the answer to `id`. */
static int hear_number(struct member *member, const char *id)
{
    struct heard heard;
    int number = -1;

    CHECK(member_hear(member, &heard));
    if (sscanf(heard.json, "{\"data\":%d,\"event\":\"n\"", &number) != 1) {
        if (strstr(heard.json, id) == NULL) {
            fprintf(stderr, "heard %s\n", heard.json);
        }
        CHECK(strstr(heard.json, id) != NULL);
        CHECK(strstr(heard.json, "peal:ok") != NULL);
    } else {
        atomic_store(&last_heard, number);
    }
    heard_free(&heard);
    return number;
}

static size_t put(char *out, const struct member *member, const char *text)
{
    return member->is_tcp
               ? tcp_make(out, TCP_ENVELOPE_FRAME, NULL, text, strlen(text))
               : ws_make(out, WS_TEXT_FRAME, text, strlen(text));
}

/*
 * Leaves, does something else for a moment, and joins again: all in one
 * segment, so that messages from other loops wait until it is in again.
 */
static void leave_and_join(struct member *member)
{
    char bytes[8192];
    size_t size = put(bytes, member,
                      "{\"event\":\"peal:leave\",\"id\":\"out\","
                      "\"data\":{\"room\":\"r\"}}");

    for (int i = 0; i < 100; i++) {
        size += put(bytes + size, member, "{\"event\":\"noise\"}");
    }
    size += put(bytes + size, member,
                "{\"event\":\"peal:join\",\"id\":\"in\","
                "\"data\":{\"room\":\"r\"}}");
    CHECK(size <= sizeof bytes);
    peer_send(&member->peer, bytes, size);
}

/*
 * Each membership hears numbers without a gap. Often nobody else of its loop is
 * in the room, so that the loop is told of messages by fits and starts.
 */
static void *wander(void *argument)
{
    int turns = check_is_slow_build() ? 200 : 1000;
    struct member *member = argument;

    member_join(member, "r");
    for (int i = 0; i < turns; i++) {
        int expected = hear_number(member, "none") + 1;

        leave_and_join(member);
        for (int number; (number = hear_number(member, "out")) >= 0;) {
            CHECK_EQUAL(number, expected);
            expected++;
        }
        CHECK_EQUAL(hear_number(member, "in"), -1);
    }
    return NULL;
}

static void memberships_have_no_gaps(void **state)
{
    struct member members[WANDERERS];
    pthread_t threads[WANDERERS];
    pthread_t publisher;

    (void)state;
    start();
    atomic_store(&is_over, false);
    CHECK_EQUAL(pthread_create(&publisher, NULL, count_up, NULL), 0);
    for (int i = 0; i < WANDERERS; i++) {
        member_open(&members[i], host_address(&host, i % 2 == 1), i % 2 == 1);
        CHECK_EQUAL(pthread_create(&threads[i], NULL, wander, &members[i]), 0);
    }
    for (int i = 0; i < WANDERERS; i++) {
        pthread_join(threads[i], NULL);
        peer_close(&members[i].peer);
    }
    atomic_store(&is_over, true);
    pthread_join(publisher, NULL);
    stop();
}

/* Whoever has been told that it is in hears what is published after that. */
static void a_confirmed_join_misses_nothing(void **state)
{
    int turns = check_is_slow_build() ? 100 : 500;
    struct member publisher;

    (void)state;
    start();
    member_open(&publisher, host.ws, false);
    for (int i = 0; i < turns; i++) {
        struct peal_event event = peal_json("n", "1");
        struct member member;
        char room[16];

        snprintf(room, sizeof room, "%d", i % 20);
        member_open(&member, host_address(&host, i % 2 == 1), i % 2 == 1);
        member_join(&member, room);
        if (i % 3 == 0) {
            CHECK_EQUAL(
                peal_server_room_emit(host.server, room, &event, NULL, 0), 0);
        } else {
            member_say(&publisher, "{'event':'n','room':'%s','data':1}", room);
        }
        member_expect(&member, "{'event':'n','room':'%s','data':1}", room);
        peer_close(&member.peer);
    }
    member_expect_silence(&publisher);
    member_close(&publisher);
    stop();
}

/* Everybody, on each loop, once. */
static void a_broadcast_reaches_every_loop(void **state)
{
    struct peal_event event = peal_json("all", "1");
    struct member members[MEMBERS];

    (void)state;
    start();
    for (int i = 0; i < MEMBERS; i++) {
        member_open(&members[i], host_address(&host, i % 2 == 1), i % 2 == 1);
    }
    for (int i = 0; i < 20; i++) {
        struct peal_client_ref except =
            peal_server_find(host.server, members[i].id);

        CHECK_EQUAL(peal_server_broadcast(host.server, &event, &except, 1), 0);
        for (int k = 0; k < MEMBERS; k++) {
            if (k != i) {
                member_expect(&members[k], "{'event':'all','data':1}");
            }
        }
    }
    for (int i = 0; i < MEMBERS; i++) {
        member_expect_silence(&members[i]);
        member_close(&members[i]);
    }
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hammered_rooms_have_one_order),
        cmocka_unit_test(memberships_have_no_gaps),
        cmocka_unit_test(a_confirmed_join_misses_nothing),
        cmocka_unit_test(a_broadcast_reaches_every_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
