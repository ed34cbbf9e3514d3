/* help.h - what --help says, as text or as JSON. */
#ifndef HELP_H
#define HELP_H

#include "options.h"

/* The overview of all commands. */
void help_print_overview(FILE *out);

/* One command with its options, their defaults and its examples. */
void help_print_command(FILE *out, const struct command *command);

/* All of it for programs. */
void help_print_json(void);

/*
 * The manual page of a command, or of peal itself for NULL, with the prose of a
 * file. Returns the exit code.
 */
int manual_print(const struct command *command, const char *path);

#endif
