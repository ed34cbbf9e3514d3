/* Names by pattern: "prices:*". */
#ifndef BASE_GLOB_H
#define BASE_GLOB_H

#include <stdbool.h>

#include "peal/peal.h"

/*
 * Whether the whole of `text` matches: "*" stands for any bytes, also none, and
 * everything else for itself. O(size of pattern * size of text) at worst.
 */
bool glob_matches(struct peal_slice pattern, struct peal_slice text);

#endif
