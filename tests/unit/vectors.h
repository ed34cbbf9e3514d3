/*
 * Test vectors: bytes in, events out, as text in tests/vectors/<folder>/.
 *
 * A file holds cases, separated by blank lines. Lines that begin with # are
 * comments. A case is
 *
 *     case a name for people
 *     set role client            any number of settings: a word, its value
 *     in "GET / HTTP/1.1\r\n"    bytes; several lines follow one another
 *     in [81 05] "Hello"
 *     out text "Hello"           the events, in order
 *     out error 1002
 *
 * Bytes are quoted text (with \r \n \t \\ \" \xNN), text between apostrophes,
 * which has no escapes, or pairs of hexadecimal digits in brackets; *1000 after
 * any of these repeats it. Outside of them, what
 * stands in an `out` line stands for itself.
 *
 * Each case is run whole, byte by byte, and cut in two at every place (of a
 * long input, at the places near its ends), and must give the same events.
 */
#ifndef TESTS_VECTORS_H
#define TESTS_VECTORS_H

#include <stddef.h>

struct vector_setting {
    char *name;
    char *value;
};

struct vector {
    const char *file;
    int line;
    char *name;
    struct vector_setting settings[8];
    size_t setting_count;
    char *in;
    size_t in_size;
    char *out; /* the events, one per line, bytes as hexadecimal digits */
};

/* The value of a setting, or `otherwise` when the case has none. */
const char *vector_get(const struct vector *vector, const char *name,
                       const char *otherwise);

long vector_get_number(const struct vector *vector, const char *name,
                       long otherwise);

/* What a run has seen, to be compared with the vector's `out`. */
struct vector_log {
    char *text;
    size_t size;
    size_t capacity;
};

/* Adds to the line that is being written. */
void vector_log_add(struct vector_log *log, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Adds bytes, after a blank, as hexadecimal digits. */
void vector_log_bytes(struct vector_log *log, const void *data, size_t size);

/* Ends the line. */
void vector_log_end(struct vector_log *log);

/*
 * How an input is cut into pieces. `cuts` are the sizes of the pieces, each
 * above 0, in all the input's.
 */
struct vector_pieces {
    const size_t *cuts;
    size_t count;
};

/*
 * Feeds the vector's input, piece by piece, to what is under test and logs the
 * events.
 */
typedef void vector_run(const struct vector *vector,
                        const struct vector_pieces *pieces,
                        struct vector_log *log);

/*
 * Runs all cases of tests/vectors/<folder>; there must be some. Cases that fail
 * are printed, and the test fails at the end. With VECTORS_SEEDS=<directory> in
 * the environment, the inputs are also written there: seeds for a fuzzer.
 */
void vectors_check(const char *folder, vector_run *run);

/*
 * A copy of `data` that ends right before a page that may not be touched: who
 * reads or writes one byte too far crashes. Valid until the next call; at most
 * 1 MiB.
 */
char *vectors_guard(const void *data, size_t size);

#endif
