#include "help.h"

#include "commands.h"
#include "output.h"

#include <string.h>

#define WIDTH 79
#define COLUMN 26 /* where explanations of options begin */

/* Prints text broken into lines; `at` is the column where it begins. */
static void print_wrapped(FILE *out, const char *text, int at, int indent)
{
    bool is_first = true;

    while (*text != '\0') {
        int size = (int)strcspn(text, " ");

        if (!is_first && at + 1 + size > WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            at = indent;
        } else if (!is_first) {
            fputc(' ', out);
            at++;
        }
        fprintf(out, "%.*s", size, text);
        at += size;
        is_first = false;
        text += size;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

void help_print_overview(FILE *out)
{
    char codes[256] = "exit codes:";
    size_t used = strlen(codes);

    fprintf(out, "usage: peal COMMAND [OPTION...] [ARGUMENT...]\n\n"
                 "Talks to a peal server.\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].summary);
    }
    fprintf(out, "\npeal COMMAND --help explains one. Without --url they go to "
                 "$PEAL_URL.\n\n");
    for (size_t i = 0; i < exit_meaning_count && used < sizeof codes; i++) {
        used += (size_t)snprintf(codes + used, sizeof codes - used, "%s %d %s",
                                 i > 0 ? "," : "", (int)exit_meanings[i].code,
                                 exit_meanings[i].text);
    }
    print_wrapped(out, codes, 0, 0);
}

/* A line of an option, and, from COLUMN on, what it is for. */
static void print_option(FILE *out, const struct option_row *row)
{
    char left[64];
    char text[512];
    int size;

    if (row->letter != 0) {
        size =
            snprintf(left, sizeof left, "  -%c, --%s", row->letter, row->name);
    } else {
        size = snprintf(left, sizeof left, "      --%s", row->name);
    }
    if (row->value != NULL) {
        size += snprintf(left + size, sizeof left - (size_t)size, " %s",
                         row->value);
    }
    fputs(left, out);
    if (size + 2 > COLUMN) {
        fputc('\n', out);
        size = 0;
    }
    fprintf(out, "%*s", COLUMN - size, "");
    size = snprintf(text, sizeof text, "%s", row->help);
    if (row->environment != NULL) {
        size += snprintf(text + size, sizeof text - (size_t)size, " [$%s]",
                         row->environment);
    }
    if (row->standard != NULL) {
        snprintf(text + size, sizeof text - (size_t)size, " (default %s)",
                 row->standard);
    }
    print_wrapped(out, text, COLUMN, COLUMN);
}

void help_print_command(FILE *out, const struct command *command)
{
    /* Before the arguments: those of reply end with a command's own. */
    fprintf(out, "usage: peal %s [OPTION...]%s\n\n", command->name,
            command->usage + strlen(command->name));
    print_wrapped(out, command->description, 0, 0);
    fputc('\n', out);
    for (size_t i = 0; i < option_row_count; i++) {
        if (command_has(command, &option_rows[i])) {
            print_option(out, &option_rows[i]);
        }
    }
    if (command->details != NULL) {
        fprintf(out, "\n%s", command->details);
    }
    fprintf(out, "\nexamples:\n");
    for (size_t i = 0; i < EXAMPLES_MAX; i++) {
        const struct example *example = &command->examples[i];

        if (example->line != NULL) {
            fprintf(out, "  %-44s # %s\n", example->line, example->what);
        }
    }
}

/* --- JSON ----------------------------------------------------------------- */

static void print_text(const char *name, const char *text)
{
    if (text != NULL) {
        printf(",\"%s\":", name);
        output_json_string(stdout, peal_slice(text));
    }
}

static void print_row(const struct option_row *row)
{
    printf("{\"name\":\"%s\"", row->name);
    if (row->letter != 0) {
        printf(",\"letter\":\"%c\"", row->letter);
    }
    print_text("value", row->value);
    print_text("default", row->standard);
    print_text("environment", row->environment);
    print_text("choices", row->choices);
    print_text("help", row->help);
    printf("}");
}

static void print_command(const struct command *command)
{
    const char *comma = "";

    printf("{\"name\":\"%s\"", command->name);
    print_text("usage", command->usage);
    print_text("summary", command->summary);
    print_text("description", command->description);
    print_text("details", command->details);
    printf(",\"options\":[");
    for (size_t i = 0; i < option_row_count; i++) {
        if (command_has(command, &option_rows[i])) {
            fputs(comma, stdout);
            print_row(&option_rows[i]);
            comma = ",";
        }
    }
    printf("],\"examples\":[");
    comma = "";
    for (size_t i = 0; i < EXAMPLES_MAX; i++) {
        if (command->examples[i].line != NULL) {
            printf("%s{\"what\":\"%s\"", comma, command->examples[i].what);
            print_text("line", command->examples[i].line);
            printf("}");
            comma = ",";
        }
    }
    printf("]}");
}

void help_print_json(void)
{
    printf("{\"version\":\"%s\",\"commands\":[", peal_version());
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        fputs(i > 0 ? "," : "", stdout);
        print_command(&commands[i]);
    }
    printf("]}\n");
}

int help_run(const struct options *options)
{
    const struct command *command = NULL;

    if (options->argument_count > 0) {
        command = command_find(options->arguments[0]);
        if (command == NULL) {
            output_say(OUTPUT_ERROR, "there is no command %s",
                       options->arguments[0]);
            return EXIT_USAGE;
        }
    }
    if (options->manual != NULL) {
        return manual_print(command, options->manual);
    }
    if (options->json) {
        help_print_json();
    } else if (command == NULL) {
        help_print_overview(stdout);
    } else {
        help_print_command(stdout, command);
    }
    return EXIT_OK;
}
