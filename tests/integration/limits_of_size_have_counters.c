/*
 * Goal: each limit in bytes holds to the byte, has its own answer and counter,
 * and disturbs nobody else.
 *
 * Method: messages of exactly the limit and one byte more on both transports;
 * a loop that is held up until its mailbox is full.
 */
#include "support/suite.h"

#include "support/bystanders.h"
#include "support/host.h"
#include "support/member.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_BYTES_MAX 5000
#define FRAME_BYTES_MAX 2000

static struct host host;
static struct bystanders *bystanders;
static _Atomic size_t last_size;

static void on_any(struct peal_client *from, const struct peal_event *event,
                   void *user)
{
    (void)from;
    (void)user;
    atomic_store(&last_size, event->data.size);
}

static void setup(struct peal_server *server)
{
    struct peal_listen raw = {
        .size = sizeof raw,
        .address = "127.0.0.1:0",
        .transport = PEAL_WS,
        .dialect = PEAL_DIALECT_RAW,
    };

    CHECK_EQUAL(peal_server_listen(server, &raw), 0);
    raw.transport = PEAL_TCP;
    CHECK_EQUAL(peal_server_listen(server, &raw), 0);
    CHECK_EQUAL(peal_server_on_any(server, on_any, NULL), 0);
}

static char raw_ws[PEAL_ADDRESS_MAX];
static char raw_tcp[PEAL_ADDRESS_MAX];

static int start(void **state)
{
    struct peal_server_options options = {
        .message_bytes_max = MESSAGE_BYTES_MAX,
        .frame_bytes_max = FRAME_BYTES_MAX,
        .clients_may_join = true,
        .clients_may_publish = true,
    };

    (void)state;
    host_start(&host, &options, setup);
    CHECK_EQUAL(peal_server_address(host.server, 2, raw_ws), 0);
    CHECK_EQUAL(peal_server_address(host.server, 3, raw_tcp), 0);
    bystanders = bystanders_start(&host);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    bystanders_stop(bystanders);
    host_await_empty(&host);
    host_stop(&host);
    return 0;
}

/* --- Messages and frames ------------------------------------------------- */

static const char zeros[MESSAGE_BYTES_MAX + 1];

/* Sends a message in these fragments. */
static void send_fragments(struct peer *peer, const size_t *sizes, int count)
{
    for (int i = 0; i < count; i++) {
        ws_send(peer, (i == 0 ? 0x02u : 0) | (i == count - 1 ? 0x80u : 0),
                zeros, sizes[i]);
    }
}

/* The next message that the server sees has this size. */
static void expect_seen(size_t size)
{
    CHECK_SOON(atomic_load(&last_size) == size);
}

static void frame_bytes_max(void **state)
{
    uint64_t before = host_stats(&host).closed_message_bytes;
    struct peer peer;

    (void)state;
    ws_open(&peer, raw_ws, "/");
    ws_send(&peer, WS_BINARY_FRAME, zeros, FRAME_BYTES_MAX);
    expect_seen(FRAME_BYTES_MAX);
    ws_send(&peer, WS_BINARY_FRAME, zeros, FRAME_BYTES_MAX + 1);
    ws_await_close(&peer, 1009);
    CHECK_EQUAL(host_stats(&host).closed_message_bytes, before + 1);
    bystanders_talk_on(bystanders);
}

static void message_bytes_max_over_ws(void **state)
{
    static const size_t most[] = {2000, 0, 2000, 1000};
    static const size_t more[] = {2000, 2000, 1001};
    uint64_t before = host_stats(&host).closed_message_bytes;
    struct peer peer;

    (void)state;
    ws_open(&peer, raw_ws, "/");
    send_fragments(&peer, most, 4);
    expect_seen(MESSAGE_BYTES_MAX);
    send_fragments(&peer, more, 3);
    ws_await_close(&peer, 1009);
    CHECK_EQUAL(host_stats(&host).closed_message_bytes, before + 1);
    bystanders_talk_on(bystanders);
}

/* All of a TCP frame counts, the seven bytes of its head too. */
static void message_bytes_max_over_tcp(void **state)
{
    uint64_t before = host_stats(&host).closed_message_bytes;
    size_t most = MESSAGE_BYTES_MAX - TCP_HEAD_SIZE - 3;
    struct tcp_received frame;
    struct peer peer;

    (void)state;
    peer_dial(&peer, raw_tcp);
    tcp_send(&peer, TCP_BINARY_FRAME, "abc", zeros, most);
    expect_seen(most);
    tcp_send(&peer, TCP_BINARY_FRAME, "abc", zeros, most + 1);
    CHECK(tcp_read(&peer, &frame));
    CHECK_EQUAL(frame.type, TCP_DISCONNECT_FRAME);
    peer_finish(&peer);
    peer_expect_end(&peer);
    peer_close(&peer);
    CHECK_EQUAL(host_stats(&host).closed_message_bytes, before + 1);
    bystanders_talk_on(bystanders);
}

/* --- Mailboxes ----------------------------------------------------------- */

static sem_t go_on;
static sem_t is_held;

/* Holds up its loop. */
static void on_hold(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)from;
    (void)event;
    (void)user;
    sem_post(&is_held);
    sem_wait(&go_on);
}

/* Tells which loop a client is on. */
static void on_where(struct peal_client *from, const struct peal_event *event,
                     struct peal_request request, void *user)
{
    char json[32];

    (void)from;
    (void)event;
    (void)user;
    snprintf(json, sizeof json, "\"%lx\"", (unsigned long)pthread_self());
    CHECK_EQUAL(peal_request_answer(request, json), 0);
}

static void setup_mailbox(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on_request(server, "where", on_where, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "hold", on_hold, NULL), 0);
}

/*
 * Other threads are told when the way to a loop is full. What they were not
 * told that of arrives, in order.
 */
static void mailbox_bytes_max(void **state)
{
    struct peal_server_options options = {
        .mailbox_bytes_max = 100000,
        .clients_may_join = true,
    };
    struct peal_client_ref ref;
    struct member member;
    struct host small;
    int sent = 0;
    int rc = 0;

    (void)state;
    CHECK_EQUAL(sem_init(&go_on, 0, 0), 0);
    CHECK_EQUAL(sem_init(&is_held, 0, 0), 0);
    host_start(&small, &options, setup_mailbox);
    member_open(&member, small.ws, false);
    member_join(&member, "room");
    ref = peal_server_find(small.server, member.id);
    member_say(&member, "{'event':'hold'}");
    sem_wait(&is_held);
    while (rc == 0) {
        char json[1024];
        struct peal_event event;

        snprintf(json, sizeof json, "[%d,\"%0800d\"]", sent, 0);
        event = peal_json("n", json);
        rc = sent % 2 == 0
                 ? peal_server_room_emit(small.server, "room", &event, NULL, 0)
                 : peal_server_emit(small.server, ref, &event);
        sent += rc == 0;
        CHECK(sent < 1000);
    }
    CHECK_EQUAL(rc, PEAL_EFULL);
    CHECK(sent > 50);
    CHECK_EQUAL(peal_server_join(small.server, ref, "other"), PEAL_EFULL);
    CHECK_EQUAL(host_stats(&small).refused_mail, 2);
    sem_post(&go_on);
    for (int i = 0; i < sent; i++) {
        member_expect(&member,
                      i % 2 == 0 ? "{'event':'n','room':'room','data':[%d,"
                                   "'%0800d']}"
                                 : "{'event':'n','data':[%d,'%0800d']}",
                      i, 0);
    }
    CHECK_EQUAL(peal_server_join(small.server, ref, "other"), 0);
    CHECK_SOON(host_stats(&small).rooms == 2);
    member_close(&member);
    host_stop(&small);
}

/* --- Between loops ------------------------------------------------------- */

#define MESSAGES 3000
#define MEMBERS 16

static void *publish_all(void *argument)
{
    struct member *member = argument;

    for (int i = 0; i < MESSAGES; i++) {
        member_say(member, "{'event':'n','room':'room','data':[%d,'%0100d']}",
                   i, 0);
    }
    return NULL;
}

/* The first member that is on another loop than member 0. */
static int find_another(struct member *members)
{
    struct heard first;

    member_say(&members[0], "{'event':'where','id':1}");
    CHECK(member_hear(&members[0], &first));
    for (int i = 1; i < MEMBERS; i++) {
        struct heard other;
        bool is_another;

        member_say(&members[i], "{'event':'where','id':1}");
        CHECK(member_hear(&members[i], &other));
        is_another = strcmp(first.json, other.json) != 0;
        heard_free(&other);
        if (is_another) {
            heard_free(&first);
            return i;
        }
    }
    CHECK(!"the clients are not spread over the loops");
    return 0;
}

/*
 * Clients are not told to wait: when a loop is behind, those on other loops are
 * not read until it has caught up. Nothing they have sent gets lost.
 */
static void clients_are_held_back(void **state)
{
    struct peal_server_options options = {
        .mailbox_bytes_max = 20000,
        .loops = 4,
        .clients_may_join = true,
        .clients_may_publish = true,
    };
    struct member members[MEMBERS];
    struct host small;
    pthread_t thread;
    int from;

    (void)state;
    CHECK_EQUAL(sem_init(&go_on, 0, 0), 0);
    CHECK_EQUAL(sem_init(&is_held, 0, 0), 0);
    host_start(&small, &options, setup_mailbox);
    for (int i = 0; i < MEMBERS; i++) {
        member_open(&members[i], host_address(&small, i % 2 == 1), i % 2 == 1);
        member_join(&members[i], "room");
    }
    from = find_another(members);
    member_say(&members[0], "{'event':'hold'}");
    sem_wait(&is_held);
    CHECK_EQUAL(pthread_create(&thread, NULL, publish_all, &members[from]), 0);
    CHECK_SOON(host_stats(&small).messages_in > 10);
    sem_post(&go_on);
    for (int i = 0; i < MESSAGES; i++) {
        for (int k = 0; k < MEMBERS; k++) {
            if (k != from) {
                member_expect(&members[k],
                              "{'event':'n','room':'room','data':[%d,"
                              "'%0100d']}",
                              i, 0);
            }
        }
    }
    pthread_join(thread, NULL);
    CHECK_EQUAL(host_stats(&small).refused_mail, 0);
    for (int i = 0; i < MEMBERS; i++) {
        member_expect_silence(&members[i]);
        member_close(&members[i]);
    }
    host_stop(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frame_bytes_max, start, stop),
        cmocka_unit_test_setup_teardown(message_bytes_max_over_ws, start, stop),
        cmocka_unit_test_setup_teardown(message_bytes_max_over_tcp, start,
                                        stop),
        cmocka_unit_test(mailbox_bytes_max),
        cmocka_unit_test(clients_are_held_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
