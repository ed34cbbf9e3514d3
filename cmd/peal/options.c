/* options.c - reading the command line by the tables of tables.c. */
#include "options.h"

#include "output.h"

#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 64
#define LONG_BASE 256 /* what getopt_long returns for row 0 */

bool command_has(const struct command *command, const struct option_row *row)
{
    return (row->commands >> command->id & 1) != 0;
}

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* --- Values --------------------------------------------------------------- */

/* A number from 0 on, and where it ends in the text. */
static bool read_decimal(const char *text, double *number, const char **end)
{
    char *stop;

    /* strtod knows more than what people mean: signs, "inf", "0x1p3". */
    if (text[0] < '0' || text[0] > '9' || text[1] == 'x' || text[1] == 'X') {
        return false;
    }
    *number = strtod(text, &stop);
    *end = stop;
    return isfinite(*number);
}

struct unit {
    const char *name;
    double factor;
};

/* A number with one of the units, of which the first one may be left out. */
static bool read_with_unit(const char *text, const struct unit *units,
                           size_t count, double *value)
{
    const char *unit;
    double number;

    if (!read_decimal(text, &number, &unit)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(unit, units[i].name) == 0 || (i == 0 && unit[0] == '\0')) {
            *value = number * units[i].factor;
            return *value < 4e15;
        }
    }
    return false;
}

bool options_read_duration(const char *text, uint64_t *ms)
{
    static const struct unit units[] = {
        {"s", 1e3}, {"ms", 1}, {"m", 60e3}, {"h", 3600e3}, {"d", 86400e3}};
    double value;

    if (!read_with_unit(text, units, sizeof units / sizeof *units, &value) ||
        (value > 0 && value < 1) || value > 4e9) {
        return false;
    }
    *ms = (uint64_t)(value + 0.5);
    return true;
}

static bool read_size(const char *text, uint64_t *bytes)
{
    static const struct unit units[] = {
        {"B", 1},         {"KiB", 1024},       {"K", 1024},
        {"MiB", 1048576}, {"M", 1048576},      {"kB", 1000},
        {"MB", 1000000},  {"GiB", 1073741824}, {"G", 1073741824}};
    double value;

    if (!read_with_unit(text, units, sizeof units / sizeof *units, &value)) {
        return false;
    }
    *bytes = (uint64_t)value;
    return (double)*bytes == value;
}

bool options_read_slo(const char *text, struct slo *slo)
{
    static const struct unit units[] = {{"s", 1e6}, {"ms", 1e3}, {"us", 1}};
    const char *rest;
    double limit;

    if (strncmp(text, "max=", 4) == 0) {
        slo->percentile = 100;
        rest = text + 3;
    } else if (text[0] != 'p' ||
               !read_decimal(text + 1, &slo->percentile, &rest) ||
               slo->percentile > 100) {
        return false;
    }
    if (rest[0] != '=' || !read_with_unit(rest + 1, units, 3, &limit)) {
        return false;
    }
    slo->limit_us = (uint64_t)limit;
    return true;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t size = strlen(text);

    while (*choices != '\0') {
        size_t word = strcspn(choices, " ");

        if (word == size && strncmp(choices, text, size) == 0) {
            return true;
        }
        choices += word + strspn(choices + word, " ");
    }
    return false;
}

static bool add_text(struct option_list *list, const char *text)
{
    if (list->count == OPTION_LIST_MAX) {
        return false;
    }
    list->items[list->count++] = text;
    return true;
}

static bool add_slo(struct slo_list *list, const char *text)
{
    return list->count < SLO_MAX &&
           options_read_slo(text, &list->items[list->count++]);
}

static bool read_count(const char *text, uint64_t *count)
{
    char *end;

    if (text[0] < '0' || text[0] > '9' || strlen(text) > 15) {
        return false;
    }
    *count = strtoull(text, &end, 10);
    return *end == '\0' && *count > 0;
}

/* Stores the value of an option. NULL, or what would have been right. */
static const char *store(struct options *options, const struct option_row *row,
                         const char *text)
{
    void *field = (char *)options + row->offset;
    const char *rest;

    switch (row->kind) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return NULL;
    case OPTION_TEXT:
        *(const char **)field = text;
        return NULL;
    case OPTION_LIST:
        return add_text(field, text) ? NULL : "given at most 64 times";
    case OPTION_CHOICE:
        *(const char **)field = text;
        return is_choice(row->choices, text) ? NULL : row->choices;
    case OPTION_COUNT:
        return read_count(text, field) ? NULL : "a whole number from 1 on";
    case OPTION_RATE:
        return read_decimal(text, field, &rest) && *rest == '\0' &&
                       *(double *)field >= 0.001 && *(double *)field <= 1e6
                   ? NULL
                   : "a number from 0.001 to 1000000";
    case OPTION_DURATION:
        return options_read_duration(text, field)
                   ? NULL
                   : "a time such as 250ms, 2s or 1m";
    case OPTION_SIZE:
        return read_size(text, field) ? NULL : "a size such as 200 or 4KiB";
    case OPTION_SLO:
        return add_slo(field, text) ? NULL : "limits such as p99=50ms";
    }
    return "something else";
}

/* --- Lines ---------------------------------------------------------------- */

static bool complain(const struct command *command, const char *what,
                     const char *which)
{
    output_say(OUTPUT_ERROR, "%s%s (peal %s --help lists what there is)", what,
               which, command->name);
    return false;
}

static bool store_option(struct options *options, const struct option_row *row,
                         const char *text, const char *source)
{
    const char *expected = store(options, row, text);

    if (expected == NULL) {
        return true;
    }
    if (row->kind == OPTION_CHOICE) {
        output_say(OUTPUT_ERROR, "%s is one of: %s; not \"%s\"", source,
                   expected, text);
    } else {
        output_say(OUTPUT_ERROR, "%s is %s; not \"%s\"", source, expected,
                   text);
    }
    return false;
}

static bool set_defaults(struct options *options)
{
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        const char *text = NULL;

        if (!command_has(options->command, row)) {
            continue;
        }
        if (row->environment != NULL) {
            text = getenv(row->environment);
        }
        if (text != NULL && text[0] != '\0') {
            if (!store_option(options, row, text, row->environment)) {
                return false;
            }
        } else if (row->standard != NULL) {
            store(options, row, row->standard);
        }
    }
    return true;
}

/* What getopt_long needs to know of the command's options. */
struct known {
    struct option options[ROWS_MAX + 1];
    char letters[2 * ROWS_MAX + 2];
};

static void make_known(struct known *known, const struct command *command)
{
    size_t count = 0;
    char *letter = known->letters;

    *letter++ = ':';
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        int has_value =
            row->kind == OPTION_FLAG ? no_argument : required_argument;

        if (!command_has(command, row) || count == ROWS_MAX) {
            continue;
        }
        known->options[count++] =
            (struct option){row->name, has_value, NULL, LONG_BASE + (int)i};
        if (row->letter != 0) {
            *letter++ = row->letter;
            if (has_value == required_argument) {
                *letter++ = ':';
            }
        }
    }
    known->options[count] = (struct option){NULL, 0, NULL, 0};
    *letter = '\0';
}

static const struct option_row *row_of(const struct command *command, int found)
{
    if (found >= LONG_BASE) {
        return &option_rows[found - LONG_BASE];
    }
    for (size_t i = 0; i < option_row_count; i++) {
        if (command_has(command, &option_rows[i]) &&
            option_rows[i].letter == found) {
            return &option_rows[i];
        }
    }
    return NULL;
}

static bool check_arguments(const struct options *options)
{
    const struct command *command = options->command;

    if (options->help || options->version) {
        return true;
    }
    if (options->argument_count < command->arguments_min) {
        return complain(command, "something is missing: peal ", command->usage);
    }
    if (command->arguments_max >= 0 &&
        options->argument_count > command->arguments_max) {
        return complain(
            command, "too much: ", options->arguments[command->arguments_max]);
    }
    return true;
}

bool options_parse(struct options *options, const struct command *command,
                   int argc, char **argv)
{
    struct known known;
    int found;

    *options = (struct options){.command = command, .dialect = "peal"};
    make_known(&known, command);
    if (!set_defaults(options)) {
        return false;
    }
    optind = 1;
    opterr = 0;
    while ((found = getopt_long(argc, argv, known.letters, known.options,
                                NULL)) != -1) {
        const struct option_row *row = row_of(command, found);
        char source[64];

        if (found == ':') {
            return complain(command, "a value is missing behind ",
                            argv[optind - 1]);
        }
        if (row == NULL) {
            return complain(command, "there is no option ", argv[optind - 1]);
        }
        snprintf(source, sizeof source, "--%s", row->name);
        if (!store_option(options, row, optarg, source)) {
            return false;
        }
        /* Either one comes before a variable of the other's. */
        if (row->offset == offsetof(struct options, token_file)) {
            options->token = NULL;
        } else if (row->offset == offsetof(struct options, token)) {
            options->token_file = NULL;
        }
    }
    options->arguments = argv + optind;
    options->argument_count = argc - optind;
    return check_arguments(options);
}
