/*
 * The strings and lists that options point to: a config keeps copies of its
 * own. `is_first`: of the server's first config, which has those of options
 * that cannot change as well; later ones point to them there.
 */
#ifndef SERVER_CONFIG_TEXTS_H
#define SERVER_CONFIG_TEXTS_H

#include "peal/server.h"

#include <stdbool.h>
#include <stddef.h>

/* Bytes that the copies take. */
size_t config_texts_size(const struct peal_server_options *options,
                         bool is_first);

/*
 * Copies them to `texts`, config_texts_size bytes of 0 that are aligned as
 * pointers are, and has the options point there.
 */
void config_texts_copy(struct peal_server_options *options, bool is_first,
                       char *texts);

#endif
