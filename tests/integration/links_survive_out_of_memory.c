/*
 * Goal: no failed allocation crashes a link, leaks, hangs or leaves anybody
 * without an outcome, whatever it speaks and over what.
 *
 * Method: a session that uses nearly everything is run again and again against
 * a server in a process of its own; the first time the first allocation of the
 * client fails, then the second, until one session has passed without a
 * failure. Each must end in bounded time with all its outcomes and with all
 * memory given back.
 */
#include "support/suite.h"

#include <peal/server.h>

#include "support/certificates.h"
#include "support/child.h"
#include "support/handlers.h"
#include "support/link.h"
#include "support/scarce.h"
#include "support/served.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Waited for at the most that often: a test that never ends is none. */
#define RUNS_MAX 3000

#define LONG_SIZE 4000

/* --- The server ------------------------------------------------------------
 */

static void on_asked(struct peal_client *client,
                     const struct peal_answer *answer, void *user)
{
    (void)client;
    (void)answer;
    (void)user;
}

/* Asks back, and sends something long. */
static void on_plain(struct peal_client *from, const struct peal_event *event,
                     void *user)
{
    struct peal_event question = peal_json("where", "1");

    (void)user;
    peal_client_request(from, &question, 0, on_asked, NULL);
    peal_client_emit(from, event);
}

static void add_handlers(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on(server, "plain", on_plain, NULL), 0);
    CHECK_EQUAL(peal_server_on_request(server, "echo", handlers_echo, NULL), 0);
}

static int serve(const char *dialect, const char *certificate, const char *key)
{
    const struct peal_deflate_options deflate = {
        .size = sizeof deflate,
        .enabled = true,
        .context_takeover = true,
        .threshold_bytes = 1,
    };
    struct peal_server_options options = {
        .dialect = strcmp(dialect, "stelar") == 0 ? PEAL_DIALECT_STELAR
                                                  : PEAL_DIALECT_PEAL,
        .clients_may_join = true,
        .deflate = &deflate,
    };
    int status;

    if (certificate != NULL) {
        CHECK_EQUAL(peal_tls_new(&options.tls,
                                 &(struct peal_tls_options){
                                     .size = sizeof(struct peal_tls_options),
                                     .certificate_file = certificate,
                                     .key_file = key,
                                 },
                                 NULL, 0),
                    0);
    }
    status = served_run(&options, add_handlers);
    peal_tls_free(options.tls);
    return status;
}

/* --- A session -------------------------------------------------------------
 */

static struct scene {
    enum peal_dialect dialect;
    bool is_tcp;
    bool has_tls;
    struct child server;
    char url[160];
    char path[64]; /* of a file to send */
    char data[LONG_SIZE];
    int asked;    /* for outcomes */
    int outcomes; /* had */
    int good;
    int connects;
    bool has_ended; /* gave up */
} scene;

static void on_state(struct peal_link *link,
                     const struct peal_link_change *change, void *user)
{
    (void)link;
    (void)user;
    scene.connects += change->to == PEAL_LINK_CONNECTED;
    scene.has_ended = change->to == PEAL_LINK_DISCONNECTED;
}

static void on_outcome(struct peal_link *link, const struct peal_answer *answer,
                       void *user)
{
    (void)link;
    (void)user;
    CHECK(answer->status <= 0);
    scene.outcomes++;
    scene.good += answer->status == 0;
}

static void on_done(struct peal_link *link, int status, void *user)
{
    (void)link;
    (void)user;
    CHECK(status <= 0);
    scene.outcomes++;
    scene.good += status == 0;
}

static void on_event(struct peal_link *link, const struct peal_event *event,
                     void *user)
{
    (void)link;
    (void)event;
    (void)user;
}

static void on_where(struct peal_link *link, const struct peal_event *event,
                     struct peal_ask ask, void *user)
{
    (void)link;
    (void)event;
    (void)user;
    (void)peal_ask_answer(ask, NULL);
}

/* One more outcome is due when this was taken. */
static void expect(int rc)
{
    CHECK(rc <= 0);
    scene.asked += rc == 0;
}

static void talk(struct peal_link *link)
{
    struct peal_event text = {.name = peal_slice("plain"),
                              .data = {scene.data, LONG_SIZE}};
    struct peal_event bytes = peal_bytes("plain", scene.data, LONG_SIZE);
    struct peal_event question = {.name = peal_slice("echo"),
                                  .data = {scene.data, LONG_SIZE}};
    struct peal_file file = {
        .size = sizeof file,
        .name = "file",
        .path = scene.path,
        .on_done = on_done,
    };

    CHECK(peal_link_on(link, "plain", on_event, NULL) <= 0);
    CHECK(peal_link_once(link, "plain", on_event, NULL) <= 0);
    CHECK(peal_link_on_any(link, on_event, NULL) <= 0);
    CHECK(peal_link_on_request(link, "where", on_where, NULL) <= 0);
    expect(peal_link_join(link, "lobby", on_outcome, NULL));
    CHECK(peal_link_emit(link, &text) <= 0);
    CHECK(peal_link_emit(link, &bytes) <= 0);
    expect(peal_link_request(link, &question, 2000, on_outcome, NULL));
    expect(peal_link_send_file(link, &file));
    expect(peal_link_leave(link, "lobby", on_outcome, NULL));
}

static void run_link(struct peal_loop *loop,
                     const struct peal_link_options *options)
{
    struct peal_link *link;

    if (peal_link_new(&link, loop, options) < 0) {
        return;
    }
    talk(link);
    if (peal_link_open(link) == 0) {
        LINK_STEP_UNTIL(loop, scene.connects > 0 || scene.has_ended);
        talk(link);
        expect(peal_link_request(
            link, &(struct peal_event){.name = peal_slice("echo")}, 2000,
            on_outcome, NULL));
        LINK_STEP_UNTIL(loop, scene.outcomes == scene.asked || scene.has_ended);
        (void)peal_link_update(link, options);
        (void)peal_link_close(link, 1000, "done");
    }
    peal_link_free(link);
    CHECK_EQUAL(scene.outcomes, scene.asked);
}

/* True when it passed without a failed allocation. */
static bool run_session(long at)
{
    struct peal_tls_client_options for_tls = {
        .size = sizeof for_tls,
        .ca_file = certificates_path("main.crt"),
    };
    struct peal_link_options options = {
        .size = sizeof options,
        .url = scene.url,
        .dialect = scene.dialect,
        .reconnect_min_ms = 1,
        .reconnect_first_ms = 2,
        .reconnect_max_ms = 10,
        .reconnect_attempts = 5,
        .deflate = true,
        .deflate_context_takeover = true,
        .deflate_threshold_bytes = 1,
        .on_state = on_state,
    };
    struct peal_loop *loop;
    bool is_plenty;

    scene.asked = scene.outcomes = scene.good = scene.connects = 0;
    scene.has_ended = false;
    scarce_arm(at);
    if (!scene.has_tls ||
        peal_tls_client_new(&options.tls, &for_tls, NULL, 0) == 0) {
        if (peal_loop_new(&loop, NULL) == 0) {
            run_link(loop, &options);
            peal_loop_free(loop);
        }
    }
    peal_tls_free(options.tls);
    is_plenty = !scarce_has_failed();
    scarce_arm(0);
    CHECK_EQUAL(scarce_live(), 0);
    return is_plenty;
}

static void run_all(enum peal_dialect dialect, bool is_tcp, bool has_tls)
{
    const char *const arguments[] = {
        "serve",
        dialect == PEAL_DIALECT_STELAR ? "stelar" : "peal",
        has_tls ? certificates_path("main.crt") : NULL,
        has_tls ? certificates_path("main.key") : NULL,
        NULL,
    };
    char address[PEAL_ADDRESS_MAX];
    long at = 1;

    scene = (struct scene){
        .dialect = dialect, .is_tcp = is_tcp, .has_tls = has_tls};
    snprintf(scene.path, sizeof scene.path, "%s",
             certificates_path("main.crt"));
    memset(scene.data, 'a', LONG_SIZE);
    scene.data[0] = '"';
    scene.data[LONG_SIZE - 1] = '"';
    child_start(&scene.server, "/proc/self/exe", arguments);
    child_ready_value(&scene.server, is_tcp ? "tcp" : "ws", address,
                      sizeof address);
    if (has_tls) {
        snprintf(scene.url, sizeof scene.url, "%s://%s", is_tcp ? "tls" : "wss",
                 address);
    } else {
        link_url(scene.url, address, is_tcp);
    }
    while (!run_session(at)) {
        CHECK(at < RUNS_MAX);
        at++;
    }
    /* The one without a failure went as it should. */
    CHECK_EQUAL(scene.connects, 1);
    CHECK_EQUAL(scene.good, scene.asked);
    CHECK(at > 50);
    print_message("%ld allocations\n", at - 1);
    child_stop(&scene.server);
}

static void test_peal_over_ws(void **state)
{
    (void)state;
    run_all(PEAL_DIALECT_PEAL, false, false);
}

static void test_peal_over_tcp(void **state)
{
    (void)state;
    run_all(PEAL_DIALECT_PEAL, true, false);
}

static void test_peal_over_wss(void **state)
{
    (void)state;
    run_all(PEAL_DIALECT_PEAL, false, true);
}

static void test_peal_over_tls(void **state)
{
    (void)state;
    run_all(PEAL_DIALECT_PEAL, true, true);
}

static void test_stelar_over_ws(void **state)
{
    (void)state;
    run_all(PEAL_DIALECT_STELAR, false, false);
}

static void test_stelar_over_tcp(void **state)
{
    (void)state;
    run_all(PEAL_DIALECT_STELAR, true, false);
}

static int make_certificate(void **state)
{
    (void)state;
    certificates_open();
    certificates_make(
        &(struct certificate){.name = "main", .names = "IP:127.0.0.1"});
    return 0;
}

static int remove_certificate(void **state)
{
    (void)state;
    certificates_close();
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peal_over_ws),
        cmocka_unit_test(test_peal_over_tcp),
        cmocka_unit_test(test_peal_over_wss),
        cmocka_unit_test(test_peal_over_tls),
        cmocka_unit_test(test_stelar_over_ws),
        cmocka_unit_test(test_stelar_over_tcp),
    };

    if (argc > 2 && strcmp(argv[1], "serve") == 0) {
        return serve(argv[2], argc > 4 ? argv[3] : NULL,
                     argc > 4 ? argv[4] : NULL);
    }
    scarce_install();
    return cmocka_run_group_tests(tests, make_certificate, remove_certificate);
}
