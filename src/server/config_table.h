/*
 * All options of a server: what each is, whether it can change while the server
 * runs, and whether it is one of the whole server or each namespace has its
 * own. A new option is a row of the table.
 */
#ifndef SERVER_CONFIG_TABLE_H
#define SERVER_CONFIG_TABLE_H

#include "peal/server.h"

#include <stdbool.h>
#include <stddef.h>

enum option_kind {
    OPTION_VALUE, /* compared and copied as it is */
    OPTION_TEXT,  /* a string, or NULL */
    OPTION_LIST   /* of strings, ended by NULL, or NULL */
};

struct config_option {
    const char *name;
    size_t offset; /* in struct peal_server_options */
    size_t size;
    enum option_kind kind;
    bool can_change;
    bool is_shared; /* of the whole server, and 0 in a namespace's */
};

extern const struct config_option config_table[];
extern const size_t config_table_size;

/* The value of an OPTION_TEXT, and of an OPTION_LIST. */
const char *config_table_text(const struct config_option *option,
                              const struct peal_server_options *options);
const char *const *config_table_list(const struct config_option *option,
                                     const struct peal_server_options *options);

/* Whether both say the same, be it with texts that lie elsewhere. */
bool config_table_is_same(const struct config_option *option,
                          const struct peal_server_options *a,
                          const struct peal_server_options *b);

/* The first option that differs and needs a restart, or NULL. */
const char *config_table_find_fixed(const struct peal_server_options *now,
                                    const struct peal_server_options *wanted);

/* The first option of the whole server that is set, or NULL. */
const char *config_table_find_shared(const struct peal_server_options *given);

/* Sets the options of the whole server to 0. */
void config_table_clear_shared(struct peal_server_options *options);

#endif
