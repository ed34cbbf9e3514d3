/*
 * Assertions that stay on in release builds. A failed one is a bug in peal,
 * never something that a peer or a user can cause: it prints where and aborts.
 */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

_Noreturn void assert_fail(const char *what, const char *file, int line);

#define ASSERT(condition)                                                      \
    ((condition) ? (void)0 : assert_fail(#condition, __FILE__, __LINE__))

#define UNREACHABLE() assert_fail("unreachable", __FILE__, __LINE__)

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* The struct that holds `member` at the address `pointer`. */
#define CONTAINER_OF(pointer, type, member)                                    \
    ((type *)((char *)(pointer)-offsetof(type, member)))

#endif
