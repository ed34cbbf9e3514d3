/*
 * manual.c - manual pages in mdoc(7), from the tables, so that a page says what
 * --help says. What only the page says is in a file: its date, in the first
 * line, and what follows on the description.
 */
#include "help.h"

#include "output.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_MAX 32 /* of the name of a page */
#define LINE_MAX_SIZE 70

/* The page of a command, or of peal itself for NULL. */
static const char *page_of(const struct command *command, char name[PAGE_MAX])
{
    snprintf(name, PAGE_MAX, "peal%s%s", command != NULL ? "-" : "",
             command != NULL ? command->name : "");
    return name;
}

/* Text of which nothing is taken for a request or an escape. */
static void print_text(const char *text)
{
    if (*text == '.' || *text == '\'') {
        fputs("\\&", stdout);
    }
    for (; *text != '\0'; text++) {
        if (*text == '\\') {
            fputs("\\e", stdout);
        } else if (*text == '-') {
            fputs("\\-", stdout);
        } else {
            putchar(*text);
        }
    }
}

/* Prose, in lines that a reader of the source can read. */
static void print_prose(const char *text)
{
    int at = 0;

    while (*text != '\0') {
        size_t size = strcspn(text, " ");
        char word[128];

        snprintf(word, sizeof word, "%.*s", (int)size, text);
        if (at > 0) {
            putchar(at + (int)size > LINE_MAX_SIZE ? '\n' : ' ');
            at = at + (int)size > LINE_MAX_SIZE ? 0 : at + 1;
        }
        print_text(word);
        at += (int)size;
        text += size;
        text += strspn(text, " ");
        /* By the end of the line roff knows that a sentence has ended. */
        if (text[-1] == ' ' && text[-2] == '.') {
            putchar('\n');
            at = 0;
        }
    }
    putchar('\n');
}

static void print_name(const struct command *command)
{
    char page[PAGE_MAX];
    const char *name = page_of(command, page);

    printf(".Dt ");
    for (const char *at = name; *at != '\0'; at++) {
        putchar(toupper((unsigned char)*at));
    }
    printf(" 1\n.Os\n.Sh NAME\n.Nm %s\n.Nd ", name);
    print_text(command != NULL ? command->summary : "talk to a peal server");
    putchar('\n');
}

static void print_synopsis(const struct command *command)
{
    const char *arguments;

    printf(".Sh SYNOPSIS\n.Nm peal\n");
    if (command == NULL) {
        printf(".Ar COMMAND\n.Op Ar OPTION ...\n.Op Ar ARGUMENT ...\n");
        return;
    }
    printf("%s\n.Op Ar OPTION ...\n", command->name);
    arguments = command->usage + strlen(command->name);
    if (*arguments == ' ') {
        print_text(arguments + 1);
        putchar('\n');
    }
}

static void print_flag(const struct option_row *row)
{
    printf(".It ");
    if (row->letter != 0) {
        printf("Fl %c ", row->letter);
        if (row->value != NULL) {
            printf("Ar %s ", row->value);
        }
        printf(", ");
    }
    printf("Fl \\-");
    print_text(row->name);
    if (row->value != NULL) {
        printf(" Ar %s", row->value);
    }
    putchar('\n');
}

static bool is_for(const struct command *command, const struct option_row *row)
{
    return command == NULL || command_has(command, row);
}

static void print_default(const struct option_row *row)
{
    if (row->environment != NULL) {
        printf("(default\n.Ev %s", row->environment);
    } else if (row->standard != NULL) {
        printf("(default");
    } else {
        return;
    }
    if (row->standard != NULL) {
        printf("%s ", row->environment != NULL ? " ,\nelse" : "");
        print_text(row->standard);
        printf(")\n");
    } else {
        printf(" )\n");
    }
}

static void print_options(const struct command *command)
{
    printf(".Sh OPTIONS\n.Bl -tag -width Ds\n");
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];

        if (!command_has(command, row)) {
            continue;
        }
        print_flag(row);
        print_prose(row->help);
        print_default(row);
    }
    printf(".El\n");
}

/* What is to be shown as it stands. */
static void print_literal(const char *text)
{
    printf(".Bd -literal -offset indent\n");
    while (*text != '\0') {
        size_t size = strcspn(text, "\n");
        char line[256];

        snprintf(line, sizeof line, "%.*s", (int)size, text);
        print_text(line);
        putchar('\n');
        text += size;
        text += *text == '\n';
    }
    printf(".Ed\n");
}

static void print_description(const struct command *command)
{
    printf(".Sh DESCRIPTION\n");
    print_prose(command->description);
    if (command->details != NULL) {
        print_literal(command->details);
    }
}

static void print_commands(void)
{
    printf(".Sh COMMANDS\n.Bl -tag -width \"completion\"\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        printf(".It Cm %s\n", commands[i].name);
        print_text(commands[i].summary);
        printf(":\n.Xr peal-%s 1\n", commands[i].name);
    }
    printf(".El\n");
}

static void print_exit_status(void)
{
    printf(".Sh EXIT STATUS\n.Bl -tag -width \"130\" -compact\n");
    for (size_t i = 0; i < exit_meaning_count; i++) {
        printf(".It %d\n%s\n", (int)exit_meanings[i].code,
               exit_meanings[i].text);
    }
    printf(".El\n");
}

static void print_environment(const struct command *command)
{
    printf(".Sh ENVIRONMENT\n.Bl -tag -width Ds\n");
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];

        if (row->environment != NULL && is_for(command, row)) {
            printf(".It Ev %s\nis taken when there is no\n.Fl \\-",
                   row->environment);
            print_text(row->name);
            printf(" .\n");
        }
    }
    printf(".It Ev NO_COLOR\nIf it is set and not empty, nothing is coloured "
           "unless\n.Fl \\-color Ar always\nsays so.\n.El\n");
}

static void print_examples(const struct command *command)
{
    printf(".Sh EXAMPLES\n");
    for (size_t i = 0; i < EXAMPLES_MAX; i++) {
        const struct example *example = &command->examples[i];

        if (example->line == NULL) {
            break;
        }
        if (i > 0) {
            printf(".Pp\n");
        }
        putchar(toupper((unsigned char)example->what[0]));
        print_text(example->what + 1);
        printf(":\n");
        print_literal(example->line);
    }
}

static int compare_names(const void *one, const void *other)
{
    const struct command *const *a = one;
    const struct command *const *b = other;

    return strcmp((*a)->name, (*b)->name);
}

static void print_see_also(const struct command *command)
{
    const struct command *sorted[COMMAND_COUNT];
    const char *comma = command != NULL ? " ,\n" : "";

    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        sorted[i] = &commands[i];
    }
    qsort(sorted, COMMAND_COUNT, sizeof *sorted, compare_names);
    printf(".Sh SEE ALSO\n%s", command != NULL ? ".Xr peal 1" : "");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (sorted[i] != command) {
            printf("%s.Xr peal-%s 1", comma, sorted[i]->name);
            comma = " ,\n";
        }
    }
    putchar('\n');
}

/* Copies the rest of a file. */
static void copy(FILE *file)
{
    int byte;

    while ((byte = getc(file)) != EOF) {
        putchar(byte);
    }
}

int manual_print(const struct command *command, const char *path)
{
    FILE *file = fopen(path, "r");
    char date[64];

    if (file == NULL) {
        output_say(OUTPUT_ERROR, "%s: %s", path, strerror(errno));
        return EXIT_ERROR;
    }
    if (fgets(date, sizeof date, file) == NULL ||
        strncmp(date, ".Dd ", 4) != 0) {
        output_say(OUTPUT_ERROR, "%s:1: the date is missing (.Dd)", path);
        fclose(file);
        return EXIT_ERROR;
    }
    fputs(date, stdout);
    print_name(command);
    print_synopsis(command);
    if (command != NULL) {
        print_description(command);
        copy(file);
        print_options(command);
    } else {
        copy(file);
        print_commands();
    }
    print_environment(command);
    print_exit_status();
    if (command != NULL) {
        print_examples(command);
    }
    print_see_also(command);
    fclose(file);
    return EXIT_OK;
}
