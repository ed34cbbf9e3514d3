/*
 * peal - the command line: publish, subscribe, ask, measure. options.h has the
 * tables, each command is a file of its name.
 */
#include "commands.h"
#include "help.h"
#include "options.h"
#include "output.h"

#include <peal/peal.h>

#include <string.h>

static int print_version(void)
{
    printf("peal %s\n", peal_version());
    return EXIT_OK;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct options options = {.command = command, .color = "auto"};

    /* So that what is wrong with the options is said as they want it. */
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        options.json = options.json || strcmp(argv[i], "--json") == 0;
    }
    output_begin(&options);
    if (!options_parse(&options, command, argc, argv)) {
        return EXIT_USAGE;
    }
    output_begin(&options);
    if (options.help) {
        help_print_command(stdout, command);
        return EXIT_OK;
    }
    return options.version ? print_version() : command->run(&options);
}

/* Without a command. */
static int run_alone(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";

    output_begin(&(struct options){.color = "auto"});
    if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
        help_print_overview(stdout);
        return EXIT_OK;
    }
    if (strcmp(word, "-V") == 0 || strcmp(word, "--version") == 0) {
        return print_version();
    }
    if (word[0] == '\0') {
        help_print_overview(stderr);
    } else {
        output_say(OUTPUT_ERROR, "there is no %s %s (peal --help lists all)",
                   word[0] == '-' ? "option" : "command", word);
    }
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    const struct command *command = argc > 1 ? command_find(argv[1]) : NULL;
    int exit_code;

    setvbuf(stderr, NULL, _IOLBF, 0); /* a line is written at once */
    exit_code = command != NULL ? run(command, argc - 1, argv + 1)
                                : run_alone(argc, argv);
    output_flush();
    return exit_code;
}
