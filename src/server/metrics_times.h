/* The histograms of /metrics. Part of metrics.c. */
#ifndef SERVER_METRICS_TIMES_H
#define SERVER_METRICS_TIMES_H

#include "server/prom.h"

void metrics_times_write(struct prom *text, const struct engine *engine);

#endif
