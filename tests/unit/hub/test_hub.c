/*
 * The hub against a naive model of it: random operations, and after each of
 * them every answer and every receiver must be the model's, and every invariant
 * hold.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "hub/fake.h"
#include "torture.h"

#define CLIENTS 24
#define ROOMS 48
#define ADDRESSES 4
#define IDS 6

struct model_client {
    struct peal_client *client; /* NULL: not admitted */
    struct peal_client_ref ref; /* of the last one in this place */
    int loop;
    int address; /* -1: none */
    int id;      /* -1: none */
    bool in[ROOMS];
};

struct model {
    struct fake fake;
    struct hub_limits limits;
    struct model_client clients[CLIENTS];
    uint64_t number; /* of the last event */
    size_t limits_met;
    size_t delivered;
};

static struct peal_slice room_name(uint32_t room, char out[16])
{
    return slice_make(out, (size_t)snprintf(out, 16, "room %u", room));
}

static struct peal_slice id_name(int id, char out[16])
{
    return slice_make(out, (size_t)snprintf(out, 16, "id %d", id));
}

/* --- What the model says -------------------------------------------------- */

static uint32_t model_clients(const struct model *model)
{
    uint32_t count = 0;

    for (int i = 0; i < CLIENTS; i++) {
        count += model->clients[i].client != NULL;
    }
    return count;
}

static uint32_t model_members(const struct model *model, uint32_t room)
{
    uint32_t count = 0;

    for (int i = 0; i < CLIENTS; i++) {
        count += model->clients[i].client != NULL && model->clients[i].in[room];
    }
    return count;
}

static uint32_t model_rooms(const struct model *model)
{
    uint32_t count = 0;

    for (uint32_t room = 0; room < ROOMS; room++) {
        count += model_members(model, room) > 0;
    }
    return count;
}

static uint32_t model_rooms_of(const struct model_client *who)
{
    uint32_t count = 0;

    for (uint32_t room = 0; room < ROOMS; room++) {
        count += who->in[room];
    }
    return count;
}

static uint32_t model_at(const struct model *model, int address)
{
    uint32_t count = 0;

    for (int i = 0; i < CLIENTS; i++) {
        count += model->clients[i].client != NULL &&
                 model->clients[i].address == address;
    }
    return count;
}

static const struct model_client *model_with_id(const struct model *model,
                                                int id)
{
    for (int i = 0; i < CLIENTS; i++) {
        if (model->clients[i].client != NULL && model->clients[i].id == id) {
            return &model->clients[i];
        }
    }
    return NULL;
}

/* --- Comparing ------------------------------------------------------------ */

static bool has_ref(const struct peal_client_ref *refs, size_t count,
                    struct peal_client_ref ref)
{
    for (size_t i = 0; i < count; i++) {
        if (refs[i].value == ref.value) {
            return true;
        }
    }
    return false;
}

static bool compare_room(const char *name, size_t members, void *user)
{
    struct model *model = user;
    uint32_t room = (uint32_t)atoi(name + strlen("room "));

    assert_true(room < ROOMS);
    assert_int_equal(members, model_members(model, room));
    assert_true(members > 0);
    return true;
}

static bool count_room(const char *name, size_t members, void *user)
{
    (void)name;
    (void)members;
    ++*(size_t *)user;
    return true;
}

static void compare_rooms(struct model *model)
{
    struct hub_cluster *cluster = &model->fake.cluster;
    struct peal_client_ref refs[CLIENTS];
    char name[16];
    size_t seen = 0;

    assert_int_equal(room_count(cluster), model_rooms(model));
    for (uint32_t room = 0; room < ROOMS; room++) {
        struct peal_slice slice = room_name(room, name);
        size_t count = room_members(cluster, slice, refs, CLIENTS);

        assert_int_equal(count, model_members(model, room));
        assert_int_equal(count, room_members(cluster, slice, NULL, 0));
        for (int i = 0; i < CLIENTS; i++) {
            const struct model_client *who = &model->clients[i];

            if (who->client != NULL) {
                assert_int_equal(has_ref(refs, count, who->ref), who->in[room]);
                assert_int_equal(room_has(who->client, slice), who->in[room]);
            }
        }
    }
    assert_int_equal(room_each(cluster, compare_room, model), 0);
    assert_int_equal(room_each(cluster, count_room, &seen), 0);
    assert_int_equal(seen, model_rooms(model));
}

static void compare_clients(struct model *model)
{
    struct hub_cluster *cluster = &model->fake.cluster;
    struct peal_client_ref refs[CLIENTS];
    size_t count = client_list(cluster, refs, CLIENTS);
    char name[16];

    assert_int_equal(count, model_clients(model));
    for (int i = 0; i < CLIENTS; i++) {
        const struct model_client *who = &model->clients[i];

        assert_int_equal(has_ref(refs, count, who->ref), who->client != NULL);
        for (int loop = 0; loop < cluster->count; loop++) {
            assert_ptr_equal(client_find(&cluster->hubs[loop], who->ref),
                             loop == who->loop ? who->client : NULL);
        }
    }
    for (int id = 0; id < IDS; id++) {
        const struct model_client *who = model_with_id(model, id);

        assert_int_equal(client_find_id(cluster, id_name(id, name)).value,
                         who != NULL ? who->ref.value : 0);
    }
}

/* --- Operations ----------------------------------------------------------- */

static uint32_t model_random(struct model *model, uint32_t bound)
{
    return fake_random(&model->fake, bound);
}

static struct model_client *model_pick(struct model *model)
{
    return &model->clients[model_random(model, CLIENTS)];
}

static int model_admit_result(const struct model *model, int address, int id,
                              const char **limit)
{
    if (model_clients(model) == model->limits.clients_max) {
        *limit = "clients_max";
        return PEAL_ELIMIT;
    }
    if (address >= 0 &&
        model_at(model, address) == model->limits.clients_per_address_max) {
        *limit = "clients_per_address_max";
        return PEAL_ELIMIT;
    }
    return id >= 0 && model_with_id(model, id) != NULL ? PEAL_EEXIST : 0;
}

static void assert_limit(struct model *model, const char *limit,
                         const char *expected)
{
    if (expected == NULL) {
        assert_null(limit);
        return;
    }
    assert_non_null(limit);
    assert_string_equal(limit, expected);
    model->limits_met++;
}

static void do_admit(struct model *model, struct model_client *who)
{
    int loops = model->fake.cluster.count;
    int loop = (int)model_random(model, (uint32_t)loops);
    int address = (int)model_random(model, ADDRESSES + 1) - 1;
    int id = (int)model_random(model, IDS * 3) - IDS * 2;
    char address_bytes[1] = {(char)address};
    char name[16];
    const char *expected_limit = NULL;
    struct hub_refused refused = {.limit = NULL};
    struct peal_client *client = NULL;
    int expected;
    int rc;

    if (who->client != NULL) {
        return;
    }
    id = id < 0 ? -1 : id;
    expected = model_admit_result(model, address, id, &expected_limit);
    rc = client_admit(&client, &model->fake.cluster.hubs[loop], who,
                      id >= 0 ? id_name(id, name) : slice_make(NULL, 0),
                      slice_make(address_bytes, address >= 0), &refused);
    assert_int_equal(rc, expected);
    assert_limit(model, refused.limit, expected_limit);
    if (rc == 0) {
        *who = (struct model_client){.client = client,
                                     .ref = client_ref(client),
                                     .loop = loop,
                                     .address = address,
                                     .id = id};
        assert_ptr_equal(client->conn, who);
        assert_int_equal(client_ref_loop(&model->fake.cluster, who->ref), loop);
    }
}

static void do_remove(struct model *model, struct model_client *who)
{
    (void)model;
    if (who->client != NULL) {
        client_remove(who->client);
        who->client = NULL;
        memset(who->in, 0, sizeof who->in);
    }
}

static int model_join_result(const struct model *model,
                             const struct model_client *who, uint32_t room,
                             const char **limit)
{
    if (who->in[room]) {
        return 0;
    }
    if (model_rooms_of(who) == model->limits.rooms_per_client_max) {
        *limit = "rooms_per_client_max";
        return PEAL_ELIMIT;
    }
    if (model_members(model, room) == 0 &&
        model_rooms(model) == model->limits.rooms_max) {
        *limit = "rooms_max";
        return PEAL_ELIMIT;
    }
    return 1;
}

static void do_join(struct model *model, struct model_client *who)
{
    uint32_t room = model_random(model, ROOMS);
    char name[16];
    const char *expected_limit = NULL;
    const char *limit = NULL;
    int rc;

    if (who->client == NULL) {
        return;
    }
    rc = room_join(who->client, room_name(room, name), &limit);
    assert_int_equal(rc, model_join_result(model, who, room, &expected_limit));
    assert_limit(model, limit, expected_limit);
    if (rc == 1) {
        who->in[room] = true;
    }
}

static void do_leave(struct model *model, struct model_client *who)
{
    uint32_t room = model_random(model, ROOMS);
    char name[16];

    if (who->client != NULL) {
        assert_int_equal(room_leave(who->client, room_name(room, name)),
                         who->in[room]);
        who->in[room] = false;
    }
}

static void do_name(struct model *model, struct model_client *who)
{
    const char *id;
    char name[16];

    if (who->client == NULL) {
        return;
    }
    id = client_id(who->client);
    assert_non_null(id);
    if (who->id >= 0) {
        id_name(who->id, name);
        assert_string_equal(id, name);
    } else {
        assert_int_equal(strlen(id), 36);
    }
    assert_ptr_equal(client_id(who->client), id);
    assert_int_equal(client_find_id(&model->fake.cluster, peal_slice(id)).value,
                     who->ref.value);
}

/* Publishes and delivers all; then just the right ones must have it, once. */
static void do_publish(struct model *model, struct model_client *who)
{
    struct fake *fake = &model->fake;
    uint32_t room = model_random(model, ROOMS + 6);
    bool is_to_all = room >= ROOMS;
    struct peal_client_ref except[40];
    size_t except_count = 0;
    char name[16] = "";
    struct peal_event event;

    if (!is_to_all) {
        room_name(room, name);
    }
    if (model_random(model, 2) == 0) {
        except_count = model_random(model, ARRAY_SIZE(except));
    }
    for (size_t i = 0; i < except_count; i++) {
        except[i] = model_pick(model)->ref;
    }
    model->number++;
    event = fake_event(name, &model->number);
    fake->delivery_count = 0;
    if (model_random(model, 3) > 0) {
        assert_int_equal(hub_publish(&fake->cluster.hubs[who->loop], &event,
                                     except, except_count),
                         0);
    } else {
        assert_int_equal(
            hub_publish_any(&fake->cluster, &event, except, except_count), 0);
    }
    fake_settle(fake);

    size_t expected = 0;

    for (int i = 0; i < CLIENTS; i++) {
        const struct model_client *to = &model->clients[i];
        bool is_meant = to->client != NULL && (is_to_all || to->in[room]) &&
                        !has_ref(except, except_count, to->ref);

        assert_int_equal(fake_got(fake, to->ref, model->number), is_meant);
        expected += is_meant;
    }
    assert_int_equal(fake->delivery_count, expected);
    model->delivered += expected;
}

static void run_model(int loops, const struct hub_limits *limits, int steps)
{
    static struct model model;
    static void (*const operations[])(struct model *, struct model_client *) = {
        do_admit, do_admit, do_remove, do_join,    do_join,    do_join,
        do_join,  do_join,  do_join,   do_leave,   do_leave,   do_name,
        do_leave, do_join,  do_join,   do_publish, do_publish, do_publish,
    };

    model = (struct model){.limits = *limits};
    assert_int_equal(fake_init(&model.fake, loops, limits), 0);
    for (int step = 0; step < steps; step++) {
        uint32_t operation = model_random(&model, ARRAY_SIZE(operations));

        operations[operation](&model, model_pick(&model));
        hub_check_cluster(&model.fake.cluster);
        compare_clients(&model);
        if (step % 8 == 0) {
            compare_rooms(&model);
        }
    }
    assert_true(model.limits_met > 20);
    assert_true(model.delivered > 100);
    fake_fini(&model.fake);
}

static const struct hub_limits tight = {
    .clients_max = 18,
    .clients_per_address_max = 6,
    .rooms_max = 20,
    .rooms_per_client_max = 5,
    .room_name_bytes_max = 16,
    .metadata_bytes_max = 100,
};

/* Clients in so many rooms that theirs are found by hash. */
static const struct hub_limits wide = {
    .clients_max = 7,
    .clients_per_address_max = 6,
    .rooms_max = ROOMS,
    .rooms_per_client_max = 40,
    .room_name_bytes_max = 16,
    .metadata_bytes_max = 100,
};

static void one_loop_is_as_the_model(void **state)
{
    (void)state;
    run_model(1, &tight, 6000);
    run_model(1, &wide, 6000);
}

static void many_loops_are_as_the_model(void **state)
{
    (void)state;
    run_model(2, &tight, 3000);
    run_model(4, &tight, 6000);
    run_model(4, &wide, 6000);
    run_model(HUB_MAX, &tight, 500);
}

/* --- Allocation failures -------------------------------------------------- */

#define TORTURE_CLIENTS 4
#define TORTURE_ROOMS 20

static void expect(int rc, int good)
{
    assert_true(rc == good || (rc == PEAL_ENOMEM && torture_failed()));
}

/* What was joined is left again: half of it one by one. */
static void torture_rooms(struct fake *fake, struct peal_client *client)
{
    bool is_in[TORTURE_ROOMS];
    char name[16];

    for (uint32_t room = 0; room < TORTURE_ROOMS; room++) {
        int rc = fake_join(client, room_name(room, name).data);

        expect(rc, 1);
        is_in[room] = rc == 1;
        hub_check_cluster(&fake->cluster);
    }
    for (uint32_t room = 0; room < TORTURE_ROOMS; room++) {
        assert_int_equal(room_has(client, room_name(room, name)), is_in[room]);
    }
    for (uint32_t room = 0; room < TORTURE_ROOMS; room += 2) {
        assert_int_equal(room_leave(client, room_name(room, name)),
                         is_in[room]);
        hub_check_cluster(&fake->cluster);
    }
}

static void torture_publish(struct fake *fake,
                            struct peal_client *const *clients)
{
    struct peal_client_ref except = {0};
    uint64_t number = 0;
    char name[16];

    for (uint32_t room = 0; room <= TORTURE_ROOMS; room++) {
        struct peal_slice slice = room_name(room, name);
        struct peal_event event;
        int rc;

        if (room == TORTURE_ROOMS) {
            slice = slice_make("", 0);
        }
        number++;
        event = fake_event("", &number);
        event.room = slice;
        fake->delivery_count = 0;
        rc = hub_publish(&fake->cluster.hubs[room % 3], &event, &except, 1);
        expect(rc, 0);
        fake_settle(fake);
        for (int i = 0; i < TORTURE_CLIENTS; i++) {
            if (clients[i] != NULL) {
                bool is_meant = slice.size == 0 || room_has(clients[i], slice);

                /* All or nobody. */
                assert_int_equal(fake_got(fake, client_ref(clients[i]), number),
                                 rc == 0 && is_meant);
            }
        }
    }
}

static void torture_scenario(void *arg)
{
    static struct fake fake;
    struct peal_client *clients[TORTURE_CLIENTS] = {NULL};
    struct hub_refused refused;
    size_t rooms = 0;
    int rc;

    (void)arg;
    rc = fake_init(&fake, 3, &fake_limits);
    expect(rc, 0);
    if (rc < 0) {
        return;
    }
    for (int i = 0; i < TORTURE_CLIENTS; i++) {
        char id[2] = {'a', (char)('0' + i)};

        rc = client_admit(&clients[i], &fake.cluster.hubs[i % 3], NULL,
                          slice_make(id, i % 2 == 0 ? 2 : 0),
                          slice_make("\1", i < 3), &refused);
        expect(rc, 0);
        hub_check_cluster(&fake.cluster);
        if (rc < 0) {
            clients[i] = NULL;
            continue;
        }
        torture_rooms(&fake, clients[i]);
        assert_true(client_id(clients[i]) != NULL || torture_failed());
        rc = client_set(clients[i], "key", "value");
        expect(rc, 0);
        if (rc == 0) {
            assert_string_equal(client_get(clients[i], "key"), "value");
        }
        hub_check_cluster(&fake.cluster);
    }
    torture_publish(&fake, clients);
    rc = room_each(&fake.cluster, count_room, &rooms);
    expect(rc, 0);
    assert_int_equal(rooms, rc == 0 ? room_count(&fake.cluster) : 0);
    fake_fini(&fake);
}

static void memory_may_run_out(void **state)
{
    (void)state;
    torture_run(torture_scenario, NULL);
}

static void a_cluster_without_clients_has_no_rooms(void **state)
{
    static struct fake fake;
    uint64_t number = 1;
    struct peal_event event = fake_event("nobody", &number);
    size_t rooms = 0;

    (void)state;
    assert_int_equal(fake_init(&fake, 4, &fake_limits), 0);
    assert_int_equal(room_count(&fake.cluster), 0);
    assert_int_equal(room_each(&fake.cluster, count_room, &rooms), 0);
    assert_int_equal(rooms, 0);
    assert_int_equal(hub_publish(&fake.cluster.hubs[0], &event, NULL, 0), 0);
    event.room = peal_slice("");
    assert_int_equal(hub_publish(&fake.cluster.hubs[3], &event, NULL, 0), 0);
    fake_settle(&fake);
    assert_int_equal(fake.delivery_count, 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(fake.loops[i].begins, 0);
    }
    fake_fini(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_loop_is_as_the_model),
        cmocka_unit_test(many_loops_are_as_the_model),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(a_cluster_without_clients_has_no_rooms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
