#include "net/resolver.h"

#include "base/assert.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

struct resolver {
    pthread_mutex_t mutex;
    struct loop *loop; /* [m] NULL: freed, and the thread is to end */
    void (*drop)(struct resolver_job *job); /* [m] */
    struct list jobs;                       /* [m] */
    bool has_thread;                        /* [m] it frees, if need be */
};

int resolver_new(struct resolver **out, struct loop *loop)
{
    struct resolver *resolver = mem_zalloc(sizeof(*resolver));

    if (resolver == NULL) {
        return PEAL_ENOMEM;
    }
    pthread_mutex_init(&resolver->mutex, NULL);
    resolver->loop = loop;
    list_init(&resolver->jobs);
    *out = resolver;
    return PEAL_OK;
}

static void resolver_destroy(struct resolver *resolver)
{
    pthread_mutex_destroy(&resolver->mutex);
    mem_free(resolver);
}

static void resolver_drop_all(struct resolver *resolver)
{
    while (!list_is_empty(&resolver->jobs)) {
        struct resolver_job *job =
            CONTAINER_OF(resolver->jobs.next, struct resolver_job, link);

        list_remove(&job->link);
        resolver->drop(job);
    }
}

void resolver_free(struct resolver *resolver,
                   void (*drop)(struct resolver_job *job))
{
    bool has_thread;

    pthread_mutex_lock(&resolver->mutex);
    resolver->loop = NULL;
    resolver->drop = drop;
    resolver_drop_all(resolver);
    has_thread = resolver->has_thread;
    pthread_mutex_unlock(&resolver->mutex);
    if (!has_thread) {
        resolver_destroy(resolver);
    }
}

/* IPv4 first: a server on "localhost" listens there rather than on ::1. */
static void resolver_take(struct resolver_job *job, const struct addrinfo *list,
                          int family)
{
    for (; list != NULL && job->count < RESOLVER_ADDRESSES_MAX;
         list = list->ai_next) {
        struct socket_address *address = &job->addresses[job->count];

        if (list->ai_family != family) {
            continue;
        }
        memset(address, 0, sizeof(*address));
        memcpy(&address->of, list->ai_addr, list->ai_addrlen);
        address->size = list->ai_addrlen;
        if (family == AF_INET) {
            address->of.v4.sin_port = htons(job->port);
        } else {
            address->of.v6.sin6_port = htons(job->port);
        }
        job->count++;
    }
}

static void resolver_look_up(struct resolver_job *job)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
    };
    struct addrinfo *list;

    job->count = 0;
    if (getaddrinfo(job->host, NULL, &hints, &list) != 0) {
        return;
    }
    resolver_take(job, list, AF_INET);
    resolver_take(job, list, AF_INET6);
    freeaddrinfo(list);
}

static void *resolver_run(void *argument)
{
    struct resolver *resolver = argument;
    bool is_freed;

    pthread_mutex_lock(&resolver->mutex);
    while (!list_is_empty(&resolver->jobs)) {
        struct resolver_job *job =
            CONTAINER_OF(resolver->jobs.next, struct resolver_job, link);

        list_remove(&job->link);
        pthread_mutex_unlock(&resolver->mutex);
        resolver_look_up(job);
        pthread_mutex_lock(&resolver->mutex);
        if (resolver->loop != NULL) {
            loop_post(resolver->loop, job->mail);
        } else {
            resolver->drop(job);
        }
    }
    resolver->has_thread = false;
    is_freed = resolver->loop == NULL;
    pthread_mutex_unlock(&resolver->mutex);
    if (is_freed) {
        resolver_destroy(resolver);
    }
    return NULL;
}

/* The program's signals are not for this thread. */
static int resolver_start_thread(struct resolver *resolver)
{
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t old;
    pthread_t thread;
    int error;

    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    error = pthread_create(&thread, &attributes, resolver_run, resolver);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    return error == 0 ? PEAL_OK : PEAL_ESYSTEM;
}

int resolver_start(struct resolver *resolver, struct resolver_job *job)
{
    int rc = PEAL_OK;

    pthread_mutex_lock(&resolver->mutex);
    list_append(&resolver->jobs, &job->link);
    if (!resolver->has_thread) {
        rc = resolver_start_thread(resolver);
        if (rc == PEAL_OK) {
            resolver->has_thread = true;
        } else {
            list_remove(&job->link);
        }
    }
    pthread_mutex_unlock(&resolver->mutex);
    return rc;
}
