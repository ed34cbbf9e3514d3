/*
 * The strings and lists that options point to: a config has copies, counted, of
 * which those that an update leaves as they were are the former config's. So a
 * pointer that peal_server_config gave is good until what it points to is
 * replaced, and not only until the next update.
 */
#ifndef SERVER_CONFIG_TEXTS_H
#define SERVER_CONFIG_TEXTS_H

#include "peal/server.h"

#include <stdbool.h>

/* What one option points to. */
struct config_text;

/*
 * Has `options` point to copies, which are put into `texts`: one for each
 * option of the table, NULL where there is nothing to copy. `former` and
 * `former_texts` may be NULL. False without memory: then `texts` holds nothing.
 */
bool config_texts_take(struct config_text **texts,
                       struct peal_server_options *options,
                       struct config_text *const *former_texts,
                       const struct peal_server_options *former);

/* Gives up what config_texts_take has put there. */
void config_texts_drop(struct config_text **texts);

#endif
