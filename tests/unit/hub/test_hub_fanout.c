#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "hub/fake.h"

/* --- Who is left out ------------------------------------------------------ */

static void any_number_may_be_left_out(void **state)
{
    enum { CLIENTS = 400 };
    static struct fake fake;
    struct peal_client_ref except[CLIENTS];
    struct peal_client_ref heard;
    struct peal_client *client = NULL;
    uint64_t number = 1;
    struct peal_event event = fake_event("r", &number);

    (void)state;
    assert_int_equal(fake_init(&fake, 2, &fake_limits), 0);
    for (int i = 0; i < CLIENTS; i++) {
        client = fake_admit(&fake, i % 2);
        assert_int_equal(fake_join(client, "r"), 1);
        except[i] = client_ref(client);
    }
    heard = except[CLIENTS - 1];
    assert_int_equal(
        hub_publish(&fake.cluster.hubs[0], &event, except, CLIENTS - 1), 0);
    fake_settle(&fake);
    assert_int_equal(fake.delivery_count, 1);
    assert_int_equal(fake_got(&fake, heard, 1), 1);

    /* On the loop without a receiver nothing is begun. */
    assert_int_equal(fake.loops[0].begins, 0);
    assert_int_equal(fake.loops[1].begins, 1);

    fake.delivery_count = 0;
    except[CLIENTS - 1] = (struct peal_client_ref){0};
    except[0] = heard;
    number = 2;
    assert_int_equal(
        hub_publish(&fake.cluster.hubs[1], &event, except, CLIENTS), 0);
    fake_settle(&fake);
    assert_int_equal(fake.delivery_count, 1);
    assert_int_equal(fake_got(&fake, heard, 2), 0);
    fake_fini(&fake);
}

static void who_was_left_out_is_in_the_next_time(void **state)
{
    static struct fake fake;
    struct peal_client_ref ref;
    uint64_t number = 1;
    struct peal_event event = fake_event("", &number);

    (void)state;
    assert_int_equal(fake_init(&fake, 1, &fake_limits), 0);
    ref = client_ref(fake_admit(&fake, 0));
    assert_int_equal(hub_publish(&fake.cluster.hubs[0], &event, &ref, 1), 0);
    assert_int_equal(fake.delivery_count, 0);
    assert_int_equal(hub_publish(&fake.cluster.hubs[0], &event, NULL, 0), 0);
    assert_int_equal(fake.delivery_count, 1);
    fake_fini(&fake);
}

/* A mark of long ago must not come true when the serial wraps. */
static void serials_of_deliveries_may_wrap(void **state)
{
    static struct fake fake;
    struct peal_client *clients[3];
    struct peal_client_ref except;
    uint64_t number = 1;
    struct peal_event event = fake_event("", &number);
    struct hub *hub;

    (void)state;
    assert_int_equal(fake_init(&fake, 1, &fake_limits), 0);
    hub = &fake.cluster.hubs[0];
    for (int i = 0; i < 3; i++) {
        clients[i] = fake_admit(&fake, 0);
    }
    client_remove(clients[1]);
    except = client_ref(clients[0]);
    assert_int_equal(hub_publish(hub, &event, &except, 1), 0);
    assert_int_equal(clients[0]->mark, 1);

    hub->mark = UINT32_MAX;
    fake.delivery_count = 0;
    except = client_ref(clients[2]);
    assert_int_equal(hub_publish(hub, &event, &except, 1), 0);
    assert_int_equal(hub->mark, 1);
    assert_int_equal(fake.delivery_count, 1);
    assert_int_equal(fake_got(&fake, client_ref(clients[0]), 1), 1);
    fake_fini(&fake);
}

/* --- Roads that are closed ------------------------------------------------ */

static int home_of(const struct fake *fake, const char *room)
{
    return fake_home_of(fake, peal_slice(room));
}

/* A full home is told to the publisher, and then nobody gets the message. */
static void a_full_home_is_an_error(void **state)
{
    static struct fake fake;
    uint64_t number = 1;
    struct peal_event event = fake_event("r", &number);
    int home;

    (void)state;
    assert_int_equal(fake_init(&fake, 2, &fake_limits), 0);
    home = home_of(&fake, "r");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fake_join(fake_admit(&fake, i), "r"), 1);
    }
    fake.is_full = true;
    assert_int_equal(hub_publish(&fake.cluster.hubs[1 - home], &event, NULL, 0),
                     PEAL_EFULL);
    assert_int_equal(hub_publish_any(&fake.cluster, &event, NULL, 0),
                     PEAL_EFULL);
    fake_settle(&fake);
    assert_int_equal(fake.delivery_count, 0);

    /* From the home itself there is no such road. */
    assert_int_equal(hub_publish(&fake.cluster.hubs[home], &event, NULL, 0), 0);
    fake_settle(&fake);
    assert_int_equal(fake.delivery_count, 2);
    fake_fini(&fake);
}

static void *no_allocate(size_t size, void *user)
{
    (void)size;
    (void)user;
    return NULL;
}

static void *no_reallocate(void *block, size_t size, void *user)
{
    (void)block;
    (void)size;
    (void)user;
    return NULL;
}

static void release(void *block, void *user)
{
    (void)user;
    free(block);
}

static const struct peal_memory no_memory = {
    .allocate = no_allocate,
    .reallocate = no_reallocate,
    .release = release,
};

/* What the home has taken in arrives, whatever happens to memory. */
static void from_the_home_on_no_memory_is_needed(void **state)
{
    static struct fake fake;
    uint64_t number = 1;
    struct peal_event event = fake_event("r", &number);
    int home;

    (void)state;
    assert_int_equal(fake_init(&fake, HUB_MAX, &fake_limits), 0);
    home = home_of(&fake, "r");
    for (int i = 0; i < HUB_MAX; i++) {
        assert_int_equal(fake_join(fake_admit(&fake, i), "r"), 1);
    }
    assert_int_equal(hub_publish_any(&fake.cluster, &event, NULL, 0), 0);
    peal_memory_set(&no_memory);
    fake_settle(&fake);
    assert_int_equal(fake.delivery_count, HUB_MAX);

    /* And without memory to begin with, nobody gets it. */
    assert_int_equal(hub_publish(&fake.cluster.hubs[home], &event, NULL, 0),
                     PEAL_ENOMEM);
    assert_int_equal(hub_publish(&fake.cluster.hubs[home ^ 1], &event, NULL, 0),
                     PEAL_ENOMEM);
    fake_settle(&fake);
    assert_int_equal(fake.delivery_count, HUB_MAX);

    /* Nor is any needed where all is on one loop, nor to say goodbye. */
    for (int i = 0; i < HUB_MAX; i++) {
        if (i != home) {
            client_remove(fake.cluster.hubs[i].slots[0].client);
        }
    }
    assert_int_equal(hub_publish(&fake.cluster.hubs[home], &event, NULL, 0), 0);
    assert_int_equal(fake.delivery_count, HUB_MAX + 1);
    fake_fini(&fake);
    peal_memory_set(NULL);
}

/* --- Order ---------------------------------------------------------------- */

#define LOOPS 4
#define CLIENTS 16
#define EVENTS 6000

/*
 * Mail lies around for random times while clients join and leave. `order` is
 * what the home has taken in; every member must hear an unbroken stretch of it
 * that begins no later than its join and ends no earlier than all that had
 * reached its loop when it left.
 */
struct stretch {
    struct peal_client *client;
    bool is_in;
    bool has_heard;
    uint32_t joined; /* what was taken in by then */
    uint32_t next;   /* position that it must hear next */
};

struct order {
    struct fake fake;
    uint64_t number;
    uint32_t position[EVENTS + 1]; /* of an event, by number */
    uint32_t taken;
    uint32_t heard;
    struct stretch stretches[CLIENTS];
};

static void take(struct fake *fake, const struct peal_event *event)
{
    struct order *order = fake->user;

    order->position[fake_number(event)] = order->taken++;
}

/* Goes through what has been delivered since the last time. */
static void hear(struct order *order)
{
    struct fake *fake = &order->fake;

    for (size_t i = 0; i < fake->delivery_count; i++) {
        const struct fake_delivery *delivery = &fake->deliveries[i];
        uint32_t position = order->position[delivery->number];
        struct stretch *who = NULL;

        for (int j = 0; j < CLIENTS; j++) {
            if (client_ref(order->stretches[j].client).value ==
                delivery->to.value) {
                who = &order->stretches[j];
            }
        }
        assert_non_null(who);
        assert_true(who->is_in);
        if (who->has_heard) {
            assert_int_equal(position, who->next);
        } else {
            assert_true(position <= who->joined);
        }
        who->has_heard = true;
        who->next = position + 1;
        order->heard++;
    }
    fake->delivery_count = 0;
}

static void order_publish(struct order *order)
{
    struct fake *fake = &order->fake;
    int loop = (int)fake_random(fake, LOOPS);
    struct peal_event event;

    if (order->number == EVENTS) {
        return;
    }
    order->number++;
    event = fake_event("r", &order->number);
    if (loop == home_of(fake, "r")) {
        take(fake, &event);
    }
    assert_int_equal(hub_publish(&fake->cluster.hubs[loop], &event, NULL, 0),
                     0);
}

static void order_change(struct order *order)
{
    struct stretch *who = &order->stretches[fake_random(&order->fake, CLIENTS)];

    if (who->is_in) {
        assert_int_equal(room_leave(who->client, SLICE("r")), 1);
        who->is_in = false;
    } else {
        assert_int_equal(fake_join(who->client, "r"), 1);
        who->is_in = true;
        who->has_heard = false;
        who->joined = order->taken;
    }
}

static void all_members_hear_one_order(void **state)
{
    static struct order order;
    struct fake *fake = &order.fake;

    (void)state;
    assert_int_equal(fake_init(fake, LOOPS, &fake_limits), 0);
    fake->on_taken = take;
    fake->user = &order;
    for (int i = 0; i < CLIENTS; i++) {
        order.stretches[i].client = fake_admit(fake, i % LOOPS);
    }
    while (order.number < EVENTS) {
        switch (fake_random(fake, 5)) {
        case 0:
            order_publish(&order);
            break;
        case 1:
            order_change(&order);
            break;
        default:
            fake_handle_one(fake, (int)fake_random(fake, LOOPS));
            break;
        }
        hear(&order);
    }
    while (fake_handle_one(fake, 0) || fake_handle_one(fake, 1) ||
           fake_handle_one(fake, 2) || fake_handle_one(fake, 3)) {
        hear(&order);
    }
    assert_int_equal(order.taken, EVENTS);
    assert_true(order.heard > EVENTS);
    for (int i = 0; i < CLIENTS; i++) {
        const struct stretch *who = &order.stretches[i];

        if (who->is_in && who->joined < EVENTS) {
            assert_true(who->has_heard);
            assert_int_equal(who->next, EVENTS);
        }
    }
    fake_fini(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_may_be_left_out),
        cmocka_unit_test(who_was_left_out_is_in_the_next_time),
        cmocka_unit_test(serials_of_deliveries_may_wrap),
        cmocka_unit_test(a_full_home_is_an_error),
        cmocka_unit_test(from_the_home_on_no_memory_is_needed),
        cmocka_unit_test(all_members_hear_one_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
