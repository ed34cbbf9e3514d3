#include "client/link_command.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/slice.h"

/* --- On the loop ---------------------------------------------------------- */

static bool is_held_back(struct link_command *command)
{
    const struct peal_link_options *options = link_options(command->link);

    return options->before_emit != NULL && !command->link->is_freed &&
           !options->before_emit(command->link, &command->event, options->user);
}

static int emit(struct link_command *command)
{
    struct peal_link *link = command->link;
    int rc;

    if (is_held_back(command)) {
        return PEAL_EREFUSED;
    }
    rc = link_submit(link, &command->event, NULL, NULL);
    if (rc < 0 && command->is_posted) {
        link_tell_dropped(link, &command->event, rc);
    }
    return rc;
}

/* From elsewhere, what fails at once has an outcome like any other. */
static int fail_answer(struct link_command *command, int error)
{
    const struct peal_answer answer = {.status = error};

    if (command->is_posted && command->on_answer != NULL &&
        !command->link->is_freed) {
        link_add(&command->link->counters.requests_failed, 1);
        command->on_answer(command->link, &answer, command->user);
    }
    return error;
}

static int settle(struct link_command *command, int rc)
{
    return rc < 0 ? fail_answer(command, rc) : rc;
}

static int ask(struct link_command *command)
{
    struct peal_link *link = command->link;
    struct request *request;
    int rc;

    if (command->operation == LINK_COMMAND_REQUEST && is_held_back(command)) {
        return fail_answer(command, PEAL_EREFUSED);
    }
    if (link->requests_by_id.count >= link_options(link)->requests_max) {
        return fail_answer(command, PEAL_ELIMIT);
    }
    request = link_request_new(link, REQUEST_EVENT, "", command->timeout_ms,
                               command->on_answer, command->user);
    if (request == NULL) {
        return fail_answer(command, PEAL_ENOMEM);
    }
    rc = link_submit(link, &command->event, request, NULL);
    if (rc < 0) {
        link_request_discard(request);
        return fail_answer(command, rc);
    }
    return rc;
}

static int send_file(struct link_command *command)
{
    struct peal_link *link = command->link;
    struct file_job *job = command->file;
    struct peal_event event = {.name = peal_slice(job->name),
                               .kind = PEAL_BYTES};
    int rc = link_submit(link, &event, NULL, job);

    if (rc < 0) {
        if (!command->is_posted) {
            job->file.on_done = NULL;
        }
        link_file_end(link, job, rc);
    }
    return rc;
}

/* Names with a zero byte behind them: a parcel's have the room's there. */
static const char *text_of(struct peal_slice name, char *out)
{
    if (name.size > 0) {
        memcpy(out, name.data, name.size);
    }
    out[name.size] = '\0';
    return out;
}

static int try_to_answer(struct link_command *command)
{
    char name[LINK_NAME_MAX + 1];
    char message[LINK_REASON_SIZE * 4];
    struct peal_failure failure;

    if (command->operation == LINK_COMMAND_ANSWER) {
        return link_ask_answer(command->link, command->value, &command->event,
                               NULL);
    }
    failure = (struct peal_failure){
        .code = command->code,
        .name = text_of(command->event.name, name),
        .message = text_of(command->event.data, message),
        .temporary = command->is_temporary,
    };
    return link_ask_answer(command->link, command->value, NULL, &failure);
}

static int answer(struct link_command *command)
{
    int rc = try_to_answer(command);

    if (rc < 0 && command->is_posted) {
        link_ask_spoil(command->link, command->value, rc);
    }
    return rc;
}

/*
 * While there is a connection, or one on its way, its address and dialect stay:
 * those of the new settings wait for the next one.
 */
static int update(struct link_command *command)
{
    link_settings_replace(command->link, command->settings);
    return PEAL_OK;
}

int link_command_execute(struct link_command *command)
{
    struct peal_link *link = command->link;
    char name[LINK_NAME_MAX + 1];

    if (link->is_freed) {
        link_settings_free(command->settings);
        if (command->file != NULL) {
            link_file_end(link, command->file, PEAL_EGONE);
        }
        return PEAL_EGONE;
    }
    switch (command->operation) {
    case LINK_COMMAND_OPEN:
        link_open(link);
        return PEAL_OK;
    case LINK_COMMAND_CLOSE:
        link_close(link, command->code, command->event.data);
        return PEAL_OK;
    case LINK_COMMAND_UPDATE:
        return update(command);
    case LINK_COMMAND_HANDLE:
        return link_handler_add(link, command->kind,
                                text_of(command->event.name, name),
                                command->is_once, command->on_event,
                                command->on_ask, command->user);
    case LINK_COMMAND_UNHANDLE:
        link_handler_remove(link, command->kind,
                            text_of(command->event.name, name),
                            command->on_event, command->user);
        return PEAL_OK;
    case LINK_COMMAND_EMIT:
        return emit(command);
    case LINK_COMMAND_REQUEST:
        return ask(command);
    case LINK_COMMAND_PING:
        return link->settings->dialect == &dialect_client_peal
                   ? ask(command)
                   : fail_answer(command, PEAL_ENOTSUP);
    case LINK_COMMAND_FILE:
        return send_file(command);
    case LINK_COMMAND_JOIN:
        return settle(command,
                      link_room_join(link, text_of(command->event.name, name),
                                     command->on_answer, command->user));
    case LINK_COMMAND_LEAVE:
        return settle(command,
                      link_room_leave(link, text_of(command->event.name, name),
                                      command->on_answer, command->user));
    default:
        return answer(command);
    }
}

/* --- From elsewhere ------------------------------------------------------- */

static void handle(struct runner_mail *mail)
{
    struct link_command *command =
        CONTAINER_OF(mail, struct link_command, mail);

    link_command_execute(command);
    outbox_parcel_free(command->copy);
    mem_free(command);
}

int link_command_post(const struct link_command *given)
{
    struct link_command *command = mem_alloc(sizeof *command);
    int rc;

    if (command == NULL) {
        return PEAL_ENOMEM;
    }
    *command = *given;
    command->is_posted = true;
    command->mail.handle = handle;
    command->copy = outbox_parcel_new(&given->event);
    if (command->copy == NULL) {
        mem_free(command);
        return PEAL_ENOMEM;
    }
    command->event = outbox_parcel_event(command->copy);
    rc = runner_post(given->link->runner, &command->mail,
                     sizeof *command + outbox_parcel_bytes(command->copy));
    if (rc < 0) {
        outbox_parcel_free(command->copy);
        mem_free(command);
    }
    return rc;
}

int link_command_run(struct link_command *command)
{
    return runner_is_current(command->link->runner)
               ? link_command_execute(command)
               : link_command_post(command);
}
