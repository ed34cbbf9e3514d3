#include "session.h"

#include "output.h"

#define GOODBYE_MS 1000
/* Who is thrown out sooner than this was not let in. */
#define STABLE_NS UINT64_C(5000000000)

void session_end(struct session *session, int exit_code)
{
    if (!session->is_done) {
        session->is_done = true;
        session->exit_code = exit_code;
    }
}

/* --- The link ------------------------------------------------------------- */

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
    if (!make_link(session) || !session_catch_signals(session)) {
        peal_link_free(session->link);
        peal_loop_free(session->loop);
        if (session->exit_code == EXIT_OK) {
            session->exit_code = EXIT_ERROR;
        }
        return false;
    }
    session_watch_output(session);
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
        session_turn(session);
    }
    say_goodbye(session);
    peal_link_free(session->link);
    peal_loop_free(session->loop);
    return session->exit_code;
}
