/*
 * options.h - the command line: one table of commands and one of options, from
 * which parsing, --help and the completions are made.
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What the program ends with. */
enum exit_code {
    EXIT_OK = 0,
    EXIT_ERROR = 1,        /* anything that is not below */
    EXIT_USAGE = 2,        /* the command line makes no sense */
    EXIT_CONNECT = 3,      /* the server cannot be reached */
    EXIT_REFUSED = 4,      /* the server does not allow it */
    EXIT_TIMEOUT = 5,      /* it did not happen in time */
    EXIT_INTERRUPTED = 130 /* by SIGINT */
};

struct exit_meaning {
    enum exit_code code;
    const char *text;
};

extern const struct exit_meaning exit_meanings[];
extern const size_t exit_meaning_count;

#define OPTION_LIST_MAX 64

/* An option that may be given several times. */
struct option_list {
    const char *items[OPTION_LIST_MAX];
    size_t count;
};

/* A limit such as p99=50ms. */
struct slo {
    double percentile; /* of 100 */
    uint64_t limit_us;
};

#define SLO_MAX 8

struct slo_list {
    struct slo items[SLO_MAX];
    size_t count;
};

/* What was asked for. Of the options that a command has not, the defaults. */
struct options {
    const struct command *command;
    char **arguments;
    int argument_count;

    /* The server and the way to it. */
    const char *url;
    const char *token;
    const char *token_file;
    struct option_list headers;
    const char *origin;
    const char *protocols;
    const char *proxy;
    const char *dialect;
    const char *cacert;
    const char *cert;
    const char *key;
    const char *server_name;
    bool insecure;
    bool deflate;
    uint64_t timeout_ms;
    bool retry;

    /* Output. */
    bool json;
    bool quiet;
    const char *color;
    bool help;
    bool version;
    const char *manual;

    /* Of single commands. */
    bool all;
    bool strict;
    bool raw;
    bool no_newline;
    const char *format;
    const char *event;
    bool string;
    bool bytes;
    bool no_ack;
    uint64_t count;
    double rate;
    uint64_t window;
    uint64_t wait_ms;
    uint64_t interval_ms;
    uint64_t limit_ms;
    uint64_t jobs;
    struct option_list rooms;
    uint64_t connections;
    uint64_t room_count;
    uint64_t payload;
    uint64_t duration_ms;
    uint64_t threads;
    double storm;
    struct slo_list slos;
};

enum option_kind {
    OPTION_FLAG,
    OPTION_TEXT,
    OPTION_LIST,     /* of texts */
    OPTION_CHOICE,   /* one of `choices` */
    OPTION_COUNT,    /* a whole number from 1 on */
    OPTION_RATE,     /* a number from 0.001 to 1000000 */
    OPTION_DURATION, /* into milliseconds: "250ms", "2s", "1m", "2" */
    OPTION_SIZE,     /* "200", "4KiB" */
    OPTION_SLO       /* "p99=50ms" */
};

/* What a shell completes the value with. */
enum option_hint { HINT_NONE, HINT_FILE };

/* One option of some commands. */
struct option_row {
    uint32_t commands; /* a bit for each enum command_id */
    char letter;       /* 0: none */
    const char *name;
    enum option_kind kind;
    size_t offset;           /* in struct options */
    const char *value;       /* what stands for it in help; NULL for flags */
    const char *standard;    /* the default as one would write it, or NULL */
    const char *environment; /* a variable that comes before the default */
    const char *choices;     /* "a b c" */
    enum option_hint hint;
    const char *help;
};

enum command_id {
    COMMAND_SUB,
    COMMAND_PUB,
    COMMAND_EMIT,
    COMMAND_REQUEST,
    COMMAND_REPLY,
    COMMAND_PING,
    COMMAND_DOCTOR,
    COMMAND_BENCH,
    COMMAND_TOP,
    COMMAND_COMPLETION,
    COMMAND_HELP,
    COMMAND_COUNT
};

/* Something that the tests run, and what it is an example of. */
struct example {
    const char *line;
    const char *what;
};

#define EXAMPLES_MAX 5

/* One command. */
struct command {
    enum command_id id;
    const char *name;
    const char *usage; /* its arguments */
    const char *summary;
    const char *description;
    const char *details; /* further lines as they are, or NULL */
    int arguments_min;
    int arguments_max; /* -1: any number */
    int (*run)(const struct options *options);
    struct example examples[EXAMPLES_MAX];
};

extern const struct command commands[COMMAND_COUNT];
extern const struct option_row option_rows[];
extern const size_t option_row_count;

/* The command of this name, or NULL. */
const struct command *command_find(const char *name);

/* Whether a command has an option. */
bool command_has(const struct command *command, const struct option_row *row);

/*
 * Reads the arguments behind the command's name. False when they make no sense,
 * which has been told then.
 */
bool options_parse(struct options *options, const struct command *command,
                   int argc, char **argv);

/* The same readers for other texts; false when they make no sense. */
bool options_read_duration(const char *text, uint64_t *ms);
bool options_read_slo(const char *text, struct slo *slo);

#endif
