#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "base/assert.h"
#include "base/mpsc.h"

#define PRODUCERS 4
#define PER_PRODUCER 20000

struct message {
    struct mpsc_node node;
    int producer;
    int number;
};

struct producer {
    pthread_t thread;
    struct mpsc *queue;
    struct message *messages;
    int id;
};

static struct message *pop_message(struct mpsc *queue)
{
    struct mpsc_node *node = mpsc_pop(queue);

    return node != NULL ? CONTAINER_OF(node, struct message, node) : NULL;
}

static void test_one_thread(void **state)
{
    struct mpsc queue;
    struct message messages[3] = {{.number = 0}, {.number = 1}, {.number = 2}};

    (void)state;
    mpsc_init(&queue);
    assert_null(mpsc_pop(&queue));
    /* Every fill level, several times, with the same nodes. */
    for (int round = 0; round < 5; round++) {
        for (int count = 1; count <= 3; count++) {
            for (int i = 0; i < count; i++) {
                mpsc_push(&queue, &messages[i].node);
            }
            for (int i = 0; i < count; i++) {
                assert_ptr_equal(pop_message(&queue), &messages[i]);
            }
            assert_null(mpsc_pop(&queue));
            assert_null(mpsc_pop(&queue));
        }
    }

    /* A node may go back in as soon as it is out. */
    mpsc_push(&queue, &messages[0].node);
    for (int i = 0; i < 10; i++) {
        mpsc_push(&queue, &messages[(i + 1) % 3].node);
        assert_ptr_equal(pop_message(&queue), &messages[i % 3]);
    }
}

/* What a producer looks like between its two steps, without a race. */
static void test_unfinished_push(void **state)
{
    struct mpsc queue;
    struct message first = {.number = 1};
    struct message second = {.number = 2};
    struct message third = {.number = 3};

    (void)state;
    mpsc_init(&queue);
    mpsc_push(&queue, &first.node);
    atomic_store(&second.node.next, NULL);

    struct mpsc_node *previous = atomic_exchange(&queue.tail, &second.node);

    mpsc_push(&queue, &third.node);
    assert_ptr_equal(previous, &first.node);
    /* Asking again must not change anything. */
    assert_null(mpsc_pop(&queue));
    assert_null(mpsc_pop(&queue));
    atomic_store(&previous->next, &second.node);
    assert_ptr_equal(pop_message(&queue), &first);
    assert_ptr_equal(pop_message(&queue), &second);
    assert_ptr_equal(pop_message(&queue), &third);
    assert_null(mpsc_pop(&queue));
}

static void *produce(void *arg)
{
    struct producer *producer = arg;

    for (int i = 0; i < PER_PRODUCER; i++) {
        struct message *message = &producer->messages[i];

        message->producer = producer->id;
        message->number = i;
        mpsc_push(producer->queue, &message->node);
    }
    return NULL;
}

static void test_order_of_each_producer(void **state)
{
    static struct message messages[PRODUCERS][PER_PRODUCER];
    struct producer producers[PRODUCERS];
    int next[PRODUCERS] = {0};
    struct mpsc queue;

    (void)state;
    mpsc_init(&queue);
    for (int i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){
            .queue = &queue, .messages = messages[i], .id = i};
        assert_int_equal(pthread_create(&producers[i].thread, NULL, produce,
                                        &producers[i]),
                         0);
    }
    for (int taken = 0; taken < PRODUCERS * PER_PRODUCER;) {
        struct message *message = pop_message(&queue);

        if (message == NULL) {
            sched_yield();
            continue;
        }
        assert_int_equal(message->number, next[message->producer]);
        next[message->producer]++;
        taken++;
    }
    for (int i = 0; i < PRODUCERS; i++) {
        pthread_join(producers[i].thread, NULL);
    }
    assert_null(mpsc_pop(&queue));
}

/*
 * One order for all: a push that another thread has learned of comes out
 * before what that thread pushes then. Two threads take turns.
 */
struct relay {
    struct mpsc *queue;
    atomic_int turn;
    struct message messages[2][PER_PRODUCER / 10];
};

struct relay_runner {
    pthread_t thread;
    struct relay *relay;
    int id;
};

static void *relay_run(void *arg)
{
    struct relay_runner *runner = arg;
    struct relay *relay = runner->relay;

    for (int i = 0; i < PER_PRODUCER / 10; i++) {
        struct message *message = &relay->messages[runner->id][i];
        int turn = 2 * i + runner->id;

        while (atomic_load(&relay->turn) != turn) {
            sched_yield();
        }
        message->number = turn;
        mpsc_push(relay->queue, &message->node);
        atomic_store(&relay->turn, turn + 1);
    }
    return NULL;
}

static void test_order_across_producers(void **state)
{
    static struct relay relay;
    struct relay_runner runners[2];
    struct mpsc queue;

    (void)state;
    mpsc_init(&queue);
    relay.queue = &queue;
    for (int i = 0; i < 2; i++) {
        runners[i] = (struct relay_runner){.relay = &relay, .id = i};
        assert_int_equal(
            pthread_create(&runners[i].thread, NULL, relay_run, &runners[i]),
            0);
    }
    for (int number = 0; number < PER_PRODUCER / 10 * 2;) {
        struct message *message = pop_message(&queue);

        if (message == NULL) {
            sched_yield();
            continue;
        }
        assert_int_equal(message->number, number);
        number++;
    }
    pthread_join(runners[0].thread, NULL);
    pthread_join(runners[1].thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_thread),
        cmocka_unit_test(test_unfinished_push),
        cmocka_unit_test(test_order_of_each_producer),
        cmocka_unit_test(test_order_across_producers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
