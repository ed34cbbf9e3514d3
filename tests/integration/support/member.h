/*
 * A client of the peal dialect, over either transport: what it says and hears
 * is written as the JSON envelope in both cases, with ' for ".
 */
#ifndef SUPPORT_MEMBER_H
#define SUPPORT_MEMBER_H

#include "support/tcp.h"
#include "support/ws.h"

struct member {
    struct peer peer;
    bool is_tcp;
    char id[129];
};

/* What a member hears. */
struct heard {
    char *json;  /* the envelope, members sorted, without blanks */
    char *bytes; /* of a binary message, else NULL */
    size_t size;
};

/* Connects and takes the welcome. */
void member_open(struct member *member, const char *address, bool is_tcp);

/* The same for a peer that is connected, and for WebSocket upgraded. */
void member_welcome(struct member *member);

/* Says one envelope: member_say(&m, "{'event':'chat','data':%d}", 5). */
void member_say(struct member *member, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Says a binary message. */
void member_say_bytes(struct member *member, const char *header,
                      const void *data, size_t size);

/*
 * Hears the next message; pings are answered on the way. False at the end of
 * the stream. A close or goodbye is heard as {"close":code}.
 */
bool member_hear(struct member *member, struct heard *heard);
void heard_free(struct heard *heard);

/* The next message is this one, with all its members. */
void member_expect(struct member *member, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void member_expect_bytes(struct member *member, const char *header,
                         const void *data, size_t size);

/* The next message is an error answer to `id` (raw JSON) with this code. */
void member_expect_failure(struct member *member, const char *id, int code);

/* Says this event with this id, and is answered well. */
void member_ask(struct member *member, const char *event, int id);

/* The same beyond a rate limit: error 110. */
void member_ask_too_much(struct member *member, const char *event, int id);

/*
 * Asks and sees the answer as the very next message: so nothing else has been
 * sent to this member by everything that its loop did before.
 */
void member_expect_silence(struct member *member);

/* Joins a room, which the server must allow. */
void member_join(struct member *member, const char *room);

/* Hears a close with this code, and the end. Frees the member. */
void member_expect_close(struct member *member, int code);

/* Leaves in good order. */
void member_close(struct member *member);

#endif
