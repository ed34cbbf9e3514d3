/* A config's own copies of the strings and lists that options point to. */
#include "server/config_texts.h"

#include "server/config_table.h"

#include <string.h>

/*
 * Whether a config has its own copy of an option's text. The first one has
 * them all, and lives as long as the server: what cannot change points there.
 */
static bool is_owned(const struct config_option *option, bool is_first)
{
    return option->can_change || is_first;
}

/* --- Sizes --------------------------------------------------------------- */

static size_t texts_size(const struct config_option *option,
                         const struct peal_server_options *options)
{
    size_t size = 0;

    if (option->kind == OPTION_TEXT) {
        const char *text = config_table_text(option, options);

        return text != NULL ? strlen(text) + 1 : 0;
    }
    if (option->kind == OPTION_LIST) {
        const char *const *list = config_table_list(option, options);

        for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
            size += strlen(list[i]) + 1;
        }
    }
    return size;
}

static size_t pointers_size(const struct config_option *option,
                            const struct peal_server_options *options)
{
    const char *const *list =
        option->kind == OPTION_LIST ? config_table_list(option, options) : NULL;
    size_t count = 0;

    if (list == NULL) {
        return 0;
    }
    while (list[count] != NULL) {
        count++;
    }
    return (count + 1) * sizeof *list;
}

/* Of all options: by pointers_size, or texts_size. */
static size_t total(size_t (*size)(const struct config_option *option,
                                   const struct peal_server_options *options),
                    const struct peal_server_options *options, bool is_first)
{
    size_t sum = 0;

    for (size_t i = 0; i < config_table_size; i++) {
        if (is_owned(&config_table[i], is_first)) {
            sum += size(&config_table[i], options);
        }
    }
    return sum;
}

size_t config_texts_size(const struct peal_server_options *options,
                         bool is_first)
{
    return total(pointers_size, options, is_first) +
           total(texts_size, options, is_first);
}

/* --- Copying ------------------------------------------------------------- */

/* Where the next copies go. Pointers come first: they are aligned. */
struct room {
    char *pointers;
    char *texts;
};

static char *copy_text(struct room *room, const char *text)
{
    char *copy = room->texts;
    size_t size = strlen(text) + 1;

    memcpy(copy, text, size);
    room->texts += size;
    return copy;
}

static char *copy_list(struct room *room, const char *const *list)
{
    char *copy = room->pointers;

    for (size_t i = 0; list[i] != NULL; i++) {
        char *text = copy_text(room, list[i]);

        memcpy(room->pointers, &text, sizeof text);
        room->pointers += sizeof text;
    }
    room->pointers += sizeof(char *); /* its NULL, which is there */
    return copy;
}

void config_texts_copy(struct peal_server_options *options, bool is_first,
                       char *texts)
{
    struct room room = {
        .pointers = texts,
        .texts = texts + total(pointers_size, options, is_first),
    };

    for (size_t i = 0; i < config_table_size; i++) {
        const struct config_option *option = &config_table[i];
        const char *text = NULL;
        const char *const *list = NULL;
        char *copy = NULL;

        if (!is_owned(option, is_first)) {
            continue;
        }
        if (option->kind == OPTION_TEXT) {
            text = config_table_text(option, options);
        } else if (option->kind == OPTION_LIST) {
            list = config_table_list(option, options);
        }
        if (text != NULL) {
            copy = copy_text(&room, text);
        } else if (list != NULL) {
            copy = copy_list(&room, list);
        }
        if (copy != NULL) {
            memcpy((char *)options + option->offset, &copy, sizeof copy);
        }
    }
}
