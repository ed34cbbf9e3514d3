/* What many servers under test do with what they get. */
#ifndef SUPPORT_HANDLERS_H
#define SUPPORT_HANDLERS_H

#include <peal/server.h>

/* Answers a request with its own data; whether that works is the client's to
 * see. */
void handlers_echo(struct peal_client *from, const struct peal_event *event,
                   struct peal_request request, void *user);

/* Never answers. */
void handlers_never(struct peal_client *from, const struct peal_event *event,
                    struct peal_request request, void *user);

/*
 * For on_connect and peal_server_on_any: whatever a client says, it is told as
 * the event "you" from which address it came.
 */
void handlers_keep_address(struct peal_client *client,
                           const struct peal_connect *connect, void *user);
void handlers_tell_address(struct peal_client *from,
                           const struct peal_event *event, void *user);

#endif
