/* Counted copies of the strings and lists that options point to. */
#include "server/config_texts.h"

#include "base/mem.h"
#include "server/config_table.h"

#include <stdatomic.h>
#include <string.h>

struct config_text {
    _Atomic int refs;
    _Alignas(char *) char bytes[]; /* of a list: its pointers, then its texts */
};

/* --- Copies -------------------------------------------------------------- */

static struct config_text *text_new(size_t size)
{
    struct config_text *text = mem_alloc(sizeof *text + size);

    if (text != NULL) {
        atomic_init(&text->refs, 1);
    }
    return text;
}

static struct config_text *copy_text(const char *given)
{
    size_t size = strlen(given) + 1;
    struct config_text *text = text_new(size);

    if (text != NULL) {
        memcpy(text->bytes, given, size);
    }
    return text;
}

static struct config_text *copy_list(const char *const *given)
{
    size_t count = 0;
    size_t size = 0;
    struct config_text *text;
    const char **list;
    char *at;

    while (given[count] != NULL) {
        size += strlen(given[count++]) + 1;
    }
    text = text_new((count + 1) * sizeof *given + size);
    if (text == NULL) {
        return NULL;
    }
    list = (const char **)text->bytes;
    at = text->bytes + (count + 1) * sizeof *given;
    for (size_t i = 0; i < count; i++) {
        size = strlen(given[i]) + 1;
        list[i] = memcpy(at, given[i], size);
        at += size;
    }
    list[count] = NULL;
    return text;
}

/* NULL, and true, when there is nothing to copy. */
static bool copy(const struct config_option *option,
                 const struct peal_server_options *options,
                 struct config_text **out)
{
    const char *const *list;
    const char *text;

    *out = NULL;
    switch (option->kind) {
    case OPTION_VALUE:
        return true;
    case OPTION_TEXT:
        text = config_table_text(option, options);
        *out = text != NULL ? copy_text(text) : NULL;
        return text == NULL || *out != NULL;
    case OPTION_LIST:
        list = config_table_list(option, options);
        *out = list != NULL ? copy_list(list) : NULL;
        return list == NULL || *out != NULL;
    }
    return false;
}

/* --- Of all options ------------------------------------------------------ */

bool config_texts_take(struct config_text **texts,
                       struct peal_server_options *options,
                       struct config_text *const *former_texts,
                       const struct peal_server_options *former)
{
    memset(texts, 0, config_table_size * sizeof(*texts));
    for (size_t i = 0; i < config_table_size; i++) {
        const struct config_option *option = &config_table[i];

        if (former != NULL && former_texts[i] != NULL &&
            config_table_is_same(option, former, options)) {
            texts[i] = former_texts[i];
            atomic_fetch_add(&texts[i]->refs, 1);
        } else if (!copy(option, options, &texts[i])) {
            config_texts_drop(texts);
            return false;
        }
        if (texts[i] != NULL) {
            char *bytes = texts[i]->bytes;

            memcpy((char *)options + option->offset, &bytes, sizeof bytes);
        }
    }
    return true;
}

void config_texts_drop(struct config_text **texts)
{
    for (size_t i = 0; i < config_table_size; i++) {
        if (texts[i] != NULL && atomic_fetch_sub(&texts[i]->refs, 1) == 1) {
            mem_free(texts[i]);
        }
    }
}
