#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/list.h"

struct item {
    int value;
    struct list link;
};

/* Asserts that the list holds the values given, in both directions. */
static void check_values(struct list *head, const int *values, size_t count)
{
    struct list *forward = head->next;
    struct list *backward = head->previous;

    for (size_t i = 0; i < count; i++) {
        assert_int_equal(CONTAINER_OF(forward, struct item, link)->value,
                         values[i]);
        assert_int_equal(CONTAINER_OF(backward, struct item, link)->value,
                         values[count - 1 - i]);
        assert_ptr_equal(forward->next->previous, forward);
        forward = forward->next;
        backward = backward->previous;
    }
    assert_ptr_equal(forward, head);
    assert_ptr_equal(backward, head);
    assert_int_equal(list_is_empty(head), count == 0);
}

static void fill(struct list *head, struct item *items, size_t count, int first)
{
    list_init(head);
    for (size_t i = 0; i < count; i++) {
        items[i].value = first + (int)i;
        list_append(head, &items[i].link);
    }
}

static void test_append_and_remove(void **state)
{
    struct list head;
    struct item items[3];

    (void)state;
    fill(&head, items, 3, 1);
    check_values(&head, (int[]){1, 2, 3}, 3);
    list_remove(&items[1].link);
    check_values(&head, (int[]){1, 3}, 2);
    list_remove(&items[1].link);
    check_values(&head, (int[]){1, 3}, 2);
    list_remove(&items[0].link);
    list_remove(&items[2].link);
    check_values(&head, NULL, 0);
}

static void test_splice(void **state)
{
    struct list to;
    struct list from;
    struct item first[2];
    struct item second[2];

    (void)state;
    fill(&to, first, 2, 1);
    fill(&from, second, 2, 3);
    list_splice(&to, &from);
    check_values(&to, (int[]){1, 2, 3, 4}, 4);
    check_values(&from, NULL, 0);
    list_splice(&to, &from);
    check_values(&to, (int[]){1, 2, 3, 4}, 4);
    list_splice(&from, &to);
    check_values(&from, (int[]){1, 2, 3, 4}, 4);
    check_values(&to, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_and_remove),
        cmocka_unit_test(test_splice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
