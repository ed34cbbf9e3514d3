/*
 * Goal: connections that are reset, end, fall silent or crawl, at any point of
 * what they were saying, leave nothing behind and disturb nobody.
 *
 * Method: a script that leads through all states of a connection is cut after
 * each of its bytes, in three ways; peers that send half a head, do not read,
 * or send one byte at a time are left to the server's deadlines. Well-behaved
 * clients talk all the while and must not miss a message.
 */
#include "support/suite.h"

#include "support/bystanders.h"
#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <poll.h>
#include <string.h>

#define SCRIPT_MAX 2048
#define QUEUE_BYTES_MAX 65536
#define FAST_MS 200

struct script {
    char bytes[SCRIPT_MAX];
    size_t size;
};

struct world {
    struct host host;
    struct bystanders *bystanders;
};

/* More than any queue may hold, and then a close, in one callback. */
static void on_flood(struct peal_client *from, const struct peal_event *event,
                     void *user)
{
    static char big[4 * QUEUE_BYTES_MAX];
    struct peal_event reply = peal_bytes("flood", big, sizeof big);

    (void)event;
    (void)user;
    (void)peal_client_emit(from, &reply);
    (void)peal_client_close(from, 4000, "enough");
}

static void on_echo(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)user;
    (void)peal_client_emit(from, event);
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on(server, "flood", on_flood, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "echo", on_echo, NULL), 0);
}

static int start_with(void **state, struct peal_server_options options)
{
    static struct world world;

    options.clients_may_join = true;
    options.clients_may_publish = true;
    options.queue_bytes_max = QUEUE_BYTES_MAX;
    options.health_path = "/health";
    host_start(&world.host, &options, setup);
    world.bystanders = bystanders_start(&world.host);
    *state = &world;
    return 0;
}

static int start(void **state)
{
    return start_with(state, (struct peal_server_options){.size = 0});
}

/* Deadlines that come soon; the bystanders talk more often than that. */
static int start_impatient(void **state)
{
    return start_with(state, (struct peal_server_options){
                                 .handshake_timeout_ms = FAST_MS,
                                 .close_timeout_ms = FAST_MS,
                             });
}

static int start_pinging(void **state)
{
    return start_with(state, (struct peal_server_options){
                                 .ping_interval_ms = FAST_MS,
                                 .ping_timeout_ms = 10 * FAST_MS,
                             });
}

static int stop(void **state)
{
    struct world *world = *state;

    bystanders_stop(world->bystanders);
    host_await_empty(&world->host);
    CHECK_EQUAL(host_stats(&world->host).rooms, 0);
    CHECK_EQUAL(host_stats(&world->host).requests_pending, 0);
    host_stop(&world->host);
    return 0;
}

/* --- Cut anywhere -------------------------------------------------------- */

static void add(struct script *script, const void *data, size_t size)
{
    CHECK(script->size + size <= sizeof script->bytes);
    memcpy(script->bytes + script->size, data, size);
    script->size += size;
}

static void add_frame(struct script *script, unsigned first, const char *text)
{
    char frame[256];

    add(script, frame, ws_make(frame, first, text, strlen(text)));
}

static void add_tcp(struct script *script, int type, const char *event,
                    const char *text)
{
    char frame[256];

    add(script, frame, tcp_make(frame, type, event, text, strlen(text)));
}

static struct script ws_script(void)
{
    static const char upgrade[] =
        "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct script script = {.size = 0};

    add(&script, upgrade, sizeof upgrade - 1);
    add_frame(&script, WS_TEXT_FRAME,
              "{\"event\":\"peal:join\",\"data\":{\"room\":\"r\"}}");
    add_frame(&script, 0x01, "{\"event\":\"echo\",");
    add_frame(&script, WS_PING_FRAME, "ping");
    add_frame(&script, 0x80, "\"id\":1}");
    add_frame(&script, WS_TEXT_FRAME, "{\"event\":\"flood\"}");
    add_frame(&script, WS_CLOSE_FRAME, "\x0f\xa0");
    return script;
}

static struct script tcp_script(void)
{
    struct script script = {.size = 0};

    add_tcp(&script, TCP_JOIN_FRAME, NULL, "{\"room\":\"r\"}");
    add_tcp(&script, TCP_JSON_FRAME, "echo", "[1,2,3]");
    add_tcp(&script, TCP_PING_FRAME, NULL, "");
    add_tcp(&script, TCP_REQUEST_FRAME, "echo", "{\"id\":1}");
    add_tcp(&script, TCP_BINARY_FRAME, "flood", "x");
    add_tcp(&script, TCP_DISCONNECT_FRAME, NULL, "{\"code\":1000}");
    return script;
}

enum end { END_RESET, END_CLOSE, END_HALF, END_COUNT };

static void cut_everywhere(struct world *world, const struct script *script,
                           const char *address)
{
    for (size_t size = 0; size <= script->size; size++) {
        for (enum end end = END_RESET; end < END_COUNT; end++) {
            struct peer peer;

            peer_dial(&peer, address);
            peer_send(&peer, script->bytes, size);
            if (end == END_RESET) {
                peer_reset(&peer);
                continue;
            }
            if (end == END_HALF) {
                peer_finish(&peer);
                peer_drain(&peer);
            }
            peer_close(&peer);
        }
    }
    bystanders_talk_on(world->bystanders);
}

static void cut_after_each_byte(void **state)
{
    struct world *world = *state;
    struct script ws = ws_script();
    struct script tcp = tcp_script();

    cut_everywhere(world, &ws, world->host.ws);
    cut_everywhere(world, &tcp, world->host.tcp);
}

/* What has been read and is answered goes to a socket that is no more. */
static void reset_while_it_is_answered(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 200; i++) {
        struct member member;

        member_open(&member, host_address(&world->host, i % 2 == 1),
                    i % 2 == 1);
        for (int k = 0; k < 10; k++) {
            member_say(&member, "{'event':'echo','id':%d}", k);
        }
        member_say(&member, "{'event':'flood'}");
        peer_reset(&member.peer);
    }
    bystanders_talk_on(world->bystanders);
}

/* --- One byte at a time -------------------------------------------------- */

static void byte_by_byte(void **state)
{
    struct world *world = *state;
    struct script script = ws_script();
    struct http_reply reply;
    struct peer peer;

    peer_dial(&peer, world->host.ws);
    for (size_t i = 0; i < script.size; i++) {
        peer_send_if_open(&peer, script.bytes + i, 1);
    }
    http_read(&peer, &reply, true);
    CHECK_EQUAL(reply.status, 200);
    ws_expect_open(&peer);
    ws_await_close(&peer, 4000);

    script = tcp_script();
    peer_dial(&peer, world->host.tcp);
    for (size_t i = 0; i < script.size; i++) {
        peer_send_if_open(&peer, script.bytes + i, 1);
    }
    peer_drain(&peer);
    peer_close(&peer);
}

/* --- Peers that keep the server waiting ---------------------------------- */

/* Half a head, half a frame in a head's place, nothing at all. */
static void heads_that_never_end(void **state)
{
    static const char *const beginnings[] = {
        "", "G", "GET / HT",
        "GET / HTTP/1.1\r\nHost: x\r\nX: ", "GET / HTTP/1.1\r\nHost: x\r\n"};
    struct world *world = *state;
    struct peer peers[50];

    for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
        const char *text = beginnings[i % ARRAY_SIZE(beginnings)];

        peer_dial(&peers[i], world->host.ws);
        peer_send(&peers[i], text, strlen(text));
    }
    for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
        peer_expect_end(&peers[i]);
        peer_close(&peers[i]);
    }
    CHECK_EQUAL(host_stats(&world->host).closed_handshake_timeout,
                ARRAY_SIZE(peers));
    bystanders_talk_on(world->bystanders);
}

/* A byte now and then does not put off the deadline of the handshake. */
static void heads_that_crawl(void **state)
{
    struct world *world = *state;
    struct peer peer;
    int sent = 0;

    peer_dial(&peer, world->host.ws);
    peer_send(&peer, "GET /", 5);
    while (!peer_has_input(&peer, 10)) {
        peer_send_if_open(&peer, "x", 1);
        CHECK(++sent < 2000);
    }
    peer_expect_end(&peer);
    peer_close(&peer);
    CHECK_EQUAL(host_stats(&world->host).closed_handshake_timeout, 1);
}

/* After the refusal of a request, who does not hang up is hung up on. */
static void refused_peers_that_stay(void **state)
{
    struct world *world = *state;
    struct http_reply reply;
    struct peer peer;

    peer_dial(&peer, world->host.ws);
    peer_send(&peer, "nonsense\r\n\r\n", 12);
    http_read(&peer, &reply, true);
    CHECK_EQUAL(reply.status, 400);
    CHECK_SOON(host_stats(&world->host).connections == 4);
    peer_close(&peer);
    bystanders_talk_on(world->bystanders);
}

/* Gone without a word: no FIN, no RST, just silence, as behind a dead link. */
static void half_open_peers_are_found_out(void **state)
{
    struct world *world = *state;
    struct member members[20];

    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        member_open(&members[i], host_address(&world->host, i % 2 == 1),
                    i % 2 == 1);
    }
    CHECK_SOON(host_stats(&world->host).closed_ping_timeout ==
               ARRAY_SIZE(members));
    CHECK_SOON(host_stats(&world->host).clients == 4);
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        peer_close(&members[i].peer);
    }
    bystanders_talk_on(world->bystanders);
}

/*
 * Sends the frame again and again until nothing has gone for a while, as then
 * all that lies in between is full. Returns how many bytes went.
 */
static size_t send_until_stuck(struct peer *peer, const char *frame,
                               size_t size)
{
    struct pollfd waiting = {.fd = peer->fd, .events = POLLOUT};
    size_t total = 0;

    while (poll(&waiting, 1, FAST_MS) > 0) {
        size_t offset = total % size;

        total += peer_send_now(peer, frame + offset, size - offset);
        CHECK(total < 200u * 1024 * 1024 && "this is never bounded");
    }
    return total;
}

/* Reads one echo; which it is does not matter. */
static void hear_echo(struct member *member)
{
    struct heard heard;

    CHECK(member_hear(member, &heard) && "an echo got lost");
    CHECK(strcmp(heard.json, "{\"event\":\"echo\"}") == 0);
    heard_free(&heard);
}

/*
 * A peer that asks and asks without reading is not read itself: what it asks
 * for waits in its own socket, and when it reads at last, all of it comes.
 */
static void peers_that_do_not_read(void **state)
{
    struct world *world = *state;
    char message[4096] = "\0\0\0\x10{\"event\":\"echo\"}";

    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        struct member member;
        char frame[5000];
        size_t size;
        size_t sent;

        size = is_tcp == 1
                   ? tcp_make(frame, TCP_BINARY_FRAME, "echo", message,
                              sizeof message)
                   : ws_make(frame, WS_BINARY_FRAME, message, sizeof message);
        member_open(&member, host_address(&world->host, is_tcp == 1),
                    is_tcp == 1);
        sent = send_until_stuck(&member.peer, frame, size);
        CHECK_EQUAL(host_stats(&world->host).clients, 5);
        bystanders_talk_on(world->bystanders);

        for (size_t i = 0; i < sent / size; i++) {
            hear_echo(&member);
        }
        if (sent % size != 0) {
            peer_send(&member.peer, frame + sent % size, size - sent % size);
            hear_echo(&member);
        }
        member_expect_silence(&member);
        member_close(&member);
    }
}

#define TEST(name, begin) cmocka_unit_test_setup_teardown(name, begin, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(cut_after_each_byte, start),
        TEST(reset_while_it_is_answered, start),
        TEST(byte_by_byte, start),
        TEST(heads_that_never_end, start_impatient),
        TEST(heads_that_crawl, start_impatient),
        TEST(refused_peers_that_stay, start_impatient),
        TEST(half_open_peers_are_found_out, start_pinging),
        TEST(peers_that_do_not_read, start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
