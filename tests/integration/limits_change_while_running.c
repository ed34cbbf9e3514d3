/*
 * Goal: doors, limits, rates, deadlines and callbacks change while clients are
 * there: the next one, or the next message, meets the new option, and who was
 * in before stays and is counted on.
 *
 * Method: a server without limits and somebody in it; each update is followed
 * by what it refuses, and by what it lets in again. This machine is a trusted
 * proxy where addresses are needed.
 */
#include "support/suite.h"

#include <peal/policy.h>

#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* So many, and no more for the next month. */
#define ONLY(count)                                                            \
    (struct peal_rate)                                                         \
    {                                                                          \
        .capacity = (count), .refill = 1, .refill_ms = 2592000000u             \
    }

#define FAST_MS 50

static const char *const here[] = {"127.0.0.0/8", NULL};

static struct host host;
static struct member inside; /* is there all the time */
static struct peal_server_options options;

/* Stores its data under "key", and answers with what came of it. */
static void on_store(struct peal_client *from, const struct peal_event *event,
                     struct peal_request request, void *user)
{
    char value[512];
    char json[16];

    (void)user;
    CHECK(event->data.size < sizeof value);
    memcpy(value, event->data.data, event->data.size);
    value[event->data.size] = '\0';
    snprintf(json, sizeof json, "%d", peal_client_set(from, "key", value));
    CHECK_EQUAL(peal_request_answer(request, json), 0);
}

static void on_x(struct peal_client *from, const struct peal_event *event,
                 void *user)
{
    (void)from;
    (void)event;
    (void)user;
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on_request(server, "store", on_store, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "x", on_x, NULL), 0);
}

static void begin(struct peal_server_options given)
{
    given.clients_may_join = true;
    host_start(&host, &given, setup);
    member_open(&inside, host.ws, false);
    options = host_config(&host);
}

/* Puts `options` into force, and sees that a turn has passed. */
static void update(void)
{
    host_update(&host, &options);
    member_expect_silence(&inside);
}

static void end(void)
{
    member_expect_silence(&inside);
    member_close(&inside);
    host_await_empty(&host);
    host_stop(&host);
}

/* --- Doors ---------------------------------------------------------------- */

static void origins_and_refusals(void **state)
{
    static const char *const origins[] = {"https://a.b", NULL};
    struct http_reply reply;
    struct peer peer;
    char value[128];

    (void)state;
    begin((struct peal_server_options){.size = 0});
    CHECK_EQUAL(ws_try(host.ws, "/", "Origin: https://c.d\r\n"), 101);
    options.origins = origins;
    update();
    CHECK_EQUAL(ws_try(host.ws, "/", "Origin: https://c.d\r\n"), 403);
    CHECK_EQUAL(ws_try(host.ws, "/", "Origin: https://a.b\r\n"), 101);

    options.refuse_by = PEAL_REFUSE_BY_CLOSE;
    update();
    peer_dial(&peer, host.ws);
    ws_ask(&peer, "/", "");
    ws_expect_open(&peer);
    ws_expect_close_reason(&peer, 1008, value, sizeof value);
    CHECK(strcmp(value, "Forbidden") == 0);
    peer_close(&peer);

    options.refuse_by = PEAL_REFUSE_BY_HANGUP;
    update();
    peer_dial(&peer, host.ws);
    ws_ask(&peer, "/", "");
    peer_expect_end(&peer);
    peer_close(&peer);

    options.refuse_by = PEAL_REFUSE_BY_STATUS;
    options.origins = NULL;
    options.clients_max = 1;
    options.retry_after_s = 77;
    CHECK_SOON(host_stats(&host).clients == 1);
    update();
    peer_dial(&peer, host.ws);
    ws_ask(&peer, "/", "");
    http_read(&peer, &reply, true);
    CHECK_EQUAL(reply.status, 503);
    CHECK(http_header(&reply, "Retry-After", value, sizeof value));
    CHECK(strcmp(value, "77") == 0);
    peer_close(&peer);
    options.clients_max = 0;
    update();
    CHECK_EQUAL(ws_try(host.ws, "/", ""), 101);
    end();
}

/* A client behind a proxy that says so in this header. */
static void open_as(struct member *member, const char *header)
{
    memset(member, 0, sizeof *member);
    peer_dial(&member->peer, host.ws);
    ws_ask(&member->peer, "/", header);
    ws_expect_open(&member->peer);
    member_welcome(member);
}

static void addresses(void **state)
{
    struct member members[4];

    (void)state;
    begin((struct peal_server_options){.size = 0});
    options.trusted_proxies = here;
    update();
    open_as(&members[0], "X-Forwarded-For: 192.0.2.1\r\n");
    CHECK_EQUAL(peal_server_address_clients(host.server, "192.0.2.1"), 1);
    options.forwarded_header = "Forwarded";
    update();
    open_as(&members[1], "Forwarded: for=192.0.2.1\r\n"
                         "X-Forwarded-For: 192.0.2.9\r\n");
    CHECK_EQUAL(peal_server_address_clients(host.server, "192.0.2.1"), 2);

    /* By /48 from now on; who came before is counted as it was. */
    open_as(&members[2], "Forwarded: for=\"[2001:db8:0:1::1]\"\r\n");
    options.ipv6_prefix_bits = 48;
    options.clients_per_address_max = 1;
    update();
    open_as(&members[3], "Forwarded: for=\"[2001:db8:0:2::1]\"\r\n");
    CHECK_EQUAL(peal_server_address_clients(host.server, "2001:db8:0:9::"), 1);
    CHECK_EQUAL(
        ws_try(host.ws, "/", "Forwarded: for=\"[2001:db8:0:3::1]\"\r\n"), 429);
    options.ipv6_prefix_bits = 128;
    update();
    CHECK_EQUAL(
        ws_try(host.ws, "/", "Forwarded: for=\"[2001:db8:0:3::1]\"\r\n"), 101);
    options.trusted_proxies = NULL; /* so it is this machine's own */
    update();
    CHECK_EQUAL(
        ws_try(host.ws, "/", "Forwarded: for=\"[2001:db8:0:3::1]\"\r\n"), 429);
    for (int i = 0; i < 4; i++) {
        member_close(&members[i]);
    }
    end();
}

static void handshakes(void **state)
{
    struct peer silent[3];
    struct peer late;

    (void)state;
    begin((struct peal_server_options){.handshake_timeout_ms = PEAL_OFF});
    for (int i = 0; i < 2; i++) {
        peer_dial(&silent[i], host.ws);
    }
    CHECK_SOON(host_stats(&host).connections == 3);
    options.handshakes_per_address_max = 2;
    update();
    peer_dial(&late, host.ws);
    peer_expect_end(&late);
    peer_close(&late);
    CHECK_EQUAL(host_stats(&host).refused_handshakes_per_address, 1);
    options.handshakes_per_address_max = 3;
    options.handshake_timeout_ms = FAST_MS;
    update();
    /* It has so long; who came before has what it was told. */
    peer_dial(&silent[2], host.ws);
    peer_expect_end(&silent[2]);
    CHECK_EQUAL(host_stats(&host).closed_handshake_timeout, 1);
    CHECK_EQUAL(host_stats(&host).refused_handshakes_per_address, 1);
    ws_ask(&silent[0], "/", "");
    ws_expect_open(&silent[0]);
    for (int i = 0; i < 3; i++) {
        peer_close(&silent[i]);
    }
    end();
}

/* --- Rooms and what is kept ----------------------------------------------- */

static void ask_to_join(const char *room, int code)
{
    member_say(&inside, "{'event':'peal:join','id':1,'data':{'room':'%s'}}",
               room);
    member_expect_failure(&inside, "1", code);
}

static void rooms(void **state)
{
    (void)state;
    begin((struct peal_server_options){.size = 0});
    member_join(&inside, "one");
    member_join(&inside, "two");
    options.rooms_max = 1;
    update();
    ask_to_join("three", 105);
    CHECK_EQUAL(host_stats(&host).rooms, 2); /* nobody is thrown out */
    member_join(&inside, "two");
    options.rooms_max = 0;
    options.room_name_bytes_max = 4;
    update();
    ask_to_join("three", 104);
    options.room_name_bytes_max = 0;
    options.metadata_bytes_max = 40;
    update();
    member_join(&inside, "three");
    member_say(&inside, "{'event':'store','id':1,'data':'%040d'}", 0);
    member_expect(&inside, "{'event':'peal:ok','id':1,'data':%d}",
                  PEAL_ELIMIT);
    options.metadata_bytes_max = 100;
    update();
    member_say(&inside, "{'event':'store','id':1,'data':'%040d'}", 0);
    member_expect(&inside, "{'event':'peal:ok','id':1,'data':0}");
    end();
}

/* --- Rates ---------------------------------------------------------------- */

static void rates_of_messages(void **state)
{
    struct member other;

    (void)state;
    begin((struct peal_server_options){.size = 0});
    member_open(&other, host.tcp, true);
    for (int i = 0; i < 10; i++) {
        member_ask(&inside, "x", 1);
    }
    options.client_rate = ONLY(2);
    host_update(&host, &options);
    member_ask(&other, "x", 1);
    member_ask(&other, "x", 1);
    member_ask_too_much(&other, "x", 1);

    options.rate_refusal = PEAL_REFUSE_CLOSE;
    host_update(&host, &options);
    member_say(&other, "{'event':'x'}");
    member_expect_close(&other, 1008);

    /* Another rate; what is gone of the bucket is gone. */
    options.rate_refusal = PEAL_REFUSE_ERROR;
    options.client_rate = ONLY(3);
    host_update(&host, &options);
    member_ask(&inside, "x", 1);
    member_ask(&inside, "x", 1);
    member_ask(&inside, "x", 1);
    member_ask_too_much(&inside, "x", 1);
    options.client_rate = (struct peal_rate){.capacity = PEAL_OFF};
    options.address_rate = ONLY(1);
    host_update(&host, &options);
    member_ask(&inside, "x", 1);
    member_ask_too_much(&inside, "x", 1);
    options.address_rate = (struct peal_rate){.capacity = 0};
    update();
    for (int i = 0; i < 10; i++) {
        member_ask(&inside, "x", 1);
    }
    end();
}

/* Sends so many pings, and takes a pong for each. */
static void ping(struct peer *peer, int count)
{
    for (int i = 0; i < count; i++) {
        ws_send(peer, WS_PING_FRAME, "p", 1);
        ws_expect(peer, WS_PONG_FRAME, "p", 1);
    }
}

static void rates_of_pings(void **state)
{
    struct member other;

    (void)state;
    begin((struct peal_server_options){
        .control_rate = {.capacity = PEAL_OFF},
    });
    ping(&inside.peer, 300);
    /* What is off is told to be off, and stays so when it is handed back. */
    CHECK_EQUAL(options.control_rate.capacity, PEAL_OFF);
    options.clients_max = 10;
    update();
    CHECK_EQUAL(host_config(&host).control_rate.capacity, PEAL_OFF);
    ping(&inside.peer, 300);

    options.control_rate = ONLY(5);
    update();
    member_open(&other, host.ws, false);
    ping(&other.peer, 5);
    ws_send(&other.peer, WS_PING_FRAME, "p", 1);
    member_expect_close(&other, 1008);
    options.control_rate = (struct peal_rate){.capacity = 0};
    update();
    CHECK_EQUAL(host_config(&host).control_rate.capacity, 200);
    CHECK_EQUAL(host_config(&host).control_rate.refill, 50);
    CHECK_EQUAL(host_config(&host).control_rate.refill_ms, 1000);
    ping(&inside.peer, 10);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(origins_and_refusals),
        cmocka_unit_test(addresses),
        cmocka_unit_test(handshakes),
        cmocka_unit_test(rooms),
        cmocka_unit_test(rates_of_messages),
        cmocka_unit_test(rates_of_pings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
