/*
 * Who is in which room, as the page shows it. Clients on several loops come and
 * go at the same time, and a loop sees only its own; so names are kept here
 * once more, under a lock. Any thread may call these functions.
 */
#ifndef DEMO_PEOPLE_H
#define DEMO_PEOPLE_H

#include <peal/server.h>

/* Bytes of a name and of a room, without the zero byte. */
#define LABEL_MAX 40

struct people;

/* NULL when there is no memory. */
struct people *people_new(void);

void people_free(struct people *people);

/* Notes that a client is in a room, and no longer where it was before. */
bool people_put(struct people *people, struct peal_client *client,
                const char *room, const char *name);

void people_remove(struct people *people, struct peal_client *client);

/*
 * Tells all in the room who is there:
 *
 *     {"version":7,"total":1,"members":[{"id":"...","name":"Ada","via":"ws"}]}
 *
 * Two loops may tell the same room at the same time; the higher version is the
 * later truth.
 */
void people_tell(struct people *people, struct peal_server *server,
                 const char *room);

#endif
