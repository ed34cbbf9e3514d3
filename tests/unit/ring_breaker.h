/*
 * Rings that fail: what a kernel without memory for requests does to them is
 * done by taking their descriptors away.
 */
#ifndef TESTS_RING_BREAKER_H
#define TESTS_RING_BREAKER_H

#include <stddef.h>

/*
 * Puts something else in the place of the descriptor of each ring of this
 * process, so that its next use fails. Returns how many there were.
 */
size_t ring_break_all(void);

#endif
