#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Fewer than any server's backlog, enough to keep it busy. */
#define OPENING_MAX 256u

#define OPEN_NS_MAX (30 * NS_PER_SECOND)

#define TURN_EVENTS 512

uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

void load_init(struct load *load, const struct load_options *options,
               const struct mode_events *events, void *mode,
               uint32_t conns_count)
{
    raise_descriptor_limit();
    *load = (struct load){
        .options = options,
        .events = events,
        .mode = mode,
        .conns = calloc(conns_count, sizeof *load->conns),
        .conns_count = conns_count,
        .poller = epoll_create1(EPOLL_CLOEXEC),
        .read_buffer = malloc(READ_BUFFER_BYTES),
        .write_buffer = malloc(WRITE_BUFFER_BYTES),
    };
    if (load->poller < 0) {
        die("epoll_create1: %s", strerror(errno));
    }
    if (load->conns == NULL || load->read_buffer == NULL
        || load->write_buffer == NULL) {
        die("out of memory");
    }
    for (uint32_t i = 0; i < conns_count; i++) {
        load->conns[i].index = i;
    }
    secure_init(options);
    template_init_out(&load->out, options);
    template_init_in(&load->in, options);
    if (load->in.length * 2 > READ_BUFFER_BYTES
        || load->out.length > WRITE_BUFFER_BYTES) {
        die("messages of %u bytes are too large", options->size);
    }
}

void load_fini(struct load *load)
{
    for (uint32_t i = 0; i < load->conns_count; i++) {
        conn_drop(load, &load->conns[i]);
    }
    template_fini(&load->out);
    template_fini(&load->in);
    secure_fini();
    close(load->poller);
    free(load->conns);
    free(load->read_buffer);
    free(load->write_buffer);
}

void load_open(struct load *load, uint32_t first, uint32_t last)
{
    uint64_t deadline = now_ns() + OPEN_NS_MAX;
    uint32_t next = first;
    uint32_t target = load->open + (last - first);

    while (load->open < target) {
        while (next < last && load->opening < OPENING_MAX) {
            conn_open(load, &load->conns[next++]);
        }
        if (load->opening > 0) {
            load_turn(load, deadline);
        }
        if (load->refused > 0) {
            die("the server refused %llu connections",
                (unsigned long long)load->refused);
        }
        if (now_ns() >= deadline) {
            die("%u of %u connections are open after 30 s", load->open,
                target);
        }
    }
}

void load_turn(struct load *load, uint64_t until_ns)
{
    struct epoll_event ready[TURN_EVENTS];
    uint64_t now = now_ns();
    uint64_t left = until_ns > now ? until_ns - now : 0;
    struct timespec wait = {
        .tv_sec = (time_t)(left / NS_PER_SECOND),
        .tv_nsec = (long)(left % NS_PER_SECOND),
    };
    int count = epoll_pwait2(load->poller, ready, TURN_EVENTS, &wait, NULL);

    if (count < 0 && errno != EINTR) {
        die("epoll_pwait2: %s", strerror(errno));
    }
    for (int i = 0; i < count; i++) {
        conn_ready(load, ready[i].data.ptr, ready[i].events);
    }
    if (load->events->on_turn != NULL) {
        load->events->on_turn(load);
    }
}

void load_run(struct load *load, uint64_t until_ns)
{
    while (now_ns() < until_ns) {
        load_turn(load, until_ns);
    }
}

bool load_is_clean(const struct load *load)
{
    return load->mismatches == 0 && load->closes == 0 && load->refused == 0;
}
