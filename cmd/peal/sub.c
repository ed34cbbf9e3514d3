/* peal sub - prints what is published to rooms. */
#include "commands.h"
#include "data.h"
#include "output.h"
#include "session.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

struct joining;

struct subscription {
    struct session session;
    const struct options *options;
    struct alarm until; /* --wait */
    uint64_t printed;
    int joining; /* rooms of which it is not known yet */
    struct joining *joinings;
};

/* --- Printing ------------------------------------------------------------- */

static void print_hex(struct peal_slice data)
{
    for (size_t i = 0; i < data.size; i++) {
        printf("%02x", (unsigned char)data.data[i]);
    }
}

static void print_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    printf("%lld.%06ld", (long long)now.tv_sec, now.tv_nsec / 1000);
}

/* What stands for one letter behind a percent sign. */
static void print_field(const struct subscription *sub, char letter,
                        const struct peal_event *event)
{
    const char *id;
    char time[32];

    switch (letter) {
    case 'r':
        output_clean(stdout, event->room);
        break;
    case 'e':
        output_clean(stdout, event->name);
        break;
    case 'd':
        output_raw(stdout, event);
        break;
    case 'j':
        output_data(stdout, event);
        break;
    case 'x':
        print_hex(event->data);
        break;
    case 'l':
        printf("%zu", event->data.size);
        break;
    case 'n':
        printf("%" PRIu64, sub->printed);
        break;
    case 'i':
        id = peal_link_id(sub->session.link);
        output_clean(stdout, peal_slice(id != NULL ? id : ""));
        break;
    case 't':
        output_time(time);
        fputs(time, stdout);
        break;
    case 'T':
        print_seconds();
        break;
    default:
        fputc('%', stdout);
        break;
    }
}

static void print_escape(char letter)
{
    static const char letters[] = "nt0\\";
    static const char meant[] = {'\n', '\t', '\0', '\\'};
    const char *at = strchr(letters, letter);

    fputc(meant[at - letters], stdout);
}

static void print_format(const struct subscription *sub,
                         const struct peal_event *event)
{
    for (const char *at = sub->options->format; *at != '\0'; at++) {
        if (*at == '%') {
            print_field(sub, *++at, event);
        } else if (*at == '\\') {
            print_escape(*++at);
        } else {
            fputc(*at, stdout);
        }
    }
}

/* Whether each percent sign and backslash has its letter. */
static bool check_format(const char *format)
{
    for (const char *at = format; *at != '\0'; at++) {
        if (*at != '%' && *at != '\\') {
            continue;
        }
        if (at[1] == '\0' ||
            strchr(*at == '%' ? "redjxlnitT%" : "nt0\\", at[1]) == NULL) {
            output_say(OUTPUT_ERROR,
                       "\"%c%c\" in the format means nothing: see peal sub "
                       "--help",
                       *at, at[1] == '\0' ? ' ' : at[1]);
            return false;
        }
        at++;
    }
    return true;
}

static void print_json(const struct peal_event *event)
{
    char time[32];

    output_time(time);
    printf("{\"time\":\"%s\"", time);
    if (event->room.size > 0) {
        printf(",\"room\":");
        output_json_string(stdout, event->room);
    }
    printf(",\"event\":");
    output_json_string(stdout, event->name);
    output_json_data(stdout, event);
    printf("}\n");
}

static void print_line(const struct peal_event *event)
{
    fputs(output_color(COLOR_CYAN), stdout);
    output_clean(stdout, event->room.size > 0 ? event->room : peal_slice("-"));
    fputs(output_color(COLOR_NONE), stdout);
    fputc(' ', stdout);
    fputs(output_color(COLOR_BOLD), stdout);
    output_clean(stdout, event->name);
    fputs(output_color(COLOR_NONE), stdout);
    if (event->data.size > 0 || event->kind == PEAL_BYTES) {
        fputc(' ', stdout);
        output_data(stdout, event);
    }
    fputc('\n', stdout);
}

/* Whether it came through one of the rooms that were asked for. */
static bool is_of_rooms(const struct options *options,
                        const struct peal_event *event)
{
    /* The stelar dialect does not tell the room. */
    if (options->all || strcmp(options->dialect, "stelar") == 0) {
        return true;
    }
    for (int i = 0; i < options->argument_count; i++) {
        if (peal_slice_equal(event->room, peal_slice(options->arguments[i]))) {
            return true;
        }
    }
    return false;
}

/* Whether it is one of the events that were asked for. */
static bool is_wanted(const struct options *options,
                      const struct peal_event *event)
{
    return (options->event == NULL ||
            peal_slice_equal(event->name, peal_slice(options->event))) &&
           is_of_rooms(options, event);
}

/* Something is missing: with --strict that is the end. */
static void miss(struct subscription *sub)
{
    if (sub->options->strict) {
        session_end(&sub->session, EXIT_ERROR);
    }
}

/* The server has left messages out (docs/protocol.md: Gaps). */
static void on_gap(struct subscription *sub, const struct peal_event *gap)
{
    struct peal_slice value;
    char reason[64] = "";
    double count = 0;

    if (peal_json_get(gap->data, "count", &value) == 0) {
        peal_json_number(value, &count);
    }
    if (peal_json_get(gap->data, "reason", &value) == 0) {
        peal_json_text(value, reason, sizeof reason);
    }
    if (sub->options->json) {
        print_json(gap); /* in its place among the others */
    }
    output_say(OUTPUT_WARNING, "%.0f messages of %.*s are missing here: %s",
               count, gap->room.size > 0 ? (int)gap->room.size : 9,
               gap->room.size > 0 ? gap->room.data : "everybody", reason);
    miss(sub);
}

static void on_event(struct peal_link *link, const struct peal_event *event,
                     void *user)
{
    struct subscription *sub = user;
    const struct options *options = sub->options;

    (void)link;
    if (sub->session.is_done) {
        return;
    }
    if (peal_slice_equal(event->name, peal_slice("peal:gap"))) {
        if (event->room.size == 0 || is_of_rooms(options, event)) {
            on_gap(sub, event);
        }
        return;
    }
    if (!is_wanted(options, event)) {
        return;
    }
    sub->printed++;
    if (options->json) {
        print_json(event);
    } else if (options->format != NULL) {
        print_format(sub, event);
    } else if (options->raw) {
        output_raw(stdout, event);
    } else {
        print_line(event);
    }
    if (!options->json && !options->no_newline &&
        (options->format != NULL || options->raw)) {
        fputc('\n', stdout);
    }
    if (sub->printed == options->count) {
        session_end(&sub->session, EXIT_OK);
    }
}

/* --- Joining -------------------------------------------------------------- */

/* One of the rooms. */
struct joining {
    struct subscription *sub;
    const char *room;
};

static void on_joined(struct peal_link *link, const struct peal_answer *answer,
                      void *user)
{
    struct joining *joining = user;
    struct subscription *sub = joining->sub;
    char why[600];
    int exit_code = session_explain(answer, why, sizeof why);

    (void)link;
    if (sub->session.is_done) {
        return;
    }
    if (exit_code != EXIT_OK) {
        output_say(OUTPUT_ERROR, "cannot join %s: %s%s", joining->room, why,
                   answer->status == PEAL_EREFUSED &&
                           answer->failure.code == 102
                       ? "; this server lets nobody join this room by itself"
                       : "");
        session_end(&sub->session, exit_code);
        return;
    }
    sub->joining--;
    if (sub->joining == 0) {
        output_say(OUTPUT_NOTE, "subscribed");
    }
}

static void on_time_up(struct alarm *alarm)
{
    struct subscription *sub = alarm->user;

    if (sub->options->count == 0) {
        session_end(&sub->session, EXIT_OK);
        return;
    }
    output_say(OUTPUT_ERROR, "%" PRIu64 " of %" PRIu64 " events came in time",
               sub->printed, sub->options->count);
    session_end(&sub->session, EXIT_TIMEOUT);
}

static void on_connected(struct session *session, uint64_t connects)
{
    struct subscription *sub = session->user;
    const struct options *options = sub->options;

    if (connects > 1) {
        miss(sub); /* the link joins again, but was away */
        return;
    }
    for (int i = 0; i < options->argument_count; i++) {
        struct joining *joining = &sub->joinings[i];

        *joining = (struct joining){sub, options->arguments[i]};
        if (peal_link_join(session->link, joining->room, on_joined, joining) <
            0) {
            output_say(OUTPUT_ERROR, "there is no memory");
            session_end(session, EXIT_ERROR);
        }
    }
}

#define ROOMS_MAX 1000

int sub_run(const struct options *options)
{
    static struct joining joinings[ROOMS_MAX];
    struct subscription sub = {.options = options,
                               .joining = options->argument_count,
                               .joinings = joinings};

    if (options->argument_count > ROOMS_MAX) {
        output_say(OUTPUT_ERROR, "at most %d rooms", ROOMS_MAX);
        return EXIT_USAGE;
    }
    for (int i = 0; i < options->argument_count; i++) {
        if (!data_check_room(options->arguments[i])) {
            return EXIT_USAGE;
        }
    }
    if (options->format != NULL && !check_format(options->format)) {
        return EXIT_USAGE;
    }
    if (!session_begin(&sub.session, options)) {
        return sub.session.exit_code;
    }
    sub.session.user = &sub;
    sub.session.on_connected = on_connected;
    peal_link_on_any(sub.session.link, on_event, &sub);
    if (options->wait_ms > 0) {
        sub.until = (struct alarm){.on_due = on_time_up, .user = &sub};
        session_alarm(&sub.session, &sub.until,
                      session_now_ns() + options->wait_ms * 1000000);
    }
    return session_run(&sub.session);
}
