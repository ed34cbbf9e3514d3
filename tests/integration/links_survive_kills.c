/*
 * Goal: while the server is killed or stopped and started again at random, what
 * links say through their outboxes is heard in order and nothing of it twice,
 * and whatever was not heard was reported to the caller.
 *
 * Method: for each dialect over each transport 100 links send numbered echoes
 * and numbered requests all the time, to a server in a process of its own: this
 * program itself, or examples/stelar_interop. An echo that comes back was
 * heard. In the end each request has had one outcome, and the echoes that are
 * missing are no more than were reported as dropped or unproven.
 *
 * The seed is printed; PEAL_TEST_SEED sets it.
 */
#include "support/suite.h"

#include <peal/server.h>

#include "support/child.h"
#include "support/link.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINKS 100
#define MESSAGES 60
#define RESTARTS 8

/* --- The server of the peal dialect ----------------------------------------
 */

static struct peal_server *served;

static void on_signal(int number)
{
    (void)number;
    peal_server_stop(served);
}

static void on_echo(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)user;
    peal_client_emit(from, event);
}

static void on_sum(struct peal_client *from, const struct peal_event *event,
                   struct peal_request request, void *user)
{
    struct peal_slice value = {NULL, 0};
    double term = 0;
    char answer[64];

    (void)from;
    (void)user;
    CHECK_EQUAL(peal_json_get(event->data, "b", &value), 0);
    CHECK_EQUAL(peal_json_number(value, &term), 0);
    snprintf(answer, sizeof answer, "{\"sum\":%.17g}", term);
    peal_request_answer(request, answer);
}

static int serve(void)
{
    const struct peal_server_options options = {
        .size = sizeof options,
        .ws_listen = "127.0.0.1:0",
        .tcp_listen = "127.0.0.1:0",
        .stop_timeout_ms = 50,
    };
    char ws[PEAL_ADDRESS_MAX];
    char tcp[PEAL_ADDRESS_MAX];

    CHECK_EQUAL(peal_server_new(&served, &options), 0);
    CHECK_EQUAL(peal_server_on(served, "echo", on_echo, NULL), 0);
    CHECK_EQUAL(peal_server_on_request(served, "sum", on_sum, NULL), 0);
    signal(SIGTERM, on_signal);
    peal_server_address(served, 0, ws);
    peal_server_address(served, 1, tcp);
    printf("ready ws=%s tcp=%s\n", ws, tcp);
    fflush(stdout);
    CHECK_EQUAL(peal_server_run(served), 0);
    peal_server_free(served);
    return 0;
}

/* --- Links ------------------------------------------------------------------
 */

struct sender {
    struct peal_link *link;
    int index;
    int next;
    int outcomes;
    int outcome[MESSAGES]; /* 1: none yet */
    int last_answer;       /* the number of the last request answered */
    int last_echo;
    int echoes;
    int emitted;
    int dropped;
    uint64_t unproven;
    int connects;
};

struct sent {
    struct sender *sender;
    int number;
};

static struct scene {
    enum peal_dialect dialect;
    bool is_tcp;
    struct child server;
    struct peal_loop *loop;
    struct peal_link_options options;
    char url[160];
    struct sender senders[LINKS];
    struct sent sent[LINKS][MESSAGES];
} scene;

static void start_server(void)
{
    char address[PEAL_ADDRESS_MAX];

    if (scene.dialect == PEAL_DIALECT_STELAR) {
        static const char *const arguments[] = {"0", "0", NULL};

        child_start_example(&scene.server, "stelar_interop", arguments);
    } else {
        static const char *const arguments[] = {"serve", NULL};

        child_start(&scene.server, "/proc/self/exe", arguments);
    }
    child_ready_value(&scene.server, scene.is_tcp ? "tcp" : "ws", address,
                      sizeof address);
    link_url(scene.url, address, scene.is_tcp);
}

/* Its clients hear of a stop, and go on with what they do. */
static void end_server(int number)
{
    int status = -1;

    CHECK_EQUAL(kill(scene.server.pid, number), 0);
    LINK_STEP_UNTIL(scene.loop, child_has_ended(&scene.server, &status));
    CHECK_EQUAL(status, number == SIGKILL ? SIGKILL : 0);
}

static void on_state(struct peal_link *link,
                     const struct peal_link_change *change, void *user)
{
    struct sender *sender = user;

    (void)link;
    sender->unproven += change->unproven;
    sender->connects += change->to == PEAL_LINK_CONNECTED;
}

static void on_dropped(struct peal_link *link, const struct peal_event *event,
                       int error, void *user)
{
    struct sender *sender = user;

    (void)link;
    (void)event;
    CHECK_EQUAL(error, PEAL_EFULL);
    sender->dropped++;
}

static void on_heard(struct peal_link *link, const struct peal_event *event,
                     void *user)
{
    struct sender *sender = user;
    int index = -1;
    int number = -1;
    char text[64];

    (void)link;
    snprintf(text, sizeof text, "%.*s", (int)event->data.size,
             event->data.data);
    CHECK_EQUAL(sscanf(text, "[%d,%d]", &index, &number), 2);
    CHECK_EQUAL(index, sender->index);
    CHECK(number > sender->last_echo);
    sender->last_echo = number;
    sender->echoes++;
}

static void on_outcome(struct peal_link *link, const struct peal_answer *answer,
                       void *user)
{
    struct sent *what = user;
    struct sender *sender = what->sender;

    (void)link;
    CHECK_EQUAL(sender->outcome[what->number], 1);
    sender->outcome[what->number] = answer->status;
    sender->outcomes++;
    if (answer->status == 0) {
        char text[64];
        int sum = -1;

        snprintf(text, sizeof text, "%.*s", (int)answer->event.data.size,
                 answer->event.data.data);
        CHECK_EQUAL(sscanf(text, "{\"sum\":%d}", &sum), 1);
        CHECK_EQUAL(sum, what->number);
        CHECK(what->number > sender->last_answer);
        sender->last_answer = what->number;
    }
}

static void send_next(struct sender *sender)
{
    struct peal_event event = {.name = peal_slice("sum")};
    struct sent *what = &scene.sent[sender->index][sender->next];
    char data[32];

    if (sender->next == MESSAGES) {
        return;
    }
    *what = (struct sent){sender, sender->next};
    sender->outcome[sender->next] = 1;
    event.data.size =
        (size_t)snprintf(data, sizeof data, "{\"a\":0,\"b\":%d}", sender->next);
    event.data.data = data;
    CHECK_EQUAL(
        peal_link_request(sender->link, &event, 60000, on_outcome, what), 0);
    event.name = peal_slice("echo");
    event.data.size = (size_t)snprintf(data, sizeof data, "[%d,%d]",
                                       sender->index, sender->next);
    CHECK_EQUAL(peal_link_emit(sender->link, &event), 0);
    sender->emitted++;
    sender->next++;
}

static void open_links(void)
{
    scene.options = (struct peal_link_options){
        .size = sizeof scene.options,
        .url = scene.url,
        .dialect = scene.dialect,
        .outbox_count_max = 90,
        .reconnect_min_ms = 1,
        .reconnect_first_ms = 4,
        .reconnect_max_ms = 20,
        .ping_interval_ms = 20,
        .on_state = on_state,
        .on_dropped = on_dropped,
    };
    for (int i = 0; i < LINKS; i++) {
        struct sender *sender = &scene.senders[i];

        *sender =
            (struct sender){.index = i, .last_answer = -1, .last_echo = -1};
        scene.options.user = sender;
        CHECK_EQUAL(peal_link_new(&sender->link, scene.loop, &scene.options),
                    0);
        CHECK_EQUAL(peal_link_on(sender->link, "echo", on_heard, sender), 0);
        CHECK_EQUAL(peal_link_open(sender->link), 0);
    }
}

/* The next server is at another address: a system may give away the last. */
static void follow_server(void)
{
    for (int i = 0; i < LINKS; i++) {
        scene.options.user = &scene.senders[i];
        CHECK_EQUAL(peal_link_update(scene.senders[i].link, &scene.options), 0);
    }
}

/* A while of traffic. */
static void send_for(uint64_t for_ms)
{
    uint64_t until_ms = check_now_ms() + for_ms;

    while (check_now_ms() < until_ms) {
        send_next(&scene.senders[rand() % LINKS]);
        CHECK_EQUAL(peal_loop_step(scene.loop, 0), 0);
    }
}

static bool are_settled(void)
{
    for (int i = 0; i < LINKS; i++) {
        struct sender *sender = &scene.senders[i];
        struct peal_link_stats stats = {.size = sizeof stats};

        CHECK_EQUAL(peal_link_stats(sender->link, &stats), 0);
        if (sender->outcomes < MESSAGES || stats.outbox_count > 0) {
            return false;
        }
    }
    return true;
}

static bool are_closed(void)
{
    for (int i = 0; i < LINKS; i++) {
        if (peal_link_state(scene.senders[i].link) != PEAL_LINK_DISCONNECTED) {
            return false;
        }
    }
    return true;
}

static void judge(struct sender *sender, int *delivered)
{
    int missing = sender->emitted - sender->echoes;

    CHECK_EQUAL(sender->outcomes, MESSAGES);
    CHECK(sender->connects > 0);
    for (int n = 0; n < MESSAGES; n++) {
        *delivered += sender->outcome[n] == 0;
        CHECK(sender->outcome[n] == 0 || sender->outcome[n] == PEAL_EGONE ||
              sender->outcome[n] == PEAL_EFULL);
    }
    CHECK(missing >= 0);
    CHECK((uint64_t)missing <= (uint64_t)sender->dropped + sender->unproven);
}

static void survive(enum peal_dialect dialect, bool is_tcp)
{
    int delivered = 0;

    memset(&scene, 0, sizeof scene);
    scene.dialect = dialect;
    scene.is_tcp = is_tcp;
    start_server();
    CHECK_EQUAL(peal_loop_new(&scene.loop, NULL), 0);
    open_links();
    for (int i = 0; i < RESTARTS; i++) {
        send_for(20 + (uint64_t)rand() % 60);
        end_server(rand() % 3 == 0 ? SIGTERM : SIGKILL);
        send_for((uint64_t)rand() % 60);
        start_server();
        follow_server();
    }
    for (int i = 0; i < LINKS; i++) {
        while (scene.senders[i].next < MESSAGES) {
            send_next(&scene.senders[i]);
        }
    }
    LINK_STEP_UNTIL(scene.loop, are_settled());
    for (int i = 0; i < LINKS; i++) {
        CHECK_EQUAL(peal_link_close(scene.senders[i].link, 1000, NULL), 0);
    }
    LINK_STEP_UNTIL(scene.loop, are_closed());
    for (int i = 0; i < LINKS; i++) {
        judge(&scene.senders[i], &delivered);
        peal_link_free(scene.senders[i].link);
    }
    peal_loop_free(scene.loop);
    child_stop(&scene.server);
    CHECK(delivered > LINKS * MESSAGES / 10);
    print_message("delivered %d of %d\n", delivered, LINKS * MESSAGES);
}

static void test_peal_over_ws(void **state)
{
    (void)state;
    survive(PEAL_DIALECT_PEAL, false);
}

static void test_peal_over_tcp(void **state)
{
    (void)state;
    survive(PEAL_DIALECT_PEAL, true);
}

static void test_stelar_over_ws(void **state)
{
    (void)state;
    survive(PEAL_DIALECT_STELAR, false);
}

static void test_stelar_over_tcp(void **state)
{
    (void)state;
    survive(PEAL_DIALECT_STELAR, true);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peal_over_ws),
        cmocka_unit_test(test_peal_over_tcp),
        cmocka_unit_test(test_stelar_over_ws),
        cmocka_unit_test(test_stelar_over_tcp),
    };

    if (argc > 1 && strcmp(argv[1], "serve") == 0) {
        return serve();
    }
    check_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
