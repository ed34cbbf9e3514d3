#include "client/link.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define RETRY_AFTER_MAX_S 3600

static void fail(struct peal_link *link, int error, const char *reason)
{
    link_lose(link, &(struct link_loss){.error = error, .reason = reason});
}

void link_drop_lookup(struct resolver_job *job)
{
    mem_free(CONTAINER_OF(job, struct link_lookup, job));
}

void link_dial_end(struct peal_link *link)
{
    if (link->dial == NULL) {
        return;
    }
    if (link->dial->lookup != NULL) {
        link->dial->lookup->link = NULL;
    }
    mem_free(link->dial);
    link->dial = NULL;
}

/* Tries the addresses one after another. */
static void connect_next(struct peal_link *link)
{
    struct link_dial *dial = link->dial;

    link->phase = LINK_CONNECTING;
    while (dial->next < dial->count) {
        int fd;
        int rc = socket_connect(&fd, &dial->addresses[dial->next++]);

        if (rc == PEAL_OK) {
            rc = stream_connect(&link->stream, link->runner->loop, fd,
                                &link_stream_events);
            if (rc == PEAL_OK) {
                return;
            }
            close(fd);
        }
        dial->error = rc;
    }
    fail(link, dial->error, "could not connect");
}

void link_dial_retry(struct peal_link *link)
{
    connect_next(link);
}

static void looked_up(struct runner_mail *mail)
{
    struct link_lookup *lookup = CONTAINER_OF(mail, struct link_lookup, mail);
    struct peal_link *link = lookup->link;

    if (link != NULL) {
        struct link_dial *dial = link->dial;

        ASSERT(link->phase == LINK_RESOLVING);
        dial->lookup = NULL;
        dial->count = lookup->job.count;
        memcpy(dial->addresses, lookup->job.addresses, sizeof dial->addresses);
        if (dial->count > 0) {
            connect_next(link);
        } else {
            fail(link, PEAL_EADDRESS, "the host's name is not known");
        }
    }
    mem_free(lookup);
}

static void look_up(struct peal_link *link, const struct address *address)
{
    struct link_lookup *lookup = mem_zalloc(sizeof *lookup);

    if (lookup == NULL) {
        fail(link, PEAL_ENOMEM, "no memory");
        return;
    }
    lookup->mail.handle = looked_up;
    lookup->job.mail = &lookup->mail.mail;
    lookup->job.port = address->port;
    lookup->link = link;
    memcpy(lookup->job.host, address->host, strlen(address->host) + 1);
    link->dial->lookup = lookup;
    if (resolver_start(link->runner->resolver, &lookup->job) < 0) {
        link->dial->lookup = NULL;
        mem_free(lookup);
        fail(link, PEAL_ESYSTEM, "no thread to resolve names on");
    }
}

void link_dial_start(struct peal_link *link)
{
    const struct link_settings *settings;
    const struct address *address;
    int rc;

    link_settings_settle(link);
    settings = link->settings;
    address =
        settings->proxy.host != NULL ? &settings->proxy : &settings->target;
    link->phase = LINK_RESOLVING;
    link->dialled_at_ms = link_now_ms(link);
    link->ping_interval_ms = 0;
    link->ping_timeout_ms = 0;
    link->message_bytes_max = 0;
    link_forget_parting(link);
    link_add(&link->counters.attempts, 1);
    link->dial = mem_zalloc(sizeof *link->dial);
    if (link->dial == NULL) {
        fail(link, PEAL_ENOMEM, "no memory");
        return;
    }
    link_start_timer(link, settings->options.connect_timeout_ms);
    if (address->is_local) {
        rc = socket_address_set_local(&link->dial->addresses[0], address->host);
    } else {
        rc = socket_address_set(&link->dial->addresses[0], address->host,
                                address->port);
    }
    if (rc == PEAL_OK) {
        link->dial->count = 1;
        connect_next(link);
    } else if (rc == PEAL_ENOTFOUND) {
        look_up(link, address);
    } else {
        fail(link, rc, "bad address");
    }
}

static int error_of(int error)
{
    switch (error) {
    case ECONNREFUSED:
        return PEAL_EREFUSED;
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return PEAL_ETIMEOUT;
    case EACCES:
    case EPERM:
        return PEAL_EACCESS;
    default:
        return PEAL_ESYSTEM;
    }
}

void link_dial_failed(struct peal_link *link, int error)
{
    stream_close(&link->stream);
    link->dial->error = error_of(error);
    if (link->dial->next >= link->dial->count) {
        fail(link, link->dial->error, "could not connect");
        return;
    }
    /*
     * The stream's memory is not used again in the turn in which it was closed:
     * the next address is tried in the next one.
     */
    link->phase = LINK_RESOLVING;
    timer_start(&link->runner->loop->timers, &link->pump,
                link_now_ms(link) + 1);
}

/* --- Handshakes ----------------------------------------------------------- */

static void upgrade(struct peal_link *link)
{
    const struct link_settings *settings = link->settings;
    const char *protocols = settings->options.protocols != NULL
                                ? settings->options.protocols
                                : settings->dialect->subprotocol;
    char extensions[WS_DEFLATE_LINE_MAX];
    const struct ws_request request = {
        .host = settings->target.authority,
        .target = settings->target.target,
        .origin = settings->options.origin,
        .protocols = protocols,
        .headers = settings->options.headers,
        .extensions = extensions,
    };
    struct link_dial *dial = link->dial;
    char *head = mem_alloc(LINK_HEAD_BYTES_MAX);
    long size;

    if (head == NULL) {
        fail(link, PEAL_ENOMEM, "no memory");
        return;
    }
    link_deflate_offer(link, extensions);
    snprintf(dial->offered, sizeof dial->offered, "%s",
             protocols != NULL ? protocols : "");
    size = ws_request_write(head, LINK_HEAD_BYTES_MAX, &request, dial->key);
    link->phase = LINK_UPGRADING;
    dial->scanned = 0;
    if (size < 0 || link_write_bytes(link, head, (size_t)size) < 0) {
        mem_free(head);
        fail(link, PEAL_ENOMEM, "the handshake could not be written");
        return;
    }
    mem_free(head);
}

/* What comes next is between the server and us, and nobody else hears it. */
static void open_session(struct peal_link *link)
{
    if (link_transport(link) == TRANSPORT_WS) {
        upgrade(link);
    } else {
        link->phase = LINK_GREETING;
    }
}

static void begin_tls(struct peal_link *link)
{
    const struct link_settings *settings = link->settings;
    const struct tls_wish wish = {
        .tls = settings->tls,
        .server_name = settings->server_name != NULL ? settings->server_name
                                                     : settings->target.host,
        .protocol = settings->target.is_ws ? "http/1.1" : "",
        .session = link->session,
    };
    int rc;

    if (stream_queued(&link->stream) > 0) {
        fail(link, PEAL_EPROTOCOL, "the proxy answered before it was asked");
        return;
    }
    link->phase = LINK_SECURING;
    rc = stream_start_tls(&link->stream, &wish);
    if (rc < 0) {
        fail(link, rc, "the TLS handshake could not be begun");
    }
}

void link_dial_secured(struct peal_link *link)
{
    open_session(link);
}

/* The way to the server is there. */
static void begin_session(struct peal_link *link)
{
    if (link->settings->target.is_tls) {
        begin_tls(link);
    } else {
        open_session(link);
    }
}

static void ask_proxy(struct peal_link *link)
{
    const struct address *target = &link->settings->target;
    bool is_v6 = strchr(target->host, ':') != NULL;
    char head[1024];
    int size = snprintf(head, sizeof head,
                        "CONNECT %s%s%s:%u HTTP/1.1\r\n"
                        "Host: %s%s%s:%u\r\n\r\n",
                        is_v6 ? "[" : "", target->host, is_v6 ? "]" : "",
                        target->port, is_v6 ? "[" : "", target->host,
                        is_v6 ? "]" : "", target->port);

    link->phase = LINK_PROXYING;
    link->dial->scanned = 0;
    if (link_write_bytes(link, head, (size_t)size) < 0) {
        fail(link, PEAL_ENOMEM, "no memory");
    }
}

void link_dial_connected(struct peal_link *link)
{
    int error = stream_connect_error(&link->stream);

    if (error != 0) {
        link_dial_failed(link, error);
    } else if (link->settings->proxy.host != NULL) {
        ask_proxy(link);
    } else {
        begin_session(link);
    }
}

/* The seconds that a server wants to be left alone (RFC 9110, 10.2.3). */
static uint32_t retry_after_ms(const struct http_response *response)
{
    struct peal_slice value = http_header_get(
        response->headers, response->header_count, "retry-after");
    uint32_t seconds = 0;

    if (value.size == 0 || value.size > 4) {
        return 0;
    }
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9') {
            return 0;
        }
        seconds = seconds * 10 + (uint32_t)(value.data[i] - '0');
    }
    return (seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * 1000;
}

/*
 * A server of stelar-time-real proves nothing, but what it answers has to be an
 * upgrade to WebSocket all the same.
 */
static int check_loosely(const struct http_response *response)
{
    const struct http_header *headers = response->headers;
    size_t count = response->header_count;

    if (response->status != 101) {
        return PEAL_EREFUSED;
    }
    return http_header_has_token(headers, count, "upgrade", "websocket") &&
                   http_header_has_token(headers, count, "connection",
                                         "upgrade")
               ? 0
               : PEAL_EPROTOCOL;
}

static int check(struct peal_link *link, const struct http_response *response)
{
    const char *offered = link->dial->offered;
    int rc;

    if (link->phase == LINK_PROXYING) {
        return response->status >= 200 && response->status < 300
                   ? 0
                   : PEAL_EREFUSED;
    }
    rc = link_options(link)->accept_any_key
             ? check_loosely(response)
             : ws_answer_check(response, link->dial->key,
                               offered[0] != '\0' ? offered : NULL);
    return rc == 0 ? link_deflate_check(link, response) : rc;
}

static const char *reason_of(int error)
{
    switch (error) {
    case PEAL_EREFUSED:
        return "the handshake was refused";
    case PEAL_ENOMEM:
        return "no memory";
    default:
        return "the handshake proves nothing";
    }
}

long link_dial_read(struct peal_link *link, const char *data, size_t size)
{
    struct http_response response;
    long used = 0;
    int rc;

    if (http_head_size(data, size, &link->dial->scanned) > 0 ||
        size > LINK_HEAD_BYTES_MAX) {
        used = http_response_parse(&response, data, size, LINK_HEAD_BYTES_MAX);
    }
    if (used == 0) {
        return 0;
    }
    if (used < 0) {
        fail(link, PEAL_EPROTOCOL, "the answer to the handshake is no HTTP");
        return -1;
    }
    rc = check(link, &response);
    if (rc < 0) {
        link_lose(link, &(struct link_loss){
                            .error = rc,
                            .http_status = response.status,
                            .reason = reason_of(rc),
                            .retry_after_ms = retry_after_ms(&response),
                        });
        return -1;
    }
    if (link->phase == LINK_PROXYING) {
        begin_session(link);
    } else {
        link->phase = LINK_GREETING;
    }
    return used;
}
