#include "data.h"

#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* No server takes a larger message (docs/limits.md: message_bytes_max). */
#define FILE_BYTES_MAX ((size_t)1 << 30)
#define NAME_BYTES_MAX 256

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct peal_slice trimmed(struct peal_slice text)
{
    while (text.size > 0 && is_blank(text.data[0])) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && is_blank(text.data[text.size - 1])) {
        text.size--;
    }
    return text;
}

/*
 * As the only member of an object it is valid, and is found as a whole:
 * "1,\"b\":2" would be found as 1.
 */
bool data_is_json(struct peal_slice text)
{
    static const char before[] = "{\"d\":";
    size_t size = sizeof before - 1;
    struct peal_slice value;
    char *object;
    bool is_json;

    text = trimmed(text);
    if (text.size == 0 || memchr(text.data, '\0', text.size) != NULL) {
        return false;
    }
    object = malloc(size + text.size + 1);
    if (object == NULL) {
        return false;
    }
    memcpy(object, before, size);
    memcpy(object + size, text.data, text.size);
    object[size + text.size] = '}';
    is_json = peal_json_get((struct peal_slice){object, size + text.size + 1},
                            "d", &value) == 0 &&
              value.size == text.size;
    free(object);
    return is_json;
}

static bool no_memory(void)
{
    output_say(OUTPUT_ERROR, "there is no memory");
    return false;
}

static bool make_string(struct data *data, struct peal_slice text)
{
    size_t room = 6 * text.size + 3;
    char *string = malloc(room);
    long size;

    if (string == NULL) {
        return no_memory();
    }
    size = peal_json_quote(string, room, text);
    if (size < 0) {
        free(string);
        output_say(OUTPUT_ERROR, "the data is not UTF-8: use --bytes");
        return false;
    }
    *data = (struct data){PEAL_JSON, string, (size_t)size};
    return true;
}

bool data_make(struct data *data, const struct options *options,
               struct peal_slice text)
{
    enum peal_data kind = options->bytes ? PEAL_BYTES : PEAL_JSON;

    if (!options->bytes && (options->string || !data_is_json(text))) {
        return make_string(data, text);
    }
    if (kind == PEAL_JSON) {
        text = trimmed(text);
    }
    *data = (struct data){kind, malloc(text.size + 1), text.size};
    if (data->bytes == NULL) {
        return no_memory();
    }
    memcpy(data->bytes, text.data, text.size);
    return true;
}

/* All of a file; NULL when it cannot be had, which has been told. */
static char *read_all(FILE *file, const char *name, size_t *size)
{
    size_t room = 65536;
    char *bytes = malloc(room);
    size_t got;

    *size = 0;
    while (bytes != NULL &&
           (got = fread(bytes + *size, 1, room - *size, file)) > 0) {
        *size += got;
        if (*size == room) {
            char *more =
                room < FILE_BYTES_MAX ? realloc(bytes, 2 * room) : NULL;

            if (more == NULL) {
                free(bytes);
                output_say(OUTPUT_ERROR, "%s is too large for a message", name);
                return NULL;
            }
            bytes = more;
            room *= 2;
        }
    }
    if (bytes == NULL || ferror(file)) {
        output_say(OUTPUT_ERROR, "cannot read %s: %s", name, strerror(errno));
        free(bytes);
        return NULL;
    }
    return bytes;
}

static bool make_of_file(struct data *data, const struct options *options,
                         const char *name)
{
    bool is_input = strcmp(name, "-") == 0;
    FILE *file = is_input ? stdin : fopen(name, "rb");
    size_t size;
    char *bytes;
    bool is_made;

    if (file == NULL) {
        output_say(OUTPUT_ERROR, "cannot open %s: %s", name, strerror(errno));
        return false;
    }
    bytes = read_all(file, is_input ? "standard input" : name, &size);
    if (!is_input) {
        fclose(file);
    }
    is_made = bytes != NULL &&
              data_make(data, options, (struct peal_slice){bytes, size});
    free(bytes);
    return is_made;
}

bool data_make_argument(struct data *data, const struct options *options,
                        const char *argument)
{
    if (argument == NULL) {
        *data = (struct data){.kind = PEAL_JSON};
        return true;
    }
    if (argument[0] == '@' && !options->string) {
        return make_of_file(data, options, argument + 1);
    }
    return data_make(data, options, peal_slice(argument));
}

void data_free(struct data *data)
{
    free(data->bytes);
    data->bytes = NULL;
}

static bool is_name(const char *name)
{
    char quoted[6 * NAME_BYTES_MAX + 3];
    size_t size = strlen(name);

    return size > 0 && size <= NAME_BYTES_MAX &&
           peal_json_quote(quoted, sizeof quoted, peal_slice(name)) > 0;
}

bool data_check_room(const char *name)
{
    if (!is_name(name)) {
        output_say(OUTPUT_ERROR,
                   "\"%.80s\" cannot be the name of a room: that has 1 to %d "
                   "bytes of UTF-8",
                   name, NAME_BYTES_MAX);
        return false;
    }
    return true;
}

bool data_check_event(const char *name)
{
    if (!is_name(name) || strncmp(name, "peal:", 5) == 0) {
        output_say(OUTPUT_ERROR,
                   "\"%.80s\" cannot be the name of an event: that has 1 to "
                   "%d bytes of UTF-8 and does not begin with \"peal:\"",
                   name, NAME_BYTES_MAX);
        return false;
    }
    return true;
}

struct peal_event data_event(const struct data *data, const char *name,
                             const char *room)
{
    return (struct peal_event){
        .name = peal_slice(name),
        .data = {data->bytes, data->size},
        .room = peal_slice(room),
        .kind = data->kind,
    };
}
