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
#include "ring_breaker.h"
#include "torture.h"

static struct loop_ring *ring;

static int set_up(void **state)
{
    (void)state;
    return loop_ring_open(&ring);
}

static int tear_down(void **state)
{
    (void)state;
    loop_ring_close(ring);
    return 0;
}

/* A pair whose first end takes little before it is full. */
static void make_pair(int fds[2])
{
    int small = 1;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
}

static void close_pair(int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

/* As many as fit, each to a socket of its own, with a text of its own. */
static void send_to_all(bool is_broken)
{
    static int pairs[LOOP_RING_SENDS][2];
    static char texts[LOOP_RING_SENDS][16];
    struct loop_send sends[LOOP_RING_SENDS];

    for (size_t i = 0; i < LOOP_RING_SENDS; i++) {
        make_pair(pairs[i]);
        snprintf(texts[i], sizeof(texts[i]), "%zu", i * 1000003);
        sends[i] = (struct loop_send){
            .fd = pairs[i][0],
            .data = texts[i],
            .size = strlen(texts[i]) + 1,
        };
    }
    assert_int_equal(loop_ring_send(ring, sends, LOOP_RING_SENDS), !is_broken);
    for (size_t i = 0; i < LOOP_RING_SENDS; i++) {
        char text[32];

        assert_int_equal(sends[i].result, sends[i].size);
        assert_int_equal(recv(pairs[i][1], text, sizeof(text), 0),
                         sends[i].size);
        assert_string_equal(text, texts[i]);
        close_pair(pairs[i]);
    }
}

static void test_many_sends(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        send_to_all(false);
    }
}

static void test_nothing_to_send(void **state)
{
    (void)state;
    assert_true(loop_ring_send(ring, NULL, 0));
}

/* Each has its own result, and none waits for its socket. */
static void test_results(void **state)
{
    static char large[1 << 20];
    int full[2];
    int broken[2];
    int fine[2];
    struct loop_send sends[4];

    (void)state;
    make_pair(full);
    make_pair(broken);
    make_pair(fine);
    close(broken[1]);
    sends[0] = (struct loop_send){full[0], large, sizeof(large), 0};
    sends[1] = (struct loop_send){broken[0], "x", 1, 0};
    sends[2] = (struct loop_send){-1, "x", 1, 0};
    sends[3] = (struct loop_send){fine[0], "x", 1, 0};
    assert_true(loop_ring_send(ring, sends, 4));
    assert_in_range(sends[0].result, 1, sizeof(large) - 1);
    assert_int_equal(sends[1].result, -EPIPE);
    assert_int_equal(sends[2].result, -EBADF);
    assert_int_equal(sends[3].result, 1);

    assert_true(loop_ring_send(ring, sends, 1));
    assert_int_equal(sends[0].result, -EAGAIN);
    close(broken[0]);
    close_pair(full);
    close_pair(fine);
}

static void test_failure_loses_nothing(void **state)
{
    (void)state;
    assert_int_equal(ring_break_all(), 1);
    send_to_all(true);
}

static void open_and_close(void *arg)
{
    struct loop_ring *opened;

    (void)arg;
    if (loop_ring_open(&opened) < 0) {
        assert_true(torture_failed());
        return;
    }
    loop_ring_close(opened);
}

static void test_without_memory(void **state)
{
    (void)state;
    loop_ring_close(NULL);
    torture_run(open_and_close, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_many_sends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_to_send, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_results, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failure_loses_nothing, set_up,
                                        tear_down),
        cmocka_unit_test(test_without_memory),
    };

    if (loop_ring_open(&ring) < 0) {
        print_message("no io_uring here: %s\n", strerror(errno));
        return 0;
    }
    loop_ring_close(ring);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
