/*
 * Log lines with structured fields, written where an error is first known.
 *
 *     log_info(log, "server", "listening", "address=%s", address);
 *
 * The last arguments are a printf format of logfmt fields; a value that may
 * hold blanks, quotes or control characters goes through log_quote first.
 * Fields beyond 1 KiB are left out, and truncated=true says so.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "peal/peal.h"

#include <stdatomic.h>
#include <stdint.h>

/*
 * Of lines of level info and above, each thread makes at most so many of one
 * name in a second. What was left out is told by a line of the same name with
 * nothing but repeated=N, before the next one of that name, or when the
 * thread's loop turns after that second, or ends.
 */
#define LOG_LINES_PER_SECOND 10

struct log {
    peal_log_function *function; /* NULL: nothing is logged */
    void *user;
    _Atomic enum peal_log_level level; /* lines below it are not made */
};

static inline bool log_enabled(const struct log *log, enum peal_log_level level)
{
    return log->function != NULL &&
           level >= atomic_load_explicit(&log->level, memory_order_relaxed);
}

__attribute__((format(printf, 5, 6))) void
log_write(const struct log *log, enum peal_log_level level,
          const char *component, const char *message, const char *format, ...);

/* Lines that this thread has left out and not told of. */
extern _Thread_local uint32_t log_left_out;

static inline bool log_has_left_out(void)
{
    return log_left_out > 0;
}

/* Tells what this thread has left out of a log, where the second is over. */
void log_tell(const struct log *log);

/* Tells all of it: this thread has nothing more to do with the log. */
void log_forget(const struct log *log);

/* Whether a bare value is a number (an integer below 10^15), true or false. */
bool log_is_literal(struct peal_slice value);

/*
 * Writes `value` as a logfmt value (bare, or in quotes with \" \\ \n \xNN) into
 * `out`, cut to fit, always terminated, always printable ASCII: whatever a peer
 * sends, it cannot forge a line or steer a terminal. A text that looks like a
 * number, true or false is in quotes, which tells it from one. `size` >= 3.
 * Returns `out`.
 */
char *log_quote(char *out, size_t size, struct peal_slice value);

#define log_at(log, level, ...)                                                \
    (log_enabled((log), (level)) ? log_write((log), (level), __VA_ARGS__)      \
                                 : (void)0)
#define log_debug(log, ...) log_at((log), PEAL_LOG_DEBUG, __VA_ARGS__)
#define log_info(log, ...) log_at((log), PEAL_LOG_INFO, __VA_ARGS__)
#define log_warn(log, ...) log_at((log), PEAL_LOG_WARN, __VA_ARGS__)
#define log_error(log, ...) log_at((log), PEAL_LOG_ERROR, __VA_ARGS__)

#endif
