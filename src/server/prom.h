/*
 * Writes metrics as Prometheus reads them: its text format 0.0.4, or
 * OpenMetrics 1.0. What fails is told once, in `has_failed`.
 */
#ifndef SERVER_PROM_H
#define SERVER_PROM_H

#include "server/endpoint.h"

struct prom {
    struct buffer *body;
    bool is_open_metrics;
    bool has_failed;
};

enum prom_kind { PROM_COUNTER, PROM_GAUGE, PROM_HISTOGRAM };

#define PROM_PRINT(text, ...)                                                  \
    ((text)->has_failed =                                                      \
         !endpoint_print((text)->body, __VA_ARGS__) || (text)->has_failed)

/*
 * Begins a family. `name` is without the "_total" of counters; `unit` may be
 * NULL.
 */
void prom_family(struct prom *text, const char *name, enum prom_kind kind,
                 const char *unit, const char *help);

/* A family of one sample. */
void prom_gauge(struct prom *text, const char *name, const char *unit,
                const char *help, uint64_t value);

/*
 * A sample of a namespace, with its name as a label but for the first, which
 * has none. `name` is written in full. `more` are further labels, as they are
 * written; or "".
 */
void prom_sample(struct prom *text, const struct peal_server *server,
                 const char *name, const char *more, uint64_t value);

/*
 * Writes a label's value with what the formats escape; cut when it does not
 * fit. Twice its bytes and one are enough.
 */
void prom_escape(char *out, size_t size, struct peal_slice value);

#endif
