/*
 * Goal: while the server is stopped and started again at random, what links
 * send through their outboxes arrives in order, nothing twice, and whatever did
 * not arrive was reported to the caller.
 *
 * Method: 100 links of both transports send numbered requests and numbered
 * events all the time; the server, which notes the numbers, goes away eight
 * times. In the end each request has had one outcome, and the events that did
 * not arrive are no more than were reported as dropped or unproven. The seed is
 * printed; PEAL_TEST_SEED sets it.
 */
#include "support/suite.h"

#include <peal/server.h>

#include "support/senders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RESTARTS 8

static char folder[] = "/tmp/peal-links-XXXXXX";
static char ws_address[64];
static char tcp_address[64];
static char ws_url[64];
static char tcp_url[64];

/* Written by the server's loop; read when it has stopped. */
static bool has_arrived[SENDERS][SENDER_MESSAGES];
static int last_request[SENDERS];
static int last_event[SENDERS];
static int events_arrived[SENDERS];

static void on_number(struct peal_client *from, const struct peal_event *event,
                      struct peal_request request, void *user)
{
    int index, number;

    (void)from;
    (void)user;
    senders_read(event, &index, &number);
    CHECK(number > last_request[index]);
    CHECK(!has_arrived[index][number]);
    last_request[index] = number;
    has_arrived[index][number] = true;
    peal_request_answer(request, NULL);
}

static void on_plain(struct peal_client *from, const struct peal_event *event,
                     void *user)
{
    int index, number;

    (void)from;
    (void)user;
    senders_read(event, &index, &number);
    CHECK(number > last_event[index]);
    last_event[index] = number;
    events_arrived[index]++;
}

static struct peal_server *start_server(void)
{
    const struct peal_server_options options = {
        .size = sizeof options,
        .ws_listen = ws_address,
        .tcp_listen = tcp_address,
        .stop_timeout_ms = 5,
    };
    struct peal_server *server;

    CHECK_EQUAL(peal_server_new(&server, &options), 0);
    peal_server_on_request(server, "number", on_number, NULL);
    peal_server_on(server, "plain", on_plain, NULL);
    CHECK_EQUAL(peal_server_start(server), 0);
    return server;
}

static void stop_server(struct peal_server *server)
{
    peal_server_stop(server);
    CHECK_EQUAL(peal_server_wait(server), 0);
    peal_server_free(server);
}

static void open_links(struct peal_loop *loop)
{
    static const struct senders_plan plan = {
        .request = "number",
        .event = "plain",
    };

    for (int i = 0; i < SENDERS; i++) {
        last_request[i] = -1;
        last_event[i] = -1;
        senders_open(&senders[i], loop, &plan, i % 2 == 0 ? ws_url : tcp_url,
                     PEAL_DIALECT_PEAL);
    }
}

/* What was answered has arrived; what was dropped has not. */
static void check_arrivals(const struct sender *sender)
{
    for (int n = 0; n < SENDER_MESSAGES; n++) {
        bool arrived = has_arrived[sender->index][n];

        CHECK(sender->outcome[n] != 0 || arrived);
        CHECK(sender->outcome[n] != PEAL_EFULL || !arrived);
    }
}

static void test_nothing_is_lost_in_silence(void **state)
{
    struct peal_server *server = start_server();
    struct peal_loop *loop;
    int delivered = 0;

    (void)state;
    CHECK_EQUAL(peal_loop_new(&loop, NULL), 0);
    open_links(loop);
    for (int i = 0; i < RESTARTS; i++) {
        senders_send_for(loop, 20 + (uint64_t)rand() % 60);
        stop_server(server);
        senders_send_for(loop, (uint64_t)rand() % 60);
        server = start_server();
    }
    senders_send_rest(loop);

    /* A round trip behind the last event proves that all were read. */
    senders_send_for(loop, 100);
    for (int i = 0; i < SENDERS; i++) {
        peal_link_close(senders[i].link, 1000, NULL);
    }
    senders_send_for(loop, 100);
    stop_server(server);
    for (int i = 0; i < SENDERS; i++) {
        delivered += senders_judge(&senders[i], events_arrived[i]);
        check_arrivals(&senders[i]);
        peal_link_free(senders[i].link);
    }
    peal_loop_free(loop);
    CHECK(delivered > SENDERS * SENDER_MESSAGES / 10);
    print_message("delivered %d of %d\n", delivered, SENDERS * SENDER_MESSAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_lost_in_silence),
    };
    int failed;

    check_seed();
    CHECK(mkdtemp(folder) != NULL);
    snprintf(ws_address, sizeof ws_address, "unix:%s/ws", folder);
    snprintf(tcp_address, sizeof tcp_address, "unix:%s/tcp", folder);
    snprintf(ws_url, sizeof ws_url, "ws+unix:%s/ws:/chat", folder);
    snprintf(tcp_url, sizeof tcp_url, "unix:%s/tcp", folder);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
