#include "base/mpsc.h"

#include <stddef.h>

/*
 * Vyukov's queue. Producers agree on the order by the exchange of `tail`; the
 * link from the former last node is made after it, and until then the consumer
 * sees the queue end there. The stub stands in when the last node is taken, so
 * that `tail` always has a node to link to.
 */
void mpsc_init(struct mpsc *queue)
{
    atomic_init(&queue->stub.next, NULL);
    atomic_init(&queue->tail, &queue->stub);
    queue->head = &queue->stub;
}

void mpsc_push(struct mpsc *queue, struct mpsc_node *node)
{
    struct mpsc_node *previous;

    atomic_store_explicit(&node->next, NULL, memory_order_relaxed);
    previous =
        atomic_exchange_explicit(&queue->tail, node, memory_order_acq_rel);
    atomic_store_explicit(&previous->next, node, memory_order_release);
}

static struct mpsc_node *mpsc_next(struct mpsc_node *node)
{
    return atomic_load_explicit(&node->next, memory_order_acquire);
}

struct mpsc_node *mpsc_pop(struct mpsc *queue)
{
    struct mpsc_node *head = queue->head;
    struct mpsc_node *next = mpsc_next(head);

    if (head == &queue->stub) {
        if (next == NULL) {
            return NULL;
        }
        queue->head = next;
        head = next;
        next = mpsc_next(head);
    }
    if (next == NULL) {
        /* The last node can go only once something stands behind it. */
        if (head !=
            atomic_load_explicit(&queue->tail, memory_order_acquire)) {
            return NULL;
        }
        mpsc_push(queue, &queue->stub);
        next = mpsc_next(head);
        if (next == NULL) {
            return NULL;
        }
    }
    queue->head = next;
    return head;
}
