#include "client/link.h"

#include "base/mem.h"
#include "base/slice.h"

#define MESSAGE_BYTES_MAX ((size_t)1 << 30)
#define SERVER_NAME_MAX 255

static void set_default_32(uint32_t *value, uint32_t standard)
{
    if (*value == 0) {
        *value = standard;
    }
}

static void set_default(size_t *value, size_t standard)
{
    if (*value == 0) {
        *value = standard;
    }
}

static void set_defaults(struct peal_link_options *options)
{
    set_default(&options->message_bytes_max, (size_t)1 << 20);
    set_default(&options->queue_bytes_max, (size_t)256 << 10);
    set_default(&options->outbox_bytes_max, (size_t)1 << 20);
    set_default(&options->deflate_threshold_bytes, 1024);
    if (options->deflate_window_bits == 0) {
        /* As servers have it: a window of one's own costs memory. */
        options->deflate_window_bits =
            options->deflate_context_takeover ? 12 : 15;
    }
    set_default_32(&options->outbox_count_max, 1000);
    set_default_32(&options->outbox_rate, 1000);
    set_default_32(&options->requests_max, 1000);
    set_default_32(&options->connect_timeout_ms, 10000);
    set_default_32(&options->request_timeout_ms, 10000);
    set_default_32(&options->close_timeout_ms, 2000);
    set_default_32(&options->reconnect_min_ms, 50);
    set_default_32(&options->reconnect_first_ms, 1000);
    set_default_32(&options->reconnect_max_ms, 30000);
    set_default_32(&options->reconnect_stable_ms, 5000);
}

static int complain(const struct log *log, const char *option)
{
    log_error(log, "client", "bad option", "option=%s", option);
    return PEAL_EINVAL;
}

static int check(const struct peal_link_options *options, const struct log *log)
{
    if (options->message_bytes_max > MESSAGE_BYTES_MAX) {
        return complain(log, "message_bytes_max");
    }
    if (options->request_timeout_ms == PEAL_OFF) {
        return complain(log, "request_timeout_ms");
    }
    if (options->dialect != PEAL_DIALECT_DEFAULT &&
        options->dialect != PEAL_DIALECT_PEAL &&
        options->dialect != PEAL_DIALECT_STELAR) {
        return complain(log, "dialect");
    }
    if (options->reconnect_min_ms > options->reconnect_max_ms) {
        return complain(log, "reconnect_min_ms");
    }
    if (options->tls != NULL && !tls_is_client(options->tls)) {
        return complain(log, "tls");
    }
    if (options->tls_server_name != NULL &&
        (options->tls_server_name[0] == '\0' ||
         strlen(options->tls_server_name) > SERVER_NAME_MAX)) {
        return complain(log, "tls_server_name");
    }
    if (options->deflate_window_bits < WS_DEFLATE_BITS_MIN ||
        options->deflate_window_bits > WS_DEFLATE_BITS_MAX) {
        return complain(log, "deflate_window_bits");
    }
    if (options->protocols != NULL && strlen(options->protocols) > 255) {
        return complain(log, "protocols");
    }
    return PEAL_OK;
}

static int parse_addresses(struct link_settings *settings,
                           const struct log *log)
{
    const struct peal_link_options *options = &settings->options;
    char quoted[160];
    int rc = address_parse(&settings->target, options->url);

    if (rc < 0) {
        log_error(log, "client", "bad url", "url=%s",
                  log_quote(quoted, sizeof quoted, peal_slice(options->url)));
        return rc;
    }
    if (options->proxy != NULL) {
        rc = address_parse_proxy(&settings->proxy, options->proxy);
        if (rc < 0) {
            log_error(
                log, "client", "bad proxy", "proxy=%s",
                log_quote(quoted, sizeof quoted, peal_slice(options->proxy)));
        }
    }
    return rc;
}

/* Replaces a text by a copy that `owned` keeps. */
static bool copy_text(const char **text, char **owned)
{
    if (*text == NULL) {
        return true;
    }
    *owned = mem_copy(*text, strlen(*text));
    *text = *owned;
    return *owned != NULL;
}

/* Takes hold of what TLS needs. */
static int set_tls(struct link_settings *settings, struct peal_loop *runner)
{
    struct peal_tls *tls = settings->options.tls;
    int rc = PEAL_OK;

    if (!settings->target.is_tls) {
        return PEAL_OK;
    }
    if (tls == NULL) {
        rc = runner_tls(runner, &tls);
    }
    if (rc == PEAL_OK) {
        settings->tls = tls_ref(tls);
        if (tls_trusts_anybody(tls)) {
            log_warn(&runner->log, "client", "tls trusts anybody", "host=%s",
                     settings->target.host);
        }
    }
    return rc;
}

/* What a handshake would refuse is known now already. */
static int check_handshake(const struct link_settings *settings,
                           const struct log *log)
{
    const struct peal_link_options *options = &settings->options;
    const struct ws_request request = {
        .host = settings->target.authority,
        .target = settings->target.target,
        .origin = options->origin,
        .protocols = options->protocols,
        .headers = options->headers,
    };
    char *head = mem_alloc(LINK_HEAD_BYTES_MAX);
    char key[WS_KEY_SIZE];
    long size;

    if (head == NULL) {
        return PEAL_ENOMEM;
    }
    size = ws_request_write(head, LINK_HEAD_BYTES_MAX, &request, key);
    mem_free(head);
    return size > 0 ? PEAL_OK : complain(log, "headers, origin or protocols");
}

int link_settings_new(struct link_settings **out,
                      const struct peal_link_options *options,
                      struct peal_loop *runner)
{
    const struct log *log = &runner->log;
    struct link_settings *settings;
    int rc;

    if (options == NULL || options->size == 0) {
        return PEAL_EINVAL;
    }
    settings = mem_zalloc(sizeof *settings);
    if (settings == NULL) {
        return PEAL_ENOMEM;
    }
    memcpy(&settings->options, options,
           options->size < sizeof *options ? options->size : sizeof *options);
    set_defaults(&settings->options);
    rc = settings->options.url == NULL ? complain(log, "url")
                                       : check(&settings->options, log);
    if (rc == PEAL_OK) {
        rc = parse_addresses(settings, log);
    }
    if (rc == PEAL_OK &&
        (!copy_text(&settings->options.headers, &settings->headers) ||
         !copy_text(&settings->options.origin, &settings->origin) ||
         !copy_text(&settings->options.protocols, &settings->protocols) ||
         !copy_text(&settings->options.tls_server_name,
                    &settings->server_name))) {
        rc = PEAL_ENOMEM;
    }
    if (rc == PEAL_OK && settings->target.is_ws) {
        rc = check_handshake(settings, log);
    }
    if (rc == PEAL_OK) {
        rc = set_tls(settings, runner);
    }
    if (rc < 0) {
        link_settings_free(settings);
        return rc;
    }
    /* What they say is in fields of its own. */
    settings->options.url = NULL;
    settings->options.proxy = NULL;
    settings->options.tls = NULL;
    settings->options.tls_server_name = NULL;
    settings->dialect = settings->options.dialect == PEAL_DIALECT_STELAR
                            ? &dialect_client_stelar
                            : &dialect_client_peal;
    settings->limits = (struct ws_limits){
        .role = WS_CLIENT,
        .frame_bytes_max = settings->options.message_bytes_max,
        .message_bytes_max = settings->options.message_bytes_max,
    };
    *out = settings;
    return PEAL_OK;
}

void link_settings_free(struct link_settings *settings)
{
    if (settings == NULL) {
        return;
    }
    address_fini(&settings->target);
    address_fini(&settings->proxy);
    mem_free(settings->headers);
    mem_free(settings->origin);
    mem_free(settings->protocols);
    mem_free(settings->server_name);
    peal_tls_free(settings->tls);
    mem_free(settings);
}

void link_settings_settle(struct peal_link *link)
{
    if (link->next_settings != NULL) {
        link_settings_free(link->settings);
        link->settings = link->next_settings;
        link->next_settings = NULL;
        tls_session_free(link->session); /* of another server, perhaps */
        link->session = NULL;
    }
}

/* Limits, times and hooks apply to the connection that there is. */
static void apply_now(struct link_settings *settings,
                      const struct link_settings *next)
{
    struct peal_link_options *options = &settings->options;
    const struct peal_link_options former = *options;

    *options = next->options;
    options->dialect = former.dialect;
    options->headers = former.headers;
    options->origin = former.origin;
    options->protocols = former.protocols;
    options->accept_any_key = former.accept_any_key;
    settings->limits = next->limits;
}

void link_settings_replace(struct peal_link *link,
                           struct link_settings *settings)
{
    link_settings_free(link->next_settings);
    link->next_settings = settings;
    apply_now(link->settings, settings);
    if (link->phase == LINK_IDLE || link->phase == LINK_WAITING) {
        link_settings_settle(link);
    }
}
