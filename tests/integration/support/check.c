#include "support/check.h"

#include <execinfo.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define FRAMES_MAX 32

void check_failed(const char *file, int line, const char *what)
{
    void *frames[FRAMES_MAX];

    fprintf(stderr, "%s:%d: check failed: %s\n", file, line, what);
    fflush(stderr);
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), STDERR_FILENO);
    abort();
}

void check_equal(const char *file, int line, const char *what, int64_t actual,
                 int64_t expected)
{
    char text[256];

    if (actual != expected) {
        snprintf(text, sizeof text, "%s is %lld, not %lld", what,
                 (long long)actual, (long long)expected);
        check_failed(file, line, text);
    }
}

bool check_is_slow_build(void)
{
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    return true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
    return true;
#else
    return false;
#endif
#else
    return false;
#endif
}

uint64_t check_patience_ms(void)
{
    return check_is_slow_build() ? 60000 : 20000;
}

uint64_t check_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void check_breathe(void)
{
    poll(NULL, 0, 1);
}

void check_seed(void)
{
    const char *given = getenv("PEAL_TEST_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10)
                                  : (unsigned)check_now_ms() ^
                                        (unsigned)getpid() << 16;

    printf("PEAL_TEST_SEED=%u\n", seed);
    fflush(stdout);
    srand(seed);
}
