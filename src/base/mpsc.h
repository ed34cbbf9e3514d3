/*
 * An intrusive queue of many producers and one consumer, unbounded by itself
 * (its users count). Pushes are wait-free and totally ordered: if one push
 * happened before another, in whatever threads, it comes out before it. That is
 * what makes a join that was confirmed precede a publish that followed it.
 */
#ifndef BASE_MPSC_H
#define BASE_MPSC_H

#include <stdatomic.h>
#include <stdbool.h>

struct mpsc_node {
    _Atomic(struct mpsc_node *) next;
};

struct mpsc {
    _Atomic(struct mpsc_node *) tail; /* [a] the last one pushed */
    struct mpsc_node *head;           /* consumer only */
    struct mpsc_node stub;
};

void mpsc_init(struct mpsc *queue);

/* Any thread. */
void mpsc_push(struct mpsc *queue, struct mpsc_node *node);

/*
 * The oldest node, or NULL when there is none or when the next one's push is
 * not finished yet (its producer wakes the consumer after it). Consumer only.
 */
struct mpsc_node *mpsc_pop(struct mpsc *queue);

#endif
