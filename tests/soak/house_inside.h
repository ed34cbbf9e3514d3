/* What the files of the server under soak have in common, in its process. */
#ifndef SOAK_HOUSE_INSIDE_H
#define SOAK_HOUSE_INSIDE_H

#include "chance.h"
#include "house.h"

#include <peal/http.h>
#include <peal/policy.h>

#include <stdatomic.h>

#define HOUSE_FLOOD_BYTES 16384

extern struct house_inside {
    struct peal_server *server;
    struct peal_tls *tls;
    struct peal_server_options first; /* as it began */
    struct house_deeds deeds;         /* of the application's thread, mostly */
    _Atomic uint64_t connects;
    _Atomic uint64_t disconnects;
    _Atomic uint64_t admissions;
    _Atomic uint64_t questions;
    _Atomic uint64_t outcomes;
    _Atomic uint64_t emits;
    _Atomic uint64_t emitted;
    char flood[HOUSE_FLOOD_BYTES + 1];
} inside;

/* --- house_duties.c: what waits for the application's thread -------------- */

enum duty_kind { DUTY_ADMISSION, DUTY_REQUEST, DUTY_REPLY, DUTY_TICKET };

struct duty {
    enum duty_kind kind;
    bool is_refusal;
    union {
        struct peal_admission admission;
        struct peal_request request;
        struct peal_http_reply reply;
        struct peal_ticket ticket;
    } to;
};

/* False when too much waits already. */
bool house_put_off(struct duty duty);

/* Some of them, in any order. */
void house_do_duties(struct chance *chance);
bool house_has_duties(void);

/* Whoever has gone, or whose time was up, needs no answer any more. */
void house_expect_answered(int rc);

/* --- house_handlers.c: the application on the loops ----------------------- */

extern const struct peal_hooks house_hooks;

void house_set_callbacks(struct peal_server_options *options);
void house_add_handlers(struct peal_server *server);

/* --- house_whims.c: what the application's thread does by itself ---------- */

/* One more message to a room, mostly small. */
void house_tick(struct chance *chance);

void house_do_something(struct chance *chance);

/* --- house_memory.c: what the process holds ------------------------------- */

/* Has libpeal's memory counted; before anything else. */
void house_count_memory(void);

/* All but the gauges of the server. */
struct house_figures house_measure(void);

#endif
