/*
 * data.h - what a user means by DATA: JSON, or else a string, or bytes; as it
 * is, or @file.
 */
#ifndef DATA_H
#define DATA_H

#include "options.h"

#include <peal/peal.h>

/* Data of an event, which owns its bytes. */
struct data {
    enum peal_data kind;
    char *bytes;
    size_t size;
};

/*
 * Makes data of a text: bytes with --bytes; a JSON string with --string and
 * when it is no JSON; else the JSON. False when it cannot be, which has been
 * told.
 */
bool data_make(struct data *data, const struct options *options,
               struct peal_slice text);

/* The same of an argument: "@file" is what is in the file, "@-" all input. */
bool data_make_argument(struct data *data, const struct options *options,
                        const char *argument);
void data_free(struct data *data);

/* Whether a text is one JSON text. */
bool data_is_json(struct peal_slice text);

/*
 * Whether a text can be the name of a room: 1 to 256 bytes of UTF-8; or of an
 * event: the same, but not "peal:...". If not, that is told.
 */
bool data_check_room(const char *name);
bool data_check_event(const char *name);

/* The event of this name, in this room if not NULL, that has the data. */
struct peal_event data_event(const struct data *data, const char *name,
                             const char *room);

#endif
