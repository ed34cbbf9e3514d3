/*
 * The server under soak, with everything on that there is, as a process of its
 * own: what it holds is told apart from what its clients hold.
 */
#ifndef SOAK_HOUSE_H
#define SOAK_HOUSE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Rooms that it talks to by itself. */
#define HOUSE_ROOMS 6

/* Clients at a time, and the streams of numbered messages that they hear: of
 * rooms, of a flood, of each other, and of the annex's rooms. */
#define HOUSE_PLACES 120
#define HOUSE_DROPS (HOUSE_ROOMS + 1 + HOUSE_PLACES)

enum house_door {
    HOUSE_WS,
    HOUSE_TCP,
    HOUSE_OPERATORS,
    HOUSE_WSS,
    HOUSE_TLS,
    HOUSE_PROXIED_WS, /* behind the PROXY protocol */
    HOUSE_PROXIED_TCP,
    HOUSE_ANNEX_TCP,
    HOUSE_DOORS
};

/* What it holds when everybody has gone, or while they are there. */
struct house_figures {
    uint64_t rss_bytes;
    uint64_t blocks; /* of peal, by the memory seam */
    uint64_t bytes;
    uint64_t heap_bytes; /* of everything, by malloc */
    uint64_t descriptors;
    uint64_t gauges; /* sum of all that must be 0 in the end */
};

/* What it has done of its own will. */
struct house_deeds {
    uint64_t updates;
    uint64_t refused_updates;
    uint64_t reloads;
    uint64_t ticks;
    uint64_t kicks;
    uint64_t questions;
    uint64_t admissions;
    uint64_t decisions;
    uint64_t drops; /* of the annex */
};

struct house {
    pid_t pid;
    int control;
    int ports[HOUSE_DOORS];
};

/* Starts it; `certificate` and `key` are files. */
void house_start(struct house *house, uint64_t seed, const char *certificate,
                 const char *key);

/* What it holds now. */
struct house_figures house_look(const struct house *house);

/*
 * When all clients have gone: it ends what it does by itself, goes back to the
 * options of the beginning, checks that whatever began has ended, and gives
 * back what can be given; with `in_full`, also what loops give back of their
 * output buffers only when these have not been used for ten seconds. Then it
 * goes on.
 */
struct house_figures house_settle(const struct house *house, bool in_full);

/* Stops; it must have ended well. */
struct house_deeds house_stop(struct house *house);

#endif
