/*
 * Host names to addresses, on a thread of its own that lasts as long as there
 * is something to look up: getaddrinfo may take its time.
 */
#ifndef NET_RESOLVER_H
#define NET_RESOLVER_H

#include "base/list.h"
#include "net/loop.h"

#define RESOLVER_ADDRESSES_MAX 8
#define RESOLVER_HOST_MAX 255

struct resolver;

/* One look-up. The memory is the caller's until `mail` has been handled. */
struct resolver_job {
    struct list link;
    struct loop_mail *mail; /* posted to the loop when it is done */
    char host[RESOLVER_HOST_MAX + 1];
    uint16_t port;
    size_t count; /* 0: the name could not be resolved */
    struct socket_address addresses[RESOLVER_ADDRESSES_MAX];
};

/* Posts to `loop`. PEAL_ENOMEM. */
int resolver_new(struct resolver **out, struct loop *loop);

/*
 * Waits neither for the thread nor for the network. Jobs that are not done go
 * to `drop`, perhaps later and on that thread.
 */
void resolver_free(struct resolver *resolver,
                   void (*drop)(struct resolver_job *job));

/* With mail, host and port set. PEAL_ESYSTEM: there is no thread to be had. */
int resolver_start(struct resolver *resolver, struct resolver_job *job);

#endif
