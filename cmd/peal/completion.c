/* peal completion: scripts that teach a shell what can be typed. */
#include "commands.h"
#include "options.h"
#include "output.h"

#include <string.h>

#define SHELLS "bash zsh fish"

/* Prints a text with a backslash before each byte of `special`. */
static void print_escaped(const char *text, const char *special)
{
    for (; *text != '\0'; text++) {
        if (strchr(special, *text) != NULL) {
            putchar('\\');
        }
        putchar(*text);
    }
}

/*
 * The same inside single quotes of zsh: a quote ends them, stands for itself,
 * and begins them again.
 */
static void print_quoted(const char *text, const char *special)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            fputs("'\\''", stdout);
            continue;
        }
        if (strchr(special, *text) != NULL) {
            putchar('\\');
        }
        putchar(*text);
    }
}

static void print_commands(void)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        printf("%s%s", i > 0 ? " " : "", commands[i].name);
    }
}

/* What the arguments of a command may be; nothing when that is anything. */
static void print_words(const struct command *command)
{
    if (command->id == COMMAND_HELP) {
        print_commands();
    } else if (command->id == COMMAND_COMPLETION) {
        fputs(SHELLS, stdout);
    }
}

static bool has_words(const struct command *command)
{
    return command->id == COMMAND_HELP || command->id == COMMAND_COMPLETION;
}

/* --- bash ----------------------------------------------------------------- */

/* A branch of `case $before` for an option that has a value. */
static void print_bash_value(const struct option_row *row)
{
    fputs("        ", stdout);
    if (row->letter != 0) {
        printf("-%c | ", row->letter);
    }
    printf("--%s) ", row->name);
    if (row->choices != NULL) {
        printf("words='%s' ;;\n", row->choices);
    } else if (row->hint == HINT_FILE) {
        printf("is_file=yes ;;\n");
    } else {
        printf("return ;;\n");
    }
}

static void print_bash_command(const struct command *command)
{
    printf("    %s)\n        words='", command->name);
    print_words(command);
    printf("'\n        [[ $current != -* ]] || words='");
    for (size_t i = 0; i < option_row_count; i++) {
        if (command_has(command, &option_rows[i])) {
            printf("--%s ", option_rows[i].name);
        }
    }
    printf("'\n        case $before in\n");
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];

        if (command_has(command, row) && row->kind != OPTION_FLAG) {
            print_bash_value(row);
        }
    }
    printf("        esac\n        ;;\n");
}

static void print_bash(void)
{
    printf("# Completion of peal for bash: source <(peal completion bash)\n"
           "_peal() {\n"
           "    local current=${COMP_WORDS[COMP_CWORD]} words= is_file=\n"
           "    local at=$((COMP_CWORD - 1))\n"
           "\n"
           "    # \"--name=value\" is three words.\n"
           "    [[ $current != = ]] || current=\n"
           "    [[ ${COMP_WORDS[at]} != = ]] || at=$((at - 1))\n"
           "    local before=${COMP_WORDS[at]}\n"
           "\n"
           "    COMPREPLY=()\n"
           "    if ((COMP_CWORD == 1)); then\n"
           "        COMPREPLY=($(compgen -W '");
    print_commands();
    printf(" --help --version' -- \"$current\"))\n"
           "        return\n"
           "    fi\n"
           "    case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        print_bash_command(&commands[i]);
    }
    printf("    esac\n"
           "    if [[ -n $is_file ]]; then\n"
           "        compopt -o filenames 2>/dev/null\n"
           "        mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
           "    else\n"
           "        COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
           "    fi\n"
           "}\n"
           "complete -F _peal peal\n");
}

/* --- zsh ------------------------------------------------------------------ */

static void print_zsh_option(const struct option_row *row)
{
    bool has_value = row->kind != OPTION_FLAG;

    printf(" \\\n            ");
    if (row->kind == OPTION_LIST) {
        printf("'*'");
    } else if (row->letter != 0) {
        printf("'(-%c --%s)'", row->letter, row->name);
    }
    if (row->letter != 0) {
        printf("{-%c,--%s%s}", row->letter, row->name, has_value ? "=" : "");
    } else {
        printf("--%s%s", row->name, has_value ? "=" : "");
    }
    printf("'[");
    print_quoted(row->help, "[]\\");
    printf("]");
    if (has_value) {
        printf(":");
        print_quoted(row->value, ":\\");
        if (row->choices != NULL) {
            printf(":(%s)", row->choices);
        } else {
            printf(":%s", row->hint == HINT_FILE ? "_files" : " ");
        }
    }
    printf("'");
}

static void print_zsh_command(const struct command *command)
{
    printf("    %s)\n        _arguments -s -S", command->name);
    for (size_t i = 0; i < option_row_count; i++) {
        if (command_has(command, &option_rows[i])) {
            print_zsh_option(&option_rows[i]);
        }
    }
    if (has_words(command)) {
        printf(" \\\n            '1:word:(");
        print_words(command);
        printf(")'");
    } else if (command->arguments_max != 0) {
        printf(" \\\n            '*:argument:{}'"); /* offers nothing */
    }
    printf("\n        ;;\n");
}

static void print_zsh(void)
{
    printf("#compdef peal\n"
           "# Completion of peal for zsh: source <(peal completion zsh)\n"
           "_peal() {\n"
           "    local -a commands=(\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        printf("        '%s:", commands[i].name);
        print_quoted(commands[i].summary, ":\\");
        printf("'\n");
    }
    printf("    )\n"
           "\n"
           "    if ((CURRENT == 2)); then\n"
           "        _describe -t commands command commands\n"
           "        return\n"
           "    fi\n"
           "    shift words\n"
           "    ((CURRENT--))\n"
           "    case $words[1] in\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        print_zsh_command(&commands[i]);
    }
    printf("    esac\n"
           "}\n"
           "\n"
           "if [[ $funcstack[1] == _peal ]]; then\n"
           "    _peal \"$@\"\n"
           "else\n"
           "    compdef _peal peal\n"
           "fi\n");
}

/* --- fish ----------------------------------------------------------------- */

/* The condition that one of these commands has been typed. */
static void print_fish_condition(uint32_t mask)
{
    printf("-n '__fish_seen_subcommand_from");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if ((mask >> commands[i].id & 1) != 0) {
            printf(" %s", commands[i].name);
        }
    }
    printf("'");
}

static void print_fish_option(const struct option_row *row)
{
    printf("complete -c peal ");
    print_fish_condition(row->commands);
    if (row->letter != 0) {
        printf(" -s %c", row->letter);
    }
    printf(" -l %s", row->name);
    if (row->choices != NULL) {
        printf(" -x -a '%s'", row->choices);
    } else if (row->hint == HINT_FILE) {
        printf(" -r -F");
    } else if (row->kind != OPTION_FLAG) {
        printf(" -x");
    }
    printf(" -d '");
    print_escaped(row->help, "'\\");
    printf("'\n");
}

static void print_fish(void)
{
    printf("# Completion of peal for fish: peal completion fish | source\n"
           "complete -c peal -f\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        printf("complete -c peal -n __fish_use_subcommand -a %s -d '",
               commands[i].name);
        print_escaped(commands[i].summary, "'\\");
        printf("'\n");
        if (has_words(&commands[i])) {
            printf("complete -c peal ");
            print_fish_condition(UINT32_C(1) << commands[i].id);
            printf(" -a '");
            print_words(&commands[i]);
            printf("'\n");
        }
    }
    for (size_t i = 0; i < option_row_count; i++) {
        print_fish_option(&option_rows[i]);
    }
}

int completion_run(const struct options *options)
{
    const char *shell = options->arguments[0];

    if (strcmp(shell, "bash") == 0) {
        print_bash();
    } else if (strcmp(shell, "zsh") == 0) {
        print_zsh();
    } else if (strcmp(shell, "fish") == 0) {
        print_fish();
    } else {
        output_say(OUTPUT_ERROR, "no completion for %s, but for: " SHELLS,
                   shell);
        return EXIT_USAGE;
    }
    return EXIT_OK;
}
