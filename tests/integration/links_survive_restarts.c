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

#include "support/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINKS 100
#define MESSAGES 60
#define RESTARTS 8

static char folder[] = "/tmp/peal-links-XXXXXX";
static char ws_address[64];
static char tcp_address[64];
static char ws_url[64];
static char tcp_url[64];

/* Written by the server's loop; read when it has stopped. */
static bool has_arrived[LINKS][MESSAGES];
static int last_request[LINKS];
static int last_event[LINKS];
static int events_arrived[LINKS];

struct sender {
    struct peal_link *link;
    int index;
    int next;
    int outcomes;
    int outcome[MESSAGES]; /* 1: none yet */
    int emitted;
    int dropped;
    uint64_t unproven;
    int connects;
};

struct sent {
    struct sender *sender;
    int number;
};

static struct sender senders[LINKS];
static struct sent sent[LINKS][MESSAGES];

static void read_numbers(const struct peal_event *event, int *index,
                         int *number)
{
    char text[64];

    snprintf(text, sizeof text, "%.*s", (int)event->data.size,
             event->data.data);
    CHECK_EQUAL(sscanf(text, "[%d,%d]", index, number), 2);
}

static void on_number(struct peal_client *from, const struct peal_event *event,
                      struct peal_request request, void *user)
{
    int index, number;

    (void)from;
    (void)user;
    read_numbers(event, &index, &number);
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
    read_numbers(event, &index, &number);
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

static void on_outcome(struct peal_link *link, const struct peal_answer *answer,
                       void *user)
{
    struct sent *what = user;

    (void)link;
    CHECK_EQUAL(what->sender->outcome[what->number], 1);
    what->sender->outcome[what->number] = answer->status;
    what->sender->outcomes++;
}

static void send_next(struct sender *sender)
{
    char data[32];
    struct peal_event event = {.name = peal_slice("number")};
    struct sent *what = &sent[sender->index][sender->next];

    if (sender->next == MESSAGES) {
        return;
    }
    *what = (struct sent){sender, sender->next};
    sender->outcome[sender->next] = 1;
    event.data.size = (size_t)snprintf(data, sizeof data, "[%d,%d]",
                                       sender->index, sender->next);
    event.data.data = data;
    CHECK_EQUAL(
        peal_link_request(sender->link, &event, 60000, on_outcome, what), 0);
    event.name = peal_slice("plain");
    CHECK_EQUAL(peal_link_emit(sender->link, &event), 0);
    sender->emitted++;
    sender->next++;
}

static void open_links(struct peal_loop *loop)
{
    for (int i = 0; i < LINKS; i++) {
        const struct peal_link_options options = {
            .size = sizeof options,
            .url = i % 2 == 0 ? ws_url : tcp_url,
            .outbox_count_max = 90,
            .reconnect_min_ms = 1,
            .reconnect_first_ms = 4,
            .reconnect_max_ms = 20,
            .ping_interval_ms = 20,
            .on_state = on_state,
            .on_dropped = on_dropped,
            .user = &senders[i],
        };

        memset(&senders[i], 0, sizeof senders[i]);
        senders[i].index = i;
        last_request[i] = -1;
        last_event[i] = -1;
        CHECK_EQUAL(peal_link_new(&senders[i].link, loop, &options), 0);
        CHECK_EQUAL(peal_link_open(senders[i].link), 0);
    }
}

/* A while of traffic. */
static void send_for(struct peal_loop *loop, uint64_t for_ms)
{
    uint64_t until_ms = check_now_ms() + for_ms;

    while (check_now_ms() < until_ms) {
        send_next(&senders[rand() % LINKS]);
        CHECK_EQUAL(peal_loop_step(loop, 0), 0);
    }
}

static bool are_settled(void)
{
    for (int i = 0; i < LINKS; i++) {
        struct peal_link_stats stats = {.size = sizeof stats};

        peal_link_stats(senders[i].link, &stats);
        if (senders[i].outcomes < MESSAGES || stats.outbox_count > 0) {
            return false;
        }
    }
    return true;
}

static void test_nothing_is_lost_in_silence(void **state)
{
    struct peal_server *server = start_server();
    struct peal_loop *loop;
    int delivered = 0;
    int in_doubt = 0;

    (void)state;
    CHECK_EQUAL(peal_loop_new(&loop, NULL), 0);
    open_links(loop);
    for (int i = 0; i < RESTARTS; i++) {
        send_for(loop, 20 + (uint64_t)rand() % 60);
        stop_server(server);
        send_for(loop, (uint64_t)rand() % 60);
        server = start_server();
    }
    for (int i = 0; i < LINKS; i++) {
        while (senders[i].next < MESSAGES) {
            send_next(&senders[i]);
        }
    }
    LINK_STEP_UNTIL(loop, are_settled());

    /* A round trip behind the last event proves that all were read. */
    send_for(loop, 100);
    for (int i = 0; i < LINKS; i++) {
        peal_link_close(senders[i].link, 1000, NULL);
    }
    send_for(loop, 100);
    stop_server(server);
    for (int i = 0; i < LINKS; i++) {
        struct sender *sender = &senders[i];
        int missing = sender->emitted - events_arrived[i];

        CHECK_EQUAL(sender->outcomes, MESSAGES);
        CHECK(sender->connects > 0);
        for (int n = 0; n < MESSAGES; n++) {
            delivered += sender->outcome[n] == 0;
            in_doubt += sender->outcome[n] == PEAL_EGONE;
            CHECK(sender->outcome[n] == 0 || sender->outcome[n] == PEAL_EGONE ||
                  sender->outcome[n] == PEAL_EFULL);
            /* What was answered has arrived; what was dropped has not. */
            CHECK(sender->outcome[n] != 0 || has_arrived[i][n]);
            CHECK(sender->outcome[n] != PEAL_EFULL || !has_arrived[i][n]);
        }
        CHECK(missing >= 0);
        CHECK((uint64_t)missing <=
              (uint64_t)sender->dropped + sender->unproven);
        peal_link_free(sender->link);
    }
    peal_loop_free(loop);
    CHECK(delivered > LINKS * MESSAGES / 10);
    print_message("delivered %d, in doubt %d of %d\n", delivered, in_doubt,
                  LINKS * MESSAGES);
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
