/*
 * output.h - what people and programs are told: results on standard output,
 * everything else on standard error.
 */
#ifndef OUTPUT_H
#define OUTPUT_H

#include "options.h"

#include <peal/peal.h>

/* Before anything else: who speaks, in JSON or not, in colour or not. */
void output_begin(const struct options *options);

enum output_level { OUTPUT_NOTE, OUTPUT_WARNING, OUTPUT_ERROR };

/*
 * Tells people something: "peal sub: ..." on standard error, or an object with
 * --json. Notes and warnings are left out with --quiet.
 */
void output_say(enum output_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Whether standard output shows colours, and the sequences for it, or "". */
enum output_color {
    COLOR_NONE,
    COLOR_DIM,
    COLOR_BOLD,
    COLOR_RED,
    COLOR_GREEN,
    COLOR_YELLOW,
    COLOR_CYAN
};
const char *output_color(enum output_color color);

/* Text for one line: control characters as escapes. */
void output_clean(FILE *out, struct peal_slice text);

/* Text as a JSON string. What is not UTF-8 in it becomes U+FFFD. */
void output_json_string(FILE *out, struct peal_slice text);

/* A JSON text without the blanks between its tokens, hence on one line. */
void output_json(FILE *out, struct peal_slice json);

/* Bytes in base64. */
void output_base64(FILE *out, struct peal_slice bytes);

/* Data as it is: the text of a JSON string, another JSON text, or bytes. */
void output_raw(FILE *out, const struct peal_event *event);

/*
 * As members of an object: "data": the JSON, or "bytes": in base64; nothing
 * when there is no data. Begins with a comma.
 */
void output_json_data(FILE *out, const struct peal_event *event);

/* Data for people: JSON on one line, or base64 with a prefix. */
void output_data(FILE *out, const struct peal_event *event);

/* The time of now: "2026-11-21T13:25:44.123Z". */
void output_time(char out[32]);

/*
 * Hands standard output on. Ends the program when nobody reads it any more, as
 * SIGPIPE does.
 */
void output_flush(void);

#endif
