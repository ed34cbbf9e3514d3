/*
 * What links cost their program: opens so many of them on one loop, tells what
 * memory each takes, and then has messages echoed by one of them. The server
 * sends each event "bench" back: bench/peal_echo.
 *
 *     clients --to URL [--links N] [--count N] [--size BYTES] [--depth N]
 *             [--deflate] [--insecure]
 *
 * Prints one line of JSON.
 */
#include <peal/client.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SIZE_MAX_BYTES 65536

struct bench {
    const char *url;
    size_t links;
    uint64_t count;
    size_t size;
    uint64_t depth; /* messages under way */
    bool deflates;
    bool is_insecure;

    size_t connected;
    uint64_t sent;
    uint64_t back;
    char data[SIZE_MAX_BYTES];
};

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "clients: %s: %s\n", what, why);
    exit(1);
}

static void check(const char *what, int rc)
{
    if (rc < 0) {
        fail(what, peal_strerror(rc));
    }
}

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Pages of this process that are in memory, in bytes. */
static long resident_bytes(void)
{
    long size = 0;
    long resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file == NULL || fscanf(file, "%ld %ld", &size, &resident) != 2) {
        fail("/proc/self/statm", "cannot be read");
    }
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

static void read_options(struct bench *bench, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--deflate") == 0) {
            bench->deflates = true;
            continue;
        }
        if (strcmp(argv[i], "--insecure") == 0) {
            bench->is_insecure = true;
            continue;
        }
        if (strcmp(argv[i], "--to") == 0) {
            bench->url = value;
        } else if (strcmp(argv[i], "--links") == 0) {
            bench->links = strtoul(value, NULL, 10);
        } else if (strcmp(argv[i], "--count") == 0) {
            bench->count = strtoul(value, NULL, 10);
        } else if (strcmp(argv[i], "--size") == 0) {
            bench->size = strtoul(value, NULL, 10);
        } else if (strcmp(argv[i], "--depth") == 0) {
            bench->depth = strtoul(value, NULL, 10);
        } else {
            fail(argv[i], "no such option");
        }
        i++;
    }
    if (bench->url == NULL || bench->links == 0 || bench->depth == 0 ||
        bench->size < 2 || bench->size > SIZE_MAX_BYTES) {
        fail("usage", "--to URL, and numbers that make sense");
    }
}

static void on_state(struct peal_link *link,
                     const struct peal_link_change *change, void *user)
{
    struct bench *bench = user;

    (void)link;
    if (change->to == PEAL_LINK_CONNECTED) {
        bench->connected++;
    } else if (change->error < 0) {
        fail("a connection", change->reason);
    }
}

static void send_one(struct peal_link *link, struct bench *bench)
{
    const struct peal_event event = {
        .name = peal_slice("bench"),
        .data = {bench->data, bench->size},
    };

    check("emit", peal_link_emit(link, &event));
    bench->sent++;
}

static void on_back(struct peal_link *link, const struct peal_event *event,
                    void *user)
{
    struct bench *bench = user;

    if (event->data.size != bench->size ||
        memcmp(event->data.data, bench->data, bench->size) != 0) {
        fail("an echo", "is not what was sent");
    }
    bench->back++;
    if (bench->sent < bench->count) {
        send_one(link, bench);
    }
}

/* Opens them some at a time, so that no backlog overflows. */
static void open_all(struct bench *bench, struct peal_loop *loop,
                     struct peal_link **links,
                     const struct peal_link_options *options)
{
    for (size_t i = 0; i < bench->links; i++) {
        check("link", peal_link_new(&links[i], loop, options));
        check("open", peal_link_open(links[i]));
        while (i + 1 - bench->connected >= 500) {
            check("step", peal_loop_step(loop, -1));
        }
    }
    while (bench->connected < bench->links) {
        check("step", peal_loop_step(loop, -1));
    }
}

static void echo_all(struct bench *bench, struct peal_loop *loop,
                     struct peal_link *link)
{
    check("on", peal_link_on(link, "bench", on_back, bench));
    for (uint64_t i = 0; i < bench->depth && i < bench->count; i++) {
        send_one(link, bench);
    }
    while (bench->back < bench->count) {
        check("step", peal_loop_step(loop, -1));
    }
}

int main(int argc, char **argv)
{
    static struct bench bench = {.links = 1, .size = 64, .depth = 1};
    struct peal_link_options options = {
        .size = sizeof options,
        .connect_timeout_ms = 60000,
        .on_state = on_state,
        .user = &bench,
    };
    const struct peal_tls_client_options trust = {
        .size = sizeof trust,
        .insecure_trust_anybody = true,
    };
    struct rlimit files;
    struct peal_link **links;
    struct peal_loop *loop;
    double began_s;
    double opened_s;
    double echoed_s;
    long before;
    long after;

    read_options(&bench, argc, argv);
    memset(bench.data, 'x', bench.size);
    bench.data[0] = '"';
    bench.data[bench.size - 1] = '"';
    options.url = bench.url;
    options.deflate = bench.deflates;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (bench.is_insecure) {
        check("tls", peal_tls_client_new(&options.tls, &trust, NULL, 0));
    }
    links = calloc(bench.links, sizeof *links);
    if (links == NULL) {
        fail("links", "no memory");
    }
    check("loop", peal_loop_new(&loop, NULL));
    before = resident_bytes();
    began_s = now_s();
    open_all(&bench, loop, links, &options);
    opened_s = now_s();
    echo_all(&bench, loop, links[0]);
    echoed_s = now_s();
    after = resident_bytes();
    printf("{\"ok\":true,\"links\":%zu,\"bytes_per_link\":%.0f,"
           "\"connects_per_s\":%.0f,\"echoes\":%lu,\"echoes_per_s\":%.0f}\n",
           bench.links, (double)(after - before) / (double)bench.links,
           (double)bench.links / (opened_s - began_s),
           (unsigned long)bench.back,
           (double)bench.back / (echoed_s - opened_s));
    for (size_t i = 0; i < bench.links; i++) {
        peal_link_free(links[i]);
    }
    peal_loop_free(loop);
    peal_tls_free(options.tls);
    free(links);
    return 0;
}
