/*
 * Options that are limits or times: that docs/limits.md and a public header
 * say the same of them as the code. Runs in the project's root.
 */
#ifndef TESTS_UNIT_LIMITS_H
#define TESTS_UNIT_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct limit {
    const char *name;
    size_t offset;    /* in the options */
    bool is_size;     /* a size_t, else an uint32_t */
    const char *note; /* in the document for its default; NULL: the number */
};

/* A row of a table of them: the option `name` of `type`. */
#define LIMIT(type, name, note)                                                \
    {                                                                          \
        #name, offsetof(type, name),                                           \
            sizeof(((type *)0)->name) == sizeof(size_t), note                  \
    }

uint64_t limits_value(const struct limit *limit, const void *options);
void limits_set(const struct limit *limit, void *options, uint32_t value);

/*
 * docs/limits.md, from `section` on, has a row for each limit with its default,
 * which `defaults` has.
 */
void limits_check_document(const struct limit *limits, size_t count,
                           const char *section, const void *defaults);

/*
 * Each field of `type` in the header whose name ends like a limit is one of
 * these, or of the `others`, which NULL ends; and the other way about.
 */
void limits_check_header(const struct limit *limits, size_t count,
                         const char *const *others, const char *header,
                         const char *type);

/* A text of the project, with a zero byte; to be freed. */
char *limits_read_file(const char *path);

#endif
