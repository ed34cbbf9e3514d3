#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void assert_fail(const char *what, const char *file, int line)
{
    fprintf(stderr, "peal: bug: %s (%s:%d)\n", what, file, line);
    abort();
}
