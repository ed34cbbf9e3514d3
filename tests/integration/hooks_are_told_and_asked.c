/*
 * Goal: each hook is called once for what it is about, with what it is about,
 * and those that may say no are obeyed.
 *
 * Method: every hook writes down what it was given; each test does the one
 * thing that calls it, on both transports where there is a difference. `user`
 * is another one by then than the server was made with.
 */
#include "support/suite.h"

#include <peal/policy.h>

#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static struct host host;

static struct {
    _Atomic int calls;
    char what[512];
} told;

/* `what` is read after `calls` has been seen to grow. */
static void tell(const char *what)
{
    snprintf(told.what, sizeof told.what, "%s", what);
    atomic_fetch_add(&told.calls, 1);
}

static void expect_told(int calls, const char *what)
{
    CHECK_SOON(atomic_load(&told.calls) == calls);
    if (strcmp(told.what, what) != 0) {
        fprintf(stderr, "told: %s\n", told.what);
        CHECK(!"something else was told");
    }
}

static void on_max_connections(struct peal_server *server,
                               const struct peal_connections_limited *limited,
                               void *user)
{
    char text[256];

    CHECK(server != NULL && user == &host);
    CHECK(strncmp(limited->connect->address, "127.0.0.1:", 10) == 0);
    snprintf(text, sizeof text, "%s %u %llu %d", limited->limit, limited->max,
             (unsigned long long)limited->clients,
             limited->connect->transport == PEAL_TCP);
    tell(text);
}

static void tell_rooms(const char *hook,
                       const struct peal_rooms_limited *limited)
{
    char text[256];

    snprintf(text, sizeof text, "%s %.*s %llu %u", hook,
             (int)limited->room.size, limited->room.data,
             (unsigned long long)limited->rooms, limited->max);
    tell(text);
}

static void on_max_rooms(struct peal_client *client,
                         const struct peal_rooms_limited *limited, void *user)
{
    CHECK(client != NULL && user == &host);
    tell_rooms("rooms", limited);
}

static void on_max_rooms_per_client(struct peal_client *client,
                                    const struct peal_rooms_limited *limited,
                                    void *user)
{
    CHECK(client != NULL && user == &host);
    tell_rooms("rooms of client", limited);
}

static void on_too_large(struct peal_client *client,
                         const struct peal_too_large *message, void *user)
{
    char text[256];

    CHECK(client != NULL && user == &host);
    snprintf(text, sizeof text, "%llu of %llu%.*s",
             (unsigned long long)message->size,
             (unsigned long long)message->max, (int)message->event.size,
             message->event.data);
    tell(text);
}

static void on_invalid(struct peal_client *client,
                       const struct peal_failure *failure, void *user)
{
    char text[256];

    CHECK(client != NULL && user == &host);
    snprintf(text, sizeof text, "%d %s", failure->code, failure->name);
    tell(text);
}

static int on_leave(struct peal_client *client, struct peal_slice room,
                    void *user)
{
    CHECK(client != NULL && user == &host);
    return peal_slice_equal(room, peal_slice("jail")) ? PEAL_EACCESS : 0;
}

static int before_broadcast(struct peal_server *server,
                            struct peal_client *from,
                            const struct peal_event *event,
                            const struct peal_client_ref *except,
                            size_t except_count, void *user)
{
    char text[256];

    CHECK(server == host.server && user == &host);
    CHECK(except_count == 0 || except[0].value != 0);
    snprintf(text, sizeof text, "%.*s to '%.*s' from %s but %d",
             (int)event->name.size, event->name.data, (int)event->room.size,
             event->room.size > 0 ? event->room.data : "",
             from != NULL ? "client" : "nobody", (int)except_count);
    tell(text);
    return peal_slice_equal(event->name, peal_slice("secret")) ? PEAL_EREFUSED
                                                               : 0;
}

static int before_emit(struct peal_client *client,
                       const struct peal_event *event, void *user)
{
    CHECK(client != NULL && user == &host);
    CHECK(event->kind == PEAL_JSON && event->room.size == 0);
    if (peal_slice_equal(event->name, peal_slice("secret"))) {
        return PEAL_EACCESS;
    }
    CHECK(peal_slice_equal(event->data, peal_slice("1")));
    return 0;
}

static void after_emit(struct peal_client *client,
                       const struct peal_event *event, int status, void *user)
{
    char text[256];

    CHECK(client != NULL && user == &host);
    snprintf(text, sizeof text, "%.*s %s", (int)event->name.size,
             event->name.data, peal_error_name(status));
    tell(text);
}

static void on_any(struct peal_client *from, const struct peal_event *event,
                   void *user)
{
    struct peal_event plain = peal_json("plain", "1");
    struct peal_event secret = peal_json("secret", "2");

    (void)user;
    if (peal_slice_equal(event->name, peal_slice("emit"))) {
        CHECK_EQUAL(peal_client_emit(from, &secret), PEAL_EACCESS);
        CHECK_EQUAL(peal_client_emit(from, &plain), 0);
    } else if (peal_slice_equal(event->name, peal_slice("broadcast"))) {
        CHECK_EQUAL(peal_broadcast(from, &secret), PEAL_EREFUSED);
        CHECK_EQUAL(peal_room_emit(from, "a", &plain), 0);
    } else if (peal_slice_equal(event->name, peal_slice("join"))) {
        CHECK_EQUAL(peal_client_join(from, "third"), PEAL_ELIMIT);
    }
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on_any(server, on_any, NULL), 0);
}

static void begin(struct peal_server_options options,
                  const struct peal_hooks *hooks)
{
    struct peal_hooks sized = *hooks;

    sized.size = sizeof sized;
    atomic_store(&told.calls, 0);
    options.hooks = &sized;
    options.user = NULL;
    options.clients_may_join = true;
    options.clients_may_publish = true;
    host_start(&host, &options, setup);
    options.size = sizeof options;
    CHECK_EQUAL(peal_server_config(host.server, &options), 0);
    options.user = &host;
    CHECK_EQUAL(peal_server_update(host.server, &options, NULL), 0);
}

static void test_connections(void **state)
{
    struct peal_hooks hooks = {.on_max_connections = on_max_connections};
    struct member member;
    struct peer peer;

    (void)state;
    begin((struct peal_server_options){.clients_max = 1}, &hooks);
    member_open(&member, host.ws, false);
    CHECK_EQUAL(ws_try(host.ws, "/", ""), 503);
    expect_told(1, "clients_max 1 1 0");
    peer_dial(&peer, host.tcp);
    peer_drain(&peer);
    peer_close(&peer);
    expect_told(2, "clients_max 1 1 1");
    member_close(&member);
    host_stop(&host);

    begin((struct peal_server_options){.clients_per_address_max = 1}, &hooks);
    member_open(&member, host.ws, false);
    CHECK_EQUAL(ws_try(host.ws, "/", ""), 429);
    expect_told(1, "clients_per_address_max 1 1 0");
    member_close(&member);
    host_stop(&host);
}

static void test_rooms(void **state)
{
    struct peal_hooks hooks = {
        .on_max_rooms = on_max_rooms,
        .on_max_rooms_per_client = on_max_rooms_per_client,
    };
    struct member member;
    struct member other;

    (void)state;
    begin((struct peal_server_options){.rooms_per_client_max = 2}, &hooks);
    member_open(&member, host.ws, false);
    member_join(&member, "first");
    member_join(&member, "second");
    member_join(&member, "first"); /* again: no limit is asked */
    CHECK_EQUAL(atomic_load(&told.calls), 0);
    member_say(&member, "{'event':'peal:join','id':1,'data':{'room':'q'}}");
    member_expect_failure(&member, "1", 105);
    expect_told(1, "rooms of client q 2 2");
    member_say(&member, "{'event':'join','id':2}");
    member_expect(&member, "{'event':'peal:ok','id':2}");
    expect_told(2, "rooms of client third 2 2");
    member_close(&member);
    host_stop(&host);

    begin((struct peal_server_options){.rooms_max = 2, .loops = 2}, &hooks);
    member_open(&member, host.ws, false);
    member_open(&other, host.tcp, true);
    member_join(&member, "first");
    member_join(&other, "second");
    member_join(&member, "second"); /* exists: no new room */
    member_say(&other, "{'event':'join','id':2}");
    member_expect(&other, "{'event':'peal:ok','id':2}");
    expect_told(1, "rooms third 2 2");
    /* A room that is empty makes room for another. */
    member_say(&member, "{'event':'peal:leave','id':3,"
                        "'data':{'room':'first'}}");
    member_expect(&member, "{'event':'peal:ok','id':3}");
    CHECK_SOON(host_stats(&host).rooms == 1);
    member_join(&other, "third");
    expect_told(1, "rooms third 2 2");
    member_close(&member);
    member_close(&other);
    CHECK_SOON(host_stats(&host).rooms == 0);
    host_stop(&host);
}

static void test_messages(void **state)
{
    struct peal_hooks hooks = {
        .on_too_large = on_too_large,
        .on_invalid = on_invalid,
    };
    struct member member;
    static char large[5000];

    (void)state;
    memset(large, 'x', sizeof large);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        begin((struct peal_server_options){.message_bytes_max = 4096}, &hooks);
        member_open(&member, host_address(&host, is_tcp), is_tcp);
        member_say(&member, "null");
        member_expect_failure(&member, NULL, 100);
        expect_told(1, "100 bad_message");
        if (is_tcp) {
            tcp_send(&member.peer, TCP_BINARY_FRAME, "b", large, sizeof large);
        } else {
            ws_send(&member.peer, WS_BINARY_FRAME, large, sizeof large);
        }
        expect_told(2, is_tcp ? "5008 of 4096b" : "5000 of 4096");
        member_expect_close(&member, 1009);
        host_stop(&host);
    }
}

/* A frame's head tells its size, if it is that of a whole message. */
static void test_sizes_of_frames(void **state)
{
    static const struct {
        unsigned char head[14];
        size_t size;
        const char *told;
    } frames[] = {
        {{0x82, 0xff, 0, 0, 0, 1, 2, 3, 4, 5}, 14, "4328719365 of 4096"},
        {{0x82, 0xff, 0, 0, 0, 0, 0, 2, 0, 0}, 14, "131072 of 4096"},
        {{0x82, 0xfe, 0x10, 0x01}, 8, "4097 of 4096"},
    };
    struct peal_hooks hooks = {.on_too_large = on_too_large};
    static char part[4000];
    struct member member;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
        begin((struct peal_server_options){.message_bytes_max = 4096}, &hooks);
        member_open(&member, host.ws, false);
        peer_send(&member.peer, frames[i].head, frames[i].size);
        expect_told(1, frames[i].told);
        member_expect_close(&member, 1009);
        host_stop(&host);
    }
    begin((struct peal_server_options){.message_bytes_max = 4096}, &hooks);
    member_open(&member, host.ws, false);
    ws_send(&member.peer, 0x02, part, sizeof part); /* to be continued */
    ws_send(&member.peer, 0x80, part, sizeof part);
    expect_told(1, "0 of 4096");
    member_expect_close(&member, 1009);
    host_stop(&host);
}

/* How large it would have become nobody knows. */
static void test_compressed_sizes(void **state)
{
    const struct peal_deflate_options enabled = {
        .size = sizeof enabled, .enabled = true};
    struct peal_hooks hooks = {.on_too_large = on_too_large};
    static char zeros[100000];
    char packed[512];
    z_stream stream = {.next_in = (unsigned char *)zeros,
                       .avail_in = sizeof zeros,
                       .next_out = (unsigned char *)packed,
                       .avail_out = sizeof packed};
    static struct http_reply reply;
    struct peer peer;
    size_t size;

    (void)state;
    CHECK_EQUAL(deflateInit2(&stream, 9, Z_DEFLATED, -15, 9,
                             Z_DEFAULT_STRATEGY),
                Z_OK);
    CHECK_EQUAL(deflate(&stream, Z_SYNC_FLUSH), Z_OK);
    CHECK(stream.avail_in == 0 && stream.avail_out > 0);
    size = sizeof packed - stream.avail_out - 4; /* RFC 7692, 7.2.1 */
    deflateEnd(&stream);
    begin((struct peal_server_options){.message_bytes_max = 4096,
                                       .deflate = &enabled},
          &hooks);
    peer_dial(&peer, host.ws);
    ws_ask(&peer, "/", "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    http_read(&peer, &reply, false);
    CHECK_EQUAL(reply.status, 101);
    ws_send(&peer, 0xc2, packed, size);
    expect_told(1, "0 of 4096");
    ws_await_close(&peer, 1009);
    host_stop(&host);
}

static void test_leaves(void **state)
{
    struct peal_hooks hooks = {.on_leave = on_leave};
    struct member member;

    (void)state;
    begin((struct peal_server_options){.size = 0}, &hooks);
    member_open(&member, host.tcp, true);
    member_join(&member, "jail");
    member_join(&member, "park");
    member_say(&member, "{'event':'peal:leave','id':1,"
                        "'data':{'room':'jail'}}");
    member_expect_failure(&member, "1", 102);
    member_say(&member, "{'event':'peal:leave','id':2,"
                        "'data':{'room':'park'}}");
    member_expect(&member, "{'event':'peal:ok','id':2}");
    CHECK_EQUAL(peal_server_members(host.server, "jail", NULL, 0), 1);
    CHECK_EQUAL(peal_server_members(host.server, "park", NULL, 0), 0);
    member_close(&member);
    host_stop(&host);
}

static void test_broadcasts(void **state)
{
    struct peal_hooks hooks = {.before_broadcast = before_broadcast};
    struct peal_event plain = peal_json("plain", "3");
    struct peal_event secret = peal_json("secret", NULL);
    struct member member;
    struct member other;

    (void)state;
    begin((struct peal_server_options){.size = 0}, &hooks);
    member_open(&member, host.ws, false);
    member_open(&other, host.tcp, true);
    member_join(&member, "a");
    member_join(&other, "a");
    member_say(&member, "{'event':'broadcast','id':1}");
    member_expect(&member, "{'event':'peal:ok','id':1}");
    expect_told(2, "plain to 'a' from client but 1");
    member_expect(&other, "{'event':'plain','room':'a','data':1}");
    /* A client that publishes. */
    member_say(&member, "{'event':'secret','room':'a','id':2}");
    member_expect_failure(&member, "2", 108);
    expect_told(3, "secret to 'a' from client but 1");
    /* From the application, on this thread. */
    CHECK_EQUAL(peal_server_broadcast(host.server, &secret, NULL, 0),
                PEAL_EREFUSED);
    expect_told(4, "secret to '' from nobody but 0");
    CHECK_EQUAL(peal_server_room_emit(host.server, "a", &plain, NULL, 0), 0);
    expect_told(5, "plain to 'a' from nobody but 0");
    member_expect(&member, "{'event':'plain','room':'a','data':3}");
    member_expect(&other, "{'event':'plain','room':'a','data':3}");
    member_expect_silence(&other);
    member_close(&member);
    member_close(&other);
    host_stop(&host);
}

static void test_emits(void **state)
{
    struct peal_hooks hooks = {
        .before_emit = before_emit,
        .after_emit = after_emit,
    };
    struct peal_event secret = peal_json("secret", NULL);
    struct member member;

    (void)state;
    begin((struct peal_server_options){.size = 0}, &hooks);
    member_open(&member, host.ws, false);
    member_say(&member, "{'event':'emit','id':1}");
    member_expect(&member, "{'event':'plain','data':1}");
    member_expect(&member, "{'event':'peal:ok','id':1}");
    expect_told(2, "plain ok");
    CHECK_EQUAL(peal_server_emit(host.server,
                                 peal_server_find(host.server, member.id),
                                 &secret),
                0);
    expect_told(3, "secret access");
    member_expect_silence(&member);
    member_close(&member);
    host_stop(&host);

    /* Either of them alone. */
    for (int is_before = 0; is_before < 2; is_before++) {
        hooks = (struct peal_hooks){
            .before_emit = is_before ? before_emit : NULL,
            .after_emit = is_before ? NULL : after_emit,
        };
        begin((struct peal_server_options){.size = 0}, &hooks);
        member_open(&member, host.ws, false);
        CHECK_EQUAL(peal_server_emit(host.server,
                                     peal_server_find(host.server, member.id),
                                     &secret),
                    0);
        if (is_before) {
            member_expect_silence(&member);
            CHECK_EQUAL(atomic_load(&told.calls), 0);
        } else {
            member_expect(&member, "{'event':'secret'}");
            expect_told(1, "secret ok");
        }
        member_close(&member);
        host_stop(&host);
    }
}

static void test_sizes(void **state)
{
    struct peal_hooks hooks = {.size = sizeof hooks + 1};
    struct peal_server_options options = {
        .size = sizeof options,
        .hooks = &hooks,
    };
    struct peal_server *server;

    (void)state;
    CHECK_EQUAL(peal_server_new(&server, &options), PEAL_EINVAL);
    hooks.size = 0;
    CHECK_EQUAL(peal_server_new(&server, &options), PEAL_EINVAL);
    hooks.size = sizeof hooks.size;
    CHECK_EQUAL(peal_server_new(&server, &options), 0);
    peal_server_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connections), cmocka_unit_test(test_rooms),
        cmocka_unit_test(test_messages),    cmocka_unit_test(test_leaves),
        cmocka_unit_test(test_sizes_of_frames),
        cmocka_unit_test(test_compressed_sizes),
        cmocka_unit_test(test_broadcasts),  cmocka_unit_test(test_emits),
        cmocka_unit_test(test_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
