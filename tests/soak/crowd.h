/*
 * The clients of a soak, many at once on one thread: some behave, and see to it
 * that the server keeps its word to them; the others are slow, rude or hostile.
 * A broken promise ends the program.
 */
#ifndef SOAK_CROWD_H
#define SOAK_CROWD_H

#include "house.h"

#include <openssl/ssl.h>

struct crowd;

/* What has happened, in all. */
struct crowd_tally {
    uint64_t opened;     /* connections */
    uint64_t members;    /* clients that were welcome */
    uint64_t refused;    /* and that were not, in whatever way */
    uint64_t messages;   /* to rooms, received in order */
    uint64_t answers;    /* good or bad */
    uint64_t farewells;  /* closing handshakes that were ours */
    uint64_t kills;      /* by RST, some within a frame */
    uint64_t closes;     /* by the server, with a code */
    uint64_t slow;       /* of these with 1013 */
    uint64_t too_large;  /* and with 1009 */
    uint64_t kicked;     /* and with 4000 */
    uint64_t rates;      /* and with 1008 */
    uint64_t cut;        /* by the server, without one */
    uint64_t vandals;    /* who were thrown out, or have had enough */
    uint64_t pages;      /* answers to plain HTTP requests */
    uint64_t compressed; /* members that agreed on compression */
    uint64_t secured;    /* members with TLS */
    uint64_t proxied;    /* connections behind a proxy */
    uint64_t in_annex;   /* and to the annex */
    uint64_t gaps;       /* that were told, and */
    uint64_t missed;     /* messages in them */
};

struct crowd *crowd_new(const struct house *house, uint64_t seed,
                        SSL_CTX *context);
void crowd_free(struct crowd *crowd);

/* For so long; in the end nobody is there. */
void crowd_visit(struct crowd *crowd, uint64_t ms,
                 void (*each_minute)(uint64_t minute, void *user), void *user);

struct crowd_tally crowd_tally(const struct crowd *crowd);

#endif
