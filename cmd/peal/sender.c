#include "sender.h"

#include "data.h"
#include "output.h"
#include "session.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES_MAX ((size_t)16 << 20)
#define READ_BYTES 65536

struct sender {
    struct session session;
    const struct options *options;
    const char *event;
    const char *room; /* NULL: to the server */
    struct data data; /* of the argument, unless there are lines */
    bool is_ready;    /* the room is joined, or not needed */

    /* Lines of standard input. */
    bool reads_lines;
    bool is_at_end;
    struct watch input;
    char *text;
    size_t text_size;
    size_t text_room;
    size_t text_used;
    uint64_t line; /* number of the one that is sent */
    uint64_t repeats;

    struct alarm pace;
    uint64_t next_ns; /* when the rate allows the next one */
    bool is_flushing; /* with --no-ack: all is with the link */

    uint64_t sent;
    uint64_t waiting; /* of those, for their answer */
    uint64_t ok;
    uint64_t failed;
    int exit_code; /* of the first failure */
};

static void send_more(struct sender *sender);

static void fail(struct sender *sender, int exit_code)
{
    sender->failed++;
    if (sender->exit_code == EXIT_OK) {
        sender->exit_code = exit_code;
    }
}

/* --- Answers -------------------------------------------------------------- */

static void on_answer(struct peal_link *link, const struct peal_answer *answer,
                      void *user)
{
    struct sender *sender = user;
    char why[600];
    int exit_code = session_explain(answer, why, sizeof why);

    (void)link;
    if (sender->session.is_done && answer->status == PEAL_EGONE) {
        return; /* it ended before the answer came */
    }
    sender->waiting--;
    if (exit_code == EXIT_OK) {
        sender->ok++;
    } else {
        if (!sender->session.is_done) {
            output_say(OUTPUT_ERROR, "%s%s", why,
                       answer->status == PEAL_EREFUSED &&
                               answer->failure.code == 102 &&
                               sender->room != NULL
                           ? "; this server does not let its clients publish "
                             "to this room"
                           : "");
        }
        fail(sender, exit_code);
    }
    send_more(sender);
}

/* --- What is sent next ---------------------------------------------------- */

/* The next whole line in the text, without its end; false: there is none. */
static bool next_line(struct sender *sender, struct peal_slice *line)
{
    char *at = sender->text + sender->text_used;
    size_t left = sender->text_size - sender->text_used;
    char *end = left > 0 ? memchr(at, '\n', left) : NULL;

    if (end == NULL && (!sender->is_at_end || left == 0)) {
        return false;
    }
    *line = (struct peal_slice){at, end != NULL ? (size_t)(end - at) : left};
    if (line->size > 0 && line->data[line->size - 1] == '\r') {
        line->size--;
    }
    return true;
}

static void skip_line(struct sender *sender, struct peal_slice line)
{
    size_t at = (size_t)(line.data - sender->text) + line.size;

    while (at < sender->text_size && sender->text[at++] != '\n') {
    }
    sender->text_used = at;
    sender->line++;
}

/* Whether there is something to send; then its data, too. */
static bool next_data(struct sender *sender, struct data *data)
{
    struct peal_slice line;

    if (!sender->reads_lines) {
        *data = sender->data;
        return sender->repeats < sender->options->count;
    }
    while (next_line(sender, &line)) {
        if (data_make(data, sender->options, line)) {
            return true;
        }
        output_say(OUTPUT_ERROR, "line %" PRIu64 " was not sent",
                   sender->line + 1);
        fail(sender, EXIT_ERROR);
        skip_line(sender, line);
        sender->repeats = 0;
    }
    return false;
}

/* That one was sent, or cannot be. */
static void step(struct sender *sender, struct data *data)
{
    struct peal_slice line;

    sender->repeats++;
    if (!sender->reads_lines) {
        return;
    }
    data_free(data);
    if (sender->repeats >= sender->options->count && next_line(sender, &line)) {
        skip_line(sender, line);
        sender->repeats = 0;
    }
}

static void send_one(struct sender *sender, const struct data *data)
{
    struct peal_event event = data_event(data, sender->event, sender->room);
    struct peal_link *link = sender->session.link;
    int rc = sender->options->no_ack
                 ? peal_link_emit(link, &event)
                 : peal_link_request(link, &event, 0, on_answer, sender);

    sender->sent++;
    if (rc == 0) {
        sender->waiting += sender->options->no_ack ? 0 : 1;
        return;
    }
    output_say(OUTPUT_ERROR, "cannot send: %s", peal_strerror(rc));
    fail(sender, EXIT_ERROR);
    if (rc == PEAL_ENOTSUP) {
        session_end(&sender->session, EXIT_ERROR); /* so would be the rest */
    }
}

/* The rate allows one now; otherwise the alarm comes when it does. */
static bool is_time(struct sender *sender)
{
    uint64_t now_ns = session_now_ns();

    if (sender->options->rate <= 0) {
        return true;
    }
    if (sender->next_ns > now_ns) {
        session_alarm(&sender->session, &sender->pace, sender->next_ns);
        return false;
    }
    /* What was late is caught up with, but not what was never there. */
    if (sender->next_ns + 1000000000 < now_ns) {
        sender->next_ns = now_ns;
    }
    sender->next_ns += (uint64_t)(1e9 / sender->options->rate);
    return true;
}

static bool is_all_sent(const struct sender *sender)
{
    return sender->reads_lines
               ? sender->is_at_end && sender->text_used == sender->text_size
               : sender->repeats >= sender->options->count;
}

/* What waits in the link. */
static uint64_t queued(const struct sender *sender)
{
    struct peal_link_stats stats = {.size = sizeof stats};

    peal_link_stats(sender->session.link, &stats);
    return stats.outbox_count;
}

/* How many more may be sent now. Without answers, the outbox holds it up. */
static uint64_t room_left(const struct sender *sender)
{
    uint64_t busy = sender->options->no_ack ? queued(sender) : sender->waiting;

    return busy < sender->options->window ? sender->options->window - busy : 0;
}

/* Ends when it is over, or waits for what has to happen before. */
static void end_or_wait(struct sender *sender, bool is_held_up)
{
    struct session *session = &sender->session;
    bool is_all_out = is_all_sent(sender) && sender->waiting == 0;
    struct peal_slice line;

    if (is_all_out && !sender->options->no_ack) {
        session_end(session, sender->exit_code);
    } else if (is_all_out && sender->is_flushing && queued(sender) == 0) {
        session_end(session,
                    session->unproven > 0 ? EXIT_ERROR : sender->exit_code);
    } else if (sender->options->no_ack && (is_all_out || is_held_up)) {
        /* The link takes a turn first, and then has it all. */
        sender->is_flushing = is_all_out;
        session_alarm(session, &sender->pace, session_now_ns() + 1000000);
    }
    if (sender->reads_lines && !sender->is_at_end) {
        /* More is read when no whole line is left. */
        if (next_line(sender, &line)) {
            session_unwatch(session, &sender->input);
        } else {
            session_watch(session, &sender->input);
        }
    }
}

static void send_more(struct sender *sender)
{
    uint64_t left = sender->is_ready ? room_left(sender) : 0;
    struct data data;

    if (!sender->is_ready) {
        return;
    }
    for (; !sender->session.is_done && left > 0 && next_data(sender, &data);
         left--) {
        if (!is_time(sender)) {
            if (sender->reads_lines) {
                data_free(&data);
            }
            break;
        }
        send_one(sender, &data);
        step(sender, &data);
    }
    end_or_wait(sender, left == 0);
}

static void on_pace(struct alarm *alarm)
{
    send_more(alarm->user);
}

/* --- Standard input ------------------------------------------------------- */

/* Room for one more piece. */
static bool make_room(struct sender *sender)
{
    char *text;

    if (sender->text_used > 0) {
        memmove(sender->text, sender->text + sender->text_used,
                sender->text_size - sender->text_used);
        sender->text_size -= sender->text_used;
        sender->text_used = 0;
    }
    if (sender->text_room - sender->text_size >= READ_BYTES) {
        return true;
    }
    if (sender->text_room > LINE_BYTES_MAX) {
        output_say(OUTPUT_ERROR, "line %" PRIu64 " is too long",
                   sender->line + 1);
        return false;
    }
    text = realloc(sender->text, 2 * sender->text_room + READ_BYTES);
    if (text == NULL) {
        return false;
    }
    sender->text = text;
    sender->text_room = 2 * sender->text_room + READ_BYTES;
    return true;
}

static void on_input(struct watch *watch, short events)
{
    struct sender *sender = watch->user;
    ssize_t got;

    (void)events;
    if (!make_room(sender)) {
        session_end(&sender->session, EXIT_ERROR);
        return;
    }
    got = read(watch->fd, sender->text + sender->text_size, READ_BYTES);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got < 0) {
        output_say(OUTPUT_ERROR, "cannot read standard input: %s",
                   strerror(errno));
        fail(sender, EXIT_ERROR);
    }
    if (got <= 0) {
        sender->is_at_end = true;
        session_unwatch(&sender->session, watch);
    } else {
        sender->text_size += (size_t)got;
    }
    send_more(sender);
}

/* --- Life ----------------------------------------------------------------- */

/*
 * Whoever may publish without being a member need not be one: then the answer
 * to the first message tells what is wrong.
 */
static void on_joined(struct peal_link *link, const struct peal_answer *answer,
                      void *user)
{
    struct sender *sender = user;

    (void)link;
    if (answer->status != 0 && answer->status != PEAL_EREFUSED) {
        char why[600];
        int exit_code = session_explain(answer, why, sizeof why);

        if (!sender->session.is_done) {
            output_say(OUTPUT_ERROR, "cannot join %s: %s", sender->room, why);
        }
        session_end(&sender->session, exit_code);
        return;
    }
    sender->is_ready = true;
    send_more(sender);
}

static void on_connected(struct session *session, uint64_t connects)
{
    struct sender *sender = session->user;

    if (connects > 1) {
        return; /* the link joins again */
    }
    if (sender->room == NULL) {
        sender->is_ready = true;
        send_more(sender);
    } else if (peal_link_join(session->link, sender->room, on_joined, sender) <
               0) {
        output_say(OUTPUT_ERROR, "there is no memory");
        session_end(session, EXIT_ERROR);
    }
}

static void report(const struct sender *sender)
{
    uint64_t failed = sender->failed + sender->session.dropped;

    if (sender->options->json) {
        printf("{\"sent\":%" PRIu64 ",\"ok\":%" PRIu64 ",\"failed\":%" PRIu64
               ",\"unanswered\":%" PRIu64 "}\n",
               sender->sent, sender->ok, failed, sender->waiting);
    } else if (sender->sent > 1 && (failed > 0 || sender->waiting > 0)) {
        output_say(OUTPUT_WARNING,
                   "sent %" PRIu64 ": %" PRIu64 " ok, %" PRIu64
                   " failed, %" PRIu64 " without an answer",
                   sender->sent, sender->ok, failed, sender->waiting);
    }
}

static int run(struct sender *sender)
{
    int exit_code;

    if (!session_begin(&sender->session, sender->options)) {
        return sender->session.exit_code;
    }
    sender->session.user = sender;
    sender->session.on_connected = on_connected;
    sender->session.is_one_shot =
        !sender->reads_lines && sender->options->count == 1;
    sender->pace = (struct alarm){.on_due = on_pace, .user = sender};
    sender->input = (struct watch){.fd = STDIN_FILENO,
                                   .events = POLLIN,
                                   .on_ready = on_input,
                                   .user = sender};
    exit_code = session_run(&sender->session);
    return exit_code == EXIT_OK && sender->session.dropped > 0 ? EXIT_ERROR
                                                               : exit_code;
}

int sender_run(const struct options *options, const char *event,
               const char *room, const char *argument)
{
    struct sender sender = {
        .options = options,
        .event = event,
        .room = room,
        .reads_lines = argument != NULL && strcmp(argument, "-") == 0,
    };
    int exit_code;

    if (!data_check_event(event) || (room != NULL && !data_check_room(room))) {
        return EXIT_USAGE;
    }
    if (!sender.reads_lines &&
        !data_make_argument(&sender.data, options, argument)) {
        return EXIT_ERROR;
    }
    exit_code = run(&sender);
    report(&sender);
    data_free(&sender.data);
    free(sender.text);
    return exit_code;
}
