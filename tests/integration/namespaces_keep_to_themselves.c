/*
 * Goal: namespaces of one server share its port, its loops and its life, and
 * nothing else: not handlers, dialects, rooms, limits, ids, hooks, options or
 * counts; and no reference of one reaches a client of another.
 *
 * Method: a server with clients of its own, a namespace of the peal dialect
 * under /app, one of stelar's under /legacy and a raw one under /raw/:name; in
 * each the same names of rooms and events. Silence is proved by an answer that
 * comes next.
 */
#include "support/suite.h"

#include <peal/http.h>
#include <peal/policy.h>

#include "support/certificates.h"
#include "support/guest.h"
#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a namespace of the tests knows of itself. */
struct space {
    const char *name;
    struct peal_server *server;
    _Atomic int connects;
    _Atomic int disconnects;
    _Atomic int limited; /* on_max_connections has told */
    struct peal_admission waiting;
    _Atomic bool is_waiting;
};

static struct space own = {.name = "own"};
static struct space app = {.name = "app"};
static struct space legacy = {.name = "legacy"};
static struct space raw = {.name = "raw"};
static struct space *const all[] = {&own, &app, &legacy, &raw};

/* How the next server is made. */
static int loops = 1;
static void (*arrange)(struct peal_server *server);
static struct peal_server_options app_options;
static char app_tcp[PEAL_ADDRESS_MAX];

/* --- The application ------------------------------------------------------ */

/* A raw client is told the parameter of its path, a stelar one its space. */
static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    struct space *space = user;
    struct peal_event event = peal_json("in", "\"legacy\"");
    char name[32];

    CHECK(peal_client_server(client) == space->server);
    CHECK_EQUAL(peal_client_join(client, "lobby"), 0);
    if (space == &raw) {
        CHECK(peal_connect_param(connect, "name", name, sizeof name) > 0);
        event = peal_text(name);
    }
    if (space == &raw || space == &legacy) {
        CHECK_EQUAL(peal_client_emit(client, &event), 0);
    }
    atomic_fetch_add(&space->connects, 1);
}

static void on_disconnect(struct peal_client *client,
                          const struct peal_disconnect *disconnect, void *user)
{
    struct space *space = user;

    (void)disconnect;
    CHECK(peal_client_server(client) == space->server);
    atomic_fetch_add(&space->disconnects, 1);
}

static void on_max_connections(struct peal_server *server,
                               const struct peal_connections_limited *limited,
                               void *user)
{
    struct space *space = user;

    (void)limited;
    CHECK(server == space->server);
    atomic_fetch_add(&space->limited, 1);
}

/* Hooks of app alone: messages named "no", and to the room "quiet". */
static enum peal_verdict before_message(struct peal_client *client,
                                        const struct peal_event *event,
                                        struct peal_failure *failure,
                                        void *user)
{
    (void)failure;
    CHECK(user == &app && peal_client_server(client) == app.server);
    return peal_slice_equal(event->name, peal_slice("no")) ? PEAL_REFUSE
                                                           : PEAL_ALLOW;
}

static int before_broadcast(struct peal_server *server,
                            struct peal_client *from,
                            const struct peal_event *event,
                            const struct peal_client_ref *except,
                            size_t except_count, void *user)
{
    (void)from;
    (void)except;
    (void)except_count;
    CHECK(user == &app && server == app.server);
    return peal_slice_equal(event->name, peal_slice("secret")) ? PEAL_EREFUSED
                                                               : 0;
}

/* Says whose handler it is. */
static void on_who(struct peal_client *from, const struct peal_event *event,
                   struct peal_request request, void *user)
{
    const struct space *space = user;
    char json[32];

    (void)from;
    (void)event;
    CHECK(request.server == space->server);
    snprintf(json, sizeof json, "\"%s\"", space->name);
    CHECK_EQUAL(peal_request_answer(request, json), 0);
}

/* The same where there are no requests. */
static void on_event(struct peal_client *from, const struct peal_event *event,
                     void *user)
{
    const struct space *space = user;
    char json[32];

    (void)event;
    if (space == &raw) {
        struct peal_event text = peal_text(space->name);

        CHECK_EQUAL(peal_client_emit(from, &text), 0);
    } else {
        struct peal_event answer = {.name = peal_slice("who")};

        snprintf(json, sizeof json, "\"%s\"", space->name);
        answer.data = peal_slice(json);
        CHECK_EQUAL(peal_client_emit(from, &answer), 0);
    }
}

/* Sends to the room of this name in its own namespace. */
static void on_tell(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)user;
    CHECK_EQUAL(peal_room_emit(from, "lobby", event), 0);
}

static const struct peal_hooks hooks = {
    .size = sizeof hooks, .on_max_connections = on_max_connections};

static void add_route(struct peal_server *server, const char *path, int rc)
{
    struct peal_route route = {.size = sizeof route, .path = path};

    CHECK_EQUAL(peal_server_route(server, &route), rc);
}

static void make(struct space *space, struct peal_server *parent,
                 const struct peal_server_options *given,
                 enum peal_dialect dialect, const char *path)
{
    struct peal_server_options options = *given;

    options.size = sizeof options;
    options.dialect = dialect;
    if (options.hooks == NULL) {
        options.hooks = &hooks;
    }
    options.on_connect = on_connect;
    options.on_disconnect = on_disconnect;
    options.user = space;
    CHECK_EQUAL(peal_server_space(parent, space->name, &options,
                                  &space->server),
                0);
    CHECK(strcmp(peal_server_name(space->server), space->name) == 0);
    add_route(space->server, path, 0);
}

static void setup(struct peal_server *server)
{
    struct peal_server_options plain = {.size = 0};
    struct peal_listen listen = {
        .size = sizeof listen,
        .address = "127.0.0.1:0",
        .transport = PEAL_TCP,
    };

    own.server = server;
    CHECK(strcmp(peal_server_name(server), "") == 0);
    make(&app, server, &app_options, PEAL_DIALECT_DEFAULT, "/app");
    make(&legacy, server, &plain, PEAL_DIALECT_STELAR, "/legacy");
    make(&raw, server, &plain, PEAL_DIALECT_RAW, "/raw/:name");
    add_route(server, "/", 0);
    add_route(server, "/app", PEAL_EEXIST);
    listen.space = app.server;
    CHECK_EQUAL(peal_server_listen(server, &listen), 0);
    CHECK_EQUAL(peal_server_address(app.server, 2, app_tcp), 0);
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        CHECK_EQUAL(peal_server_on_request(all[i]->server, "who", on_who,
                                           all[i]),
                    0);
        CHECK_EQUAL(peal_server_on(all[i]->server, "tell", on_tell, NULL), 0);
        if (all[i]->server == legacy.server || all[i]->server == raw.server) {
            CHECK_EQUAL(peal_server_on_any(all[i]->server, on_event, all[i]),
                        0);
        }
        atomic_store(&all[i]->connects, 0);
        atomic_store(&all[i]->disconnects, 0);
        atomic_store(&all[i]->limited, 0);
    }
    if (arrange != NULL) {
        arrange(server);
    }
}

static void start(struct host *host, const struct peal_server_options *given)
{
    struct peal_server_options options = {.size = 0};

    if (given != NULL) {
        options = *given;
    }
    options.loops = loops;
    options.on_connect = on_connect;
    options.on_disconnect = on_disconnect;
    options.hooks = &hooks;
    options.user = &own;
    host_start(host, &options, setup);
    CHECK_EQUAL(peal_server_address(host->server, 2, app_tcp), 0);
}

static void stop(struct host *host)
{
    host_stop(host);
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        CHECK_EQUAL(atomic_load(&all[i]->connects),
                    atomic_load(&all[i]->disconnects));
    }
    arrange = NULL;
    app_options = (struct peal_server_options){.size = 0};
}

/* --- Clients -------------------------------------------------------------- */

static void open_at(struct member *member, const struct host *host,
                    const char *path)
{
    *member = (struct member){.is_tcp = false};
    ws_open(&member->peer, host->ws, path);
    member_welcome(member);
}

static void open_legacy(struct peer *peer, const struct host *host)
{
    ws_open(peer, host->ws, "/legacy");
    ws_expect_text(peer, "{\"event\":\"in\",\"data\":\"legacy\"}");
}

static void open_raw(struct peer *peer, const struct host *host,
                     const char *path, const char *name)
{
    ws_open(peer, host->ws, path);
    ws_expect_text(peer, name);
}

static void expect_who(struct member *member, const char *name)
{
    member_say(member, "{'event':'who','id':1}");
    member_expect(member, "{'event':'peal:ok','id':1,'data':'%s'}", name);
}

static void expect_legacy_silence(struct peer *peer)
{
    ws_send_text(peer, "{\"event\":\"x\",\"data\":1}");
    ws_expect_text(peer, "{\"event\":\"who\",\"data\":\"legacy\"}");
}

static void expect_raw_silence(struct peer *peer)
{
    ws_send_text(peer, "x");
    ws_expect_text(peer, "raw");
}

static struct peal_client_ref ref_of(const struct space *space,
                                     const struct member *member)
{
    struct peal_client_ref ref = peal_server_find(space->server, member->id);

    CHECK(ref.value != 0);
    return ref;
}

static struct peal_server_stats stats_of(const struct space *space)
{
    struct peal_server_stats stats = {.size = sizeof stats};

    CHECK_EQUAL(peal_server_stats(space->server, &stats), 0);
    return stats;
}

/* --- Tests ---------------------------------------------------------------- */

static void each_has_its_dialect_and_its_handlers(void **state)
{
    struct host host;
    struct member members[4];
    struct peer stelar;
    struct peer raws[2];

    (void)state;
    start(&host, NULL);
    open_at(&members[0], &host, "/");
    open_at(&members[1], &host, "/app");
    member_open(&members[2], host.tcp, true);
    member_open(&members[3], app_tcp, true);
    expect_who(&members[0], "own");
    expect_who(&members[1], "app");
    expect_who(&members[2], "own");
    expect_who(&members[3], "app");
    open_legacy(&stelar, &host);
    expect_legacy_silence(&stelar);
    open_raw(&raws[0], &host, "/raw/ada", "ada");
    open_raw(&raws[1], &host, "/raw/gr%61ce?x=1", "grace");
    expect_raw_silence(&raws[0]);
    expect_raw_silence(&raws[1]);
    CHECK_EQUAL(ws_try(host.ws, "/raw", ""), 404);
    CHECK_EQUAL(ws_try(host.ws, "/raw/", ""), 404);
    CHECK_EQUAL(ws_try(host.ws, "/app/", ""), 404);
    CHECK_EQUAL(ws_try(host.ws, "/nobody", ""), 404);
    for (int i = 0; i < 4; i++) {
        member_close(&members[i]);
    }
    peer_close(&stelar);
    peer_close(&raws[0]);
    peer_close(&raws[1]);
    host_await_empty(&host);
    stop(&host);
}

static bool list_room(const char *room, size_t members, void *user)
{
    size_t *seen = user;

    CHECK(strcmp(room, "lobby") == 0);
    *seen += members;
    return true;
}

static void rooms_of_one_name_never_mix(void **state)
{
    struct peal_event event = peal_json("news", "1");
    struct peal_client_ref refs[8];
    struct host host;
    struct member of_own[2];
    struct member of_app[2];
    struct peer stelar;
    struct peer plain;

    (void)state;
    start(&host, NULL);
    for (int i = 0; i < 2; i++) {
        open_at(&of_own[i], &host, "/");
        open_at(&of_app[i], &host, "/app");
    }
    open_legacy(&stelar, &host);
    open_raw(&plain, &host, "/raw/x", "x");
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        size_t expected = i < 2 ? 2 : 1;
        size_t seen = 0;

        CHECK_EQUAL(peal_server_members(all[i]->server, "lobby", refs, 8),
                    expected);
        CHECK_EQUAL(peal_server_clients(all[i]->server, refs, 8), expected);
        CHECK_EQUAL(peal_server_rooms(all[i]->server, list_room, &seen), 0);
        CHECK_EQUAL(seen, expected);
        CHECK_EQUAL(stats_of(all[i]).clients, expected);
        CHECK_EQUAL(stats_of(all[i]).rooms, 1);
    }

    /* From a client, and by the application, to a room and to everybody. */
    member_say(&of_app[0], "{'event':'tell','data':1,'id':7}");
    member_expect(&of_app[0], "{'event':'peal:ok','id':7}");
    member_expect(&of_app[1], "{'event':'tell','room':'lobby','data':1}");
    CHECK_EQUAL(peal_server_room_emit(app.server, "lobby", &event, NULL, 0), 0);
    for (int i = 0; i < 2; i++) {
        member_expect(&of_app[i], "{'event':'news','room':'lobby','data':1}");
    }
    CHECK_EQUAL(peal_server_broadcast(app.server, &event, NULL, 0), 0);
    for (int i = 0; i < 2; i++) {
        member_expect(&of_app[i], "{'event':'news','data':1}");
    }
    for (int i = 0; i < 2; i++) {
        member_expect_silence(&of_own[i]);
    }
    expect_legacy_silence(&stelar);
    expect_raw_silence(&plain);

    CHECK_EQUAL(peal_server_broadcast(own.server, &event, NULL, 0), 0);
    for (int i = 0; i < 2; i++) {
        member_expect(&of_own[i], "{'event':'news','data':1}");
        member_expect_silence(&of_app[i]);
    }
    CHECK_EQUAL(peal_server_broadcast(legacy.server, &event, NULL, 0), 0);
    ws_expect_text(&stelar, "{\"event\":\"news\",\"data\":1}");
    expect_raw_silence(&plain);
    member_expect_silence(&of_own[0]);

    for (int i = 0; i < 2; i++) {
        member_close(&of_own[i]);
        member_close(&of_app[i]);
    }
    peer_close(&stelar);
    peer_close(&plain);
    stop(&host);
}

static void no_answer(struct peal_client *client,
                      const struct peal_answer *answer, void *user)
{
    (void)client;
    (void)answer;
    (void)user;
    CHECK(!"nobody was asked");
}

/* Everything that takes a reference, with one of another namespace. */
static void expect_strange(struct peal_server *server,
                           struct peal_client_ref ref)
{
    struct peal_event event = peal_json("secret", "1");
    struct peal_rate rate = {.capacity = 1};
    char text[PEAL_ID_MAX + 1];

    CHECK_EQUAL(peal_server_emit(server, ref, &event), PEAL_EGONE);
    CHECK_EQUAL(peal_server_join(server, ref, "den"), PEAL_EGONE);
    CHECK_EQUAL(peal_server_leave(server, ref, "lobby"), PEAL_EGONE);
    CHECK_EQUAL(peal_server_close(server, ref, 1000, ""), PEAL_EGONE);
    CHECK_EQUAL(peal_server_request(server, ref, &event, 0, no_answer, NULL),
                PEAL_EGONE);
    CHECK_EQUAL(peal_server_client_id(server, ref, text), PEAL_EGONE);
    CHECK_EQUAL(
        peal_server_client_get(server, ref, "key", text, sizeof text),
        PEAL_EGONE);
    CHECK_EQUAL(peal_server_set_rate(server, ref, &rate), PEAL_EGONE);
}

/* The same on the loop of the client. */
static void on_strange(struct peal_client *from,
                       const struct peal_event *event, void *user)
{
    struct peal_client_ref ref = peal_client_ref(from);

    (void)event;
    (void)user;
    expect_strange(own.server, ref);
    expect_strange(legacy.server, ref);
    CHECK_EQUAL(peal_client_set(from, "key", "value"), 0);
}

static void listen_to_strange(struct peal_server *server)
{
    (void)server;
    CHECK_EQUAL(peal_server_on(app.server, "strange", on_strange, NULL), 0);
}

static void references_are_of_one_namespace(void **state)
{
    struct peal_event event = peal_json("news", "1");
    struct peal_client_ref ref;
    struct host host;
    struct member one;
    struct member other;

    (void)state;
    arrange = listen_to_strange;
    start(&host, NULL);
    open_at(&one, &host, "/");
    open_at(&other, &host, "/app");
    /* The first of its loop in both: all else in the references is the same. */
    ref = ref_of(&app, &other);
    CHECK(ref.value != ref_of(&own, &one).value);
    CHECK_EQUAL(peal_server_find(own.server, other.id).value, 0);
    expect_strange(own.server, ref);
    expect_strange(raw.server, ref);
    expect_strange(app.server, ref_of(&own, &one));
    member_say(&other, "{'event':'strange','id':1}");
    member_expect(&other, "{'event':'peal:ok','id':1}");

    /* An exception of another namespace excepts nobody. */
    CHECK_EQUAL(peal_server_broadcast(own.server, &event, &ref, 1), 0);
    member_expect(&one, "{'event':'news','data':1}");
    member_expect_silence(&one);
    member_expect_silence(&other);
    member_close(&one);
    member_close(&other);
    stop(&host);
}

static void limits_hold_inside_and_for_all(void **state)
{
    struct peal_server_options options = {
        .clients_max = 4, .clients_per_address_max = 4};
    struct host host;
    struct member members[4];

    (void)state;
    app_options.clients_max = 2;
    app_options.rooms_per_client_max = 1;
    app_options.clients_may_join = true;
    start(&host, &options);
    open_at(&members[0], &host, "/app");
    open_at(&members[1], &host, "/app");
    CHECK_EQUAL(ws_try(host.ws, "/app", ""), 503);
    CHECK_EQUAL(atomic_load(&app.limited), 1);
    CHECK_EQUAL(stats_of(&app).refused_clients, 1);
    CHECK_EQUAL(stats_of(&own).refused_clients, 0);
    open_at(&members[2], &host, "/");
    open_at(&members[3], &host, "/");

    /* The server is full with those of all: each hears it from its own. */
    CHECK_EQUAL(ws_try(host.ws, "/raw/x", ""), 503);
    CHECK_EQUAL(atomic_load(&raw.limited), 1);
    CHECK_EQUAL(ws_try(host.ws, "/", ""), 503);
    CHECK_EQUAL(atomic_load(&own.limited), 1);
    CHECK_EQUAL(stats_of(&raw).refused_clients, 1);

    /* A room more than "lobby" is too many there, and here it is not. */
    member_say(&members[0],
               "{'event':'peal:join','id':'a','data':{'room':'x'}}");
    member_expect_failure(&members[0], "\"a\"", 105);
    CHECK_EQUAL(stats_of(&app).refused_rooms_per_client, 1);
    CHECK_EQUAL(
        peal_server_join(own.server, ref_of(&own, &members[2]), "x"), 0);
    member_expect_silence(&members[2]);
    CHECK_SOON(stats_of(&own).rooms == 2);
    member_close(&members[0]);
    CHECK_SOON(stats_of(&app).clients == 1);
    open_at(&members[0], &host, "/app");
    for (int i = 0; i < 4; i++) {
        member_close(&members[i]);
    }
    stop(&host);
}

static void addresses_count_inside_and_for_all(void **state)
{
    struct peal_server_options options = {.clients_per_address_max = 2};
    struct host host;
    struct member members[2];

    (void)state;
    app_options.clients_per_address_max = 1;
    start(&host, &options);
    open_at(&members[0], &host, "/app");
    CHECK_EQUAL(ws_try(host.ws, "/app", ""), 429);
    open_at(&members[1], &host, "/");
    CHECK_EQUAL(ws_try(host.ws, "/", ""), 429);
    CHECK_EQUAL(ws_try(host.ws, "/raw/x", ""), 429);
    CHECK_EQUAL(stats_of(&app).refused_clients_per_address, 1);
    CHECK_EQUAL(stats_of(&own).refused_clients_per_address, 1);
    CHECK_EQUAL(stats_of(&raw).refused_clients_per_address, 1);
    CHECK_EQUAL(peal_server_address_clients(app.server, "127.0.0.1"), 1);
    CHECK_EQUAL(peal_server_address_clients(raw.server, "127.0.0.1"), 0);
    CHECK_EQUAL(peal_server_address_clients(own.server, "127.0.0.1"), 2);
    member_close(&members[0]);
    CHECK_SOON(stats_of(&app).clients == 0);
    open_at(&members[0], &host, "/app");
    member_close(&members[0]);
    member_close(&members[1]);
    stop(&host);
}

/* Who is believed about addresses, and what of them counts. */
static void addresses_are_told_and_cut_for_all(void **state)
{
    static const char *const proxies[] = {"127.0.0.1", NULL};
    static const char *const headers[] = {
        "X-Forwarded-For: 2001:db8:1::1\r\n",
        "X-Forwarded-For: 2001:db8:2::1\r\n",
        "X-Forwarded-For: 2001:db8:1::2\r\n",
    };
    struct peal_server_options options = {.trusted_proxies = proxies};
    struct member members[2];
    struct host host;

    (void)state;
    app_options.clients_per_address_max = 1;
    start(&host, &options);
    for (int i = 0; i < 2; i++) {
        members[i].is_tcp = false;
        peer_dial(&members[i].peer, host.ws);
        ws_ask(&members[i].peer, "/app", headers[i]);
        ws_expect_open(&members[i].peer);
        member_welcome(&members[i]);
    }
    CHECK_EQUAL(ws_try(host.ws, "/app", headers[2]), 429);
    CHECK_EQUAL(peal_server_address_clients(app.server, "2001:db8:1::7"), 1);
    CHECK_EQUAL(peal_server_address_clients(app.server, "2001:db8:3::7"), 0);
    member_close(&members[0]);
    member_close(&members[1]);
    stop(&host);
}

static _Atomic int tracked;

static int track(const char *address, void *user)
{
    (void)address;
    (void)user;
    atomic_fetch_add(&tracked, 1);
    return 0;
}

static void untrack(const char *address, void *user)
{
    (void)address;
    (void)user;
    atomic_fetch_sub(&tracked, 1);
}

static void one_tracker_counts_for_all(void **state)
{
    struct peal_address_tracker tracker = {
        .size = sizeof tracker, .add = track, .remove = untrack};
    struct peal_server_options options = {.address_tracker = &tracker};
    struct member members[3];
    struct host host;

    (void)state;
    app_options.clients_per_address_max = 1; /* not looked at */
    start(&host, &options);
    open_at(&members[0], &host, "/app");
    open_at(&members[1], &host, "/app");
    open_at(&members[2], &host, "/");
    CHECK_EQUAL(atomic_load(&tracked), 3);
    for (int i = 0; i < 3; i++) {
        member_close(&members[i]);
    }
    stop(&host);
    CHECK_EQUAL(atomic_load(&tracked), 0);
}

static void origins_and_messages_are_judged_by_its_own(void **state)
{
    static const char *const origins[] = {"https://example.com", NULL};
    char large[300];
    struct host host;
    struct member members[2];

    (void)state;
    app_options.origins = origins;
    app_options.message_bytes_max = 256;
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    start(&host, NULL);
    CHECK_EQUAL(ws_try(host.ws, "/app", "Origin: https://example.org\r\n"),
                403);
    CHECK_EQUAL(stats_of(&app).refused_origins, 1);
    CHECK_EQUAL(ws_try(host.ws, "/", "Origin: https://example.org\r\n"), 101);
    peer_dial(&members[0].peer, host.ws);
    ws_ask(&members[0].peer, "/app", "Origin: https://example.com\r\n");
    ws_expect_open(&members[0].peer);
    members[0].is_tcp = false;
    member_welcome(&members[0]);
    open_at(&members[1], &host, "/");
    member_say(&members[1], "{'event':'who','id':1,'data':'%s'}", large);
    member_expect(&members[1], "{'event':'peal:ok','id':1,'data':'own'}");
    member_say(&members[0], "{'event':'who','id':1,'data':'%s'}", large);
    member_expect_close(&members[0], 1009);
    CHECK_EQUAL(stats_of(&app).closed_message_bytes, 1);
    CHECK_EQUAL(stats_of(&own).closed_message_bytes, 0);
    member_close(&members[1]);
    stop(&host);
}

static void hooks_are_its_own(void **state)
{
    static const struct peal_hooks of_app = {
        .size = sizeof of_app,
        .before_message = before_message,
        .before_broadcast = before_broadcast,
    };
    struct peal_event secret = peal_json("secret", NULL);
    struct host host;
    struct member one;
    struct member other;

    (void)state;
    app_options.hooks = &of_app;
    start(&host, NULL);
    open_at(&one, &host, "/");
    open_at(&other, &host, "/app");
    member_say(&one, "{'event':'no','id':1}");
    member_expect_failure(&one, "1", 101); /* nobody handles it */
    member_say(&other, "{'event':'no','id':1}");
    member_expect_failure(&other, "1", 108);
    CHECK_EQUAL(peal_server_broadcast(app.server, &secret, NULL, 0),
                PEAL_EREFUSED);
    CHECK_EQUAL(peal_server_broadcast(own.server, &secret, NULL, 0), 0);
    member_expect(&one, "{'event':'secret'}");
    member_expect_silence(&other);
    member_close(&one);
    member_close(&other);
    stop(&host);
}

static void options_of_one_change_alone(void **state)
{
    struct peal_server_options options = {.size = sizeof options};
    const char *problem;
    struct host host;
    struct member one;
    struct member other;

    (void)state;
    start(&host, NULL);
    open_at(&one, &host, "/");
    open_at(&other, &host, "/app");

    CHECK_EQUAL(peal_server_config(app.server, &options), 0);
    CHECK(options.ws_listen == NULL);
    CHECK_EQUAL(options.loops, 0);
    CHECK_EQUAL(options.message_bytes_max, 1024 * 1024);
    options.clients_max = 1;
    options.client_rate = (struct peal_rate){
        .capacity = 1, .refill = 1, .refill_ms = 3600000};
    CHECK_EQUAL(peal_server_update(app.server, &options, &problem), 0);
    CHECK_EQUAL(ws_try(host.ws, "/app", ""), 503);
    CHECK_EQUAL(ws_try(host.ws, "/", ""), 101);
    expect_who(&other, "app");
    member_say(&other, "{'event':'who','id':2}");
    member_expect_failure(&other, "2", 110);
    expect_who(&one, "own");
    expect_who(&one, "own");

    /* All or nothing, and nothing of the whole server. */
    options.clients_max = 7;
    options.turn_timeout_ms = 1;
    CHECK_EQUAL(peal_server_update(app.server, &options, &problem),
                PEAL_ENOTSUP);
    CHECK(strcmp(problem, "turn_timeout_ms") == 0);
    options.turn_timeout_ms = 0;
    options.frame_bytes_max = options.message_bytes_max + 1;
    CHECK_EQUAL(peal_server_update(app.server, &options, &problem),
                PEAL_EINVAL);
    CHECK_EQUAL(peal_server_config(app.server, &options), 0);
    CHECK_EQUAL(options.clients_max, 1);
    options.client_rate = (struct peal_rate){.capacity = 0};
    CHECK_EQUAL(peal_server_update(app.server, &options, &problem), 0);

    /* And that of the whole server is no namespace's affair. */
    CHECK_EQUAL(peal_server_config(own.server, &options), 0);
    options.clients_may_join = true;
    CHECK_EQUAL(peal_server_update(own.server, &options, &problem), 0);
    member_join(&one, "x");
    CHECK_SOON(stats_of(&app).connections == 1);
    expect_who(&other, "app");
    member_say(&other, "{'event':'peal:join','id':'j','data':{'room':'x'}}");
    member_expect_failure(&other, "\"j\"", 102);
    member_close(&one);
    member_close(&other);
    stop(&host);
}

/* Whether an upgrade there agrees on compression. */
static bool is_compressed(const struct host *host, const char *path)
{
    struct http_reply *reply = test_malloc(sizeof *reply);
    struct peer peer;
    char agreed[256];
    bool has_agreed;

    peer_dial(&peer, host->ws);
    ws_ask(&peer, path, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    http_read(&peer, reply, false);
    CHECK_EQUAL(reply->status, 101);
    has_agreed = http_header(reply, "Sec-WebSocket-Extensions", agreed,
                             sizeof agreed);
    peer_close(&peer);
    test_free(reply);
    return has_agreed;
}

static void compression_is_its_own(void **state)
{
    struct peal_deflate_options deflate = {
        .size = sizeof deflate, .enabled = true, .level = 9};
    struct host host;

    (void)state;
    app_options.deflate = &deflate;
    start(&host, NULL);
    CHECK(is_compressed(&host, "/app"));
    CHECK(!is_compressed(&host, "/"));
    CHECK(!is_compressed(&host, "/legacy"));
    CHECK(!is_compressed(&host, "/raw/x"));
    stop(&host);
}

/* --- TLS and compression -------------------------------------------------- */

/* Over TLS, with an offer to compress. */
static void open_secure(struct guest *guest, const struct host *host,
                        const char *path, SSL_CTX *context)
{
    char request[512];
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                        "Sec-WebSocket-Extensions: permessage-deflate; "
                        "client_max_window_bits\r\n\r\n",
                        path);

    *guest = (struct guest){.is_in = false};
    line_open(&guest->line, 1, guest_port(host->server, false), false, context,
              0);
    line_write(&guest->line, request, (size_t)size);
    guest_enter(guest);
    CHECK(guest->is_in && guest->line.is_deflated);
}

static void expect_news(const struct space *space, struct guest *guests,
                        const char *mark)
{
    static char json[4000];
    struct peal_event event;

    snprintf(json, sizeof json, "\"%s %03000d\"", mark, 0);
    event = peal_json("news", json);
    CHECK_EQUAL(peal_server_broadcast(space->server, &event, NULL, 0), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQUAL(guest_await(&guests[i], mark), GUEST_GOOD);
    }
}

/* Both transports are encrypted; one namespace compresses for each client by
 * itself, the server once for all; and each counts its own. */
static void encrypted_and_compressed(void **state)
{
    struct peal_deflate_options shared = {.size = sizeof shared,
                                          .enabled = true};
    struct peal_deflate_options own_window = {.size = sizeof own_window,
                                              .enabled = true,
                                              .context_takeover = true,
                                              .threshold_bytes = 1};
    struct peal_tls_options of_tls = {.size = sizeof of_tls};
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    struct peal_server_options options = {.deflate = &shared};
    struct guest of_own[2];
    struct guest of_app[2];
    struct guest tcp;
    struct host host;

    (void)state;
    CHECK(context != NULL);
    of_tls.certificate_file = certificates_path("main.crt");
    of_tls.key_file = certificates_path("main.key");
    CHECK_EQUAL(peal_tls_new(&options.tls, &of_tls, NULL, 0), 0);
    app_options.deflate = &own_window;
    start(&host, &options);
    peal_tls_free(options.tls); /* the listeners hold it */
    for (int i = 0; i < 2; i++) {
        open_secure(&of_own[i], &host, "/", context);
        open_secure(&of_app[i], &host, "/app", context);
        CHECK_EQUAL(guest_ask(&of_own[i], "1", "\"event\":\"who\""),
                    GUEST_GOOD);
        CHECK_EQUAL(guest_ask(&of_app[i], "1", "\"event\":\"who\""),
                    GUEST_GOOD);
    }
    guest_open(&tcp, host.server, true, context, "");
    CHECK(tcp.is_in);
    CHECK_EQUAL(stats_of(&own).inflated_messages, 2);
    CHECK_EQUAL(stats_of(&app).inflated_messages, 2);
    CHECK_EQUAL(stats_of(&own).deflated_messages, 0); /* below 1 KiB */
    CHECK_EQUAL(stats_of(&own).tls_handshakes, 5);

    for (int round = 1; round <= 3; round++) {
        uint64_t before = stats_of(&app).deflated_messages;

        expect_news(&app, of_app, "of app");
        CHECK_EQUAL(stats_of(&app).deflated_messages, before + 2);
        expect_news(&own, of_own, "of the server");
        CHECK_EQUAL(guest_await(&tcp, "of the server"), GUEST_GOOD);
        /* Once on each loop that has a member. */
        CHECK(stats_of(&own).deflated_messages <= (uint64_t)(round * loops));
    }
    CHECK(stats_of(&own).deflated_messages >= 3);
    CHECK(stats_of(&app).deflate_state_bytes > 0);
    for (int i = 0; i < 2; i++) {
        line_close(&of_own[i].line, false);
        line_close(&of_app[i].line, i == 1);
    }
    line_close(&tcp.line, false);
    host_await_empty(&host);
    CHECK_SOON(stats_of(&app).deflate_state_bytes == 0);
    stop(&host);
    SSL_CTX_free(context);
}

/* --- Doors and HTTP ------------------------------------------------------- */

static enum peal_verdict ask_later(const struct peal_connect *connect,
                                   struct peal_admission admission,
                                   struct peal_denial *denial, void *user)
{
    struct space *space = user;

    (void)connect;
    (void)denial;
    CHECK(admission.server == space->server);
    space->waiting = admission;
    atomic_store(&space->is_waiting, true);
    return PEAL_LATER;
}

static void on_http(const struct peal_http_request *request,
                    struct peal_http_reply reply, void *user)
{
    struct peal_http_response response = {
        .size = sizeof response, .body = peal_slice("of app")};

    (void)user;
    CHECK(reply.server == app.server);
    CHECK(request->body.size <= 8);
    CHECK_EQUAL(peal_http_respond(reply, &response), 0);
}

static void add_doors(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_use(app.server, ask_later, &app), 0);
    CHECK_EQUAL(
        peal_server_http(app.server, "POST", "/app/hook", on_http, NULL), 0);
    CHECK_EQUAL(
        peal_server_http(server, "POST", "/app/hook", on_http, NULL),
        PEAL_EEXIST);
    CHECK_EQUAL(peal_server_page(server, "/page", "text/plain", "own", 3), 0);
}

static void middleware_and_handlers_are_its_own(void **state)
{
    struct peal_server_options options = {.health_path = "/health"};
    struct http_reply *reply = test_calloc(1, sizeof *reply);
    struct peal_admission foreign;
    struct host host;
    struct member one;
    struct member other;
    struct peer peer;

    (void)state;
    arrange = add_doors;
    app_options.http_body_bytes_max = 8;
    atomic_store(&app.is_waiting, false);
    start(&host, &options);
    open_at(&one, &host, "/");
    peer_dial(&other.peer, host.ws);
    other.is_tcp = false;
    ws_ask(&other.peer, "/app", "");
    CHECK_SOON(atomic_load(&app.is_waiting));
    /* By way of another namespace nothing of it is decided. */
    foreign = app.waiting;
    foreign.server = own.server;
    (void)peal_admission_decide(foreign, PEAL_REFUSE, NULL);
    CHECK_EQUAL(peal_admission_set(app.waiting, "k", "v"), 0);
    CHECK_EQUAL(peal_admission_decide(app.waiting, PEAL_ALLOW, NULL), 0);
    ws_expect_open(&other.peer);
    member_welcome(&other);
    expect_who(&other, "app");

    /* One connection goes from one namespace to the next and back. */
    peer_dial(&peer, host.ws);
    for (int i = 0; i < 2; i++) {
        static const char post[] = "POST /app/hook HTTP/1.1\r\nHost: x\r\n"
                                   "Content-Length: 5\r\n\r\nhello";
        static const char get[] = "GET /page HTTP/1.1\r\nHost: x\r\n\r\n";
        static const char health[] =
            "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";

        peer_send(&peer, post, sizeof post - 1);
        http_read(&peer, reply, true);
        CHECK_EQUAL(reply->status, 200);
        CHECK(strcmp(reply->body, "of app") == 0);
        CHECK_EQUAL(stats_of(&app).connections, 2);
        peer_send(&peer, get, sizeof get - 1);
        http_read(&peer, reply, true);
        CHECK(strcmp(reply->body, "own") == 0);
        CHECK_EQUAL(stats_of(&app).connections, 1);
        /* What is nobody's is the server's own. */
        peer_send(&peer, post, sizeof post - 1);
        http_read(&peer, reply, true);
        CHECK_EQUAL(stats_of(&app).connections, 2);
        peer_send(&peer, health, sizeof health - 1);
        http_read(&peer, reply, true);
        CHECK_EQUAL(reply->status, 200);
        CHECK_EQUAL(stats_of(&app).connections, 1);
    }
    peer_close(&peer);
    http_ask(host.ws,
             "POST /app/hook HTTP/1.1\r\nHost: x\r\n"
             "Content-Length: 9\r\n\r\n123456789",
             reply);
    CHECK_EQUAL(reply->status, 413);
    CHECK_EQUAL(stats_of(&app).http_requests, 4);
    CHECK_EQUAL(stats_of(&app).closed_http_body_bytes, 1);
    CHECK_EQUAL(stats_of(&own).http_requests, 0);
    member_close(&one);
    member_close(&other);
    stop(&host);
    test_free(reply);
}

/* The bound of a head is the server's, whoever has answered the last one. */
static void heads_grow_for_all(void **state)
{
    static const char post[] = "POST /app/hook HTTP/1.1\r\nHost: x\r\n"
                               "Content-Length: 5\r\n\r\nhello";
    static const char get[] = "GET /page HTTP/1.1\r\nHost: x\r\nX: ";
    enum { HEAD = 400000, PIECE = 100 };
    struct http_reply *reply = test_calloc(1, sizeof *reply);
    char *text = test_malloc(HEAD + 1);
    struct peal_server_options options;
    struct host host;
    struct peer peer;
    uint64_t before;

    (void)state;
    arrange = add_doors;
    app_options.message_bytes_max = 1000; /* a frame may be no larger */
    start(&host, NULL);
    memset(text, 'x', HEAD);
    memcpy(text, get, sizeof get - 1);
    memcpy(text + HEAD - 4, "\r\n\r\n", 4);
    peer_dial(&peer, host.ws);
    peer_send(&peer, post, sizeof post - 1);
    http_read(&peer, reply, true);
    CHECK_EQUAL(reply->status, 200);
    before = host_stats(&host).bytes_in + stats_of(&app).bytes_in;
    peer_send(&peer, text, PIECE);
    CHECK_SOON(host_stats(&host).bytes_in + stats_of(&app).bytes_in ==
               before + PIECE);
    options = host_config(&host);
    options.header_bytes_max = HEAD;
    host_update(&host, &options);
    peer_send(&peer, text + PIECE, HEAD - PIECE);
    http_read(&peer, reply, true);
    CHECK_EQUAL(reply->status, 200);
    CHECK(strcmp(reply->body, "own") == 0);
    peer_close(&peer);
    stop(&host);
    test_free(text);
    test_free(reply);
}

static void rates_of_events_are_its_own(void **state)
{
    struct peal_rate rate = {.capacity = 1, .refill = 1, .refill_ms = 3600000};
    struct host host;
    struct member one;
    struct member other;

    (void)state;
    start(&host, NULL);
    open_at(&one, &host, "/");
    open_at(&other, &host, "/app");
    CHECK_EQUAL(peal_server_set_event_rate(app.server, "who", &rate), 0);
    member_expect_silence(&other); /* its loop has heard of it by then */
    expect_who(&other, "app");
    member_say(&other, "{'event':'who','id':2}");
    member_expect_failure(&other, "2", 110);
    expect_who(&one, "own");
    expect_who(&one, "own");
    CHECK_EQUAL(stats_of(&app).refused_messages, 1);
    CHECK_EQUAL(stats_of(&own).refused_messages, 0);
    member_close(&one);
    member_close(&other);
    stop(&host);
}

/* The number behind `name` in the state that the server tells. */
static long health_number(const struct host *host, const char *name)
{
    struct http_reply *reply = test_malloc(sizeof *reply);
    const char *at;
    long number;

    http_ask(host->ws, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", reply);
    CHECK_EQUAL(reply->status, 200);
    at = strstr(reply->body, name);
    CHECK(at != NULL);
    number = strtol(at + strlen(name), NULL, 10);
    test_free(reply);
    return number;
}

static void operators_see_all_of_them(void **state)
{
    struct peal_server_options options = {
        .metrics_path = "/metrics", .health_path = "/health"};
    struct host host;
    struct member one;
    struct member other[2];

    (void)state;
    start(&host, &options);
    open_at(&one, &host, "/");
    open_at(&other[0], &host, "/app");
    member_open(&other[1], app_tcp, true);
    expect_who(&one, "own");
    expect_who(&other[0], "app");
    expect_who(&other[1], "app");
    CHECK_EQUAL(http_metric(host.ws, "peal_connections{transport=\"ws\"}"), 1);
    CHECK_EQUAL(http_metric(host.ws, "peal_connections{namespace=\"app\","
                                     "transport=\"ws\"}"),
                1);
    CHECK_EQUAL(http_metric(host.ws, "peal_connections{namespace=\"app\","
                                     "transport=\"tcp\"}"),
                1);
    CHECK_EQUAL(http_metric(host.ws,
                            "peal_connections_opened_total"
                            "{namespace=\"raw\"}"),
                0);
    CHECK_EQUAL(http_metric(host.ws,
                            "peal_messages_received_total"
                            "{namespace=\"app\",kind=\"request\"}"),
                2);
    CHECK_EQUAL(http_metric(host.ws, "peal_rooms"), 1);
    CHECK_EQUAL(http_metric(host.ws, "peal_rooms{namespace=\"app\"}"), 1);
    CHECK_SOON(http_metric(host.ws, "peal_sockets") == 4);
    CHECK_EQUAL(health_number(&host, "\"activeConnections\":"), 3);
    CHECK_EQUAL(health_number(&host, "\"totalMessagesReceived\":"), 3);
    CHECK_EQUAL(health_number(&host, "\"tcpConnections\":"), 1);
    CHECK_EQUAL(health_number(&host, "\"totalRooms\":"), 2);
    member_close(&one);
    member_close(&other[0]);
    member_close(&other[1]);
    stop(&host);
}

/* --- Life ----------------------------------------------------------------- */

static void life_is_of_the_whole_server(void **state)
{
    struct peal_listen listen = {
        .size = sizeof listen, .address = "127.0.0.1:0"};
    struct peal_adopt adopt = {.size = sizeof adopt};
    struct peal_server *no_server;
    struct peal_server_options options = {.size = sizeof options};
    struct host host;
    struct member members[2];
    struct peer stelar;

    (void)state;
    start(&host, NULL);
    CHECK_EQUAL(peal_server_space(host.server, "late", &options, &no_server),
                PEAL_ESTATE);
    open_at(&members[0], &host, "/");
    open_at(&members[1], &host, "/app");
    open_legacy(&stelar, &host);
    CHECK_EQUAL(peal_server_run(app.server), PEAL_ENOTSUP);
    CHECK_EQUAL(peal_server_start(app.server), PEAL_ENOTSUP);
    CHECK_EQUAL(peal_server_wait(app.server), PEAL_ENOTSUP);
    CHECK_EQUAL(peal_server_attach(app.server), PEAL_ENOTSUP);
    CHECK_EQUAL(peal_server_fd(app.server), PEAL_ENOTSUP);
    CHECK_EQUAL(peal_server_timeout_ms(app.server), PEAL_ENOTSUP);
    CHECK_EQUAL(peal_server_step(app.server, 0), PEAL_ENOTSUP);
    CHECK_EQUAL(peal_server_listen(app.server, &listen), PEAL_ENOTSUP);
    CHECK_EQUAL(peal_server_adopt(app.server, &adopt), PEAL_ENOTSUP);
    peal_server_free(app.server);
    expect_who(&members[1], "app");

    /* What is stopped is the whole. */
    peal_server_stop(app.server);
    for (int i = 0; i < 2; i++) {
        ws_await_close(&members[i].peer, 1001);
    }
    ws_await_close(&stelar, 1001);
    stop(&host);
    CHECK_EQUAL(atomic_load(&app.disconnects), 1);
    CHECK_EQUAL(atomic_load(&legacy.disconnects), 1);
}

static int try_space(struct peal_server *parent, const char *name,
                     struct peal_server_options options)
{
    struct peal_server *space = NULL;
    int rc;

    options.size = sizeof options;
    rc = peal_server_space(parent, name, &options, &space);
    CHECK((rc == 0) == (space != NULL));
    return rc;
}

static void what_is_no_namespace_is_refused(void **state)
{
    struct peal_server_options options = {.size = sizeof options};
    struct peal_server_options none = {.size = 0};
    struct peal_listen listen = {.size = sizeof listen,
                                 .address = "127.0.0.1:0"};
    char long_name[PEAL_SPACE_NAME_MAX + 2];
    char name[32];
    struct peal_server *server;
    struct peal_server *space;
    struct peal_server *other;

    (void)state;
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    CHECK_EQUAL(peal_server_new(&server, &options), 0);
    CHECK_EQUAL(peal_server_new(&other, &options), 0);
    CHECK_EQUAL(peal_server_space(server, "first", &options, &space), 0);
    CHECK_EQUAL(try_space(server, "first", none), PEAL_EEXIST);
    CHECK_EQUAL(try_space(space, "second", none), PEAL_ENOTSUP);
    CHECK_EQUAL(try_space(server, NULL, none), PEAL_EINVAL);
    CHECK_EQUAL(try_space(server, "", none), PEAL_EINVAL);
    CHECK_EQUAL(try_space(server, "with blank", none), PEAL_EINVAL);
    CHECK_EQUAL(try_space(server, "quote\"", none), PEAL_EINVAL);
    CHECK_EQUAL(try_space(server, long_name, none), PEAL_EINVAL);
    CHECK_EQUAL(try_space(server, long_name + 1, none), 0);

    /* What is of the whole server must not be said. */
    CHECK_EQUAL(try_space(server, "x", (struct peal_server_options){
                                           .ws_listen = "127.0.0.1:0"}),
                PEAL_EINVAL);
    CHECK_EQUAL(
        try_space(server, "x", (struct peal_server_options){.loops = 2}),
        PEAL_EINVAL);
    CHECK_EQUAL(try_space(server, "x", (struct peal_server_options){
                                           .metrics_path = "/metrics"}),
                PEAL_EINVAL);
    CHECK_EQUAL(try_space(server, "x", (struct peal_server_options){
                                           .handle_signals = true}),
                PEAL_EINVAL);
    CHECK_EQUAL(try_space(server, "x", (struct peal_server_options){
                                           .log = peal_log_to_stderr}),
                PEAL_EINVAL);
    CHECK_EQUAL(try_space(server, "x", (struct peal_server_options){
                                           .stop_timeout_ms = 1}),
                PEAL_EINVAL);
    CHECK_EQUAL(try_space(server, "x", (struct peal_server_options){
                                           .dialect = (enum peal_dialect)99}),
                PEAL_EINVAL);
    for (size_t i = 0; peal_server_option(i, NULL) != NULL; i++) {
        const char *option = peal_server_option(i, NULL);

        CHECK(peal_server_option_is_shared(i) ==
              (strstr(option, "listen") != NULL ||
               strstr(option, "tls") != NULL ||
               strncmp(option, "stop_", 5) == 0 ||
               strncmp(option, "log", 3) == 0 ||
               (strstr(option, "_path") != NULL) ||
               strcmp(option, "loops") == 0 || strcmp(option, "backlog") == 0 ||
               strcmp(option, "io_backend") == 0 ||
               strcmp(option, "header_bytes_max") == 0 ||
               strcmp(option, "mailbox_bytes_max") == 0 ||
               strcmp(option, "memory_bytes_max") == 0 ||
               strcmp(option, "turn_timeout_ms") == 0 ||
               strcmp(option, "on_health") == 0 ||
               strcmp(option, "trusted_proxies") == 0 ||
               strcmp(option, "forwarded_header") == 0 ||
               strcmp(option, "ipv6_prefix_bits") == 0 ||
               strcmp(option, "handshakes_per_address_max") == 0 ||
               strcmp(option, "address_tracker") == 0 ||
               strcmp(option, "handle_signals") == 0 ||
               strcmp(option, "proxy_protocol") == 0));
    }

    /* A listener names its own server's only, and only for TCP. */
    listen.space = space;
    CHECK_EQUAL(peal_server_listen(server, &listen), PEAL_EINVAL);
    listen.transport = PEAL_TCP;
    CHECK_EQUAL(peal_server_listen(other, &listen), PEAL_EINVAL);
    CHECK_EQUAL(peal_server_listen(server, &listen), 0);

    for (int i = 2; i < PEAL_SPACES_MAX; i++) {
        snprintf(name, sizeof name, "n/%d", i);
        CHECK_EQUAL(try_space(server, name, none), 0);
    }
    CHECK_EQUAL(try_space(server, "one-more", none), PEAL_ELIMIT);
    peal_server_free(server);
    peal_server_free(other);
}

static int on_one_loop(void **state)
{
    (void)state;
    loops = 1;
    return 0;
}

static int on_two_loops(void **state)
{
    (void)state;
    loops = 2;
    return 0;
}

#define BOTH(test)                                                             \
    {#test " on one loop", test, on_one_loop, NULL, NULL},                     \
    {                                                                          \
        #test " on two loops", test, on_two_loops, NULL, NULL                  \
    }

static int make_certificate(void **state)
{
    (void)state;
    certificates_open();
    certificates_make(&(struct certificate){.name = "main"});
    return 0;
}

static int remove_certificate(void **state)
{
    (void)state;
    certificates_close();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(each_has_its_dialect_and_its_handlers),
        BOTH(rooms_of_one_name_never_mix),
        BOTH(references_are_of_one_namespace),
        BOTH(limits_hold_inside_and_for_all),
        cmocka_unit_test(addresses_count_inside_and_for_all),
        cmocka_unit_test(addresses_are_told_and_cut_for_all),
        cmocka_unit_test(one_tracker_counts_for_all),
        cmocka_unit_test(origins_and_messages_are_judged_by_its_own),
        BOTH(hooks_are_its_own),
        BOTH(options_of_one_change_alone),
        cmocka_unit_test(compression_is_its_own),
        BOTH(encrypted_and_compressed),
        BOTH(middleware_and_handlers_are_its_own),
        BOTH(heads_grow_for_all),
        BOTH(rates_of_events_are_its_own),
        BOTH(operators_see_all_of_them),
        BOTH(life_is_of_the_whole_server),
        cmocka_unit_test(what_is_no_namespace_is_refused),
    };

    return cmocka_run_group_tests(tests, make_certificate, remove_certificate);
}
