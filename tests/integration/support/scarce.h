/*
 * Memory for libpeal of which one allocation fails: the first, then the second,
 * and so on, one in each run of a session.
 */
#ifndef SUPPORT_SCARCE_H
#define SUPPORT_SCARCE_H

#include "support/check.h"

/* Has libpeal use it; before anything else. */
void scarce_install(void);

/* Counts from here: allocation `at` fails, once; 0: none does. */
void scarce_arm(long at);

/* Whether one was to fail, and has. */
bool scarce_has_failed(void);

/* Whether none may fail now. */
bool scarce_is_plenty(void);

/* Blocks that libpeal holds. */
long scarce_live(void);

#endif
