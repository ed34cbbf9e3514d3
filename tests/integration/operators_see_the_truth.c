/*
 * Goal: what /metrics, /livez, /readyz and /health say is true, in formats that
 * their readers take, and is said only where it was asked for.
 *
 * Method: servers with clients that do countable things; Prometheus' own
 * checker; a loop that is really stuck and a reader that really does not read.
 */
#include "support/suite.h"

#include "support/handlers.h"
#include "support/host.h"
#include "support/http.h"
#include "support/member.h"

#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

static void ask(const struct host *host, const char *method, const char *target,
                const char *headers, struct http_reply *reply)
{
    char request[512];

    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n",
             method, target, headers);
    http_ask(host->ws, request, reply);
}

static struct http_reply reply; /* too large for every stack */

static const char *get(const struct host *host, const char *target)
{
    ask(host, "GET", target, "", &reply);
    return reply.body;
}

static double now(const struct host *host, const char *name)
{
    return http_sample(get(host, "/metrics"), name);
}

static const struct peal_server_options with_metrics = {
    .metrics_path = "/metrics",
    .clients_may_join = true,
    .clients_may_publish = true,
    .requests_per_client_max = 1,
    .request_timeout_ms = 50,
    .rooms_per_client_max = 2,
};

static void on_plain(struct peal_client *from, const struct peal_event *event,
                     void *user)
{
    (void)from;
    (void)event;
    (void)user;
}

static void on_kick(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)event;
    (void)user;
    peal_client_close(from, 4001, "out");
}

static void on_sum(struct peal_client *from, const struct peal_event *event,
                   struct peal_request request, void *user)
{
    (void)from;
    (void)event;
    (void)user;
    CHECK_EQUAL(peal_request_answer(request, "3"), 0);
}

static void handlers(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on(server, "plain", on_plain, NULL), 0);
    CHECK_EQUAL(peal_server_on(server, "kick", on_kick, NULL), 0);
    CHECK_EQUAL(peal_server_on_request(server, "sum", on_sum, NULL), 0);
    CHECK_EQUAL(
        peal_server_on_request(server, "never", handlers_never, NULL), 0);
}

/* --- Metrics ------------------------------------------------------------- */

#define UPDATED "peal_config_last_reload_success_timestamp_seconds"

static void test_zeros_are_there_from_the_start(void **state)
{
    static const char *const names[] = {
        "peal_connections{transport=\"ws\"}",
        "peal_connections{transport=\"tcp\"}",
        "peal_connections_opened_total",
        "peal_connections_closed_total{code=\"1013\",reason=\"queue_full\"}",
        "peal_connections_rejected_total{reason=\"clients_max\"}",
        "peal_messages_received_total{kind=\"event\"}",
        "peal_messages_delivered_total",
        "peal_messages_dropped_total{reason=\"mailbox_bytes_max\"}",
        "peal_messages_dropped_total{reason=\"unsayable\"}",
        "peal_connections_rejected_total{reason=\"origins\"}",
        "peal_deflate_messages_total{direction=\"in\"}",
        "peal_deflate_state_bytes",
        "peal_inflate_seconds_total",
        "peal_http_requests_total",
        "peal_http_failures_total{reason=\"http_body_bytes_max\"}",
        "peal_tls_handshakes_total",
        "peal_tls_failures_total",
        "peal_tls_handshakes_pending",
        "peal_limit_refusals_total{limit=\"rooms_max\"}",
        "peal_send_queue_bytes",
        "peal_rooms",
        "peal_gaps_total{reason=\"drop_oldest\"}",
        "peal_subscriptions",
        "peal_request_duration_seconds_count{method=\"sum\"}",
        "peal_request_duration_seconds_bucket{method=\"sum\",le=\"+Inf\"}",
        "peal_request_duration_seconds_sum{method=\"other\"}",
        "peal_fanout_duration_seconds_sum",
    };
    double began_s = (double)time(NULL);
    struct host host;
    const char *text;
    char info[128];

    (void)state;
    host_start(&host, &with_metrics, handlers);
    text = get(&host, "/metrics");
    CHECK_EQUAL(reply.status, 200);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        CHECK(http_sample(text, names[i]) == 0);
    }
    CHECK(http_sample(text, "peal_sockets") == 1); /* who asks */
    CHECK(strstr(text, "certificate_expiry") == NULL);
    snprintf(info, sizeof info,
             "peal_build_info{version=\"%s\",commit=\"%s\"}", peal_version(),
             peal_commit());
    CHECK(http_sample(text, info) == 1);
    CHECK(http_sample(text, "peal_memory_used_bytes{pool=\"tls\"}") == 0);
    CHECK(http_sample(text, UPDATED) >= began_s);
    CHECK(http_sample(text, UPDATED) <= (double)time(NULL));
    CHECK(http_sample(text, "peal_event_loops") == 1);
    CHECK(http_sample(text, "process_open_fds") > 3);
    CHECK(http_sample(text, "process_max_fds") > 3);
    CHECK(http_sample(text, "process_resident_memory_bytes") > 100000);
    CHECK(http_sample(text, "process_virtual_memory_bytes") > 100000);
    CHECK(http_sample(text, "process_cpu_seconds_total") > 0);
    CHECK(http_sample(text, "process_start_time_seconds") > 1.7e9);
    CHECK(http_sample(text, "process_start_time_seconds") <
          (double)time(NULL) + 2);
    host_stop(&host);
}

static void test_what_happens_is_counted(void **state)
{
    struct member members[20];
    struct peer peer;
    struct host host;
    const char *text;

    (void)state;
    host_start(&host, &with_metrics, handlers);
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        bool is_tcp = i % 4 == 0;

        member_open(&members[i], host_address(&host, is_tcp), is_tcp);
        member_join(&members[i], "room");
    }
    member_say(&members[0], "{'event':'plain'}");
    member_say(&members[0], "{'event':'sum','id':1}");
    member_expect(&members[0], "{'event':'peal:ok','id':1,'data':3}");
    member_say(&members[1], "{'event':'chat','room':'room','data':1}");
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        if (i != 1) {
            member_expect(&members[i],
                          "{'event':'chat','room':'room','data':1}");
        }
    }
    member_say(&members[1], "{'event':'never','id':2}");
    member_say(&members[1], "{'event':'never','id':3}");
    member_expect_failure(&members[1], "3", 109);
    member_expect_failure(&members[1], "2", 106);
    member_say(&members[1], "{'nothing':1,'id':4}");
    member_expect_failure(&members[1], "4", 100);
    member_join(&members[1], "second");
    member_say(&members[1],
               "{'event':'peal:join','data':{'room':'third'},'id':5}");
    member_expect_failure(&members[1], "5", 105);

    text = get(&host, "/metrics");
    CHECK_EQUAL(http_sample(text, "peal_connections{transport=\"ws\"}"), 15);
    CHECK_EQUAL(http_sample(text, "peal_connections{transport=\"tcp\"}"), 5);
    CHECK_EQUAL(http_sample(text, "peal_connections_opened_total"), 20);
    CHECK_EQUAL(http_sample(text, "peal_rooms"), 2);
#define RECEIVED(kind) "peal_messages_received_total{kind=\"" kind "\"}"
    CHECK_EQUAL(http_sample(text, RECEIVED("event")), 1);
    CHECK_EQUAL(http_sample(text, RECEIVED("request")), 3);
    CHECK_EQUAL(http_sample(text, RECEIVED("publish")), 1);
    CHECK_EQUAL(http_sample(text, RECEIVED("invalid")), 1);
    CHECK_EQUAL(http_sample(text, RECEIVED("answer")), 0);
    CHECK_EQUAL(host_stats(&host).messages_in, 6);
    CHECK(http_sample(text, "peal_messages_delivered_total") >= 19);
    CHECK_EQUAL(http_sample(text, "peal_requests_timed_out_total"), 1);
#define REFUSED(limit) "peal_limit_refusals_total{limit=\"" limit "\"}"
    CHECK_EQUAL(http_sample(text, REFUSED("requests_per_client_max")), 1);
    CHECK_EQUAL(http_sample(text, REFUSED("rooms_per_client_max")), 1);
    CHECK_EQUAL(http_sample(text, "peal_fanout_duration_seconds_count"), 1);
#define REQUESTS(part, labels)                                                 \
    "peal_request_duration_seconds_" part "{method=" labels "}"
    CHECK_EQUAL(http_sample(text, REQUESTS("count", "\"sum\"")), 1);
    CHECK_EQUAL(http_sample(text, REQUESTS("count", "\"never\"")), 1);
    CHECK_EQUAL(http_sample(text, REQUESTS("count", "\"other\"")), 0);
    /* The one that timed out took 50 ms. */
    CHECK_EQUAL(
        http_sample(text, REQUESTS("bucket", "\"sum\",le=\"0.01\"")), 1);
    CHECK_EQUAL(
        http_sample(text, REQUESTS("bucket", "\"never\",le=\"0.01\"")), 0);
    CHECK_EQUAL(http_sample(text, "peal_subscriptions"), 21);
    CHECK_EQUAL(host_stats(&host).subscriptions, 21);
    CHECK(http_sample(text, "peal_event_loop_lag_seconds_count") > 5);

    member_say(&members[2], "{'event':'kick'}");
    member_expect_close(&members[2], 4001);
    member_close(&members[3]); /* 1000 */
    peer_reset(&members[5].peer);
    ws_send(&members[6].peer, 0x8f, "", 0); /* no such opcode */
    ws_await_close(&members[6].peer, 1002);
    peer_dial(&peer, host.ws);
    ws_ask(&peer, "/", "");
    ws_expect_open(&peer);
    peer_close(&peer); /* without a close frame */
    CHECK_SOON(host_stats(&host).ws_clients == 11);
    text = get(&host, "/metrics");
#define CLOSED(code, reason)                                                   \
    "peal_connections_closed_total{code=\"" code "\",reason=\"" reason "\"}"
    CHECK_EQUAL(http_sample(text, CLOSED("4xxx", "application")), 1);
    CHECK_EQUAL(http_sample(text, CLOSED("1000", "peer")), 1);
    CHECK_EQUAL(http_sample(text, CLOSED("1006", "peer")), 2);
    CHECK_EQUAL(http_sample(text, CLOSED("1002", "protocol")), 1);
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        if (i != 2 && i != 3 && i != 5 && i != 6) {
            member_close(&members[i]);
        }
    }
    CHECK_SOON(now(&host, "peal_subscriptions") == 0);
    host_stop(&host);
}

/* Feeds a text to "promtool check metrics"; it has to find nothing. */
static void promtool(const char *tool, const char *text)
{
    char command[512];
    FILE *pipe;
    int status;

    snprintf(command, sizeof command, "%s check metrics >&2", tool);
    pipe = popen(command, "w");
    CHECK(pipe != NULL);
    CHECK(fwrite(text, 1, strlen(text), pipe) == strlen(text));
    status = pclose(pipe);
    CHECK(WIFEXITED(status));
    CHECK_EQUAL(WEXITSTATUS(status), 0);
}

/* Names that a label cannot have as they are, and more than have their own. */
static void odd_handlers(struct peal_server *server)
{
    char name[80];

    CHECK_EQUAL(peal_server_on_request(server, "a\"b\\c\nd", on_sum, NULL), 0);
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    CHECK_EQUAL(peal_server_on_request(server, name, on_sum, NULL), 0);
    CHECK_EQUAL(peal_server_on_request(server, "\xff", on_sum, NULL), 0);
    CHECK_EQUAL(peal_server_on_request(server, "other", on_sum, NULL), 0);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "method%d", i);
        CHECK_EQUAL(peal_server_on_request(server, name, on_sum, NULL), 0);
    }
}

static void test_methods_are_bounded(void **state)
{
    const char *tool = getenv("PEAL_PROMTOOL");
    struct member member;
    struct host host;
    const char *twice;
    const char *text;
    size_t count = 0;

    (void)state;
    host_start(&host, &with_metrics, odd_handlers);
    member_open(&member, host.ws, false);
    member_say(&member, "{'event':'method0','id':1}");
    member_expect(&member, "{'event':'peal:ok','id':1,'data':3}");
    member_say(&member, "{'event':'method99','id':2}");
    member_expect(&member, "{'event':'peal:ok','id':2,'data':3}");
    member_say(&member, "{'event':'other','id':3}");
    member_expect(&member, "{'event':'peal:ok','id':3,'data':3}");
    text = get(&host, "/metrics");
    if (tool != NULL) {
        promtool(tool, text);
    }
    CHECK_EQUAL(http_sample(text, REQUESTS("count", "\"method0\"")), 1);
    CHECK_EQUAL(http_sample(text, REQUESTS("count", "\"other\"")), 2);
    twice = strstr(text, REQUESTS("sum", "\"other\""));
    CHECK(twice != NULL &&
          strstr(twice + 1, REQUESTS("sum", "\"other\"")) == NULL);
    CHECK_EQUAL(
        http_sample(text, REQUESTS("count", "\"a\\\"b\\\\c\\nd\"")), 0);
    for (const char *at = text; at != NULL; count++) {
        at = strstr(at + 1, "peal_request_duration_seconds_count{");
    }
    CHECK_EQUAL(count - 1, 64 + 1);
    member_close(&member);
    host_stop(&host);
}

/* A second after the start, so that the one cannot be taken for the other. */
static void test_updates_are_dated(void **state)
{
    struct peal_server_options options;
    struct host host;
    double started_s;
    double updated_s;

    (void)state;
    host_start(&host, &with_metrics, handlers);
    started_s = now(&host, UPDATED);
    CHECK_SOON((double)time(NULL) > started_s);
    options = host_config(&host);
    options.clients_max = 77;
    host_update(&host, &options);
    updated_s = now(&host, UPDATED);
    CHECK(updated_s > started_s && updated_s <= (double)time(NULL));
    CHECK_SOON((double)time(NULL) > updated_s);
    options = host_config(&host);
    options.loops = 3;
    CHECK_EQUAL(peal_server_update(host.server, &options, NULL), PEAL_ENOTSUP);
    CHECK(now(&host, UPDATED) == updated_s);
    host_stop(&host);
}

static void test_prometheus_reads_it(void **state)
{
    const char *tool = getenv("PEAL_PROMTOOL");
    struct host host;
    char type[128];

    (void)state;
    host_start(&host, &with_metrics, handlers);
    get(&host, "/metrics");
    CHECK(http_header(&reply, "Content-Type", type, sizeof type));
    assert_string_equal(type, "text/plain; version=0.0.4; charset=utf-8");
    CHECK(strstr(reply.body, "# UNIT") == NULL);
    CHECK(strstr(reply.body, "# EOF") == NULL);
    if (tool != NULL) {
        promtool(tool, reply.body);
    }
    host_stop(&host);
    if (tool == NULL) {
        skip();
    }
}

static char *read_document(void)
{
    FILE *file = fopen("docs/operations.md", "r");
    char *text = calloc(1, 100000);

    CHECK(file != NULL && text != NULL);
    CHECK(fread(text, 1, 99999, file) > 0);
    fclose(file);
    return text;
}

static bool ends_with(const char *text, size_t size, const char *end)
{
    size_t length = strlen(end);

    return size >= length && memcmp(text + size - length, end, length) == 0;
}

/* OpenMetrics 1.0: families in one piece, each with its type before its
 * samples; counters' samples end in _total, their families do not; the unit is
 * the family's suffix; nothing after # EOF. */
static void test_open_metrics_by_accept(void **state)
{
    char *document = read_document();
    char family[128] = "";
    char kind[32] = "";
    struct host host;
    char type[128];
    size_t families = 0;
    size_t units = 0;

    (void)state;
    host_start(&host, &with_metrics, handlers);
    ask(&host, "GET", "/metrics",
        "Accept: application/openmetrics-text;version=1.0.0,"
        "text/plain;version=0.0.4;q=0.5\r\n",
        &reply);
    CHECK(http_header(&reply, "Content-Type", type, sizeof type));
    assert_string_equal(
        type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    CHECK(ends_with(reply.body, strlen(reply.body), "\n# EOF\n"));
    for (char *line = strtok(reply.body, "\n"); line != NULL;
         line = strtok(NULL, "\n")) {
        char name[128];
        char unit[32];

        if (sscanf(line, "# TYPE %127s %31s", name, kind) == 2) {
            char documented[160];

            assert_string_equal(name, family); /* HELP came first */
            snprintf(documented, sizeof documented, "`%s%s`", name,
                     strcmp(kind, "counter") == 0 ? "_total"
                     : strcmp(kind, "info") == 0  ? "_info"
                                                  : "");
            if (strstr(document, documented) == NULL) {
                fail_msg("docs/operations.md lacks %s", documented);
            }
            CHECK(strcmp(kind, "counter") == 0 || strcmp(kind, "gauge") == 0 ||
                  strcmp(kind, "histogram") == 0 || strcmp(kind, "info") == 0);
        } else if (sscanf(line, "# UNIT %127s %31s", name, unit) == 2) {
            assert_string_equal(name, family);
            CHECK(ends_with(name, strlen(name), unit));
            units++;
        } else if (sscanf(line, "# HELP %127s", name) == 1) {
            snprintf(family, sizeof family, "%s", name);
            CHECK(!ends_with(name, strlen(name), "_total"));
            families++;
        } else if (strcmp(line, "# EOF") != 0) {
            size_t size = strcspn(line, "{ ");

            CHECK(strncmp(line, family, strlen(family)) == 0);
            CHECK(strcmp(kind, "counter") != 0 ||
                  ends_with(line, size, "_total"));
            CHECK(strcmp(kind, "gauge") != 0 || size == strlen(family));
        }
    }
    free(document);
    CHECK(families > 20);
    CHECK(units > 8);
    host_stop(&host);
}

static void on_flood(struct peal_client *from, const struct peal_event *event,
                     void *user)
{
    static char bytes[20000];
    struct peal_event big = peal_bytes("big", bytes, sizeof bytes);

    (void)event;
    (void)user;
    for (int i = 0; i < 400; i++) {
        CHECK_EQUAL(peal_client_emit(from, &big), 0);
    }
}

static void floods(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on(server, "flood", on_flood, NULL), 0);
}

/* What a slow reader has not taken is a gauge, and goes with it. */
static void test_queues_are_seen(void **state)
{
    struct peal_server_options options = with_metrics;
    struct member member;
    struct heard heard;
    struct host host;

    (void)state;
    options.queue_bytes_max = 64 << 20;
    host_start(&host, &options, floods);
    for (int turn = 0; turn < 2; turn++) {
        bool is_tcp = turn == 1;

        peer_dial_narrow(&member.peer, host_address(&host, is_tcp), 8192);
        member.is_tcp = is_tcp;
        if (!is_tcp) {
            ws_ask(&member.peer, "/", "");
            ws_expect_open(&member.peer);
        }
        member_welcome(&member);
        member_say(&member, "{'event':'flood'}");
        CHECK_SOON(host_stats(&host).queued_bytes > 1000000);
        CHECK(now(&host, "peal_send_queue_bytes") > 1000000);
        CHECK(host_stats(&host).queued_bytes <= 400 * 20100);
        if (turn == 0) {
            for (int i = 0; i < 400; i++) {
                CHECK(member_hear(&member, &heard));
                heard_free(&heard);
            }
            CHECK_SOON(host_stats(&host).queued_bytes == 0);
            member_close(&member);
        } else {
            peer_reset(&member.peer);
            CHECK_SOON(host_stats(&host).queued_bytes == 0);
        }
    }
    host_await_empty(&host);
    host_stop(&host);
}

/* --- Where --------------------------------------------------------------- */

static void test_endpoints_are_where_they_were_put(void **state)
{
    struct peal_server_options options = {
        .internal_listen = "127.0.0.1:0",
        .metrics_path = "/m",
        .livez_path = "",
    };
    struct host host;
    struct host internal;

    (void)state;
    host_start(&host, &options, NULL);
    internal = host;
    CHECK_EQUAL(peal_server_address(host.server, 2, internal.ws), 0);

    get(&host, "/m");
    CHECK_EQUAL(reply.status, 200);
    get(&host, "/readyz");
    CHECK_EQUAL(reply.status, 426); /* any path is a WebSocket's */
    get(&host, "/metrics");
    CHECK_EQUAL(reply.status, 426);
    get(&host, "/health");
    CHECK_EQUAL(reply.status, 426);

    get(&internal, "/m");
    CHECK_EQUAL(reply.status, 200);
    get(&internal, "/metrics");
    CHECK_EQUAL(reply.status, 200);
    get(&internal, "/health");
    CHECK_EQUAL(reply.status, 200);
    get(&internal, "/healthz");
    CHECK_EQUAL(reply.status, 200);
    get(&internal, "/livez");
    CHECK_EQUAL(reply.status, 404); /* switched off */
    get(&internal, "/");
    CHECK_EQUAL(reply.status, 404);
    ask(&internal, "POST", "/metrics", "", &reply);
    CHECK_EQUAL(reply.status, 405);
    CHECK_EQUAL(ws_try(internal.ws, "/", ""), 404);
    CHECK_EQUAL(ws_try(internal.ws, "/metrics", ""), 404);
    CHECK_EQUAL(ws_try(host.ws, "/", ""), 101);
    host_await_empty(&host);
    host_stop(&host);
}

static void test_bad_internal_listener_is_refused(void **state)
{
    struct peal_server_options options = {.size = sizeof options};
    struct peal_listen listen = {
        .size = sizeof listen,
        .address = "127.0.0.1:0",
        .transport = PEAL_TCP,
        .is_internal = true,
    };
    struct peal_server *server;

    (void)state;
    CHECK_EQUAL(peal_server_new(&server, &options), 0);
    CHECK_EQUAL(peal_server_listen(server, &listen), PEAL_EINVAL);
    listen.transport = PEAL_WS;
    CHECK_EQUAL(peal_server_listen(server, &listen), 0);
    peal_server_free(server);
}

static void test_browsers_may_ask(void **state)
{
    struct peal_server_options options = {.health_path = "/health"};
    struct host host;
    char value[128];

    (void)state;
    host_start(&host, &options, NULL);
    ask(&host, "OPTIONS", "/health",
        "Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n",
        &reply);
    CHECK_EQUAL(reply.status, 204);
    CHECK(http_header(&reply, "Access-Control-Allow-Origin", value,
                      sizeof value));
    assert_string_equal(value, "https://a.example");
    CHECK(http_header(&reply, "Access-Control-Allow-Methods", value,
                      sizeof value));
    assert_string_equal(value, "GET, HEAD, OPTIONS");
    CHECK(http_header(&reply, "Vary", value, sizeof value));
    CHECK(http_header(&reply, "Cache-Control", value, sizeof value));
    assert_string_equal(value, "no-store");
    get(&host, "/health");
    CHECK(!http_header(&reply, "Access-Control-Allow-Origin", value,
                       sizeof value));
    CHECK(http_header(&reply, "Content-Type", value, sizeof value));
    assert_string_equal(value, "application/json");
    CHECK(strncmp(reply.body, "{\"status\":\"ok\",", 15) == 0);
    CHECK(strstr(reply.body, "\"uptimeSeconds\":") != NULL);
    host_stop(&host);
}

/* Pages of others than `origins` get no permission to read the answer. */
static void test_origins_may_ask(void **state)
{
    static const char *const origins[] = {"https://*.example.com", NULL};
    static const struct {
        const char *method;
        const char *headers;
        int status;
        const char *allowed; /* NULL: nobody */
        bool varies;
    } cases[] = {
        {"GET", "Origin: https://a.example.com\r\n", 200,
         "https://a.example.com", true},
        {"OPTIONS", "Origin: https://a.example.com\r\n", 204,
         "https://a.example.com", true},
        {"GET", "Origin: https://evil.org\r\n", 200, NULL, true},
        {"OPTIONS", "Origin: https://evil.org\r\n", 403, NULL, true},
        {"GET", "Origin: null\r\n", 200, NULL, true},
        {"GET", "", 200, NULL, false},
        {"OPTIONS", "", 204, NULL, false},
    };
    struct peal_server_options options = {
        .health_path = "/health",
        .origins = origins,
    };
    struct host host;
    char value[128];

    (void)state;
    host_start(&host, &options, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        ask(&host, cases[i].method, "/health", cases[i].headers, &reply);
        CHECK_EQUAL(reply.status, cases[i].status);
        CHECK_EQUAL(http_header(&reply, "Access-Control-Allow-Origin", value,
                                sizeof value),
                    cases[i].allowed != NULL);
        CHECK(cases[i].allowed == NULL || strcmp(value, cases[i].allowed) == 0);
        CHECK_EQUAL(http_header(&reply, "Access-Control-Allow-Methods", value,
                                sizeof value),
                    cases[i].allowed != NULL);
        CHECK_EQUAL(http_header(&reply, "Vary", value, sizeof value),
                    cases[i].varies);
        CHECK(http_header(&reply, "Cache-Control", value, sizeof value));
    }
    CHECK_EQUAL(host_stats(&host).refused_origins, 0);
    host_stop(&host);
}

/* --- Health -------------------------------------------------------------- */

static const struct peal_server_options with_health = {
    .health_path = "/health",
    .livez_path = "/livez",
    .readyz_path = "/readyz",
    .clients_max = 2,
};

static void test_readiness_has_reasons(void **state)
{
    struct member members[2];
    struct host host;

    (void)state;
    host_start(&host, &with_health, NULL);
    assert_string_equal(get(&host, "/readyz"), "ok\n");
    CHECK_EQUAL(reply.status, 200);
    peal_server_set_ready(host.server, false);
    get(&host, "/readyz?verbose");
    CHECK_EQUAL(reply.status, 503);
    CHECK(strstr(reply.body, "[-]application failed\n") != NULL);
    CHECK(strstr(reply.body, "[+]accepting ok\n") != NULL);
    get(&host, "/health");
    CHECK_EQUAL(reply.status, 503);
    CHECK(strstr(reply.body, "\"status\":\"unready\"") != NULL);
    get(&host, "/livez?verbose=1");
    CHECK_EQUAL(reply.status, 200);
    assert_string_equal(reply.body, "[+]loops ok\nok\n");
    peal_server_set_ready(host.server, true);
    get(&host, "/readyz");
    CHECK_EQUAL(reply.status, 200);

    member_open(&members[0], host.ws, false);
    member_open(&members[1], host.tcp, true);
    get(&host, "/readyz?verbose");
    CHECK_EQUAL(reply.status, 503);
    CHECK(strstr(reply.body, "[-]clients failed\n") != NULL);
    member_close(&members[0]);
    CHECK_SOON((get(&host, "/readyz"), reply.status == 200));
    member_close(&members[1]);
    host_stop(&host);
}

static struct peal_server *annex;

static void add_annex(struct peal_server *server)
{
    struct peal_server_options options = {
        .size = sizeof options,
        .clients_may_join = true,
        .address_rate = {.capacity = 1000, .refill = 1},
    };
    struct peal_route here = {.size = sizeof here, .path = "/"};
    struct peal_route there = {.size = sizeof there, .path = "/annex"};

    CHECK_EQUAL(peal_server_space(server, "annex", &options, &annex), 0);
    CHECK_EQUAL(peal_server_route(server, &here), 0);
    CHECK_EQUAL(peal_server_route(annex, &there), 0);
}

static uint64_t number_in(json_t *json, const char *name)
{
    json_t *number = json_object_get(json, name);

    CHECK(json_is_integer(number));
    return (uint64_t)json_integer_value(number);
}

/* All that /health counts, over namespaces; each is another number here. */
static void expect_numbers(const struct host *host, const char *status)
{
    struct peal_server_stats own = host_stats(host);
    struct peal_server_stats other = {.size = sizeof other};
    uint64_t uptime_ms;
    json_t *memory;
    json_t *json;

    CHECK_EQUAL(peal_server_stats(annex, &other), 0);
    json = json_loads(get(host, "/health"), 0, NULL);
    CHECK(json != NULL);
    assert_string_equal(json_string_value(json_object_get(json, "status")),
                        status);
    assert_string_equal(json_string_value(json_object_get(json, "version")),
                        peal_version());
    CHECK_EQUAL(number_in(json, "totalConnections"), 7);
    CHECK_EQUAL(number_in(json, "activeConnections"), 6);
    CHECK_EQUAL(number_in(json, "wsConnections"), 4);
    CHECK_EQUAL(number_in(json, "tcpConnections"), 2);
    CHECK_EQUAL(number_in(json, "totalRooms"), 3);
    CHECK_EQUAL(number_in(json, "rateLimiterEntries"), 2);
    CHECK_EQUAL(number_in(json, "totalMessagesReceived"), 12);
    CHECK_EQUAL(number_in(json, "totalMessagesSent"),
                own.messages_out + other.messages_out);
    CHECK(own.messages_out > 0 && other.messages_out > 0);
    CHECK(own.messages_out + other.messages_out != 12);
    uptime_ms = number_in(json, "uptime");
    CHECK(uptime_ms >= own.uptime_ms && own.uptime_ms > 0);
    CHECK(uptime_ms <= host_stats(host).uptime_ms);
    CHECK_EQUAL(number_in(json, "uptimeSeconds"), uptime_ms / 1000);
    memory = json_object_get(json, "memoryUsage");
    CHECK(number_in(memory, "rss") > 1 << 20);
    CHECK(number_in(memory, "rss") < (uint64_t)1 << 34);
    CHECK(fabs(json_number_value(json_object_get(json, "memoryMB")) -
               (double)number_in(memory, "rss") / (1 << 20)) < 0.01);
    json_decref(json);
}

static void test_health_tells_numbers(void **state)
{
    struct peal_server_options options = {
        .internal_listen = "127.0.0.1:0",
        .health_path = "/health",
        .clients_may_join = true,
        .address_rate = {.capacity = 1000, .refill = 1},
        .stop_delay_ms = 600000,
    };
    struct member members[7];
    struct host internal;
    struct host host;

    (void)state;
    host_start(&host, &options, add_annex);
    internal = host;
    CHECK_EQUAL(peal_server_address(host.server, 2, internal.ws), 0);
    for (int i = 0; i < 6; i++) {
        member_open(&members[i], host_address(&host, i >= 4), i >= 4);
    }
    memset(&members[6], 0, sizeof members[6]);
    ws_open(&members[6].peer, host.ws, "/annex");
    member_welcome(&members[6]);
    member_close(&members[0]);
    CHECK_SOON(host_stats(&host).clients == 5);
    member_join(&members[1], "a");
    member_join(&members[1], "b");
    member_join(&members[6], "a");
    for (int i = 0; i < 11; i++) {
        member_say(&members[1], "{'event':'nothing','id':1}");
        member_expect_failure(&members[1], "1", 101);
    }
    member_say(&members[6], "{'event':'nothing','id':1}");
    member_expect_failure(&members[6], "1", 101);
    expect_numbers(&host, "ok");

    /* While it stops, it says so, wherever it is asked, and is measured. */
    peal_server_stop(host.server);
    CHECK_SOON((get(&internal, "/readyz"), reply.status == 503));
    expect_numbers(&internal, "stopping");
    CHECK_EQUAL(reply.status, 503);
    get(&internal, "/livez");
    CHECK_EQUAL(reply.status, 200);
    get(&internal, "/metrics");
    CHECK_EQUAL(reply.status, 200);
    CHECK_EQUAL(http_sample(reply.body, "peal_ready"), 0);
    peal_server_cut(host.server);
    CHECK_EQUAL(peal_server_wait(host.server), 0);
    peal_server_free(host.server);
    for (int i = 1; i < 7; i++) {
        peer_close(&members[i].peer);
    }
}

static long on_health(struct peal_health *health, void *user)
{
    static const char text[] = "<p>fine</p>";

    (void)user;
    CHECK(peal_slice_equal(health->path, peal_slice("/health")));
    if (peal_slice_equal(health->query, peal_slice("status"))) {
        health->status = 700;
        return 0;
    }
    if (peal_slice_equal(health->query, peal_slice("size"))) {
        return (long)health->body_size_max + 1;
    }
    if (health->query.size > 0) {
        return -1;
    }
    CHECK(health->body_size_max > sizeof text);
    CHECK(health->is_ready == (health->status == 200));
    if (!health->is_ready) {
        CHECK_EQUAL(health->status, 503);
        return 0;
    }
    memcpy(health->body, text, sizeof text - 1);
    health->status = 418;
    health->type = "text/html";
    return sizeof text - 1;
}

static void test_the_application_answers(void **state)
{
    static const char *const no_answers[] = {"/health?json", "/health?status",
                                             "/health?size"};
    struct peal_server_options options = with_health;
    struct host host;
    char type[64];

    (void)state;
    options.on_health = on_health;
    host_start(&host, &options, NULL);
    assert_string_equal(get(&host, "/health"), "<p>fine</p>");
    CHECK_EQUAL(reply.status, 418);
    CHECK(http_header(&reply, "Content-Type", type, sizeof type));
    assert_string_equal(type, "text/html");

    /* What is no answer leaves it to the server. */
    for (size_t i = 0; i < ARRAY_SIZE(no_answers); i++) {
        get(&host, no_answers[i]);
        CHECK_EQUAL(reply.status, 200);
        CHECK(reply.body[0] == '{');
    }
    peal_server_set_ready(host.server, false);
    assert_string_equal(get(&host, "/health"), "");
    CHECK_EQUAL(reply.status, 503);
    host_stop(&host);
}

static pthread_mutex_t stuck = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool is_stuck;

static void on_stick(struct peal_client *from, const struct peal_event *event,
                     void *user)
{
    (void)from;
    (void)event;
    (void)user;
    atomic_store(&is_stuck, true);
    pthread_mutex_lock(&stuck);
    pthread_mutex_unlock(&stuck);
}

static void sticks(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on(server, "stick", on_stick, NULL), 0);
}

static struct peer *who_has_input(struct peer *peers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (peer_has_input(&peers[i], 0)) {
            return &peers[i];
        }
    }
    return NULL;
}

/* Asks on so many connections that one of them is on the loop that turns. */
static int ask_other_loop(const struct host *host, const char *target)
{
    struct peer peers[24];
    struct peer *answered = NULL;
    char request[128];

    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n",
             target);
    for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
        peer_dial(&peers[i], host->ws);
        peer_send(&peers[i], request, strlen(request));
    }
    CHECK_SOON((answered = who_has_input(peers, ARRAY_SIZE(peers))) != NULL);
    http_read(answered, &reply, true);
    for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
        peer_close(&peers[i]);
    }
    return reply.status;
}

static void test_a_stuck_loop_is_noticed(void **state)
{
    struct peal_server_options options = with_health;
    struct member member;
    struct host host;

    (void)state;
    options.loops = 2;
    options.turn_timeout_ms = 200;
    host_start(&host, &options, sticks);
    member_open(&member, host.ws, false);
    CHECK_EQUAL(ask_other_loop(&host, "/livez"), 200);
    pthread_mutex_lock(&stuck);
    member_say(&member, "{'event':'stick'}");
    CHECK_SOON(atomic_load(&is_stuck));
    CHECK_SOON(ask_other_loop(&host, "/livez") == 503);
    CHECK_EQUAL(ask_other_loop(&host, "/readyz"), 503);
    pthread_mutex_unlock(&stuck);
    CHECK_SOON(ask_other_loop(&host, "/livez") == 200);
    member_close(&member);
    host_await_empty(&host);
    host_stop(&host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zeros_are_there_from_the_start),
        cmocka_unit_test(test_what_happens_is_counted),
        cmocka_unit_test(test_methods_are_bounded),
        cmocka_unit_test(test_updates_are_dated),
        cmocka_unit_test(test_prometheus_reads_it),
        cmocka_unit_test(test_open_metrics_by_accept),
        cmocka_unit_test(test_queues_are_seen),
        cmocka_unit_test(test_endpoints_are_where_they_were_put),
        cmocka_unit_test(test_bad_internal_listener_is_refused),
        cmocka_unit_test(test_browsers_may_ask),
        cmocka_unit_test(test_origins_may_ask),
        cmocka_unit_test(test_readiness_has_reasons),
        cmocka_unit_test(test_health_tells_numbers),
        cmocka_unit_test(test_the_application_answers),
        cmocka_unit_test(test_a_stuck_loop_is_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
