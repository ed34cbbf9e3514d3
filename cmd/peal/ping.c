/* peal ping - measures the time to the server and back. */
#include "commands.h"
#include "histogram.h"
#include "output.h"
#include "session.h"

#include <inttypes.h>

struct pinger {
    struct session session;
    const struct options *options;
    struct alarm next;
    struct histogram times; /* in microseconds */
    uint64_t sent;
    uint64_t lost;
    uint64_t began_ns; /* of the one that is on its way */
    int exit_code;     /* of the first that was lost */
};

static void send_ping(struct alarm *alarm);

static void on_answer(struct peal_link *link, const struct peal_answer *answer,
                      void *user)
{
    struct pinger *pinger = user;
    uint64_t now_ns = session_now_ns();
    uint64_t took_us = (now_ns - pinger->began_ns) / 1000;
    char why[600];
    int exit_code = session_explain(answer, why, sizeof why);

    (void)link;
    if (pinger->session.is_done) {
        return;
    }
    if (exit_code == EXIT_OK) {
        histogram_add(&pinger->times, took_us);
        if (!pinger->options->quiet && !pinger->options->json) {
            printf("%" PRIu64 ": %.3f ms\n", pinger->sent,
                   (double)took_us / 1e3);
        }
    } else {
        output_say(OUTPUT_WARNING, "%" PRIu64 ": %s", pinger->sent, why);
        pinger->lost++;
        if (pinger->exit_code == EXIT_OK) {
            pinger->exit_code = exit_code;
        }
    }
    if (pinger->sent == pinger->options->count ||
        answer->status == PEAL_ENOTSUP) {
        session_end(&pinger->session, pinger->exit_code);
        return;
    }
    session_alarm(&pinger->session, &pinger->next,
                  pinger->began_ns + pinger->options->interval_ms * 1000000);
}

/* One at a time: those that wait for each other would be measured as slow. */
static void send_ping(struct alarm *alarm)
{
    struct pinger *pinger = alarm->user;
    int rc;

    pinger->sent++;
    pinger->began_ns = session_now_ns();
    rc = peal_link_ping(pinger->session.link, 0, on_answer, pinger);
    if (rc < 0) {
        output_say(OUTPUT_ERROR, "cannot ping: %s", peal_strerror(rc));
        session_end(&pinger->session, EXIT_ERROR);
    }
}

static void on_connected(struct session *session, uint64_t connects)
{
    struct pinger *pinger = session->user;

    if (connects == 1) {
        session_alarm(session, &pinger->next, session_now_ns());
    }
}

static void report(const struct pinger *pinger)
{
    static const double percents[] = {50, 90, 99};
    const struct histogram *times = &pinger->times;
    bool is_json = pinger->options->json;

    printf(is_json ? "{\"sent\":%" PRIu64 ",\"lost\":%" PRIu64
                   : "%" PRIu64 " sent, %" PRIu64 " lost",
           pinger->sent, pinger->lost);
    if (times->count > 0) {
        printf(is_json ? ",\"min_ms\":%.3f,\"mean_ms\":%.3f"
                       : "\nmin %.3f, mean %.3f",
               (double)times->min / 1e3,
               (double)times->sum / (double)times->count / 1e3);
        for (size_t i = 0; i < sizeof percents / sizeof *percents; i++) {
            printf(is_json ? ",\"p%g_ms\":%.3f" : ", p%g %.3f", percents[i],
                   (double)histogram_percentile(times, percents[i]) / 1e3);
        }
        printf(is_json ? ",\"max_ms\":%.3f" : ", max %.3f ms",
               (double)times->max / 1e3);
    }
    printf(is_json ? "}\n" : "\n");
}

int ping_run(const struct options *options)
{
    static struct pinger pinger;
    int exit_code;

    pinger.options = options;
    if (!session_begin(&pinger.session, options)) {
        return pinger.session.exit_code;
    }
    pinger.session.user = &pinger;
    pinger.session.on_connected = on_connected;
    pinger.next = (struct alarm){.on_due = send_ping, .user = &pinger};
    exit_code = session_run(&pinger.session);
    if (pinger.sent > 0) {
        report(&pinger);
    }
    return exit_code;
}
