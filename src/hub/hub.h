/*
 * The hub: clients, rooms and who gets what. Pure rules: it knows no socket, no
 * clock and no wire format; what it decides goes out through `struct hub_ops`.
 *
 * There is one hub for each loop, and `struct hub_cluster` ties them together.
 * A client belongs to the hub of its loop. A room has members on any loops and
 * one home, the hub chosen by the hash of its name: the home puts all messages
 * to the room in one order and knows which loops have members.
 *
 *     publisher's loop --publish--> home --deliver--> loops with members
 *
 * With one loop, and where publisher, home and members share a loop, that is a
 * function call and nothing is copied.
 *
 * Several clusters may share the loops. They know nothing of each other's
 * clients and rooms, but the first one may count, and limit, the clients of
 * all: it is the `outer` one of the others.
 *
 * How fields may be touched: [I] set before start; [L] by the owner's loop
 * only; [m] written by the owner under `lock`, read by the owner without it and
 * by other threads under it; [r] under `registry_lock`; [a] atomic. All locks
 * are leaves: nothing else is locked, and nobody is called, while one is held.
 */
#ifndef HUB_HUB_H
#define HUB_HUB_H

#include "base/map.h"
#include "hub/message.h"
#include "peal/server.h"

#include <pthread.h>
#include <stdatomic.h>

#define HUB_MAX 64 /* one bit each in room_home.loops */

#define HUB_CLUSTERS_MAX 256 /* that share their loops */

#define HUB_LARGE 16 /* an audience that is worth a look at the clock */

struct hub;
struct room;

struct hub_limits {
    _Atomic uint32_t clients_max;
    _Atomic uint32_t clients_per_address_max;
    _Atomic uint32_t rooms_max;
    _Atomic uint32_t rooms_per_client_max;
    _Atomic uint32_t room_name_bytes_max;
    _Atomic uint32_t metadata_bytes_max;
};

/* What a hub asks of the server around it. `user` is hub->user. */
struct hub_ops {
    /* [L] The deliveries that follow are of this event. */
    void (*begin)(void *user, const struct peal_event *event);

    /*
     * [L] The event that was begun goes to this client. Must not change
     * memberships and must not call the application.
     */
    void (*deliver)(void *user, struct peal_client *client);

    /*
     * [L] Around the deliveries of one event to an audience of HUB_LARGE or
     * more, to time them; NULL: not wanted. Small ones are over before a clock
     * is read.
     */
    void (*large)(void *user, bool is_over);

    /*
     * Any thread. Hands `mail` to another loop, in the order of the calls. That
     * loop is to call hub_on_publish or hub_on_deliver, by mail->kind, with
     * mail->message and then message_unref.
     *
     * The way to a home may be full: 0 or PEAL_EFULL, then the mail stays with
     * the caller. What a home has taken in must arrive, so post_deliver cannot
     * fail: it needs no memory, and the bound is kept where messages enter.
     * `user` is that of hub `to` when the caller is no loop (hub_publish_any).
     */
    int (*post_publish)(void *user, int to, struct message_mail *mail);
    void (*post_deliver)(void *user, int to, struct message_mail *mail);
};

/* A client's place in a room, at index i of peal_client.rooms. */
struct membership {
    struct room *room;
    uint32_t index; /* in room->members */
};

/* A room's member, at index i of room.members. */
struct member {
    struct peal_client *client;
    uint32_t index; /* in client->rooms */
};

struct metadata {
    struct metadata *next;
    size_t size; /* counts towards metadata_bytes_max: key and value */
    const char *value;
    char key[];
};

/*
 * What only some clients have: an id, and with it metadata. Made when first
 * needed.
 */
struct client_extra {
    struct peal_client_ref ref;
    struct metadata *metadata; /* [m] */
    size_t metadata_bytes;     /* [m] */
    size_t id_size;
    char id[]; /* [I] with a zero byte; in cluster.ids */
};

struct peal_client {
    struct hub *hub;               /* [I] */
    void *conn;                    /* [L] the server's */
    void *user;                    /* [L] the application's */
    struct membership *rooms;      /* [m] see hub/client_rooms.h */
    struct client_extra *extra;    /* [m] NULL until there is an id */
    struct address_count *address; /* [I] NULL: not counted */
    uint32_t slot;                 /* [I] */
    uint32_t generation;           /* [I] */
    uint32_t room_count;           /* [m] */
    uint32_t room_capacity;        /* [L] */
    uint32_t mark;                 /* [L] left out of hub->mark's delivery */
};

/* The members of a room on one loop. Exists while there are any. */
struct room {
    struct member *members; /* [m] */
    uint32_t count;         /* [m] never 0 while it is in hub->rooms */
    uint32_t capacity;      /* [L] */
    int home;               /* [I] index of the home hub */
    uint32_t name_size;     /* [I] */
    uint64_t hash;          /* [I] */
    uint64_t since;         /* [I] home's `taken` at the first join here */
    char name[];            /* [I] with a zero byte */
};

/*
 * A room as its home knows it. Exists while it has members anywhere. A cluster
 * of one hub has none: there hub.rooms tells the same.
 */
struct room_home {
    uint64_t loops; /* [r] a bit for each hub with members */
    uint32_t name_size;
    char name[];
};

/*
 * A reference is, from the top, 6 bits of loop, 8 of cluster, 24 of generation
 * and 26 of slot + 1, so it is never 0. Each client in a slot has a generation
 * of its own; when they are used up, the slot is retired, so no reference ever
 * comes again.
 */
#define CLIENT_GENERATION_MAX 0xffffffu
#define CLIENT_GENERATION_RETIRED (CLIENT_GENERATION_MAX + 1)
#define CLIENT_SLOTS_MAX 0x3ffffffu
#define CLIENT_SLOT_NONE UINT32_MAX

struct client_slot {
    struct peal_client *client; /* [m] NULL: free or retired */
    uint32_t generation;        /* [m] of the present or the next client */
    uint32_t next_free;         /* [L] */
};

struct hub {
    struct hub_cluster *cluster; /* [I] */
    int index;                   /* [I] */
    uint32_t place;              /* [I] loop and cluster, as in references */
    const struct hub_ops *ops;   /* [I] */
    void *user;                  /* [I] */

    pthread_mutex_t lock;
    struct client_slot *slots; /* [m] */
    uint32_t slot_count;       /* [m] slots that have been in use ever */
    uint32_t slot_capacity;    /* [m] */
    uint32_t first_free;       /* [L] */
    uint32_t client_count;     /* [m] */
    struct map rooms;          /* [m] by name */
    _Atomic size_t subscriptions; /* [a] members of all of these */
    uint32_t mark;             /* [L] serial of the delivery; never 0 then */

    pthread_mutex_t registry_lock;
    struct map homes; /* [r] rooms this hub is home of, by name */
    uint64_t taken;   /* [r] messages that it took in for other loops' sake */

    char padding[64]; /* keeps the next hub's fields off our cache lines */
};

/* The clients from one address. Exists while there are any. */
struct address_count {
    struct address_count *outer; /* [I] of the same at the outer door, if any */
    uint32_t count;              /* under the door's lock */
    uint8_t size;
    uint8_t key[16];
};

/* Who is in, counted: hub/door.c. */
struct hub_door {
    const struct hub_limits *limits; /* [I] */
    struct hub_door *outer;          /* [I] counts them as well; NULL: none */
    _Atomic uint32_t clients;        /* [a] */
    pthread_mutex_t lock;            /* for the map */
    struct map addresses;            /* of address_count */
};

struct hub_cluster {
    struct hub_limits limits; /* [a] */
    int count;                /* [I] */
    uint8_t number;           /* [I] in references */
    bool has_inner;           /* [I] is the outer one of others */
    struct hub *hubs;         /* [I] */
    struct hub_door door;
    _Atomic uint32_t rooms; /* [a] */

    pthread_mutex_t lock; /* for the map */
    struct map ids;       /* of client_extra */
};

/* --- The cluster: hub/hub.c ----------------------------------------------- */

struct hub_setup {
    int count;                 /* of hubs: 1 .. HUB_MAX */
    uint8_t number;            /* among clusters that share the loops */
    struct hub_cluster *outer; /* counts the clients as well; NULL: none */
    const struct hub_limits *limits;
    const struct hub_ops *ops;
    void *const *users; /* users[i] is handed to `ops` by hubs[i] */
};

/* 0 or PEAL_ENOMEM. */
int hub_cluster_init(struct hub_cluster *cluster,
                     const struct hub_setup *setup);

/*
 * Any thread. Changes the limits; what is beyond them already stays.
 */
void hub_cluster_set_limits(struct hub_cluster *cluster,
                            const struct hub_limits *limits);

/* All clients must have gone; and inner clusters before the outer one. */
void hub_cluster_fini(struct hub_cluster *cluster);

/* --- Clients: hub/client.c, and hub/client_extra.c for ids and metadata --- */

/* What a limit has refused. */
struct hub_refused {
    const char *limit; /* its name; static storage */
    uint32_t max;
    uint32_t clients; /* that are in where it counts, from all addresses */
};

/*
 * [L] Admits a client. `id` is the application's own id, or empty: then a UUID
 * is made when it is first asked for. `address` are the bytes to count it by,
 * at most 16, empty for none.
 *
 * Returns 0; PEAL_ELIMIT when clients_max or clients_per_address_max forbids
 * it, of this cluster or the outer one (see `*refused`); PEAL_EEXIST when the
 * id is taken; PEAL_EINVAL when it has more than PEAL_ID_MAX bytes, is not
 * UTF-8 or holds a zero byte; PEAL_ENOMEM. On failure nothing has changed.
 */
int client_admit(struct peal_client **out, struct hub *hub, void *conn,
                 struct peal_slice id, struct peal_slice address,
                 struct hub_refused *refused);

/* [L] Leaves all rooms, forgets id and metadata, frees. */
void client_remove(struct peal_client *client);

/* The part of references that a hub's clients have in common. */
uint32_t client_place(int loop, uint8_t cluster);

/* Any thread that may read the client: its reference. Never 0. */
struct peal_client_ref client_ref(const struct peal_client *client);

/* Which loop a reference belongs to, or -1 when it is none of this cluster. */
int client_ref_loop(const struct hub_cluster *cluster,
                    struct peal_client_ref ref);

/* [L] The client, or NULL when it has gone or is of another loop. O(1). */
struct peal_client *client_find(const struct hub *hub,
                                struct peal_client_ref ref);

/* [L] The id, made if need be; NULL when there is no memory. */
const char *client_id(struct peal_client *client);

/* Any thread. The client with this id; value 0 when there is none. O(1). */
struct peal_client_ref client_find_id(struct hub_cluster *cluster,
                                      struct peal_slice id);

/*
 * [L] Stores a copy; NULL removes. PEAL_ELIMIT beyond metadata_bytes_max,
 * PEAL_EINVAL for an empty key, PEAL_ENOMEM: then nothing has changed.
 */
int client_set(struct peal_client *client, const char *key, const char *value);

/* [L] NULL when there is none. */
const char *client_get(const struct peal_client *client, const char *key);

/*
 * Any thread. Copies the client's id, when `key` is NULL, or its metadata of
 * this key, with a zero byte. Returns the size without that; PEAL_EGONE;
 * PEAL_ENOTFOUND when there is none (yet); PEAL_ETOOBIG.
 */
long client_copy(struct hub_cluster *cluster, struct peal_client_ref ref,
                 const char *key, char *out, size_t size);

/*
 * Any thread. Copies up to `max` references of all clients, returns how many
 * there are.
 */
size_t client_list(struct hub_cluster *cluster, struct peal_client_ref *out,
                   size_t max);

/* --- Rooms: hub/room.c, and hub/room_query.c for other threads ------------ */

/*
 * [L] Returns 1 when the client became a member, 0 when it was one already;
 * PEAL_EINVAL for a name that is empty, too long, not UTF-8 or holds a zero
 * byte; PEAL_ELIMIT at rooms_per_client_max or rooms_max (`*limit` tells
 * which); PEAL_ENOMEM. A member
 * gets every message that the room's home takes in after this. It may get some
 * that the home took in shortly before: then without a gap up to the first one
 * after it.
 */
int room_join(struct peal_client *client, struct peal_slice name,
              const char **limit);

/* [L] Returns 1 when it left, 0 when it was not a member. */
int room_leave(struct peal_client *client, struct peal_slice name);

/* [L] */
bool room_has(const struct peal_client *client, struct peal_slice name);

/* Any thread. Rooms with members, members of all rooms, and those of one, over
 * all loops, of whom `max` at most are put into `out`. */
size_t room_count(struct hub_cluster *cluster);
size_t room_subscriptions(struct hub_cluster *cluster);
size_t room_members(struct hub_cluster *cluster, struct peal_slice name,
                    struct peal_client_ref *out, size_t max);

/*
 * Any thread. Calls `each` for every room with its number of members, on this
 * thread and with nothing locked: the list is a copy. Stops when it returns
 * false. 0 or PEAL_ENOMEM.
 */
int room_each(struct hub_cluster *cluster,
              bool (*each)(const char *name, size_t members, void *user),
              void *user);

/* --- For the tests: hub/hub_check.c --------------------------------------- */

/* [L] Aborts when an invariant of this hub does not hold. */
void hub_check(struct hub *hub);

/* The same for all hubs and what ties them together; no loop may run. */
void hub_check_cluster(struct hub_cluster *cluster);

/* --- Fan-out: hub/hub_fanout.c -------------------------------------------- */

/*
 * [L] Sends `event` to the members of event->room, or to every client when the
 * room is empty, but those in `except`. 0; PEAL_ENOMEM or PEAL_EFULL when the
 * way to the room's home is closed: then nobody gets it.
 */
int hub_publish(struct hub *hub, const struct peal_event *event,
                const struct peal_client_ref *except, size_t except_count);

/* Any thread: the same, but always by way of the home's loop. */
int hub_publish_any(struct hub_cluster *cluster, const struct peal_event *event,
                    const struct peal_client_ref *except, size_t except_count);

/* [L] A message for which this hub is the home. */
void hub_on_publish(struct hub *hub, struct message *message);

/* [L] A message from a home to the members here. */
void hub_on_deliver(struct hub *hub, struct message *message);

#endif
