#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "hub/client_rooms.h"
#include "hub/fake.h"
#include "hub/room_home.h"

static void a_name_is_text_of_bounded_size(void **state)
{
    static struct fake fake;
    struct hub_limits limits = fake_limits;
    struct peal_client *client;
    const char *limit = NULL;

    (void)state;
    limits.room_name_bytes_max = 4;
    assert_int_equal(fake_init(&fake, 1, &limits), 0);
    client = fake_admit(&fake, 0);
    assert_int_equal(room_join(client, SLICE(""), &limit), PEAL_EINVAL);
    assert_int_equal(room_join(client, SLICE("12345"), &limit), PEAL_EINVAL);
    assert_int_equal(room_join(client, SLICE("a\xff"), &limit), PEAL_EINVAL);
    assert_int_equal(room_join(client, SLICE("a\0b"), &limit), PEAL_EINVAL);
    assert_int_equal(room_count(&fake.cluster), 0);
    assert_int_equal(room_join(client, SLICE("1234"), &limit), 1);
    assert_int_equal(room_join(client, SLICE("\xf0\x9f\x94\x94"), &limit), 1);
    assert_int_equal(room_count(&fake.cluster), 2);
    assert_null(limit);
    fake_fini(&fake);
}

static void joining_twice_is_one_membership(void **state)
{
    static struct fake fake;
    struct peal_client *client;

    (void)state;
    assert_int_equal(fake_init(&fake, 2, &fake_limits), 0);
    client = fake_admit(&fake, 0);
    assert_int_equal(fake_join(client, "r"), 1);
    assert_int_equal(fake_join(client, "r"), 0);
    assert_int_equal(room_members(&fake.cluster, SLICE("r"), NULL, 0), 1);
    assert_int_equal(room_leave(client, SLICE("r")), 1);
    assert_int_equal(room_leave(client, SLICE("r")), 0);
    assert_int_equal(room_count(&fake.cluster), 0);
    hub_check_cluster(&fake.cluster);
    fake_fini(&fake);
}

static void limits_of_joining_say_which_one_it_is(void **state)
{
    static struct fake fake;
    struct hub_limits limits = fake_limits;
    struct peal_client *clients[2];
    const char *limit = NULL;

    (void)state;
    limits.rooms_max = 2;
    limits.rooms_per_client_max = 2;
    for (int loops = 1; loops <= 2; loops++) {
        assert_int_equal(fake_init(&fake, loops, &limits), 0);
        clients[0] = fake_admit(&fake, 0);
        clients[1] = fake_admit(&fake, loops - 1);
        assert_int_equal(room_join(clients[0], SLICE("a"), &limit), 1);
        assert_int_equal(room_join(clients[0], SLICE("b"), &limit), 1);
        assert_null(limit);
        assert_int_equal(room_join(clients[0], SLICE("c"), &limit),
                         PEAL_ELIMIT);
        assert_string_equal(limit, "rooms_per_client_max");
        assert_int_equal(room_join(clients[1], SLICE("c"), &limit),
                         PEAL_ELIMIT);
        assert_string_equal(limit, "rooms_max");
        hub_check_cluster(&fake.cluster);

        /* A room that is there has no limit of members, and one ends. */
        assert_int_equal(room_join(clients[1], SLICE("a"), &limit), 1);
        assert_int_equal(room_leave(clients[0], SLICE("b")), 1);
        assert_int_equal(room_join(clients[1], SLICE("c"), &limit), 1);
        limit = NULL;
        fake_fini(&fake);
    }
}

static void a_room_may_be_left_by_its_own_name(void **state)
{
    static struct fake fake;
    struct peal_client *client;
    struct peal_slice name;

    (void)state;
    assert_int_equal(fake_init(&fake, 2, &fake_limits), 0);
    client = fake_admit(&fake, 1);
    assert_int_equal(fake_join(client, "own"), 1);
    name = peal_slice(client->rooms[0].room->name);
    assert_int_equal(room_leave(client, name), 1);
    hub_check_cluster(&fake.cluster);
    fake_fini(&fake);
}

/* Enough rooms for the table of hashes, in an order that moves everything. */
static void a_client_may_be_in_many_rooms(void **state)
{
    enum { ROOMS = 300 };
    static struct fake fake;
    bool is_in[ROOMS] = {false};
    struct peal_client *client;
    uint32_t count = 0;
    uint32_t most = 0;

    (void)state;
    assert_int_equal(fake_init(&fake, 1, &fake_limits), 0);
    client = fake_admit(&fake, 0);
    for (int step = 0; step < 12000; step++) {
        uint32_t room = fake_random(&fake, ROOMS);
        /* It fills up for a while, and then empties. */
        bool is_join = fake_random(&fake, 8) < (step / 1500 % 2 == 0 ? 7 : 1);
        char name[16];

        snprintf(name, sizeof name, "%u", room);
        if (is_join) {
            assert_int_equal(fake_join(client, name), !is_in[room]);
        } else {
            assert_int_equal(room_leave(client, peal_slice(name)), is_in[room]);
        }
        count += is_join && !is_in[room];
        count -= !is_join && is_in[room];
        is_in[room] = is_join;
        most = count > most ? count : most;
        assert_int_equal(client->room_count, count);
        assert_true(client->room_capacity <= 4 * count + 4);
        client_rooms_check(client);
    }
    assert_true(most > 200);
    hub_check_cluster(&fake.cluster);
    room_leave(client, SLICE("none"));
    fake_fini(&fake);
}

static void memory_of_members_is_given_back(void **state)
{
    enum { CLIENTS = 500 };
    static struct fake fake;
    struct peal_client *clients[CLIENTS];
    const struct room *room;

    (void)state;
    assert_int_equal(fake_init(&fake, 1, &fake_limits), 0);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = fake_admit(&fake, 0);
        assert_int_equal(fake_join(clients[i], "r"), 1);
        assert_int_equal(fake_join(clients[i], "s"), 1);
    }
    room = clients[0]->rooms[0].room;
    assert_int_equal(room->count, CLIENTS);
    for (int i = CLIENTS - 1; i > 0; i--) {
        assert_int_equal(room_leave(clients[i], SLICE("r")), 1);
        assert_true(room->capacity <= 4 * room->count);
        hub_check_cluster(&fake.cluster);
    }
    assert_int_equal(room_leave(clients[0], SLICE("r")), 1);
    assert_int_equal(room_members(&fake.cluster, SLICE("r"), NULL, 0), 0);
    assert_int_equal(room_members(&fake.cluster, SLICE("s"), NULL, 0), CLIENTS);
    fake_fini(&fake);
}

static bool stop_at_once(const char *name, size_t members, void *user)
{
    (void)name;
    (void)members;
    ++*(int *)user;
    return false;
}

/* The list is a copy: what it tells may change while it is told. */
static bool leave_it(const char *name, size_t members, void *user)
{
    struct peal_client *client = user;

    assert_int_equal(members, 1);
    assert_int_equal(room_leave(client, peal_slice(name)), 1);
    assert_int_equal(fake_join(client, "another"), 1);
    assert_int_equal(room_leave(client, SLICE("another")), 1);
    return true;
}

static void rooms_are_listed_from_a_copy(void **state)
{
    static struct fake fake;
    struct peal_client *client;
    int calls = 0;

    (void)state;
    assert_int_equal(fake_init(&fake, 3, &fake_limits), 0);
    client = fake_admit(&fake, 2);
    for (int i = 0; i < 20; i++) {
        char name[16];

        snprintf(name, sizeof name, "%d", i);
        assert_int_equal(fake_join(client, name), 1);
    }
    assert_int_equal(room_each(&fake.cluster, stop_at_once, &calls), 0);
    assert_int_equal(calls, 1);
    assert_int_equal(room_each(&fake.cluster, leave_it, client), 0);
    assert_int_equal(room_count(&fake.cluster), 0);
    fake_fini(&fake);
}

static void members_on_all_loops_are_listed(void **state)
{
    static struct fake fake;
    struct peal_client_ref refs[4] = {{0}};

    (void)state;
    assert_int_equal(fake_init(&fake, 3, &fake_limits), 0);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(fake_join(fake_admit(&fake, i % 3), "r"), 1);
    }
    assert_int_equal(room_members(&fake.cluster, SLICE("r"), refs, 3), 6);
    assert_true(refs[2].value != 0 && refs[3].value == 0);
    assert_int_equal(room_members(&fake.cluster, SLICE("q"), refs, 3), 0);
    assert_int_equal(room_count(&fake.cluster), 1);
    fake_fini(&fake);
}

static void homes_are_spread_over_the_loops(void **state)
{
    static struct fake fake;
    int homes[8] = {0};

    (void)state;
    assert_int_equal(fake_init(&fake, 8, &fake_limits), 0);
    for (int i = 0; i < 8000; i++) {
        char name[24];
        int home;

        snprintf(name, sizeof name, "room %d", i);
        home = fake_home_of(&fake, peal_slice(name));
        assert_in_range(home, 0, 7);
        homes[home]++;
    }
    for (int i = 0; i < 8; i++) {
        /* 1000 expected; a deviation of ten sigma is 300. */
        assert_in_range(homes[i], 700, 1300);
    }
    assert_int_equal(room_home_index(&fake.cluster, 0), 0);
    assert_int_equal(room_home_index(&fake.cluster, UINT64_MAX), 7);
    fake_fini(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_text_of_bounded_size),
        cmocka_unit_test(joining_twice_is_one_membership),
        cmocka_unit_test(limits_of_joining_say_which_one_it_is),
        cmocka_unit_test(a_room_may_be_left_by_its_own_name),
        cmocka_unit_test(a_client_may_be_in_many_rooms),
        cmocka_unit_test(memory_of_members_is_given_back),
        cmocka_unit_test(rooms_are_listed_from_a_copy),
        cmocka_unit_test(members_on_all_loops_are_listed),
        cmocka_unit_test(homes_are_spread_over_the_loops),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
