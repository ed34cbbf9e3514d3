/*
 * The public functions of a link. Each says in a command what is to be done.
 */
#include "client/link_command.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/slice.h"
#include "base/utf8.h"
#include "proto/json.h"

#include <stddef.h>

/* --- Life ----------------------------------------------------------------- */

static void release(struct runner_mail *mail)
{
    struct peal_link *link = CONTAINER_OF(mail, struct peal_link, release);

    if (!link->is_freed) {
        link_end(link);
    }
    list_append(&link->runner->dead, &link->dead);
}

int peal_link_new(struct peal_link **out, struct peal_loop *runner,
                  const struct peal_link_options *options)
{
    struct link_settings *settings;
    struct peal_link *link;
    int rc = link_settings_new(&settings, options, runner);

    if (rc < 0) {
        return rc;
    }
    link = mem_zalloc(sizeof *link);
    if (link == NULL) {
        link_settings_free(settings);
        return PEAL_ENOMEM;
    }
    link_init(link, runner, settings);
    atomic_fetch_add(&runner->link_count, 1);
    *out = link;
    return PEAL_OK;
}

/*
 * The command that frees goes through the mailbox in any case: behind it is
 * nothing that still knows the link. There is no way on without it, hence no
 * failure for want of memory: it is in the link's own memory.
 */
void peal_link_free(struct peal_link *link)
{
    struct peal_loop *runner;
    _Atomic bool is_gone = false;

    if (link == NULL) {
        return;
    }
    runner = link->runner;
    link->release.handle = release;
    if (runner_is_current(runner)) {
        link_end(link);
        link->release.mail.size = 0;
        loop_post(runner->loop, &link->release.mail);
        return;
    }
    /* This function does not return before it has been set. */
    link->is_gone = &is_gone; // cppcheck-suppress autoVariables
    link->release.mail.size = 0;
    loop_post(runner->loop, &link->release.mail);
    for (;;) {
        pthread_mutex_lock(&runner->mutex);
        while (!atomic_load(&is_gone) && atomic_load(&runner->is_running)) {
            pthread_cond_wait(&runner->freed, &runner->mutex);
        }
        pthread_mutex_unlock(&runner->mutex);
        if (atomic_load(&is_gone)) {
            return;
        }
        loop_turn(runner->loop, 0);
    }
}

int peal_link_open(struct peal_link *link)
{
    return link_command_run(
        &(struct link_command){.link = link, .operation = LINK_COMMAND_OPEN});
}

int peal_link_close(struct peal_link *link, int code, const char *reason)
{
    struct peal_slice text = peal_slice(reason);

    if (code != 1000 && (code < 3000 || code > 4999)) {
        return PEAL_EINVAL;
    }
    if (!utf8_is_valid(text.data, text.size)) {
        return PEAL_EINVAL;
    }
    if (text.size > WS_CONTROL_MAX - 2) {
        text.size = WS_CONTROL_MAX - 2;
        while (text.size > 0 && (text.data[text.size] & 0xc0) == 0x80) {
            text.size--;
        }
    }
    return link_command_run(&(struct link_command){
        .link = link,
        .operation = LINK_COMMAND_CLOSE,
        .code = code,
        .event.data = text,
    });
}

int peal_link_update(struct peal_link *link,
                     const struct peal_link_options *options)
{
    struct link_command command = {.link = link,
                                   .operation = LINK_COMMAND_UPDATE};
    int rc = link_settings_new(&command.settings, options, link->runner);

    if (rc < 0) {
        return rc;
    }
    rc = link_command_run(&command);
    if (rc < 0 && rc != PEAL_EGONE) {
        link_settings_free(command.settings);
    }
    return rc;
}

const char *peal_link_state_name(enum peal_link_state state)
{
    static const char *const names[] = {"disconnected", "connecting",
                                        "connected", "reconnecting"};

    return (unsigned)state < 4 ? names[state] : "unknown";
}

enum peal_link_state peal_link_state(const struct peal_link *link)
{
    return (enum peal_link_state)atomic_load(&link->state);
}

const char *peal_link_id(const struct peal_link *link)
{
    return link->id != NULL && link->id[0] != '\0' ? link->id : NULL;
}

int peal_link_tls(const struct peal_link *link, struct peal_tls_facts *facts)
{
    return stream_tls_facts(&link->stream, facts) ? PEAL_OK : PEAL_ENOTFOUND;
}

/* --- Handlers ------------------------------------------------------------- */

static bool is_name(struct peal_slice name)
{
    return name.size > 0 && name.size <= LINK_NAME_MAX &&
           utf8_is_valid(name.data, name.size);
}

static int add_handler(struct peal_link *link, enum handler_kind kind,
                       const char *name, bool is_once,
                       peal_link_event_function *handler, void *user)
{
    if (handler == NULL ||
        (kind != HANDLER_ANY && !is_name(peal_slice(name)))) {
        return PEAL_EINVAL;
    }
    return link_command_run(&(struct link_command){
        .link = link,
        .operation = LINK_COMMAND_HANDLE,
        .kind = kind,
        .is_once = is_once,
        .on_event = handler,
        .user = user,
        .event.name = peal_slice(name),
    });
}

int peal_link_on(struct peal_link *link, const char *name,
                 peal_link_event_function *handler, void *user)
{
    return add_handler(link, HANDLER_EVENT, name, false, handler, user);
}

int peal_link_once(struct peal_link *link, const char *name,
                   peal_link_event_function *handler, void *user)
{
    return add_handler(link, HANDLER_EVENT, name, true, handler, user);
}

int peal_link_on_any(struct peal_link *link, peal_link_event_function *handler,
                     void *user)
{
    return add_handler(link, HANDLER_ANY, NULL, false, handler, user);
}

int peal_link_off(struct peal_link *link, const char *name,
                  peal_link_event_function *handler, void *user)
{
    if (name != NULL && !is_name(peal_slice(name))) {
        return PEAL_EINVAL;
    }
    return link_command_run(&(struct link_command){
        .link = link,
        .operation = LINK_COMMAND_UNHANDLE,
        .kind = name != NULL ? HANDLER_EVENT : HANDLER_ANY,
        .on_event = handler,
        .user = user,
        .event.name = peal_slice(name),
    });
}

int peal_link_on_request(struct peal_link *link, const char *name,
                         peal_link_ask_function *handler, void *user)
{
    if (!is_name(peal_slice(name))) {
        return PEAL_EINVAL;
    }
    return link_command_run(&(struct link_command){
        .link = link,
        .operation =
            handler != NULL ? LINK_COMMAND_HANDLE : LINK_COMMAND_UNHANDLE,
        .kind = HANDLER_REQUEST,
        .on_ask = handler,
        .user = user,
        .event.name = peal_slice(name),
    });
}

/* --- Sending -------------------------------------------------------------- */

static bool is_data(const struct peal_event *event)
{
    switch (event->kind) {
    case PEAL_BYTES:
        return true;
    case PEAL_JSON:
        return event->data.size == 0 ||
               (utf8_is_valid(event->data.data, event->data.size) &&
                json_check(event->data.data, event->data.size) >= 0);
    default:
        return false; /* texts are for the raw dialect */
    }
}

static bool is_event(const struct peal_event *event)
{
    return is_name(event->name) &&
           !slice_has_prefix(event->name, SLICE("peal:")) &&
           (event->room.size == 0 || is_name(event->room)) && is_data(event);
}

int peal_link_emit(struct peal_link *link, const struct peal_event *event)
{
    if (!is_event(event)) {
        return PEAL_EINVAL;
    }
    return link_command_run(&(struct link_command){
        .link = link,
        .operation = LINK_COMMAND_EMIT,
        .event = *event,
    });
}

int peal_link_request(struct peal_link *link, const struct peal_event *event,
                      uint32_t timeout_ms, peal_link_answer_function *on_answer,
                      void *user)
{
    if (!is_event(event) || on_answer == NULL) {
        return PEAL_EINVAL;
    }
    return link_command_run(&(struct link_command){
        .link = link,
        .operation = LINK_COMMAND_REQUEST,
        .event = *event,
        .timeout_ms = timeout_ms,
        .on_answer = on_answer,
        .user = user,
    });
}

int peal_link_ping(struct peal_link *link, uint32_t timeout_ms,
                   peal_link_answer_function *on_answer, void *user)
{
    if (on_answer == NULL) {
        return PEAL_EINVAL;
    }
    return link_command_run(&(struct link_command){
        .link = link,
        .operation = LINK_COMMAND_PING,
        .event = {.name = SLICE("peal:ping")},
        .timeout_ms = timeout_ms,
        .on_answer = on_answer,
        .user = user,
    });
}

int peal_link_send_file(struct peal_link *link, const struct peal_file *file)
{
    struct peal_file given = {.size = sizeof given};
    struct link_command command = {.link = link,
                                   .operation = LINK_COMMAND_FILE};
    int rc;

    if (file->size == 0) {
        return PEAL_EINVAL;
    }
    memcpy(&given, file, file->size < sizeof given ? file->size : sizeof given);
    if (given.path == NULL || !is_name(peal_slice(given.name)) ||
        slice_has_prefix(peal_slice(given.name), SLICE("peal:"))) {
        return PEAL_EINVAL;
    }
    command.file = link_file_new(&given);
    if (command.file == NULL) {
        return PEAL_ENOMEM;
    }
    if (runner_is_current(link->runner)) {
        return link_command_execute(&command);
    }
    rc = link_command_post(&command);
    if (rc < 0) {
        link_file_free(command.file);
    }
    return rc;
}

static int change_membership(struct peal_link *link,
                             enum link_operation operation, const char *room,
                             peal_link_answer_function *on_answer, void *user)
{
    if (!is_name(peal_slice(room))) {
        return PEAL_EINVAL;
    }
    return link_command_run(&(struct link_command){
        .link = link,
        .operation = operation,
        .event.name = peal_slice(room),
        .on_answer = on_answer,
        .user = user,
    });
}

int peal_link_join(struct peal_link *link, const char *room,
                   peal_link_answer_function *on_answer, void *user)
{
    return change_membership(link, LINK_COMMAND_JOIN, room, on_answer, user);
}

int peal_link_leave(struct peal_link *link, const char *room,
                    peal_link_answer_function *on_answer, void *user)
{
    return change_membership(link, LINK_COMMAND_LEAVE, room, on_answer, user);
}

int peal_ask_answer(struct peal_ask ask, const struct peal_event *event)
{
    struct link_command command = {
        .link = ask.link,
        .operation = LINK_COMMAND_ANSWER,
        .value = ask.value,
    };

    if (ask.link == NULL || (event != NULL && !is_data(event))) {
        return PEAL_EINVAL;
    }
    if (event != NULL) {
        command.event.data = event->data;
        command.event.kind = event->kind;
    }
    return link_command_run(&command);
}

int peal_ask_fail(struct peal_ask ask, const struct peal_failure *failure)
{
    struct peal_slice name = peal_slice(failure->name);
    struct peal_slice message = peal_slice(failure->message);

    if (ask.link == NULL || failure->code < 0 || name.size > LINK_NAME_MAX ||
        message.size >= LINK_REASON_SIZE * 4 ||
        !utf8_is_valid(name.data, name.size) ||
        !utf8_is_valid(message.data, message.size)) {
        return PEAL_EINVAL;
    }
    return link_command_run(&(struct link_command){
        .link = ask.link,
        .operation = LINK_COMMAND_FAIL,
        .value = ask.value,
        .code = failure->code,
        .is_temporary = failure->temporary,
        .event = {.name = name, .data = message},
    });
}

/* --- Counters ------------------------------------------------------------- */

int peal_link_stats(const struct peal_link *link, struct peal_link_stats *stats)
{
    const struct link_counters *counters = &link->counters;
    struct peal_link_stats now = {.size = stats->size};
    size_t size = stats->size < sizeof now ? stats->size : sizeof now;

    if (size == 0) {
        return PEAL_EINVAL;
    }
    now.outbox_count = atomic_load(&counters->outbox_count);
    now.outbox_bytes = atomic_load(&counters->outbox_bytes);
    now.requests_pending = atomic_load(&counters->requests_pending);
    now.connected_ms = atomic_load(&counters->connected_at_ms);
    if (now.connected_ms > 0) {
        uint64_t now_ms = clock_monotonic_ms();

        now.connected_ms =
            now_ms > now.connected_ms ? now_ms - now.connected_ms : 1;
    }
    now.connect_ms = atomic_load(&counters->connect_ms);
    now.round_trip_us = atomic_load(&counters->round_trip_us);
    now.last_error = atomic_load(&counters->last_error);
    now.connects = atomic_load(&counters->connects);
    now.attempts = atomic_load(&counters->attempts);
    now.sent = atomic_load(&counters->sent);
    now.received = atomic_load(&counters->received);
    now.bytes_out = atomic_load(&counters->bytes_out);
    now.bytes_in = atomic_load(&counters->bytes_in);
    now.queued = atomic_load(&counters->queued);
    now.dropped = atomic_load(&counters->dropped);
    now.unproven = atomic_load(&counters->unproven);
    now.requests_failed = atomic_load(&counters->requests_failed);
    now.invalid = atomic_load(&counters->invalid);
    now.deflated = atomic_load(&counters->deflated);
    now.deflated_bytes = atomic_load(&counters->deflated_bytes);
    now.deflated_wire_bytes = atomic_load(&counters->deflated_wire_bytes);
    now.inflated = atomic_load(&counters->inflated);
    now.inflated_bytes = atomic_load(&counters->inflated_bytes);
    now.inflated_wire_bytes = atomic_load(&counters->inflated_wire_bytes);
    now.gaps = atomic_load(&counters->gaps);
    now.missed = atomic_load(&counters->missed);
    memcpy(stats, &now, size);
    return PEAL_OK;
}
