#include "support/bystanders.h"

#include "support/member.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define COUNT 4
#define ROUNDS 5 /* are "a while" */

struct bystanders {
    struct member members[COUNT];
    pthread_t thread;
    _Atomic int rounds;
    _Atomic bool is_over;
};

/* Everybody says the number once, and everybody else hears it. */
static void talk(struct bystanders *bystanders, int number)
{
    for (int from = 0; from < COUNT; from++) {
        member_say(&bystanders->members[from],
                   "{'event':'n','room':'steady','data':%d}",
                   number * COUNT + from);
        for (int to = 0; to < COUNT; to++) {
            if (to != from) {
                member_expect(&bystanders->members[to],
                              "{'event':'n','room':'steady','data':%d}",
                              number * COUNT + from);
            }
        }
    }
}

static void *run(void *argument)
{
    struct bystanders *bystanders = argument;

    while (!atomic_load(&bystanders->is_over)) {
        talk(bystanders, atomic_load(&bystanders->rounds));
        atomic_fetch_add(&bystanders->rounds, 1);
        check_breathe();
    }
    return NULL;
}

struct bystanders *bystanders_start(const struct host *host)
{
    struct bystanders *bystanders = calloc(1, sizeof *bystanders);

    CHECK(bystanders != NULL);
    for (int i = 0; i < COUNT; i++) {
        struct member *member = &bystanders->members[i];

        member_open(member, host_address(host, i % 2 == 1), i % 2 == 1);
        member_join(member, "steady");
    }
    CHECK_EQUAL(pthread_create(&bystanders->thread, NULL, run, bystanders), 0);
    return bystanders;
}

void bystanders_talk_on(struct bystanders *bystanders)
{
    int rounds = atomic_load(&bystanders->rounds);

    CHECK_SOON(atomic_load(&bystanders->rounds) >= rounds + ROUNDS);
}

void bystanders_stop(struct bystanders *bystanders)
{
    bystanders_talk_on(bystanders);
    atomic_store(&bystanders->is_over, true);
    pthread_join(bystanders->thread, NULL);
    for (int i = 0; i < COUNT; i++) {
        member_expect_silence(&bystanders->members[i]);
        member_close(&bystanders->members[i]);
    }
    free(bystanders);
}
