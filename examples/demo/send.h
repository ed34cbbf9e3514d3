/* A client over TCP with plain sockets: no library, just frames. */
#ifndef DEMO_SEND_H
#define DEMO_SEND_H

/*
 * Enters a room and says `text` there or, when that is NULL, each line of
 * standard input, and then shows what others say meanwhile. Returns the exit
 * code.
 */
int send_to_room(int port, const char *room, const char *name,
                 const char *text);

#endif
