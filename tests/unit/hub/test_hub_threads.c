/*
 * Loops on real threads, with real mailboxes: they publish, join, leave, admit
 * and remove all at once, while two more threads ask and publish from outside.
 * Afterwards, all that each client has heard must be an unbroken stretch of the
 * room's one order, and for the clients that never left, all of it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/slice.h"
#include "hub/hub.h"

#define LOOPS 4
#define OUTSIDERS 2
#define PUBLISHERS (LOOPS + OUTSIDERS)
#define ROOMS 3
#define STEPS 1500
#define GUESTS 6 /* clients of a loop that come and go */

/* What was heard in one membership, in order. */
struct heard {
    int room;
    uint32_t count;
    uint32_t capacity;
    uint32_t *numbers;
    struct heard *older; /* of the same loop, ended */
};

struct worker {
    struct crowd *crowd;
    int index;
    struct mpsc mail;
    uint64_t random;
    uint32_t begun;                     /* number of the event */
    int begun_room;                     /* -1: to everybody */
    struct peal_client *resident;       /* never leaves any room */
    struct heard resident_heard[ROOMS]; /* all there was */
    struct peal_client *guests[GUESTS]; /* NULL: away */
    struct heard *guest_heard[GUESTS][ROOMS];
    struct heard *ended;
    uint32_t everybody; /* messages to all that the resident has heard */
};

struct crowd {
    struct hub_cluster cluster;
    struct worker workers[LOOPS];
    atomic_int busy;
    _Atomic uint32_t number; /* of the last event */
    _Atomic uint32_t published[ROOMS];
    _Atomic uint32_t published_to_all;
};

static const char *const room_names[ROOMS] = {"alpha", "beta", "gamma"};

static uint32_t random_next(uint64_t *state, uint32_t bound)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32) % bound;
}

/* --- What a loop's server would do ---------------------------------------- */

static void begin(void *user, const struct peal_event *event)
{
    struct worker *worker = user;

    ASSERT(event->data.size == sizeof worker->begun);
    memcpy(&worker->begun, event->data.data, sizeof worker->begun);
    worker->begun_room = -1;
    for (int room = 0; room < ROOMS; room++) {
        if (slice_equal(event->room, peal_slice(room_names[room]))) {
            worker->begun_room = room;
        }
    }
}

static void heard_add(struct heard *heard, uint32_t number)
{
    if (heard->count == heard->capacity) {
        heard->capacity = heard->capacity > 0 ? heard->capacity * 2 : 64;
        heard->numbers =
            realloc(heard->numbers, heard->capacity * sizeof *heard->numbers);
        ASSERT(heard->numbers != NULL);
    }
    heard->numbers[heard->count++] = number;
}

static void deliver(void *user, struct peal_client *client)
{
    struct worker *worker = user;
    int room = worker->begun_room;

    ASSERT(client->hub->user == worker);
    if (room < 0) {
        worker->everybody += client == worker->resident;
    } else if (client == worker->resident) {
        heard_add(&worker->resident_heard[room], worker->begun);
    } else {
        heard_add(((struct heard **)client->conn)[room], worker->begun);
    }
}

static int post_publish(void *user, int to, struct message_mail *mail)
{
    struct worker *worker = user;

    mpsc_push(&worker->crowd->workers[to].mail, &mail->node);
    return 0;
}

static void post_deliver(void *user, int to, struct message_mail *mail)
{
    (void)post_publish(user, to, mail);
}

static const struct hub_ops ops = {
    .begin = begin,
    .deliver = deliver,
    .post_publish = post_publish,
    .post_deliver = post_deliver,
};

/* Returns whether there was any. */
static bool handle_mail(struct worker *worker)
{
    struct hub *hub = &worker->crowd->cluster.hubs[worker->index];
    struct mpsc_node *node;
    bool was_any = false;

    while ((node = mpsc_pop(&worker->mail)) != NULL) {
        struct message_mail *mail =
            CONTAINER_OF(node, struct message_mail, node);

        was_any = true;
        if (mail->kind == MESSAGE_PUBLISH) {
            hub_on_publish(hub, mail->message);
        } else {
            hub_on_deliver(hub, mail->message);
        }
        message_unref(mail->message);
    }
    return was_any;
}

/* --- What a loop's application would do ----------------------------------- */

static void publish(struct crowd *crowd, struct hub *hub, uint64_t *random)
{
    uint32_t room = random_next(random, ROOMS * 8 + 1);
    uint32_t number = atomic_fetch_add(&crowd->number, 1) + 1;
    struct peal_event event = {
        .data = slice_make((const char *)&number, sizeof number),
        .kind = PEAL_BYTES,
    };
    int rc;

    if (room == ROOMS * 8) {
        atomic_fetch_add(&crowd->published_to_all, 1);
    } else {
        event.room = peal_slice(room_names[room % ROOMS]);
        atomic_fetch_add(&crowd->published[room % ROOMS], 1);
    }
    if (hub != NULL) {
        rc = hub_publish(hub, &event, NULL, 0);
    } else {
        rc = hub_publish_any(&crowd->cluster, &event, NULL, 0);
    }
    ASSERT(rc == 0);
}

static struct peal_client *admit(struct worker *worker, void *conn)
{
    struct peal_client *client = NULL;
    struct hub_refused refused;
    char address = (char)random_next(&worker->random, 3);
    int rc =
        client_admit(&client, &worker->crowd->cluster.hubs[worker->index], conn,
                     slice_make(NULL, 0), slice_make(&address, 1), &refused);

    ASSERT(rc == 0);
    return client;
}

static void join(struct peal_client *client, int room)
{
    const char *limit = NULL;
    int rc = room_join(client, peal_slice(room_names[room]), &limit);

    ASSERT(rc == 1);
}

static struct heard *heard_new(int room)
{
    struct heard *heard = calloc(1, sizeof *heard);

    ASSERT(heard != NULL);
    heard->room = room;
    return heard;
}

static void heard_end(struct worker *worker, struct heard **heard)
{
    struct heard *ended = *heard;

    if (ended != NULL) {
        *heard = NULL;
        ended->older = worker->ended;
        worker->ended = ended;
    }
}

static void change_guest(struct worker *worker)
{
    uint32_t i = random_next(&worker->random, GUESTS);
    int room = (int)random_next(&worker->random, ROOMS);
    struct peal_client *guest = worker->guests[i];

    if (guest == NULL) {
        guest = admit(worker, worker->guest_heard[i]);
        worker->guests[i] = guest;
        if (random_next(&worker->random, 2) == 0) {
            const char *id = client_id(guest);
            int rc = client_set(guest, "turn", i % 2 == 0 ? "a" : "b");

            ASSERT(id != NULL && rc == 0);
        }
    } else if (random_next(&worker->random, 6) == 0) {
        client_remove(guest);
        worker->guests[i] = NULL;
        for (int j = 0; j < ROOMS; j++) {
            heard_end(worker, &worker->guest_heard[i][j]);
        }
    } else if (worker->guest_heard[i][room] == NULL) {
        join(guest, room);
        worker->guest_heard[i][room] = heard_new(room);
    } else {
        int rc = room_leave(guest, peal_slice(room_names[room]));

        ASSERT(rc == 1);
        heard_end(worker, &worker->guest_heard[i][room]);
    }
}

static void *run_loop(void *arg)
{
    struct worker *worker = arg;
    struct crowd *crowd = worker->crowd;

    for (int step = 0; step < STEPS; step++) {
        publish(crowd, &crowd->cluster.hubs[worker->index], &worker->random);
        change_guest(worker);
        if (random_next(&worker->random, 4) == 0) {
            handle_mail(worker);
        }
        if (step % 64 == 0) {
            hub_check(&crowd->cluster.hubs[worker->index]);
        }
    }
    atomic_fetch_sub(&crowd->busy, 1);
    while (handle_mail(worker) || atomic_load(&crowd->busy) > 0) {
        sched_yield();
    }
    return NULL;
}

/* --- From outside --------------------------------------------------------- */

static bool count_members(const char *name, size_t members, void *user)
{
    (void)name;
    /* The residents are always there, and no loop has more than its guests. */
    ASSERT(members >= LOOPS && members <= LOOPS * (1 + GUESTS));
    ++*(size_t *)user;
    return true;
}

static void ask(struct crowd *crowd, uint64_t *random)
{
    struct peal_client_ref refs[LOOPS * (1 + GUESTS)];
    struct hub_cluster *cluster = &crowd->cluster;
    struct peal_client_ref resident;
    size_t count;
    int rc;

    switch (random_next(random, 4)) {
    case 0:
        count = 0;
        rc = room_each(cluster, count_members, &count);
        ASSERT(rc == 0 && count == ROOMS && room_count(cluster) == ROOMS);
        break;
    case 1:
        count = client_list(cluster, refs, ARRAY_SIZE(refs));
        ASSERT(count >= LOOPS && count <= ARRAY_SIZE(refs));
        for (size_t i = 0; i < count; i++) {
            char id[PEAL_ID_MAX + 1];
            long size = client_copy(cluster, refs[i], NULL, id, sizeof id);

            ASSERT(client_ref_loop(cluster, refs[i]) >= 0);
            ASSERT(size > 0 || size == PEAL_EGONE || size == PEAL_ENOTFOUND);
            size = client_copy(cluster, refs[i], "turn", id, sizeof id);
            ASSERT(size == 1 || size == PEAL_EGONE || size == PEAL_ENOTFOUND);
        }
        break;
    case 2:
        count = room_members(cluster, peal_slice(room_names[0]), refs,
                             ARRAY_SIZE(refs));
        ASSERT(count >= LOOPS && count <= ARRAY_SIZE(refs));
        break;
    default:
        resident = client_find_id(cluster, SLICE("resident 2"));
        ASSERT(client_ref_loop(cluster, resident) == 2);
        break;
    }
}

struct outsider {
    struct crowd *crowd;
    uint64_t random;
};

static void *run_outsider(void *arg)
{
    struct outsider *outsider = arg;

    for (int step = 0; step < STEPS; step++) {
        publish(outsider->crowd, NULL, &outsider->random);
        ask(outsider->crowd, &outsider->random);
    }
    atomic_fetch_sub(&outsider->crowd->busy, 1);
    return NULL;
}

/* --- The test ------------------------------------------------------------- */

static void crowd_init(struct crowd *crowd)
{
    const struct hub_limits limits = {
        .clients_max = 1000,
        .clients_per_address_max = 1000,
        .rooms_max = ROOMS,
        .rooms_per_client_max = ROOMS,
        .room_name_bytes_max = 256,
        .metadata_bytes_max = 100,
    };
    void *users[LOOPS];

    for (int i = 0; i < LOOPS; i++) {
        struct worker *worker = &crowd->workers[i];

        worker->crowd = crowd;
        worker->index = i;
        worker->random = 88172645463325252u + (uint64_t)i;
        mpsc_init(&worker->mail);
        users[i] = worker;
    }
    assert_int_equal(hub_cluster_init(&crowd->cluster,
                                      &(struct hub_setup){
                                          .count = LOOPS,
                                          .limits = &limits,
                                          .ops = &ops,
                                          .users = users,
                                      }),
                     0);
    for (int i = 0; i < LOOPS; i++) {
        struct worker *worker = &crowd->workers[i];
        struct hub_refused refused;
        char id[16];
        int size = snprintf(id, sizeof id, "resident %d", i);

        assert_int_equal(client_admit(&worker->resident,
                                      &crowd->cluster.hubs[i], NULL,
                                      slice_make(id, (size_t)size),
                                      slice_make(NULL, 0), &refused),
                         0);
        for (int room = 0; room < ROOMS; room++) {
            join(worker->resident, room);
        }
    }
}

static void crowd_run(struct crowd *crowd)
{
    struct outsider outsiders[OUTSIDERS];
    pthread_t threads[PUBLISHERS];
    bool is_busy = true;

    atomic_store(&crowd->busy, PUBLISHERS);
    for (int i = 0; i < PUBLISHERS; i++) {
        int rc;

        if (i < LOOPS) {
            rc =
                pthread_create(&threads[i], NULL, run_loop, &crowd->workers[i]);
        } else {
            outsiders[i - LOOPS] =
                (struct outsider){crowd, 362436069u + (uint64_t)i};
            rc = pthread_create(&threads[i], NULL, run_outsider,
                                &outsiders[i - LOOPS]);
        }
        assert_int_equal(rc, 0);
    }
    for (int i = 0; i < PUBLISHERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    while (is_busy) {
        is_busy = false;
        for (int i = 0; i < LOOPS; i++) {
            is_busy |= handle_mail(&crowd->workers[i]);
        }
    }
}

/* Whether `part` is an unbroken stretch of `whole`. */
static bool is_stretch(const struct heard *part, const struct heard *whole)
{
    uint32_t first = 0;

    if (part->count == 0) {
        return true;
    }
    while (first < whole->count && whole->numbers[first] != part->numbers[0]) {
        first++;
    }
    return part->count <= whole->count - first &&
           memcmp(&whole->numbers[first], part->numbers,
                  part->count * sizeof part->numbers[0]) == 0;
}

static void check_worker(const struct crowd *crowd, const struct worker *worker)
{
    const struct worker *first = &crowd->workers[0];
    size_t memberships = 0;
    size_t heard = 0;

    assert_int_equal(worker->everybody, atomic_load(&crowd->published_to_all));
    for (int room = 0; room < ROOMS; room++) {
        assert_int_equal(worker->resident_heard[room].count,
                         atomic_load(&crowd->published[room]));
        assert_true(is_stretch(&worker->resident_heard[room],
                               &first->resident_heard[room]));
    }
    for (const struct heard *h = worker->ended; h != NULL; h = h->older) {
        assert_true(is_stretch(h, &first->resident_heard[h->room]));
        memberships++;
        heard += h->count;
    }
    assert_true(memberships > 10 && heard > memberships);
}

static void crowd_fini(struct crowd *crowd)
{
    for (int i = 0; i < LOOPS; i++) {
        struct worker *worker = &crowd->workers[i];

        client_remove(worker->resident);
        for (int room = 0; room < ROOMS; room++) {
            free(worker->resident_heard[room].numbers);
        }
        while (worker->ended != NULL) {
            struct heard *older = worker->ended->older;

            free(worker->ended->numbers);
            free(worker->ended);
            worker->ended = older;
        }
    }
    hub_check_cluster(&crowd->cluster);
    hub_cluster_fini(&crowd->cluster);
}

static void all_loops_hear_one_order(void **state)
{
    static struct crowd crowd;

    (void)state;
    crowd_init(&crowd);
    crowd_run(&crowd);
    hub_check_cluster(&crowd.cluster);
    for (int i = 0; i < LOOPS; i++) {
        struct worker *worker = &crowd.workers[i];

        for (int guest = 0; guest < GUESTS; guest++) {
            if (worker->guests[guest] != NULL) {
                client_remove(worker->guests[guest]);
            }
            for (int room = 0; room < ROOMS; room++) {
                heard_end(worker, &worker->guest_heard[guest][room]);
            }
        }
        check_worker(&crowd, worker);
    }
    crowd_fini(&crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_loops_hear_one_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
