/* Time: monotonic for everything that is measured, wall clock for logs. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

uint64_t clock_monotonic_ms(void);
uint64_t clock_monotonic_ns(void);

/* Milliseconds since 1970-01-01T00:00:00Z. */
uint64_t clock_wall_ms(void);

#define CLOCK_TEXT_SIZE 24

/* RFC 3339 in UTC with milliseconds: "2026-11-21T01:28:21.598Z". */
void clock_format(uint64_t wall_ms, char out[CLOCK_TEXT_SIZE + 1]);

#endif
