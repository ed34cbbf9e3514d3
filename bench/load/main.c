#include "load.h"

int main(int argc, char **argv)
{
    struct load_options options;

    options_parse(&options, argc, argv);
    switch (options.mode) {
    case MODE_ECHO:
        return echo_run(&options);
    case MODE_FANOUT:
        return fanout_run(&options);
    case MODE_IDLE:
        return idle_run(&options);
    case MODE_CONNECT:
        return churn_run(&options);
    }
    return 2;
}
