/*
 * Goal: at level debug each client has a line when it comes and one when it
 * leaves, which says how it ended, how long it was there and what it carried;
 * above that level there is none. No line has anything of a message in it.
 * Lines that come too often are counted, and the count is told.
 *
 * Method: clients on both transports that do countable things, updates that are
 * refused; the log is kept.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/member.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char kept[65536];
static size_t kept_size;

static void keep(enum peal_log_level level, const char *component,
                 const char *message, const char *fields, void *user)
{
    (void)user;
    pthread_mutex_lock(&lock);
    kept_size += (size_t)snprintf(kept + kept_size, sizeof kept - kept_size,
                                  "%s|%s|%s|%s\n", peal_log_level_name(level),
                                  component, message, fields);
    CHECK(kept_size < sizeof kept);
    pthread_mutex_unlock(&lock);
}

static void forget(void)
{
    pthread_mutex_lock(&lock);
    kept_size = 0;
    kept[0] = '\0';
    pthread_mutex_unlock(&lock);
}

/* Copies the newest line that begins so; false when there is none. */
static bool find(const char *begin, char *out, size_t size)
{
    bool is_found = false;

    pthread_mutex_lock(&lock);
    for (const char *line = kept; *line != '\0';
         line = strchr(line, '\n') + 1) {
        if (strncmp(line, begin, strlen(begin)) == 0) {
            snprintf(out, size, "%.*s", (int)strcspn(line, "\n"), line);
            is_found = true;
        }
    }
    pthread_mutex_unlock(&lock);
    return is_found;
}

static char line[1024];

#define CONNECTED "debug|server|client connected|"
#define LEFT "debug|server|client left|"

static void await_line(const char *begin)
{
    CHECK_SOON(find(begin, line, sizeof line));
}

/* The field's value as text, and as a number. */
static const char *field(const char *name)
{
    static char value[256];
    char key[64];
    const char *at;

    snprintf(key, sizeof key, " %s=", name);
    at = strstr(line, key);
    if (at == NULL) {
        fprintf(stderr, "no %s in: %s\n", name, line);
    }
    CHECK(at != NULL);
    at += strlen(key);
    snprintf(value, sizeof value, "%.*s", (int)strcspn(at, " "), at);
    return value;
}

static long long number(const char *name)
{
    return atoll(field(name));
}

static void on_plain(struct peal_client *from, const struct peal_event *event,
                     void *user)
{
    (void)user;
    (void)event;
    CHECK_EQUAL(peal_client_emit(from, &(struct peal_event){
                                           .name = peal_slice("told"),
                                           .data = peal_slice("\"sesame\""),
                                       }),
                0);
}

static void on_kick(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)event;
    (void)user;
    peal_client_close(from, 4001, "a \"reason\"");
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on(server, "plain", on_plain, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "kick", on_kick, NULL), 0);
}

static void check_end(bool is_tcp)
{
    struct peal_server_options options = {.log = keep,
                                          .log_level = PEAL_LOG_DEBUG};
    struct peal_server_stats before;
    struct member member;
    struct host host;
    char conn[64];
    uint64_t began_ms;

    forget();
    host_start(&host, &options, setup);
    began_ms = check_now_ms();
    member_open(&member, host_address(&host, is_tcp), is_tcp);
    await_line(CONNECTED);
    CHECK(strstr(line, is_tcp ? " transport=tcp" : " transport=ws") != NULL);
    CHECK(strstr(line, " remote=127.0.0.1:") != NULL);
    snprintf(conn, sizeof conn, LEFT "%.*s ",
             (int)strcspn(line + sizeof CONNECTED - 1, " "),
             line + sizeof CONNECTED - 1);
    for (int i = 0; i < 3; i++) {
        member_say(&member, "{'event':'plain','data':'sesame'}");
        member_expect(&member, "{'data':'sesame','event':'told'}");
    }
    before = host_stats(&host);
    member_say(&member, "{'event':'kick','data':'sesame'}");
    member_expect_close(&member, 4001);
    await_line(LEFT);
    CHECK(strncmp(line, conn, strlen(conn)) == 0); /* the same conn=N */
    CHECK_EQUAL(number("code"), 4001);
    CHECK(strstr(line, " reason=\"a \\\"reason\\\"\" by_peer=false ") != NULL);
    CHECK(number("dur_ms") >= 0);
    CHECK(number("dur_ms") <= (long long)(check_now_ms() - began_ms));
    CHECK_EQUAL(number("messages_in"), 4);
    CHECK_EQUAL(number("messages_out"), 3);
    CHECK_EQUAL(number("dropped"), 0);
    CHECK(number("bytes_in") > 3 * 30);
    CHECK(number("bytes_in") <= (long long)host_stats(&host).bytes_in);
    CHECK(number("bytes_out") >= (long long)before.bytes_out - 200);
    CHECK(number("bytes_out") <= (long long)host_stats(&host).bytes_out);
    host_stop(&host);
    CHECK(!find("debug|server|stopped", line, sizeof line));
    CHECK(find("info|server|stopped", line, sizeof line));
    CHECK(strstr(kept, "sesame") == NULL);
}

static void test_ends_are_told_for_ws(void **state)
{
    (void)state;
    check_end(false);
}

static void test_ends_are_told_for_tcp(void **state)
{
    (void)state;
    check_end(true);
}

/* `raw` has no names: what has one is dropped for its clients, and counted. */
static void test_what_is_dropped_is_told(void **state)
{
    struct peal_server_options options = {.log = keep,
                                          .log_level = PEAL_LOG_DEBUG,
                                          .dialect = PEAL_DIALECT_RAW};
    struct peal_event event = peal_bytes("named", "x", 1);
    struct host host;
    struct peer peer;

    (void)state;
    forget();
    host_start(&host, &options, NULL);
    peer_dial(&peer, host.ws);
    ws_ask(&peer, "/", "");
    ws_expect_open(&peer);
    await_line(CONNECTED);
    for (int i = 0; i < 2; i++) {
        CHECK_EQUAL(peal_server_broadcast(host.server, &event, NULL, 0), 0);
    }
    CHECK_SOON(host_stats(&host).messages_unsayable +
                   host_stats(&host).messages_out ==
               2);
    ws_send(&peer, 0x88, "\x03\xe8" "bye now", 9);
    await_line(LEFT);
    CHECK_EQUAL(number("code"), 1000);
    CHECK(strstr(line, " reason=\"bye now\" by_peer=true ") != NULL);
    CHECK_EQUAL(number("dropped"), host_stats(&host).messages_unsayable);
    CHECK_EQUAL(number("messages_out"), host_stats(&host).messages_out);
    peer_close(&peer);
    host_stop(&host);
}

/* Who comes in above debug has no account: its end is told without one, and
 * above debug it is not told. */
static void test_levels_change_at_run_time(void **state)
{
    struct peal_server_options options = {.log = keep};
    struct member members[2];
    struct host host;

    (void)state;
    forget();
    host_start(&host, &options, setup);
    member_open(&members[0], host.ws, false);
    member_open(&members[1], host.ws, false);
    member_close(&members[0]);
    CHECK_SOON(host_stats(&host).clients == 1);
    CHECK(!find("debug|", line, sizeof line));

    options.size = sizeof options;
    CHECK_EQUAL(peal_server_config(host.server, &options), 0);
    options.log_level = PEAL_LOG_DEBUG;
    CHECK_EQUAL(peal_server_update(host.server, &options, NULL), 0);
    member_close(&members[1]);
    await_line(LEFT);
    CHECK_EQUAL(number("code"), 1000);
    CHECK(strstr(line, "dur_ms") == NULL);
    CHECK(!find(CONNECTED, line, sizeof line));
    host_stop(&host);
}

/* Whose client it was: each namespace counts its own. */
static struct peal_server *space;

static void setup_space(struct peal_server *server)
{
    struct peal_server_options options = {.size = sizeof options};
    struct peal_route route = {.size = sizeof route, .path = "/7"};
    struct peal_route other = {.size = sizeof other, .path = "/"};

    CHECK_EQUAL(peal_server_space(server, "7", &options, &space), 0);
    CHECK_EQUAL(peal_server_route(space, &route), 0);
    CHECK_EQUAL(peal_server_route(server, &other), 0);
}

static void test_namespaces_are_named(void **state)
{
    struct peal_server_options options = {.log = keep,
                                          .log_level = PEAL_LOG_DEBUG};
    struct host host;
    struct peer peer;

    (void)state;
    forget();
    host_start(&host, &options, setup_space);
    ws_open(&peer, host.ws, "/7");
    await_line(CONNECTED);
    /* In quotes, for it looks like a number. */
    CHECK(strstr(line, " namespace=\"7\" transport=ws ") != NULL);
    peer_close(&peer);
    await_line(LEFT);
    CHECK(strstr(line, " namespace=\"7\" remote=127.0.0.1:") != NULL);
    CHECK_EQUAL(number("code"), 1006);
    options.size = sizeof options;
    CHECK_EQUAL(peal_server_config(space, &options), 0);
    CHECK_EQUAL(peal_server_update(space, &options, NULL), 0);
    await_line("info|server|options updated|");
    CHECK(strstr(line, " namespace=\"7\"") != NULL);

    forget();
    ws_open(&peer, host.ws, "/");
    await_line(CONNECTED);
    CHECK(strstr(line, "namespace") == NULL);
    peer_close(&peer);
    host_stop(&host);
}

#define REFUSED "warn|server|update refused|"

/* Has many updates refused; all of their lines but the first ten are left out,
 * if they come within a second. */
static void flood(struct peal_server *server, int count)
{
    struct peal_server_options options = {.size = sizeof options};

    CHECK_EQUAL(peal_server_config(server, &options), 0);
    options.loops = 64;
    for (int i = 0; i < count; i++) {
        CHECK_EQUAL(peal_server_update(server, &options, NULL), PEAL_ENOTSUP);
    }
}

/* How many lines begin so, with those that are only counted. */
static int count_lines(const char *begin)
{
    int lines = 0;

    pthread_mutex_lock(&lock);
    for (const char *at = kept; *at != '\0'; at = strchr(at, '\n') + 1) {
        if (strncmp(at, begin, strlen(begin)) == 0) {
            int count = 1;

            (void)sscanf(at + strlen(begin), "repeated=%d", &count);
            lines += count;
        }
    }
    pthread_mutex_unlock(&lock);
    return lines;
}

/* What a thread has left out is told at the latest when the server ends. */
static void test_repeated_lines_are_counted(void **state)
{
    struct peal_server_options options = {.log = keep};
    struct host host;

    (void)state;
    forget();
    host_start(&host, &options, NULL);
    flood(host.server, 500);
    CHECK(count_lines(REFUSED) < 500);
    host_stop(&host);
    CHECK_EQUAL(count_lines(REFUSED), 500);
}

/* And when a loop of the thread turns after the second is over. */
static void test_loops_tell_of_repeated_lines(void **state)
{
    struct peal_server_options options = {
        .size = sizeof options,
        .ws_listen = "127.0.0.1:0",
        .log = keep,
    };
    struct peal_server *server;

    (void)state;
    forget();
    CHECK_EQUAL(peal_server_new(&server, &options), 0);
    CHECK_EQUAL(peal_server_attach(server), 0);
    flood(server, 100);
    CHECK(count_lines(REFUSED) < 100);
    CHECK_SOON((CHECK_EQUAL(peal_server_step(server, 0), 1),
                count_lines(REFUSED) == 100));
    peal_server_stop(server);
    while (peal_server_step(server, -1) > 0) {
    }
    peal_server_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends_are_told_for_ws),
        cmocka_unit_test(test_ends_are_told_for_tcp),
        cmocka_unit_test(test_what_is_dropped_is_told),
        cmocka_unit_test(test_levels_change_at_run_time),
        cmocka_unit_test(test_namespaces_are_named),
        cmocka_unit_test(test_repeated_lines_are_counted),
        cmocka_unit_test(test_loops_tell_of_repeated_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
