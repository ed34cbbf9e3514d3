/*
 * What is asked of a link, in one struct: on the loop it is done at once, from
 * elsewhere a copy of it goes through the mailbox. Part of link_api.c.
 */
#ifndef CLIENT_LINK_COMMAND_H
#define CLIENT_LINK_COMMAND_H

#include "client/link.h"

/* Bytes of the name of an event, a room or a failure. */
#define LINK_NAME_MAX 256

enum link_operation {
    LINK_COMMAND_OPEN,
    LINK_COMMAND_CLOSE,
    LINK_COMMAND_UPDATE,
    LINK_COMMAND_HANDLE,
    LINK_COMMAND_UNHANDLE,
    LINK_COMMAND_EMIT,
    LINK_COMMAND_REQUEST,
    LINK_COMMAND_PING,
    LINK_COMMAND_FILE,
    LINK_COMMAND_JOIN,
    LINK_COMMAND_LEAVE,
    LINK_COMMAND_ANSWER,
    LINK_COMMAND_FAIL
};

struct link_command {
    struct runner_mail mail;
    struct peal_link *link;
    enum link_operation operation;
    bool is_posted;
    bool is_once;
    bool is_temporary;
    int code;
    enum handler_kind kind;
    uint32_t timeout_ms;
    uint64_t value;
    peal_link_event_function *on_event;
    peal_link_ask_function *on_ask;
    peal_link_answer_function *on_answer;
    void *user;
    struct link_settings *settings;
    struct file_job *file;
    /*
     * The event. Of other operations: the room, the handler's name or the
     * failure's is its name, the reason or the failure's message its data.
     */
    struct peal_event event;
    struct parcel *copy; /* what `event` points into, when posted */
};

/* Does it now, or has it done. */
int link_command_run(struct link_command *command);

/* Does it: on the loop. */
int link_command_execute(struct link_command *command);

/* Has it done. On failure what it has is still the caller's. */
int link_command_post(const struct link_command *given);

#endif
