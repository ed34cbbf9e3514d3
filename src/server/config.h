/*
 * The options in force: immutable once made, counted, one for all loops. An
 * update makes a new one; each seat takes it over at the beginning of a turn,
 * so that reading an option on a loop takes no lock.
 */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include "hub/hub.h"
#include "peal/server.h"
#include "proto/ws_frame.h"

#include <pthread.h>
#include <stdatomic.h>

struct config_text;
struct peal_server;
struct seat;

struct config {
    _Atomic int refs;
    uint64_t version;
    struct peal_server_options options; /* no field is 0 for "default", but
                                           heartbeats */
    struct ws_limits ws_limits[2]; /* plain, and with permessage-deflate */
    size_t tcp_frame_bytes_max;
    struct peal_heartbeat heartbeats[PEAL_DIALECTS_MAX]; /* by dialect */
    struct config_text *texts[]; /* what the options point to, by option */
};

/* The newest, and what threads that are no loops may read of it. */
struct config_head {
    pthread_mutex_t lock;
    struct config *newest;            /* [m] */
    _Atomic uint64_t version;         /* [a] of the newest */
    _Atomic uint64_t updates;         /* [a] made */
    _Atomic uint64_t updates_refused; /* [a] */
    _Atomic uint64_t updated_s; /* [a] Unix time: the newest came into force */
};

/*
 * Puts the first one into force. PEAL_EINVAL with the name of the option in
 * `*problem`; PEAL_ENOMEM.
 */
int config_open(struct peal_server *server,
                const struct peal_server_options *given, const char **problem);

/* Before config_open it does nothing. */
void config_close(struct peal_server *server);

/* One reference more to the newest. Any thread. */
struct config *config_ref(struct peal_server *server);
void config_unref(struct config *config);

/* [L] Takes the newest over, if it has not. */
void config_adopt(struct seat *seat);

/* The limits of hubs that a config has. */
struct hub_limits config_hub_limits(const struct peal_server *server,
                                    const struct config *config);

#endif
