#include "base/clock.h"

#include <string.h>
#include <time.h>

#include "base/assert.h"

/* 9999-12-31T23:59:59.999Z, the last moment that four digits can tell. */
#define CLOCK_WALL_MS_MAX 253402300799999

static struct timespec clock_read(clockid_t id)
{
    struct timespec now;

    ASSERT(clock_gettime(id, &now) == 0);
    return now;
}

uint64_t clock_monotonic_ns(void)
{
    struct timespec now = clock_read(CLOCK_MONOTONIC);

    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t clock_monotonic_ms(void)
{
    return clock_monotonic_ns() / 1000000;
}

uint64_t clock_wall_ms(void)
{
    struct timespec now = clock_read(CLOCK_REALTIME);

    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void clock_put(char *out, int digits, int value)
{
    while (digits > 0) {
        digits--;
        out[digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

void clock_format(uint64_t wall_ms, char out[CLOCK_TEXT_SIZE + 1])
{
    if (wall_ms > CLOCK_WALL_MS_MAX) {
        wall_ms = CLOCK_WALL_MS_MAX;
    }

    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;

    ASSERT(gmtime_r(&seconds, &tm) != NULL);
    memcpy(out, "0000-00-00T00:00:00.000Z", CLOCK_TEXT_SIZE + 1);
    clock_put(out, 4, tm.tm_year + 1900);
    clock_put(out + 5, 2, tm.tm_mon + 1);
    clock_put(out + 8, 2, tm.tm_mday);
    clock_put(out + 11, 2, tm.tm_hour);
    clock_put(out + 14, 2, tm.tm_min);
    clock_put(out + 17, 2, tm.tm_sec);
    clock_put(out + 20, 3, (int)(wall_ms % 1000));
}
