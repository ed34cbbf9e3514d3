/*
 * Paths with parameters, and queries. Goal: a client gets to the route that its
 * path belongs to and no other, and on_connect reads what stood in the target,
 * decoded. Method: on_connect tells each client what it has seen.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/http.h"
#include "support/ws.h"

#include <stdio.h>
#include <string.h>

static void append(char *out, size_t size, const char *name, long got,
                   const char *value)
{
    size_t used = strlen(out);

    if (got < 0) {
        snprintf(out + used, size - used, " %s!%s", name,
                 peal_error_name((int)got));
    } else {
        CHECK_EQUAL(got, strlen(value));
        snprintf(out + used, size - used, " %s=%s", name, value);
    }
}

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    static const char *const params[] = {"room_id", "rest"};
    static const char *const queries[] = {"token", "caf\xc3\xa9"};
    struct peal_event event;
    char text[512];
    char value[16];

    (void)user;
    snprintf(text, sizeof text, "%s",
             connect->pattern != NULL ? connect->pattern : "none");
    for (size_t i = 0; i < ARRAY_SIZE(params); i++) {
        long got =
            peal_connect_param(connect, params[i], value, sizeof value);

        append(text, sizeof text, params[i], got, value);
    }
    for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
        long got =
            peal_connect_query(connect, queries[i], value, sizeof value);

        append(text, sizeof text, i == 0 ? "token" : "cafe", got, value);
    }
    event = peal_text(text);
    CHECK_EQUAL(peal_client_emit(client, &event), 0);
}

static int add(struct peal_server *server, const char *path,
               enum peal_dialect dialect)
{
    struct peal_route route = {
        .size = sizeof route, .path = path, .dialect = dialect};

    return peal_server_route(server, &route);
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(add(server, "/rooms/:room_id/chat", 0), 0);
    CHECK_EQUAL(add(server, "/rooms/lobby/chat", 0), 0);
    CHECK_EQUAL(add(server, "/files/:rest*", 0), 0);
    CHECK_EQUAL(add(server, "/plain", 0), 0);
    CHECK_EQUAL(add(server, "/rooms/:other/chat", 0), PEAL_EEXIST);
    CHECK_EQUAL(add(server, "/rooms/:x/:x", 0), PEAL_EINVAL);
    CHECK_EQUAL(add(server, "rooms", 0), PEAL_EINVAL);
    CHECK_EQUAL(add(server, "/x", (enum peal_dialect)99), PEAL_EINVAL);
    CHECK_EQUAL(peal_server_route(server, &(struct peal_route){.path = "/x"}),
                PEAL_EINVAL);
}

static void start(struct host *host, void (*set)(struct peal_server *))
{
    struct peal_server_options options = {.on_connect = on_connect,
                                          .dialect = PEAL_DIALECT_RAW};

    host_start(host, &options, set);
}

static void expect(const struct host *host, const char *target,
                   const char *text)
{
    struct ws_received received;
    struct peer peer;

    ws_open(&peer, host->ws, target);
    CHECK(ws_read(&peer, &received));
    if (received.size != strlen(text) ||
        memcmp(received.data, text, received.size) != 0) {
        fprintf(stderr, "%s: %.*s\n", target, (int)received.size,
                received.data);
    }
    CHECK_EQUAL(received.size, strlen(text));
    CHECK(memcmp(received.data, text, received.size) == 0);
    ws_goodbye(&peer);
}

#define NO_QUERY " token!notfound cafe!notfound"
#define ROOM " rest!notfound" NO_QUERY

static void targets_are_decoded(void **state)
{
    struct host host;

    (void)state;
    start(&host, setup);
    expect(&host, "/plain", "/plain room_id!notfound" ROOM);
    expect(&host, "/rooms/7/chat", "/rooms/:room_id/chat room_id=7" ROOM);
    expect(&host, "/rooms/lobby/chat",
           "/rooms/lobby/chat room_id!notfound" ROOM);
    expect(&host, "/rooms/l%6fbby/chat",
           "/rooms/lobby/chat room_id!notfound" ROOM);
    expect(&host, "/rooms/a%2fb%20+/chat",
           "/rooms/:room_id/chat room_id=a/b +" ROOM);
    expect(&host, "/rooms/123456789012345/chat",
           "/rooms/:room_id/chat room_id=123456789012345" ROOM);
    expect(&host, "/rooms/1234567890123456/chat",
           "/rooms/:room_id/chat room_id!toobig" ROOM);
    expect(&host, "/files/",
           "/files/:rest* room_id!notfound rest=" NO_QUERY);
    expect(&host, "/files/a/%41",
           "/files/:rest* room_id!notfound rest=a/A" NO_QUERY);
    expect(&host, "/plain?token=a%26b+c&token=d&caf%C3%A9=x",
           "/plain room_id!notfound rest!notfound token=a&b c cafe=x");
    expect(&host, "/plain?token&caf=x&=y",
           "/plain room_id!notfound rest!notfound token= cafe!notfound");
    expect(&host, "/plain?x=%zz&token=%zz&caf%C3%A9=%00",
           "/plain room_id!notfound rest!notfound token!inval cafe!inval");
    expect(&host, "/plain?token=1234567890123456",
           "/plain room_id!notfound rest!notfound token!toobig "
           "cafe!notfound");
    host_stop(&host);
}

static void other_paths_are_refused(void **state)
{
    struct host host;

    (void)state;
    start(&host, setup);
    CHECK_EQUAL(ws_try(host.ws, "/", ""), 404);
    CHECK_EQUAL(ws_try(host.ws, "//", ""), 404);
    CHECK_EQUAL(ws_try(host.ws, "/plain/", ""), 404);
    CHECK_EQUAL(ws_try(host.ws, "/PLAIN", ""), 404);
    CHECK_EQUAL(ws_try(host.ws, "/rooms//chat", ""), 404);
    CHECK_EQUAL(ws_try(host.ws, "/rooms/a/b/chat", ""), 404);
    CHECK_EQUAL(ws_try(host.ws, "/rooms/a/chat/", ""), 404);
    CHECK_EQUAL(ws_try(host.ws, "/rooms/%/chat", ""), 400);
    CHECK_EQUAL(ws_try(host.ws, "/rooms/%00/chat", ""), 400);
    CHECK_EQUAL(peal_server_route(host.server, &(struct peal_route){
                                                   .size = 1}),
                PEAL_ESTATE);
    host_stop(&host);
}

static void all_paths(struct peal_server *server)
{
    CHECK_EQUAL(add(server, "/raw", 0), 0);
    CHECK_EQUAL(add(server, "/:rest*", 0), 0);
}

static void everything_else_may_have_a_route(void **state)
{
    struct host host;

    (void)state;
    start(&host, all_paths);
    expect(&host, "/raw", "/raw room_id!notfound" ROOM);
    expect(&host, "/", "/:rest* room_id!notfound rest=" NO_QUERY);
    expect(&host, "//x/", "/:rest* room_id!notfound rest=/x/" NO_QUERY);
    host_stop(&host);
}

static void without_routes_there_are_no_parameters(void **state)
{
    struct host host;

    (void)state;
    start(&host, NULL);
    expect(&host, "/rooms/7/chat?token=x",
           "none room_id!notfound rest!notfound token=x cafe!notfound");
    host_stop(&host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_decoded),
        cmocka_unit_test(other_paths_are_refused),
        cmocka_unit_test(everything_else_may_have_a_route),
        cmocka_unit_test(without_routes_there_are_no_parameters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
