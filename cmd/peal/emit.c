/* peal emit - sends an event to the server itself. */
#include "commands.h"
#include "sender.h"

int emit_run(const struct options *options)
{
    return sender_run(options, options->arguments[0], NULL,
                      options->argument_count > 1 ? options->arguments[1]
                                                  : NULL);
}
