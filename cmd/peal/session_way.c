/* The way to the server, as the command line says. */
#include "output.h"
#include "session.h"

#include <errno.h>
#include <string.h>

static bool add_header(struct link_way *way, const char *line)
{
    size_t size = strlen(way->headers);
    int added;

    if (strchr(line, ':') == NULL || strpbrk(line, "\r\n") != NULL) {
        output_say(OUTPUT_ERROR, "a header is a line such as "
                                 "\"X-User: ada\"");
        return false;
    }
    added = snprintf(way->headers + size, sizeof way->headers - size, "%s\r\n",
                     line);
    if (added < 0 || (size_t)added >= sizeof way->headers - size) {
        output_say(OUTPUT_ERROR, "the headers are too long");
        return false;
    }
    return true;
}

/* The first line of --token-file. NULL, or what is wrong with it. */
static const char *read_token_file(const char *path, char *token, size_t size)
{
    FILE *file = fopen(path, "r");
    const char *why = NULL;

    if (file == NULL) {
        return strerror(errno);
    }
    if (fgets(token, (int)size, file) == NULL) {
        why = ferror(file) ? strerror(errno) : "it is empty";
    } else if (strchr(token, '\n') == NULL && getc(file) != EOF) {
        why = "its first line is too long";
    }
    fclose(file);
    token[strcspn(token, "\r\n")] = '\0';
    return why;
}

static bool read_token(const struct options *options, char *token, size_t size)
{
    const char *given = options->token != NULL ? options->token : "";
    const char *why;

    if (strlen(given) >= size) {
        output_say(OUTPUT_ERROR, "the token is too long: at most %zu bytes",
                   size - 1);
        return false;
    }
    memcpy(token, given, strlen(given) + 1);
    if (options->token_file == NULL || token[0] != '\0') {
        return true;
    }
    why = read_token_file(options->token_file, token, size);
    if (why != NULL) {
        output_say(OUTPUT_ERROR, "cannot read a token from %s: %s",
                   options->token_file, why);
    }
    return why == NULL;
}

/* The TLS that was asked for; NULL: the library's own. */
static bool make_tls(struct peal_tls **tls, const struct options *options)
{
    const struct peal_tls_client_options wanted = {
        .size = sizeof wanted,
        .ca_file = options->cacert,
        .certificate_file = options->cert,
        .key_file = options->key,
        .insecure_trust_anybody = options->insecure,
    };
    char why[PEAL_TLS_ERROR_SIZE];

    *tls = NULL;
    if (options->cacert == NULL && options->cert == NULL &&
        options->key == NULL && !options->insecure) {
        return true;
    }
    if (options->key != NULL && options->cert == NULL) {
        output_say(OUTPUT_ERROR, "--key needs --cert");
        return false;
    }
    if (peal_tls_client_new(tls, &wanted, why, sizeof why) < 0) {
        output_say(OUTPUT_ERROR, "%s", why);
        return false;
    }
    if (options->insecure) {
        output_say(OUTPUT_WARNING, "nobody checks who the server is");
    }
    return true;
}

bool session_read_way(struct link_way *way, const struct options *options)
{
    char token[4096];
    char line[sizeof token + 32];

    *way = (struct link_way){
        .options =
            {
                .size = sizeof way->options,
                .url = options->url,
                .dialect = strcmp(options->dialect, "stelar") == 0
                               ? PEAL_DIALECT_STELAR
                               : PEAL_DIALECT_PEAL,
                .origin = options->origin,
                .protocols = options->protocols,
                .proxy = options->proxy,
                .tls_server_name = options->server_name,
                .deflate = options->deflate,
                .connect_timeout_ms = (uint32_t)options->timeout_ms,
                .request_timeout_ms = (uint32_t)options->timeout_ms,
                .message_bytes_max = (size_t)64 << 20,
                .outbox_bytes_max = (size_t)1 << 30,
                .outbox_count_max = 100000,
                .outbox_policy = PEAL_OUTBOX_REFUSE,
            },
    };
    if (!read_token(options, token, sizeof token)) {
        return false;
    }
    if (token[0] != '\0') {
        snprintf(line, sizeof line, "Authorization: Bearer %s", token);
        if (!add_header(way, line)) {
            return false;
        }
    }
    for (size_t i = 0; i < options->headers.count; i++) {
        if (!add_header(way, options->headers.items[i])) {
            return false;
        }
    }
    way->options.headers = way->headers;
    return make_tls(&way->options.tls, options);
}
