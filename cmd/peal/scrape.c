#include "scrape.h"

#include "output.h"
#include "session.h"

#include <curl/curl.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define URL_SIZE 2048
#define TEXT_SIZE_MAX ((size_t)16 << 20)

struct scraper {
    CURL *curl;
    struct curl_slist *headers;
    char url[URL_SIZE];
    char error[CURL_ERROR_SIZE];
    bool (*is_over)(void);
};

/* --- Where ---------------------------------------------------------------- */

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/*
 * The address of the metrics: as it is given, or /metrics on the server where
 * WebSocket clients go. `socket` is set for a Unix socket.
 */
static bool find_url(const struct options *options, char url[URL_SIZE],
                     const char **socket)
{
    const char *from =
        options->argument_count > 0 ? options->arguments[0] : options->url;
    bool is_ws = has_prefix(from, "ws://") || has_prefix(from, "wss://");
    const char *host;

    *socket = NULL;
    if (has_prefix(from, "http://") || has_prefix(from, "https://")) {
        snprintf(url, URL_SIZE, "%s", from);
        return true;
    }
    if (has_prefix(from, "unix:")) {
        *socket = from + strlen("unix:");
        snprintf(url, URL_SIZE, "http://localhost/metrics");
        return true;
    }
    if (!is_ws) {
        output_say(OUTPUT_ERROR,
                   "%s tells no address of metrics: http://HOST:PORT/metrics, "
                   "https:// or unix:/path",
                   from);
        return false;
    }
    host = strstr(from, "://") + 3;
    snprintf(url, URL_SIZE, "http%s://%.*s/metrics",
             has_prefix(from, "wss") ? "s" : "", (int)strcspn(host, "/?"),
             host);
    return true;
}

/* --- Asking --------------------------------------------------------------- */

static size_t on_data(char *data, size_t size, size_t count, void *user)
{
    struct scrape *scrape = user;
    size_t added = size * count;
    char *grown;

    if (added > TEXT_SIZE_MAX - scrape->size) {
        return 0;
    }
    grown = realloc(scrape->text, scrape->size + added + 1);
    if (grown == NULL) {
        return 0;
    }
    memcpy(grown + scrape->size, data, added);
    scrape->text = grown;
    scrape->size += added;
    grown[scrape->size] = '\0';
    return added;
}

static int on_progress(void *user, curl_off_t down_total, curl_off_t down,
                       curl_off_t up_total, curl_off_t up)
{
    struct scraper *scraper = user;

    (void)down_total;
    (void)down;
    (void)up_total;
    (void)up;
    return scraper->is_over() ? 1 : 0;
}

static void set_tls(CURL *curl, const struct options *options)
{
    if (options->cacert != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, options->cacert);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL); /* the system's */
    }
    if (options->cert != NULL) {
        curl_easy_setopt(curl, CURLOPT_SSLCERT, options->cert);
        curl_easy_setopt(curl, CURLOPT_SSLKEY,
                         options->key != NULL ? options->key : options->cert);
    }
    if (options->insecure) {
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

/* The lines of --header and --token. */
static bool set_headers(struct scraper *scraper, const struct options *options)
{
    struct link_way way;
    bool is_set = session_read_way(&way, options);
    char *rest = NULL;

    for (char *line = strtok_r(way.headers, "\r\n", &rest);
         is_set && line != NULL; line = strtok_r(NULL, "\r\n", &rest)) {
        struct curl_slist *longer = curl_slist_append(scraper->headers, line);

        is_set = longer != NULL;
        scraper->headers = is_set ? longer : scraper->headers;
    }
    peal_tls_free(way.options.tls);
    curl_easy_setopt(scraper->curl, CURLOPT_HTTPHEADER, scraper->headers);
    return is_set;
}

struct scraper *scraper_new(const struct options *options)
{
    struct scraper *scraper = calloc(1, sizeof *scraper);
    const char *socket;
    CURL *curl;

    if (scraper == NULL) {
        output_say(OUTPUT_ERROR, "no memory");
        return NULL;
    }
    scraper->curl = curl = curl_easy_init();
    if (curl == NULL || !find_url(options, scraper->url, &socket) ||
        !set_headers(scraper, options)) {
        scraper_free(scraper);
        return NULL;
    }
    curl_easy_setopt(curl, CURLOPT_URL, scraper->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)options->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, scraper->error);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, scraper);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    if (socket != NULL) {
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
    }
    if (options->proxy != NULL) {
        curl_easy_setopt(curl, CURLOPT_PROXY, options->proxy);
    }
    set_tls(curl, options);
    return scraper;
}

void scraper_free(struct scraper *scraper)
{
    curl_slist_free_all(scraper->headers);
    curl_easy_cleanup(scraper->curl);
    free(scraper);
}

const char *scraper_url(const struct scraper *scraper)
{
    return scraper->url;
}

/* What it means that there was no answer, or this one. */
static enum exit_code judge(struct scraper *scraper, CURLcode result, char *why,
                            size_t why_size)
{
    long status = 0;

    if (result == CURLE_ABORTED_BY_CALLBACK) {
        return EXIT_INTERRUPTED;
    }
    if (result != CURLE_OK) {
        snprintf(why, why_size, "%s: %s", scraper->url,
                 scraper->error[0] != '\0' ? scraper->error
                                           : curl_easy_strerror(result));
        return result == CURLE_OPERATION_TIMEDOUT ? EXIT_TIMEOUT : EXIT_CONNECT;
    }
    curl_easy_getinfo(scraper->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status == 200) {
        return EXIT_OK;
    }
    snprintf(why, why_size, "%s: HTTP status %ld%s", scraper->url, status,
             status == 404 || status == 426
                 ? " (the server's options have metrics_path and "
                   "internal_listen)"
                 : "");
    return status == 401 || status == 403 ? EXIT_REFUSED : EXIT_ERROR;
}

/* --- Reading -------------------------------------------------------------- */

/* One line, which is cut into its parts. False for a comment, or nonsense. */
static bool read_line(char *line, struct sample *sample)
{
    char *at = line + strcspn(line, "{ ");
    char *end;

    if (line[0] == '#' || at == line || *at == '\0') {
        return false;
    }
    sample->name = line;
    sample->labels = "";
    if (*at == '{') {
        char *close = strrchr(at, '}');

        if (close == NULL) {
            return false;
        }
        *at = '\0';
        *close = '\0';
        sample->labels = at + 1;
        at = close + 1;
    } else {
        *at++ = '\0';
    }
    sample->value = strtod(at, &end);
    return end != at;
}

/* False when there is nothing of peal's in it. */
static bool parse(struct scrape *scrape)
{
    size_t lines = 1;
    char *rest = NULL;

    for (size_t i = 0; i < scrape->size; i++) {
        lines += scrape->text[i] == '\n';
    }
    scrape->samples = calloc(lines, sizeof *scrape->samples);
    if (scrape->samples == NULL || scrape->text == NULL) {
        return false;
    }
    for (char *line = strtok_r(scrape->text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (read_line(line, &scrape->samples[scrape->count])) {
            scrape->count++;
        }
    }
    return !isnan(scrape_sum(scrape, "peal_build_info", NULL, NULL));
}

enum exit_code scraper_read(struct scraper *scraper, struct scrape *scrape,
                            bool (*is_over)(void), char *why, size_t why_size)
{
    enum exit_code exit_code;
    CURLcode result;

    *scrape = (struct scrape){0};
    scraper->is_over = is_over;
    scraper->error[0] = '\0';
    curl_easy_setopt(scraper->curl, CURLOPT_WRITEDATA, scrape);
    result = curl_easy_perform(scraper->curl);
    scrape->at_ns = session_now_ns();
    exit_code = judge(scraper, result, why, why_size);
    if (exit_code == EXIT_OK && !parse(scrape)) {
        snprintf(why, why_size, "%s: no metrics of peal", scraper->url);
        exit_code = EXIT_ERROR;
    }
    if (exit_code != EXIT_OK) {
        scrape_free(scrape);
    }
    return exit_code;
}

void scrape_free(struct scrape *scrape)
{
    free(scrape->text);
    free(scrape->samples);
    *scrape = (struct scrape){0};
}

bool sample_label(const struct sample *sample, const char *name, char *out,
                  size_t size)
{
    size_t length = strlen(name);
    const char *at = sample->labels;

    while (*at != '\0') {
        const char *value = strstr(at, "=\"");
        const char *end = value != NULL ? strchr(value + 2, '"') : NULL;

        if (end == NULL) {
            return false;
        }
        if ((size_t)(value - at) == length && strncmp(at, name, length) == 0) {
            snprintf(out, size, "%.*s", (int)(end - value - 2), value + 2);
            return true;
        }
        at = end + 1;
        at += *at == ',';
    }
    return false;
}

static bool has_label(const struct sample *sample, const char *key,
                      const char *value)
{
    char found[64];

    return key == NULL || (sample_label(sample, key, found, sizeof found) &&
                           strcmp(found, value) == 0);
}

double scrape_sum(const struct scrape *scrape, const char *name,
                  const char *key, const char *value)
{
    double sum = NAN;

    for (size_t i = 0; i < scrape->count; i++) {
        const struct sample *sample = &scrape->samples[i];

        if (strcmp(sample->name, name) == 0 && has_label(sample, key, value)) {
            sum = (isnan(sum) ? 0 : sum) + sample->value;
        }
    }
    return sum;
}
