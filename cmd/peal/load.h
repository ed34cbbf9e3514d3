/*
 * load.h - many links that publish to rooms at a steady pace and measure how
 * long it takes to the others: on several threads, each with a loop and links
 * of its own.
 */
#ifndef LOAD_H
#define LOAD_H

#include "histogram.h"
#include "options.h"

#include <peal/client.h>
#include <pthread.h>
#include <stdatomic.h>

enum load_phase {
    LOAD_CONNECT, /* until every link is in its room, or has failed */
    LOAD_PUBLISH,
    LOAD_DRAIN, /* what is still on its way */
    LOAD_END
};

#define LOAD_ROOM_SIZE 48

struct load_worker;

/* One link. All of its worker's, and after that of whoever joined it. */
struct load_link {
    struct load_worker *worker;
    struct peal_link *link;
    uint32_t room;
    bool is_publisher; /* of its room */
    bool is_settled;   /* it is ready, or has failed */
    bool is_joined;
    bool is_lost;
    uint64_t open_ns; /* when it is to be opened, then when it was */
    uint64_t due_ns;  /* when it is to publish next */
    uint64_t published;
    uint64_t received;
    uint64_t next; /* number of the message that it should get */
};

/* What is told of a worker while it runs, and at the end. */
struct load_figures {
    uint64_t connected;
    uint64_t failed; /* that could not connect or join */
    uint64_t lost;   /* connections that broke */
    uint64_t published;
    uint64_t dropped; /* that were not taken, or refused */
    uint64_t received;
    uint64_t bytes; /* of data received */
    uint64_t disordered;
    struct histogram latency_us;
    struct histogram connect_us;
};

struct load;

struct load_worker {
    struct load *load; /* [I] */
    pthread_t thread;
    struct peal_loop *loop;
    struct load_link *links;
    size_t link_count;
    size_t opened;
    char *text; /* of a message */
    struct load_figures figures;
    uint64_t told_ns;   /* when they were copied */
    bool has_published; /* all that it was to */

    pthread_mutex_t mutex;
    struct load_figures told; /* [m] copy of `figures` */
    int exit_code;            /* [m] of the first failure */
    char why[600];            /* [m] */
};

struct load {
    const struct options *options;  /* [I] */
    struct peal_link_options link;  /* [I] */
    const char *const *urls;        /* [I] */
    size_t url_count;               /* [I] */
    char name[LOAD_ROOM_SIZE - 12]; /* [I] rooms begin with it */
    size_t worker_count;            /* [I] */
    struct load_worker *workers;
    uint32_t *members; /* of each room, before LOAD_PUBLISH */
    uint64_t began_ns; /* before the threads are started */
    _Atomic int phase;
    _Atomic uint64_t publish_ns; /* when LOAD_PUBLISH began */
    _Atomic uint64_t settled;    /* links that are ready or have failed */
    _Atomic uint64_t received;
    _Atomic uint64_t expected;
    _Atomic size_t finished; /* workers that have published everything */
};

/* Makes workers and links and starts the threads. 0, or an error. */
int load_start(struct load *load);

/* Goes on to the next phase. */
void load_set_phase(struct load *load, enum load_phase phase);

/* Adds up what the workers have told. */
void load_sum(struct load *load, struct load_figures *sum);

/* Ends the threads; then everything may be read. Frees the links. */
void load_join(struct load *load);
void load_free(struct load *load);

#endif
