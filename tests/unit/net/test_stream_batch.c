#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/loop_ring.h"
#include "net/stream.h"
#include "ring_breaker.h"

#define MEMBERS (LOOP_RING_SENDS + 10) /* more than one batch */

/* A stream, and the other end of its socket. */
struct member {
    struct stream stream;
    int fd;
    int errors;
    struct member *close_on_error;
    struct member *send_on_error;
    bool flushes_on_error;
};

static struct loop *loop;
static struct tape tapes[2];
static struct member members[MEMBERS];
static char last_line[256];

static void on_log(enum peal_log_level level, const char *component,
                   const char *message, const char *fields, void *user)
{
    (void)level;
    (void)fields;
    (void)user;
    snprintf(last_line, sizeof(last_line), "%s: %s", component, message);
}

static struct log the_log = {.function = on_log, .level = PEAL_LOG_INFO};

static struct member *member_of(struct stream *stream)
{
    return (struct member *)((char *)stream - offsetof(struct member, stream));
}

static struct tape_slice lay(struct tape *tape, const char *text)
{
    char *room = tape_reserve(tape, strlen(text));

    assert_non_null(room);
    memcpy(room, text, strlen(text));
    return tape_commit(tape, strlen(text));
}

static void on_data(struct stream *stream, char *data, size_t size)
{
    (void)stream;
    (void)data;
    (void)size;
    fail();
}

static void on_end(struct stream *stream)
{
    stream_close(stream);
}

static void on_error(struct stream *stream, int error)
{
    struct member *member = member_of(stream);

    assert_int_equal(error, EPIPE);
    member->errors++;
    if (member->close_on_error != NULL) {
        stream_close(&member->close_on_error->stream);
    }
    if (member->send_on_error != NULL) {
        assert_int_equal(stream_send(&member->send_on_error->stream,
                                     lay(&tapes[0], "too")),
                         0);
    }
    stream_close(stream);
    if (member->flushes_on_error) {
        loop_flush(loop);
    }
}

static const struct stream_events events = {
    .on_data = on_data,
    .on_end = on_end,
    .on_error = on_error,
};

static int set_up(void **state)
{
    struct loop_options options = {.log = &the_log};

    (void)state;
    last_line[0] = '\0';
    if (loop_new(&loop, &options) < 0) {
        return -1;
    }
    assert_int_equal(loop_open_ring(loop), 0);
    tape_init(&tapes[0], TAPE_SEGMENT_BYTES);
    tape_init(&tapes[1], TAPE_SEGMENT_BYTES);
    for (size_t i = 0; i < MEMBERS; i++) {
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        members[i] = (struct member){.fd = fds[1]};
        assert_int_equal(
            stream_open(&members[i].stream, loop, fds[0], &events), 0);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < MEMBERS; i++) {
        stream_close(&members[i].stream);
        if (members[i].fd >= 0) {
            close(members[i].fd);
        }
    }
    tape_fini(&tapes[0]);
    tape_fini(&tapes[1]);
    loop_free(loop);
    return 0;
}

static void send_to_all(struct tape_slice slice)
{
    for (size_t i = 0; i < MEMBERS; i++) {
        assert_int_equal(stream_send(&members[i].stream, slice), 0);
    }
}

static void expect(const struct member *member, const char *text)
{
    static char got[1 << 16];
    ssize_t size = recv(member->fd, got, sizeof(got), MSG_DONTWAIT);

    assert_int_equal(size, strlen(text));
    assert_memory_equal(got, text, strlen(text));
}

static void break_peer(struct member *member)
{
    close(member->fd);
    member->fd = -1;
}

/* The streams are flushed from the last one touched to the first. */
static void test_few_calls_for_many_streams(void **state)
{
    (void)state;
    send_to_all(lay(&tapes[0], "one"));
    loop_flush(loop);
    assert_int_equal(loop->batches, 2);
    assert_int_equal(loop->sends, MEMBERS);
    for (size_t i = 0; i < MEMBERS; i++) {
        expect(&members[i], "one");
        assert_int_equal(stream_queued(&members[i].stream), 0);
    }
}

static void test_one_stream_needs_no_batch(void **state)
{
    (void)state;
    assert_int_equal(stream_send(&members[3].stream, lay(&tapes[0], "x")), 0);
    loop_flush(loop);
    assert_int_equal(loop->batches, 0);
    assert_int_equal(loop->sends, 1);
    expect(&members[3], "x");
}

/* What lies apart is joined, as far as there is room for the copies. */
static void test_slices_apart(void **state)
{
    static char large[LOOP_SEND_BYTES / 4];

    (void)state;
    memset(large, 'a', sizeof(large) - 1);
    send_to_all(lay(&tapes[0], "one"));
    send_to_all(lay(&tapes[1], large));
    loop_flush(loop);
    assert_in_range(loop->batches, 4, MEMBERS / 4);
    assert_int_equal(loop->sends, MEMBERS);
    for (size_t i = 0; i < MEMBERS; i++) {
        static char all[sizeof(large) + 3];

        memcpy(all, "one", 3);
        memcpy(all + 3, large, sizeof(large));
        expect(&members[i], all);
    }
}

/* Too long for a copy: sent by itself, from where it lies. */
static void test_long_queues(void **state)
{
    static char large[LOOP_SEND_BYTES + 1];

    (void)state;
    memset(large, 'b', sizeof(large) - 1);
    send_to_all(lay(&tapes[0], "one"));
    assert_int_equal(stream_send(&members[7].stream, lay(&tapes[1], large)),
                     0);
    loop_flush(loop);
    assert_int_equal(loop->sends, MEMBERS);
    assert_int_equal(stream_queued(&members[7].stream), 0);
    expect(&members[8], "one");
}

static void test_end_follows_what_was_sent(void **state)
{
    char byte;

    (void)state;
    send_to_all(lay(&tapes[0], "last"));
    for (size_t i = 0; i < MEMBERS; i += 2) {
        stream_finish(&members[i].stream);
    }
    loop_flush(loop);
    for (size_t i = 0; i < MEMBERS; i++) {
        expect(&members[i], "last");
        assert_int_equal(recv(members[i].fd, &byte, 1, MSG_DONTWAIT),
                         i % 2 == 0 ? 0 : -1);
    }
}

/* What one stream's error does to others of its batch finds them whole. */
static void test_errors_in_a_batch(void **state)
{
    (void)state;
    members[11].close_on_error = &members[10];
    members[12].close_on_error = &members[13];
    members[14].send_on_error = &members[15];
    members[16].send_on_error = &members[0];
    members[16].flushes_on_error = true;
    for (size_t i = 10; i <= 16; i++) {
        if (members[i].close_on_error != NULL ||
            members[i].send_on_error != NULL) {
            break_peer(&members[i]);
        }
    }
    send_to_all(lay(&tapes[0], "one"));
    loop_flush(loop);
    for (size_t i = 0; i < MEMBERS; i++) {
        if (members[i].fd < 0) {
            assert_int_equal(members[i].errors, 1);
            assert_false(stream_is_open(&members[i].stream));
            continue;
        }
        assert_int_equal(members[i].errors, 0);
        assert_int_equal(stream_is_open(&members[i].stream),
                         i != 10 && i != 13);
        assert_int_equal(stream_queued(&members[i].stream), 0);
        expect(&members[i], i == 0 || i == 15 ? "onetoo" : "one");
    }
    loop_turn(loop, 0);
}

static void test_loops_go_on_without_their_ring(void **state)
{
    (void)state;
    assert_true(loop->has_ring);
    assert_int_equal(ring_break_all(), 1);
    break_peer(&members[20]);
    send_to_all(lay(&tapes[0], "one"));
    loop_flush(loop);
    assert_false(loop->has_ring);
    assert_null(loop->batch);
    assert_string_equal(last_line, "net: io_uring failed");
    assert_int_equal(members[20].errors, 1);
    members[20].stream.fd = -1;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < MEMBERS; i++) {
            if (i != 20) {
                expect(&members[i], round == 0 ? "one" : "two");
                assert_int_equal(
                    stream_send(&members[i].stream, lay(&tapes[0], "two")), 0);
            }
        }
        loop_flush(loop);
    }
}

#define BATCH_TEST(function)                                                   \
    cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BATCH_TEST(test_few_calls_for_many_streams),
        BATCH_TEST(test_one_stream_needs_no_batch),
        BATCH_TEST(test_slices_apart),
        BATCH_TEST(test_long_queues),
        BATCH_TEST(test_end_follows_what_was_sent),
        BATCH_TEST(test_errors_in_a_batch),
        BATCH_TEST(test_loops_go_on_without_their_ring),
    };
    struct loop_ring *ring;

    if (loop_ring_open(&ring) < 0) {
        print_message("no io_uring here: %s\n", strerror(errno));
        return 0;
    }
    loop_ring_close(ring);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
