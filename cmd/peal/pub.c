/* peal pub - publishes to a room. */
#include "commands.h"
#include "sender.h"

int pub_run(const struct options *options)
{
    return sender_run(options, options->event, options->arguments[0],
                      options->argument_count > 1 ? options->arguments[1]
                                                  : NULL);
}
