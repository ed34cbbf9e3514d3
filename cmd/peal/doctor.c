/* peal doctor - goes the way to a server step by step and says what to change.
 */
#include "doctor.h"
#include "commands.h"
#include "output.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>

#define FILES_WANTED 65536
#define BACKLOG_WANTED 4096

/* --- Report --------------------------------------------------------------- */

static void print_text(const struct doctor *doctor, const char *check,
                       enum result result, const char *what, const char *advice)
{
    static const char *const names[] = {"ok", "note", "warn", "FAIL"};
    static const enum output_color colors[] = {COLOR_GREEN, COLOR_DIM,
                                               COLOR_YELLOW, COLOR_RED};

    if (doctor->options->quiet && result <= RESULT_NOTE) {
        return;
    }
    printf("%s%-5s%s %-9s ", output_color(colors[result]), names[result],
           output_color(COLOR_NONE), check);
    output_clean(stdout, peal_slice(what));
    fputc('\n', stdout);
    if (advice != NULL) {
        printf("                > %s\n", advice);
    }
}

void doctor_report(struct doctor *doctor, const char *check, enum result result,
                   const char *advice, const char *format, ...)
{
    static const char *const names[] = {"ok", "note", "warn", "fail"};
    char what[1024];
    va_list list;

    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    doctor->counts[result]++;
    if (doctor->options->json) {
        printf("{\"check\":\"%s\",\"result\":\"%s\",\"message\":", check,
               names[result]);
        output_json_string(stdout, peal_slice(what));
        if (advice != NULL) {
            printf(",\"advice\":");
            output_json_string(stdout, peal_slice(advice));
        }
        printf("}\n");
    } else {
        print_text(doctor, check, result, what, advice);
    }
    output_flush();
}

void doctor_fail(struct doctor *doctor, int exit_code)
{
    if (doctor->exit_code == EXIT_OK) {
        doctor->exit_code = exit_code;
    }
}

double doctor_ms_since(uint64_t began_ns)
{
    return (double)(session_now_ns() - began_ns) / 1e6;
}

/* --- This machine --------------------------------------------------------- */

static void check_files(struct doctor *doctor)
{
    struct rlimit limit;
    bool is_here = doctor_is_loopback(doctor->address);

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return;
    }
    doctor_report(
        doctor, "files",
        is_here && limit.rlim_max < FILES_WANTED ? RESULT_WARN : RESULT_OK,
        is_here && limit.rlim_max < FILES_WANTED
            ? "a server here has no more connections than that: ulimit -n, "
              "or LimitNOFILE= in its unit"
            : NULL,
        "%" PRIu64 " open files at once, %" PRIu64 " at most",
        (uint64_t)limit.rlim_cur, (uint64_t)limit.rlim_max);
}

static void check_backlog(struct doctor *doctor)
{
    FILE *file = fopen("/proc/sys/net/core/somaxconn", "r");
    int backlog = 0;

    if (!doctor_is_loopback(doctor->address) || doctor->target.is_local ||
        file == NULL || fscanf(file, "%d", &backlog) != 1) {
        backlog = 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    if (backlog > 0) {
        bool is_small = backlog < BACKLOG_WANTED;

        doctor_report(doctor, "backlog", is_small ? RESULT_WARN : RESULT_OK,
                      is_small
                          ? "when many come at once some wait for a second: "
                            "sysctl net.core.somaxconn=4096"
                          : NULL,
                      "%d connections may wait to be accepted", backlog);
    }
}

/* --- All of it ------------------------------------------------------------ */

static bool check_way(struct doctor *doctor)
{
    if (!doctor_check_name(doctor) || !doctor_check_addresses(doctor)) {
        doctor_fail(doctor, EXIT_CONNECT);
        return false;
    }
    if (doctor_dial(doctor, doctor->address) != 0) {
        doctor_report(doctor, "connect", RESULT_FAIL, NULL,
                      "a second connection was not accepted");
        doctor_fail(doctor, EXIT_CONNECT);
        return false;
    }
    if (!doctor_check_tls(doctor)) {
        return false;
    }
    if (doctor->target.is_ws) {
        if (!doctor_check_upgrade(doctor)) {
            return false;
        }
        doctor_check_clock(doctor);
    }
    return doctor_check_welcome(doctor) && doctor_check_ping(doctor);
}

static void check_all(struct doctor *doctor)
{
    if (check_way(doctor)) {
        probe_write_goodbye(&doctor->probe);
        if (doctor->target.is_ws) {
            doctor_check_deflate(doctor);
            doctor_check_origin(doctor);
            doctor_check_token(doctor);
        }
    }
    probe_close(&doctor->probe);
    if (doctor->address != NULL) {
        check_files(doctor);
        check_backlog(doctor);
    }
}

int doctor_run(const struct options *options)
{
    static struct doctor doctor = {.probe.fd = -1};
    const char *url =
        options->argument_count > 0 ? options->arguments[0] : options->url;

    doctor.options = options;
    signal(SIGPIPE, SIG_IGN); /* a server that has gone is an error to tell */
    if (!session_read_way(&doctor.way, options)) {
        return EXIT_USAGE;
    }
    peal_tls_free(doctor.way.options.tls); /* the probe has its own */
    if (!target_parse(&doctor.target, url)) {
        output_say(OUTPUT_ERROR,
                   "%s is no address of a server: ws://host:port/path, "
                   "wss://..., tcp://host:port, tls://... or unix:/path",
                   url);
        return EXIT_USAGE;
    }
    if (!options->json && !options->quiet) {
        printf("%s\n", url);
    }
    check_all(&doctor);
    if (!options->json) {
        printf("%d ok, %d warning%s, %d failure%s\n", doctor.counts[RESULT_OK],
               doctor.counts[RESULT_WARN],
               doctor.counts[RESULT_WARN] == 1 ? "" : "s",
               doctor.counts[RESULT_FAIL],
               doctor.counts[RESULT_FAIL] == 1 ? "" : "s");
    }
    return doctor.exit_code;
}
