#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "hub/fake.h"
#include "torture.h"

static int admit_as(struct fake *fake, int index, struct peal_slice id,
                    struct peal_slice address, struct peal_client **out,
                    const char **limit)
{
    struct hub_refused refused = {.limit = NULL};
    int rc;

    *out = NULL;
    rc = client_admit(out, &fake->cluster.hubs[index], NULL, id, address,
                      &refused);
    *limit = refused.limit;
    return rc;
}

static const struct peal_slice none = {NULL, 0};

/* --- References and slots ------------------------------------------------- */

static void a_reference_is_of_one_client_only(void **state)
{
    static struct fake fake;
    struct peal_client_ref seen[50];

    (void)state;
    assert_int_equal(fake_init(&fake, 2, &fake_limits), 0);
    for (size_t i = 0; i < ARRAY_SIZE(seen); i++) {
        struct peal_client *client = fake_admit(&fake, 1);

        seen[i] = client_ref(client);
        assert_true(seen[i].value != 0);
        assert_ptr_equal(client_find(&fake.cluster.hubs[1], seen[i]), client);
        assert_null(client_find(&fake.cluster.hubs[0], seen[i]));
        client_remove(client);
        for (size_t j = 0; j <= i; j++) {
            assert_null(client_find(&fake.cluster.hubs[1], seen[j]));
            assert_true(j == i || seen[j].value != seen[i].value);
        }
    }
    /* All in the same slot. */
    assert_int_equal(fake.cluster.hubs[1].slot_count, 1);
    fake_fini(&fake);
}

static void what_is_no_reference_finds_nobody(void **state)
{
    static struct fake fake;
    const uint64_t values[] = {
        0,
        1,
        UINT64_MAX,
        UINT64_C(1) << 32,
        UINT64_C(1) << 56,
        UINT64_C(1) << 58,
        UINT64_C(2) << 58 | 1,
        UINT32_MAX,
    };

    (void)state;
    assert_int_equal(fake_init(&fake, 2, &fake_limits), 0);
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        struct peal_client_ref ref = {values[i]};

        assert_null(client_find(&fake.cluster.hubs[0], ref));
        assert_null(client_find(&fake.cluster.hubs[1], ref));
    }
    assert_int_equal(
        client_ref_loop(&fake.cluster, (struct peal_client_ref){0}), -1);
    assert_int_equal(
        client_ref_loop(&fake.cluster,
                        (struct peal_client_ref){UINT64_C(2) << 58 | 1}),
        -1);
    assert_int_equal(
        client_ref_loop(&fake.cluster,
                        (struct peal_client_ref){UINT64_C(1) << 58 | 1}),
        1);
    fake_fini(&fake);
}

static void a_slot_out_of_generations_is_retired(void **state)
{
    static struct fake fake;
    struct hub_limits limits = fake_limits;
    struct hub *hub;
    struct peal_client *clients[2];
    struct peal_client_ref last;

    (void)state;
    limits.clients_max = 2;
    assert_int_equal(fake_init(&fake, 1, &limits), 0);
    hub = &fake.cluster.hubs[0];
    for (uint32_t round = 0; round < 20; round++) {
        clients[0] = fake_admit(&fake, 0);
        client_remove(clients[0]);
        hub->slots[hub->first_free].generation = CLIENT_GENERATION_MAX;

        clients[0] = fake_admit(&fake, 0);
        assert_int_equal(clients[0]->generation, CLIENT_GENERATION_MAX);
        last = client_ref(clients[0]);
        assert_ptr_equal(client_find(hub, last), clients[0]);
        client_remove(clients[0]);
        hub_check_cluster(&fake.cluster);
        assert_null(client_find(hub, last));

        /* The table grows past clients_max to make up for the slot. */
        clients[0] = fake_admit(&fake, 0);
        clients[1] = fake_admit(&fake, 0);
        assert_int_equal(hub->slot_count, round + 3);
        hub_check_cluster(&fake.cluster);
        client_remove(clients[0]);
        client_remove(clients[1]);
    }
    fake_fini(&fake);
}

static void listing_copies_no_more_than_there_is_room_for(void **state)
{
    static struct fake fake;
    struct peal_client_ref refs[5] = {{0}};

    (void)state;
    assert_int_equal(fake_init(&fake, 2, &fake_limits), 0);
    for (int i = 0; i < 6; i++) {
        fake_admit(&fake, i % 2);
    }
    assert_int_equal(client_list(&fake.cluster, NULL, 0), 6);
    assert_int_equal(client_list(&fake.cluster, refs, 4), 6);
    assert_true(refs[3].value != 0);
    assert_true(refs[4].value == 0);
    fake_fini(&fake);
}

/* --- Admission ------------------------------------------------------------ */

static void limits_of_admission_say_which_one_it_is(void **state)
{
    static struct fake fake;
    struct hub_limits limits = fake_limits;
    struct peal_client *clients[4];
    const char *limit;

    (void)state;
    limits.clients_max = 3;
    limits.clients_per_address_max = 2;
    assert_int_equal(fake_init(&fake, 2, &limits), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            admit_as(&fake, i, none, SLICE("a"), &clients[i], &limit), 0);
    }
    assert_int_equal(admit_as(&fake, 0, none, SLICE("a"), &clients[2], &limit),
                     PEAL_ELIMIT);
    assert_string_equal(limit, "clients_per_address_max");
    hub_check_cluster(&fake.cluster);
    assert_int_equal(admit_as(&fake, 0, none, SLICE("aa"), &clients[2], &limit),
                     0);
    assert_int_equal(admit_as(&fake, 1, none, none, &clients[3], &limit),
                     PEAL_ELIMIT);
    assert_string_equal(limit, "clients_max");
    hub_check_cluster(&fake.cluster);

    client_remove(clients[0]);
    assert_int_equal(admit_as(&fake, 0, none, SLICE("a"), &clients[0], &limit),
                     0);
    hub_check_cluster(&fake.cluster);
    fake_fini(&fake);
}

/* --- Several clusters ----------------------------------------------------- */

/* `inner` is behind the door of `outer`. */
static void init_two(struct fake *outer, struct fake *inner,
                     const struct hub_limits *outer_limits,
                     const struct hub_limits *inner_limits)
{
    void *users[2] = {&inner->loops[0], &inner->loops[1]};

    *inner = (struct fake){.random = 1};
    for (int i = 0; i < 2; i++) {
        inner->loops[i].fake = inner;
        mpsc_init(&inner->loops[i].mail);
    }
    assert_int_equal(fake_init(outer, 2, outer_limits), 0);
    assert_int_equal(hub_cluster_init(&inner->cluster,
                                      &(struct hub_setup){
                                          .count = 2,
                                          .number = 1,
                                          .outer = &outer->cluster,
                                          .limits = inner_limits,
                                          .ops = &fake_ops,
                                          .users = users,
                                      }),
                     0);
}

static void a_reference_is_of_one_cluster_only(void **state)
{
    static struct fake outer;
    static struct fake inner;
    struct peal_client *one;
    struct peal_client *other;

    (void)state;
    init_two(&outer, &inner, &fake_limits, &fake_limits);
    one = fake_admit(&outer, 1);
    other = fake_admit(&inner, 1);
    assert_true(client_ref(one).value != client_ref(other).value);
    assert_null(client_find(&inner.cluster.hubs[1], client_ref(one)));
    assert_null(client_find(&outer.cluster.hubs[1], client_ref(other)));
    assert_int_equal(client_ref_loop(&inner.cluster, client_ref(one)), -1);
    assert_int_equal(client_ref_loop(&inner.cluster, client_ref(other)), 1);
    assert_ptr_equal(client_find(&inner.cluster.hubs[1], client_ref(other)),
                     other);
    client_remove(one);
    client_remove(other);
    fake_fini(&inner);
    fake_fini(&outer);
}

static void check_two(struct fake *outer, struct fake *inner)
{
    hub_check_cluster(&outer->cluster);
    hub_check_cluster(&inner->cluster);
}

static void the_outer_door_counts_the_clients_behind_it(void **state)
{
    static struct fake outer;
    static struct fake inner;
    struct hub_limits outer_limits = fake_limits;
    struct hub_limits inner_limits = fake_limits;
    struct hub_refused refused;
    struct peal_client *clients[5];
    struct hub *hub;

    (void)state;
    outer_limits.clients_max = 4;
    outer_limits.clients_per_address_max = 3;
    inner_limits.clients_max = 3;
    inner_limits.clients_per_address_max = 2;
    init_two(&outer, &inner, &outer_limits, &inner_limits);
    hub = &inner.cluster.hubs[0];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(client_admit(&clients[i], hub, NULL, none, SLICE("a"),
                                      &refused),
                         0);
        check_two(&outer, &inner);
    }
    /* The inner limit on an address, of which the outer one knows nothing. */
    assert_int_equal(client_admit(&clients[2], hub, NULL, none, SLICE("a"),
                                  &refused),
                     PEAL_ELIMIT);
    assert_string_equal(refused.limit, "clients_per_address_max");
    assert_int_equal(refused.max, 2);
    assert_int_equal(refused.clients, 2);
    check_two(&outer, &inner);
    assert_int_equal(atomic_load(&outer.cluster.door.clients), 2);

    /* The outer one, over both. */
    assert_int_equal(client_admit(&clients[2], &outer.cluster.hubs[0], NULL,
                                  none, SLICE("a"), &refused),
                     0);
    assert_int_equal(client_admit(&clients[3], &outer.cluster.hubs[1], NULL,
                                  none, SLICE("a"), &refused),
                     PEAL_ELIMIT);
    assert_int_equal(refused.max, 3);
    assert_int_equal(refused.clients, 3);
    check_two(&outer, &inner);

    /* The inner limit on all, then the outer one. */
    assert_int_equal(client_admit(&clients[3], hub, NULL, none, none, &refused),
                     0);
    assert_int_equal(client_admit(&clients[4], hub, NULL, none, none, &refused),
                     PEAL_ELIMIT);
    assert_string_equal(refused.limit, "clients_max");
    assert_int_equal(refused.max, 4);
    client_remove(clients[2]);
    assert_int_equal(client_admit(&clients[4], hub, NULL, none, none, &refused),
                     PEAL_ELIMIT);
    assert_int_equal(refused.max, 3);
    assert_int_equal(refused.clients, 3);
    check_two(&outer, &inner);
    client_remove(clients[0]);
    client_remove(clients[1]);
    client_remove(clients[3]);
    check_two(&outer, &inner);
    assert_int_equal(atomic_load(&outer.cluster.door.clients), 0);
    fake_fini(&inner);
    fake_fini(&outer);
}

static void an_id_is_unique_while_its_client_is_here(void **state)
{
    static struct fake fake;
    struct peal_client *client;
    struct peal_client *other;
    const char *limit;

    (void)state;
    assert_int_equal(fake_init(&fake, 2, &fake_limits), 0);
    assert_int_equal(
        admit_as(&fake, 0, SLICE("joe"), SLICE("x"), &client, &limit), 0);
    assert_int_equal(
        admit_as(&fake, 1, SLICE("joe"), SLICE("y"), &other, &limit),
        PEAL_EEXIST);
    assert_null(other);
    hub_check_cluster(&fake.cluster);
    assert_string_equal(client_id(client), "joe");
    assert_int_equal(client_find_id(&fake.cluster, SLICE("joe")).value,
                     client_ref(client).value);
    client_remove(client);
    assert_int_equal(client_find_id(&fake.cluster, SLICE("joe")).value, 0);
    assert_int_equal(
        admit_as(&fake, 1, SLICE("joe"), SLICE("y"), &other, &limit), 0);
    fake_fini(&fake);
}

static void an_id_is_text_of_bounded_size(void **state)
{
    static struct fake fake;
    char id[PEAL_ID_MAX + 1];
    struct peal_client *client;
    const char *limit;

    (void)state;
    memset(id, 'i', sizeof id);
    assert_int_equal(fake_init(&fake, 1, &fake_limits), 0);
    assert_int_equal(
        admit_as(&fake, 0, slice_make(id, sizeof id), none, &client, &limit),
        PEAL_EINVAL);
    assert_int_equal(admit_as(&fake, 0, SLICE("\xc3("), none, &client, &limit),
                     PEAL_EINVAL);
    assert_int_equal(admit_as(&fake, 0, SLICE("a\0b"), none, &client, &limit),
                     PEAL_EINVAL);
    assert_int_equal(client_list(&fake.cluster, NULL, 0), 0);
    assert_int_equal(
        admit_as(&fake, 0, slice_make(id, PEAL_ID_MAX), none, &client, &limit),
        0);
    assert_int_equal(strlen(client_id(client)), PEAL_ID_MAX);
    fake_fini(&fake);
}

/* --- Memory --------------------------------------------------------------- */

struct counted {
    size_t blocks;
    size_t bytes;
};

static void *count_allocate(size_t size, void *user)
{
    struct counted *counted = user;

    counted->blocks++;
    counted->bytes += size;
    return malloc(size);
}

static void *count_reallocate(void *block, size_t size, void *user)
{
    struct counted *counted = user;

    counted->blocks++;
    counted->bytes += size;
    return realloc(block, size);
}

static void count_release(void *block, void *user)
{
    (void)user;
    free(block);
}

static void an_idle_client_is_one_small_block(void **state)
{
    static struct fake fake;
    struct counted counted = {0};
    struct peal_memory memory = {
        .allocate = count_allocate,
        .reallocate = count_reallocate,
        .release = count_release,
        .user = &counted,
    };

    (void)state;
    assert_true(sizeof(struct client_slot) <= 16);
    assert_true(sizeof(struct peal_client) <= 80);
    peal_memory_set(&memory);
    assert_int_equal(fake_init(&fake, 1, &fake_limits), 0);
    fake_admit(&fake, 0); /* makes the table of slots */
    counted = (struct counted){0};
    fake_admit(&fake, 0);
    assert_int_equal(counted.blocks, 1);
    assert_int_equal(counted.bytes, sizeof(struct peal_client));
    fake_fini(&fake);
    peal_memory_set(NULL);
}

/* --- Metadata ------------------------------------------------------------- */

static void metadata_is_kept_by_key(void **state)
{
    static struct fake fake;
    struct peal_client *client;
    char key[] = "colour";
    char value[] = "red";

    (void)state;
    assert_int_equal(fake_init(&fake, 1, &fake_limits), 0);
    client = fake_admit(&fake, 0);
    assert_null(client_get(client, "colour"));
    assert_int_equal(client_set(client, "colour", NULL), 0);
    assert_null(client->extra);
    assert_int_equal(client_set(client, key, value), 0);
    key[0] = 'x';
    value[0] = 'x';
    assert_string_equal(client_get(client, "colour"), "red");
    assert_int_equal(client_set(client, "size", ""), 0);
    assert_string_equal(client_get(client, "size"), "");
    assert_null(client_get(client, "siz"));
    assert_null(client_get(client, NULL));

    /* A value may be made of the one that it replaces. */
    assert_int_equal(
        client_set(client, "colour", client_get(client, "colour") + 1), 0);
    assert_string_equal(client_get(client, "colour"), "ed");
    assert_int_equal(client_set(client, "colour", NULL), 0);
    assert_null(client_get(client, "colour"));
    assert_string_equal(client_get(client, "size"), "");
    assert_int_equal(client->extra->metadata_bytes, 4);
    assert_int_equal(client_set(client, "", "x"), PEAL_EINVAL);
    assert_int_equal(client_set(client, NULL, "x"), PEAL_EINVAL);
    fake_fini(&fake);
}

static void other_threads_get_copies(void **state)
{
    static struct fake fake;
    struct peal_client_ref ref;
    struct peal_client *client;
    char out[64];

    (void)state;
    assert_int_equal(fake_init(&fake, 2, &fake_limits), 0);
    client = fake_admit(&fake, 1);
    ref = client_ref(client);
    assert_int_equal(client_copy(&fake.cluster, ref, NULL, out, sizeof out),
                     PEAL_ENOTFOUND);
    assert_int_equal(client_set(client, "colour", "red"), 0);
    assert_int_equal(client_copy(&fake.cluster, ref, "colour", out, 4), 3);
    assert_string_equal(out, "red");
    assert_int_equal(client_copy(&fake.cluster, ref, "colour", out, 3),
                     PEAL_ETOOBIG);
    assert_int_equal(client_copy(&fake.cluster, ref, "size", out, 4),
                     PEAL_ENOTFOUND);
    assert_int_equal(client_copy(&fake.cluster, ref, NULL, out, sizeof out),
                     36);
    assert_string_equal(out, client_id(client));
    assert_int_equal(client_copy(&fake.cluster, (struct peal_client_ref){0},
                                 NULL, out, sizeof out),
                     PEAL_EGONE);
    fake_remove_all(&fake);
    assert_int_equal(client_copy(&fake.cluster, ref, NULL, out, sizeof out),
                     PEAL_EGONE);
    fake_fini(&fake);
}

static void metadata_has_a_limit(void **state)
{
    static struct fake fake;
    struct hub_limits limits = fake_limits;
    struct peal_client *client;

    (void)state;
    limits.metadata_bytes_max = 10;
    assert_int_equal(fake_init(&fake, 1, &limits), 0);
    client = fake_admit(&fake, 0);
    assert_int_equal(client_set(client, "12345678901", ""), PEAL_ELIMIT);
    assert_int_equal(client_set(client, "a", "1234567890"), PEAL_ELIMIT);
    assert_int_equal(client_set(client, "a", "123456789"), 0);
    assert_int_equal(client_set(client, "b", ""), PEAL_ELIMIT);

    /* What is replaced does not count any more. */
    assert_int_equal(client_set(client, "a", "987654321"), 0);
    assert_int_equal(client_set(client, "a", "0987654321"), PEAL_ELIMIT);
    assert_string_equal(client_get(client, "a"), "987654321");
    assert_int_equal(client_set(client, "a", "1"), 0);
    assert_int_equal(client_set(client, "b", "1234567"), 0);
    assert_int_equal(client_set(client, "c", ""), PEAL_ELIMIT);
    hub_check_cluster(&fake.cluster);
    fake_fini(&fake);
}

static void scenario(void *arg)
{
    static struct fake fake;
    struct peal_client *client;
    const char *limit;
    int rc = fake_init(&fake, 1, &fake_limits);

    (void)arg;
    assert_true(rc == 0 || torture_failed());
    if (rc < 0) {
        return;
    }
    rc = admit_as(&fake, 0, none, SLICE("x"), &client, &limit);
    assert_true(rc == 0 || (rc == PEAL_ENOMEM && torture_failed()));
    for (int i = 0; rc == 0 && i < 4; i++) {
        char value[2] = {(char)('0' + i), '\0'};
        const char *before = client_get(client, "key");
        int set = client_set(client, "key", value);

        assert_true(set == 0 || (set == PEAL_ENOMEM && torture_failed()));
        if (set == 0) {
            assert_string_equal(client_get(client, "key"), value);
        } else {
            assert_ptr_equal(client_get(client, "key"), before);
        }
        hub_check_cluster(&fake.cluster);
    }
    fake_fini(&fake);
}

static void memory_may_run_out(void **state)
{
    (void)state;
    torture_run(scenario, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reference_is_of_one_client_only),
        cmocka_unit_test(what_is_no_reference_finds_nobody),
        cmocka_unit_test(a_slot_out_of_generations_is_retired),
        cmocka_unit_test(listing_copies_no_more_than_there_is_room_for),
        cmocka_unit_test(limits_of_admission_say_which_one_it_is),
        cmocka_unit_test(a_reference_is_of_one_cluster_only),
        cmocka_unit_test(the_outer_door_counts_the_clients_behind_it),
        cmocka_unit_test(an_id_is_unique_while_its_client_is_here),
        cmocka_unit_test(an_id_is_text_of_bounded_size),
        cmocka_unit_test(an_idle_client_is_one_small_block),
        cmocka_unit_test(metadata_is_kept_by_key),
        cmocka_unit_test(other_threads_get_copies),
        cmocka_unit_test(metadata_has_a_limit),
        cmocka_unit_test(memory_may_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
