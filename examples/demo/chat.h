/* What clients of the demo may ask for: enter, say, image, time. */
#ifndef DEMO_CHAT_H
#define DEMO_CHAT_H

#include <peal/server.h>

struct people;

/* What every callback is handed as `user`. */
struct chat {
    struct people *people;
    const char *about; /* JSON, sent to each page that connects */
};

void chat_on_connect(struct peal_client *client,
                     const struct peal_connect *connect, void *user);

void chat_on_disconnect(struct peal_client *client,
                        const struct peal_disconnect *disconnect, void *user);

/* Adds the handlers. Errors as peal_server_on_request. */
int chat_add_handlers(struct peal_server *server, struct chat *chat);

#endif
