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
#include "support/senders.h"
#include "support/served.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESTARTS 8

/* --- The server of the peal dialect ----------------------------------------
 */

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

static void add_handlers(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on(server, "echo", on_echo, NULL), 0);
    CHECK_EQUAL(peal_server_on_request(server, "sum", on_sum, NULL), 0);
}

/* --- Links ------------------------------------------------------------------
 */

/* What a sender has got back, in the order of the numbers. */
struct heard {
    int last_answer;
    int last_echo;
    int echoes;
};

static struct scene {
    enum peal_dialect dialect;
    bool is_tcp;
    struct child server;
    struct peal_loop *loop;
    char url[160];
    struct heard heard[SENDERS];
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

static void on_heard(struct peal_link *link, const struct peal_event *event,
                     void *user)
{
    struct sender *sender = user;
    struct heard *heard = &scene.heard[sender->index];
    int index = -1;
    int number = -1;

    (void)link;
    senders_read(event, &index, &number);
    CHECK_EQUAL(index, sender->index);
    CHECK(number > heard->last_echo);
    heard->last_echo = number;
    heard->echoes++;
}

static void write_terms(char *out, size_t size, int index, int number)
{
    (void)index;
    snprintf(out, size, "{\"a\":0,\"b\":%d}", number);
}

static void check_sum(struct sender *sender, int number,
                      const struct peal_answer *answer)
{
    struct heard *heard = &scene.heard[sender->index];
    char text[64];
    int sum = -1;

    snprintf(text, sizeof text, "%.*s", (int)answer->event.data.size,
             answer->event.data.data);
    CHECK_EQUAL(sscanf(text, "{\"sum\":%d}", &sum), 1);
    CHECK_EQUAL(sum, number);
    CHECK(number > heard->last_answer);
    heard->last_answer = number;
}

static void open_links(void)
{
    static const struct senders_plan plan = {
        .request = "sum",
        .event = "echo",
        .write_request = write_terms,
        .on_answer = check_sum,
    };

    for (int i = 0; i < SENDERS; i++) {
        scene.heard[i] = (struct heard){.last_answer = -1, .last_echo = -1};
        senders_open(&senders[i], scene.loop, &plan, scene.url, scene.dialect);
        CHECK_EQUAL(
            peal_link_on(senders[i].link, "echo", on_heard, &senders[i]), 0);
    }
}

static bool are_closed(void)
{
    for (int i = 0; i < SENDERS; i++) {
        if (peal_link_state(senders[i].link) != PEAL_LINK_DISCONNECTED) {
            return false;
        }
    }
    return true;
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
        senders_send_for(scene.loop, 20 + (uint64_t)rand() % 60);
        end_server(rand() % 3 == 0 ? SIGTERM : SIGKILL);
        senders_send_for(scene.loop, (uint64_t)rand() % 60);
        /* At another address: a system may give away the last. */
        start_server();
        senders_redirect(scene.url, dialect);
    }
    senders_send_rest(scene.loop);
    for (int i = 0; i < SENDERS; i++) {
        CHECK_EQUAL(peal_link_close(senders[i].link, 1000, NULL), 0);
    }
    LINK_STEP_UNTIL(scene.loop, are_closed());
    for (int i = 0; i < SENDERS; i++) {
        delivered += senders_judge(&senders[i], scene.heard[i].echoes);
        peal_link_free(senders[i].link);
    }
    peal_loop_free(scene.loop);
    child_stop(&scene.server);
    CHECK(delivered > SENDERS * SENDER_MESSAGES / 10);
    print_message("delivered %d of %d\n", delivered, SENDERS * SENDER_MESSAGES);
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
        const struct peal_server_options options = {.stop_timeout_ms = 50};

        return served_run(&options, add_handlers);
    }
    check_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
