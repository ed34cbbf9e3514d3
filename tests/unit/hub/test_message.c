#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/slice.h"
#include "hub/message.h"
#include "torture.h"

static struct peal_event event_of(const char *name, const char *data,
                                  const char *room)
{
    return (struct peal_event){
        .name = peal_slice(name),
        .data = peal_slice(data),
        .room = peal_slice(room),
        .kind = PEAL_TEXT,
    };
}

static void a_message_is_a_copy(void **state)
{
    char name[] = "name";
    char data[] = "some data";
    char room[] = "room";
    struct peal_client_ref except[] = {{7}, {8}, {9}};
    struct peal_event event = event_of(name, data, room);
    struct message *message = message_new(&event, except, 3, 2);

    (void)state;
    assert_non_null(message);
    memset(name, 'x', sizeof name);
    memset(data, 'x', sizeof data);
    memset(room, 'x', sizeof room);
    memset(except, 0, sizeof except);
    assert_true(peal_slice_equal(message->event.name, SLICE("name")));
    assert_true(peal_slice_equal(message->event.data, SLICE("some data")));
    assert_true(peal_slice_equal(message->event.room, SLICE("room")));
    assert_int_equal(message->event.kind, PEAL_TEXT);
    assert_int_equal(message->except_count, 3);
    assert_int_equal(message->except[0].value, 7);
    assert_int_equal(message->except[2].value, 9);
    assert_true(message->size >= sizeof *message + 3 * sizeof except[0] + 17);
    message_unref(message);
}

static void all_may_be_empty(void **state)
{
    struct peal_event event = {.kind = PEAL_JSON};
    struct message *message = message_new(&event, NULL, 0, 0);

    (void)state;
    assert_non_null(message);
    assert_int_equal(message->event.name.size, 0);
    assert_int_equal(message->event.data.size, 0);
    assert_int_equal(message->event.room.size, 0);
    assert_int_equal(message->except_count, 0);
    message_unref(message);
}

static void each_mail_holds_the_message(void **state)
{
    struct peal_event event = event_of("name", "data", NULL);
    struct message *message = message_new(&event, NULL, 0, 2);
    struct message_mail *publish;
    struct message_mail *deliver;

    (void)state;
    assert_non_null(message);
    publish = message_take_mail(message, MESSAGE_PUBLISH);
    deliver = message_take_mail(message, MESSAGE_DELIVER);
    assert_ptr_not_equal(publish, deliver);
    assert_int_equal(publish->kind, MESSAGE_PUBLISH);
    assert_int_equal(deliver->kind, MESSAGE_DELIVER);
    assert_int_equal(publish->size, message->size);
    assert_int_equal(deliver->size, message->size);
    message_unref(message);
    message_unref(publish->message);
    assert_true(slice_equal(deliver->message->event.data, SLICE("data")));
    message_unref(deliver->message);
}

static void scenario(void *arg)
{
    struct peal_event event = event_of("name", "data", "room");
    struct peal_client_ref except = {1};
    struct message *message = message_new(&event, &except, 1, 3);

    (void)arg;
    if (message == NULL) {
        assert_true(torture_failed());
        return;
    }
    message_ref(message);
    message_unref(message);
    message_unref(message);
}

static void memory_may_run_out(void **state)
{
    (void)state;
    torture_run(scenario, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_a_copy),
        cmocka_unit_test(all_may_be_empty),
        cmocka_unit_test(each_mail_holds_the_message),
        cmocka_unit_test(memory_may_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
