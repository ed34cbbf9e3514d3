/*
 * Goal: what a peer sends costs no more than in proportion to its size: not in
 * a million tiny frames, nor in one-byte segments, nor in fragments; and a
 * compressed bomb no more than what it may hold.
 *
 * Method: the processor time of the server's thread for an amount and for
 * sixteen times that amount; the second may be at most 64 times the first,
 * where a quadratic cost would be 256 times. Processor time is no time of a
 * clock; what a busy machine adds to it is taken out by trying again.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/member.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#define COMPRESSING                                                            \
    "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"                      \
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"                     \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"                          \
    "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"

#define FACTOR 16
#define FACTOR_MAX 64
#define ATTEMPTS 3

/* Less than this is noise, and fast enough for anybody. */
#define NOISE_NS 50000000

static struct host host;
static _Atomic uint64_t received;
static _Atomic clockid_t loop_clock; /* 0: no client has come yet */
static char raw_tcp[PEAL_ADDRESS_MAX];

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    clockid_t clock;

    (void)client;
    (void)connect;
    (void)user;
    CHECK_EQUAL(pthread_getcpuclockid(pthread_self(), &clock), 0);
    atomic_store(&loop_clock, clock);
}

static void on_any(struct peal_client *from, const struct peal_event *event,
                   void *user)
{
    (void)from;
    (void)user;
    atomic_fetch_add(&received, event->data.size + 1);
}

static void setup(struct peal_server *server)
{
    struct peal_listen tcp = {
        .size = sizeof tcp,
        .address = "127.0.0.1:0",
        .transport = PEAL_TCP,
        .dialect = PEAL_DIALECT_RAW,
    };

    CHECK_EQUAL(peal_server_listen(server, &tcp), 0);
    CHECK_EQUAL(peal_server_on_any(server, on_any, NULL), 0);
}

static int start(void **state)
{
    struct peal_server_options options = {
        .control_rate = {.capacity = PEAL_OFF}, /* what they cost then */
        .dialect = PEAL_DIALECT_RAW,
        .message_bytes_max = 64 * 1024 * 1024,
        .header_bytes_max = 1024 * 1024,
        .on_connect = on_connect,
    };

    (void)state;
    host_start(&host, &options, setup);
    CHECK_EQUAL(peal_server_address(host.server, 2, raw_tcp), 0);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    host_stop(&host);
    return 0;
}

static uint64_t loop_ns(void)
{
    struct timespec used;

    CHECK_EQUAL(clock_gettime(atomic_load(&loop_clock), &used), 0);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

/* Sends `amount` of something, and waits until the server has seen it all. */
typedef void send_function(struct peer *peer, size_t amount);

static uint64_t cost_of(send_function *send, bool is_tcp, size_t amount)
{
    struct peer peer;
    uint64_t before;
    uint64_t cost;

    atomic_store(&loop_clock, 0);
    if (is_tcp) {
        peer_dial(&peer, raw_tcp);
    } else {
        ws_open(&peer, host.ws, "/");
    }
    CHECK_SOON(atomic_load(&loop_clock) != 0);
    atomic_store(&received, 0);
    before = loop_ns();
    send(&peer, amount);
    cost = loop_ns() - before;
    peer_close(&peer);
    host_await_empty(&host);
    return cost;
}

static void expect_linear(send_function *send, bool is_tcp, size_t most)
{
    uint64_t small = 0;
    uint64_t large = 0;

    for (int i = 0; i < ATTEMPTS; i++) {
        small = cost_of(send, is_tcp, most / FACTOR);
        large = cost_of(send, is_tcp, most);
        if (large <= NOISE_NS || large <= FACTOR_MAX * small) {
            return;
        }
    }
    fprintf(stderr, "%zu cost %llu ns, %zu cost %llu ns\n", most / FACTOR,
            (unsigned long long)small, most, (unsigned long long)large);
    CHECK(!"the cost is more than linear");
}

/* Multiples of 160,000, so that a sixteenth is some thousands. */
static size_t scaled(size_t amount)
{
    return check_is_slow_build() ? amount / 10 : amount;
}

/* --- Many tiny frames in one go ------------------------------------------ */

/* Sends `count` copies of a frame as fast as they are taken. */
static void send_copies(struct peer *peer, const char *frame, size_t size,
                        size_t count)
{
    size_t batch = 1000;
    char *bytes = malloc(size * batch);

    CHECK(bytes != NULL);
    CHECK_EQUAL(count % batch, 0);
    for (size_t i = 0; i < batch; i++) {
        memcpy(bytes + i * size, frame, size);
    }
    for (size_t i = 0; i < count; i += batch) {
        peer_send(peer, bytes, size * batch);
    }
    free(bytes);
}

static void send_tiny_messages(struct peer *peer, size_t count)
{
    char frame[16];

    send_copies(peer, frame, ws_make(frame, WS_TEXT_FRAME, "", 0), count);
    CHECK_SOON(atomic_load(&received) == count);
}

static void a_million_tiny_messages(void **state)
{
    (void)state;
    expect_linear(send_tiny_messages, false, scaled(1120000));
}

static void send_tiny_frames(struct peer *peer, size_t count)
{
    char frame[16];

    send_copies(peer, frame, tcp_make(frame, TCP_BINARY_FRAME, NULL, NULL, 0),
                count);
    CHECK_SOON(atomic_load(&received) == count);
}

static void a_million_tiny_tcp_frames(void **state)
{
    (void)state;
    expect_linear(send_tiny_frames, true, scaled(1120000));
}

/* One message of many fragments, empty ones among them. */
static void send_fragments(struct peer *peer, size_t count)
{
    char frame[16];

    ws_send(peer, 0x02, "x", 1);
    send_copies(peer, frame, ws_make(frame, 0x00, "x", 1), count);
    send_copies(peer, frame, ws_make(frame, 0x00, "", 0), count);
    ws_send(peer, 0x80, "x", 1);
    CHECK_SOON(atomic_load(&received) == count + 3);
}

static void a_message_of_many_fragments(void **state)
{
    (void)state;
    expect_linear(send_fragments, false, scaled(1120000));
}

/* A thousand pings at a time, each of which is answered. */
static void send_pings(struct peer *peer, size_t count)
{
    char frame[16];
    size_t size = ws_make(frame, WS_PING_FRAME, "", 0);

    for (size_t i = 0; i < count / 1000; i++) {
        send_copies(peer, frame, size, 1000);
        for (int k = 0; k < 1000; k++) {
            ws_expect(peer, WS_PONG_FRAME, "", 0);
        }
    }
}

static void many_pings(void **state)
{
    (void)state;
    expect_linear(send_pings, false, scaled(320000));
}

/* --- Large messages in tiny segments ------------------------------------- */

/* The bytes one by one: TCP_NODELAY makes a segment of nearly each. */
static void send_singly(struct peer *peer, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        peer_send(peer, bytes + i, 1);
    }
}

static void send_message_singly(struct peer *peer, size_t size)
{
    char *message = calloc(1, size + 32);
    char *frame = calloc(1, size + 32);

    CHECK(message != NULL && frame != NULL);
    memset(message, 'x', size);
    send_singly(peer, frame, ws_make(frame, WS_TEXT_FRAME, message, size));
    CHECK_SOON(atomic_load(&received) == size + 1);
    free(message);
    free(frame);
}

static void a_large_message_byte_by_byte(void **state)
{
    (void)state;
    expect_linear(send_message_singly, false, scaled(1120000));
}

static void send_frame_singly(struct peer *peer, size_t size)
{
    char *frame = calloc(2, size + 32);

    CHECK(frame != NULL);
    send_singly(
        peer, frame,
        tcp_make(frame, TCP_BINARY_FRAME, NULL, frame + size + 32, size));
    CHECK_SOON(atomic_load(&received) == size + 1);
    free(frame);
}

static void a_large_tcp_frame_byte_by_byte(void **state)
{
    (void)state;
    expect_linear(send_frame_singly, true, scaled(1120000));
}

/* A request on a connection of its own, on the same loop. */
static void send_head_singly(struct peer *peer, size_t size)
{
    static const char begin[] = "GET / HTTP/1.1\r\nHost: x\r\nX: ";
    char *head = malloc(size);
    struct peer other;

    (void)peer;
    CHECK(head != NULL);
    memset(head, 'x', size);
    memcpy(head, begin, sizeof begin - 1);
    memcpy(head + size - 4, "\r\n\r\n", 4);
    peer_dial(&other, host.ws);
    send_singly(&other, head, size);
    CHECK(peer_wait(&other, 12));
    CHECK(memcmp(peer_take(&other, 12), "HTTP/1.1 426", 12) == 0);
    peer_close(&other);
    free(head);
}

static void a_large_head_byte_by_byte(void **state)
{
    (void)state;
    expect_linear(send_head_singly, false, scaled(960000));
}

/* --- Bombs --------------------------------------------------------------- */

#define MIB ((size_t)1 << 20)

/* A frame of a message of bytes that says it is compressed; frees `packed`. */
static char *compressed_frame(unsigned char *packed, size_t packed_size,
                              size_t *size)
{
    char *frame = malloc(packed_size + 14);

    CHECK(frame != NULL);
    *size = ws_make(frame, WS_BINARY_FRAME | 0x40, packed, packed_size);
    free(packed);
    return frame;
}

/* Compresses; ends with a flush, whose last four bytes are not sent. */
static unsigned char *pack(const void *data, size_t data_size, int flush,
                           size_t *size)
{
    z_stream z = {.zalloc = NULL};
    unsigned char *packed = malloc(data_size + 1024);

    CHECK(packed != NULL);
    CHECK_EQUAL(deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY),
                Z_OK);
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)data_size;
    z.next_out = packed;
    z.avail_out = (uInt)data_size + 1024;
    CHECK_EQUAL(deflate(&z, flush), Z_OK);
    *size = data_size + 1024 - z.avail_out;
    deflateEnd(&z);
    return packed;
}

/* A message of the largest size, which cannot be made smaller. */
static char *honest_frame(size_t *size)
{
    unsigned char *data = malloc(MIB);
    unsigned char *packed;
    uint32_t random = 1;
    size_t packed_size;

    CHECK(data != NULL);
    for (size_t i = 0; i < MIB; i++) {
        random = random * 1664525u + 1013904223u;
        data[i] = (unsigned char)(random >> 24);
    }
    packed = pack(data, MIB, Z_SYNC_FLUSH, &packed_size);
    free(data);
    return compressed_frame(packed, packed_size - 4, size);
}

/* No more bytes, but nearly a gigabyte of zeros in them. */
static char *bomb_frame(size_t *size)
{
    void *zeros = calloc(16, MIB);
    size_t piece_size;
    unsigned char *piece;
    unsigned char *packed;
    size_t pieces;

    CHECK(zeros != NULL);
    piece = pack(zeros, 16 * MIB, Z_FULL_FLUSH, &piece_size);
    free(zeros);
    pieces = MIB / piece_size;
    CHECK(pieces > 50);
    packed = malloc(pieces * piece_size);
    CHECK(packed != NULL);
    for (size_t i = 0; i < pieces; i++) {
        memcpy(packed + i * piece_size, piece, piece_size);
    }
    free(piece);
    return compressed_frame(packed, pieces * piece_size - 4, size);
}

/* What such a frame costs the server until it was taken, or refused. */
static uint64_t cost_of_frame(const char *frame, size_t size, bool is_bomb)
{
    struct peer peer;
    uint64_t before;
    uint64_t cost;

    atomic_store(&loop_clock, 0);
    atomic_store(&received, 0);
    peer_dial(&peer, host.ws);
    peer_send(&peer, COMPRESSING, strlen(COMPRESSING));
    CHECK_SOON(atomic_load(&loop_clock) != 0);
    before = loop_ns();
    peer_send_if_open(&peer, frame, size);
    if (is_bomb) {
        CHECK_SOON(host_stats(&host).closed_message_bytes > 0);
    } else {
        CHECK_SOON(atomic_load(&received) == MIB + 1);
    }
    peer_finish(&peer);
    peer_drain(&peer);
    cost = loop_ns() - before;
    peer_close(&peer);
    host_await_empty(&host);
    return cost;
}

/* It is inflated up to the limit, and not to its end. */
static void a_bomb_costs_what_a_message_does(void **state)
{
    static const struct peal_deflate_options deflate = {.size = sizeof deflate,
                                                        .enabled = true};
    struct peal_server_options options = {
        .dialect = PEAL_DIALECT_RAW,
        .message_bytes_max = MIB,
        .on_connect = on_connect,
        .deflate = &deflate,
    };
    size_t honest_size;
    size_t bomb_size;
    char *honest = honest_frame(&honest_size);
    char *bomb = bomb_frame(&bomb_size);
    uint64_t message_ns = 0;
    uint64_t bomb_ns = 0;

    (void)state;
    for (int i = 0; i < ATTEMPTS; i++) {
        host_start(&host, &options, setup);
        message_ns = cost_of_frame(honest, honest_size, false);
        bomb_ns = cost_of_frame(bomb, bomb_size, true);
        host_stop(&host);
        if (bomb_ns <= NOISE_NS || bomb_ns <= 4 * message_ns) {
            break;
        }
    }
    if (bomb_ns > NOISE_NS && bomb_ns > 4 * message_ns) {
        fprintf(stderr, "a message cost %llu ns, a bomb %llu ns\n",
                (unsigned long long)message_ns, (unsigned long long)bomb_ns);
        CHECK(!"the cost is bounded");
    }
    free(honest);
    free(bomb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_million_tiny_messages, start, stop),
        cmocka_unit_test_setup_teardown(a_million_tiny_tcp_frames, start, stop),
        cmocka_unit_test_setup_teardown(a_message_of_many_fragments, start,
                                        stop),
        cmocka_unit_test_setup_teardown(many_pings, start, stop),
        cmocka_unit_test_setup_teardown(a_large_message_byte_by_byte, start,
                                        stop),
        cmocka_unit_test_setup_teardown(a_large_tcp_frame_byte_by_byte, start,
                                        stop),
        cmocka_unit_test_setup_teardown(a_large_head_byte_by_byte, start, stop),
        cmocka_unit_test(a_bomb_costs_what_a_message_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
