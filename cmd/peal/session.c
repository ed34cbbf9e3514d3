#include "session.h"

#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WATCHES_MAX 256
#define GOODBYE_MS 1000
/* Who is thrown out sooner than this was not let in. */
#define STABLE_NS UINT64_C(5000000000)

/* What a signal writes to: handlers are handed nothing. */
static int signal_pipe[2] = {-1, -1};

uint64_t session_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void session_end(struct session *session, int exit_code)
{
    if (!session->is_done) {
        session->is_done = true;
        session->exit_code = exit_code;
    }
}

/* --- Signals -------------------------------------------------------------- */

static void catch (int number)
{
    char byte = (char)number;
    int saved = errno;

    /* When it is full, there is enough in it already. */
    (void)!write(signal_pipe[1], &byte, 1);
    errno = saved;
}

static void on_signal(struct watch *watch, short events)
{
    struct session *session = watch->user;
    char numbers[64];
    ssize_t count = read(watch->fd, numbers, sizeof numbers);

    (void)events;
    for (ssize_t i = 0; i < count; i++) {
        if (numbers[i] == SIGCHLD) {
            if (session->on_child != NULL) {
                session->on_child(session);
            }
        } else if (session->on_interrupt == NULL ||
                   session->on_interrupt(session)) {
            session_end(session, 128 + numbers[i]);
        }
    }
}

static bool begin_signals(struct session *session)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
    struct sigaction action = {.sa_handler = catch, .sa_flags = SA_RESTART};

    if (pipe(signal_pipe) < 0) {
        output_say(OUTPUT_ERROR, "cannot make a pipe: %s", strerror(errno));
        return false;
    }
    for (size_t i = 0; i < 2; i++) {
        fcntl(signal_pipe[i], F_SETFL, O_NONBLOCK);
        fcntl(signal_pipe[i], F_SETFD, FD_CLOEXEC);
    }
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        sigaction(numbers[i], &action, NULL);
    }
    /* A pipe that nobody reads is an error that can be told. */
    signal(SIGPIPE, SIG_IGN);
    session->signal_watch = (struct watch){.fd = signal_pipe[0],
                                           .events = POLLIN,
                                           .on_ready = on_signal,
                                           .user = session};
    session_watch(session, &session->signal_watch);
    return true;
}

static void on_output(struct watch *watch, short events)
{
    (void)watch;
    if (events & (POLLERR | POLLHUP)) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
}

/* `peal sub lobby | head -1` ends with head, and not with the next event. */
static void watch_output(struct session *session)
{
    struct stat facts;

    if (fstat(STDOUT_FILENO, &facts) == 0 &&
        (S_ISFIFO(facts.st_mode) || S_ISSOCK(facts.st_mode))) {
        session->output_watch = (struct watch){
            .fd = STDOUT_FILENO, .events = 0, .on_ready = on_output};
        session_watch(session, &session->output_watch);
    }
}

/* --- What is waited for --------------------------------------------------- */

void session_watch(struct session *session, struct watch *watch)
{
    if (!watch->is_on) {
        watch->is_on = true;
        watch->next = session->watches;
        session->watches = watch;
    }
}

void session_unwatch(struct session *session, struct watch *watch)
{
    for (struct watch **at = &session->watches; *at != NULL;
         at = &(*at)->next) {
        if (*at == watch) {
            *at = watch->next;
            watch->is_on = false;
            return;
        }
    }
}

void session_alarm(struct session *session, struct alarm *alarm,
                   uint64_t due_ns)
{
    alarm->due_ns = due_ns;
    if (!alarm->is_on) {
        alarm->is_on = true;
        alarm->next = session->alarms;
        session->alarms = alarm;
    }
}

void session_unalarm(struct session *session, struct alarm *alarm)
{
    for (struct alarm **at = &session->alarms; *at != NULL; at = &(*at)->next) {
        if (*at == alarm) {
            *at = alarm->next;
            alarm->is_on = false;
            return;
        }
    }
}

/* The alarm that is due first, or NULL. */
static struct alarm *first_alarm(const struct session *session)
{
    struct alarm *first = session->alarms;

    for (struct alarm *alarm = first; alarm != NULL; alarm = alarm->next) {
        if (alarm->due_ns < first->due_ns) {
            first = alarm;
        }
    }
    return first;
}

static int timeout_ms(const struct session *session)
{
    int timeout = peal_loop_timeout_ms(session->loop);
    const struct alarm *first = first_alarm(session);
    uint64_t now_ns = session_now_ns();
    uint64_t left_ms;

    if (first == NULL) {
        return timeout;
    }
    left_ms = first->due_ns <= now_ns
                  ? 0
                  : (first->due_ns - now_ns + 999999) / 1000000;
    return timeout >= 0 && (uint64_t)timeout < left_ms ? timeout
           : left_ms < 60000                           ? (int)left_ms
                                                       : 60000;
}

static void ring_alarms(struct session *session)
{
    uint64_t now_ns = session_now_ns();
    struct alarm *alarm;

    while ((alarm = first_alarm(session)) != NULL && alarm->due_ns <= now_ns) {
        session_unalarm(session, alarm);
        alarm->on_due(alarm);
    }
}

/* Waits for something and does what it asks for. */
static void turn(struct session *session)
{
    struct pollfd polled[WATCHES_MAX];
    struct watch *watches[WATCHES_MAX];
    nfds_t count = 0;

    for (struct watch *watch = session->watches;
         watch != NULL && count < WATCHES_MAX - 1; watch = watch->next) {
        watches[count] = watch;
        polled[count++] = (struct pollfd){watch->fd, watch->events, 0};
    }
    polled[count] = (struct pollfd){peal_loop_fd(session->loop), POLLIN, 0};
    if (poll(polled, count + 1, timeout_ms(session)) < 0) {
        return; /* a signal: its pipe will be readable */
    }
    peal_loop_step(session->loop, 0);
    for (nfds_t i = 0; i < count; i++) {
        /* A callback may have removed it. */
        if (polled[i].revents != 0 && watches[i]->is_on) {
            watches[i]->on_ready(watches[i], polled[i].revents);
        }
    }
    ring_alarms(session);
    output_flush();
}

/* --- The link ------------------------------------------------------------- */

int session_explain_loss(const struct peal_link_change *change, char *out,
                         size_t size)
{
    const char *dot = change->reason[0] != '\0' ? ": " : "";

    if (change->http_status != 0) {
        snprintf(out, size, "the server answered with HTTP status %d%s",
                 change->http_status,
                 change->http_status == 404   ? " (is the path right?)"
                 : change->http_status == 401 ? " (is there a --token?)"
                                              : "");
        return change->http_status == 401 || change->http_status == 403 ||
                       change->http_status == 407
                   ? EXIT_REFUSED
                   : EXIT_CONNECT;
    }
    if (change->code != 0 && change->code != 1006) {
        snprintf(out, size, "the server closed with %d%s%s", change->code, dot,
                 change->reason);
        return change->code == 1008 ? EXIT_REFUSED : EXIT_CONNECT;
    }
    switch (change->error) {
    case PEAL_EREFUSED:
        snprintf(out, size, "nobody listens there");
        break;
    case PEAL_EADDRESS:
    case PEAL_ENOTFOUND:
        snprintf(out, size, "its name cannot be resolved");
        break;
    default:
        snprintf(out, size, "%s",
                 change->reason[0] != '\0' ? change->reason
                                           : peal_strerror(change->error));
        break;
    }
    return EXIT_CONNECT;
}

/* No connection yet. */
static void could_not_connect(struct session *session,
                              const struct peal_link_change *change)
{
    char why[256];
    int exit_code = session_explain_loss(change, why, sizeof why);

    if (session->options->retry && exit_code != EXIT_REFUSED &&
        change->to == PEAL_LINK_RECONNECTING) {
        output_say(OUTPUT_NOTE, "cannot connect to %s: %s; again in %.1f s",
                   session->options->url, why, change->retry_in_ms / 1e3);
        return;
    }
    output_say(OUTPUT_ERROR, "cannot connect to %s: %s", session->options->url,
               why);
    session_end(session, exit_code);
}

static void lost(struct session *session, const struct peal_link_change *change)
{
    uint64_t now_ns = session_now_ns();
    bool was_short = now_ns - session->connected_at_ns < STABLE_NS;
    char why[256];
    int exit_code = session_explain_loss(change, why, sizeof why);

    session->unproven += change->unproven;
    if (session->lost_at_ns == 0) {
        session->lost_at_ns = now_ns;
    } else {
        was_short = true; /* an attempt to come back */
    }
    if (session->is_one_shot || change->to == PEAL_LINK_DISCONNECTED ||
        (exit_code == EXIT_REFUSED && was_short)) {
        output_say(OUTPUT_ERROR, "the connection is lost: %s", why);
        session_end(session,
                    exit_code == EXIT_REFUSED ? EXIT_REFUSED : EXIT_ERROR);
        return;
    }
    output_say(OUTPUT_WARNING, "the connection is lost: %s; again in %.1f s",
               why, change->retry_in_ms / 1e3);
}

static void on_state(struct peal_link *link,
                     const struct peal_link_change *change, void *user)
{
    struct session *session = user;

    (void)link;
    if (session->is_done) {
        return;
    }
    if (change->to == PEAL_LINK_CONNECTED) {
        session->connects++;
        session->connected_at_ns = session_now_ns();
        if (session->connects > 1) {
            output_say(
                OUTPUT_NOTE,
                "connected again after %.1f s: what was published "
                "meanwhile is missing",
                (double)(session->connected_at_ns - session->lost_at_ns) / 1e9);
        }
        session->lost_at_ns = 0;
        if (session->on_connected != NULL) {
            session->on_connected(session, session->connects);
        }
    } else if (change->to == PEAL_LINK_RECONNECTING ||
               change->to == PEAL_LINK_DISCONNECTED) {
        if (session->connects == 0) {
            could_not_connect(session, change);
        } else {
            lost(session, change);
        }
    }
}

static bool is_connected(struct peal_link *link)
{
    struct peal_link_stats stats = {.size = sizeof stats};

    peal_link_stats(link, &stats);
    return stats.connected_ms > 0;
}

/* What goes wrong on a connection; losses are told by on_state. */
static void on_error(struct peal_link *link, int error, const char *what,
                     void *user)
{
    (void)user;
    if (error == PEAL_EREFUSED && is_connected(link)) {
        output_say(OUTPUT_WARNING, "the server complains: %s", what);
    } else if (error == PEAL_ETIMEOUT && is_connected(link)) {
        output_say(OUTPUT_WARNING, "%s: no answer in time", what);
    }
}

/* One sent from outside of the loop's turn learns only here that it cannot. */
static void on_dropped(struct peal_link *link, const struct peal_event *event,
                       int error, void *user)
{
    struct session *session = user;

    (void)link;
    (void)event;
    session->dropped++;
    if (!session->is_done || error != PEAL_EGONE) {
        output_say(OUTPUT_ERROR, "a message was not sent: %s",
                   peal_strerror(error));
    }
    if (error == PEAL_ENOTSUP) {
        session_end(session, EXIT_ERROR); /* so would be the rest */
    }
}

/* --- What the command line says ------------------------------------------- */

static bool add_header(struct link_way *way, const char *line)
{
    size_t size = strlen(way->headers);
    int added;

    if (strchr(line, ':') == NULL || strpbrk(line, "\r\n") != NULL) {
        output_say(OUTPUT_ERROR, "a header is a line such as "
                                 "\"X-User: ada\"");
        return false;
    }
    added = snprintf(way->headers + size, sizeof way->headers - size, "%s\r\n",
                     line);
    if (added < 0 || (size_t)added >= sizeof way->headers - size) {
        output_say(OUTPUT_ERROR, "the headers are too long");
        return false;
    }
    return true;
}

/* The first line of --token-file. NULL, or what is wrong with it. */
static const char *read_token_file(const char *path, char *token, size_t size)
{
    FILE *file = fopen(path, "r");
    const char *why = NULL;

    if (file == NULL) {
        return strerror(errno);
    }
    if (fgets(token, (int)size, file) == NULL) {
        why = ferror(file) ? strerror(errno) : "it is empty";
    } else if (strchr(token, '\n') == NULL && getc(file) != EOF) {
        why = "its first line is too long";
    }
    fclose(file);
    token[strcspn(token, "\r\n")] = '\0';
    return why;
}

static bool read_token(const struct options *options, char *token, size_t size)
{
    const char *given = options->token != NULL ? options->token : "";
    const char *why;

    if (strlen(given) >= size) {
        output_say(OUTPUT_ERROR, "the token is too long: at most %zu bytes",
                   size - 1);
        return false;
    }
    memcpy(token, given, strlen(given) + 1);
    if (options->token_file == NULL || token[0] != '\0') {
        return true;
    }
    why = read_token_file(options->token_file, token, size);
    if (why != NULL) {
        output_say(OUTPUT_ERROR, "cannot read a token from %s: %s",
                   options->token_file, why);
    }
    return why == NULL;
}

/* The TLS that was asked for; NULL: the library's own. */
static bool make_tls(struct peal_tls **tls, const struct options *options)
{
    const struct peal_tls_client_options wanted = {
        .size = sizeof wanted,
        .ca_file = options->cacert,
        .certificate_file = options->cert,
        .key_file = options->key,
        .insecure_trust_anybody = options->insecure,
    };
    char why[PEAL_TLS_ERROR_SIZE];

    *tls = NULL;
    if (options->cacert == NULL && options->cert == NULL &&
        options->key == NULL && !options->insecure) {
        return true;
    }
    if (options->key != NULL && options->cert == NULL) {
        output_say(OUTPUT_ERROR, "--key needs --cert");
        return false;
    }
    if (peal_tls_client_new(tls, &wanted, why, sizeof why) < 0) {
        output_say(OUTPUT_ERROR, "%s", why);
        return false;
    }
    if (options->insecure) {
        output_say(OUTPUT_WARNING, "nobody checks who the server is");
    }
    return true;
}

bool session_read_way(struct link_way *way, const struct options *options)
{
    char token[4096];
    char line[sizeof token + 32];

    *way = (struct link_way){
        .options =
            {
                .size = sizeof way->options,
                .url = options->url,
                .dialect = strcmp(options->dialect, "stelar") == 0
                               ? PEAL_DIALECT_STELAR
                               : PEAL_DIALECT_PEAL,
                .origin = options->origin,
                .protocols = options->protocols,
                .proxy = options->proxy,
                .tls_server_name = options->server_name,
                .deflate = options->deflate,
                .connect_timeout_ms = (uint32_t)options->timeout_ms,
                .request_timeout_ms = (uint32_t)options->timeout_ms,
                .message_bytes_max = (size_t)64 << 20,
                .outbox_bytes_max = (size_t)1 << 30,
                .outbox_count_max = 100000,
                .outbox_policy = PEAL_OUTBOX_REFUSE,
            },
    };
    if (!read_token(options, token, sizeof token)) {
        return false;
    }
    if (token[0] != '\0') {
        snprintf(line, sizeof line, "Authorization: Bearer %s", token);
        if (!add_header(way, line)) {
            return false;
        }
    }
    for (size_t i = 0; i < options->headers.count; i++) {
        if (!add_header(way, options->headers.items[i])) {
            return false;
        }
    }
    way->options.headers = way->headers;
    return make_tls(&way->options.tls, options);
}

/* --- Life ----------------------------------------------------------------- */

static bool make_link(struct session *session)
{
    struct link_way way;
    int rc;

    if (!session_read_way(&way, session->options)) {
        session->exit_code = EXIT_USAGE;
        return false;
    }
    way.options.on_state = on_state;
    way.options.on_error = on_error;
    way.options.on_dropped = on_dropped;
    way.options.user = session;
    rc = peal_link_new(&session->link, session->loop, &way.options);
    peal_tls_free(way.options.tls); /* the link holds it */
    if (rc == 0) {
        return true;
    }
    session->exit_code = rc == PEAL_ENOMEM ? EXIT_ERROR : EXIT_USAGE;
    if (rc == PEAL_EADDRESS) {
        output_say(OUTPUT_ERROR,
                   "%s is no address of a server: ws://host:port/path, "
                   "wss://..., tcp://host:port, tls://... or unix:/path",
                   session->options->url);
    } else {
        output_say(OUTPUT_ERROR, "cannot use %s: %s", session->options->url,
                   peal_strerror(rc));
    }
    return false;
}

bool session_begin(struct session *session, const struct options *options)
{
    int rc;

    *session = (struct session){.options = options};
    rc = peal_loop_new(&session->loop, NULL);
    if (rc < 0) {
        output_say(OUTPUT_ERROR, "%s", peal_strerror(rc));
        session->exit_code = EXIT_ERROR;
        return false;
    }
    if (!make_link(session) || !begin_signals(session)) {
        peal_link_free(session->link);
        peal_loop_free(session->loop);
        if (session->exit_code == EXIT_OK) {
            session->exit_code = EXIT_ERROR;
        }
        return false;
    }
    watch_output(session);
    return true;
}

/* Lets the server read all that was written, and answer the goodbye. */
static void say_goodbye(struct session *session)
{
    uint64_t until_ns = session_now_ns() + GOODBYE_MS * UINT64_C(1000000);

    if (peal_link_state(session->link) != PEAL_LINK_CONNECTED) {
        return;
    }
    peal_link_close(session->link, 1000, "");
    do {
        peal_loop_step(session->loop, 10);
    } while (is_connected(session->link) && session_now_ns() < until_ns);
}

int session_run(struct session *session)
{
    peal_link_open(session->link);
    while (!session->is_done) {
        turn(session);
    }
    say_goodbye(session);
    peal_link_free(session->link);
    peal_loop_free(session->loop);
    return session->exit_code;
}

/* --- Answers -------------------------------------------------------------- */

int session_failure_code(const struct peal_failure *failure)
{
    switch (failure->code) {
    case 102: /* not_allowed */
    case 108: /* refused */
        return EXIT_REFUSED;
    case 106: /* timeout */
        return EXIT_TIMEOUT;
    default:
        return EXIT_ERROR;
    }
}

int session_explain(const struct peal_answer *answer, char *out, size_t size)
{
    switch (answer->status) {
    case PEAL_OK:
        snprintf(out, size, "ok");
        return EXIT_OK;
    case PEAL_EREFUSED:
        snprintf(out, size, "%s (%d %s)", answer->failure.message,
                 answer->failure.code, answer->failure.name);
        return session_failure_code(&answer->failure);
    case PEAL_ETIMEOUT:
        snprintf(out, size, "no answer in time");
        return EXIT_TIMEOUT;
    case PEAL_EGONE:
        snprintf(out, size,
                 "the connection broke before the answer came, so "
                 "nobody knows whether it arrived");
        return EXIT_ERROR;
    default:
        snprintf(out, size, "%s", peal_strerror(answer->status));
        return EXIT_ERROR;
    }
}
