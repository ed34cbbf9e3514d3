/*
 * What every test needs: checks that work on any thread, and patience. A failed
 * check ends the program at once, because the servers and threads of a test
 * cannot be unwound from just anywhere.
 */
#ifndef SUPPORT_CHECK_H
#define SUPPORT_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            check_failed(__FILE__, __LINE__, #condition);                      \
        }                                                                      \
    } while (0)

/* For whole numbers: tells both when they differ. */
#define CHECK_EQUAL(actual, expected)                                          \
    check_equal(__FILE__, __LINE__, #actual, (int64_t)(actual),                \
                (int64_t)(expected))

/* Waits until the condition, which others bring about, has come true. */
#define CHECK_SOON(condition)                                                  \
    do {                                                                       \
        uint64_t soon_until_ms = check_now_ms() + check_patience_ms();         \
        while (!(condition)) {                                                 \
            if (check_now_ms() > soon_until_ms) {                              \
                check_failed(__FILE__, __LINE__, "in time: " #condition);      \
            }                                                                  \
            check_breathe();                                                   \
        }                                                                      \
    } while (0)

_Noreturn void check_failed(const char *file, int line, const char *what);

void check_equal(const char *file, int line, const char *what, int64_t actual,
                 int64_t expected);

/*
 * How long anything that must happen may take. It is only ever used up by a
 * failure, so it is generous.
 */
uint64_t check_patience_ms(void);

uint64_t check_now_ms(void);

/* Seeds rand() with PEAL_TEST_SEED, or at random, and prints the seed. */
void check_seed(void);

/* Lets others run for a moment, between two looks at a condition. */
void check_breathe(void);

/* True in builds where everything is several times slower. */
bool check_is_slow_build(void);

#endif
