/*
 * Goal: pages of other origins stay out; behind a trusted proxy it is the
 * client's own address that is told and counted, and nobody else can pretend to
 * have another; a refusal is told in the way that was asked for.
 *
 * Method: this machine is the proxy, trusted or not; what on_connect is told
 * comes back as an event.
 */
#include "support/suite.h"

#include <peal/policy.h>

#include "support/handlers.h"
#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct host host;

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on_any(server, handlers_tell_address, NULL), 0);
}

static void begin(struct peal_server_options options)
{
    options.on_connect = handlers_keep_address;
    host_start(&host, &options, setup);
}

static void test_origins(void **state)
{
    static const char *const origins[] = {"https://*.example.com", NULL};
    struct member member;

    (void)state;
    begin((struct peal_server_options){.origins = origins});
    CHECK_EQUAL(ws_try(host.ws, "/", ""), 403);
    CHECK_EQUAL(ws_try(host.ws, "/", "Origin: https://evil.org\r\n"), 403);
    CHECK_EQUAL(ws_try(host.ws, "/", "Origin: https://a.example.com\r\n"), 101);
    CHECK_EQUAL(host_stats(&host).refused_origins, 2);
    member_open(&member, host.tcp, true); /* has no origin to look at */
    member_close(&member);
    host_stop(&host);
}

/* Opens a client with these header lines, and sees its address. */
static void open_as(struct member *member, const char *headers,
                    const char *address)
{
    memset(member, 0, sizeof *member);
    peer_dial(&member->peer, host.ws);
    ws_ask(&member->peer, "/", headers);
    ws_expect_open(&member->peer);
    member_welcome(member);
    member_say(member, "{'event':'who'}");
    member_expect(member, "{'event':'you','data':'%s'}", address);
}

static void test_trusted_proxies(void **state)
{
    static const char *const trusted[] = {"127.0.0.0/8", NULL};
    struct member members[4];

    (void)state;
    begin((struct peal_server_options){
        .trusted_proxies = trusted,
        .clients_per_address_max = 2,
    });
    open_as(&members[0], "X-Forwarded-For: 9.9.9.9, 192.0.2.1\r\n",
            "192.0.2.1:0");
    open_as(&members[1], "X-Forwarded-For: 8.8.8.8, 192.0.2.1\r\n",
            "192.0.2.1:0");
    /* The third of an address is refused, whatever it says before that. */
    CHECK_EQUAL(ws_try(host.ws, "/", "X-Forwarded-For: 7.7.7.7, 192.0.2.1\r\n"),
                429);
    CHECK_EQUAL(host_stats(&host).refused_clients_per_address, 1);
    /* IPv6 is counted by its network. */
    open_as(&members[2], "X-Forwarded-For: 2001:db8::1\r\n", "[2001:db8::1]:0");
    open_as(&members[3], "X-Forwarded-For: 2001:db8::2\r\n", "[2001:db8::2]:0");
    CHECK_EQUAL(ws_try(host.ws, "/", "X-Forwarded-For: 2001:db8::3\r\n"), 429);
    CHECK_EQUAL(ws_try(host.ws, "/", "X-Forwarded-For: 2001:db8:0:1::\r\n"),
                101);
    for (int i = 0; i < 4; i++) {
        member_close(&members[i]);
    }
    host_stop(&host);
}

static void test_nobody_else_is_believed(void **state)
{
    static const char *const trusted[] = {"10.0.0.0/8", NULL};
    struct peal_rate one = {1, 1, 1000000};
    struct peer peer;
    int count = 0;

    (void)state;
    begin((struct peal_server_options){
        .trusted_proxies = trusted,
        .clients_per_address_max = 1,
        .address_rate = one,
    });
    ws_open(&peer, host.ws, "/");
    for (int i = 0; i < 5; i++) {
        char header[64];

        snprintf(header, sizeof header, "X-Forwarded-For: 10.0.0.%d\r\n", i);
        count += ws_try(host.ws, "/", header) == 429;
    }
    CHECK_EQUAL(count, 5);
    ws_goodbye(&peer);
    host_stop(&host);
}

/* The bucket of an address is the client's, not the proxy's. */
static void test_rates_of_addresses(void **state)
{
    static const char *const trusted[] = {"127.0.0.1", NULL};
    struct member members[2];

    (void)state;
    begin((struct peal_server_options){
        .trusted_proxies = trusted,
        .forwarded_header = "Forwarded",
        .address_rate = {1, 1, 1000000},
    });
    open_as(&members[0], "Forwarded: for=192.0.2.1\r\n", "192.0.2.1:0");
    open_as(&members[1], "Forwarded: for=\"192.0.2.2:7\"\r\n", "192.0.2.2:7");
    for (int i = 0; i < 2; i++) {
        member_say(&members[i], "{'event':'who','id':1}");
        member_expect_failure(&members[i], "1", 110);
        member_close(&members[i]);
    }
    host_stop(&host);
}

static void test_refusals(void **state)
{
    static const char *const origins[] = {"https://a.b", "", NULL};
    struct ws_received received;
    struct member member;
    struct peer peer;

    (void)state;
    begin((struct peal_server_options){
        .refuse_by = PEAL_REFUSE_BY_CLOSE,
        .clients_max = 1,
        .origins = origins,
    });
    member_open(&member, host.tcp, true);
    peer_dial(&peer, host.ws);
    ws_ask(&peer, "/", "");
    ws_expect_open(&peer);
    ws_expect_close(&peer, 1013);
    CHECK(!ws_read(&peer, &received));
    peer_close(&peer);
    peer_dial(&peer, host.ws);
    ws_ask(&peer, "/", "Origin: https://evil.org\r\n");
    ws_expect_open(&peer);
    ws_expect_close(&peer, 1008);
    peer_close(&peer);
    CHECK_EQUAL(ws_try(host.ws, "/", "Sec-WebSocket-Key: x\r\n"), 400);
    member_close(&member);
    host_await_empty(&host);
    host_stop(&host);

    begin((struct peal_server_options){
        .refuse_by = PEAL_REFUSE_BY_HANGUP,
        .clients_max = 1,
        .origins = origins,
    });
    member_open(&member, host.ws, false);
    for (int i = 0; i < 2; i++) {
        peer_dial(&peer, host.ws);
        ws_ask(&peer, "/", i == 0 ? "" : "Origin: https://evil.org\r\n");
        peer_expect_end(&peer);
        peer_close(&peer);
    }
    CHECK_EQUAL(host_stats(&host).refused_clients, 1);
    CHECK_EQUAL(host_stats(&host).refused_origins, 1);
    member_close(&member);
    host_await_empty(&host);
    host_stop(&host);
}

/* The Retry-After of a refusal with this status; -1: none. */
static long retry_after(int status)
{
    struct http_reply reply;
    struct peer peer;
    char value[32];

    peer_dial(&peer, host.ws);
    ws_ask(&peer, "/", "");
    http_read(&peer, &reply, true);
    CHECK_EQUAL(reply.status, status);
    peer_close(&peer);
    return http_header(&reply, "Retry-After", value, sizeof value)
               ? strtol(value, NULL, 10)
               : -1;
}

static void test_retry_after(void **state)
{
    static const struct {
        uint32_t option;
        long told;
    } cases[] = {{0, 5}, {7, 7}, {PEAL_OFF, -1}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (int is_address = 0; is_address < 2; is_address++) {
            struct member member;

            begin((struct peal_server_options){
                .retry_after_s = cases[i].option,
                .clients_max = is_address ? 0 : 1,
                .clients_per_address_max = is_address ? 1 : 0,
            });
            member_open(&member, host.ws, false);
            CHECK_EQUAL(retry_after(is_address ? 429 : 503), cases[i].told);
            member_close(&member);
            host_await_empty(&host);
            host_stop(&host);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_trusted_proxies),
        cmocka_unit_test(test_nobody_else_is_believed),
        cmocka_unit_test(test_rates_of_addresses),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_retry_after),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
