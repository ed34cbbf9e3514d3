/*
 * Goal: a limiter of the application's that takes its time: its message waits
 * as it was sent, those behind it wait in order, nobody else does; whatever
 * comes first, the decision, the deadline, the end of the client or of the
 * server, ends it once.
 *
 * Method: messages named "later", and what has no name where a test says so,
 * are put off; tickets are decided by the test's thread, by another client's
 * handler, or by nobody.
 */
#include "support/suite.h"

#include <peal/policy.h>

#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define RATE_LIMITED 110

static struct host host;
static _Atomic int handled;
static _Atomic bool puts_off_nameless;

#define TICKETS_MAX 64

static struct {
    pthread_mutex_t lock;
    struct peal_ticket tickets[TICKETS_MAX];
    int count;
} asked = {.lock = PTHREAD_MUTEX_INITIALIZER};

static enum peal_verdict limit_message(struct peal_client *client,
                                       const struct peal_event *event,
                                       uint32_t cost, struct peal_ticket ticket,
                                       void *user)
{
    bool is_later = event->name.size == 0
                        ? atomic_load(&puts_off_nameless)
                        : peal_slice_equal(event->name, peal_slice("later"));

    CHECK(user == &host);
    CHECK_EQUAL(peal_client_ref(client).value, ticket.client.value);
    CHECK_EQUAL(cost, 1);
    if (peal_slice_equal(event->name, peal_slice("no"))) {
        return PEAL_REFUSE;
    }
    if (!is_later) {
        return PEAL_ALLOW;
    }
    pthread_mutex_lock(&asked.lock);
    CHECK(asked.count < TICKETS_MAX);
    asked.tickets[asked.count++] = ticket;
    pthread_mutex_unlock(&asked.lock);
    return PEAL_LATER;
}

static int asked_count(void)
{
    int count;

    pthread_mutex_lock(&asked.lock);
    count = asked.count;
    pthread_mutex_unlock(&asked.lock);
    return count;
}

static struct peal_ticket asked_ticket(int index)
{
    struct peal_ticket ticket;

    CHECK_SOON(asked_count() > index);
    pthread_mutex_lock(&asked.lock);
    ticket = asked.tickets[index];
    pthread_mutex_unlock(&asked.lock);
    return ticket;
}

/* What comes back is what has arrived. */
static void on_any(struct peal_client *from, const struct peal_event *event,
                   void *user)
{
    (void)user;
    if (event->data.size > 0) {
        CHECK_EQUAL(peal_client_emit(from, event), 0);
    }
    atomic_fetch_add(&handled, 1);
}

/* Decides the first ticket on its loop: well, and then once more. */
static void on_decide(struct peal_client *from, const struct peal_event *event,
                      void *user)
{
    struct peal_ticket ticket = asked.tickets[0];

    (void)from;
    (void)event;
    (void)user;
    ticket.value++;
    CHECK_EQUAL(peal_ticket_decide(ticket, PEAL_ALLOW), PEAL_EGONE);
    ticket.value--;
    CHECK_EQUAL(peal_ticket_decide(ticket, PEAL_ALLOW), 0);
    CHECK_EQUAL(peal_ticket_decide(ticket, PEAL_ALLOW), PEAL_EGONE);
}

/* Closes whose message waits, and decides that it may pass. */
static void on_close(struct peal_client *from, const struct peal_event *event,
                     void *user)
{
    struct peal_ticket ticket = asked.tickets[0];

    (void)event;
    (void)user;
    CHECK_EQUAL(peal_server_close(peal_client_server(from), ticket.client, 4000,
                                  "kicked"),
                0);
    CHECK_EQUAL(peal_ticket_decide(ticket, PEAL_ALLOW), PEAL_EGONE);
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on_any(server, on_any, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "decide", on_decide, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "close", on_close, NULL), 0);
}

static void begin(struct peal_server_options options)
{
    static struct peal_hooks hooks = {
        .size = sizeof hooks,
        .limit_message = limit_message,
    };

    asked.count = 0;
    atomic_store(&handled, 0);
    atomic_store(&puts_off_nameless, false);
    options.hooks = &hooks;
    options.clients_may_join = true;
    options.clients_may_publish = true;
    options.user = &host;
    host_start(&host, &options, setup);
}

/* --- Waiting -------------------------------------------------------------- */

static void test_a_limiter_that_takes_its_time(void **state)
{
    struct member member;
    struct member other;

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        begin((struct peal_server_options){.loops = 2,
                                           .metrics_path = "/metrics"});
        member_open(&member, host_address(&host, is_tcp), is_tcp);
        member_open(&other, host_address(&host, is_tcp), is_tcp);
        member_ask_too_much(&member, "no", 1);
        /* What comes behind it waits, in order; others do not. */
        member_say(&member, "{'event':'later','id':'%040d'}", 0);
        for (int i = 2; i < 20; i++) {
            member_say(&member, "{'event':'x','id':%d}", i);
        }
        (void)asked_ticket(0);
        for (int i = 0; i < 5; i++) {
            member_ask(&other, "x", i);
        }
        CHECK_EQUAL(atomic_load(&handled), 5);
        CHECK_SOON(host_stats(&host).decisions_pending == 1);
        CHECK_EQUAL(peal_ticket_decide(asked_ticket(0), PEAL_LATER),
                    PEAL_EINVAL);
        CHECK_EQUAL(peal_ticket_decide(asked_ticket(0), PEAL_ALLOW), 0);
        member_expect(&member, "{'event':'peal:ok','id':'%040d'}", 0);
        for (int i = 2; i < 20; i++) {
            member_expect(&member, "{'event':'peal:ok','id':%d}", i);
        }
        /* A second decision has nothing to decide. */
        (void)peal_ticket_decide(asked_ticket(0), PEAL_REFUSE);
        member_say(&member, "{'event':'later','id':30}");
        CHECK_EQUAL(peal_ticket_decide(asked_ticket(1), PEAL_REFUSE), 0);
        member_expect_failure(&member, "30", RATE_LIMITED);
        member_ask(&member, "x", 31);
        CHECK_EQUAL(host_stats(&host).decisions_pending, 0);
        CHECK_EQUAL(http_metric(host.ws, "peal_hook_duration_seconds_count"
                                         "{event=\"message\"}"),
                    2);
        member_close(&member);
        member_close(&other);
        host_stop(&host);
    }
}

static void test_no_decision_is_a_refusal(void **state)
{
    struct member member;

    (void)state;
    begin((struct peal_server_options){.decision_timeout_ms = 20});
    member_open(&member, host.ws, false);
    member_say(&member, "{'event':'later','id':1}");
    member_say(&member, "{'event':'x','id':2}");
    member_expect_failure(&member, "1", RATE_LIMITED);
    member_expect(&member, "{'event':'peal:ok','id':2}");
    (void)peal_ticket_decide(asked_ticket(0), PEAL_ALLOW);
    member_ask(&member, "x", 3);
    CHECK_EQUAL(atomic_load(&handled), 2);
    member_close(&member);
    host_stop(&host);
}

/* Its data, bytes, room and answers are as they were sent. */
static void test_what_waits_is_whole(void **state)
{
    struct member members[2];

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        begin((struct peal_server_options){.loops = 2});
        for (int i = 0; i < 2; i++) {
            member_open(&members[i], host_address(&host, is_tcp), is_tcp);
            member_join(&members[i], "a");
        }
        member_say(&members[0], "{'event':'later','data':[1,'two']}");
        CHECK_EQUAL(peal_ticket_decide(asked_ticket(0), PEAL_ALLOW), 0);
        member_expect(&members[0], "{'event':'later','data':[1,'two']}");
        member_say_bytes(&members[0], "{'event':'later'}", "\0\xff", 2);
        CHECK_EQUAL(peal_ticket_decide(asked_ticket(1), PEAL_ALLOW), 0);
        member_expect_bytes(&members[0], "{'event':'later'}", "\0\xff", 2);
        member_say(&members[0], "{'event':'later','room':'a','data':3}");
        CHECK_EQUAL(peal_ticket_decide(asked_ticket(2), PEAL_ALLOW), 0);
        member_expect(&members[1], "{'event':'later','room':'a','data':3}");
        for (int i = 0; i < 2; i++) {
            member_expect_silence(&members[i]);
            member_close(&members[i]);
        }
        host_stop(&host);
    }
}

static void on_sum(struct peal_client *from, const struct peal_event *event,
                   struct peal_request request, void *user)
{
    (void)from;
    (void)user;
    CHECK_EQUAL(peal_request_answer_event(request, event), 0);
}

static void setup_stelar(struct peal_server *server)
{
    setup(server);
    CHECK_EQUAL(peal_server_on_request(server, "sum", on_sum, NULL), 0);
}

/* A request by the name of its answer; or an event, where nobody has that. */
static void test_stelar_requests_wait(void **state)
{
    static const struct peal_hooks hooks = {
        .size = sizeof hooks,
        .limit_message = limit_message,
    };
    const struct peal_server_options options = {
        .dialect = PEAL_DIALECT_STELAR,
        .hooks = &hooks,
        .user = &host,
    };
    struct peer peer;

    (void)state;
    asked.count = 0;
    host_start(&host, &options, setup_stelar);
    ws_open(&peer, host.ws, "/");
    ws_send_text(&peer, "{\"event\":\"later\",\"data\":[1],"
                        "\"_ackName\":\"sum\",\"_correlationId\":\"c#1\"}");
    CHECK_EQUAL(peal_ticket_decide(asked_ticket(0), PEAL_ALLOW), 0);
    ws_expect_text(&peer, "{\"event\":\"sum\",\"data\":[1],\"_isAck\":true,"
                          "\"_correlationId\":\"c#1\"}");
    ws_send_text(&peer, "{\"event\":\"later\",\"data\":[2],"
                        "\"_ackName\":\"none\",\"_correlationId\":\"c#2\"}");
    CHECK_EQUAL(peal_ticket_decide(asked_ticket(1), PEAL_ALLOW), 0);
    ws_expect_text(&peer, "{\"event\":\"later\",\"data\":[2]}");
    /* It has no errors: a refusal is silence. */
    ws_send_text(&peer, "{\"event\":\"no\",\"data\":[3]}");
    ws_send_text(&peer, "{\"event\":\"x\",\"data\":[4]}");
    ws_expect_text(&peer, "{\"event\":\"x\",\"data\":[4]}");
    ws_goodbye(&peer);
    host_await_empty(&host);
    host_stop(&host);
}

static struct {
    _Atomic int count;
    int status;
    char text[64];
} answered;

static void on_answer(struct peal_client *client,
                      const struct peal_answer *answer, void *user)
{
    CHECK(client != NULL && user == &answered);
    answered.status = answer->status;
    if (answer->status == 0) {
        snprintf(answered.text, sizeof answered.text, "%.*s",
                 (int)answer->event.data.size, answer->event.data.data);
    } else {
        snprintf(answered.text, sizeof answered.text, "%d %s %s",
                 answer->failure.code, answer->failure.name,
                 answer->failure.message);
    }
    atomic_fetch_add(&answered.count, 1);
}

/* Asks the member, whose answer is put off and then let pass. */
static void ask_member(struct member *member, int index, const char *rest)
{
    struct peal_event question = peal_json("question", "1");
    struct peal_client_ref ref = peal_server_find(host.server, member->id);
    unsigned long long id;
    struct heard heard;

    CHECK_EQUAL(peal_server_request(host.server, ref, &question, 0, on_answer,
                                    &answered),
                0);
    CHECK(member_hear(member, &heard));
    CHECK(sscanf(heard.json, "{\"data\":1,\"event\":\"question\",\"id\":%llu}",
                 &id) == 1);
    heard_free(&heard);
    atomic_store(&puts_off_nameless, true);
    member_say(member, "{'id':%llu,%s}", id, rest);
    CHECK_EQUAL(peal_ticket_decide(asked_ticket(index), PEAL_ALLOW), 0);
    CHECK_SOON(atomic_load(&answered.count) == index + 1);
    atomic_store(&puts_off_nameless, false);
}

static void test_answers_wait_too(void **state)
{
    struct member member;

    (void)state;
    begin((struct peal_server_options){.size = 0});
    atomic_store(&answered.count, 0);
    member_open(&member, host.ws, false);
    ask_member(&member, 0, "'event':'peal:answer','data':[7]");
    CHECK_EQUAL(answered.status, 0);
    CHECK(strcmp(answered.text, "[7]") == 0);
    ask_member(&member, 1,
               "'event':'peal:fail','data':{'code':1000,"
               "'name':'tired','message':'Not today'}");
    CHECK_EQUAL(answered.status, PEAL_EREFUSED);
    CHECK(strcmp(answered.text, "1000 tired Not today") == 0);
    member_close(&member);
    host_stop(&host);
}

/*
 * Who waits cannot be heard, and so is not taken for dead, neither then nor
 * when it is over.
 */
static void test_waiting_is_no_silence(void **state)
{
    struct ws_received received;
    struct member member;

    (void)state;
    begin((struct peal_server_options){
        .ping_interval_ms = 50,
        .ping_timeout_ms = 400,
    });
    member_open(&member, host.ws, false);
    ws_send_text(&member.peer, "{\"event\":\"later\",\"id\":1}");
    (void)asked_ticket(0);
    for (int pings = 0; pings < 3; pings++) {
        CHECK(ws_read(&member.peer, &received));
        CHECK_EQUAL(received.first, WS_PING_FRAME);
    }
    CHECK_EQUAL(peal_ticket_decide(asked_ticket(0), PEAL_ALLOW), 0);
    ws_expect_text(&member.peer, "{\"event\":\"peal:ok\",\"id\":1}");
    CHECK(ws_read(&member.peer, &received));
    CHECK_EQUAL(received.first, WS_PING_FRAME);
    member_ask(&member, "x", 2);
    CHECK_EQUAL(host_stats(&host).closed_ping_timeout, 0);
    member_close(&member);
    host_stop(&host);
}

/* --- Deciding ------------------------------------------------------------- */

/* One waits for a decision about what it has said; another is there, too. */
static void begin_waiting(struct member *member, struct member *other,
                          bool is_tcp, const char *text)
{
    begin((struct peal_server_options){.loops = 1});
    member_open(member, host_address(&host, is_tcp), is_tcp);
    member_open(other, host_address(&host, !is_tcp), !is_tcp);
    member_say(member, text);
    (void)asked_ticket(0);
}

static void test_decisions_on_the_loop(void **state)
{
    struct member member;
    struct member other;

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        begin_waiting(&member, &other, is_tcp, "{'event':'later','id':1}");
        member_ask(&other, "decide", 2);
        member_expect(&member, "{'event':'peal:ok','id':1}");
        member_close(&member);
        member_close(&other);
        host_stop(&host);
    }
}

/* It has been closed meanwhile: what waits has no effect any more. */
static void test_closing_who_waits(void **state)
{
    struct member member;
    struct member other;

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        begin_waiting(&member, &other, is_tcp, "{'event':'later'}");
        member_ask(&other, "close", 1);
        member_expect_close(&member, 4000);
        CHECK_EQUAL(atomic_load(&handled), 1); /* "close" */
        member_close(&other);
        host_stop(&host);
    }
}

/* There may be no deadline; and it may begin while the server runs. */
static void test_the_deadline_changes(void **state)
{
    struct peal_server_options options;
    struct member member;

    (void)state;
    begin((struct peal_server_options){.decision_timeout_ms = PEAL_OFF});
    member_open(&member, host.ws, false);
    member_say(&member, "{'event':'later','id':1}");
    (void)asked_ticket(0);
    CHECK(!peer_has_input(&member.peer, 50));
    options = host_config(&host);
    CHECK_EQUAL(options.decision_timeout_ms, PEAL_OFF);
    options.decision_timeout_ms = 20;
    host_update(&host, &options);
    CHECK_EQUAL(peal_ticket_decide(asked_ticket(0), PEAL_ALLOW), 0);
    member_expect(&member, "{'event':'peal:ok','id':1}");
    member_say(&member, "{'event':'later','id':2}");
    member_expect_failure(&member, "2", RATE_LIMITED);
    member_close(&member);
    host_stop(&host);
}

/* Whoever leaves, or is closed, while it waits: nothing is left behind. */
static void test_leaving_while_waiting(void **state)
{
    struct member member;

    (void)state;
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        begin((struct peal_server_options){.loops = 2});
        member_open(&member, host_address(&host, is_tcp), is_tcp);
        member_say(&member, "{'event':'later'}");
        (void)asked_ticket(0);
        peer_reset(&member.peer);
        host_await_empty(&host);
        CHECK_EQUAL(peal_ticket_decide(asked_ticket(0), PEAL_ALLOW), 0);

        member_open(&member, host_address(&host, is_tcp), is_tcp);
        member_say(&member, "{'event':'later'}");
        member_say(&member, "{'event':'x'}");
        CHECK_EQUAL(peal_server_close(host.server, asked_ticket(1).client, 4000,
                                      "kicked"),
                    0);
        member_expect_close(&member, 4000);

        /* A stop does not wait for it. */
        member_open(&member, host_address(&host, is_tcp), is_tcp);
        member_say(&member, "{'event':'later'}");
        (void)asked_ticket(2);
        peal_server_stop(host.server);
        member_expect_close(&member, 1001);
        host_stop(&host);
        CHECK_EQUAL(atomic_load(&handled), 0);
    }
}

struct decider {
    _Atomic bool is_done;
};

/* Decides everything as soon as it is asked, on a thread of its own. */
static void *decide_all(void *argument)
{
    struct decider *decider = argument;
    int next = 0;

    while (!atomic_load(&decider->is_done)) {
        if (asked_count() > next) {
            CHECK_EQUAL(peal_ticket_decide(asked_ticket(next++), PEAL_ALLOW),
                        0);
        } else {
            check_breathe();
        }
    }
    return NULL;
}

static void test_decisions_race_with_their_making(void **state)
{
    struct decider decider = {false};
    struct member member;
    pthread_t thread;

    (void)state;
    begin((struct peal_server_options){.loops = 2});
    CHECK_EQUAL(pthread_create(&thread, NULL, decide_all, &decider), 0);
    member_open(&member, host.ws, false);
    for (int i = 0; i < TICKETS_MAX; i++) {
        member_say(&member, "{'event':'later','id':%d}", i);
    }
    for (int i = 0; i < TICKETS_MAX; i++) {
        member_expect(&member, "{'event':'peal:ok','id':%d}", i);
    }
    atomic_store(&decider.is_done, true);
    pthread_join(thread, NULL);
    member_close(&member);
    host_stop(&host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_limiter_that_takes_its_time),
        cmocka_unit_test(test_no_decision_is_a_refusal),
        cmocka_unit_test(test_what_waits_is_whole),
        cmocka_unit_test(test_stelar_requests_wait),
        cmocka_unit_test(test_answers_wait_too),
        cmocka_unit_test(test_waiting_is_no_silence),
        cmocka_unit_test(test_decisions_on_the_loop),
        cmocka_unit_test(test_closing_who_waits),
        cmocka_unit_test(test_the_deadline_changes),
        cmocka_unit_test(test_leaving_while_waiting),
        cmocka_unit_test(test_decisions_race_with_their_making),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
