#include "client/link.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"
#include "client/backoff.h"

#include <stdio.h>

/* A new connection begins in a later turn: what it reuses is quiet by then. */
#define NEXT_TURN_MS 1

/* However long a server wants to be left alone. */
#define RETRY_AFTER_MAX_MS 3600000

static void fire(struct timer *timer, uint64_t now_ms);
static void fire_pump(struct timer *timer, uint64_t now_ms);

static struct peal_slice key_of_request(const void *value)
{
    const struct request *request = value;

    return slice_make(request->id, request->id_size);
}

void link_init(struct peal_link *link, struct peal_loop *runner,
               struct link_settings *settings)
{
    link->stream.fd = -1;
    link->runner = runner;
    link->settings = settings;
    link->phase = LINK_IDLE;
    timer_init(&link->timer, fire);
    timer_init(&link->pump, fire_pump);
    buffer_init(&link->input, 1);
    outbox_init(&link->outbox);
    list_init(&link->requests);
    map_init(&link->requests_by_id, key_of_request);
    list_init(&link->doomed);
    list_init(&link->rooms);
    list_init(&link->asks);
    list_init(&link->handlers);
    list_init(&link->dead);
}

void link_start_timer(struct peal_link *link, uint32_t delay_ms)
{
    struct timer_wheel *wheel = &link->runner->loop->timers;

    if (delay_ms == PEAL_OFF) {
        timer_stop(wheel, &link->timer);
    } else {
        timer_start(wheel, &link->timer, link_now_ms(link) + delay_ms);
    }
}

static void stop_timers(struct peal_link *link)
{
    timer_stop(&link->runner->loop->timers, &link->timer);
    timer_stop(&link->runner->loop->timers, &link->pump);
}

void link_report(struct peal_link *link, int error, const char *what)
{
    const struct peal_link_options *options = link_options(link);

    atomic_store_explicit(&link->counters.last_error, error,
                          memory_order_relaxed);
    if (options->on_error != NULL && !link->is_freed) {
        options->on_error(link, error, what, options->user);
    }
}

/* --- States --------------------------------------------------------------- */

static void change_state(struct peal_link *link, enum peal_link_state to,
                         struct peal_link_change *change)
{
    const struct peal_link_options *options = link_options(link);

    change->from = (enum peal_link_state)atomic_load(&link->state);
    change->to = to;
    if (change->reason == NULL) {
        change->reason = "";
    }
    atomic_store(&link->state, (int)to);
    log_debug(&link->runner->log, "client", "link", "state=%s attempt=%u",
              peal_link_state_name(to), change->attempt);
    if (options->on_state != NULL && !link->is_freed) {
        options->on_state(link, change, options->user);
    }
}

void link_open(struct peal_link *link)
{
    struct peal_link_change change = {.attempt = 1};

    if (link->phase == LINK_CLOSING) {
        /* The former connection has said goodbye; it need not be waited for. */
        link_lose(link, &(struct link_loss){.code = link->goodbye_code});
    }
    link->is_wanted = true;
    if (link->phase != LINK_IDLE) {
        return;
    }
    link->attempt = 0;
    link->phase = LINK_WAITING;
    link_start_timer(link, NEXT_TURN_MS);
    change_state(link, PEAL_LINK_CONNECTING, &change);
}

static void say_goodbye(struct peal_link *link, int code,
                        struct peal_slice reason)
{
    struct wire wire;

    if (link_transport(link) == TRANSPORT_WS) {
        char payload[WS_CONTROL_MAX];
        size_t size = ws_close_write(payload, code, reason);

        link_write_control(link, WS_OPCODE_CLOSE, payload, size);
        return;
    }
    wire_begin(&wire, WIRE_GOODBYE);
    wire.failure.code = code;
    wire.failure.message = reason;
    link_write(link, &wire);
}

void link_close(struct peal_link *link, int code, struct peal_slice reason)
{
    struct peal_link_change change = {.code = code};
    char copy[LINK_REASON_SIZE];
    uint32_t generation = link->generation;

    link->is_wanted = false;
    if (link->phase == LINK_CLOSING || link->phase == LINK_IDLE) {
        return;
    }
    if (link->phase != LINK_OPEN || link->file != NULL) {
        /* Nobody there to tell, or no way to: a frame is half sent. */
        link_lose(link, &(struct link_loss){.code = code});
        return;
    }
    snprintf(copy, sizeof copy, "%.*s", (int)reason.size, reason.data);
    say_goodbye(link, code, reason);
    if (link->generation != generation || link->phase != LINK_OPEN) {
        return;
    }
    link->goodbye_code = code;
    link->phase = LINK_CLOSING;
    timer_stop(&link->runner->loop->timers, &link->pump);
    if (link_transport(link) == TRANSPORT_TCP) {
        stream_finish(&link->stream);
    }
    link_start_timer(link, link_options(link)->close_timeout_ms);
    link_request_lose(link);
    link_ask_clear(link);
    change.reason = copy;
    change.unproven = link->events_written - link->events_proven;
    change_state(link, PEAL_LINK_DISCONNECTED, &change);
    link_request_settle_doomed(link);
}

/* --- Losing --------------------------------------------------------------- */

/* For the next connection, unless the server may not have liked it. */
static void keep_session(struct peal_link *link)
{
    struct tls_session *session = stream_tls_take_session(&link->stream);

    if (session != NULL || link->phase == LINK_SECURING) {
        tls_session_free(link->session);
        link->session = session;
    }
}

/* Drops all that belongs to the connection; no callbacks. */
static struct file_job *tear_down(struct peal_link *link)
{
    struct file_job *file = link->file;

    link->generation++;
    stop_timers(link);
    keep_session(link);
    stream_close(&link->stream);
    link_dial_end(link);
    link_deflate_end(link);
    ws_parser_fini(&link->parser);
    buffer_fini(&link->input);
    mem_free(link->id);
    link->id = NULL;
    mem_free(link->pong);
    link->pong = NULL;
    link->file = NULL;
    link->is_pinged = false;
    link->is_draining = false;
    link->drained = 0;
    atomic_store_explicit(&link->counters.connected_at_ms, 0,
                          memory_order_relaxed);
    link_request_lose(link);
    link_ask_clear(link);
    return file;
}

uint32_t link_backoff_ms(const struct peal_link *link, uint32_t attempt)
{
    const struct peal_link_options *options = link_options(link);
    const struct backoff_bounds bounds = {
        .min_ms = options->reconnect_min_ms,
        .first_ms = options->reconnect_first_ms,
        .max_ms = options->reconnect_max_ms,
    };

    return backoff_delay_ms(&bounds, attempt);
}

/*
 * When the server wants us back. What it has told everybody alike comes before
 * our own random time, so that not all are back at once; what it has told us
 * alone is random enough.
 */
static void add_hints(const struct peal_link *link,
                      const struct link_loss *loss, uint32_t *delay_ms)
{
    uint32_t own_ms = link->retry_after_ms < RETRY_AFTER_MAX_MS
                          ? link->retry_after_ms
                          : RETRY_AFTER_MAX_MS;

    if (*delay_ms < own_ms) {
        *delay_ms = own_ms;
    }
    if (*delay_ms < UINT32_MAX - loss->retry_after_ms) {
        *delay_ms += loss->retry_after_ms;
    }
}

/* A code by which a server says that it is over (docs/protocol.md, 8). */
static bool is_final(int code)
{
    return code == WS_CLOSE_NORMAL || (code >= 3500 && code <= 3999) ||
           (code >= 4500 && code <= 4999);
}

/* Whether there will be another attempt; then its delay, too. */
static bool plan_attempt(struct peal_link *link, bool was_open,
                         const struct link_loss *loss, uint32_t *delay_ms)
{
    const struct peal_link_options *options = link_options(link);

    if (was_open && (options->reconnect_stable_ms == PEAL_OFF ||
                     link_now_ms(link) - link->opened_at_ms >=
                         options->reconnect_stable_ms)) {
        link->attempt = 0;
    }
    if (!link->is_wanted || is_final(loss->code) ||
        options->reconnect_attempts == PEAL_OFF ||
        (options->reconnect_attempts > 0 &&
         link->attempt >= options->reconnect_attempts)) {
        link->is_wanted = false;
        return false;
    }
    link->attempt++;
    *delay_ms = link_backoff_ms(link, link->attempt);
    add_hints(link, loss, delay_ms);
    if (options->reconnect_delay != NULL && !link->is_freed) {
        *delay_ms = options->reconnect_delay(link, link->attempt, *delay_ms,
                                             options->user);
    }
    if (*delay_ms < NEXT_TURN_MS) {
        *delay_ms = NEXT_TURN_MS;
    }
    return true;
}

void link_lose(struct peal_link *link, const struct link_loss *loss)
{
    struct peal_link_change change = {
        .error = loss->error,
        .code = loss->code,
        .http_status = loss->http_status,
    };
    bool was_open = link->phase == LINK_OPEN;
    bool was_closing = link->phase == LINK_CLOSING;
    struct file_job *file;
    char reason[LINK_REASON_SIZE];
    uint32_t generation;

    snprintf(reason, sizeof reason, "%s",
             loss->reason != NULL ? loss->reason : "");
    change.reason = reason;
    if (was_open) {
        change.unproven = link->events_written - link->events_proven;
        link_add(&link->counters.unproven, change.unproven);
    }
    file = tear_down(link);
    generation = link->generation;
    link->phase = LINK_IDLE;
    if (plan_attempt(link, was_open, loss, &change.retry_in_ms) &&
        link->generation == generation && link->is_wanted) {
        link->phase = LINK_WAITING;
        change.attempt = link->attempt;
        link_start_timer(link, change.retry_in_ms);
    }
    log_info(&link->runner->log, "client", "link lost",
             "error=%s code=%d http_status=%d attempt=%u retry_in_ms=%u",
             peal_error_name(loss->error), loss->code, loss->http_status,
             change.attempt, change.retry_in_ms);
    if (file != NULL) {
        link_file_end(link, file, PEAL_EGONE);
    }
    if (loss->error != 0) {
        link_report(link, loss->error, reason);
    }
    /* Unless a callback has begun something else. */
    if (link->generation == generation &&
        !(was_closing && link->phase == LINK_IDLE)) {
        change_state(link,
                     link->phase == LINK_WAITING ? PEAL_LINK_RECONNECTING
                                                 : PEAL_LINK_DISCONNECTED,
                     &change);
    }
    link_request_settle_doomed(link);
}

void link_part(struct peal_link *link, int code, struct peal_slice reason)
{
    link->goodbye_code = code;
    snprintf(link->goodbye_reason, sizeof link->goodbye_reason, "%.*s",
             (int)reason.size, reason.data != NULL ? reason.data : "");
}

void link_forget_parting(struct peal_link *link)
{
    link->goodbye_code = 0;
    link->goodbye_reason[0] = '\0';
    link->retry_after_ms = 0;
}

void link_end(struct peal_link *link)
{
    struct parcel *parcel;

    link->is_wanted = false;
    if (link->phase == LINK_OPEN && link->file == NULL) {
        say_goodbye(link, WS_CLOSE_GOING_AWAY, SLICE(""));
        if (link->stream.fd >= 0) {
            stream_flush(&link->stream);
        }
    }
    if (link->phase != LINK_IDLE) {
        link_lose(link, &(struct link_loss){.code = WS_CLOSE_NORMAL});
    }
    link->is_wanted = false;
    while (!list_is_empty(&link->requests)) {
        struct request *request =
            CONTAINER_OF(link->requests.next, struct request, link);

        link_request_fail(request, PEAL_EGONE);
    }
    link_request_settle_doomed(link);
    while ((parcel = outbox_pop(&link->outbox)) != NULL) {
        link_drop(link, parcel, PEAL_EGONE);
    }
    link->is_freed = true;
    /* A callback may have opened it again. */
    link->file = NULL;
    tear_down(link);
    link->phase = LINK_IDLE;
}

void link_free(struct peal_link *link)
{
    ASSERT(link->is_freed && link->stream.fd < 0);
    link_handler_clear(link);
    link_room_clear(link);
    map_fini(&link->requests_by_id);
    tls_session_free(link->session);
    link_settings_free(link->settings);
    link_settings_free(link->next_settings);
}

void link_free_dead(struct peal_loop *runner)
{
    while (!list_is_empty(&runner->dead)) {
        struct peal_link *link =
            CONTAINER_OF(runner->dead.next, struct peal_link, dead);
        _Atomic bool *is_gone = link->is_gone;

        list_remove(&link->dead);
        link_free(link);
        mem_free(link);
        atomic_fetch_sub(&runner->link_count, 1);
        if (is_gone != NULL) {
            pthread_mutex_lock(&runner->mutex);
            atomic_store(is_gone, true);
            pthread_cond_broadcast(&runner->freed);
            pthread_mutex_unlock(&runner->mutex);
        }
    }
}

/* --- Open ----------------------------------------------------------------- */

static void set_heartbeat(struct peal_link *link, uint32_t interval_ms,
                          uint32_t timeout_ms)
{
    const struct peal_link_options *options = link_options(link);

    if (options->ping_interval_ms != 0) {
        interval_ms = options->ping_interval_ms;
    }
    if (options->ping_timeout_ms != 0) {
        timeout_ms = options->ping_timeout_ms;
    }
    if (interval_ms == 0) {
        interval_ms = 25000;
    }
    if (timeout_ms == 0) {
        timeout_ms = 20000;
    }
    link->ping_interval_ms = interval_ms == PEAL_OFF ? 0 : interval_ms;
    link->ping_timeout_ms = timeout_ms;
}

void link_become_open(struct peal_link *link)
{
    struct link_counters *counters = &link->counters;
    struct peal_link_change change = {.attempt = 0};
    uint32_t generation = link->generation;
    uint64_t now_ms = link_now_ms(link);

    link->phase = LINK_OPEN;
    link_dial_end(link);
    link->opened_at_ms = now_ms;
    link->heard_at_ms = now_ms;
    link->events_written = 0;
    link->events_marked = 0;
    link->events_proven = 0;
    link_forget_parting(link);
    link_add(&counters->connects, 1);
    atomic_store_explicit(&counters->connect_ms, now_ms - link->dialled_at_ms,
                          memory_order_relaxed);
    atomic_store_explicit(&counters->connected_at_ms, now_ms,
                          memory_order_relaxed);
    set_heartbeat(link, link->ping_interval_ms, link->ping_timeout_ms);
    link_start_timer(link, link->ping_interval_ms > 0 ? link->ping_interval_ms
                                                      : PEAL_OFF);
    link->is_draining = !outbox_is_empty(&link->outbox);
    link_room_rejoin(link);
    if (link->generation == generation) {
        link_write_ping(link); /* the time there and back */
    }
    if (link->generation == generation) {
        change_state(link, PEAL_LINK_CONNECTED, &change);
    }
    if (link->generation == generation && link->phase == LINK_OPEN) {
        link_pump(link);
    }
}

void link_hear_pong(struct peal_link *link)
{
    if (!link->is_pinged) {
        return;
    }
    link->is_pinged = false;
    link->events_proven = link->events_marked;
    atomic_store_explicit(
        &link->counters.round_trip_us,
        (link->runner->loop->turn_began_ns - link->pinged_at_ns) / 1000,
        memory_order_relaxed);
}

/*
 * A ping goes out after an interval of silence, or when there are events whose
 * arrival has not been proven for so long. Whatever is heard after it shows
 * that the server lives.
 */
static void beat(struct peal_link *link)
{
    uint64_t now_ms = link_now_ms(link);
    uint64_t due_ms;

    if (link->is_pinged && link->heard_at_ms < link->pinged_at_ms &&
        now_ms >= link->pinged_at_ms + link->ping_timeout_ms) {
        link_lose(link, &(struct link_loss){
                            .error = PEAL_ETIMEOUT,
                            .code = WS_CLOSE_ABNORMAL,
                            .reason = "no sign of life",
                        });
        return;
    }
    due_ms = link->heard_at_ms + link->ping_interval_ms;
    if (link->events_written > link->events_proven &&
        link->pinged_at_ms + link->ping_interval_ms < due_ms) {
        due_ms = link->pinged_at_ms + link->ping_interval_ms;
    }
    if (link->is_pinged && link->heard_at_ms < link->pinged_at_ms) {
        due_ms = link->pinged_at_ms + link->ping_timeout_ms;
    } else if (due_ms <= now_ms) {
        link_write_ping(link);
        if (link->phase != LINK_OPEN) {
            return;
        }
        due_ms = now_ms + link->ping_timeout_ms;
    }
    link_start_timer(link, (uint32_t)(due_ms - now_ms));
}

static const char *what_took_too_long(enum link_phase phase)
{
    switch (phase) {
    case LINK_RESOLVING:
        return "looking up the host's name took too long";
    case LINK_CONNECTING:
        return "connecting took too long";
    case LINK_PROXYING:
        return "the proxy took too long";
    case LINK_SECURING:
        return "the TLS handshake took too long";
    case LINK_UPGRADING:
        return "the WebSocket handshake took too long";
    default:
        return "the welcome took too long";
    }
}

static void fire(struct timer *timer, uint64_t now_ms)
{
    struct peal_link *link = CONTAINER_OF(timer, struct peal_link, timer);

    (void)now_ms;
    switch (link->phase) {
    case LINK_IDLE:
        break;
    case LINK_WAITING:
        link_dial_start(link);
        break;
    case LINK_OPEN:
        beat(link);
        break;
    case LINK_CLOSING:
        link_lose(link, &(struct link_loss){.code = link->goodbye_code});
        break;
    default:
        link_lose(link, &(struct link_loss){
                            .error = PEAL_ETIMEOUT,
                            .reason = what_took_too_long(link->phase),
                        });
        break;
    }
}

static void fire_pump(struct timer *timer, uint64_t now_ms)
{
    struct peal_link *link = CONTAINER_OF(timer, struct peal_link, pump);

    (void)now_ms;
    if (link->phase == LINK_RESOLVING) {
        link_dial_retry(link);
    } else {
        link_pump(link);
    }
}
