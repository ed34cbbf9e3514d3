/*
 * stats.h - what a server has counted. Included by server.h.
 *
 * Stability and threads: as server.h.
 */
#ifndef PEAL_STATS_H
#define PEAL_STATS_H

#include <peal/peal.h>

#ifdef __cplusplus
extern "C" {
#endif

struct peal_server;

/* Counts since the start, and gauges of now, over all loops. */
struct peal_server_stats {
    size_t size; /* set by the caller */
    uint64_t uptime_ms;

    /* Gauges. */
    uint64_t clients;
    uint64_t ws_clients;
    uint64_t tcp_clients;
    uint64_t connections; /* clients, and those that are not in yet */
    uint64_t rooms;
    uint64_t queued_bytes; /* of the whole server, in a namespace, too */
    uint64_t requests_pending;

    /* Counters. */
    uint64_t clients_total;
    uint64_t messages_in;  /* events, requests and answers; no heartbeats */
    uint64_t messages_out; /* the same, for each receiver */
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t messages_invalid;   /* not understood */
    uint64_t messages_unsayable; /* see peal_room_emit; for each receiver */
    uint64_t requests_timed_out; /* of clients, without an answer in time */

    /* What a limit refused; each has the name of its option. */
    uint64_t refused_clients;             /* clients_max */
    uint64_t refused_clients_per_address; /* clients_per_address_max */
    uint64_t refused_rooms;               /* rooms_max */
    uint64_t refused_rooms_per_client;    /* rooms_per_client_max */
    uint64_t refused_room_names;          /* room_name_bytes_max, or no name */
    uint64_t refused_metadata;            /* metadata_bytes_max */
    uint64_t refused_requests;            /* requests_per_client_max */
    uint64_t refused_mail;                /* mailbox_bytes_max */
    uint64_t closed_message_bytes;        /* message or frame_bytes_max */
    uint64_t closed_header_bytes;         /* header_bytes_max */
    uint64_t closed_queue_bytes;          /* queue_bytes_max */
    uint64_t closed_handshake_timeout;
    uint64_t closed_ping_timeout;
    uint64_t closed_protocol;  /* the peer broke the protocol */
    uint64_t accept_exhausted; /* descriptors or memory ran out */

    /* Of rate limits. */
    uint64_t refused_messages;    /* all limits: answered, dropped or closed */
    uint64_t closed_rate;         /* rate_refusal: PEAL_REFUSE_CLOSE */
    uint64_t closed_control_rate; /* control_rate */

    /* Of the application's HTTP handlers. */
    uint64_t http_requests;
    uint64_t http_timed_out;         /* http_timeout_ms */
    uint64_t closed_http_body_bytes; /* http_body_bytes_max */
    uint64_t refused_origins;     /* origins */

    /*
     * permessage-deflate: what was compressed and inflated, before and after,
     * and the time that it took. One compression may serve many clients. The
     * first is a gauge: what zlib holds of memory.
     */
    uint64_t deflate_state_bytes;
    uint64_t deflated_messages;
    uint64_t deflated_bytes;
    uint64_t deflated_wire_bytes;
    uint64_t deflate_ns;
    uint64_t inflated_messages;
    uint64_t inflated_wire_bytes;
    uint64_t inflated_bytes;
    uint64_t inflate_ns;

    /* TLS handshakes. */
    uint64_t tls_handshaking;        /* now */
    uint64_t tls_handshakes;         /* done */
    uint64_t tls_resumed;            /* of these: a session taken up again */
    uint64_t tls_failed;             /* not done, for whatever the peer did */
    uint64_t refused_tls_handshakes; /* tls_handshakes_max */

    /* Connections without a PROXY header that they had to begin with, with one
     * that is malformed, or with one that was not theirs to send. */
    uint64_t refused_proxy_protocol;

    uint64_t refused_handshakes_per_address; /* handshakes_per_address_max */

    /* Dropped for slow readers, for each receiver: enum peal_pressure. */
    uint64_t dropped_oldest;
    uint64_t dropped_newest;
    uint64_t conflated;

    /* Of memory_bytes_max. The first is a gauge, of the whole process. */
    uint64_t memory_used_bytes;
    uint64_t refused_memory; /* clients not let in, TLS handshakes cut */
    uint64_t closed_memory;  /* that were closed */

    uint64_t address_tracker_failed; /* answers of address_tracker */
    uint64_t closed_drain_timeout;   /* close_timeout_ms, drain_timeout_ms: cut
                                        with something unsent */

    /* peal_tls_options.ktls: connections whose output the kernel encrypts, now
     * and in all, and those that asked for it and go on without. */
    uint64_t ktls_sending;
    uint64_t ktls_handshakes;
    uint64_t ktls_fallbacks;

    uint64_t gaps; /* peal:gap events: each tells a client what is missing */
    uint64_t subscriptions; /* clients in rooms, once for each room: a gauge */

    /* A gauge: loops that send by io_uring now; the others have epoll alone. */
    uint64_t io_uring_loops;
    uint64_t decisions_pending; /* put off (PEAL_LATER), not made: a gauge */
};

/* Fills what fits into stats->size; PEAL_EINVAL when that is 0. Any thread. */
PEAL_API int peal_server_stats(struct peal_server *server,
                               struct peal_server_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
