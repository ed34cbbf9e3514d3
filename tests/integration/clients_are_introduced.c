/*
 * Goal: on_connect sees what a client brought with it, and the application
 * decides what it is called, whether it comes in, and what is kept about it.
 *
 * Method: clients connect with paths, queries, headers, subprotocols and
 * addresses; the server's callbacks compare them with what was sent, by the
 * name in the query.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct host host;
static _Atomic int connects;

static bool is(struct peal_slice slice, const char *text)
{
    return peal_slice_equal(slice, peal_slice(text));
}

/* What each test expects of the next client: NULL is not looked at. */
static struct {
    const char *path;
    const char *query;
    const char *origin;
    const char *protocol;
    const char *address_prefix;
    enum peal_dialect dialect;
    enum peal_transport transport;
} expected;

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    char address[PEAL_ADDRESS_MAX];

    CHECK(user == &host);
    CHECK_EQUAL(connect->transport, expected.transport);
    CHECK_EQUAL(peal_client_transport(client), expected.transport);
    CHECK_EQUAL(connect->dialect, expected.dialect);
    CHECK_EQUAL(peal_client_dialect(client), expected.dialect);
    CHECK(peal_client_server(client) != NULL);
    CHECK(expected.path == NULL || is(connect->path, expected.path));
    CHECK(expected.query == NULL || is(connect->query, expected.query));
    CHECK(expected.origin == NULL || is(connect->origin, expected.origin));
    CHECK(expected.protocol == NULL ||
          is(connect->protocol, expected.protocol));
    peal_client_address(client, address);
    CHECK(strcmp(address, connect->address) == 0);
    CHECK(strncmp(address, "127.0.0.1:", 10) == 0);
    if (connect->transport == PEAL_WS) {
        CHECK(is(peal_connect_header(connect, "hOST"), "localhost"));
        CHECK(peal_connect_header(connect, "X-None").data == NULL);
    } else {
        CHECK(peal_connect_header(connect, "Host").data == NULL);
        CHECK_EQUAL(connect->path.size, 0);
    }
    atomic_fetch_add(&connects, 1);
}

/* "?id=NAME" is called NAME; "?refuse" is not let in. */
static long make_id(const struct peal_connect *connect, char *id, void *user)
{
    CHECK(user == &host);
    if (is(connect->query, "refuse")) {
        return PEAL_EREFUSED;
    }
    if (is(connect->query, "long")) {
        /* Fills it, and a zero byte behind it. */
        return snprintf(id, PEAL_ID_MAX + 1, "%0*d", PEAL_ID_MAX, 7);
    }
    if (is(connect->query, "longer")) {
        return PEAL_ID_MAX + 1;
    }
    if (is(connect->query, "binary")) {
        memcpy(id, "\xff\xfe", 2);
        return 2;
    }
    if (connect->query.size > 3 && memcmp(connect->query.data, "id=", 3) == 0) {
        memcpy(id, connect->query.data + 3, connect->query.size - 3);
        return (long)connect->query.size - 3;
    }
    return 0;
}

/* Answers with what is stored under the name in the data, having stored it. */
static void on_meta(struct peal_client *from, const struct peal_event *event,
                    struct peal_request request, void *user)
{
    static char value[2000];
    char json[64];
    long size = strtol(event->data.data, NULL, 10);

    (void)user;
    CHECK(size < (long)sizeof value);
    memset(value, 'v', (size_t)size);
    value[size] = '\0';
    snprintf(json, sizeof json, "%d", peal_client_set(from, "key", value));
    CHECK_EQUAL(peal_request_answer(request, json), 0);
}

static void on_stored(struct peal_client *from, const struct peal_event *event,
                      struct peal_request request, void *user)
{
    const char *value = peal_client_get(from, "key");
    char json[64];

    (void)event;
    (void)user;
    CHECK(peal_client_get(from, "other") == NULL);
    snprintf(json, sizeof json, "%d", value == NULL ? -1 : (int)strlen(value));
    CHECK_EQUAL(peal_request_answer(request, json), 0);
}

static void on_forget(struct peal_client *from, const struct peal_event *event,
                      void *user)
{
    (void)event;
    (void)user;
    CHECK_EQUAL(peal_client_set(from, "key", NULL), 0);
    CHECK_EQUAL(peal_client_set(from, "key", NULL), 0);
}

static void setup(struct peal_server *server)
{
    static const struct peal_route routes[] = {
        {.size = sizeof routes[0],
         .path = "/",
         .dialect = PEAL_DIALECT_DEFAULT},
        {.size = sizeof routes[0], .path = "/raw", .dialect = PEAL_DIALECT_RAW},
        {.size = sizeof routes[0],
         .path = "/stelar",
         .dialect = PEAL_DIALECT_STELAR},
    };

    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        CHECK_EQUAL(peal_server_route(server, &routes[i]), 0);
    }
    CHECK_EQUAL(peal_server_on_request(server, "meta", on_meta, NULL), 0);
    CHECK_EQUAL(peal_server_on_request(server, "stored", on_stored, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "forget", on_forget, NULL), 0);
}

static int start_with(const char *const *protocols)
{
    struct peal_server_options options = {
        .on_connect = on_connect,
        .make_id = make_id,
        .metadata_bytes_max = 1000,
        .protocols = protocols,
        .user = &host,
    };

    memset(&expected, 0, sizeof expected);
    expected.dialect = PEAL_DIALECT_PEAL;
    atomic_store(&connects, 0);
    host_start(&host, &options, setup);
    return 0;
}

static int start(void **state)
{
    (void)state;
    return start_with(NULL);
}

static int start_with_protocols(void **state)
{
    static const char *const protocols[] = {"chat.v2", "chat.v1", NULL};

    (void)state;
    return start_with(protocols);
}

static int stop(void **state)
{
    (void)state;
    host_await_empty(&host);
    host_stop(&host);
    return 0;
}

/* Connects and leaves again. */
static void visit(const char *target, const char *headers)
{
    struct peer peer;

    peer_dial(&peer, host.ws);
    ws_ask(&peer, target, headers);
    ws_expect_open(&peer);
    ws_goodbye(&peer);
}

/* --- What it brought ----------------------------------------------------- */

static void paths_queries_and_origins(void **state)
{
    (void)state;
    expected.path = "/";
    expected.query = "";
    expected.origin = "";
    expected.protocol = "";
    visit("/", "");
    expected.query = "token=a%20b&x=?/";
    expected.origin = "https://app.example:8443";
    visit("/?token=a%20b&x=?/", "Origin: https://app.example:8443\r\n");
    CHECK_EQUAL(atomic_load(&connects), 2);
}

static void routes_choose_the_dialect(void **state)
{
    struct peer peer;

    (void)state;
    expected.path = "/raw";
    expected.dialect = PEAL_DIALECT_RAW;
    /* No welcome: the first frame is the answer to our close. */
    ws_open(&peer, host.ws, "/raw");
    ws_send_close(&peer, 1000, "");
    ws_expect_close(&peer, 1000);
    peer_close(&peer);
    expected.path = "/stelar";
    expected.dialect = PEAL_DIALECT_STELAR;
    ws_open(&peer, host.ws, "/stelar");
    ws_send_close(&peer, 1000, "");
    ws_expect_close(&peer, 1000);
    peer_close(&peer);
    CHECK_EQUAL(atomic_load(&connects), 2);
    CHECK_EQUAL(ws_try(host.ws, "/other", ""), 404);
}

static void tcp_brings_an_address(void **state)
{
    struct member member;

    (void)state;
    expected.transport = PEAL_TCP;
    member_open(&member, host.tcp, true);
    CHECK_EQUAL(atomic_load(&connects), 1);
    member_close(&member);
}

/* The subprotocol in the answer to an upgrade; "" for none. */
static void offer(const char *headers, const char *chosen)
{
    struct http_reply reply;
    char value[64] = "";
    struct peer peer;

    expected.protocol = chosen;
    peer_dial(&peer, host.ws);
    ws_ask(&peer, "/", headers);
    http_read(&peer, &reply, false);
    CHECK_EQUAL(reply.status, 101);
    http_header(&reply, "Sec-WebSocket-Protocol", value, sizeof value);
    CHECK(strcmp(value, chosen) == 0);
    peer_close(&peer);
}

static void the_best_subprotocol_is_chosen(void **state)
{
    (void)state;
    offer("", "");
    offer("Sec-WebSocket-Protocol: chat.v1\r\n", "chat.v1");
    offer("Sec-WebSocket-Protocol: chat.v1, chat.v2\r\n", "chat.v2");
    offer("Sec-WebSocket-Protocol: x\r\n"
          "Sec-WebSocket-Protocol: chat.v1\r\n",
          "chat.v1");
    offer("Sec-WebSocket-Protocol: CHAT.V1, chat\r\n", "");
}

static void the_dialect_has_a_subprotocol(void **state)
{
    (void)state;
    offer("Sec-WebSocket-Protocol: x, peal\r\n", "peal");
    offer("Sec-WebSocket-Protocol: x\r\n", "");
}

/* --- What it is called --------------------------------------------------- */

static void expect_id(struct member *member, const char *target, const char *id)
{
    *member = (struct member){.is_tcp = false};
    ws_open(&member->peer, host.ws, target);
    member_welcome(member);
    if (id != NULL) {
        CHECK(strcmp(member->id, id) == 0);
    }
    CHECK(peal_server_find(host.server, member->id).value != 0);
}

static void ids_of_the_application(void **state)
{
    struct member ada;
    struct member long_one;
    struct member nameless;
    char long_id[PEAL_ID_MAX + 1];

    (void)state;
    snprintf(long_id, sizeof long_id, "%0*d", PEAL_ID_MAX, 7);
    expect_id(&ada, "/?id=ada", "ada");
    expect_id(&long_one, "/?long", long_id);
    expect_id(&nameless, "/", NULL);
    CHECK_EQUAL(ws_try(host.ws, "/?id=ada", ""), 409);
    CHECK_EQUAL(ws_try(host.ws, "/?refuse", ""), 403);
    CHECK(ws_try(host.ws, "/?binary", "") >= 400);
    CHECK(ws_try(host.ws, "/?longer", "") >= 400);
    CHECK_EQUAL(atomic_load(&connects), 3);
    member_expect_silence(&ada);
    member_close(&ada);
    CHECK_SOON(host_stats(&host).clients == 2);
    CHECK_EQUAL(peal_server_find(host.server, "ada").value, 0);
    expect_id(&ada, "/?id=ada", "ada");
    member_close(&ada);
    member_close(&long_one);
    member_close(&nameless);
}

static void ids_are_uuids_otherwise(void **state)
{
    struct member members[20];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        const char *id = members[i].id;

        expect_id(&members[i], "/", NULL);
        /* RFC 9562, 4: version 4, variant 10xx. */
        CHECK_EQUAL(strlen(id), 36);
        CHECK_EQUAL(strspn(id, "0123456789abcdef-"), 36);
        CHECK(id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-');
        CHECK_EQUAL(id[14], '4');
        CHECK(strchr("89ab", id[19]) != NULL);
        for (size_t k = 0; k < i; k++) {
            CHECK(strcmp(id, members[k].id) != 0);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        member_close(&members[i]);
    }
}

/* --- What is kept about it ----------------------------------------------- */

static void metadata_is_bounded(void **state)
{
    struct member member;

    (void)state;
    expect_id(&member, "/", NULL);
    member_say(&member, "{'event':'stored','id':1,'data':0}");
    member_expect(&member, "{'event':'peal:ok','id':1,'data':-1}");
    member_say(&member, "{'event':'meta','id':2,'data':900}");
    member_expect(&member, "{'event':'peal:ok','id':2,'data':0}");
    /* It replaces, so it is not added; but it is too much alone. */
    member_say(&member, "{'event':'meta','id':3,'data':950}");
    member_expect(&member, "{'event':'peal:ok','id':3,'data':0}");
    member_say(&member, "{'event':'meta','id':4,'data':1000}");
    member_expect(&member, "{'event':'peal:ok','id':4,'data':%d}", PEAL_ELIMIT);
    CHECK_EQUAL(host_stats(&host).refused_metadata, 1);
    member_say(&member, "{'event':'stored','id':5,'data':0}");
    member_expect(&member, "{'event':'peal:ok','id':5,'data':950}");
    member_say(&member, "{'event':'forget','id':6}");
    member_expect(&member, "{'event':'peal:ok','id':6}");
    member_say(&member, "{'event':'stored','id':7,'data':0}");
    member_expect(&member, "{'event':'peal:ok','id':7,'data':-1}");
    member_close(&member);
}

/* Each client has its own, and a new one has none. */
static void metadata_is_private(void **state)
{
    struct member first;
    struct member second;

    (void)state;
    expect_id(&first, "/", NULL);
    member_say(&first, "{'event':'meta','id':1,'data':5}");
    member_expect(&first, "{'event':'peal:ok','id':1,'data':0}");
    expect_id(&second, "/", NULL);
    member_say(&second, "{'event':'stored','id':2,'data':0}");
    member_expect(&second, "{'event':'peal:ok','id':2,'data':-1}");
    member_close(&first);
    member_close(&second);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(paths_queries_and_origins),
        TEST(routes_choose_the_dialect),
        TEST(tcp_brings_an_address),
        cmocka_unit_test_setup_teardown(the_best_subprotocol_is_chosen,
                                        start_with_protocols, stop),
        TEST(the_dialect_has_a_subprotocol),
        TEST(ids_of_the_application),
        TEST(ids_are_uuids_otherwise),
        TEST(metadata_is_bounded),
        TEST(metadata_is_private),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
