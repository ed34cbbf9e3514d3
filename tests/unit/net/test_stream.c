#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/stream_queue.h"
#include "torture.h"

#define PEERS 8
#define TAPES 3
#define EXPECTED_MAX (8 << 20)

/* A stream, the other end of its socket, and what must arrive there. */
struct peer {
    struct stream stream;
    int fd;
    char *expected;
    size_t expected_size;
    size_t received;
    bool is_slow;
    int datas;
    int ends;
    int errors;
    int drains;
    int last_error;
    size_t data_bytes;
    /* What the next event does. */
    struct peer *close_on_event;
    bool sends_on_event;
};

static const struct log no_log;
static bool wants_ring;
static struct loop *loop;
static struct tape tapes[TAPES];
static struct peer peers[PEERS];
static uint64_t random_state = 88172645463325252U;

static size_t random_below(size_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state % bound);
}

/* --- Events --------------------------------------------------------------- */

static struct tape_slice lay(size_t tape, size_t size)
{
    char *room = tape_reserve(&tapes[tape], size);

    assert_non_null(room);
    for (size_t i = 0; i < size; i++) {
        room[i] = (char)random_below(256);
    }
    return tape_commit(&tapes[tape], size);
}

static struct peer *peer_of(struct stream *stream)
{
    return (struct peer *)((char *)stream - offsetof(struct peer, stream));
}

static void act(struct peer *peer)
{
    if (peer->close_on_event != NULL) {
        stream_close(&peer->close_on_event->stream);
        peer->close_on_event = NULL;
    }
    if (peer->sends_on_event && stream_is_open(&peer->stream)) {
        assert_int_equal(stream_send(&peer->stream, lay(0, 10)), 0);
    }
}

static void on_data(struct stream *stream, char *data, size_t size)
{
    struct peer *peer = peer_of(stream);

    assert_true(stream_is_open(stream));
    assert_true(size > 0 && size <= LOOP_READ_BYTES);
    memset(data, 'x', size); /* it may be written to */
    peer->datas++;
    peer->data_bytes += size;
    act(peer);
}

static void on_end(struct stream *stream)
{
    struct peer *peer = peer_of(stream);

    assert_true(stream_is_open(stream));
    peer->ends++;
    act(peer);
}

static void on_error(struct stream *stream, int error)
{
    struct peer *peer = peer_of(stream);

    assert_true(stream_is_open(stream));
    assert_true(error > 0);
    peer->errors++;
    peer->last_error = error;
    act(peer);
    stream_close(stream);
}

static void on_drained(struct stream *stream)
{
    struct peer *peer = peer_of(stream);

    assert_int_equal(stream_queued(stream), 0);
    peer->drains++;
    act(peer);
}

static const struct stream_events events = {
    .on_data = on_data,
    .on_end = on_end,
    .on_error = on_error,
    .on_drained = on_drained,
};

static void rewind_tapes(struct loop *at, void *user)
{
    (void)at;
    (void)user;
    for (size_t i = 0; i < TAPES; i++) {
        tape_rewind(&tapes[i]);
    }
}

/* --- Setting up ----------------------------------------------------------- */

static int open_loop(void)
{
    struct loop_options options = {
        .log = &no_log,
        .on_turn_end = rewind_tapes,
    };

    for (size_t i = 0; i < TAPES; i++) {
        tape_init(&tapes[i], i == 0 ? TAPE_SEGMENT_BYTES : 3000);
    }

    int rc = loop_new(&loop, &options);

    if (rc == 0 && wants_ring) {
        rc = loop_open_ring(loop);
        if (rc < 0) {
            loop_free(loop);
        }
    }
    return rc;
}

/* Both ends of a connection over loopback, with buffers as small as can be. */
static void make_tcp_pair(int fds[2])
{
    struct socket_address address;
    int listener;
    int small = 1;

    assert_int_equal(socket_address_parse(&address, "127.0.0.1:0"), 0);
    assert_int_equal(socket_listen(&listener, 1, &address, 10), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fds[1] >= 0);
    setsockopt(fds[1], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    assert_int_equal(connect(fds[1], &address.of.any, address.size), 0);
    fds[0] = accept(listener, NULL, NULL);
    assert_true(fds[0] >= 0);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    close(listener);
}

static void make_local_pair(int fds[2])
{
    int small = 1;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
}

static int open_peer(struct peer *peer, void (*make_pair)(int fds[2]))
{
    int fds[2];

    *peer = (struct peer){.fd = -1};
    make_pair(fds);

    int rc = stream_open(&peer->stream, loop, fds[0], &events);

    if (rc < 0) {
        close(fds[0]);
        close(fds[1]);
        peer->stream.fd = -1;
        return rc;
    }
    peer->fd = fds[1];
    return 0;
}

static void close_peer(struct peer *peer)
{
    stream_close(&peer->stream);
    if (peer->fd >= 0) {
        close(peer->fd);
    }
    free(peer->expected);
}

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(open_loop(), 0);
    for (size_t i = 0; i < PEERS; i++) {
        assert_int_equal(
            open_peer(&peers[i],
                      i % 2 == 0 ? make_tcp_pair : make_local_pair),
            0);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < PEERS; i++) {
        close_peer(&peers[i]);
    }
    loop_turn(loop, 0);
    for (size_t i = 0; i < TAPES; i++) {
        tape_fini(&tapes[i]);
    }
    loop_free(loop);
    return 0;
}

/* --- The model ------------------------------------------------------------ */

static void send_expected(struct peer *peer, struct tape_slice slice)
{
    if (peer->expected == NULL) {
        peer->expected = malloc(EXPECTED_MAX);
    }
    assert_true(peer->expected_size + slice.size <= EXPECTED_MAX);
    memcpy(peer->expected + peer->expected_size, tape_slice_data(&slice),
           slice.size);
    peer->expected_size += slice.size;
    assert_int_equal(stream_send(&peer->stream, slice), 0);
}

/* Reads at most `max` bytes and compares them. Returns how many came. */
static size_t receive(struct peer *peer, size_t max)
{
    static char buffer[1 << 17];
    ssize_t size = recv(peer->fd, buffer,
                        max < sizeof(buffer) ? max : sizeof(buffer),
                        MSG_DONTWAIT);

    if (size <= 0) {
        return 0;
    }
    assert_true((size_t)size <= peer->expected_size - peer->received);
    assert_memory_equal(buffer, peer->expected + peer->received,
                        (size_t)size);
    peer->received += (size_t)size;
    return (size_t)size;
}

/* Adds up what the queue holds of `segment`. */
static uint64_t owed_of(const struct peer *peer,
                        const struct tape_segment *segment, size_t *slices)
{
    const struct stream_queue *rest = peer->stream.rest;
    uint64_t owed = 0;

    if (peer->stream.first.segment == segment) {
        owed += peer->stream.first.size;
        (*slices)++;
    }
    for (size_t i = 0; rest != NULL && i < rest->count; i++) {
        const struct tape_slice *slice = &rest->slices[rest->head + i];

        if (slice->segment == segment) {
            owed += slice->size;
            (*slices)++;
        }
    }
    return owed;
}

static void check_segment(const struct tape_segment *segment)
{
    uint64_t owed = 0;
    size_t slices = 0;

    for (size_t i = 0; i < PEERS; i++) {
        owed += owed_of(&peers[i], segment, &slices);
    }
    assert_int_equal(segment->owed_bytes, owed);
    /* Beside the slices, only a tape refers to it, and only to its own. */
    assert_in_range(segment->references, slices,
                    slices + (segment->is_private ? 0 : 1));
    assert_true(segment->used <= segment->capacity);
}

static void check_queue(const struct stream *stream)
{
    const struct stream_queue *rest = stream->rest;
    size_t size = stream->first.size;

    assert_int_equal(stream->first.segment == NULL, size == 0);
    if (stream->first.segment == NULL) {
        assert_null(rest);
        assert_int_equal(stream->queued_bytes, 0);
        return;
    }
    check_segment(stream->first.segment);
    if (rest != NULL) {
        assert_true(rest->count > 0);
        assert_true(rest->head + rest->count <= rest->capacity);
        assert_true(rest->settled <= rest->count);
    }
    for (size_t i = 0; rest != NULL && i < rest->count; i++) {
        const struct tape_slice *slice = &rest->slices[rest->head + i];

        assert_true(slice->size > 0);
        size += slice->size;
        check_segment(slice->segment);
    }
    assert_int_equal(size, stream->queued_bytes);
}

/* Sizes from a byte to several segments, small ones more often. */
static size_t random_size(void)
{
    return 1 + random_below((size_t)1 << (1 + random_below(17)));
}

static void publish(void)
{
    struct tape_slice slice = lay(random_below(TAPES), random_size());
    size_t members = random_below(1 << PEERS);

    for (size_t i = 0; i < PEERS; i++) {
        struct peer *peer = &peers[i];

        if ((members >> i & 1) != 0 &&
            stream_queued(&peer->stream) < (1 << 20) &&
            peer->expected_size + slice.size < EXPECTED_MAX) {
            send_expected(peer, slice);
        }
    }
}

/* Every byte arrives once and in order, whatever is queued and taken when. */
static void test_random_slices(void **state)
{
    (void)state;
    for (int round = 0; round < 600; round++) {
        for (size_t i = random_below(12); i > 0; i--) {
            publish();
        }
        if (round % 50 == 0) {
            peers[random_below(PEERS)].is_slow ^= true;
        }
        if (random_below(4) == 0) {
            loop_flush(loop);
        }
        loop_turn(loop, 0);
        for (size_t i = 0; i < PEERS; i++) {
            if (!peers[i].is_slow) {
                receive(&peers[i], random_size());
            }
            check_queue(&peers[i].stream);
        }
    }
    for (size_t i = 0; i < PEERS; i++) {
        while (peers[i].received < peers[i].expected_size) {
            receive(&peers[i], SIZE_MAX);
            loop_turn(loop, 0);
        }
        check_queue(&peers[i].stream);
        assert_int_equal(stream_queued(&peers[i].stream), 0);
        assert_int_equal(receive(&peers[i], 1), 0);
        assert_true(peers[i].drains > 0);
        assert_int_equal(peers[i].errors, 0);
    }
}

/* --- One send per turn ---------------------------------------------------- */

static void test_slices_that_follow_are_one(void **state)
{
    struct peer *peer = &peers[1];

    (void)state;
    for (int i = 0; i < 16; i++) {
        send_expected(peer, lay(0, 20));
    }
    assert_null(peer->stream.rest);
    assert_int_equal(stream_queued(&peer->stream), 320);
    loop_turn(loop, 0);
    assert_int_equal(loop->sends, 1);
    assert_int_equal(receive(peer, SIZE_MAX), 320);
    assert_int_equal(peer->drains, 0);
}

static void test_slices_apart_are_one_send(void **state)
{
    struct peer *peer = &peers[0];

    (void)state;
    for (size_t i = 0; i < 16; i++) {
        send_expected(peer, lay(i % TAPES, 20));
    }
    assert_int_equal(peer->stream.rest->count, 15);
    loop_turn(loop, 0);
    assert_int_equal(loop->sends, 1);
    assert_null(peer->stream.rest);
    assert_int_equal(receive(peer, SIZE_MAX), 320);
}

/* --- Memory of slow readers ----------------------------------------------- */

static size_t live_bytes;

static void *counted_allocate(size_t size, void *user)
{
    size_t *block = malloc(sizeof(max_align_t) + size);

    (void)user;
    *block = size;
    live_bytes += size;
    return (char *)block + sizeof(max_align_t);
}

static void counted_release(void *block, void *user)
{
    size_t *start = (size_t *)(void *)((char *)block - sizeof(max_align_t));

    (void)user;
    live_bytes -= *start;
    free(start);
}

static void *counted_reallocate(void *block, size_t size, void *user)
{
    void *grown = counted_allocate(size, user);

    if (block != NULL) {
        size_t old =
            *(size_t *)(void *)((char *)block - sizeof(max_align_t));

        memcpy(grown, block, old < size ? old : size);
        counted_release(block, user);
    }
    return grown;
}

static const struct peal_memory counted_memory = {
    .allocate = counted_allocate,
    .reallocate = counted_reallocate,
    .release = counted_release,
};

static int set_up_counted(void **state)
{
    live_bytes = 0;
    peal_memory_set(&counted_memory);
    return set_up(state);
}

static int tear_down_counted(void **state)
{
    tear_down(state);
    peal_memory_set(NULL);
    return live_bytes == 0 ? 0 : -1;
}

static void block(struct peer *peer)
{
    while ((peer->stream.flags & STREAM_BLOCKED) == 0) {
        send_expected(peer, lay(0, 5000));
        loop_turn(loop, 0);
    }
}

/* Others get a lot in each turn, the slow one a little: it pins that little. */
static void test_slow_reader_costs_what_it_owes(void **state)
{
    struct peer *slow = &peers[0];
    struct peer *quick = &peers[1];
    size_t before = live_bytes;
    size_t reads = 0;

    (void)state;
    block(slow);
    for (int turn = 0; turn < 1000; turn++) {
        for (int i = 0; i < 3; i++) {
            send_expected(slow, lay(0, 100));
            struct tape_slice slice = lay(0, 3000);

            for (size_t k = 0; k < 6; k++) {
                assert_int_equal(stream_send(&quick->stream, slice), 0);
                assert_int_equal(stream_send(&quick->stream, lay(0, 800)), 0);
            }
        }
        for (int i = 0; stream_queued(&quick->stream) > 0; i++) {
            static char sink[1 << 17];
            ssize_t size = recv(quick->fd, sink, sizeof(sink), MSG_DONTWAIT);

            reads += size > 0 ? (size_t)size : 0;
            loop_turn(loop, 0);
        }
        if (turn % 50 == 0) {
            check_queue(&slow->stream);
        }
    }
    assert_true(reads > 20000000);

    size_t queued = stream_queued(&slow->stream);

    assert_true(queued >= 300000);
    assert_true(live_bytes - before <
                2 * queued + 3 * (TAPE_SEGMENT_BYTES + 100));
    /* A few blocks, not one for each message. */
    assert_true(slow->stream.rest->count < 60);
    while (slow->received < slow->expected_size) {
        receive(slow, SIZE_MAX);
        loop_turn(loop, 0);
    }
}

/* Slow readers of the same messages share them. */
static void test_slow_readers_share(void **state)
{
    size_t before = live_bytes;
    size_t queued = 0;

    (void)state;
    for (int turn = 0; turn < 200; turn++) {
        struct tape_slice slice = lay(0, 5000);

        for (size_t i = 0; i < PEERS; i++) {
            send_expected(&peers[i], slice);
        }
        loop_turn(loop, 0);
    }
    for (size_t i = 0; i < PEERS; i++) {
        queued += stream_queued(&peers[i].stream);
    }
    assert_true(queued > 5000000);
    assert_true(live_bytes - before < 1300000);
}

/* --- Ends and errors ------------------------------------------------------ */

static void test_finish_follows_the_queue(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct peer *peer = &peers[i];
        char byte;

        for (int k = 0; k < 100; k++) {
            send_expected(peer, lay(0, 5000));
        }
        stream_finish(&peer->stream);
        stream_finish(&peer->stream);
        while (peer->received < peer->expected_size) {
            if (stream_queued(&peer->stream) > 0) {
                assert_int_equal(peer->stream.flags & STREAM_FINISHED, 0);
            }
            loop_turn(loop, 0);
            receive(peer, 30000);
        }
        loop_turn(loop, 0);
        assert_int_not_equal(peer->stream.flags & STREAM_FINISHED, 0);
        assert_int_equal(recv(peer->fd, &byte, 1, 0), 0);
        assert_int_equal(peer->drains, 1); /* with the FIN sent */

        /* Reading goes on. */
        assert_int_equal(send(peer->fd, "answer", 6, 0), 6);
        loop_turn(loop, 100);
        assert_int_equal(peer->data_bytes, 6);
    }
}

static void test_finish_of_an_empty_queue(void **state)
{
    char byte;

    (void)state;
    stream_finish(&peers[0].stream);
    loop_turn(loop, 0);
    assert_int_equal(recv(peers[0].fd, &byte, 1, 0), 0);
}

static uint32_t segments_in(const struct peer *peer)
{
    struct tcp_info info;
    socklen_t size = sizeof(info);

    assert_int_equal(getsockopt(peer->fd, IPPROTO_TCP, TCP_INFO, &info, &size),
                     0);
    return info.tcpi_segs_in;
}

static void test_last_bytes_carry_the_end(void **state)
{
    struct peer *peer = &peers[0];
    uint32_t before = segments_in(peer);
    char byte;

    (void)state;
    send_expected(peer, lay(0, 100));
    stream_finish(&peer->stream);
    loop_turn(loop, 0);
    assert_int_equal(receive(peer, SIZE_MAX), 100);
    assert_int_equal(recv(peer->fd, &byte, 1, 0), 0);
    assert_int_equal(segments_in(peer) - before, 1);
}

static void timer_is_due(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    timer->fire = NULL;
}

/* Nothing is reported again and again while nobody does anything. */
static void assert_loop_is_quiet(void)
{
    struct timer timer;
    uint64_t before;

    loop_turn(loop, 0);
    loop_turn(loop, 0);
    before = loop->turns;
    timer_init(&timer, timer_is_due);
    timer_start(&loop->timers, &timer, loop->now_ms + 15);
    while (timer.fire != NULL) {
        loop_turn(loop, -1);
    }
    assert_in_range(loop->turns - before, 1, 8);
}

static void test_end_is_told_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct peer *peer = &peers[i];

        assert_int_equal(send(peer->fd, "last", 4, 0), 4);
        shutdown(peer->fd, SHUT_WR);
        while (peer->ends == 0) {
            loop_turn(loop, 100);
        }
        assert_int_equal(peer->data_bytes, 4);
        assert_loop_is_quiet();
        assert_int_equal(peer->ends, 1);

        /* The other direction is still open. */
        send_expected(peer, lay(0, 1000));
        loop_turn(loop, 0);
        assert_int_equal(receive(peer, SIZE_MAX), 1000);

        /* With both ends closed the connection hangs up, quietly. */
        stream_finish(&peer->stream);
        assert_loop_is_quiet();
        assert_int_equal(peer->ends, 1);
        assert_int_equal(peer->errors, 0);
    }
}

static void test_pause(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct peer *peer = &peers[i];

        stream_pause(&peer->stream);
        stream_pause(&peer->stream);
        assert_int_equal(send(peer->fd, "later", 5, 0), 5);
        shutdown(peer->fd, SHUT_WR);
        stream_finish(&peer->stream);
        assert_loop_is_quiet();
        assert_int_equal(peer->datas + peer->ends, 0);

        stream_resume(&peer->stream);
        while (peer->ends == 0) {
            loop_turn(loop, 100);
        }
        assert_int_equal(peer->data_bytes, 5);
        assert_int_equal(peer->errors, 0);
    }
}

/* One that is not read is still told that the peer is gone. */
static void test_reset_while_paused(void **state)
{
    struct peer *peer = &peers[0];

    (void)state;
    stream_pause(&peer->stream);
    socket_reset_on_close(peer->fd);
    close(peer->fd);
    peer->fd = -1;
    loop_turn(loop, 100);
    assert_int_equal(peer->errors, 1);
    assert_int_equal(peer->last_error, ECONNRESET);
    loop_turn(loop, 0);
    assert_int_equal(peer->errors, 1);
}

static void test_reset_while_blocked(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct peer *peer = &peers[i];

        block(peer);
        if (i >= 2) {
            stream_pause(&peer->stream);
        }
        socket_reset_on_close(peer->fd);
        close(peer->fd);
        peer->fd = -1;
        while (peer->errors == 0 && peer->ends == 0) {
            loop_turn(loop, 100);
        }
        while (stream_is_open(&peer->stream)) {
            loop_turn(loop, 100);
        }
        assert_int_equal(peer->errors, 1);
        assert_int_equal(stream_queued(&peer->stream), 0);
    }
}

static void test_error_in_flush_closes_others(void **state)
{
    struct peer *broken = &peers[1];
    struct peer *other = &peers[0];

    (void)state;
    broken->close_on_event = other;
    /* The flush walks from the last one touched to the first. */
    send_expected(other, lay(0, 100));
    send_expected(broken, lay(0, 100));
    close(broken->fd);
    broken->fd = -1;
    loop_flush(loop);
    assert_int_equal(broken->errors, 1);
    assert_int_equal(broken->last_error, EPIPE);
    assert_false(stream_is_open(&other->stream));
    loop_turn(loop, 0);
    assert_int_equal(broken->errors, 1);
}

/* --- Closing in callbacks ------------------------------------------------- */

static void test_close_of_others_ready_in_the_same_turn(void **state)
{
    int events_seen = 0;

    (void)state;
    for (size_t i = 0; i < PEERS; i++) {
        peers[i].close_on_event = &peers[i ^ 1];
        peers[i].sends_on_event = true;
        assert_int_equal(send(peers[i].fd, "x", 1, 0), 1);
    }
    loop_turn(loop, 100);
    for (size_t i = 0; i < PEERS; i++) {
        events_seen += peers[i].datas;
        assert_int_equal(stream_is_open(&peers[i].stream), peers[i].datas);
    }
    assert_int_equal(events_seen, PEERS / 2);
}

static void test_close_of_itself(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        peers[i].close_on_event = &peers[i];
        peers[i].sends_on_event = true;
    }
    assert_int_equal(send(peers[0].fd, "x", 1, 0), 1);
    shutdown(peers[1].fd, SHUT_WR);
    block(&peers[2]);
    while (peers[2].drains == 0) {
        receive(&peers[2], SIZE_MAX);
        loop_turn(loop, 0);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_false(stream_is_open(&peers[i].stream));
        stream_close(&peers[i].stream);
    }
    assert_int_equal(peers[0].datas, 1);
    assert_int_equal(peers[1].ends, 1);
    assert_int_equal(peers[2].drains, 1);
    assert_true(stream_is_open(&peers[3].stream));
}

static void test_close_with_output_queued(void **state)
{
    (void)state;
    send_expected(&peers[0], lay(0, 100));
    send_expected(&peers[1], lay(0, 100));
    stream_close(&peers[0].stream);
    assert_int_equal(stream_queued(&peers[0].stream), 0);
    loop_turn(loop, 0);
    assert_int_equal(receive(&peers[1], SIZE_MAX), 100);
    assert_int_equal(receive(&peers[0], SIZE_MAX), 0);
}

static void test_answer_in_the_same_turn(void **state)
{
    char answer[10];

    (void)state;
    peers[0].sends_on_event = true;
    assert_int_equal(send(peers[0].fd, "x", 1, 0), 1);
    loop_turn(loop, 100);
    assert_int_equal(recv(peers[0].fd, answer, sizeof(answer), 0), 10);
    assert_int_equal(loop->reads, 1);
    assert_int_equal(loop->sends, 1);
}

/* --- Without memory ------------------------------------------------------- */

static void fill_and_drain(void *arg)
{
    struct peer *peer = &peers[0];
    static char sink[1 << 16];

    (void)arg;
    if (open_loop() < 0) {
        assert_true(torture_failed());
        return;
    }
    assert_int_equal(open_peer(peer, make_local_pair), 0);
    for (size_t i = 0; i < 60; i++) {
        char *room = tape_reserve(&tapes[i % TAPES], 2000);

        if (room == NULL) {
            assert_true(torture_failed());
            continue;
        }
        memset(room, 'a', 2000);

        size_t before = stream_queued(&peer->stream);
        struct tape_slice slice = tape_commit(&tapes[i % TAPES], 2000);

        if (stream_send(&peer->stream, slice) < 0) {
            assert_true(torture_failed());
            assert_int_equal(stream_queued(&peer->stream), before);
        }
        if (i % 7 == 0) {
            loop_turn(loop, 0);
            recv(peer->fd, sink, 1000, MSG_DONTWAIT);
        }
        check_queue(&peer->stream);
    }
    while (stream_queued(&peer->stream) > 0) {
        loop_turn(loop, 0);
        recv(peer->fd, sink, sizeof(sink), MSG_DONTWAIT);
    }
    close_peer(peer);
    loop_turn(loop, 0);
    for (size_t i = 0; i < TAPES; i++) {
        tape_fini(&tapes[i]);
    }
    loop_free(loop);
}

static void test_without_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < PEERS; i++) {
        peers[i].stream = (struct stream){.fd = -1};
    }
    torture_run(fill_and_drain, NULL);
}

#define STREAM_TEST(function)                                                  \
    cmocka_unit_test_setup_teardown(function, set_up, tear_down)
#define COUNTED_TEST(function)                                                 \
    cmocka_unit_test_setup_teardown(function, set_up_counted, tear_down_counted)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_TEST(test_random_slices),
        STREAM_TEST(test_slices_that_follow_are_one),
        STREAM_TEST(test_slices_apart_are_one_send),
        COUNTED_TEST(test_slow_reader_costs_what_it_owes),
        COUNTED_TEST(test_slow_readers_share),
        STREAM_TEST(test_finish_follows_the_queue),
        STREAM_TEST(test_finish_of_an_empty_queue),
        STREAM_TEST(test_last_bytes_carry_the_end),
        STREAM_TEST(test_end_is_told_once),
        STREAM_TEST(test_pause),
        STREAM_TEST(test_reset_while_paused),
        STREAM_TEST(test_reset_while_blocked),
        STREAM_TEST(test_error_in_flush_closes_others),
        STREAM_TEST(test_close_of_others_ready_in_the_same_turn),
        STREAM_TEST(test_close_of_itself),
        STREAM_TEST(test_close_with_output_queued),
        STREAM_TEST(test_answer_in_the_same_turn),
        cmocka_unit_test(test_without_memory),
    };

    int failed = cmocka_run_group_tests_name("epoll", tests, NULL, NULL);

    wants_ring = true;
    if (open_loop() < 0) {
        print_message("no io_uring here: %s\n", strerror(errno));
        return failed;
    }
    loop_free(loop);
    return failed + cmocka_run_group_tests_name("io_uring", tests, NULL, NULL);
}
