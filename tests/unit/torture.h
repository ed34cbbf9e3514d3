/*
 * Allocation failures, one after another: whatever allocates must survive each
 * of them and give everything back.
 */
#ifndef TESTS_TORTURE_H
#define TESTS_TORTURE_H

#include <stdbool.h>

/*
 * Runs `scenario` again and again, letting its 1st, 2nd, 3rd... allocation
 * fail, until a run comes to its end without a failure; then once more in the
 * same way with all allocations after the failing one failing too. Asserts
 * that every block was released after each run.
 *
 * The scenario sets up and tears down all it needs, and returns early or goes
 * on when it is told PEAL_ENOMEM. No block of libpeal may be alive before.
 * Allocations may come from several threads that end within the scenario.
 */
void torture_run(void (*scenario)(void *arg), void *arg);

/*
 * Whether an allocation failed in the present run: a scenario may assert with
 * it that errors come only then.
 */
bool torture_failed(void);

#endif
