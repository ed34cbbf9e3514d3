/*
 * Goal: every request ends exactly once, on both sides, whatever comes first:
 * the answer, an error, the deadline, or the end of the client.
 *
 * Method: handlers that answer now, later on a thread of the application's own,
 * twice, with an error, or never; clients of both transports that answer the
 * server's requests, refuse them, ignore them or go away. Outcomes are counted
 * in the callbacks.
 */
#include "support/suite.h"

#include "support/handlers.h"
#include "support/host.h"
#include "support/member.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define REQUEST_TIMEOUT_MS 300
#define REQUESTS_MAX 4

/* The request that was left for later, for another thread to answer. */
static struct peal_request left;
static _Atomic bool is_left;

static void on_sum(struct peal_client *from, const struct peal_event *event,
                   struct peal_request request, void *user)
{
    (void)from;
    (void)user;
    CHECK_EQUAL(event->kind, PEAL_JSON);
    CHECK_EQUAL(peal_request_answer(request, "{\"sum\":3}"), 0);
}

static void on_nothing(struct peal_client *from, const struct peal_event *event,
                       struct peal_request request, void *user)
{
    (void)from;
    (void)event;
    (void)user;
    CHECK_EQUAL(peal_request_answer(request, NULL), 0);
}

static void on_twice(struct peal_client *from, const struct peal_event *event,
                     struct peal_request request, void *user)
{
    struct peal_failure failure = {.code = 1000, .name = "late"};

    (void)from;
    (void)event;
    (void)user;
    CHECK_EQUAL(peal_request_answer(request, "{bad"), PEAL_EINVAL);
    failure.message = "\xff";
    CHECK_EQUAL(peal_request_fail(request, &failure), PEAL_EINVAL);
    failure = (struct peal_failure){.code = 1000, .name = "\xff"};
    CHECK_EQUAL(peal_request_fail(request, &failure), PEAL_EINVAL);
    failure = (struct peal_failure){.code = -1, .name = "late"};
    CHECK_EQUAL(peal_request_fail(request, &failure), PEAL_EINVAL);
    failure.code = 1000;
    CHECK_EQUAL(peal_request_answer(request, "1"), 0);
    CHECK_EQUAL(peal_request_answer(request, "2"), PEAL_EGONE);
    CHECK_EQUAL(peal_request_fail(request, &failure), PEAL_EGONE);
}

static void on_fail(struct peal_client *from, const struct peal_event *event,
                    struct peal_request request, void *user)
{
    struct peal_failure failure = {
        .code = 1234,
        .name = "no_such_user",
        .message = "Nobody is called \"x\"\n",
        .temporary = true,
    };

    (void)from;
    (void)event;
    (void)user;
    CHECK_EQUAL(peal_request_fail(request, &failure), 0);
}

static void on_later(struct peal_client *from, const struct peal_event *event,
                     struct peal_request request, void *user)
{
    (void)from;
    (void)event;
    (void)user;
    left = request;
    atomic_store(&is_left, true);
}

static void on_plain(struct peal_client *from, const struct peal_event *event,
                     void *user)
{
    (void)from;
    (void)event;
    (void)user;
}

/* --- What the server asks ------------------------------------------------ */

/* Outcomes of the server's requests, by status. */
static _Atomic int outcomes;
static _Atomic int last_status;
static char last_data[64];
static struct peal_failure last_failure;
static char last_name[64];

static void on_answer(struct peal_client *client,
                      const struct peal_answer *answer, void *user)
{
    CHECK(user == &outcomes);
    CHECK((client == NULL) == (answer->status == PEAL_EGONE));
    last_data[0] = '\0';
    if (answer->status == 0) {
        CHECK(answer->event.data.size < sizeof last_data);
        if (answer->event.data.size > 0) {
            memcpy(last_data, answer->event.data.data, answer->event.data.size);
        }
        last_data[answer->event.data.size] = '\0';
    }
    if (answer->status == PEAL_EREFUSED) {
        last_failure = answer->failure;
        snprintf(last_name, sizeof last_name, "%s", answer->failure.name);
    }
    atomic_store(&last_status, answer->status);
    atomic_fetch_add(&outcomes, 1);
}

/* Asks its sender as often as the data says. */
static void on_ask_me(struct peal_client *from, const struct peal_event *event,
                      void *user)
{
    struct peal_event question = peal_json("question", "[1]");
    int times = event->data.data[0] - '0';

    (void)user;
    for (int i = 0; i < times; i++) {
        CHECK_EQUAL(peal_client_request(from, &question, REQUEST_TIMEOUT_MS,
                                        on_answer, &outcomes),
                    0);
    }
}

static void on_ask_too_much(struct peal_client *from,
                            const struct peal_event *event, void *user)
{
    struct peal_event question = peal_json("question", NULL);

    (void)event;
    (void)user;
    for (int i = 0; i < REQUESTS_MAX; i++) {
        CHECK_EQUAL(peal_client_request(from, &question, PEAL_OFF, on_answer,
                                        &outcomes),
                    0);
    }
    CHECK_EQUAL(peal_client_request(from, &question, 0, on_answer, &outcomes),
                PEAL_ELIMIT);
}

static void setup(struct peal_server *server)
{
    static const struct {
        const char *name;
        peal_request_function *function;
    } requests[] = {
        {"sum", on_sum},     {"echo", handlers_echo}, {"nothing", on_nothing},
        {"twice", on_twice}, {"fail", on_fail}, {"later", on_later},
        {"never", handlers_never},
    };

    for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
        CHECK_EQUAL(peal_server_on_request(server, requests[i].name,
                                           requests[i].function, NULL),
                    0);
    }
    CHECK_EQUAL(peal_server_on_request(server, "sum", on_sum, NULL),
                PEAL_EEXIST);
    CHECK_EQUAL(peal_server_on(server, "plain", on_plain, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "ask-me", on_ask_me, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "ask-too-much", on_ask_too_much, NULL),
                0);
}

/* --- Each test with one client of each transport ------------------------- */

struct world {
    struct host host;
    struct member members[2];
};

static int start(void **state)
{
    static struct world world;
    static const struct peal_server_options options = {
        .requests_per_client_max = REQUESTS_MAX,
        .request_timeout_ms = REQUEST_TIMEOUT_MS,
    };

    atomic_store(&is_left, false);
    atomic_store(&outcomes, 0);
    host_start(&world.host, &options, setup);
    for (int i = 0; i < 2; i++) {
        member_open(&world.members[i], host_address(&world.host, i == 1),
                    i == 1);
    }
    *state = &world;
    return 0;
}

static int stop(void **state)
{
    struct world *world = *state;

    CHECK_EQUAL(host_stats(&world->host).requests_pending, 0);
    for (int i = 0; i < 2; i++) {
        if (world->members[i].peer.fd >= 0) {
            member_close(&world->members[i]);
        }
    }
    host_stop(&world->host);
    return 0;
}

static void answered_at_once(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 2; i++) {
        struct member *member = &world->members[i];

        member_say(member, "{'event':'sum','id':1,'data':[1,2]}");
        member_expect(member, "{'event':'peal:ok','id':1,'data':{'sum':3}}");
        member_say(member, "{'event':'echo','id':'\\u0041','data':{'x':[]}}");
        member_expect(member, "{'event':'peal:ok','id':'A','data':{'x':[]}}");
        member_say(member, "{'event':'nothing','id':-1.5e3}");
        member_expect(member, "{'event':'peal:ok','id':-1.5e3}");
        member_say_bytes(member, "{'event':'echo','id':2}", "\0\1\xff", 3);
        member_expect_bytes(member, "{'event':'peal:ok','id':2}", "\0\1\xff",
                            3);
        member_expect_silence(member);
    }
}

static void events_with_an_id_are_confirmed(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 2; i++) {
        struct member *member = &world->members[i];

        member_say(member, "{'event':'plain','id':7,'data':1}");
        member_expect(member, "{'event':'peal:ok','id':7}");
        member_say(member, "{'event':'plain','data':1}");
        member_say_bytes(member, "{'event':'plain','id':'b'}", "", 0);
        member_expect(member, "{'event':'peal:ok','id':'b'}");
        member_say(member, "{'event':'plain','id':null}");
        member_expect_silence(member);
    }
}

static void nobody_handles_it(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 2; i++) {
        struct member *member = &world->members[i];

        member_say(member, "{'event':'unheard','id':1}");
        member_expect_failure(member, "1", 101);
        member_say_bytes(member, "{'event':'unheard','id':2}", "x", 1);
        member_expect_failure(member, "2", 101);
        member_say(member, "{'event':'unheard'}");
        member_expect_failure(member, NULL, 101);
        /* A request without an id wants no answer, and has no handler. */
        member_say(member, "{'event':'sum'}");
        member_expect_failure(member, NULL, 101);
        member_expect_silence(member);
    }
}

static void twice_is_once(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 2; i++) {
        member_say(&world->members[i], "{'event':'twice','id':1}");
        member_expect(&world->members[i],
                      "{'event':'peal:ok','id':1,'data':1}");
        member_expect_silence(&world->members[i]);
    }
}

static void failed_with_a_code(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 2; i++) {
        member_say(&world->members[i], "{'event':'fail','id':1}");
        member_expect(&world->members[i],
                      "{'event':'peal:error','id':1,'data':{'code':1234,"
                      "'name':'no_such_user','temporary':true,"
                      "'message':'Nobody is called \\u0022x\\u0022\\n'}}");
        member_expect_silence(&world->members[i]);
    }
}

static void *answer_elsewhere(void *argument)
{
    (void)argument;
    CHECK_SOON(atomic_load(&is_left));
    CHECK_EQUAL(peal_request_answer(left, "nonsense"), PEAL_EINVAL);
    CHECK_EQUAL(peal_request_answer(left, "\"from afar\""), 0);
    /* On its way or gone already: in no case is there a second answer. */
    peal_request_answer(left, "2");
    return NULL;
}

static void answered_by_another_thread(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 2; i++) {
        pthread_t thread;

        atomic_store(&is_left, false);
        CHECK_EQUAL(pthread_create(&thread, NULL, answer_elsewhere, NULL), 0);
        member_say(&world->members[i], "{'event':'later','id':1}");
        member_expect(&world->members[i],
                      "{'event':'peal:ok','id':1,'data':'from afar'}");
        pthread_join(thread, NULL);
        member_expect_silence(&world->members[i]);
    }
}

static void failed_by_another_thread(void **state)
{
    struct world *world = *state;
    struct peal_failure failure = {.code = 2000, .name = "n", .message = "m"};

    member_say(&world->members[0], "{'event':'later','id':1}");
    CHECK_SOON(atomic_load(&is_left));
    CHECK_EQUAL(peal_request_fail(left, &failure), 0);
    member_expect(&world->members[0],
                  "{'event':'peal:error','id':1,'data':{'code':2000,"
                  "'name':'n','temporary':false,'message':'m'}}");
}

/* A request's number is used again some day: it is good for its client only. */
static void not_answered_for_another(void **state)
{
    struct peal_failure failure = {.code = 1000, .name = "n"};
    struct world *world = *state;
    struct peal_request forged;

    member_say(&world->members[0], "{'event':'later','id':1}");
    CHECK_SOON(atomic_load(&is_left));
    forged = left;
    forged.client = peal_server_find(world->host.server, world->members[1].id);
    CHECK_EQUAL(peal_request_answer(forged, "2"), 0);
    CHECK_EQUAL(peal_request_fail(forged, &failure), 0);
    CHECK_EQUAL(peal_request_answer(left, "1"), 0);
    member_expect(&world->members[0], "{'event':'peal:ok','id':1,'data':1}");
    member_expect_silence(&world->members[1]);
}

static void not_answered_in_time(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 2; i++) {
        member_say(&world->members[i], "{'event':'later','id':1}");
        member_expect_failure(&world->members[i], "1", 106);
        /* Too late. */
        peal_request_answer(left, "1");
        member_expect_silence(&world->members[i]);
    }
    CHECK_EQUAL(host_stats(&world->host).requests_timed_out, 2);
}

static void the_client_leaves_first(void **state)
{
    struct world *world = *state;

    member_say(&world->members[0], "{'event':'later','id':1}");
    member_say(&world->members[0], "{'event':'never','id':2}");
    CHECK_SOON(atomic_load(&is_left));
    CHECK_SOON(host_stats(&world->host).requests_pending == 2);
    peer_reset(&world->members[0].peer);
    CHECK_SOON(host_stats(&world->host).clients == 1);
    CHECK_EQUAL(host_stats(&world->host).requests_pending, 0);
    peal_request_answer(left, "1");
    member_expect_silence(&world->members[1]);
    CHECK_EQUAL(host_stats(&world->host).requests_timed_out, 0);
}

static void only_so_many_wait(void **state)
{
    struct world *world = *state;
    struct member *member = &world->members[0];

    for (int i = 0; i < REQUESTS_MAX; i++) {
        member_say(member, "{'event':'never','id':%d}", i);
    }
    member_say(member, "{'event':'never','id':'more'}");
    member_expect_failure(member, "\"more\"", 109);
    CHECK_EQUAL(host_stats(&world->host).refused_requests, 1);
    member_expect_silence(&world->members[1]);
    for (int i = 0; i < REQUESTS_MAX; i++) {
        char id[16];

        snprintf(id, sizeof id, "%d", i);
        member_expect_failure(member, id, 106);
    }
    /* There is room again. */
    member_say(member, "{'event':'sum','id':1}");
    member_expect(member, "{'event':'peal:ok','id':1,'data':{'sum':3}}");
}

/* --- The other way ------------------------------------------------------- */

/* Hears the question and returns its id as raw JSON. */
static void hear_question(struct member *member, char *id, size_t size)
{
    struct heard heard;
    const char *at;

    CHECK(member_hear(member, &heard));
    CHECK(strstr(heard.json, "\"event\":\"question\"") != NULL);
    at = strstr(heard.json, "\"id\":");
    CHECK(at != NULL);
    snprintf(id, size, "%.*s", (int)strcspn(at + 5, ",}"), at + 5);
    heard_free(&heard);
}

static void clients_answer(void **state)
{
    struct world *world = *state;
    char id[64];

    for (int i = 0; i < 2; i++) {
        struct member *member = &world->members[i];

        atomic_store(&outcomes, 0);
        member_say(member, "{'event':'ask-me','data':1}");
        hear_question(member, id, sizeof id);
        member_say(member, "{'event':'peal:answer','id':%s,'data':[true]}", id);
        CHECK_SOON(atomic_load(&outcomes) == 1);
        CHECK_EQUAL(atomic_load(&last_status), 0);
        CHECK(strcmp(last_data, "[true]") == 0);

        /* A second answer, and one to nothing, are counted and no more. */
        member_say(member, "{'event':'peal:answer','id':%s,'data':2}", id);
        member_say(member, "{'event':'peal:answer','id':99999999,'data':2}");
        member_expect_silence(member);
        CHECK_EQUAL(atomic_load(&outcomes), 1);
    }
    CHECK_EQUAL(host_stats(&world->host).messages_invalid, 4);
}

static void clients_answer_with_bytes(void **state)
{
    struct world *world = *state;
    char header[128];
    char id[64];

    for (int i = 0; i < 2; i++) {
        struct member *member = &world->members[i];

        atomic_store(&outcomes, 0);
        member_say(member, "{'event':'ask-me','data':1}");
        hear_question(member, id, sizeof id);
        snprintf(header, sizeof header, "{'event':'peal:answer','id':%s}", id);
        member_say_bytes(member, header, "bytes", 5);
        CHECK_SOON(atomic_load(&outcomes) == 1);
        CHECK_EQUAL(atomic_load(&last_status), 0);
        CHECK(strcmp(last_data, "bytes") == 0);
    }
}

static void clients_refuse(void **state)
{
    struct world *world = *state;
    char id[64];

    for (int i = 0; i < 2; i++) {
        struct member *member = &world->members[i];

        atomic_store(&outcomes, 0);
        member_say(member, "{'event':'ask-me','data':1}");
        hear_question(member, id, sizeof id);
        member_say(member,
                   "{'event':'peal:fail','id':%s,'data':{'code':1001,"
                   "'name':'away','message':'Not here','temporary':true}}",
                   id);
        CHECK_SOON(atomic_load(&outcomes) == 1);
        CHECK_EQUAL(atomic_load(&last_status), PEAL_EREFUSED);
        CHECK_EQUAL(last_failure.code, 1001);
        CHECK(last_failure.temporary);
        CHECK(strcmp(last_name, "away") == 0);
    }
}

static void clients_do_not_answer(void **state)
{
    struct world *world = *state;
    char id[64];

    member_say(&world->members[0], "{'event':'ask-me','data':1}");
    hear_question(&world->members[0], id, sizeof id);
    CHECK_SOON(atomic_load(&outcomes) == 1);
    CHECK_EQUAL(atomic_load(&last_status), PEAL_ETIMEOUT);
    member_say(&world->members[0], "{'event':'peal:answer','id':%s}", id);
    member_expect_silence(&world->members[0]);
    CHECK_EQUAL(atomic_load(&outcomes), 1);
}

static void clients_are_gone(void **state)
{
    struct world *world = *state;
    char id[64];

    for (int i = 0; i < 2; i++) {
        atomic_store(&outcomes, 0);
        member_say(&world->members[i], "{'event':'ask-me','data':3}");
        hear_question(&world->members[i], id, sizeof id);
        peer_reset(&world->members[i].peer);
        CHECK_SOON(atomic_load(&outcomes) == 3);
        CHECK_EQUAL(atomic_load(&last_status), PEAL_EGONE);
    }
    CHECK_EQUAL(atomic_load(&outcomes), 3);
}

static void nobody_answers_for_another(void **state)
{
    struct world *world = *state;
    char id[64];

    member_say(&world->members[0], "{'event':'ask-me','data':1}");
    hear_question(&world->members[0], id, sizeof id);
    member_say(&world->members[1], "{'event':'peal:answer','id':%s}", id);
    member_expect_silence(&world->members[1]);
    CHECK_EQUAL(atomic_load(&outcomes), 0);
    member_say(&world->members[0], "{'event':'peal:answer','id':%s}", id);
    CHECK_SOON(atomic_load(&outcomes) == 1);
    CHECK_EQUAL(atomic_load(&last_status), 0);
}

static void only_so_many_questions(void **state)
{
    struct world *world = *state;
    struct member *member = &world->members[1];
    char id[64];

    member_say(member, "{'event':'ask-too-much'}");
    for (int i = 0; i < REQUESTS_MAX; i++) {
        hear_question(member, id, sizeof id);
    }
    member_expect_silence(member);
    CHECK_EQUAL(host_stats(&world->host).refused_requests, 1);
    CHECK_EQUAL(atomic_load(&outcomes), 0);
    member_close(member);
    CHECK_SOON(atomic_load(&outcomes) == REQUESTS_MAX);
}

static void any_thread_may_ask(void **state)
{
    struct world *world = *state;
    struct peal_server *server = world->host.server;
    struct peal_event question = peal_json("question", "0");
    struct peal_event reserved = peal_json("peal:question", "0");
    struct peal_client_ref nobody = {0};
    struct peal_client_ref ref = peal_server_find(server, world->members[1].id);
    char id[64];

    CHECK_EQUAL(
        peal_server_request(server, ref, &reserved, 0, on_answer, &outcomes),
        PEAL_EINVAL);
    CHECK_EQUAL(
        peal_server_request(server, nobody, &question, 0, on_answer, &outcomes),
        PEAL_EGONE);
    CHECK_EQUAL(
        peal_server_request(server, ref, &question, 0, on_answer, &outcomes),
        0);
    hear_question(&world->members[1], id, sizeof id);
    member_say(&world->members[1], "{'event':'peal:answer','id':%s}", id);
    CHECK_SOON(atomic_load(&outcomes) == 1);
    CHECK_EQUAL(atomic_load(&last_status), 0);

    member_close(&world->members[1]);
    CHECK_SOON(host_stats(&world->host).clients == 1);
    if (peal_server_request(server, ref, &question, 0, on_answer, &outcomes) ==
        0) {
        CHECK_SOON(atomic_load(&outcomes) == 2);
        CHECK_EQUAL(atomic_load(&last_status), PEAL_EGONE);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answered_at_once),         TEST(events_with_an_id_are_confirmed),
        TEST(nobody_handles_it),        TEST(twice_is_once),
        TEST(failed_with_a_code),       TEST(answered_by_another_thread),
        TEST(failed_by_another_thread), TEST(not_answered_for_another),
        TEST(not_answered_in_time),     TEST(the_client_leaves_first),
        TEST(only_so_many_wait),        TEST(clients_answer),
        TEST(clients_answer_with_bytes), TEST(clients_refuse),
        TEST(clients_do_not_answer),    TEST(clients_are_gone),
        TEST(nobody_answers_for_another), TEST(only_so_many_questions),
        TEST(any_thread_may_ask),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
