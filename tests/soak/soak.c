/*
 * Goal: what a server holds does not grow with time: after many clients have
 * come and gone, in good order, by reset, too slow, hostile, while options
 * changed and certificates were reloaded, it holds what it held before. And all
 * along: members hear each other's messages in order and without a gap unless
 * they are closed, or, in a namespace where messages may be dropped, told what
 * is missing in its place; each request has one outcome; each client leaves
 * once.
 *
 *     soak [SECONDS [SEED]]
 *
 * Method: the server is a process of its own, with two loops and everything on
 * (house.c); 120 clients at a time on this one (crowd.c), by random choices
 * that the printed seed repeats. A first visit warms up what is kept for good;
 * then its figures must be the same before and after the second.
 */
#include "crowd.h"
#include "support/certificates.h"
#include "support/line.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/*
 * What may differ between two quiet moments: a table that has grown with the
 * most clients ever keeps its size, and malloc's caches hold what OpenSSL and
 * zlib have freed. A leak of one small block for each client would be more
 * after some minutes.
 */
#define BLOCKS_BOUND 64
#define BYTES_BOUND (128 * 1024)
#define HEAP_BOUND (512 * 1024)

/*
 * And what malloc cannot give back: pages that one small block holds, in an
 * arena for each of three threads.
 */
#define RSS_BOUND (4 * 1024 * 1024)

/*
 * A short soak has no time for the buffers that loops keep for ten seconds: for
 * each of two loops at most five of 64 KiB in each of six forms.
 */
#define FULL_SECONDS 60
#define KEPT_BYTES (2 * 5 * 6 * 64 * 1024)

static void print(const char *when, const struct house_figures *figures)
{
    printf("%-12s rss %7.1f KiB  peal %6" PRIu64 " blocks %8.1f KiB  heap "
           "%8.1f KiB  descriptors %" PRIu64 "\n",
           when, (double)figures->rss_bytes / 1024, figures->blocks,
           (double)figures->bytes / 1024, (double)figures->heap_bytes / 1024,
           figures->descriptors);
}

static void each_minute(uint64_t minute, void *user)
{
    struct house_figures figures = house_look(user);
    char when[32];

    snprintf(when, sizeof when, "minute %" PRIu64, minute);
    print(when, &figures);
}

static void expect_close(const char *what, uint64_t before, uint64_t after,
                         uint64_t bound)
{
    uint64_t more = after > before ? after - before : 0;

    if (more > bound) {
        fprintf(stderr,
                "soak: %s was %" PRIu64 " and is %" PRIu64
                ", more than %" PRIu64 " of a difference\n",
                what, before, after, bound);
        exit(1);
    }
}

static void compare(const struct house_figures *before,
                    const struct house_figures *after, uint64_t kept_bytes)
{
    expect_close("blocks of peal's", before->blocks, after->blocks,
                 BLOCKS_BOUND);
    expect_close("memory of peal's", before->bytes, after->bytes,
                 BYTES_BOUND + kept_bytes);
    CHECK_EQUAL(after->descriptors, before->descriptors);
    CHECK_EQUAL(after->gauges, 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    /* Sanitizers keep what is freed for a while. */
    expect_close("memory of the process", before->heap_bytes, after->heap_bytes,
                 HEAP_BOUND + kept_bytes);
    expect_close("resident memory", before->rss_bytes, after->rss_bytes,
                 RSS_BOUND + kept_bytes);
#endif
}

/* A soak in which nothing happens proves nothing: what has not, or NULL. */
static const char *missing(const struct crowd_tally *tally)
{
    const struct {
        const char *name;
        uint64_t count;
        uint64_t min;
    } all[] = {
        {"members", tally->members, 50},     {"messages", tally->messages, 500},
        {"answers", tally->answers, 100},    {"pages", tally->pages, 10},
        {"farewells", tally->farewells, 1},  {"kills", tally->kills, 1},
        {"slow", tally->slow, 1},            {"too_large", tally->too_large, 1},
        {"kicked", tally->kicked, 1},        {"refused", tally->refused, 1},
        {"vandals", tally->vandals, 1},      {"secured", tally->secured, 1},
        {"compressed", tally->compressed, 1}, {"proxied", tally->proxied, 1},
        {"annex", tally->in_annex, 1},       {"gaps", tally->gaps, 1},
    };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i].count < all[i].min) {
            return all[i].name;
        }
    }
    return NULL;
}

/* For so long; and on, on a busy machine, until all of it has happened. */
static struct crowd_tally soak(struct crowd *crowd, struct house *house,
                               double seconds)
{
    uint64_t until_ms = check_now_ms() + check_patience_ms();
    struct crowd_tally tally;

    crowd_visit(crowd, (uint64_t)(seconds * 1000), each_minute, house);
    for (;;) {
        tally = crowd_tally(crowd);
        if (missing(&tally) == NULL) {
            return tally;
        }
        if (check_now_ms() > until_ms + (uint64_t)(seconds * 1000)) {
            check_failed(__FILE__, __LINE__, missing(&tally));
        }
        crowd_visit(crowd, 1000, NULL, NULL);
    }
}

static void print_tally(const struct crowd_tally *t,
                        const struct house_deeds *d)
{
    printf("clients: opened=%" PRIu64 " members=%" PRIu64 " secured=%" PRIu64
           " compressed=%" PRIu64 " refused=%" PRIu64 "\n",
           t->opened, t->members, t->secured, t->compressed, t->refused);
    printf("ways: proxied=%" PRIu64 " annex=%" PRIu64 "\n", t->proxied,
           t->in_annex);
    printf("heard: messages=%" PRIu64 " answers=%" PRIu64 " pages=%" PRIu64
           " gaps=%" PRIu64 " missed=%" PRIu64 "\n",
           t->messages, t->answers, t->pages, t->gaps, t->missed);
    printf("ends: farewells=%" PRIu64 " kills=%" PRIu64 " closes=%" PRIu64
           " (slow=%" PRIu64 " too_large=%" PRIu64 " kicked=%" PRIu64
           " 1008=%" PRIu64 ") cut=%" PRIu64 " vandals=%" PRIu64 "\n",
           t->farewells, t->kills, t->closes, t->slow, t->too_large, t->kicked,
           t->rates, t->cut, t->vandals);
    printf("server: ticks=%" PRIu64 " updates=%" PRIu64
           " refused_updates=%" PRIu64 " reloads=%" PRIu64 " questions=%" PRIu64
           " admissions=%" PRIu64 " drops=%" PRIu64 "\n",
           d->ticks, d->updates, d->refused_updates, d->reloads, d->questions,
           d->admissions, d->drops);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 6;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
    bool in_full = seconds >= FULL_SECONDS;
    struct house_figures before;
    struct house_figures after;
    struct house_deeds deeds;
    struct crowd_tally tally;
    struct house house;
    struct crowd *crowd;
    SSL_CTX *context;

    if (argc > 3 || seconds <= 0) {
        fputs("usage: soak [SECONDS [SEED]]\n", stderr);
        return 2;
    }
    while (seed == 0) {
        CHECK_EQUAL(getrandom(&seed, sizeof seed, 0), sizeof seed);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("seed 0x%" PRIx64 "\n", seed);
    signal(SIGPIPE, SIG_IGN);
    certificates_open();
    certificates_make(&(struct certificate){
        .name = "soak", .names = "IP:127.0.0.1", .from_day = -1});
    house_start(&house, seed ^ 1, certificates_path("soak.crt"),
                certificates_path("soak.key"));
    context = line_context();
    crowd = crowd_new(&house, seed, context);
    crowd_visit(
        crowd,
        (uint64_t)(seconds * 1000 / 4 < 20000 ? seconds * 1000 / 4 : 20000),
        NULL, NULL);
    before = house_settle(&house, in_full);
    print("before", &before);
    tally = soak(crowd, &house, seconds);
    after = house_settle(&house, in_full);
    print("after", &after);
    crowd_free(crowd);
    SSL_CTX_free(context);
    deeds = house_stop(&house);
    certificates_close();
    print_tally(&tally, &deeds);
    compare(&before, &after, in_full ? 0 : KEPT_BYTES);
    CHECK(deeds.updates > 0 && deeds.refused_updates > 0);
    CHECK(deeds.reloads > 0 && deeds.questions > 0);
    CHECK(deeds.drops > 0 && tally.missed <= deeds.drops);
    puts("soak: nothing was lost, and everything was given back");
    return 0;
}
