/* commands.h - what the commands do; each returns the exit code. */
#ifndef COMMANDS_H
#define COMMANDS_H

#include "options.h"

int sub_run(const struct options *options);
int pub_run(const struct options *options);
int emit_run(const struct options *options);
int request_run(const struct options *options);
int reply_run(const struct options *options);
int ping_run(const struct options *options);
int completion_run(const struct options *options);
int bench_run(const struct options *options);
int doctor_run(const struct options *options);
int top_run(const struct options *options);
int help_run(const struct options *options);

#endif
