/*
 * doctor.h - the checks of peal doctor. Each reports what it finds; one that
 * says false has found that there is no going on.
 */
#ifndef DOCTOR_H
#define DOCTOR_H

#include "probe.h"
#include "session.h"

#include <netinet/in.h>

#define ADDRESSES_MAX 16

enum result { RESULT_OK, RESULT_NOTE, RESULT_WARN, RESULT_FAIL };

struct address {
    struct sockaddr_storage value;
    socklen_t size;
    char text[INET6_ADDRSTRLEN + 108];
};

struct doctor {
    const struct options *options;
    struct target target;
    struct link_way way;
    struct address addresses[ADDRESSES_MAX];
    size_t address_count;
    const struct address *address; /* that answers */
    struct probe probe;
    struct probe_upgrade upgrade;
    int counts[RESULT_FAIL + 1];
    int exit_code;
};

/* --- doctor.c: the report ------------------------------------------------- */

/* One line of it, with advice, or NULL for none. */
__attribute__((format(printf, 5, 6))) void
doctor_report(struct doctor *doctor, const char *check, enum result result,
              const char *advice, const char *format, ...);

/* A failure has an exit code; the first one counts. */
void doctor_fail(struct doctor *doctor, int exit_code);

double doctor_ms_since(uint64_t began_ns);

/* --- doctor_way.c: up to an encrypted connection -------------------------- */

bool doctor_check_name(struct doctor *doctor);

/* Each of the addresses; the first that answers is gone on with. */
bool doctor_check_addresses(struct doctor *doctor);

/* On a connection that has been dialled. */
bool doctor_check_tls(struct doctor *doctor);

/* Connects. 0, or errno. */
int doctor_dial(struct doctor *doctor, const struct address *address);

/* Nothing goes to a server that has not shown who it is. */
bool doctor_trusts(const struct doctor *doctor, const struct probe_tls *tls);

/* Whether it is on this machine. */
bool doctor_is_loopback(const struct address *address);

/* --- doctor_session.c: what is spoken on it ------------------------------- */

bool doctor_check_upgrade(struct doctor *doctor);

/* By what the answer to the upgrade says, to the second. */
void doctor_check_clock(struct doctor *doctor);

bool doctor_check_welcome(struct doctor *doctor);
bool doctor_check_ping(struct doctor *doctor);

/* On connections of their own: who else is let in, and how. */
void doctor_check_deflate(struct doctor *doctor);
void doctor_check_origin(struct doctor *doctor);
void doctor_check_token(struct doctor *doctor);

#endif
