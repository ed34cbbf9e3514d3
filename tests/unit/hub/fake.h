/*
 * Loops without threads: a cluster whose hubs post to queues that a test
 * empties when it likes, and that writes down who got what.
 */
#ifndef TESTS_UNIT_HUB_FAKE_H
#define TESTS_UNIT_HUB_FAKE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mpsc.h"
#include "base/slice.h"
#include "hub/hub.h"
#include "hub/room_home.h"

struct fake_delivery {
    struct peal_client_ref to;
    uint64_t number; /* of the event: its data */
};

struct fake_loop {
    struct fake *fake;
    struct mpsc mail;
    uint64_t begun;  /* the event's number; 0 before the first */
    uint32_t begins; /* how often */
};

struct fake {
    struct hub_cluster cluster;
    struct fake_loop loops[HUB_MAX];
    struct fake_delivery deliveries[4096];
    size_t delivery_count;
    bool is_full; /* post_publish fails */
    uint64_t random;

    /* Called when a home takes a message in that came by mail. */
    void (*on_taken)(struct fake *fake, const struct peal_event *event);
    void *user;
};

static const struct hub_limits fake_limits = {
    .clients_max = 1000,
    .clients_per_address_max = 1000,
    .rooms_max = 1000,
    .rooms_per_client_max = 1000,
    .room_name_bytes_max = 256,
    .metadata_bytes_max = 1000,
};

/* --- Events --------------------------------------------------------------- */

/* Events of the tests carry a number that is not 0. */
static inline struct peal_event fake_event(const char *room,
                                           const uint64_t *number)
{
    return (struct peal_event){
        .name = SLICE("n"),
        .data = slice_make((const char *)number, sizeof *number),
        .room = peal_slice(room),
        .kind = PEAL_BYTES,
    };
}

static inline uint64_t fake_number(const struct peal_event *event)
{
    uint64_t number;

    ASSERT(event->data.size == sizeof number);
    memcpy(&number, event->data.data, sizeof number);
    return number;
}

/* The hub that is home of a room. */
static inline int fake_home_of(const struct fake *fake, struct peal_slice room)
{
    return room_home_index(&fake->cluster, hash_bytes(room.data, room.size));
}

/* --- The server's part ---------------------------------------------------- */

static void fake_begin(void *user, const struct peal_event *event)
{
    struct fake_loop *loop = user;

    loop->begun = fake_number(event);
    loop->begins++;
}

static void fake_deliver(void *user, struct peal_client *client)
{
    struct fake_loop *loop = user;
    struct fake *fake = loop->fake;

    ASSERT(client->hub->user == loop);
    ASSERT(fake->delivery_count < ARRAY_SIZE(fake->deliveries));
    fake->deliveries[fake->delivery_count++] =
        (struct fake_delivery){client_ref(client), loop->begun};
}

static int fake_post_publish(void *user, int to, struct message_mail *mail)
{
    struct fake_loop *loop = user;

    ASSERT(mail->kind == MESSAGE_PUBLISH && mail->size > 0);
    if (loop->fake->is_full) {
        return PEAL_EFULL;
    }
    mpsc_push(&loop->fake->loops[to].mail, &mail->node);
    return 0;
}

static void fake_post_deliver(void *user, int to, struct message_mail *mail)
{
    struct fake_loop *loop = user;

    ASSERT(mail->kind == MESSAGE_DELIVER && mail->size > 0);
    ASSERT(&loop->fake->loops[to] != loop);
    mpsc_push(&loop->fake->loops[to].mail, &mail->node);
}

static const struct hub_ops fake_ops = {
    .begin = fake_begin,
    .deliver = fake_deliver,
    .post_publish = fake_post_publish,
    .post_deliver = fake_post_deliver,
};

/* --- The test's part ------------------------------------------------------ */

/* 0 or PEAL_ENOMEM. */
static inline int fake_init(struct fake *fake, int count,
                            const struct hub_limits *limits)
{
    void *users[HUB_MAX];

    *fake = (struct fake){.random = 88172645463325252u};
    for (int i = 0; i < count; i++) {
        fake->loops[i].fake = fake;
        mpsc_init(&fake->loops[i].mail);
        users[i] = &fake->loops[i];
    }
    return hub_cluster_init(&fake->cluster, &(struct hub_setup){
                                                .count = count,
                                                .limits = limits,
                                                .ops = &fake_ops,
                                                .users = users,
                                            });
}

/* Uniform enough in 0 .. bound - 1, the same in every run. */
static inline uint32_t fake_random(struct fake *fake, uint32_t bound)
{
    fake->random ^= fake->random << 13;
    fake->random ^= fake->random >> 7;
    fake->random ^= fake->random << 17;
    return (uint32_t)(fake->random >> 32) % bound;
}

/* Handles the oldest mail of a loop; false when there is none. */
static inline bool fake_handle_one(struct fake *fake, int index)
{
    struct mpsc_node *node = mpsc_pop(&fake->loops[index].mail);
    struct message_mail *mail;

    if (node == NULL) {
        return false;
    }
    mail = CONTAINER_OF(node, struct message_mail, node);
    if (mail->kind == MESSAGE_PUBLISH) {
        if (fake->on_taken != NULL) {
            fake->on_taken(fake, &mail->message->event);
        }
        hub_on_publish(&fake->cluster.hubs[index], mail->message);
    } else {
        hub_on_deliver(&fake->cluster.hubs[index], mail->message);
    }
    message_unref(mail->message);
    return true;
}

/* Handles all mail, also what comes of it. */
static inline void fake_settle(struct fake *fake)
{
    bool is_busy = true;

    while (is_busy) {
        is_busy = false;
        for (int i = 0; i < fake->cluster.count; i++) {
            while (fake_handle_one(fake, i)) {
                is_busy = true;
            }
        }
    }
}

static inline void fake_remove_all(struct fake *fake)
{
    for (int i = 0; i < fake->cluster.count; i++) {
        struct hub *hub = &fake->cluster.hubs[i];

        for (uint32_t slot = 0; slot < hub->slot_count; slot++) {
            if (hub->slots[slot].client != NULL) {
                client_remove(hub->slots[slot].client);
            }
        }
    }
}

static inline void fake_fini(struct fake *fake)
{
    fake_settle(fake);
    fake_remove_all(fake);
    hub_check_cluster(&fake->cluster);
    hub_cluster_fini(&fake->cluster);
}

/* A client without id and address that must get in; NULL without memory. */
static inline struct peal_client *fake_admit(struct fake *fake, int index)
{
    struct peal_client *client = NULL;
    struct hub_refused refused;
    int rc = client_admit(&client, &fake->cluster.hubs[index], NULL,
                          slice_make(NULL, 0), slice_make(NULL, 0), &refused);

    ASSERT(rc == 0 || rc == PEAL_ENOMEM);
    return client;
}

static inline int fake_join(struct peal_client *client, const char *room)
{
    const char *limit = NULL;

    return room_join(client, peal_slice(room), &limit);
}

/* How often a client got the event with this number. */
static inline size_t fake_got(const struct fake *fake,
                              struct peal_client_ref ref, uint64_t number)
{
    size_t count = 0;

    for (size_t i = 0; i < fake->delivery_count; i++) {
        count += fake->deliveries[i].to.value == ref.value &&
                 fake->deliveries[i].number == number;
    }
    return count;
}

#endif
