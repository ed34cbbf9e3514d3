#include "hub/hub.h"

#include "base/assert.h"
#include "base/hash.h"
#include "hub/room_home.h"

/*
 * How far ahead of its delivery a receiver's memory is fetched: the client
 * first, and when that has come, the server's connection behind it.
 */
#define HUB_AHEAD_CLIENT 16
#define HUB_AHEAD_CONN 8

/* An event on its way, and the hash of its room's name. */
struct hub_parcel {
    const struct peal_event *event;
    const struct peal_client_ref *except;
    size_t except_count;
    uint64_t hash;
    uint64_t serial; /* of a message from another loop's home, else 0 */
};

/* --- On one loop ---------------------------------------------------------- */

/*
 * Pointers to clients, each at the beginning of a struct: a room's members or
 * all slots of a hub, where a pointer may be NULL.
 */
struct hub_audience {
    const char *first;
    size_t stride;
    uint32_t count;
};

_Static_assert(offsetof(struct member, client) == 0, "see hub_audience");
_Static_assert(offsetof(struct client_slot, client) == 0, "see hub_audience");

static struct hub_audience hub_audience(const struct hub *hub,
                                        const struct hub_parcel *parcel)
{
    const struct room *room;

    if (parcel->event->room.size == 0) {
        return (struct hub_audience){(const char *)hub->slots,
                                     sizeof hub->slots[0], hub->slot_count};
    }
    room = map_get_hashed(&hub->rooms, parcel->event->room, parcel->hash);
    if (room == NULL ||
        (parcel->serial != 0 && parcel->serial <= room->since)) {
        return (struct hub_audience){NULL, 0, 0};
    }
    return (struct hub_audience){(const char *)room->members,
                                 sizeof room->members[0], room->count};
}

static inline struct peal_client *hub_audience_at(struct hub_audience audience,
                                                  uint32_t i)
{
    return *(struct peal_client *const *)(const void *)(audience.first +
                                                        i * audience.stride);
}

static inline void hub_audience_fetch(struct hub_audience audience, uint32_t i)
{
    if (i + HUB_AHEAD_CLIENT < audience.count) {
        __builtin_prefetch(hub_audience_at(audience, i + HUB_AHEAD_CLIENT));
    }
    if (i + HUB_AHEAD_CONN < audience.count) {
        const struct peal_client *client =
            hub_audience_at(audience, i + HUB_AHEAD_CONN);

        if (client != NULL) {
            __builtin_prefetch(client->conn);
        }
    }
}

/* Marks the clients of this loop that are to be left out of the next delivery.
 */
static void hub_mark_except(struct hub *hub, const struct hub_parcel *parcel)
{
    hub->mark++;
    if (hub->mark == 0) {
        /* After 2^32 deliveries old marks would come true again. */
        for (uint32_t i = 0; i < hub->slot_count; i++) {
            if (hub->slots[i].client != NULL) {
                hub->slots[i].client->mark = 0;
            }
        }
        hub->mark = 1;
    }
    for (size_t i = 0; i < parcel->except_count; i++) {
        struct peal_client *client = client_find(hub, parcel->except[i]);

        if (client != NULL) {
            client->mark = hub->mark;
        }
    }
}

/* Delivers to the receivers on this loop: O(audience + exceptions). */
static void hub_deliver(struct hub *hub, const struct hub_parcel *parcel)
{
    const struct hub_ops *ops = hub->ops;
    struct hub_audience audience = hub_audience(hub, parcel);
    bool is_timed = audience.count >= HUB_LARGE && ops->large != NULL;
    bool has_begun = false;

    if (audience.count == 0) {
        return;
    }
    if (is_timed) {
        ops->large(hub->user, false);
    }
    hub_mark_except(hub, parcel);
    for (uint32_t i = 0; i < audience.count; i++) {
        struct peal_client *client = hub_audience_at(audience, i);

        hub_audience_fetch(audience, i);
        if (client == NULL || client->mark == hub->mark) {
            continue;
        }
        if (!has_begun) {
            has_begun = true;
            ops->begin(hub->user, parcel->event);
        }
        ops->deliver(hub->user, client);
    }
    if (is_timed) {
        ops->large(hub->user, true);
    }
}

/* --- Between loops -------------------------------------------------------- */

static struct hub_parcel hub_parcel(const struct peal_event *event,
                                    const struct peal_client_ref *except,
                                    size_t except_count)
{
    struct peal_slice room = event->room;

    return (struct hub_parcel){
        .event = event,
        .except = except,
        .except_count = except_count,
        .hash = room.size > 0 ? hash_bytes(room.data, room.size) : 0,
    };
}

static struct hub_parcel hub_message_parcel(const struct message *message)
{
    return hub_parcel(&message->event, message->except, message->except_count);
}

static int hub_parcel_home(const struct hub_cluster *cluster,
                           const struct hub_parcel *parcel)
{
    return parcel->event->room.size > 0 ? room_home_index(cluster, parcel->hash)
                                        : 0;
}

/*
 * At the home: takes an event in. Returns the other loops that may have
 * receivers, a bit for each, and the serial for a message to them.
 */
static uint64_t hub_take(struct hub *home, const struct hub_parcel *parcel,
                         uint64_t *serial)
{
    int count = home->cluster->count;
    uint64_t loops;

    *serial = 0;
    if (count == 1) {
        return 0;
    }
    if (parcel->event->room.size == 0) {
        loops = UINT64_MAX >> (HUB_MAX - count);
    } else {
        loops = room_home_take(home, parcel->event->room, parcel->hash, serial);
    }
    return loops & ~(UINT64_C(1) << home->index);
}

/*
 * At the home. Everything that it takes in goes through here, to each loop in
 * the same order: that is the order of the room.
 */
static void hub_post_deliver(struct hub *home, struct message *message,
                             uint64_t loops, uint64_t serial)
{
    message->serial = serial;
    while (loops != 0) {
        int to = __builtin_ctzll(loops);

        loops &= loops - 1;
        home->ops->post_deliver(home->user, to,
                                message_take_mail(message, MESSAGE_DELIVER));
    }
}

/* Posts to the home, on behalf of the loop or thread that `user` stands for. */
static int hub_post_publish(struct hub_cluster *cluster, int home,
                            const struct hub_parcel *parcel, void *user)
{
    /* One mail to get there, and one for each other loop from there. */
    struct message *message =
        message_new(parcel->event, parcel->except, parcel->except_count,
                    (uint32_t)cluster->count);
    int rc;

    if (message == NULL) {
        return PEAL_ENOMEM;
    }
    rc = cluster->hubs[home].ops->post_publish(
        user, home, message_take_mail(message, MESSAGE_PUBLISH));
    if (rc < 0) {
        message_unref(message);
    }
    message_unref(message);
    return rc;
}

int hub_publish(struct hub *hub, const struct peal_event *event,
                const struct peal_client_ref *except, size_t except_count)
{
    struct hub_parcel parcel = hub_parcel(event, except, except_count);
    int home = hub_parcel_home(hub->cluster, &parcel);
    struct message *message = NULL;
    uint64_t loops;
    uint64_t serial;

    if (home != hub->index) {
        return hub_post_publish(hub->cluster, home, &parcel, hub->user);
    }
    loops = hub_take(hub, &parcel, &serial);
    if (loops != 0) {
        message = message_new(event, except, except_count,
                              (uint32_t)__builtin_popcountll(loops));
        if (message == NULL) {
            return PEAL_ENOMEM;
        }
    }
    hub_deliver(hub, &parcel);
    if (message != NULL) {
        hub_post_deliver(hub, message, loops, serial);
        message_unref(message);
    }
    return 0;
}

int hub_publish_any(struct hub_cluster *cluster, const struct peal_event *event,
                    const struct peal_client_ref *except, size_t except_count)
{
    struct hub_parcel parcel = hub_parcel(event, except, except_count);
    int home = hub_parcel_home(cluster, &parcel);

    return hub_post_publish(cluster, home, &parcel, cluster->hubs[home].user);
}

void hub_on_publish(struct hub *hub, struct message *message)
{
    struct hub_parcel parcel = hub_message_parcel(message);
    uint64_t loops;
    uint64_t serial;

    ASSERT(hub_parcel_home(hub->cluster, &parcel) == hub->index);
    loops = hub_take(hub, &parcel, &serial);
    hub_deliver(hub, &parcel);
    hub_post_deliver(hub, message, loops, serial);
}

void hub_on_deliver(struct hub *hub, struct message *message)
{
    struct hub_parcel parcel = hub_message_parcel(message);

    parcel.serial = message->serial;
    hub_deliver(hub, &parcel);
}
