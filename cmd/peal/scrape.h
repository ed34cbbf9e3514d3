/*
 * scrape.h - reads the metrics of a server: Prometheus' text format over HTTP,
 * HTTPS, or HTTP on a Unix socket.
 */
#ifndef SCRAPE_H
#define SCRAPE_H

#include "options.h"

/* A line: name{labels} value. */
struct sample {
    const char *name;
    const char *labels; /* "transport=\"ws\"", without the braces; or "" */
    double value;
};

/* What was read at once. */
struct scrape {
    char *text; /* that the samples point into */
    size_t size;
    struct sample *samples;
    size_t count;
    uint64_t at_ns;
};

struct scraper;

/*
 * For the address that the argument or --url tells. NULL when it makes no
 * sense, which has been told.
 */
struct scraper *scraper_new(const struct options *options);
void scraper_free(struct scraper *scraper);

/* Where it reads. */
const char *scraper_url(const struct scraper *scraper);

/*
 * Reads into `scrape`, which is to be freed after EXIT_OK. Otherwise `why` gets
 * the reason. `is_over` is asked now and then whether to give up: then
 * EXIT_INTERRUPTED.
 */
enum exit_code scraper_read(struct scraper *scraper, struct scrape *scrape,
                            bool (*is_over)(void), char *why, size_t why_size);
void scrape_free(struct scrape *scrape);

/*
 * The sum of all lines of a name whose label `key` has this value, or of all
 * for a `key` of NULL; NAN when there is none.
 */
double scrape_sum(const struct scrape *scrape, const char *name,
                  const char *key, const char *value);

/* Copies the value of a label; false when it is not there. */
bool sample_label(const struct sample *sample, const char *name, char *out,
                  size_t size);

#endif
